"""Noise: in which space residuals are taken, and what a residual costs.

A fit minimises ``sum_i w_i * rho(r_i)`` with ``r_i = t(law_i) - t(y_i)``, where ``t`` is the
identity, the logarithm or the logit. Objectives are sums, never means. Settings are arrays, so
that a new delta compiles nothing.

With ``delta="scale"`` Huber's threshold follows the residuals (proposal 2 of Huber): law and scale ``s`` minimise
``sum_i w_i s rho(r_i / s) + s beta (1 - p / n) sum_i w_i / 2`` together, where rho has the threshold 1.345 and ``beta``
is the mean of ``psi^2`` under the normal distribution, so that ``s`` is the standard deviation of normal noise.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.law import Response, Support, positive, real, unit

# Huber's threshold in units of the residuals' scale: 95 % efficient for normal noise; and the mean of psi^2 there.
TUNING = 1.345
CONSISTENT = 0.7101645482690484

Space = Literal["log", "linear", "logit"]
SPACES: dict[str, tuple[Support, Callable[[Any], Any]]] = {
    "linear": (real, lambda y: y),
    "log": (positive, jnp.log),
    "logit": (unit, lambda y: jnp.log(y) - jnp.log1p(-y)),
}


def _setting(value: Any) -> Any:
    return value if isinstance(value, jax.Array) else np.asarray(value, float)


class Noise(eqx.Module):
    """A residual space with a robust loss; make one with :func:`squared`, :func:`huber`, ...

    The losses are two families: ``huber`` with a threshold ``delta`` (infinite: squared error;
    zero: absolute error), and ``student_t`` with ``df`` degrees of freedom and a ``scale`` that is
    fitted with the law where it is None. With ``adaptive`` Huber's threshold is 1.345 of a scale that is fitted with
    the law.
    """

    loss: Literal["squared", "huber", "absolute", "student_t"] = eqx.field(static=True)
    space: Space = eqx.field(static=True)
    delta: Any = eqx.field(converter=_setting, default=np.inf)
    df: Any = eqx.field(converter=_setting, default=np.inf)
    scale: Any = eqx.field(converter=lambda v: None if v is None else _setting(v), default=None)
    adaptive: bool = eqx.field(static=True, default=False)

    @property
    def infers_scale(self) -> bool:
        """Whether the scale of the noise is fitted along with the law."""
        return self.adaptive or (self.loss == "student_t" and self.scale is None)

    def transform(self, y: Any) -> Any:
        """Map a response or prediction into the space where residuals are taken."""
        return SPACES[self.space][1](y)

    def describe(self) -> str:
        """The noise in words, as a report prints it."""
        where = {"linear": "raw residuals", "log": "log residuals", "logit": "logit residuals"}[self.space]
        setting = {
            "huber": "(delta=scale)" if self.adaptive else f"(delta={float(self.delta):g})",
            "student_t": f"(df={float(self.df):g})" if self.loss == "student_t" else "",
        }.get(self.loss, "")
        return f"{self.loss}{setting} on {where}"


def squared(space: Space = "linear") -> Noise:
    """Squared error, ``rho(r) = r^2 / 2``."""
    return Noise("squared", _space(space))


def huber(delta: Any = 1e-3, space: Space = "log") -> Noise:
    """Huber's loss, ``r^2 / 2`` where ``|r| <= delta``, else ``delta * (|r| - delta / 2)``.

    Args:
        delta: the threshold, in the unit of the residuals; or "scale": 1.345 of their scale, which is fitted with the
            law (Huber's proposal 2).
        space: where residuals are taken.

    Source:
        Huber, Robust estimation of a location parameter, 1964; Huber and Ronchetti, Robust Statistics, 2009, chapter 7.
    """
    if isinstance(delta, str):
        if delta != "scale":
            raise ValueError(f"Argument delta must be a positive number or 'scale', but is {delta!r}.")
        return Noise("huber", _space(space), adaptive=True)
    _above_zero("delta", delta)
    return Noise("huber", _space(space), delta=delta)


def absolute(space: Space = "log") -> Noise:
    """Absolute error, ``rho(r) = |r|``; a fit ends at the exact vertex."""
    return Noise("absolute", _space(space), delta=0.0)


def student_t(df: Any = 4.0, scale: Any = None, space: Space = "log") -> Noise:
    """Student-t, ``log s + (df + 1)/2 * log(1 + r^2 / (df s^2))`` up to a constant.

    Args:
        df: degrees of freedom.
        scale: the scale s of the residuals; fitted with the law where None.
        space: where residuals are taken.
    """
    _above_zero("df", df)
    if scale is not None:
        _above_zero("scale", scale)
    return Noise("student_t", _space(space), df=df, scale=scale)


def default(response: Response, space: str | None = None) -> Noise:
    """The noise used unless one is given: Huber's with a fitted scale on logs, squared on logits, or squared.

    Args:
        response: the response of the law.
        space: where residuals are taken, if not where they suit the domain of the response.
    """
    if response.domain is positive:
        return huber("scale", _space(space or "log"))
    return squared(_space(space or ("logit" if response.domain is unit else "linear")))


LOSSES: dict[str, Callable[..., Noise]] = {
    "squared": squared,
    "huber": huber,
    "absolute": absolute,
    "student_t": student_t,
}


def named(loss: str, space: str | None = None, *, response: Response | None = None, **settings: Any) -> Noise:
    """A noise by name; the space defaults to what suits the response's domain.

    Raises:
        ValueError: the name, the space or a setting is not one of the noise's.
    """
    if loss not in LOSSES:
        raise ValueError(f"Argument noise must be one of {', '.join(LOSSES)}, but is {loss!r}.")
    accepted = {"squared": (), "huber": ("delta",), "absolute": (), "student_t": ("df", "scale")}[loss]
    for key, value in settings.items():
        if value is not None and key not in accepted:
            raise ValueError(f"Argument {key} must not be given with noise {loss}, but is {value!r}.")
    if space is None:
        space = default(response).space if response is not None else "linear"
    return LOSSES[loss](space=_space(space), **{k: v for k, v in settings.items() if v is not None})


def _space(space: str) -> Any:
    if space not in SPACES:
        raise ValueError(f"Argument space must be one of {', '.join(SPACES)}, but is {space!r}.")
    return space


def _above_zero(name: str, value: Any) -> None:
    if not isinstance(value, jax.Array) and not (np.all(np.asarray(value) > 0) and np.all(np.isfinite(value))):
        raise ValueError(f"Argument {name} must be positive and finite, but is {value!r}.")
