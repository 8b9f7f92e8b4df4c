"""Taking off what encloses all of a rewritten prompt."""

from __future__ import annotations

import re


def unwrapped(text: str) -> str:
    """A text without the quotation marks, brackets, bold or code marks that enclose all of it.

    Prompt syntax is no wrapping: `[cat|dog]`, `[cat:dog:0.5]`, `(cat:1.2)`, `__cat__` stay.
    """
    text = text.strip()
    for _ in range(_DEEPEST):
        inside = _inside(text)
        if inside is None:
            break
        text = inside.strip()
    return text


# Marks around marks that anybody writes; a limit, so that a hostile text costs no time.
_DEEPEST = 8
_WRAPPERS = {
    '"': ('"',), "“": ("”", '"'), "„": ("“", "”", '"'), "«": ("»",), "»": ("«",), "‹": ("›",),
    "「": ("」",), "『": ("』",), "‘": ("’",), "‚": ("‘", "’"), "'": ("'",), "`": ("`",), "[": ("]",),
    "【": ("】",),
}  # fmt: skip
# Marks of several characters, longest first: a code block, triple quotes, double back-ticks, bold.
_LONG_WRAPPERS = (
    re.compile(r"```[a-z]*[ \t]*\n(?P<inside>(?:(?!```).)+)```", re.DOTALL | re.IGNORECASE),
    re.compile(r'(?P<mark>"""|```|``|\*\*)(?P<inside>(?:(?!(?P=mark)).)+)(?P=mark)', re.DOTALL),
)
# "fox|wolf" (in turns), "fox:wolf:0.5" and "fox:10" (from a step on).
_SCHEDULE = re.compile(r"[^\[\]]*(?:\||:[ \t]*[0-9]*\.?[0-9]+[ \t]*\Z)")


def _inside(text: str) -> str | None:
    """What stands between the marks that enclose all of a text; None where there are none."""
    for pattern in _LONG_WRAPPERS:
        if (found := pattern.fullmatch(text)) and found["inside"].strip():
            return found["inside"]
    closings = _WRAPPERS.get(text[:1], ())
    inside = text[1:-1]
    if text[-1:] not in closings or not inside.strip():
        return None
    opening, closing = text[0], text[-1]
    if opening == "[" and _SCHEDULE.match(inside):
        return None
    if opening == closing:
        return None if opening in inside else inside
    depth = 0
    for char in inside:
        depth += int(char == opening) - int(char in closings)
        if depth < 0:
            return None
    return inside if depth == 0 else None
