"""Schemes of resampling: which rows count how often, or which responses stand in the place of those measured.

A row of weight w has noise of variance proportional to 1 / w, so that ``u = sqrt(w) r`` are residuals of one size.
Leverages are those of weighted least squares at the optimum, ``H = Q Q'`` with an orthonormal basis Q of the columns
``sqrt(w) df/dz``.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxscale.engine.linearize import Linear
from jaxscale.fitting.refits import resampled
from jaxscale.results.refit_problem import RefitProblem
from jaxscale.utils.errors import ArgumentError, Setting

# Signs of a wild bootstrap, of mean 0 and variance 1, with their chances.
_GOLDEN = (1 + np.sqrt(5.0)) / 2
SIGNS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "rademacher": ((-1.0, 1.0), (0.5, 0.5)),
    "mammen": ((1 - _GOLDEN, _GOLDEN), (_GOLDEN / np.sqrt(5.0), 1 - _GOLDEN / np.sqrt(5.0))),
}
# The largest degrees of freedom that are told from a normal distribution.


@dataclass(frozen=True)
class Resamples:
    """Data sets to refit.

    Args:
        response: shape (n,), or (n_resamples, n) where responses are replaced.
        weight: shape (n,), or (n_resamples, n) where rows are drawn.
        about: what there is to say of how they were made.
    """

    response: np.ndarray
    weight: np.ndarray
    about: dict[str, Any]


def cases(again: RefitProblem, unit: np.ndarray | None, n_resamples: int, generator: np.random.Generator) -> Resamples:
    """Rows, or whole units, drawn with replacement."""
    weight = resampled(again.wide.weight, unit, n_resamples, generator)
    return Resamples(again.wide.response, weight, {})


def residual(again: RefitProblem, linear: Linear, n_resamples: int, generator: np.random.Generator) -> Resamples:
    """Centred residuals, ``sqrt(n / (n - p))`` times as large, drawn with replacement.

    They are centred where the noise's loss has its minimum: at their mean for squared error.
    """
    used, root, u = _scaled(again, linear)
    u = (u - again.problem.noise.loss.centre(u)) * np.sqrt(len(u) / freedom(again))
    drawn = u[generator.integers(len(u), size=(n_resamples, len(u)))]
    return _replaced(again, linear, used, drawn / root, {})


def wild(
    again: RefitProblem,
    linear: Linear,
    unit: np.ndarray | None,
    signs: str,
    n_resamples: int,
    generator: np.random.Generator,
) -> Resamples:
    """Every row's own residual with a random sign, one sign for all rows of a unit.

    Residuals of single rows are divided by ``sqrt(1 - h)``: for a linear law the refits then have the covariance HC2.
    Those of a unit g are ``sqrt((G - 1) / G) (I - H_gg)^-1 u_g``: the refits then have that of the jackknife, CR3.

    Raises:
        ValueError: without one of the units the parameters are not identified.
    """
    used, root, u = _scaled(again, linear)
    q = basis(again, linear)
    if unit is None:
        codes = np.arange(len(u))
        h = np.sum(q * q, axis=1)
        # A row that alone decides a parameter has no residual to speak of.
        u = u / np.sqrt(np.where(h < 1 - 1e-10, 1 - h, 1.0))
    else:
        codes = np.unique(unit[used], return_inverse=True)[1]
        u = _without(u, q, codes)
    values, chances = SIGNS[signs]
    drawn = np.asarray(values)[generator.choice(len(values), size=(n_resamples, int(codes.max()) + 1), p=chances)]
    return _replaced(again, linear, used, drawn[:, codes] * u / root, {"signs": signs})


def parametric(again: RefitProblem, linear: Linear, n_resamples: int, generator: np.random.Generator) -> Resamples:
    """Noise drawn from the distribution that the fit found, with an effect of the run where runs repeat.

    Normal with ``s^2 = sum w r^2 / (n - p)`` for squared error; Student-t as fitted for Student-t; for Huber's and
    absolute loss a Student-t fitted to the residuals, ``sqrt(n / (n - p))`` times as wide. The share of the variance
    that the rows of a run have in common is estimated by moments (see :func:`shared`).
    """
    used, root, u = _scaled(again, linear)
    noise, n = again.problem.noise, len(u)
    df, scale = noise.loss.distribution(u, freedom(again), float(again.problem.log_scale(again.z)))

    def noisy(count: int) -> np.ndarray:
        size = (n_resamples, count)
        return generator.standard_normal(size) if np.isinf(df) else generator.standard_t(df, size)

    about: dict[str, Any] = {"scale": scale} if np.isinf(df) else {"scale": scale, "df": df}
    if again.clusters is None:
        return _replaced(again, linear, used, scale * noisy(n) / root, {"noise": about})
    codes = np.unique(again.clusters[used], return_inverse=True)[1]
    between, within = shared(u, root, basis(again, linear), codes)
    if np.isinf(df):
        run, row = np.sqrt(between), np.sqrt(within)
    else:
        share = between / (between + within)
        run, row = scale * np.sqrt(share), scale * np.sqrt(1 - share)
    drawn = run * noisy(int(codes.max()) + 1)[:, codes] + row * noisy(n) / root
    about |= {"scale": float(row), "scale_of_runs": float(run)}
    return _replaced(again, linear, used, drawn, {"noise": about})


def freedom(again: RefitProblem) -> int:
    """Rows that count, less the free parameters."""
    return int(np.sum(again.wide.weight > 0)) - len(again.problem.free)


def basis(again: RefitProblem, linear: Linear) -> np.ndarray:
    """An orthonormal basis of the columns ``sqrt(w) df/dz`` of the rows that count, shape (rows, rank)."""
    used = np.flatnonzero(again.wide.weight > 0)
    columns = np.sqrt(again.wide.weight[used])[:, None] * linear.slope[used][:, : len(again.problem.free)]
    size = np.linalg.norm(columns, axis=0)
    left, values, _ = np.linalg.svd(columns / np.where(size > 0, size, 1.0), full_matrices=False)
    return left[:, values > max(columns.shape) * np.finfo(float).eps * values[0]]


def shared(u: np.ndarray, root: np.ndarray, q: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Variances of the runs' effect and of the rows' own noise, by moments.

    With ``M = I - Q Q'`` residuals are ``u = M (Z b + e)``, so that for the projection W off the runs' means
    ``E u'u = s_e^2 tr M + s_b^2 |M Z|^2`` and ``E u'W u = s_e^2 tr(M W M) + s_b^2 |W M Z|^2``: two equations.

    Args:
        u: residuals times ``sqrt(w)``, shape (n,).
        root: ``sqrt(w)``, shape (n,): how the runs' effect enters.
        q: basis of the fitted columns, shape (n, rank).
        codes: runs 0..R-1 of the rows, shape (n,).
    """
    z = np.zeros((len(u), int(codes.max()) + 1))
    z[np.arange(len(u)), codes] = root
    weight = np.sum(z * z, axis=0)

    def off_means(a: np.ndarray) -> np.ndarray:
        return a - z @ ((z.T @ a).T / weight).T

    seen = z - q @ (q.T @ z)
    system = [
        [len(u) - q.shape[1], np.sum(seen**2)],
        [len(u) - z.shape[1] - np.sum(off_means(q) ** 2), np.sum(off_means(seen) ** 2)],
    ]
    total = float(u @ u)
    alone = total / system[0][0], total / system[0][1] if system[0][1] > 0 else 0.0
    if abs(np.linalg.det(system)) <= 1e-12 * abs(system[0][0] * system[1][1]) or system[1][0] <= 0:
        return 0.0, alone[0]
    within, between = np.linalg.solve(system, [total, float(u @ off_means(u))])
    if between <= 0:
        return 0.0, alone[0]
    return (float(between), float(within)) if within > 0 else (alone[1], 0.0)


def _scaled(again: RefitProblem, linear: Linear) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that count, the roots of their weights, and ``u = sqrt(w) (response - law)`` in the noise's space."""
    used = np.flatnonzero(again.wide.weight > 0)
    root = np.sqrt(again.wide.weight[used])
    return used, root, -root * linear.residual[used]


def _without(u: np.ndarray, q: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """``sqrt((G - 1) / G) (I - H_gg)^-1 u_g`` for every unit g, by the small system ``I - Q_g' Q_g``."""
    groups = int(codes.max()) + 1
    grams, sums = np.zeros((groups, q.shape[1], q.shape[1])), np.zeros((groups, q.shape[1]))
    np.add.at(grams, codes, q[:, :, None] * q[:, None, :])
    np.add.at(sums, codes, q * u[:, None])
    rest = np.eye(q.shape[1]) - grams
    if np.linalg.eigvalsh(rest).min() <= 1e-10:
        raise ArgumentError(
            "kind",
            "must not be 'wild' here: without one of the runs (or groups) the data do not identify the "
            "parameters, so that its residuals say nothing; use ",
            Setting("kind", "parametric"),
            ", or add runs.",
        )
    moves = np.linalg.solve(rest, sums[:, :, None])[:, :, 0]
    return np.sqrt((groups - 1) / groups) * (u + np.sum(q * moves[codes], axis=1))


def _replaced(
    again: RefitProblem, linear: Linear, used: np.ndarray, drawn: np.ndarray, about: dict[str, Any]
) -> Resamples:
    """Responses of the fitted law with other noise, shape (n_resamples, n)."""
    y = again.wide.response
    fitted = linear.residual[used] + np.asarray(again.problem.noise.transform(jnp.asarray(y[used])))
    response = np.repeat(y[None], len(drawn), axis=0)
    response[:, used] = again.problem.noise.space.inverse(fitted + drawn)
    return Resamples(response, again.wide.weight, about)
