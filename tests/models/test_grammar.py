"""The locked form: whatever the weights, every part is there, and a score is a score."""

from __future__ import annotations

import os
import random

import pytest

from rational_rewards.models.answers.grammar import SCORES, AnswerGrammar, GrammarState
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import load_rubric

TASKS = ["t2i", "edit", "t2i-pair", "edit-pair"]


@pytest.fixture(scope="module")
def vocabulary(make_critic):
    return make_critic().engine.vocabulary


def write_at_random(state, chance, tokens):
    """Follow the form with random allowed tokens; returns the whole text's tokens."""
    allowed = [(~row).nonzero()[:, 0].tolist() for row in state.vocabulary.masks]
    ids = list(state.forced())
    while not state.done and len(ids) < tokens:
        choice = state.allowed()
        ids += state.push(chance.choice(choice if isinstance(choice, list) else allowed[choice]))
        ids += state.forced()
    return ids


@pytest.mark.parametrize("task", TASKS)
def test_random_tokens_under_the_form_always_parse(task, vocabulary):
    rubric, chance = load_rubric(task), random.Random(task)
    form = AnswerGrammar(rubric, vocabulary, 300)
    for _ in range(50):
        state = GrammarState(form, "refinement")
        text = vocabulary.decode(write_at_random(state, chance, 5000))
        assert state.done
        read = (Comparison if rubric.pair else Judgement).parse(text, rubric=rubric)
        exact = (Comparison if rubric.pair else Judgement).from_parts(state.parts, rubric)
        assert read.complete
        assert exact.complete
        assert [vars(d) for d in read.dimensions.values()] == [vars(d) for d in exact.dimensions.values()]


def test_headings_stand_in_the_published_order(vocabulary):
    rubric = load_rubric("edit")
    state = GrammarState(AnswerGrammar(rubric, vocabulary, 300), "refinement")
    text = vocabulary.decode(write_at_random(state, random.Random(1), 5000))
    lines = [
        line for line in text.split("\n") if line.startswith("#") or line[:2] in ("1.", "2.", "3.", "4.")
    ]
    assert [line.split(": ")[0].rstrip(":") for line in lines] == [
        item.heading.rstrip(":") for item in rubric.answer
    ]


def test_parts_stop_where_they_were_asked_to_and_can_go_on(vocabulary):
    form = AnswerGrammar(load_rubric("t2i"), vocabulary, 300)
    state, chance = GrammarState(form, "scores"), random.Random(2)
    write_at_random(state, chance, 5000)
    assert set(state.parts) == {
        "analysis",
        *(
            f"{d}.{p}"
            for d in ("text_faithfulness", "physical_quality", "text_rendering")
            for p in ("justification", "score")
        ),
    }
    state.extend("judgement")
    write_at_random(state, chance, 5000)
    assert "summary" in state.parts
    assert "comments" not in state.parts
    state.extend("refinement")
    write_at_random(state, chance, 5000)
    assert state.parts["refined_request"]


def test_scores_run_from_1_to_4_with_up_to_two_decimals(vocabulary):
    assert {float(score) for score in SCORES} == {round(1 + n / 100, 2) for n in range(301)}
    form = AnswerGrammar(load_rubric("t2i"), vocabulary, 300)
    tries = [segment for segment in form.segments if segment.trie is not None]
    missing = vocabulary.encode(" N/A\n")[0]
    assert [missing in segment.trie for segment in tries] == [False, False, True], (
        "only text rendering may not apply"
    )


def test_long_texts_are_cut_in_proportion(vocabulary):
    rubric = load_rubric("t2i")
    whole, half = (
        AnswerGrammar(rubric, vocabulary, 100_000),
        AnswerGrammar(rubric, vocabulary, sum(i.tokens for i in rubric.answer) // 2),
    )
    for full, short in zip(whole.segments, half.segments, strict=True):
        assert short.tokens == full.tokens // 2


def test_a_text_that_opens_a_heading_ends_there(vocabulary):
    state = GrammarState(AnswerGrammar(load_rubric("t2i"), vocabulary, 300), "scores")
    state.forced()
    (word,) = vocabulary.encode("The")[:1]
    assert state.push(word) == [word]
    (newline,) = vocabulary.newline
    state.push(newline)
    hashes = vocabulary.encode("##")[0]
    assert state.push(hashes) == [], "the heading's own tokens are fed instead"
    assert state.section == ""
    assert vocabulary.decode(state.forced()).startswith(
        "# Detailed Judgement\n1. Text Faithfulness:\n## Justification:"
    )


@pytest.mark.parametrize("task", TASKS)
def test_locked_answers_of_random_models_parse_completely(task, make_critic, photos):
    """`RR_GENERATIONS=250 pytest tests/models/test_grammar.py -k locked_answers` makes 1,000 over the four
    tasks.
    """
    rubric, count = load_rubric(task), int(os.environ.get("RR_GENERATIONS", "24"))
    complete = 0
    for start in range(0, count, 8):
        critic = make_critic("qwen3_vl", seed=start // 8 % 3)
        names = [f"a picture, number {start + i}" for i in range(min(8, count - start))]
        images = {
            name: [photos[(start + i + k) % 8] for i in range(len(names))]
            for k, name in enumerate(("source", "a", "b"))
        }
        options = dict(
            temperature=1.5,
            seed=start,
            max_new_tokens=120,
            source=images["source"] if rubric.task == "edit" else None,
        )
        if rubric.pair:
            found = critic.compare(images["a"], images["b"], names, both_orders=False, **options)
            again = [Comparison.parse(one.raw, rubric=rubric) for one in found]
            complete += sum(
                one.complete and one.winner == two.winner for one, two in zip(found, again, strict=True)
            )
        else:
            found = critic.critique(images["a"], names, until="refinement", **options).judgements
            again = [Judgement.parse(one.raw, rubric=rubric) for one in found]
            complete += sum(
                one.complete and bool(one.refined_request) and one.score == two.score
                for one, two in zip(found, again, strict=True)
            )
    print(f"{complete} of {count} {task} answers complete")
    assert complete == count
