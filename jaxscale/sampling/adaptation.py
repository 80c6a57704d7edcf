"""Adaptive importance sampling, with proposals fitted to the draws of earlier rounds.

A proposal about the mode may miss the arms of a long, curved ridge, and then its weights look fine although a part of
the posterior is missing. Three measures prevent this. Early proposals target a tempered posterior, whose arms have
more weight. The draws of the last two rounds are weighted by the mixture of their proposals, so that a draw of large
weight is not discarded. And the weights must pass the k-hat criterion in two consecutive rounds.

Source: Veach 1995, doi:10.1145/218380.218498 (the balance heuristic); Cappé 2008, arXiv:0710.4242 (proposals).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt32

from jaxscale.bayes import psis
from jaxscale.sampling.gaussian_mixture import fit_mixture
from jaxscale.sampling.importance import (
    EFFICIENT,
    Proposal,
    WeightedDraws,
    draw_proposal,
    log_density_of,
    noise_of,
    resample,
    temper,
)

# Most rounds, and the number of last rounds that are weighted as one mixture.
ROUNDS, TOGETHER = 14, 2
# Later rounds have twice the draws, up to so many.
MANY = 8192
# A first and a second round pass below these k-hats. They are far below the usual limit, since k-hat lies in between
# where a proposal misses a part of the posterior.
TAME, CONFIRMED = 0.2, 0.5
# Tempering powers of the posterior that proposals target, until a round passes and after. Low powers find arms at the
# cost of effective sample size.
EXPLORED, SAMPLED = 0.5, 0.8
# Proposal: number of mixture components, draws they are fitted to, weights of the modes, the components and one
# component with the moments of all draws, and the inflation of the last.
PIECES, FITTED, SHARES, WIDER = 4, 4000, (0.05, 0.75, 0.2), 1.4
# Weights are tempered until the effective sample size for the next proposal is at least this.
LEAST = 100.0


@dataclass
class _Round:
    """Draws of one proposal, and their log densities under the proposals of the mixture."""

    x: Float[np.ndarray, "draw size"]
    log_density: Float[np.ndarray, " draw"]
    proposal: Proposal
    by: list[Float[np.ndarray, " draw"]]


class Adaptation:
    """State of adaptive importance sampling of one posterior; its densities are computed by the caller.

    Args:
        proposal: the first proposal, a mixture about the modes.
        seed: words of the seed.
    """

    def __init__(self, proposal: Proposal, seed: UInt32[np.ndarray, " 2"]) -> None:
        self.modes = self.proposal = proposal
        self.seed, self.rounds, self.number = seed, [], 0
        self.passed = self.over = False
        self.weighted: WeightedDraws

    def propose(self, count: int) -> Float[np.ndarray, "draw size"]:
        """Draws of the proposal of this round, shape (draws, size)."""
        # Nearly normal posteriors finish in two rounds; others need more draws.
        if self.number >= TOGETHER:
            count = max(count, min(TOGETHER * count, MANY))
        size = self.proposal.means.shape[-1]
        return draw_proposal(
            self.proposal, *noise_of([*self.seed, self.number], self.proposal.log_weights, count, size)
        )

    def add(self, x: Float[np.ndarray, "draw size"], log_density: Float[np.ndarray, " draw"]) -> None:
        """Weight the draws of this round jointly with those of the previous one, and fit the next proposal."""
        self.rounds = self.rounds[-(TOGETHER - 1) :]
        for earlier in self.rounds:
            earlier.by = [*earlier.by[-len(self.rounds) :], log_density_of(self.proposal, earlier.x)]
        proposals = [*(each.proposal for each in self.rounds), self.proposal]
        self.rounds.append(_Round(x, log_density, self.proposal, [log_density_of(q, x) for q in proposals]))
        self.number += 1
        self.weighted = self._weight()
        khat = self.weighted.khat
        self.over = not math.isfinite(khat) or (self.passed and khat < CONFIRMED and self.share > EFFICIENT)
        self.passed = khat < (CONFIRMED if self.passed else TAME)
        if not self.over:
            self._fit_proposal()

    @property
    def share(self) -> float:
        """Effective sample size relative to the number of weighted draws."""
        return self.weighted.ess / len(self.weighted.x)

    def resample(self, count: int) -> Int[np.ndarray, " draw"]:
        """Indices of equally weighted draws among the weighted draws."""
        return resample(self.seed, self.weighted.log_weights, count)

    def _weight(self) -> WeightedDraws:
        sizes = np.log([len(each.x) for each in self.rounds])
        mixture = [np.logaddexp.reduce(np.add(each.by, sizes[:, None])) for each in self.rounds]
        x, log_density = (
            np.concatenate([getattr(each, name) for each in self.rounds]) for name in ("x", "log_density")
        )
        log_weights, khat = psis.smooth(log_density - np.concatenate(mixture))
        return WeightedDraws(x, log_density, log_weights, khat, psis.effective_sample_size(log_weights))

    def _fit_proposal(self) -> None:
        """Fit the next proposal: a mixture, and one wide component for all draws."""
        weighted = self.weighted
        with np.errstate(invalid="ignore"):
            below = weighted.log_density - weighted.log_density[np.isfinite(weighted.log_weights)].max()
            log_weights = weighted.log_weights + ((SAMPLED if self.passed else EXPLORED) - 1) * below
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        index = resample(self.seed, temper(log_weights, LEAST), FITTED)
        weights, means, roots, mean, root = fit_mixture(weighted.x[index], self.seed, PIECES)
        about, pieces, whole = SHARES
        modes = self.modes.log_weights
        roots = np.concatenate([self.modes.roots, roots, WIDER * root[None]])
        self.proposal = Proposal(
            np.concatenate([self.modes.means, means, mean[None]]),
            roots,
            np.linalg.inv(roots),
            np.concatenate(
                [
                    modes - np.logaddexp.reduce(modes) + math.log(about),
                    np.log(pieces * weights),
                    [math.log(whole)],
                ]
            ),
        )
