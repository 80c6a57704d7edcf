"""Objective of a batch of lanes: value, gradient and two Hessians, summed over rows.

Rows are the last axis of data, lanes the first; results have the lanes last.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxscale.law import Law
from jaxscale.law.coordinates import Centre, to_params
from jaxscale.law.derivatives import expansion, value
from jaxscale.noise.noise import Noise
from jaxscale.utils.arrays import Array, Flags, Number, Value

D = TypeVar("D", bound=tuple[Any, ...])
T = TypeVar("T")

# Rows per block; a quarter of them where each holds several numbers.
BLOCK = 512


class Problem(eqx.Module):
    """A law, its inputs and a noise: the optimisation problem without weights and responses.

    Rows are the last axis of an input, also where each holds several numbers. With ``apart`` every lane has its own
    inputs (lanes, n), centre and values. ``held`` maps a free parameter to a flag and a value: where the flag is set
    the parameter has this value, whatever its coordinate, so that nested laws share a program. With ``reweighted``
    steps follow the majorising model only, except near the optimum.
    """

    law: Law = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    noise: Noise
    inputs: dict[str, Float[Array, "... row"]]
    fixed: dict[str, Float[Value, "*#lane"]]
    centre: Centre
    apart: bool = eqx.field(static=True, default=False)
    held: dict[str, tuple[Flags, Float[Value, "*#lane"]]] = eqx.field(default_factory=dict)
    reweighted: bool = eqx.field(static=True, default=False)

    def own(self, place: Int[Array, " lane"]) -> "Problem":
        """The problem of the lanes at these places, where data sets are fitted together."""
        if not self.apart:
            return self
        parts = (self.inputs, self.centre, self.fixed, self.held)
        taken = jax.tree.map(lambda a: a[place], parts)
        return eqx.tree_at(lambda s: (s.inputs, s.centre, s.fixed, s.held), self, taken)

    @property
    def lane_axes(self) -> "Problem":
        """Leaves that have an axis of lanes, as ``in_axes`` of ``vmap`` at given rows."""
        shared = jax.tree.map(lambda _: None, self)
        if not self.apart:
            return shared
        mapped = jax.tree.map(lambda _: 0, (self.centre, self.fixed, self.held))
        return eqx.tree_at(lambda s: (s.centre, s.fixed, s.held), shared, mapped, is_leaf=lambda leaf: leaf is None)

    @property
    def row_axes(self) -> dict[str, int | None]:
        """``in_axes`` of one row of inputs over lanes."""
        return {name: 0 if self.apart else None for name in self.law.inputs}

    def law_inputs(self, inputs: Mapping[str, Float[Array, "..."]]) -> dict[str, Float[Array, "..."]]:
        """The inputs of the law, without the columns of a likelihood."""
        return {name: inputs[name] for name in self.law.inputs}

    @property
    def block(self) -> int:
        """Number of rows per block."""
        several = any(jnp.ndim(self.inputs[name]) > 1 + self.apart for name in self.law.inputs)
        return BLOCK // 4 if several else BLOCK

    @property
    def size(self) -> int:
        """Number of coordinates: the free parameters, and the log scale of the noise where it is fitted."""
        return len(self.free) + self.noise.infers_scale

    def params(self, z: Sequence[Number] | Float[Array, "size ..."]) -> dict[str, Float[Value, "..."]]:
        """Parameters by name at coordinates ``z[k]``."""
        return to_params(self.law, self.centre, self.free, z, self.fixed, self.held)

    def predict(
        self, z: Sequence[Number] | Float[Array, " size"], inputs: Mapping[str, Float[Array, "..."]]
    ) -> Float[Array, ""]:
        """Value of the law at coordinates z for one row of inputs."""
        return value(self.law, inputs, self.params(z))

    def log_scale(self, z: Float[Array, "size ..."], column: bool = False) -> Float[Value, "..."]:
        """Log scale of the noise: the last coordinate where it is fitted; with ``column`` of shape (lanes, 1)."""
        if self.noise.infers_scale:
            return z[len(self.free)][:, None] if column else z[len(self.free)]
        return self.noise.loss.log_scale


class Local(eqx.Module):
    """Local model of the objective at the point of each lane: value, gradient, two Hessians.

    ``spread`` is the sum of absolute residuals, ``rounding`` a bound on the rounding error of the value.
    """

    f: Float[Array, " lane"]
    g: Float[Array, "size lane"]
    safe: Float[Array, "size size lane"]
    exact: Float[Array, "size size lane"]
    spread: Float[Array, " lane"]
    rounding: Float[Array, " lane"]


class _RowFactors(eqx.Module):
    """Factors of the derivatives of a block of rows, shape (lanes, rows).

    With ``y`` the law's value, the gradient is ``sum pull * dy``, the majorising Hessian ``sum safe * dy dy'`` and
    the exact one ``sum bend * dy dy' + sum pull * ddy``. ``sums`` holds value, spread and rounding, and with a
    fitted scale of the noise the value's two derivatives in it, shape (lanes, sums); ``tilt`` is that of ``pull``.
    """

    pull: Float[Array, "lane row"]
    safe: Float[Array, "lane row"]
    bend: Float[Array, "lane row"]
    sums: Float[Array, "lane sums"]
    tilt: Float[Array, "lane row"] | None


def _factors(
    problem: Problem,
    y: Float[Array, "lane row"],
    log_scale: Float[Value, "*#lane"],
    delta: Float[Array, "lane 1"],
    target: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
) -> _RowFactors:
    """Factors of the derivatives at values y of the law, shape (lanes, rows)."""
    noise, loss, space = problem.noise, problem.noise.loss, problem.noise.space
    keep = weight != 0
    w = jnp.where(keep, weight, 0.0)
    # The contents of a row of weight 0, and the law's value there, must not matter.
    y = jnp.where(keep, y, space.interior)
    target = jnp.where(keep, target, 0.0)
    r = jnp.where(keep, noise.transform(y) - target, 0.0)
    first, second, majorant = loss.slopes(r, delta, log_scale)
    stretch, stretched = space.derivative(y), space.second_derivative(y)
    pull = w * first * stretch
    squared = w * stretch * stretch
    # A residual is a difference of two rounded numbers of the size of the target.
    slip = 8 * jnp.finfo(r.dtype).eps * (jnp.abs(target) + float(space.relative))
    sums = [w * loss.value(r, delta, log_scale), w * jnp.abs(r), w * slip * (jnp.abs(first) + slip)]
    tilt = None
    if noise.infers_scale:
        # The cost depends on the scale too: its own derivatives are exact and positive.
        def cost(s: Float[Array, "lane 1"]) -> Float[Array, "lane row"]:
            return w * loss.value(r, delta, s)

        def pulled(s: Float[Array, "lane 1"]) -> Float[Array, "lane row"]:
            return w * loss.slopes(r, delta, s)[0] * stretch

        def slope(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
            return lambda s: jax.jvp(function, (s,), (jnp.ones_like(s),))[1]

        sums += [slope(cost)(log_scale), slope(slope(cost))(log_scale)]
        tilt = slope(pulled)(log_scale)
    totals = dot("wqr,r->wq", jnp.stack(sums, axis=1), jnp.ones(r.shape[1], r.dtype))
    return _RowFactors(pull, squared * majorant, squared * second + w * first * stretched, totals, tilt)


def _count_factors(
    problem: Problem,
    m: Float[Array, "lane row"],
    log_scale: Float[Value, "*#lane"],
    target: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
    data: Mapping[str, Float[Array, "... row"]],
) -> _RowFactors:
    """Factors of counts, whose cost is a function of the law's values m and the responses, not of residuals."""
    loss: Any = problem.noise.loss
    keep = weight != 0
    w = jnp.where(keep, weight, 0.0)
    m, y = jnp.where(keep, m, loss.likelihood.middle), jnp.where(keep, target, 0.0)
    cost = loss.cost(m, y, log_scale, data)
    first, second, safe = loss.derivatives(m, y, log_scale, data)
    slip = 8 * jnp.finfo(m.dtype).eps * (1 + jnp.abs(cost) + jnp.abs(first * m))
    sums, tilt = [w * cost, w * jnp.abs(m - y), w * slip], None
    if problem.noise.infers_scale:
        once, twice, tilt = loss.scale_derivatives(m, y, log_scale, data)
        # The second derivative may be negative far from the optimum; that of the majorising model may not.
        sums, tilt = [*sums, w * once, w * twice, w * (once * once + jnp.finfo(m.dtype).eps)], w * tilt
    totals = jnp.sum(jnp.stack(sums, axis=1), axis=-1)
    return _RowFactors(w * first, w * safe, w * second, totals, tilt)


def dot(subscripts: str, *arrays: Float[Array, "..."]) -> Float[jax.Array, "..."]:
    """Apply ``einsum`` in full precision on every device."""
    return jnp.einsum(subscripts, *arrays, precision=jax.lax.Precision.HIGHEST)


def _per_lane(problem: Problem, function: Callable[..., T]) -> Callable[..., T]:
    """Map ``function(problem, z, rest)`` over lanes, the first axis of z."""
    return jax.vmap(function, in_axes=(problem.lane_axes, 0, problem.row_axes))


def _evaluate_block(
    problem: Problem,
    z: Float[Array, "size lane"],
    delta: Float[Array, " lane"],
    inputs: Mapping[str, Float[Array, "... row"]],
    target: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
) -> Local:
    """Contribution of a block of rows to :class:`Local`."""
    size = len(problem.free)

    def expanded(
        problem: Problem, z: tuple[Number, ...], row: Mapping[str, Float[Array, "..."]]
    ) -> tuple[Float[Array, ""], list[Float[Array, ""]], list[Float[Array, ""] | None]]:
        return expansion(lambda z, rest: rest[0].predict(z, rest[1]), z, (problem, row))

    over_one = jax.vmap(expanded, in_axes=(None, None, -1))
    y, slope, second = _per_lane(problem, over_one)(problem, tuple(z[:size]), problem.law_inputs(inputs))
    if problem.noise.loss.counts:
        rows = _count_factors(problem, y, problem.log_scale(z, True), target, weight, inputs)
    else:
        rows = _factors(problem, y, problem.log_scale(z, True), delta[:, None], target, weight)
    slopes = jnp.stack(slope, axis=1)
    present = [twice for twice in second if twice is not None]
    linear = dot("wqr,wr->wq", jnp.stack([*slope, *present], axis=1), rows.pull)
    safe, exact = _products(rows, slopes)
    place, bent = size, []
    for (k, m), twice in zip(_pairs(size), second, strict=True):
        bent.append(exact[:, k, m] if twice is None else exact[:, k, m] + linear[:, place])
        place += twice is not None
    exact = _square(jnp.stack(bent), size)
    return _assemble(rows, linear[:, :size].T, jnp.moveaxis(safe, 0, -1), exact, slopes)


def _products(
    rows: _RowFactors, slopes: Float[Array, "lane free row"]
) -> tuple[Float[Array, "lane free free"], Float[Array, "lane free free"]]:
    """Matrices ``sum safe * dy dy'`` and ``sum bend * dy dy'``, shape (lanes, p, p)."""
    weighted = jnp.concatenate([rows.safe[:, None] * slopes, rows.bend[:, None] * slopes], axis=1)
    both = dot("wpr,wqr->wpq", weighted, slopes)
    return both[:, : slopes.shape[1]], both[:, slopes.shape[1] :]


def _assemble(
    rows: _RowFactors,
    g: Float[Array, "free lane"],
    safe: Float[Array, "free free lane"],
    exact: Float[Array, "free free lane"],
    slopes: Float[Array, "lane free row"],
) -> Local:
    """Assemble :class:`Local` with the derivatives in a fitted scale of the noise; lanes last."""
    f, spread, rounding, *scale = rows.sums.T
    if scale:
        once, corner, *positive = scale
        edge = dot("wqr,wr->wq", slopes, rows.tilt).T
        g = jnp.concatenate([g, once[None]])
        safe, exact = _add_border(safe, jnp.zeros_like(edge), [corner, *positive][-1]), _add_border(exact, edge, corner)
    return Local(f, g, safe, exact, spread, rounding)


def _add_border(
    matrix: Float[Array, "free free lane"], edge: Float[Array, "free lane"], corner: Float[Array, " lane"]
) -> Float[Array, "size size lane"]:
    below = jnp.concatenate([edge, corner[None]])
    return jnp.concatenate([jnp.concatenate([matrix, edge[:, None]], axis=1), below[None]])


def _pairs(size: int) -> list[tuple[int, int]]:
    return [(k, m) for k in range(size) for m in range(k + 1)]


def _square(packed: Float[Array, "pair lane"], size: int) -> Float[Array, "free free lane"]:
    """Symmetric matrix of shape (size, size, lanes) from its lower triangle by rows."""
    place = {pair: i for i, pair in enumerate(_pairs(size))}
    rows = [jnp.stack([packed[place[max(k, m), min(k, m)]] for m in range(size)]) for k in range(size)]
    return jnp.stack(rows)


def evaluate(
    problem: Problem,
    z: Float[Array, "size lane"],
    delta: Float[Array, " lane"],
    target: Float[Array, "lane row"],
    weight: Float[Array, "lane row"],
) -> Local:
    """Value, gradient and both Hessians of the objective for every lane.

    Args:
        problem: law, inputs of shape (n,) (or (lanes, n) where each lane has its own), noise.
        z: coordinates, shape (p, lanes).
        delta: Huber threshold of each lane, shape (lanes,).
        target: responses in the noise's space, shape (lanes, n).
        weight: shape (lanes, n).
    """
    bare = eqx.tree_at(lambda s: s.inputs, problem, {})
    local = over_rows(
        lambda part: _evaluate_block(bare, z, delta, *part), (problem.inputs, target, weight), problem.block
    )
    if not problem.noise.loss.concomitant_scale:
        return local
    # The cost is proportional to the scale, so it equals its derivatives in the log scale.
    cost = problem.noise.loss.scale_cost(len(problem.free), weight, problem.log_scale(z))
    return eqx.tree_at(
        lambda s: (s.f, s.g, s.safe, s.exact),
        local,
        (
            local.f + cost,
            local.g.at[-1].add(cost),
            local.safe.at[-1, -1].add(cost),
            local.exact.at[-1, -1].add(cost),
        ),
    )


def over_rows(total: Callable[[D], T], data: D, block: int) -> T:
    """Sum ``total(rows)`` over blocks of rows (the last axis), so that memory does not grow with their number."""
    n = data[-1].shape[-1]
    if n <= block or n % block:
        return total(data)
    blocks = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], n // block, block), -2, 0), data)
    shapes = jax.eval_shape(total, jax.tree.map(lambda a: a[0], blocks))
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    return jax.lax.scan(lambda acc, part: (jax.tree.map(jnp.add, acc, total(part)), None), empty, blocks)[0]


def each_row(problem: Problem, function: Callable[[dict[str, Array]], T]) -> T:
    """Map ``function(row)`` over rows of the inputs, a block at a time; rows are the first axis of the results."""
    rows = {name: jnp.moveaxis(jnp.asarray(problem.inputs[name]), -1, 0) for name in problem.law.inputs}
    n = len(next(iter(rows.values())))
    if n <= problem.block or n % problem.block:
        return jax.vmap(function)(rows)
    return jax.lax.map(function, rows, batch_size=problem.block)
