"""The best of a batch: who comes first, what passes, and that nothing unread counts as a zero."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rational_rewards.models.best_of import RankedImage, best_of, judgement_of, keep, order_by_score, share_of
from rational_rewards.models.critique import Critique, JudgedImage
from rational_rewards.models.engines.base import Progress, SamplingParams
from rational_rewards.models.errors import QuestionError
from rational_rewards.models.judgement import ComparedDimension, Comparison, Dimension, Judgement
from rational_rewards.models.question import Question
from rational_rewards.models.rubrics.rubric import rubric_for
from rational_rewards.models.tournament import most_comparisons


def judged(score, expected=None):
    """A judgement of one dimension, 1..4; None could not be read."""
    return Judgement({"text_faithfulness": Dimension("Text Faithfulness", score, expected=expected)})


def compared(a, b, expected=None):
    expected = expected or (None, None)
    why = "A has the star."
    one = ComparedDimension("Text Faithfulness", a, b, True, why, 0.9, *expected)
    return Comparison({"text_faithfulness": one}, consistent=True)


# ---------------------------------------------------------------- order and threshold


def test_best_first_and_ties_by_the_expected_score():
    judgements = [judged(3.0, 3.0), judged(4.0, 3.7), judged(4.0, 3.9), judged(2.0, 2.4)]
    assert order_by_score(judgements) == [2, 1, 0, 3]


def test_the_expected_score_breaks_ties_and_nothing_else():
    assert order_by_score([judged(3.0, 3.9), judged(3.5, 3.1)]) == [1, 0]


def test_equal_in_everything_stay_as_they_came_also_without_expected_scores():
    assert order_by_score([judged(3.0), judged(3.0), judged(4.0)]) == [2, 0, 1]
    assert order_by_score([judged(3.0, 3.0), judged(3.0)]) == [0, 1]


def test_what_could_not_be_read_comes_last_never_as_a_zero():
    half_read = judged(4.0)
    half_read.dimensions["text_rendering"] = Dimension("Text Rendering", None)
    assert order_by_score([judged(None), half_read, judged(1.0)]) == [2, 0, 1]


scores = st.lists(st.none() | st.sampled_from([1.0, 2.5, 3.0, 4.0]), min_size=1, max_size=12)


@given(scores, st.integers(1, 14), st.floats(0, 1))
def test_what_passes_reaches_the_threshold_and_is_the_best(given_scores, keep_top, threshold):
    judgements = [judged(score) for score in given_scores]
    ranking = [RankedImage(index, judgements[index]) for index in order_by_score(judgements)]
    after = keep(ranking, keep_top, threshold)
    assert [one.index for one in after] == [one.index for one in ranking]
    passed = [one.score for one in after if one.kept]
    assert None not in passed
    assert passed == sorted(passed, reverse=True)
    readable = [(score - 1) / 3 for score in given_scores if score is not None]
    able = [score for score in readable if score >= threshold - 1e-9]
    assert len(passed) == min(keep_top, len(able))


def test_a_score_that_equals_the_threshold_passes():
    (one,) = keep([RankedImage(0, judged(3.1))], 1, (3.1 - 1) / 3)
    assert one.kept


# ---------------------------------------------------------------- tournament


def test_a_tie_goes_narrowly_to_whom_the_expected_scores_prefer():
    assert share_of(compared(3, 2)) == 1.0
    assert share_of(compared(2, 3, (2.9, 2.1))) == 0.0
    assert share_of(compared(3, 3)) == 0.5
    assert 0.5 < share_of(compared(3, 3, (3.1, 2.9))) < 1
    assert 0 < share_of(compared(3, 3, (2.9, 3.1))) < 0.5
    assert share_of(compared(None, 3)) is None


def test_comparisons_become_one_judgement_with_scores_words_and_record():
    said = judgement_of(1, {(0, 1): compared(2, 4), (1, 2): compared(3, 3), (3, 1): compared(4, 2)})
    assert said.dimensions["text_faithfulness"].score == pytest.approx(3.0)
    assert said.dimensions["text_faithfulness"].justification == "A is image 4, B is image 2: A has the star."
    assert said.summary == "Won against image 1; tied with image 3; lost to image 4."


def test_an_image_of_which_no_comparison_could_be_read_has_no_score():
    said = judgement_of(0, {(0, 1): compared(None, 3)})
    assert said.score is None
    assert not said.complete


class ScriptedCritic:
    """Sees in an image's red channel how good it is; `blind` to images of some colours."""

    name = "scripted"

    def __init__(self, blind=()):
        self.blind, self.engine, self.asked = set(blind), self, []

    def prepare(self, image):
        return image

    def _score(self, image):
        red = image.getpixel((0, 0))[0]
        return None if red in self.blind else 1 + 3 * red / 100

    def critique(self, images, prompt, source=None, *, rubric, seed, progress):
        prompts = [prompt] * len(images) if isinstance(prompt, str) else prompt
        self.asked.append(("critique", len(images), source))
        items = [
            JudgedImage(Question(rubric_for("t2i", False), p, {"image": image}), judged(self._score(image)))
            for image, p in zip(images, prompts, strict=True)
        ]
        return Critique(items, self, SamplingParams())

    def compare(self, a, b, prompt, source=None, *, until, rubric, seed, progress):
        self.asked.append(("compare", len(a), source))
        progress.update(len(a), len(a), "", "")
        return [compared(self._score(x), self._score(y)) for x, y in zip(a, b, strict=True)]


def shades(*reds):
    return [Image.new("RGB", (4, 4), (red, 0, 0)) for red in reds]


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_both_methods_rank_the_batch(method):
    critic = ScriptedCritic()
    best = best_of(critic, shades(10, 90, 40, 70), "a", method=method, keep_top=2)
    assert [one.index for one in best.ranking] == [1, 3, 2, 0]
    assert [one.index for one in best.kept] == [1, 3]
    assert [one.index for one in best.rejected] == [2, 0]
    assert best.kept[0].score == pytest.approx(0.9)
    report = best.to_markdown()
    assert report.index("Image 2") < report.index("Image 4") < report.index("Image 3")
    assert "Judged by scripted" in report


def test_a_tournament_needs_fewer_comparisons_than_pairs_and_tells_how_far_it_is():
    critic, seen = ScriptedCritic(), []
    progress = Progress(update=lambda done, total, section, tail: seen.append((done, total)))
    best = best_of(critic, shades(*range(0, 96, 6)), "a", method="tournament", progress=progress)
    assert best.kept[0].index == 15
    asked = sum(count for kind, count, _ in critic.asked if kind == "compare")
    assert asked == best.comparisons <= most_comparisons(16) < 120
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {40}


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_one_image_is_judged_by_itself(method):
    best = best_of(ScriptedCritic(), shades(50), "a", method=method, threshold=0.4)
    assert [one.index for one in best.kept] == [0]
    assert best.rejected == []
    assert best.comparisons == 0


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_below_the_threshold_nothing_passes(method):
    best = best_of(ScriptedCritic(), shades(10, 30), "a", method=method, threshold=0.5)
    assert best.kept == []
    assert [one.index for one in best.rejected] == [1, 0]


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_an_image_that_cannot_be_read_comes_last_and_never_passes(method):
    best = best_of(ScriptedCritic(blind=[99]), shades(99, 10, 20), "a", method=method, keep_top=3)
    assert [one.index for one in best.ranking] == [2, 1, 0]
    assert [one.index for one in best.kept] == [2, 1]
    assert "not read" in best.to_markdown()


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_nothing_read_at_all_is_an_error(method):
    with pytest.raises(QuestionError, match="None of the critic's answers"):
        best_of(ScriptedCritic(blind=[1, 2]), shades(1, 2), "a", method=method)


def test_a_tournament_is_of_one_prompt_and_one_source():
    critic = ScriptedCritic()
    images = shades(1, 2)
    with pytest.raises(QuestionError, match="one prompt"):
        best_of(critic, images, ["a", "b"], method="tournament")
    assert best_of(critic, images, ["a", "b"]).kept[0].index == 1
    assert best_of(critic, images, ["a", "a"], method="tournament").kept[0].index == 1
    with pytest.raises(QuestionError, match="source_image"):
        best_of(critic, images, "a", shades(3, 4), method="tournament")
    critic.asked.clear()
    best_of(critic, images, "a", shades(3, 3), method="tournament")
    best_of(critic, images, "a", shades(3), method="tournament")
    assert all(isinstance(source, Image.Image) for _, _, source in critic.asked)


# ---------------------------------------------------------------- with a real engine


def test_a_real_critic_ranks_by_both_methods(make_critic, photos):
    critic = make_critic()
    for method, top in itertools.product(("score", "tournament"), (1, 3)):
        best = best_of(critic, photos[:3], "a photo", method=method, keep_top=top, max_new_tokens=64)
        assert len(best.kept) == top
        assert sorted(one.index for one in best.ranking) == [0, 1, 2]
        assert all(0 <= one.score <= 1 for one in best.ranking)
