"""The shapes world: what is asked, what is painted, what is said about it, and that the three agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rational_rewards.demo.edits import edit_flaws, edited, random_edit
from rational_rewards.demo.flaw_reader import named_flaws, one_side
from rational_rewards.demo.oracle import Oracle
from rational_rewards.demo.painter import imagine, paint, perfect
from rational_rewards.demo.preference_pairs import world, world_of
from rational_rewards.demo.prompts import parse_request, phrased, prompt_of, random_request, refined
from rational_rewards.demo.randomness import stream
from rational_rewards.demo.render import render
from rational_rewards.demo.scene import QUALITY, Flaw, Scene, Thing, flaws_of, score_of, weight_of
from rational_rewards.demo.sentences import EditCase, PictureCase, comparison_parts, judgement_parts
from rational_rewards.models.answers.writing import write_answer
from rational_rewards.models.engines.base import Progress
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import rubric_for
from rational_rewards.parrot.teacher import Reference

seeds = st.integers(0, 2**32)


@given(seeds)
def test_a_prompt_says_what_is_wished_in_any_phrase(seed: int) -> None:
    request = random_request(stream(seed))
    assert parse_request(prompt_of(request)) == request
    assert parse_request(phrased(request, stream(seed, "phrase"))) == request


@given(seeds)
def test_a_perfect_scene_has_no_flaw_and_a_refined_prompt_means_the_same(seed: int) -> None:
    request = random_request(stream(seed))
    assert flaws_of(request, perfect(request, seed)) == []
    flaws = flaws_of(request, imagine(request, seed, 1.0))
    better = parse_request(prompt_of(refined(request, flaws)))
    assert better == refined(request, flaws)
    assert [replace(wish, exactly=False) for wish in better.wishes] == list(request.wishes)


@given(seeds, st.floats(0, 1))
def test_insisting_never_makes_a_picture_worse(seed: int, habits: float) -> None:
    request = random_request(stream(seed))
    before = flaws_of(request, imagine(request, seed, habits))
    after = flaws_of(request, imagine(refined(request, before), seed, habits))
    # An image that was empty may show another rendering flaw now: nothing can be smeared where nothing is.
    assert {flaw for flaw in after if flaw.dimension != QUALITY} <= set(before)
    assert weight_of(after) <= weight_of(before)


def test_insisting_helps_most_of_the_time() -> None:
    before = after = 0
    for seed in range(300):
        request = random_request(stream(seed))
        flaws = flaws_of(request, imagine(request, seed))
        before += weight_of(flaws)
        after += weight_of(flaws_of(request, imagine(refined(request, flaws), seed)))
    assert before > 300
    assert after < 0.3 * before


def test_what_a_prompt_does_not_insist_on_stays_as_it_was() -> None:
    request = parse_request("a red circle and a blue square with the word SUN")
    for seed in range(200):
        scene = imagine(request, seed)
        assert imagine(replace(request, spelled=True), seed).things == scene.things


@given(seeds)
@settings(max_examples=40)
def test_a_judgement_names_exactly_the_true_flaws(seed: int) -> None:
    found = world(7, seed)
    for case in (found.a, found.b):
        about = case.edit if isinstance(case, EditCase) else case.request
        parts = judgement_parts(case)
        judgement = Judgement.parse(write_answer(rubric_for(case.task, pair=False), parts), task=case.task)
        assert (
            named_flaws(about, {key: one.justification for key, one in judgement.dimensions.items()})
            == case.flaws
        )
        for key, remark in case.remarks().items():
            assert judgement.dimensions[key].score == remark.score
            assert score_of(flaw for flaw in case.flaws if flaw.dimension == key) == (remark.score or 4.0)
    comparison = Comparison.parse(
        write_answer(rubric_for(found.a.task, pair=True), comparison_parts(found.a, found.b)),
        task=found.a.task,
    )
    assert comparison.winner == found.preferred
    for key, remark in found.a.remarks().items():
        if remark.score is not None:
            assert one_side(comparison.dimensions[key].justification, "A") == remark.justification


def test_pairs_are_made_from_their_number_alone_and_most_differ_in_one_dimension() -> None:
    worlds = [world(3, number) for number in range(400)]
    assert [world_of(one.id) for one in worlds] == worlds
    alone = [one for one in worlds if one.differs]
    assert {one.differs for one in alone} == {
        "text_faithfulness",
        "image_faithfulness",
        "physical_quality",
        "text_rendering",
    }
    for one in alone:
        changed = {
            key for key, remark in one.a.remarks().items() if remark.score != one.b.remarks()[key].score
        }
        assert changed <= {one.differs}
    assert len(alone) > 150
    assert 0.3 < sum(one.preferred == "A" for one in worlds) / 400 < 0.6


def test_edits_are_judged_by_what_they_should_change_and_what_they_should_keep() -> None:
    for seed in range(300):
        edit = random_edit(seed)
        assert edit_flaws(edit, edit.wanted) == []
        assert edit_flaws(edit, edit.before)[0] == Flaw("text_faithfulness", "not done", edit.target, 3)
        assert len(edited(edit, seed, 1.0).things) == len(edit.before.things)


def test_pictures_are_equal_for_equal_seeds_and_show_every_flaw() -> None:
    scene = Scene(
        (Thing(2, "large", "red", "circle", "left"), Thing(1, "small", "blue", "star", "right")),
        "pink",
        "SUN",
    )
    clean = np.asarray(render(scene, 5), dtype=int)
    assert (clean == np.asarray(render(scene, 5))).all()
    assert (clean != np.asarray(render(scene, 6))).any()
    for kind in QUALITY:
        flawed = np.asarray(render(replace(scene, quality=(kind,)), 5), dtype=int)
        assert (abs(flawed - clean).max(axis=2) > 20).mean() > 0.01, kind


@pytest.mark.parametrize("size", [128, 200, 512, 1024])
def test_a_picture_is_the_same_scene_at_any_size(size: int) -> None:
    painting = paint(
        "two large red circles on the left and a blue star on a pink background with the word SUN", 3, size
    )
    assert painting.image.size == (size, size)
    small = np.asarray(painting.image.resize((64, 64)), dtype=int)
    prompt = "two large red circles on the left and a blue star on a pink background with the word SUN"
    usual = np.asarray(paint(prompt, 3).image.resize((64, 64)), dtype=int)
    assert abs(small - usual).mean() < 4


def test_a_prompt_of_another_world_asks_for_nothing() -> None:
    assert parse_request("a photo of an astronaut").wishes == ()


def test_the_oracle_misreads_about_its_share_and_an_honest_one_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pairs = [world(5, number).pair(tmp_path) for number in range(150)]
    honest = Oracle(0.0).rationalize(pairs, range(150), False, Progress())
    true = [
        write_answer(rubric_for(one.a.task, True), comparison_parts(one.a, one.b))
        for one in (world_of(p.id) for p in pairs)
    ]
    assert honest == true
    blurry = Oracle(0.05)
    wrong = sum(
        a != b for a, b in zip(blurry.rationalize(pairs, range(150), False, Progress()), true, strict=True)
    )
    assert 0.3 < wrong / 150 < 0.9
    assert blurry.rationalize(pairs, range(150), True, Progress()) == blurry.rationalize(
        pairs, range(150), True, Progress()
    )


def test_the_hint_makes_the_oracle_look_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pairs = [world(6, number).pair(tmp_path) for number in range(200)]
    oracle, prompts = Oracle(0.08), [""] * 200

    def right(anchored: bool) -> float:
        rationales = oracle.rationalize(pairs, range(200), anchored, Progress())
        return (
            sum(
                p.preferred == said
                for p, said in zip(pairs, oracle.predict(prompts, rationales, Progress()), strict=True)
            )
            / 200
        )

    assert right(True) > right(False) + 0.1


def test_the_oracle_judges_single_images_with_the_reference_at_hand(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pairs = [world(8, number).pair(tmp_path) for number in range(60)]
    oracle = Oracle(0.0)
    rationales = oracle.rationalize(pairs, range(60), True, Progress())
    texts = oracle.project(
        pairs, [Reference(rationale, "A") for rationale in rationales], range(60), Progress()
    )
    exact = 0
    for pair, text in zip(pairs, texts, strict=True):
        judgement = Judgement.parse(text, task=pair.task)
        assert judgement.complete
        case = world_of(pair.id).a
        assert isinstance(case, PictureCase | EditCase)
        exact += text == write_answer(rubric_for(pair.task, False), judgement_parts(case))
    assert 45 < exact < 60, "a few mention the reference or are swayed, on purpose"
