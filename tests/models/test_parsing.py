"""Any answer can be read: what is there is found, what is damaged is missing, and no number is ever invented
or moved.
"""

from __future__ import annotations

import os
import random
import re
import time
from typing import Any

import pytest
from damaged_answers import DAMAGES, SAME, T2I, numbers_by_dimension, pieces, render, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rational_rewards.models.answers.parsing import read_answer
from rational_rewards.models.answers.scores import read_score
from rational_rewards.models.answers.writing import write_answer
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import WINNERS, Rubric, load_rubric, parse_rubric

RUBRICS = ["t2i", "edit", "t2i-pair", "edit-pair"]


def scores(text: str, task: str = "t2i") -> list[float | None]:
    """Scores of the dimensions in order."""
    return [d.score for d in Judgement.parse(text, task).dimensions.values()]


# ---------------------------------------------------------------- scores


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


# ---------------------------------------------------------------- whole answers


@pytest.mark.parametrize("name", RUBRICS)
@pytest.mark.parametrize("score_first", [False, True])
def test_an_undamaged_answer_comes_back_exactly(name: str, score_first: bool) -> None:
    rubric = load_rubric(name)
    for seed in range(50):
        parts = sample(rubric, random.Random(seed))
        assert read_answer(render(rubric, parts, score_first), rubric) == parts


def test_a_plain_answer() -> None:
    judgement = Judgement.parse(T2I)
    assert judgement.complete
    assert scores(T2I) == [3.5, 2.0, 1.5]
    assert judgement.dimensions["physical_quality"].justification == "The left paw has six toes."
    assert judgement.summary == "Good idea, poor details."
    assert judgement.comments == "Name the number of toes and spell the word."
    assert judgement.refined_request == (
        'A red cat with four toes on each paw sits on a sofa.\nA sign above it says "OPEN".'
    )  # fmt: skip


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


def test_the_placeholders_of_the_format_are_no_answer() -> None:
    for name in RUBRICS:
        rubric = load_rubric(name)
        assert not [
            key
            for key in read_answer(rubric._answer_text(), rubric)
            if not key.endswith((".score", ".score_a", ".score_b"))
        ]
        read = (Comparison if rubric.pair else Judgement).parse(rubric._answer_text(), rubric=rubric)
        assert not read.complete
        assert all(d.applicable for d in read.dimensions.values())


def test_text_without_inner_headings_is_the_justification() -> None:
    text = (
        "1. **Text Faithfulness**: The cat is red.\n   **Score:** 3.5/4\n\n2. **Text Rendering**\nNo "
        "sign.\nScore: N/A"
    )
    judgement = Judgement.parse(text)
    assert judgement.dimensions["text_faithfulness"].justification == "The cat is red."
    assert judgement.dimensions["text_faithfulness"].score == 3.5
    assert not judgement.dimensions["text_rendering"].applicable
    assert judgement.dimensions["physical_quality"].score is None
    assert not judgement.complete
    behind = Judgement.parse(
        "1. Text Faithfulness:\n## Score: 3.5\nThe cat is red.\n2. Physical and Visual Quality:\n"
    )
    assert behind.dimensions["text_faithfulness"].justification == "The cat is red."


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


def test_missing_sections_are_absent_and_the_rest_is_there() -> None:
    rubric = load_rubric("t2i")
    whole = read_answer(T2I, rubric)
    for gone in (
        "analysis",
        "text_rendering.justification",
        "physical_quality.score",
        "summary",
        "refined_request",
    ):
        text = "".join(text for key, text in pieces(rubric, whole) if key != gone)
        assert read_answer(text, rubric) == {key: value for key, value in whole.items() if key != gone}


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


def test_a_refined_request_over_many_lines() -> None:
    request = (
        "A poster:\n\n- a red cat\n- a sign: “OPEN”\n\n1. Foreground:\n   the cat\n2. Background:\n\n### "
        "Style\nwatercolour, {soft|warm} light, "
        "(hat:1.2)\u2028still this line\u0085and this\n> Score: 4\nSummary: cosy"
    )
    assert (
        Judgement.parse(
            T2I.split("## Refined Request:")[0] + f"## Refined Request:\n{request}\n"
        ).refined_request
        == request
    )


def test_the_free_text_may_be_in_any_script() -> None:
    text = T2I.replace("The left paw has six toes.", "左爪有六个脚趾：太多了。‏الكف الأيسر 👩‍🎨")
    assert (
        Judgement.parse(text).dimensions["physical_quality"].justification
        == "左爪有六个脚趾：太多了。‏الكف الأيسر 👩‍🎨"
    )
    assert scores(text) == [3.5, 2.0, 1.5]


def test_a_thinking_block_that_never_ends_holds_no_answer() -> None:
    assert (
        read_answer("<think>First I would say\n1. Text Faithfulness:\n## Score: 4.0\n", load_rubric("t2i"))
        == {}
    )
    assert scores(T2I + "</think>\n") == [3.5, 2.0, 1.5], (
        "but the end of one that never began changes nothing"
    )


def test_a_comparison_with_contradicting_winners_and_scores() -> None:
    rubric = load_rubric("t2i-pair")
    parts = {
        "text_faithfulness.justification": "B has the hat.",
        "text_faithfulness.score_a": "2.0",
        "text_faithfulness.score_b": "3.5",
        "text_faithfulness.winner": "Image B",
    }
    text = render(rubric, parts)
    assert read_answer(text, rubric) == parts
    twice = text.replace("## Score B: 3.5\n", "## Score B: 3.5\n## Score B: 1.0\n").replace(
        "Image B", "Image B\n## Winner: Image A"
    )
    assert read_answer(twice, rubric) == {key: parts[key] for key in list(parts)[:2]}
    assert Comparison.parse(twice).winner is None


def test_a_rubric_with_chinese_headings() -> None:
    rubric = parse_rubric(
        {
            "task": "t2i",
            "dimensions": {"likeness": {"name": "相似度"}, "light": {"name": "光线"}},
            "user": [{"text": "{{prompt}}"}, {"image": "image"}, {"text": "{{answer}}"}],
            "answer": [
                {"heading": "# 分析：", "text": "analysis"},
                {
                    "each_dimension": [
                        {"heading": "# {{number}}、{{name}}："},
                        {"heading": "## 理由：", "text": "justification"},
                        {"heading": "## 评分：", "score": "score"},
                    ]
                },
                {"heading": "# 总结：", "text": "summary"},
            ],
        },
        "chinese",
    )
    text = (
        "# 分析：一只红猫\n# 1、相似度：\n## 理由：猫是红色的：很好\n## 评分：３．５\n"
        "**2、光线**\n理由: 太暗\n评分：2/4\n# 总结：不错\n"
    )
    assert read_answer(text, rubric) == {
        "analysis": "一只红猫",
        "likeness.justification": "猫是红色的：很好",
        "likeness.score": "３．５",
        "light.justification": "太暗",
        "light.score": "2/4",
        "summary": "不错",
    }
    assert [d.score for d in Judgement.parse(text, rubric=rubric).dimensions.values()] == [3.5, 2.0]


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


# ---------------------------------------------------------------- properties

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
    ("written", "read"),
    [
        ("[a red fox on a bench]", "a red fox on a bench"),
        ('"a red fox on a bench"', "a red fox on a bench"),
        ("“[a red fox]”", "a red fox"),
        ("『赤い狐』", "赤い狐"),
        ('a fox with a sign "OPEN"', 'a fox with a sign "OPEN"'),
        ('"A" and "B"', '"A" and "B"'),
        ("[a] fox [b]", "[a] fox [b]"),
        ("(a fox:1.2)", "(a fox:1.2)"),
        ("**a red fox**", "a red fox"),
        ("```\na red fox\n```", "a red fox"),
        ("```text\na red fox,\non a bench\n```", "a red fox,\non a bench"),
        ('"""a red fox"""', "a red fox"),
        ("„a red fox“", "a red fox"),
        ('“a red fox"', "a red fox"),
        ("‹a red fox›", "a red fox"),
        ('“A” and "B"', '“A” and "B"'),
        ("**a** fox **b**", "**a** fox **b**"),
        # What ComfyUI packs and A1111 read as prompt syntax.
        ("[fox|wolf]", "[fox|wolf]"),
        ("[fox:wolf:0.5]", "[fox:wolf:0.5]"),
        ("[fox:10]", "[fox:10]"),
        ("{fox|wolf}", "{fox|wolf}"),
        ("__animal__", "__animal__"),
        ("<lora:fox:0.8>", "<lora:fox:0.8>"),
    ],
)
def test_a_refined_prompt_wholly_in_quotes_or_brackets_is_unwrapped(written: str, read: str) -> None:
    rubric = load_rubric("t2i")
    parts = {item.key: "x" for item in rubric.answer if item.kind == "text"} | {"refined_request": written}
    assert Judgement.from_parts(parts, rubric).refined_request == read


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


def answer_with(score: str, rubric: Rubric) -> str:
    """A complete answer in which every score is this one and every text says so."""
    kinds = {"score": score, "winner": WINNERS[2], "text": f"as {score}"}
    return write_answer(rubric, {item.key: kinds[item.kind] for item in rubric.answer if item.key})


@pytest.mark.parametrize("name", RUBRICS)
@pytest.mark.parametrize("between", ["", "\n---\n", "```\n\n```\n", "```\n```markdown\n"], ids=repr)
def test_of_an_answer_that_is_written_again_the_first_counts(name: str, between: str) -> None:
    rubric = load_rubric(name)
    fence = "```\n" if "```" in between else ""
    text = fence + answer_with("1.5", rubric) + between + answer_with("3.5", rubric) + fence
    read = (Comparison if rubric.pair else Judgement).parse(text, rubric=rubric)
    assert read.complete
    for dimension in read.dimensions.values():
        numbers = vars(dimension)
        assert {numbers[key] for key in ("score", "score_a", "score_b") if key in numbers} == {1.5}
    assert read.summary == "as 1.5"
    if isinstance(read, Judgement):
        assert (read.comments, read.refined_request) == ("as 1.5", "as 1.5")


def test_an_answer_quoted_inside_the_analysis_gives_no_score() -> None:
    """A prompt that brings a complete answer of its own cannot score itself."""
    rubric = load_rubric("t2i")
    opening, rest = answer_with("2.0", rubric).split("as 2.0\n", 1)
    planted = answer_with("4.0", rubric)
    for quoted in (planted, planted + planted):
        read = Judgement.parse(f"{opening}The prompt says:\n{quoted}{rest}", rubric=rubric)
        assert all(dimension.score != 4.0 for dimension in read.dimensions.values())
