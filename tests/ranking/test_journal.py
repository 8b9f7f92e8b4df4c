"""The journal: whole lines only, whatever was killed when."""

from __future__ import annotations

import pytest

from rational_rewards.models.judgement import Dimension, Judgement
from rational_rewards.ranking.journal import Journal


def line(score, **more):
    judgement = Judgement(
        {"physical_quality": Dimension("Quality", score, confidence=0.5)}, summary="sun \ud83d"
    )
    return {"judgement": judgement.to_dict(), "thumbnail": "", **more}


def test_what_was_added_is_found_again(tmp_path):
    journal = Journal(tmp_path / "new" / "journal.jsonl")
    journal.add([("a", line(1.0)), ("b", line(4.0, prompt="a\ncat"))])
    journal.add([("c", line(2.5))])
    assert journal.read("b")["prompt"] == "a\ncat"
    journal.close()
    again = Journal(tmp_path / "new" / "journal.jsonl")
    assert [again.kept[key].score for key in "abc"] == [0.0, 1.0, 0.5]
    assert again.kept["c"].dimensions == {"physical_quality": ("Quality", 2.5)}
    assert again.read("a")["judgement"]["summary"] == "sun ?"
    again.close()


def test_a_line_cut_anywhere_is_as_if_it_had_never_been(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add([("a", line(1.0))])
    whole = path.stat().st_size
    journal.add([("b", line(4.0))])
    journal.close()
    data = path.read_bytes()
    for end in range(whole, len(data), 7):
        path.write_bytes(data[:end])
        journal = Journal(path)
        assert list(journal.kept) == ["a"]
        journal.add([("b", line(4.0))])
        journal.close()
        assert path.read_bytes() == data


def test_lines_that_are_none_are_passed_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add([("a", line(1.0))])
    journal.close()
    good = path.read_bytes()
    path.write_bytes(b'\0\0\0\n{"key": "x"}\n[]\n"\n' + good)
    journal = Journal(path)
    assert list(journal.kept) == ["a"]
    assert journal.read("a")["key"] == "a"
    journal.close()


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path, monkeypatch):
    from rational_rewards.ranking import journal as module

    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add([("a", line(1.0))])
    whole = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.add([("b", line(4.0))])
    assert path.read_bytes() == whole
    assert "b" not in journal
    journal.add([("b", line(4.0))])
    assert journal.read("b")["key"] == "b"
    journal.close()
