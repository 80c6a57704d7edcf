"""Misfit: what a law's residuals say of new rows, when the law itself may be somewhat wrong."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jaxscale.utils.arrays import Value

# Variances in units of the noise's, evenly spaced in logarithms: of the misfit, and of what the rows of a run share.
# The first is that of a law which holds exactly.
MISFITS = np.concatenate([[0.0], np.logspace(-3, 6, 46)])
SHARED = np.logspace(-2, 3, 11)


@dataclass(frozen=True)
class Belief:
    """A mixture of Student-t distributions for each of m new residuals, one for each setting of the variances.

    Args:
        weight: of the settings, shape (s,).
        mean: shape (s, m).
        spread: scales, shape (s, m).
        freedom: degrees of freedom.
        sigma: standard deviation of the noise, shape (s,).
        tau: ratio of the misfit's to it, shape (s,).
    """

    weight: Float[np.ndarray, " setting"]
    mean: Float[np.ndarray, "setting new"]
    spread: Float[np.ndarray, "setting new"]
    freedom: int
    sigma: Float[np.ndarray, " setting"]
    tau: Float[np.ndarray, " setting"]

    def quantile(self, share: float) -> Float[np.ndarray, " new"]:
        """By bisection between the least and the greatest quantile of the parts, shape (m,)."""
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
        """Medians of sigma and tau."""
        found = []
        for values in (self.sigma, self.tau):
            order = np.argsort(values)
            found.append(float(values[order][np.searchsorted(np.cumsum(self.weight[order]), 0.5)]))
        return found[0], found[1]

    def holds(self) -> float:
        """The probability that the law holds exactly."""
        return float(self.weight[self.tau == 0].sum())


def foreseen(
    jacobian: Float[np.ndarray, "row free"],
    residual: Float[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
    slopes: Float[np.ndarray, "new free"],
    size: Float[np.ndarray, " row"],
    sizes: Float[np.ndarray, " new"],
    run: Int[np.ndarray, " row"] | None = None,
) -> Belief:
    """What is to be added to a law at new places, given its residuals: universal kriging, variances integrated out.

    Args:
        jacobian: of the law in its parameters, shape (n, p), n above p.
        residual: response less law, shape (n,).
        weight: the noise has variance ``sigma^2 / weight``, shape (n,).
        slopes: the jacobian at the new places, shape (m, p).
        size: 0 to 1 over the data, shape (n,).
        sizes: of the new places in the same unit, shape (m,).
        run: codes of the rows' runs, shape (n,), where these repeat.
    """
    count = len(residual)
    unit = np.linalg.norm(jacobian, axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    kernel, across, own = covariance(size, size), covariance(sizes, size), np.diag(covariance(sizes, sizes))
    parts: list[tuple[np.ndarray, ...]] = []
    one, freedom = 0.0, 1
    for shared in [0.0] if run is None else SHARED:
        noise = np.diag(1 / weight) + (0.0 if run is None else shared * (run[:, None] == run))
        lower = np.linalg.cholesky(noise)
        whiten = np.linalg.inv(lower)
        J, r, K, C = whiten @ (jacobian / unit), whiten @ residual, whiten @ kernel @ whiten.T, across @ whiten.T
        u, s, v = np.linalg.svd(J)
        rank = int(np.sum(s > count * np.finfo(float).eps * s[0]))
        freedom = count - rank
        # A new row less its least-squares forecast A, and contrasts of the data, both free of the parameters.
        A = slopes / unit @ (v[:rank].T / s[:rank]) @ u[:, :rank].T
        values, turn = np.linalg.eigh(u[:, rank:].T @ K @ u[:, rank:])
        values, basis = np.maximum(values, 0.0), u[:, rank:] @ turn
        seen, shadow = basis.T @ r, (C - A @ K) @ basis
        one = one or 1 / max(float(values.mean()), np.finfo(float).tiny)
        ratio = (one * MISFITS)[:, None]
        each = 1 + ratio * values
        variance = np.maximum(np.sum(seen**2 / each, axis=1) / freedom, np.finfo(float).tiny)
        mean = A @ r + (ratio * seen / each) @ shadow.T
        misfit = own - 2 * np.sum(C * A, axis=1) + np.sum((A @ K) * A, axis=1)
        spread = 1 + shared + np.sum(A**2, axis=1) + ratio * misfit - (ratio**2 / each) @ (shadow**2).T
        spread = np.sqrt(variance[:, None] * np.maximum(spread, 1 + shared))
        # Along directions that the data do not identify nothing is known.
        lost = slopes / unit - slopes / unit @ v[:rank].T @ v[:rank]
        spread[:, np.linalg.norm(lost, axis=1) > 1e-6 * np.linalg.norm(slopes / unit, axis=1)] = np.inf
        log_weight = -0.5 * (np.sum(np.log(each), axis=1) + freedom * np.log(variance))
        log_weight -= np.sum(np.log(np.diag(lower))) + np.sum(np.log(s[:rank]))
        log_weight += _prior() + (0.0 if run is None else _half_cauchy(shared))
        parts.append((log_weight, mean, spread, np.sqrt(variance), np.sqrt(MISFITS)))
    log_weight, mean, spread, sigma, tau = (np.concatenate(part) for part in zip(*parts, strict=True))
    each = np.exp(log_weight - log_weight.max())
    return Belief(each / each.sum(), mean, spread, freedom, sigma, tau)


def covariance(a: Float[np.ndarray, " first"], b: Float[np.ndarray, " second"]) -> Float[np.ndarray, "first second"]:
    """Of a straight line and an integrated Wiener process to either side of 0, shape (len(a), len(b))."""
    a, b = a[:, None], b[None, :]
    least, most = np.minimum(np.abs(a), np.abs(b)), np.maximum(np.abs(a), np.abs(b))
    return 1 + a * b + np.where(a * b > 0, least**2 * (3 * most - least) / 6, 0.0)


def _prior() -> Float[np.ndarray, " misfit"]:
    """Log weights of the misfits: even odds that the law holds exactly, else half-Cauchy."""
    others = np.exp(_half_cauchy(MISFITS[1:]))
    return np.log(0.5 * np.concatenate([[1.0], others / others.sum()]))


def _half_cauchy(variance: Float[Value, "*shape"]) -> Float[Value, "*shape"]:
    """Log density in the logarithm of a variance whose root is half-Cauchy, up to a constant."""
    return 0.5 * np.log(variance) - np.log1p(variance)
