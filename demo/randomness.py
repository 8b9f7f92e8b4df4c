"""Chance by name: a number for each seed and each fact, so that one fact's luck never depends on another's."""

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
