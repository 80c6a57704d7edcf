"""``solve``: purity, batching, precision and compilation."""

import csv
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.data.observations import Observations
from jaxscale.engine.newton import CONVERGED, FLAT, NONFINITE, RUNNING, STALLED, STATUS
from jaxscale.engine.solve import Solution, solve
from jaxscale.fitting.fit import fit
from jaxscale.law import Input, Response, amplitude, coefficient, exponent, floor, law, positive, real
from jaxscale.noise import absolute, huber, student_t

pytestmark = pytest.mark.usefixtures("x64")
CHINCHILLA = laws.get("chinchilla")
TRUTH = dict(c=1.0, a=3.0, b=0.4)
x = np.geomspace(1.0, 1e3, 24)
SCATTER = 0.02 * np.random.default_rng(0).standard_normal((3, 24))
RESPONSES = (1.0 + 3.0 * x**-0.4) * np.exp(SCATTER)
TRACED = []


@law(
    inputs=dict(x=Input("")),
    response=Response("", positive),
    c=floor(),
    a=amplitude(x="b"),
    b=exponent(),
    source="a test",
    affine=("c", "a"),
)
def counted(x, *, c, a, b):
    """A power law with a floor that records when it is traced."""
    TRACED.append(x)
    return c + a * x**-b


@law(inputs=dict(x=Input("")), response=Response("", real), m=coefficient(), source="a test")
def nowhere(x, *, m):
    """A law without a value."""
    return jnp.nan * m * x


@law(inputs=dict(x=Input("")), response=Response("", real), q=coefficient(), m=coefficient(), source="a test")
def idle(x, *, q, m):
    """A law that does not depend on one of its parameters."""
    return m * x + 0.0 * q


compiled = jax.jit(solve, static_argnums=0, static_argnames="method")


@jax.jit
def program(inputs: Any, response: Any, weight: Any, noise: Any, key: Any) -> Solution:
    return solve(counted, inputs, response, weight=weight, noise=noise, key=key)


def fitted(response: Any, weight: Any = None, delta: float = 1e-3, seed: int = 0) -> Solution:
    """The fit of 24 rows; all tests share its one compiled program."""
    heavy = np.ones(24) if weight is None else weight
    return program({"x": x}, response, heavy, huber(delta), jr.key(seed))


def assert_close(one: Solution, other: Solution, rel: float = 1e-9) -> None:
    assert float(one.objective) == pytest.approx(float(other.objective), rel=rel)
    for name, value in one.params.items():
        np.testing.assert_allclose(value, other.params[name], rtol=rel, err_msg=name)


def test_exact_data_give_the_parameters_back() -> None:
    solution = fitted(1.0 + 3.0 * x**-0.4)
    assert set(solution.params) == {"c", "a", "b"}
    for name, value in TRUTH.items():
        assert float(solution.params[name]) == pytest.approx(value, rel=1e-8)
    assert float(solution.objective) == pytest.approx(0.0, abs=1e-20)


def test_the_objective_is_the_sum_of_the_losses_at_a_minimum() -> None:
    def objective(p: Any) -> Any:
        r = jnp.abs(jnp.log(p["c"] + p["a"] * x ** -p["b"]) - jnp.log(RESPONSES[0]))
        return jnp.sum(jnp.where(r <= 1e-3, r * r / 2, 1e-3 * (r - 5e-4)))

    solution = fitted(RESPONSES[0])
    assert int(solution.status) == CONVERGED
    f, gradient = jax.value_and_grad(objective)(solution.params)
    assert float(solution.objective) == pytest.approx(float(f), rel=1e-12)
    assert all(abs(float(gradient[name] * solution.params[name])) <= 1e-9 * float(f) for name in gradient)


def test_a_batch_of_responses_equals_a_loop() -> None:
    # Each with a key of its own.
    together = jax.vmap(lambda y, seed: program({"x": x}, y, np.ones(24), huber(1e-3), jr.key(seed)))(
        RESPONSES, np.arange(3)
    )
    assert together.status.tolist() == [CONVERGED] * 3
    for k, response in enumerate(RESPONSES):
        assert_close(jax.tree.map(lambda a, k=k: a[k], together), fitted(response))


def test_weight_zero_leaves_a_row_out() -> None:
    weight = np.linspace(0.5, 2.0, 24)
    weight[[4, 9]] = 0.0
    wild = RESPONSES[0].copy()
    wild[[4, 9]] = [40.0, 1e-3]
    kept = weight > 0
    without = compiled(counted, {"x": x[kept]}, wild[kept], weight=weight[kept], noise=huber(1e-3))
    assert_close(fitted(wild, weight), without)


def test_a_weight_counts_as_that_many_rows() -> None:
    # As many rows as above are left, so that one program serves both.
    times = np.repeat([2.0, 1.0, 0.0], [5, 12, 7])
    repeated = np.repeat(np.arange(24), times.astype(int))
    longer = compiled(counted, {"x": x[repeated]}, RESPONSES[0][repeated], weight=np.ones(22), noise=huber(1e-3))
    assert_close(fitted(RESPONSES[0], times), longer)


def test_the_default_noise_is_that_of_the_response() -> None:
    plain = compiled(counted, {"x": x}, RESPONSES[0])
    assert_close(plain, compiled(counted, {"x": x}, RESPONSES[0], weight=np.ones(24), noise=huber("scale")))


def test_fixed_values_may_be_traced() -> None:
    @jax.jit
    @jax.vmap
    def with_exponent(b: Any) -> Solution:
        return solve(counted, {"x": x}, RESPONSES[0], noise=huber(1e-3), fixed={"b": b})

    best = fitted(RESPONSES[0])
    b = np.array([0.3, float(best.params["b"]), 0.5])
    solution = with_exponent(b)
    np.testing.assert_array_equal(solution.params["b"], b)
    assert float(solution.objective[1]) == pytest.approx(float(best.objective), rel=1e-9)
    assert np.all(np.asarray(solution.objective)[[0, 2]] > 1.001 * float(best.objective))
    starts = dict(c=[0.8], a=[2.0])
    given = compiled(counted, {"x": x}, RESPONSES[0], noise=huber(1e-3), starts=starts, fixed={"b": 0.3})
    assert_close(given, jax.tree.map(lambda a: a[0], solution))


def test_given_starts_are_polished_in_place_of_drawn_ones() -> None:
    starts = dict(c=jnp.array([0.8, 0.1]), a=jnp.array([2.0, 4.0]), b=0.5)
    solution = compiled(counted, {"x": x}, RESPONSES[0], noise=huber(1e-3), starts=starts)
    assert_close(solution, fitted(RESPONSES[0]))


def test_the_optimum_does_not_depend_on_the_key() -> None:
    one, same, other = (fitted(RESPONSES[0], seed=seed) for seed in (0, 0, 1))
    assert_close(one, same, rel=0.0)
    assert_close(one, other)


@pytest.fixture(scope="module")
def replication(data: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The 240 runs of the replication of 2024: model size and tokens, and loss."""
    with (data / "chinchilla_epoch.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["in_published_fit"] == "1"]
    assert len(rows) == 240
    N, D, loss = (np.array([float(row[key]) for row in rows]) for key in ("params", "tokens", "loss"))
    return dict(N=N, D=D), loss


def test_the_refit_of_2024_in_both_precisions(replication: Any) -> None:
    inputs, loss = replication
    wide = compiled(CHINCHILLA, inputs, loss, noise=huber(1e-3, "log"))
    single = {name: value.astype(np.float32) for name, value in inputs.items()}
    narrow = compiled(CHINCHILLA, single, loss.astype(np.float32), noise=huber(1e-3, "log"))
    assert int(wide.status) == CONVERGED
    assert float(wide.objective) == pytest.approx(1.0182740178e-3, rel=1e-9)
    # The optimum of this loss; the published constants are that of absolute error.
    published = dict(E=1.817218, A=477.826, alpha=0.3473105, B=2143.417, beta=0.3671724)
    for name, value in published.items():
        assert float(wide.params[name]) == pytest.approx(value, rel=1e-6), name
        assert wide.params[name].dtype == np.float64 and narrow.params[name].dtype == np.float32
        assert float(narrow.params[name]) == pytest.approx(float(wide.params[name]), rel=1e-3), name
    assert wide.objective.dtype == np.float64 and narrow.objective.dtype == np.float32


def test_the_refit_of_2024_by_the_defaults_of_jax(replication: Any) -> None:
    inputs, loss = replication
    with jax.enable_x64(False):
        solution = compiled(CHINCHILLA, inputs, loss, noise=huber(1e-3, "log"))
        assert int(solution.status) == CONVERGED
        found = {name: float(value) for name, value in solution.params.items()}
        assert solution.objective.dtype == np.float32
    wide = compiled(CHINCHILLA, inputs, loss, noise=huber(1e-3, "log"))
    assert found == pytest.approx({name: float(value) for name, value in wide.params.items()}, rel=1e-3)
    assert float(solution.objective) == pytest.approx(float(wide.objective), rel=1e-4)


def test_single_precision_without_float64() -> None:
    with jax.enable_x64(False):
        solution = fitted(RESPONSES[0], delta=1.0)
        assert solution.objective.dtype == np.float32
        params = {name: float(value) for name, value in solution.params.items()}
    wide = fitted(RESPONSES[0], delta=1.0)
    assert params == pytest.approx({name: float(value) for name, value in wide.params.items()}, rel=1e-2)


def test_a_second_data_set_traces_nothing() -> None:
    first = fitted(RESPONSES[0])
    traced = len(TRACED)
    assert traced > 0
    second = program({"x": 2 * x}, RESPONSES[1], np.linspace(0, 1, 24), huber(1e-2), jr.key(7))
    assert len(TRACED) == traced
    assert float(first.objective) != float(second.objective)


def test_calls_outside_jit_trace_once() -> None:
    def exponent(response: Any, delta: float = 1e-3) -> Any:
        return solve(counted, {"x": x}, response, noise=huber(delta), starts=TRUTH).params["b"]

    def run(response: Any, delta: float) -> list[Any]:
        one = exponent(response, delta)
        slope = jax.grad(exponent)(response, delta)
        pushed = jax.jvp(lambda y: exponent(y, delta), (response,), (np.ones(24),))[1]
        several = jax.vmap(lambda y: exponent(y, delta))(RESPONSES)
        return [one, slope, pushed, several]

    first = run(RESPONSES[0], 1e-2)
    traced = len(TRACED)
    second = run(RESPONSES[1], 2e-2)
    assert len(TRACED) == traced
    assert float(first[0]) != float(second[0])
    assert float(second[2]) == pytest.approx(float(second[1].sum()), rel=1e-9)
    assert float(second[3][1]) == pytest.approx(float(second[0]), rel=1e-9)


# More starts than run first in a batch, near the truth.
LANES = {name: value * np.linspace(0.8, 1.2, 10) for name, value in TRUTH.items()}


def test_the_answer_of_a_problem_does_not_depend_on_its_batch() -> None:
    def of(count: int) -> Solution:
        responses = np.resize(RESPONSES, (count, 24))
        return jax.vmap(lambda y: solve(counted, {"x": x}, y, starts=LANES))(responses)

    few, many = of(3), of(70)
    for one, other in zip(jax.tree.leaves(few), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(np.resize(one, (70, *one.shape[1:])), other)


def test_batches_of_batches_share_a_pool_and_settings_may_be_batched() -> None:
    noise = huber(1e-2)

    def one(weight: Any, y: Any) -> Solution:
        return solve(counted, {"x": x}, y, weight=weight, noise=noise, starts=LANES)

    weights = np.stack([np.ones(24), np.linspace(0.5, 1.5, 24)])
    nested = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(weights, RESPONSES)
    assert nested.params["b"].shape == (2, 3) and np.all(nested.status == CONVERGED)
    for i, k in ((0, 1), (1, 2)):
        expected = program({"x": x}, RESPONSES[k], weights[i], noise, jr.key(0))
        assert_close(jax.tree.map(lambda a, i=i, k=k: a[i, k], nested), expected)
    deltas = np.array([1e-3, 1e-2])
    varied = jax.vmap(lambda delta: solve(counted, {"x": x}, RESPONSES[0], noise=huber(delta), starts=LANES))
    by_delta = varied(jnp.asarray(deltas))
    assert_close(jax.tree.map(lambda a: a[1], by_delta), program({"x": x}, RESPONSES[0], weights[0], noise, jr.key(0)))


def test_lanes_of_a_batch_that_disagree_are_followed_by_others() -> None:
    # The eight lanes that run first start where the law has no value; the others start at the optimum.
    starts = {
        name: np.where(np.arange(16) < 8, -1e300 if name == "c" else value, value) for name, value in TRUTH.items()
    }
    found = jax.vmap(lambda y: solve(counted, {"x": x}, y, noise=huber(1e-3), starts=starts))(RESPONSES)
    assert found.status.tolist() == [CONVERGED] * 3
    assert_close(jax.tree.map(lambda a: a[0], found), fitted(RESPONSES[0]))


def test_float64_without_x64_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxscale.engine.solve._warned", set())
    with jax.enable_x64(False):
        with pytest.warns(UserWarning, match=r"float64, but JAX computes in float32.*jax_enable_x64"):
            found = solve(idle, {"x": x}, 2.0 * x, starts=dict(q=1.0, m=1.0))
        # Once only: warnings are errors here.
        solve(idle, {"x": x}, 2.0 * x, starts=dict(q=1.0, m=1.0))
        monkeypatch.setattr("jaxscale.engine.solve._warned", set())
        solve(idle, {"x": x}, (2.0 * x).astype(np.float32), starts=dict(q=1.0, m=1.0))
    assert found.objective.dtype == np.float32


def test_a_law_without_a_value_has_status_nonfinite() -> None:
    solution = solve(nowhere, {"x": x}, RESPONSES[0])
    assert int(solution.status) == NONFINITE
    assert np.isinf(float(solution.objective))


def test_a_parameter_without_effect_keeps_the_others() -> None:
    solution = solve(idle, {"x": x}, 2.0 * x + np.sin(x))
    assert list(solution.params) == ["q", "m"]
    assert float(solution.params["m"]) == pytest.approx(float(np.sum(x * (2.0 * x + np.sin(x))) / np.sum(x * x)))
    assert int(solution.status) == CONVERGED


def test_too_few_iterations_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxscale.engine.solve.MAX_STEPS", 2)
    hurried = jax.jit(lambda response: solve(counted, {"x": x}, response).status)
    assert int(hurried(RESPONSES[2])) == RUNNING


def test_every_status_has_a_name() -> None:
    assert STATUS == {
        RUNNING: "max_steps",
        CONVERGED: "converged",
        FLAT: "flat",
        STALLED: "stalled",
        NONFINITE: "nonfinite",
    }


@pytest.mark.parametrize("noise", [student_t(4.0), student_t(4.0, scale=0.02)], ids=["fitted", "given"])
def test_every_noise_keeps_the_precision_of_the_response(noise: Any) -> None:
    narrow = compiled(counted, {"x": x}, RESPONSES[0].astype(np.float32), noise=noise)
    wide = compiled(counted, {"x": x}, RESPONSES[0], noise=noise)
    for name, value in narrow.params.items():
        assert value.dtype == np.float32
        assert float(value) == pytest.approx(float(wide.params[name]), rel=1e-2), name


def test_nothing_in_a_row_of_weight_zero_matters() -> None:
    weight = np.where(np.arange(24) == 0, 0.0, 1.0)
    broken = np.where(np.arange(24) == 0, np.nan, RESPONSES[0])
    assert_close(fitted(broken, weight), fitted(np.where(weight > 0, RESPONSES[0], 7.0), weight))


def test_absolute_loss_ends_at_the_vertex() -> None:
    solution = compiled(counted, {"x": x}, RESPONSES[1], noise=absolute(), method="newton")
    residual = np.log(RESPONSES[1]) - np.log(np.asarray(counted(x, **solution.params)))
    assert np.sum(np.abs(residual) < 1e-12) == 3  # As many rows as there are parameters are fitted exactly.
    table = {"x": x, "y": RESPONSES[1]}
    observations = Observations.from_table(table, inputs=["x"], response="y")
    front = fit(counted, observations, noise=absolute(), n_resamples=2, allow_unidentified=True)
    assert float(solution.objective) == pytest.approx(front.objective, rel=1e-12)


@pytest.mark.parametrize("method", ["gauss_newton", "lbfgs"])
@pytest.mark.parametrize("noise", [huber(1e-2), absolute()], ids=["huber", "absolute"])
def test_every_method_ends_at_the_same_optimum(method: Any, noise: Any) -> None:
    default, other = (compiled(counted, {"x": x}, RESPONSES[0], noise=noise, method=way) for way in ("newton", method))
    assert int(other.status) == CONVERGED
    assert_close(other, default, rel=1e-7)


def test_the_answer_is_a_lane_that_has_converged() -> None:
    # The descent ends while others are still on their way: these may be lower by rounding only.
    for seed in range(8):
        assert int(fitted(RESPONSES[0], seed=seed).status) == CONVERGED
