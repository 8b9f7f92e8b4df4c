"""The published format of an answer, and what tests of rubrics look at."""

from __future__ import annotations

from pathlib import Path

from rational_rewards.models.rubrics.rubric import Rubric

EDIT = [
    "1. Text Faithfulness:",
    "2. Image Faithfulness:",
    "3. Physical and Visual Quality:",
    "4. Text Rendering:",
]
START = ["# User Request Analysis", "# Detailed Judgement"]
REFINEMENT = ["# User Request Refinement:", "## Refinement Comments:", "## Refined Request:"]
IMAGES = {
    "t2i": ["image"],
    "edit": ["source", "image"],
    "t2i-pair": ["a", "b"],
    "edit-pair": ["source", "a", "b"],
}


def texts(rubric: Rubric, prompt: str) -> list[str]:
    """All texts of the chat, and `<name>` for every image, in order."""
    parts = [part for message in rubric.messages(prompt) for part in message["content"]]
    return [part["text"] if part["type"] == "text" else f"<{part['image']}>" for part in parts]


def write(folder: Path, name: str, text: str) -> Path:
    """A file of the user's."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name
