"""Model discrepancy: a Gaussian process for the deviation of a law from the data, with variances integrated out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jaxscale.utils.arrays import Value

# Grids of variance ratios to the noise, evenly spaced in logarithms: of the discrepancy, and of the run effects.
# A discrepancy of 0 means that the law is correctly specified.
DISCREPANCIES = np.concatenate([[0.0], np.logspace(-3, 6, 46)])
SHARED = np.logspace(-2, 3, 11)


@dataclass(frozen=True)
class ResidualDistribution:
    """Predictive distribution of m new residuals: a mixture of Student-t over settings of the variances.

    Args:
        weight: of the settings, shape (s,).
        mean: shape (s, m).
        spread: scales, shape (s, m).
        freedom: degrees of freedom.
        sigma: standard deviation of the noise, shape (s,).
        tau: ratio of the standard deviation of the discrepancy to it, shape (s,).
    """

    weight: Float[np.ndarray, " setting"]
    mean: Float[np.ndarray, "setting new"]
    spread: Float[np.ndarray, "setting new"]
    freedom: int
    sigma: Float[np.ndarray, " setting"]
    tau: Float[np.ndarray, " setting"]

    def quantile(self, share: float) -> Float[np.ndarray, " new"]:
        """Quantiles of the mixture by bisection between those of its components, shape (m,)."""
        from scipy.special import stdtr, stdtrit

        finite = np.isfinite(self.spread).all(axis=0)
        spread = np.where(finite, self.spread, 1.0)
        ends = self.mean + float(stdtrit(self.freedom, share)) * spread
        low, high = ends.min(axis=0), ends.max(axis=0)
        for _ in range(60):
            guess = 0.5 * (low + high)
            below = self.weight @ stdtr(self.freedom, (guess - self.mean) / spread) < share
            low, high = np.where(below, guess, low), np.where(below, high, guess)
        return np.where(finite, 0.5 * (low + high), 0.0 if share == 0.5 else np.copysign(np.inf, share - 0.5))

    def deviation(self) -> Float[np.ndarray, " new"]:
        """Standard deviations, shape (m,)."""
        if self.freedom < 3:
            return np.full(self.mean.shape[1], np.nan)
        middle = self.weight @ self.mean
        inner = self.freedom / (self.freedom - 2) * self.spread**2
        return np.sqrt(self.weight @ (inner + (self.mean - middle) ** 2))

    def sizes(self) -> tuple[float, float]:
        """Posterior medians of sigma and tau."""
        medians = []
        for values in (self.sigma, self.tau):
            order = np.argsort(values)
            medians.append(float(values[order][np.searchsorted(np.cumsum(self.weight[order]), 0.5)]))
        return medians[0], medians[1]

    def probability_law_holds(self) -> float:
        """Posterior probability that the law is correctly specified."""
        return float(self.weight[self.tau == 0].sum())


def predict_residuals(
    jacobian: Float[np.ndarray, "row free"],
    residual: Float[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
    slopes: Float[np.ndarray, "new free"],
    size: Float[np.ndarray, " row"],
    sizes: Float[np.ndarray, " new"],
    run: Int[np.ndarray, " row"] | None = None,
) -> ResidualDistribution:
    """Predictive distribution of new residuals given those of the data, by universal kriging.

    Args:
        jacobian: of the law in its parameters, shape (n, p), n above p.
        residual: response minus prediction, shape (n,).
        weight: the noise has variance ``sigma^2 / weight``, shape (n,).
        slopes: the Jacobian at the new inputs, shape (m, p).
        size: log size of the data, scaled to [0, 1], shape (n,).
        sizes: log sizes of the new inputs on the same scale, shape (m,).
        run: codes of the rows' runs, shape (n,), where runs have several rows.
    """
    count = len(residual)
    unit = np.linalg.norm(jacobian, axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    kernel, across, own = covariance(size, size), covariance(sizes, size), np.diag(covariance(sizes, sizes))
    parts: list[tuple[np.ndarray, ...]] = []
    ratio_unit, freedom = 0.0, 1
    for shared in [0.0] if run is None else SHARED:
        noise = np.diag(1 / weight) + (0.0 if run is None else shared * (run[:, None] == run))
        lower = np.linalg.cholesky(noise)
        whiten = np.linalg.inv(lower)
        J, r, K, C = whiten @ (jacobian / unit), whiten @ residual, whiten @ kernel @ whiten.T, across @ whiten.T
        u, s, v = np.linalg.svd(J)
        rank = int(np.sum(s > count * np.finfo(float).eps * s[0]))
        freedom = count - rank
        # Prediction error of the least-squares forecast A, and contrasts of the data, both free of the parameters.
        A = slopes / unit @ (v[:rank].T / s[:rank]) @ u[:, :rank].T
        values, turn = np.linalg.eigh(u[:, rank:].T @ K @ u[:, rank:])
        values, basis = np.maximum(values, 0.0), u[:, rank:] @ turn
        contrasts, shadow = basis.T @ r, (C - A @ K) @ basis
        ratio_unit = ratio_unit or 1 / max(float(values.mean()), np.finfo(float).tiny)
        ratio = (ratio_unit * DISCREPANCIES)[:, None]
        each = 1 + ratio * values
        variance = np.maximum(np.sum(contrasts**2 / each, axis=1) / freedom, np.finfo(float).tiny)
        mean = A @ r + (ratio * contrasts / each) @ shadow.T
        misfit = own - 2 * np.sum(C * A, axis=1) + np.sum((A @ K) * A, axis=1)
        spread = 1 + shared + np.sum(A**2, axis=1) + ratio * misfit - (ratio**2 / each) @ (shadow**2).T
        spread = np.sqrt(variance[:, None] * np.maximum(spread, 1 + shared))
        # The variance is infinite along unidentified directions.
        unidentified = slopes / unit - slopes / unit @ v[:rank].T @ v[:rank]
        spread[:, np.linalg.norm(unidentified, axis=1) > 1e-6 * np.linalg.norm(slopes / unit, axis=1)] = np.inf
        log_weight = -0.5 * (np.sum(np.log(each), axis=1) + freedom * np.log(variance))
        log_weight -= np.sum(np.log(np.diag(lower))) + np.sum(np.log(s[:rank]))
        log_weight += _prior() + (0.0 if run is None else _half_cauchy(shared))
        parts.append((log_weight, mean, spread, np.sqrt(variance), np.sqrt(DISCREPANCIES)))
    log_weight, mean, spread, sigma, tau = (np.concatenate(part) for part in zip(*parts, strict=True))
    each = np.exp(log_weight - log_weight.max())
    return ResidualDistribution(each / each.sum(), mean, spread, freedom, sigma, tau)


def covariance(a: Float[np.ndarray, " first"], b: Float[np.ndarray, " second"]) -> Float[np.ndarray, "first second"]:
    """Covariance of a straight line plus an integrated Wiener process on either side of 0, shape (len(a), len(b))."""
    a, b = a[:, None], b[None, :]
    least, most = np.minimum(np.abs(a), np.abs(b)), np.maximum(np.abs(a), np.abs(b))
    return 1 + a * b + np.where(a * b > 0, least**2 * (3 * most - least) / 6, 0.0)


def _prior() -> Float[np.ndarray, " discrepancy"]:
    """Log prior of the discrepancy: probability 1/2 that it is zero, else half-Cauchy."""
    others = np.exp(_half_cauchy(DISCREPANCIES[1:]))
    return np.log(0.5 * np.concatenate([[1.0], others / others.sum()]))


def _half_cauchy(variance: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """Log density of a log variance whose square root is half-Cauchy, up to a constant."""
    return 0.5 * np.log(variance) - np.log1p(variance)
