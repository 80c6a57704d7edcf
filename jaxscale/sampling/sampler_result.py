"""Results of sampling a batch of posteriors, with diagnostics and notices."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.sampling.importance import EFFICIENT
from jaxscale.utils.notices import Notice


@dataclass
class SamplerResult:
    """Draws and diagnostics of a batch of posteriors; arrays have a leading axis of posteriors.

    Args:
        x: coordinates of the draws, shape (posteriors, draws, size).
        method: sampling method of each.
        khat: k-hat of importance sampling; NaN where there was none.
        ess: effective sample size of importance sampling; NaN for NUTS.
        share: relative effective sample size of importance sampling, also where NUTS replaced it; NaN where there was
            none.
        chains: number of chains of NUTS.
        stats: statistics of NUTS, each of shape (posteriors, draws); NaN for importance sampling.
        rhat: largest R-hat of NUTS over the coordinates; NaN for importance sampling.
        modes: number of distinct modes.
        interrupted: whether sampling was interrupted, so that there are fewer draws.
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

    def of(self, index: Shaped[np.ndarray, " chosen"]) -> "SamplerResult":
        """The chosen posteriors."""
        arrays = ("x", "method", "khat", "ess", "share", "rhat", "modes")
        own = {name: getattr(self, name)[index] for name in arrays}
        return replace(self, **own, stats={name: values[index] for name, values in self.stats.items()})

    def put(
        self, places: Int[np.ndarray, " place"], others: "SamplerResult", index: Bool[np.ndarray, " others"]
    ) -> None:
        """Replace the posteriors at the given places by chosen ones of the others."""
        self.x[places], self.rhat[places] = others.x[index], others.rhat[index]
        for name, values in self.stats.items():
            values[places] = others.stats[name][index]
        self.interrupted |= others.interrupted

    def about(self, k: int) -> dict[str, Any]:
        """Diagnostics of one posterior."""
        entries: dict[str, Any] = {"modes": int(self.modes[k])}
        if np.isfinite(self.khat[k]):
            entries["khat"] = float(self.khat[k])
        if self.method[k] == "importance":
            entries["ess"] = float(self.ess[k])
        entries["divergences"] = int(np.nansum(self.stats["diverging"][k]))
        if self.method[k] == "nuts" and np.isfinite(self.khat[k]):
            entries["fallback"] = self._fallback(k)
        if self.method[k] == "nuts":
            entries["steps"] = float(np.mean(self.stats["steps"][k]))
        return entries

    def _fallback(self, k: int) -> str:
        """Why NUTS was used in place of importance sampling."""
        if not self.khat[k] < KHAT_LIMIT:
            return f"k-hat {self.khat[k]:.2f} is not below {KHAT_LIMIT}"
        return f"relative effective sample size {self.share[k]:.0%} is below {EFFICIENT:.0%}"

    def assess(self, k: int) -> tuple[list[Notice], bool]:
        """Notices on one posterior, and whether its importance weights are reliable."""
        notices, trusted = [], True
        if self.method[k] != "nuts" and not self.khat[k] < KHAT_LIMIT:
            notices.append(Notice("heavy_weights", f"k-hat is {self.khat[k]:.2f}, not below {KHAT_LIMIT}."))
            trusted = False
        if self.interrupted:
            notices.append(Notice("interrupted", f"Sampling was interrupted; {self.x.shape[1]} draws finished."))
        if self.modes[k] > 1:
            notices.append(Notice("several_modes", f"The posterior has {self.modes[k]} distinct modes."))
        return notices, trusted
