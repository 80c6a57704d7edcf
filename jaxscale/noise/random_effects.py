"""Random effects of runs: rows of each run, and the marginal likelihood of Student-t residuals by quadrature."""

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxscale.utils.arrays import Array, Number

# Quadrature nodes about each of two peaks of the integrand, and fixed-point iterations to find a peak.
TRAPEZE, STEPS = np.linspace(-1.0, 1.0, 25), 4
# The integral is truncated at this many standard deviations of the effect, or where the tails of the rows are 1e-8.
REACH, DIGITS = 6.5, 8.0
# Sharpness of the partition of unity between two peaks, relative to their distance.
SHARP = 16.0
# Number of rows whose factors are multiplied before the logarithm is taken, and the largest factor.
TOGETHER, LARGEST = 8, 1e30


def run_rows(
    run: Int[np.ndarray, " row"], used: Bool[np.ndarray, " row"], runs: int, most: int
) -> Int[np.ndarray, "run most"]:
    """Indices of the rows of each run, padded by -1, shape (runs, most).

    Args:
        run: codes of the runs, shape (n,).
        used: mask of rows with positive weight, shape (n,).
        runs: number of runs, including padding.
        most: number of rows of a run, including padding.
    """
    rows = np.full((runs, most), -1)
    for code in np.unique(run[used]):
        own = np.flatnonzero(used & (run == code))
        rows[code, : len(own)] = own
    return rows


def longest_run(run: Int[np.ndarray, " row"], used: Bool[np.ndarray, " row"]) -> int:
    """Number of rows of the longest run."""
    return int(np.bincount(run[used], minlength=1).max())


def student_t_runs(
    z: Float[Array, "run most"], weight: Float[Array, "run most"], ratio: Number, df: Number
) -> Float[Array, " run"]:
    """Log marginal likelihood ``log int N(b; 0, ratio^2) prod_i t(z_i - b; df)^w_i db`` of every run.

    Distant rows of a run make the integrand multimodal. Each of its two largest peaks has a trapezoidal rule in
    ``b = centre + width * sinh(u)``, in which the integrand decays double exponentially; a smooth partition of unity
    divides the domain between them. Errors against a dense rule, over random runs of up to eight rows: 1e-5 in 99 of
    100 runs whose rows follow the density, at most 0.02; at most 0.02 for two rows at any distance (1e-3 in nine of
    ten); at most 0.3 for three or more rows that are ten scales apart.

    Args:
        z: residuals, shape (runs, most).
        weight: 0 for padding, shape (runs, most).
        ratio: standard deviation of the effect.
        df: degrees of freedom.
    """
    lone = special.gammaln(0.5 * (df + 1)) - special.gammaln(0.5 * df) - 0.5 * jnp.log(df * jnp.pi)
    constant = lone * jnp.sum(weight, axis=1) - jnp.log(ratio) - 0.5 * jnp.log(2 * jnp.pi)

    def integrand(b: Float[Array, "run place"]) -> Float[Array, "run place"]:
        """Log integrand at values b of the effect of every run, up to a constant, shape (runs, count)."""
        return -0.5 * (b / ratio) ** 2 - 0.5 * (df + 1) * _logs(z, weight, b, df)

    centre, width, far = jax.lax.stop_gradient(_peaks(integrand, z, weight, ratio, df))
    u = jnp.arcsinh(far / width)[..., None] * TRAPEZE[None, None]
    # Both hyperbolic functions from one exponential.
    e = jnp.exp(u)
    b = centre[..., None] + width[..., None] * 0.5 * (e - 1 / e)
    other, narrow = centre[:, ::-1], width[:, ::-1]
    between = (centre * narrow + other * width) / (width + narrow)
    apart = jnp.where(other == centre, 0.0, SHARP / jnp.where(other == centre, 1.0, other - centre))
    own = 1 / (1 + jnp.exp(jnp.clip(apart[..., None] * (b - between[..., None]), -40.0, 40.0)))
    measure = own * width[..., None] * 0.5 * (e + 1 / e) * (u[..., 1:2] - u[..., :1])
    flat = lambda a: a.reshape(len(z), -1)  # noqa: E731
    return constant + special.logsumexp(integrand(flat(b)), axis=1, b=flat(measure))


def _logs(
    z: Float[Array, "run most"], weight: Float[Array, "run most"], b: Float[Array, "run place"], df: Number
) -> Float[Array, "run place"]:
    """Sum ``sum_i w_i log(1 + (z_i - b)^2 / df)`` at b of shape (runs, count), a few rows at a time."""
    few = min(TOGETHER, z.shape[1])
    extra = -z.shape[1] % few
    blocks = lambda a: jnp.pad(a, ((0, 0), (0, extra))).reshape(len(z), -1, few).transpose(1, 2, 0)[..., None]  # noqa: E731
    # With weights of 0 and 1 a single logarithm of a product suffices.
    even = jnp.all((weight == 0) | (weight == 1))

    def product(part: tuple[Float[Array, "few run 1"], Float[Array, "few run 1"]]) -> Float[Array, "run place"]:
        factors = [
            jnp.where(w > 0, jnp.minimum(1 + (z - b) ** 2 / df, LARGEST), 1.0) for z, w in zip(*part, strict=True)
        ]
        return jnp.log(functools.reduce(operator.mul, factors))

    def each(part: tuple[Float[Array, "few run 1"], Float[Array, "few run 1"]]) -> Float[Array, "run place"]:
        return sum(w * jnp.log1p((z - b) ** 2 / df) for z, w in zip(*part, strict=True))

    step = lambda total, part: (total + jax.lax.cond(even, product, each, part), None)  # noqa: E731
    return jax.lax.scan(step, jnp.zeros_like(b), (blocks(z), blocks(weight)))[0]


def _peaks(
    integrand: Callable[[Array], Array],
    z: Float[Array, "run most"],
    weight: Float[Array, "run most"],
    ratio: Number,
    df: Number,
) -> tuple[Float[Array, "run 2"], Float[Array, "run 2"], Float[Array, "run 2"]]:
    """Centres, widths and reach of the two largest peaks, shape (runs, 2); equal if there is only one."""
    pull = 1 / (ratio * ratio)
    centre = jnp.stack([jnp.zeros(len(z)), jnp.min(z, axis=1), jnp.max(z, axis=1)], axis=1)
    heavy = pull
    for step in range(STEPS + 1):
        # Iteratively reweighted means converge to a mode of the density.
        w = weight[:, None, :] * (df + 1) / (df + (z[:, None, :] - centre[:, :, None]) ** 2)
        heavy = jnp.sum(w, axis=2) + pull
        centre = jnp.sum(w * z[:, None, :], axis=2) / heavy if step < STEPS else centre
    width = 1 / jnp.sqrt(heavy)
    mass = integrand(centre) + jnp.log(width)
    pick = lambda a, k: jnp.take_along_axis(a, k[:, None], axis=1)  # noqa: E731
    first = jnp.argmax(mass, axis=1)
    apart = jnp.abs(centre - pick(centre, first)) > 2 * pick(width, first)
    second = jnp.where(jnp.any(apart, axis=1), jnp.argmax(jnp.where(apart, mass, -jnp.inf), axis=1), first)
    centre, width = (jnp.concatenate([pick(a, first), pick(a, second)], axis=1) for a in (centre, width))
    spread = jnp.max(jnp.abs(z[:, None, :] - centre[:, :, None]), axis=2)
    fall = jnp.minimum(DIGITS / ((df + 1) * jnp.maximum(jnp.sum(weight, axis=1), 1e-3)), 6.0)
    tails = spread + jnp.sqrt(df) * 10.0 ** fall[:, None]
    return centre, width, jnp.minimum(jnp.abs(centre) + REACH * ratio, tails)
