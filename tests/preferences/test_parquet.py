"""Preferences to and from Parquet files, in the columns of the published sets."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from rational_rewards.models.engines.base import Progress
from rational_rewards.models.errors import CheckpointError, PreferenceError
from rational_rewards.preferences import parquet as exchange
from rational_rewards.preferences.dataset import PreferenceDataset
from rational_rewards.preferences.parquet import ImportReport, export_parquet, import_parquet
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


def picture(number: int, size: tuple[int, int] = (20, 12)) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    )


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, format="PNG")
    return file.getvalue()


A, B = png(1), png(2)


@pytest.fixture
def dataset(tmp_path):
    return PreferenceDataset(tmp_path / "my-taste")


@pytest.fixture
def write(tmp_path):
    """`write(column=[...], ...)`: a Parquet file with these columns."""

    def save(name: str = "votes.parquet", **columns) -> Path:
        parquet.write_table(pyarrow.table(columns), tmp_path / name)
        return tmp_path / name

    return save


def votes(*labels, a=A, b=B, **more):
    """The columns of a text-to-image file with a prompt of its own in every row."""
    count = len(labels)
    prompts = [f"prompt {number}" for number in range(count)]
    return {
        "prompt": prompts,
        "left_image": [a] * count,
        "right_image": [b] * count,
        "vote_type": list(labels),
        **more,
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


def preferred(dataset: PreferenceDataset) -> list[str]:
    return [pair.preferred for pair in dataset]


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


# ---------------------------------------------------------------- what others wrote


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        *((word, "A") for word in ("A", "a", " left ", "leftvote", "model_1", "A>B", "A > B", "b<a")),
        *((word, "B") for word in ("B", "RIGHT", "rightvote", "model_2", "B>A", "a<b")),
        *(
            (word, "tie")
            for word in ("tie", "draw", "equal", "tievote", "bothbad_vote", "A=B", "A=B=Good", "A=B=Bad")
        ),
    ],
)
def test_labels_are_read_in_every_published_spelling(write, dataset, label, meaning):
    import_parquet(write(**votes(label)), dataset)
    assert preferred(dataset) == [meaning]


CLASSES = ["A", "B", "tie"]


def with_classes(file, names):
    """The same file with the names of its label's classes in the schema, as Hugging Face `datasets` writes
    them.
    """
    table = parquet.read_table(file)
    features = {"vote_type": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(table.replace_schema_metadata(metadata), file)
    return file


@pytest.mark.parametrize(
    ("names", "numbers", "meaning"),
    [
        (CLASSES, (0, 1, 2), ["A", "B", "tie"]),
        (["tie", "model_a", "model_b"], (0, 1, 2), ["tie", "A", "B"]),
        (["leftvote", "rightvote", "tievote"], (1, 1, 0), ["B", "B", "A"]),
        ({"0": "B", "1": "A"}, (0, 1, 1), ["B", "A", "A"]),
    ],
)
def test_numbers_are_the_classes_that_the_file_names(write, dataset, names, numbers, meaning):
    import_parquet(with_classes(write(**votes(*numbers)), names), dataset)
    assert preferred(dataset) == meaning


def test_numbers_beside_a_missing_one_are_floats_and_still_classes(write, dataset):
    report = import_parquet(with_classes(write(**votes(1.0, float("nan"), 0.0, None)), CLASSES), dataset)
    assert preferred(dataset) == ["B", "A"]
    assert report.unread == {"there is no label": ["votes.parquet:2", "votes.parquet:4"]}


@pytest.mark.parametrize("labels", [(0, 1), (1, 2), (1.0, 2.0), (True, False), (-1, 1)])
def test_numbers_without_names_are_refused_before_anything_is_added(write, dataset, labels):
    """In one file 1 is the first image, in another the second: each guess would turn every preference
    round.
    """
    with pytest.raises(PreferenceError, match="does not say which image they stand for: write A, B or tie"):
        import_parquet(write(**votes(*labels)), dataset)
    assert len(dataset) == 0


@pytest.mark.parametrize("label", ["0", "1", "2", "1.0", "-1"])
def test_digits_as_text_are_no_label_either(write, dataset, label):
    report = import_parquet(write(**votes("A", label)), dataset)
    assert preferred(dataset) == ["A"]
    assert list(report.unread) == ["the label is a number, and the file does not say what it stands for"]


def test_a_number_outside_the_classes_is_not_read(write, dataset):
    report = import_parquet(with_classes(write(**votes(1, 7, -1)), CLASSES), dataset)
    assert preferred(dataset) == ["B"]
    assert len(report.unread) == 2


def test_dictionary_columns_are_read_by_their_words(write, dataset, tmp_path):
    file = write(**votes("A", "B", "tie"))
    table = parquet.read_table(file)
    index = table.schema.get_field_index("vote_type")
    parquet.write_table(table.set_column(index, "vote_type", table["vote_type"].dictionary_encode()), file)
    import_parquet(file, dataset)
    assert preferred(dataset) == ["A", "B", "tie"]


@pytest.mark.parametrize("label", ["chosen", "vote_type", "ranking"])
def test_the_label_column_may_have_the_name_of_another_set(write, dataset, label):
    columns = votes("A>B")
    columns[label] = columns.pop("vote_type")
    import_parquet(write(**columns), dataset)
    assert preferred(dataset) == ["A"]


@pytest.mark.parametrize(
    "cell",
    [
        lambda data: data,
        lambda data: {"bytes": data, "path": None},
        lambda data: [{"bytes": data, "path": "x.png"}],
        lambda data: [data],
    ],
    ids=["bytes", "Hugging Face", "list of Hugging Face", "list of bytes"],
)
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_picture_cells_are_read_in_every_form(write, dataset, layout, cell):
    columns = LAYOUTS[layout]
    values = {
        columns.prompt: ["make it red"],
        columns.image_a: [cell(A)],
        columns.image_b: [cell(B)],
        columns.label: ["A"],
    }
    if columns.source:
        values[columns.source] = [cell(png(3))]
    report = import_parquet(write(**values), dataset)
    assert (report.layouts, report.added) == ([layout], 1)
    (pair,) = dataset
    assert [Image.open(f).tobytes() for f in (pair.image_a, pair.image_b)] == [
        picture(1).tobytes(),
        picture(2).tobytes(),
    ]
    assert pair.task == ("edit" if columns.source else "t2i")


def test_mmrb2_rows_without_source_pictures_are_text_to_image(write, dataset):
    sources = pyarrow.array([[], None, [A]], pyarrow.list_(pyarrow.binary()))
    file = write(
        pair_id=["1", "2", "3"],
        prompt_text=["one", "two", "three"],
        prompt_images=sources,
        response_a_images=[[A]] * 3,
        response_b_images=[[B]] * 3,
        chosen=["A", "B", "tie"],
    )
    import_parquet(file, dataset)
    assert [(pair.task, pair.preferred) for pair in dataset] == [("t2i", "A"), ("t2i", "B"), ("edit", "tie")]


def test_a_picture_that_is_only_a_path_is_read_beside_the_file_and_nowhere_else(tmp_path, write, dataset):
    (tmp_path / "pictures").mkdir()
    picture(1).save(tmp_path / "pictures" / "a.png")
    secret = tmp_path.parent / f"{tmp_path.name}.png"
    picture(7).save(secret)
    paths = ["pictures/a.png", f"../{secret.name}", str(secret), "pictures/missing.png"]
    columns = votes("A", "A", "A", "A")
    columns["left_image"] = [{"bytes": None, "path": path} for path in paths]
    report = import_parquet(write(**columns), dataset)
    assert report.added == 1
    assert report.unread == {
        "image A is only a path, and that file is not beside the Parquet file": [
            f"votes.parquet:{row}" for row in (2, 3, 4)
        ]
    }


def test_a_photo_that_lies_on_its_side_is_turned_upright(write, dataset):
    file = io.BytesIO()
    exif = Image.Exif()
    # The camera was turned.
    exif[274] = 6
    picture(1, (20, 12)).save(file, format="PNG", exif=exif)
    import_parquet(write(**votes("A", a=file.getvalue())), dataset)
    assert Image.open(dataset.pairs()[0].image_a).size == (12, 20)


def test_a_folder_of_shards_is_imported_whole(tmp_path, write, dataset):
    write("part-0.parquet", **votes("leftvote", "rightvote"))
    write("part-1.parquet", **{**votes("tievote"), "prompt": ["another"]})
    report = import_parquet(tmp_path, dataset)
    assert (report.rows, report.added) == (3, 3)


# ---------------------------------------------------------------- what cannot be read


def test_rows_that_cannot_be_read_are_counted_with_the_reason(write, dataset):
    two = [[A], [A, B]]
    rows = [
        ("fine", [A], [B], "A", None),
        ("two pictures", [A, B], [B], "A", None),
        ("broken", [A[:80]], [B], "A", None),
        ("no picture", [A[:80]], [], "A", None),
        ("none", [A], [], "B", None),
        ("several", [A], [B], "A>B>C", None),
        (" ", [A], [B], "A", None),
        ("twins", [A], [A], "B", None),
        ("equal twins", [A], [A], "tie", None),
        ("two sources", [A], [B], "A", two[1]),
    ]
    prompts, first, second, labels, sources = (list(column) for column in zip(*rows, strict=True))
    sources = pyarrow.array(sources, pyarrow.list_(pyarrow.binary()))
    file = write(
        prompt_text=prompts,
        response_a_images=first,
        response_b_images=second,
        chosen=labels,
        prompt_images=sources,
    )
    report = import_parquet(file, dataset)
    assert (report.rows, report.added) == (10, 2)
    assert {reason: [row.split(":")[1] for row in where] for reason, where in report.unread.items()} == {
        "image A is 2 images where there can be one": ["2"],
        "image A is not an image that can be read": ["3", "4"],
        "image B is missing": ["5"],
        'the label "A>B>C" is not known': ["6"],
        "there is no prompt": ["7"],
        "image A and image B are the same image, yet one is preferred": ["8"],
        "the source image is 2 images where there can be one": ["10"],
    }
    assert [pair.prompt for pair in dataset] == ["fine", "equal twins"]
    assert (
        "- image A is not an image that can be read: 2 (votes.parquet:3, votes.parquet:4)" in report.to_text()
    )


def test_an_edit_without_its_source_is_not_taken_for_text_to_image(write, dataset):
    file = write(
        instruction=["make it red"],
        source_image=pyarrow.array([None], pyarrow.binary()),
        candidate_1=[A],
        candidate_2=[B],
        ranking=["A>B"],
    )
    assert list(import_parquet(file, dataset).unread) == ["the source image is missing"]


def test_a_long_list_of_lost_rows_is_shortened_in_the_text():
    report = ImportReport(["mmrb2"], 9, 0, 0, {"there is no label": [f"a:{number}" for number in range(9)]})
    assert report.to_text().splitlines()[1] == "- there is no label: 9 (a:0, a:1, a:2 and 6 more)"


def test_files_of_another_kind_are_refused_before_anything_is_added(tmp_path, write, dataset):
    with pytest.raises(
        PreferenceError, match=r"columns of this file \(colour, shape\) are those of no known"
    ):
        import_parquet(write(colour=["red"], shape=["cube"]), dataset)
    unlabelled = votes("A")
    del unlabelled["vote_type"]
    with pytest.raises(PreferenceError, match="genai-t2i file has no column `vote_type`"):
        import_parquet(write(**unlabelled), dataset)
    with pytest.raises(PreferenceError, match="lacks the columns candidate_1, candidate_2, instruction"):
        import_parquet(write(**votes("A"), source_image=[A]), dataset, "editreward")
    with pytest.raises(
        PreferenceError, match='"mmrb3" is no layout: choose mmrb2, genai-t2i, genai-edit, editreward'
    ):
        import_parquet(write(**votes("A")), dataset, "mmrb3")
    with pytest.raises(PreferenceError, match="There is no Parquet file at"):
        import_parquet(tmp_path / "missing.parquet", dataset)
    (tmp_path / "zz.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(PreferenceError, match=r"zz\.parquet cannot be read or written"):
        import_parquet(tmp_path / "zz.parquet", dataset)
    with pytest.raises(PreferenceError, match="cannot be read or written"):
        # votes.parquet in the same folder is fine.
        import_parquet(tmp_path, dataset)
    assert not dataset.folder.exists()


def test_without_pyarrow_one_sentence_says_how_to_get_it(tmp_path, dataset, monkeypatch):
    hidden = [folder for folder in sys.path if not (Path(folder) / "pyarrow").is_dir()]
    monkeypatch.setattr(sys, "path", hidden)
    with pytest.raises(
        CheckpointError, match=r"pyarrow is not installed: run .* -m pip install -U \"pyarrow>="
    ):
        import_parquet(tmp_path / "votes.parquet", dataset)


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
