"""The workflows that come with the pack: their nodes, links, values and groups.

`make_workflows.py` draws them.
"""

from __future__ import annotations

from workflow_loops import refine_loop_no_download, refine_loop_sdxl
from workflow_parts import (
    BLUE,
    COMPARE_HEIGHT,
    CRITIC,
    EDIT,
    GREY,
    REFINE_HEIGHT,
    RUN_TWICE,
    SDXL_SAMPLING,
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
    loader,
    note,
    preview,
    prompt,
    sampler,
    save,
    sdxl,
    second_group,
    second_pass,
    text,
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
    sampling = (8, 1, "res_multistep", "simple")
    files = "Comfy-Org/z_image_turbo/resolve/main/split_files/"
    nodes = {
        "note": note(words, 190),
        "prompt": prompt(fill=True),
        "latent": Node("EmptySD3LatentImage", values={"width": 1024, "height": 1024, "batch_size": 1}),
        "unet": loader(
            "UNETLoader",
            "unet_name",
            "diffusion_models",
            f"{files}diffusion_models/z_image_turbo_bf16.safetensors",
        ),
        "shift": Node("ModelSamplingAuraFlow", values={"shift": 3}, links={"model": "unet"}),
        "clip": loader(
            "CLIPLoader",
            "clip_name",
            "text_encoders",
            f"{files}text_encoders/qwen_3_4b.safetensors",
            {"type": "lumina2"},
        ),
        "vae": loader("VAELoader", "vae_name", "vae", f"{files}vae/ae.safetensors"),
        "positive": encode("prompt", "clip"),
        "negative": Node("ConditioningZeroOut", links={"conditioning": "positive"}),
        **first_pass(sampling, "shift", "vae"),
        **critique_and_refine(T2I, "first image"),
        **second_pass(encode("refine.refined_prompt", "clip"), sampling, "shift", "vae"),
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
    instruction = (
        "give her a yellow raincoat and an umbrella; keep her face, the hill, the sky and the "
        "clouds as they are"
    )
    sampling = (4, 1, "euler", "simple")
    vae = "Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files/vae/qwen_image_vae.safetensors"
    unet = (
        "Comfy-Org/Qwen-Image-Edit_ComfyUI/resolve/main/split_files/diffusion_models/"
        "qwen_image_edit_2511_fp8mixed.safetensors"
    )
    clip = (
        "Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files/text_encoders/"
        "qwen_2.5_vl_7b_fp8_scaled.safetensors"
    )
    lora = (
        "lightx2v/Qwen-Image-Edit-2511-Lightning/resolve/main/"
        "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors"
    )

    def encode_edit(prompt: str, title: str) -> Node:
        links = {"clip": "clip", "vae": "vae", "image1": "scaled", "prompt": prompt}
        return Node("TextEncodeQwenImageEditPlus", title, links=links)

    nodes = {
        "note": note(words, 230),
        "prompt": prompt(instruction, "Instruction", 120),
        "source": Node("LoadImage", "Image to edit", {"image": "example.png"}, fill=True),
        "scaled": Node("FluxKontextImageScale", "Scale the image", links={"image": "source"}),
        "unet": loader("UNETLoader", "unet_name", "diffusion_models", unet),
        "lora": loader("LoraLoaderModelOnly", "lora_name", "loras", lora, links={"model": "unet"}),
        "shift": Node("ModelSamplingAuraFlow", values={"shift": 3.1}, links={"model": "lora"}),
        "clip": loader("CLIPLoader", "clip_name", "text_encoders", clip, {"type": "qwen_image"}),
        "vae": loader("VAELoader", "vae_name", "vae", vae),
        "latent": Node("VAEEncode", links={"pixels": "scaled", "vae": "vae"}),
        "positive": encode_edit("prompt", "Encode the instruction"),
        "negative": Node("ConditioningZeroOut", links={"conditioning": "positive"}),
        **first_pass(sampling, "shift", "vae", "First edit"),
        **critique_and_refine(EDIT, "first image", source_image="scaled"),
        **second_pass(
            encode_edit("refine.refined_prompt", "Encode refined instruction"),
            sampling,
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


def score_a_batch() -> Workflow:
    words = (
        "1. Choose an SDXL checkpoint and write your prompt; *batch_size* is how many images are made.\n"
        f"2. {RUN_TWICE}\n\n"
        "*Save with Scores* writes each image's scores and reasons into its PNG. The arrows on *Critique* "
        "turn "
        "from image to image."
    )
    nodes = {
        "note": note(words, 230),
        **sdxl(),
        "prompt": prompt(fill=True),
        "sampler": sampler(*SDXL_SAMPLING, model="checkpoint", positive="positive"),
        "images": decode("sampler", "checkpoint.VAE"),
        "preview": preview("images", "Four images"),
        "critic": critic(T2I),
        "critique": critique("images"),
        "scores": text("critique.score", "Scores, 0 to 1", 160),
        "saved": Node(
            "RationalRewardsSaveWithScores",
            values={"filename_prefix": "scored"},
            links={"image": "images", "critique": "critique"},
            height=300,
            fill=True,
        ),
    }
    nodes["latent"].values["batch_size"] = 4
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


def judge_a_picture() -> Workflow:
    words = (
        "1. Choose your image and write the prompt it was made from.\n"
        f"2. {RUN_TWICE}\n\n"
        "Nothing is generated here: no checkpoint but the critic is needed. *Compare* meets a blurred "
        "copy; wire "
        "any other image in its place."
    )
    drawing = (
        "a girl with large fox ears and blue eyes in a pink dress, standing on a green hill under a "
        "blue sky with two clouds"
    )
    ask = {"critic": "critic", "prompt": "prompt"}
    nodes = {
        "note": note(words, 150),
        "prompt": prompt(drawing),
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
        "note": note(words, 170),
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
    "compare-two-samplers": compare_two_samplers,
    "critique-and-refine-edit": critique_and_refine_edit,
    "critique-and-refine-sdxl": critique_and_refine_sdxl,
    "critique-and-refine-z-image": critique_and_refine_z_image,
    "judge-a-picture": judge_a_picture,
    "refine-loop-sdxl": refine_loop_sdxl,
    "score-a-batch": score_a_batch,
}
