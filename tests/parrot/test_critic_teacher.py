"""A critic as the teacher of PARROT: what it is told, what it answers, and one that knows only its own
questions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripted_teacher import judgement, rationale

from rational_rewards.demo.preference_pairs import World, world
from rational_rewards.demo.sentences import comparison_parts
from rational_rewards.models.answers.writing import write_answer
from rational_rewards.models.engines.base import Capabilities, Progress, Residency
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import BUILT_IN, rubric_for
from rational_rewards.parrot.anchored import rationalize
from rational_rewards.parrot.consistency import filter_consistent
from rational_rewards.parrot.critic_teacher import CriticTeacher, insisted, with_note, wording
from rational_rewards.parrot.projection import project
from rational_rewards.parrot.teacher import Reference
from rational_rewards.preferences.pairs import PreferencePair, Preferred

RUBRIC = rubric_for("t2i", pair=True)


@pytest.mark.parametrize("name", ["t2i", "edit", "t2i-pair", "edit-pair"])
def test_the_note_stands_between_the_rubric_and_the_format_of_the_answer(name):
    rubric = rubric_for(name.removesuffix("-pair"), name.endswith("-pair"))
    note = "A note with {{prompt}} and {{answer}} in it."
    text = with_note(rubric, note).messages("a cat")[-1]["content"][-1]["text"]
    plain = rubric.messages("a cat")[-1]["content"][-1]["text"]
    before, behind = text.split(note)
    assert before + behind.removeprefix("\n\n") == plain
    assert behind.startswith("\n\nAnswer with exactly these headings")
    assert "N/A: " in before


def test_the_wording_names_every_preference_and_three_answers():
    assert set(wording()["hint"]) == {"A", "B", "tie"}
    assert len(set(wording()["hint"].values())) == 3
    assert all("\n" not in hint for hint in wording()["hint"].values())
    assert len(wording()["consistency"]["answers"]) == 3


@pytest.fixture(scope="module")
def picture_pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, colour in enumerate(["red", "green", "blue"]):
        size = (160, 120 + 32 * number)
        picture = Image.blend(
            Image.linear_gradient("L").convert("RGB").resize(size), Image.new("RGB", size, colour), 0.5
        )
        picture.save(folder / f"{number}.png")
    paths = [folder / f"{number}.png" for number in range(3)]
    return [
        PreferencePair("x", "a photo", paths[0], paths[1], "A"),
        PreferencePair("y", "make it a <|im_end|> {{answer}}", paths[1], paths[2], "tie", paths[0]),
    ]


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_any_critic_can_teach_and_says_the_same_again(family, make_critic, picture_pairs, tmp_path):
    def run(folder):
        teacher = CriticTeacher(make_critic(family), max_new_tokens=60)
        rationales = rationalize(picture_pairs, folder / "rationales", teacher, base=tmp_path)
        survival = filter_consistent(rationales, folder / "consistent", teacher)
        alone = project(rationales, folder / "alone", teacher, base=tmp_path)
        return rationales.read_bytes(), (folder / "alone/dropped.jsonl").read_bytes(), survival, alone

    first, second = run(tmp_path / "one"), run(tmp_path / "two")
    assert first == second
    for line in first[0].splitlines():
        record = json.loads(line)
        assert Comparison.parse(
            record["rationale"], "edit" if "source" in record["images"] else "t2i"
        ).complete
    assert first[2].total == 2
    assert first[3].total == 4
    assert "unreadable" not in first[3].dropped


def test_a_sampled_rationale_depends_on_its_seed_only(make_critic, picture_pairs):
    teacher = CriticTeacher(make_critic(), temperature=1.0, max_new_tokens=60)
    both = teacher.rationalize(picture_pairs, [1, 2], True, Progress())
    assert teacher.rationalize(picture_pairs[1:], [2], True, Progress()) == both[1:]
    assert teacher.rationalize(picture_pairs[1:], [3], True, Progress()) != both[1:]
    assert "temperature 1" in teacher.name


def test_the_preference_is_chosen_from_three_answers_without_pictures(make_critic):
    engine = make_critic().engine
    answers = wording()["consistency"]["answers"]
    found = {engine.choose(f"Question {n}: <|im_end|> which one?", answers) for n in range(4)}
    assert all(0 <= index < 3 and 1 / 3 <= probability <= 1 for index, probability in found)
    index, probability = engine.choose("Which?", ["one cat", "one dog", "two dogs"])
    written = [_probability(engine, "Which?", choice) for choice in range(3)]
    assert index == max(range(3), key=written.__getitem__)
    assert probability == pytest.approx(written[index], rel=1e-3)
    with pytest.raises(ValueError, match="beginning of another"):
        engine.choose("Which?", ["Tie", "Tie it"])


def _probability(engine, question, wanted):
    """The probability of one choice, by writing it token by token: how locked decoding would choose it."""
    import torch

    from rational_rewards.models.engines.session import Session

    choices = [engine.vocabulary.encode(text) for text in ("one cat", "one dog", "two dogs")]
    asked, _ = engine.encoder.prompt_ids(
        [{"role": "user", "content": [{"type": "text", "text": question}]}], {}
    )
    total = 1.0
    for depth, token in enumerate(choices[wanted]):
        nexts = sorted({ids[depth] for ids in choices if ids[:depth] == choices[wanted][:depth]})
        ids = torch.tensor([[*asked, *choices[wanted][:depth]]])
        inputs = {"input_ids": ids, "mm_token_type_ids": torch.zeros_like(ids)}
        logits = Session.prefill(engine.model, inputs).logits[0]
        total *= float(logits[nexts].softmax(-1)[nexts.index(token)])
    return total


def test_the_model_is_asked_for_before_every_use(
    make_critic: Callable[..., Any], picture_pairs: list[PreferencePair]
) -> None:
    """A run that goes on may begin with the prediction, with the model still where a sampler has put it."""

    class Counting(Residency):
        asked: list[int] = []

        def ready(self, working_bytes: int = 0) -> None:
            self.asked.append(working_bytes)

    critic = make_critic()
    critic.engine.residency = Counting()
    CriticTeacher(critic).predict(["a cat"], [rationale("t2i", (3.0, 2.0))], Progress())
    assert len(Counting.asked) == 1
    assert Counting.asked[0] > 0


def test_an_engine_that_only_writes_leaves_the_prediction_to_the_scores():
    class Writer:
        capabilities = Capabilities(choose=False)
        max_pixels = 0

    class Critic:
        name, fingerprint, engine = "writer", "", Writer()

    teacher = CriticTeacher(Critic())  # type: ignore[arg-type]
    texts = [
        rationale("t2i", (3.0, 2.0)),
        rationale("edit", (2.0, 3.0)),
        rationale("t2i", (3.0, 3.0)),
        "Hm.",
        judgement("t2i", 3.0),
    ]
    assert teacher.predict(["a cat"] * 5, texts, Progress()) == ["A", "B", "tie", None, None]


# ---------------------------------------------------------------- a critic that knows only its own questions


def decided(preferred: Preferred) -> World:
    """A pair of pictures that the truth prefers so."""
    return next(
        one
        for one in (world(21, n) for n in range(100))
        if one.a.task == "t2i" and one.preferred == preferred
    )


@pytest.mark.parametrize("asked", ["A", "B", "tie"])
@pytest.mark.parametrize("true", ["A", "B"])
def test_scores_follow_the_preference_and_words_stay(true: Preferred, asked: Preferred) -> None:
    one = decided(true)
    parts = comparison_parts(one.a, one.b)
    before = write_answer(RUBRIC, parts)
    found = Comparison.parse(insisted(before, RUBRIC, asked))
    assert found.complete
    assert found.winner == asked
    own = Comparison.parse(before).summary
    assert found.summary == (
        own if asked == true else "It's a tie." if asked == "tie" else f"Image {asked} is better."
    )
    for key, dimension in found.dimensions.items():
        assert dimension.justification == parts[f"{key}.justification"]
        scores = {parts[f"{key}.score_a"], parts[f"{key}.score_b"]}
        if dimension.applicable and asked != "tie":
            assert {f"{dimension.score_a:.1f}", f"{dimension.score_b:.1f}"} == scores
    if asked == true:
        assert all(
            found.dimensions[key].score_a == old.score_a
            or old.score_a != max(old.score_a or 0, old.score_b or 0)
            for key, old in Comparison.parse(before).dimensions.items()
        )


@pytest.fixture
def teacher(make_critic: Callable[..., Any]) -> CriticTeacher:
    """A tiny critic with rubrics of its own."""
    critic = make_critic()
    critic.own_rubrics = (BUILT_IN,)
    return CriticTeacher.of(critic, max_new_tokens=64)


def test_a_critic_with_its_own_questions_explains_every_preference(
    teacher: CriticTeacher, tmp_path: Path
) -> None:
    pairs = [world(22, number).pair(tmp_path) for number in range(6)]
    pairs = [
        PreferencePair(p.id, p.prompt, p.image_a, p.image_b, "B" if i % 2 else "A", p.source)
        for i, p in enumerate(pairs)
    ]
    rationales = teacher.rationalize(pairs, range(6), True, Progress())
    said = teacher.predict([pair.prompt for pair in pairs], rationales, Progress())
    for pair, winner in zip(pairs, said, strict=True):
        # Where the critic sees no difference, there is nothing to exchange.
        assert winner in (
            pair.preferred,
            "tie",
        )
    judged = teacher.project(pairs, [Reference(said, "A") for said in rationales], range(6), Progress())
    for pair, explained, text in zip(pairs, rationales, judged, strict=True):
        alone, comparison = Judgement.parse(text, task=pair.task), Comparison.parse(explained, task=pair.task)
        assert alone.complete
        for key, dimension in comparison.dimensions.items():
            assert alone.dimensions[key].score == dimension.score_a
    assert "insisting" in teacher.name


def test_what_cannot_be_read_is_left_to_the_filters(teacher: CriticTeacher, tmp_path: Path) -> None:
    rubric = teacher.rubrics("t2i", True)
    cut = rationale("t2i", (3.0, 2.0)).partition("2. Physical")[0]
    assert insisted(cut, rubric, "B") == cut
    pair = world(22, 0).pair(tmp_path)
    judged = teacher._scored_as("Hm.", pair, Reference(rationale("t2i", (3.0, 2.0)), "A"))
    assert judged == "Hm."


def test_where_scores_were_changed_the_request_is_left_as_it_is(
    teacher: CriticTeacher, tmp_path: Path
) -> None:
    pair = next(
        one for one in map(lambda number: world(22, number).pair(tmp_path), range(9)) if one.task == "t2i"
    )
    text = judgement("t2i", 2.0, refined="a better request")
    same, other = (
        teacher._scored_as(text, pair, Reference(rationale("t2i", (score, 3.0)), "A")) for score in (2.0, 4.0)
    )
    assert Judgement.parse(same, task="t2i").refined_request == "a better request"
    assert Judgement.parse(other, task="t2i").refined_request == pair.prompt
    assert Judgement.parse(other, task="t2i").comments == wording()["unchanged"]


def test_a_critic_without_rubrics_of_its_own_is_only_given_the_hint(make_critic: Callable[..., Any]) -> None:
    teacher = CriticTeacher.of(make_critic())
    assert not teacher.insist
    assert "insisting" not in teacher.name
