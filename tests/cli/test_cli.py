"""The same judgements from the shell."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rational_rewards.cli.main import build_parser, main


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


def test_score_prints_one_line_an_image(ask, capsys):
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
    code = "import sys; from rational_rewards.cli.main import build_parser; build_parser(); "
    code += "print('torch' in sys.modules, 'transformers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False False"


def test_the_version_is_the_project_s(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{capsys.readouterr().out.split()[-1]}"' in project


def every_parser(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from every_parser(inner)


def test_every_option_has_a_help_text_that_any_console_prints():
    parsers = list(every_parser(build_parser()))
    assert len(parsers) > 15
    for parser in parsers:
        parser.format_help().encode("ascii")
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help, (parser.prog, action.dest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["critique"],
        ["score", "a.png", "--temperature", "-1"],
        ["score", "a.png", "--temperature", "nan"],
        ["score", "a.png", "--max-new-tokens", "0"],
        ["score", "a.png", "--max-pixels", "-5"],
        ["score", "a.png", "--device", "toaster"],
        ["score", "a.png", "--prompt", "  "],
        ["critique", "a.png", "--refine-below", "9"],
        ["parrot", "train", "--dataset", "x", "--name", "y", "--epochs", "0"],
        ["parrot", "export", "x.parquet", "--dataset", "x", "--layout", "mmrb3"],
        ["nonsense"],
    ],
)
def test_a_wrong_option_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_rubric_is_shown_as_it_is_sent(folder, capsys):
    assert main(["rubric", "show", "edit", "--prompt", "make it {red}", "--json"]) == 0
    messages = json.loads(capsys.readouterr().out)
    parts = [part for message in messages for part in message["content"]]
    assert any("make it {red}" in part.get("text", "") for part in parts)
    assert {part["image"] for part in parts if part["type"] == "image"} == {"source", "image"}
