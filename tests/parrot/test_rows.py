"""Training rows: what the student sees, what it should answer, and that both are exactly what the critic
reads and writes.
"""

from __future__ import annotations

import json

import pytest
import yaml
from scripted_teacher import judgement, rationale

from rational_rewards.demo.checkpoint import _rubric_texts, build_tokenizer
from rational_rewards.models.answers.grammar import SCORES, AnswerGrammar, GrammarState
from rational_rewards.models.answers.vocabulary import Vocabulary
from rational_rewards.models.answers.writing import format_score, normal_parts, with_winners, write_answer
from rational_rewards.models.errors import AnswerError, ParrotError
from rational_rewards.models.judgement import Comparison, Judgement
from rational_rewards.models.rubrics.rubric import load_rubric, rubric_for
from rational_rewards.parrot.export import export_llama_factory
from rational_rewards.parrot.order_swap import swap_letters
from rational_rewards.parrot.rows import (
    build_rows,
    make_row,
    row_messages,
    swapped_parts,
)

TEXTS = [
    "The cube is red.",
    "It keeps its edges, and\nthe light fits: 3 of 3 lamps",
    "Some ünïcode “quotes” and, (brackets)",
    "A cat",
]
RUBRICS = ["t2i", "edit", "t2i-pair", "edit-pair"]


@pytest.fixture(scope="module")
def vocabulary():
    # Knows " It" as one token, as Qwen's does.
    tokenizer = build_tokenizer([*_rubric_texts(), *(f" {text}" for text in TEXTS * 50)])
    return Vocabulary(tokenizer, len(tokenizer), [tokenizer.eos_token_id])


def some_parts(rubric, score="3.5", other="2.25"):
    parts = {item.key: TEXTS[i % 4] for i, item in enumerate(rubric.answer) if item.kind == "text"}
    for spec in rubric.dimensions:
        parts |= {f"{spec.key}.score": score, f"{spec.key}.score_a": score, f"{spec.key}.score_b": other}
        if spec.not_applicable:
            parts |= dict.fromkeys([f"{spec.key}.score", f"{spec.key}.score_a", f"{spec.key}.score_b"], "N/A")
    return with_winners(parts, rubric)


def followed(state, ids):
    """Feed a written answer's tokens to the locked form, which must allow every one; returns all tokens that
    it wrote.
    """
    out = list(state.forced())
    assert out == ids[: len(out)]
    while not state.done:
        token = ids[len(out)] if len(out) < len(ids) else next(iter(state.vocabulary.stop_ids))
        allowed = state.allowed()
        fits = token in allowed if isinstance(allowed, list) else not state.vocabulary.masks[allowed, token]
        assert fits, (state.section, state.vocabulary.bytes[token])
        out += state.push(token)
        out += state.forced()
        assert out == ids[: len(out)], state.section
    return out


@pytest.mark.parametrize("name", RUBRICS)
def test_a_written_answer_is_what_the_locked_form_writes_token_by_token(name, vocabulary):
    rubric = load_rubric(name)
    parts = some_parts(rubric)
    text = write_answer(rubric, parts)
    ids = vocabulary.encode(text)
    state = GrammarState(AnswerGrammar(rubric, vocabulary, 100_000), "refinement")
    assert followed(state, ids) == ids
    assert vocabulary.decode(ids) == text
    assert state.parts == {key: value for key, value in parts.items() if key in state.parts}
    assert {item.key for item in rubric.answer if item.key} == set(state.parts)


@pytest.mark.parametrize("name", RUBRICS)
def test_a_row_that_ends_with_its_last_word_lets_the_form_end_there(name, vocabulary):
    """Rows have no line end behind the last text; there the model ends its turn, and the form writes that
    line end itself.
    """
    rubric = load_rubric(name)
    text = write_answer(rubric, some_parts(rubric))
    ids = vocabulary.encode(text.rstrip("\n"))
    out = followed_to_the_end(GrammarState(AnswerGrammar(rubric, vocabulary, 100_000), "refinement"), ids)
    assert vocabulary.decode(out) == text


def followed_to_the_end(state, ids):
    out = list(state.forced())
    while not state.done:
        out += state.push(ids[len(out)] if len(out) < len(ids) else next(iter(state.vocabulary.stop_ids)))
        out += state.forced()
    return out


@pytest.mark.parametrize("name", RUBRICS)
def test_a_written_answer_reads_back_the_same(name):
    rubric = load_rubric(name)
    parts = some_parts(rubric)
    text = write_answer(rubric, parts)
    assert normal_parts(text, rubric) == {item.key: parts[item.key] for item in rubric.answer if item.key}
    read = (Comparison if rubric.pair else Judgement).parse(text, rubric=rubric)
    assert read.complete


def test_every_score_is_one_that_the_form_knows():
    assert {format_score(1 + n / 100) for n in range(301)} <= set(SCORES)
    assert format_score(10 / 3) == "3.33"


def test_damaged_answers_are_written_cleanly_or_not_at_all():
    rubric = rubric_for("t2i", False)
    messy = judgement("t2i", 3.5, "Good.\n\n\nBut dark.\x07").replace("## Score: 3.5", "**Score:** 3.50/4")
    assert "Good.\nBut dark.\n" in write_answer(rubric, normal_parts(messy, rubric))
    assert "## Score: 3.5\n" in write_answer(rubric, normal_parts(messy, rubric))
    with pytest.raises(AnswerError, match="summary"):
        write_answer(rubric, normal_parts(messy.replace("# Summary:", "# Something else:"), rubric))
    with pytest.raises(AnswerError, match=r"physical_quality\.score"):
        write_answer(rubric, some_parts(rubric) | {"physical_quality.score": "N/A"})


# ---------------------------------------------------------------- rows of records


def record(number=0, prompt="a red cube", edit=False, words="Image A keeps the cube that Image B lost."):
    images = {"a": f"pictures/{number}-a.png", "b": f"pictures/{number}-b.png"} | (
        {"source": "pictures/s.png"} if edit else {}
    )
    text = rationale("edit" if edit else "t2i", (3.5, 2.0), words)
    return {"id": f"p{number}", "prompt": prompt, "images": images, "preferred": "A", "rationale": text}


def alone(number=0, prompt="a red cube", edit=False):
    images = {"image": f"pictures/{number}-a.png"} | ({"source": "pictures/s.png"} if edit else {})
    text = judgement("edit" if edit else "t2i", 3.5)
    return {
        "id": f"p{number}",
        "letter": "A",
        "prompt": prompt,
        "images": images,
        "preferred": "A",
        "judgement": text,
    }


def built(tmp_path, pairs, judgements=(), **options):
    files = []
    for name, records in (("consistent.jsonl", pairs), ("pointwise.jsonl", judgements)):
        files.append(tmp_path / name)
        files[-1].write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    report = build_rows(
        files[0], files[1] if judgements else None, tmp_path / "rows", base=tmp_path, **options
    )
    read = [
        json.loads(line) for line in (tmp_path / "rows/rows.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return report, read


def test_pairs_come_in_both_orders_and_images_alone_with_a_refined_request(tmp_path):
    report, rows = built(tmp_path, [record(), record(1, edit=True)], [alone(), alone(1, edit=True)])
    assert (report.pairwise, report.pointwise, report.dropped) == (4, 2, {})
    assert [row["shown"] for row in rows] == ["AB", "BA", "AB", "BA", "A", "A"]
    first, mirrored = rows[:2]
    assert first["images"] == ["../pictures/0-a.png", "../pictures/0-b.png"]
    assert mirrored["images"] == first["images"][::-1]
    one, two = (Comparison.parse(row["messages"][-1]["content"]) for row in (first, mirrored))
    assert (one.totals, two.totals) == ((3.5, 2.0), (2.0, 3.5))
    assert "## Winner: Image A" in first["messages"][-1]["content"]
    assert "## Winner: Image B" in mirrored["messages"][-1]["content"]
    assert two.summary == "Image B keeps the cube that Image A lost."
    assert rows[2]["images"] == ["../pictures/s.png", "../pictures/1-a.png", "../pictures/1-b.png"]
    assert rows[3]["images"] == ["../pictures/s.png", "../pictures/1-b.png", "../pictures/1-a.png"]
    assert [m["role"] for m in rows[4]["messages"]] == ["system", "user", "assistant"]
    assert rows[4]["messages"][-1]["content"].endswith("A sharp red cube on a table.")


def test_questions_are_the_rubrics_own_with_no_preference_hint_or_reference(tmp_path):
    """Whichever image is preferred, the question of a row is the same, letter for letter, as the one that the
    critic asks.
    """
    pairs = [
        {**record(n, edit=edit), "preferred": label}
        for n, (edit, label) in enumerate((e, p) for e in (False, True) for p in "AB")
    ]
    _, rows = built(tmp_path, pairs, [alone(), alone(1, edit=True)])
    for row in rows:
        rubric = rubric_for(row["task"], row["kind"] == "pairwise")
        asked = [
            {
                **message,
                "content": [
                    part if part["type"] == "text" else {"type": "image"} for part in message["content"]
                ],
            }
            for message in rubric.messages("a red cube")
        ]
        shown = row_messages(row)[:-1]
        for message in shown:
            message["content"] = [
                part if part["type"] == "text" else {"type": "image"} for part in message["content"]
            ]
        assert shown == asked


@pytest.mark.parametrize(
    "prompt", ["<image>", "a <image> of <IMAGE><video> and <audio>", "{{answer}} <image>", "a cat"]
)
def test_marks_typed_by_a_user_never_shift_the_images(prompt):
    rubric = rubric_for("edit", True)
    images = {"source": "s.png", "a": "a.png", "b": "b.png"}
    row = make_row(rubric, prompt, images, f"It shows {prompt}.")
    contents = "".join(message["content"] for message in row["messages"])
    assert contents.count("<image>") == 3
    assert "<video>" not in contents
    parts = row_messages(row)[0]["content"]
    assert [part["image"] for part in parts if part["type"] == "image"] == ["s.png", "a.png", "b.png"]
    before = {part["image"]: parts[i - 1]["text"] for i, part in enumerate(parts) if part["type"] == "image"}
    assert before["s.png"].endswith("Source Image:")
    assert before["b.png"] == "- Edited Image B:"


def test_a_row_with_too_few_marks_is_refused():
    row = {"id": "p1", "messages": [{"role": "user", "content": "no mark"}], "images": ["a.png"]}
    with pytest.raises(ParrotError, match="0 marks for 1 pictures"):
        row_messages(row)


def test_what_cannot_be_mirrored_keeps_its_first_order_and_is_counted(tmp_path):
    report, rows = built(
        tmp_path, [record(words="The first image is better."), record(1), {**record(2), "rationale": "Hm."}]
    )
    assert [(row["id"], row["shown"]) for row in rows] == [("p0", "AB"), ("p1", "AB"), ("p1", "BA")]
    assert report.dropped == {"cannot be mirrored safely": 1, "incomplete": 1}


def test_winners_follow_the_scores_and_not_what_was_written():
    rubric = rubric_for("t2i", True)
    text = rationale("t2i", (3.5, 2.0)).replace("## Winner: Image A", "## Winner: Image B")
    assert normal_parts(text, rubric)["text_faithfulness.winner"] == "Image A"
    mirrored = swapped_parts(normal_parts(text, rubric), rubric, "")
    assert mirrored is not None
    assert mirrored["text_faithfulness.winner"] == "Image B"


# ---------------------------------------------------------------- words with A and B


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Image A shows a cat. Image B is blurred.", "Image B shows a cat. Image A is blurred."),
        ("A is sharper than B.", "B is sharper than A."),
        ("A cat is missing in B.", "A cat is missing in A."),
        ("A clearly visible flaw spoils Image B.", "A clearly visible flaw spoils Image A."),
        ("A clearly wins; B does not.", "B clearly wins; A does not."),
        (
            "Images A and B both show it; A's fur is better.",
            "Images B and A both show it; B's fur is better.",
        ),
        ("Both A and B fail.", "Both B and A fail."),
        ("Image A (3.5) beats B (2.0).", "Image B (3.5) beats A (2.0)."),
        ("In A, the cat is gone, while B keeps it.", "In B, the cat is gone, while A keeps it."),
        ("The image: A cat sits there.", "The image: A cat sits there."),
        ("Compared with B, A looks flat.", "Compared with A, B looks flat."),
        ("Edited Image A removed the hat.", "Edited Image B removed the hat."),
        ("A4 paper and a B-side in image B.", "A4 paper and a B-side in image A."),
        ("The letter B is missing in image A.", "The letter B is missing in image B."),
        ('The sign says "B" in Image A.', 'The sign says "B" in Image B.'),
        ("A: 3.0, B: 2.0", "B: 3.0, A: 2.0"),
        ("A red cube stands left of a blue one.", "A red cube stands left of a blue one."),
        ("The banana bread is sharp.", "The banana bread is sharp."),
        ("Winner: A", "Winner: B"),
    ],
)
def test_the_images_change_their_names_and_articles_stay(text, wanted):
    assert swap_letters(text) == wanted
    assert swap_letters(wanted) == text


# An article, or the name of an image.
@pytest.mark.parametrize(
    "text",
    [
        "The first image is better.",
        "the left image wins",
        "Take vitamin B.",
        "Plan B is on the poster of Image A.",
        '"A" is better.',
        "image b is darker",
        "A missed hat.",
        "The first is sharper than the second.",
        "The second one is worse.",
        "The first edited image is sharper.",
        "Image 1 is sharper than Image 2.",
        "Candidate two is worse.",
        "It is sharper than the latter.",
    ],
)
def test_texts_that_could_be_mirrored_wrongly_are_not_mirrored(text):
    assert swap_letters(text) is None


def test_the_prompt_stays_as_it_is_where_it_is_quoted():
    assert (
        swap_letters("a cat in A minor was asked for; B has it", "a cat in A minor")
        == "a cat in A minor was asked for; A has it"
    )
    assert swap_letters("Image A has the poster", "a poster that says Image A") is None
    assert swap_letters("Image A has the plan", "the plan B of a spy") is None


# ---------------------------------------------------------------- export


def test_the_export_names_the_rows_and_no_absolute_path(tmp_path):
    with pytest.raises(ParrotError, match="no training rows"):
        export_llama_factory(tmp_path)
    _, rows = built(tmp_path, [record()], [alone()])
    written = export_llama_factory(tmp_path / "rows", "taste")
    info = json.loads((tmp_path / "rows/dataset_info.json").read_text(encoding="utf-8"))["taste"]
    assert (tmp_path / "rows" / info["file_name"]).exists()
    assert all(info["columns"][column] in row for row in rows for column in ("messages", "images"))
    tags = info["tags"]
    roles = {message[tags["role_tag"]] for row in rows for message in row["messages"]}
    assert roles == {tags["user_tag"], tags["assistant_tag"], tags["system_tag"]}
    for file in written:
        assert str(tmp_path) not in file.read_text(encoding="utf-8")
    full, lora = (
        yaml.safe_load((tmp_path / f"rows/llama_factory_{kind}.yaml").read_text())
        for kind in ("full", "lora")
    )
    assert full["dataset"] == lora["dataset"] == "taste"
    assert (full["learning_rate"], full["warmup_ratio"], full["weight_decay"], full["num_train_epochs"]) == (
        1e-5,
        0.05,
        1e-6,
        3,
    )
    assert (full["cutoff_len"], full["image_max_pixels"], full["freeze_vision_tower"]) == (
        32768,
        802816,
        True,
    )
    assert (tmp_path / "rows" / full["deepspeed"]).exists()
    assert lora["finetuning_type"] == "lora"
