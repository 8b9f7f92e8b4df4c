"""What artists type survives Refine Prompt, letter by letter, or a note says what became of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rational_rewards.models.prompts.merge import MergedPrompt, merge_refined

REWRITE = "A quiet portrait of a friend in soft light."

TOKENS = [
    # Embeddings, in folders of Windows, too.
    r"embedding:SDXL\ac_neg1",
    r"embedding:styles\sub\ink.safetensors",
    "embedding: ink",
    # Wildcards as ImpactPack and Dynamic Prompts know them.
    "__hair+eyes__",
    "__hair colors__",
    "__~c__",
    "__@colors__",
    "__hair(red)__",
    "__outfit(color=red, size=big)__",
    "__${subject}__",
    r"__folder\name__",
    "3#__hair__",
    "__*/animals__",
    "__hair__style__",
    # Choices and variables.
    "{2$$red|blue|green}",
    "{2-3$$, $$a|b|c}",
    "{0.3::red|0.7::blue}",
    "${season=!{summer|winter}}",
    "${season:summer}",
    "{2$$__flavours__}",
    "{__hair__}",
    # Weights.
    "(🦊)",
    "(🦊:1.3)",
    "((red:1.3) scarf:0.8)",
    "(aspect ratio 16:9)",
    "(ratio 3:2:1.2)",
    r"(zelda \(series\):1.2)",
    # Prompt editing.
    "[cat:dog:0.5]",
    "[snow:0.3]",
    "[cow|horse]",
    "[red:[blue::0.7]:0.5]",
    "[(red:1.2):(blue:1.1):0.5]",
    "[cat:dog:SECOND_PASS]",
    "[before:during:after:0.3,0.7]",
    "[CUT:white cat:white]",
    "<lora:film grain:0.8:0.6>",
    "<lora:face:0.8:LBW=SD-IN:A=1;B=0.5>",
    "<random[2]:red|blue>",
    # The functions of prompt-control.
    "MASK(0 0.5, 0 1)",
    "STYLE(A1111, length+mean)",
    "TE(g = (dog:1.1))",
    "SHUFFLE()",
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "rest", ["", ", I <3 NY", ", sad face :(", ", a { in a window", ' saying "TAKE A BREAK"']
)
def test_every_token_survives_beside_anything(token: str, rest: str) -> None:
    original = f"a portrait, {token}{rest}, soft light"
    merged = merge_refined(original, REWRITE)
    assert token in merged.prompt
    assert merge_refined(original, merged.prompt).prompt == merged.prompt, "merging twice adds nothing"
    copied = merge_refined(original, f"A quiet portrait, {token}, softer light.")
    assert copied.prompt.count(token) == 1


@pytest.mark.parametrize(
    ("original", "refined", "expected"),
    [
        ("a sign, I <3 NY, (red:1.3) car", "A red car before a sign", "A (red:1.3) car before a sign"),
        (":( (blue scarf:1.2)", "A sad face, blue scarf", "A sad face, (blue scarf:1.2)"),
        (
            "(aspect ratio 16:9), a dog",
            "A large dog, aspect ratio 16:9, at dusk",
            "A large dog, (aspect ratio 16:9), at dusk",
        ),
    ],
)
def test_unpaired_brackets_and_ratios_mislead_nobody(original: str, refined: str, expected: str) -> None:
    assert merge_refined(original, refined).prompt == expected


@pytest.mark.parametrize("stray", ["I <3 NY", ":(", "a { there", "1 < 2", "((open"])
def test_break_is_found_beside_unpaired_brackets(stray: str) -> None:
    original = f"a red fox {stray} BREAK a dark forest"
    merged = merge_refined(original, "A red fox with bright eyes, in a dark forest with fog")
    assert merged.prompt == "A red fox with bright eyes, BREAK in a dark forest with fog"


def test_break_inside_quoted_text_is_a_word() -> None:
    original = 'a poster that says "TAKE A BREAK" on a wall'
    merged = merge_refined(original, 'A bright poster that says "TAKE A BREAK" on a brick wall')
    assert merged.prompt == 'A bright poster that says "TAKE A BREAK" on a brick wall'
    assert not any("BREAK" in note for note in merged.notes)


@pytest.mark.parametrize(
    ("original", "weight"),
    [
        ("a fox (hands > paws, soft fur:1.2) BREAK a forest", "(hands > paws, soft fur:1.2)"),
        ("a sleeping fox, (a } b, soft fur:1.2) BREAK a forest", "(a } b, soft fur:1.2)"),
    ],
)
def test_a_weight_with_an_unpaired_bracket_is_not_divided(original: str, weight: str) -> None:
    merged = merge_refined(original, "Green trees")
    assert merged.prompt == f"Green trees, BREAK {weight}"
    assert merge_refined(original, merged.prompt).prompt == merged.prompt


@pytest.mark.parametrize("rewrite", ["<b", "<3 of hearts", "I <3 foxes"])
def test_merging_adds_a_section_once_beside_an_unpaired_bracket(rewrite: str) -> None:
    original = "a fox BREAK a bench"
    once = merge_refined(original, rewrite).prompt
    assert once.count("BREAK") == 1
    assert merge_refined(original, once).prompt == once


def test_break_inside_quoted_text_ends_no_section() -> None:
    merged = merge_refined(
        'a poster that says "TAKE A BREAK" on a wall', "A poster on a brick wall, daylight"
    )
    assert merged.prompt == "A poster on a brick wall, daylight"
    assert merged.notes == []


@pytest.mark.parametrize(
    "words",
    [r"C:\temp\new", "*SALE*", "snake_case __init__", "a <b> c", "50% off | today", "#1 `best`", "A  B"],
)
@pytest.mark.parametrize("quotes", ['""', "“”"])
def test_text_to_be_rendered_is_left_alone(words: str, quotes: str) -> None:
    quoted = f"{quotes[0]}{words}{quotes[1]}"
    refined = f"A wooden sign that says {quoted} in the rain"
    merged = merge_refined("a sign", refined)
    assert merged.prompt == refined
    assert merge_refined("a sign", merged.prompt).prompt == refined


def test_what_would_be_syntax_in_quoted_text_is_made_plain() -> None:
    merged = merge_refined("a sign", 'A sign that says "OPEN (late)" and "<lora:made_up:1>" here')
    assert r'"OPEN \(late\)"' in merged.prompt
    assert "lora" not in merged.prompt


def test_a_prompt_that_is_all_in_quotes_or_brackets_is_unwrapped() -> None:
    for refined in ('"A fox in the snow"', "[A fox in the snow]", '**Refined prompt:** "A fox in the snow"'):
        assert merge_refined("a fox", refined).prompt == "A fox in the snow"


@pytest.mark.parametrize(
    "token", ["__hair colors__", "embedding: ink", "[CUT:white cat:white]", "TE(l=a cat)"]
)
def test_break_is_not_put_inside_syntax(token: str) -> None:
    original = f"a fox {token} BREAK a forest"
    merged = merge_refined(original, "Snow")
    assert token in merged.prompt
    assert merged.prompt.count("BREAK") == 1
    assert merge_refined(original, merged.prompt).prompt == merged.prompt


@pytest.mark.parametrize("phrase", ["soft light, a calm mood", "three cats (grey), one dog"])
def test_break_is_not_put_inside_a_locked_phrase(phrase: str) -> None:
    original = "a fox BREAK a forest BREAK a calm mood and one dog"
    merged = merge_refined(original, "A fox.", keep=[phrase])
    assert phrase in merged.prompt.replace("\\", "")
    assert merged.prompt.count("BREAK") == 2
    assert merge_refined(original, merged.prompt, keep=[phrase]).prompt == merged.prompt


def test_a_bracket_right_after_break_is_a_weight() -> None:
    merged = merge_refined("a fox BREAK(dark forest:1.2)", "A fox, near a dark forest")
    assert merged.prompt == "A fox, BREAK near a (dark forest:1.2)"


def test_a_list_of_a_json_prompt_is_no_prompt_editing() -> None:
    original = '{"objects": [{"count": 3}], "style": "__style__"}'
    refined = '{"objects": [{"count": 4}], "style": "__style__"}'
    assert merge_refined(original, refined).prompt == refined


def test_syntax_in_quoted_text_or_in_a_locked_phrase_is_there_already() -> None:
    original = 'a (red:1.2) sign that says "__slogan__"'
    refined = 'A tall (red:1.2) sign that says "__slogan__" at dusk'
    for keep in ([], ["(red:1.2) sign"], ["a tall (red:1.2) sign"], ['"__slogan__" at dusk']):
        assert merge_refined(original, refined, keep).prompt.casefold() == refined.casefold()


def test_an_and_that_is_lost_is_noted() -> None:
    merged = merge_refined("a cat AND a dog", "A cat beside a dog")
    assert any("AND" in note for note in merged.notes)
    assert not any("AND" in note for note in merge_refined("a cat AND a dog", "A cat AND a dog").notes)


# A grammar of prompts as people write them.

WORDS = st.sampled_from(
    ["a woman", "red scarf", "in the snow", "masterpiece", "8k", "film grain", "by night", "über"]
)
STRAY = st.sampled_from(["I <3 NY", ":(", ":)", "5 < 6", "a { b", "50%", "16:9", "rock'n'roll", "C:", "x_y"])
NUMBERS = st.sampled_from(["1.3", "0.8", ".5", "2"])
WEIGHTED = st.builds(lambda words, number: f"({words}:{number})", WORDS, NUMBERS)
NESTED = st.builds(lambda inner, number: f"({inner} and more:{number})", WEIGHTED, NUMBERS)
PIECES = st.sampled_from(TOKENS) | WEIGHTED | NESTED | st.builds(lambda words: f"(({words}))", WORDS)
QUOTED = st.sampled_from(['"TAKE A BREAK"', '"*SALE*"', "“a_b”", '"I <3 U"'])
PROSE = st.lists(WORDS | STRAY | QUOTED, min_size=1, max_size=5).map(", ".join)
CRITICS = [
    lambda text: text,
    lambda text: f"**Refined prompt:** {text}",
    lambda text: f'"{text}"',
    lambda text: f"- {text}\n- soft light",
    lambda text: f"{text}\n\nNote: this keeps everything.",
    lambda text: text.upper(),
    lambda text: re.sub(r"[()]", "", text),
    lambda text: text.replace("_", "\\_"),
]


@st.composite
def prompts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A prompt, and the pieces of syntax in it."""
    pieces = draw(st.lists(PIECES, max_size=4))
    texts = draw(st.lists(PROSE, min_size=len(pieces) + 1, max_size=len(pieces) + 1))
    mixed = [texts[0]]
    for piece, text in zip(pieces, texts[1:], strict=True):
        mixed += [piece, text]
    return ", ".join(mixed), pieces


def merged_by(original: str, rewrite: str, critic: int) -> MergedPrompt:
    return merge_refined(original, CRITICS[critic](rewrite))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(prompts(), PROSE | prompts().map(lambda prompt: prompt[0]), st.integers(0, len(CRITICS) - 1))
def test_every_piece_of_a_real_prompt_survives(
    prompt: tuple[str, list[str]], rewrite: str, critic: int
) -> None:
    original, pieces = prompt
    merged = merged_by(original, rewrite, critic)
    for piece in pieces:
        assert piece in merged.prompt, f"{piece} is lost, and the notes say {merged.notes}"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(prompts(), PROSE | prompts().map(lambda prompt: prompt[0]), st.integers(0, len(CRITICS) - 1))
def test_merging_a_real_prompt_twice_changes_nothing(
    prompt: tuple[str, list[str]], rewrite: str, critic: int
) -> None:
    once = merged_by(prompt[0], rewrite, critic).prompt
    assert merge_refined(prompt[0], once).prompt == once
