"""How well a critic judges the shapes world, and whether its refined prompts help: everything against the true scenes."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from rational_rewards.demo.measure import (
    Refinement,
    Share,
    held_out,
    measure_pairs,
    measure_refinement,
    measure_singles,
)
from rational_rewards.models.critic import Critic

SIDE_BY_SIDE = 64  # answers: for a tiny model that costs little more than one


def run(checkpoint: str, pairs: int, prompts: int) -> dict[str, Any]:
    """Figures of a critic on `pairs` held-out pairs and `prompts` held-out prompts."""
    critic = Critic.load(checkpoint, "none", "cpu")
    critic.engine.rows = SIDE_BY_SIDE  # type: ignore[attr-defined]
    start = time.monotonic()
    worlds = held_out(pairs)
    compared = measure_pairs(critic, worlds)
    single = measure_singles(critic, worlds)
    rounds = measure_refinement(critic, prompts)
    return {
        "critic": critic.name,
        "pairs": pairs,
        "prompts": prompts,
        "seconds": round(time.monotonic() - start),
        "compared": asdict(compared),
        "single": asdict(single),
        "refinement": refinement_figures(rounds),
    }


def refinement_figures(rounds: list[Refinement]) -> dict[str, Any]:
    """Means over all prompts: true faithfulness (1..4) before and after, the share of what was missing that was won, who got worse."""
    before, after = (sum(getattr(one, name) for one in rounds) / len(rounds) for name in ("before", "after"))
    return {
        "faithfulness_before": before,
        "faithfulness_after": after,
        "recovered": (after - before) / (4 - before) if before < 4 else None,
        "worse_in_faithfulness": sum(one.after < one.before for one in rounds),
        "flaws_before": sum(one.flaws_before for one in rounds) / len(rounds),
        "flaws_after": sum(one.flaws_after for one in rounds) / len(rounds),
        "worse_in_flaws": [asdict(one) for one in rounds if one.flaws_after > one.flaws_before],
    }


def table(figures: dict[str, Any]) -> str:
    """The figures to read."""
    compared, single, refined = figures["compared"], figures["single"], figures["refinement"]
    rows = [
        ("pairwise accuracy, all pairs (a tie is its own class)", _share(compared["all"])),
        ("pairwise accuracy, pairs with a preference", _share(compared["decided"])),
        *((f"- differing in {key.replace('_', ' ')} only", _share(share)) for key, share in compared["by_dimension"].items()),
        *((f"- {task}", _share(share)) for task, share in compared["by_task"].items()),
        ("both orders agree", _share(compared["agree"])),
        ("judgements that did not fail", _share(single["judged"])),
        ("Spearman of score against number of flaws", f"{single['spearman']:.3f}"),
        ("one flaw: exactly that one is named", _share(single["one_flaw"])),
        ("true flaws that are named", _share(single["flaws"])),
        ("named flaws that are true", _share(single["named"])),
        *((f"score right: {key.replace('_', ' ')}", _share(share)) for key, share in single["scores"].items()),
        ("true faithfulness before and after refining", f"{refined['faithfulness_before']:.2f} -> {refined['faithfulness_after']:.2f}"),
        ("share of the missing faithfulness that was won", f"{refined['recovered']:.1%}" if refined["recovered"] is not None else "-"),
        ("true flaws before and after", f"{refined['flaws_before']:.2f} -> {refined['flaws_after']:.2f}"),
        ("prompts that got worse", f"{len(refined['worse_in_flaws'])} of {figures['prompts']}"),
    ]  # fmt: skip
    lines = [f"{figures['critic']}, {figures['pairs']} pairs, {figures['prompts']} prompts, {figures['seconds']} s", ""]
    lines += ["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def _share(counts: dict[str, int]) -> str:
    return str(Share(**counts))
