"""Importance sampling, with NUTS for posteriors whose weights fail the k-hat or the effective-sample-size criterion.

Every function works on many posteriors of one structure at once, see :mod:`jaxscale.sampling.densities`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int, PyTree, UInt32

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.results import mcmc_diagnostics
from jaxscale.sampling import nuts
from jaxscale.sampling.adaptation import ROUNDS, TOGETHER, Adaptation
from jaxscale.sampling.densities import Densities
from jaxscale.sampling.importance import EFFICIENT, Proposal
from jaxscale.sampling.modes import Mode
from jaxscale.sampling.sampler_result import SamplerResult
from jaxscale.utils.compilation import Program, compiled
from jaxscale.utils.errors import ArgumentError

METHODS = ("auto", "importance", "nuts", "laplace")
# Proposal draws per returned draw.
PROPOSED = 4
# Fewest proposal draws: k-hat is estimated from the few largest weights.
FEWEST = 8192
# Most modes with a component in the proposal.
COMPONENTS = 4
# Posteriors whose proposal draws are held in memory at a time.
HELD = 256
# Relative effective sample size above which importance sampling is preferred to chains with an R-hat above UNMIXED.
FAIR = 0.1
UNMIXED = 1.05
# Target acceptance probabilities of NUTS; raised while draws diverge.
ACCEPT = (0.8, 0.95, 0.99)
# How often chains that have not mixed are extended.
LONGER = 2


@dataclass(frozen=True)
class ImportanceSettings:
    """Settings of adaptive importance sampling.

    Args:
        draws: number of returned, equally weighted draws.
        rounds: most rounds of adaptation.
    """

    draws: int
    rounds: int = ROUNDS

    @property
    def proposals(self) -> int:
        """Number of weighted proposal draws where few rounds are needed."""
        return max(PROPOSED * self.draws, FEWEST)


@dataclass(frozen=True)
class NutsSettings:
    """Settings of the no-U-turn sampler.

    Args:
        chains: number of chains.
        draws: number of returned draws per chain.
        warmup: number of warm-up draws per chain, rounded up to whole blocks.
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
        """Blocks of warm-up draws per chain."""
        return -(-self.warmup // nuts.BLOCK)

    @property
    def blocks(self) -> int:
        """Blocks of kept draws per chain."""
        return -(-self.draws // nuts.BLOCK)


@lru_cache(maxsize=64)
def _program(function: Callable[..., PyTree], **static: int) -> Program:
    """A jitted function with its static arguments bound, cached, and named for checkpoints."""
    program = compiled(partial(function, **static))
    program.__name__ = "_".join([function.__name__, *map(str, static.values())])  # pyright: ignore
    return program


def stack_starts(starts: Sequence[Float[np.ndarray, " size"]]) -> Float[np.ndarray, "component size"]:
    """Starts of one posterior padded to COMPONENTS by repeating the first."""
    return np.stack([starts[k] if k < len(starts) else starts[0] for k in range(COMPONENTS)])


def check_settings(method: str, num_chains: int, num_samples: int, num_warmup: int) -> None:
    """Validate the method and the numbers of chains and draws."""
    if method not in METHODS:
        raise ArgumentError("method", f"must be one of {', '.join(METHODS)}, but is {method!r}.")
    for name, number in (("num_chains", num_chains), ("num_samples", num_samples), ("num_warmup", num_warmup)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ArgumentError(name, f"must be a positive number, but is {number!r}.")


def adaptive_sample(densities: Densities, method: str, settings: NutsSettings) -> SamplerResult:
    """Sample by one of METHODS; "auto" is importance sampling, with NUTS as a fallback where its weights are poor.

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


def _laplace(densities: Densities, weighted: SamplerResult) -> SamplerResult:
    """Normal draws about the best mode, with the diagnostics of importance sampling."""
    count, draws = weighted.x.shape[:2]
    mode = densities.mode
    e = np.random.default_rng(densities.keys(1)[0]).standard_normal((count, draws, mode.x.shape[-1]))
    x = mode.x[:, None, 0] + np.einsum("bij,bnj->bni", mode.root[:, 0], e)
    nothing = {name: np.full((count, draws), np.nan) for name in weighted.stats}
    return replace(weighted, x=x, method=np.full(count, "laplace", dtype=object), stats=nothing)


def _with_chains(weighted: SamplerResult, chains: SamplerResult, places: Int[np.ndarray, " place"]) -> SamplerResult:
    """Importance sampling with NUTS in place of it for the given posteriors, except where the chains are worse."""
    # Chains that have not mixed do not replace weights with a good k-hat and a fair effective sample size.
    fair = (weighted.khat[places] < KHAT_LIMIT) & (weighted.share[places] > FAIR)
    worse = fair & ~(chains.rhat <= UNMIXED)
    if np.all(worse):
        return replace(weighted, interrupted=chains.interrupted)
    places, chains = places[~worse], chains.of(~worse)
    # After an interruption there are fewer draws; those of importance sampling are in random order.
    draws = chains.x.shape[1]
    x = weighted.x[:, :draws]
    stats = {name: values[:, :draws] for name, values in weighted.stats.items()}
    pairs = ((x, chains.x), (weighted.method, chains.method), (weighted.ess, chains.ess), (weighted.rhat, chains.rhat))
    for whole, part in (*pairs, *((values, chains.stats[name]) for name, values in stats.items())):
        whole[places] = part
    return replace(weighted, x=x, stats=stats, chains=chains.chains, interrupted=chains.interrupted)


def importance_sample(densities: Densities, settings: ImportanceSettings) -> SamplerResult:
    """Adaptive importance sampling, with mixtures about the modes as first proposals.

    Source: Cappe et al. (2008), Adaptive importance sampling in general mixture classes; Vehtari et al. (2024), Pareto
    smoothed importance sampling.

    Args:
        densities: the posteriors.
        settings: numbers of draws and rounds.
    """
    count = densities.count
    seeds = densities.keys(count)
    parts = np.array_split(np.arange(count), -(-count // HELD))
    results = [_adapt(densities, members, seeds[members], settings) for members in parts]
    x, log_density, khat, ess, share = (np.concatenate(part) for part in zip(*results, strict=True))
    stats = {name: np.full(x.shape[:2], np.nan) for name in ("energy", "diverging", "steps")}
    method = np.full(count, "importance", dtype=object)
    stats |= {"log_density": log_density}
    return SamplerResult(x, method, khat, ess, share, 1, stats, np.full(count, np.nan), densities.modes)


def _adapt(
    densities: Densities,
    members: Int[np.ndarray, " member"],
    seeds: UInt32[np.ndarray, "member 2"],
    settings: ImportanceSettings,
) -> tuple[Float[np.ndarray, "member ..."], ...]:
    """Draws of the given posteriors, log densities, k-hat, and effective sample size, absolute and relative."""
    each = [Adaptation(_proposal(densities, int(k)), seed) for k, seed in zip(members, seeds, strict=True)]
    for _ in range(settings.rounds):
        left = [k for k, state in enumerate(each) if not state.over]
        if not left:
            break
        x = np.stack([each[k].propose(-(-settings.proposals // TOGETHER)) for k in left])
        for k, *own in zip(left, x, densities.log_densities(members[left], x), strict=True):
            each[k].add(*own)
    weighted = [state.weighted for state in each]
    indices = [state.resample(settings.draws) for state in each]
    x = np.stack([state.x[places] for state, places in zip(weighted, indices, strict=True)])
    log_density = np.stack([state.log_density[places] for state, places in zip(weighted, indices, strict=True)])
    khat, ess, share = np.array([(own.khat, own.ess, state.share) for own, state in zip(weighted, each, strict=True)]).T
    return x, log_density, khat, ess, share


def _proposal(densities: Densities, k: int) -> Proposal:
    """A mixture with one component per distinct mode of a posterior."""
    used = np.isfinite(densities.log_weights[k])
    roots = densities.mode.root[k, used]
    return Proposal(densities.mode.x[k, used], roots, np.linalg.inv(roots), densities.log_weights[k, used])


def nuts_sample(densities: Densities, members: Int[np.ndarray, " member"], settings: NutsSettings) -> SamplerResult:
    """NUTS on the given posteriors; those with divergences are sampled again with smaller steps.

    Source: Hoffman and Gelman (2014), The No-U-Turn Sampler.

    Args:
        densities: the posteriors.
        members: indices of the posteriors to sample.
        settings: numbers of chains and draws.
    """
    result = _sample_chains(densities, members, settings, ACCEPT[0])
    for accept in ACCEPT[1:]:
        left = np.flatnonzero(_divergences(result) > 0)
        if not len(left) or result.interrupted:
            break
        try:
            retry = _sample_chains(densities, members[left], settings, accept)
        except KeyboardInterrupt:
            result.interrupted = True
            break
        if retry.interrupted:
            # Fewer draws than the earlier ones, which are kept.
            result.interrupted = True
            break
        better = _divergences(retry) <= _divergences(result)[left]
        result.put(left[better], retry, better)
    return result


def _divergences(sampled: SamplerResult) -> Float[np.ndarray, " member"]:
    return sampled.stats["diverging"].sum(axis=1)


@dataclass
class _Chains:
    """Running chains of the given posteriors: arguments of the program, state, and draws so far."""

    densities: Densities
    members: Int[np.ndarray, " member"]
    mode: Mode
    accept: Float[np.ndarray, " member"]
    program: Program
    state: PyTree
    draws: PyTree = None

    def advance(self) -> PyTree:
        """Advance the chains by a block of draws."""
        self.state, block = self.densities.run(
            self.program, self.members, self.mode, self.state, self.accept, alone=True
        )
        return block

    def draw(self) -> None:
        """Advance the chains by a block of draws, and keep it."""
        block = self.advance()
        both = lambda *a: np.concatenate(a, axis=2)  # noqa: E731
        self.draws = block if self.draws is None else jax.tree.map(both, self.draws, block)

    def thin(self) -> None:
        """Thin the draws by two."""
        self.draws = jax.tree.map(lambda a: a[:, :, 1::2], self.draws)

    @property
    def mixed(self) -> bool:
        """Whether R-hat is below its limit for all posteriors."""
        return bool(np.all(mcmc_diagnostics.largest_rhat(self.draws[0]) <= mcmc_diagnostics.MIXED))


def _sample_chains(
    densities: Densities, members: Int[np.ndarray, " member"], settings: NutsSettings, accept: float
) -> SamplerResult:
    """Chains of the given posteriors; an interruption keeps the draws so far."""
    chains, interrupted = _initialise(densities, members, settings, accept), False
    try:
        for _ in range(settings.warmup_blocks):
            chains.advance()
        for longer in range(LONGER + 1):
            # Chains that have not mixed are extended and thinned.
            for _ in range(settings.blocks * 2 ** max(longer - 1, 0)):
                chains.draw()
            if longer:
                chains.thin()
            if chains.mixed:
                break
    except KeyboardInterrupt:
        if chains.draws is None:
            raise
        interrupted = True
    return _of_chains(chains, settings, interrupted)


def _initialise(
    densities: Densities, members: Int[np.ndarray, " member"], settings: NutsSettings, accept: float
) -> _Chains:
    """Initialise chains about the distinct modes; duplicates start at the best mode."""
    distinct = np.isfinite(densities.log_weights[members])[:, :, None]
    mode = jax.tree.map(lambda a: a[members], densities.mode)
    x, root = np.where(distinct, mode.x, mode.x[:, :1]), np.where(distinct[..., None], mode.root, mode.root[:, :1])
    mode = eqx.tree_at(lambda m: (m.x, m.root), mode, (x, root))
    aim = np.full(len(members), accept)
    warmup = settings.warmup_blocks * nuts.BLOCK
    keys = densities.keys(densities.count)[members]
    size = mode.x.shape[-1]
    far = np.stack([np.random.default_rng(k).standard_normal((settings.chains, size)) for k in keys])
    begin, inverse = _program(nuts.initial_states, warmup=warmup), np.linalg.inv(mode.root[:, 0])
    state = densities.run(begin, members, mode, inverse, keys, 2.0 * far, aim, alone=True)
    return _Chains(densities, members, mode, aim, _program(nuts.advance_chains, warmup=warmup), state)


def _of_chains(chains: _Chains, settings: NutsSettings, interrupted: bool) -> SamplerResult:
    """The last draws of the chains, concatenated."""
    count = len(chains.members)
    x, log_density, energy, diverging, steps = jax.tree.map(lambda a: a[:, :, -settings.draws :], chains.draws)
    flat = lambda a: np.asarray(a).reshape(count, -1, *a.shape[3:])  # noqa: E731
    stats = {"log_density": log_density, "energy": energy, "diverging": diverging, "steps": steps}
    return SamplerResult(
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
