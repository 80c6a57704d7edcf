"""The ladder: modes, importance sampling while its weights can be trusted, NUTS where they cannot.

Everything works on many posteriors of one structure at once: models stacked, parts of one fixed size, on the cores
of this machine or over a mesh. One compiled program serves a law and a bucket of rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from numpyro.infer.hmc import hmc

from jaxscale import diagnostics
from jaxscale.batch import Runner
from jaxscale.models import Model
from jaxscale.uncertainty import importance, modes
from jaxscale.uncertainty.importance import TRUSTED, Proposal
from jaxscale.uncertainty.modes import Mode

# Modes that a proposal has a component for, and what a component weighs at least.
COMPONENTS, LEAST = 4, 0.02
# A mode so many nats below the best one, by its own evidence, is left out.
BELOW = 15.0
# Rounds of importance sampling, the later ones about the moments of the earlier.
ROUNDS = 4
# Acceptance that NUTS aims at; raised while draws diverge.
ACCEPT = (0.8, 0.95, 0.99)
BLOCK = 250
TREE = 10


@dataclass
class Sampled:
    """What some posteriors of one structure ended with; arrays have a leading axis of posteriors.

    Args:
        x: coordinates of the draws, shape (posteriors, draws, size).
        rung: "importance" or "nuts" for each.
        khat: of the last round of importance sampling; NaN where there was none.
        ess: effective number of the proposal's draws; NaN for NUTS.
        chains: of NUTS.
        stats: of NUTS, each of shape (posteriors, draws); NaN for importance sampling.
        rhat: largest R-hat of NUTS over the coordinates; NaN for importance sampling.
        modes: how many distinct modes were met.
    """

    x: np.ndarray
    rung: np.ndarray
    khat: np.ndarray
    ess: np.ndarray
    chains: int
    stats: dict[str, np.ndarray]
    rhat: np.ndarray
    modes: np.ndarray
    interrupted: bool = False


def width() -> int:
    """How many posteriors one call of a program takes on."""
    return 8 if jax.default_backend() == "cpu" else 256


@partial(jax.jit)
def _climb(model: Model, starts: Any) -> Mode:
    """Modes of every model from its starts, shape (models, components, size)."""
    return jax.vmap(lambda m, x: jax.vmap(lambda x: modes.climbed(m.log_density, x))(x))(model, starts)


def _together(model: Model) -> int:
    """Densities that are worked on at a time: what they hold should stay in a core's cache."""
    return int(max(16, 2**15 // model.response.shape[-1]))


def _weigh(model: Model, proposal: Proposal, key: Any, count: int, draws: int) -> importance.Weighted:
    def one(part: Any) -> importance.Weighted:
        m, p, k = part
        return importance.sampled(m.log_density, p, k, count, draws, _together(m))

    return jax.lax.map(one, (model, proposal, key))


def _chain_parts(model: Model, centre: Any, root: Any, warmup: int, accept: Any) -> tuple[Any, Any]:
    """NUTS on one model in whitened coordinates: the function that begins a chain and the one that goes on."""

    def potential(w: Any) -> Any:
        return -model.log_density(centre + root @ w)

    begin, advance = hmc(potential, algo="NUTS")

    def begun(w: Any, key: Any) -> Any:
        return begin(
            w, warmup, step_size=0.5, dense_mass=True, target_accept_prob=accept, max_tree_depth=TREE, rng_key=key
        )

    return begun, advance


def _begin(model: Model, mode: Mode, key: Any, accept: Any, chains: int, warmup: int) -> Any:
    """States of all chains of all models, started twice as far out as the posterior reaches."""

    def one(m: Model, mode: Mode, key: Any, accept: Any) -> Any:
        out, own = jr.split(key)
        starts = dispersed(m.log_density, mode.x, mode.root, out, chains)
        centre, root = mode.x[0], mode.root[0]
        w = jax.vmap(lambda x: jax.scipy.linalg.solve_triangular(root, x - centre, lower=True))(starts)
        begun, _ = _chain_parts(m, centre, root, warmup, accept)
        return jax.vmap(begun)(w, jr.split(own, chains))

    return jax.vmap(one)(model, mode, key, accept)


def _go_on(model: Model, mode: Mode, state: Any, accept: Any, warmup: int) -> Any:
    """All chains by a block of draws: the new states, and what was drawn, (models, chains, block, ...)."""

    def one(m: Model, mode: Mode, state: Any, accept: Any) -> Any:
        centre, root = mode.x[0], mode.root[0]
        begun, advance = _chain_parts(m, centre, root, warmup, accept)
        # The kernel learns its settings where a chain is begun; the state itself is not used.
        begun(jnp.zeros_like(centre), jr.PRNGKey(0))

        def along(state: Any) -> Any:
            def draw(state: Any, _: Any) -> Any:
                s = advance(state)
                return s, (s.z, -s.potential_energy, s.energy, s.diverging, s.num_steps)

            state, (w, *told) = jax.lax.scan(draw, state, None, length=BLOCK)
            return state, (centre + w @ root.T, *told)

        return jax.vmap(along)(state)

    return jax.vmap(one)(model, mode, state, accept)


def dispersed(log_density: Callable[[Any], Any], centres: Any, roots: Any, key: Any, chains: int) -> Any:
    """Starts twice as far out as the posterior reaches, about every mode in turn; shape (chains, size).

    Where the density is hopelessly low so far out, the start is moved towards its mode until it is not.
    """
    count, size = centres.shape
    which = jnp.arange(chains) % count
    e = 2.0 * jr.normal(key, (chains, size), centres.dtype)

    def one(k: Any, e: Any) -> Any:
        places = centres[k] + (roots[k] @ e) * jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.0])[:, None]
        values, slopes = jax.vmap(jax.value_and_grad(log_density))(places)
        fine = jnp.isfinite(values) & jnp.all(jnp.isfinite(slopes), axis=1)
        return places[jnp.argmax((fine & (values > values[-1] - 20.0 - 4.0 * size)).at[-1].set(True))]

    return jax.vmap(one)(which, e)


@lru_cache(maxsize=64)
def _program(function: Any, **static: int) -> Any:
    """A jitted function with its static numbers set: one object for one set of numbers, named for a checkpoint."""
    program = jax.jit(partial(function, **static))
    program.__name__ = "_".join([function.__name__, *map(str, static.values())])  # pyright: ignore
    return program


class Ladder:
    """Posteriors of one structure, climbed together.

    Args:
        runner: where it runs.
        model: stacked models.
        starts: coordinates to climb from, shape (posteriors, components, size).
        seed: of all draws.
    """

    def __init__(self, runner: Runner, model: Model, starts: np.ndarray, seed: np.random.Generator) -> None:
        self.runner, self.model, self.count = runner, model, len(starts)
        self.width = min(width(), self.count)
        self.keys = lambda n: seed.integers(2**32, size=(n, 2), dtype=np.uint32)
        found = self._run(_climb, np.arange(self.count), starts)
        self.mode, self.log_weights = _sorted(found)

    def _run(self, program: Any, members: np.ndarray, *arrays: Any) -> Any:
        """A program over the models of some places, in parts of one size."""
        index = np.arange(-(-len(members) // self.width) * self.width).reshape(-1, self.width)
        index = np.minimum(index, len(members) - 1)
        parts = []
        for some in index:
            own = jax.tree.map(lambda a: a[members[some]], self.model)  # noqa: B023
            parts.append((own, *jax.tree.map(lambda a: a[some], arrays)))  # noqa: B023
        ends = self.runner(program, parts)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(members)], *ends)

    def importance(self, count: int, draws: int, rounds: int = ROUNDS) -> Sampled:
        """Importance sampling about the modes, and about the moments that come out, while weights are not trusted."""
        every = np.arange(self.count)
        size = self.mode.x.shape[-1]
        pad = lambda a: np.concatenate([a, a[:, :1]], axis=1)  # noqa: E731
        silent = np.concatenate([self.log_weights, np.full((self.count, 1), -np.inf)], axis=1)
        proposal = Proposal(pad(self.mode.x), pad(self.mode.root), silent)
        program = _program(_weigh, count=count, draws=draws)
        known: Any = None
        members = every
        for _ in range(rounds):
            part = jax.tree.map(lambda a: a[members], proposal)  # noqa: B023
            found = self._run(program, members, part, self.keys(len(members)))
            if known is None:
                known = jax.tree.map(np.array, found)
            else:
                better = found.khat < known.khat[members]
                for old, new in zip(jax.tree.leaves(known), jax.tree.leaves(found), strict=True):
                    old[members[better]] = new[better]
            usable = np.isfinite(found.root).all(axis=(1, 2)) & np.isfinite(found.mean).all(axis=1)
            usable &= found.ess > 2 * size
            proposal.means[members[usable], -1] = found.mean[usable]
            proposal.roots[members[usable], -1] = found.root[usable]
            weights = proposal.log_weights
            weights[members[usable], -1] = np.logaddexp.reduce(weights[members[usable], :-1], axis=1) + np.log(4.0)
            members = members[~(known.khat[members] < TRUSTED) & usable]
            if not len(members):
                break
        nothing = np.full(known.x.shape[:2], np.nan)
        stats = {name: nothing for name in ("energy", "diverging", "steps")} | {"log_density": known.log_density}
        rung = np.full(self.count, "importance")
        nan = np.full(self.count, np.nan)
        return Sampled(known.x, rung, known.khat, known.ess, 1, stats, nan, self._met())

    def laplace(self, draws: int) -> np.ndarray:
        """Normal draws about the best mode, shape (posteriors, draws, size)."""
        generator = np.random.default_rng(self.keys(1)[0])
        e = generator.standard_normal((self.count, draws, self.mode.x.shape[-1]))
        return self.mode.x[:, None, 0] + np.einsum("bij,bnj->bni", self.mode.root[:, 0], e)

    def nuts(self, members: np.ndarray, chains: int, draws: int, warmup: int) -> Sampled:
        """NUTS on some of the posteriors; those whose draws diverge are sampled again with smaller steps."""
        kept: Sampled | None = None
        left = np.arange(len(members))
        for accept in ACCEPT:
            found = self._nuts(members[left], chains, draws, warmup, accept)
            if kept is None:
                kept = found
            else:
                better = found.stats["diverging"].sum(axis=1) <= kept.stats["diverging"][left].sum(axis=1)
                kept = _replaced(kept, left[better], found, better)
            bad = (kept.stats["diverging"].sum(axis=1) > 0) | (kept.rhat > 1.01)
            left = np.flatnonzero(bad)
            if not len(left) or found.interrupted:
                break
        assert kept is not None
        return kept

    def _nuts(self, members: np.ndarray, chains: int, draws: int, warmup: int, accept: float) -> Sampled:
        # Chains start about the modes that weigh something; the others stand for the best.
        weigh = np.isfinite(self.log_weights[members])[:, :, None]
        mode = jax.tree.map(lambda a: a[members], self.mode)
        mode = eqx.tree_at(
            lambda m: (m.x, m.root),
            mode,
            (np.where(weigh, mode.x, mode.x[:, :1]), np.where(weigh[..., None], mode.root, mode.root[:, :1])),
        )
        aim = np.full(len(members), accept)
        begin = _program(_begin, chains=chains, warmup=warmup)
        go_on = _program(_go_on, warmup=warmup)
        state = self._run(begin, members, mode, self.keys(len(members)), aim)
        pieces: list[Any] = []
        interrupted = False
        try:
            for block in range(-(-(warmup + draws) // BLOCK)):
                state, told = self._run(go_on, members, mode, state, aim)
                if block >= warmup // BLOCK:
                    pieces.append(told)
        except KeyboardInterrupt:
            if not pieces:
                raise
            interrupted = True
        x, log_density, energy, diverging, steps = (
            np.concatenate(parts, axis=2) for parts in zip(*pieces, strict=True)
        )
        x, log_density, energy, diverging, steps = (a[:, :, :draws] for a in (x, log_density, energy, diverging, steps))
        rhat = diagnostics.largest_rhat(x)
        flat = lambda a: a.reshape(len(members), -1, *a.shape[3:])  # noqa: E731
        stats = {"log_density": log_density, "energy": energy, "diverging": diverging.astype(float), "steps": steps}
        nan = np.full(len(members), np.nan)
        return Sampled(
            flat(x),
            np.full(len(members), "nuts"),
            nan,
            nan.copy(),
            chains,
            {name: flat(np.asarray(value, float)) for name, value in stats.items()},
            rhat,
            self._met()[members],
            interrupted,
        )

    def _met(self) -> np.ndarray:
        return np.isfinite(self.log_weights).sum(axis=1)


def _replaced(kept: Sampled, places: np.ndarray, found: Sampled, chosen: np.ndarray) -> Sampled:
    kept.x[places], kept.rhat[places] = found.x[chosen], found.rhat[chosen]
    for name, values in kept.stats.items():
        values[places] = found.stats[name][chosen]
    kept.interrupted |= found.interrupted
    return kept


def _sorted(mode: Mode) -> tuple[Mode, np.ndarray]:
    """Modes by their evidence, best first, and the log weights of a mixture of them; copies of one weigh nothing."""
    value = np.where(np.isfinite(mode.log_density), mode.log_density, -np.inf)
    diagonal = np.abs(np.diagonal(mode.root, axis1=-2, axis2=-1))
    with np.errstate(divide="ignore"):
        evidence = value + np.log(diagonal).sum(axis=-1)
    evidence = np.where(np.isnan(evidence), -np.inf, evidence)
    order = np.argsort(-evidence, axis=1, kind="stable")
    pick = lambda a: np.take_along_axis(a, order.reshape(*order.shape, *[1] * (a.ndim - 2)), axis=1)  # noqa: E731
    mode = jax.tree.map(lambda a: pick(np.asarray(a)), mode)
    evidence = pick(evidence)
    distinct = evidence > evidence[:, :1] - BELOW
    distinct[:, 0] = True
    for k in range(1, evidence.shape[1]):
        for j in range(k):
            away = np.linalg.solve(mode.root[:, j], (mode.x[:, k] - mode.x[:, j])[..., None])[..., 0]
            distinct[:, k] &= np.abs(away).max(axis=1) > 0.1
    weight = np.where(distinct, np.maximum(np.exp(evidence - evidence[:, :1]), LEAST), 0.0)
    with np.errstate(divide="ignore"):
        return mode, np.log(weight / weight.sum(axis=1, keepdims=True))


def stacked_starts(starts: Sequence[np.ndarray]) -> np.ndarray:
    """Starts of one posterior as an array of COMPONENTS; the first fills what is missing."""
    return np.stack([starts[k] if k < len(starts) else starts[0] for k in range(COMPONENTS)])
