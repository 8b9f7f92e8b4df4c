"""The generator in one file, laid out as SD3's checkpoints are: denoiser, autoencoder, and a text encoder of
its own.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...models.errors import CheckpointError
from ...models.files import replacing
from .autoencoder import Components, Decoder, decoder_of, taesd_weights
from .mmdit import HEAD_WIDTH
from .sampling import Generator

SHIPPED = Path(__file__).parent / "generator.safetensors"
DENOISER, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
# Not among the names that core looks for: it knows no text encoder this small.
TEXT = "shapes_text_encoder."
# [17, 3], for previews: what each channel adds to red, green and blue in -1..1, and where they start.
PREVIEW = "shapes_preview.colours"


def write_generator(
    target: Path, generator: Generator, decoder: Decoder, components: Components, level: str, steps: int
) -> None:
    """Write the file in 16 bits. `level` and `steps` say what the generator was trained on, and how long."""
    parts = {
        DENOISER: generator.denoiser.state_dict(),
        AUTOENCODER: taesd_weights(decoder, components),
        TEXT: generator.text.state_dict(),
    }
    weights: dict[str, Tensor] = {
        prefix + name: weight.half().contiguous()
        for prefix, part in parts.items()
        for name, weight in part.items()
    }
    weights[PREVIEW] = components.colours().half()
    facts = {
        "format": "pt",
        "modelspec.architecture": "stable-diffusion-v3-shapes",
        "level": level,
        "steps": str(steps),
    }
    with replacing(target) as scratch:
        save_file(weights, scratch, metadata=facts)


def read_generator(file: Path = SHIPPED) -> Generator:
    """Text encoder and denoiser of a file, in 32 bits, ready to sample. Raises CheckpointError."""
    weights = _weights(file, (DENOISER, TEXT))
    generator = Generator(weights[f"{DENOISER}x_embedder.proj.weight"].shape[0] // HEAD_WIDTH)
    generator.denoiser.load_state_dict(_part(weights, DENOISER))
    generator.text.load_state_dict(_part(weights, TEXT))
    return generator.eval()


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def _weights(file: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights whose names begin so, in 32 bits."""
    read_facts(file)
    with safe_open(file, "pt") as opened:
        names = [name for name in opened.keys() if name.startswith(prefixes)]  # noqa: SIM118
        return {name: opened.get_tensor(name).float() for name in names}


def read_facts(file: Path = SHIPPED) -> dict[str, str]:
    """What the file says of itself: "level" and "steps". Raises CheckpointError where it is no generator."""
    try:
        with safe_open(file, "pt") as opened:
            facts = dict(opened.metadata() or {})
    except (OSError, SafetensorError):
        facts = {}
    if not facts.keys() >= {"level", "steps"}:
        raise CheckpointError(f"{file} is no shapes generator: name one that `demo train-generator` wrote.")
    return facts


def read_decoder(file: Path = SHIPPED) -> Decoder:
    """The decoder of a file, in 32 bits. Raises CheckpointError."""
    weights = _weights(file, (AUTOENCODER,))
    return decoder_of(_part(weights, AUTOENCODER)).eval()
