"""`rank`: a folder of images in order, whatever is in it, and however often it was stopped."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rational_rewards.cli import rank
from rational_rewards.cli.progress_bar import ProgressBar, line
from rational_rewards.demo.gallery import write_gallery
from rational_rewards.demo.measure import spearman
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import OutOfMemoryError

ALONE = "Judged for quality alone, without a prompt."


@pytest.fixture
def images(folder):
    """A folder: a.png by a prompt in its metadata, b.png by its text file, c.png without a prompt."""
    place = folder / "images"
    place.mkdir()
    info = PngInfo()
    info.add_text("parameters", "=a cat\nNegative prompt: a dog\nSteps: 20")
    Image.open("a.png").save(place / "a.png", pnginfo=info)
    (folder / "b.png").rename(place / "b.png")
    (place / "b.txt").write_text("<script>alert(1)</script>", encoding="utf-8")
    (folder / "c.png").rename(place / "c.png")
    return place


def lines(place, output="ranking"):
    """What was written of each image, by its name, in order."""
    text = (place / output / "ranking.jsonl").read_text(encoding="utf-8")
    return {entry["image"]: entry for entry in map(json.loads, text.splitlines())}


def results(place):
    """All that was written, as bytes."""
    names = ("ranking.csv", "ranking.jsonl", "contact-sheet.html")
    return [(place / "ranking" / name).read_bytes() for name in names]


def test_each_image_is_judged_by_its_own_prompt_and_without_one_for_quality(shell, images, capsys):
    assert shell("rank", "images") == 0
    found = lines(images)
    assert [found[name]["prompt"] for name in ("a.png", "b.png", "c.png")] == [
        "=a cat",
        "<script>alert(1)</script>",
        "",
    ]
    assert [found[name]["prompt_from"] for name in ("a.png", "b.png", "c.png")] == [
        "parameters",
        "text file",
        "",
    ]
    assert list(found)[-1] == "c.png", "what was judged for something else stands behind"
    assert found["c.png"]["judged_for"] == "quality alone"
    assert ALONE in found["c.png"]["notes"]
    assert found["c.png"]["rank"] == 1
    assert list(found["c.png"]["dimensions"]) == ["physical_quality"]

    with (images / "ranking" / "ranking.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows["c.png"]["judged_for"] == "quality alone"
    assert rows["c.png"]["text_faithfulness"] == ""
    assert rows["a.png"]["prompt"] == "'=a cat", "no formula for a spreadsheet"
    assert float(rows["a.png"]["score"]) == pytest.approx(found["a.png"]["score"], abs=1e-6)

    page = (images / "ranking" / "contact-sheet.html").read_text(encoding="utf-8")
    assert page.count("<tbody") == 3
    assert page.count("quality alone") >= 2
    assert "<script>alert" not in page
    assert ALONE in page
    said = capsys.readouterr()
    assert "c.png  (quality alone)" in said.out
    assert "1 without a prompt, judged for quality alone" in said.out


def test_a_given_prompt_is_everybody_s(shell, images):
    assert shell("rank", "images", "--prompt", "a house", "--output", "elsewhere") == 0
    assert not (images / "ranking").exists()
    entries = lines(images, "../elsewhere").values()
    assert {(entry["prompt"], entry["prompt_from"]) for entry in entries} == {("a house", "given")}


def test_one_dimension_compares_all(shell, images, capsys):
    assert shell("rank", "images", "--by", "physical_quality") == 0
    scores = [entry["dimensions"]["physical_quality"]["score"] for entry in lines(images).values()]
    assert scores == sorted(scores, reverse=True)
    assert shell("rank", "images", "--by", "text_faithfulness") == 0
    assert lines(images)["c.png"]["rank"] is None, "it has no such score"
    assert "-      -  c.png  (quality alone)" in capsys.readouterr().out
    assert shell("rank", "images", "--by", "beauty") == 1
    assert "choose score, text_faithfulness, physical_quality, text_rendering" in capsys.readouterr().err


def test_bad_images_are_named_counted_and_cost_only_themselves(shell, images, capsys):
    data = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(data[: len(data) // 2])
    (images / "empty.jpg").write_bytes(b"")
    assert shell("rank", "images") == 1
    said = capsys.readouterr()
    assert "cut.png cannot be read" in said.err
    assert "empty.jpg cannot be read" in said.err
    assert "2 of 5 images failed and are not ranked" in said.err
    found = lines(images)
    assert [name for name, entry in found.items() if "error" in entry] == ["cut.png", "empty.jpg"]
    assert len((images / "ranking" / "journal.jsonl").read_bytes().splitlines()) == 3
    # A bad file that is mended is judged, and the others are not judged again.
    (images / "cut.png").write_bytes(data)
    (images / "empty.jpg").unlink()
    assert shell("rank", "images") == 0
    assert len((images / "ranking" / "journal.jsonl").read_bytes().splitlines()) == 3, (
        "the same image as a.png"
    )
    assert lines(images)["cut.png"]["score"] == found["a.png"]["score"]


def test_what_is_judged_is_not_judged_again(shell, images, loads, monkeypatch):
    asked = []
    original = Critic.judge
    monkeypatch.setattr(
        Critic,
        "judge",
        lambda self, questions, *more: asked.append(len(questions)) or original(self, questions, *more),
    )
    assert shell("rank", "images") == 0
    first = results(images)
    assert asked == [2, 1]
    assert shell("rank", "images") == 0
    assert asked == [2, 1]
    assert results(images) == first
    (images / "b.txt").write_text("another prompt", encoding="utf-8")
    assert shell("rank", "images") == 0
    assert asked == [2, 1, 1]


def test_nothing_of_a_batch_is_kept_in_memory(shell, images, loads):
    assert shell("rank", "images", "--batch", "1") == 0
    (critic,) = loads
    assert not critic.answering.cache.values
    assert not critic.engine.kept


def test_a_cancel_and_a_batch_that_is_stopped_go_on_to_equal_results(shell, images, monkeypatch, capsys):
    assert shell("rank", "images", "--batch", "1") == 0
    whole = results(images)
    (images / "ranking" / "journal.jsonl").unlink()
    original = Critic.critique

    def stopped(self, pictures, prompt, *more, **options):
        if prompt == ["<script>alert(1)</script>"]:
            raise KeyboardInterrupt
        return original(self, pictures, prompt, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Critic, "critique", stopped)
        assert shell("rank", "images", "--batch", "1") == 130
    assert "1 images were judged, and the same command goes on" in capsys.readouterr().err
    assert shell("rank", "images", "--batch", "1") == 0
    assert results(images) == whole


def test_what_does_not_fit_into_memory_costs_only_itself(shell, images, monkeypatch, capsys):
    original = Critic.critique

    def critique(self, pictures, prompt, *more, **options):
        if len(pictures) > 1 or prompt == ["=a cat"]:
            raise OutOfMemoryError("There is not enough memory: lower max_pixels on Load Critic.")
        return original(self, pictures, prompt, *more, **options)

    monkeypatch.setattr(Critic, "critique", critique)
    assert shell("rank", "images") == 1
    assert "lower --max-pixels" in capsys.readouterr().err
    assert [name for name, entry in lines(images).items() if "error" in entry] == ["a.png"]


def test_the_best_are_copied_and_nothing_is_moved_or_overwritten(shell, images, folder, capsys):
    before = {path.name: path.read_bytes() for path in images.iterdir()}
    target = folder / "best"
    target.mkdir()
    assert shell("rank", "images", "--top", "2", "--copy-to", "best") == 0
    best = [name for name in lines(images)][:2]
    assert sorted(path.name for path in target.iterdir()) == [f"1_{best[0]}", f"2_{best[1]}"]
    assert {name: (images / name).read_bytes() for name in before} == before
    # Again: what is there already stays as it is. A file of that name with other content is not overwritten.
    assert shell("rank", "images", "--top", "2", "--copy-to", "best") == 0
    assert len(list(target.iterdir())) == 2
    (target / f"1_{best[0]}").write_bytes(b"mine")
    assert shell("rank", "images", "--top", "2", "--copy-to", "best") == 0
    assert (target / f"1_{best[0]}").read_bytes() == b"mine"
    stem, ending = best[0].split(".")
    assert (target / f"1_{stem} (2).{ending}").read_bytes() == before[best[0]]
    assert not list(target.glob(".*"))


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--copy-to", "best"], 2, "--copy-to needs --top"),
        (["--top", "2", "--copy-to", "images"], 2, "is the folder that is ranked"),
        (["--output", "a.png"], 2, "is a file"),
        (["--rubric", "t2i-pair"], 1, "judged one by one"),
        (["--rubric", "edit"], 1, "judged one by one"),
    ],
)
def test_what_cannot_be_meant_is_said_before_the_work(shell, images, capsys, options, code, says):
    assert shell("rank", "images", *options) == code
    assert says in capsys.readouterr().err
    assert not (images / "ranking" / "ranking.csv").exists()


def test_folders_below(shell, images, folder, capsys):
    (images / "below").mkdir()
    (images / "a.png").rename(images / "below" / "x.png")
    (images / ".hidden").mkdir()
    (images / "b.png").rename(images / ".hidden" / "b.png")
    assert shell("rank", "images") == 0
    assert list(lines(images)) == ["c.png"]
    arguments = ("images", "--recursive", "--top", "9", "--copy-to", "images/best")
    assert shell("rank", *arguments) == 0
    # The copies are no images of the folder.
    assert shell("rank", *arguments) == 0
    assert set(lines(images)) == {"below/x.png", "c.png"}
    page = (images / "ranking" / "contact-sheet.html").read_text(encoding="utf-8")
    assert 'href="./../below/x.png"' in page
    assert shell("rank", "nowhere") == 1
    assert "There is no folder nowhere" in capsys.readouterr().err
    (folder / "none").mkdir()
    assert shell("rank", "none") == 1
    assert "--recursive" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_hostile_names(shell, images):
    names = ["javascript:alert(1).png", '"><img src=x onerror=alert(1)>.png', os.fsdecode(b"caf\xe9.png")]
    for number, name in enumerate(names):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(images / name)
    assert shell("rank", "images") == 0
    page = (images / "ranking" / "contact-sheet.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert 'href="javascript' not in page
    assert 'href="./../javascript%3Aalert%281%29.png"' in page
    assert 'href="./../caf%E9.png"' in page
    # The order of the rubric, though the first image has only one of its dimensions.
    heads = [page.index(f">{name}<span>") for name in ("Text Faithfulness", "Physical and Visual Quality")]
    assert heads == sorted(heads)


def test_the_bar_says_how_long_it_will_take(capsys):
    assert line(0, 4, None, bar=False) == "0 of 4 images"
    assert line(2, 4, 7300, bar=True) == "[############------------]  2 of 4 images, 2 h 1 min left"
    bar = ProgressBar(lambda: 10)
    # What was known already, 80 of 100, took no time.
    assert bar._left(90, 100, bar.start + 20) == pytest.approx(20)
    bar.show(1, 2)
    assert capsys.readouterr().err == "", "a piped command that ends at once says nothing"


def test_a_killed_run_goes_on_to_equal_results(tmp_path):
    """The embedded critic, killed twice in the middle, against one that was left alone."""
    truth = write_gallery(tmp_path / "images", 24)
    command = [sys.executable, "-m", "rational_rewards", "rank", str(tmp_path / "images"), "--output"]
    options = ["--checkpoint", EMBEDDED_NAME, "--device", "cpu", "--batch", "4"]

    def run(name, until=0):
        """Run, and kill as soon as the journal has grown to `until` lines."""
        journal = tmp_path / name / "journal.jsonl"
        process = subprocess.Popen([*command, str(tmp_path / name), *options], stderr=subprocess.PIPE)
        while until and process.poll() is None:
            if journal.is_file() and journal.read_bytes().count(b"\n") >= until:
                process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
                break
            time.sleep(0.02)
        _, said = process.communicate(timeout=300)
        return process.returncode, said

    for until in (4, 12):
        code, said = run("killed", until)
        assert code not in (0, 1), said.decode()
    assert not (tmp_path / "killed" / "ranking.csv").exists()
    assert run("killed")[0] == 0
    assert run("alone")[0] == 0
    for name in ("ranking.csv", "ranking.jsonl", "contact-sheet.html"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    entries = [json.loads(one) for one in (tmp_path / "alone" / "ranking.jsonl").open(encoding="utf-8")]
    assert spearman([one["score"] for one in entries], [truth[one["image"]] for one in entries]) >= 0.9
    assert {one["prompt_from"] for one in entries} == {"ComfyUI", "parameters", "text file"}


def test_two_at_once_are_refused(shell, images, capsys):
    with rank.exclusive(images / "ranking" / "journal.jsonl", "testing"):
        assert shell("rank", "images") == 1
    assert "Another program is ranking into" in capsys.readouterr().err
