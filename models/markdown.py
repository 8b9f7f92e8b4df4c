"""Small helpers for reports in Markdown."""

from __future__ import annotations


def table_cell(text: str) -> str:
    """A text as one cell of a Markdown table: one line, no bar that would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
