"""Chains: NUTS on many models at once, in coordinates whitened by the curvature at the mode."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from jaxscale.sampling.modes import Mode

# Draws that one call of the program makes.
BLOCK = 250
# Deepest tree: a draw takes at most 2**TREE - 1 steps.
TREE = 10


def parts(model: Any, centre: Any, root: Any, warmup: int, accept: Any) -> tuple[Any, Any]:
    """NUTS on one model in whitened coordinates: the function that begins a chain and the one that goes on."""
    # Most posteriors need no chains, and NumPyro takes a while to import.
    from numpyro.infer.hmc import hmc

    def potential(w: Any) -> Any:
        return -model.log_density(centre + root @ w)

    kernel, advance = hmc(potential, algo="NUTS")

    # NumPyro relies on implicit casts, whatever the caller allows.
    def begun(w: Any, key: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return kernel(
                w, warmup, step_size=0.5, dense_mass=True, target_accept_prob=accept, max_tree_depth=TREE, rng_key=key
            )

    def following(state: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return advance(state)

    return begun, following


def begin(model: Any, mode: Mode, inverse: Any, key: Any, far: Any, accept: Any, warmup: int) -> Any:
    """States of all chains of all models, started about the modes.

    Args:
        model: stacked models.
        mode: stacked modes, (models, components, ...).
        inverse: of the root of every first mode, (models, size, size).
        key: words of a key, (models, 2).
        far: how far from its mode each chain starts, in the mode's own spreads, (models, chains, size).
        accept: mean acceptance that the step size is set for, (models,).
        warmup: draws that set it.
    """

    def one(m: Any, mode: Mode, inverse: Any, key: Any, far: Any, accept: Any) -> Any:
        starts = dispersed(m.log_density, mode.x, mode.root, far)
        centre, root = mode.x[0], mode.root[0]
        w = (starts - centre[None]) @ inverse.T
        begun, _ = parts(m, centre, root, warmup, accept)
        return jax.vmap(begun)(w, jr.split(key, len(far)))

    return jax.vmap(one)(model, mode, inverse, key, far, accept)


def go_on(model: Any, mode: Mode, state: Any, accept: Any, warmup: int) -> Any:
    """All chains by a block of draws: the new states, and what was drawn, (models, chains, block, ...)."""

    def one(m: Any, mode: Mode, state: Any, accept: Any) -> Any:
        centre, root = mode.x[0], mode.root[0]
        begun, advance = parts(m, centre, root, warmup, accept)
        # The kernel learns its settings where a chain is begun; the state itself is not used.
        begun(jnp.zeros_like(centre), jr.PRNGKey(0))

        def along(state: Any) -> Any:
            def draw(state: Any, _: Any) -> Any:
                s = advance(state)
                return s, (s.z, -s.potential_energy, s.energy, s.diverging, s.num_steps)

            state, (w, *told) = jax.lax.scan(draw, state, None, length=BLOCK)
            return state, (centre[None] + w @ root.T, *told)

        return jax.vmap(along)(state)

    return jax.vmap(one)(model, mode, state, accept)


def dispersed(log_density: Callable[[Any], Any], centres: Any, roots: Any, far: Any) -> Any:
    """Starts about every mode in turn, shape (chains, size).

    Where the density is hopelessly low so far out, the start is moved towards its mode until it is not.
    """
    chains, size = far.shape
    which = jnp.arange(chains) % len(centres)

    def one(k: Any, e: Any) -> Any:
        places = centres[k][None] + (roots[k] @ e)[None] * jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.0])[:, None]
        values, slopes = jax.vmap(jax.value_and_grad(log_density))(places)
        fine = jnp.isfinite(values) & jnp.all(jnp.isfinite(slopes), axis=1)
        return places[jnp.argmax((fine & (values > values[-1] - 20.0 - 4.0 * size)).at[-1].set(True))]

    return jax.vmap(one)(which, far)
