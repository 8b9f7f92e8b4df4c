"""`python -m benchmarks generator`: loops around the real generator, held against the pictures' truth."""

from __future__ import annotations

import pytest

from rational_rewards.benchmarks import generator
from rational_rewards.benchmarks.played import play
from rational_rewards.demo.generator.data import LEVELS, requests
from rational_rewards.demo.generator.files import SHIPPED
from rational_rewards.demo.generator.reader import facts
from rational_rewards.demo.prompts import parse_request, prompt_of
from rational_rewards.demo.rounds import embedded_critic


def test_every_way_ends_with_a_picture_of_the_loop():
    painter = generator.GeneratorPainter(SHIPPED)
    starts = generator.held_out("one", 4, 0, "same")
    loops = play(embedded_critic(), painter, starts)
    prompts = [start.prompt for start in starts]
    first = painter(prompts, prompts, [start.seed for start in starts])
    for one, (request, _), (picture, truth) in zip(loops, requests("one", 1, 4), first, strict=True):
        found = [right for rights in facts(request, picture).values() for right in rights]
        assert one.first == truth == (sum(found), len(found))
        assert one.second == one.truth[min(1, len(one.truth) - 1)]
        assert one.best == one.truth[one.rounds.best]
        assert 1 <= len(one.truth) == len(one.rounds.done) <= 4
    rights = [one.first for one in loops]
    assert generator.share(loops, "as it is") == sum(r for r, _ in rights) / sum(n for _, n in rights)


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_asked_for_can_be_read_from_the_prompt(level):
    for request, _ in requests(level, 1, 200):
        assert parse_request(prompt_of(request)) == request


def test_the_table_has_mean_and_spread():
    runs = [{"shares": dict.fromkeys(generator.TRUTH, value)} for value in (0.8, 0.9, 1.0)]
    assert "| base | refined once | 0.900 ± 0.100 | 0.800, 0.900, 1.000 |" in generator.table({"base": runs})
    assert "±" not in generator.table({"base": runs[:1]})
