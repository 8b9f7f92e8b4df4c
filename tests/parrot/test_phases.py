"""The first data phases of PARROT: what they keep, what they drop and why, and when they refuse to go on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from parrot_phases import lines, phase1
from scripted_teacher import ScriptedTeacher, rationale, some_pairs

from rational_rewards.models.engines.base import Progress
from rational_rewards.models.errors import ParrotError
from rational_rewards.models.judgement import Comparison
from rational_rewards.parrot.consistency import filter_consistent
from rational_rewards.parrot.manifest import Manifest
from rational_rewards.parrot.resumable import seed_for
from rational_rewards.preferences.pairs import PreferencePair

# ---------------------------------------------------------------- phase 1


def test_rationales_hold_the_pair_with_relative_pictures(tmp_path):
    pairs = [
        *some_pairs(3, tmp_path / "pictures"),
        PreferencePair("far", "a cube", Path("/far/a.png"), Path("/far/b.png"), "A", None, "tiny"),
    ]
    records = lines(phase1(tmp_path, pairs, ScriptedTeacher()))
    assert [record["id"] for record in records] == ["p0", "p1", "p2", "far"]
    assert records[0]["images"] == {"a": "pictures/0-a.png", "b": "pictures/0-b.png"}
    assert records[2]["images"]["source"] == "pictures/2-source.png"
    assert Path(records[3]["images"]["a"]).is_absolute()
    assert (records[3]["chosen_by"], records[0]["chosen_by"]) == ("tiny", "human")
    for record, pair in zip(records, pairs, strict=True):
        assert Comparison.parse(record["rationale"], task=pair.task).winner == pair.preferred
        assert record["samples"] == 1


def test_seeds_depend_on_the_pair_and_not_on_its_place(tmp_path):
    pairs = some_pairs(6)
    forward = lines(phase1(tmp_path / "one", pairs, ScriptedTeacher(), seed=5))
    backward = lines(phase1(tmp_path / "two", pairs[::-1], ScriptedTeacher(), seed=5))
    other = lines(phase1(tmp_path / "three", pairs, ScriptedTeacher(), seed=6))
    assert [r["rationale"] for r in forward] == [r["rationale"] for r in backward[::-1]]
    assert [r["rationale"] for r in forward] != [r["rationale"] for r in other]
    assert len({seed_for(0, "p", n) for n in range(1000)}) == 1000


def test_a_bad_rationale_is_sampled_again_up_to_the_number_of_samples(tmp_path):
    class Learning(ScriptedTeacher):
        tries = 0

        def rationalize(self, pairs, seeds, anchored, progress):
            self.tries += 1
            self.flaws = (
                {"p0": "unreadable", "p1": "contradicts", "p3": "contradicts"}
                if self.tries < 3
                else {"p3": "contradicts"}
            )
            return super().rationalize(pairs, seeds, anchored, progress)

    teacher = Learning()
    records = lines(phase1(tmp_path, some_pairs(4), teacher, samples=4))
    assert [record["samples"] for record in records] == [3, 3, 1, 4]
    assert teacher.batches == [4, 3, 3, 1]


def test_plain_distillation_does_not_look_at_the_preference(tmp_path):
    pairs = some_pairs(8)
    turned = [
        dataclasses.replace(pair, preferred={"A": "B", "B": "A", "tie": "A"}[pair.preferred])
        for pair in pairs
    ]
    one = lines(phase1(tmp_path / "one", pairs, ScriptedTeacher(), anchored=False, samples=3))
    two = lines(phase1(tmp_path / "two", turned, ScriptedTeacher(), anchored=False, samples=3))
    assert [(r["rationale"], r["samples"]) for r in one] == [(r["rationale"], r["samples"]) for r in two]


def test_progress_counts_the_pairs_and_check_is_called_for_each(tmp_path):
    told, checks = [], []
    progress = Progress(lambda: checks.append(1), lambda *entry: told.append(entry))
    phase1(tmp_path, some_pairs(10), ScriptedTeacher(), batch_size=4, progress=progress)
    assert [(done, total, name) for done, total, name, _ in told] == [
        (4, 10, "rationales"),
        (8, 10, "rationales"),
        (10, 10, "rationales"),
    ]
    assert len(checks) >= 10


# ---------------------------------------------------------------- folders and manifests


def test_another_setting_in_the_same_folder_is_refused_and_named(tmp_path):
    pairs = some_pairs(4)
    phase1(tmp_path, pairs, ScriptedTeacher(), seed=1)
    with pytest.raises(ParrotError, match=r"seed is 1, now 2.*choose another name, or delete the folder"):
        phase1(tmp_path, pairs, ScriptedTeacher(), seed=2)
    with pytest.raises(ParrotError, match="anchored is True, now False"):
        phase1(tmp_path, pairs, ScriptedTeacher(), seed=1, anchored=False)
    with pytest.raises(ParrotError, match=r"input is .*, now "):
        phase1(tmp_path, some_pairs(5), ScriptedTeacher(), seed=1)
    other = ScriptedTeacher()
    other.name = "somebody else"
    with pytest.raises(ParrotError, match="teacher is scripted, now somebody else"):
        phase1(tmp_path, pairs, other, seed=1)


def test_a_finished_phase_asks_nothing_again(tmp_path):
    phase1(tmp_path, some_pairs(4), ScriptedTeacher())
    teacher = ScriptedTeacher()
    phase1(tmp_path, some_pairs(4), teacher)
    assert teacher.batches == []


def test_a_finished_phase_without_its_file_says_so(tmp_path):
    phase1(tmp_path, some_pairs(2), ScriptedTeacher()).unlink()
    with pytest.raises(ParrotError, match=r"rationales\.jsonl is missing"):
        phase1(tmp_path, some_pairs(2), ScriptedTeacher())


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(ParrotError, match='"p0" stands twice'):
        phase1(tmp_path, [*some_pairs(2), *some_pairs(1)], ScriptedTeacher())


def test_the_manifest_counts_and_digests(tmp_path):
    phase1(tmp_path, some_pairs(3), ScriptedTeacher(), seed=9)
    manifest = Manifest.read(tmp_path / "rationales")
    assert manifest is not None
    assert (manifest.counts, manifest.seed, manifest.teacher, manifest.finished) == (
        {"rationales.jsonl": 3},
        9,
        "scripted",
        True,
    )
    assert len(manifest.input) == 64
    assert set(manifest.settings["rubrics"]) == {"t2i", "t2i-pair", "edit", "edit-pair"}


def test_a_missing_input_says_what_to_run(tmp_path):
    with pytest.raises(ParrotError, match="run the phase that writes it first"):
        filter_consistent(tmp_path / "rationales.jsonl", tmp_path / "consistent", ScriptedTeacher())


# ---------------------------------------------------------------- phase 2


def test_rationales_that_do_not_hold_up_are_dropped_with_their_reason(tmp_path):
    flaws = {
        "p1": "unreadable",
        "p2": "contradicts",
        "p3": "vague",
        "p4": "wrong",
        "p5": "wrong",
        "p6": "tied",
        "p9": "contradicts",
    }
    teacher = ScriptedTeacher(flaws)
    report = filter_consistent(phase1(tmp_path, some_pairs(10), teacher), tmp_path / "consistent", teacher)
    reasons = {record["id"]: record["reason"] for record in lines(tmp_path / "consistent/dropped.jsonl")}
    # A tie.
    # A tie.
    assert reasons == {
        "p1": "unreadable",
        "p2": "contradicts the preference",
        "p3": "does not decide",
        "p4": "predicts the other",
        "p5": "predicts the other",
        "p6": "does not decide",
        "p9": "contradicts the preference",
    }
    kept = lines(tmp_path / "consistent/consistent.jsonl")
    assert kept == [
        record for record in lines(tmp_path / "rationales/rationales.jsonl") if record["id"] not in reasons
    ]
    assert (report.total, report.kept, report.rate) == (10, 3, 0.3)
    assert report.dropped == {
        "contradicts the preference": 2,
        "does not decide": 2,
        "predicts the other": 2,
        "unreadable": 1,
    }
    assert report.by_preference["tie"] == [2, 0]
    assert "| kept | 3 | 30.0% |" in report.to_markdown()
    again = filter_consistent(tmp_path / "rationales/rationales.jsonl", tmp_path / "consistent", teacher)
    assert again == report


def test_a_tie_may_differ_by_a_third_of_a_point(tmp_path):
    texts = {"close": (3.3, 3.0), "apart": (3.4, 3.0)}
    file = tmp_path / "rationales.jsonl"
    images = {"a": "a.png", "b": "b.png"}
    records = [
        {
            "id": name,
            "prompt": "a cube",
            "images": images,
            "preferred": "tie",
            "rationale": rationale("t2i", scores),
        }
        for name, scores in texts.items()
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))

    class Ties(ScriptedTeacher):
        def predict(self, prompts, rationales, progress):
            return ["tie"] * len(prompts)

    report = filter_consistent(file, tmp_path / "consistent", Ties())
    assert report.dropped == {"contradicts the preference": 1}
    assert [record["id"] for record in lines(tmp_path / "consistent/consistent.jsonl")] == ["close"]
