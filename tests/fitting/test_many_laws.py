"""Fits of many laws in one process, next to the process's own compiled functions."""

import subprocess
import sys

import pytest

from jaxscale.utils import memory_maps

PROGRAM = """
import jax, numpy as np
compilations, traces = [], []

def count(event, seconds, **_):
    if event.endswith("backend_compile_duration"):
        compilations.append(event)

jax.monitoring.register_event_duration_secs_listener(count)

def step(x):
    traces.append(len(x))
    return 2 * x + 1

own = jax.jit(step)
own(np.ones(3))

from jaxscale.utils import compilation, memory_maps
import jaxscale
from benchmarks.many_laws import fit_many_laws
from tests.global_state import settings

# SciPy has a warning filter of its own; it is imported first.
import scipy.special

state = settings()
names = list(jaxscale.laws.names())[:6]
fit_many_laws(names[:1], starts=16, report=99)
first = memory_maps.count()
compilation.BETWEEN_LOOKS = 4
compilation.MOST_MAPS = first / int(memory_maps.LIMIT.read_text())
most, _ = fit_many_laws(names[1:], starts=16, report=99)
before = len(compilations)
own(np.ones(3))
# Inside another function it is neither traced again.
jax.jit(lambda x: own(x) + 1).trace(np.ones(3))
print(first, most, len(compilations) - before, own._cache_size(), len(traces), settings() == state)
"""


@pytest.mark.skipif(not memory_maps.count(), reason="the system does not say how many memory maps a process has")
def test_maps_stay_bounded_and_other_functions_stay_compiled() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, most, *own, unchanged = done.stdout.splitlines()[-1].split()
    # Each law takes about 200 memory maps.
    assert int(most) <= int(first) + 400
    assert own == ["0", "1", "1"], "the process's own function was compiled or traced again"
    assert unchanged == "True", "a fit changed a setting of the process"
