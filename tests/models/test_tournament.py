"""A tournament finds the best with few comparisons, whatever the judge does."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.models.tournament import Match, bradley_terry, most_comparisons, play


def perfect(quality):
    """A judge who always sees which of two is better, and says so when they are equal."""

    def compare(pairs):
        return [0.5 + 0.5 * ((quality[a] > quality[b]) - (quality[a] < quality[b])) for a, b in pairs]

    return compare


def scripted(answers):
    """A judge who says whatever the script says, and repeats it when it is over."""
    script = itertools.cycle([*answers] or [0.5])
    return lambda pairs: [next(script) for _ in pairs]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=24), st.integers(0, 50))
def test_a_perfect_judge_leaves_a_best_one_first(quality, seed):
    played = play(len(quality), perfect(quality), seed)
    assert quality[played.order[0]] == max(quality)
    assert sorted(played.order) == list(range(len(quality)))


@given(
    st.integers(1, 20),
    st.lists(st.sampled_from([0.0, 0.4, 0.5, 0.6, 1.0, None]), max_size=30),
    st.integers(0, 2**64 - 1),
    st.integers(1, 30),
)
def test_whatever_the_judge_says_nobody_meets_twice_and_the_budget_holds(count, answers, seed, top):
    played = play(count, scripted(answers), seed, top)
    pairs = [frozenset((match.a, match.b)) for match in played.matches]
    assert len(set(pairs)) == len(pairs), "nobody meets twice"
    assert sum(match.share is not None for match in played.matches) <= most_comparisons(count)
    assert all(len(pair) == 2 for pair in pairs)
    assert sorted(played.order) == list(range(count))
    assert play(count, scripted(answers), seed, top) == played, "the same seed, the same tournament"
    known = [played.strengths[image] is not None for image in played.order]
    assert known == sorted(known, reverse=True), "images of which nothing could be read come last"


def test_comparisons_grow_like_n_log_n_and_stay_below_all_pairs():
    assert most_comparisons(16) == 40
    for count in range(3, 200):
        assert most_comparisons(count) < count * (count - 1) / 2
        assert most_comparisons(count) <= 0.625 * count * math.log2(count)
    assert [most_comparisons(count) for count in (0, 1, 2)] == [0, 0, 1]


def test_the_seed_draws_who_meets_whom():
    meetings = {
        tuple((match.a, match.b) for match in play(8, perfect(range(8)), seed).matches) for seed in range(10)
    }
    assert len(meetings) > 1


@pytest.mark.parametrize("lost_to", range(13))
def test_one_wrong_comparison_does_not_cost_the_title(lost_to):
    """Of 16, the best loses once to somebody it should have beaten."""

    def compare(pairs):
        return [float(a == lost_to if {a, b} == {15, lost_to} else a > b) for a, b in pairs]

    for seed in range(5):
        assert play(16, compare, seed).order[0] == 15


def test_a_judge_with_noise_finds_the_best_of_sixteen_most_of_the_time():
    """Deterministic: every run of this test plays the same 60 tournaments."""
    found = 0
    for number in range(60):
        rng = random.Random(number)
        quality = [rng.choice([0, 1, 2, 3, 4]) for _ in range(15)] + [5]

        def compare(pairs, rng=rng, quality=quality):
            return [
                float((quality[a] > quality[b]) != (rng.random() < 0.03)) if quality[a] != quality[b] else 0.5
                for a, b in pairs
            ]

        found += play(16, compare, number).order[0] == 15
    assert found >= 54


def test_strengths_are_those_of_the_model():
    """Three images; 0 beats 1 in 3 of 4, and so does 1 beat 2. One in ten is a toss-up, so that neighbours
    have odds of 7 to 2: 0.9 * 7 / 9 + 0.1 / 2 = 3 / 4.
    """
    matches = [Match(a, a + 1, share) for a in (0, 1) for share in [1.0, 1.0, 1.0, 0.0] * 200]
    strengths = bradley_terry(3, matches)
    assert strengths[0] / strengths[1] == pytest.approx(3.5, rel=0.02)
    assert strengths[1] / strengths[2] == pytest.approx(3.5, rel=0.02)


def test_strengths_stay_finite_and_equal_for_equals():
    assert bradley_terry(2, []) == [1.0, 1.0]
    winner, loser = bradley_terry(2, [Match(0, 1, 1.0)])
    assert 0 < loser < 1 < winner < 1000
    first, second = bradley_terry(2, [Match(0, 1, 0.5)])
    assert first == pytest.approx(second)
    assert bradley_terry(2, [Match(0, 1, None)]) == [1.0, 1.0]
