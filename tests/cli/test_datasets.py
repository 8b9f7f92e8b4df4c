"""Datasets named on the command line, and evaluations with a bad pair."""

from __future__ import annotations

import contextlib
import json

import pytest
from PIL import Image

from rational_rewards.cli import evaluate, parrot
from rational_rewards.cli.datasets import dataset_at
from rational_rewards.cli.main import main
from rational_rewards.models.errors import PreferenceError, QuestionError
from rational_rewards.models.files import write_text
from rational_rewards.parrot.rows import ROWS
from rational_rewards.preferences.dataset import PreferenceDataset


@pytest.fixture
def dataset(folder):
    """Three preferences in the dataset "taste"."""
    recorded = PreferenceDataset(folder / "home" / "preferences" / "taste")
    for prompt in ("one", "two", "three"):
        recorded.record("a.png", "b.png", prompt, "A")
    recorded.record("c.png", "b.png", "four", "B")
    return recorded


@pytest.mark.parametrize(
    "command",
    [
        ["parrot", "undo"],
        ["parrot", "export", "x.parquet"],
        ["parrot", "rationalize"],
        ["parrot", "train", "--name", "x"],
        ["evaluate"],
    ],
)
def test_a_dataset_that_does_not_exist_is_an_error(folder, dataset, capsys, command):
    before = sorted(folder.rglob("*"))
    assert main([*command, "--dataset", "tast"]) == 1
    error = capsys.readouterr().err
    assert 'There is no dataset "tast"' in error
    assert 'Did you mean "taste"?' in error
    assert sorted(folder.rglob("*")) == before


def test_undo_takes_back_and_then_says_that_there_is_nothing(dataset, capsys):
    for left in (3, 2, 1, 0):
        assert main(["parrot", "undo", "--dataset", "taste"]) == 0
        assert f"{left} left" in capsys.readouterr().out
    assert main(["parrot", "undo", "--dataset", "taste"]) == 0
    assert "nothing to take back" in capsys.readouterr().out


def test_a_dataset_is_named_by_its_folder_too(dataset, capsys):
    assert main(["parrot", "undo", "--dataset", f'"{dataset.folder}"']) == 0
    assert "3 left" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", " ", '""', ".", "..", "./", "../..", "/"])
def test_what_is_no_name_is_no_dataset(folder, capsys, name):
    (folder / "file.parquet").touch()
    before = sorted(folder.rglob("*"))
    with contextlib.suppress(SystemExit):
        assert main(["parrot", "import", "file.parquet", "--dataset", name]) == 1
    error = capsys.readouterr().err
    assert "the name is empty" in error or "cannot be the name of a dataset" in error
    assert sorted(folder.rglob("*")) == before


def test_the_folder_of_a_dataset_may_be_the_one_the_shell_is_in(dataset, monkeypatch, capsys):
    monkeypatch.chdir(dataset.folder)
    assert main(["parrot", "undo", "--dataset", "."]) == 0
    assert "3 left" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", " ", '""'])
def test_no_dataset_is_named_by_nothing(folder, name):
    with pytest.raises(PreferenceError, match="cannot be the name of a dataset"):
        dataset_at(name)


@pytest.mark.parametrize(
    "command",
    [
        ["score", "a.png", "--checkpoint"],
        ["score", "a.png", "--adapter"],
        ["score", "a.png", "--rubric"],
        ["score", "a.png", "--source"],
        ["score", "a.png", "--json"],
        ["critique", "a.png", "--card"],
        ["compare", "a.png"],
        ["evaluate", "--dataset"],
        ["rubric", "show"],
        ["rubric", "add"],
        ["parrot", "undo", "--dataset"],
        ["parrot", "import"],
        ["parrot", "export"],
        ["parrot", "train", "--dataset", "taste", "--name"],
        ["demo", "--out"],
        ["parrot", "demo", "--work"],
    ],
)
def test_an_empty_name_is_a_wrong_option(folder, capsys, command):
    for name in ("", " ", '""'):
        with pytest.raises(SystemExit) as stopped:
            main([*command, name])
        assert stopped.value.code == 2
        assert "the name is empty: give one" in capsys.readouterr().err


def test_an_import_of_nothing_makes_no_dataset(folder, capsys):
    assert main(["parrot", "import", "missing.parquet", "--dataset", "new"]) == 1
    assert "missing.parquet" in capsys.readouterr().err
    assert not (folder / "home").exists()


def test_one_bad_pair_is_named_and_the_others_are_counted(shell, dataset, folder, capsys):
    bad = dataset.pairs()[-1]
    bad.image_a.write_bytes(b"not an image")
    assert shell("evaluate", "--dataset", "taste", "--max-new-tokens", "64", "--json", "r.json") == 1
    captured = capsys.readouterr()
    assert f"pair {bad.id}: " in captured.err
    assert "1 of 4 pairs failed" in captured.err
    data = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert data["pairs"] == 3
    assert list(data["failed"]) == [bad.id]


def test_a_pair_that_fails_while_it_is_judged_costs_only_itself(shell, dataset, folder, monkeypatch, capsys):
    original = evaluate._evaluate
    bad = dataset.pairs()[1]

    def fails(critic, pairs, options, progress):
        if bad.id in [pair.id for pair in pairs]:
            raise QuestionError("This pair cannot be judged.")
        return original(critic, pairs, options, progress)

    monkeypatch.setattr(evaluate, "_evaluate", fails)
    assert shell("evaluate", "--dataset", "taste", "--max-new-tokens", "64", "--json", "r.json") == 1
    data = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert [outcome["id"] for outcome in data["outcomes"]] == [
        pair.id for pair in dataset.pairs() if pair.id != bad.id
    ]


def test_what_was_evaluated_before_a_cancel_is_reported(shell, dataset, folder, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "PORTION", 2)
    original = evaluate._evaluate
    portions = []

    def cancelled(critic, pairs, options, progress):
        portions.append(len(pairs))
        if len(portions) == 2:
            raise KeyboardInterrupt
        return original(critic, pairs, options, progress)

    monkeypatch.setattr(evaluate, "_evaluate", cancelled)
    assert shell("evaluate", "--dataset", "taste", "--max-new-tokens", "64", "--json", "r.json") == 130
    assert json.loads((folder / "r.json").read_text(encoding="utf-8"))["pairs"] == 2
    assert "2 of 4 pairs had been judged" in capsys.readouterr().err


def test_a_dataset_of_bad_pairs_only_is_an_error_before_a_critic_is_loaded(shell, dataset, loads, capsys):
    for image in (dataset.folder / "images").iterdir():
        image.write_bytes(b"not an image")
    assert shell("evaluate", "--dataset", "taste") == 1
    assert "cannot be read" in capsys.readouterr().err
    assert not loads


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--name", "../x"], "cannot be an adapter's name"),
        (["--name", "x", "--device", "cuda:99"], 'There is no device "cuda:99"'),
        (["--name", "x", "--adapter", "mine"], "has the adapter"),
    ],
)
def test_what_cannot_be_trained_is_said_before_a_critic_is_loaded(
    dataset, monkeypatch, capsys, options, says
):
    def load_critic(options):
        raise AssertionError("loaded")

    monkeypatch.setattr(parrot, "load_critic", load_critic)
    write_text(dataset.folder / "rationalized" / "run" / "rows" / ROWS, "{}")
    write_text(dataset.folder / "rationalized" / "latest", "run")
    command = ["parrot", "train", "--dataset", "taste", "--checkpoint", "shapes demo (CPU)"]
    assert main([*command, *options]) == 1
    assert says in capsys.readouterr().err


def test_an_unknown_rubric_is_named_before_the_evaluation(shell, dataset, loads, capsys):
    assert shell("evaluate", "--dataset", "taste", "--rubric", "nope") == 1
    assert 'There is no rubric "nope"' in capsys.readouterr().err
    assert not loads


def test_the_plot_s_target_is_checked_before_training(dataset, capsys):
    command = ["parrot", "train", "--dataset", "taste", "--name", "x", "--plot"]
    assert main([*command, "loss.txt"]) == 2
    assert main([*command, "a.png/loss.png"]) == 1
    Image.new("RGB", (8, 8)).save("plot.png")
    assert main([*command, "plot.png"]) == 1
    assert "`parrot rationalize`" in capsys.readouterr().err.splitlines()[-1]
