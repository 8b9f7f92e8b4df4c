"""The workflows in which several images of one prompt are judged; see `workflow_designs.py`."""

from __future__ import annotations

from workflow_models import (
    SDXL_SAMPLING,
    sdxl,
)
from workflow_parts import (
    BEST_HEIGHT,
    BLUE,
    GREY,
    RUN_TWICE,
    T2I,
    Group,
    Node,
    Workflow,
    critic,
    critique,
    decode,
    note,
    preview,
    prompt,
    sampler,
    save,
    scored,
    text,
)


def several(number: int, title: str) -> dict[str, Node]:
    """A prompt, `number` images of it and their preview, and a critic."""
    nodes = {
        **sdxl(),
        "prompt": prompt(fill=True),
        "sampler": sampler(*SDXL_SAMPLING, model="checkpoint", positive="positive"),
        "images": decode("sampler", "checkpoint.VAE"),
        "preview": preview("images", title),
        "critic": critic(T2I),
    }
    nodes["latent"].values["batch_size"] = number
    return nodes


def score_a_batch() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt; *batch_size* is how many images are made.\n"
        f"2. {RUN_TWICE}\n\n"
        "*Save with Scores* writes each image's scores and reasons into its PNG. The arrows on *Critique* "
        "turn from "
        "image to image."
    )
    nodes = {
        "note": note(words, 230),
        **several(4, "Four images"),
        "critique": critique("images"),
        "scores": text("critique.score", "Scores, 0 to 1", 160),
        "saved": scored("images", "critique", "", "scored"),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Prompt and model",
                GREY,
                [(270, ["note", "prompt", "checkpoint", "latent"])],
            ),
            Group("Four images", GREY, [(270, ["positive", "negative", "sampler", "images", "preview"])]),
            Group("Critic", BLUE, [(340, ["critic", "critique"])]),
            Group("Results", BLUE, [(340, ["saved", "scores"])]),
        ],
        ["prompt"],
    )


def best_of_eight() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt; *batch_size* is how many images are made.\n"
        f"2. {RUN_TWICE}\n\n"
        "*Best of Batch* judges all eight and passes the best on. *tournament* compares them two at a time: "
        "finer and slower. With a *threshold* nothing passes and nothing is saved unless one is good enough."
    )
    nodes = {
        "note": note(words, 230),
        **several(8, "Eight images"),
        "best": Node(
            "RationalRewardsBestOf",
            links={"critic": "critic", "image": "images", "prompt": "prompt"},
            height=BEST_HEIGHT,
        ),
        "winner": save("best.best_image", "The best one", "best-of-eight"),
        "rejected": preview("best.rejected", "The others, best first"),
    }
    return Workflow(
        nodes,
        [
            Group("Prompt and model", GREY, [(300, ["note", "prompt", "checkpoint", "latent"])]),
            Group("Eight images", GREY, [(300, ["positive", "negative", "sampler", "images", "preview"])]),
            Group("Critic", BLUE, [(400, ["critic", "best"])]),
            Group("The best, and the others", GREY, [(400, ["winner", "rejected"])]),
        ],
        ["prompt"],
    )


def best_of_n_into_train_lora() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt; *batch_size* is how many images are made, "
        "*keep_top* how many are kept.\n"
        f"2. {RUN_TWICE}\n\n"
        "Reward-filtered fine-tuning: the model paints, the critic judges, and a LoRA learns from the best "
        "alone, so that more images are like them. It takes far more memory than painting. Move the LoRA "
        "from *output/loras* to *models/loras* to load it."
    )
    nodes = {
        "note": note(words, 216),
        **several(8, "Eight images"),
        "best": Node(
            "RationalRewardsBestOf",
            values={"keep_top": 3},
            links={"critic": "critic", "image": "images", "prompt": "prompt"},
            height=BEST_HEIGHT,
        ),
        "encoded": Node("VAEEncode", links={"pixels": "best.best_image", "vae": "checkpoint.VAE"}),
        "training": Node(
            "TrainLoraNode",
            values={"steps": 100, "learning_rate": 0.0001, "control_after_generate": "fixed"},
            links={"model": "checkpoint", "latents": "encoded", "positive": "positive"},
        ),
        "kept": preview("best.best_image", "What it learns from"),
        "lora": Node(
            "SaveLoRA",
            values={"prefix": "loras/best-of-n"},
            links={"lora": "training.lora", "steps": "training.steps"},
        ),
        "loss": Node("LossGraphNode", links={"loss": "training.loss_map"}, height=220, fill=True),
    }
    return Workflow(
        nodes,
        [
            Group("Prompt and model", GREY, [(300, ["note", "checkpoint", "prompt", "latent"])]),
            Group("Eight images", GREY, [(300, ["positive", "negative", "sampler", "images", "preview"])]),
            Group("The best three", BLUE, [(400, ["critic", "best"])]),
            Group(
                "A LoRA learns from them",
                GREY,
                [(290, ["encoded", "training", "kept"]), (290, ["lora", "loss"])],
            ),
        ],
        ["checkpoint", "checkpoint.VAE", "prompt", "positive"],
    )
