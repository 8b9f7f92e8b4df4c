"""Two rewrites of one prompt, joined."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.models.prompts.edits import combined

PROMPT = "two red squares, a black star and a large blue circle with the word HAT"
WORDS = st.lists(
    st.sampled_from(["red", "star", "a", "two", ",", "on", "blue", "(big:1.2)", "—"]), max_size=9
)
TEXTS = WORDS.map(" ".join) | st.text(max_size=30)


def test_what_either_rewrite_added_stays():
    earlier = PROMPT.replace("a black star", "exactly one black star")
    later = PROMPT.replace("HAT", "HAT spelled H-A-T") + ", sharp and clean"
    expected = earlier.replace("HAT", "HAT spelled H-A-T") + ", sharp and clean"
    assert combined(PROMPT, earlier, later) == combined(PROMPT, later, earlier) == expected


def test_what_both_say_is_said_once():
    once, more = f"{PROMPT}, sharp", f"{PROMPT}, sharp and clean"
    assert combined(PROMPT, once, more) == combined(PROMPT, more, once) == more


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (PROMPT.replace("red", "green"), PROMPT.replace("red", "yellow")),
        (PROMPT.replace("a large blue circle", "one circle"), PROMPT.replace("blue", "deep blue sea")),
        (PROMPT.replace("red squares", "cubes"), PROMPT.replace("red squares", "red big squares")),
    ],
)
def test_rewrites_that_contradict_each_other_are_not_joined(earlier, later):
    assert combined(PROMPT, earlier, later) is None
    assert combined(PROMPT, later, earlier) is None


def test_another_text_is_not_joined():
    other = "A still life of geometric toys in flat colours, photographed from above."
    assert combined(PROMPT, other, f"{PROMPT}, sharp") is None
    assert combined(PROMPT, f"{PROMPT}, sharp", other) is None
    assert combined("", "a star", "a circle") is None


@given(TEXTS, TEXTS)
def test_the_edits_of_one_rewrite_alone_make_that_rewrite(prompt, rewrite):
    for one in (
        combined(prompt, rewrite, prompt),
        combined(prompt, prompt, rewrite),
        combined(prompt, rewrite, rewrite),
    ):
        assert one in (None, rewrite.rstrip())


@st.composite
def additions(draw):
    """A prompt of words that are all different, and two rewrites that add words of their own."""
    words = [f"word{number}" for number in range(draw(st.integers(1, 8)))]
    texts = []
    for who in ("early", "late"):
        places = draw(st.lists(st.integers(1, len(words)), max_size=4))
        added = {place: [] for place in range(len(words) + 1)}
        for number, place in enumerate(places):
            added[place].append(f"{who}{number}")
        texts.append(" ".join(one for at, word in enumerate(words, 1) for one in (word, *added[at])))
    return " ".join(words), *texts


@given(additions())
def test_no_word_is_lost_and_all_stay_in_order(found):
    prompt, earlier, later = found
    joined = combined(prompt, earlier, later)
    assert joined is not None
    words = joined.split()
    assert sorted(words) == sorted({*earlier.split(), *later.split()})
    for text in (prompt, earlier, later):
        assert [word for word in words if word in text.split()] == text.split()


@given(additions())
def test_joining_again_changes_nothing(found):
    prompt, earlier, later = found
    joined = combined(prompt, earlier, later)
    assert joined is not None
    assert combined(prompt, joined, later) == joined
    assert combined(prompt, joined, earlier) == joined
    assert sorted((combined(prompt, later, earlier) or "").split()) == sorted(joined.split())


def test_the_order_is_the_same_in_every_process():
    code = (
        "from rational_rewards.models.prompts.edits import combined\n"
        "print(combined('a b', 'a x1 b', 'a y1 b'), combined('a b', 'a y2 b', 'a x2 b'))"
    )
    for seed in "012":
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.strip() == "a x1 y1 b a y2 x2 b"


def test_what_both_rewrites_add_stands_there_once_wherever_it_can_be_read():
    prompt = "a red star and two squares on a pink background"
    earlier = "a red star and exactly two squares on the right on a pink background"
    later = "a red star and two squares on the right on a plain pink background"
    joined = "a red star and exactly two squares on the right on a plain pink background"
    assert combined(prompt, earlier, later) == combined(prompt, later, earlier) == joined
