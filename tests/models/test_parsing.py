"""Whole answers are read: what is there is found."""

from __future__ import annotations

import random

import pytest
from answer_scores import RUBRICS, scores
from damaged_answers import T2I, pieces, render, sample

from rational_rewards.models.answers.parsing import read_answer
from rational_rewards.models.answers.writing import write_answer
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import WINNERS, Rubric, load_rubric, parse_rubric


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
