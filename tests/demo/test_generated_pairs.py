"""Preference pairs of pictures that the generator made, and what the reader says is in them."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image, ImageDraw

from rational_rewards.demo.generator import data, pairs
from rational_rewards.demo.generator.reader import read, scene_of
from rational_rewards.demo.oracle import Oracle
from rational_rewards.demo.painter import perfect
from rational_rewards.demo.render import render
from rational_rewards.demo.scene import Request, Scene, Thing, Wish, flaws_of
from rational_rewards.models.engines.base import Progress
from rational_rewards.models.judgement import Comparison

STAR = Thing(2, "small", "blue", "star", "left")
REQUEST = Request((Wish(2, "small", "blue", "star", "left"),), "pink")


@pytest.mark.parametrize("level", ["one", "three"])
def test_a_render_is_read_as_the_scene_that_it_shows(level):
    for request, seed in data.requests(level, 5, 40):
        scene = perfect(request, seed)
        assert scene_of(request, read(render(scene, seed))) == dataclasses.replace(scene, word="")


def test_a_scene_misses_what_is_missing_and_what_cannot_be_read():
    assert scene_of(REQUEST, read(render(Scene((), "pink"), 1))) == Scene((None,), "pink")
    blot = render(Scene((), "pink"), 1)
    ImageDraw.Draw(blot).rectangle((4, 20, 36, 24), fill=(50, 80, 220))
    assert scene_of(REQUEST, read(blot)) == Scene((None,), "pink", quality=("smear",))


def test_more_things_than_were_asked_for_are_no_scene():
    other = dataclasses.replace(STAR, place="right")
    assert scene_of(REQUEST, read(render(Scene((STAR, other), "pink"), 1))) is None


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(pairs, "PORTION", 6)


def test_pairs_are_preferred_by_what_is_in_their_pictures(few, tmp_path, monkeypatch):
    found = pairs.generated_pairs(tmp_path, 7, 8)
    assert len({one.id for one in found}) == len(found) == 8
    for one in found:
        flaws = [len(flaws_of(case.request, case.scene)) for case in (one.a, one.b)]
        assert one.preferred == ("tie" if flaws[0] == flaws[1] else "AB"[flaws[0] > flaws[1]])
        with Image.open(one.pair().image_a) as picture:
            assert scene_of(one.a.request, read(picture, one.a.request)) == one.a.scene
    assert {one.preferred for one in found} >= {"A", "B"}

    def fail(*arguments, **options):
        raise AssertionError("painted again")

    monkeypatch.setattr(pairs, "sample", fail)
    assert pairs.generated_pairs(tmp_path, 7, 8) == found


def test_a_teacher_compares_them_as_the_reader_reads_them(few, tmp_path):
    found = pairs.generated_pairs(tmp_path, 7, 8)
    oracle = Oracle(0.0, {one.id: one for one in found}.__getitem__)
    written = oracle.rationalize([one.pair() for one in found], range(8), False, Progress())
    assert [Comparison.parse(one, task="t2i").winner for one in written] == [one.preferred for one in found]
