"""The same judgements from the shell."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rational_rewards.cli.main import main


@pytest.fixture
def ask(checkpoint_folder, tmp_path, pictures, monkeypatch):
    """`ask("critique", "a.png", ...)` runs a command on pictures in a folder of their own, with the tiny
    critic.
    """
    for name, picture in zip("abc", pictures, strict=False):
        picture.resize((160, 128)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path / "home"))
    common = [
        "--checkpoint",
        str(checkpoint_folder()),
        "--device",
        "cpu",
        "--max-new-tokens",
        "64",
        "--max-pixels",
        "16384",
    ]

    def run(command, *arguments, judging=True):
        return main([command, *arguments, *(["--prompt", "a photo", *common] if judging else [])])

    return run


def test_critique_prints_the_report_and_writes_json(ask, tmp_path, capsys):
    assert (
        ask(
            "critique",
            "a.png",
            "b.png",
            "--refine",
            "--keep",
            "film grain",
            "--json",
            "report.json",
            "--card",
            "card.png",
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "| Text Faithfulness |" in printed
    assert "(nf4)" in printed, "the report says who judged"
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [entry["image"] for entry in data["images"]] == ["a.png", "b.png"]
    assert all(entry["complete"] and 0 <= entry["score"] <= 1 for entry in data["images"])
    assert all("film grain" in entry["refined_prompt"] or not entry["changed"] for entry in data["images"])
    assert (tmp_path / "card-1.png").is_file()
    assert (tmp_path / "card-2.png").is_file()


def test_score_prints_one_line_a_picture(ask, capsys):
    assert ask("score", "a.png", "b.png", "--quantization", "none") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[1] for line in lines] == ["a.png", "b.png"]
    assert ask("score", "a.png", "--fast", "--quantization", "none") == 0


def test_compare_names_the_winner_for_edits_too(ask, capsys):
    assert ask("compare", "a.png", "b.png", "--source", "c.png", "--json", "-", "--quantization", "none") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["winner"] in ("A", "B", "tie")
    assert "image_faithfulness" in data["dimensions"]


def test_rubrics_are_listed_shown_and_added(ask, tmp_path, capsys):
    wording = "Rate this.\n{prompt}\n<image>\n1. Text Faithfulness:\n## Justification:\n## Score:\n"
    (tmp_path / "mine.txt").write_text(wording, encoding="utf-8")
    assert ask("rubric", "add", "mine.txt", judging=False) == 0
    assert ask("rubric", "list", judging=False) == 0
    assert ask("rubric", "show", "mine", judging=False) == 0
    printed = capsys.readouterr().out
    assert "mine" in printed
    assert "Rate this." in printed
    assert ask("critique", "a.png", "--rubric", "mine", "--quantization", "none") == 0


def test_a_rubric_that_misses_something_is_refused(ask, tmp_path, capsys):
    (tmp_path / "bad.txt").write_text("Rate this picture: <image>", encoding="utf-8")
    assert ask("rubric", "add", "bad.txt", judging=False) == 1
    assert "prompt" in capsys.readouterr().err
    assert not list((tmp_path / "home").rglob("*.yaml"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("critique", "missing.png"), "no image missing.png"),
        (("critique", "a.png", "--rubric", "nonsense"), 'no rubric "nonsense"'),
        (("critique", "a.png", "--checkpoint", "not/here"), "not/here"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_1(ask, capsys, arguments, says):
    command, *rest = arguments
    options = ["--prompt", "a photo", "--quantization", "none"]
    if "--checkpoint" in rest:
        assert main([command, *rest, *options]) == 1
    else:
        assert ask(command, *rest, "--quantization", "none") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rational_rewards: ")
    assert says in error


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from rational_rewards.cli.main import build_parser; build_parser(); print('torch' "
        "in sys.modules, 'transformers' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False False"
