"""Image files on the command line: which are judged, by which prompt, and what one bad file costs."""

from __future__ import annotations

import json
import os
import sys

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rational_rewards.cli import judge
from rational_rewards.cli.inputs import expanded, natural_order
from rational_rewards.cli.main import main
from rational_rewards.models.errors import OutOfMemoryError, QuestionError

PROMPT = ["--prompt", "a photo"]


def result(folder):
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def with_prompt(file, prompt):
    info = PngInfo()
    info.add_text("rational_rewards", json.dumps({"prompt": prompt}))
    Image.open(file).save(file, pnginfo=info)


# ---------------------------------------------------------------- which files


def test_patterns_folders_and_odd_names(folder):
    for name in ("x10.png", "x2.png", "set[1].png"):
        Image.new("RGB", (32, 32)).save(folder / name)
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    assert expanded(["x*.png"]) == ["x2.png", "x10.png"]
    assert expanded(["set[1].png"]) == ["set[1].png"]
    assert expanded(["set[1]*.png"]) == ["set[1].png"]
    assert expanded([f'"{folder / "a.png"}"']) == [str(folder / "a.png")]
    names = [os.path.basename(path) for path in expanded([str(folder)])]
    assert names == ["a.png", "b.png", "c.png", "set[1].png", "x2.png", "x10.png"]
    assert expanded(["x*.png", "x2.png"]) == ["x2.png", "x10.png"], "each image once"


def test_a_home_folder_is_meant_by_its_sign(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert expanded(["~/a.png"]) == [str(folder / "a.png")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("*.jpg", "No file matches"),
        ("empty", "no image in the folder"),
        ("missing.png", "no image missing"),
        ("set[1].png", "no image set"),
    ],
)
def test_nothing_to_judge_is_an_error(folder, given, says):
    (folder / "empty").mkdir()
    with pytest.raises(QuestionError, match=says):
        expanded([given])


def test_numbers_are_sorted_by_their_size():
    names = ["b10", "B2", "a", "2", "10", "b2c", "é1", "²"]
    assert sorted(names, key=natural_order) == ["2", "10", "a", "B2", "b2c", "b10", "²", "é1"]


# ---------------------------------------------------------------- which prompt


def test_each_image_is_judged_by_the_prompt_in_its_own_metadata(shell, folder):
    with_prompt("a.png", "a cat")
    with_prompt("b.png", "a dog")
    assert shell("score", "a.png", "b.png", "--json", "result.json") == 0
    assert [entry["prompt"] for entry in result(folder)["images"]] == ["a cat", "a dog"]
    assert shell("score", "a.png", *PROMPT, "--json", "result.json") == 0
    assert result(folder)["images"][0]["prompt"] == "a photo"


def test_an_image_without_a_prompt_asks_for_one(shell, loads, capsys):
    assert shell("score", "c.png") == 1
    assert (
        "c.png does not tell which prompt it was made from: give it with --prompt" in capsys.readouterr().err
    )
    assert not loads, "the critic is not loaded for nothing"


def test_two_images_are_compared_by_the_prompt_they_share(shell, folder, capsys):
    with_prompt("a.png", "a cat")
    assert shell("compare", "a.png", "b.png", "--json", "result.json") == 0
    assert result(folder)["prompt"] == "a cat"
    with_prompt("b.png", "a dog")
    assert shell("compare", "a.png", "b.png") == 1
    assert "different prompts" in capsys.readouterr().err


def test_half_an_emoji_in_a_prompt(shell, folder):
    # As a shell hands over a byte that is no UTF-8, and as half of a pair from elsewhere.
    for half in ("\udcff", "\ud83d"):
        assert shell("critique", "a.png", "--prompt", f"sun {half} rise", "--json", "result.json") == 0
        assert result(folder)["images"][0]["prompt"] == "sun ? rise"


# ---------------------------------------------------------------- one bad file


@pytest.mark.parametrize("command", [("critique", "--refine"), ("score",), ("score", "--fast")])
def test_a_bad_image_costs_only_itself(shell, folder, capsys, command):
    Image.open("c.png").save("cut.png")
    data = (folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    name, *options = command
    files = ["a.png", "cut.png", "missing.png", "b.png"]
    assert shell(name, *files, *PROMPT, *options, "--json", "result.json") == 1
    error = capsys.readouterr().err
    assert "cut.png cannot be read" in error
    assert "no image missing.png" in error
    assert "2 of 4 images failed" in error
    images = result(folder)["images"]
    assert [entry["image"] for entry in images] == files
    assert ["error" in entry for entry in images] == [False, True, True, False]
    assert result(folder)["failed"] == 2


@pytest.mark.parametrize("command", ["score", "critique"])
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("empty", "There is no image in the folder empty"),
        ("*.jpg", "No file matches *.jpg"),
        ("missing.png", "There is no image missing.png"),
        ("", "A name of an image is empty"),
        ("n" * 300 + ".png", "nnn.png"),
        ("n" * 300 + "*.png", "nnn*.png"),
    ],
)
def test_a_name_that_stands_for_no_image_costs_only_itself(shell, folder, capsys, command, bad, says):
    (folder / "empty").mkdir()
    assert shell(command, "a.png", bad, "b.png", *PROMPT, "--json", "result.json") == 1
    error = capsys.readouterr().err
    assert error.count(says) == 1
    assert "1 of 3 images failed." in error
    images = result(folder)["images"]
    assert [entry["image"] for entry in images] == ["a.png", bad, "b.png"]
    assert ["error" in entry for entry in images] == [False, True, False]


@pytest.mark.parametrize("bad", ["empty", "*.jpg", "missing.png", "", "n" * 300])
def test_where_nothing_is_left_no_critic_is_loaded(shell, folder, loads, capsys, bad):
    (folder / "empty").mkdir()
    assert shell("score", bad, *PROMPT, "--json", "result.json") == 1
    assert capsys.readouterr().err.count("rational_rewards: ") == 1
    assert not loads
    assert not (folder / "result.json").exists()


def test_a_name_that_cannot_be_asked_about_costs_only_itself(shell, folder, capsys, monkeypatch):
    """What a folder without rights answers; root may read every one, so it is acted."""
    original = type(folder).is_file

    def is_file(path, **options):
        if path.name == "closed.png":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, **options)

    monkeypatch.setattr(type(folder), "is_file", is_file)
    assert shell("score", "a.png", "closed.png", *PROMPT) == 1
    error = capsys.readouterr().err
    assert "closed.png cannot be read (Permission denied)" in error
    assert "1 of 2 images failed." in error


def test_images_of_every_kind_and_odd_names_together(loads, folder, capsys):
    picture = Image.open("a.png").convert("RGB")
    Image.open("b.png").convert("RGBA").save("see through.png")
    Image.new("I;16", (64, 64), 40_000).save("深い灰.png")
    picture.convert("CMYK").save("cmyk.jpg")
    picture.save("moves.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.save("🦊.webp")
    picture.convert("P").save("--seed.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "empty.png").touch()
    good = ["see through.png", "深い灰.png", "cmyk.jpg", "moves.gif", "🦊.webp", "--seed.png"]
    command = ["score", *PROMPT, "--json", "result.json", "--max-new-tokens", "64"]
    assert main([*command, "--", *good, "broken.png", "empty.png", "no.png"]) == 1
    images = result(folder)["images"]
    assert [entry["image"] for entry in images if "error" not in entry] == good
    error = capsys.readouterr().err
    assert "broken.png" in error
    assert "empty.png" in error
    assert "3 of 9 images failed." in error


def test_the_portions_are_small_and_in_order(shell, folder, monkeypatch):
    monkeypatch.setattr(judge, "PORTION", 2)
    opened = []
    original = judge.open_image
    monkeypatch.setattr(judge, "open_image", lambda path: opened.append(path) or original(path))
    assert shell("score", "a.png", "b.png", "c.png", *PROMPT, "--json", "result.json") == 0
    assert opened == ["a.png", "b.png", "c.png"]
    assert [entry["image"] for entry in result(folder)["images"]] == ["a.png", "b.png", "c.png"]


def test_what_does_not_fit_into_memory_costs_only_itself(shell, loads, folder, monkeypatch):
    from rational_rewards.models.critic import Critic

    original = Critic.critique

    def critique(self, images, prompt, *more, **options):
        if len(images) > 1 or images[0].size == (64, 64):
            raise OutOfMemoryError("There is not enough memory: lower max_pixels on Load Critic.")
        return original(self, images, prompt, *more, **options)

    monkeypatch.setattr(Critic, "critique", critique)
    Image.new("RGB", (64, 64)).save("large.png")
    assert shell("score", "a.png", "large.png", *PROMPT, "--json", "result.json") == 1
    assert ["error" in entry for entry in result(folder)["images"]] == [False, True]


def test_what_was_judged_before_a_cancel_is_not_lost(shell, folder, monkeypatch, capsys):
    monkeypatch.setattr(judge, "PORTION", 1)
    original = judge.open_image

    def open_image(path):
        if path == "c.png":
            raise KeyboardInterrupt
        return original(path)

    monkeypatch.setattr(judge, "open_image", open_image)
    assert shell("score", "a.png", "b.png", "c.png", *PROMPT, "--json", "result.json") == 130
    assert ["error" in entry for entry in result(folder)["images"]] == [False, False, True]
    assert "2 of 3 images had been judged" in capsys.readouterr().err


def test_a_rubric_that_does_not_fit_is_one_error_and_not_one_an_image(shell, capsys):
    assert shell("score", "a.png", "b.png", *PROMPT, "--rubric", "edit") == 1
    error = capsys.readouterr().err
    assert error.count("rational_rewards:") == 1
    assert "give --source" in error


@pytest.mark.parametrize(
    "command", [["score", "a.png"], ["critique", "a.png"], ["compare", "a.png", "b.png"]]
)
def test_an_unknown_rubric_is_named_before_the_critic_is_loaded(shell, loads, capsys, command):
    assert shell(*command, *PROMPT, "--rubric", "nope") == 1
    assert 'There is no rubric "nope"' in capsys.readouterr().err
    assert not loads


def test_a_rubric_for_two_images_is_none_for_one_before_the_critic_is_loaded(shell, loads, capsys):
    assert shell("score", "a.png", *PROMPT, "--rubric", "t2i-pair") == 1
    assert shell("compare", "a.png", "b.png", *PROMPT, "--rubric", "t2i") == 1
    assert shell("compare", "a.png", "b.png", *PROMPT, "--rubric", "edit-pair") == 1
    error = capsys.readouterr().err
    assert "is for two images" in error
    assert "is for one image" in error
    assert "give --source" in error
    assert not loads


def test_the_demo_critic_refuses_fast_before_it_is_loaded(shell, loads, capsys):
    assert shell("score", "a.png", *PROMPT, "--checkpoint", "shapes demo (CPU)", "--fast") == 1
    assert "leave out --fast" in capsys.readouterr().err
    assert not loads


@pytest.mark.parametrize("device", ["cuda:99", "mps", "xpu:99"])
@pytest.mark.parametrize("command", [["score", "a.png"], ["compare", "a.png", "b.png"]])
def test_a_device_that_is_not_there_is_not_ignored(shell, loads, capsys, monkeypatch, command, device):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert shell(*command, *PROMPT, "--checkpoint", "shapes demo (CPU)", "--device", device) == 1
    assert f'There is no device "{device}" on this computer' in capsys.readouterr().err
    assert not loads


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_a_file_name_that_is_not_utf_8(shell, folder, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    Image.open("a.png").save(name)
    assert shell("critique", name, "b.png", *PROMPT, "--json", "result.json") == 0
    assert "caf\ufffd.png" in capsys.readouterr().out
    assert result(folder)["images"][0]["image"] == "caf\ufffd.png"


def test_a_link_that_leads_nowhere_costs_only_itself(shell, folder, capsys):
    (folder / "d").mkdir()
    (folder / "a.png").rename(folder / "d" / "a.png")
    (folder / "d" / "circle.png").symlink_to("circle.png")
    (folder / "d" / "gone.png").symlink_to("nothing.png")
    assert shell("score", "d", *PROMPT, "--json", "r.json") == 1
    complaints = capsys.readouterr().err
    assert "circle.png" in complaints
    assert "gone.png" in complaints
    assert json.loads((folder / "r.json").read_text())["failed"] == 2
