"""NUTS on a batch of models, in coordinates whitened by the curvature at the mode."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Float, Int, PyTree, UInt32

from jaxscale.sampling.density_programs import LogDensity
from jaxscale.sampling.modes import Mode
from jaxscale.utils.arrays import Array, Number, RandomKey

# Draws per call of the program.
BLOCK = 250
# Largest tree depth: a draw takes at most 2**TREE - 1 steps.
TREE = 10


def parts(
    model: LogDensity, centre: Float[Array, " size"], root: Float[Array, "size size"], warmup: int, accept: Number
) -> tuple[Callable[..., PyTree], Callable[..., PyTree]]:
    """NUTS on one model in whitened coordinates: the functions that initialise and advance a chain."""
    # Most posteriors need no chains, and NumPyro is slow to import.
    from numpyro.infer.hmc import hmc

    def potential(w: Float[Array, " size"]) -> Float[Array, ""]:
        return -model.log_density(centre + root @ w)

    kernel, advance = hmc(potential, algo="NUTS")

    # NumPyro relies on implicit casts, whatever the caller allows.
    def initialise(w: Float[Array, " size"], key: RandomKey) -> PyTree:
        with jax.numpy_dtype_promotion("standard"):
            return kernel(
                w, warmup, step_size=0.5, dense_mass=True, target_accept_prob=accept, max_tree_depth=TREE, rng_key=key
            )

    def following(state: PyTree) -> PyTree:
        with jax.numpy_dtype_promotion("standard"):
            return advance(state)

    return initialise, following


def initial_states(
    model: LogDensity,
    mode: Mode,
    inverse: Float[Array, "problem size size"],
    key: UInt32[Array, "problem 2"],
    far: Float[Array, "problem chain size"],
    accept: Float[Array, " problem"],
    warmup: int,
) -> PyTree:
    """Initial states of all chains of all models, dispersed about the modes.

    Args:
        model: stacked models.
        mode: stacked modes, (models, components, ...).
        inverse: of the root of every first mode, (models, size, size).
        key: words of a key, (models, 2).
        far: offset of each start from its mode, whitened by the mode's curvature, (models, chains, size).
        accept: target acceptance probability, (models,).
        warmup: number of warm-up draws.
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
        w = (starts - centre[None]) @ inverse.T
        initialise, _ = parts(m, centre, root, warmup, accept)
        return jax.vmap(initialise)(w, jr.split(key, len(far)))

    return jax.vmap(one)(model, mode, inverse, key, far, accept)


def advance_chains(
    model: LogDensity, mode: Mode, state: PyTree, accept: Float[Array, " problem"], warmup: int
) -> PyTree:
    """Advance all chains by a block of draws: the new states, and the draws, (models, chains, block, ...)."""

    def one(m: LogDensity, mode: Mode, state: PyTree, accept: Number) -> PyTree:
        centre, root = mode.x[0], mode.root[0]
        initialise, advance = parts(m, centre, root, warmup, accept)
        # Initialisation sets up the kernel; the resulting state is not used.
        initialise(jnp.zeros_like(centre), jr.PRNGKey(0))

        def along(state: PyTree) -> PyTree:
            def draw(state: PyTree, _: None) -> tuple[PyTree, PyTree]:
                s = advance(state)
                return s, (s.z, -s.potential_energy, s.energy, s.diverging, s.num_steps)

            state, (w, *stats) = jax.lax.scan(draw, state, None, length=BLOCK)
            return state, (centre[None] + w @ root.T, *stats)

        return jax.vmap(along)(state)

    return jax.vmap(one)(model, mode, state, accept)


def dispersed(
    log_density: Callable[[Array], Array],
    centres: Float[Array, "component size"],
    roots: Float[Array, "component size size"],
    far: Float[Array, "chain size"],
) -> Float[Array, "chain size"]:
    """Overdispersed starts about the modes in turn, shape (chains, size).

    A start of very low density is moved towards its mode.
    """
    chains, size = far.shape
    which = jnp.arange(chains) % len(centres)

    def one(k: Int[Array, ""], e: Float[Array, " size"]) -> Float[Array, " size"]:
        places = centres[k][None] + (roots[k] @ e)[None] * jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.0])[:, None]
        values, slopes = jax.vmap(jax.value_and_grad(log_density))(places)
        fine = jnp.isfinite(values) & jnp.all(jnp.isfinite(slopes), axis=1)
        return places[jnp.argmax((fine & (values > values[-1] - 20.0 - 4.0 * size)).at[-1].set(True))]

    return jax.vmap(one)(which, far)
