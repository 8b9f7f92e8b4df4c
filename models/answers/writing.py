"""Writing an answer exactly as the answer grammar writes it, from its parts by key; the counterpart of
`parsing`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import AnswerError
from ..rubrics.rubric import WINNERS, AnswerItem, Rubric
from .parsing import read_answer
from .scores import read_score

# The form writes none of these.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def write_answer(rubric: Rubric, parts: Mapping[str, str]) -> str:
    """The answer as the locked form writes it, from its parts by key; the text of every part ends with its
    line.

    Raises AnswerError for a part that is missing, empty, or cannot stand there.
    """
    written = ""
    for item in rubric.answer:
        inline = item.kind != "heading" and item.heading.endswith(":")
        written += item.heading + (" " if inline else "\n")
        if item.kind != "heading":
            written += _value(item, parts.get(item.key, "")) + "\n"
    return written


def normal_parts(text: str, read: Rubric) -> dict[str, str]:
    """The parts of an answer by key, with scores and winners as the form writes them, winners by their
    scores; no control characters.

    What cannot be read is absent.
    """
    parts = read_answer(text, read)
    found: dict[str, str] = {}
    for item in read.answer:
        if item.kind == "text" and item.key in parts:
            found[item.key] = _plain(parts[item.key])
    for spec in read.dimensions:
        for name in ("score", "score_a", "score_b"):
            score, applies = read_score(parts.get(f"{spec.key}.{name}", ""))
            if score is not None or not applies:
                found[f"{spec.key}.{name}"] = format_score(score)
    return with_winners(found, read)


def with_winners(parts: dict[str, str], rubric: Rubric) -> dict[str, str]:
    """The parts with every dimension's winner as its two scores say; a dimension that is N/A for one image is
    N/A for both.
    """
    if not rubric.pair:
        return parts
    complete = dict(parts)
    for spec in rubric.dimensions:
        keys = f"{spec.key}.score_a", f"{spec.key}.score_b"
        a, b = (complete.get(key, "") for key in keys)
        if "N/A" in (a, b):
            complete |= dict.fromkeys(keys, "N/A")
            complete[f"{spec.key}.winner"] = "N/A"
        elif a and b:
            complete[f"{spec.key}.winner"] = _winner(float(a), float(b))
    return complete


def _winner(score_a: float, score_b: float) -> str:
    a_wins, b_wins, tie = WINNERS
    if score_a == score_b:
        return tie
    return a_wins if score_a > score_b else b_wins


def format_score(score: float | None) -> str:
    """A score as the form writes it: one decimal, or two where it needs them; "N/A" for None.

    >>> format_score(4.0), format_score(3.25), format_score(None)
    ('4.0', '3.25', 'N/A')
    """
    if score is None:
        return "N/A"
    text = f"{score:.2f}"
    return text[:-1] if text.endswith("0") else text


def _plain(text: str) -> str:
    """A text as the form can write it: no empty lines, none that starts like a heading, no control
    characters.
    """
    lines = (
        _CONTROL.sub("", line.replace("\t", " ")).strip().lstrip("#").strip() for line in text.split("\n")
    )
    return "\n".join(line for line in lines if line)


def _value(item: AnswerItem, text: str) -> str:
    text = _plain(text)
    optional = item.dimension is not None and item.dimension.not_applicable
    if item.kind == "score":
        fits = (text == "N/A" and optional) or re.fullmatch(r"[123](\.\d{1,2})?|4(\.00?)?", text)
    elif item.kind == "winner":
        fits = text in WINNERS or (text == "N/A" and optional)
    else:
        fits = bool(text)
    if not fits:
        raise AnswerError(
            f'The answer has no usable `{item.key}` ("{text[:40]}"): leave it out of the training rows.'
        )
    return text
