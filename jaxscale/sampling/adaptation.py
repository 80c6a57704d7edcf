"""Adaptive importance sampling: proposals that follow the draws of earlier rounds, until their weights can be trusted.

A posterior with a long, bent ridge has arms in which a proposal about the mode has no draw, so that its weights look
well although a part of the posterior is missing. Three things keep that from happening. Earlier rounds follow a
flattened posterior, whose arms weigh more. The draws of the last two rounds are weighed by the mixture of their
proposals, so that a draw with a large weight is not left out by going on. And weights must be well in two rounds, of
which the second follows the first.

Source: Veach 1995, doi:10.1145/218380.218498 (the balance heuristic); Cappé 2008, arXiv:0710.4242 (proposals).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt32

from jaxscale.bayes import psis
from jaxscale.sampling.gaussian_mixture import fitted
from jaxscale.sampling.importance import (
    EFFICIENT,
    Proposal,
    Weighted,
    log_density_of,
    noise_of,
    proposed,
    resampled,
    tempered,
)

# Most rounds, and how many of the last are weighed together.
ROUNDS, TOGETHER = 14, 2
# Rounds after these have twice the draws, up to so many.
MANY = 8192
# A round passes where k-hat is below this. Far below what can be trusted: where a proposal missed a part of the
# posterior, k-hat of the draws that it has lies between.
TAME, CONFIRMED = 0.2, 0.5
# The powers of the posterior that proposals follow: until a round passes, and then. Flat ones find arms, at the cost of
# effective draws.
EXPLORED, SAMPLED = 0.5, 0.8
# How many pieces a proposal has, how many draws they are fitted to, what the modes, the pieces and one component with
# the moments of all draws weigh, and how much wider this one is.
PIECES, FITTED, SHARES, WIDER = 4, 4000, (0.05, 0.75, 0.2), 1.4
# Where fewer draws are effective, weights are made more even until so many say where the next round goes.
LEAST = 100.0


@dataclass
class _Round:
    """Draws of one proposal, and their log density by the proposals that are weighed together."""

    x: Float[np.ndarray, "draw size"]
    log_density: Float[np.ndarray, " draw"]
    proposal: Proposal
    by: list[Float[np.ndarray, " draw"]]


class Adaptation:
    """Adaptive importance sampling of one posterior, whose densities are computed elsewhere.

    Args:
        proposal: of the first round: components about the modes.
        seed: words of the seed.
    """

    def __init__(self, proposal: Proposal, seed: UInt32[np.ndarray, " 2"]) -> None:
        self.modes = self.proposal = proposal
        self.seed, self.rounds, self.number = seed, [], 0
        self.passed = self.over = False
        self.weighted: Weighted

    def proposed(self, count: int) -> Float[np.ndarray, "draw size"]:
        """Draws of the proposal of this round, shape (draws, size)."""
        # The first two rounds serve what is nearly normal; what needs more of them needs more draws too.
        if self.number >= TOGETHER:
            count = max(count, min(TOGETHER * count, MANY))
        size = self.proposal.means.shape[-1]
        return proposed(self.proposal, *noise_of([*self.seed, self.number], self.proposal.log_weights, count, size))

    def add(self, x: Float[np.ndarray, "draw size"], log_density: Float[np.ndarray, " draw"]) -> None:
        """Weigh the draws of this round together with those of the one before, and make the next proposal."""
        self.rounds = self.rounds[-(TOGETHER - 1) :]
        for earlier in self.rounds:
            earlier.by = [*earlier.by[-len(self.rounds) :], log_density_of(self.proposal, earlier.x)]
        proposals = [*(each.proposal for each in self.rounds), self.proposal]
        self.rounds.append(_Round(x, log_density, self.proposal, [log_density_of(q, x) for q in proposals]))
        self.number += 1
        self.weighted = self._weighed()
        khat = self.weighted.khat
        self.over = not math.isfinite(khat) or (self.passed and khat < CONFIRMED and self.share > EFFICIENT)
        self.passed = khat < (CONFIRMED if self.passed else TAME)
        if not self.over:
            self._follow()

    @property
    def share(self) -> float:
        """Effective share of the draws that are weighed together."""
        return self.weighted.ess / len(self.weighted.x)

    def resampled(self, count: int) -> Int[np.ndarray, " draw"]:
        """Places of draws of equal weight among those that are weighed together."""
        return resampled(self.seed, self.weighted.log_weights, count)

    def _weighed(self) -> Weighted:
        sizes = np.log([len(each.x) for each in self.rounds])
        mixture = [np.logaddexp.reduce(np.add(each.by, sizes[:, None])) for each in self.rounds]
        x, log_density = (
            np.concatenate([getattr(each, name) for each in self.rounds]) for name in ("x", "log_density")
        )
        log_weights, khat = psis.smoothed(log_density - np.concatenate(mixture))
        return Weighted(x, log_density, log_weights, khat, psis.effective(log_weights))

    def _follow(self) -> None:
        """Fit the next proposal: pieces, and all of the draws by one wide component."""
        weighted = self.weighted
        with np.errstate(invalid="ignore"):
            below = weighted.log_density - weighted.log_density[np.isfinite(weighted.log_weights)].max()
            log_weights = weighted.log_weights + ((SAMPLED if self.passed else EXPLORED) - 1) * below
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        chosen = resampled(self.seed, tempered(log_weights, LEAST), FITTED)
        weights, means, roots, mean, root = fitted(weighted.x[chosen], self.seed, PIECES)
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
