"""Start-up time of new processes, relative to one that runs ``jax.numpy.ones(1)``.

    python -m benchmarks.startup [--only posterior --only help] [--repeats 5]

Every row is measured in a new process ``--repeats`` times, alternating between rows, as the speed of the machine
drifts; ``ones`` is measured in every round. A "filled" compilation cache was filled by the same command in a process
with another hash seed. In Python there is no compilation cache. The rows "many" and "new-law" are measured once: the
first takes half a minute, the second fits 50 laws and then reports medians over further ones.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import CHECKOUT, machine, measure, table

ONES = "import jax; jax.numpy.ones(1)"
READ = """
import jaxscale
runs = jaxscale.Observations.from_table({path!r}, inputs=["N", "D"], response="loss")
"""
FIT = READ + 'jaxscale.fit("chinchilla", runs)'
POSTERIOR = READ + 'jaxscale.posterior("chinchilla", runs)'
MANY = """
import json, time
import numpy as np
import jaxscale
from jaxscale import designs, simulate

law = jaxscale.laws.get("chinchilla")
design = designs.isoflop(np.geomspace(1e18, 1e22, 5).tolist(), 5)
truth = law.published["besiroglu2024"]

def seconds(first):
    sweeps = [simulate(law, truth, design, noise=0.005, seed=first + k) for k in range(300)]
    sets = [jaxscale.Observations.from_table(sweep, inputs=["N", "D"], response="loss") for sweep in sweeps]
    began, spent = time.perf_counter(), time.process_time()
    jaxscale.posterior_many(law, sets, progress=False)
    return time.perf_counter() - began, time.process_time() - spent

print(json.dumps({"many-first": seconds(0), "many-again": seconds(1000)}))
"""
# Laws evenly spaced in the catalogue; laws that cannot be fitted to their sweeps are skipped.
NEW_LAW = """
import gc, json, statistics, time
from pathlib import Path
import jaxscale
from benchmarks.refit import sweep

def memory():
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    size = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS:"))
    return size, Path("/proc/self/maps").read_bytes().count(b"\\n")

def spent(law):
    runs = jaxscale.Observations.from_table(sweep(law), inputs=list(law.inputs), response="y")
    size, maps = memory()
    began = time.process_time()
    jaxscale.fit(law, runs, n_resamples=0, allow_unidentified=True, progress=False)
    cpu = time.process_time() - began
    return cpu, memory()[0] - size, memory()[1] - maps

catalogue = [law for law in jaxscale.laws.catalogue().values() if law.parameters]
found = []
for law in catalogue[:: max(len(catalogue) // {wanted}, 1)]:
    try:
        found.append(spent(law))
    except ValueError:
        continue
cpu, size, maps = (statistics.median(column) for column in zip(*found[{fitted}:], strict=True))
print(json.dumps({{"new-law-cpu": [cpu, cpu], "new-law-memory": [size, size], "new-law-maps": [maps, maps]}}))
"""
# Laws that are fitted first, and about how many there are in all.
FITTED, WANTED = 50, 64


@dataclass(frozen=True)
class Row:
    """A row of the table: measured quantity, unit and targets.

    Args:
        what: description.
        unit: unit of the targets: "x" is the wall time over that of ``ones``.
        must: required target.
        aim: desired target.
    """

    what: str
    unit: str
    must: float | None = None
    aim: float | None = None


ROWS = {
    "ones": Row("jax.numpy.ones(1)", "x"),
    "posterior-filled": Row("jaxscale posterior, 99 rows, filled cache", "x", 4.5, 3),
    "posterior-empty": Row("jaxscale posterior, 99 rows, empty cache", "x", 10, 7),
    "fit-filled": Row("jaxscale fit, 99 rows, filled cache", "x", 2.4, 1.8),
    "fit-empty": Row("jaxscale fit, 99 rows, empty cache", "x", 5, 3.5),
    "forecast-filled": Row("jaxscale forecast, 99 rows, filled cache", "x", 2.8, 2),
    "python-posterior": Row("first posterior in Python, 99 rows, no cache", "CPU s", 7, 5),
    "python-fit": Row("first fit in Python, 99 rows, no cache", "CPU s", 4, 3),
    "many-first": Row("300 posteriors of 25 rows, first", "s", 12),
    "many-again": Row("300 posteriors of 25 rows, again", "s", 8),
    "import": Row("import jaxscale", "x import jax", 1.25, 1.1),
    "import-fit": Row("import jaxscale and look fit up", "x import jax"),
    "new-law-cpu": Row(f"fit of a new law after {FITTED} others", "CPU s", 3),
    "new-law-memory": Row("growth of memory by a new law", "MB", 30),
    "new-law-maps": Row("growth of memory maps by a new law", "maps", 200),
}
COMMANDS = ["demo", "laws", "simulate", "check", "notices", "fit", "posterior", "bootstrap", "profile", "forecast"]
HELP = {"help": ["--help"], **{f"help-{name}": [name, "--help"] for name in COMMANDS}, "notices": ["notices"]}
ROWS |= {name: Row(f"jaxscale {' '.join(words)}", "s", 0.4, 0.25) for name, words in HELP.items()}
# Rows that are measured once and take minutes.
ONCE = ("many-first", "many-again", "new-law-cpu", "new-law-memory", "new-law-maps")


@dataclass(frozen=True)
class Process:
    """Runs processes with separate caches and measures wall and CPU seconds.

    Args:
        folder: folder of the caches and of the table.
    """

    folder: Path

    @property
    def sweep(self) -> Path:
        """File of the 99 rows of ``jaxscale demo``."""
        return self.folder / "demo.csv"

    def run(self, words: list[str], cache: str = "", seed: int = 0) -> tuple[float, float, str]:
        """Wall seconds, CPU seconds and output of Python with these arguments.

        Args:
            words: command-line arguments.
            cache: name of the folder of the compilation cache; a new one by default.
            seed: hash seed.
        """
        ignored = ("JAX_", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "XDG_CACHE_HOME")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
        environment |= {"PYTHONHASHSEED": str(seed), "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "")}
        with tempfile.TemporaryDirectory(dir=self.folder) as own:
            environment["XDG_CACHE_HOME"] = str(self.folder / cache) if cache else own
            done = measure(lambda _: _run_process([sys.executable, *words], environment), 1)
        return done.wall, done.cpu, done.value

    def command(self, name: str, cache: str = "", seed: int = 0) -> tuple[float, float, str]:
        """As :meth:`run` for ``jaxscale NAME`` on the sweep."""
        more = ["--at", "N=7e10", "--at", "D=1.4e12"] if name == "forecast" else []
        return self.run(["-m", "jaxscale", name, str(self.sweep), "--law", "chinchilla", *more], cache, seed)


def _run_process(words: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(words, env=environment, cwd=CHECKOUT, capture_output=True, text=True)
    # Exit status 3: done, with notices.
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
    return done.stdout


def _imports(process: Process) -> dict[str, tuple[float, float]]:
    """Import times less that of an empty process, relative to JAX: wall and CPU."""
    programs = ("pass", "import jax", "import jaxscale", "import jaxscale; jaxscale.fit")
    empty, jax, ours, fit = (process.run(["-c", program])[:2] for program in programs)
    return {
        name: ((spent[0] - empty[0]) / (jax[0] - empty[0]), (spent[1] - empty[1]) / (jax[1] - empty[1]))
        for name, spent in (("import", ours), ("import-fit", fit))
    }


def _measure(process: Process, name: str, turn: int) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds of a row (or another quantity twice), and of all rows from the same process."""
    if name == "ones":
        return {name: process.run(["-c", ONES])[:2]}
    if name in HELP:
        return {name: process.run(["-m", "jaxscale", *HELP[name]])[:2]}
    if name.startswith("import"):
        return _imports(process)
    if name in ONCE:
        program = MANY if name.startswith("many") else NEW_LAW.format(wanted=WANTED, fitted=FITTED)
        return {key: (wall, cpu) for key, (wall, cpu) in json.loads(process.run(["-c", program])[2]).items()}
    if name.startswith("python"):
        program = POSTERIOR if name == "python-posterior" else FIT
        return {name: process.run(["-c", program.format(path=str(process.sweep))])[:2]}
    command, _, cache = name.partition("-")
    # Each round has its own hash seed, so that no process finds the programs of another with the same seed.
    return {name: process.command(command, "filled" if cache == "filled" else "", 1 + turn)[:2]}


def measure_rows(chosen: list[str], repeats: int, say: Callable[[str], None]) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every selected row, in each round.

    Args:
        chosen: names of rows.
        repeats: number of rounds.
        say: function that prints progress.
    """
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    from jaxscale.cli.parsing import csv_text
    from jaxscale.data.designs import example

    with tempfile.TemporaryDirectory() as folder:
        process = Process(Path(folder))
        process.sweep.write_text(csv_text(example()))
        # The first import of a module compiles its bytecode.
        process.run(["-c", "import jaxscale.cli.app, jaxscale.cli.parsing; jaxscale.fit, jaxscale.posterior"])
        for name in dict.fromkeys(name.partition("-")[0] for name in chosen if name.endswith("-filled")):
            process.command(name, "filled")
        for turn in range(repeats):
            done: set[str] = set()
            for name in ["ones", *chosen]:
                if name in done or (turn and name in ONCE):
                    continue
                say(f"round {turn + 1} of {repeats}: {name}")
                for key, spent in _measure(process, name, turn).items():
                    found[key].append(spent)
                    done.add(key)
    return found


def cells(name: str, turns: list[tuple[float, float]], ones: float) -> list[str]:
    """Cells of a row: what, measured, times ones, must, aim.

    Args:
        name: name of the row.
        turns: wall and CPU seconds of each round, or another quantity that the row measures.
        ones: wall seconds of ``jax.numpy.ones(1)``.
    """
    row = ROWS[name]
    wall, cpu = (statistics.median(column) for column in zip(*turns, strict=True))
    times = ""
    if row.unit in ("x", "s"):
        shown, times = f"{wall:.3g} s, {cpu:.3g} CPU s", f"{wall / ones:.2f}"
    elif row.unit == "x import jax":
        shown = f"{wall:.2f} x import jax, {cpu:.2f} in CPU s"
    else:
        shown = f"{cpu:.3g} {row.unit}"
    unit = "x" if row.unit == "x import jax" else row.unit
    targets = ["" if target is None else f"{target:g} {unit}" for target in (row.must, row.aim)]
    return [row.what, shown, times, *targets]


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the options; ``chosen`` holds the names of the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=f"rows whose names contain this: {', '.join(ROWS)}"
    )
    parser.add_argument("--repeats", type=int, default=5, help="number of rounds; medians are shown")
    options = parser.parse_args(arguments)
    options.chosen = [name for name in ROWS if name != "ones" and any(part in name for part in options.only or [""])]
    if not options.chosen:
        parser.error(f"no row has {' or '.join(options.only)} in its name; rows are {', '.join(ROWS)}")
    return options


def main() -> None:
    """Print the table."""
    options = parse_options()
    found = measure_rows(options.chosen, options.repeats, lambda line: print(line, file=sys.stderr, flush=True))
    ones = statistics.median(wall for wall, _ in found["ones"])
    print(machine())
    rows = [cells(name, found[name], ones) for name in ROWS if name == "ones" or name in options.chosen]
    print(table(["what", "measured", "times ones", "must", "aim"], rows))


if __name__ == "__main__":
    main()
