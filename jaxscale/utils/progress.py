"""Progress bar on a terminal for computations that take more than two seconds."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 2.0


class Ticker:
    """Counter of finished parts, shown on a progress bar if there is one."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self.done = 0
        self._bar = bar
        self._task = task
        self._lock = threading.Lock()

    def advance(self, parts: int = 1) -> None:
        """Count finished parts."""
        with self._lock:
            self.done += parts
            if self._bar is not None:
                self._bar.update(self._task, parts=self.done)


@contextmanager
def show_progress(label: str, shown: bool | None = None) -> Iterator[Ticker]:
    """Show a progress bar once a computation has taken more than two seconds.

    Args:
        label: name of the computation.
        shown: whether to show the bar; by default if standard error is a terminal.
    """
    if not (sys.stderr.isatty() if shown is None else shown):
        yield Ticker()
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    parts = TextColumn("{task.fields[parts]} parts done")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), parts, TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True, force_terminal=shown), transient=True)
    ticker = Ticker(bar, bar.add_task(label, total=None, parts=0))
    timer = threading.Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield ticker
    finally:
        timer.cancel()
        timer.join()
        # A bar that was never shown would end with an empty line on some terminals.
        if bar.live.is_started:
            bar.stop()
