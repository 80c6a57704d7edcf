"""The ladder: modes, importance sampling while its weights can be trusted, NUTS where they cannot.

Everything works on many posteriors of one structure at once: models stacked, parts of one fixed size, on the cores
of this machine or over a mesh. One compiled program serves a law and a bucket of rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxscale import diagnostics
from jaxscale.batch import Runner
from jaxscale.compilation import compiled
from jaxscale.uncertainty import chains as chains_of
from jaxscale.uncertainty import importance, modes
from jaxscale.uncertainty.density_programs import curvatures, log_densities
from jaxscale.uncertainty.fitted_mixtures import fitted
from jaxscale.uncertainty.importance import EFFICIENT, TRUSTED, Proposal
from jaxscale.uncertainty.modes import Mode
from jaxscale.uncertainty.sampled import Sampled

# Whatever has a log_density and a length: a model of a law, or a density of somebody's own.
Model = Any
# The rungs; draws of the proposal for each that is handed back, and the least.
METHODS = ("auto", "importance", "nuts", "laplace")
PROPOSED, FEWEST = 4, 4096
# Modes that a proposal has a component for, and what a component weighs at least.
COMPONENTS, LEAST = 4, 0.02
# A mode so many nats below the best one, by its own evidence, is left out.
BELOW = 15.0
# Rounds of importance sampling, the later ones about what the earlier tell: a mixture of a few pieces fitted to their
# draws and one component with their moments, all made wider: a proposal that is too narrow misses the tails and does
# not know it. Rounds end where k-hat is this low and enough draws are effective.
ROUNDS, WIDER, PIECE_WIDER, TAME = 14, 1.4, 1.2, 0.5
# How many pieces, how many draws they are fitted to, and what the modes, the pieces and the whole weigh.
PIECES, FITTED, SHARES = 4, 4000, (0.05, 0.75, 0.2)
# Where fewer draws are effective, weights are made more even until so many tell the next round where to go.
TOLD = 100.0
# Draws whose densities one call of a program computes.
BLOCK = 4096
# Share of the draws that is effective where weights are better than chains that are so far from mixing.
FAIR, UNMIXED = 0.1, 1.05
# Acceptance that NUTS aims at; raised while draws diverge.
ACCEPT = (0.8, 0.95, 0.99)
# How often chains that have not mixed are made longer.
LONGER = 2


def width() -> int:
    """How many posteriors one call of a program takes on."""
    return 8 if jax.default_backend() == "cpu" else 256


@lru_cache(maxsize=64)
def _program(function: Any, **static: int) -> Any:
    """A jitted function with its static numbers set: one object for one set of numbers, named for a checkpoint."""
    program = compiled(partial(function, **static))
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
        found = self._modes(starts)
        if not np.isfinite(found.log_density).any(axis=1).all():
            raise ValueError(
                "The posterior density is nowhere finite about the fitted parameters: a prior or the likelihood "
                "excludes what the data say; give other priors, or leave out the rows that cannot be."
            )
        self.mode, self.log_weights = _sorted(found)

    def run(
        self, program: Any, members: np.ndarray, *arrays: Any, alone: bool = False, width: int | None = None
    ) -> Any:
        """A program over the models of some places, in parts of one size; see :class:`Runner` for alone."""
        parts = []
        for some in _groups(len(members), width or self.width):
            own = jax.tree.map(lambda a: a[members[some]], self.model)  # noqa: B023
            parts.append((own, *jax.tree.map(lambda a: a[some], arrays)))  # noqa: B023
        ends = replace(self.runner, alone=alone or getattr(self.model, "alone", False))(program, parts)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(members)], *ends)

    def _modes(self, starts: np.ndarray) -> Mode:
        """Modes of every posterior from its starts, shape (posteriors, components, size)."""
        posteriors, components, size = starts.shape

        def curved(x: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, ...]:
            return self.run(curvatures, places // components, x, width=self.width * components)

        found = modes.climbed(curved, starts.reshape(-1, size))
        return jax.tree.map(lambda a: a.reshape(posteriors, components, *a.shape[1:]), found)

    def log_densities(self, members: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Log densities of draws of some posteriors, shape (members, draws, size), a block of draws at a time."""
        draws = x.shape[1]
        step = BLOCK if jax.default_backend() == "cpu" else -(-draws // BLOCK) * BLOCK
        blocks = np.minimum(np.arange(-(-draws // step) * step), draws - 1).reshape(-1, step)
        groups = _groups(len(members), self.width)
        parts = []
        for some in groups:
            own = jax.tree.map(lambda a: a[members[some]], self.model)  # noqa: B023
            parts += [(own, x[some[:, None], block]) for block in blocks]
        ends = replace(self.runner, alone=getattr(self.model, "alone", False))(log_densities, parts)
        rows = [np.concatenate(ends[k : k + len(blocks)], axis=1) for k in range(0, len(ends), len(blocks))]
        return np.concatenate(rows)[: len(members), :draws]

    def importance(self, count: int, draws: int, rounds: int = ROUNDS) -> Sampled:
        """Importance sampling about the modes, and about the moments that come out, while weights are not trusted."""
        members = np.arange(self.count)
        proposal = self._about_modes()
        known: Any = None
        for _ in range(rounds):
            part = jax.tree.map(lambda a: a[members], proposal)  # noqa: B023
            keys = self.keys(self.count)[members]
            size = part.means.shape[-1]
            made = [importance.noise_of(k, w, count, size) for k, w in zip(keys, part.log_weights, strict=True)]
            each = [jax.tree.map(lambda a: a[k], part) for k in range(len(members))]  # noqa: B023
            x = np.stack([importance.proposed(p, *draw) for p, draw in zip(each, made, strict=True)])
            density = self.log_densities(members, x)
            weighed = [importance.weighed(*own) for own in zip(x, density, each, strict=True)]
            found = jax.tree.map(lambda *leaves: np.stack(leaves), *weighed)
            usable = np.isfinite(found.khat)
            told = np.stack([importance.tempered(w, TOLD) for w in found.log_weights])
            (seen,) = _picked(keys, told, FITTED, found.x)
            x, log_density = _picked(keys, found.log_weights, draws, found.x, found.log_density)
            found = eqx.tree_at(
                lambda f: (f.x, f.log_density, f.log_weights),
                found,
                (x, log_density, np.zeros((len(members), 1))),
            )
            if known is None:
                known = jax.tree.map(np.array, found)
            else:
                # The last round counts, not that of the lowest k-hat: low by luck is where the tails were missed.
                for old, new in zip(jax.tree.leaves(known), jax.tree.leaves(found), strict=True):
                    old[members] = new
            _follow(proposal, members[usable], seen[usable], keys[usable])
            members = members[~((found.khat < TAME) & (found.ess > EFFICIENT * count)) & usable]
            if not len(members):
                break
        stats = {name: np.full(known.x.shape[:2], np.nan) for name in ("energy", "diverging", "steps")} | {
            "log_density": known.log_density
        }
        rung = np.full(self.count, "importance", dtype=object)
        nan = np.full(self.count, np.nan)
        return Sampled(known.x, rung, known.khat, known.ess, 1, stats, nan, self._met())

    def _about_modes(self) -> Proposal:
        """A component about every mode, and ones of no weight yet for what the draws will tell."""
        pad = lambda a: np.concatenate([a, *[a[:, :1]] * (PIECES + 1)], axis=1)  # noqa: E731
        silent = np.full((self.count, PIECES + 1), -np.inf)
        roots = pad(self.mode.root)
        return Proposal(
            pad(self.mode.x), roots, np.linalg.inv(roots), np.concatenate([self.log_weights, silent], axis=1)
        )

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
            try:
                found = self._nuts(members[left], chains, draws, warmup, accept)
            except KeyboardInterrupt:
                if kept is None:
                    raise
                kept.interrupted = True
                break
            if kept is None:
                kept = found
            elif found.interrupted:
                # Fewer draws than the earlier ones, which stand.
                kept.interrupted = True
                break
            else:
                better = found.stats["diverging"].sum(axis=1) <= kept.stats["diverging"][left].sum(axis=1)
                kept.put(left[better], found, better)
            left = np.flatnonzero(kept.stats["diverging"].sum(axis=1) > 0)
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
        begin = _program(chains_of.begin, warmup=warmup)
        go_on = _program(chains_of.go_on, warmup=warmup)
        keys = self.keys(self.count)[members]
        far = np.stack([np.random.default_rng(k).standard_normal((chains, mode.x.shape[-1])) for k in keys])
        told: Any = None
        inverse = np.linalg.inv(mode.root[:, 0])
        state = self.run(begin, members, mode, inverse, keys, 2.0 * far, aim, alone=True)
        warm, blocks, interrupted = warmup // chains_of.BLOCK, -(-draws // chains_of.BLOCK), False
        try:
            for _ in range(warm):
                state, _ = self.run(go_on, members, mode, state, aim, alone=True)
            for longer in range(LONGER + 1):
                # Chains that have not mixed go on for longer, and every second of their last draws is kept.
                for _ in range(blocks * 2 ** max(longer - 1, 0)):
                    state, more = self.run(go_on, members, mode, state, aim, alone=True)
                    told = more if told is None else jax.tree.map(lambda *a: np.concatenate(a, axis=2), told, more)
                if longer:
                    told = jax.tree.map(lambda a: a[:, :, 1::2], told)
                if np.all(diagnostics.largest_rhat(told[0]) <= diagnostics.MIXED):
                    break
        except KeyboardInterrupt:
            if told is None:
                raise
            interrupted = True
        assert told is not None
        x, log_density, energy, diverging, steps = jax.tree.map(lambda a: a[:, :, -draws:], told)
        rhat = diagnostics.largest_rhat(x)
        flat = lambda a: a.reshape(len(members), -1, *a.shape[3:])  # noqa: E731
        stats = {"log_density": log_density, "energy": energy, "diverging": diverging.astype(float), "steps": steps}
        nan = np.full(len(members), np.nan)
        return Sampled(
            flat(x),
            np.full(len(members), "nuts", dtype=object),
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


def _groups(count: int, width: int) -> np.ndarray:
    """So many places in groups of one size, shape (groups, width); the last place fills the last group."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return np.minimum(index, count - 1)


def _picked(keys: np.ndarray, log_weights: np.ndarray, count: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """Draws of equal weight of every posterior: the same of all arrays, each of shape (posteriors, count, ...)."""
    chosen = [importance.resampled(k, w, count) for k, w in zip(keys, log_weights, strict=True)]
    return [np.stack([one[places] for one, places in zip(a, chosen, strict=True)]) for a in arrays]


def _follow(proposal: Proposal, places: np.ndarray, seen: np.ndarray, keys: np.ndarray) -> None:
    """Turn the proposals of some places to what their draws tell: a few pieces, and all of it by one wide component."""
    if not len(places):
        return
    each = [fitted(x, key, PIECES) for x, key in zip(seen, keys, strict=True)]
    weights, means, roots, mean, root = (np.stack(part) for part in zip(*each, strict=True))
    new, whole = slice(COMPONENTS, COMPONENTS + PIECES), COMPONENTS + PIECES
    proposal.means[places, new], proposal.means[places, whole] = means, mean
    proposal.roots[places, new], proposal.roots[places, whole] = PIECE_WIDER * roots, WIDER * root
    proposal.inverses[places] = np.linalg.inv(proposal.roots[places])
    modes = proposal.log_weights[places, :COMPONENTS]
    modes -= np.logaddexp.reduce(modes, axis=1, keepdims=True)
    shares = [modes + np.log(SHARES[0]), np.log(SHARES[1] * weights), np.full((len(places), 1), np.log(SHARES[2]))]
    proposal.log_weights[places] = np.concatenate(shares, axis=1)


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


def refuse(method: str, chains: int, draws: int, warmup: int) -> None:
    """Refuse a method or a number that is none."""
    if method not in METHODS:
        raise ValueError(f"Argument method must be one of {', '.join(METHODS)}, but is {method!r}.")
    for name, number in (("chains", chains), ("draws", draws), ("warmup", warmup)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"Argument {name} must be a positive number, but is {number!r}.")


def proposals(draws: int) -> int:
    """How many draws of the proposal each round takes for so many that are handed back."""
    return max(PROPOSED * draws, FEWEST)


def climbed(ladder: Ladder, method: str, chains: int, draws: int, warmup: int) -> Sampled:
    """Up the ladder as far as needed."""
    total = chains * draws
    warmup = -(-warmup // chains_of.BLOCK) * chains_of.BLOCK
    every = np.arange(ladder.count)
    if method == "nuts":
        return ladder.nuts(every, chains, draws, warmup)
    count = proposals(total)
    sampled = ladder.importance(count, total)
    if method == "laplace":
        nothing = {name: np.full(sampled.x.shape[:2], np.nan) for name in sampled.stats}
        return replace(
            sampled, x=ladder.laplace(total), rung=np.full(ladder.count, "laplace", dtype=object), stats=nothing
        )
    left = np.flatnonzero(~((sampled.khat < TRUSTED) & (sampled.ess > EFFICIENT * count)))
    if method == "importance" or not len(left):
        return sampled
    higher = ladder.nuts(left, chains, draws, warmup)
    # Chains that are far from mixing do not take the place of weights that are uneven, but may be trusted.
    fair = (sampled.khat[left] < TRUSTED) & (sampled.ess[left] > FAIR * count)
    worse = fair & ~(higher.rhat <= UNMIXED)
    if np.all(worse):
        return replace(sampled, interrupted=higher.interrupted)
    left, higher = left[~worse], higher.of(~worse)
    # An interruption leaves fewer draws; those of importance sampling are in random order.
    x = sampled.x[:, : higher.x.shape[1]]
    stats = {name: values[:, : higher.x.shape[1]] for name, values in sampled.stats.items()}
    pairs = ((x, higher.x), (sampled.rung, higher.rung), (sampled.ess, higher.ess), (sampled.rhat, higher.rhat))
    for whole, part in pairs:
        whole[left] = part
    for name, values in stats.items():
        values[left] = higher.stats[name]
    return replace(sampled, x=x, stats=stats, chains=chains, interrupted=higher.interrupted)
