"""`python -m benchmarks gpu`, without a card: the same path on a tiny model, and a page whatever happens."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from rational_rewards.benchmarks import gpu


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What the parts note of a tiny model on this processor."""
    work = tmp_path_factory.mktemp("gpu")
    for part in ("checkpoint", "none", "qlora"):
        gpu.measure_part(part, work, tiny=True, device="cpu")
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in work.glob("*.json")}


def test_without_a_card_it_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.run(tiny=False, device="cuda", output=tmp_path / "gpu.md") == 2
    assert capsys.readouterr().out == gpu.NO_CARD + "\n"
    assert not list(tmp_path.iterdir())


def test_every_figure_of_a_part_is_on_the_page(measured):
    page = gpu.page(measured, tiny=True)
    assert measured["none"]["equal"] is True
    assert "| logits afterwards | not measured | not measured | equal |" in page
    assert list(measured["none"]["tokens_per_second"]) == ["1", "2", "4", "8", "16", "32"]
    assert measured["qlora"]["steps"] == 1
    assert "QLoRA, 1 step" in page
    columns = [line.split("|")[4].strip() for line in page.splitlines() if line.count("|") == 5]
    assert gpu.NOT_MEASURED not in columns
    assert "Not measured, or not to the end" not in page


def test_a_part_that_stopped_half_way_keeps_what_it_measured(measured):
    half = {"load_seconds": 12.0, "load_peak": 9e9, "resting": 7e9, "failed": "it was stopped after 110 s"}
    page = gpu.page({**measured, "nf4": half}, tiny=False)
    assert "| load time | 12.0 s | not measured |" in page
    assert "| logits afterwards | not measured | not measured | equal |" in page
    assert page.endswith("- NF4: it was stopped after 110 s\n")


def test_the_page_is_written_where_a_part_fails_or_has_no_time_left(monkeypatch, tmp_path, capsys):
    """There is no checkpoint to load, because no part has made one."""
    parts = {
        "nf4": gpu.PARTS["nf4"],
        "int8": dataclasses.replace(gpu.PARTS["int8"], seconds=0.0),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    output = tmp_path / "gpu.md"
    assert gpu.run(tiny=True, device="cpu", output=output) == 1
    page = output.read_text(encoding="utf-8")
    assert "- int8: no time was left for it" in page
    assert "- NF4: " in page
    assert f"Written to {output}." in capsys.readouterr().out


def test_all_parts_together_fit_into_the_time():
    assert sum(part.seconds for part in gpu.PARTS.values()) <= 60 * gpu.MINUTES
