"""A critic against a dataset of preferences: numbers worked out by hand, and a real (tiny, random) critic
over painted pairs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from comfyui_checkouts import HINT, checkouts
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.cli.main import main
from rational_rewards.demo.painter import paint
from rational_rewards.evaluation.evaluate import evaluate
from rational_rewards.evaluation.metrics import Evaluation, Outcome, Rate, Tally, wilson
from rational_rewards.evaluation.plots import evaluation_plot
from rational_rewards.evaluation.report import report
from rational_rewards.models.cards.chart import BAR, ticks
from rational_rewards.models.cards.layout import ACCENT
from rational_rewards.models.engines.base import Progress
from rational_rewards.models.errors import PreferenceError, QuestionError
from rational_rewards.models.judgement import ComparedDimension, Comparison
from rational_rewards.preferences.dataset import LINES, PreferenceDataset
from rational_rewards.preferences.pairs import PreferencePair
from rational_rewards.training.plots import describe_losses, ends, loss_plot, smoothed

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


# ---------------------------------------------------------------- charts


def column(image, x, color):
    """Heights at which a column of pixels has that colour."""
    return np.flatnonzero((np.asarray(image)[:, x] == color).all(-1)).tolist()


def test_bars_are_as_long_as_their_shares():
    right = Outcome("p", "t2i", "human", "A", "A", 0.5, "A", "A", {"text": "A", "quality": "B"})
    found = Evaluation("tiny", True, [right], {"text": "Text Faithfulness", "quality": "Quality"})
    image = evaluation_plot(found)
    assert image.width == 960
    # Accuracy, agreement and one dimension reach 100 %, the other dimension has 0 %. A line of the interval
    # crosses the bars' ends.
    assert len(column(image, 300, BAR)) == 3 * 24
    assert 3 * 20 <= len(column(image, 680, BAR)) < 3 * 24
    assert not column(image, 692, BAR)
    assert evaluation_plot(Evaluation("tiny", False, [right])).height < image.height


def test_a_falling_loss_is_drawn_falling():
    image = loss_plot([(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0), (5, 0.0)], "Loss")
    heights = [np.mean(column(image, x, ACCENT)) for x in (200, 400, 600, 800)]
    assert heights == sorted(heights)
    steps = np.diff(heights)
    assert steps == pytest.approx(steps.mean(), abs=1), "a straight line"


@pytest.mark.parametrize(
    "losses", [[], [(1, float("nan"))], [(3, 0.7)], [(1, 0.0), (2, 0.0)], [(1, float("inf")), (2, 1e9)]]
)
def test_losses_that_make_no_line_are_drawn_all_the_same(losses):
    image = loss_plot(losses, "損失 " * 80)
    assert image.size == (960, 540)
    known = [loss for _, loss in losses if np.isfinite(loss)]
    assert bool((np.asarray(image) == ACCENT).all(-1).any()) == bool(known)


def test_a_loss_that_is_not_a_number_leaves_a_gap():
    image = loss_plot([(1, 1.0), (2, 1.0), (3, float("nan")), (4, 2.0), (5, 2.0)], "Loss")
    assert column(image, 200, ACCENT)
    assert not column(image, 510, ACCENT)
    assert column(image, 800, ACCENT)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.booleans())
def test_ticks_are_few_even_and_enclose(low, width, whole):
    if whole:
        low, width = int(low), int(width)
    found = ticks(low, low + width, whole)
    assert 2 <= len(found) <= 7
    slack = 1e-6 * max(1.0, abs(low) + width)
    assert found[0] <= low + slack
    assert found[-1] >= low + width - slack
    assert np.diff(found) == pytest.approx(found[1] - found[0])
    assert not whole or all(tick == int(tick) for tick in found)


# ---------------------------------------------------------------- the node

NODE = """
import functools, json, sys
checkpoint = sys.argv.pop()
import comfy.options
comfy.options.enable_args_parsing()
# As main.py does: ComfyUI's older `nodes` hides this package behind comfy/utils.py.
import utils.install_util
from rational_rewards import Critic
from rational_rewards.models.errors import RationalRewardsError
from rational_rewards.nodes import host
from rational_rewards.nodes.evaluate import EvaluateCritic as node
from rational_rewards.preferences.dataset import PreferenceDataset

node.GET_SCHEMA()
critic = Critic.load(checkpoint, "none", "cpu", max_pixels=16384)
critic.compare = functools.partial(critic.compare, max_new_tokens=64)  # a random model never ends by itself
first = node.fingerprint_inputs(dataset="my-taste", both_orders=True)
seen = []
cases = [("my-taste", True), ("my-taste", False), ("missing", True), ("ties", True), ("../x", True)]
for name, both in cases:
    try:
        accuracy, report, plot = node.execute(critic, name, both).result
        seen.append([accuracy, report, list(plot.shape), float(plot.min()), float(plot.max())])
    except RationalRewardsError as error:
        seen.append(str(error))
dataset = PreferenceDataset(host.preferences_root() / "my-taste")
dataset.undo()
stamps = [node.fingerprint_inputs(dataset=name) for name in ("my-taste", None)]
print("RESULT" + json.dumps([seen, first, *stamps]))
"""


@pytest.mark.comfyui
@pytest.mark.skipif(not checkouts(), reason=HINT)
def test_the_node_gives_accuracy_report_and_plot_or_one_sentence(tmp_path, checkpoint_folder):
    root = tmp_path / "user" / "rational_rewards" / "preferences"
    for name, preferred in (("my-taste", "A"), ("ties", "tie")):
        dataset = PreferenceDataset(root / name)
        dataset.record(paint(PROMPTS[0], 0).image, paint(PROMPTS[0], 9).image, PROMPTS[0], preferred)
    command = [
        sys.executable,
        "-c",
        NODE,
        "--cpu",
        "--base-directory",
        str(tmp_path),
        str(checkpoint_folder()),
    ]
    # Not this computer's own note of where ComfyUI keeps its files.
    environment = os.environ | {"RATIONAL_REWARDS_RECORD": str(tmp_path / "comfyui.json")}
    done = subprocess.run(command, cwd=checkouts()[0], env=environment, capture_output=True, text=True)
    assert "RESULT" in done.stdout, done.stderr
    (both, one, missing, ties, name), first, undone, any_size = json.loads(done.stdout.split("RESULT")[1])
    for accuracy, words, shape, low, high in (both, one):
        assert accuracy in (0, 0.5, 1)
        assert f"**Accuracy {100 * accuracy:.1f} %**" in words
        assert shape[0] == 1
        assert shape[2:] == [960, 3]
        assert 0 <= low < high <= 1
    assert "both orders" in both[1]
    assert "A shown first only" in one[1]
    assert 'There is no dataset "missing"' in missing
    assert "choose one of my-taste, ties" in missing
    assert "Every pair in the dataset ties is a tie" in ties
    assert '"../x" cannot be the name of a dataset' in name
    assert 0 < first < undone < any_size


def test_the_loss_is_told_by_means_and_not_by_two_points_of_a_zigzag():
    zigzag = [(step, 2.0 + (1.0 if step % 2 else -1.0)) for step in range(1, 101)]
    falling = [(step, loss - step / 100) for step, loss in zigzag]
    first, last, count = ends(falling)
    assert count == 10
    assert (first - last) == pytest.approx(0.9, abs=0.02)
    assert describe_losses(falling) == (
        f"Loss {first:.3f} in the mean of the first 10 reports, {last:.3f} in the mean of the last 10."
    )
    line = [loss for _, loss in smoothed(zigzag)]
    assert max(line[10:-10]) - min(line[10:-10]) < 0.3, "a tenth of the zigzag is left"
    assert [step for step, _ in smoothed(zigzag)] == [step for step, _ in zigzag]
    assert ends([(1, float("nan")), (2, 1.0)]) is None
    assert describe_losses([]) == ""
