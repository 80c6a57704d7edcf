"""What posteriors that were sampled together ended with, and what each has to say of itself."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.sampling.importance import EFFICIENT
from jaxscale.utils.notices import Notice


@dataclass
class Sampled:
    """What some posteriors of one structure ended with; arrays have a leading axis of posteriors.

    Args:
        x: coordinates of the draws, shape (posteriors, draws, size).
        method: "importance" or "nuts" for each.
        khat: of the last rounds of importance sampling; NaN where there was none.
        ess: effective number of the proposals' draws; NaN for NUTS.
        share: the same as a share of these draws, also where NUTS was used in their place; NaN where there was none.
        chains: of NUTS.
        stats: of NUTS, each of shape (posteriors, draws); NaN for importance sampling.
        rhat: largest R-hat of NUTS over the coordinates; NaN for importance sampling.
        modes: how many distinct modes were met.
    """

    x: Float[np.ndarray, "problem draw size"]
    method: Shaped[np.ndarray, " problem"]
    khat: Float[np.ndarray, " problem"]
    ess: Float[np.ndarray, " problem"]
    share: Float[np.ndarray, " problem"]
    chains: int
    stats: dict[str, Float[np.ndarray, "problem draw"]]
    rhat: Float[np.ndarray, " problem"]
    modes: Int[np.ndarray, " problem"]
    interrupted: bool = False

    def of(self, chosen: Shaped[np.ndarray, " chosen"]) -> "Sampled":
        """Some of the posteriors."""
        arrays = ("x", "method", "khat", "ess", "share", "rhat", "modes")
        own = {name: getattr(self, name)[chosen] for name in arrays}
        return replace(self, **own, stats={name: values[chosen] for name, values in self.stats.items()})

    def put(self, places: Int[np.ndarray, " place"], others: "Sampled", chosen: Bool[np.ndarray, " others"]) -> None:
        """Put some of the others, draws and all, in the place of some of these."""
        self.x[places], self.rhat[places] = others.x[chosen], others.rhat[chosen]
        for name, values in self.stats.items():
            values[places] = others.stats[name][chosen]
        self.interrupted |= others.interrupted

    def about(self, k: int) -> dict[str, Any]:
        """What one of the posteriors says of itself."""
        told: dict[str, Any] = {"modes": int(self.modes[k])}
        if np.isfinite(self.khat[k]):
            told["khat"] = float(self.khat[k])
        if self.method[k] == "importance":
            told["ess"] = float(self.ess[k])
        told["divergences"] = int(np.nansum(self.stats["diverging"][k]))
        if self.method[k] == "nuts" and np.isfinite(self.khat[k]):
            told["fallback"] = self._fallback(k)
        if self.method[k] == "nuts":
            told["steps"] = float(np.mean(self.stats["steps"][k]))
        return told

    def _fallback(self, k: int) -> str:
        """Why NUTS was used in place of importance sampling."""
        if not self.khat[k] < KHAT_LIMIT:
            return f"k-hat {self.khat[k]:.2f} is not below {KHAT_LIMIT}"
        return f"{self.share[k]:.0%} of its draws were effective, fewer than {EFFICIENT:.0%}"

    def judged(self, k: int) -> tuple[list[Notice], bool]:
        """What a person should know of one of the posteriors, and whether its weights may be trusted."""
        notices, trusted = [], True
        if self.method[k] != "nuts" and not self.khat[k] < KHAT_LIMIT:
            notices.append(Notice("heavy_weights", f"k-hat is {self.khat[k]:.2f}, not below {KHAT_LIMIT}."))
            trusted = False
        if self.interrupted:
            notices.append(Notice("interrupted", f"Sampling was interrupted; {self.x.shape[1]} draws are kept."))
        if self.modes[k] > 1:
            notices.append(Notice("several_modes", f"The posterior has {self.modes[k]} modes that weigh something."))
        return notices, trusted
