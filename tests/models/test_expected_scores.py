"""The expected score inside a reasoned answer: an expectation over what could have been written, for free."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.models.engines.written_score import WrittenScore
from rational_rewards.models.judgement import Comparison, Dimension, Judgement

DIGITS = {1: "1", 2: "2", 3: "3", 4: "4", 9: "N/A"}


def test_the_expectation_over_whole_numbers():
    score = WrittenScore()
    score.choose(3, {1: 0.0, 2: 0.1, 3: 0.6, 4: 0.3}, {1: " 1", 2: " 2", 3: " 3", 4: " 4"})
    assert score.expected(" 3\n") == pytest.approx(0.1 * 2 + 0.6 * 3 + 0.3 * 4)


def test_decimals_are_weighed_within_the_number_that_was_written():
    score = WrittenScore()
    score.choose(3, {3: 0.8, 4: 0.2}, {3: " 3", 4: " 4"})
    score.choose(10, {10: 1.0}, {10: " 3."})
    score.choose(5, {0: 0.5, 5: 0.5}, {0: " 3.0", 5: " 3.5"})
    assert score.expected(" 3.5\n") == pytest.approx(0.8 * (0.5 * 3.0 + 0.5 * 3.5) + 0.2 * 4)


def test_not_applicable_is_no_number_and_takes_no_weight():
    score = WrittenScore()
    score.choose(3, {3: 0.25, 4: 0.25, 9: 0.5}, DIGITS)
    assert score.expected("3") == pytest.approx(3.5)
    assert WrittenScore().expected("N/A") is None


@given(st.dictionaries(st.sampled_from([1, 2, 3, 4]), st.floats(0, 1), min_size=1), st.data())
def test_it_stays_on_the_scale(masses, data):
    token = data.draw(st.sampled_from(sorted(masses)))
    score = WrittenScore()
    score.choose(token, masses, DIGITS)
    assert 1 - 1e-9 <= score.expected(DIGITS[token]) <= 4 + 1e-9


def test_every_reasoned_score_has_one_and_it_costs_no_call_of_the_model(make_critic, photos, monkeypatch):
    critic = make_critic()
    calls = []
    forward = critic.engine.model.model.forward
    monkeypatch.setattr(
        critic.engine.model.model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    (judgement,) = critic.critique(photos[0], "a photo", max_new_tokens=64).judgements
    reasoned = len(calls)
    for dimension in judgement.dimensions.values():
        assert (dimension.expected is None) == (dimension.score is None)
        assert dimension.expected is None or 1 <= dimension.expected <= 4
    assert 0 <= judgement.expected_score <= 1
    again = critic.critique(photos[0], "a photo", max_new_tokens=64).judgements[0]
    assert again.expected_score == judgement.expected_score, "kept in the cache"
    assert len(calls) == reasoned
    assert set(json.loads(judgement.to_json())["dimensions"]["text_faithfulness"]) == {
        "name", "score", "applicable", "justification", "confidence", "expected",
    }  # fmt: skip


def test_it_is_the_same_alone_and_in_a_batch(make_critic, photos):
    together = make_critic().critique(photos[:3], "a photo", max_new_tokens=64, until="scores").judgements
    for photo, one in zip(photos[:3], together, strict=True):
        (alone,) = make_critic().critique(photo, "a photo", max_new_tokens=64, until="scores").judgements
        assert alone.expected_score == pytest.approx(one.expected_score, abs=1e-3)


def test_a_refined_judgement_keeps_it(make_critic, photos):
    critique = make_critic().critique(photos[0], "a photo", max_new_tokens=64)
    assert critique.refined()[0].expected_score == critique.judgements[0].expected_score is not None


def test_free_answers_have_none(make_critic, photos):
    text = "# Summary: x"
    assert Judgement.parse(text).expected_score is None
    assert Comparison.parse(text).expected_margin is None


def test_one_dimension_without_an_expectation_leaves_the_whole_without_one():
    both = {"a": Dimension("A", 3.0, expected=3.1), "b": Dimension("B", 4.0)}
    assert Judgement(both).expected_score is None
    both["b"] = Dimension("B", None, applicable=False)
    assert Judgement(both).expected_score == pytest.approx(0.7)


def test_comparisons_have_expected_margins_that_turn_with_the_order(make_critic, photos):
    (comparison,) = make_critic().compare(photos[0], photos[1], "a photo", max_new_tokens=64)
    assert comparison.expected_margin is not None
    assert comparison.swap().expected_margin == pytest.approx(-comparison.expected_margin)
    assert abs(comparison.expected_margin) <= 1
