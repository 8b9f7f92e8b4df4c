"""Adding rubrics: a rubric file is checked, and somebody's exact wording becomes a rubric."""

from __future__ import annotations

from pathlib import Path

import pytest
from rubric_format import EDIT, IMAGES, REFINEMENT, START, texts, write

from rational_rewards.models.errors import RubricError
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.importing import import_rubric
from rational_rewards.models.rubrics.rubric import load_rubric

# ---------------------------------------------------------------- adding a file


def test_a_rubric_file_is_checked_and_added(tmp_path: Path) -> None:
    file = write(tmp_path, "Wärme.yaml", "# mine\nextends: edit\nsystem: Sei höflich.\n")
    target = import_rubric(file, tmp_path / "rubrics")
    assert target.read_text(encoding="utf-8") == file.read_text(encoding="utf-8"), "comments stay"
    assert load_rubric("Wärme", [tmp_path / "rubrics"]).system == "Sei höflich."
    assert import_rubric(file, tmp_path / "rubrics", "warm", task="edit", pair=False).name == "warm.yaml"
    with pytest.raises(
        RubricError, match="is a rubric for one edited image and not for one image: change `task`"
    ):
        import_rubric(file, tmp_path / "rubrics", "cold", task="t2i")
    assert sorted(path.name for path in (tmp_path / "rubrics").iterdir()) == ["Wärme.yaml", "warm.yaml"]


def test_nothing_is_replaced_silently(tmp_path: Path) -> None:
    file = write(tmp_path, "t2i.yaml", "extends: edit\n")
    with pytest.raises(RubricError, match='"t2i" is a built-in rubric'):
        import_rubric(file, tmp_path / "rubrics")
    import_rubric(file, tmp_path / "rubrics", "t2i")
    with pytest.raises(RubricError, match='already is a rubric "t2i"'):
        import_rubric(file, tmp_path / "rubrics", "t2i")
    for name in ("a/b", "..", "a:b", "a\n", " a", "a.", "-"):
        with pytest.raises(RubricError, match="cannot be the name of a rubric"):
            import_rubric(file, tmp_path / "rubrics", name)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.json", "{}", "neither a rubric"),
        ("none.txt", None, "There is no file"),
        ("a.yaml", "task: [", "not valid YAML"),
        ("a.yaml", "task: t2i", "is not complete"),
        ("latin.txt", "Größe".encode("latin-1"), "save it as UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_nothing(
    tmp_path: Path, name: str, text: str | bytes | None, sentence: str
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RubricError, match=sentence):
        import_rubric(file, tmp_path / "rubrics")
    assert not (tmp_path / "rubrics").exists()


# ---------------------------------------------------------------- adding somebody's wording

LAYOUTS = {
    "t2i": """[system]
You grade pictures {{strictly}}. {"json": true}
[user]

Caption: {caption}
Picture: <image>

Rate it.
  Keep   these spaces. Literal {{dimensions}}, {{answer}}, {{{prompt_}}}, {x}, {}.

## How to look
1. Text Faithfulness: all that was asked for?
2. Colour & Light: pleasing?

Write this:
# User Request Analysis
[one paragraph]
# Detailed Judgement
1. Text Faithfulness:
## Justification: [evidence for Text Faithfulness]
## Score: [1.0-4.0]
2. Colour & Light:
## Justification: [evidence for Colour & Light]
## Score: [1.0-4.0, or N/A if black and white]
# Summary: [one line]
# User Request Refinement:
## Refinement Comments: [why]
## Refined Request: [the better caption]
""",
    "edit": """Source: <image>
Instruction: {instruction}
Result: <image>

# Detailed Judgement
1. Text Faithfulness:
## Score: 1-4
## Justification: why
2. Image Faithfulness:
## Score: 1-4
## Justification: why
3. Physical and Visual Quality:
## Score: 1-4
## Justification: why
4. Text Rendering:
## Score: 1-4, N/A without writing
## Justification: why
# Summary:
## Refined Request:
""",
    "t2i-pair": """{prompt}
First <image> second <image>
**1. Text Faithfulness**
**Reasoning:** [...]
**Score A:** [...]
**Score B:** [...]
**2. Mood**
**Reasoning:** [...]
**Score A:** [...]
**Score B:** [...]
# Summary
""",
    "edit-pair": """<image>{{prompt}}<image>
vs
<image>
### Text Faithfulness
#### Justification
#### Score A
#### Score B
#### Winner
### 氛围
#### Justification
#### Score A
#### Score B
#### Winner
""",
}
ADDED = {
    "t2i": (
        ["text_faithfulness", "colour_and_light"],
        [
            *START,
            *("1. Text Faithfulness:", "## Justification:", "## Score:"),
            *("2. Colour & Light:", "## Justification:", "## Score:"),
            *("# Summary:", *REFINEMENT),
        ],
    ),
    "edit": (
        ["text_faithfulness", "image_faithfulness", "physical_quality", "text_rendering"],
        ["# Detailed Judgement"]
        + [h for d in EDIT for h in (f"## {d}", "## Score:", "## Justification:")]
        + ["# Summary:", "## Refined Request:"],
    ),
    "t2i-pair": (
        ["text_faithfulness", "mood"],
        [h for d in ("1. Text Faithfulness", "2. Mood") for h in (d, "Reasoning:", "## Score A:", "Score B:")]
        + ["# Summary"],
    ),
    "edit-pair": (
        ["text_faithfulness", "dimension_2"],
        [
            f"{h}"
            for d in ("### Text Faithfulness", "### 氛围")
            for h in (d, "#### Justification", "#### Score A", "#### Score B", "#### Winner")
        ],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_somebodys_exact_wording_becomes_a_rubric(tmp_path: Path, layout: str) -> None:
    file = write(tmp_path, "their wording.txt", LAYOUTS[layout])
    target = import_rubric(file, tmp_path / "rubrics")
    rubric = load_rubric("their wording", [tmp_path / "rubrics"])
    assert target == tmp_path / "rubrics" / "their wording.yaml"
    assert (rubric.task, rubric.pair) == (layout.split("-")[0], "pair" in layout)
    assert [d.key for d in rubric.dimensions] == ADDED[layout][0]
    assert [item.heading for item in rubric.answer] == ADDED[layout][1]

    prompt = "a {{dimensions}} <image> cat"
    exact = LAYOUTS[layout]
    for place in ("{caption}", "{instruction}", "{{prompt}}", "{prompt}"):
        exact = exact.replace(place, "PROMPT")
    if "[user]" in exact:
        system, exact = exact.removeprefix("[system]\n").split("[user]\n")
        assert texts(rubric, prompt)[0] == system.strip("\n")
    for image in IMAGES[layout]:
        exact = (
            exact.replace("<image>", f"<{image}>", 1)
            if image != "image"
            else exact.replace("<image>", "<IMAGE>", 1)
        )
    asked = "".join(texts(rubric, "PROMPT")[1 if rubric.system else 0 :]).replace("<image>", "<IMAGE>")
    assert asked == exact.strip("\n"), "not one character of the wording is changed"
    assert [part.replace("PROMPT", prompt) for part in texts(rubric, "PROMPT")] == texts(rubric, prompt)


def test_details_of_a_wording(tmp_path: Path) -> None:
    import_rubric(write(tmp_path, "a.txt", LAYOUTS["t2i"]), tmp_path)
    rubric = load_rubric("a", [tmp_path])
    tokens = {item.key.rpartition(".")[2]: item.tokens for item in rubric.answer if item.kind == "text"}
    assert tokens == {
        "analysis": 256,
        "justification": 256,
        "summary": 256,
        "comments": 256,
        "refined_request": 512,
    }
    assert [d.key for d in rubric.dimensions if d.not_applicable] == ["colour_and_light"]
    assert [item.hint for item in rubric.answer if item.key.endswith("justification")] == [
        "[evidence for Text Faithfulness]",
        "[evidence for Colour & Light]",
    ]
    pair = load_rubric(
        import_rubric(write(tmp_path, "b.md", LAYOUTS["t2i-pair"]), tmp_path, "b").stem, [tmp_path]
    )
    assert {item.tokens for item in pair.answer if item.key.endswith("justification")} == {320}
    edit = load_rubric(import_rubric(write(tmp_path, "c.txt", LAYOUTS["edit"]), tmp_path).stem, [tmp_path])
    assert [d.key for d in edit.dimensions if d.not_applicable] == ["text_rendering"]
    answer = (
        "1. Text Faithfulness:\n## Score: 3\n## Justification: fine\n2. Image Faithfulness:\n## Score: 2.5\n"
    )
    assert [d.score for d in Judgement.parse(answer, rubric=edit).dimensions.values()] == [
        3.0,
        2.5,
        None,
        None,
    ]
    read = Comparison.parse(
        "**1. Text Faithfulness**\n**Reasoning:** B\n**Score A:** 2\n**Score B:** 4\n", rubric=pair
    )
    assert read.winner == "B"


@pytest.mark.parametrize("name", IMAGES)
def test_the_wording_of_a_built_in_rubric_gives_that_rubric(tmp_path: Path, name: str) -> None:
    built_in = load_rubric(name)
    text = "".join(
        f"[{message['role']}]\n"
        + "".join(part["text"] if part["type"] == "text" else "<image>" for part in message["content"])
        + "\n"
        for message in built_in.messages("{user_request}")
    )
    import_rubric(write(tmp_path, "copy.txt", text.replace("\n", "\r\n")), tmp_path)
    copy = load_rubric("copy", [tmp_path])
    assert copy.messages("a cat") == built_in.messages("a cat")
    assert [(i.heading, i.kind, i.key, i.part, i.hint, i.tokens) for i in copy.answer] == [
        (i.heading, i.kind, i.key, i.part, i.hint, i.tokens) for i in built_in.answer
    ]
    assert [bool(d.not_applicable) for d in copy.dimensions] == [
        bool(d.not_applicable) for d in built_in.dimensions
    ]


def test_task_and_pair_may_be_said(tmp_path: Path) -> None:
    file = write(tmp_path, "a.txt", LAYOUTS["edit"])
    assert load_rubric(import_rubric(file, tmp_path, task="edit", pair=False).stem, [tmp_path]).task == "edit"
    with pytest.raises(RubricError, match="shows <image> 2 times instead of 1"):
        import_rubric(file, tmp_path, "b", task="t2i", pair=False)
    with pytest.raises(RubricError, match='"Text Faithfulness" has no heading "Score A:"'):
        import_rubric(file, tmp_path, "b", pair=True)


GOOD = LAYOUTS["edit"]
WRONG = {
    "it does not say where the prompt stands": GOOD.replace("{instruction}", "it"),
    "in different ways ({instruction}, {prompt})": GOOD.replace("Source", "{prompt} Source"),
    "it shows <image> 0 times instead of 1 or 2 or 3": GOOD.replace("<image>", ""),
    "it shows <image> 4 times": GOOD + "<image><image>",
    "it shows no output format": GOOD.replace("## Score: 1-4", ""),
    '"Image Faithfulness" has no heading "Score:"': GOOD.replace(
        "2. Image Faithfulness:\n## Score: 1-4\n", "2. Image Faithfulness:\n"
    ),
    '"Text Rendering" has no heading "Score:"': GOOD.replace(
        "## Score: 1-4, N/A without writing\n## Justification: why\n", ""
    ),
    'the headings below "Image Faithfulness" are not those': GOOD.replace("why\n3.", "why\n## Winner:\n3."),
    '"Physical and Visual Quality" is number 5 instead of 3': GOOD.replace("3. Phys", "5. Phys"),
    "the lines [system] and [user] must stand once each": f"[system]\nx\n{GOOD}",
    "<image> must stand behind the line [user]": f"[system]\n<image>\n[user]\n{GOOD}",
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_a_wording_lacks_is_said_and_nothing_is_written(tmp_path: Path, sentence: str) -> None:
    file = write(tmp_path, "theirs.txt", WRONG[sentence])
    with pytest.raises(RubricError) as error:
        import_rubric(file, tmp_path / "rubrics")
    assert sentence in str(error.value)
    assert str(error.value).startswith("theirs.txt cannot be used as a rubric: ")
    assert not (tmp_path / "rubrics").exists()


def test_all_that_a_wording_lacks_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RubricError) as error:
        import_rubric(write(tmp_path, "empty.md", "Is it good?"), tmp_path)
    for part in ("not say where the prompt stands", "<image> 0 times", "no output format"):
        assert part in str(error.value)
