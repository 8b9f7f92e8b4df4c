"""Prompts and images out of what trainers of language models hand to a reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..models.errors import QuestionError


def text_of(message: Any) -> str:
    """The text of a completion or message: a string, a message, its content parts, or a list of messages, of
    which the last one counts.
    """
    if isinstance(message, str):
        return message
    if isinstance(message, Mapping):
        return text_of(message.get("content") or message.get("text") or "")
    if _are_messages(message):
        return text_of(message[-1])
    parts = [text_of(part) for part in message or () if not isinstance(part, Mapping) or "text" in part]
    return "".join(parts).strip()


def user_text(messages: Any) -> str:
    """What the user asked for: the prompt itself, or the text of its last user message."""
    if not _are_messages(messages):
        return text_of(messages)
    asked = [message for message in messages if message["role"] == "user"]
    return text_of(asked[-1]) if asked else ""


def image_of(completion: Any, index: int) -> Any:
    """The image that a completion holds: the last image part of its last message.

    Raises QuestionError where there is none; `index` is the completion's place.
    """
    message = completion[-1] if _are_messages(completion) else completion
    parts = message.get("content") if isinstance(message, Mapping) else message
    if isinstance(parts, Sequence) and not isinstance(parts, str):
        images = [
            part["image"] for part in parts if isinstance(part, Mapping) and part.get("image") is not None
        ]
        if images:
            return images[-1]
    raise QuestionError(
        f"Completion {index + 1} holds no image: give `render`, which makes images of the completions' "
        f"texts, or name the column with the images."
    )


def column_of(columns: Mapping[str, Any], name: str) -> list[Any]:
    """A column of the batch. Raises QuestionError where there is none of that name."""
    if columns.get(name) is None:
        known = ", ".join(sorted(columns))
        raise QuestionError(f"The data has no column {name}: name one of {known}.")
    return list(columns[name])


def _are_messages(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and isinstance(value[0], Mapping)
        and "role" in value[0]
    )
