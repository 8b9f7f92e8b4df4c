"""Preference datasets that others wrote as Parquet: their labels, their images, and what cannot be read."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
from parquet_rows import A, B, picture, png, preferred, votes
from PIL import Image

from rational_rewards.models.errors import CheckpointError, PreferenceError
from rational_rewards.preferences.parquet import ImportReport, import_parquet
from rational_rewards.preferences.parquet_columns import LAYOUTS

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
