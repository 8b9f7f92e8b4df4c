"""How well a critic judges the shapes world, and whether its refined prompts help: everything against the
true scenes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from rational_rewards.demo.measure import (
    Refinement,
    Share,
    held_out,
    held_out_apart,
    measure_blind_refinement,
    measure_pairs,
    measure_refinement,
    measure_singles,
)
from rational_rewards.demo.scene import DIMENSIONS
from rational_rewards.models.critic import Critic

from .command import add_critic, add_json, report

# Answers: for a tiny model that costs little more than one.
SIDE_BY_SIDE = 64
# What the embedded critic has to reach. Writing is the hardest to read for a model of its size.
WANTED = {
    **{f"apart.{key}": 0.85 if key == "text_rendering" else 0.95 for key in DIMENSIONS},
    "compared.all": 0.90,
    "compared.agree": 0.97,
    "single.spearman": 0.90,
    "single.named": 0.90,
    "single.flaws": 0.90,
    "refinement.recovered": 0.50,
}


def run(checkpoint: str, pairs: int, each: int, prompts: int) -> dict[str, Any]:
    """Figures of a critic on `pairs` held-out pairs, `each` more that differ in one dimension only, and
    `prompts` held-out prompts.
    """
    critic = Critic.load(checkpoint, "none", "cpu")
    critic.engine.rows = SIDE_BY_SIDE  # type: ignore[attr-defined]
    start = time.monotonic()
    worlds = held_out(pairs)
    compared = measure_pairs(critic, worlds)
    single = measure_singles(critic, worlds)
    apart = {key: asdict(measure_pairs(critic, held_out_apart(key, each)).decided) for key in DIMENSIONS}
    return {
        "critic": critic.name,
        "pairs": pairs,
        "prompts": prompts,
        "seconds": round(time.monotonic() - start),
        "compared": asdict(compared),
        "apart": apart,
        "single": asdict(single),
        "refinement": refinement_figures(measure_refinement(critic, prompts)),
        "blind": refinement_figures(measure_blind_refinement(prompts)),
    }


def missed(figures: dict[str, Any]) -> list[str]:
    """The figures that are below what is wanted, in words."""
    found = []
    for name, wanted in WANTED.items():
        group, key = name.split(".")
        value = figures[group][key]
        share = value["right"] / value["total"] if isinstance(value, dict) else value
        if share < wanted:
            found.append(f"{name} is {share:.3f}, wanted {wanted:.2f}")
    if worse := figures["refinement"]["worse_in_faithfulness"]:
        found.append(f"{worse} prompts got less faithful")
    return found


def refinement_figures(rounds: list[Refinement]) -> dict[str, Any]:
    """Means over all prompts: true faithfulness (1..4) before and after, the share of what was missing that
    was won, who got worse.
    """
    before, after = (sum(getattr(one, name) for one in rounds) / len(rounds) for name in ("before", "after"))
    return {
        "faithfulness_before": before,
        "faithfulness_after": after,
        "recovered": (after - before) / (4 - before) if before < 4 else None,
        "worse_in_faithfulness": sum(one.after < one.before for one in rounds),
        "lost_before": sum(one.lost_before for one in rounds) / len(rounds),
        "lost_after": sum(one.lost_after for one in rounds) / len(rounds),
        "insisted": {"right": sum(one.hit for one in rounds), "total": sum(one.insisted for one in rounds)},
        "needed": {"right": sum(one.hit for one in rounds), "total": sum(one.needed for one in rounds)},
        "worse": [asdict(one) for one in rounds if one.lost_after > one.lost_before],
    }


def table(figures: dict[str, Any]) -> str:
    """The figures to read."""
    compared, single = figures["compared"], figures["single"]
    rows = [
        ("pairwise accuracy, all pairs (a tie is its own class)", _share(compared["all"])),
        *((f"- {task}", _share(share)) for task, share in compared["by_task"].items()),
        ("pairwise accuracy, pairs with a preference", _share(compared["decided"])),
        *(
            (f"pairs that differ in {key.replace('_', ' ')} only", _share(share))
            for key, share in figures["apart"].items()
        ),
        ("both orders agree", _share(compared["agree"])),
        ("judgements that did not fail", _share(single["judged"])),
        ("Spearman of score against number of flaws", f"{single['spearman']:.3f}"),
        ("- each flaw weighted by the points it costs", f"{single['spearman_weighted']:.3f}"),
        ("one flaw: exactly that one is named", _share(single["one_flaw"])),
        ("true flaws that are named", _share(single["flaws"])),
        ("named flaws that are true", _share(single["named"])),
        *(
            (f"score right: {key.replace('_', ' ')}", _share(share))
            for key, share in single["scores"].items()
        ),
    ]
    lines = [
        f"{figures['critic']}, {figures['pairs']} pairs, {figures['prompts']} prompts, "
        f"{figures['seconds']} s",
        "",
    ]
    lines += ["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += ["| refining | the critic | insisting on everything, blindly |", "|---|---|---|"]
    both = [_refining(figures[who], figures["prompts"]) for who in ("refinement", "blind")]
    return "\n".join(
        [*lines, *(f"| {name} | {value} | {both[1][name]} |" for name, value in both[0].items())]
    )


def _refining(found: dict[str, Any], prompts: int) -> dict[str, str]:
    faithfulness = f"{found['faithfulness_before']:.2f} -> {found['faithfulness_after']:.2f}"
    lost = f"{found['lost_before']:.2f} -> {found['lost_after']:.2f}"
    return {
        "true faithfulness before and after": faithfulness,
        "share of the missing faithfulness that was won": "-"
        if found["recovered"] is None
        else f"{found['recovered']:.1%}",
        "points that true flaws cost, before and after": lost,
        "prompts that got worse": f"{len(found['worse'])} of {prompts}",
        "what went wrong and is insisted on": _share(found["needed"]),
        "what is insisted on and went wrong": _share(found["insisted"]),
    }


def _share(counts: dict[str, int]) -> str:
    return str(Share(**counts))


def add_command(commands: Any) -> None:
    """Add the benchmark to `commands`, the parser's subparsers."""
    parser = commands.add_parser(
        "shapes", help="how well a critic judges the shapes world, and whether its refined prompts help"
    )
    add_critic(parser)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument(
        "--each", type=int, default=200, help="pairs for each dimension in which alone they differ"
    )
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail where a figure is below what the embedded critic has to reach",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    figures = run(options.checkpoint, options.pairs, options.each, options.prompts)
    report(figures, table(figures), options.json, missed(figures) if options.check else ())
