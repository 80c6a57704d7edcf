"""Stacking weights of models: the mixture with the largest mean log predictive density."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxscale.prediction.cross_validation import Elpd
from jaxscale.utils.errors import ArgumentError, ArgumentTypeError

# Certified gap to the optimal mean log density.
EXACT = 1e-10


def optimal_weights(log_density: Float[np.ndarray, "unit model"]) -> Float[np.ndarray, " model"]:
    """Weights of the optimal mixture, shape (models,), from log densities of shape (units, models)."""
    from scipy.optimize import nnls

    units, models = log_density.shape
    p = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    w = np.full(models, 1 / models)
    for _ in range(200):
        ratio = p / (p @ w)[:, None]
        gradient = ratio.mean(axis=0)
        if gradient.max() - 1 <= EXACT:
            break
        # Without the sum-to-one constraint: -mean log(p w) + sum w has the same optimum.
        root = np.vstack([ratio / math.sqrt(units), 1e-7 * np.eye(models)])
        r = np.asarray(np.linalg.qr(root, mode="r"))
        # Its Newton step: minimise |r v|^2 / 2 - (2 gradient - 1)' v over v >= 0.
        target = np.linalg.solve(r.T, 2 * gradient - 1)
        step = nnls(r, target)[0] - w
        slope, loss = float((1 - gradient) @ step), _loss(p, w)
        size = 1.0
        while size > 1e-12 and not _loss(p, w + size * step) <= loss + 1e-4 * size * slope:
            size /= 2
        moved = np.maximum(w + size * step, 0.0) if slope < 0 and size > 1e-12 else w * gradient
        w = moved / moved.sum()
    return w


def _loss(p: Float[np.ndarray, "unit model"], w: Float[np.ndarray, " model"]) -> float:
    with np.errstate(divide="ignore"):
        return float(w.sum() - np.mean(np.log(p @ w)))


def stacking(elpds: Mapping[str, Elpd]) -> dict[str, float]:
    """Stacking weights of models, ``max_w mean_i log sum_k w_k p_k(y_i | y_-i)``.

    A convex problem, solved by Newton steps, each a non-negative least-squares problem, until the gap to the optimum,
    bounded by ``max_k mean_i p_ik / sum_j w_j p_ij - 1``, is below 1e-10 nats per unit.

    Args:
        elpds: name to log predictive densities, by the same method for the same units.

    Returns:
        Name to weight; the weights are non-negative and sum to one.

    Raises:
        ValueError: there is no model, or the models are not comparable.

    Source: Yao, Vehtari, Simpson & Gelman 2018, doi:10.1214/17-BA1091; Kim, Carbonetto, Stephens & Anitescu 2020,
    doi:10.1080/10618600.2019.1689985.
    """
    comparable(elpds)
    weights = optimal_weights(np.stack([elpd.pointwise for elpd in elpds.values()], axis=1))
    return dict(zip(elpds, weights.tolist(), strict=True))


def comparable(elpds: Mapping[str, Elpd], argument: str = "elpds") -> None:
    """Validate that predictive densities are of the same units."""
    invalid = (
        [elpds] if not isinstance(elpds, Mapping) else [elpd for elpd in elpds.values() if not isinstance(elpd, Elpd)]
    )
    if invalid:
        raise ArgumentTypeError(
            argument,
            f"must map names to what loo returned, such as {{'chinchilla': loo(draws)}}, but holds "
            f"{type(invalid[0]).__name__}.",
        )
    if not elpds:
        raise ArgumentError(argument, "must not be empty.")
    first_name, first = next(iter(elpds.items()))
    for name, elpd in elpds.items():
        for what, one, other in (
            ("the method", first.method, elpd.method),
            ("the unit", first.unit, elpd.unit),
            ("the table", first.data, elpd.data),
        ):
            if one != other:
                raise ArgumentError(
                    argument,
                    f"must hold models that compare, but {what} of {first_name} is {one!r} and that of "
                    f"{name} is {other!r}.",
                )
        if not np.array_equal(first.labels, elpd.labels):
            raise ArgumentError(
                argument, f"must hold models that compare, but {name} has other {first.unit}s than {first_name}."
            )
        if not np.isfinite(elpd.pointwise).all():
            raise ArgumentError(argument, f"must hold finite densities, but {name} gives some {elpd.unit} none.")
