"""What a loaded model is made of: which layers are quantized, what they weigh, and one that is exchanged for
a faster equal.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError

PRECISE = (torch.float32, torch.float16, torch.bfloat16)
# Kept 16-bit: fine flaws are lost in a 4-bit vision tower, and lm_head decides the scores. Full names,
# because transformers 5 matches from the start of a name, where 4.57 matches anywhere; without lm_head in the
# list it would be quantized.
KEPT = ("model.visual", "lm_head")


class PatchProjection(nn.Conv3d):
    """A Conv3d whose kernel equals its stride, as the matrix product that it is on single patches.

    Same parameters and names.

    PyTorch 2.9 with cuDNN 9.10-9.14 runs this convolution 10-20 times slower than the product
    (pytorch/pytorch#174051).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`input` [N, C, T, H, W], one patch each, to [N, channels, 1, 1, 1]."""
        if input.shape[2:] != self.weight.shape[2:]:
            return super().forward(input)
        product = nn.functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def replace_patch_convolution(model: nn.Module) -> int:
    """Put a PatchProjection in the place of every Conv3d whose patches do not overlap; returns how many.

    Outputs stay equal.
    """
    found = 0
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Conv3d or module.kernel_size != module.stride or module.groups != 1:
            continue
        if any(module.padding) or set(module.dilation) != {1}:
            continue
        product = PatchProjection(
            module.in_channels,
            module.out_channels,
            kernel_size=module.kernel_size,  # type: ignore[arg-type]
            stride=module.kernel_size,  # type: ignore[arg-type]
            bias=module.bias is not None,
            device="meta",
        )
        product.weight, product.bias = module.weight, module.bias
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, product.train(module.training))
        found += 1
    return found


def assert_kept_precise(model: nn.Module) -> None:
    """Raise CheckpointError unless the model has a vision tower and an lm_head, with 16- or 32-bit
    weights.
    """
    quantized = quantized_tensors(model, kept=True)
    if quantized is None:
        raise CheckpointError(
            "The model has no vision tower or no lm_head where they are expected: update this pack."
        )
    if quantized:
        raise CheckpointError(
            f"{quantized[0]} was quantized although it must stay precise: update transformers or choose "
            f"quantization = none."
        )


def assert_quantized(model: nn.Module) -> None:
    """Raise CheckpointError unless every linear layer of the language model is quantized."""
    linears = language_linears(model)
    plain = [name for name, module in linears if module.weight.dtype in PRECISE]
    if plain or not linears:
        raise CheckpointError(
            f"{plain[0] if plain else 'The language model'} was not quantized: update bitsandbytes and "
            f"transformers, "
            "or choose quantization = none."
        )


def misshapen(model: nn.Module) -> list[str]:
    """Names of the linear layers and embeddings whose weights are of another shape than they were built
    for.
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            built = (module.out_features, module.in_features)
        elif isinstance(module, nn.Embedding):
            built = (module.num_embeddings, module.embedding_dim)
        else:
            continue
        weight = getattr(module, "weight", None)
        # 4-bit weights are packed; their state knows the shape.
        state = getattr(weight, "quant_state", None)
        shape = getattr(state if state is not None else weight, "shape", built)
        if tuple(shape) != built:
            found.append(name)
    return found


def quantized_tensors(model: nn.Module, kept: bool) -> list[str] | None:
    """Names of the quantized tensors of the vision tower and lm_head (`kept`) or of the rest; None if either
    is not there.
    """
    parts = set()
    found = []
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]:
        if is_kept(name) == kept:
            parts.update({"visual", "lm_head"} & set(name.split(".")))
            if tensor.dtype not in PRECISE and tensor.ndim > 1:
                found.append(name)
    return None if kept and len(parts) < 2 else found


def language_linears(model: nn.Module) -> list[tuple[str, Any]]:
    """Names and modules of the linear layers outside the vision tower and lm_head."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not is_kept(name)
    ]


def is_kept(name: str) -> bool:
    """Whether a parameter or module of this name belongs to what stays precise."""
    return bool({"visual", "lm_head"} & set(name.split(".")))


def memory(model: nn.Module) -> int:
    """Bytes of parameters, buffers and quantization states; what shares its memory counts once."""
    return sum({(t.device, t.data_ptr()): t.nbytes for t in tensors_of(model)}.values())


def tensors_of(model: nn.Module) -> list[torch.Tensor]:
    """Parameters, buffers and quantization states."""
    tensors: list[Any] = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        weight = getattr(module, "weight", None)
        # Bitsandbytes int8, before and after the first forward.
        for owner in (
            weight,
            getattr(module, "state", None),
        ):
            tensors += [getattr(owner, name, None) for name in ("CB", "SCB")]
        # Bitsandbytes 4-bit; double quantization nests a second state.
        state = getattr(weight, "quant_state", None)
        while state is not None:
            tensors += [getattr(state, name, None) for name in ("absmax", "code", "offset")]
            state = getattr(state, "state2", None)
    return [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
