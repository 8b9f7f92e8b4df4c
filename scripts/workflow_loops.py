"""The workflows in which an image is made again until it is good; see `workflow_designs.py`."""

from __future__ import annotations

from workflow_models import (
    QWEN_EDIT_SAMPLING,
    SDXL_SAMPLING,
    SHAPES_PROMPT,
    SHAPES_SAMPLING,
    Z_IMAGE_SAMPLING,
    qwen_image_edit,
    sdxl,
    shapes_generator,
    z_image,
)
from workflow_parts import (
    BLUE,
    EDIT,
    GREY,
    INSTRUCTION,
    PROMPT,
    RUN_TWICE,
    T2I,
    Group,
    Node,
    Workflow,
    critic,
    decode,
    demo_critic,
    encode,
    loop_end,
    loop_start,
    note,
    preview,
    sampler,
)

# Of images that need three rounds.
DEMO_SEED = 142_560_884
GENERATOR_SEED = 10


def refine_loop_no_download() -> Workflow:
    words = (
        "1. Run. **Nothing is downloaded**: the painter paints coloured shapes, and the critic is a tiny one "
        "that comes with the pack. It needs transformers 5 or newer.\n"
        "2. Change the prompt or the seed, and run again.\n\n"
        "*Refine Loop End* judges each round and has the painter paint again with a better prompt. Click a "
        "round to read what was wrong and what changed in its prompt."
    )
    asked = "two small blue squares on the left and a red star on a pink background with the word SUN"
    nodes = {
        "note": note(words, 200),
        "start": loop_start(asked, 5, DEMO_SEED, "next"),
        "critic": demo_critic(),
        "painter": Node(
            "RationalRewardsShapesPainter",
            "Paint a round",
            {"prompt": "", "flaws": 1.0, "control_after_generate": "fixed"},
            {"prompt": "start.prompt", "seed": "start.seed"},
        ),
        "round": preview("painter", "This round"),
        **loop_end("painter", 0.95),
    }
    return Workflow(
        nodes,
        [
            Group("Prompt", GREY, [(270, ["note", "start"])]),
            Group("Critic and painter", GREY, [(250, ["critic", "painter", "round"])]),
            Group("Judged, and refined", BLUE, [(340, ["end"])]),
            Group("The best round", GREY, [(280, ["saved", "best prompt"])]),
        ],
        ["start"],
    )


def generator_loop_no_download() -> Workflow:
    words = (
        "1. Run. **Nothing is downloaded**: the generator is a real diffusion model in miniature, the critic "
        "a tiny one, and both come with the pack. It needs transformers 5 or newer.\n"
        "2. Change the prompt or the seed, and run again.\n\n"
        "The generator errs by itself, as large ones do; with many seeds it does not. It knows one thing a "
        "picture, such as *two large red circles in the middle*."
    )
    nodes = {
        "note": note(words, 210),
        **shapes_generator(),
        "start": loop_start(SHAPES_PROMPT, 5, GENERATOR_SEED, "next"),
        "positive": encode("start.prompt", "generator.clip"),
        "negative": Node("ConditioningZeroOut", links={"conditioning": "positive"}),
        "sampler": sampler(*SHAPES_SAMPLING, model="generator", positive="positive", seed="start.seed"),
        "image": decode("sampler", "generator.vae"),
        "round": preview("image", "This round"),
        "critic": demo_critic(),
        **loop_end("image", 0.95),
    }
    return Workflow(
        nodes,
        [
            Group("Prompt and generator", GREY, [(290, ["note", "generator", "start", "latent"])]),
            Group(
                "Critic and sampler",
                GREY,
                [(250, ["critic", "positive", "negative", "sampler"]), (220, ["image", "round"])],
            ),
            Group("Judged, and refined", BLUE, [(360, ["end"])]),
            Group("The best round", GREY, [(300, ["saved", "best prompt"])]),
        ],
        ["start", "generator.vae", "critic"],
    )


def refine_loop_sdxl() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt.\n"
        f"2. {RUN_TWICE}\n\n"
        "*Refine Loop End* judges each round, and all since *Refine Loop Start* runs again with a better "
        "prompt until the score reaches *stop_at*. Phrases that must stay go into *keep*."
    )
    nodes = {
        **sdxl(),
        "note": note(words, 180),
        "start": loop_start(PROMPT, 4, 42, "same"),
        "positive": encode("start.prompt"),
        "sampler": sampler(*SDXL_SAMPLING, model="checkpoint", positive="positive", seed="start.seed"),
        "image": decode("sampler", "checkpoint.VAE"),
        "critic": critic(T2I),
        **loop_end("image", 0.9),
        "all": preview("end.images", "All rounds"),
    }
    del nodes["prompt"]
    return Workflow(
        nodes,
        [
            Group("Prompt and model", GREY, [(290, ["note", "start", "checkpoint", "latent"])]),
            Group(
                "Critic and sampler", GREY, [(280, ["critic", "positive", "negative", "sampler", "image"])]
            ),
            Group("Judged, and refined", BLUE, [(360, ["end"])]),
            Group("The best round", GREY, [(320, ["saved", "all", "best prompt"])]),
        ],
        ["start"],
    )


def refine_loop_z_image() -> Workflow:
    words = (
        "1. Load the three files of Z-Image-Turbo; ComfyUI offers those that are missing.\n"
        f"2. Write your prompt. {RUN_TWICE}\n\n"
        "*Refine Loop End* judges each round, and all since *Refine Loop Start* runs again with a better "
        "prompt until the score reaches *stop_at*. Models are loaded once."
    )
    nodes = {
        "note": note(words, 200),
        "start": loop_start(PROMPT, 4, 42, "same"),
        **z_image("start.prompt"),
        "sampler": sampler(*Z_IMAGE_SAMPLING, model="shift", positive="positive", seed="start.seed"),
        "image": decode("sampler", "vae"),
        "critic": critic(T2I),
        **loop_end("image", 0.9),
        "all": preview("end.images", "All rounds"),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Prompt and model",
                GREY,
                [(270, ["note", "start"]), (250, ["unet", "shift", "clip", "vae", "latent"])],
            ),
            Group(
                "Critic and sampler", GREY, [(280, ["critic", "positive", "negative", "sampler", "image"])]
            ),
            Group("Judged, and refined", BLUE, [(360, ["end"])]),
            Group("The best round", GREY, [(320, ["saved", "all", "best prompt"])]),
        ],
        ["start", "negative"],
    )


def refine_loop_edit() -> Workflow:
    words = (
        "1. Choose an image and say what to change.\n"
        "2. Load the files of Qwen-Image-Edit 2511 and its 4-step LoRA; ComfyUI offers those that are "
        "missing.\n"
        f"3. {RUN_TWICE}\n\n"
        "Each round edits *your* image again, never the edit of the round before, so nothing wears out."
    )
    nodes = {
        "note": note(words, 216),
        "start": loop_start(INSTRUCTION, 4, 42, "same"),
        **qwen_image_edit("start.prompt"),
        "sampler": sampler(*QWEN_EDIT_SAMPLING, model="shift", positive="positive", seed="start.seed"),
        "image": decode("sampler", "vae"),
        "critic": critic(EDIT),
        **loop_end("image", 0.9, source_image="scaled"),
        "all": preview("end.images", "All rounds"),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Image and model",
                GREY,
                [
                    (240, ["note", "start", "source"]),
                    (240, ["scaled", "unet", "lora", "shift", "clip", "vae", "latent"]),
                ],
            ),
            Group(
                "Critic and sampler",
                GREY,
                [(250, ["critic", "positive", "negative"]), (240, ["sampler", "image"])],
            ),
            Group("Judged, and refined", BLUE, [(330, ["end"])]),
            Group("The best round", GREY, [(270, ["saved", "all", "best prompt"])]),
        ],
        ["start", "scaled", "negative"],
    )
