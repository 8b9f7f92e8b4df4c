"""`best`: the best of several image files."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from rational_rewards.demo.painter import paint
from rational_rewards.demo.rounds import embedded_critic

PROMPT = "two small blue squares on the left and a red star on a pink background with the word SUN"


@pytest.fixture(scope="module")
def demo_critic():
    return embedded_critic()


@pytest.fixture
def best(folder, demo_critic, monkeypatch):
    """`best("--keep-top", "2")` chooses among three paintings, of which good.png alone has no flaw."""
    from rational_rewards.cli import judge
    from rational_rewards.cli.main import main

    monkeypatch.setattr(judge, "load_critic", lambda options: demo_critic)
    paintings = folder / "paintings"
    paintings.mkdir()
    for name, seed, flaws in (("bad", 3, 1.0), ("good", 1, 0.0), ("worse", 4, 1.0)):
        paint(PROMPT, seed, flaws=flaws).image.save(paintings / f"{name}.png")

    def run(*options):
        code = main(["best", "paintings", "--prompt", PROMPT, "--json", "best.json", "--quiet", *options])
        file = folder / "best.json"
        return code, json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    return run


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_the_best_is_named_first_and_marked(best, capsys, method):
    code, data = best("--method", method)
    assert code == 0
    assert [path.endswith("good.png") for path in data["best"]] == [True]
    assert [image["kept"] for image in data["images"]] == [True, False, False]
    assert (data["comparisons"] > 0) == (method == "tournament")
    assert all(image["score"] is not None for image in data["images"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "kept" in lines[0]
    assert lines[0].endswith("good.png")


def test_keep_top_and_threshold(best, capsys):
    code, data = best("--keep-top", "2")
    assert (code, len(data["best"])) == (0, 2)
    scores = [image["score"] for image in data["images"]]
    assert scores == sorted(scores, reverse=True)
    code, data = best("--keep-top", "3", "--threshold", str(scores[0]))
    assert (code, len(data["best"])) == (0, 1)


def test_where_none_reaches_the_threshold_the_command_says_so_and_fails(best, folder, capsys):
    (folder / "paintings" / "good.png").unlink()
    code, data = best("--threshold", "1")
    assert code == 1
    assert data["best"] == []
    assert len(data["images"]) == 2
    assert "No image reaches the threshold of 1" in capsys.readouterr().err


def test_a_file_that_is_no_image_costs_only_itself(best, folder, capsys):
    (folder / "paintings" / "broken.png").write_bytes(b"no image")
    code, data = best()
    assert code == 1
    assert data["best"][0].endswith("good.png")
    assert data["failed"] == 1
    assert "broken.png" in capsys.readouterr().err


def test_a_tournament_wants_one_prompt(best, folder, capsys):
    from rational_rewards.cli.main import main

    for name, prompt in (("bad", "a red star"), ("good", "a blue circle")):
        (folder / "paintings" / f"{name}.txt").write_text(prompt, encoding="utf-8")
    files = [str(folder / "paintings" / f"{name}.png") for name in ("bad", "good")]
    assert main(["best", *files, "--method", "tournament", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert "--method score" in err
    assert main(["best", *files, "--quiet"]) == 0


@pytest.mark.parametrize("options", [["--keep-top", "0"], ["--threshold", "1.5"], ["--method", "luck"]])
def test_impossible_options_are_refused(best, options):
    with pytest.raises(SystemExit) as caught:
        best(*options)
    assert caught.value.code == 2


def test_no_image_at_all_is_an_error_before_the_critic_is_loaded(folder, capsys):
    from rational_rewards.cli.main import main

    Image.new("RGB", (8, 8)).save(folder / "x.png")
    assert main(["best", "missing.png", "--prompt", PROMPT]) == 1
    assert "missing.png" in capsys.readouterr().err
