"""Finding an artist's prompt syntax: weights, embeddings, tags, wildcards, choices and schedules, and quoted text.

Read as ComfyUI, ImpactPack, Dynamic Prompts and prompt-control read it. Only paired brackets count: in *I <3 NY* or `:(` they are
text. What stands in double quotation marks is text to be rendered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

# Parentheses nested deeper than this are prose.
DEEPEST = 50
NUMBER = r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*"
# Private use characters stand for pieces of syntax while the text around them is worked on; they are part of nothing.
_MARKS = "\U000f0000-\U0010fffd"

START = re.compile(r"\\.|[({<\[]|\d{1,3}#(?=__)|__|(?<!\w)embedding:", re.DOTALL)
TAG = re.compile(r"<[A-Za-z][\w-]*:[^<>]{1,300}>")
# Anywhere: a plain name, with folders and stars. Between words: any name, with a sampler (~, @, &), spaces, a parameter
# in brackets, a variable. A count may stand in front (3#__name__).
WILDCARD = re.compile(
    rf"(?:\d{{1,3}}#)?__(?:(?=[^\W_]|\*)[\w./*+\\-]{{1,100}}?(?<!_)"
    rf"|(?<!\w__)(?=[^\s_,;:!?])(?:\$\{{\w+\}}|[^\n\"“”<>{{}}|{_MARKS}]){{1,100}}?(?<=[^\s_]))__(?!_)"
)
# A folder of Windows is part of the name; a backslash in front of a parenthesis escapes it.
EMBEDDING = re.compile(rf"embedding:(?:\\[()]|\\(?=\w)|[^\s,()<>\[\]{{}}|;\"'\\{_MARKS}]){{1,300}}")
# [from:to:0.5], [on:0.3] and [a|b] of prompt editing.
SCHEDULE = re.compile(rf"\[[^\[\]\n{_MARKS}]{{0,200}}(?:\||:\s*[\d.]+%?)[^\[\]\n{_MARKS}]{{0,100}}\]")
QUOTED = re.compile(
    r"(?<![\w\"])\"[^\"\n]{1,400}\"(?![\w\"])|“[^“”\n]{1,400}”|«[^«»\n]{1,400}»|「[^「」\n]{1,400}」"
)


@dataclass(frozen=True)
class Piece:
    """A piece of syntax in a text: `kind` is "weight", "embedding", "tag", "wildcard", "choice" or "schedule".

    `following` is the next word, which shows where in a rewritten text the piece belongs.
    """

    text: str
    kind: str
    following: str = ""


def replace_syntax(text: str, replacement: Callable[[Piece], str | None]) -> str:
    """The text with every outermost piece of syntax replaced; a piece for which `replacement` gives None stays."""
    parentheses, depth = bracket_pairs(text, "()")
    braces, _ = bracket_pairs(text, "{}")
    out: list[str] = []
    position = done = 0
    while match := START.search(text, position):
        start, position = match.start(), match.end()
        end, kind = _extent(text, match, parentheses, depth, braces)
        # The dollar sign of a variable, ${name}.
        if kind == "choice" and start > done and text[start - 1] == "$":
            start -= 1
        if not kind or not _means_something(text[start:end], kind):
            continue
        word = re.match(r"\s?(\w+)", text[end : end + 40])
        replaced = replacement(Piece(text[start:end], kind, word[1] if word else ""))
        if replaced is not None:
            out += (text[done:start], replaced)
            done = position = end
    return "".join([*out, text[done:]])


def _extent(
    text: str,
    match: re.Match[str],
    parentheses: dict[int, int],
    depth: dict[int, int],
    braces: dict[int, int],
) -> tuple[int, str]:
    """Where the piece that opens here ends, and its kind; "" where none opens."""
    start, opening = match.start(), match[0]
    if opening == "(" and start in parentheses and depth[start] < DEEPEST:
        return parentheses[start] + 1, "weight"
    if opening == "{" and start in braces:
        return braces[start] + 1, "choice"
    if opening == "[" and (schedule := SCHEDULE.match(text, start)):
        return schedule.end(), "schedule"
    if opening == "<" and (tag := TAG.match(text, start)):
        return tag.end(), "tag"
    if (opening == "__" or opening.endswith("#")) and (wildcard := WILDCARD.match(text, start)):
        return wildcard.end(), "wildcard"
    if opening == "embedding:" and (embedding := EMBEDDING.match(text, start)):
        return start + len(embedding[0].rstrip(".:!?")), "embedding"
    return start, ""


def _means_something(token: str, kind: str) -> bool:
    if kind == "choice":
        return "|" in token or "$$" in token or token.startswith("$")
    if kind == "embedding":
        return len(token) > len("embedding:")
    if kind == "weight":
        return any(char.isalnum() or unicodedata.category(char) in ("So", "Co") for char in token)
    return True


def bracket_pairs(text: str, kinds: str) -> tuple[dict[int, int], dict[int, int]]:
    """Position of each opening bracket -> that of its closing one, and -> how deep it stands. Escaped ones are text."""
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


def enclosed(text: str) -> list[bool]:
    """For each character, whether it is inside paired brackets, a tag or quoted text (where `BREAK` is a word)."""
    spans = [match.span() for pattern in (TAG, QUOTED) for match in pattern.finditer(text)]
    for kinds in ("()", "{}"):
        spans += bracket_pairs(text, kinds)[0].items()
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
