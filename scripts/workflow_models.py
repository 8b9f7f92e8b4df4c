"""The image models of the workflows, each with what it is sampled with."""

from __future__ import annotations

from workflow_parts import (
    Node,
    Sampling,
    encode,
    loader,
    prompt,
)

SDXL_SAMPLING: Sampling = (25, 7, "dpmpp_2m", "karras")
Z_IMAGE_SAMPLING: Sampling = (8, 1, "res_multistep", "simple")
# Without guidance, which would leave less to improve; and what goes wrong with some seeds.
SHAPES_SAMPLING: Sampling = (16, 1, "euler", "simple")
SHAPES_PROMPT = "three small yellow stars on the left on a pink background"
# With its LoRA of four steps.
QWEN_EDIT_SAMPLING: Sampling = (4, 1, "euler", "simple")


def shapes_generator() -> dict[str, Node]:
    """The generator that ships with the pack, and an empty latent of the size that it was trained on."""
    return {
        "generator": Node("RationalRewardsLoadShapesGenerator"),
        "latent": Node("EmptySD3LatentImage", values={"width": 128, "height": 128, "batch_size": 1}),
    }


def sdxl() -> dict[str, Node]:
    """SDXL with a prompt, a negative prompt and an empty latent."""
    file = "stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors"
    return {
        "prompt": prompt(),
        "checkpoint": loader("CheckpointLoaderSimple", "ckpt_name", "checkpoints", file),
        "positive": encode("prompt"),
        "negative": Node(
            "CLIPTextEncode",
            "Negative prompt",
            {"text": "blurry, deformed, watermark"},
            {"clip": "checkpoint.CLIP"},
            88,
        ),
        "latent": Node("EmptyLatentImage", values={"width": 1024, "height": 1024, "batch_size": 1}),
    }


def z_image(prompt: str) -> dict[str, Node]:
    """Z-Image-Turbo with an encoded prompt and an empty latent; the model is "shift", the VAE "vae"."""
    files = "Comfy-Org/z_image_turbo/resolve/main/split_files/"
    return {
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
        "positive": encode(prompt, "clip"),
        "negative": Node("ConditioningZeroOut", links={"conditioning": "positive"}),
    }


def qwen_image_edit(prompt: str) -> dict[str, Node]:
    """Qwen-Image-Edit 2511 with an image to edit, scaled as "scaled", its latent and an encoded instruction;
    the model is "shift", the VAE "vae".
    """
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
    return {
        "source": Node("LoadImage", "Image to edit", {"image": "example.png"}, height=290, fill=True),
        "scaled": Node("FluxKontextImageScale", "Scale the image", links={"image": "source"}),
        "unet": loader("UNETLoader", "unet_name", "diffusion_models", unet),
        "lora": loader("LoraLoaderModelOnly", "lora_name", "loras", lora, links={"model": "unet"}),
        "shift": Node("ModelSamplingAuraFlow", values={"shift": 3.1}, links={"model": "lora"}),
        "clip": loader("CLIPLoader", "clip_name", "text_encoders", clip, {"type": "qwen_image"}),
        "vae": loader("VAELoader", "vae_name", "vae", vae),
        "latent": Node("VAEEncode", links={"pixels": "scaled", "vae": "vae"}),
        "positive": encode_edit(prompt, "Encode the instruction"),
        "negative": Node("ConditioningZeroOut", links={"conditioning": "positive"}),
    }


def encode_edit(prompt: str, title: str) -> Node:
    """An instruction for the model of `qwen_image_edit`."""
    links = {"clip": "clip", "vae": "vae", "image1": "scaled", "prompt": prompt}
    return Node("TextEncodeQwenImageEditPlus", title, links=links)
