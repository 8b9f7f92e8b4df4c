"""From a critique to the next sampler's prompt."""

from __future__ import annotations

import dataclasses

import pytest

from rational_rewards.models.cards.layout import ACCENT, draw_card
from rational_rewards.models.refine import refine_prompts, with_refined

SHORT = dict(max_new_tokens=120)


def graded(critique, *scores):
    """The critique with the scores of its images' first dimension set by hand, the others perfect."""
    items = []
    for item, score in zip(critique.items, scores, strict=True):
        dimensions = {
            k: dataclasses.replace(d, score=4.0, applicable=True)
            for k, d in item.judgement.dimensions.items()
        }
        dimensions["text_faithfulness"].score = score
        items.append(
            dataclasses.replace(item, judgement=dataclasses.replace(item.judgement, dimensions=dimensions))
        )
    return dataclasses.replace(critique, items=items)


@pytest.fixture
def critique(make_critic, photos):
    return make_critic().critique(
        photos[:2], "a (red fox:1.3) on a bench, embedding:style, <lora:fur:0.8>", **SHORT
    )


def test_only_weak_images_are_refined(critique):
    weak, strong = refine_prompts(graded(critique, 2.0, 3.5), refine_below=3.0)
    assert weak.changed
    assert weak.prompt != critique.items[0].question.prompt
    assert not strong.changed
    assert strong.prompt == critique.items[1].question.prompt
    assert "3 or more" in strong.comments


def test_perfect_images_keep_their_prompt_by_default(critique):
    assert not refine_prompts(graded(critique, 4.0, 4.0))[0].changed


def test_what_does_not_apply_does_not_ask_for_a_refinement(critique):
    perfect = graded(critique, 4.0, 4.0)
    perfect.items[0].judgement.dimensions["text_rendering"].score = None
    perfect.items[0].judgement.dimensions["text_rendering"].applicable = False
    assert not refine_prompts(perfect)[0].changed


def test_locked_words_and_prompt_syntax_survive(critique):
    refined = refine_prompts(graded(critique, 1.0, 1.0), keep=["golden hour"])[0]
    for piece in ("(red fox:1.3)", "embedding:style", "<lora:fur:0.8>", "golden hour"):
        assert piece in refined.prompt
    assert refined.comments


def test_a_card_shows_the_prompt_as_refine_prompt_gives_it(critique):
    weak, perfect = graded(critique, 1.0, 4.0).items
    refined = refine_prompts(graded(critique, 1.0, 4.0), keep=["golden hour"])
    shown = with_refined(weak.judgement, refined[0])
    assert shown.refined_request == refined[0].prompt
    assert "golden hour" in shown.refined_request
    written = dataclasses.replace(perfect.judgement, refined_request="A rewrite that nobody needs.")
    unchanged = with_refined(written, refined[1])
    assert unchanged.refined_request == ""
    card = draw_card(weak.question.images["image"], unchanged, perfect.question.prompt)
    assert ACCENT not in {color for _, color in card.getcolors(card.width * card.height)}


def test_a_rubric_without_refinement_is_asked_for_one(make_critic, photos, tmp_path):
    from rational_rewards.models.critic import Critic

    (tmp_path / "short.yaml").write_text(
        "extends: t2i\nanswer:\n  - each_dimension:\n      - heading: '# {{name}}:'\n        score: score\n",
        encoding="utf-8",
    )
    critic = Critic(make_critic().engine, "tiny", [tmp_path])
    critique = critic.critique(photos[0], "a photo", rubric="short", **SHORT)
    assert not critique.judgements[0].refined_request
    judgement = critique.refined()[0]
    assert judgement.refined_request
    assert judgement.score == critique.scores[0], "the judgement itself stays"
    assert judgement.raw.startswith(critique.judgements[0].raw)
    assert critique.refined_prompt == judgement.refined_request


def test_without_a_prompt_there_is_none_to_rewrite(make_critic, photos):
    critique = make_critic().critique(photos[0], "", rubric="quality", max_new_tokens=32)
    assert critique.judgements[0].score != 1
    (refined,) = refine_prompts(critique)
    assert (refined.prompt, refined.changed) == ("", False)
    assert "No prompt is known" in refined.comments
    card = draw_card(photos[0], with_refined(critique.judgements[0], refined), "")
    assert card.width > 100
