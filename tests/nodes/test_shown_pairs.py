"""What is remembered of the pairs on the nodes: the last one of each, and of a bounded number of nodes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import rational_rewards


@pytest.fixture
def module() -> Any:
    """nodes/shown_pairs.py by itself: the package around it needs ComfyUI, this module does not."""
    file = Path(rational_rewards.__file__).parent / "nodes" / "shown_pairs.py"
    spec = importlib.util.spec_from_file_location("rational_rewards.nodes.shown_pairs", file)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def queued(module: Any, pairs: Any, node: str, workflow: Any = {"id": "w"}) -> dict[str, Any]:
    """A node of a prompt as it is when it has been queued."""
    prompt = {node: {"class_type": module.NODE_ID, "inputs": {}, "_meta": {"title": "Mine"}}}
    pairs.mark({"prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": workflow}}})
    return prompt[node]["_meta"]


def test_a_queued_node_takes_along_what_it_shows(module: Any) -> None:
    pairs = module.ShownPairs()
    pairs.show(("w", "7"), "first", False)
    pairs.show(("w", "7"), "second", False)
    assert queued(module, pairs, "7") == {"title": "Mine", module.SEEN: "second"}
    assert queued(module, pairs, "8") == {"title": "Mine", module.SEEN: None}
    assert queued(module, pairs, "7", workflow=None) == {"title": "Mine"}, "from a shell"


def test_the_nodes_that_showed_something_last_are_remembered(module: Any) -> None:
    pairs = module.ShownPairs()
    for node in range(module.MOST):
        pairs.show(("w", str(node)), "shown", False)
    pairs.show(("w", "0"), "shown", False)
    pairs.show(("w", "new"), "shown", False)
    remembered = {node: queued(module, pairs, node)[module.SEEN] for node in ("0", "1", "new")}
    assert remembered == {"0": "shown", "1": None, "new": "shown"}


def test_only_what_can_end_otherwise_is_run_again(module: Any) -> None:
    pairs = module.ShownPairs()
    counts = []
    for digest, refused in (("a", False), ("a", False), ("b", False), ("b", True)):
        pairs.show(("w", "7"), digest, refused)
        counts.append(pairs.changes)
    assert counts == [1, 1, 2, 3]


@pytest.mark.parametrize("data", [{}, {"prompt": None}, {"prompt": {"1": "?"}, "extra_data": []}])
def test_what_is_no_prompt_passes(module: Any, data: dict[str, Any]) -> None:
    assert module.ShownPairs().mark(data) == data
