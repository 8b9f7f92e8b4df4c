"""Prompt syntax of other programs, which ComfyUI reads as text: found, so that its loss is said.

`[dog]` weakens in A1111, `[[dog]]` and `{{dog}}` in NovelAI, `0.5::dog::` and `dog::2` weigh there and in
Midjourney, `--ar 16:9` is a parameter there. `AND`, `COUPLE` and `|` separate prompts.
"""

from __future__ import annotations

import re

from .syntax import JSON, QUOTED, bracket_pairs, replace_syntax

# Bounded, so that a long row of digits takes no time.
_NUMBER = r"-?(?:\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})"
# 0.5::dog::, 0.5::dog::2, dog::2
COLONS = re.compile(
    rf"(?<![\w.:]){_NUMBER}::[^:\n]{{1,300}}::(?:{_NUMBER})?(?![\w:])|[\w-]{{1,100}}::{_NUMBER}(?![\w:])"
)
PARAMETER = re.compile(r"(?<!\S)--[a-z]{1,30}(?: +[\d.:]{1,20}(?!\w))?(?!\w)")
SEPARATORS = {"AND": r"\bAND\b", "COUPLE": r"\bCOUPLE\b", "|": r"\|"}


def foreign_tokens(text: str) -> list[str]:
    """The pieces of such syntax in order, outermost ones only, as they are written.

    None within what ComfyUI and its packs read, within quoted text, or in a prompt that is JSON.
    """
    taken = [match.span() for match in QUOTED.finditer(text)]
    replace_syntax(text, lambda piece: taken.append((piece.start, piece.start + len(piece.text))))
    spans = [match.span() for pattern in (COLONS, PARAMETER) for match in pattern.finditer(text)]
    for kinds in ("()", "[]", "{}"):
        pairs = bracket_pairs(text, kinds)[0]
        spans += [(start, end + 1) for start, end in pairs.items() if text[start + 1 : end].strip()]
    taken.sort()
    tokens, done, held = [], 0, 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        # What comes first starts first and is longest: all that begins before its end is inside.
        while held < len(taken) and taken[held][1] <= start:
            held += 1
        inside = held < len(taken) and taken[held][0] <= start and end <= taken[held][1]
        if start < done or inside:
            continue
        done = end
        if not JSON.search(text, start, end):
            tokens.append(text[start:end])
    return tokens


def separators(text: str) -> dict[str, int]:
    """How often each separator stands in a text, outside quoted text and, for "|", outside other syntax."""
    bare = QUOTED.sub("", text)
    outside = replace_syntax(bare, lambda piece: "")
    return {
        word: len(re.findall(pattern, outside if word == "|" else bare))
        for word, pattern in SEPARATORS.items()
    }
