"""Resampling schemes: weights of resampled rows, or simulated responses.

A row of weight w has noise of variance proportional to 1 / w, so that ``u = sqrt(w) r`` are homoscedastic residuals.
Leverages are those of weighted least squares at the optimum, ``H = Q Q'`` with an orthonormal basis Q of the columns
``sqrt(w) df/dz``.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxscale.engine.linearize import Linear
from jaxscale.fitting.refits import case_weights
from jaxscale.results.refit_problem import RefitProblem
from jaxscale.utils.errors import ArgumentError, Setting

# Signs of a wild bootstrap, of mean 0 and variance 1, with their probabilities.
_GOLDEN = (1 + np.sqrt(5.0)) / 2
SIGNS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "rademacher": ((-1.0, 1.0), (0.5, 0.5)),
    "mammen": ((1 - _GOLDEN, _GOLDEN), (_GOLDEN / np.sqrt(5.0), 1 - _GOLDEN / np.sqrt(5.0))),
}


@dataclass(frozen=True)
class Resamples:
    """Resampled data sets.

    Args:
        response: shape (n,), or (n_resamples, n) where responses are simulated.
        weight: shape (n,), or (n_resamples, n) where rows are resampled.
        about: settings of the scheme.
    """

    response: Float[np.ndarray, "... row"]
    weight: Float[np.ndarray, "... row"]
    about: dict[str, Any]


def cases(
    refit: RefitProblem, unit: Int[np.ndarray, " row"] | None, n_resamples: int, generator: np.random.Generator
) -> Resamples:
    """Case resampling: rows, or whole units, drawn with replacement."""
    weight = case_weights(refit.wide.weight, unit, n_resamples, generator)
    return Resamples(refit.wide.response, weight, {})


def residual(refit: RefitProblem, linear: Linear, n_resamples: int, generator: np.random.Generator) -> Resamples:
    """Residual resampling: centred residuals times ``sqrt(n / (n - p))``, drawn with replacement.

    They are centred at the minimiser of the loss: their mean for squared error.
    """
    used, root, u = _scaled_residuals(refit, linear)
    u = (u - refit.problem.noise.loss.centre(u)) * np.sqrt(len(u) / freedom(refit))
    noise = u[generator.integers(len(u), size=(n_resamples, len(u)))]
    return _simulate(refit, linear, used, noise / root, {})


def wild(
    refit: RefitProblem,
    linear: Linear,
    unit: Int[np.ndarray, " row"] | None,
    signs: str,
    n_resamples: int,
    generator: np.random.Generator,
) -> Resamples:
    """Wild resampling: every row's own residual with a random sign, shared by the rows of a unit.

    Residuals of single rows are divided by ``sqrt(1 - h)``: for a linear law the refits have covariance HC2. Those of
    a unit g are ``sqrt((G - 1) / G) (I - H_gg)^-1 u_g``: the refits have that of the jackknife, CR3.

    Raises:
        ValueError: the parameters are not identified without one of the units.
    """
    used, root, u = _scaled_residuals(refit, linear)
    q = basis(refit, linear)
    if unit is None:
        codes = np.arange(len(u))
        h = np.sum(q * q, axis=1)
        # A row of leverage 1 has a residual of zero.
        u = u / np.sqrt(np.where(h < 1 - 1e-10, 1 - h, 1.0))
    else:
        codes = np.unique(unit[used], return_inverse=True)[1]
        u = _leave_out_residuals(u, q, codes)
    values, chances = SIGNS[signs]
    draws = np.asarray(values)[generator.choice(len(values), size=(n_resamples, int(codes.max()) + 1), p=chances)]
    return _simulate(refit, linear, used, draws[:, codes] * u / root, {"signs": signs})


def parametric(refit: RefitProblem, linear: Linear, n_resamples: int, generator: np.random.Generator) -> Resamples:
    """Parametric resampling: noise drawn from the fitted distribution, with run effects where runs have several rows.

    Normal with ``s^2 = sum w r^2 / (n - p)`` for squared error; the fitted Student-t for Student-t; for Huber's and
    absolute loss a Student-t fitted to the residuals, ``sqrt(n / (n - p))`` times as wide. The variance of the run
    effects is estimated by moments (see :func:`variance_components`).
    """
    used, root, u = _scaled_residuals(refit, linear)
    noise, n = refit.problem.noise, len(u)
    df, scale = noise.loss.distribution(u, freedom(refit), float(refit.problem.log_scale(refit.z)))

    def noisy(count: int) -> Float[np.ndarray, "resample count"]:
        size = (n_resamples, count)
        return generator.standard_normal(size) if np.isinf(df) else generator.standard_t(df, size)

    about: dict[str, Any] = {"scale": scale} if np.isinf(df) else {"scale": scale, "df": df}
    if refit.clusters is None:
        return _simulate(refit, linear, used, scale * noisy(n) / root, {"noise": about})
    codes = np.unique(refit.clusters[used], return_inverse=True)[1]
    between, within = variance_components(u, root, basis(refit, linear), codes)
    if np.isinf(df):
        run, row = np.sqrt(between), np.sqrt(within)
    else:
        share = between / (between + within)
        run, row = scale * np.sqrt(share), scale * np.sqrt(1 - share)
    errors = run * noisy(int(codes.max()) + 1)[:, codes] + row * noisy(n) / root
    about |= {"scale": float(row), "scale_of_runs": float(run)}
    return _simulate(refit, linear, used, errors, {"noise": about})


def freedom(refit: RefitProblem) -> int:
    """Degrees of freedom: rows of positive weight minus free parameters."""
    return int(np.sum(refit.wide.weight > 0)) - len(refit.problem.free)


def basis(refit: RefitProblem, linear: Linear) -> Float[np.ndarray, "used rank"]:
    """Orthonormal basis of the columns ``sqrt(w) df/dz`` over rows of positive weight, shape (rows, rank)."""
    used = np.flatnonzero(refit.wide.weight > 0)
    columns = np.sqrt(refit.wide.weight[used])[:, None] * linear.slope[used][:, : len(refit.problem.free)]
    size = np.linalg.norm(columns, axis=0)
    left, values, _ = np.linalg.svd(columns / np.where(size > 0, size, 1.0), full_matrices=False)
    return left[:, values > max(columns.shape) * np.finfo(float).eps * values[0]]


def variance_components(
    u: Float[np.ndarray, " used"],
    root: Float[np.ndarray, " used"],
    q: Float[np.ndarray, "used rank"],
    codes: Int[np.ndarray, " used"],
) -> tuple[float, float]:
    """Variance components, between and within runs, by the method of moments.

    With ``M = I - Q Q'`` residuals are ``u = M (Z b + e)``, so that for the projection W off the run means
    ``E u'u = s_e^2 tr M + s_b^2 |M Z|^2`` and ``E u'W u = s_e^2 tr(M W M) + s_b^2 |W M Z|^2``: two equations.

    Args:
        u: residuals times ``sqrt(w)``, shape (n,).
        root: ``sqrt(w)``, shape (n,), the coefficients of the run effects.
        q: basis of the fitted columns, shape (n, rank).
        codes: runs 0..R-1 of the rows, shape (n,).
    """
    z = np.zeros((len(u), int(codes.max()) + 1))
    z[np.arange(len(u)), codes] = root
    weight = np.sum(z * z, axis=0)

    def off_means(a: Float[np.ndarray, "used ..."]) -> Float[np.ndarray, "used ..."]:
        return a - z @ ((z.T @ a).T / weight).T

    projected = z - q @ (q.T @ z)
    system = [
        [len(u) - q.shape[1], np.sum(projected**2)],
        [len(u) - z.shape[1] - np.sum(off_means(q) ** 2), np.sum(off_means(projected) ** 2)],
    ]
    total = float(u @ u)
    single = total / system[0][0], total / system[0][1] if system[0][1] > 0 else 0.0
    if abs(np.linalg.det(system)) <= 1e-12 * abs(system[0][0] * system[1][1]) or system[1][0] <= 0:
        return 0.0, single[0]
    within, between = np.linalg.solve(system, [total, float(u @ off_means(u))])
    if between <= 0:
        return 0.0, single[0]
    return (float(between), float(within)) if within > 0 else (single[1], 0.0)


def _scaled_residuals(
    refit: RefitProblem, linear: Linear
) -> tuple[Int[np.ndarray, " used"], Float[np.ndarray, " used"], Float[np.ndarray, " used"]]:
    """Rows of positive weight, the roots of the weights, and ``u = sqrt(w) (response - law)`` in the noise's space."""
    used = np.flatnonzero(refit.wide.weight > 0)
    root = np.sqrt(refit.wide.weight[used])
    return used, root, -root * linear.residual[used]


def _leave_out_residuals(
    u: Float[np.ndarray, " used"], q: Float[np.ndarray, "used rank"], codes: Int[np.ndarray, " used"]
) -> Float[np.ndarray, " used"]:
    """``sqrt((G - 1) / G) (I - H_gg)^-1 u_g`` for every unit g, from the small system ``I - Q_g' Q_g``."""
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


def _simulate(
    refit: RefitProblem,
    linear: Linear,
    used: Int[np.ndarray, " used"],
    noise: Float[np.ndarray, "resample used"],
    about: dict[str, Any],
) -> Resamples:
    """Responses of the fitted law with resampled noise, shape (n_resamples, n)."""
    y = refit.wide.response
    fitted = linear.residual[used] + np.asarray(refit.problem.noise.transform(jnp.asarray(y[used])))
    response = np.repeat(y[None], len(noise), axis=0)
    response[:, used] = refit.problem.noise.space.inverse(fitted + noise)
    return Resamples(response, refit.wide.weight, about)
