"""A refined request made safe for ComfyUI: what the artist wrote as syntax survives, what the critic wrote as prose stays prose.

In ComfyUI a bare parenthesis is syntax: `(x)` weighs x by 1.1, `(x:1.3)` by 1.3, `\\(x\\)` is text (comfy/sd1_clip.py,
`parse_parentheses` and `token_weights`), and `embedding:name` loads a file. The canvas picks one of `{a|b}` when a prompt stands
in a text box, but not when it arrives on a wire, where a pack's wildcard node may still do so. Square brackets, `AND` and
`#` mean nothing to ComfyUI and stay text.

What is decided here:

- Weights, `embedding:`, `<tag:...>`, `__wildcard__` and `{a|b}` of the original are kept letter by letter. A weight goes back onto
  its phrase where the refined text still has it, an option of `{a|b}` becomes the choice again where the next word shows that it
  is the same place, and the rest is put at the end.
- All other parentheses are escaped. A weight, tag or embedding that the critic made up is dropped to its words, since a
  made-up number can burn a picture and a made-up file does not exist. Braces are escaped where they would make a choice; the
  canvas and wildcard nodes both know `\\{`. Other braces stay, because some models are prompted in JSON.
- The critic's formatting goes, and lines become one paragraph: for text encoders a line end is a space.
- `BREAK` is not put back: a text that was written anew does not say where its sections end. The notes say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TAG = re.compile(r"<[A-Za-z][\w-]*:[^<>]{1,300}>")
WILDCARD = re.compile(r"__(?=[^\W_]|[*])[\w./*-]{1,100}?(?<!_)__(?!_)")
EMBEDDING = re.compile(r"embedding:((?:\\.|[^\s,()<>\[\]{}|;\"'\\\U000f0000-\U0010ffff])*(?:\\.|[^\s,()<>\[\]{}|;\"'\\.:!?\U000f0000-\U0010ffff]))")
START = re.compile(r"\\.|[({<]|__|(?<!\w)embedding:", re.DOTALL)
NUMBER = r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*"
WEIGHT_BY_CRITIC = re.compile(r"(?<!\\)\(([^()\\]*[^()\\\s\d:.])" + NUMBER + r"\)|(?<!\\)\(\(([^()\\]+)\)\)")
FIRST_MARK = 0xF0000  # private use: one character stands for one piece of syntax while the text around it is worked on
MOST_ITEMS = 100_000
DEEPEST = 50  # nested parentheses deeper than this are prose


@dataclass
class MergedPrompt:
    """The prompt to use next, and in short sentences what was put back or changed."""

    prompt: str
    notes: list[str]


@dataclass(frozen=True)
class _Item:
    """A piece of the artist's syntax: `text` as it goes into the prompt, `words` without weights, `after`: the next word."""

    text: str
    kind: str  # "weight", "embedding", "tag", "wildcard", "choice" or "phrase"
    words: str = ""
    after: str = ""


@dataclass
class _Syntax:
    """The artist's items, each with the character that stands for it."""

    marks: dict[_Item, str] = field(default_factory=dict)
    required: list[_Item] = field(default_factory=list)
    by_text: dict[str, _Item] = field(default_factory=dict)
    by_words: dict[str, _Item] = field(default_factory=dict)

    def add(self, item: _Item, required: bool) -> None:
        if item.text not in self.by_text and len(self.marks) < MOST_ITEMS:
            self.marks[item] = chr(FIRST_MARK + len(self.marks))
            for key in (item.text, _fold(_unescaped(item.text))):
                self.by_text.setdefault(key, item)
            if item.kind == "weight":
                self.by_words.setdefault(_fold(item.words), item)
        if required and (known := self.by_text[item.text]) not in self.required_set():
            self.required.append(known)
