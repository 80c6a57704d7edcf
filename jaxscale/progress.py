"""A progress bar for what takes more than two seconds, on a terminal; elsewhere nothing."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 2.0


class Ticker:
    """Counts finished parts and shows them once the work has taken a while."""

    def __init__(self, what: str, shown: bool) -> None:
        self.total = 0
        self.done = 0
        self._what = what
        self._shown = shown
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None

    def expect(self, parts: int) -> None:
        """More parts are to come."""
        with self._lock:
            self.total += parts

    def advance(self, parts: int = 1) -> None:
        """Some parts are done."""
        with self._lock:
            self.done += parts
            if self._shown and time.monotonic() - self._begun > PATIENCE:
                self._show()

    def _show(self) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._what)
            self._bar.start()
        self._bar.update(self._task, completed=self.done, total=max(self.total, self.done))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def ticking(what: str, shown: bool | None = None) -> Iterator[Ticker]:
    """A ticker for the time of some work.

    Args:
        what: said beside the bar.
        shown: whether to show it; on a terminal unless given.
    """
    ticker = Ticker(what, sys.stderr.isatty() if shown is None else shown)
    try:
        yield ticker
    finally:
        ticker.close()
