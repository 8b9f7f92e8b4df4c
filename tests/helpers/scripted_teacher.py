"""A teacher without a model, for tests of PARROT: what it answers depends on the pair's id alone.

Imports nothing heavy.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from rational_rewards.models.answers.writing import format_score, with_winners, write_answer
from rational_rewards.models.judgement import Comparison
from rational_rewards.models.rubrics.rubric import rubric_for
from rational_rewards.parrot.anchored import rationalize
from rational_rewards.parrot.consistency import filter_consistent
from rational_rewards.parrot.projection import project
from rational_rewards.parrot.rows import build_rows
from rational_rewards.preferences.pairs import PREFERRED, PreferencePair


def some_pairs(count, base=Path("/pictures"), edits=True):
    """Pairs with ids 0, 1, ...; every third one is an edit, every fifth a tie."""
    chance = random.Random(7)
    pairs = []
    for n in range(count):
        preferred = "tie" if n % 5 == 4 else chance.choice("AB")
        source = base / f"{n}-source.png" if edits and n % 3 == 2 else None
        pairs.append(
            PreferencePair(
                f"p{n}",
                f"a {'red' if n % 2 else 'blue'} cube, number {n}",
                base / f"{n}-a.png",
                base / f"{n}-b.png",
                preferred,
                source,
            )
        )
    return pairs


def rationale(task, scores, words="Image A keeps the cube that Image B lost."):
    """A complete pairwise answer; `scores` is (a, b) for every dimension."""
    rubric = rubric_for(task, True)
    parts = {item.key: words for item in rubric.answer if item.kind == "text"}
    for spec in rubric.dimensions:
        parts |= {
            f"{spec.key}.score_a": format_score(scores[0]),
            f"{spec.key}.score_b": format_score(scores[1]),
        }
    return write_answer(rubric, with_winners(parts, rubric))


def judgement(task, score, words="The cube is sharp and red.", refined="A sharp red cube on a table."):
    """A complete answer for one image."""
    rubric = rubric_for(task, False)
    parts = {item.key: words for item in rubric.answer if item.kind == "text"}
    parts |= {f"{spec.key}.score": format_score(score) for spec in rubric.dimensions}
    return write_answer(rubric, parts | {"refined_request": refined})


class ScriptedTeacher:
    """`flaws` maps a pair's id to what goes wrong with it; `seconds` is how long each question takes."""

    name = "scripted"

    def __init__(self, flaws=None, seconds=0.0):
        self.flaws = flaws or {}
        self.seconds = seconds
        self.batches = []

    def rationalize(self, pairs, seeds, anchored, progress):
        self._take_time(pairs, progress)
        return [self._rationale(pair, seed, anchored) for pair, seed in zip(pairs, seeds, strict=True)]

    def predict(self, prompts, rationales, progress):
        self._take_time(prompts, progress)
        found = []
        for text in rationales:
            marks = {name: name in text for name in ("VAGUE", "WRONG", "TIED")}
            winner = Comparison.parse(text, rubric=rubric_for("edit", True)).winner
            other = {"A": "B", "B": "A", "tie": "A"}[winner]
            found.append(
                None if marks["VAGUE"] else "tie" if marks["TIED"] else other if marks["WRONG"] else winner
            )
        return found

    def project(self, pairs, references, seeds, progress):
        self._take_time(pairs, progress)
        texts = []
        for pair, reference, seed in zip(pairs, references, seeds, strict=True):
            flaw = self.flaws.get(f"{pair.id}{reference.letter}", "")
            totals = Comparison.parse(reference.rationale, rubric=rubric_for(pair.task, True)).totals or (
                2.5,
                2.5,
            )
            score = totals["AB".index(reference.letter)] - (0.2 if pair.preferred != "tie" else 0.0)
            score = 5 - score if flaw == "turned" else score
            words = (
                "As the reference comment says, the cube is red."
                if flaw == "mention"
                else f"The cube is red ({seed % 1000})."
            )
            texts.append(
                "I cannot say." if flaw == "unreadable" else judgement(pair.task, max(1.0, score), words)
            )
        return texts

    def _rationale(self, pair, seed, anchored):
        flaw = self.flaws.get(pair.id, "")
        if flaw == "unreadable":
            return "I cannot say."
        scores = {"A": (3.5, 2.0), "B": (2.0, 3.5), "tie": (3.0, 3.0)}[
            pair.preferred if anchored else PREFERRED[len(pair.id) % 2]
        ]
        if flaw == "contradicts":
            scores = {(3.5, 2.0): (2.0, 3.5), (2.0, 3.5): (3.5, 2.0), (3.0, 3.0): (4.0, 1.0)}[scores]
        return rationale(
            pair.task,
            scores,
            f"{flaw.upper()} Image A has the cube, Image B a shade of it ({seed % 1000}).".strip(),
        )

    def _take_time(self, items, progress):
        self.batches.append(len(items))
        for _ in items:
            progress.check()
            time.sleep(self.seconds)


def flaws_for(count):
    """A mixture of everything that can go wrong."""
    kinds = ["", "", "unreadable", "", "contradicts", "", "vague", "", "wrong", "", "tied", ""]
    flaws = {f"p{n}": kinds[n % len(kinds)] for n in range(count)}
    alone = ["", "mention", "", "", "unreadable", "", "turned", ""]
    return flaws | {
        f"p{n}{letter}": alone[(n + (letter == "B")) % len(alone)] for n in range(count) for letter in "AB"
    }


def run_all(root, count, seconds, progress=None):
    """All data phases, one after the other."""
    options = {} if progress is None else {"progress": progress}
    teacher = ScriptedTeacher(flaws_for(count), seconds)
    base = root.parent
    rationales = rationalize(
        some_pairs(count, base), root / "rationales", teacher, base=base, batch_size=4, seed=3, **options
    )
    filter_consistent(rationales, root / "consistent", teacher, batch_size=4, **options)
    project(
        root / "consistent/consistent.jsonl",
        root / "alone",
        teacher,
        base=base,
        seed=3,
        batch_size=4,
        **options,
    )
    pairs, alone = root / "consistent/consistent.jsonl", root / "alone/pointwise.jsonl"
    build_rows(pairs, alone, root / "rows", base=base, batch_size=4, **options)


if __name__ == "__main__":
    # For every line (a JSON list: folder, pairs, seconds a question) a child process runs the phases. Its id
    # is printed when it starts, and its status when it is gone. Forking saves the time of importing, which
    # would be most of a short run.
    for line in sys.stdin:
        if child := os.fork():
            print(child, flush=True)
            print(os.waitpid(child, 0)[1], flush=True)
        else:
            folder, count, seconds = json.loads(line)
            run_all(Path(folder), count, seconds)
            os._exit(0)
