"""What is read as a score, and what is not."""

from __future__ import annotations

import pytest

from rational_rewards.models.answers.scores import read_score


@pytest.mark.parametrize(
    "text",
    ["3.5", " 3.5 ", "**3.5**", "[3.5]", "(3.5)", "`3.5`", "3.5/4", "3.5 / 4.0", "**3.5**/4",
    "3.5 out of 4", ("3.5 (out of " "4)"),
     "3,5", "３．５", "３，５", "\ufeff3.5", "\u200b3.5\u200b", "3\u200b.5", "3.50", "3.5.",
     "3.5 points", "3.5分",
     '"3.5"',
     "3.5 (one small slip)", "3.5 - the hat is blue", "3.5; nearly", "3.5\n\nThe hat is blue.", "\n\n3.5\n",
     "3.5\n3.5"],
)  # fmt: skip
def test_a_score_in_any_dress(text: str) -> None:
    assert read_score(text) == (3.5, True)


@pytest.mark.parametrize(
    "text",
    ["N/A", "n/a", "N/A (no text)", "**N/A**", "[N/A]", "Ｎ／Ａ", "N / A", "N.A.", "NA", "n.a., no sign",
    ("not " "applicable"),
     "Not applicable: the request asks for no writing", "N/A\nNo writing was asked for.", "N\\A",
     ("N/A - no " "writing")],
)  # fmt: skip
def test_what_does_not_apply(text: str) -> None:
    assert read_score(text) == (None, False)


# Not on the scale.
# No number.
# A choice.
# An echo.
@pytest.mark.parametrize(
    "text",
    # Nothing to read.
    ["", " ", "\n", "good", "-", "?", "three", "Nature", "name", "none", "n", "N/",
     "0", "0.5", "7", "4.1", "5", "10", "35", "350", "4.0001", "-3", "−3", "+3", "- 3", "<4", "> 3",
     "3.5.2", "3.", "3,", ".5", "3. 5", "3 .5", "3 5", "3..5", "1,2,3", "3,500", "3e0", "0x3", "3x", "3½",
     "3.5²", "①", "٣",
     "1-4", "3 - 4", "3–4", "3 to 4", "3 or 4", "3, 4", "3/4/24", "3 (or 4)", "between 3 and 4",
     ("3 and " "above"),
     "[1.0 to 4.0, or N/A]", "[N/A, or 1.0 to 4.0]", "N/A or 3", "N/A 3.5", "3.5 N/A", "3.5 (N/A)", "<score>",
     "3 of 4 criteria", "3 of 4 (criteria met)", "3/4 criteria", "3 cats", "2 of 3", "7/10", "3/5",
     "3.5/10", "3/40", ("3 (out of " "5)"),
     "1. The hat is blue", "3) good", "4: everything is there", "1. One\n2. Two", "3.5\n2.0", "N/A\n3.0",
     "3.5\nN/A", "3:30"],
)  # fmt: skip
def test_no_score_is_invented(text: str) -> None:
    assert read_score(text) == (None, True)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("~3.5", 3.5),
        ("≈ 2.25", 2.25),
        ("approximately 2.75", 2.75),
        ("Approx. 3", 3.0),
        ("about 3.0/4", 3.0),
        ("**around 2.5**", 2.5),
        ("roughly **1.5** (many flaws)", 1.5),
        ("ca. 2.0", 2.0),
        ("≅3.5", 3.5),
    ],
)
def test_an_approximate_score_is_the_number_it_says(text: str, score: float) -> None:
    assert read_score(text) == (score, True)


@pytest.mark.parametrize(
    "text", ["about 3 or 4", "~7/10", "roughly 3 of 4 criteria met", "about", "~", "not about 3", "~-3"]
)
def test_an_approximation_of_something_else_is_no_score(text: str) -> None:
    assert read_score(text) == (None, True)


@pytest.mark.parametrize(
    "text",
    [
        "3.5 (on a scale of 1-5)",
        "3.0 (scale 1 to 10)",
        "3.5 - on a scale from 0 to 5",
        "2.5 (a 10-point scale)",
        "3 (range: 1–5)",
    ],
)
def test_a_score_on_another_scale_is_not_read(text: str) -> None:
    assert read_score(text) == (None, True)


@pytest.mark.parametrize(
    "text", ["3.5 (on a scale of 1-4)", "3.5 (on the 4-point scale)", "3.5 - scale 1.0 to 4.0"]
)
def test_a_score_that_names_its_own_scale_is_read(text: str) -> None:
    assert read_score(text) == (3.5, True)
