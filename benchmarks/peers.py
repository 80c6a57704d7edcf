"""Competitors in SciPy with exact gradients, and the sweeps of the comparisons.

One objective serves all laws that are sums of power terms: Huber(delta) of log residuals, summed, by log-sum-exp.
Its parameters are ``(e, a_1 ... a_k, x_1 ... x_k)``: the log of the floor, logs of amplitudes, exponents.
Competitors in JAX are in :mod:`benchmarks.peers_jax`, those from PyPI in :mod:`benchmarks.peers_packages`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Sweep = dict[str, np.ndarray]
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]

PARAMETERS = ("E", "A", "B", "alpha", "beta")
GRID_NAMES = ("e", "a", "b", "alpha", "beta")
GEMSTONE_PARAMETERS = ("e", "log A", "log B", "log C", "log F", "a", "b", "g", "h")
GEMSTONE_DELTA = 1e-3
BNSL_PARAMETERS = ("a", "b", "c0", "c1", "d1", "f1")
CURVE = "IC|inet_25|BiT/50/1"


def power_objective(
    logs: list[np.ndarray], log_loss: np.ndarray, delta: float, weights: np.ndarray | None = None
) -> Objective:
    """Create the summed Huber loss of log residuals of ``exp(e) + sum_k exp(a_k - x_k logs_k)`` with exact gradient."""
    count = len(logs) + 1
    inputs = np.vstack([np.zeros_like(log_loss), *logs])
    exponents = np.zeros((count, 1))

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        exponents[1:, 0] = x[count:]
        terms = x[:count, None] - exponents * inputs
        top = np.maximum.reduce(terms)
        terms -= top
        np.exp(terms, out=terms)
        total = np.add.reduce(terms)
        residual = np.log(total)
        residual += top
        residual -= log_loss
        # np.clip costs several times more than this on a few hundred rows.
        inside = np.minimum(np.maximum(residual, -delta), delta)
        pull = inside if weights is None else inside * weights
        value = float(pull @ (residual - 0.5 * inside))
        terms *= pull / total
        gradient = np.empty(2 * count - 1)
        gradient[:count] = np.add.reduce(terms, 1)
        gradient[count:] = -np.einsum("kn,kn->k", terms[1:], inputs[1:])
        return value, gradient

    return objective


def scipy_grid(sweep: Sweep, starts: dict[str, np.ndarray], delta: float = 1e-3) -> np.ndarray:
    """Final objective of L-BFGS-B with exact gradient and default tolerances, from every start of the protocol."""
    objective = power_objective([np.log(sweep["N"]), np.log(sweep["D"])], np.log(sweep["loss"]), delta)
    return _ends(objective, np.stack([starts[name] for name in GRID_NAMES], axis=1))


def scipy_single(sweep: Sweep, delta: float = 1e-3) -> tuple[float, np.ndarray]:
    """One run of L-BFGS-B in favourable conditions; the objective and (E, A, B, alpha, beta).

    The start is a common heuristic: the floor is 0.8 of the lowest loss, both terms are half of the rest of the
    median loss, both exponents are 0.4. Inputs are centred in their logs and coordinates are those in which the
    Gauss-Newton matrix at the start is the identity. The objective is divided by delta, as SciPy's tolerances are
    absolute below 1, and ``maxcor`` is large.
    """
    problem = _Centred.of(sweep, delta)
    start = problem.start(sweep["loss"])
    value, x = problem.minimise(start, problem.spread(start))
    return value, problem.natural(x)


def scipy_bootstrap(sweep: Sweep, weights: np.ndarray, delta: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """L-BFGS-B refits from the full optimum, one for each row of ``weights``: objectives and parameters.

    The coordinates are those in which the Gauss-Newton matrix at the full optimum is the identity. On the 240 runs
    this takes 14 evaluations a refit instead of 35 in centred coordinates, and ends as low to 1e-9. BFGS, plain or
    with the inverse Hessian of the full optimum given, takes as many evaluations and 1.5 times as long.
    """
    problem = _Centred.of(sweep, delta)
    start = problem.start(sweep["loss"])
    _, full = problem.minimise(start, problem.spread(start))
    spread = problem.spread(full)
    values, parameters = np.empty(len(weights)), np.empty((len(weights), len(PARAMETERS)))
    for k, row in enumerate(np.asarray(weights, dtype=float)):
        values[k], x = problem.minimise(full, spread, row)
        parameters[k] = problem.natural(x)
    return values, parameters


def scipy_bootstrap_protocol(sweep: Sweep, weights: np.ndarray, delta: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Refits as in published scripts: BFGS with exact gradient in the coordinates of the protocol.

    These are (log E, log A, log B, alpha, beta) with raw inputs, from the full optimum, with SciPy's tolerances.
    """
    from scipy.optimize import minimize

    _, full = scipy_single(sweep, delta)
    start = np.concatenate([np.log(full[:3]), full[3:]])
    logs, log_loss = [np.log(sweep[name]) for name in "ND"], np.log(sweep["loss"])
    values, parameters = np.empty(len(weights)), np.empty((len(weights), len(PARAMETERS)))
    for k, row in enumerate(np.asarray(weights, dtype=float)):
        found = minimize(power_objective(logs, log_loss, delta, row), start, jac=True, method="BFGS")
        values[k], parameters[k] = found.fun, np.concatenate([np.exp(found.x[:3]), found.x[3:]])
    return values, parameters


def scipy_gemstones(sweep: Sweep, starts: np.ndarray, delta: float = GEMSTONE_DELTA) -> np.ndarray:
    """Final objective of L-BFGS-B with exact gradient and SciPy's default tolerances, from every row of ``starts``.

    The law is ``E + A/w**a + B/d**b + C/N**g + F/T**h`` and the columns of starts are GEMSTONE_PARAMETERS. With
    delta 1e-3 its published objective on all 770 rows is 0.0026427674, with delta 1e-4 it is 2.94971e-4.
    """
    return _ends(gemstones_objective(sweep, delta), starts)


def gemstones_objective(sweep: Sweep, delta: float = GEMSTONE_DELTA) -> Objective:
    """Objective of :func:`scipy_gemstones`."""
    return power_objective([np.log(sweep[name]) for name in "wdNT"], np.log(sweep["loss"]), delta)


def gemstones_sweep() -> Sweep:
    """Load all 770 rows of the Gemstones runs: width w, depth d, parameters N with embeddings, tokens T, loss."""
    from jaxscale.data.datasets import load

    table = load("gemstones")
    columns = dict(w="width", d="depth", N="params", T="tokens", loss="loss")
    return {name: table.column(column).astype(float) for name, column in columns.items()}


@dataclass(frozen=True)
class StartGrid:
    """Grid of starts, evaluated lazily: ``grid[5]``, ``grid[:512]``, ``grid[[3, 7]]``.

    Args:
        axes: values of each axis, the last changing fastest.
        order: axis of each column.
        chosen: indices of a subset, or None for all.
    """

    axes: tuple[np.ndarray, ...]
    order: tuple[int, ...]
    chosen: np.ndarray | None = None

    @property
    def full(self) -> int:
        """Number of points of the whole grid."""
        return int(np.prod([len(axis) for axis in self.axes]))

    def __len__(self) -> int:
        return self.full if self.chosen is None else len(self.chosen)

    def __getitem__(self, index: int | slice | list[int] | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        flat = np.asarray(index)
        if np.any(flat < 0) or np.any(flat >= len(self)):
            raise IndexError(f"The grid has {len(self)} starts, but the index is {index}.")
        flat = flat if self.chosen is None else self.chosen[flat]
        places = np.unravel_index(flat, [len(axis) for axis in self.axes])
        return np.stack([self.axes[k][places[k]] for k in self.order], axis=-1)


def gemstones_grid(count: int | None = None, seed: int = 0) -> StartGrid:
    """Starts of the Gemstones authors, all 4,050,000 in their order, or ``count`` of them at random.

    Four exponents in {0, 0.5, ..., 2}, four log amplitudes in {0, 5, ..., 25}, log floor in {-1, -0.5, ..., 1}.
    """
    axes = 4 * (np.arange(0, 2.5, 0.5),) + 4 * (np.arange(0, 30, 5.0),) + (np.arange(-1, 1.5, 0.5),)
    grid = StartGrid(axes, order=(8, 4, 5, 6, 7, 0, 1, 2, 3))
    if count is None:
        return grid
    indices = np.random.default_rng(seed).choice(grid.full, count, replace=False)
    return StartGrid(axes, grid.order, np.sort(indices))


def isoflop_sweeps() -> dict[str, Sweep]:
    """Load the IsoFLOP sweeps of the Huber table: Llama 3 (133 runs), Comma (85) and Nemotron (88), raw units."""
    from jaxscale.data.datasets import load

    columns = dict(N="params", D="tokens", loss="loss")
    llama, ladder = load("isoflop_llama3"), load("isoflop_marin_comma_nemotron")
    isoflop = {"llama3": {name: llama.column(column).astype(float) for name, column in columns.items()}}
    ordinary = ladder.column("validation_optimal_run").astype(float) == 0
    for corpus in ("comma", "nemotron"):
        used = ordinary & (ladder.column("dataset") == corpus)
        isoflop[corpus] = {name: ladder.column(column)[used].astype(float) for name, column in columns.items()}
    return isoflop


def learning_curve() -> tuple[np.ndarray, np.ndarray]:
    """Load a learning curve with one break: millions of examples, and 25-shot ImageNet error of a ResNet-50 (BiT).

    The 68 rows that the benchmark of Alabdulmohsin et al. (2022) fits; millions, so that their range lies
    inside the grid of :func:`bnsl_brute_force`.
    """
    from jaxscale.data.datasets import load

    table = load("learning_curves")
    used = (table.column("curve") == CURVE) & (table.column("split") == "fit")
    return table.column("seen_examples")[used].astype(float) / 1e6, table.column("loss")[used].astype(float)


def bnsl(x: np.ndarray, a: float, b: float, c0: float, c1: float, d1: float, f1: float) -> np.ndarray:
    """Power law with one break, in the form of its authors."""
    return a + b * x ** (-c0) * (1 + (x / d1) ** (1 / np.float64(f1))) ** (-c1 * f1)


def bnsl_grid() -> tuple[np.ndarray, ...]:
    """Axes of the authors' grid, in natural units: 163,840 points of (a, b, c0, c1, d1, f1)."""
    quarter, scale = np.arange(0, 1, 0.25), 1.25 ** np.arange(0, 40, 2.5) - 0.9
    return np.arange(0, 1, 0.1), scale, quarter, quarter, scale, quarter


def bnsl_brute_force(x: np.ndarray, y: np.ndarray, loop: bool = False) -> tuple[float, np.ndarray]:
    """Fit the one-break law as its authors do: 163,840 grid points, then SciPy's ``curve_fit`` from the best of them.

    Both steps minimise squared differences of ``log(1 + y)``; half their sum is returned, which is the squared loss
    of log residuals of the law with floor ``1 + a`` fitted to ``1 + y``. Protocol and axes are those of the script
    released with arXiv:2210.14891 for 4-digit addition. Its grid search is a loop of ``scipy.optimize.brute``, which
    ``loop`` repeats; otherwise the grid is evaluated by arrays, with the same result in a fraction of the time.
    """
    from scipy.optimize import brute, curve_fit

    target = np.log1p(y)

    def predicted(x: np.ndarray, *p: float) -> np.ndarray:
        return np.log(1 + bnsl(x, *p))

    axes = bnsl_grid()
    with np.errstate(all="ignore"):
        if loop:

            def score(places: np.ndarray) -> float:
                point = [axis[int(place)] for axis, place in zip(axes, places, strict=True)]
                return float(np.mean((predicted(x, *point) - target) ** 2))

            places = brute(score, [slice(0, len(axis), 1) for axis in axes], finish=None, workers=1)
            start = np.array([axis[int(place)] for axis, place in zip(axes, np.asarray(places), strict=True)])
        else:
            start = _best_of_grid(axes, x, target)
        try:
            found, _ = curve_fit(predicted, x, target, p0=start, maxfev=100_000)
        except RuntimeError:  # No convergence: the best point of the grid.
            found = start
        return float(np.sum((predicted(x, *found) - target) ** 2) / 2), np.asarray(found)


def _best_of_grid(axes: tuple[np.ndarray, ...], x: np.ndarray, target: np.ndarray) -> np.ndarray:
    a, b, *shape = axes
    c0, c1, d1, f1 = (part[..., None] for part in np.meshgrid(*shape, indexing="ij"))
    with np.errstate(all="ignore"):  # f1 = 0 is no break: the power of an infinity to the zero is one.
        fall = (x ** (-c0) * (1 + (x / d1) ** (1 / f1)) ** (-c1 * f1)).reshape(-1, len(x))
    lowest, best = np.inf, (0, 0, 0)
    for i in range(len(a)):
        for j in range(len(b)):
            scores = np.mean((np.log(1 + a[i] + b[j] * fall) - target) ** 2, axis=1)
            k = int(np.argmin(np.where(np.isnan(scores), np.inf, scores)))
            if scores[k] < lowest:
                lowest, best = scores[k], (i, j, k)
    places = np.unravel_index(best[2], [len(axis) for axis in shape])
    return np.array([a[best[0]], b[best[1]], *(axis[place] for axis, place in zip(shape, places, strict=True))])


def _ends(objective: Objective, points: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize

    return np.array([minimize(objective, x, jac=True, method="L-BFGS-B").fun for x in points])


@dataclass(frozen=True)
class _Centred:
    """Chinchilla problem with inputs centred in their logs."""

    centre: np.ndarray
    logs: list[np.ndarray]
    log_loss: np.ndarray
    delta: float

    @classmethod
    def of(cls, sweep: Sweep, delta: float) -> "_Centred":
        logs = [np.log(sweep[name]) for name in "ND"]
        centre = np.array([log.mean() for log in logs])
        return cls(
            centre, [log - middle for log, middle in zip(logs, centre, strict=True)], np.log(sweep["loss"]), delta
        )

    def start(self, loss: np.ndarray) -> np.ndarray:
        floor = 0.8 * loss.min()
        term = np.log((np.median(loss) - floor) / 2)
        return np.array([np.log(floor), term, term, 0.4, 0.4])

    def natural(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.exp(x[:1]), np.exp(x[1:3] + x[3:] * self.centre), x[3:]])

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Whitening transformation: the reweighted Gauss-Newton matrix at x becomes the identity."""
        terms = np.stack([np.full_like(self.log_loss, x[0]), *(x[1:3, None] - x[3:, None] * np.stack(self.logs))])
        total = np.logaddexp.reduce(terms)
        shares = np.exp(terms - total)
        jacobian = np.concatenate([shares, -shares[1:] * np.stack(self.logs)])
        weights = 1 / np.maximum(self.delta, np.abs(total - self.log_loss))
        return np.linalg.inv(np.linalg.cholesky((jacobian * weights) @ jacobian.T)).T

    def minimise(
        self, x: np.ndarray, spread: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """Run L-BFGS-B from x in the coordinates of ``spread``."""
        from scipy.optimize import minimize

        objective = power_objective(self.logs, self.log_loss, self.delta, weights)

        def scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = objective(x + spread @ z)
            return value / self.delta, (gradient @ spread) / self.delta

        options = dict(maxcor=20, ftol=1e-11, gtol=1e-6, maxiter=1000)
        found = minimize(scaled, np.zeros(len(x)), jac=True, method="L-BFGS-B", options=options)
        return float(found.fun) * self.delta, x + spread @ found.x
