"""Random numbers by name: one for each seed and fact, so that no fact's number depends on another fact."""

from __future__ import annotations

import hashlib
import random


def chance(seed: int, *names: object) -> float:
    """A number in [0, 1), always the same for the same seed and names."""
    digest = hashlib.blake2b(repr((seed, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def stream(seed: int, *names: object) -> random.Random:
    """A random stream, always the same for the same seed and names."""
    return random.Random(repr((seed, names)))
