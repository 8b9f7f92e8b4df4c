"""`python -m benchmarks generator`: loops around the real generator, held against the pictures' truth."""

from __future__ import annotations

from rational_rewards.benchmarks import generator
from rational_rewards.demo.generator.data import requests
from rational_rewards.demo.generator.files import SHIPPED
from rational_rewards.demo.generator.reader import facts
from rational_rewards.demo.prompts import prompt_of
from rational_rewards.demo.rounds import embedded_critic


def test_every_way_ends_with_a_picture_of_the_loop():
    painter = generator.Painter(SHIPPED)
    loops = generator.play(embedded_critic(), painter, "one", 4, 0, "same")
    asked = list(requests("one", 1, 4))
    pictures = painter([prompt_of(request) for request, _ in asked], [seed for _, seed in asked])
    for one, (request, _), picture in zip(loops, asked, pictures, strict=True):
        found = [right for rights in facts(request, picture).values() for right in rights]
        assert one.of("as it is") == (sum(found), len(found))
        assert one.of("refined once") == one.right[min(1, len(one.right) - 1)]
        assert one.of("loop of 4") == one.right[one.rounds.best]
        assert 1 <= len(one.right) == len(one.rounds.done) <= 4
    rights = [one.right[0] for one in loops]
    assert generator.share(loops, "as it is") == sum(r for r, _ in rights) / sum(n for _, n in rights)


def test_the_table_has_mean_and_spread():
    runs = [{"shares": dict.fromkeys(generator.WAYS, value)} for value in (0.8, 0.9, 1.0)]
    assert "| base | refined once | 0.900 ± 0.100 | 0.800, 0.900, 1.000 |" in generator.table({"base": runs})
    assert "±" not in generator.table({"base": runs[:1]})
