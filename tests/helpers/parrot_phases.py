"""PARROT's phases as their tests call them."""

from __future__ import annotations

from rational_rewards.parrot.anchored import rationalize
from rational_rewards.parrot.resumable import read_records


def lines(file):
    return list(read_records(file))


def phase1(tmp_path, pairs, teacher, **options):
    return rationalize(pairs, tmp_path / "rationales", teacher, base=tmp_path, **options)
