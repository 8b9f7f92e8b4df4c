"""The refined prompt as a ComfyUI prompt: what the artist wrote as syntax survives, what the critic wrote as
prose stays prose.
"""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rational_rewards.models.prompts.merge import merge_refined


def read_weights(prompt: str, weight: float = 1.0) -> list[tuple[str, float]]:
    """(text, weight) as ComfyUI reads a prompt: parentheses nest, `:number` at their end sets the weight,
    else it is times 1.1.
    """
    parts: list[tuple[str, float]] = []
    depth, start = 0, 0
    for here, char in enumerate(prompt):
        if char not in "()" or prompt[here - 1 : here] == "\\":
            continue
        if char == "(" and depth == 0:
            parts.append((prompt[start:here], weight))
            start = here
        depth += 1 if char == "(" else -1
        if char == ")" and depth == 0:
            inner = prompt[start + 1 : here]
            words, colon, number = inner.rpartition(":")
            given_weight = re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", number) if colon and words else None
            parts += read_weights(words, float(number)) if given_weight else read_weights(inner, weight * 1.1)
            start = here + 1
    parts.append((prompt[start:], weight))
    return [(text.replace("\\(", "(").replace("\\)", ")"), w) for text, w in parts if text]


def weighted(prompt: str) -> set[tuple[str, float]]:
    return {(text, round(weight, 6)) for text, weight in read_weights(prompt) if weight != 1.0}


def unescaped_parentheses(prompt: str) -> str:
    return re.sub(r"[^()]", "", re.sub(r"\\[()]", "", prompt))


# What an artist sees


def test_a_weight_goes_back_onto_its_phrase() -> None:
    merged = merge_refined("portrait, (red scarf:1.3)", "A woman with a red scarf stands in the snow.")
    assert merged.prompt == "A woman with a (red scarf:1.3) stands in the snow."
    assert any("(red scarf:1.3)" in note for note in merged.notes)


def test_a_weight_without_its_phrase_is_put_at_the_end() -> None:
    merged = merge_refined("portrait, (film grain:1.2)", "A woman stands in the snow")
    assert merged.prompt == "A woman stands in the snow, (film grain:1.2)"


def test_after_a_full_stop_no_comma_is_needed() -> None:
    assert (
        merge_refined("(film grain:1.2), <lora:a:1>", "A woman.").prompt
        == "A woman. (film grain:1.2), <lora:a:1>"
    )


def test_weights_are_not_put_onto_parts_of_words_or_articles() -> None:
    merged = merge_refined("(cat:1.2), (a:1.4)", "A category of things")
    assert merged.prompt == "A category of things, (cat:1.2), (a:1.4)"


@pytest.mark.parametrize(
    "piece",
    [
        "(red scarf:1.3)",
        "((masterpiece))",
        "((red:1.3) scarf in snow:1.1)",
        "(zelda \\(series\\):1.2)",
        "(embedding:good:1.2)",
        "embedding:easynegative",
        "embedding:easynegative:1.1",
        "embedding:folder/name.safetensors",
        "<lora:film grain:0.8>",
        "<lyco:style:1:0.5>",
        "__hair/color__",
        "{red|blue|green}",
        "{2$$red|blue|green}",
        "{a {big|small} dog|a cat}",
        "(红围巾:1.3)",
    ],
)
def test_every_kind_of_syntax_survives(piece: str) -> None:
    original = f"a portrait, {piece}, soft light"
    assert piece in merge_refined(original, "A quiet portrait of a friend.").prompt
    copied = merge_refined(original, f"A quiet portrait, {piece}, softer light.")
    assert copied.prompt.count(piece) == 1, "what the critic copied is not added again"


def test_a_choice_takes_the_place_of_its_option() -> None:
    merged = merge_refined(
        "a woman in a {red|blue} scarf", "A woman in a long blue scarf before a blue scarf."
    )
    assert merged.prompt == "A woman in a long {red|blue} scarf before a blue scarf."


def test_the_words_of_the_critic_get_no_weight() -> None:
    merged = merge_refined(
        "a dog", "A dog (brown) runs (fast), ((huge)) and (happy:1.4), aspect ratio (16:9)"
    )
    assert merged.prompt == "A dog \\(brown\\) runs \\(fast\\), huge and happy, aspect ratio \\(16:9\\)"
    assert not weighted(merged.prompt)
    assert len(merged.notes) == 2


def test_a_weight_that_the_critic_changed_is_the_artists_again() -> None:
    assert merge_refined("(red scarf:1.3)", "A woman, (Red scarf:1.9)").prompt == "A woman, (red scarf:1.3)"
    assert merge_refined("((red scarf))", "A woman, (red scarf)").prompt == "A woman, ((red scarf))"


def test_escaped_parentheses_stay_escaped() -> None:
    assert (
        merge_refined("zelda \\(series\\)", "Zelda \\(series\\) at dusk").prompt
        == "Zelda \\(series\\) at dusk"
    )
    assert (
        merge_refined("zelda \\(series\\)", "Zelda (series) at dusk").prompt == "Zelda \\(series\\) at dusk"
    )


def test_parentheses_without_a_partner_cannot_swallow_a_weight() -> None:
    merged = merge_refined("(smile:1.2)", "She is happy :) and a smile (wide")
    assert weighted(merged.prompt) == {("smile", 1.2)}


def test_braces_of_the_critic_make_no_choice() -> None:
    assert merge_refined("a dog", "A dog {fast|slow} {x").prompt == "A dog \\{fast|slow\\} \\{x"
    assert merge_refined('{"a": 1}', '{"a": {"b": 2}}').prompt == '{"a": {"b": 2}}', (
        "a model's JSON prompt stays JSON"
    )


def test_files_that_the_critic_made_up_are_not_loaded() -> None:
    merged = merge_refined("a dog", "A dog with <lora:evil:1> embedding:evil and embedding:")
    assert merged.prompt == "A dog with embedding evil and embedding"


def test_an_embedding_stays_readable_for_comfyui() -> None:
    merged = merge_refined(
        "embedding:good dog", "A dog in the style of embedding:good. Calm (embedding:good:1.3)"
    )
    assert re.findall(r"(?<!\S)embedding:good(?=[\s,]|$)", merged.prompt), (
        "the full stop must not become a part of the name"
    )


def test_break_goes_back_to_where_its_sections_end() -> None:
    original = "a red fox on a bench BREAK snow, winter morning BREAK film photo"
    refined = (
        "A fluffy red fox asleep on a bench, tail curled, deep snow on a cold winter morning, analog "
        "film photo, soft grain"
    )
    merged = merge_refined(original, refined)
    assert merged.prompt == (
        "A fluffy red fox asleep on a bench, tail curled, BREAK deep snow on a cold winter morning, BREAK "
        "analog film photo, soft grain"
    )
    assert any("BREAK" in note for note in merged.notes)
    assert merge_refined(original, merged.prompt).prompt == merged.prompt
    assert not merge_refined("a cat BREAK a dog", "A cat BREAK a big dog").notes
    assert merge_refined("a BREAK b BREAK c", "word").prompt.count("BREAK") == 2, (
        "none is lost, however short the text"
    )
    assert merge_refined("sky BREAK sea", "a (sky, sea) BREAK").prompt.count("BREAK") == 1


def test_what_is_not_syntax_stays_text() -> None:
    text = "A [quiet] street AND a sign # 5, 50% off: now"
    assert merge_refined("a street", text).prompt == text


# What other programs read and ComfyUI does not: kept letter by letter, or a note says that it is gone


@pytest.mark.parametrize(
    ("original", "refined", "lost"),
    [
        ("((cat)), [dog]", "a cat and a dog", ["[dog]"]),
        ("[[[x]]] and {{{y}}}", "x and y", ["[[[x]]]", "{{{y}}}"]),
        ("0.5::cat::2 __w/*/x__", "cat", ["0.5::cat::2"]),
        ("-1.5::hat::, red::2", "A red hat.", ["-1.5::hat::", "red::2"]),
        ("a cat --ar 16:9 --tile", "A cat.", ["--ar 16:9", "--tile"]),
        ("[(cat) asleep]", "A cat sleeps.", ["[(cat) asleep]"]),
        ("a face (...)", "A face.", ["(...)"]),
    ],
)
def test_a_note_says_what_is_gone(original: str, refined: str, lost: list[str]) -> None:
    merged = merge_refined(original, refined)
    (note,) = [note for note in merged.notes if note.startswith("Not in the refined prompt any more: ")]
    assert [token for token in lost if token not in note] == []
    kept = merge_refined(original, f"{refined} {original}")
    assert not any("any more" in note for note in kept.notes)


@pytest.mark.parametrize(
    ("original", "refined"),
    [
        ("a [quiet] street", "A [quiet] street at dusk."),
        ("[cat:dog:0.5] in {red|blue}, <lora:a:1>", "An animal."),
        ('a sign that says "[OPEN] 1::2"', "A sign."),
        ('{"subject": ["cat"]}', '{"subject": ["dog"]}'),
        ("std::vector of smiles :) and :(", "Smiles."),
        ("a -- long -- walk", "A walk."),
    ],
)
def test_no_note_where_nothing_is_gone(original: str, refined: str) -> None:
    assert not any("any more" in note for note in merge_refined(original, refined).notes)


@pytest.mark.parametrize("word", ["AND", "COUPLE", "|"])
def test_a_lost_separator_is_named(word: str) -> None:
    merged = merge_refined(f"a cat {word} a dog", "A cat and a dog.")
    assert [note.split()[0] for note in merged.notes] == [word]
    assert not merge_refined(f"a cat {word} a dog", f"A cat {word} a big dog").notes


# Locked phrases


def test_a_locked_phrase_that_is_there_is_left_alone() -> None:
    merged = merge_refined("x", "A woman in a RED scarf", keep=["red scarf", "  "])
    assert merged.prompt == "A woman in a RED scarf"
    assert merged.notes == []


def test_a_locked_phrase_that_is_missing_is_added() -> None:
    merged = merge_refined("x", "A woman in snow", keep=["red scarf", "oil painting"])
    assert merged.prompt == "A woman in snow, red scarf, oil painting"
    assert "red scarf" in merged.notes[0]


def test_a_locked_phrase_under_a_weight_is_there() -> None:
    merged = merge_refined("(red scarf:1.3)", "A red scarf in snow", keep=["red scarf in snow"])
    assert merged.prompt == "A (red scarf:1.3) in snow"


def test_locked_phrases_may_hold_syntax_and_marks() -> None:
    keep = [
        "(red scarf:1.3)",
        "dog (brown)",
        'a sign that says "**OPEN**"',
        "smile :)",
        "by <lora:a:1> and (b:1.2)",
    ]
    merged = merge_refined("x", "A red scarf on a dog (brown)", keep=keep)
    assert merged.prompt.startswith("A (red scarf:1.3) on a dog (brown)")
    assert 'a sign that says "**OPEN**", smile :\\), by <lora:a:1> and (b:1.2)' in merged.prompt
    assert merge_refined("x", merged.prompt, keep=keep).prompt == merged.prompt


# The critic's formatting


@pytest.mark.parametrize(
    "refined",
    [
        "A cat on a mat.",
        '"A cat on a mat."',
        "“A cat on a mat.”",
        "**Refined Request:** A cat on a mat.",
        "## Refined Request:\nA cat on a mat.",
        "Refined prompt: 'A cat on a mat.'",
        '"Refined Request: A cat on a mat."',
        "Sure! Here is the refined prompt:\n\nA cat on a mat.",
        "```\nA cat on a mat.\n```",
        "Here you are:\n```text\nA cat on a mat.\n```\nI changed the mat.",
        "A cat\non a mat.",
        "A **cat** on a *mat*.",
        "A __cat__ on a `mat`.",
        "- A cat on a mat.",
        "> A cat on a mat.",
        "A cat on a mat.\n\nNote: I kept the cat.",
        "A cat on a mat.\n\n---\nThis refined request adds a mat.",
        "A cat on a mat.\n\nNegative prompt: blurry",
        "A cat on a mat.\r\n",
        "A\tcat\x00 on a mat.",
        "A cat on a mat.<|im_end|>",
    ],
)
def test_formatting_is_cleaned(refined: str) -> None:
    assert merge_refined("cat", refined).prompt == "A cat on a mat."


def test_a_list_becomes_one_line() -> None:
    assert merge_refined("x", "1. a cat\n2. a dog.\n3. snow").prompt == "a cat, a dog. snow"
    assert merge_refined("x", "A picture of:\n- a cat\n- a dog").prompt == "A picture of: a cat, a dog"


def test_quotes_inside_are_kept() -> None:
    text = '"Open" is on the sign, beside it "Closed"'
    assert merge_refined("x", text).prompt == text


@pytest.mark.parametrize(
    "refined",
    ["", "  \n", "``````", '""', "**Refined Request:**", "()", "\\(\\)", "...", "{}", "(((", "- ()"],
)
def test_an_empty_refined_request_keeps_the_original(refined: str) -> None:
    original = "  a (cat:1.2\n"
    merged = merge_refined(original, refined, keep=["dog"])
    assert merged.prompt == original
    assert len(merged.notes) == 1


def test_the_same_prompt_is_left_alone() -> None:
    original = "a (cat:1.2\n {a|b}"
    assert merge_refined(original, original, keep=["dog"]).prompt == original


# Whatever is written

WORDS = st.sampled_from(["red scarf", "snow", "a cat", "film grain", "猫", "wooden door", "Straße"])
NUMBERS = st.sampled_from(["1.2", "0.8", "1", "1.35"])
PLAIN_WEIGHT = (
    st.builds("({}:{})".format, WORDS, NUMBERS)
    | st.builds("(({}))".format, WORDS)
    | st.builds("({})".format, WORDS)
)
PIECES = st.one_of(
    PLAIN_WEIGHT,
    st.builds("({} {}:{})".format, PLAIN_WEIGHT, WORDS, NUMBERS),
    st.builds("(embedding:{}:{})".format, st.sampled_from(["good", "bad-hands"]), NUMBERS),
    st.sampled_from(
        ["embedding:good", "embedding:bad-hands:1.1", "<lora:a b:0.8>", "<lyco:x:1>", "__hair__", "__a/b-c__"]
    ),
    st.builds("{{{}|{}}}".format, WORDS, WORDS),
    st.builds("{{2$${}|{}|x}}".format, WORDS, WORDS),
)
ORIGINALS = st.lists(PIECES | WORDS, max_size=6).map(", ".join)
SIGNS = ["\\(", "\\)", "BREAK", "embedding:", ":1.2)", "Note: ", "- ", "**", "__", "\n", "$$"]
NOISE = st.sampled_from([*"(){}[]<>|:\\\"'*_`#,. ", *SIGNS])
TEXTS = st.lists(PIECES | WORDS | NOISE | st.text(max_size=3), max_size=12).map("".join)
HARD = settings(max_examples=200, derandomize=True, deadline=None)


@HARD
@given(pieces=st.lists(PIECES, max_size=5), refined=TEXTS)
def test_every_piece_of_the_original_is_in_the_result(pieces: list[str], refined: str) -> None:
    prompt = merge_refined(", ".join(pieces), refined).prompt
    assert [piece for piece in pieces if piece not in prompt] == []


@HARD
@given(original=ORIGINALS, refined=TEXTS)
def test_only_the_artists_weights_are_weights(original: str, refined: str) -> None:
    prompt = merge_refined(original, refined).prompt
    depth = 0
    for char in unescaped_parentheses(prompt):
        depth += 1 if char == "(" else -1
        assert depth >= 0
    assert depth == 0
    assert weighted(prompt) == weighted(original)


@HARD
@given(original=ORIGINALS, refined=TEXTS, keep=st.lists(WORDS | PLAIN_WEIGHT, max_size=3))
def test_every_locked_phrase_is_in_the_result(original: str, refined: str, keep: list[str]) -> None:
    merged = merge_refined(original, refined, keep)
    # Nothing was rewritten.
    if merged.prompt == original:
        return
    words = "".join(text for text, _ in read_weights(merged.prompt)).casefold()
    for phrase in keep:
        assert phrase in merged.prompt if phrase.startswith("(") else phrase.casefold() in words


@HARD
@given(original=ORIGINALS | TEXTS, refined=TEXTS, keep=st.lists(WORDS | TEXTS, max_size=2))
def test_merging_again_changes_nothing(original: str, refined: str, keep: list[str]) -> None:
    once = merge_refined(original, refined, keep).prompt
    assert merge_refined(original, once, keep).prompt == once


@HARD
@given(original=st.text(), refined=st.text(), keep=st.lists(st.text(), max_size=2))
def test_no_text_raises(original: str, refined: str, keep: list[str]) -> None:
    merged = merge_refined(original, refined, keep)
    assert isinstance(merged.prompt, str)
    assert all(note and "\n" not in note for note in merged.notes)


@pytest.mark.parametrize(
    "piece",
    [
        "a red scarf, ",
        "(",
        ")",
        "(a)",
        "(scarf:1.2) ",
        "{",
        "{a|b}",
        "<a:",
        "__",
        "__a",
        "embedding:",
        "*a ",
        "\\",
        "'a",
        "a\n",
        "- ",
        "```\n",
    ],
)
def test_long_prompts_take_linear_time(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        start = time.perf_counter()
        merge_refined(text, "A woman with a scarf", keep=["blue sky"])
        merge_refined("a (red scarf:1.2)", text, keep=["blue sky"])
        return time.perf_counter() - start

    assert seconds(20_000) < max(1.0, 40 * seconds(2_000))
