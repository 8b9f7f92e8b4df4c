"""Reading the flaws back out of a judgement of the shapes world: `sentences` in the other direction."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .edits import BACKGROUND, Edit, kept
from .scene import (
    IMAGE_FAITHFULNESS,
    PHYSICAL_QUALITY,
    QUALITY,
    TEXT_FAITHFULNESS,
    TEXT_RENDERING,
    Flaw,
    Request,
)
from .sentences import in_words

_KINDS = (
    "missing",
    "not done",
    *(f"wrong {kind}" for kind in ("colour", "shape", "count", "size", "place", "background")),
)
_NUMBERS = {"one": 1, "two": 2, "three": 3}


def named_flaws(about: Request | Edit, justifications: Mapping[str, str]) -> list[Flaw]:
    """The flaws that a judgement's justifications name, by dimension; sentences that are not understood name
    none.
    """
    says = {key: text.strip().rstrip(".") for key, text in justifications.items()}
    found = [
        Flaw(TEXT_FAITHFULNESS, kind.removeprefix("wrong "), where, 3 if kind == "not done" else 1)
        for where, verdict in _sentences(about, says.get(TEXT_FAITHFULNESS, ""))
        for kind in _verdicts(verdict)
    ]
    if isinstance(about, Edit):
        found += _changes(about, says.get(IMAGE_FAITHFULNESS, ""))
    found += [
        Flaw(PHYSICAL_QUALITY, kind)
        for kind in QUALITY
        if re.search(rf"\b{kind}\b", says.get(PHYSICAL_QUALITY, ""))
    ]
    return found + (_letters(about, says.get(TEXT_RENDERING, "")) if isinstance(about, Request) else [])


def one_side(justification: str, letter: str) -> str:
    """What a justification of a pair says about the image of that letter; all of it where it does not tell
    them apart.
    """
    found = re.fullmatch(r"A: (?P<A>.*?) B: (?P<B>.*)", justification.strip(), re.DOTALL)
    return found[letter].strip() if found else justification.strip()


def _sentences(about: Request | Edit, text: str) -> list[tuple[int, str]]:
    """What is said at the end about each thing: (its index, -1 for the background and -2 for what nobody
    asked for; the verdict).
    """
    sentences = [sentence.strip().partition(": ") for sentence in text.rpartition(". ")[2].split(";")]
    if isinstance(about, Edit):
        return [(about.target, verdict) for _, _, verdict in sentences]
    names = {in_words(wish): index for index, wish in enumerate(about.wishes)} | {
        f"{about.background} background": -1
    }
    return [(names.get(name, -2), verdict) for name, _, verdict in sentences]


def _verdicts(verdict: str) -> list[str]:
    return [kind for kind in _KINDS if re.search(rf"\b{kind}\b", verdict)]


def _changes(edit: Edit, text: str) -> list[Flaw]:
    names = {in_words(edit.before.things[i]): i for i in kept(edit)}
    names |= {f"{edit.before.background} background": BACKGROUND} if edit.target != BACKGROUND else {}
    sentences = [sentence.strip().partition(": ") for sentence in text.split(";")]
    return [
        Flaw(IMAGE_FAITHFULNESS, "changed", names.get(name, -2))
        for name, _, verdict in sentences
        if verdict.endswith("unwanted change")
    ]


def _letters(request: Request, text: str) -> list[Flaw]:
    if text.endswith("no text"):
        return [Flaw(TEXT_RENDERING, "no text", weight=3)]
    if not (number := re.search(r"(one|two|three) wrong letters?$", text)):
        return []
    read = re.search(r"Reads ([^,]*),", text)
    got = read[1].split("-") if read else []
    wrong = [i for i, (wanted, letter) in enumerate(zip(request.word, got, strict=False)) if wanted != letter]
    wrong = (wrong + [i for i in range(len(request.word)) if i not in wrong])[: _NUMBERS[number[1]]]
    return [Flaw(TEXT_RENDERING, "letter", index) for index in wrong]
