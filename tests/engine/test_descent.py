"""Runner: order of parts, and sequential execution."""

import time
from threading import Thread

import numpy as np
import pytest

from jaxscale.engine.runner import Runner


@pytest.mark.parametrize("alone", [True, False])
def test_parts_are_ordered_and_sequential_where_required(alone: bool) -> None:
    running: list[int] = []
    most: list[int] = []

    def program(number: np.ndarray) -> np.ndarray:
        running.append(int(number))
        most.append(len(running))
        time.sleep(0.05)
        running.remove(int(number))
        return number

    runner = Runner(alone=alone)
    ends = runner(program, [(np.asarray(k),) for k in range(6)])
    assert [int(end) for end in ends] == list(range(6))
    assert max(most) <= runner.parallel_parts
    assert not alone or max(most) == runner.parallel_parts == 1


def test_sequential_parts_are_sequential_across_threads() -> None:
    running, most = 0, 0

    def program(k: np.ndarray) -> np.ndarray:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return k

    threads = [Thread(target=Runner(alone=True), args=(program, [(np.asarray(k),) for k in range(4)])) for _ in "abc"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 1
