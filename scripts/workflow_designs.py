"""The workflows that come with the pack: their nodes, links, values and groups.

`make_workflows.py` draws them.
"""

from __future__ import annotations

from workflow_batches import (
    best_of_eight,
    best_of_n_into_train_lora,
    score_a_batch,
)
from workflow_loops import (
    generator_loop_no_download,
    refine_loop_edit,
    refine_loop_no_download,
    refine_loop_sdxl,
    refine_loop_z_image,
)
from workflow_models import (
    QWEN_EDIT_SAMPLING,
    SDXL_SAMPLING,
    Z_IMAGE_SAMPLING,
    encode_edit,
    qwen_image_edit,
    sdxl,
    z_image,
)
from workflow_parts import (
    BLUE,
    COMPARE_HEIGHT,
    CRITIC,
    DRAWING,
    EDIT,
    GREY,
    INSTRUCTION,
    REFINE_HEIGHT,
    RUN_TWICE,
    T2I,
    Group,
    Node,
    Workflow,
    card,
    critic,
    critique,
    critique_and_refine,
    decode,
    demo_critic,
    encode,
    first_pass,
    note,
    preview,
    prompt,
    sampler,
    save,
    scored,
    second_group,
    second_pass,
)


def critique_and_refine_sdxl() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt.\n"
        f"2. {RUN_TWICE}\n\n"
        "Both images have the same seed, so only the prompt differs. Phrases that must stay in it go "
        "into *keep*."
    )
    nodes = {
        "note": note(words, 190),
        **sdxl(),
        **first_pass(SDXL_SAMPLING, "checkpoint", "checkpoint.VAE"),
        **critique_and_refine(T2I, "first image"),
        **second_pass(encode("refine.refined_prompt"), SDXL_SAMPLING, "checkpoint", "checkpoint.VAE"),
    }
    return Workflow(
        nodes,
        [
            Group("Prompt and model", GREY, [(270, ["note", "prompt", "checkpoint", "latent"])]),
            Group(
                "First image",
                GREY,
                [(250, ["positive", "negative", "first", "first image", "first preview"])],
            ),
            CRITIC,
            second_group(),
        ],
        ["prompt", "negative"],
    )


def critique_and_refine_z_image() -> Workflow:
    words = (
        "1. Load the three files of Z-Image-Turbo; ComfyUI offers those that are missing.\n"
        f"2. Write your prompt. {RUN_TWICE}\n\n"
        "Both images have the same seed, so only the prompt differs."
    )
    nodes = {
        "note": note(words, 190),
        "prompt": prompt(fill=True),
        **z_image("prompt"),
        **first_pass(Z_IMAGE_SAMPLING, "shift", "vae"),
        **critique_and_refine(T2I, "first image"),
        **second_pass(encode("refine.refined_prompt", "clip"), Z_IMAGE_SAMPLING, "shift", "vae"),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Prompt and model",
                GREY,
                [
                    (270, ["note", "prompt", "unet", "shift", "clip", "vae"]),
                ],
            ),
            Group(
                "First image",
                GREY,
                [(250, ["latent", "positive", "negative", "first", "first image", "first preview"])],
            ),
            CRITIC,
            second_group(),
        ],
        ["prompt", "latent", "negative"],
    )


def critique_and_refine_edit() -> Workflow:
    words = (
        "1. Choose an image and say what to change.\n"
        "2. Load the files of Qwen-Image-Edit 2511 and its 4-step LoRA; ComfyUI offers those that are "
        "missing.\n"
        f"3. {RUN_TWICE}\n\n"
        "The critic sees the image before and after, and says what the edit should have left alone."
    )
    nodes = {
        "note": note(words, 230),
        "prompt": prompt(INSTRUCTION, "Instruction", 120),
        **qwen_image_edit("prompt"),
        **first_pass(QWEN_EDIT_SAMPLING, "shift", "vae", "First edit"),
        **critique_and_refine(EDIT, "first image", source_image="scaled"),
        **second_pass(
            encode_edit("refine.refined_prompt", "Encode refined instruction"),
            QWEN_EDIT_SAMPLING,
            "shift",
            "vae",
            "Second edit",
        ),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Image and model",
                GREY,
                [
                    (250, ["note", "prompt", "source"]),
                    (260, ["unet", "lora", "shift", "clip", "vae", "scaled", "latent"]),
                ],
            ),
            Group(
                "First edit", GREY, [(250, ["positive", "negative", "first", "first image", "first preview"])]
            ),
            CRITIC,
            second_group("Second edit"),
        ],
        ["prompt", "negative"],
    )


def compare_two_samplers() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt.\n"
        "2. Change whatever you want to compare: a sampler, its cfg, its steps.\n"
        f"3. {RUN_TWICE}\n\n"
        "The better image is saved, and the Compare node says why it is better."
    )
    ask = {"critic": "critic", "image_a": "image a", "image_b": "image b", "prompt": "prompt"}
    nodes = {
        "note": note(words, 210),
        **sdxl(),
        "prompt": prompt(fill=True),
        "sampler a": sampler(*SDXL_SAMPLING, "Sampler A", model="checkpoint", positive="positive"),
        "image a": decode("sampler a", "checkpoint.VAE"),
        "preview a": preview("image a", "Image A"),
        "sampler b": sampler(25, 5, "euler", "normal", "Sampler B", model="checkpoint", positive="positive"),
        "image b": decode("sampler b", "checkpoint.VAE"),
        "preview b": preview("image b", "Image B"),
        "critic": critic(T2I),
        "compare": Node("RationalRewardsCompare", links=ask, height=COMPARE_HEIGHT),
        "winner": save("compare.winner_image", "The better image", "winner"),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Prompt and model",
                GREY,
                [(270, ["note", "prompt", "checkpoint", "latent"])],
            ),
            Group(
                "Two samplers, one seed",
                GREY,
                [
                    (250, ["positive", "negative", "sampler a", "sampler b"]),
                    (240, ["image a", "preview a", "image b", "preview b"]),
                ],
            ),
            Group("Critic", BLUE, [(330, ["critic", "compare"]), (290, ["winner"])]),
        ],
        ["prompt"],
    )


def judge_a_picture() -> Workflow:
    words = (
        "1. Choose your image and write the prompt it was made from.\n"
        f"2. {RUN_TWICE}\n\n"
        "Nothing is generated here: no checkpoint but the critic is needed. *Compare* meets a blurred "
        "copy; wire "
        "any other image in its place."
    )
    ask = {"critic": "critic", "prompt": "prompt"}
    nodes = {
        "note": note(words, 150),
        "prompt": prompt(DRAWING),
        "picture": Node("LoadImage", "Your image", {"image": "example.png"}, height=330, fill=True),
        "other": Node("ImageBlur", "A blurred copy", {"blur_radius": 12, "sigma": 6.0}, {"image": "picture"}),
        **critique_and_refine(T2I, "picture"),
        "compare": Node(
            "RationalRewardsCompare",
            links={"image_a": "picture", "image_b": "other", **ask},
            height=COMPARE_HEIGHT,
        ),
    }
    return Workflow(
        nodes,
        [
            Group("Image and prompt", GREY, [(340, ["note", "prompt", "picture"])]),
            CRITIC,
            Group("Compare", BLUE, [(340, ["other", "compare"])]),
        ],
        ["prompt", "picture", "critic"],
    )


def inpaint_after_critique() -> Workflow:
    words = (
        "1. Choose an image, its prompt and an SDXL checkpoint.\n"
        f"2. {RUN_TWICE} *Critique* says what is wrong.\n"
        "3. Paint over it: right-click the image, *Open in MaskEditor*. Run again.\n\n"
        "Only that is made anew, with the refined prompt; all else stays, pixel by pixel."
    )
    nodes = {
        "note": note(words, 195),
        "prompt": prompt(DRAWING, height=90),
        "picture": Node("LoadImage", "Your image", {"image": "example.png"}, height=330, fill=True),
        "checkpoint": sdxl()["checkpoint"],
        "critic": critic(T2I),
        "critique": critique("picture"),
        "refine": Node("RationalRewardsRefinePrompt", links={"critique": "critique"}, height=REFINE_HEIGHT),
        "positive": encode("refine.refined_prompt"),
        "negative": sdxl()["negative"],
        "grown": Node("GrowMask", "A little more", {"expand": 12}, {"mask": "picture.MASK"}),
        "encoded": Node("VAEEncode", links={"pixels": "picture", "vae": "checkpoint.VAE"}),
        "latent": Node("SetLatentNoiseMask", links={"samples": "encoded", "mask": "grown"}),
        "sampler": sampler(*SDXL_SAMPLING, "Make it anew", model="checkpoint", positive="positive"),
        "image": decode("sampler", "checkpoint.VAE"),
        "joined": Node(
            "ImageCompositeMasked",
            "Only what was painted over",
            links={"destination": "picture", "source": "image", "mask": "grown"},
        ),
        "critique 2": critique("joined", "Judged again"),
        "saved": scored("joined", "critique 2", "Save the repaired image", "inpaint-after-critique"),
    }
    nodes["sampler"].values["denoise"] = 0.75
    # Older pages give it more room, and a node stands below it.
    nodes["critique 2"].height = 680
    nodes["saved"].height = 180
    return Workflow(
        nodes,
        [
            Group("Image and prompt", GREY, [(280, ["note", "prompt", "picture"])]),
            Group("Critic", BLUE, [(300, ["critic", "critique"]), (270, ["refine", "checkpoint"])]),
            Group(
                "Only what was painted over",
                GREY,
                [
                    (230, ["grown", "encoded", "latent", "positive", "negative"]),
                    (240, ["sampler", "image", "joined"]),
                ],
            ),
            Group("Judged again", BLUE, [(280, ["critique 2", "saved"])]),
        ],
        ["prompt", "picture", "picture.MASK", "critic"],
    )


def shapes_demo_no_download() -> Workflow:
    words = (
        "1. Run. **Nothing is downloaded**: the painter paints coloured shapes, and the critic is a tiny one "
        "that comes with the pack. It needs transformers 5 or newer.\n"
        "2. Change the prompt or both seeds, and run again.\n\n"
        "The painter makes mistakes on purpose. Both images have the same seed, so only the prompt "
        "differs; both are judged by the first prompt."
    )
    asked = "a red star between a blue circle and a yellow square on a pink background with the word SUN"

    def paint(title: str, prompt: str) -> Node:
        values = {"seed": 3, "control_after_generate": "fixed", "prompt": ""}
        return Node("RationalRewardsShapesPainter", title, values, {"prompt": prompt})

    nodes = {
        "note": note(words, 215),
        "prompt": prompt(asked, fill=True),
        "critic": demo_critic(),
        "first": paint("First image", "prompt"),
        "first preview": preview("first", "First image"),
        "critique": critique("first", "Critique of the first image"),
        "refine": Node("RationalRewardsRefinePrompt", links={"critique": "critique"}, height=REFINE_HEIGHT),
        "card": card("critique", "first", refined_prompt="refine.refined_prompt"),
        "second": paint("Second image", "refine.refined_prompt"),
        "second preview": preview("second", "Second image"),
        "critique 2": critique("second", "Critique of the second image"),
    }
    return Workflow(
        nodes,
        [
            Group(
                "Prompt, critic, first image",
                GREY,
                [(250, ["note", "prompt"]), (240, ["critic", "first", "first preview"])],
            ),
            Group("Critic", BLUE, [(300, ["critique"]), (280, ["refine", "card"])]),
            Group("Second image", GREY, [(220, ["second", "second preview"])]),
            Group("Judged again", BLUE, [(300, ["critique 2"])]),
        ],
        ["prompt", "critic"],
    )


# By file name. ComfyUI lists templates by their names: those that need no download come first.
MAKERS = {
    "1-shapes-demo-no-download": shapes_demo_no_download,
    "2-refine-loop-no-download": refine_loop_no_download,
    "3-generator-loop-no-download": generator_loop_no_download,
    "best-of-eight": best_of_eight,
    "best-of-n-into-train-lora": best_of_n_into_train_lora,
    "compare-two-samplers": compare_two_samplers,
    "critique-and-refine-edit": critique_and_refine_edit,
    "critique-and-refine-sdxl": critique_and_refine_sdxl,
    "critique-and-refine-z-image": critique_and_refine_z_image,
    "inpaint-after-critique": inpaint_after_critique,
    "judge-a-picture": judge_a_picture,
    "refine-loop-edit": refine_loop_edit,
    "refine-loop-sdxl": refine_loop_sdxl,
    "refine-loop-z-image": refine_loop_z_image,
    "score-a-batch": score_a_batch,
}
