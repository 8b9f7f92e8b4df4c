"""What the shell says is in the words of the shell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from rational_rewards.cli.wording import in_shell_words

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("models", "preferences", "parrot", "training", "evaluation", "demo")
# Display names of nodes as they are in sentences, and inputs that are called otherwise in the shell.
CANVAS = re.compile(
    r"Load Critic|Rationalize Preferences|Train Critic Adapter|Evaluate Critic|Record Preference"
    r"|Refine Prompt|Critique Card|(?<=[a-z] )(Compare|Score|Critique)\b"
    r"|(?<![\w-])(max_pixels|max_new_tokens|source_image|refine_below|learning_rate)(?!\w)"
    r"|\b(dis)?connect\b|\bthe canvas\b|(quantization|adapter|mode) = "
)


def text_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def sentences():
    """Every text in a `raise`, and every constant of a module that reads like a sentence."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                constant = isinstance(node, ast.Assign) and text_of(node.value).endswith(".")
                if isinstance(node, ast.Raise) or constant:
                    inside = {id(part) for one in ast.walk(node) for part in getattr(one, "values", ())}
                    for part in (part for part in ast.walk(node) if isinstance(part, ast.expr)):
                        text = text_of(part)
                        if " " in text and id(part) not in inside:
                            yield f"{file.relative_to(ROOT)}:{part.lineno}", text


def test_no_error_names_a_node_or_an_input_in_the_shell():
    listed = list(sentences())
    assert len(listed) > 100
    named = [text for _, text in listed if CANVAS.search(text)]
    assert len(named) > 5, "there is something to translate"
    left = {place: in_shell_words(text) for place, text in listed if CANVAS.search(in_shell_words(text))}
    assert not left


@pytest.mark.parametrize(
    ("canvas", "shell"),
    [
        ("Lower max_pixels on Load Critic, or wait.", "Lower --max-pixels, or wait."),
        (
            "The answer was cut off twice: raise max_new_tokens.",
            "The answer was cut off twice: raise --max-new-tokens.",
        ),
        ("`source_image` is empty: give at least one.", "--source is empty: give at least one."),
        ('for edits: connect source_image, or choose "auto".', 'for edits: give --source, or choose "auto".'),
        ("for images: disconnect source_image.", "for images: leave out --source."),
        ("too large: choose quantization = none.", "too large: choose --quantization none."),
        ("record some with Record Preference first.", "import some with `parrot import` first."),
        ("no: choose mode = reasoned on Score.", "no: leave out --fast."),
        ("run Rationalize Preferences first.", "run `parrot rationalize` first."),
        (
            "Choose it as `adapter` on Load Critic; press R if the list does not show it yet.",
            "Judge with it by --adapter and its name.",
        ),
        ("Score by score. Compare it.", "Score by score. Compare it."),
        ("my_max_pixels and --max-pixels stay", "my_max_pixels and --max-pixels stay"),
    ],
)
def test_names_of_the_canvas_become_options_and_commands(canvas, shell):
    assert in_shell_words(canvas) == shell
    assert in_shell_words(shell) == shell
