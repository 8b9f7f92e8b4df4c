"""What comes out: the ranking as CSV, JSON lines and a contact sheet, written line by line, and copies of the
best.
"""

from __future__ import annotations

import contextlib
import csv
import filecmp
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..models.characters import whole_characters
from ..models.files import replacing
from .journal import Journal
from .judging import Ranked
from .order import OVERALL, Placed, check_by, in_order
from .sheet import Entry, write_sheet

CSV_NAME, LINES_NAME, SHEET_NAME, JOURNAL_NAME = (
    "ranking.csv",
    "ranking.jsonl",
    "contact-sheet.html",
    "journal.jsonl",
)
# What a spreadsheet would take for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Ranking:
    """The order of a folder: `placed` best first, `failed` with their errors; `dimensions` has the names by
    key.
    """

    placed: Sequence[Placed[Ranked]]
    failed: Sequence[Ranked]
    dimensions: dict[str, str]
    critic: str
    by: str

    @property
    def quality_alone(self) -> int:
        """How many images were judged for their quality alone."""
        return sum(one.item.quality_alone for one in self.placed)


def rank(files: Sequence[Ranked], journal: Journal, critic: str, by: str = OVERALL) -> Ranking:
    """Put judged files in order, by the overall score or by a dimension's key. Raises QuestionError."""
    judged = [file for file in files if not file.error]
    dimensions: dict[str, str] = {}
    # In the order of the rubric, of which quality alone is a part.
    for file in sorted(judged, key=lambda file: file.quality_alone):
        for key, (name, _) in journal.kept[file.key].dimensions.items():
            dimensions.setdefault(key, name)
    if judged:
        check_by(by, dimensions)

    def value(file: Ranked) -> float | None:
        kept = journal.kept[file.key]
        return kept.score if by == OVERALL else kept.dimensions.get(by, ("", None))[1]

    # One dimension means the same whatever else was asked.
    placed = in_order(judged, value, lambda file: by == OVERALL and file.quality_alone)
    return Ranking(placed, [file for file in files if file.error], dimensions, critic, by)


def write_results(ranking: Ranking, journal: Journal, folder: Path, output: Path) -> None:
    """Write all three files into `output`, each complete or not at all. Raises OSError."""
    with replacing(output / CSV_NAME) as scratch, scratch.open("w", encoding="utf-8-sig", newline="") as file:
        for row in _csv_rows(ranking, journal):
            file.write(row)
    with replacing(output / LINES_NAME) as scratch, scratch.open("w", encoding="utf-8", newline="\n") as file:
        for entry in _lines(ranking, journal):
            file.write(whole_characters(json.dumps(entry, ensure_ascii=False)) + "\n")
    title = f"{folder.resolve().name or folder.resolve()}, best first"
    entries = _entries(ranking, journal, output)
    write_sheet(output / SHEET_NAME, title, _facts(ranking), ranking.dimensions, entries)


def summary(ranking: Ranking, journal: Journal, top: int) -> str:
    """The best `top` as lines to print, and what to know about the rest."""
    lines = [f"{'rank':>4}  score  image"]
    for one in ranking.placed[:top]:
        kept = journal.kept[one.item.key]
        value = kept.score if ranking.by == OVERALL else kept.dimensions.get(ranking.by, ("", None))[1]
        alone = "  (quality alone)" if one.item.quality_alone else ""
        shown = "    -" if value is None else f"{value:5.3f}"
        lines.append(f"{one.rank or '-':>4}  {shown}  {one.item.name}{alone}")
    lines += ["", *(f"{name}: {text}" for name, text in _facts(ranking).items())]
    return "\n".join(lines)


def copy_best(ranking: Ranking, top: int, target: Path) -> list[Path]:
    """Copy the best `top` files into a folder, their places in front of their names; nothing is overwritten.

    A copy that is there already is left as it is. Raises OSError.
    """
    target.mkdir(parents=True, exist_ok=True)
    width = len(str(min(top, len(ranking.placed))))
    return [
        _copied(one.item.path, target, f"{place:0{width}}_{one.item.path.stem}", one.item.path.suffix)
        for place, one in enumerate(ranking.placed[:top], 1)
    ]


def _copied(source: Path, folder: Path, stem: str, suffix: str) -> Path:
    scratch = folder / f".{secrets.token_hex(8)}.part"
    try:
        shutil.copy2(source, scratch)
        number = 1
        while True:
            name = f"{stem}{suffix}" if number == 1 else f"{stem} ({number}){suffix}"
            place = folder / name
            if place.is_file() and filecmp.cmp(scratch, place, shallow=False):
                return place
            with contextlib.suppress(FileExistsError):
                _put(scratch, place)
                return place
            number += 1
    finally:
        scratch.unlink(missing_ok=True)


def _put(scratch: Path, place: Path) -> None:
    """Give a file its name. Raises FileExistsError where it is taken: a rename would overwrite."""
    try:
        os.link(scratch, place)
    except FileExistsError:
        raise
    except OSError:
        # A disk that knows no links.
        with scratch.open("rb") as source, place.open("xb") as target:
            shutil.copyfileobj(source, target)
        shutil.copystat(scratch, place)


def _facts(ranking: Ranking) -> dict[str, str]:
    """What to know about a ranking, by its titles."""
    facts = {"Critic": ranking.critic, "Images": str(len(ranking.placed) + len(ranking.failed))}
    if ranking.by != OVERALL:
        facts["Ranked by"] = ranking.dimensions.get(ranking.by, ranking.by)
    if alone := ranking.quality_alone:
        apart = " They are ranked by themselves, behind the others." if ranking.by == OVERALL else ""
        facts["Quality alone"] = f"{alone} without a prompt, judged for quality alone.{apart}"
    if ranking.failed:
        facts["Failed"] = f"{len(ranking.failed)}, not ranked."
    return facts


def _csv_rows(ranking: Ranking, journal: Journal) -> Iterator[str]:
    def row(values: Iterable[Any]) -> str:
        text = io.StringIO()
        csv.writer(text).writerow([_cell(value) for value in values])
        return text.getvalue()

    names = ["rank", "image", "score", *ranking.dimensions, "confidence", "judged_for", "prompt"]
    yield row([*names, "prompt_from", "summary", "error"])
    for one in ranking.placed:
        file, kept = one.item, journal.kept[one.item.key]
        scores = [kept.dimensions.get(key, ("", None))[1] for key in ranking.dimensions]
        words = journal.read(file.key)["judgement"]["summary"]
        asked = [kept.confidence, judged_for(file.quality_alone), file.prompt, file.source]
        yield row([one.rank, file.name, kept.score, *scores, *asked, words, ""])
    for file in ranking.failed:
        nothing = [None] * (len(ranking.dimensions) + 2)
        yield row([None, file.name, *nothing, "", file.prompt, file.source, "", file.error])


def _cell(value: Any) -> Any:
    """A value as a spreadsheet may read it: numbers to six places, what starts like a formula quoted."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, str):
        # Bytes of a file name that are no text, too.
        value = value.encode("utf-8", "replace").decode("utf-8")
        return f"'{value}" if value.startswith(FORMULA) else value
    return value


def _lines(ranking: Ranking, journal: Journal) -> Iterator[dict[str, Any]]:
    for one in ranking.placed:
        file = one.item
        asked = {"prompt": file.prompt, "prompt_from": file.source}
        asked["judged_for"] = judged_for(file.quality_alone)
        judgement = journal.read(file.key)["judgement"]
        yield {"rank": one.rank, "image": file.name, **asked, "critic": ranking.critic, **judgement}
    for file in ranking.failed:
        asked = {"prompt": file.prompt, "prompt_from": file.source}
        yield {"rank": None, "image": file.name, **asked, "error": file.error}


def judged_for(quality_alone: bool) -> str:
    """What an image was judged for, in the words of all results."""
    return "quality alone" if quality_alone else "prompt"


def _entries(ranking: Ranking, journal: Journal, output: Path) -> Iterator[Entry]:
    for one in ranking.placed:
        line = journal.read(one.item.key)
        link = link_to(one.item.path, output)
        file = one.item
        asked = (file.prompt, file.source, file.quality_alone)
        yield Entry(one.rank, file.name, link, line["thumbnail"], *asked, line["judgement"])
    for file in ranking.failed:
        asked = (file.prompt, file.source, file.quality_alone)
        yield Entry(None, file.name, link_to(file.path, output), "", *asked, {}, file.error)


def link_to(path: Path, folder: Path) -> str:
    """A link from a page in `folder` to a file; never one that a browser could take for a scheme."""
    try:
        way = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        # Another drive.
        return path.resolve().as_uri()
    return "./" + quote(os.fsencode(way))
