"""Low-rank changes of the denoiser (LoRA, arXiv 2106.09685), in files that core's LoraLoader takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...models.errors import CheckpointError
from ...models.files import replacing
from .mmdit import MMDiT
from .sampling import Generator

# As core names a layer's two matrices. Without an "alpha" beside them, it adds their product as it is.
PREFIX, DOWN, UP = "diffusion_model.", ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class LoRA:
    """What is added to the weights of linear layers: for each layer, by its name in the denoiser, the product
    of `up` [out, rank] and `down` [rank, in].
    """

    down: dict[str, Tensor]
    up: dict[str, Tensor]

    @classmethod
    def of(cls, denoiser: MMDiT, rank: int, seed: int) -> LoRA:
        """One for every layer of attentions and MLPs that changes nothing yet."""
        chance = torch.Generator().manual_seed(seed)
        layers = {
            name: layer
            for name, layer in denoiser.joint_blocks.named_modules(prefix="joint_blocks")
            if isinstance(layer, nn.Linear) and (".attn." in name or ".mlp." in name)
        }
        down = {
            name: torch.randn(rank, layer.in_features, generator=chance) * layer.in_features**-0.5
            for name, layer in layers.items()
        }
        return cls(down, {name: torch.zeros(layer.out_features, rank) for name, layer in layers.items()})

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LoRA:
        """The one that has these `tensors`. Raises KeyError where a layer has only one of its two."""
        names = [name.removeprefix(PREFIX).removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]
        down, up = ({name: tensors[PREFIX + name + end] for name in names} for end in (DOWN, UP))
        return cls(down, up)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All matrices by their names in a file."""
        parts = ((DOWN, self.down), (UP, self.up))
        return {PREFIX + name + end: matrix for end, part in parts for name, matrix in part.items()}

    def clone(self) -> LoRA:
        """A copy that does not change with this one."""
        return LoRA.from_tensors({name: matrix.detach().clone() for name, matrix in self.tensors.items()})

    def weights(self, denoiser: MMDiT) -> dict[str, Tensor]:
        """The changed weights by name, for `torch.func.functional_call`.

        Added to the weights, not to each token: with layers this small that takes less time. Raises KeyError
        or RuntimeError where the denoiser has no such layers.
        """
        old = dict(denoiser.named_parameters())
        return {
            f"{name}.weight": torch.addmm(old[f"{name}.weight"], self.up[name], down)
            for name, down in self.down.items()
        }


@torch.no_grad()
def with_lora(generator: Generator, lora: LoRA) -> Generator:
    """The generator with a LoRA in its weights; the one that was given stays as it was.

    Raises CheckpointError for the LoRA of another model.
    """
    changed = copy.deepcopy(generator)
    try:
        weights = lora.weights(generator.denoiser)
    except (KeyError, RuntimeError):
        raise CheckpointError(
            "This LoRA was trained on another model: name the generator that it was trained on."
        ) from None
    changed.denoiser.load_state_dict(weights, strict=False)
    return changed


def write_lora(target: Path, lora: LoRA, steps: int) -> None:
    """Write the file, in 32 bits; `steps` says how many iterations it was trained for."""
    matrices = {name: matrix.detach().float().contiguous() for name, matrix in lora.tensors.items()}
    with replacing(target) as scratch:
        save_file(matrices, scratch, metadata={"format": "pt", "steps": str(steps)})


def read_lora(file: Path) -> LoRA:
    """The LoRA of a file. Raises CheckpointError where it holds none, or more than that."""
    try:
        tensors = load_file(file)
        lora = LoRA.from_tensors(tensors)
    except (OSError, SafetensorError, KeyError):
        tensors, lora = {}, LoRA({}, {})
    if not lora.down or lora.tensors.keys() != tensors.keys():
        raise CheckpointError(
            f"{file} is no LoRA of the shapes generator: name one that `demo train-lora` wrote."
        )
    return lora
