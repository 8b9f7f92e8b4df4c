"""What a newcomer reads first: the README is in order, and what it links to is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.+)$", README, re.MULTILINE)


def test_a_picture_comes_before_the_first_heading() -> None:
    opening = README.partition("\n## ")[0]
    assert re.search(r"!\[[^\]]{40,}\]\(\S+\)", opening), (
        "with the critic's words for those who cannot see it"
    )


def test_install_comes_before_make() -> None:
    assert HEADINGS[0] == "Install"
    assert README.index("## Install") < README.index("make ")


def test_the_contents_list_names_every_heading_in_order() -> None:
    opening = README.partition("\n## ")[0]
    listed = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", opening)
    assert [name for name, _ in listed] == HEADINGS
    assert [anchor for _, anchor in listed] == [name.lower().replace(" ", "-") for name in HEADINGS]


def test_it_is_read_in_five_minutes() -> None:
    """At 240 words a minute; details belong into docs/, and each of its pages is linked."""
    assert len(README.split()) <= 1200
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in README, page.name


def test_every_link_to_a_file_leads_somewhere() -> None:
    for file in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_page_s_script_names_nodes_that_there_are() -> None:
    script = (ROOT / "web" / "main.js").read_text(encoding="utf-8")
    names = re.findall(r'"(\w+)"', script[script.index("const NODES") :].partition("]")[0])
    names += re.findall(r"`\$\{PACK\}(\w+)`", script)
    nodes = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "nodes").glob("*.py"))
    assert len(names) >= 5
    assert [name for name in names if f'"RationalRewards{name}"' not in nodes] == []
