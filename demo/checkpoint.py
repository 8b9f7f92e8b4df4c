"""Build small Qwen3-VL (or Qwen2.5-VL) checkpoints: real architecture, processor, tokenizer and chat
template, random weights.

Everything that loads, quantizes and runs the 8B critic runs these too, on a CPU, in seconds. Tests and
benchmarks use them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.rubrics.rubric import list_rubrics, load_rubric

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Added by Qwen3, but not marked special.
MARKS = ("<think>", "</think>")
# Qwen's way to cut text before the merges: words with their leading space, single digits, punctuation, line
# ends.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Sizes of a checkpoint.

    `vocabulary` is the width of the output layer; ids that the tokenizer lacks are never text.
    """

    # Or "qwen2_5_vl".
    family: str = "qwen3_vl"
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    mlp: int = 128
    vision_hidden: int = 32
    vision_layers: int = 2
    vision_heads: int = 2
    vision_mlp: int = 128
    deepstack: tuple[int, ...] = (0,)
    vocabulary: int = 2048
    tied: bool = False
    # Pixels of a patch's side; 0: as the family has it.
    patch: int = 0
    # Learned positions of the vision tower, a square number.
    vision_positions: int = 2304
    rope_theta: float = 5_000_000.0
    # Tokens that it is made to read, its answer included.
    context: int = 32768
    # Smallest and largest image, in pixels.
    pixels: tuple[int, int] = (65536, 16777216)


TINY = Shape()
# About a hundred million parameters: the smallest whose time goes into computing and not into calls.
HUNDRED_MILLION = Shape("qwen3_vl", 768, 8, 12, 6, 64, 2304, 384, 6, 6, 1536, (1, 3, 5), 32768)
# About half a billion parameters with a full-size vocabulary, for measurements.
HALF_BILLION = Shape("qwen3_vl", 1024, 14, 16, 8, 64, 3072, 512, 8, 8, 2048, (1, 3, 5), 151936)
# The shape of Qwen3-VL-8B-Instruct.
EIGHT_BILLION = Shape("qwen3_vl", 4096, 36, 32, 8, 128, 12288, 1152, 27, 16, 4304, (8, 16, 24), 151936)


def build_checkpoint(
    folder: Path,
    shape: Shape = TINY,
    seed: int = 0,
    dtype: str = "float32",
    corpus: Iterable[str] = (),
    shards: str = "5GB",
) -> Path:
    """Write a complete checkpoint with random weights into `folder` and return it.

    `dtype` names a torch dtype; `corpus` adds texts to train the tokenizer on; `shards` is the largest file
    ("1MB").
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    processor = build_processor(shape, corpus)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(shape, processor.tokenizer, dtype)
    model.save_pretrained(folder, max_shard_size=shards)
    processor.save_pretrained(folder)
    return folder


def build_model(shape: Shape, tokenizer: Any, dtype: str = "float32") -> Any:
    """A transformers model of that shape with random weights, from torch's current random state."""
    import torch
    import transformers

    config = _config(shape, tokenizer)
    cls = {
        "qwen3_vl": transformers.Qwen3VLForConditionalGeneration,
        "qwen2_5_vl": transformers.Qwen2_5_VLForConditionalGeneration,
    }[shape.family]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(getattr(torch, dtype))
        model = cls(config)
    finally:
        torch.set_default_dtype(before)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[
            tokenizer.convert_tokens_to_ids("<|im_end|>"),
            tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        ],
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    return model.eval()


def _config(shape: Shape, tokenizer: Any) -> Any:
    import transformers

    token = tokenizer.convert_tokens_to_ids
    ids = dict(
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    half = shape.head_dim // 2
    sections = [half - 2 * (half // 3), half // 3, half // 3]
    text = dict(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        rope_theta=shape.rope_theta,
        eos_token_id=token("<|im_end|>"),
        tie_word_embeddings=shape.tied,
    )
    if shape.family == "qwen3_vl":
        text |= dict(
            head_dim=shape.head_dim,
            rope_scaling=dict(rope_type="default", mrope_section=sections, mrope_interleaved=True),
        )
        vision = dict(
            depth=shape.vision_layers,
            hidden_size=shape.vision_hidden,
            intermediate_size=shape.vision_mlp,
            num_heads=shape.vision_heads,
            out_hidden_size=shape.hidden,
            num_position_embeddings=shape.vision_positions,
            patch_size=_patch(shape),
            deepstack_visual_indexes=list(shape.deepstack),
        )
        return transformers.Qwen3VLConfig(
            text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **ids
        )
    text |= dict(rope_scaling=dict(rope_type="default", type="default", mrope_section=sections))
    vision = dict(
        depth=shape.vision_layers,
        hidden_size=shape.vision_hidden,
        intermediate_size=shape.vision_mlp,
        num_heads=shape.vision_heads,
        out_hidden_size=shape.hidden,
        fullatt_block_indexes=[shape.vision_layers - 1],
        tokens_per_second=2,
    )
    return transformers.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **ids
    )


def build_processor(shape: Shape, corpus: Iterable[str] = (), at_least: int = 0) -> Any:
    """Processor of the family with a tokenizer trained on the rubrics' own text and `corpus`; `at_least` as
    `build_tokenizer`.
    """
    import transformers

    tokenizer = build_tokenizer(
        [*_rubric_texts(), *corpus], size=min(shape.vocabulary, 2048), at_least=at_least
    )
    # Written and read back, so that each version builds its own classes.
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        mean = [0.5, 0.5, 0.5] if shape.family == "qwen3_vl" else [0.48145466, 0.4578275, 0.40821073]
        std = [0.5, 0.5, 0.5] if shape.family == "qwen3_vl" else [0.26862954, 0.26130258, 0.27577711]
        image = {
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor" if shape.family == "qwen3_vl" else "Qwen2_5_VLProcessor",
            "patch_size": _patch(shape),
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": mean,
            "image_std": std,
            "size": {"shortest_edge": shape.pixels[0], "longest_edge": shape.pixels[1]},
        }
        video = image | {
            "video_processor_type": "Qwen3VLVideoProcessor"
            if shape.family == "qwen3_vl"
            else "Qwen2VLVideoProcessor"
        }
        del video["image_processor_type"]
        for name, data in (("preprocessor_config.json", image), ("video_preprocessor_config.json", video)):
            (Path(scratch) / name).write_text(json.dumps(data), encoding="utf-8")
        (Path(scratch) / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
        kind = (
            transformers.Qwen3VLProcessor if shape.family == "qwen3_vl" else transformers.Qwen2_5_VLProcessor
        )
        return kind.from_pretrained(scratch)


def _patch(shape: Shape) -> int:
    return shape.patch or (16 if shape.family == "qwen3_vl" else 14)


def build_tokenizer(corpus: Sequence[str], size: int = 2048, at_least: int = 0) -> Any:
    """A byte-level BPE tokenizer shaped like Qwen's: same cuts, same special tokens, no unknown token; at
    most `size` tokens.

    Pieces are merged only where they stand side by side at least `at_least` times in the corpus.
    """
    import transformers
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL) - len(MARKS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=at_least,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKS])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )


def _rubric_texts() -> list[str]:
    texts = []
    for name in (*list_rubrics(), *list_rubrics(pair=True)):
        for message in load_rubric(name).messages("a photo of a red cat on a green sofa"):
            texts += [part["text"] for part in message["content"] if part["type"] == "text"]
    return texts
