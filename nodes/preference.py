"""Record Preference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from comfy_api.latest import io

from ..models.errors import PreferenceError
from ..models.images import pil_to_tensor, tensor_to_pil
from ..preferences.dataset import Change, PreferenceDataset, dataset_folder
from ..preferences.pairs import PREFERRED, Preferred
from . import host
from .schema import CATEGORY, prompt_input, schema, source_input
from .shown_pairs import SEEN, pairs_digest, place, shown_pairs

if TYPE_CHECKING:
    from PIL import Image

Value = TypeVar("Value")
Pair = tuple["Image.Image", "Image.Image", "Image.Image | None"]
# The choice of `preferred` while nobody has chosen.
UNDECIDED: Literal["not yet"] = "not yet"
# What the node says of a choice whose images nobody had seen when it was queued.
OTHERS = (
    "These are other images, or for another prompt, than the ones you chose between: look at them, choose, "
    "and run again; set the seed to fixed."
)


def dataset_input() -> Any:
    return io.String.Input(
        "dataset",
        default="my-taste",
        tooltip=(
            "Name of the collection of preferences. It is kept in ComfyUI's user folder, under "
            "rational_rewards/preferences."
        ),
    )


def dataset_changed(dataset: str | None) -> int:
    """Something else after every change of the dataset; for a wired name, which is not known yet, after a
    change of any.
    """
    root = host.preferences_root()
    if dataset is None:
        return sum(PreferenceDataset(folder).size() for folder in root.glob("*"))
    try:
        return PreferenceDataset(dataset_folder(root, dataset)).size()
    except PreferenceError:
        # Explained when the node runs.
        return -1


class RecordPreference(io.ComfyNode):
    """Write down which of two images is better, to teach a critic later."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsRecordPreference",
            display_name="Record Preference",
            category=f"{CATEGORY}/preference",
            description="Keeps two images, their prompt and which one is better in a dataset on this "
            "computer, from which a critic can "
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
                    options=[UNDECIDED, *PREFERRED],
                    default=UNDECIDED,
                    tooltip="Set the seeds of both samplers to fixed: new seeds make new images, and a "
                    "choice counts only for the images that you saw. Run once to see them, choose A, B or "
                    "tie, and run again. Nothing is recorded while it says not yet, which it does again "
                    "after every recording. It counts for every pair of a batch.",
                ),
                dataset_input(),
                source_input(),
                io.Combo.Input(
                    "chosen_by",
                    options=["human", "critic"],
                    default="human",
                    optional=True,
                    tooltip="Who chose: you, or a critic whose choice you record. Where winner is connected, "
                    "it is always the critic.",
                ),
                io.Int.Input(
                    "winner",
                    default=0,
                    min=0,
                    max=2,
                    optional=True,
                    force_input=True,
                    tooltip="Compare's winner, to record a critic's choice: 1 is A, 2 is B, 0 a tie. Where "
                    "it is connected it decides instead of preferred, and the critic is noted as who chose.",
                ),
            ],
            outputs=[
                io.Int.Output("count", tooltip="How many preferences the dataset now holds."),
                io.String.Output("dataset", tooltip="The name of the dataset."),
            ],
            hidden=host.HIDDEN,
            # Lists come whole, so that a list of winners meets the pairs that it is about.
            is_input_list=True,
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: Sequence[str | None] = (None,), **others: Any) -> list[int]:
        # Choosing A, then B, then A again must record the second A, too; and so must a second run of a choice
        # whose images nobody had seen at the first.
        return [dataset_changed(dataset[0] if dataset else None), shown_pairs.changes]

    @classmethod
    def execute(
        cls,
        image_a: list[torch.Tensor],
        image_b: list[torch.Tensor],
        prompt: list[str],
        preferred: list[Preferred | Literal["not yet"]],
        dataset: list[str],
        source_image: list[torch.Tensor] | None = None,
        chosen_by: Sequence[str] = ("human",),
        winner: list[int] | None = None,
    ) -> io.NodeOutput:
        # Every input comes as a list (see the schema), so that Compare's winners meet their own pairs.
        store = PreferenceDataset(dataset_folder(host.preferences_root(), dataset[0]))
        pairs = _pairs(image_a, image_b, source_image)
        prompts = _per_pair(prompt, len(pairs), "prompt")
        choices: list[Preferred | Literal["not yet"]]
        by = chosen_by[0]
        if winner is None:
            choices = _per_pair(preferred, len(pairs), "preferred")
        else:
            choices = [_from_winner(number) for number in _per_pair(winner, len(pairs), "winner")]
            # What chosen_by says before anybody has set it.
            by = "critic" if by == "human" else by
        decided = UNDECIDED not in choices
        refusal = _note_shown(cls.hidden, pairs_digest(pairs, prompts), decided and winner is None)
        if decided and not refusal:
            said = _record(store, pairs, prompts, choices, by)
        else:
            said = refusal or "Choose A, B or tie, and run again."
        ui = _shown(cls, pairs, f"{said} {_holds(store)}")
        ui["rational_rewards_recorded"] = [decided and not refusal]
        ui["rational_rewards_choose_again"] = [bool(refusal)]
        return io.NodeOutput(len(store), store.folder.name, ui=ui)


def _note_shown(hidden: Any, digest: str, chosen: bool) -> str:
    """Note what the node shows; where somebody has `chosen` on a page and had not seen it, what to do
    instead.
    """
    node = host.shown_on(hidden)
    where = place(hidden.extra_pnginfo, node or "")
    if where is None:
        return ""
    queued = hidden.dynprompt.get_node(node) if hidden.dynprompt else {}
    seen = (queued.get("_meta") or {}).get(SEEN)
    refused = chosen and seen != digest
    shown_pairs.show(where, digest, refused)
    if not refused:
        return ""
    return OTHERS if seen else "Look at both images, choose A, B or tie, and run again."


def _record(
    store: PreferenceDataset,
    pairs: list[Pair],
    prompts: list[str],
    choices: list[Preferred | Literal["not yet"]],
    by: str,
) -> str:
    """Record all choices or none; returns what became of them, in words."""
    votes: list[tuple[Image.Image, Image.Image, str, Preferred, Image.Image | None]] = []
    for (a, b, source), words, choice in zip(pairs, prompts, choices, strict=True):
        if choice != UNDECIDED:
            votes.append((a, b, words, choice, source))
    for number, vote in enumerate(votes, 1):
        host.check_cancel()
        try:
            store.check(*vote)
        except PreferenceError as error:
            where = f"Pair {number} of {len(votes)}: " if len(votes) > 1 else ""
            raise PreferenceError(f"{where}{error}") from None
    became: dict[Change, list[str]] = {"new": [], "changed": [], "same": []}
    for vote in votes:
        became[store.put(*vote, chosen_by=by)].append(vote[3])
    sentences = [
        ("Recorded", became["new"], ""),
        ("Changed to", became["changed"], f" (chosen by {by})"),
        ("Already recorded", became["same"], ""),
    ]
    return " ".join(f"{what}: {', '.join(those)}{rest}." for what, those, rest in sentences if those)


def _from_winner(winner: int) -> Preferred:
    choices: dict[int, Preferred] = {0: "tie", 1: "A", 2: "B"}
    if winner not in choices:
        raise PreferenceError(
            f"`winner` is {winner}: connect Compare's winner, which is 1 for A, 2 for B, 0 for a tie."
        )
    return choices[winner]


def _pairs(
    image_a: list[torch.Tensor], image_b: list[torch.Tensor], source_image: list[torch.Tensor] | None
) -> list[Pair]:
    """The pairs of two batches (or lists of batches), first with first, each with its source."""
    a, b = _images(image_a, "image_a"), _images(image_b, "image_b")
    if len(a) != len(b):
        raise PreferenceError(
            f"`image_a` has {len(a)} images and `image_b` has {len(b)}: connect as many to one as to the "
            f"other, to be "
            "paired in order."
        )
    if source_image is None:
        return [(first, second, None) for first, second in zip(a, b, strict=True)]
    sources = _per_pair(_images(source_image, "source_image"), len(a), "source_image", "images")
    return list(zip(a, b, sources, strict=True))


def _images(batches: list[torch.Tensor], name: str) -> list[Image.Image]:
    return [image for batch in batches for image in tensor_to_pil(batch, name)]


def _per_pair(values: Sequence[Value], count: int, name: str, kind: str = "values") -> list[Value]:
    """One value for each pair: the values as they are, or the only one for all.

    Raises PreferenceError for other numbers.
    """
    if len(values) == 1:
        return [values[0]] * count
    if len(values) != count:
        raise PreferenceError(
            f"`{name}` has {len(values)} {kind} for {count} pairs: connect one for all of them, or one for "
            "each."
        )
    return list(values)


def _holds(store: PreferenceDataset) -> str:
    count = len(store)
    return f"{store.folder.name} holds {count} preference{'' if count == 1 else 's'}."


def _shown(node: type[io.ComfyNode], pairs: list[Pair], text: str) -> dict[str, Any]:
    """The images of all pairs on the node, A before B, and the text."""
    images = [image for a, b, _ in pairs for image in (a, b)]
    previews = [host.preview(node, pil_to_tensor(image))["images"][0] for image in images]
    return {"images": previews, "text": [text]}
