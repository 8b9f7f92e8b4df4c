"""Refine Loop Start and Refine Loop End: whatever is wired between them runs again each round.

End expands into a copy of the body for the next round (see `loop_body`). What a round needs to know stands as
plain values on the copy of Start, so that ComfyUI's cache serves rounds that have been run; what End
remembers travels as one value on the copy of End.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import is_link

from ..models.best_of import order_by_score
from ..models.critic import Critic
from ..models.critique import Critique, JudgedImage
from ..models.errors import QuestionError
from ..models.images import tensor_to_pil
from ..models.loop import LoopStart, Round, Rounds, SeedMode, StopRules, next_prompt
from ..models.refine import RefinedPrompt
from ..models.rubrics.rubric import list_rubrics
from . import host, panel
from .judge import JudgingNode
from .loop_body import LoopBody, copy_body, find_body
from .schema import (
    CATEGORY,
    CritiqueType,
    LoopType,
    critic_input,
    phrases,
    rubric_input,
    schema,
    seed_input,
    source_input,
)

START = "RationalRewardsLoopStart"
# Inputs that only copies have; ComfyUI ignores them, and they are part of its cache keys.
ROUND, STATE = "round", "state"
# Of Refine Loop End.
OUTPUTS = 6
LISTS = (
    "`{name}` of Refine Loop End gets a list of {count}, and a loop makes one batch a round: feed the loop "
    "one item at a time, or join the list to a batch."
)
NOT_STARTED = "Connect `loop` of Refine Loop End directly to Refine Loop Start."
NOTHING_INSIDE = (
    "The image does not depend on Refine Loop Start, so every round would make the same one: wire its "
    "`prompt` to the text encoder (or its `seed` to the sampler)."
)
UNREAD = (
    "The critic's answer could not be read in any round, so there is no best image: choose another critic or "
    "rubric."
)


class RefineLoopStart(io.ComfyNode):
    """Where each round begins: the prompt as written, then as the critic rewrote it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id=START,
            display_name="Refine Loop Start",
            category=f"{CATEGORY}/loop",
            description="Begins a loop: generate, critique, refine the prompt, generate again, until the "
            "image is good. Wire prompt to the text encoder and loop to Refine Loop End; everything between "
            "the two runs again each round.",
            search_aliases=[
                "loop",
                "iterate",
                "until it is good",
                "generate until good",
                "auto refine",
                "retry",
            ],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="The prompt as you want it. Every round is judged by these words, whatever the "
                    "critic makes of them.",
                ),
                io.Int.Input(
                    "max_rounds",
                    default=3,
                    min=1,
                    max=100,
                    tooltip="Most rounds, the first one included. The loop stops before that when the image "
                    "is good enough.",
                ),
                seed_input(
                    "The seed of the first round. Wire the output seed to the sampler.",
                    optional=True,
                ),
                io.Combo.Input(
                    "seed_mode",
                    options=["same", "next"],
                    default="same",
                    optional=True,
                    tooltip="same keeps the seed, so that a better prompt mends what was wrong; next adds 1 "
                    "each round, for a new image each time.",
                ),
            ],
            outputs=[
                LoopType.Output("loop", tooltip="To Refine Loop End."),
                io.String.Output("prompt", tooltip="This round's prompt, for the text encoder."),
                io.Int.Output("round", tooltip="0 in the first round, 1 in the second, ..."),
                io.Int.Output("seed", tooltip="This round's seed, for the sampler."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    def execute(
        cls, prompt: str, max_rounds: int = 3, seed: int = 0, seed_mode: SeedMode = "same"
    ) -> io.NodeOutput:
        own = host.own_inputs(cls.hidden) if host.is_copy(cls.hidden) else {}
        start = LoopStart(prompt, max_rounds, seed, seed_mode)
        return io.NodeOutput(start, prompt, own.get(ROUND, 0), seed)


@dataclass(frozen=True)
class State:
    """What End remembers from round to round. `best` [1, H, W, C] is float, `images` are 8 bit: a quarter of
    the memory. `story` holds the panel's pages and is one object for all rounds: ComfyUI's cache keeps what
    the first round has shown, and that has to be all of it. `body` is where this round's nodes are.
    """

    rounds: Rounds
    story: panel.Page
    best: torch.Tensor | None = None
    best_item: JudgedImage | None = None
    images: tuple[torch.Tensor, ...] = ()
    comments: str = ""
    body: LoopBody | None = None


class RefineLoopEnd(JudgingNode):
    """Where each round is judged, and the next one begun."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsLoopEnd",
            display_name="Refine Loop End",
            category=f"{CATEGORY}/loop",
            description="Judges each round's image by the prompt as it was written, and runs everything "
            "since Refine Loop Start again with a better prompt until the image is good. Gives back the "
            "best round, not just the last. Of a batch, every image is judged and the best one counts.",
            search_aliases=[
                "loop",
                "iterate",
                "until it is good",
                "stop when good",
                "best round",
                "auto refine",
            ],
            inputs=[
                LoopType.Input("loop", tooltip="From Refine Loop Start."),
                critic_input(),
                io.Image.Input("image", tooltip="What this round made: one image, or a batch of candidates."),
                source_input(),
                io.Float.Input(
                    "stop_at",
                    default=0.9,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="The loop stops when the overall score reaches this. 1 wants no flaw at all.",
                ),
                io.String.Input(
                    "keep",
                    multiline=True,
                    default="",
                    optional=True,
                    tooltip="Words that must stay in the prompt in every round, one phrase per line.",
                ),
                rubric_input(list_rubrics(host.rubric_folders())),
                io.Combo.Input(
                    "stop_rule",
                    options=["score", "paper"],
                    default="score",
                    optional=True,
                    tooltip="score stops at stop_at; paper stops, as the paper does, when no dimension is "
                    "below 3 of 4.",
                ),
            ],
            outputs=[
                io.Image.Output("best_image", tooltip="The best round's image."),
                io.String.Output("best_prompt", tooltip="The prompt that it was made from."),
                io.Float.Output("best_score", tooltip="Its overall score, 0 to 1."),
                io.Image.Output(
                    "images", tooltip="Every round's best image as a batch, in the size of the first."
                ),
                io.String.Output("history", tooltip="All rounds as a markdown table."),
                CritiqueType.Output("critique", tooltip="The critique of the best image."),
            ],
            hidden=host.HIDDEN,
            is_output_node=True,
            is_input_list=True,
            enable_expand=True,
        )

    @classmethod
    def execute(cls, **lists: list[Any]) -> io.NodeOutput:
        given = _single(lists)
        critic: Critic = given["critic"]
        images: torch.Tensor = given["image"]
        sources = given.get("source_image")
        rules = StopRules(given.get("stop_at", 0.9), given.get("stop_rule", "score"))
        state: State | None = host.own_inputs(cls.hidden).get(STATE) if host.is_copy(cls.hidden) else None
        if state is None:
            state = State(Rounds(given["loop"]), {"of": "loop", "rounds": []})
        # A copy of Start gives this round's prompt and seed.
        this: LoopStart = given["loop"]
        start = state.rounds.start
        critique = critic.critique(
            tensor_to_pil(images),
            start.prompt,
            None if sources is None else tensor_to_pil(sources, "source_image"),
            rubric=given.get("rubric", "auto"),
            progress=host.progress(cls.hidden, **_so_far(state)),
        )
        state, item = _with_round(state, this, critique, images)
        why = state.rounds.why_stop(rules, host.is_asked_to_finish(cls.hidden))
        ui = cls._show(state, critic, why)
        refined = None
        if not why:
            refined = next_prompt(
                critic,
                item,
                this.prompt,
                phrases(given.get("keep", "")),
                critique.sampling,
                host.progress(cls.hidden, **_so_far(state)),
            )
            # Asked for while the prompt was written.
            if host.is_asked_to_finish(cls.hidden):
                why = "Stopped by hand after this round."
            elif state.rounds.is_repeat(refined.prompt):
                why = "Stopped: the rewritten prompt has been tried already."
            if why:
                ui = cls._show(state, critic, why)
        if why or refined is None:
            return io.NodeOutput(*_results(state, critique, why), ui=ui)
        return cls._again(replace(state, comments=refined.comments), refined, given, ui)

    @classmethod
    def _show(cls, state: State, critic: Critic, why: str) -> dict[str, Any] | None:
        """Bring the story up to date, for the page and for images saved in this run. The first round's
        `ui` and the last one's are kept by ComfyUI; the rounds between are sent.
        """
        rounds = state.rounds
        for page, fresh in zip(state.story["rounds"], panel.round_pages(rounds, why), strict=True):
            page.update(fresh)
        texts = [rounds.to_markdown(why)] if why else []
        ui = host.show_rounds(cls.hidden, state.story, texts, critic.name)
        if not why:
            host.send_rounds(cls.hidden, state.story)
        return ui if why or len(rounds.done) == 1 else None

    @classmethod
    def _again(
        cls, state: State, refined: RefinedPrompt, given: Mapping[str, Any], ui: dict[str, Any] | None
    ) -> io.NodeOutput:
        """The next round as an expansion."""
        prompt, end = host.running_prompt(cls.hidden), str(cls.hidden.unique_id)
        inputs = host.own_inputs(cls.hidden)
        link = inputs.get("loop")
        if link is None or not is_link(link) or prompt.get_node(link[0])["class_type"] != START:
            raise QuestionError(NOT_STARTED)
        body = state.body or find_body(prompt, link[0], end, host.is_output_node)
        # Linked: a constant is no image.
        if inputs["image"][0] not in body.inside:
            raise QuestionError(NOTHING_INSIDE)
        number = len(state.rounds.done)
        start = {
            "prompt": refined.prompt,
            "seed": state.rounds.start.seed_of(number),
            ROUND: number,
        }
        # As values: without a cache, ComfyUI would run again what they come from.
        outside = {
            name: given[name]
            for name, value in inputs.items()
            if is_link(value) and value[0] not in body.nodes
        }
        graph, following = copy_body(prompt, body, start, outside)
        copy = graph.nodes[following.end]
        # Looked for once: the search goes through all nodes of all rounds.
        copy.inputs[STATE] = replace(state, body=following)
        return io.NodeOutput(
            *(copy.out(index) for index in range(OUTPUTS)),
            ui=ui,
            expand=graph.finalize(),
        )


def _single(lists: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The one value of every input."""
    for name, values in lists.items():
        if len(values) != 1:
            raise QuestionError(LISTS.format(name=name, count=len(values)))
    return {name: values[0] for name, values in lists.items()}


def _so_far(state: State) -> dict[str, Any]:
    """What the panel says beside the progress."""
    rounds = state.rounds
    best = None if rounds.best is None else rounds.done[rounds.best].judgement.score
    return {"round": len(rounds.done) + 1, "rounds": rounds.start.max_rounds, "best": best}


def _with_round(
    state: State, this: LoopStart, critique: Critique, images: torch.Tensor
) -> tuple[State, JudgedImage]:
    """The state with one more round, and its best candidate."""
    candidate = order_by_score(critique.judgements)[0]
    item = critique.items[candidate]
    done = Round(
        this.prompt, this.seed, item.judgement, candidate, len(critique.items), comments=state.comments
    )
    rounds = state.rounds.plus(done)
    image = images[candidate : candidate + 1]
    state.story["rounds"].append({"thumbnail": panel.thumbnail(tensor_to_pil(image)[0])})
    kept = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    state = replace(state, rounds=rounds, images=(*state.images, kept))
    if rounds.best == len(rounds.done) - 1:
        state = replace(state, best=image, best_item=item)
    return state, item


def _results(state: State, critique: Critique, why: str) -> tuple[Any, ...]:
    """The outputs, in order."""
    rounds = state.rounds
    if rounds.best is None or state.best is None or state.best_item is None:
        raise QuestionError(UNREAD)
    best = rounds.done[rounds.best]
    return (
        state.best,
        best.prompt,
        best.judgement.score,
        _batch(state.images),
        rounds.to_markdown(why),
        Critique([state.best_item], critique.critic, critique.sampling),
    )


def _batch(images: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """One batch [B, H, W, C] of 0..1, in the size of the first image."""
    height, width, channels = images[0].shape[1:]
    fitted = []
    for image in images:
        pixels = image[..., :channels].float() / 255
        if image.shape[1:3] != (height, width):
            moved = comfy.utils.common_upscale(pixels.movedim(-1, 1), width, height, "lanczos", "center")
            pixels = moved.movedim(1, -1)
        fitted.append(pixels)
    return torch.cat(fitted)
