"""Recording preferences: what stays in the folder, whatever happens to the program that writes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from comfyui_checkouts import HINT, checkouts
from PIL import Image

from rational_rewards.models import paths
from rational_rewards.models.errors import PreferenceError, QuestionError
from rational_rewards.preferences.dataset import IMAGES, LINES, PreferenceDataset, dataset_folder


def picture(number: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A small picture of noise, another one for each number."""
    return Image.fromarray(
        np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    )


A, B, C = picture(1), picture(2), picture(3)


@pytest.fixture
def dataset(tmp_path):
    return PreferenceDataset(tmp_path / "my-taste")


def lines(dataset: PreferenceDataset) -> list[dict]:
    return [json.loads(line) for line in dataset.file.read_text(encoding="utf-8").split("\n")[:-1]]


def standing(dataset: PreferenceDataset) -> list[tuple[str, str]]:
    return [(pair.prompt, pair.preferred) for pair in dataset]


def test_a_recorded_preference_comes_back_with_the_same_pixels(dataset):
    recorded = dataset.record(A, B, "a red cube", "B", source=C, chosen_by="tiny critic")
    (pair,) = PreferenceDataset(dataset.folder)
    assert pair == recorded
    assert (pair.prompt, pair.preferred, pair.task, pair.chosen_by) == (
        "a red cube",
        "B",
        "edit",
        "tiny critic",
    )
    for file, image in ((pair.image_a, A), (pair.image_b, B), (pair.source, C)):
        assert file is not None
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(image))


def test_pairs_come_in_the_order_of_recording_and_shared_pictures_are_kept_once(dataset):
    for number, preferred in enumerate(("A", "B", "tie")):
        dataset.record(A, B, f"prompt {number}", preferred)
    assert standing(dataset) == [("prompt 0", "A"), ("prompt 1", "B"), ("prompt 2", "tie")]
    assert len(dataset) == 3
    assert len({pair.id for pair in dataset}) == 3
    assert len(list((dataset.folder / IMAGES).iterdir())) == 2


@pytest.mark.parametrize(
    "prompt",
    [
        "ein Mädchen, 雪の庭 🌈",
        "two\nlines\r\nand \u2028 a third",
        'quo"tes \\ {braces}',
        "half \ud83d an emoji",
    ],
)
def test_any_prompt_comes_back_as_written(dataset, prompt):
    dataset.record(A, B, prompt, "A")
    (pair,) = PreferenceDataset(dataset.folder)
    assert pair.prompt == prompt.replace("\ud83d", "?")


def test_pictures_of_the_same_bytes_but_other_sizes_are_two_pictures(dataset):
    wide, tall = Image.new("RGB", (8, 4)), Image.new("RGB", (4, 8))
    pair = dataset.record(wide, tall, "a black picture", "A")
    assert (Image.open(pair.image_a).size, Image.open(pair.image_b).size) == ((8, 4), (4, 8))


def test_the_same_preference_again_adds_no_line(dataset):
    first = dataset.record(A, B, "a cube", "A")
    assert PreferenceDataset(dataset.folder).record(A, B, "a cube", "A") == first
    assert len(lines(dataset)) == 1


def test_changing_one_s_mind_keeps_both_lines_and_the_later_one_stands(dataset):
    first = dataset.record(A, B, "a cube", "A")
    dataset.record(A, C, "a cube", "A")
    later = dataset.record(A, B, "a cube", "B")
    assert later.id == first.id
    assert [line["preferred"] for line in lines(dataset)] == ["A", "A", "B"]
    for seen in (dataset, PreferenceDataset(dataset.folder)):
        assert seen.pairs()[-1] == later
        assert len(seen) == 2


def test_a_pair_shown_the_other_way_round_is_the_same_pair(dataset):
    dataset.record(A, B, "a cube", "A")
    # The same picture is preferred.
    dataset.record(B, A, "a cube", "B")
    assert len(lines(dataset)) == 1
    dataset.record(B, A, "a cube", "A")
    assert standing(dataset) == [("a cube", "A")]
    assert Image.open(dataset.pairs()[0].image_a).tobytes() == B.tobytes()


def test_another_source_or_prompt_makes_another_pair(dataset):
    dataset.record(A, B, "make it red", "A")
    dataset.record(A, B, "make it red", "B", source=C)
    dataset.record(A, B, "make it red ", "tie")
    assert [pair.preferred for pair in dataset] == ["A", "B", "tie"]


def test_a_human_who_agrees_with_the_critic_is_recorded(dataset):
    dataset.record(A, B, "a cube", "A", chosen_by="tiny critic")
    dataset.record(A, B, "a cube", "A")
    assert [pair.chosen_by for pair in dataset] == ["human"]


def test_undo_takes_back_the_last_preference_and_lets_the_one_before_stand_again(dataset):
    dataset.record(A, B, "one", "A")
    dataset.record(A, C, "two", "A")
    dataset.record(A, B, "one", "tie")
    undone = dataset.undo()
    assert (undone.prompt, undone.preferred) == ("one", "tie")
    assert standing(dataset) == standing(PreferenceDataset(dataset.folder)) == [("one", "A"), ("two", "A")]
    assert dataset.undo().prompt == "two"
    assert PreferenceDataset(dataset.folder).undo().prompt == "one"
    assert dataset.undo() is None
    assert (len(dataset), len(lines(dataset))) == (0, 6)


def test_an_undone_preference_can_be_recorded_again_by_hand_but_not_by_an_import(dataset):
    dataset.record(A, B, "one", "A")
    dataset.undo()
    assert not dataset.add(A, B, "one", "A")
    assert len(dataset) == 0
    dataset.record(A, B, "one", "A")
    assert standing(dataset) == [("one", "A")]


def test_undo_in_a_folder_that_does_not_exist_makes_none(dataset):
    assert dataset.undo() is None
    assert dataset.pairs() == []
    assert not dataset.folder.exists()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        ".",
        "",
        "  ",
        "a/b",
        "a\\b",
        "C:x",
        "nul",
        "Con.txt",
        "lpt1",
        ".hidden",
        "dot.",
        "tab\tname",
        "x" * 200,
        "a\ud800",
    ],
)
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path, name):
    with pytest.raises(PreferenceError, match="dataset"):
        dataset_folder(tmp_path, name)


@pytest.mark.parametrize("name", ["my-taste", "Mein Geschmack 2", "趣味", "v1.2", "concept"])
def test_plain_names_in_any_language_are_folders_under_the_root(tmp_path, name):
    assert dataset_folder(tmp_path, f" {name} ") == tmp_path / name
    # However its letters are composed.
    assert dataset_folder(tmp_path, "gou\u0302t") == tmp_path / "go\u00fbt"


def test_the_user_s_preferences_lie_in_the_user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path))
    assert dataset_folder(paths.preferences_root(), "my-taste") == tmp_path / "preferences" / "my-taste"


def test_what_says_nothing_is_refused_and_leaves_no_folder(dataset):
    with pytest.raises(PreferenceError, match="choose A, B or tie"):
        dataset.record(A, B, "a cube", "C")
    with pytest.raises(PreferenceError, match="prompt is empty"):
        dataset.record(A, B, " \n", "A")
    with pytest.raises(PreferenceError, match="are the same image"):
        dataset.record(A, A.copy(), "a cube", "B")
    with pytest.raises(QuestionError, match="There is no image"):
        dataset.record(A, "missing.png", "a cube", "B")
    assert not dataset.folder.exists()


def test_a_line_that_does_not_say_who_chose_is_a_human_choice(dataset):
    dataset.record(A, B, "a cube", "A", chosen_by="tiny critic")
    line = lines(dataset)[0]
    del line["chosen_by"]
    dataset.file.write_text(json.dumps(line) + "\n", "utf-8")
    assert [pair.chosen_by for pair in PreferenceDataset(dataset.folder)] == ["human"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(PreferenceError, match="taken cannot be written"):
        PreferenceDataset(tmp_path / "taken").record(A, B, "a cube", "A")


# ---------------------------------------------------------------- damage


def test_every_way_to_cut_the_last_line_costs_that_line_only(dataset):
    dataset.record(A, B, "one", "A")
    whole = dataset.file.read_bytes()
    dataset.record(A, C, "zwei ü", "B")
    both = dataset.file.read_bytes()
    for cut in range(len(whole), len(both) + 1):
        dataset.file.write_bytes(both[:cut])
        # Only the line end is missing.
        survived = cut >= len(both) - 1
        expected = ["one", "zwei ü"] if survived else ["one"]
        assert [pair.prompt for pair in PreferenceDataset(dataset.folder)] == expected
        if cut % 7 == 0 or survived:
            PreferenceDataset(dataset.folder).record(B, C, "three", "tie")
            assert [pair.prompt for pair in PreferenceDataset(dataset.folder)] == [*expected, "three"]
            assert [line["prompt"] for line in lines(dataset)] == [*expected, "three"]


def test_an_open_dataset_sees_through_the_repair_of_another(dataset):
    dataset.record(A, B, "one", "A")
    with dataset.file.open("ab") as file:
        file.write('{"id": "half, ü'.encode()[:-1])
    assert len(dataset) == 1
    PreferenceDataset(dataset.folder).record(A, C, "two", "B")
    assert standing(dataset) == [("one", "A"), ("two", "B")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:40],
        lambda line: "[1]",
        lambda line: line.replace('"A"', '"C"'),
        lambda line: '{"undo": "other"}',
    ],
)
def test_a_damaged_line_in_the_middle_is_named_by_its_number(dataset, damage):
    for number in range(3):
        dataset.record(A, B, f"prompt {number}", "A")
    text = dataset.file.read_text(encoding="utf-8").split("\n")
    text[1] = damage(text[1])
    dataset.file.write_text("\n".join(text), encoding="utf-8")
    before = dataset.file.read_bytes()
    for seen in (dataset, PreferenceDataset(dataset.folder)):
        for attempt in (seen.pairs, seen.undo, partial(seen.record, A, C, "new", "A")):
            with pytest.raises(PreferenceError, match=r"Line 2 of .*preferences\.jsonl is damaged"):
                attempt()
    assert dataset.file.read_bytes() == before


def test_a_file_edited_by_hand_is_read_again(dataset):
    for number in range(3):
        dataset.record(A, B, f"prompt {number}", "A")
    kept = dataset.file.read_text(encoding="utf-8").split("\n")[2]
    # As an editor on Windows would save it.
    dataset.file.write_bytes(b"\xef\xbb\xbf" + kept.encode() + b"\r\n\r\n")
    assert standing(dataset) == [("prompt 2", "A")]
    dataset.record(A, C, "new", "B")
    assert standing(PreferenceDataset(dataset.folder)) == [("prompt 2", "A"), ("new", "B")]


# ---------------------------------------------------------------- several writers

WRITER = """
import sys
import numpy as np
from PIL import Image
from rational_rewards.preferences.dataset import PreferenceDataset

dataset, writer = PreferenceDataset(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    noise = np.random.default_rng(1000 * writer + number).integers(0, 255, (2, 48, 64, 3), dtype=np.uint8)
    prompt = f"writer {writer} number {number} " + "ü" * 2000
    a, b = (Image.fromarray(pixels) for pixels in noise)
    dataset.record(a, b, prompt, ("A", "B", "tie")[number % 3])
    print(number, flush=True)
"""


def start_writer(folder: Path, writer: int, count: int) -> subprocess.Popen:
    """A process that will record `count` preferences, told to begin by a line."""
    command = [sys.executable, "-c", WRITER, str(folder), str(writer), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def whole_pictures(dataset: PreferenceDataset) -> bool:
    """Can every picture of every pair be read to its end?"""
    return all(Image.open(file).tobytes() for pair in dataset for file in pair.images.values())


def test_four_programs_writing_at_the_same_time_lose_and_double_nothing(dataset):
    writers = [start_writer(dataset.folder, writer, 25) for writer in range(4)]
    for process in writers:
        print("go", file=process.stdin, flush=True)
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    found = [line["prompt"].split(" ü")[0] for line in lines(dataset)]
    assert sorted(found) == sorted(f"writer {w} number {n}" for w in range(4) for n in range(25))
    assert len(dataset) == 100
    # Each one's own are in its order.
    for writer in range(4):
        own = [text for text in found if text.startswith(f"writer {writer} ")]
        assert own == [f"writer {writer} number {n}" for n in range(25)]
    assert whole_pictures(dataset)
    assert not list((dataset.folder / IMAGES).glob("*.tmp"))


def test_threads_with_one_dataset_and_with_their_own_lose_and_double_nothing(dataset):
    def write(thread: int) -> None:
        own = dataset if thread % 2 else PreferenceDataset(dataset.folder)
        for number in range(10):
            own.record(picture(thread), picture(100 + number), f"thread {thread} number {number}", "A")

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(dataset)) == len(dataset) == 40


def test_a_writer_killed_at_any_moment_leaves_everything_it_had_recorded(dataset):
    dice = random.Random(5)
    promised: set[str] = set()
    for attempt in range(12):
        process = start_writer(dataset.folder, attempt, 100_000)
        print("go", file=process.stdin, flush=True)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(dice.randint(1, 6))]
        # Anywhere inside the next record.
        threading.Event().wait(dice.random() * 0.02)
        process.kill()
        said += process.stdout.readlines()
        process.wait()
        promised |= {f"writer {attempt} number {line.strip()}" for line in said if line.endswith("\n")}
        seen = PreferenceDataset(dataset.folder)
        found = [pair.prompt.split(" ü")[0] for pair in seen]
        assert promised <= set(found)
        assert len(found) == len(set(found))
        assert whole_pictures(seen)
    dataset.record(A, B, "after all that", "A")
    assert {line["prompt"].split(" ü")[0] for line in lines(dataset)} >= promised | {"after all that"}
    assert not list((dataset.folder / IMAGES).glob("*.tmp"))


# ---------------------------------------------------------------- the node

NODE = """
import json
from types import SimpleNamespace
import comfy.options
comfy.options.enable_args_parsing()
# As main.py does: ComfyUI's older `nodes` hides this package behind comfy/utils.py.
import utils.install_util
import torch
from rational_rewards.models.errors import RationalRewardsError
from rational_rewards.nodes import host
from rational_rewards.nodes.preference import RecordPreference as node
from rational_rewards.preferences.dataset import PreferenceDataset

node.GET_SCHEMA()
# As the executor sets it, for a prompt without a workflow.
node.hidden = SimpleNamespace(unique_id="1", prompt=None, dynprompt=None, extra_pnginfo=None)
a, b = torch.rand(2, 8, 8, 3), torch.rand(2, 6, 9, 3)
seen = []
def run(preferred, *more, a=a, b=b, name="my-taste", **others):
    # The node takes its inputs as lists.
    # The dataset's part of it.
    stamp = node.fingerprint_inputs(dataset=[name])[0]
    given = {key: [value] for key, value in others.items()}
    sources = [list(more)] if more else []
    try:
        done = node.execute([a], [b], ["a cube"], [preferred], [name], *sources, **given)
        seen.append([stamp, *done.result])
    except RationalRewardsError as error:
        seen.append(str(error))
for preferred in ("A", "A", "B", "A"):
    run(preferred)
run("tie", torch.rand(1, 4, 4, 3), name=" edits ", chosen_by="critic")
run("A", b=b[:1])
run("A", torch.rand(3, 4, 4, 3))
run("A", name="../x")
root = host.preferences_root()
kept = {
    name: [[p.preferred, p.task, p.chosen_by] for p in PreferenceDataset(root / name)]
    for name in ("my-taste", "edits")
}
print("RESULT" + json.dumps([seen, kept, str(root), node.fingerprint_inputs(dataset=[None])[0]]))
"""


@pytest.mark.comfyui
@pytest.mark.skipif(not checkouts(), reason=HINT)
def test_the_node_records_batches_pair_by_pair_and_says_what_does_not_fit(tmp_path):
    checkout = checkouts()[0]
    command = [sys.executable, "-c", NODE, "--cpu", "--base-directory", str(tmp_path)]
    # Not this computer's own note of where ComfyUI keeps its files.
    environment = os.environ | {"RATIONAL_REWARDS_RECORD": str(tmp_path / "comfyui.json")}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert "RESULT" in done.stdout, done.stderr
    seen, kept, root, any_size = json.loads(done.stdout.split("RESULT")[1])
    first, same, other, again, edits, unequal, sources, name = seen
    assert [run[1:] for run in (first, same, other, again, edits)] == [[2, "my-taste"]] * 4 + [[2, "edits"]]
    # What decides whether the node runs again: the same choice settles, another one changes it each time.
    assert first[0] == 0 < same[0] == other[0] < again[0]
    assert kept == {"my-taste": [["A", "t2i", "human"]] * 2, "edits": [["tie", "edit", "critic"]] * 2}
    assert Path(root) == tmp_path / "user" / "rational_rewards" / "preferences"
    assert len((Path(root) / "my-taste" / LINES).read_text().splitlines()) == 6
    assert any_size == sum(file.stat().st_size for file in Path(root).glob(f"*/{LINES}"))
    assert "`image_a` has 2 images and `image_b` has 1" in unequal
    assert "`source_image` has 3 images for 2 pairs" in sources
    assert '"../x" cannot be the name of a dataset' in name
