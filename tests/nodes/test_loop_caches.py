"""A refine loop gives the same in every cache mode of ComfyUI."""

from __future__ import annotations

import pytest
from comfyui_checkouts import HINT, checkouts, version
from loop_graphs import (
    equal,
    loop_graph,
    node,
    noise,
    pictures,
    rounds_of,
    shown_on,
    start_server,
    text,
    times,
)

pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]
# The default is covered by all the other tests.
MODES = ["--cache-classic", "--cache-lru 3", "--cache-none", "--cache-ram"]
# Cached results of earlier prompts are kept for a changed one: the later rounds, too.
KEEPS = ["--cache-classic"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("checkout", checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def test_a_loop_gives_the_same(checkout, mode, tmp_path):
    graph = loop_graph(seed=5, rounds=4)
    graph["outside"] = node("TestCounted", value=["critic", 0], name="outside")
    graph["inside"] = node("TestCounted", value=["paint", 0], name="inside")
    graph["peek"] = node("PreviewImage", images=["inside", 0])
    graph["end"]["inputs"] |= {"critic": ["outside", 0], "image": ["inside", 0]}
    server = start_server(checkout, tmp_path / "comfyui", *mode.split())
    try:
        outputs = server.run(graph)
        rounds = rounds_of(outputs)
        painted = [noise(one["after"], 5) for one in rounds]
        assert len(rounds) == 4
        assert equal(pictures(server, outputs["images"]), painted)
        assert equal([pictures(server, shown)[0] for shown in shown_on(outputs, "peek")], painted)
        best = max(rounds, key=lambda one: one["score"])
        assert equal(pictures(server, outputs["best"])[0], noise(best["after"], 5))
        assert times(server, "outside") == 1
        # Without a cache, ComfyUI makes a node's inputs anew for each node that is run later.
        assert times(server, "inside") == 4 or mode == "--cache-none"
        again = server.run(graph)
        assert rounds_of(again) == rounds
        assert text(again, "history") == text(outputs, "history")
        graph["end"]["inputs"]["stop_at"] = 0.99
        assert [one["after"] for one in rounds_of(server.run(graph))] == [one["after"] for one in rounds]
        assert times(server, "inside") == 4 or mode not in KEEPS
    finally:
        server.stop()
