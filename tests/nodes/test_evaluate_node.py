"""Evaluate Critic in a ComfyUI of its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from comfyui_checkouts import HINT, checkouts

from rational_rewards.demo.painter import paint
from rational_rewards.preferences.dataset import PreferenceDataset

PROMPTS = ("two small red circles", "a blue star on a gray background", "a black triangle")
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
