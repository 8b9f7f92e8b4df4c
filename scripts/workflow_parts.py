"""What the workflows of `workflow_designs.py` are made of: nodes, groups, and parts that several share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Groups: ComfyUI's part, the critic's part.
GREY, BLUE = "#78828c", "#3f789e"


@dataclass
class Node:
    """A node: widget values by name, links as {input: "node" or "node.output"}.

    `height` 0 is as low as it gets; `fill` gives it the rest of its column.
    """

    type: str
    title: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    height: int = 0
    fill: bool = False
    models: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Group:
    """A titled box; its columns are (width, names of nodes)."""

    title: str
    color: str
    columns: list[tuple[int, list[str]]]


@dataclass
class Workflow:
    """What a file holds.

    `lanes` are outputs ("node" or "node.output"), the topmost first, whose links to columns further right
    than the next run above the nodes and not under them.
    """

    nodes: dict[str, Node]
    groups: list[Group]
    lanes: list[str] = field(default_factory=list)


PROMPT = (
    "a red fox asleep on a wooden park bench, beside it a paper cup that says HELLO, autumn leaves on the "
    "ground, soft morning light, photograph"
)
INSTRUCTION = (
    "give her a yellow raincoat and an umbrella; keep her face, the hill, the sky and the clouds as they are"
)
# What example.png shows, which comes with ComfyUI.
DRAWING = (
    "a girl with large fox ears and blue eyes in a pink dress, standing on a green hill under a blue sky "
    "with two clouds"
)
RUN_TWICE = (
    "Run twice: the first run says what the critic would download (17.5 GB, once), the second starts it."
)
# Steps, cfg, name of the sampler, scheduler.
Sampling = tuple[int, float, str, str]
HUB = "https://huggingface.co/"
T2I, EDIT = "TIGER-Lab/RationalRewards-8B-T2I", "TIGER-Lab/RationalRewards-8B-Edit"


def loader(
    type: str, widget: str, directory: str, url: str, values: dict[str, Any] | None = None, **more: Any
) -> Node:
    """A loader of one file, with the address from which ComfyUI offers it where it is missing."""
    name = url.rpartition("/")[2]
    model = {"name": name, "url": HUB + url, "directory": directory}
    return Node(type, values={widget: name, **(values or {})}, models=[model], **more)


def note(text: str, height: int) -> Node:
    return Node("MarkdownNote", "Start here", {"text": text}, height=height)


def prompt(text: str = PROMPT, title: str = "Prompt", height: int = 110, fill: bool = False) -> Node:
    return Node("PrimitiveStringMultiline", title, {"value": text}, height=height, fill=fill)


def critic(checkpoint: str) -> Node:
    return Node("RationalRewardsLoadCritic", values={"checkpoint": checkpoint, "quantization": "nf4"})


def demo_critic() -> Node:
    values = {"checkpoint": "shapes demo (CPU)", "quantization": "none"}
    return Node("RationalRewardsLoadCritic", values=values)


def sampler(steps: int, cfg: float, name: str, scheduler: str, title: str = "", **links: str) -> Node:
    values = {
        "seed": 42,
        "control_after_generate": "fixed",
        "steps": steps,
        "cfg": cfg,
        "sampler_name": name,
        "scheduler": scheduler,
    }
    return Node("KSampler", title, values, {"negative": "negative", "latent_image": "latent", **links})


def decode(samples: str, vae: str) -> Node:
    return Node("VAEDecode", links={"samples": samples, "vae": vae})


def preview(images: str, title: str) -> Node:
    return Node("PreviewImage", title, links={"images": images}, height=240, fill=True)


def save(images: str, title: str, prefix: str) -> Node:
    return Node("SaveImage", title, {"filename_prefix": prefix}, {"images": images}, height=200, fill=True)


def scored(images: str, critique: str, title: str, prefix: str) -> Node:
    """What saves judged images."""
    links = {"image": images, "critique": critique}
    values = {"filename_prefix": prefix}
    return Node("RationalRewardsSaveWithScores", title, values, links, height=300, fill=True)


def text(source: str, title: str, height: int = 160, fill: bool = False) -> Node:
    return Node("PreviewAny", title, links={"source": source}, height=height, fill=fill)


def encode(prompt: str, clip: str = "checkpoint.CLIP", title: str = "") -> Node:
    return Node("CLIPTextEncode", title, links={"text": prompt, "clip": clip}, height=88)


# Heights that leave room for what the panels show, so that no result covers another node.
CRITIQUE_HEIGHT, REFINE_HEIGHT, COMPARE_HEIGHT, BEST_HEIGHT, LOOP_END_HEIGHT = 580, 560, 640, 720, 800


def critique(image: str, title: str = "", prompt: str = "prompt", **links: str) -> Node:
    links = {"critic": "critic", "image": image, "prompt": prompt, **links}
    return Node("RationalRewardsCritique", title, links=links, height=CRITIQUE_HEIGHT)


def card(critique: str, image: str, title: str = "", **links: str) -> Node:
    links = {"critique": critique, "image": image, **links}
    return Node("RationalRewardsCritiqueCard", title, links=links, height=310, fill=True)


def critique_and_refine(checkpoint: str, image: str, **links: str) -> dict[str, Node]:
    """From a first image to a critique, a card and a refined prompt."""
    return {
        "critic": critic(checkpoint),
        "critique": critique(image, **links),
        "refine": Node("RationalRewardsRefinePrompt", links={"critique": "critique"}, height=REFINE_HEIGHT),
        "card": card("critique", image, refined_prompt="refine.refined_prompt"),
    }


CRITIC = Group("Critic", BLUE, [(310, ["critic", "critique"]), (290, ["refine", "card"])])


def first_pass(sampling: Sampling, model: str, vae: str, title: str = "First image") -> dict[str, Node]:
    """From the prompt as it is written, encoded by the node "positive", to an image and its preview."""
    return {
        "first": sampler(*sampling, model=model, positive="positive"),
        "first image": decode("first", vae),
        "first preview": preview("first image", title),
    }


def second_pass(
    encoder: Node, sampling: Sampling, model: str, vae: str, title: str = "Second image"
) -> dict[str, Node]:
    """From the refined prompt, encoded by `encoder`, to an image that is saved."""
    return {
        "positive 2": encoder,
        "second": sampler(*sampling, model=model, positive="positive 2"),
        "second image": decode("second", vae),
        "result": save("second image", title, "critique-and-refine"),
    }


def second_group(title: str = "Second image") -> Group:
    return Group(title, GREY, [(250, ["positive 2", "second", "second image", "result"])])


def loop_start(text: str, max_rounds: int, seed: int, seed_mode: str) -> Node:
    values = {"prompt": text, "max_rounds": max_rounds, "seed": seed, "seed_mode": seed_mode}
    return Node("RationalRewardsLoopStart", values=values, height=250, fill=True)


def loop_end(image: str, stop_at: float, **links: str) -> dict[str, Node]:
    """The end of the loop that begins at the node "start", and what is done with its result."""
    return {
        "end": Node(
            "RationalRewardsLoopEnd",
            values={"stop_at": stop_at},
            links={"loop": "start", "critic": "critic", "image": image, **links},
            height=LOOP_END_HEIGHT,
        ),
        "saved": scored("end.best_image", "end.critique", "Save the best round", "refine-loop"),
        "best prompt": text("end.best_prompt", "Its prompt", 180),
    }
