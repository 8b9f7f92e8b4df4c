"""Preferences from and to Parquet files in the layouts of MMRB2, GenAI-Bench (text to image, and edit) and
EditReward.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.engines.base import Progress
from ..models.errors import PreferenceError
from ..models.files import replacing
from .dataset import PreferenceDataset
from .pairs import PreferencePair
from .parquet_columns import (
    CHOSEN_BY,
    Layout,
    Unreadable,
    layout_named,
    read_image,
    read_label,
    read_text,
    recognise,
)

# A row group is written when its images reach this.
GROUP_BYTES = 64 << 20


@dataclass
class ImportReport:
    """What became of the rows: `rows` = `added` + `known` (recorded before with the same preference) + the
    unread ones.

    `unread` has, for each reason, the rows that could not be read, as "file:row" counted from 1.
    """

    layouts: list[str] = field(default_factory=list)
    rows: int = 0
    added: int = 0
    known: int = 0
    unread: dict[str, list[str]] = field(default_factory=dict)

    def to_text(self) -> str:
        """The report to read: a line for the sum, and one for each reason."""
        lost = sum(len(rows) for rows in self.unread.values())
        layouts = " and ".join(self.layouts) or "no"
        lines = [
            (
                f"{self.rows} rows in {layouts} layout: {self.added} added, {self.known} there already, "
                f"{lost} "
                f"not readable."
            )
        ]
        for reason, rows in sorted(self.unread.items(), key=lambda item: -len(item[1])):
            more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
            lines.append(f"- {reason}: {len(rows)} ({', '.join(rows[:3])}{more})")
        return "\n".join(lines)


def import_parquet(
    path: str | Path, dataset: PreferenceDataset, layout: str = "auto", progress: Progress | None = None
) -> ImportReport:
    """Add the preferences of a Parquet file, or of all Parquet files in a folder, to `dataset`.

    `layout` is one of `LAYOUTS`, or "auto" to tell by the columns. A row that was imported before adds
    nothing, so an import that was stopped is simply run again. Raises PreferenceError for a file that is no
    such Parquet file, before anything of it is added.
    """
    parquet = _pyarrow()
    progress = progress or Progress()
    report = ImportReport()
    files = _files(Path(path))
    with _explained(Path(path)):
        opened = [_open(parquet, file, layout) for file in files]
        total = sum(source.rows for source in opened)
        for source in opened:
            if source.layout.name not in report.layouts:
                report.layouts.append(source.layout.name)
            for number, row in enumerate(_rows(parquet, source), 1):
                progress.check()
                _add(row, source, dataset, report, number)
                progress.update(report.rows, total, source.file.name, "")
    return report


def export_parquet(
    dataset: PreferenceDataset, path: str | Path, layout: str, progress: Progress | None = None
) -> int:
    """Write the preferences that stand to a Parquet file; returns how many.

    The file appears when it is complete.

    Raises PreferenceError if there are none, or some for which the layout has no room: text to image in an
    edit layout, or edits in genai-t2i. mmrb2 holds both.
    """
    parquet = _pyarrow()
    import pyarrow

    progress = progress or Progress()
    target, columns, pairs = Path(path), layout_named(layout), dataset.pairs()
    if not pairs:
        raise PreferenceError(f"There is no preference in {dataset.folder} to export: record some first.")
    if homeless := [pair for pair in pairs if not columns.holds(pair.task)]:
        what = "image edits" if homeless[0].task == "edit" else "text to image"
        raise PreferenceError(
            f"{len(homeless)} of {len(pairs)} preferences are {what}, for which {layout} has no room: "
            f"export as mmrb2."
        )
    schema = _schema(columns)
    with _explained(target), replacing(target) as scratch, parquet.ParquetWriter(scratch, schema) as writer:
        for group in _groups(pairs, columns, progress):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
    return len(pairs)


# ---------------------------------------------------------------- reading


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise PreferenceError(
            f"There is no Parquet file at {path}: give a .parquet file, or a folder that has some."
        )
    return files


@dataclass(frozen=True)
class _Source:
    """A file with its layout, its label column with the names of its classes, and the number of its rows."""

    file: Path
    layout: Layout
    label: str
    classes: tuple[str, ...]
    rows: int


def _open(parquet: Any, file: Path, layout: str) -> _Source:
    """What a file holds. Raises PreferenceError for labels that are numbers without a meaning."""
    import pyarrow

    with parquet.ParquetFile(file) as opened:
        schema = opened.schema_arrow
        recognised, label = recognise(schema.names, layout)
        classes = _class_names(schema, label)
        kind = schema.field(label).type
        numbers = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
        if not classes and (numbers or pyarrow.types.is_boolean(kind)):
            raise PreferenceError(
                f"The labels in {file} are numbers ({kind}), and the file does not say which image they "
                f"stand for: "
                f"write A, B or tie into the column `{label}`."
            )
        return _Source(file, recognised, label, classes, opened.metadata.num_rows)


def _class_names(schema: Any, column: str) -> tuple[str, ...]:
    """The names of a ClassLabel column, as Hugging Face `datasets` writes them into the schema; () without
    any.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
        if isinstance(names, dict):
            # Older files have {"0": "A", ...}.
            names = [names[key] for key in sorted(names, key=int)]
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError):
        return ()


def _rows(parquet: Any, source: _Source) -> Iterator[dict[str, Any] | None]:
    """The rows of a file, one at a time; None for one with cells that Python cannot hold.

    In memory is what the file's writer put into one page of each column.
    """
    # Without these two, and with larger batches, pyarrow would hold several copies of complete row groups.
    with parquet.ParquetFile(source.file, pre_buffer=False, buffer_size=1 << 20) as opened:
        wanted = {source.layout.prompt, source.label, CHOSEN_BY, *source.layout.images}
        columns = [name for name in opened.schema_arrow.names if name in wanted]
        for batch in opened.iter_batches(batch_size=1, columns=columns, use_threads=False):
            try:
                yield from batch.to_pylist()
            except (ValueError, OverflowError):
                # Text that is no UTF-8, or a date that Python does not have.
                yield from [None] * batch.num_rows


def _add(
    row: dict[str, Any] | None, opened: _Source, dataset: PreferenceDataset, report: ImportReport, number: int
) -> None:
    """Add one row, or note why it cannot be read."""
    report.rows += 1
    layout, folder = opened.layout, opened.file.parent
    try:
        if row is None:
            raise Unreadable("a cell is no text in UTF-8")
        preferred = read_label(row.get(opened.label), opened.classes)
        prompt = read_text(row.get(layout.prompt))
        image_a = read_image(row.get(layout.image_a), "image A", folder)
        image_b = read_image(row.get(layout.image_b), "image B", folder)
        source = read_image(row.get(layout.source), "the source image", folder) if layout.source else None
        if image_a is None or image_b is None:
            raise Unreadable("image A is missing" if image_a is None else "image B is missing")
        if source is None and layout.source and not layout.lists:
            raise Unreadable("the source image is missing")
        if preferred != "tie" and image_a.size == image_b.size and image_a.tobytes() == image_b.tobytes():
            raise Unreadable("image A and image B are the same image, yet one is preferred")
    except Unreadable as reason:
        report.unread.setdefault(str(reason), []).append(f"{opened.file.name}:{number}")
        return
    if dataset.add(image_a, image_b, prompt, preferred, source, str(row.get(CHOSEN_BY) or "human")):
        report.added += 1
    else:
        report.known += 1


# ---------------------------------------------------------------- writing


def _groups(
    pairs: list[PreferencePair], layout: Layout, progress: Progress
) -> Iterator[list[dict[str, Any]]]:
    """The rows to write, in portions of about GROUP_BYTES."""
    group: list[dict[str, Any]] = []
    size = 0
    for number, pair in enumerate(pairs, 1):
        progress.check()
        row, weight = _row(pair, layout)
        group.append(row)
        size += weight
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
        progress.update(number, len(pairs), "", "")
    if group:
        yield group


def _row(pair: PreferencePair, layout: Layout) -> tuple[dict[str, Any], int]:
    """A row, and the bytes of its images. The files go in as they are: they are PNG already."""
    row: dict[str, Any] = {
        layout.prompt: pair.prompt,
        layout.label: layout.spelling[pair.preferred],
        CHOSEN_BY: pair.chosen_by,
    }
    row |= dict.fromkeys((*layout.models, *layout.empty), "")
    if layout.id:
        row[layout.id] = pair.id
    size = 0
    files = (*((pair.source,) if layout.source else ()), pair.image_a, pair.image_b)
    for column, file in zip(layout.images, files, strict=True):
        cells = [] if file is None else [{"bytes": _bytes(file), "path": file.name}]
        row[column] = cells if layout.lists else cells[0]
        size += sum(len(cell["bytes"]) for cell in cells)
    return row, size


def _bytes(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise PreferenceError(
            f"The image {image} of this dataset cannot be read ({error.strerror}): put it back, or delete "
            f"the lines that name it."
        ) from error


def _schema(layout: Layout) -> Any:
    """The Arrow schema, with the note by which Hugging Face `datasets` shows the image columns as images."""
    import pyarrow

    encoded = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    texts = [
        name
        for name in (layout.id, layout.prompt, layout.label, *layout.models, *layout.empty, CHOSEN_BY)
        if name
    ]
    fields = [(name, pyarrow.string()) for name in texts]
    fields += [(name, pyarrow.list_(encoded) if layout.lists else encoded) for name in layout.images]
    feature = {"_type": "Image"}
    features: dict[str, Any] = {name: {"dtype": "string", "_type": "Value"} for name in texts}
    features |= {name: [feature] if layout.lists else feature for name in layout.images}
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


# ---------------------------------------------------------------- pyarrow


def _pyarrow() -> Any:
    """pyarrow.parquet. Raises CheckpointError, with the command that installs it, if it is missing."""
    from ..models.libraries import require

    require("pyarrow", "14.0")
    import pyarrow.parquet

    return pyarrow.parquet


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what pyarrow and the file system raise into one sentence about `path`."""
    import pyarrow

    from ..models.libraries import short

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise PreferenceError(
            f"The Parquet file {path} cannot be read or written ({short(error)}): check it and the disk."
        ) from error
