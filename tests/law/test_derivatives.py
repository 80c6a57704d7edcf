"""Evaluation of laws by the engine: equal values and derivatives, without terms that vanish."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import laws
from jaxscale.data.observations import Observations
from jaxscale.engine.objective import Problem
from jaxscale.fitting.fit import fit
from jaxscale.fitting.fit_many import fit_many
from jaxscale.law import Input, Law, LawError, Response, amplitude, coefficient, derivatives, exponent, floor, law, real
from jaxscale.law.coordinates import centre_of
from jaxscale.law.derivatives import expansion, power, value
from jaxscale.noise import squared
from tests.contracts.law_contracts import POINTS, random_point

pytestmark = pytest.mark.usefixtures("x64")
CHINCHILLA, KAPLAN = laws.get("chinchilla"), laws.get("kaplan_nd")
TRUTH = CHINCHILLA.published["besiroglu2024"]
CUBE = jnp.asarray(3, jnp.int32)


@jax.jit
def raised(base: Any, exponent: Any) -> Any:
    return base**exponent


@jax.custom_jvp
def gentle(x: Any) -> Any:
    """The identity, whose derivative is declared to be twice the true one."""
    return x


gentle.defjvp(lambda primals, tangents: (gentle(*primals), 2.0 * tangents[0]))


@law(
    inputs=dict(x=Input("")),
    response=Response("", real),
    a=amplitude(x="b"),
    b=exponent(),
    c=coefficient(),
    source="a test",
)
def nested(x, *, a, b, c):
    """A power inside nested jit, and functions whose derivatives are declared rather than derived."""
    inner = jax.jit(lambda a: jax.jit(raised)(x, -b) * a)
    return inner(a) + jnp.logaddexp(0.0, c * jnp.log(x)) + jax.nn.softplus(gentle(c)) + jnp.where(x > 2, b * c, c**2)


@law(inputs=dict(x=Input("", low=-np.inf)), response=Response("", real), m=coefficient(), source="a test")
def cubes(x, *, m):
    """Powers that are constants, written in several ways, of a number that may be negative."""
    return m * (x**3 + x**-2.0 + raised(x, 3.0) + jnp.power(x, CUBE) + jax.jit(raised)(x, jnp.sqrt(4.0)))


def of_params(law: Law) -> Any:
    """The law as :func:`expansion` takes it: parameters by position, then the row."""

    def function(z: Any, row: Any) -> Any:
        return value(law, dict(zip(law.inputs, row, strict=True)), dict(zip(law.parameters, z, strict=True)))

    return function


def both(law: Law) -> Any:
    """The engine's form of a law at one row, and the law itself."""
    return lambda row, params: (of_params(law)([params[name] for name in law.parameters], row), law(*row, **params))


# That the values agree operation by operation is a contract of every law.
@pytest.mark.parametrize("name", ["farseer", "implicit_sigmoid_power", "kl_tilt2", "passuntil", "vocab_optimum"])
def test_the_compiled_value_is_that_of_the_law(name: str) -> None:
    law = laws.get(name)
    found, plain = jax.jit(jax.vmap(both(law)))(*random_point(law, 4))
    assert found.shape == (POINTS,) and found.dtype == np.float64
    np.testing.assert_allclose(found, plain, rtol=1e-13)


@pytest.mark.parametrize("transformed", [jax.vmap, lambda function: jax.jit(jax.vmap(function))], ids=["vmap", "jit"])
def test_nested_jit_and_custom_derivatives_are_traced(transformed: Any) -> None:
    params = dict(a=2.0 + np.arange(9), b=np.full(9, 0.3), c=np.linspace(-1, 1, 9))
    found, plain = transformed(both(nested))([np.geomspace(0.5, 50.0, 9)], params)
    np.testing.assert_allclose(found, plain, rtol=1e-13)


@pytest.mark.parametrize("law", [CHINCHILLA, nested], ids=lambda law: law.name)
def test_no_power_with_a_fitted_exponent_is_left(law: Law) -> None:
    z, row = [jnp.ones(())] * len(law.parameters), [jnp.ones(())] * len(law.inputs)

    def plain(z: Any, row: Any) -> Any:
        return law(*row, **dict(zip(law.parameters, z, strict=True)))

    assert " pow " in str(jax.make_jaxpr(plain)(z, row))
    assert " pow " not in str(jax.make_jaxpr(of_params(law))(z, row))


def test_constant_exponents_take_negative_numbers() -> None:
    x = np.array([-2.0, -0.5, 0.25, 3.0])
    found, plain = jax.jit(jax.vmap(both(cubes)))([x], dict(m=np.full(4, 1.5)))
    np.testing.assert_allclose(plain, 1.5 * (3 * x**3 + x**-2.0 + x**2), rtol=1e-14)
    np.testing.assert_allclose(found, plain, rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(both(cubes))([x], dict(m=np.full(4, 1.5)))[0], plain, rtol=1e-14)


def test_the_constants_of_a_law_follow_the_default_precision() -> None:
    @law(inputs=dict(x=Input("")), response=Response("", real), m=coefficient(), source="a test")
    def constant(x, *, m):
        """A constant of the default precision."""
        return (m * x).astype(float) + jnp.zeros(())

    one = np.float32(1.0)
    assert value(constant, {"x": one}, {"m": one}).dtype == np.float64
    with jax.enable_x64(False):
        assert value(constant, {"x": one}, {"m": one}).dtype == np.float32


@given(st.floats(1e-12, 1e15), st.floats(-3.0, 3.0))
def test_a_power_is_a_power(x: float, y: float) -> None:
    assert float(power(x, y)) == pytest.approx(x**y, rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_zero_and_of_negative_numbers(dtype: Any) -> None:
    tiny = float(np.finfo(dtype).tiny)
    exponents = np.array([0.0, 0.3, 1.0, 2.0], dtype)
    zero = power(np.zeros((), dtype), exponents)
    assert zero.dtype == dtype
    # The smallest number in place of 0: a tiny power of it, and none at all for the exponent 0.
    rtol = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(zero, [1.0, tiny**0.3, tiny, 0.0], rtol=rtol, atol=2 * tiny)
    # Negative exponents give the largest numbers, not infinities, unless these are too large.
    assert 0 < power(dtype(0.0), dtype(-0.5)) < np.inf
    assert np.all(np.isnan(power(np.full(4, -2.0, dtype), exponents)))
    # Derivatives at 0 in the exponent and in the base are finite or zero, and never NaN.
    slopes = jax.vmap(jax.grad(power, argnums=(0, 1)), in_axes=(None, 0))(dtype(0.0), exponents)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)


# A point of each law, and the sizes of its inputs, where every parameter matters and no derivative is a rounded zero.
EXPANDED: dict[str, tuple[Law, dict[str, float], list[tuple[float, float]]]] = {
    "chinchilla": (CHINCHILLA, dict(TRUTH), [(1e8, 1e10), (1e9, 1e11)]),
    "kaplan_nd": (KAPLAN, dict(next(iter(KAPLAN.published.values()))), [(1e6, 1e9), (1e9, 1e10)]),
    "bnsl1": (laws.get("bnsl1"), dict(a=1.0, b=2.0, c0=0.3, c1=0.2, d1=30.0, f1=0.5), [(1.0, 1e3)]),
    "nested": (nested, dict(a=2.0, b=0.3, c=-0.7), [(0.5, 50.0)]),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_the_expansion_is_value_gradient_and_hessian(name: str) -> None:
    law, point, sizes = EXPANDED[name]
    draws = np.random.default_rng(5)
    points = [point[key] * draws.uniform(0.9, 1.1, 6) for key in law.parameters]
    rows = [np.geomspace(low, high, 3) for low, high in sizes]
    function, size = of_params(law), len(law.parameters)

    def over_rows(transformed: Any) -> Any:
        # Lanes outside, rows inside, as in the engine.
        return jax.jit(jax.vmap(jax.vmap(transformed, in_axes=(None, 0)), in_axes=(0, None)))

    def engine(z: Any, row: Any) -> Any:
        y, slopes, second = expansion(function, z, row)
        assert len(slopes) == size and len(second) == size * (size + 1) // 2
        return y, jnp.stack(slopes), jnp.stack([jnp.zeros(()) if twice is None else twice for twice in second])

    def plain(z: Any, row: Any) -> Any:
        def whole(z: Any) -> Any:
            return law(*row, **dict(zip(law.parameters, z, strict=True)))

        hessian = jax.hessian(whole)(z)
        pairs = [hessian[k][m] for k in range(size) for m in range(k + 1)]
        return whole(z), jnp.stack(jax.grad(whole)(z)), jnp.stack(pairs)

    both = (map(np.asarray, over_rows(each)(points, rows)) for each in (engine, plain))
    for found, expected in zip(*both, strict=True):
        assert found.shape == expected.shape
        # Derivatives in different parameters differ by many orders: each is compared with its own size.
        size_of_each = np.maximum(np.abs(expected).max(axis=(0, 1)), np.finfo(float).tiny)
        np.testing.assert_allclose(found / size_of_each, expected / size_of_each, rtol=1e-9, atol=1e-13)


def test_second_derivatives_that_vanish_identically_are_left_out() -> None:
    names = list(CHINCHILLA.parameters)
    pairs = [(names[k], names[m]) for k in range(5) for m in range(k + 1)]
    z = [jnp.asarray(number) for number in TRUTH.values()]
    row = [jnp.asarray(1e9), jnp.asarray(2e10)]
    second = expansion(of_params(CHINCHILLA), z, row)[2]
    present = {pair for pair, twice in zip(pairs, second, strict=True) if twice is not None}
    assert present == {("alpha", "A"), ("alpha", "alpha"), ("beta", "B"), ("beta", "beta")}


def test_the_engine_leaves_the_floor_against_other_terms_out() -> None:
    inputs = dict(N=np.array([1e8, 1e9, 1e10]), D=np.array([1e10, 3e9, 2e11]))
    centre = centre_of(CHINCHILLA, inputs, np.array([3.0, 2.5, 2.0]), np)
    names = tuple(CHINCHILLA.parameters)
    problem = Problem(CHINCHILLA, names, squared("log"), inputs, {}, centre)
    row = {name: jnp.asarray(column[0]) for name, column in inputs.items()}
    z = [jnp.asarray(0.1 * k) for k in range(5)]
    second = expansion(lambda z, row: problem.predict(z, row), z, row)[2]
    pairs = [(names[k], names[m]) for k in range(5) for m in range(k + 1)]
    absent = {pair for pair, twice in zip(pairs, second, strict=True) if twice is None}
    across = {("A", "E"), ("alpha", "E"), ("B", "E"), ("beta", "E"), ("B", "A"), ("beta", "A"), ("B", "alpha")}
    assert absent == across | {("beta", "alpha")}


def test_the_first_order_has_the_same_slopes_and_nothing_more() -> None:
    z = [jnp.asarray(number) for number in TRUTH.values()]
    row = [jnp.asarray(1e9), jnp.asarray(2e10)]
    y, slopes, second = expansion(of_params(CHINCHILLA), z, row, order=1)
    full = expansion(of_params(CHINCHILLA), z, row)
    assert second == []
    np.testing.assert_allclose([y, *slopes], [full[0], *full[1]], rtol=1e-14)


def test_traces_that_print_alike_with_different_constants_are_distinguished() -> None:
    first, second = (jax.jit(lambda x, c=c: jnp.sum(c * x)) for c in (np.array([1.0, 2.0]), np.array([10.0, 20.0])))
    y, (slope,), _ = expansion(lambda z, _: first(z[0]) + 100 * second(z[0]), [jnp.asarray(1.0)], ())
    assert float(y) == float(slope) == 3.0 + 3000.0


def test_common_subexpressions_are_evaluated_once() -> None:
    z = [jnp.asarray(number) for number in TRUTH.values()]
    row = [jnp.asarray(1e9), jnp.asarray(2e10)]

    def everything(z: Any, row: Any) -> Any:
        y, slopes, second = expansion(of_params(CHINCHILLA), z, row)
        return y, slopes, [twice for twice in second if twice is not None]

    text = str(jax.make_jaxpr(everything)(z, row))
    # The two powers of the law, of which all derivatives are multiples.
    assert text.count(" exp ") == text.count(" log ") == 2


def test_an_error_inside_a_law_is_reported_with_its_line() -> None:
    @law(inputs=dict(x=Input("")), response=Response(""), source="a test", b=exponent())
    def broken(x, *, b):
        """A law with an error."""
        return x**b + missing  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    line = broken.function.__code__.co_firstlineno + 3
    with pytest.raises(LawError, match=rf"^law 'broken' fails at .*test_derivatives.py, line {line}: NameError: "):
        derivatives.check_traceable(broken, {"x": np.ones(3)})


def test_a_law_that_returns_several_numbers_is_refused() -> None:
    @law(inputs=dict(x=Input("")), response=Response(""), source="a test", b=exponent())
    def pair(x, *, b):
        """Two numbers for one row."""
        return jnp.stack([x, x**b])

    line = pair.function.__code__.co_firstlineno + 3
    with pytest.raises(LawError) as caught:
        derivatives.check_traceable(pair, {"x": np.ones(3)})
    assert str(caught.value) == (
        f"law 'pair' must return one number for one row, but returns an array of shape (2,) at {__file__}, line {line}"
    )


@pytest.mark.parametrize(
    ("returned", "description"),
    [
        (lambda y: None, "nothing (it has no return)"),
        (lambda y: (y, y), "a tuple"),
        (lambda y: {"y": y}, "a dict"),
        (lambda y: "y", "a str"),
        (lambda y: jnp.asarray(y, complex), "a number of type complex128, which is not real"),
        (lambda y: y > 1, "a number of type bool, which is not real"),
        (lambda y: 3, "a number of type int64, which is not real"),
    ],
)
def test_a_law_that_returns_no_real_number_is_refused_with_its_line(returned: Any, description: str) -> None:
    @law(inputs=dict(x=Input("")), response=Response(""), source="a test", b=exponent())
    def odd(x, *, b):
        """A return value that is not a number."""
        return returned(x**b)

    rows = Observations.from_table({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}, inputs=["x"], response="y")
    for call in (lambda: fit(odd, rows), lambda: fit_many(odd, rows)):
        with pytest.raises(LawError) as caught:
            call()
        message = f"law 'odd' must return one number for one row, but returns {description} at {__file__}, line "
        first = odd.function.__code__.co_firstlineno
        assert str(caught.value) == message + str(first + 1 if "nothing" in description else first + 3)


def looped(kind: str) -> Law:
    """A law that is the root of an equation, by Newton's method in a loop or written out."""

    @law(
        name=f"looped_{kind}",
        inputs=dict(x=Input("")),
        response=Response(""),
        source="a test",
        c=floor(),
        a=amplitude(x="b"),
        b=exponent(),
    )
    def root(x, *, c, a, b):
        """The y with y = c + a x^-b exp(-y)."""
        start = c + a * x**-b

        def step(y: Any) -> Any:
            pull = a * x**-b * jnp.exp(-y)
            return y - (y - c - pull) / (1 + pull)

        if kind == "fori":
            return jax.lax.fori_loop(0, 6, lambda _, y: step(y), start)
        if kind == "while":
            return jax.lax.while_loop(lambda s: s[1] < 6, lambda s: (step(s[0]), s[1] + 1), (start, 0))[0]
        for _ in range(6):
            start = step(start)
        return start

    return root


@pytest.mark.parametrize("kind", ["fori", "while"])
@pytest.mark.parametrize("order", [1, 2])
def test_a_loop_has_the_derivatives_of_what_it_does(kind: str, order: int, x64: None) -> None:
    z = [jnp.asarray(v) for v in (0.5, 3.0, 0.4)]

    def of(found: Law) -> Any:
        def call(z: Any, x: Any) -> Any:
            return derivatives.value(found, {"x": x}, dict(zip(found.parameters, z, strict=True)))

        return expansion(call, z, jnp.asarray(2.0), order=order)

    y, slopes, second = of(looped("written out"))
    found, slopes_of_loop, second_of_loop = of(looped(kind))
    np.testing.assert_allclose(found, y, rtol=1e-13)
    np.testing.assert_allclose(slopes_of_loop, slopes, rtol=1e-12)
    assert len(second_of_loop) == len(second)
    for mine, other in zip(second_of_loop, second, strict=True):
        np.testing.assert_allclose(mine, 0.0 if other is None else other, rtol=1e-11, atol=1e-15)


def test_a_loop_runs_once_for_all_derivatives(x64: None) -> None:
    z, found = [jnp.asarray(v) for v in (0.5, 3.0, 0.4)], looped("fori")

    def everything(z: Any, x: Any) -> Any:
        call = lambda z, x: derivatives.value(found, {"x": x}, dict(zip(found.parameters, z, strict=True)))  # noqa: E731
        return expansion(call, z, x)

    text = str(jax.make_jaxpr(everything)(z, jnp.asarray(2.0)))
    assert text.count("scan[") + text.count("while[") == 1


def test_a_long_unrolled_loop_gives_a_warning() -> None:
    @law(inputs=dict(x=Input("")), response=Response(""), source="a test", b=exponent())
    def long(x, *, b):
        """A sum of many terms."""
        return sum(x ** (b / k) for k in range(1, 300))

    with pytest.warns(
        UserWarning, match=r"^Law 'long' takes \d+ operations a row.* write a loop over steps as jax.lax"
    ):
        derivatives.check_traceable(long, {"x": np.ones(3)})
