"""Characters that UTF-8 cannot write."""

from __future__ import annotations


def whole_characters(text: str) -> str:
    """The text with halves of surrogate pairs joined where they meet, and as U+FFFD where they are alone."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
