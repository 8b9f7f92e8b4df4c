"""How far transformers is with reading a model's weights, and a way to stop it in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[float], None]


class Stopped(BaseException):
    """Carries what `report` raised past handlers that would take it for a failure of the loader."""

    def __init__(self, reason: BaseException):
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def weights_reported(report: Report) -> Iterator[None]:
    """Have `report(share)` called, 0..1, at every weight (or shard) that is read inside; what it raises stops
    the loading.

    Uses the hook for progress bars of transformers 5; 4.57 has none, and there nothing is told until all is
    read.
    """
    from transformers.utils import logging

    set_hook = getattr(logging, "set_tqdm_hook", None)
    if set_hook is None:
        yield
        return

    def counted(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bar = factory(*args, **kwargs)
        given = args[0] if args else kwargs.get("iterable")
        return bar if given is None else _Counted(bar, len(given) if hasattr(given, "__len__") else 0, report)

    before = set_hook(counted)
    try:
        yield
    except Stopped as stopped:
        raise stopped.reason from None
    finally:
        set_hook(before)


class _Counted:
    """A progress bar that also reports."""

    def __init__(self, bar: Any, total: int, report: Report):
        self.bar, self.total, self.report = bar, total, report

    def __iter__(self) -> Iterator[Any]:
        for done, item in enumerate(self.bar):
            try:
                self.report(done / max(self.total, done + 1))
            except BaseException as reason:
                raise Stopped(reason) from reason
            yield item

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bar, name)

    def __enter__(self) -> Any:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.bar.__exit__(*error)
