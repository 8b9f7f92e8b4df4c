"""From a question to a model's input tensors: the checkpoint's own chat template, with every text inserted as
text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from ..answers.vocabulary import Vocabulary
from ..errors import CheckpointError, QuestionError
from ..question import Question

# Stand-ins for the texts while the chat template is rendered; private-use characters, which no template
# contains.
STAND_IN = "\ue000{}\ue001"
FIND_STAND_IN = re.compile("\ue000([0-9]+)\ue001")


def encoder_of(model: Any, processor: Any) -> Encoder:
    """The encoder of a loaded model, with the tokens that end its turn."""
    width = model.get_output_embeddings().weight.shape[0]
    vocabulary = Vocabulary(processor.tokenizer, width, stop_ids(model, processor.tokenizer))
    return Encoder(processor, vocabulary, model.config)


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a turn: those of the generation settings and the tokenizer's own."""
    ids = getattr(model.generation_config, "eos_token_id", None)
    listed = list(ids) if isinstance(ids, (list, tuple)) else [ids]
    return sorted({token for token in (*listed, tokenizer.eos_token_id) if token is not None})


def longest_context(config: Any) -> int:
    """Tokens that a model was made to read, its answer included."""
    text = config.get_text_config()
    # Named so until transformers 5.
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    # Stretched (YaRN and its like), where the checkpoint says so.
    stretched = rope.get("factor", 1.0) * rope.get("original_max_position_embeddings", 0)
    return max(text.max_position_embeddings, int(stretched))


class Encoder:
    """Turns questions into tensors for one processor; images have sides in multiples of `multiple`."""

    def __init__(self, processor: Any, vocabulary: Vocabulary, config: Any):
        self.processor = processor
        self.vocabulary = vocabulary
        self.image_token = config.image_token_id
        images = processor.image_processor
        self.merge = images.merge_size
        self.longest = longest_context(config)
        self.multiple = images.patch_size * images.merge_size

    def encode(self, question: Question, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """`input_ids` [1, N], `pixel_values` [patches, width], `image_grid_thw` [images, 3] and
        `mm_token_type_ids` [1, N], on the device.

        Texts are tokenized as text: `<|im_start|>` or `<|image_pad|>` typed by a user are letters, never
        special tokens.
        """
        return self.encode_messages(question.rubric.messages(question.prompt), question.images, device)

    def encode_text(self, question: Question) -> tuple[dict[str, torch.Tensor], list[Image.Image]]:
        """`input_ids` and `mm_token_type_ids` [1, N] of a question, and its images in order."""
        sizes = {name: image.size for name, image in question.images.items()}
        ids, names = self.prompt_ids(question.rubric.messages(question.prompt), sizes)
        return self._typed(ids), [question.images[name] for name in names]

    def length(self, question: Question) -> int:
        """Number of tokens of a question, images included."""
        sizes = {name: image.size for name, image in question.images.items()}
        return len(self.prompt_ids(question.rubric.messages(question.prompt), sizes)[0])

    def require_room(self, question: Question, new: int) -> int:
        """Number of tokens of a question, where `new` more still fit into what the model was made to read.

        Raises QuestionError, which names what takes the most of it.
        """
        length = self.length(question)
        if length + new > self.longest:
            prompt = len(self.vocabulary.encode(question.prompt))
            images = sum(image.width * image.height for image in question.images.values())
            parts = {
                "shorten the prompt": prompt,
                "lower max_pixels on Load Critic": images // self.multiple**2,
                "lower max_new_tokens": new,
            }
            raise QuestionError(
                f"With its answer, the question takes {length + new:,} tokens (the prompt alone "
                f"{prompt:,}), and this critic was made to read {self.longest:,}: "
                f"{max(parts, key=lambda part: parts[part])}."
            )
        return length

    def encode_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        images: Mapping[str, Image.Image],
        device: torch.device | str = "cpu",
    ) -> dict[str, torch.Tensor]:
        """The same for any chat in the form of `Rubric.messages`; its image parts name the prepared images in
        `images`.
        """
        ids, names = self.prompt_ids(messages, {name: image.size for name, image in images.items()})
        tensors = self._typed(ids)
        if names:
            tensors |= self.pixels([images[name] for name in names])
        return {key: tensor.to(device) for key, tensor in tensors.items()}

    def _typed(self, ids: Sequence[int]) -> dict[str, torch.Tensor]:
        input_ids = torch.tensor([ids])
        return {"input_ids": input_ids, "mm_token_type_ids": (input_ids == self.image_token).long()}

    def pixels(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """`pixel_values` [patches, width] and `image_grid_thw` [images, 3] of prepared images."""
        found = self.processor.image_processor(images=list(images), do_resize=False, return_tensors="pt")
        return {"pixel_values": found["pixel_values"], "image_grid_thw": found["image_grid_thw"]}

    def prompt_ids(
        self, messages: Sequence[Mapping[str, Any]], sizes: Mapping[str, tuple[int, int]]
    ) -> tuple[list[int], list[str]]:
        """Token ids of a chat up to the start of the answer, and the names of its images in order; `sizes`
        are (width, height).
        """
        texts: list[str] = []
        names: list[str] = []
        marked = []
        for message in messages:
            parts = []
            for part in message["content"]:
                if part["type"] == "text":
                    parts.append({"type": "text", "text": STAND_IN.format(len(texts))})
                    texts.append(part["text"])
                else:
                    parts.append(part)
                    names.append(part["image"])
            marked.append({**message, "content": parts})
        tokens = [sizes[name][0] * sizes[name][1] // self.multiple**2 for name in names]
        return self._ids(self._render(marked), texts, tokens), names

    def _render(self, messages: list[dict[str, Any]]) -> str:
        tokenizer = self.processor.tokenizer
        template = getattr(self.processor, "chat_template", None) or tokenizer.chat_template
        if not isinstance(template, str) or not template:
            raise CheckpointError(
                "The checkpoint has no chat template: add the file chat_template.json of the model it was "
                "made from."
            )
        return tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True
        )

    def _ids(self, rendered: str, texts: list[str], image_tokens: list[int]) -> list[int]:
        ids: list[int] = []
        for index, piece in enumerate(FIND_STAND_IN.split(rendered)):
            if index % 2:
                ids += self.vocabulary.encode(texts[int(piece)])
            elif piece:
                # The template's own text, in which special tokens are special.
                ids += self.processor.tokenizer(piece, add_special_tokens=False)["input_ids"]
        counts = iter(image_tokens)
        expanded: list[int] = []
        for token in ids:
            expanded += [token] * next(counts) if token == self.image_token else [token]
        return expanded
