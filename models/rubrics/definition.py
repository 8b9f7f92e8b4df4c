"""What a rubric is: its dimensions, the layout of the question, and the headings of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TASKS = ("t2i", "edit")
PARTS = ("scores", "judgement", "refinement")
# Where the prompt stands in a text, as it was written or in one line.
PROMPT_SLOTS = {"prompt", "prompt_line"}
SLOT = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")

# Which images a rubric's layout must show, in any order, for (task, pair).
IMAGES = {
    ("t2i", False): ("image",),
    ("edit", False): ("source", "image"),
    ("t2i", True): ("a", "b"),
    ("edit", True): ("source", "a", "b"),
}
WINNERS = ("Image A", "Image B", "It's a tie")


@dataclass(frozen=True)
class DimensionSpec:
    """One dimension of a rubric: its key on the wires, its name in headings, and what each level means."""

    key: str
    name: str
    asks: str
    # (4, what it means), (3, ...), ...
    levels: tuple[tuple[int, str], ...]
    # When it does not apply; empty: it always applies.
    not_applicable: str = ""


@dataclass(frozen=True)
class AnswerItem:
    """One heading of the answer, and what follows it.

    `kind` is "heading" (nothing), "text" (free text of at most `tokens` tokens), "score" (1 to 4 or N/A) or
    "winner". `key` names what is written there ("summary", "text_faithfulness.score"); `part` is the earliest
    part of the answer that needs this item: "scores", "judgement" or "refinement".
    """

    heading: str
    kind: str
    key: str
    part: str
    hint: str = ""
    tokens: int = 0
    dimension: DimensionSpec | None = None


@dataclass(frozen=True)
class Rubric:
    """A complete, validated rubric. Build one with `load_rubric` or `parse_rubric`."""

    name: str
    title: str
    task: str
    pair: bool
    dimensions: tuple[DimensionSpec, ...]
    system: str
    # ("text", template) or ("image", "source" | "image" | "a" | "b").
    user: tuple[tuple[str, str], ...]
    answer: tuple[AnswerItem, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images that a question must have."""
        return IMAGES[self.task, self.pair]

    @property
    def has_refinement(self) -> bool:
        """Whether the answer includes a refined prompt."""
        return any(item.key == "refined_request" for item in self.answer)

    @property
    def shows_prompt(self) -> bool:
        """Whether the question shows the prompt; without it the image is judged for what is seen alone."""
        texts = (self.system, *(value for kind, value in self.user if kind == "text"))
        return any(PROMPT_SLOTS & set(SLOT.findall(text)) for text in texts)

    def dimension(self, key: str) -> DimensionSpec:
        """The dimension of that key; KeyError if there is none."""
        return {d.key: d for d in self.dimensions}[key]

    def messages(self, prompt: str) -> list[dict[str, Any]]:
        """The chat for one question: an optional system message, then the user's.

        Content parts are in order, `{"type": "text", "text": ...}` or `{"type": "image", "image": name}`.
        Slots are filled in one pass, so nothing inside `prompt` (braces, `<image>`, headings) is taken for a
        slot.
        """
        slots = {
            "prompt": prompt,
            "prompt_line": " ".join(prompt.split()),
            "dimensions": self._dimensions_text(),
            "answer": self._answer_text(),
            "open_braces": "{{",
        }
        user: list[dict[str, Any]] = []
        for kind, value in self.user:
            if kind == "image":
                user.append({"type": "image", "image": value})
            else:
                user.append({"type": "text", "text": fill(value, slots)})
        messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
        if self.system:
            system = [{"type": "text", "text": fill(self.system, slots)}]
            messages.insert(0, {"role": "system", "content": system})
        return messages

    def _dimensions_text(self) -> str:
        lines: list[str] = []
        for number, dimension in enumerate(self.dimensions, 1):
            lines.append(f"{number}. {dimension.name}: {dimension.asks}".rstrip())
            lines += [f"   - {level}: {text}" for level, text in dimension.levels]
            if dimension.not_applicable:
                lines.append(f"   - N/A: {dimension.not_applicable}")
        return "\n".join(lines)

    def _answer_text(self) -> str:
        lines = []
        for item in self.answer:
            inline = item.heading.endswith(":")
            lines.append(f"{item.heading} {item.hint}".rstrip() if inline else item.heading)
            if item.hint and not inline:
                lines.append(item.hint)
        return "\n".join(lines)


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Replace each slot by its text, in one pass; slots that are not known stay as they are."""
    return SLOT.sub(lambda slot: slots.get(slot[1], slot[0]), template)
