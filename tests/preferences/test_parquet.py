"""Preferences to Parquet files and back, in the columns of the published sets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from parquet_rows import picture, preferred, votes
from PIL import Image

from rational_rewards.models.engines.base import Progress
from rational_rewards.models.errors import PreferenceError
from rational_rewards.preferences import parquet as exchange
from rational_rewards.preferences.dataset import PreferenceDataset
from rational_rewards.preferences.parquet import export_parquet, import_parquet
from rational_rewards.preferences.parquet_columns import LAYOUTS

COLUMNS = {
    "mmrb2": {"pair_id", "prompt_text", "prompt_images", "response_a_images", "response_b_images", "chosen"},
    "genai-t2i": {"prompt", "left_image", "right_image", "left_model", "right_model", "vote_type"},
    "genai-edit": {"instruct_prompt", "source_image", "left_output_image", "right_output_image", "vote_type"},
    "editreward": {
        "instruction",
        "source_image",
        "candidate_1",
        "candidate_2",
        "model_1",
        "model_2",
        "ranking",
    },
}
WRITTEN = {
    "mmrb2": ["A", "B", "tie"],
    "genai-t2i": ["leftvote", "rightvote", "tievote"],
    "genai-edit": ["leftvote", "rightvote", "tievote"],
    "editreward": ["A>B", "B>A", "A=B"],
}


def filled(folder: Path, edit: bool, text: bool = False) -> PreferenceDataset:
    """A dataset with an A, a B and a tie (and a text-to-image pair), one of them undone and one changed."""
    made = PreferenceDataset(folder)
    source = picture(9, (30, 10)) if edit else None
    made.record(picture(1), picture(2), "ein Mädchen im Schnee, 雪の庭 🌈", "A", source)
    made.record(picture(3), picture(4), "two\nlines", "A", source, chosen_by="tiny critic")
    made.record(picture(5), picture(6), "taken back", "A", source)
    made.undo()
    made.record(picture(3), picture(4), "two\nlines", "B", source, chosen_by="tiny critic")
    made.record(picture(2), picture(5), "a cube", "tie", source)
    if text:
        made.record(picture(2), picture(5), "no edit", "A")
    return made


def content(dataset: PreferenceDataset) -> list:
    """The pairs without their folder."""
    return [
        (p.id, p.prompt, p.preferred, p.chosen_by, p.task, [f.name for f in p.images.values()])
        for p in dataset
    ]


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_what_is_exported_comes_back_equal(tmp_path, dataset, layout):
    made = filled(tmp_path / "made", edit=layout != "genai-t2i", text=layout == "mmrb2")
    file = tmp_path / "out" / "preferences.parquet"
    assert export_parquet(made, file, layout) == len(made)
    table = parquet.read_table(file)
    assert COLUMNS[layout] <= set(table.column_names)
    assert table[LAYOUTS[layout].label].to_pylist()[:3] == [WRITTEN[layout][i] for i in (0, 1, 2)]
    report = import_parquet(file, dataset)
    assert (report.layouts, report.rows, report.added, report.unread) == ([layout], len(made), len(made), {})
    assert content(dataset) == content(made)
    for mine, theirs in zip(dataset, made, strict=True):
        assert Image.open(mine.image_a).tobytes() == Image.open(theirs.image_a).tobytes()
    assert [path.name for path in file.parent.iterdir()] == ["preferences.parquet"]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_the_same_file_twice_adds_nothing(tmp_path, dataset, layout):
    made = filled(tmp_path / "made", edit=layout != "genai-t2i")
    file = tmp_path / "preferences.parquet"
    export_parquet(made, file, layout)
    import_parquet(file, dataset, layout)
    before = dataset.file.read_bytes()
    assert (
        import_parquet(file, dataset, layout)
        .to_text()
        .startswith(f"3 rows in {layout} layout: 0 added, 3 there already")
    )
    assert dataset.file.read_bytes() == before
    assert import_parquet(file, made).added == 0


def test_an_exported_picture_column_is_marked_as_pictures_for_hugging_face(tmp_path):
    file = tmp_path / "preferences.parquet"
    export_parquet(filled(tmp_path / "made", edit=True), file, "mmrb2")
    schema = parquet.read_schema(file)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["response_a_images"] == [{"_type": "Image"}]
    assert set(features) == set(schema.names)
    cell = parquet.read_table(file)["response_a_images"].to_pylist()[0][0]
    assert Image.open(io.BytesIO(cell["bytes"])).tobytes() == picture(1).tobytes()
    assert cell["path"].endswith(".png")


def test_many_pictures_are_written_and_read_in_portions(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(exchange, "GROUP_BYTES", 3000)
    made = PreferenceDataset(tmp_path / "made")
    for number in range(40):
        made.record(picture(number), picture(number + 1), "noise", "A")
    file = tmp_path / "preferences.parquet"
    export_parquet(made, file, "genai-t2i")
    assert parquet.ParquetFile(file).num_row_groups > 10
    assert import_parquet(file, dataset).added == 40
    assert content(dataset) == content(made)


# ---------------------------------------------------------------- stopped, and changed since


class Stopped(Exception):
    pass


def test_a_stopped_import_goes_on_where_it_was(write, dataset):
    file = write(**votes(*["A", "B", "tie"] * 15))
    seen: list[tuple[float, int]] = []

    def check() -> None:
        if len(seen) == 20:
            raise Stopped

    progress = Progress(check, lambda done, total, section, tail: seen.append((done, total)))
    with pytest.raises(Stopped):
        import_parquet(file, dataset, progress=progress)
    assert seen == [(number, 45) for number in range(1, 21)]
    report = import_parquet(file, dataset)
    assert (report.added, report.known) == (25, 20)
    assert preferred(dataset) == ["A", "B", "tie"] * 15


def test_an_import_does_not_overrule_a_later_change_of_mind(write, dataset):
    file = write(**votes("leftvote"))
    import_parquet(file, dataset)
    dataset.record(picture(1), picture(2), "prompt 0", "B")
    assert import_parquet(file, dataset).known == 1
    assert preferred(dataset) == ["B"]


def test_a_file_that_contradicts_itself_settles_at_the_first_import(write, dataset):
    columns = votes("leftvote", "rightvote", "rightvote")
    columns["prompt"] = ["the same"] * 3
    file = write(**columns)
    report = import_parquet(file, dataset)
    assert (report.added, report.known) == (2, 1)
    assert import_parquet(file, dataset).added == 0
    assert preferred(dataset) == ["B"]


# ---------------------------------------------------------------- what a layout cannot hold


def test_a_layout_without_room_for_some_pairs_is_refused_and_no_file_appears(tmp_path):
    made = filled(tmp_path / "made", edit=True, text=True)
    with pytest.raises(
        PreferenceError,
        match="3 of 4 preferences are image edits, for which genai-t2i has no room: export as mmrb2",
    ):
        export_parquet(made, tmp_path / "out.parquet", "genai-t2i")
    with pytest.raises(
        PreferenceError, match="1 of 4 preferences are text to image, for which editreward has no room"
    ):
        export_parquet(made, tmp_path / "out.parquet", "editreward")
    with pytest.raises(PreferenceError, match=r"no preference in .* to export"):
        export_parquet(PreferenceDataset(tmp_path / "empty"), tmp_path / "out.parquet", "mmrb2")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_stopped_export_leaves_the_old_file_as_it_was(tmp_path):
    made = filled(tmp_path / "made", edit=False)
    file = tmp_path / "out.parquet"
    file.write_text("an older file")
    made.pairs()[2].image_b.unlink()
    with pytest.raises(PreferenceError, match=r"The image .*\.png of this dataset cannot be read"):
        export_parquet(made, file, "genai-t2i")
    assert file.read_text() == "an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out.parquet"]
