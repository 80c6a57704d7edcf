"""The runner: parts in order, and one at a time where they must be."""

import time

import numpy as np
import pytest

from jaxscale.batch import Runner


@pytest.mark.parametrize("alone", [True, False])
def test_parts_come_back_in_order_and_alone_where_they_must_be(alone: bool) -> None:
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
    assert max(most) <= runner.together
    assert not alone or max(most) == runner.together == 1
