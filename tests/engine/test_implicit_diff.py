"""Implicit derivatives of solve against finite differences of solutions."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale import laws, noise
from jaxscale.data.observations import Observations
from jaxscale.engine.newton import CONVERGED
from jaxscale.engine.solve import solve
from jaxscale.law import Input, Law, Response, coefficient, law, unit

pytestmark = pytest.mark.usefixtures("x64")
FLOOR = laws.get("power_law_floor")
TRUTH = dict(c=1.0, a=3.0, b=0.4)
x = np.geomspace(1.0, 1e3, 14)
SCATTER = np.random.default_rng(2).standard_normal((3, 14))
RESPONSES = (1.0 + 3.0 * x**-0.4) * np.exp(0.02 * SCATTER)
N, D = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(2e9, 3e11, 4)))


@law(inputs=dict(x=Input("")), response=Response("", unit), k=coefficient(), m=coefficient(), source="a test")
def accuracy(x, *, k, m):
    """A share of tasks solved that rises with the logarithm of the input."""
    return 1 / (1 + jnp.exp(-k * (jnp.log(x) - m)))


@dataclasses.dataclass(frozen=True)
class Case:
    """A law with true parameters, and the noise of the fit."""

    law: Law
    truth: dict[str, float]
    inputs: dict[str, np.ndarray]
    loss: str
    space: str
    settings: dict[str, float]
    fixed: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """All that the solve may be differentiated in."""
        n = len(next(iter(self.inputs.values())))
        generator = np.random.default_rng(5)
        exact = np.asarray(self.law(**self.inputs, **self.truth))
        scatter = 0.02 * generator.standard_normal(n)
        return dict(
            inputs=self.inputs,
            response=exact * np.exp(scatter * (1 - exact if self.space == "logit" else 1)),
            weight=generator.uniform(0.5, 1.5, n),
            fixed={name: 1.02 * self.truth[name] for name in self.fixed},
            settings=self.settings,
        )

    def solve(self, data: dict[str, Any]) -> Any:
        """Free parameters and objective of the data; and these again, as numbers, with the status."""
        settings = noise.named(self.loss, self.space, **data["settings"])
        starts = {name: value for name, value in self.truth.items() if name not in self.fixed}
        more = dict(weight=data["weight"], noise=settings, starts=starts, fixed=data["fixed"])
        solution = solve(self.law, data["inputs"], data["response"], **more)
        found = {name: solution.params[name] for name in starts} | {"objective": solution.objective}
        return found, (found, solution.status)


BNSL = dict(a=0.5, b=2.0, c0=0.1, c1=0.4, d1=40.0, f1=0.3)
MUENNIGHOFF = laws.get("data_constrained").published["muennighoff2023"]
CASES = {
    "chinchilla, squared": Case(
        laws.get("chinchilla"),
        dict(laws.get("chinchilla").published["besiroglu2024"]),
        dict(N=N, D=D),
        "squared",
        "log",
        {},
    ),
    "power_law_floor, huber": Case(FLOOR, TRUTH, dict(x=x), "huber", "linear", {"delta": 0.04}, ("c",)),
    "bnsl1, student_t": Case(
        laws.get("bnsl1"), BNSL, dict(x=np.geomspace(1.0, 1e4, 30)), "student_t", "log", {"df": 4.0}
    ),
    "data_constrained, student_t with its scale": Case(
        laws.get("data_constrained"),
        dict(MUENNIGHOFF),
        dict(N=N, D=D, U_D=D / np.tile([1.0, 3.0, 9.0, 30.0, 50.0], 4)),
        "student_t",
        "log",
        {"df": 3.0, "scale": 0.02},
        ("E", "A", "alpha", "B", "beta"),
    ),
    "kaplan_nd, huber": Case(
        laws.get("kaplan_nd"),
        dict(laws.get("kaplan_nd").published["kaplan2020"]),
        dict(N=N, D=D),
        "huber",
        "log",
        {"delta": 0.01},
    ),
    "a share, huber": Case(
        accuracy, dict(k=0.5, m=3.0), dict(x=np.geomspace(1.0, 1e3, 12)), "huber", "logit", {"delta": 0.03}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_solving_again(name: str) -> None:
    case = CASES[name]
    data = case.data()
    everything = jax.jit(jax.jacrev(case.solve, has_aux=True))
    slopes, (values, status) = everything(data)
    assert int(status) == CONVERGED
    leaves, structure = jax.tree.flatten(data)
    by_leaf = {key: jax.tree.leaves(slope) for key, slope in slopes.items()}
    places = [(k, i) for k, leaf in enumerate(leaves) for i in ([()] if np.ndim(leaf) == 0 else [(2,), (7,)])]
    for k, i in places:
        ends = []
        step = 2e-5 * np.abs(np.asarray(leaves[k])[i])
        for sign in (1, -1):
            moved = [np.array(leaf, float) for leaf in leaves]
            moved[k][i] += sign * step
            ends.append(everything(jax.tree.unflatten(structure, moved))[1][0])
        for key, value in values.items():
            # Both sides are relative to the value and to the datum: no unit matters.
            size = abs(float(value)) / (step / 2e-5)
            exact = float(by_leaf[key][k][i])
            assert exact == pytest.approx(float((ends[0][key] - ends[1][key]) / (2 * step)), abs=2e-6 * size, rel=1e-5)


def quantity(response: Any) -> Any:
    """A prediction of the fitted law, far outside the data."""
    solution = solve(FLOOR, {"x": x}, response, noise=noise.student_t(4.0, 0.02), starts=TRUTH)
    return FLOOR(1e5, **solution.params), solution.objective


def first(response: Any) -> Any:
    """Its gradient, and that of the objective."""
    return jax.jacrev(quantity)(response)


def test_batches_and_both_modes_agree() -> None:
    gradient = jax.jit(first)
    together = jax.jit(jax.vmap(first))(RESPONSES)
    direction = np.random.default_rng(0).standard_normal(14)
    _, pushed = jax.jit(lambda y: jax.jvp(quantity, (y,), (direction,)))(RESPONSES[1])
    for k, response in enumerate(RESPONSES):
        for one, many in zip(gradient(response), together, strict=True):
            np.testing.assert_allclose(many[k], one, rtol=1e-8, atol=1e-10)
    for one, forward in zip(gradient(RESPONSES[1]), pushed, strict=True):
        assert float(forward) == pytest.approx(float(one @ direction), rel=1e-9)


def test_the_gradient_of_a_gradient_is_that_of_solving_again() -> None:
    gradient, second = jax.jit(first), jax.jit(jax.jacfwd(first))(RESPONSES[0])
    for table in second:
        np.testing.assert_allclose(table, np.transpose(table), rtol=1e-6, atol=1e-8 * np.abs(table).max())
    for i in (0, 6, 13):
        step = 1e-5 * np.eye(14)[i]
        for table, up, down in zip(second, gradient(RESPONSES[0] + step), gradient(RESPONSES[0] - step), strict=True):
            np.testing.assert_allclose(table[i], (up - down) / 2e-5, atol=1e-6 * np.abs(table).max())


@lru_cache
def weighted() -> Callable[..., Any]:
    """The prediction and its derivatives in weight, response and input, compiled once."""

    def prediction(weight: Any, response: Any, x: Any) -> Any:
        solution = solve(FLOOR, {"x": x}, response, weight=weight, noise=noise.huber(0.02), starts=TRUTH)
        return FLOOR(1e5, **solution.params)

    return jax.jit(jax.value_and_grad(prediction, argnums=(0, 1, 2)))


@pytest.mark.parametrize("response, place", [(np.nan, 3.0), (-1.0, 3.0), (2.0, 0.0), (2.0, np.nan)])
def test_nothing_in_a_row_of_weight_zero_enters_a_derivative(response: float, place: float) -> None:
    weight = np.where(np.arange(14) == 4, 0.0, 1.0)
    calm = weighted()(weight, RESPONSES[0], x)[1]
    spoilt = weighted()(weight, np.where(weight > 0, RESPONSES[0], response), np.where(weight > 0, x, place))[1]
    for one, other in zip(spoilt, calm, strict=True):
        np.testing.assert_allclose(one[weight > 0], other[weight > 0], rtol=1e-9)
    assert [float(one[4]) for one in spoilt] == [0.0, 0.0, 0.0]


def test_the_derivative_in_a_weight_of_zero_is_the_influence_of_the_row() -> None:
    weight = np.where(np.arange(14) == 4, 0.0, 1.0)
    without, (slope, *_) = weighted()(weight, RESPONSES[0], x)
    # One-sided differences, extrapolated: a weight cannot be negative.
    steps = [float(weighted()(weight + h * (weight == 0), RESPONSES[0], x)[0] - without) / h for h in (1e-5, 2e-5)]
    assert float(slope[4]) == pytest.approx(2 * steps[0] - steps[1], rel=1e-5)


def test_starts_and_key_have_no_derivative_and_idle_parameters_spoil_none() -> None:
    @jax.jit
    @jax.grad
    def by_start(c: Any) -> Any:
        return solve(FLOOR, {"x": x}, RESPONSES[0], noise=noise.squared("log"), starts=TRUTH | {"c": c}).params["b"]

    assert float(by_start(0.9)) == 0.0

    @law(inputs=dict(x=Input("")), response=Response(""), q=coefficient(), m=coefficient(), source="a test")
    def idle(x, *, q, m):
        """A law that does not depend on one of its parameters."""
        return m * x + 0.0 * q

    @jax.jit
    @jax.jacrev
    def slopes(response: Any) -> Any:
        return solve(idle, {"x": x}, response, noise=noise.squared(), starts=dict(q=1.0, m=1.0)).params

    found = slopes(2 * x)
    np.testing.assert_allclose(found["m"], x / np.sum(x * x), rtol=1e-9)
    assert not np.any(found["q"])


def test_an_absolute_loss_is_solved_but_not_differentiated() -> None:
    def slope(response: Any) -> Any:
        return solve(FLOOR, {"x": x}, response, noise=noise.absolute(), starts=TRUTH).params["b"]

    assert jax.eval_shape(jax.jit(jax.vmap(slope)), RESPONSES).shape == (3,)
    for differentiated in (jax.grad(slope), jax.jacfwd(slope), jax.grad(jax.jit(slope))):
        with pytest.raises(TypeError, match=r"vertex, whose derivative is not defined everywhere; use a Huber loss"):
            jax.eval_shape(differentiated, RESPONSES[0])


CHINCHILLA = laws.get("chinchilla")


def far(p: Any) -> Any:
    """A prediction far outside the data."""
    return CHINCHILLA(70e9, 1.4e12, **p)


def observed(weight: Any = None) -> Observations:
    """Twenty runs of Chinchilla with 0.5 % noise."""
    exact = np.asarray(CHINCHILLA(N, D, **CHINCHILLA.published["besiroglu2024"]))
    loss = exact * np.exp(0.005 * np.random.default_rng(3).standard_normal(20))
    table = dict(N=N, D=D, loss=loss, w=np.ones(20) if weight is None else weight)
    return Observations.from_table(table, inputs=["N", "D"], response="loss", weight="w")


def fitted(observations: Observations, settings: noise.Noise) -> jaxscale.Fit:
    """Chinchilla, from the published constants."""
    starts = CHINCHILLA.published["besiroglu2024"]
    return jaxscale.fit(CHINCHILLA, observations, noise=settings, starts=starts, n_resamples=2)


def reweighted(row: int, weight: float, settings: noise.Noise) -> jaxscale.Fit:
    """The same with another weight of one row."""
    return fitted(observed(np.where(np.arange(20) == row, weight, 1.0)), settings)


@pytest.fixture(scope="module")
def plain() -> jaxscale.Fit:
    return fitted(observed(), noise.squared("log"))


def test_influence_is_the_change_when_a_row_is_left_out(plain: jaxscale.Fit) -> None:
    found = plain.influence(quantity=far)
    assert found.shape == (20,) and found.dtype == np.float64

    def logs(p: Any) -> Any:
        return jnp.log(CHINCHILLA(N, D, **p))

    slopes = np.stack(list(jax.jacfwd(logs)(plain.params).values()), axis=1)
    basis = np.linalg.qr(slopes / np.linalg.norm(slopes, axis=0))[0]
    leverage = np.sum(basis**2, axis=1)
    changes = np.array([far(reweighted(row, 0.0, noise.squared("log")).params) for row in range(20)]) - far(
        plain.params
    )
    # A straight line moves by exactly this much; the law is curved.
    expected = -found / (1 - leverage)
    assert np.max(np.abs(changes - expected)) < 0.1 * np.max(np.abs(expected))
    assert np.all(np.sign(changes) == -np.sign(found))


@pytest.mark.parametrize("settings", [noise.squared("log"), noise.student_t(4.0)], ids=["squared", "student_t"])
def test_influence_is_the_derivative_in_the_weight(settings: noise.Noise) -> None:
    found = {of: fitted(observed(), settings).influence(of) for of in ("beta", "A")}
    for row in (0, 7):
        up, down = (reweighted(row, 1 + step, settings).params for step in (1e-4, -1e-4))
        for of, each in found.items():
            assert each[row] == pytest.approx((up[of] - down[of]) / 2e-4, rel=1e-6)


def test_influence_of_a_row_of_weight_zero_is_what_adding_it_would_do() -> None:
    without = reweighted(6, 0.0, noise.squared("log"))
    values = [far(reweighted(6, step, noise.squared("log")).params) for step in (1e-4, 2e-4)]
    steps = [float(value - far(without.params)) / step for value, step in zip(values, (1e-4, 2e-4), strict=True)]
    assert without.influence(far)[6] == pytest.approx(2 * steps[0] - steps[1], rel=1e-5)


def test_influence_of_a_fit_from_a_file(plain: jaxscale.Fit) -> None:
    again = jaxscale.Fit.from_json(plain.to_json())
    assert again == plain and again.observations is None and "observations" not in repr(plain)
    with pytest.raises(ValueError, match=r"A fit read from a file holds no observations; pass them"):
        again.influence("E")
    np.testing.assert_array_equal(again.influence("E", observations=observed()), plain.influence("E"))
    with pytest.raises(ValueError, match="must be those of the fit"):
        again.influence("E", observations=observed(2 * np.ones(20)))


def test_influence_refuses_what_has_none(plain: jaxscale.Fit) -> None:
    with pytest.raises(ValueError, match=r"'aplha', which is no parameter of chinchilla \(did you mean 'alpha'\?\)"):
        plain.influence("aplha")
    several: Any = {"far": far}
    with pytest.raises(TypeError, match="Argument quantity must be a function of the parameters, such as lambda p"):
        # The type checker of the tests would refuse the call earlier.
        inspect.unwrap(jaxscale.Fit.influence)(plain, several)
    with pytest.raises(ValueError, match=r"must return one number, but returns an array of shape \(2,\)"):
        plain.influence(lambda p: CHINCHILLA(np.array([1e9, 1e10]), 1e11, **p))
    vertex = dataclasses.replace(plain, noise=jaxscale.noise.absolute())
    with pytest.raises(TypeError, match="use a Huber loss"):
        vertex.influence("E")
