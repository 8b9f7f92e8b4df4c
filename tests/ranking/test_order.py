"""The order: best first, equal scores share a rank, what cannot be compared stands by itself."""

from __future__ import annotations

from rational_rewards.ranking.order import in_order


def ranks(items):
    """`(name, value, group)` in, `name:rank` out."""
    placed = in_order(items, lambda item: item[1], lambda item: item[2])
    return [f"{one.item[0]}:{one.rank}" for one in placed]


def test_equal_scores_share_a_rank_and_keep_their_order():
    items = [("a", 0.5, 0), ("b", 0.9, 0), ("c", 0.5, 0), ("d", 0.1 + 0.2, 0), ("e", 0.3, 0), ("f", 0.1, 0)]
    assert ranks(items) == ["b:1", "a:2", "c:2", "d:4", "e:4", "f:6"]


def test_groups_have_ranks_of_their_own_and_what_has_no_value_has_none():
    items = [("a", 1.0, True), ("b", 0.2, False), ("c", None, False), ("d", 0.7, True), ("e", 0.4, False)]
    assert ranks(items) == ["e:1", "b:2", "c:None", "a:1", "d:2"]
