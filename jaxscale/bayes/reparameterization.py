"""Reparameterisation of ``floor + sum_i amplitude_i * input_i**-exponent_i`` that decorrelates its posterior.

Data determine the level at their centre and its slopes far better than the shares of the floor and the terms. In
logarithms of floor, terms and exponents the posterior therefore has narrow, curved ridges, which the level
``T = log(E + sum_i t_i)``, the ratios ``v_i = log(t_i / E)`` and the slopes ``q_k = log(alpha_k * sum_i t_i)`` align
with the axes. The map has determinant 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Float

from jaxscale.law import Law, positive
from jaxscale.utils.arrays import Array


@dataclass(frozen=True)
class Ridge:
    """Indices of the coordinates of a floor, of its terms, and of every exponent with its terms."""

    floor: int
    terms: tuple[int, ...]
    exponents: tuple[tuple[int, tuple[int, ...]], ...]


def ridge_of(law: Law, free: Sequence[str], logarithmic: Callable[[str], bool]) -> Ridge | None:
    """The ridge of a law; None where it is not a floor plus terms.

    Args:
        law: the law.
        free: names of its free parameters, in the order of their coordinates.
        logarithmic: whether the coordinate of a parameter is its logarithm, as in a fit.
    """
    kinds = {name: law.parameters[name] for name in free if law.parameters[name].support is positive}
    kinds = {name: kind for name, kind in kinds.items() if logarithmic(name)}
    added = [name for name in kinds if name in law.affine]
    floors = [name for name in added if kinds[name].kind == "floor" and not kinds[name].powers]
    terms = [name for name in added if kinds[name].kind == "amplitude" and kinds[name].powers]
    if len(floors) != 1 or not terms:
        return None
    place = {name: k for k, name in enumerate(free)}
    exponents = []
    for name, kind in kinds.items():
        own = tuple(place[term] for term in terms if name in [power for _, power in kinds[term].powers])
        if kind.kind == "exponent" and own:
            exponents.append((place[name], own))
    return Ridge(place[floors[0]], tuple(place[name] for name in terms), tuple(exponents))


def from_ridge(ridge: Ridge, x: Float[Array, " size"]) -> Float[Array, " size"]:
    """Logarithms of floor, terms and exponents from level, ratios and slopes, shape (size,)."""
    terms = jnp.asarray(ridge.terms)
    ratios = x[terms]
    floor = x[ridge.floor] - logsumexp(jnp.append(ratios, 0.0))
    x = x.at[ridge.floor].set(floor).at[terms].set(floor + ratios)
    for exponent, own in ridge.exponents:
        x = x.at[exponent].add(-logsumexp(x[jnp.asarray(own)]))
    return x


def to_ridge(ridge: Ridge, z: Float[Array, " size"]) -> Float[Array, " size"]:
    """Level, ratios and slopes from logarithms of floor, terms and exponents: the inverse of :func:`from_ridge`."""
    z = jnp.asarray(z)
    floor, terms = z[ridge.floor], z[jnp.asarray(ridge.terms)]
    for exponent, own in ridge.exponents:
        z = z.at[exponent].add(logsumexp(z[jnp.asarray(own)]))
    z = z.at[jnp.asarray(ridge.terms)].set(terms - floor)
    return z.at[ridge.floor].set(logsumexp(jnp.append(terms, floor)))
