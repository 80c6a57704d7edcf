"""Levenberg-Marquardt: scaling, damping parameter, gain ratio and trust radius of many lanes at once.

A step ``d`` solves ``(H + mu D) d = -g``, with a local model ``H`` of the objective, the damping parameter ``mu`` and
Marquardt's scaling ``D``. The gain ratio compares the decrease of the objective with the one that the model predicts,
and decides whether the step is accepted and how the damping changes.

Source: Marquardt (1963), J. SIAM 11, 431; Nielsen (1999), Damping parameter in Marquardt's method, IMM-REP-1999-05.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxscale.engine.objective import Local, Problem
from jaxscale.law.coordinates import transformed_mask
from jaxscale.utils.arrays import Array, Number, Value

# Trust radius: a coordinate is the logarithm of a term, and a model of its exponential holds for about one unit.
STEP_CAP = 1.0
# A step is accepted where the gain ratio is above this.
GAIN_ACCEPTED = 1e-4
# Nielsen's rule: an accepted step divides the damping parameter by this at most.
LARGEST_DIVISION = 5
# Nielsen's rule: the factor of the first rejection after an accepted step; each further rejection doubles it.
FIRST_FACTOR = 4.0
# The factor of a rejection is doubled up to this: then the damping passes all its range within nine rejections.
LARGEST_FACTOR = 64.0
# Range of the damping parameter: beyond it the damped step is a Newton step, or zero, in double precision.
LEAST_DAMPING = 1e-15
MOST_DAMPING = 1e15
# Fraction of the scaling that an iteration keeps, so that large early derivatives do not freeze a parameter.
SCALING_KEPT = 0.3
# Rounding error of an objective, in units of its last digit.
ROUNDING_DIGITS = 8
# A smaller relative decrease of the objective counts as none.
SMALL_DECREASE = 1e-12


def scaling(local: Local, before: Float[Value, "*#coordinate"], least: Number) -> Float[Array, "size lane"]:
    """Marquardt's scaling: the diagonal of the majorising model, which falls slowly.

    Args:
        local: the models.
        before: the scaling of the last iteration, shape (p, lanes), or 0.
        least: lower bound on the scaling of a coordinate, relative to the largest.
    """
    diagonal = jnp.diagonal(local.safe).T
    tiny = jnp.finfo(diagonal.dtype).tiny
    return jnp.maximum(
        jnp.maximum(SCALING_KEPT * before, diagonal), least * jnp.max(diagonal, axis=0, keepdims=True) + tiny
    )


def rounding_error(local: Local) -> Float[Array, " lane"]:
    """The error of the objective from rounding alone."""
    return ROUNDING_DIGITS * jnp.finfo(local.f.dtype).eps * jnp.abs(local.f) + local.rounding


def quadratic_form(matrix: Float[Array, "size size lane"], d: Float[Array, "size lane"]) -> Float[Array, " lane"]:
    """``d' matrix d`` of every lane; shapes (p, p, lanes) and (p, lanes)."""
    return jnp.sum(d[:, None] * matrix * d[None, :], axis=(0, 1))


def gain_ratio(actual: Float[Array, " lane"], predicted: Float[Array, " lane"]) -> Float[Array, " lane"]:
    """The decrease of the objective over the decrease that the model predicts."""
    return actual / jnp.maximum(predicted, jnp.finfo(predicted.dtype).tiny)


def damping_update(
    damping: Float[Array, " lane"],
    factor: Float[Array, " lane"],
    ratio: Float[Array, " lane"],
    accepted: Bool[Array, " lane"],
) -> tuple[Float[Array, " lane"], Float[Array, " lane"]]:
    """Nielsen's rule: reduce the damping parameter by the gain ratio, or raise it at a growing rate after rejections.

    Args:
        damping: the damping parameter.
        factor: the factor by which a rejection multiplies it.
        ratio: gain ratio of the step.
        accepted: whether the step was accepted.

    Returns:
        Damping parameter and factor of the next iteration.
    """
    reduction = jnp.maximum(1 / LARGEST_DIVISION, 1 - (2 * jnp.clip(ratio, 0, 1) - 1) ** 3)
    damping = jnp.clip(damping * jnp.where(accepted, reduction, factor), LEAST_DAMPING, MOST_DAMPING)
    return damping, jnp.where(accepted, FIRST_FACTOR, jnp.minimum(factor * 2, LARGEST_FACTOR))


def bounded_coordinates(problem: Problem) -> Bool[Array, " size"]:
    """Mask of coordinates that the trust radius bounds, shape (p,): nonlinear ones of the law, and the log scale."""
    return jnp.asarray(
        [*transformed_mask(problem.law, problem.free), *([True] * (problem.size - len(problem.free)))],
    )


def within_trust_radius(d: Float[Array, "size lane"], bounded: Bool[Array, " size"]) -> Float[Array, "size lane"]:
    """Shorten a step so that no bounded coordinate moves by more than the trust radius."""
    longest = jnp.max(jnp.where(bounded[:, None], jnp.abs(d), 0.0), axis=0)
    # The lower bound in the division only keeps it finite.
    return d * jnp.minimum(1.0, STEP_CAP / jnp.maximum(longest, STEP_CAP * 1e-3))[None]
