"""ComfyUI's schema in words that every supported version knows.

0.8.0 refuses keywords that later versions brought (`search_aliases`, `advanced`), and one refusal would lose
the whole pack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

CATEGORY = "RationalRewards"
CriticType = io.Custom("RR_CRITIC")
CritiqueType = io.Custom("RR_CRITIQUE")
ComparisonType = io.Custom("RR_COMPARISON")
LoopType = io.Custom("RR_LOOP")


def schema(**words: Any) -> io.Schema:
    """An `io.Schema` without the words that this version does not know."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{word: value for word, value in words.items() if word in known})


def advanced(kind: Any, id: str, **words: Any) -> io.Input:
    """An input that is rarely needed; newer frontends fold it away."""
    return kind.Input(id, optional=True, extra_dict={"advanced": True}, **words)


def question_inputs(
    *images: io.Input, rubrics: list[str], of: str = "the image was", more: Sequence[io.Input] = ()
) -> list[io.Input]:
    """The inputs of every node that judges: critic, `images`, prompt, source_image, `more`, rubric, then how
    to answer. `of` says in the prompt's tooltip what was made from it.
    """
    return [
        critic_input(),
        *images,
        prompt_input(of),
        source_input(),
        *more,
        rubric_input(rubrics),
        *answer_inputs(),
    ]


def critic_input() -> io.Input:
    return CriticType.Input("critic", tooltip="The critic from Load Critic.")


def prompt_input(of: str = "the image was") -> io.Input:
    return io.String.Input(
        "prompt",
        multiline=True,
        default="",
        tooltip=f"The prompt that {of} made from, as the artist wrote it.",
    )


def source_input() -> io.Input:
    return io.Image.Input(
        "source_image",
        optional=True,
        tooltip="For image edits: the image before the edit, one for all images or one for each. Leave it "
        "open for text to image.",
    )


def rubric_input(names: list[str]) -> io.Input:
    return io.Combo.Input(
        "rubric",
        options=["auto", *names],
        default="auto",
        optional=True,
        tooltip="What is asked. auto fits the task: text to image or, with source_image connected, image "
        "edit; a checkpoint's own wording comes first.",
    )


def seed_input(tooltip: str, **words: Any) -> io.Input:
    """A seed as ComfyUI's samplers have it, 0 to 2**64 - 1; it stays where it was put unless `words` say
    otherwise.
    """
    return io.Int.Input(
        "seed",
        **{
            "default": 0,
            "min": 0,
            "max": 2**64 - 1,
            "control_after_generate": False,
            "tooltip": tooltip,
            **words,
        },
    )


def answer_inputs() -> list[io.Input]:
    """How the critic writes: seed, temperature, length and format."""
    return [
        seed_input(
            "Only used when temperature is above 0. At 0 the same image and prompt always get the same "
            "answer.",
            optional=True,
        ),
        io.Float.Input(
            "temperature",
            default=0.0,
            min=0.0,
            max=2.0,
            step=0.05,
            optional=True,
            tooltip="0 gives the likeliest answer; 0.1 is what the paper used.",
        ),
        io.Int.Input(
            "max_new_tokens",
            default=2048,
            min=64,
            max=16384,
            optional=True,
            tooltip="Longest answer in tokens. Smaller is faster and makes the explanations shorter.",
        ),
        io.Combo.Input(
            "answer",
            options=["locked", "free"],
            default="locked",
            optional=True,
            tooltip="locked keeps the critic to the headings and scores of its format, so that every answer "
            "can be read; free lets it write as it likes.",
        ),
    ]


def phrases(keep: str) -> list[str]:
    """The phrases of an input `keep`, one a line."""
    return [line.strip() for line in keep.splitlines() if line.strip()]
