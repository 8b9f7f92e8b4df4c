"""What a judge of the shapes world says: a seen scene put into the words and scores of a judgement.

The words follow what was seen, right or wrong; `cases` of the same picture seen rightly give the true
judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..models.answers.writing import format_score
from .edits import BACKGROUND, Edit, edit_flaws, kept, target_flaws
from .prompts import join, prompt_of, refined, spelled, where
from .scene import (
    COUNTS,
    IMAGE_FAITHFULNESS,
    PHYSICAL_QUALITY,
    PLACES,
    TEXT_FAITHFULNESS,
    TEXT_RENDERING,
    Flaw,
    Request,
    Scene,
    Thing,
    Wish,
    differences,
    flaws_of,
    score_of,
)

NO_TEXT = "No text was asked for."
_NAMES = {
    "missing": "missing",
    "not done": "not done",
    "no text": "no text",
    "letter": "wrong letter",
    "changed": "unwanted change",
    **{kind: f"wrong {kind}" for kind in ("colour", "shape", "count", "size", "place", "background")},
}  # fmt: skip


@dataclass(frozen=True)
class Remark:
    """What is said about one dimension; `score` is 1..4, None where the dimension does not apply."""

    justification: str
    score: float | None


@dataclass(frozen=True)
class PictureCase:
    """A picture made for a request, as somebody saw it."""

    request: Request
    scene: Scene
    task = "t2i"

    @property
    def flaws(self) -> list[Flaw]:
        """What is wrong with it, as seen."""
        return flaws_of(self.request, self.scene)

    def analysis(self) -> str:
        """What is asked for, one by one."""
        asked = [in_words(wish) for wish in self.request.wishes]
        asked += [f"{self.request.background} background"] * bool(self.request.background)
        asked += [f"the word {spelled(self.request.word)}"] * bool(self.request.word)
        return f"It asks for {'; '.join(asked)}."

    def remarks(self) -> dict[str, Remark]:
        """A remark on each dimension, by its key: what is seen first, whatever was asked, and then how the
        two compare.
        """
        verdicts = [
            _verdict(in_words(wish), set_against(thing, wish), differences(wish, thing))
            for wish, thing in zip(self.request.wishes, self.scene.things, strict=True)
        ]
        if wanted := self.request.background:
            wrong = ["background"] * (self.scene.background != wanted)
            verdicts.append(_verdict(f"{wanted} background", _background(self.scene, wanted), wrong))
        says = f"Shows {_shown(self.scene)}. {'; '.join(verdicts)}."
        return {
            TEXT_FAITHFULNESS: Remark(says, _score(self.flaws, TEXT_FAITHFULNESS)),
            PHYSICAL_QUALITY: _quality(self.scene, self.flaws),
            TEXT_RENDERING: self._writing(),
        }

    def _writing(self) -> Remark:
        wanted, got = self.request.word, self.scene.word
        if not wanted:
            return Remark(NO_TEXT, None)
        wrong = sum(flaw.kind == "letter" for flaw in self.flaws)
        verdict = "as asked"
        if not got:
            verdict = "no text"
        elif wrong:
            verdict = f"{COUNTS[wrong]} wrong letter{_plural(wrong)}"
        return Remark(
            f"Reads {spelled(got) or 'nothing'}, asked for {spelled(wanted)}, {verdict}.",
            _score(self.flaws, TEXT_RENDERING),
        )

    def caption(self) -> str:
        """What is in the picture, without a judgement."""
        word = f"word {spelled(self.scene.word)}" if self.scene.word else "no word"
        return f"{_shown(self.scene)}; {word}; {_rendering(self.scene)}."


@dataclass(frozen=True)
class EditCase:
    """The result of an edit, as somebody saw it."""

    edit: Edit
    scene: Scene
    task = "edit"

    @property
    def flaws(self) -> list[Flaw]:
        """What is wrong with it, as seen."""
        return edit_flaws(self.edit, self.scene)

    def analysis(self) -> str:
        """What is asked for."""
        return f"It asks to {self.edit.instruction}."

    def remarks(self) -> dict[str, Remark]:
        """A remark on each dimension, by its key."""
        edit, before, after = self.edit, self.edit.before, self.scene
        stays = [_kept(before.things[i], after.things[i]) for i in kept(edit)]
        if edit.target == BACKGROUND:
            wanted, got = f"{edit.wanted.background} background", _background(after, edit.wanted.background)
        else:
            kept_as = "kept" if after.background == before.background else "unwanted change"
            stays.append(
                f"{before.background} background: {_background(after, before.background)}, {kept_as}"
            )
            wanted = in_words(edit.wanted.things[edit.target])
            got = set_against(after.things[edit.target], edit.wanted.things[edit.target])
        done = _verdict(wanted, got, target_flaws(edit, after))
        says = f"Before {_shown(before)}. Now {_shown(after)}. {done}."
        return {
            TEXT_FAITHFULNESS: Remark(says, _score(self.flaws, TEXT_FAITHFULNESS)),
            IMAGE_FAITHFULNESS: Remark("; ".join(stays) + ".", _score(self.flaws, IMAGE_FAITHFULNESS)),
            PHYSICAL_QUALITY: _quality(after, self.flaws),
            TEXT_RENDERING: Remark(NO_TEXT, None),
        }


Case = PictureCase | EditCase


def judgement_parts(case: Case) -> dict[str, str]:
    """The parts of a judgement of one picture, by the rubric's keys."""
    parts = {"analysis": case.analysis()}
    for key, remark in case.remarks().items():
        parts |= {f"{key}.justification": remark.justification, f"{key}.score": format_score(remark.score)}
    return parts | conclusion(case.edit if isinstance(case, EditCase) else case.request, case.flaws)


def conclusion(about: Request | Edit, flaws: Sequence[Flaw]) -> dict[str, str]:
    """Summary, comments and refined request that follow from the flaws."""
    return {
        "summary": summed_up(flaws),
        "comments": "Insist on what went wrong." if flaws else "Nothing has to change.",
        "refined_request": refined_edit(about, flaws)
        if isinstance(about, Edit)
        else prompt_of(refined(about, list(flaws))),
    }


def refined_edit(edit: Edit, flaws: Sequence[Flaw]) -> str:
    """The instruction that insists on what went wrong."""
    wrong = {flaw.dimension for flaw in flaws}
    instruction = edit.instruction
    if TEXT_FAITHFULNESS in wrong:
        instruction += ", exactly as asked"
    if IMAGE_FAITHFULNESS in wrong:
        instruction += ", keep all else"
    if PHYSICAL_QUALITY in wrong:
        instruction += ", sharp and clean"
    return instruction


def comparison_parts(a: Case, b: Case) -> dict[str, str]:
    """The parts of a comparison of two pictures for the same request, by the rubric's keys."""
    parts = {"analysis": a.analysis()}
    said_a, said_b = a.remarks(), b.remarks()
    for key in said_a:
        first, second = said_a[key], said_b[key]
        says = (
            f"A: {first.justification} B: {second.justification}"
            if first.score is not None
            else first.justification
        )
        parts |= {
            f"{key}.justification": says,
            f"{key}.score_a": format_score(first.score),
            f"{key}.score_b": format_score(second.score),
        }
        parts[f"{key}.winner"] = _winner(first.score, second.score) if first.score is not None else "N/A"
    winner = _winner(total(said_a), total(said_b))
    verdict = "It's a tie." if "tie" in winner else f"{winner} is better."
    return parts | {"summary": f"{verdict} A: {summed_up(a.flaws)} B: {summed_up(b.flaws)}"}


def total(remarks: Mapping[str, Remark]) -> float:
    """Mean of the scores that apply, 1..4."""
    scores = [remark.score for remark in remarks.values() if remark.score is not None]
    return sum(scores) / len(scores)


def summed_up(flaws: Sequence[Flaw]) -> str:
    """All flaws by name."""
    return (
        f"{join([_NAMES.get(flaw.kind, flaw.kind) for flaw in flaws]).capitalize()}."
        if flaws
        else "No flaws."
    )


def in_words(thing: Thing | Wish | None) -> str:
    """A thing as seen or wished for: "one large red star on the left"; "nothing" where it is missing."""
    if thing is None:
        return "nothing"
    return " ".join(filter(None, _facts(thing, thing.count)))


def set_against(thing: Thing | None, wanted: Thing | Wish | None) -> str:
    """A thing as it is seen, set against what it should be: "one large blue, not red, star on the left"."""
    if thing is None or wanted is None:
        return in_words(thing)
    facts = zip(_facts(thing, thing.count), _facts(wanted, thing.count), strict=True)
    return " ".join(seen if wish in ("", seen) else f"{seen}, not {wish}," for seen, wish in facts).rstrip(
        ","
    )


def _facts(thing: Thing | Wish, count: int) -> list[str]:
    """Count, size, colour, shape (of `count` things) and place in words, "" for what may be anything."""
    place = where(thing.place) if thing.place else ""
    return [COUNTS[thing.count], thing.size, thing.colour, thing.shape + _plural(count), place]


def _plural(count: int) -> str:
    return "s" if count > 1 else ""


def _shown(scene: Scene) -> str:
    """The things from left to right, and the background."""
    things = [
        in_words(thing)
        for thing in sorted(filter(None, scene.things), key=lambda thing: PLACES.index(thing.place))
    ]
    return "; ".join([*(things or ["nothing"]), f"{scene.background} background"])


def _background(scene: Scene, wanted: str) -> str:
    """The background, set against what it should be."""
    return f"{scene.background}{f', not {wanted},' if scene.background != wanted else ''} background"


def _verdict(wanted: str, got: str, wrong: Sequence[str]) -> str:
    return f"{wanted}: {got}, {' and '.join(_NAMES[kind] for kind in wrong) or 'as asked'}"


def _kept(before: Thing | None, now: Thing | None) -> str:
    return f"{in_words(before)}: {set_against(now, before)}, {'kept' if before == now else 'unwanted change'}"


def _quality(scene: Scene, flaws: list[Flaw]) -> Remark:
    return Remark(f"The picture is {_rendering(scene)}.", _score(flaws, PHYSICAL_QUALITY))


def _rendering(scene: Scene) -> str:
    return f"flawed by {join(list(scene.quality))}" if scene.quality else "clean"


def _score(flaws: Sequence[Flaw], dimension: str) -> float:
    return score_of(flaw for flaw in flaws if flaw.dimension == dimension)


def _winner(a: float | None, b: float | None) -> str:
    if a is None or b is None or a == b:
        return "It's a tie"
    return "Image A" if a > b else "Image B"
