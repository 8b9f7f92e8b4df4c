"""Answers that are damaged, cut off or hostile: no score is invented, none goes to a neighbour."""

from __future__ import annotations

import os
import random
import re
import time
from typing import Any

import pytest
from answer_scores import RUBRICS, scores
from damaged_answers import DAMAGES, SAME, T2I, numbers_by_dimension, pieces, render, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rational_rewards.models.answers.parsing import read_answer
from rational_rewards.models.answers.scores import read_score
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import Rubric, load_rubric


@pytest.mark.parametrize("damage", SAME)
def test_the_scores_survive(damage: str) -> None:
    text = SAME[damage](T2I)
    assert text != T2I
    judgement = Judgement.parse(text)
    assert scores(text) == [3.5, 2.0, 1.5], text
    assert judgement.complete
    assert judgement.dimensions["text_rendering"].justification == 'The sign says "OPNE".'
    assert "Good idea, poor details." in judgement.summary
    assert judgement.comments.endswith("Name the number of toes and spell the word.")
    assert (
        judgement.refined_request
        == 'A red cat with four toes on each paw sits on a sofa.\nA sign above it says "OPEN".'
    )


def test_scores_that_contradict_each_other_are_not_read() -> None:
    once = T2I.replace("## Score: 2.0", "## Score: 2.0\n## Score: 3.0")
    assert scores(once) == [3.5, None, 1.5]
    other = T2I.replace(
        "3. Text R", "2. Physical and Visual Quality:\n## Justification: Fine.\n## Score: 3.0\n3. Text R"
    )
    assert scores(other) == [3.5, None, 1.5]
    twice = T2I + T2I.replace("Score: 3.5", "Score: 1.0")
    assert scores(twice) == [3.5, 2.0, 1.5], "a complete answer written twice: the first one counts"
    cut = T2I.replace("Score: 1.5", "Score:") + T2I.replace("Score: 3.5", "Score: 1.0")
    assert scores(cut) == [None, 2.0, 1.5], "the first one is not complete, so nothing says which one counts"
    assert Judgement.parse(once).dimensions["physical_quality"].justification == "The left paw has six toes."
    around = T2I.replace("## Justification: The left", "## Score: 3.0\n## Justification: The left")
    assert scores(around) == [3.5, None, 1.5]


def test_a_section_that_lost_its_heading_gives_nothing_to_its_neighbour() -> None:
    for heading, left in (
        ("1. Text F", [None, 2.0, 1.5]),
        ("2. Phys", [3.5, None, 1.5]),
        ("3. Text R", [3.5, 2.0, None]),
    ):
        text = "\n".join(line for line in T2I.split("\n") if not line.startswith(heading))
        assert scores(text) == left
    damaged = T2I.replace("2. Physical and", "2. Physical &")
    assert scores(damaged) == [3.5, None, 1.5]


@pytest.mark.parametrize(
    "heading",
    ["9. Mood:", "9. **Mood**:", "## 9. Mood", "## Mood", "**9. Mood:**", "(9) Mood:", "Mood:", "**Mood**"],
)
@pytest.mark.parametrize("lost", ["## Score: 2.0\n", "The left paw has six toes.\n## Score: 2.0\n"])
def test_an_unknown_dimension_gives_nothing_to_one_that_lost_its_score(heading: str, lost: str) -> None:
    text = T2I.replace(lost, "\n").replace(
        "3. Text R", f"{heading}\n## Justification: Gloomy.\n## Score: 1.1\n3. Text R"
    )
    assert scores(text) == [3.5, None, 1.5]


@pytest.mark.parametrize("heading", ["9. Mood:", "## 9. Mood", "## Mood", "1. Mood:"])
def test_an_unknown_dimension_gives_nothing_to_one_that_lost_everything(heading: str) -> None:
    lost = "## Justification: The left paw has six toes.\n## Score: 2.0\n"
    whole = T2I.replace(lost, f"{heading}\n## Justification: Gloomy.\n## Score: 1.1\n")
    assert scores(whole) == [3.5, None, 1.5]
    if "9" in heading:
        assert scores(whole.replace("## Justification: Gloomy.", "Gloomy.")) == [3.5, None, 1.5]


@pytest.mark.parametrize("heading", ["9. Mood:", "## Mood", "**Mood**", "Mood:"])
def test_an_unknown_dimension_spoils_no_other(heading: str) -> None:
    assert scores(T2I.replace("3. Text R", f"{heading}\n## Score: 1.1\n3. Text R")) == [3.5, 2.0, 1.5]


@pytest.mark.parametrize("name", RUBRICS)
@pytest.mark.parametrize("score_first", [False, True])
def test_losing_any_one_line_costs_no_other_dimension(name: str, score_first: bool) -> None:
    rubric = load_rubric(name)
    parts = sample(rubric, random.Random(3)) | {
        d.key + ".score": "2.5" for d in rubric.dimensions if not rubric.pair
    }
    whole = pieces(rubric, parts, score_first)
    owners = [item.dimension.key if item.dimension else "" for item in rubric.answer]
    for place in range(len(whole)):
        read = read_answer("".join(text for at, (_, text) in enumerate(whole) if at != place), rubric)
        for key, value in parts.items():
            if ".score" in key and not key.startswith(owners[place] or "-"):
                assert read[key] == value


@pytest.mark.parametrize("name", RUBRICS)
@pytest.mark.parametrize("score_first", [False, True])
def test_an_answer_cut_off_anywhere_gives_no_wrong_score(name: str, score_first: bool) -> None:
    rubric = load_rubric(name)
    parts = sample(rubric, random.Random(5))
    text = render(rubric, parts, score_first)
    for end in range(len(text)):
        read = read_answer(text[:end], rubric)
        for item in rubric.answer:
            if item.kind == "score" and (line := f"{item.heading} {parts[item.key]}\n") in text[:end]:
                assert read_score(read[item.key]) == read_score(parts[item.key]), line
            if item.kind == "score" and read_score(read.get(item.key, "")) != (None, True):
                assert read_score(read[item.key]) == read_score(parts[item.key]), text[:end][-40:]
            elif item.kind == "text" and item.key in read:
                assert parts[item.key].startswith(read[item.key]) or read[item.key].startswith(
                    parts[item.key]
                )


@pytest.mark.parametrize(
    "hostile",
    ["*", "#", " ", "(", "\n", "a\n", "a:\n", "1.\n", "```\n", "<think>", "</think>\n", "\u200b", "Score",
    ("## Score: " "3\n"), ("# " "Summary:\n"),
     "1. Text Faithfulness:\n", "1. Text Faithfulness:\n## Score: 3\n", "## Score: 1.0 to ",
     ("# Detailed " "Judgement\n"), "*" * 80 + "\n",
     "3.5\n", "3.5 ", "---\n"],
)  # fmt: skip
def test_a_megabyte_of_anything_is_read_in_linear_time(hostile: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        Judgement.parse(f"1. Text Faithfulness:\n## Score: {hostile * (size // len(hostile))}", "t2i")
        return time.process_time() - started

    # It takes about one; a quadratic reader takes hours.
    assert seconds(1_000_000) < 5


PLAIN = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r#`*_-<["), min_size=1, max_size=60
)
ORDINARY = PLAIN.map(str.strip).filter(
    lambda t: t and not any(re.match(r"\W*\d+\W.*[:：]\W*$", line) for line in t.split("\n"))
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(RUBRICS), st.booleans())
def test_any_text_comes_back_exactly(data: Any, name: str, score_first: bool) -> None:
    rubric = load_rubric(name)
    parts = sample(rubric, random.Random(0)) | {
        i.key: data.draw(ORDINARY) for i in rubric.answer if i.kind == "text"
    }
    assert read_answer(render(rubric, parts, score_first), rubric) == parts


@settings(max_examples=300, deadline=None)
@given(st.text(), st.sampled_from(RUBRICS))
def test_any_string_can_be_read(text: str, name: str) -> None:
    read_score(text)
    read_answer(text, load_rubric(name))


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(RUBRICS))
def test_damage_invents_and_moves_no_score(chance: random.Random, name: str) -> None:
    check_damaged(load_rubric(name), chance)


def test_thousands_of_damaged_answers() -> None:
    """`RR_DAMAGED=100000 pytest tests/models/test_parsing.py -k thousands -s` reads a hundred thousand."""
    count, read = int(os.environ.get("RR_DAMAGED", "3000")), 0
    rubrics = [load_rubric(name) for name in RUBRICS]
    started = time.perf_counter()
    for seed in range(count):
        read += check_damaged(rubrics[seed % 4], random.Random(seed))
    print(
        f"{count} damaged answers in {time.perf_counter() - started:.0f} s, {read} scores read, none "
        f"invented or moved"
    )
    # Damage costs scores, but not most of them.
    assert read > count


def check_damaged(rubric: Rubric, chance: random.Random) -> int:
    """Damage an answer, read it, and hold every score against the score lines of its dimension.

    Returns how many were read.
    """
    text = render(rubric, sample(rubric, chance), score_first=chance.random() < 0.4)
    for _ in range(chance.randint(1, 6)):
        text = chance.choice(DAMAGES)(text, chance)
    judged = (Comparison if rubric.pair else Judgement).parse(text, rubric=rubric)
    allowed = numbers_by_dimension(text, rubric)
    found = 0
    for key, dimension in judged.dimensions.items():
        for name in ("score_a", "score_b") if rubric.pair else ("score",):
            value = getattr(dimension, name)
            assert value is None or value in allowed[key, name], (
                f"{key}.{name} = {value} was not given in\n{text}"
            )
            found += value is not None
    return found
