"""Progress bar, counts of parts, and memory of large grids of starts."""

import inspect
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import fit, fit_many, noise, start_grid
from jaxscale.engine import multistart
from jaxscale.engine.multistart import Pool
from jaxscale.engine.runner import Runner
from jaxscale.engine.starts import StartGrid
from jaxscale.utils import progress
from jaxscale.utils.progress import Ticker, show_progress
from tests.sweeps import small, sweep


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Timer that expires at once, or never."""

    def setting(patient: bool) -> None:
        class Timer:
            daemon = False

            def __init__(self, seconds: float, strike: Callable[[], None]) -> None:
                assert seconds == progress.PATIENCE
                self.strike = strike

            def start(self) -> None:
                if not patient:
                    self.strike()

            def cancel(self) -> None:
                pass

            join = cancel

        monkeypatch.setattr(progress.threading, "Timer", Timer)
        monkeypatch.setenv("TERM", "xterm")

    return setting


@pytest.mark.parametrize("terminal, patient, shown", [(True, False, True), (True, True, False), (False, False, False)])
def test_the_progress_bar_is_shown_only_on_terminals_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    clock: Callable[[bool], None],
    terminal: bool,
    patient: bool,
    shown: bool,
) -> None:
    clock(patient)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with show_progress("fitting chinchilla") as ticker:
        ticker.advance(3)
    captured = capsys.readouterr()
    assert captured.out == "" and ("fitting chinchilla" in captured.err) is shown
    assert ("3 parts done" in captured.err) is shown
    assert shown or captured.err == ""


@pytest.mark.parametrize("asked", [True, False])
def test_the_progress_bar_can_be_switched_on_and_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Callable[[bool], None], asked: bool
) -> None:
    clock(False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: not asked)
    with show_progress("fitting chinchilla", asked):
        pass
    assert ("fitting chinchilla" in capsys.readouterr().err) is asked


def test_a_terminal_that_moves_no_cursor_stays_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Callable[[bool], None]
) -> None:
    clock(True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress("fitting chinchilla"):
        pass
    assert capsys.readouterr().err == ""


def test_the_bar_ends_with_the_work_whatever_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Callable[[bool], None]
) -> None:
    clock(False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt), show_progress("fitting chinchilla"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.count("\x1b[?25h") == 1, "the cursor is there again"


def test_parts_are_counted_from_many_threads() -> None:
    ticker = Ticker()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ticker.advance, [1, 2] * 500))
    assert ticker.done == 1500


@pytest.mark.parametrize("call", [fit, fit_many])
def test_a_fit_counts_every_part_it_computes(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tickers, parts = [], []
    whole = Runner._run

    def counting(self: Runner, program: Any, some: Any) -> Any:
        tickers.append(self.ticker)
        parts.append(len(some))
        return whole(self, program, some)

    monkeypatch.setattr(Runner, "_run", counting)
    call(small, sweep(), noise=noise.squared("log"))
    assert {id(ticker) for ticker in tickers} == {id(tickers[0])}
    assert tickers[0].done == sum(parts) >= 3


@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=4), min_size=1, max_size=4))
def test_points_of_a_grid_are_those_of_meshgrid(axes: list[list[float]]) -> None:
    names = "abcd"[: len(axes)]
    grid = start_grid(**{name: np.array(axis) for name, axis in zip(names, axes, strict=True)})
    mesh = np.meshgrid(*axes, indexing="ij")
    assert (list(grid), len(grid), grid.size, grid.shape) == (list(names), len(axes), mesh[0].size, mesh[0].shape)
    index = np.random.default_rng(0).integers(grid.size, size=7)
    for name, points in zip(names, mesh, strict=True):
        assert np.array_equal(grid[name], points.ravel())
        assert np.array_equal(grid.take(index)[name], points.ravel()[index])


def test_a_grid_of_millions_takes_no_memory() -> None:
    tracemalloc.start()
    axes = {"E": np.linspace(0.1, 1.7, 200), "A": np.geomspace(10, 1e4, 200), "alpha": np.linspace(0.1, 0.9, 100)}
    grid = StartGrid(axes)
    points = grid.take(np.array([0, 3_999_999]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grid.size == 4_000_000 and peak < 1e5
    assert [float(values[1]) for values in points.values()] == [1.7, 1e4, 0.9]


class Placed(Exception):
    """The first block of a grid was handed over."""


def test_points_of_a_large_grid_are_selected_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, picked, blocks = np.random.default_rng(0), [], []

    def choice(*arguments: Any, **settings: Any) -> np.ndarray:
        picked.append(generator.choice(*arguments, **settings))
        return picked[-1]

    def place(points: dict[str, np.ndarray]) -> Any:
        blocks.append(points)
        raise Placed

    monkeypatch.setattr(multistart, "BLOCK", 64)
    task = SimpleNamespace(problem=SimpleNamespace(size=3), place=place)
    grid = StartGrid({name: np.linspace(0.1, 0.9, count) for name, count in (("E", 200), ("A", 200), ("alpha", 100))})
    tracemalloc.start()
    with pytest.raises(Placed):
        # The type checker of the tests would refuse what stands in for the task and the generator.
        inspect.unwrap(multistart._polish_explicit)(task, grid, 64, SimpleNamespace(choice=choice))  # pyright: ignore
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(picked[0].tolist())) == 64 and peak < 1e5
    assert [len(points["E"]) for points in blocks] == [64]


SCORE = """
import resource, sys
import numpy as np
from jaxscale import fit, noise, start_grid
from jaxscale.engine import multistart
from tests.sweeps import small, sweep

multistart.BLOCK = int(sys.argv[1])
for count in (1000, 1_000_000):
    axes = [np.linspace(*ends, round(count ** (1 / 3))) for ends in ((0.1, 1.7), (10, 1e4), (0.1, 0.9))]
    for starts in (count, start_grid(**dict(zip(("E", "A", "alpha"), axes, strict=True)))):
        fit(small, sweep(), starts=starts, polish=16, noise=noise.squared("log"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def test_a_million_starts_take_hardly_more_memory_than_a_few() -> None:
    command = [sys.executable, "-c", SCORE, str(multistart.BLOCK)]
    few, million = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    # Laid out at once they would take several times as much.
    assert million - few < 8e7


AXES = dict(E=np.linspace(0.1, 1.7, 12), A=np.geomspace(10, 1e4, 12), alpha=np.linspace(0.1, 0.9, 12))


def kept(monkeypatch: pytest.MonkeyPatch, block: int, starts: Any) -> tuple[list[np.ndarray], str, int]:
    """With so many starts at a time: what a search polishes, the fit, and the most starts scored together."""
    polished: list[np.ndarray] = []
    asked = [0]
    descend, place = multistart.Task.descend, multistart.Task.place

    def seen(self: multistart.Task, z: np.ndarray, **settings: Any) -> Any:
        polished.append(z)
        return descend(self, z, **settings)

    def counted(self: multistart.Task, params: Any) -> Any:
        asked[0] = max(asked[0], len(params["E"]))
        return place(self, params)

    with monkeypatch.context() as patch:
        patch.setattr(multistart, "BLOCK", block)
        patch.setattr(multistart.Task, "descend", seen)
        patch.setattr(multistart.Task, "place", counted)
        text = fit(small, sweep(), starts=starts, noise=noise.squared("log")).to_json()
    return polished, text, asked[0]


def test_a_grid_scored_in_blocks_keeps_the_same_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kept(monkeypatch, 65536, start_grid(**AXES))
    assert whole[2] == 12**3
    for block in (1000, 333):
        parts = kept(monkeypatch, block, start_grid(**AXES))
        assert parts[2] == block and parts[1] == whole[1]
        for grid, others in zip(parts[0], whole[0], strict=True):
            assert np.array_equal(grid, others)


def test_a_grid_is_the_same_as_its_points_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (kept(monkeypatch, 65536, grid) for grid in (start_grid(**AXES), dict(start_grid(**AXES))))
    assert one[1] == other[1]
    for grid, others in zip(one[0], other[0], strict=True):
        assert np.array_equal(grid, others)


def test_a_pool_keeps_the_best_in_any_order_of_arrival() -> None:
    f = np.random.default_rng(0).integers(40, size=300).astype(float)
    z = np.arange(600.0).reshape(2, 300)
    once = Pool(z[:, :0], f[:0], np.zeros(0, int)).merge(z, f, np.arange(300), 20)
    assert np.array_equal(once.number, np.argsort(f, kind="stable")[:20])
    assert np.array_equal(once.z, z[:, once.number]) and np.array_equal(once.f, f[once.number])
    pool = Pool(z[:, :0], f[:0], np.zeros(0, int))
    for first in range(0, 300, 7):
        part = slice(first, first + 7)
        pool = pool.merge(z[:, part], f[part], np.arange(300)[part], 20)
    assert np.array_equal(pool.number, once.number) and np.array_equal(pool.z, once.z)
