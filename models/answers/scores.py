"""Reading one score from the text behind its heading. What is no clear number is not read, never guessed."""

from __future__ import annotations

import re

from .headings import SPACE

# A score that could not be read; whether it applies is not known, so it does.
UNREAD = (None, True)
# Full-width forms become plain and invisible characters go; no other digit is converted ("3.5²" is no 3.52).
_WIDE = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
    | {0x3000: " "}
    | dict.fromkeys(
        [
            0xAD,
            *range(0x200B, 0x2010),
            *range(0x202A, 0x202F),
            *range(0x2060, 0x2065),
            *range(0x2066, 0x206A),
            0xFEFF,
        ]
    )
)
# What may stand in front of a number.
OPENING = rf"[{SPACE}*_`\"'“‘\[{{【「(]{{0,40}}"
_CLOSE = rf"[{SPACE}*_`\"'”’\]}}】」)]{{0,40}}"
# An explanation may follow a score behind a bracket, a dash or a stop, unless it goes on with a number, a
# range or another scale.
_REASON = (
    rf"(?:[{SPACE}]*[\[(]|[{SPACE}]+[-–—][{SPACE}]+|[{SPACE}]*—|[;,][{SPACE}]+|(?P<stop>\.)[{SPACE}]+)"
    rf"(?![{SPACE}]*(?:[-+.,/]?[0-9]|(?:or|to|and|of|out|from|n/?a|maybe|perhaps|between)\b))"
)
# A score may be called approximate; the number is what it says all the same.
_APPROXIMATELY = rf"(?:approximately|approx\.?|about|around|roughly|circa|ca\.)(?=[{SPACE}*_`])"
_ABOUT = rf"(?:(?:[~≈∼≃≅]|{_APPROXIMATELY})[{SPACE}]*{OPENING})?"
# An explanation that says the number is on another scale: "(on a scale of 1 to 5)", "(10-point scale)".
_OTHER_SCALE = re.compile(
    r"\b(?:scale|range|from)\b[^.;\n]{0,24}?\b[01](?:\.0+)?\s*(?:-|–|—|to|and|\.\.+|…)\s*(?!4(?:\.0+)?(?![.,]?[0-9]))[0-9]"
    r"|\b(?!4[\s-])[0-9]{1,3}[\s-]+point\b|\b(?:out\s+)?of\s+(?!4(?:\.0+)?(?![.,]?[0-9]))[0-9]+\s*(?:stars?|points?)\b",
    re.IGNORECASE,
)
_SCORE = re.compile(
    rf"(?P<open>{OPENING}{_ABOUT})(?P<whole>[0-9])(?:(?:\.(?P<point>[0-9]{{1,6}})|,(?P<comma>[0-9]{{1,2}}))(?![0-9]))?(?P<close>{_CLOSE})"
    rf"(?P<scale>(?:\(?(?:/|out[{SPACE}]+of|(?P<of>of))[{SPACE}]*4(?:[.,]0{{1,2}})?|分|points?(?![^\W_]))(?![.,]?[0-9]){_CLOSE})?"
    rf"(?:(?P<end>[.。]?[{SPACE}]*\Z)|(?P<reason>{_REASON}))",
    re.IGNORECASE,
)
_NOT_APPLICABLE = re.compile(
    rf"{OPENING}(?:n[{SPACE}]?[/\\][{SPACE}]?a\.?|n\.[{SPACE}]?a\.?|na(?=[{SPACE}]*(?:\Z|[^\w{SPACE}]))|not[{SPACE}-]+applicable)"
    rf"(?![^\W_])(?!{_CLOSE}[{SPACE},;:.(/-]*(?:[0-9]|or\b|to\b))",
    re.IGNORECASE,
)


def read_score(text: str) -> tuple[float | None, bool]:
    """The score 1..4 that stands in the text behind a score's heading, or None; and whether the dimension
    applies at all.

    The first line must be the number, alone or with its scale ("3.5/4") or an explanation behind it ("3.5
    (two small slips)"). Not taken, because the number would be a guess: a range or choice ("1-4", "3 or 4"),
    a sign ("-3"), another scale ("7/10"), a count ("3 of 4 criteria"), a list number ("3. ..."), anything
    outside 1..4 (never clamped), or a further line that says something else.
    """
    lines = dict.fromkeys(line for line in text.translate(_WIDE).split("\n") if line.strip())
    read = [_read_line(line) for line in lines]
    return read[0] if read and all(one in (read[0], UNREAD) for one in read) else UNREAD


def _read_line(line: str) -> tuple[float | None, bool]:
    if _NOT_APPLICABLE.match(line):
        return None, False
    found = _SCORE.match(line)
    if found is None:
        return UNREAD
    decimals, scale = found["point"] or found["comma"], found["scale"]
    if not decimals and not scale and (found["stop"] or (found["end"] or "").startswith((".", "。"))):
        # "3." may be a list number, or a number that lost its decimals.
        return UNREAD
    if ")" in found["close"] and "(" not in found["open"]:
        # "3)" is a list number.
        return UNREAD
    if found["of"] and found["reason"]:
        # "3 of 4 (criteria met)" counts something.
        return UNREAD
    if found["reason"] and _OTHER_SCALE.search(line, found.end() - len(found["reason"])):
        return UNREAD
    value = float(f"{found['whole']}.{decimals or 0}")
    return (value, True) if 1 <= value <= 4 else UNREAD
