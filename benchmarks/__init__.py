"""Benchmarks of speed, reliability and calibration, one command each; they are not part of the tests.

One BLAS thread, set before NumPy and SciPy are imported: more threads make small problems slower, on either side.
"""

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
