"""Judgements and comparisons: what the numbers mean, and that what was not read stays unread."""

from __future__ import annotations

import json

import pytest

from rational_rewards import Comparison, Judgement
from rational_rewards.models.judgement import ComparedDimension, Dimension
from rational_rewards.models.rubrics.rubric import rubric_for

EDIT = """1. Text Faithfulness:
## Justification: The hat | is blue,
as asked.
## Score: 4.0
2. Image Faithfulness:
## Justification: The sky changed.
## Score: 2.5
3. Physical and Visual Quality:
## Justification: Clean.
## Score: 3.0
4. Text Rendering:
## Justification: No writing was asked for.
## Score: N/A
# Summary: A good edit.
## Refined Request: Make the hat blue and leave the sky as it is.
"""


def pair(**scores: tuple[float | None, float | None]) -> Comparison:
    """A comparison with these scores of A and B by dimension."""
    return Comparison({key: ComparedDimension(key.capitalize(), a, b) for key, (a, b) in scores.items()})


def test_the_overall_score_is_the_mean_of_what_applies_mapped_to_0_1() -> None:
    judgement = Judgement.parse(EDIT, "edit")
    assert [d.score for d in judgement.dimensions.values()] == [4.0, 2.5, 3.0, None]
    assert judgement.mean == pytest.approx((4.0 + 2.5 + 3.0) / 3)
    assert judgement.score == pytest.approx((judgement.mean - 1) / 3)
    assert not judgement.dimensions["text_rendering"].applicable
    assert judgement.complete, "a dimension that does not apply needs no score"


@pytest.mark.parametrize(("value", "score"), [("1.0", 0.0), ("4.0", 1.0), ("2.5", 0.5)])
def test_the_ends_and_the_middle_of_the_scale(value: str, score: float) -> None:
    text = EDIT.replace("4.0", value).replace("2.5", value).replace("3.0", value)
    assert Judgement.parse(text, "edit").score == pytest.approx(score)


def test_a_failed_judgement_is_never_a_zero() -> None:
    for text in (
        "",
        "I cannot judge this image.",
        "1. Text Faithfulness:\n## Score: 0",
        "1. Text Faithfulness:\n## Score: N/A",
    ):
        judgement = Judgement.parse(text)
        assert judgement.score is None
        assert judgement.mean is None
        assert judgement.confidence is None
        assert not judgement.complete
        assert judgement.raw == text
        assert json.loads(judgement.to_json())["score"] is None
        assert "not read" in judgement.to_markdown()


def test_a_missing_dimension_leaves_the_others_and_is_said() -> None:
    judgement = Judgement.parse(EDIT.replace("## Score: 2.5", "## Score: unclear"), "edit")
    assert judgement.score == pytest.approx((3.5 - 1) / 3)
    assert not judgement.complete
    assert "| Image Faithfulness | not read | The sky changed. |" in judgement.to_markdown()


def test_parts_of_a_locked_answer_with_confidence() -> None:
    parts = {
        "text_faithfulness.score": "3.0",
        "physical_quality.score": "2",
        "text_rendering.score": "N/A",
        "summary": " Fine. ",
    }
    sure = {"text_faithfulness.score": 0.5, "physical_quality.score": 0.9}
    judgement = Judgement.from_parts(parts, rubric_for("t2i", pair=False), "raw text", sure)
    assert [d.score for d in judgement.dimensions.values()] == [3.0, 2.0, None]
    assert judgement.confidence == pytest.approx(0.7)
    assert judgement.summary == "Fine."
    assert judgement.raw == "raw text"


def test_json_holds_everything() -> None:
    data = json.loads(Judgement.parse(EDIT, "edit").to_json())
    assert data["dimensions"]["image_faithfulness"] == {
        "name": "Image Faithfulness",
        "score": 2.5,
        "applicable": True,
        "justification": "The sky changed.",
        "confidence": None,
        "expected": None,
    }
    assert data["refined_request"] == "Make the hat blue and leave the sky as it is."
    assert data["complete"] is True
    assert data["raw"] == EDIT


def test_the_report_is_a_table_that_no_justification_breaks() -> None:
    judgement = Judgement.parse(EDIT, "edit")
    judgement.notes.append("The answer was cut off.")
    report = judgement.to_markdown()
    assert report.startswith("**Score 0.72** (mean 3.17 of 4)")
    assert "| Text Faithfulness | 4.0 | The hat \\| is blue, as asked. |" in report
    assert "| Text Rendering | N/A | No writing was asked for. |" in report
    assert "**Refined prompt.** Make the hat blue" in report
    assert report.endswith("*The answer was cut off.*")


def test_every_judgement_has_its_own_notes() -> None:
    first, second = Judgement.parse(EDIT), Judgement.parse(EDIT)
    first.notes.append("only mine")
    assert second.notes == []


def test_totals_decide_the_winner() -> None:
    better = pair(text=(4.0, 3.0), quality=(3.0, 3.5))
    assert better.totals == (3.5, 3.25)
    assert better.margin == pytest.approx(0.25 / 3)
    assert better.winner == "A"
    assert pair(text=(2.0, 3.0)).winner == "B"
    assert pair(text=(3.0, 2.0), quality=(2.0, 3.0)).winner == "tie"
    assert pair(text=(4.0, 1.0)).margin == 1.0
    assert pair(text=(1.0, 4.0)).margin == -1.0
    assert pair(text=(0.1 + 3.2, 3.3)).winner == "tie", "rounding makes no winner"


def test_a_dimension_with_one_score_only_decides_nothing() -> None:
    half = pair(text=(2.0, 3.0), quality=(4.0, None))
    assert half.totals == (2.0, 3.0)
    assert half.winner == "B"
    assert not half.complete
    nothing = pair(text=(None, None))
    assert (nothing.winner, nothing.margin, nothing.totals) == (None, None, None)
    assert "No winner could be read" in nothing.to_markdown()


def test_a_comparison_in_the_published_format() -> None:
    text = "\n".join(
        f"{number}. {name}:\n## Justification: see\n## Score A: {a}\n## Score B: {b}\n## Winner: {winner}"
        for number, name, a, b, winner in [
            (1, "Text Faithfulness", 3.5, 2.0, "Image A"),
            (2, "Physical and Visual Quality", 3.0, 3.0, "It's a tie"),
            (3, "Text Rendering", "N/A", "N/A", "N/A"),
        ]
    )
    comparison = Comparison.parse(text + "\n# Summary: A keeps the hat.\n")
    assert comparison.complete
    assert comparison.winner == "A"
    assert comparison.margin == pytest.approx(1.5 / 2 / 3)
    assert not comparison.dimensions["text_rendering"].applicable
    assert comparison.summary == "A keeps the hat."
    assert comparison.consistent is None
    data = json.loads(comparison.to_json())
    assert (data["winner"], data["complete"]) == ("A", True)
    assert "| Text Rendering | N/A | N/A |" in comparison.to_markdown()


def first_with_words(summary: str) -> Comparison:
    comparison = pair(text=(4.0, 2.0))
    comparison.summary = summary
    return comparison


def test_both_orders_are_averaged_and_may_disagree() -> None:
    # In the second order B was shown first.
    first, swapped = pair(text=(4.0, 2.0)), pair(text=(2.0, 3.0))
    both = Comparison.both_orders(first, swapped)
    assert both.dimensions["text"].score_a == 3.5
    assert both.dimensions["text"].score_b == 2.0
    assert both.consistent is True
    assert both.winner == "A"
    biased = Comparison.both_orders(first_with_words("A is better."), pair(text=(4.0, 2.0)))
    assert biased.consistent is False
    assert biased.summary == "With A first: A is better."
    assert biased.winner == "tie"
    assert any("disagree" in note for note in biased.notes)


def test_a_dimension_that_one_order_lost_is_not_taken_from_the_other_alone() -> None:
    one = Comparison.both_orders(
        pair(text=(4.0, 2.0), quality=(3.0, 2.0)), pair(text=(None, None), quality=(2.0, 3.0))
    )
    assert one.consistent is None, "nothing to agree with"
    assert one.dimensions["text"].score_a is None
    assert one.dimensions["quality"].score_a == 3.0
    assert not one.complete
    none = Comparison.both_orders(pair(text=(None, None)), pair(text=(None, None)))
    assert none.winner is None


def test_swapping_twice_changes_nothing() -> None:
    comparison = pair(text=(4.0, 2.0), quality=(1.0, None))
    assert comparison.swap().dimensions["text"].score_a == 2.0
    assert comparison.swap().swap() == comparison


def test_an_empty_dimension_says_nothing() -> None:
    assert Dimension("Mood").score is None
    assert not Judgement({}).complete
    assert not Comparison({}).complete


def test_a_dimension_that_does_not_apply_in_one_order_is_not_taken_from_the_other_alone() -> None:
    scored, other = pair(text=(4.0, 3.0), writing=(1.0, 4.0)), pair(text=(4.0, 3.0), writing=(None, None))
    other.dimensions["writing"].applicable = False
    for first, second in ((scored, other), (other, scored)):
        both = Comparison.both_orders(first, second.swap())
        writing = both.dimensions["writing"]
        assert (writing.score_a, writing.score_b, writing.applicable) == (None, None, False)
        assert both.complete, "text was compared in both orders"
        assert both.winner == "A"
        assert both.margin == pytest.approx(1 / 3)


@pytest.mark.parametrize("half", ["\ud83d", "a \ud83d fox"])
def test_half_an_emoji_in_an_answer_can_be_written_to_a_file(half: str) -> None:
    judgement = Judgement.parse(EDIT.replace("A good edit", half), "edit")
    for text in (judgement.to_json(), judgement.to_markdown()):
        assert "\ufffd" in text.encode("utf-8").decode("utf-8")
    assert judgement.summary == f"{half}.", "what was read stays as it is"
    comparison = Comparison.parse(f"# Summary: {half}")
    for text in (comparison.to_json(), comparison.to_markdown()):
        text.encode("utf-8")


def test_an_emoji_that_was_cut_into_its_halves_is_joined() -> None:
    assert "🦊" in Judgement.parse(EDIT.replace("A good edit", "\ud83e\udd8a"), "edit").to_json()
