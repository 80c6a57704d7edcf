"""Importance sampling, with NUTS for posteriors whose weights fail the k-hat or the effective-sample-size criterion.

Every function works on many posteriors of one structure at once, see :mod:`jaxscale.sampling.densities`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.results import mcmc_diagnostics
from jaxscale.sampling import nuts
from jaxscale.sampling.adaptation import ROUNDS, TOGETHER, Adaptation
from jaxscale.sampling.densities import Densities
from jaxscale.sampling.importance import EFFICIENT, Proposal
from jaxscale.sampling.modes import Mode
from jaxscale.sampling.sampler_result import Sampled
from jaxscale.utils.compilation import compiled
from jaxscale.utils.errors import ArgumentError

METHODS = ("auto", "importance", "nuts", "laplace")
# Draws of the proposals for each draw that is returned.
PROPOSED = 4
# The least number of these: k-hat is estimated from the largest weights, which are few.
FEWEST = 8192
# Modes that a proposal has a component for.
COMPONENTS = 4
# Posteriors whose proposed draws are held in memory at the same time.
HELD = 256
# Share of effective draws above which importance weights are better than chains with an R-hat above UNMIXED.
FAIR = 0.1
UNMIXED = 1.05
# Acceptance that NUTS aims at; raised while draws diverge.
ACCEPT = (0.8, 0.95, 0.99)
# How often chains that have not mixed are made longer.
LONGER = 2


@dataclass(frozen=True)
class ImportanceSettings:
    """Adaptive importance sampling.

    Args:
        draws: of equal weight that are returned.
        rounds: most rounds of adaptation.
    """

    draws: int
    rounds: int = ROUNDS

    @property
    def proposed(self) -> int:
        """Draws of the proposals that are weighed together where few rounds are needed."""
        return max(PROPOSED * self.draws, FEWEST)


@dataclass(frozen=True)
class NutsSettings:
    """The no-U-turn sampler.

    Args:
        chains: how many.
        draws: of each chain that are returned.
        warmup: draws of each chain that adapt it, rounded up to whole blocks.
    """

    chains: int
    draws: int
    warmup: int

    @property
    def total(self) -> int:
        """Draws of all chains."""
        return self.chains * self.draws

    @property
    def warmup_blocks(self) -> int:
        """Blocks of draws that adapt a chain."""
        return -(-self.warmup // nuts.BLOCK)

    @property
    def blocks(self) -> int:
        """Blocks of draws that are kept."""
        return -(-self.draws // nuts.BLOCK)


@lru_cache(maxsize=64)
def _program(function: Any, **static: int) -> Any:
    """A jitted function with its static numbers set: one object for one set of numbers, named for a checkpoint."""
    program = compiled(partial(function, **static))
    program.__name__ = "_".join([function.__name__, *map(str, static.values())])  # pyright: ignore
    return program


def stacked_starts(starts: Sequence[np.ndarray]) -> np.ndarray:
    """Starts of one posterior as an array of COMPONENTS; the first fills what is missing."""
    return np.stack([starts[k] if k < len(starts) else starts[0] for k in range(COMPONENTS)])


def refuse(method: str, num_chains: int, num_samples: int, num_warmup: int) -> None:
    """Refuse a method or a number that is none."""
    if method not in METHODS:
        raise ArgumentError("method", f"must be one of {', '.join(METHODS)}, but is {method!r}.")
    for name, number in (("num_chains", num_chains), ("num_samples", num_samples), ("num_warmup", num_warmup)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ArgumentError(name, f"must be a positive number, but is {number!r}.")


def adaptive_sample(densities: Densities, method: str, settings: NutsSettings) -> Sampled:
    """Draws by one of METHODS; "auto" is importance sampling, with NUTS where its weights are poor.

    Args:
        densities: the posteriors.
        method: one of METHODS.
        settings: of NUTS; the other methods return as many draws as all chains together.
    """
    if method == "nuts":
        return nuts_sample(densities, np.arange(densities.count), settings)
    weighted = importance_sample(densities, ImportanceSettings(settings.total))
    if method == "laplace":
        return _laplace(densities, weighted)
    poor = np.flatnonzero(~((weighted.khat < KHAT_LIMIT) & (weighted.share > EFFICIENT)))
    if method == "importance" or not len(poor):
        return weighted
    return _with_chains(weighted, nuts_sample(densities, poor, settings), poor)


def _laplace(densities: Densities, weighted: Sampled) -> Sampled:
    """Normal draws about the best mode, in place of those of importance sampling, whose diagnostics judge them."""
    count, draws = weighted.x.shape[:2]
    mode = densities.mode
    e = np.random.default_rng(densities.keys(1)[0]).standard_normal((count, draws, mode.x.shape[-1]))
    x = mode.x[:, None, 0] + np.einsum("bij,bnj->bni", mode.root[:, 0], e)
    nothing = {name: np.full((count, draws), np.nan) for name in weighted.stats}
    return replace(weighted, x=x, method=np.full(count, "laplace", dtype=object), stats=nothing)


def _with_chains(weighted: Sampled, chains: Sampled, places: np.ndarray) -> Sampled:
    """Importance sampling with NUTS in its place at some posteriors, where the chains are no worse."""
    # Chains that are far from mixing do not take the place of weights that are uneven, but may be trusted.
    fair = (weighted.khat[places] < KHAT_LIMIT) & (weighted.share[places] > FAIR)
    worse = fair & ~(chains.rhat <= UNMIXED)
    if np.all(worse):
        return replace(weighted, interrupted=chains.interrupted)
    places, chains = places[~worse], chains.of(~worse)
    # An interruption leaves fewer draws; those of importance sampling are in random order.
    draws = chains.x.shape[1]
    x = weighted.x[:, :draws]
    stats = {name: values[:, :draws] for name, values in weighted.stats.items()}
    pairs = ((x, chains.x), (weighted.method, chains.method), (weighted.ess, chains.ess), (weighted.rhat, chains.rhat))
    for whole, part in (*pairs, *((values, chains.stats[name]) for name, values in stats.items())):
        whole[places] = part
    return replace(weighted, x=x, stats=stats, chains=chains.chains, interrupted=chains.interrupted)


def importance_sample(densities: Densities, settings: ImportanceSettings) -> Sampled:
    """Adaptive importance sampling from mixtures about the modes.

    Source: Cappe et al. (2008), Adaptive importance sampling in general mixture classes; Vehtari et al. (2024), Pareto
    smoothed importance sampling.

    Args:
        densities: the posteriors.
        settings: how many draws.
    """
    count = densities.count
    seeds = densities.keys(count)
    parts = np.array_split(np.arange(count), -(-count // HELD))
    found = [_adapted(densities, members, seeds[members], settings) for members in parts]
    x, log_density, khat, ess, share = (np.concatenate(part) for part in zip(*found, strict=True))
    stats = {name: np.full(x.shape[:2], np.nan) for name in ("energy", "diverging", "steps")}
    method = np.full(count, "importance", dtype=object)
    stats |= {"log_density": log_density}
    return Sampled(x, method, khat, ess, share, 1, stats, np.full(count, np.nan), densities.modes)


def _adapted(
    densities: Densities, members: np.ndarray, seeds: np.ndarray, settings: ImportanceSettings
) -> tuple[np.ndarray, ...]:
    """Draws of some posteriors, their log density, and k-hat, effective number and share of the proposed draws."""
    each = [Adaptation(_proposal(densities, int(k)), seed) for k, seed in zip(members, seeds, strict=True)]
    for _ in range(settings.rounds):
        left = [k for k, one in enumerate(each) if not one.over]
        if not left:
            break
        x = np.stack([each[k].proposed(-(-settings.proposed // TOGETHER)) for k in left])
        for k, *own in zip(left, x, densities.log_densities(members[left], x), strict=True):
            each[k].add(*own)
    weighted = [one.weighted for one in each]
    chosen = [one.resampled(settings.draws) for one in each]
    x = np.stack([one.x[places] for one, places in zip(weighted, chosen, strict=True)])
    log_density = np.stack([one.log_density[places] for one, places in zip(weighted, chosen, strict=True)])
    khat, ess, share = np.array([(own.khat, own.ess, one.share) for own, one in zip(weighted, each, strict=True)]).T
    return x, log_density, khat, ess, share


def _proposal(densities: Densities, k: int) -> Proposal:
    """A mixture with a component about every distinct mode of one posterior."""
    used = np.isfinite(densities.log_weights[k])
    roots = densities.mode.root[k, used]
    return Proposal(densities.mode.x[k, used], roots, np.linalg.inv(roots), densities.log_weights[k, used])


def nuts_sample(densities: Densities, members: np.ndarray, settings: NutsSettings) -> Sampled:
    """NUTS on some of the posteriors; those whose draws diverge are sampled again with smaller steps.

    Source: Hoffman and Gelman (2014), The No-U-Turn Sampler.

    Args:
        densities: the posteriors.
        members: places of those that are sampled.
        settings: chains and draws.
    """
    kept = _sample_chains(densities, members, settings, ACCEPT[0])
    for accept in ACCEPT[1:]:
        left = np.flatnonzero(_divergences(kept) > 0)
        if not len(left) or kept.interrupted:
            break
        try:
            found = _sample_chains(densities, members[left], settings, accept)
        except KeyboardInterrupt:
            kept.interrupted = True
            break
        if found.interrupted:
            # Fewer draws than the earlier ones, which stand.
            kept.interrupted = True
            break
        better = _divergences(found) <= _divergences(kept)[left]
        kept.put(left[better], found, better)
    return kept


def _divergences(sampled: Sampled) -> np.ndarray:
    return sampled.stats["diverging"].sum(axis=1)


@dataclass
class _Chains:
    """Chains of some posteriors on their way: what the program takes, its state, and what has been drawn."""

    densities: Densities
    members: np.ndarray
    mode: Mode
    accept: np.ndarray
    program: Any
    state: Any
    drawn: Any = None

    def advance(self) -> Any:
        """A block of draws."""
        self.state, block = self.densities.run(
            self.program, self.members, self.mode, self.state, self.accept, alone=True
        )
        return block

    def draw(self) -> None:
        """A block of draws that is kept."""
        block = self.advance()
        both = lambda *a: np.concatenate(a, axis=2)  # noqa: E731
        self.drawn = block if self.drawn is None else jax.tree.map(both, self.drawn, block)

    def thin(self) -> None:
        """Keep every second draw."""
        self.drawn = jax.tree.map(lambda a: a[:, :, 1::2], self.drawn)

    @property
    def mixed(self) -> bool:
        """Whether R-hat says so of all chains."""
        return bool(np.all(mcmc_diagnostics.largest_rhat(self.drawn[0]) <= mcmc_diagnostics.MIXED))


def _sample_chains(densities: Densities, members: np.ndarray, settings: NutsSettings, accept: float) -> Sampled:
    """Chains of some posteriors; an interruption leaves what has been drawn."""
    chains, interrupted = _begin(densities, members, settings, accept), False
    try:
        for _ in range(settings.warmup_blocks):
            chains.advance()
        for longer in range(LONGER + 1):
            # Chains that have not mixed go on for longer, and every second of their last draws is kept.
            for _ in range(settings.blocks * 2 ** max(longer - 1, 0)):
                chains.draw()
            if longer:
                chains.thin()
            if chains.mixed:
                break
    except KeyboardInterrupt:
        if chains.drawn is None:
            raise
        interrupted = True
    return _of_chains(chains, settings, interrupted)


def _begin(densities: Densities, members: np.ndarray, settings: NutsSettings, accept: float) -> _Chains:
    """Chains about the distinct modes; the best stands for the others."""
    distinct = np.isfinite(densities.log_weights[members])[:, :, None]
    mode = jax.tree.map(lambda a: a[members], densities.mode)
    x, root = np.where(distinct, mode.x, mode.x[:, :1]), np.where(distinct[..., None], mode.root, mode.root[:, :1])
    mode = eqx.tree_at(lambda m: (m.x, m.root), mode, (x, root))
    aim = np.full(len(members), accept)
    warmup = settings.warmup_blocks * nuts.BLOCK
    keys = densities.keys(densities.count)[members]
    size = mode.x.shape[-1]
    far = np.stack([np.random.default_rng(k).standard_normal((settings.chains, size)) for k in keys])
    begin, inverse = _program(nuts.begin, warmup=warmup), np.linalg.inv(mode.root[:, 0])
    state = densities.run(begin, members, mode, inverse, keys, 2.0 * far, aim, alone=True)
    return _Chains(densities, members, mode, aim, _program(nuts.go_on, warmup=warmup), state)


def _of_chains(chains: _Chains, settings: NutsSettings, interrupted: bool) -> Sampled:
    """The last draws of the chains, one after the other."""
    count = len(chains.members)
    x, log_density, energy, diverging, steps = jax.tree.map(lambda a: a[:, :, -settings.draws :], chains.drawn)
    flat = lambda a: np.asarray(a).reshape(count, -1, *a.shape[3:])  # noqa: E731
    stats = {"log_density": log_density, "energy": energy, "diverging": diverging, "steps": steps}
    return Sampled(
        x=flat(x),
        method=np.full(count, "nuts", dtype=object),
        khat=np.full(count, np.nan),
        ess=np.full(count, np.nan),
        share=np.full(count, np.nan),
        chains=settings.chains,
        stats={name: flat(np.asarray(value, float)) for name, value in stats.items()},
        rhat=mcmc_diagnostics.largest_rhat(x),
        modes=chains.densities.modes[chains.members],
        interrupted=interrupted,
    )
