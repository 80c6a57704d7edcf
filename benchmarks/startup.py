"""What a newcomer waits for: the import, and the first fit of a fresh process.

    python -m benchmarks.startup [--repeats 7]

``import jaxscale`` against ``import jax``; then ``jaxscale fit`` of 240 rows in a fresh process without and with a
filled compilation cache, against a bare ``jax.numpy.ones(1)``.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import epoch_sweep, machine, python, table, timed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print(machine())
    # Interleaved, as the machine's speed drifts.
    empty, jax, ours = [], [], []
    for _ in range(repeats):
        for times, program in ((empty, "pass"), (jax, "import jax"), (ours, "import jaxscale")):
            times.append(timed(lambda _, program=program: python(program), 1).wall)
    bare = timed(lambda _: python("import jax; jax.numpy.ones(1)"), repeats).wall
    sweep = epoch_sweep()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        rows = zip(*(sweep[name] for name in ("N", "D", "loss")), strict=True)
        path.write_text("N,D,loss\n" + "".join(",".join(repr(float(v)) for v in row) + "\n" for row in rows))

        def fit(cache: str) -> None:
            command = [sys.executable, "-m", "jaxscale", "fit", str(path), "--law", "chinchilla", "--quiet"]
            subprocess.run(command, env={**_environment(), "XDG_CACHE_HOME": cache}, check=True, capture_output=True)

        def cold(_: int) -> None:
            with tempfile.TemporaryDirectory() as cache:
                fit(cache)

        first = timed(cold, min(repeats, 3)).wall
        with tempfile.TemporaryDirectory() as cache:
            fit(cache)
            second = timed(lambda _: fit(cache), min(repeats, 5)).wall
    middle = {name: sorted(times)[repeats // 2] for name, times in (("empty", empty), ("jax", jax), ("ours", ours))}
    over = (middle["ours"] - middle["empty"]) / (middle["jax"] - middle["empty"])
    print(
        table(
            ["what", "seconds", "ratio"],
            [
                ["import jax", f"{middle['jax'] - middle['empty']:.3f}", "1"],
                ["import jaxscale", f"{middle['ours'] - middle['empty']:.3f}", f"{over:.2f} x import jax"],
                ["jax.numpy.ones(1) in a fresh process", f"{bare:.3f}", "1"],
                ["jaxscale fit, 240 rows, empty cache", f"{first:.3f}", f"{first / bare:.1f} x ones(1)"],
                ["jaxscale fit, 240 rows, filled cache", f"{second:.3f}", f"{second / bare:.1f} x ones(1)"],
            ],
        )
    )


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}


if __name__ == "__main__":
    main()
