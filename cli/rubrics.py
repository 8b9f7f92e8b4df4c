"""`rubric`: list, show and add rubrics."""

from __future__ import annotations

import argparse

from ..models import paths
from .options import named, named_path, text
from .output import json_text, readable, readable_data, show


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `rubric` and its actions."""
    actions = commands.add_parser("rubric", help="list, show or add rubrics").add_subparsers(
        required=True, metavar="action"
    )
    actions.add_parser("list", help="names of all rubrics").set_defaults(run=rubric_list)
    shown = actions.add_parser("show", help="what a rubric asks")
    shown.add_argument("name", type=named, help="one that `rubric list` names")
    shown.add_argument("--prompt", type=text, default="{prompt}", help="the prompt that is asked about")
    shown.add_argument("--json", action="store_true", help="print the messages as they are sent, as JSON")
    shown.set_defaults(run=rubric_show)
    add = actions.add_parser(
        "add", help="validate a rubric file (YAML, or a text with somebody's exact wording) and add it"
    )
    add.add_argument("file", type=named_path, help="the rubric file: .yaml, .txt or .md")
    add.add_argument("--name", type=named, help="name in the list; default: the file's")
    add.add_argument(
        "--task",
        choices=["t2i", "edit"],
        help="text to image, or image edits; default: worked out from the text",
    )
    add.set_defaults(run=rubric_add)


def rubric_list(options: argparse.Namespace) -> int:
    """`rubric list`."""
    from ..models.rubrics.rubric import list_rubrics, load_rubric

    folders = paths.rubric_folders()
    for name in (*list_rubrics(folders), *list_rubrics(folders, pair=True)):
        show(readable(f"{name:24} {load_rubric(name, folders).title}"))
    return 0


def rubric_show(options: argparse.Namespace) -> int:
    """`rubric show NAME`: the messages as the critic gets them."""
    from ..models.rubrics.rubric import load_rubric

    messages = load_rubric(options.name, paths.rubric_folders()).messages(options.prompt)
    if options.json:
        show(json_text(readable_data(messages), _encoding()))
        return 0
    for message in messages:
        show(f"[{message['role']}]")
        for part in message["content"]:
            show(readable(part["text"] if part["type"] == "text" else f"<{part['image']}>"))
    return 0


def rubric_add(options: argparse.Namespace) -> int:
    """`rubric add FILE`."""
    from ..models.rubrics.importing import import_rubric

    target = import_rubric(options.file, paths.rubric_folders()[0], options.name, options.task)
    show(readable(f"Added as {target}"))
    return 0


def _encoding() -> str:
    import sys

    return sys.stdout.encoding or "utf-8"
