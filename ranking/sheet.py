"""The contact sheet: one HTML file that holds all it shows, to be sorted by any column.

It loads nothing, and runs nothing but its own script: whatever a prompt, a file name or a critic wrote is
text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..models.files import replacing

HERE = Path(__file__).parent
NOT_READ = '<td class="number" data-value="">–</td>'
# In the words of the sheet.
SOURCES = {
    "this pack": "Save with Scores",
    "ComfyUI": "the ComfyUI graph in the file",
    "parameters": "the parameters in the file",
    "text file": "the text file beside the image",
    "given": "the command",
    "": "nowhere",
}


@dataclass(frozen=True)
class Entry:
    """An image on the sheet.

    `thumbnail` is a JPEG as base64, `link` leads to the file ("" for none), `judgement` is
    `Judgement.to_dict()`; with an `error` it is empty. `source` is one of SOURCES, or words of its own.
    """

    rank: int | None
    name: str
    link: str
    thumbnail: str
    prompt: str
    source: str
    quality_alone: bool
    judgement: Mapping[str, Any]
    error: str = ""


def write_sheet(
    target: Path,
    title: str,
    facts: Mapping[str, str],
    dimensions: Mapping[str, str],
    entries: Iterable[Entry],
) -> None:
    """Write the sheet, image by image; `dimensions` are the names by key. Raises OSError."""
    with (
        replacing(target) as scratch,
        scratch.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.write(_head(title, facts, dimensions))
        for position, entry in enumerate(entries):
            file.write(_image(entry, dimensions, position))
        file.write(_foot())


def _head(title: str, facts: Mapping[str, str], dimensions: Mapping[str, str]) -> str:
    known = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items()
    )
    columns = [
        ("Rank", "1"),
        ("Image", "1"),
        ("Score", "-1"),
        *((name, "-1") for name in dimensions.values()),
    ]
    heads = "".join(
        f'<th scope="col"{_sorted(place)}><button type="button" data-column="{place}" data-first="{first}">'
        f"{escape(name)}<span></span></button></th>"
        for place, (name, first) in enumerate(columns)
    )
    prompt = f'<button type="button" data-column="{len(columns)}" data-first="1">Prompt<span></span></button>'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{_part("sheet.css")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<dl>{known}</dl>
<p class="tools"><button type="button" id="open">Open all reasons</button>
<span id="said" role="status"></span></p>
</header>
<main>
<table>
<thead><tr>{heads}<th scope="col" class="prompt">{prompt}</th></tr></thead>
"""


def _sorted(place: int) -> str:
    return ' aria-sort="ascending"' if place == 0 else ""


def _foot() -> str:
    return f"</table>\n</main>\n<script>{_part('sheet.js')}</script>\n</body>\n</html>\n"


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _policy() -> str:
    """Only this script, whatever else may find its way into the page."""
    digest = base64.b64encode(hashlib.sha256(_part("sheet.js").encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _image(entry: Entry, dimensions: Mapping[str, str], position: int) -> str:
    """One image: a row of numbers, and one that opens for the reasons."""
    given = entry.judgement.get("dimensions", {})
    overall = entry.judgement.get("score")
    # On the scale of the dimensions, so that all bars of a row can be compared.
    cells = [_score(overall, None if overall is None else 1 + 3 * overall, 2)]
    cells += [NOT_READ if entry.error else _dimension(given.get(key)) for key in dimensions]
    rank = "–" if entry.rank is None else str(entry.rank)
    alone = entry.quality_alone and not entry.error
    mark = '<span class="alone">quality alone</span>' if alone else ""
    nothing = "–" if entry.error else "<i>no prompt</i>"
    # A failed image comes last, however often the sheet is sorted.
    order = position if entry.rank is not None else ""
    return (
        f"<tbody{' class=failed' if entry.error else ''}><tr>"
        f'<td data-value="{order}" class="rank">{rank}</td>'
        f'<th scope="row" data-value="{escape(entry.name.casefold())}">{_named(entry)}{mark}</th>'
        f'{"".join(cells)}<td class="prompt" data-value="{escape(entry.prompt.casefold()[:200])}">'
        f"<p>{escape(entry.prompt) or nothing}</p></td></tr>\n"
        f'<tr class="why"><td colspan="{len(cells) + 3}">{_reasons(entry)}</td></tr></tbody>\n'
    )


def _named(entry: Entry) -> str:
    image = '<span class="none"></span>'
    if entry.thumbnail:
        image = f'<img alt="" decoding="async" src="data:image/jpeg;base64,{escape(entry.thumbnail)}">'
    name = f"{image}<span>{escape(entry.name)}</span>"
    return f'<a href="{escape(entry.link)}">{name}</a>' if entry.link else f'<div class="name">{name}</div>'


def _dimension(one: Mapping[str, Any] | None) -> str:
    if one is None or not one["applicable"]:
        return '<td class="number" data-value="">N/A</td>'
    return _score(one["score"], one["score"], 1)


def _score(shown: float | None, level: float | None, digits: int) -> str:
    """A cell with a number and its bar, which is full at 4."""
    if shown is None or level is None:
        return NOT_READ
    share = min(max((level - 1) / 3, 0.0), 1.0)
    return (
        f'<td class="number" data-value="{shown:.9g}">{shown:.{digits}f}'
        f'<span class="bar level-{min(max(round(level), 1), 4)}" style="--full:{share:.0%}"></span></td>'
    )


def _reasons(entry: Entry) -> str:
    if entry.error:
        return f'<p class="error">{escape(entry.error)}</p>'
    judgement = entry.judgement
    parts = [
        f"<dt>{escape(one['name'])}</dt><dd>{escape(one['justification'])}</dd>" for one in _said(judgement)
    ]
    parts += [f"<dt>Note</dt><dd>{escape(note)}</dd>" for note in judgement["notes"]]
    source = escape(SOURCES.get(entry.source, entry.source))
    parts.append(f'<dt>Prompt, from {source}</dt><dd class="full">{escape(entry.prompt) or "–"}</dd>')
    line = judgement["summary"] or next((one["justification"] for one in _said(judgement)), "") or "Reasons"
    return f"<details><summary>{escape(line)}</summary><dl>{''.join(parts)}</dl></details>"


def _said(judgement: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (one for one in judgement["dimensions"].values() if one["justification"])
