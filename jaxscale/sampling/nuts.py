"""Chains: NUTS on many models at once, in coordinates whitened by the curvature at the mode."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Float, Int, PyTree, UInt32

from jaxscale.sampling.density_programs import LogDensity
from jaxscale.sampling.modes import Mode
from jaxscale.utils.arrays import Array, Number, RandomKey

# Draws that one call of the program makes.
BLOCK = 250
# Deepest tree: a draw takes at most 2**TREE - 1 steps.
TREE = 10


def parts(
    model: LogDensity, centre: Float[Array, " size"], root: Float[Array, "size size"], warmup: int, accept: Number
) -> tuple[Callable[..., PyTree], Callable[..., PyTree]]:
    """NUTS on one model in whitened coordinates: the function that begins a chain and the one that goes on."""
    # Most posteriors need no chains, and NumPyro takes a while to import.
    from numpyro.infer.hmc import hmc

    def potential(w: Float[Array, " size"]) -> Float[Array, ""]:
        return -model.log_density(centre + root @ w)

    kernel, advance = hmc(potential, algo="NUTS")

    def begun(w: Float[Array, " size"], key: RandomKey) -> PyTree:
        return kernel(
            w, warmup, step_size=0.5, dense_mass=True, target_accept_prob=accept, max_tree_depth=TREE, rng_key=key
        )

    return begun, advance


def begin(
    model: LogDensity,
    mode: Mode,
    inverse: Float[Array, "problem size size"],
    key: UInt32[Array, "problem 2"],
    far: Float[Array, "problem chain size"],
    accept: Float[Array, " problem"],
    warmup: int,
) -> PyTree:
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

    def one(
        m: LogDensity,
        mode: Mode,
        inverse: Float[Array, "size size"],
        key: RandomKey,
        far: Float[Array, "chain size"],
        accept: Number,
    ) -> PyTree:
        starts = dispersed(m.log_density, mode.x, mode.root, far)
        centre, root = mode.x[0], mode.root[0]
        w = (starts - centre) @ inverse.T
        begun, _ = parts(m, centre, root, warmup, accept)
        return jax.vmap(begun)(w, jr.split(key, len(far)))

    return jax.vmap(one)(model, mode, inverse, key, far, accept)


def go_on(model: LogDensity, mode: Mode, state: PyTree, accept: Float[Array, " problem"], warmup: int) -> PyTree:
    """All chains by a block of draws: the new states, and what was drawn, (models, chains, block, ...)."""

    def one(m: LogDensity, mode: Mode, state: PyTree, accept: Number) -> PyTree:
        centre, root = mode.x[0], mode.root[0]
        begun, advance = parts(m, centre, root, warmup, accept)
        # The kernel learns its settings where a chain is begun; the state itself is not used.
        begun(jnp.zeros_like(centre), jr.PRNGKey(0))

        def along(state: PyTree) -> PyTree:
            def draw(state: PyTree, _: None) -> tuple[PyTree, PyTree]:
                s = advance(state)
                return s, (s.z, -s.potential_energy, s.energy, s.diverging, s.num_steps)

            state, (w, *told) = jax.lax.scan(draw, state, None, length=BLOCK)
            return state, (centre + w @ root.T, *told)

        return jax.vmap(along)(state)

    return jax.vmap(one)(model, mode, state, accept)


def dispersed(
    log_density: Callable[[Array], Array],
    centres: Float[Array, "component size"],
    roots: Float[Array, "component size size"],
    far: Float[Array, "chain size"],
) -> Float[Array, "chain size"]:
    """Starts about every mode in turn, shape (chains, size).

    Where the density is hopelessly low so far out, the start is moved towards its mode until it is not.
    """
    chains, size = far.shape
    which = jnp.arange(chains) % len(centres)

    def one(k: Int[Array, ""], e: Float[Array, " size"]) -> Float[Array, " size"]:
        places = centres[k] + (roots[k] @ e) * jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.0])[:, None]
        values, slopes = jax.vmap(jax.value_and_grad(log_density))(places)
        fine = jnp.isfinite(values) & jnp.all(jnp.isfinite(slopes), axis=1)
        return places[jnp.argmax((fine & (values > values[-1] - 20.0 - 4.0 * size)).at[-1].set(True))]

    return jax.vmap(one)(which, far)
