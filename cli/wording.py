"""Errors are written in the words of the canvas; this puts them into the words of the shell."""

from __future__ import annotations

import re

# Inputs of the nodes and the options of the same meaning.
OPTIONS = {
    "max_pixels": "--max-pixels",
    "max_new_tokens": "--max-new-tokens",
    "source_image": "--source",
    "refine_below": "--refine-below",
    "learning_rate": "--learning-rate",
    "both_orders": "--one-order",
    "keep_top": "--keep-top",
}
# Display names of the nodes and the commands of the same meaning.
COMMANDS = {
    "Rationalize Preferences": "`parrot rationalize`",
    "Train Critic Adapter": "`parrot train`",
    "Evaluate Critic": "`evaluate`",
    "Record Preference": "`parrot import`",
    "Refine Prompt": "`critique --refine`",
    "Critique Card": "`critique --card`",
    "Best of Batch": "`best`",
    "Critique": "`critique`",
    "Compare": "`compare`",
    "Score": "`score`",
}
# Whole turns of phrase, tried in this order before the single words.
PHRASES = (
    (r"\bchoose mode = reasoned on Score\b", "leave out --fast"),
    (r"\bset answer to (locked|free)\b", r"use --answer \1"),
    (r"\bQueue again to start the download\.", "Add --yes to start the download."),
    (
        r"Choose it as `adapter` on Load Critic; press R if the list does not show it yet\.",
        "Judge with it by --adapter and its name.",
    ),
    (r" on Load Critic\b", ""),
    (r"\ba critic from Load Critic\b", "a critic from a checkpoint"),
    (r"\bin Load Critic\b", "with --checkpoint"),
    (r"\bLoad Critic\b", "--checkpoint"),
    (r"\brecord (some|preferences|one)\b(?= with Record Preference)", r"import \1"),
    (r"\b(choose (?:one|it|another)) from the list\b", r"\1 from `checkpoints`"),
    (r"\bchoose the repository in the list again\b", "name the repository with --checkpoint again"),
    (r"\b(quantization|adapter|answer|method) = (\w+)", r"--\1 \2"),
    (r"\bdisconnect\b", "leave out"),
    (r"\bconnect\b", "give"),
)


def in_shell_words(sentence: str) -> str:
    """A sentence with options and commands where it names inputs and nodes.

    >>> in_shell_words("There is not enough memory: lower max_pixels on Load Critic.")
    'There is not enough memory: lower --max-pixels.'
    """
    for pattern, replacement in PHRASES:
        sentence = re.sub(pattern, replacement, sentence)
    for name, command in COMMANDS.items():
        # A node's name is capitalised within a sentence; at its start the same word is an ordinary one.
        sentence = re.sub(rf"(?<=[a-z,\"] ){name}\b", command, sentence)
    for name, option in OPTIONS.items():
        sentence = re.sub(rf"`?(?<![\w-]){name}(?!\w)`?", option, sentence)
    return sentence
