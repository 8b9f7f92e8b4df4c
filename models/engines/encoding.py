"""From a question to a model's input tensors: the checkpoint's own chat template, with every text inserted as text."""

from __future__ import annotations

import re
from typing import Any

import torch

from ..errors import CheckpointError
from ..question import Question
from ..vocabulary import Vocabulary

# Stand-ins for the texts while the chat template is rendered; private-use characters, which no template contains.
STAND_IN = "\ue000{}\ue001"
FIND_STAND_IN = re.compile("\ue000([0-9]+)\ue001")


class Encoder:
    """Turns questions into tensors for one processor; pictures have sides in multiples of `multiple`."""

    def __init__(self, processor: Any, vocabulary: Vocabulary, config: Any):
        self.processor = processor
        self.vocabulary = vocabulary
        self.image_token = config.image_token_id
        images = processor.image_processor
        self.merge = images.merge_size
        self.multiple = images.patch_size * images.merge_size

    def encode(self, question: Question, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """`input_ids` [1, N], `pixel_values` [patches, width], `image_grid_thw` [images, 3] and `mm_token_type_ids` [1, N], on the device.

        Texts are tokenized as text: `<|im_start|>` or `<|image_pad|>` typed by a user are letters, never special tokens.
        """
        messages = question.rubric.messages(question.prompt)
        texts: list[str] = []
        names: list[str] = []
        for message in messages:
            for part in message["content"]:
                if part["type"] == "text":
                    texts.append(part["text"])
                    part["text"] = STAND_IN.format(len(texts) - 1)
                else:
                    names.append(part["image"])
        pictures = [question.images[name] for name in names]
        pixels = self.processor.image_processor(images=pictures, do_resize=False, return_tensors="pt")
        ids = self._ids(self._render(messages), texts, (pixels["image_grid_thw"].prod(1) // self.merge**2).tolist())
        input_ids = torch.tensor([ids])
        tensors = {
            "input_ids": input_ids,
            "pixel_values": pixels["pixel_values"],
            "image_grid_thw": pixels["image_grid_thw"],
            "mm_token_type_ids": (input_ids == self.image_token).long(),
        }
        return {key: tensor.to(device) for key, tensor in tensors.items()}

    def _render(self, messages: list[dict[str, Any]]) -> str:
        tokenizer = self.processor.tokenizer
        template = getattr(self.processor, "chat_template", None) or tokenizer.chat_template
        if not template:
            raise CheckpointError(
                "The checkpoint has no chat template: add the file chat_template.json of the model it was made from."
            )
        return tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)

    def _ids(self, rendered: str, texts: list[str], image_tokens: list[int]) -> list[int]:
        ids: list[int] = []
        for index, piece in enumerate(FIND_STAND_IN.split(rendered)):
            if index % 2:
                ids += self.vocabulary.encode(texts[int(piece)])
            elif piece:  # the template's own text, in which special tokens are special
                ids += self.processor.tokenizer(piece, add_special_tokens=False)["input_ids"]
        counts = iter(image_tokens)
        expanded: list[int] = []
        for token in ids:
            expanded += [token] * next(counts) if token == self.image_token else [token]
        return expanded
