"""Charts of shares and losses: read back from their pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.evaluation.metrics import Evaluation, Outcome
from rational_rewards.evaluation.plots import evaluation_plot
from rational_rewards.models.cards.chart import BAR, ticks
from rational_rewards.models.cards.layout import ACCENT
from rational_rewards.training.plots import describe_losses, ends, loss_plot, smoothed


def column(image, x, color):
    """Heights at which a column of pixels has that colour."""
    return np.flatnonzero((np.asarray(image)[:, x] == color).all(-1)).tolist()


def test_bars_are_as_long_as_their_shares():
    right = Outcome("p", "t2i", "human", "A", "A", 0.5, "A", "A", {"text": "A", "quality": "B"})
    found = Evaluation("tiny", True, [right], {"text": "Text Faithfulness", "quality": "Quality"})
    image = evaluation_plot(found)
    assert image.width == 960
    # Accuracy, agreement and one dimension reach 100 %, the other dimension has 0 %. A line of the interval
    # crosses the bars' ends.
    assert len(column(image, 300, BAR)) == 3 * 24
    assert 3 * 20 <= len(column(image, 680, BAR)) < 3 * 24
    assert not column(image, 692, BAR)
    assert evaluation_plot(Evaluation("tiny", False, [right])).height < image.height


def test_a_falling_loss_is_drawn_falling():
    image = loss_plot([(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0), (5, 0.0)], "Loss")
    heights = [np.mean(column(image, x, ACCENT)) for x in (200, 400, 600, 800)]
    assert heights == sorted(heights)
    steps = np.diff(heights)
    assert steps == pytest.approx(steps.mean(), abs=1), "a straight line"


@pytest.mark.parametrize(
    "losses", [[], [(1, float("nan"))], [(3, 0.7)], [(1, 0.0), (2, 0.0)], [(1, float("inf")), (2, 1e9)]]
)
def test_losses_that_make_no_line_are_drawn_all_the_same(losses):
    image = loss_plot(losses, "損失 " * 80)
    assert image.size == (960, 540)
    known = [loss for _, loss in losses if np.isfinite(loss)]
    assert bool((np.asarray(image) == ACCENT).all(-1).any()) == bool(known)


def test_a_loss_that_is_not_a_number_leaves_a_gap():
    image = loss_plot([(1, 1.0), (2, 1.0), (3, float("nan")), (4, 2.0), (5, 2.0)], "Loss")
    assert column(image, 200, ACCENT)
    assert not column(image, 510, ACCENT)
    assert column(image, 800, ACCENT)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.booleans())
def test_ticks_are_few_even_and_enclose(low, width, whole):
    if whole:
        low, width = int(low), int(width)
    found = ticks(low, low + width, whole)
    assert 2 <= len(found) <= 7
    slack = 1e-6 * max(1.0, abs(low) + width)
    assert found[0] <= low + slack
    assert found[-1] >= low + width - slack
    assert np.diff(found) == pytest.approx(found[1] - found[0])
    assert not whole or all(tick == int(tick) for tick in found)


def test_the_loss_is_told_by_means_and_not_by_two_points_of_a_zigzag():
    zigzag = [(step, 2.0 + (1.0 if step % 2 else -1.0)) for step in range(1, 101)]
    falling = [(step, loss - step / 100) for step, loss in zigzag]
    first, last, count = ends(falling)
    assert count == 10
    assert (first - last) == pytest.approx(0.9, abs=0.02)
    assert describe_losses(falling) == (
        f"Loss {first:.3f} in the mean of the first 10 reports, {last:.3f} in the mean of the last 10."
    )
    line = [loss for _, loss in smoothed(zigzag)]
    assert max(line[10:-10]) - min(line[10:-10]) < 0.3, "a tenth of the zigzag is left"
    assert [step for step, _ in smoothed(zigzag)] == [step for step, _ in zigzag]
    assert ends([(1, float("nan")), (2, 1.0)]) is None
    assert describe_losses([]) == ""


def test_the_smallest_text_is_legible_on_a_node():
    image = np.asarray(loss_plot([(step, 1 / step) for step in range(1, 9)]).convert("L"))
    below = np.flatnonzero(image.min(axis=1) > 200)
    rows = np.setdiff1d(np.arange(len(image)), below)
    word = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)[-1]
    # The name of the axis, from the top of its t to the end of its p, where a node shows 340 of 960 pixels.
    assert len(word) * 340 / image.shape[1] >= 6
