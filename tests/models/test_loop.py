"""When a loop stops, which round was the best, and what the next prompt is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from rational_rewards.models.critique import JudgedImage
from rational_rewards.models.judgement import Dimension, Judgement
from rational_rewards.models.loop import LoopStart, Round, Rounds, StopRules, next_prompt
from rational_rewards.models.question import Question
from rational_rewards.models.rubrics.rubric import rubric_for

PROMPT = "two red squares and a black star, golden hour"


def judged(*scores):
    """A judgement with these scores; "-" is a dimension that does not apply, None one that was not read."""
    dimensions = {
        f"d{number}": Dimension(f"D{number}", applicable=False)
        if score == "-"
        else Dimension(f"D{number}", score)
        for number, score in enumerate(scores)
    }
    return Judgement(dimensions, summary="What is wrong.")


def loop_of(*judgements, most=4, mode="same", prompts=()):
    """The rounds of a loop."""
    prompts = prompts or [f"prompt {number}" for number in range(len(judgements))]
    done = tuple(Round(prompt, 0, one) for prompt, one in zip(prompts, judgements, strict=True))
    return Rounds(LoopStart(prompts[0], most, seed_mode=mode), done)


# ---------------------------------------------------------------- when it stops


def test_it_stops_at_the_score():
    # (3.7 - 1) / 3 is 0.9 but for rounding.
    assert "0.90 is reached" in loop_of(judged(3.7)).why_stop(StopRules(0.9))
    assert loop_of(judged(3.69)).why_stop(StopRules(0.9)) == ""
    assert loop_of(judged(4.0, 3.9)).why_stop(StopRules(1.0)) == ""
    assert "1.00 is reached" in loop_of(judged(4.0, "-", 4.0)).why_stop(StopRules(1.0))


def test_the_paper_stops_when_nothing_is_below_3():
    paper = StopRules(1.0, "paper")
    assert "no dimension is below 3" in loop_of(judged(3.0, "-", 3.2)).why_stop(paper)
    assert loop_of(judged(4.0, 2.9)).why_stop(paper) == ""
    # However good the mean is.
    assert loop_of(judged(2.5, 4.0, 4.0)).why_stop(StopRules(0.1, "paper")) == ""


def test_it_stops_after_the_last_round_and_by_hand():
    weak = judged(1.0)
    assert loop_of(weak, weak, most=3).why_stop(StopRules()) == ""
    assert loop_of(weak, weak, weak, most=3).why_stop(StopRules()) == "Stopped after the last round."
    assert loop_of(weak, most=1).why_stop(StopRules()) == "Stopped after the last round."
    assert loop_of(weak).why_stop(StopRules(), finish=True) == "Stopped by hand after this round."
    # What is good was not stopped by hand.
    assert "is reached" in loop_of(judged(4.0)).why_stop(StopRules(), finish=True)


@pytest.mark.parametrize("rule", ["score", "paper"])
@pytest.mark.parametrize("unread", [judged(4.0, None), judged(None), judged("-"), Judgement({})])
def test_it_stops_where_nothing_could_be_read_and_never_calls_that_good(unread, rule):
    why = loop_of(judged(2.0), unread).why_stop(StopRules(0.0, rule))
    assert why == "Stopped: the critic's answer could not be read."


def test_a_prompt_that_was_tried_with_this_seed_is_a_repeat():
    same = loop_of(judged(1.0), judged(2.0), prompts=["a", "b"])
    assert [same.is_repeat(prompt) for prompt in "abc"] == [True, True, False]
    following = dataclasses.replace(same, start=LoopStart("a", seed_mode="next"))
    # Another seed makes another image of an older prompt; the newest has just failed to get better.
    assert [following.is_repeat(prompt) for prompt in "abc"] == [False, True, False]


# ---------------------------------------------------------------- which was the best, and the seeds


def best_round(judgements):
    """The best of rounds with these judgements."""
    return Rounds(LoopStart("a cat"), tuple(Round("a cat", 0, one) for one in judgements)).best


def test_the_best_is_the_highest_and_of_equal_ones_the_first():
    assert best_round([judged(2.0), judged(3.5), judged(3.5), judged(3.0)]) == 1
    assert best_round([judged(4.0, None), judged(2.0)]) == 1
    assert best_round([judged(None), Judgement({})]) is None
    assert best_round([]) is None
    # Equal means that were added in another order.
    assert best_round([judged(3.3, 3.6, 3.9), judged(3.9, 3.6, 3.3)]) == 0
    assert loop_of(judged(2.0), judged(3.5), judged(3.0)).best == 1


def test_seeds():
    assert [LoopStart("", seed=7).seed_of(number) for number in range(3)] == [7, 7, 7]
    following = LoopStart("", seed=2**64 - 2, seed_mode="next")
    assert [following.seed_of(number) for number in range(3)] == [2**64 - 2, 2**64 - 1, 0]


def test_the_history_is_a_table_whatever_the_prompts_hold():
    rounds = loop_of(judged(2.0), judged(None), judged(3.4), prompts=["a|b\nc", "{x|y}", "z"])
    lines = rounds.to_markdown("Stopped.").splitlines()
    assert lines[-1] == "Stopped."
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 5
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert "**0.80**" in rows[4]
    assert "not read" in rows[3]
    assert "0.33" in rows[2]


# ---------------------------------------------------------------- the next prompt


class Scripted:
    """A critic that says what it was told to. `rewrites` are of the artist's prompt, one a round; `others`
    of whatever prompt it is given.
    """

    def __init__(self, *rewrites, others=()):
        self.rewrites, self.others = iter(rewrites), iter(others)
        self.asked = []

    def refine(self, items, sampling, progress):
        return [
            dataclasses.replace(item.judgement, refined_request=next(self.rewrites), comments="Because.")
            for item in items
        ]

    def refine_from(self, prompt, item, sampling, progress):
        self.asked.append(prompt)
        return dataclasses.replace(item.judgement, refined_request=next(self.others), comments="From there.")


def question(prompt=PROMPT):
    image = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    return JudgedImage(Question(rubric_for("t2i", pair=False), prompt, {"image": image}), judged(2.0))


def play(critic, rounds, keep=()):
    """The prompts of all rounds."""
    prompts = [PROMPT]
    for _ in range(rounds):
        prompts.append(next_prompt(critic, question(), prompts[-1], keep).prompt)
    return prompts


def test_what_a_round_added_is_not_lost_in_the_next():
    critic = Scripted(
        PROMPT.replace("two red", "exactly two red"),
        PROMPT.replace("a black star", "exactly one black star"),
        f"{PROMPT}, sharp and clean",
    )
    assert play(critic, 3)[-1] == (
        "exactly two red squares and exactly one black star, golden hour, sharp and clean"
    )
    assert critic.asked == []


def test_two_faults_that_take_turns_are_both_mended():
    first, second = PROMPT.replace("two", "exactly two"), PROMPT.replace("star", "star (not blurred)")
    prompts = play(Scripted(*[first, second] * 3), 6)
    assert prompts[2] == prompts[-1]
    assert "exactly two" in prompts[-1]
    assert "not blurred" in prompts[-1]


def test_a_critic_that_writes_another_text_is_asked_to_rewrite_the_current_prompt():
    other = "A photograph of toys on a table at dusk, taken from above with a wide lens."
    better = f"{other} The squares are red."
    critic = Scripted(other, other, others=[better])
    assert play(critic, 2) == [PROMPT, other, better]
    assert critic.asked == [other]


def test_rewrites_that_contradict_each_other_ask_for_one_of_the_current_prompt():
    green, yellow = PROMPT.replace("red", "green"), PROMPT.replace("red", "yellow")
    critic = Scripted(green, yellow, others=[f"{green}, no blur"])
    assert play(critic, 2)[-1] == f"{green}, no blur"
    assert critic.asked == [green]


def test_words_to_keep_stay_in_every_round_and_stand_there_once():
    rewrites = [f"{PROMPT}, {word}" for word in ("sharp", "clean", "bright", "flat")]
    prompts = play(Scripted(*rewrites), 4, keep=["golden hour", "film grain"])
    for prompt in prompts[1:]:
        assert prompt.count("golden hour") == prompt.count("film grain") == 1
    assert all(word in prompts[-1] for word in ("sharp", "clean", "bright", "flat"))


def test_words_to_keep_stay_where_another_text_is_written():
    other = "A photograph of toys on a table at dusk, taken from above with a wide lens."
    critic = Scripted(other, other, other, others=[f"{other} Red squares.", f"{other} A black star."])
    for prompt in play(critic, 3, keep=["film grain"])[1:]:
        assert prompt.count("film grain") == 1


def test_syntax_of_the_artist_survives_all_rounds():
    artists = "two (red squares:1.3) and a black star, <lora:toys:0.8>"
    plain = "two red squares and a black star"
    critic = Scripted(f"exactly {plain}", f"{plain} with five points", f"{plain}, sharp")
    prompt = artists
    for _ in range(3):
        prompt = next_prompt(critic, question(artists), prompt).prompt
        assert prompt.count("(red squares:1.3)") == prompt.count("<lora:toys:0.8>") == 1
    assert "five points" in prompt
    assert "exactly" in prompt
    assert "sharp" in prompt


def test_what_was_changed_and_why_is_told():
    first = next_prompt(Scripted(f"{PROMPT}, sharp"), question(), PROMPT)
    assert first.comments == "Because."
    assert first.changed
    same = next_prompt(Scripted(f"{PROMPT}, sharp"), question(), first.prompt)
    assert same.prompt == first.prompt
    assert not same.changed
    kept = next_prompt(Scripted("two red squares and a black star"), question(), PROMPT, ["golden hour"])
    assert kept.comments.startswith("Because. ")
    assert "golden hour" in kept.comments


def test_a_real_critic_rewrites_the_prompt_that_the_image_was_made_from(make_critic, photos):
    critic = make_critic()
    critique = critic.critique(photos[0], "a fox on a bench", max_new_tokens=120)
    alone = critic.refine_from("a fox on a bench, sharp", critique.items[0], critique.sampling)
    assert alone.refined_request
    assert alone.score == critique.scores[0]
    assert alone.dimensions == critique.judgements[0].dimensions
