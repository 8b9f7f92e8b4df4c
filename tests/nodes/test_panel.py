"""What a node hands to its panel: whole where it can be, cut where it must be, and always JSON that a
browser can read.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.models.judgement import ComparedDimension, Comparison, Dimension, Judgement
from rational_rewards.models.refine import RefinedPrompt
from rational_rewards.models.rubrics.rubric import rubric_for

PACK = Path(__file__).resolve().parent.parent.parent
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script> \u202eevil\u202c {braces} | % \x00 😀'


def load_panel():
    """nodes/panel.py by itself: the package around it needs ComfyUI, this module does not."""
    file = PACK / "nodes" / "panel.py"
    spec = importlib.util.spec_from_file_location("rational_rewards.nodes.panel", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


panel = load_panel()


def browser_reads(page):
    """What arrives in the browser: JSON as its standard knows it, without NaN."""
    return json.loads(json.dumps(page, allow_nan=False))


def judgement(**changes):
    dimensions = {
        "text_faithfulness": Dimension("Text Faithfulness", 3.5, True, "The fox is there.", 0.9),
        "text_rendering": Dimension("Text Rendering", None, False, "No writing was asked for."),
        "physical_quality": Dimension("Physical and Visual Quality", None, True, ""),
    }
    return Judgement(
        **{
            "dimensions": dimensions,
            "summary": "Good.",
            "raw": "# Summary: Good.",
            "notes": ["A note."],
            **changes,
        }
    )


def test_a_judgement_arrives_with_its_numbers_and_words():
    page = browser_reads(panel.judgement_page(judgement()))
    assert (page["score"], page["mean"], page["confidence"]) == (pytest.approx(2.5 / 3, abs=1e-4), 3.5, 0.9)
    assert page["summary"] == "Good."
    assert page["raw"] == "# Summary: Good."
    assert page["notes"] == ["A note."]
    assert [(d["key"], d["score"], d["applies"]) for d in page["dimensions"]] == [
        ("text_faithfulness", 3.5, True),
        ("text_rendering", None, False),
        ("physical_quality", None, True),
    ], "what does not apply and what could not be read are two things, and neither is a number"
    assert page["dimensions"][0]["why"] == "The fox is there."


def test_a_dimension_that_does_not_apply_never_brings_a_score():
    page = panel.judgement_page(judgement(dimensions={"x": Dimension("X", 2.0, applicable=False)}))
    assert page["dimensions"][0]["score"] is None


def test_a_comparison_arrives_with_winner_totals_and_both_sides():
    dimensions = {
        "a": ComparedDimension("One", 4.0, 2.0, True, "A is sharper."),
        "b": ComparedDimension("Two", 3.0, 3.0),
        "c": ComparedDimension("Three", None, None, False),
    }
    page = browser_reads(
        panel.comparison_page(Comparison(dimensions, consistent=True, summary="A.", raw="raw"))
    )
    assert page["winner"] == "A"
    assert page["totals"] == [3.5, 2.5]
    assert page["consistent"] is True
    assert [(d["a"], d["b"], d["applies"]) for d in page["dimensions"]] == [
        (4, 2, True),
        (3, 3, True),
        (None, None, False),
    ]


def test_a_comparison_that_could_not_be_read_has_no_winner():
    page = browser_reads(panel.comparison_page(Comparison({})))
    assert (page["winner"], page["totals"]) == (None, [None, None])


def test_prompts_arrive_whole_because_they_are_copied_from_the_panel():
    before, after = "red " * 20_000, "blue " * 20_000
    page = browser_reads(panel.refinement_page(before, RefinedPrompt(after, "c" * 9_000, True)))
    assert (page["before"], page["after"]) == (before, after)
    assert len(page["comments"]) == panel.LONGEST_TEXT


def test_long_answers_are_cut_and_say_so():
    words = "word " * 10_000
    many = {f"d{i}": Dimension("n" * 500, 2.0, True, words) for i in range(50)}
    page = panel.judgement_page(judgement(dimensions=many, summary=words, raw=words, notes=[words] * 20))
    assert len(page["dimensions"]) == panel.MOST_DIMENSIONS
    assert all(len(d["why"]) == panel.LONGEST_TEXT and d["why"].endswith("…") for d in page["dimensions"])
    assert len(page["raw"]) == panel.LONGEST_RAW
    assert len(page["notes"]) == panel.MOST_NOTES
    assert len(json.dumps(page)) < 400_000


def test_what_fits_exactly_is_not_cut():
    text = "x" * panel.LONGEST_TEXT
    assert panel.judgement_page(judgement(summary=text))["summary"] == text
    assert panel.judgement_page(judgement(summary=text + "x"))["summary"] == text[:-1] + "…"


def test_hostile_text_stays_the_text_it_is():
    dimensions = {HOSTILE: Dimension(HOSTILE, 1.0, True, HOSTILE)}
    page = browser_reads(panel.judgement_page(judgement(dimensions=dimensions, summary=HOSTILE, raw=HOSTILE)))
    assert (
        page["summary"]
        == page["raw"]
        == page["dimensions"][0]["why"]
        == page["dimensions"][0]["name"]
        == HOSTILE
    )


def test_halves_of_characters_arrive():
    """A model may write bytes that are no character; the message must not be lost with them."""
    page = browser_reads(panel.judgement_page(judgement(summary="a\ud83d b")))
    assert page["summary"] == "a\ud83d b"


@given(st.floats(allow_nan=True, allow_infinity=True) | st.none())
def test_numbers_are_on_their_scale_or_none(value):
    page = browser_reads(
        panel.judgement_page(judgement(dimensions={"x": Dimension("X", value, True, "", value)}))
    )
    score, confidence = page["dimensions"][0]["score"], page["confidence"]
    if value is None or not math.isfinite(value):
        assert score is None
        assert page["score"] is None
        assert confidence is None
    else:
        assert 1 <= score <= 4
        assert 0 <= page["score"] <= 1
        assert 0 <= confidence <= 1


def test_every_page_says_what_it_stands_for_and_whose_it_is():
    pages = [panel.judgement_page(judgement()), panel.judgement_page(judgement())]
    found = panel.ui(pages, ["the report"], "image", "RationalRewards-8B-T2I (nf4)", "b0a1")
    assert found["text"] == ["the report"]
    for page in browser_reads(found["rational_rewards"]):
        assert (page["of"], page["workflow"]) == ("image", "b0a1")
        assert page["critic"] == "RationalRewards-8B-T2I (nf4)"


def test_large_batches_are_cut_and_say_so():
    pages = [panel.judgement_page(judgement(notes=[])) for _ in range(panel.MOST_PAGES + 7)]
    found = panel.payload(pages, "image", "critic")
    assert len(found) == panel.MOST_PAGES
    assert found[-1]["notes"] == ["7 more are not shown here; the node's outputs have all of them."]
    assert not any(page["notes"] for page in found[:-1])
    assert pages[panel.MOST_PAGES - 1]["notes"] == [], "the pages that were given are not changed"


def test_pages_may_be_merged_as_a_round_of_a_loop_does():
    merged = panel.judgement_page(judgement()) | panel.refinement_page(
        "a fox", RefinedPrompt("a red fox", "Colour.", True)
    )
    (page,) = panel.payload([merged], "round", "critic")
    assert page["score"] is not None
    assert (page["before"], page["after"], page["comments"]) == ("a fox", "a red fox", "Colour.")


def test_no_pages_are_no_payload():
    assert panel.ui([], [], "image", "critic") == {"rational_rewards": [], "text": []}


# ---------------------------------------------------------------- the panel's words


def english():
    """The table of words in web/strings.js: key -> words."""
    table = (
        (PACK / "web" / "strings.js")
        .read_text(encoding="utf-8")
        .split("const ENGLISH = {")[1]
        .split("\n}")[0]
    )
    return dict(re.findall(r'^    (\w+): "(.*)",$', table, re.MULTILINE))


def test_the_panel_says_only_words_that_it_has():
    scripts = {file.name: file.read_text(encoding="utf-8") for file in (PACK / "web").glob("*.js")}
    said = {key for text in scripts.values() for key in re.findall(r'\bsay\("(\w+)"', text)}
    assert said <= set(english())
    for key in english():
        assert any(f'"{key}"' in text for text in scripts.values()), f"{key} is never said"


def test_the_panel_knows_the_dimensions_of_the_built_in_rubrics_by_their_names():
    text = (PACK / "web" / "strings.js").read_text(encoding="utf-8")
    known = dict(
        re.findall(
            r'^    (\w+): "(\w+)",$', text.split("const DIMENSIONS = {")[1].split("\n}")[0], re.MULTILINE
        )
    )
    specs = {
        spec.key: spec.name
        for task in ("t2i", "edit")
        for pair in (False, True)
        for spec in rubric_for(task, pair).dimensions
    }
    assert {key: english()[word] for key, word in known.items()} == specs


# ---------------------------------------------------------------- pages in the workflow of an image


def workflow():
    """A workflow as the page saves it: Critique as node 12, and in subgraph 5 as 5:3 with Refine Prompt as
    5:4.
    """
    stale = {"pages": [{"score": 0.1, "raw": "an earlier run"}], "folded": True}
    return {
        "id": "b0a1",
        "nodes": [
            {"id": 12, "type": "RationalRewardsCritique", "properties": {"rational_rewards": dict(stale)}},
            {"id": 5, "type": "sub", "properties": {"rational_rewards": dict(stale)}},
            {"id": 6, "type": "SaveImage"},
        ],
        "definitions": {
            "subgraphs": [
                {
                    "id": "sub",
                    "nodes": [
                        {"id": 3, "properties": {"rational_rewards": dict(stale)}},
                        {"id": 4, "properties": {}},
                    ],
                }
            ]
        },
    }


def test_no_node_of_a_queued_workflow_keeps_an_earlier_run():
    queued = workflow()
    panel.clear_pages(queued)
    assert "an earlier run" not in json.dumps(queued)
    assert queued["nodes"][0]["properties"]["rational_rewards"] == {"folded": True}


def test_pages_are_embedded_on_the_node_that_ran_and_on_the_subgraphs_around_it():
    queued = workflow()
    panel.clear_pages(queued)
    panel.embed_pages(queued, "12", [{"score": 0.5}])
    panel.embed_pages(queued, "5:3", [{"of": "image", "score": 0.7}])
    panel.embed_pages(queued, "5:4", [{"of": "prompt", "before": "a", "after": "b"}])
    kept = [one["properties"]["rational_rewards"]["pages"] for one in queued["nodes"][:2]]
    assert kept[0] == [{"score": 0.5}]
    assert kept[1] == [{"of": "image", "score": 0.7, "before": "a", "after": "b"}]
    inner = queued["definitions"]["subgraphs"][0]["nodes"]
    assert inner[0]["properties"]["rational_rewards"]["pages"] == [{"of": "image", "score": 0.7}]
    assert queued["nodes"][0]["properties"]["rational_rewards"]["folded"] is True


def test_a_node_that_runs_for_each_item_of_a_list_keeps_all_of_them():
    queued = workflow()
    panel.clear_pages(queued)
    for score in (0.1, 0.2):
        panel.embed_pages(queued, "12", [{"score": score}])
    pages = queued["nodes"][0]["properties"]["rational_rewards"]["pages"]
    assert [page["score"] for page in pages] == [0.1, 0.2]
    panel.replace_pages(queued, "12", [{"score": 0.2}])
    assert queued["nodes"][0]["properties"]["rational_rewards"]["pages"] == [{"score": 0.2}]


def test_long_answers_do_not_swell_an_image():
    queued = workflow()
    pages = [{"score": 0.5, "raw": "x" * 40_000} for _ in range(20)]
    panel.embed_pages(queued, "12", pages)
    assert len(json.dumps(queued)) < 210_000
    assert len(queued["nodes"][0]["properties"]["rational_rewards"]["pages"]) == 20


def loop_pages(count, words):
    """The rounds of a long loop, the one before the last the best."""
    return [
        {
            "of": "round",
            "score": 0.5,
            "raw": "x" * 1_000,
            "thumbnail": "y" * 3_000,
            "summary": "z" * words,
            "best": number == count - 1,
            "number": number,
            "stopped": "Stopped." if number == count else "",
        }
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("count", "words", "lost"),
    [(30, 100, []), (60, 100, ["raw"]), (100, 1_000, ["raw", "thumbnail"])],
)
def test_a_loop_loses_raw_answers_first_then_thumbnails(count, words, lost):
    queued, pages = workflow(), loop_pages(count, words)
    panel.embed_rounds(queued, "12", pages)
    kept = queued["nodes"][0]["properties"]["rational_rewards"]["pages"]
    assert len(json.dumps(kept)) <= panel.MOST_KEPT
    assert [page["number"] for page in kept] == list(range(1, count + 1))
    assert [field for field in ("raw", "thumbnail") if not any(page[field] for page in kept)] == lost


def test_the_best_and_the_last_round_are_the_last_to_go():
    queued = workflow()
    panel.embed_rounds(queued, "12", loop_pages(100, 10_000))
    kept = queued["nodes"][0]["properties"]["rational_rewards"]["pages"]
    assert len(json.dumps(kept)) <= panel.MOST_KEPT
    assert [page["number"] for page in kept] == [*range(1, 13), 99, 100]


def test_a_loop_s_rounds_are_shown_once_on_the_subgraphs_around_it():
    queued = workflow()
    panel.clear_pages(queued)
    for count in (1, 2):
        panel.embed_rounds(queued, "5:3", loop_pages(count, 10))
    inner = queued["definitions"]["subgraphs"][0]["nodes"][0]
    for node in (queued["nodes"][1], inner):
        assert [page["number"] for page in node["properties"]["rational_rewards"]["pages"]] == [1, 2]
    assert panel.has_rounds(queued, "5:3")
    assert not panel.has_rounds(queued, "12")
    assert not panel.has_rounds(queued, "99")


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["nodes", "id", "type", "properties", "rational_rewards", "definitions", "subgraphs", "pages"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(ANYTHING, st.sampled_from(["1", "5:3", "", "None"]))
def test_a_workflow_that_anybody_wrote_stops_no_run(anything, node):
    panel.clear_pages(anything)
    panel.has_rounds(anything, node)
    panel.embed_rounds(anything, node, [{"score": 0.5}])
    panel.embed_pages(anything, node, [{"score": 0.5}])
