"""The bytes behind every token of a byte-level BPE vocabulary, and the classes of tokens that a locked answer is made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")  # all but tab and newline


class Vocabulary:
    """Built once per tokenizer. `size` is the width of the model's logits; ids that are not plain text have no bytes.

    `masks` is a boolean tensor [classes, size], True where a token is banned; its rows are INLINE (first token behind a heading
    on the same line), BLOCK (first token on a line of its own), TEXT (inside a line) and LINE (at the start of a further line).
    """

    INLINE, BLOCK, TEXT, LINE = range(4)

    def __init__(self, tokenizer: Any, size: int, stop_ids: Sequence[int]):
        self.tokenizer = tokenizer
        self.stop_ids = frozenset(stop_ids)
        self.bytes = _token_bytes(tokenizer, size)
        self.newline = self.encode("\n")
        self.masks = self._classify(size)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special tokens typed in it stay text."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of several texts."""
        return self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; a character that was cut in the middle is left out."""
        return b"".join(self.bytes[i] or b"" for i in ids).decode("utf-8", errors="ignore")

    def starts_heading(self, token: int) -> bool:
        """Whether a token, at the start of a line, opens a heading."""
        return (self.bytes[token] or b"").lstrip(b" \t").startswith(b"#")

    def _classify(self, size: int) -> torch.Tensor:
        allowed = torch.zeros(4, size, dtype=torch.bool)
        for token, text in enumerate(self.bytes):
            if not text or CONTROL.search(text) or b"\n" in text.rstrip(b"\n"):
                continue  # a line end inside a token would hide the start of the next line
            words = text.strip(b" \t\n")
            one_line = bool(words) and not text.endswith(b"\n")
            allowed[self.INLINE, token] = one_line and text.startswith(b" ")
            allowed[self.BLOCK, token] = one_line and not text.startswith((b" ", b"\t", b"#"))
            allowed[self.TEXT, token] = True
            allowed[self.LINE, token] = bool(words) or not text.endswith(b"\n")
        for token in self.stop_ids:  # the model may end a text by ending its turn
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
                raise ValueError("not a byte-level vocabulary")
            found[token] = bytes(table[char] for char in text)
    return found


def _byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary (the table of GPT-2's tokenizer)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
