"""What must come through the cleaning of a refined prompt as it is, each with one character that stands for
it meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from .cleaning import FIRST_MARK, LAST_MARK, MARK
from .phrases import fold
from .syntax import TAG, Piece, balanced, escaped_braces, unescaped, words_of


@dataclass(frozen=True)
class Item:
    """What must come through the cleaning as it is: `text` as it goes into the prompt, `words` without
    weights.

    `kind` is that of `Piece`, or "phrase" for a locked phrase that needs the same care, or "quoted" for text
    to be rendered. `following` is the next word. `holds` are the characters of other items that are part of a
    phrase or quoted text.
    """

    text: str
    kind: str
    words: str = ""
    following: str = ""
    holds: str = ""


@dataclass
class Items:
    """The items, each with the character that stands for it.

    `by_key` finds them by exact text, then by text without case and escapes, then by words. `required` has,
    in order, those that must be in the result.
    """

    all: list[Item] = field(default_factory=list)
    by_key: dict[str, int] = field(default_factory=dict)
    required: dict[int, None] = field(default_factory=dict)

    def add(self, item: Item, required: bool = True) -> str:
        number = self.by_key.get("=" + item.text)
        if number is None:
            # Over a hundred thousand pieces: no prompt of this world.
            if len(self.all) > LAST_MARK - FIRST_MARK:
                return item.text
            number = len(self.all)
            self.all.append(item)
            self.by_key["=" + item.text] = number
            self.by_key.setdefault("~" + fold(unescaped(item.text)), number)
            if item.kind == "weight":
                self.by_key.setdefault(" " + fold(item.words), number)
        if required:
            self.required.setdefault(number)
        return chr(FIRST_MARK + number)

    def add_quoted(self, text: str) -> str:
        """The character for text to be rendered; what would be syntax in it is made plain."""
        text = re.sub(r"\\*([()])", r"\\\1", TAG.sub("", text))
        text = re.sub(r"(?<!\w)embedding:\s*", "embedding ", escaped_braces(text))
        return self.add(Item(text, "quoted", holds=text), required=False)

    def quoted(self, text: str) -> str:
        """The text that a single character stands for, where that is quoted text and nothing else; else
        "".
        """
        if not re.fullmatch(MARK, text):
            return ""
        item = self.all[ord(text) - FIRST_MARK]
        return self.expand(item.text) if item.kind == "quoted" else ""

    def present(self, text: str) -> str:
        """The text and what its phrases and quoted texts hold: every mark that is there is in it."""
        for _ in range(2):
            text += "".join(self.all[ord(mark) - FIRST_MARK].holds for mark in re.findall(MARK, text))
        return text

    def find(self, token: str, kind: str) -> str | None:
        """The character of the item that the token means; for a weight its words are enough, whatever the
        number.
        """
        keys = ["=" + token, "~" + fold(unescaped(token))]
        if kind in ("weight", "embedding"):
            keys.append(" " + fold(words_of(token)))
        number = next((self.by_key[key] for key in keys if key in self.by_key), None)
        return None if number is None else chr(FIRST_MARK + number)

    def expand(self, text: str, shown: Callable[[Item], str] = lambda item: item.text) -> str:
        """The text with every mark replaced by its item, also within quoted text."""
        for _ in range(2):
            text = re.sub(MARK, lambda m: shown(self.all[ord(m[0]) - FIRST_MARK]), text)
        return text


def item_of(piece: Piece) -> Item:
    """The item that a piece of syntax is."""
    return Item(balanced(piece.text), piece.kind, words_of(piece.text), piece.following)
