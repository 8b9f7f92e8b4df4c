"""Finding an artist's prompt syntax: weights, embeddings, tags, wildcards, choices, schedules and functions,
and quoted text.

Read as ComfyUI, ImpactPack, Dynamic Prompts and prompt-control read it. Only paired brackets count: in *I <3
NY* or `:(` they are text. What stands in double quotation marks is text to be rendered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

# Parentheses nested deeper than this are prose.
DEEPEST = 50
NUMBER = r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*"
# Private use characters stand for pieces of syntax while the text around them is worked on; they are part of
# nothing.
_MARKS = "\U000f0000-\U0010fffd"

START = re.compile(
    r"\\.|(?<!\w)(?!(?:BREAK|AND)\()[A-Z][A-Z0-9_]+\(|[({<\[]|\d{1,3}#(?=__)|__|(?<!\w)embedding:", re.DOTALL
)
# <lora:name:0.8>, and <random[2]:a|b> with a parameter.
TAG = re.compile(r"<[A-Za-z][\w-]*(?:\[[^\[\]<>]{1,60}\])?:[^<>]{1,300}>")
# Anywhere: a plain name, with folders, stars and double underscores. Between words: any name, with a sampler
# (~, @, &), spaces, a parameter in brackets, a variable. A count may stand in front (3#__name__).
_NAME = r"(?=[^\W_]|\*)(?:(?!__)[\w./*+\\-]){1,100}"
WILDCARD = re.compile(
    rf"(?:\d{{1,3}}#)?__(?:{_NAME}(?:__{_NAME}){{0,5}}"
    rf"|(?<!\w__)(?=[^\s_,;:!?])(?:\$\{{\w+\}}|[^\n\"“”<>{{}}|{_MARKS}]){{1,100}}?(?<=[^\s_]))__(?!_)"
)
# A folder of Windows is part of the name; a backslash in front of a parenthesis escapes it.
EMBEDDING = re.compile(rf"embedding: ?(?:\\[()]|\\(?=\w)|[^\s,()<>\[\]{{}}|;\"'\\{_MARKS}]){{1,300}}")
# What makes square brackets prompt editing: [a|b], the number in [from:to:0.5] and [on:0.3], the tag at the
# end of [from:to:SECOND_PASS], and [CUT:...].
SCHEDULE = re.compile(r"\||:\s*[\d.]+%?|:[A-Z_]+\]\Z|\A\[CUT:")
# An object in a list: some models are prompted in JSON.
JSON = re.compile(r"\{\s*\"")
QUOTED = re.compile(
    r"(?<![\w\"])\"[^\"\n]{1,400}\"(?![\w\"])|“[^“”\n]{1,400}”|«[^«»\n]{1,400}»|「[^「」\n]{1,400}」"
)


@dataclass(frozen=True)
class Piece:
    """A piece of syntax in a text: `kind` is "weight", "embedding", "tag", "wildcard", "choice",
    "schedule" or "function" (`MASK(0 0.5, 0 1)` and its relatives of prompt-control).

    `following` is the next word, which shows where in a rewritten text the piece belongs; `start` is its
    position.
    """

    text: str
    kind: str
    following: str = ""
    start: int = 0


def replace_syntax(text: str, replacement: Callable[[Piece], str | None]) -> str:
    """The text with every outermost piece of syntax replaced; a piece for which `replacement` gives None
    stays.
    """
    parentheses, depth = bracket_pairs(text, "()")
    partners = parentheses | bracket_pairs(text, "{}")[0] | bracket_pairs(text, "[]")[0]
    too_deep = {position for position, level in depth.items() if level >= DEEPEST}
    out: list[str] = []
    position = done = 0
    while match := START.search(text, position):
        start, position = match.start(), match.end()
        kind, end = _piece_at(text, match, partners, too_deep)
        # Where it is none, its parenthesis may still open a weight.
        if match[0][0].isupper():
            position -= 1
        # The dollar sign of a variable, ${name}.
        if kind == "choice" and start > done and text[start - 1] == "$":
            start -= 1
        if not kind or not _means_something(text[start:end], kind):
            continue
        word = re.match(r"\s?(\w+)", text[end : end + 40])
        replaced = replacement(Piece(text[start:end], kind, word[1] if word else "", start))
        if replaced is not None:
            out += (text[done:start], replaced)
            done = position = end
    return "".join([*out, text[done:]])


# What opens with a bracket and ends with its partner.
_BRACKETED = {"(": "weight", "{": "choice", "[": "schedule"}


def _piece_at(
    text: str, match: re.Match[str], partners: dict[int, int], too_deep: set[int]
) -> tuple[str, int]:
    """The kind of the piece that opens here, and where it ends; "" where none opens."""
    start, opening = match.start(), match[0]
    bracket = match.end() - 1
    if opening[-1] in _BRACKETED:
        if bracket not in partners or bracket in too_deep:
            return "", start
        return "function" if len(opening) > 1 else _BRACKETED[opening], partners[bracket] + 1
    if opening == "<" and (tag := TAG.match(text, start)):
        return "tag", tag.end()
    if (opening == "__" or opening.endswith("#")) and (wildcard := WILDCARD.match(text, start)):
        return "wildcard", wildcard.end()
    if opening == "embedding:" and (embedding := EMBEDDING.match(text, start)):
        return "embedding", start + len(embedding[0].rstrip(".:!? "))
    return "", start


def _means_something(token: str, kind: str) -> bool:
    if kind == "choice":
        chooses = "|" in token or "$$" in token or token.startswith("$")
        return chooses or ("__" in token and not JSON.search(token))
    if kind == "schedule":
        return bool(SCHEDULE.search(token)) and not JSON.search(token)
    if kind == "embedding":
        return len(token) > len("embedding:")
    if kind == "weight":
        return says_something(token)
    return True


def says_something(text: str) -> bool:
    """Whether a text has a letter, digit, symbol such as an emoji, or a mark in it."""
    return any(char.isalnum() or unicodedata.category(char) in ("So", "Co") for char in text)


def bracket_pairs(text: str, kinds: str) -> tuple[dict[int, int], dict[int, int]]:
    """Position of each opening bracket -> that of its closing one, and -> how deep it stands.

    Escaped ones are text.
    """
    pairs: dict[int, int] = {}
    depth: dict[int, int] = {}
    opened: list[int] = []
    for match in re.finditer(rf"(?<!\\)[{re.escape(kinds)}]", text):
        if match[0] == kinds[0]:
            depth[match.start()] = len(opened)
            opened.append(match.start())
        elif opened:
            pairs[opened.pop()] = match.start()
    return pairs, depth


def escaped_braces(text: str) -> str:
    """The text with a backslash before every brace that could make a random choice: all of them where there
    is a `|` or `$$`, else the unpaired ones.
    """
    pairs, _ = bracket_pairs(text, "{}")
    harmless = set() if "|" in text or "$$" in text else {*pairs.keys(), *pairs.values()}
    return re.sub(r"(?<!\\)[{}]", lambda m: m[0] if m.start() in harmless else "\\" + m[0], text)


def enclosed(text: str, phrases: Iterable[str] = ()) -> list[bool]:
    """For each character, whether it is inside a piece of syntax, paired brackets, quoted text or one of the
    phrases (where `BREAK` is a word).
    """
    spans = [match.span() for match in QUOTED.finditer(text)]
    replace_syntax(text, lambda piece: spans.append((piece.start, piece.start + len(piece.text))))
    for kinds in ("()", "{}"):
        spans += bracket_pairs(text, kinds)[0].items()
    for phrase in phrases:
        if phrase in ("", "BREAK"):
            continue
        # The text may have its brackets escaped.
        pattern = re.sub(r"(?:\\\\)?(\\[(){}])", r"\\\\?\1", re.escape(phrase))
        spans += [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
    inside = [0] * (len(text) + 1)
    for start, end in spans:
        inside[start] += 1
        inside[end] -= 1
    depth, result = 0, []
    for change in inside[:-1]:
        depth += change
        result.append(depth > 0)
    return result


def balanced(token: str) -> str:
    """The token with parentheses that have no partner escaped."""
    pairs, _ = bracket_pairs(token, "()")
    partners = {*pairs.keys(), *pairs.values()}
    return re.sub(r"(?<!\\)[()]", lambda m: m[0] if m.start() in partners else "\\" + m[0], token)


def words_of(token: str) -> str:
    """The words of weighted text, without parentheses and numbers."""
    bare = re.sub(NUMBER + r"\)", ")", token)
    return " ".join(re.sub(r"\\([()])|[()]", lambda m: m[1] or "", bare).split())


def unescaped(text: str) -> str:
    """The text with its escaped brackets as plain ones."""
    return re.sub(r"\\([(){}])", r"\1", text)
