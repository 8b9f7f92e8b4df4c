"""Everything that makes the embedded critic, on a small scale: from nothing to a checkpoint that judges."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rational_rewards.cli.main import main
from rational_rewards.demo import rounds, train
from rational_rewards.demo.generator.evaluation import evaluate_generator
from rational_rewards.demo.generator.files import SHIPPED
from rational_rewards.demo.generator.judges import GENERATED_CRITIC, generated_critic
from rational_rewards.demo.measure import (
    held_out,
    measure_pairs,
    measure_refinement,
    measure_singles,
    spearman,
)
from rational_rewards.demo.preference_pairs import EDITS, is_edit
from rational_rewards.demo.scene import DIMENSIONS
from rational_rewards.models.checkpoints.discovery import EMBEDDED
from rational_rewards.models.critic import Critic
from rational_rewards.models.errors import ParrotError
from rational_rewards.models.paths import PACK
from rational_rewards.parrot.rows import ROWS


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `parrot demo` has run on a small scale."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "Plan", lambda: small)
        assert main(["parrot", "demo", "--work", str(folder)]) == 0
    return folder


small = train.Plan(
    base_steps=2,
    courses=(train.Course(12, 2e-3), train.Course(8, 1e-3, edits=0.5, averaged=True)),
    generated=train.GeneratedCourse(4, 4, 1e-3),
    tokens=4096,
)


def test_the_command_makes_a_critic_from_nothing(work: Path) -> None:
    critic = Critic.load(work / "critic", "none", "cpu")
    worlds = held_out(2)
    assert measure_pairs(critic, worlds).all.total == 2
    assert measure_singles(critic, worlds).flaws.total == sum(len(one.a.flaws) for one in worlds)
    assert critic.rubric("auto", edit=False).title == "Shapes, text to image"
    courses = json.loads((work / "critic" / "made_with.json").read_text())["courses"]
    assert [course["pairs"] for course in courses] == [12, 8]
    assert sum(file.stat().st_size for file in (work / "critic").rglob("*")) < 12e6
    assert not list(work.rglob("*.part"))
    rows = (work / "generated" / "rows" / ROWS).read_text(encoding="utf-8")
    assert "generated-0-" in rows
    assert "shapes-0-" in rows


def test_courses_take_fresh_worlds_with_the_share_of_edits_that_they_ask_for() -> None:
    numbers = itertools.count()
    even, edits = (train.pick(0, numbers, train.Course(500, 1e-3, share)) for share in (EDITS, 0.5))
    assert even == list(range(500))
    assert min(edits) >= 500
    assert len(set(edits)) == 500
    assert sum(is_edit(0, number) for number in edits) / 500 == pytest.approx(0.5, abs=0.07)


def test_a_critic_that_is_averaged_lies_between_what_came_and_what_was_taught(work: Path) -> None:
    one, two, whole = (
        load_file(folder / "model.safetensors")
        for folder in (work / "course-1/critic", work / "course-2/critic", work / "course-2/mean")
    )
    assert any(not torch.equal(one[name], two[name]) for name in whole)
    assert all(
        torch.allclose((one[name].float() + two[name].float()) / 2, whole[name].float(), atol=1e-2)
        for name in whole
    )


def test_a_folder_of_another_plan_is_not_gone_on_with(work: Path) -> None:
    with pytest.raises(ParrotError, match="another plan"):
        train.make_critic(work, train.Plan(base_steps=3))


@pytest.mark.long
def test_the_same_plan_makes_the_same_critic(work: Path, tmp_path: Path) -> None:
    again = train.make_critic(tmp_path, small, say=lambda text: None)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / name).read_bytes() == (work / "critic" / name).read_bytes(), name


def test_pictures_are_never_larger_than_the_embedded_critic_reads(work: Path) -> None:
    from PIL import Image

    critic = Critic.load(work / "critic", "none", "cpu")
    assert critic.engine.prepare(Image.new("RGB", (1024, 512))).size == (176, 80)


def test_ranks_share_places_where_values_are_equal() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert spearman([1, 2, 2, 3], [3, 2, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 4], [1, 3, 2, 4]) == pytest.approx(0.948683, abs=1e-6)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0


@pytest.fixture(scope="module")
def critic() -> Critic:
    """The embedded critic."""
    return Critic.load("shapes demo (CPU)")


class TestTheEmbeddedCritic:
    """What it can do, on a sample; `python -m benchmarks shapes --check` measures it on many more."""

    def test_it_was_made_by_the_plan(self) -> None:
        made_with = json.loads((EMBEDDED / "made_with.json").read_text(encoding="utf-8"))
        assert made_with.pop("created_with")["transformers"]
        assert made_with == json.loads(json.dumps(asdict(train.Plan())))

    def test_it_is_right_about_what_is_shown_first(self, critic: Critic) -> None:
        template = (PACK / "workflows" / "1-shapes-demo-no-download.json").read_text(encoding="utf-8")
        nodes = {node["type"]: node.get("widgets_values") for node in json.loads(template)["nodes"]}
        (prompt,), (_, seed, _, _, flaws) = (
            nodes["PrimitiveStringMultiline"],
            nodes["RationalRewardsShapesPainter"],
        )
        shown = [
            *rounds.play(critic, rounds.PROMPTS[:1], rounds.FIRST_SEED),
            *rounds.play(critic, [prompt], seed, flaws=flaws),
        ]
        assert [one.agreement for one in shown] == [(4, 4), (6, 6)]

    def test_it_prefers_what_is_better(self, critic: Critic) -> None:
        found = measure_pairs(critic, held_out(60))
        assert found.decided.right >= 0.93 * found.decided.total
        assert found.all.right >= 0.9 * found.all.total
        assert found.agree.right >= 0.95 * found.agree.total
        assert set(found.by_dimension) == set(DIMENSIONS)

    def test_its_scores_follow_the_flaws_and_it_names_them(self, critic: Critic) -> None:
        found = measure_singles(critic, held_out(80))
        assert found.judged.right == found.judged.total
        assert found.spearman >= 0.88
        assert found.flaws.right >= 0.92 * found.flaws.total
        assert found.named.right >= 0.92 * found.named.total

    def test_its_refined_prompts_help(self, critic: Critic) -> None:
        found = measure_refinement(critic, 60)
        missing = sum(4 - one.before for one in found)
        assert missing > 10
        assert sum(one.after - one.before for one in found) >= 0.5 * missing
        assert sum(one.after < one.before for one in found) <= 2

    def test_it_is_small_enough_to_ship(self) -> None:
        assert sum(file.stat().st_size for file in EMBEDDED.rglob("*")) < 12e6


def test_the_critic_of_generated_pictures_was_made_by_the_plan_and_sees_them() -> None:
    """On a sample; `demo evaluate-generator --judge` measures it on all held-out prompts."""
    made_with = json.loads((GENERATED_CRITIC / "made_with.json").read_text(encoding="utf-8"))
    made_with.pop("created_with")
    assert made_with == json.loads(json.dumps(asdict(train.Plan(generated=train.GENERATED))))
    seen, unseen = (
        evaluate_generator(SHIPPED, prompts=30, guidance=1.0, critic=critic).agreement()[0]
        for critic in (generated_critic(), rounds.embedded_critic())
    )
    assert seen >= 0.6
    assert seen > unseen + 0.2
