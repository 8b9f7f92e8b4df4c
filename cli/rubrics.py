"""`rubric list`, `rubric show` and `rubric add`."""

from __future__ import annotations

import argparse
from typing import Any

from ..models import paths
from ..models.files import user_path


def add_commands(commands: Any) -> None:
    """Add the commands for rubrics."""
    actions = commands.add_parser("rubric", help="list, show or add rubrics").add_subparsers(
        required=True, metavar="action"
    )
    actions.add_parser("list", help="names of all rubrics").set_defaults(run=run_list)
    show = actions.add_parser("show", help="what a rubric asks")
    show.add_argument("name", help="name of the rubric")
    show.set_defaults(run=run_show)
    add = actions.add_parser(
        "add", help="validate a rubric file (YAML, or a text with somebody's exact wording) and add it"
    )
    add.add_argument("file", help="the file")
    add.add_argument("--name", help="name in the list; default: the file's")
    add.add_argument("--task", choices=["t2i", "edit"], help="default: worked out from the text")
    add.set_defaults(run=run_add)


def run_list(parsed: argparse.Namespace) -> int:
    """`rubric list`."""
    from ..models.rubrics.rubric import list_rubrics, load_rubric

    folders = paths.rubric_folders()
    for name in (*list_rubrics(folders), *list_rubrics(folders, pair=True)):
        print(f"{name:24} {load_rubric(name, folders).title}")
    return 0


def run_show(parsed: argparse.Namespace) -> int:
    """`rubric show NAME`: the messages as the critic gets them."""
    from ..models.rubrics.rubric import load_rubric

    for message in load_rubric(parsed.name, paths.rubric_folders()).messages("{prompt}"):
        print(f"[{message['role']}]")
        for part in message["content"]:
            print(part["text"] if part["type"] == "text" else f"<{part['image']}>")
    return 0


def run_add(parsed: argparse.Namespace) -> int:
    """`rubric add FILE`."""
    from ..models.rubrics.importing import import_rubric

    target = import_rubric(user_path(parsed.file), paths.rubric_folders()[0], parsed.name, parsed.task)
    print(f"Added as {target}")
    return 0
