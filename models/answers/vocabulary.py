"""The bytes behind every token of a byte-level BPE vocabulary, and the classes of tokens that a locked answer
is made of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from ..characters import whole_characters
from ..errors import CheckpointError

# All control characters but tab and newline.
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class Vocabulary:
    """Built once per tokenizer.

    `size` is the width of the model's logits; ids that are not plain text have no bytes.

    `masks` is a boolean tensor [classes, size], True where a token is banned; its rows are INLINE (first
    token behind a heading on the same line), BLOCK (first token on a line of its own), TEXT (inside a line)
    and LINE (at the start of a further line).
    """

    INLINE, BLOCK, TEXT, LINE = range(4)

    def __init__(self, tokenizer: Any, size: int, stop_ids: Sequence[int]):
        self.tokenizer = tokenizer
        self.stop_ids = frozenset(stop_ids)
        self.bytes = _token_bytes(tokenizer, size)
        # Added tokens that are not marked special, such as <think>: the model may write them in a free
        # answer, a user's text not.
        marks = {str(token): id for id, token in tokenizer.added_tokens_decoder.items() if not token.special}
        for mark, id in marks.items():
            self.bytes[id] = mark.encode()
        self.marks = frozenset(marks.values())
        self.find_mark = re.compile("|".join(map(re.escape, marks)) or r"(?!)")
        self.newline = self.encode("\n")
        self.masks = self._classify(size)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special tokens typed in it stay text."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of several texts."""
        pieces = [self._apart(whole_characters(text)) for text in texts]
        flat = [piece for text in pieces for piece in text]
        ids = iter(self.tokenizer(flat, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        return [[token for _ in text for token in next(ids)] for text in pieces]

    def _apart(self, text: str) -> list[str]:
        """The text cut behind the first character of every mark in it, which the tokenizer would not take for
        text otherwise.
        """
        cuts = [found.start() + 1 for found in self.find_mark.finditer(text)]
        return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; a character that was cut in the middle is left out."""
        return b"".join(self.bytes[i] or b"" for i in ids).decode("utf-8", errors="ignore")

    def starts_heading(self, token: int) -> bool:
        """Whether a token, at the start of a line, opens a heading."""
        return (self.bytes[token] or b"").lstrip(b" \t").startswith(b"#")

    def _classify(self, size: int) -> torch.Tensor:
        allowed = torch.zeros(4, size, dtype=torch.bool)
        for token, text in enumerate(self.bytes):
            if not text or token in self.marks or CONTROL.search(text) or b"\n" in text.rstrip(b"\n"):
                # A line end inside a token would hide the start of the next line.
                continue
            words = text.strip(b" \t\n")
            one_line = bool(words) and not text.endswith(b"\n")
            allowed[self.INLINE, token] = one_line and text.startswith(b" ")
            allowed[self.BLOCK, token] = one_line and not text.startswith((b" ", b"\t", b"#"))
            allowed[self.TEXT, token] = True
            allowed[self.LINE, token] = bool(words) or not text.endswith(b"\n")
        # The model may end a text by ending its turn.
        for token in self.stop_ids:
            if token < size:
                allowed[self.TEXT :, token] = True
        return ~allowed


def _token_bytes(tokenizer: Any, size: int) -> list[bytes | None]:
    """Bytes of every token id; None for special tokens and for ids without a token."""
    table = {char: byte for byte, char in enumerate(_byte_characters())}
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    found: list[bytes | None] = [None] * size
    for text, token in tokenizer.get_vocab().items():
        if token < size and token not in special:
            if not all(char in table for char in text):
                raise CheckpointError(
                    "The checkpoint's tokenizer does not work on bytes as Qwen's does: choose a Qwen3-VL "
                    "or Qwen2.5-VL checkpoint."
                )
            found[token] = bytes(table[char] for char in text)
    return found


def _byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary (the table of GPT-2's tokenizer)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
