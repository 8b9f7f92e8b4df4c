"""A critic against a dataset of preferences: numbers worked out by hand, and a real (tiny, random) critic
over painted pairs.
"""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.cli.main import main
from rational_rewards.demo.painter import paint
from rational_rewards.evaluation.evaluate import evaluate
from rational_rewards.evaluation.metrics import Evaluation, Outcome, Rate, Tally, wilson
from rational_rewards.evaluation.plots import evaluation_plot
from rational_rewards.evaluation.report import report
from rational_rewards.models.engines.base import Progress
from rational_rewards.models.errors import PreferenceError, QuestionError
from rational_rewards.models.judgement import ComparedDimension, Comparison
from rational_rewards.preferences.dataset import LINES, PreferenceDataset
from rational_rewards.preferences.pairs import PreferencePair

SHORT = dict(max_new_tokens=64)
PROMPTS = ("two small red circles", "a blue star on a gray background", "a black triangle")


# ---------------------------------------------------------------- the arithmetic, on a script

NOT_APPLICABLE, LOST = "N/A", "lost"
# Id: (preferred, task, chosen by, scores of A and B with A shown first, the same with B shown first).
SCRIPT = {
    "p1": ("A", "t2i", "human", {"text": (4, 2), "quality": (3, 3)}, {"text": (4, 2), "quality": (3, 3)}),
    "p2": ("B", "t2i", "human", {"text": (3, 2), "quality": (1, 4)}, {"text": (3, 2), "quality": (4, 1)}),
    "p3": (
        "A",
        "edit",
        "human",
        {"text": (2, 2), "quality": NOT_APPLICABLE},
        {"text": (2, 2), "quality": NOT_APPLICABLE},
    ),
    "p4": (
        "tie",
        "edit",
        "robot",
        {"text": (3, 1), "quality": NOT_APPLICABLE},
        {"text": (1, 3), "quality": NOT_APPLICABLE},
    ),
    "p5": ("tie", "t2i", "robot", {"text": (4, 1), "quality": (4, 1)}, {"text": (4, 1), "quality": (4, 1)}),
    "p6": ("B", "t2i", "human", {"text": (1, 4), "quality": LOST}, {"text": (1, 4), "quality": (1, 4)}),
    "p7": ("B", "t2i", "robot", {"text": (1, 2), "quality": (2, 2)}, {"text": (1, 2), "quality": (2, 2)}),
}


class Scripted:
    """Says what stands in the script, for checking sums; `calls` has the number of questions of each call."""

    name = "scripted"

    def __init__(self):
        self.calls = []

    def compare(self, a, b, prompts, sources, *, both_orders, rubric, progress):
        assert not both_orders
        self.calls.append(len(a))
        return [self.answer(one.stem, prompt) for one, prompt in zip(a, prompts, strict=True)]

    @staticmethod
    def answer(first, id):
        said = SCRIPT[id][3 if first.endswith("-a") else 4]
        found = {}
        for key, scores in said.items():
            a, b = (None, None) if isinstance(scores, str) else scores
            found[key] = ComparedDimension(key.title(), a, b, scores != NOT_APPLICABLE)
        answer = Comparison(found)
        return answer if first.endswith("-a") else answer.swap()


@pytest.fixture
def scripted_pairs(tmp_path):
    for name in SCRIPT:
        for picture in (f"{name}-a", f"{name}-b", "source"):
            (tmp_path / picture).touch()
    source = {"t2i": None, "edit": tmp_path / "source"}
    return [
        PreferencePair(id, id, tmp_path / f"{id}-a", tmp_path / f"{id}-b", preferred, source[task], chosen_by)
        for id, (preferred, task, chosen_by, _, _) in SCRIPT.items()
    ]


def test_every_number_is_what_a_pencil_gives(scripted_pairs):
    found = evaluate(Scripted(), scripted_pairs)
    assert [one.winner for one in found.outcomes] == ["A", "A", "tie", "tie", "A", None, "B"]
    assert found.tally == Tally(right=2, tied=1, wrong=1, both_tied=1, ties=2)
    assert found.accuracy == Rate(2.5, 4)
    assert found.accuracy_with_ties == Rate(3, 6)
    assert found.order_agreement == Rate(4, 6)
    assert found.a_wins == Rate(3, 5)
    assert found.a_preferred == Rate(2, 4)
    assert found.shown_first_wins == Rate(5, 10)
    assert found.margins == {"right": pytest.approx((1 / 3 + 1 / 6) / 2), "wrong": pytest.approx(1 / 6)}
    assert found.by_task == {
        "edit": Tally(tied=1, both_tied=1, ties=1),
        "t2i": Tally(right=2, wrong=1, ties=1),
    }
    assert found.by_chooser == {
        "human": Tally(right=1, tied=1, wrong=1),
        "robot": Tally(right=1, both_tied=1, ties=2),
    }
    assert found.by_dimension == {
        "text": Tally(right=2, tied=1, wrong=1, both_tied=1, ties=2),
        "quality": Tally(tied=3, ties=1),
    }
    assert (found.wrong, found.tied, found.unreadable) == (["p2"], ["p3"], ["p6"])


def test_with_one_order_only_the_first_answer_counts_and_agreement_is_not_known(scripted_pairs):
    found = evaluate(Scripted(), scripted_pairs, both_orders=False)
    assert found.tally == Tally(right=3, tied=1, wrong=0, both_tied=0, ties=2)
    assert found.a_wins == Rate(3, 5)
    assert found.order_agreement.share is None
    assert found.shown_first_wins.share is None
    assert "Both orders" not in report(found)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
def test_the_portion_changes_nothing_and_bounds_what_is_asked_at_once(scripted_pairs, batch):
    critic = Scripted()
    assert evaluate(critic, scripted_pairs, batch=batch) == evaluate(Scripted(), scripted_pairs)
    assert max(critic.calls) <= 2 * batch
    assert sum(critic.calls) == 2 * len(scripted_pairs)


def test_the_report_and_the_json_say_the_same(scripted_pairs):
    found = evaluate(Scripted(), scripted_pairs)
    data = json.loads(found.to_json())
    assert data["accuracy"]["share"] == 0.625
    assert data["accuracy"]["interval"] == pytest.approx(wilson(2.5, 4))
    assert data["unreadable"] == ["p6"]
    assert data["wrong_ids"] == ["p2"]
    assert [one["id"] for one in data["outcomes"]] == list(SCRIPT)
    words = report(found)
    assert "**Accuracy 62.5 %**" in words
    assert "2 right, 1 wrong, 1 tied" in words
    assert "could not be read: 1 of 7" in words
    assert "| Both orders give the same winner | 66.7 % |" in words
    assert "| Quality | 50.0 % |" in words
    assert "| chosen by robot | 100.0 % |" in words
    assert "**Pairs it got wrong (1).** p2" in words


def test_where_nothing_could_be_read_there_is_no_number(scripted_pairs):
    found = evaluate(Scripted(), scripted_pairs[5:6])
    assert found.accuracy.share is None
    assert "No accuracy" in report(found)
    assert json.loads(found.to_json())["accuracy"] == {
        "share": None,
        "interval": None,
        "successes": 0,
        "count": 0,
    }
    assert evaluation_plot(found).width == 960


def test_names_with_table_marks_do_not_break_the_report():
    outcome = Outcome("p1", "t2i", "a|b\nc", "A", "A", 0.5, "A", "A", {})
    assert "| chosen by a\\|b c | 100.0 % |" in report(Evaluation("x", True, [outcome]))


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_the_literature(successes, count, low, high):
    assert wilson(successes, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, 2 * n), st.just(n))))
def test_an_interval_holds_its_share_and_mirrors(case):
    halves, count = case
    low, high = wilson(halves / 2, count)
    assert 0 <= low <= halves / 2 / count + 1e-12
    assert halves / 2 / count - 1e-12 <= high <= 1
    assert wilson(count - halves / 2, count) == (pytest.approx(1 - high), pytest.approx(1 - low))


# ---------------------------------------------------------------- a real critic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset of four painted pairs; the last is an edit of another picture."""
    dataset = PreferenceDataset(tmp_path_factory.mktemp("home") / "preferences" / "my-taste")
    for number, prompt in enumerate(PROMPTS):
        good, bad = paint(prompt, number, flaws=0.0).image, paint(prompt, number + 50, flaws=1.0).image
        a, b = (good, bad) if number % 2 else (bad, good)
        dataset.record(
            a, b, prompt, "tie" if number == 2 else "A" if number % 2 else "B", chosen_by="the painter"
        )
    source, edited, spoiled = (
        paint(PROMPTS[0], seed, flaws=flaws).image for seed, flaws in ((70, 0.0), (71, 0.0), (72, 1.0))
    )
    dataset.record(edited, spoiled, "make the circles red", "A", source)
    return dataset.folder


@pytest.fixture(scope="module")
def pairs(folder):
    return PreferenceDataset(folder).pairs()


@pytest.fixture(scope="module")
def whole(make_critic, pairs):
    return evaluate(make_critic(), pairs, sampling=SHORT)


def test_outcomes_are_those_of_compare(whole, make_critic, pairs):
    for pair, outcome in zip(pairs, whole.outcomes, strict=True):
        single = make_critic().compare(pair.image_a, pair.image_b, pair.prompt, pair.source, **SHORT)[0]
        assert (outcome.id, outcome.winner) == (pair.id, single.winner)
        assert outcome.margin == pytest.approx(single.margin)
        assert (outcome.a_first == outcome.b_first) == single.consistent
    assert whole.tally.ties == 1
    assert whole.tally.accuracy.count == 3
    assert set(whole.by_task) == {"t2i", "edit"}
    assert set(whole.by_chooser) == {"human", "the painter"}
    assert whole.names["text_faithfulness"] == "Text Faithfulness"


def test_portions_change_nothing_and_progress_counts_pairs(whole, make_critic, pairs):
    seen = []
    progress = Progress(update=lambda done, total, section, tail: seen.append((done, total)))
    assert evaluate(make_critic(), pairs, batch=3, progress=progress, sampling=SHORT) == whole
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert {total for _, total in seen} == {4}
    assert {3, 4} <= set(done)


def test_cancel_goes_through(make_critic, pairs):
    class Cancelled(Exception):
        pass

    calls = []

    def check():
        calls.append(1)
        if len(calls) == 30:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluate(make_critic(), pairs, progress=Progress(check=check), sampling=SHORT)
    assert len(calls) == 30


def test_what_cannot_be_evaluated_is_said_before_anything_is_judged(scripted_pairs, make_critic):
    critic = Scripted()
    with pytest.raises(PreferenceError, match="no preference pairs"):
        evaluate(critic, [])
    with pytest.raises(PreferenceError, match="used by two pairs"):
        evaluate(critic, [*scripted_pairs, scripted_pairs[0]])
    assert not critic.calls
    with pytest.raises(QuestionError, match="is for images without a source"):
        evaluate(make_critic(), scripted_pairs[:3], rubric="t2i-pair")


def test_a_pair_that_cannot_be_judged_costs_only_itself(pairs, make_critic, tmp_path):
    """Also at the very end, when hours of judging are done."""
    (tmp_path / "damaged.png").write_bytes(b"not an image")
    bad = [
        dataclasses.replace(pairs[0], id="damaged", image_b=tmp_path / "damaged.png"),
        dataclasses.replace(pairs[0], id="missing", image_a=tmp_path / "missing.png"),
    ]
    evaluation = evaluate(make_critic(), [*pairs[:2], *bad], batch=3, sampling=SHORT)
    assert [outcome.id for outcome in evaluation.outcomes] == [pair.id for pair in pairs[:2]]
    assert "damaged.png cannot be read" in evaluation.failed["damaged"]
    assert "There is no image" in evaluation.failed["missing"]
    assert "**Pairs that could not be judged (2), not counted.**" in report(evaluation)
    assert evaluation.to_dict()["failed"] == evaluation.failed
    assert evaluation.accuracy.count == sum(pair.preferred != "tie" for pair in pairs[:2])
    with pytest.raises(QuestionError, match="Not one of 2 pairs could be judged"):
        evaluate(make_critic(), bad, sampling=SHORT)


# ---------------------------------------------------------------- the shell


def test_the_shell_evaluates_a_folder_or_a_name(folder, checkpoint_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(folder.parent.parent))
    common = [
        "--checkpoint",
        str(checkpoint_folder()),
        "--quantization",
        "none",
        "--device",
        "cpu",
        "--max-new-tokens",
        "64",
    ]
    common += ["--max-pixels", "16384"]
    assert main(["evaluate", "--dataset", str(folder), "--json", str(tmp_path / "out.json"), *common]) == 0
    assert "| Both orders give the same winner |" in capsys.readouterr().out
    data = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (data["pairs"], data["both_orders"]) == (4, True)
    assert main(["evaluate", "--dataset", "my-taste", "--one-order", "--json", "-", *common]) == 0
    assert json.loads(capsys.readouterr().out)["both_orders"] is False
    for wrong, says in (
        ("your-taste", 'Did you mean "my-taste"?'),
        (str(tmp_path / "nothing"), "There is no dataset"),
    ):
        assert main(["evaluate", "--dataset", wrong, *common]) == 1
        assert says in capsys.readouterr().err
    (folder.parent / "empty").mkdir()
    (folder.parent / "empty" / LINES).touch()
    assert main(["evaluate", "--dataset", "empty", *common]) == 1
    assert 'The dataset "empty" is empty' in capsys.readouterr().err
