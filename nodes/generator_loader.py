"""The shapes generator's file as ComfyUI's own objects: model and autoencoder by the core loader, the text
encoder by core's T5 with a tokenizer of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.t5
import comfy.utils
import folder_paths
from comfy import sd1_clip

from ..demo.generator import files, text
from ..models.errors import CheckpointError

# How core names this text encoder, and the part of it that has the weights.
NAME = "shapes"
WEIGHTS = f"{NAME}.transformer."


def load_generator(file: Path = files.SHIPPED) -> tuple[Any, Any, Any]:
    """(MODEL, CLIP, VAE) of a generator's file. Raises CheckpointError where it is missing."""
    weights = _read(file)
    encoder = {
        WEIGHTS + name.removeprefix(files.TEXT): weights.pop(name)
        for name in list(weights)
        if name.startswith(files.TEXT)
    }
    model, vae = _painter(weights)
    # Core's trainer of LoRAs wants a model with weights of its own, and core's loaders say so how to get one.
    model.cached_patcher_init = (load_model, (file,))
    return model, _clip(encoder), vae


def load_model(file: Path, **options: Any) -> Any:
    """The MODEL alone, which shares nothing with another; `options` are those of core's loader. Raises
    CheckpointError where the file is missing.
    """
    return _painter(_read(file), output_vae=False, **options)[0]


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise CheckpointError(f"{file.name} is missing in {file.parent}: install this pack again.")
    return comfy.utils.load_torch_file(str(file), safe_load=True)


def _painter(weights: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """(MODEL, VAE) by core's loader."""
    colours = weights.pop(files.PREVIEW)
    model, _, vae, _ = comfy.sd.load_state_dict_guess_config(weights, output_clip=False, **options)
    model.model.latent_format = ShapesLatents(colours)
    return model, vae


def _clip(weights: dict[str, Any]) -> Any:
    target = comfy.supported_models_base.ClipTarget(ShapesTokenizers, _encoder(_config(weights)))
    return comfy.sd.CLIP(
        target,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        parameters=comfy.utils.calculate_parameters(weights),
        tokenizer_data=weights,
        state_dict=weights,
    )


class ShapesLatents(comfy.latent_formats.SD3):
    """SD3's latents with colours of their own in previews."""

    # Core would look for the decoder of SD3's latents.
    taesd_decoder_name = None

    def __init__(self, colours: Any):
        """`colours` [17, 3]: what each channel adds to red, green and blue, and where they start."""
        super().__init__()
        self.latent_rgb_factors = colours[:-1].float().tolist()
        self.latent_rgb_factors_bias = colours[-1].float().tolist()


class Words:
    """The tokenizer, as core asks for it."""

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> Words:
        """Core's way to make one; there is nothing to read."""
        return cls()

    def __call__(self, prompt: str) -> dict[str, list[int]]:
        return {"input_ids": [text.START, *text.tokens_of(prompt), text.END]}

    def get_vocab(self) -> dict[str, int]:
        """All tokens by name."""
        return {"<pad>": text.PAD, "<s>": text.START, "</s>": text.END, "<unk>": text.UNKNOWN, **text.TOKENS}


class ShapesTokenizer(sd1_clip.SDTokenizer):
    """Prompts of any length, padded to a multiple of 8."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = {}):
        super().__init__(
            pad_with_end=False,
            embedding_directory=embedding_directory,
            embedding_size=tokenizer_data[f"{WEIGHTS}shared.weight"].shape[1],
            embedding_key=NAME,
            tokenizer_class=Words,
            pad_to_max_length=False,
            # None that a prompt reaches.
            max_length=10**6,
            tokenizer_data=tokenizer_data,
        )

    def tokenize_with_weights(self, *arguments: Any, **options: Any) -> Any:
        """As core's, every chunk padded."""
        chunks = super().tokenize_with_weights(*arguments, **options)
        for chunk in chunks:
            # With `return_word_ids` a token has a third entry.
            padding = (text.PAD, 1.0, 0)[: len(chunk[0])]
            chunk.extend([padding] * (-len(chunk) % text.MULTIPLE))
        return chunks


class ShapesTokenizers(sd1_clip.SD1Tokenizer):
    """Core's wrapper for a single text encoder."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = {}):
        super().__init__(
            embedding_directory=embedding_directory,
            tokenizer_data=tokenizer_data,
            clip_name=NAME,
            tokenizer=ShapesTokenizer,
        )


def _encoder(config: dict[str, Any]) -> type:
    """The class that core makes the text encoder of."""

    class Encoder(sd1_clip.SDClipModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = {}):
            super().__init__(
                device=device,
                dtype=dtype,
                textmodel_json_config=dict(config),
                special_tokens={"start": text.START, "end": text.END, "pad": text.PAD},
                model_class=comfy.text_encoders.t5.T5,
                model_options=model_options,
            )

    class Encoders(sd1_clip.SD1ClipModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = {}):
            super().__init__(
                device=device, dtype=dtype, model_options=model_options, name=NAME, clip_model=Encoder
            )

    return Encoders


def _config(weights: dict[str, Any]) -> dict[str, Any]:
    """T5's configuration, read from the shapes of its weights."""
    slots, width = weights[f"{WEIGHTS}shared.weight"].shape
    attention = f"{WEIGHTS}encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    inner = f"{WEIGHTS}encoder.block.0.layer.1.DenseReluDense.wi.weight"
    heads = weights[attention].shape[1]
    return {
        "num_layers": sum(name.endswith(".SelfAttention.q.weight") for name in weights),
        "d_model": width,
        "d_kv": width // heads,
        "num_heads": heads,
        "d_ff": weights[inner].shape[0],
        "dense_act_fn": "relu",
        "is_gated_act": False,
        "model_type": "t5",
        "vocab_size": slots,
    }
