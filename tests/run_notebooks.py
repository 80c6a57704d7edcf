"""Execute every notebook in a temporary folder and stop at the first cell that fails: python tests/run_notebooks.py."""

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SECONDS_PER_CELL = 600


def execute(path: Path) -> None:
    """Run a notebook in a temporary working folder."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = nbformat.read(path, as_version=4)
        context = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources=context).execute()


def main(folder: Path = NOTEBOOKS) -> None:
    """Execute the notebooks of a folder in the order of their names."""
    paths = sorted(folder.glob("*.ipynb"))
    if not paths:
        sys.exit(f"There is no notebook in {folder}.")
    with tempfile.TemporaryDirectory() as cache:
        # The kernels share their compiled programs, and with none of before.
        settings = dict(COMPILATION_CACHE_DIR=cache, PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0.1")
        os.environ.update({f"JAX_{name}": value for name, value in settings.items()})
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        for path in paths:
            began = time.perf_counter()
            execute(path)
            print(f"{path.name}: executed in {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
