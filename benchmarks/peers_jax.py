"""Published multistart protocol with optimistix and optax: vmapped over the starts, jitted, in float64.

Both use the coordinates of the protocol (log E, log A, log B, alpha, beta) and log-sum-exp. Data are arguments of the
compiled programs, so that perturbed data do not compile again.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix

from benchmarks.peers import GRID_NAMES, Sweep

Method = Literal["bfgs", "lm"]


def optimistix_grid(
    sweep: Sweep,
    starts: dict[str, np.ndarray],
    method: Method = "bfgs",
    delta: float = 1e-3,
    max_steps: int | None = None,
    batch: int | None = 64,
) -> np.ndarray:
    """Final objective from every start by BFGS on the objective or Levenberg-Marquardt on roots of the Huber loss.

    Relative tolerances are 1e-8 on parameters and objective; the maximum number of steps is 512 for BFGS and 256 for
    Levenberg-Marquardt. Of the 4,500 published starts 17 % reach the optimum by BFGS and 99.9 % by
    Levenberg-Marquardt, within 1e-6; with half its steps one in six does not. A vmap runs until its slowest
    start has ended: ``batch`` starts at a time, which is faster on a CPU, or all for None.
    """
    max_steps = max_steps or (512 if method == "bfgs" else 256)
    with jax.enable_x64(True):
        ends = _optimistix(_points(starts), _data(sweep), delta, method, max_steps, batch)
        return np.asarray(ends)


def optax_grid(
    sweep: Sweep, starts: dict[str, np.ndarray], delta: float = 1e-3, max_steps: int = 256, batch: int | None = None
) -> np.ndarray:
    """Final objective from every start by ``optax.lbfgs`` with its zoom line search.

    A start ends when no component of its gradient exceeds 1e-9, or ten steps reduce the objective by less than 1e-10,
    relative.
    """
    # optax mixes integers of 32 and 64 bits.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        return np.asarray(_optax(_points(starts), _data(sweep), delta, max_steps, batch))


def residuals(x: jax.Array, data: tuple[jax.Array, ...]) -> jax.Array:
    """Log residuals of the law at ``x = (log E, log A, log B, alpha, beta)``."""
    log_n, log_d, log_loss = data
    e, a, b, alpha, beta = x
    return jnp.logaddexp(jnp.logaddexp(a - alpha * log_n, b - beta * log_d), e) - log_loss


def objective(x: jax.Array, data: tuple[jax.Array, ...], delta: float | jax.Array) -> jax.Array:
    """Summed Huber loss of the log residuals."""
    r = residuals(x, data)
    inside = jnp.clip(r, -delta, delta)
    return jnp.sum(inside * (r - inside / 2))


def root_residuals(x: jax.Array, data: tuple[jax.Array, ...], delta: float | jax.Array) -> jax.Array:
    """Signed square roots of twice the Huber loss: half their sum of squares is the objective."""
    r = residuals(x, data)
    size = jnp.abs(r)
    # Bounded below, since the slope of the root is infinite at zero.
    root = jnp.sqrt(delta * (2 * jnp.maximum(size, delta) - delta))
    return jnp.where(size <= delta, r, jnp.sign(r) * root)


@functools.partial(jax.jit, static_argnames=("method", "max_steps", "batch"))
def _optimistix(points, data, delta, method, max_steps, batch):
    def end(x):
        if method == "bfgs":
            solver = optimistix.BFGS(rtol=1e-8, atol=1e-10)
            found = optimistix.minimise(
                lambda y, _: objective(y, data, delta), solver, x, max_steps=max_steps, throw=False
            )
        else:
            solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-10)
            found = optimistix.least_squares(
                lambda y, _: root_residuals(y, data, delta), solver, x, max_steps=max_steps, throw=False
            )
        return objective(found.value, data, delta)

    return jax.lax.map(end, points, batch_size=batch or len(points))


@functools.partial(jax.jit, static_argnames=("max_steps", "batch"))
def _optax(points, data, delta, max_steps, batch):
    solver = optax.lbfgs()

    def value(x):
        return objective(x, data, delta)

    value_and_gradient: Any = optax.value_and_grad_from_state(value)

    def step(carry):
        x, state, count, marked, _ = carry
        now, gradient = value_and_gradient(x, state=state)
        updates, state = solver.update(gradient, state, x, value=now, grad=gradient, value_fn=value)
        stalled = (count % 10 == 9) & (marked - now <= 1e-10 * jnp.abs(now))
        marked = jnp.where(count % 10 == 9, now, marked)
        done = stalled | (jnp.max(jnp.abs(gradient)) <= 1e-9) | ~jnp.isfinite(now)
        return optax.apply_updates(x, updates), state, count + 1, marked, done

    def end(x):
        first = (x, solver.init(x), jnp.asarray(0), jnp.asarray(jnp.inf, x.dtype), jnp.asarray(False))
        last = jax.lax.while_loop(lambda carry: ~carry[-1] & (carry[2] < max_steps), step, first)
        return value(last[0])

    return jax.lax.map(end, points, batch_size=batch or len(points))


def _points(starts: dict[str, np.ndarray]) -> jax.Array:
    return jnp.stack([jnp.asarray(starts[name], dtype=jnp.float64) for name in GRID_NAMES], axis=1)


def _data(sweep: Sweep) -> tuple[jax.Array, ...]:
    return tuple(jnp.log(jnp.asarray(sweep[name], dtype=jnp.float64)) for name in ("N", "D", "loss"))
