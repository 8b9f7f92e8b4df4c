"""One loaded critic for all rewards of a process.

Trainers build a reward twice, for training and for evaluation, and call it from several threads; an 8B model
is loaded once, and asked by one thread at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..models.critic import Critic

_loading = threading.Lock()
_loaded: dict[str, Critic] = {}
_locks: WeakKeyDictionary[Critic, threading.Lock] = WeakKeyDictionary()


def shared_critic(critic: Critic | str | Path, **loading: Any) -> Critic:
    """The critic itself, or that of a checkpoint, loaded when it is first asked for.

    `loading` as for `Critic.load`; the same checkpoint with other options is another critic.
    """
    if isinstance(critic, Critic):
        return critic
    key = repr((str(critic), sorted(loading.items())))
    with _loading:
        if key not in _loaded:
            _loaded[key] = Critic.load(critic, **loading)
        return _loaded[key]


@contextmanager
def asking(critic: Critic) -> Iterator[None]:
    """While a critic is asked: by one thread at a time.

    Afterwards it gives back what it keeps for continuing its answers: the trainer needs that memory, and
    nobody continues.
    """
    with _loading:
        lock = _locks.setdefault(critic, threading.Lock())
    with lock:
        try:
            yield
        finally:
            critic.engine.release()
