"""Record Preference."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..models.errors import PreferenceError
from ..models.images import tensor_to_pil
from ..preferences.dataset import PreferenceDataset, dataset_folder
from ..preferences.pairs import PREFERRED, Preferred
from . import host
from .schema import CATEGORY, prompt_input, schema, source_input


def dataset_input() -> Any:
    return io.String.Input(
        "dataset",
        default="my-taste",
        tooltip="Name of the collection of preferences. It lies in ComfyUI's user folder, under rational_rewards/preferences.",
    )


def dataset_changed(dataset: str | None) -> int:
    """Something else after every change of the dataset; for a wired name, which is not known yet, after a change of any."""
    root = host.preferences_root()
    if dataset is None:
        return sum(PreferenceDataset(folder).size() for folder in root.glob("*"))
    try:
        return PreferenceDataset(dataset_folder(root, dataset)).size()
    except PreferenceError:
        return -1  # explained when the node runs


class RecordPreference(io.ComfyNode):
    """Write down which of two images is better, to teach a critic later."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsRecordPreference",
            display_name="Record Preference",
            category=f"{CATEGORY}/preference",
            description="Keeps two images, their prompt and which one is better in a dataset on this computer, from which a critic can "
            "learn your taste. The same two images again with another choice: the later choice counts.",
            search_aliases=[
                "A/B",
                "vote",
                "choose",
                "taste",
                "preference dataset",
                "label",
                "thumbs up",
                "RLHF",
                "human feedback",
            ],
            inputs=[
                io.Image.Input("image_a", tooltip="Image A, or a batch."),
                io.Image.Input(
                    "image_b",
                    tooltip="Image B, or a batch of the same length: first with first, second with second.",
                ),
                prompt_input(of="both images were"),
                io.Combo.Input(
                    "preferred",
                    options=list(PREFERRED),
                    default="A",
                    tooltip="Which image is better. tie when neither is. It counts for every pair of a batch.",
                ),
                dataset_input(),
                source_input(),
                io.Combo.Input(
                    "chosen_by",
                    options=["human", "critic"],
                    default="human",
                    optional=True,
                    tooltip="Who chose: you, or a critic whose choice you record.",
                ),
            ],
            outputs=[
                io.Int.Output("count", tooltip="How many preferences the dataset now holds."),
                io.String.Output("dataset", tooltip="The name of the dataset."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str | None = None, **others: Any) -> int:
        # Choosing A, then B, then A again must record the second A, too.
        return dataset_changed(dataset)

    @classmethod
    def execute(
        cls,
        image_a: torch.Tensor,
        image_b: torch.Tensor,
        prompt: str,
        preferred: Preferred,
        dataset: str,
        source_image: torch.Tensor | None = None,
        chosen_by: str = "human",
    ) -> io.NodeOutput:
        found = PreferenceDataset(dataset_folder(host.preferences_root(), dataset))
        a, b = tensor_to_pil(image_a, "image_a"), tensor_to_pil(image_b, "image_b")
        if len(a) != len(b):
            raise PreferenceError(
                f"`image_a` has {len(a)} images and `image_b` has {len(b)}: connect as many to one as to the other, to be paired in order."
            )
        sources = [None] if source_image is None else tensor_to_pil(source_image, "source_image")
        if len(sources) not in (1, len(a)):
            raise PreferenceError(
                f"`source_image` has {len(sources)} images for {len(a)} pairs: connect one for all of them, or one for each."
            )
        if len(sources) == 1:
            sources *= len(a)
        pairs = list(zip(a, b, sources, strict=True))
        for number, (one, other, source) in enumerate(pairs, 1):  # all of the batch or nothing
            host.check_cancel()
            try:
                found.check(one, other, prompt, preferred, source)
            except PreferenceError as error:
                raise PreferenceError(
                    f"Pair {number} of {len(pairs)}: {error}" if len(pairs) > 1 else str(error)
                ) from None
        for one, other, source in pairs:
            found.record(one, other, prompt, preferred, source, chosen_by)
        count, name = len(found), found.folder.name
        text = f"{name} holds {count} preference{'' if count == 1 else 's'}."
        return io.NodeOutput(count, name, ui={"text": [text]})
