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

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.engine.runner import Runner
from jaxscale.results import mcmc_diagnostics
from jaxscale.sampling import modes
from jaxscale.sampling import nuts as chains_of
from jaxscale.sampling.adaptation import ROUNDS, TOGETHER, Adaptation
from jaxscale.sampling.density_programs import curvatures, log_densities
from jaxscale.sampling.importance import EFFICIENT, Proposal
from jaxscale.sampling.modes import Mode
from jaxscale.sampling.sampler_result import Sampled
from jaxscale.utils.compilation import compiled

# Whatever has a log_density and a length: a model of a law, or a density of somebody's own.
Model = Any
# The methods; draws of the proposals for each that is returned, and the least.
METHODS = ("auto", "importance", "nuts", "laplace")
PROPOSED, FEWEST = 4, 8192
# Modes that a proposal has a component for, and what a component weighs at least.
COMPONENTS, LEAST = 4, 0.02
# A mode so many nats below the best one, by its own evidence, is left out.
BELOW = 15.0
# Posteriors whose proposed draws are held at the same time.
HELD = 256
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
        """Adaptive importance sampling about the modes.

        Args:
            count: draws of the proposals that are weighed together where few rounds are needed.
            draws: of equal weight that are returned.
            rounds: most rounds.
        """
        seeds = self.keys(self.count)
        parts = np.array_split(np.arange(self.count), -(-self.count // HELD))
        found = [self._adapted(members, seeds[members], count, draws, rounds) for members in parts]
        x, log_density, khat, ess, share = (np.concatenate(part) for part in zip(*found, strict=True))
        stats = {name: np.full(x.shape[:2], np.nan) for name in ("energy", "diverging", "steps")}
        rung = np.full(self.count, "importance", dtype=object)
        nan = np.full(self.count, np.nan)
        return Sampled(x, rung, khat, ess, share, 1, stats | {"log_density": log_density}, nan, self._met())

    def _adapted(
        self, members: np.ndarray, seeds: np.ndarray, count: int, draws: int, rounds: int
    ) -> tuple[np.ndarray, ...]:
        """Draws of some posteriors, their log density, and k-hat, effective number and share of the proposed draws."""
        each = [Adaptation(self._about_modes(int(k)), seed) for k, seed in zip(members, seeds, strict=True)]
        for _ in range(rounds):
            left = [k for k, one in enumerate(each) if not one.over]
            if not left:
                break
            x = np.stack([each[k].proposed(-(-count // TOGETHER)) for k in left])
            for k, *own in zip(left, x, self.log_densities(members[left], x), strict=True):
                each[k].add(*own)
        weighted = [one.weighted for one in each]
        chosen = [one.resampled(draws) for one in each]
        x, log_density = (
            np.stack([getattr(one, name)[places] for one, places in zip(weighted, chosen, strict=True)])
            for name in ("x", "log_density")
        )
        khat, ess, share = np.array([(one.weighted.khat, one.weighted.ess, one.share) for one in each]).T
        return x, log_density, khat, ess, share

    def _about_modes(self, k: int) -> Proposal:
        """A component about every mode of one posterior that weighs something."""
        used = np.isfinite(self.log_weights[k])
        roots = self.mode.root[k, used]
        return Proposal(self.mode.x[k, used], roots, np.linalg.inv(roots), self.log_weights[k, used])

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
                if np.all(mcmc_diagnostics.largest_rhat(told[0]) <= mcmc_diagnostics.MIXED):
                    break
        except KeyboardInterrupt:
            if told is None:
                raise
            interrupted = True
        assert told is not None
        x, log_density, energy, diverging, steps = jax.tree.map(lambda a: a[:, :, -draws:], told)
        rhat = mcmc_diagnostics.largest_rhat(x)
        flat = lambda a: a.reshape(len(members), -1, *a.shape[3:])  # noqa: E731
        stats = {"log_density": log_density, "energy": energy, "diverging": diverging.astype(float), "steps": steps}
        nan = np.full(len(members), np.nan)
        return Sampled(
            flat(x),
            np.full(len(members), "nuts", dtype=object),
            nan,
            nan.copy(),
            nan.copy(),
            chains,
            {name: flat(np.asarray(value, float)) for name, value in stats.items()},
            rhat,
            self._met()[members],
            interrupted,
        )

    def _met(self) -> np.ndarray:
        return np.isfinite(self.log_weights).sum(axis=1)


def _chunks(count: int) -> list[np.ndarray]:
    """Places of posteriors whose draws are held at the same time."""
    return np.array_split(np.arange(count), -(-count // HELD))


def _groups(count: int, width: int) -> np.ndarray:
    """So many places in groups of one size, shape (groups, width); the last place fills the last group."""
    index = np.arange(-(-count // width) * width).reshape(-1, width)
    return np.minimum(index, count - 1)


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
    """How many draws of the proposals are weighed together for so many that are returned."""
    return max(PROPOSED * draws, FEWEST)


def climbed(ladder: Ladder, method: str, chains: int, draws: int, warmup: int) -> Sampled:
    """Up the ladder as far as needed."""
    total = chains * draws
    warmup = -(-warmup // chains_of.BLOCK) * chains_of.BLOCK
    every = np.arange(ladder.count)
    if method == "nuts":
        return ladder.nuts(every, chains, draws, warmup)
    sampled = ladder.importance(proposals(total), total)
    if method == "laplace":
        nothing = {name: np.full(sampled.x.shape[:2], np.nan) for name in sampled.stats}
        return replace(
            sampled, x=ladder.laplace(total), rung=np.full(ladder.count, "laplace", dtype=object), stats=nothing
        )
    left = np.flatnonzero(~((sampled.khat < KHAT_LIMIT) & (sampled.share > EFFICIENT)))
    if method == "importance" or not len(left):
        return sampled
    higher = ladder.nuts(left, chains, draws, warmup)
    # Chains that are far from mixing do not take the place of weights that are uneven, but may be trusted.
    fair = (sampled.khat[left] < KHAT_LIMIT) & (sampled.share[left] > FAIR)
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
