"""How much each dimension counts, and means that leave out what does not apply."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ..models.errors import QuestionError

# Of a dimension that is not named in the weights.
DEFAULT_WEIGHT = 1.0


def checked_weights(weights: Mapping[str, float] | None, known: Iterable[str]) -> dict[str, float]:
    """The weights by dimension, each 0 or more; dimensions that are left out count 1.

    Raises QuestionError for an unknown dimension, for a weight that is negative or no number, and where every
    dimension would count nothing.
    """
    names = list(dict.fromkeys(known))
    given = dict(weights or {})
    for name, weight in given.items():
        if name not in names:
            raise QuestionError(
                f"`weights` names {name}, which is no dimension here: use {', '.join(names)}."
            )
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise QuestionError(f"The weight of {name} is {weight!r}: give a number from 0 up.")
    checked = {name: float(given.get(name, DEFAULT_WEIGHT)) for name in names}
    if not any(checked.values()):
        raise QuestionError("All `weights` are 0: give at least one dimension a weight above 0.")
    return checked


def weighted_mean(values: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The mean of the values that are not None; None where nothing that counts is there.

    >>> weighted_mean({"text_faithfulness": 1.0, "text_rendering": None}, {"text_faithfulness": 2.0})
    1.0
    """
    counted = [
        (value, weights.get(name, DEFAULT_WEIGHT)) for name, value in values.items() if value is not None
    ]
    total = sum(weight for _, weight in counted)
    return sum(value * weight for value, weight in counted) / total if total else None
