"""Losses against textbook formulas, and construction of noises."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxscale.law import Response, Support, positive, real, unit
from jaxscale.noise import Noise, absolute, default, huber, named, squared, student_t
from jaxscale.noise.noise import constructors
from jaxscale.noise.spaces import SPACES

LOSSES = constructors()
pytestmark = pytest.mark.usefixtures("x64")
residuals = st.floats(-50.0, 50.0).map(lambda r: r if abs(r) > 1e-6 else 0.0)
thresholds = st.floats(1e-3, 10.0)
degrees = st.floats(1.0, 100.0)
log_scales = st.floats(-3.0, 3.0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the type checks of the tests, as for users."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def terms(noise: Noise, r: Any, delta: Any = np.inf, log_scale: Any = 0.0) -> tuple[float, ...]:
    """Loss of a residual, its two derivatives, and the weight of the majorising parabola."""
    r, loss = jnp.asarray(r), noise.loss
    return tuple(float(v) for v in (loss.value(r, delta, log_scale), *loss.slopes(r, delta, log_scale)))


@settings(max_examples=40)
@given(residuals)
def test_squared_is_half_the_square(r: float) -> None:
    assert terms(squared(), r) == (pytest.approx(r * r / 2, rel=1e-15), r, 1.0, 1.0)


@settings(max_examples=40)
@given(residuals, thresholds)
def test_huber_is_the_standard_formula(r: float, delta: float) -> None:
    inside = abs(r) <= delta
    rho = r * r / 2 if inside else delta * (abs(r) - delta / 2)
    first = r if inside else delta * np.sign(r)
    weight = 1.0 if inside else delta / abs(r)
    expected = (rho, first, float(inside), weight)
    assert terms(huber(delta), r, delta) == pytest.approx(expected, rel=1e-14)


@settings(max_examples=40)
@given(residuals)
def test_huber_without_a_threshold_is_squared(r: float) -> None:
    assert terms(huber(1.0), r, np.inf) == terms(squared(), r)


@settings(max_examples=40)
@given(residuals, st.floats(1e-12, 1e-3))
def test_absolute_is_reached_as_its_threshold_shrinks(r: float, delta: float) -> None:
    assert abs(float(absolute().loss.value(jnp.asarray(r), delta, 0.0)) / delta - abs(r)) <= delta / 2 + 1e-15 * abs(r)


@settings(max_examples=40)
@given(residuals, degrees, log_scales)
def test_student_t_is_the_density_up_to_a_constant(r: float, df: float, log_scale: float) -> None:
    from scipy.stats import t

    s = np.exp(log_scale)
    rho, first, second, weight = terms(student_t(df), r, log_scale=log_scale)
    constant = t.logpdf(0.0, df)
    assert rho == pytest.approx(constant - t.logpdf(r, df, scale=s), abs=1e-10, rel=1e-12)
    assert first == pytest.approx((df + 1) * r / (df * s**2 + r**2), rel=1e-12)
    assert second == pytest.approx((df + 1) * (df * s**2 - r**2) / (df * s**2 + r**2) ** 2, rel=1e-9, abs=1e-12)
    assert weight == pytest.approx((df + 1) / (df * s**2 + r**2), rel=1e-12)


@settings(max_examples=40)
@given(residuals, st.floats(-1.0, 3.0))
def test_student_t_with_many_degrees_of_freedom_is_squared(r: float, log_scale: float) -> None:
    s = np.exp(log_scale)
    near = terms(student_t(1e12), r, log_scale=log_scale)
    assert near == pytest.approx((log_scale + (r / s) ** 2 / 2, r / s**2, s**-2, s**-2), rel=1e-6)


CASES: list[tuple[str, Callable[[float, float], tuple[Noise, float, float]]]] = [
    ("squared", lambda a, b: (squared(), np.inf, 0.0)),
    ("huber", lambda a, b: (huber(a), a, 0.0)),
    ("absolute", lambda a, b: (absolute(), a, 0.0)),
    ("student_t", lambda a, b: (student_t(10 * a), np.inf, b)),
    ("huber with scale", lambda a, b: (huber("scale"), 1.345 * np.exp(b), b)),
    ("asymmetric huber", lambda a, b: (huber(a, over=10 * a), a, 0.0)),
]
EVERY_LOSS = pytest.mark.parametrize("make", [make for _, make in CASES], ids=[name for name, _ in CASES])


def test_every_loss_is_covered() -> None:
    names = {make(1.0, 0.0)[0].loss.name for _, make in CASES}
    assert names == set(LOSSES)


@EVERY_LOSS
@settings(max_examples=40)
@given(r=residuals, a=st.floats(0.1, 10.0), b=st.floats(-1.0, 1.0))
def test_slopes_are_the_derivatives_of_the_loss(make: Any, r: float, a: float, b: float) -> None:
    noise, delta, log_scale = make(a, b)
    step = 1e-5
    # Where the curvature jumps there is no second derivative.
    assume(abs(abs(r) - delta) > 2 * step and (abs(r) > 2 * step or "over" not in noise.loss.settings))
    _, first, second, _ = terms(noise, r, delta, log_scale)
    below, above = (terms(noise, r + side, delta, log_scale) for side in (-step, step))
    assert first == pytest.approx((above[0] - below[0]) / (2 * step), rel=1e-6, abs=1e-7)
    assert second == pytest.approx((above[1] - below[1]) / (2 * step), rel=1e-6, abs=1e-6)


@EVERY_LOSS
@settings(max_examples=40)
@given(r=residuals, other=residuals, a=st.floats(0.1, 10.0), b=st.floats(-1.0, 1.0))
def test_the_weight_makes_a_parabola_above_the_loss(make: Any, r: float, other: float, a: float, b: float) -> None:
    noise, delta, log_scale = make(a, b)
    rho, first, second, weight = terms(noise, r, delta, log_scale)
    assert weight * r == pytest.approx(first, rel=1e-14)
    assert second <= weight * (1 + 1e-14)
    # Its other side is another loss, which the parabola does not bound.
    assume("over" not in noise.loss.settings or r * other > 0)
    parabola = rho + weight * (other**2 - r**2) / 2
    assert terms(noise, other, delta, log_scale)[0] <= parabola + 1e-11 * (1 + abs(parabola) + weight * r**2)


@pytest.mark.parametrize("space", SPACES)
def test_a_transform_maps_the_domain_to_the_real_line(space: Any) -> None:
    y = np.array([0.2, 0.5, 0.9])
    expected = {"linear": y, "log": np.log(y), "logit": np.log(y / (1 - y))}[space]
    np.testing.assert_allclose(squared(space).transform(y), expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(
    ("domain", "expected"), [(positive, huber("scale", "log")), (unit, squared("logit")), (real, squared("linear"))]
)
def test_the_default_follows_the_domain(domain: Support, expected: Noise) -> None:
    noise = default(Response("", domain))
    assert noise.describe() == expected.describe()
    assert noise.to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (squared(), "squared on linear residuals"),
        (huber(0.001), "huber(delta=0.001) on log residuals"),
        (huber("scale"), "huber(delta=scale) on log residuals"),
        (absolute("linear"), "absolute on linear residuals"),
        (student_t(4.0, space="logit"), "student_t(df=4) on logit residuals"),
    ],
)
def test_description_of_a_noise(noise: Noise, words: str) -> None:
    assert noise.describe() == words


def test_only_a_student_t_without_a_scale_and_an_adaptive_huber_infer_one() -> None:
    assert student_t().infers_scale and huber("scale").infers_scale
    assert not student_t(scale=0.1).infers_scale
    assert not any(noise.infers_scale for noise in (squared(), huber(), absolute()))


@pytest.mark.parametrize("loss_name", LOSSES)
def test_a_name_makes_the_noise_in_the_space_of_the_response(loss_name: str) -> None:
    assert named(loss_name).space.name == "linear"
    for domain, space in ((positive, "log"), (unit, "logit"), (real, "linear")):
        noise = named(loss_name, response=Response("", domain))
        assert (noise.loss.name, noise.space.name) == (loss_name, space)
    assert named(loss_name, "logit", response=Response("", positive)).space.name == "logit"


def test_a_name_takes_settings_and_passes_over_those_left_out() -> None:
    assert named("huber", delta=0.5, df=None, scale=None).loss.settings == {"delta": 0.5}
    noise = named("student_t", "log", df=7.0, scale=0.2, delta=None)
    assert noise.loss.settings == {"df": 7.0, "scale": 0.2}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("l2",), {}, "Argument noise must be one of absolute, huber, squared, student_t, but is 'l2'."),
        (("squared", "cube"), {}, "Argument space must be one of linear, log, logit, but is 'cube'."),
        (("squared",), dict(delta=1.0), "Argument delta must not be given with noise squared, but is 1.0."),
        (("absolute",), dict(scale=2), "Argument scale must not be given with noise absolute, but is 2."),
        (("huber",), dict(df=3), "Argument df must not be given with noise huber, but is 3."),
        (("student_t",), dict(delta=0.1), "Argument delta must not be given with noise student_t, but is 0.1."),
        (("huber",), dict(delta=0.0), "Argument delta must be positive and finite, but is 0.0."),
        (("huber",), dict(delta=-1), "Argument delta must be positive and finite, but is -1."),
        (("huber",), dict(delta=np.inf), "Argument delta must be positive and finite, but is inf."),
        (("huber",), dict(delta="wide"), "Argument delta must be a positive number or 'scale', but is 'wide'."),
        (("student_t",), dict(df=np.nan), "Argument df must be positive and finite, but is nan."),
        (("student_t",), dict(scale=0), "Argument scale must be positive and finite, but is 0."),
    ],
)
def test_what_is_no_noise_is_refused(arguments: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        named(*arguments, **settings)
    assert str(error.value) == message


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_every_constructor_refuses_an_unknown_space(make: Callable[..., Noise]) -> None:
    with pytest.raises(ValueError, match=r"^Argument space must be one of linear, log, logit, but is 'sqrt'\.$"):
        make(space="sqrt")


def test_a_new_setting_compiles_nothing() -> None:
    traced = []

    @jax.jit
    def cost(noise: Noise, r: Any) -> Any:
        traced.append(noise)
        return noise.loss.value(r, noise.loss.threshold, 0.0)

    values = [float(cost(huber(delta), jnp.asarray(10.0))) for delta in (1e-3, 0.5, 2.0)]
    assert values == pytest.approx([1e-3 * (10 - 5e-4), 0.5 * (10 - 0.25), 2.0 * (10 - 1.0)])
    assert len(traced) == 1
    assert jax.tree.structure(student_t(3.0, 0.1)) == jax.tree.structure(student_t(5.0, 0.2))


def test_a_setting_may_be_traced_and_has_a_derivative() -> None:
    slope = jax.jit(jax.grad(lambda delta: huber(delta).loss.value(jnp.asarray(3.0), delta, 0.0)))
    assert float(slope(0.5)) == pytest.approx(3.0 - 0.5)


@pytest.mark.parametrize(
    "noise",
    [squared("logit"), huber(0.2), huber(0.2, over=3), huber("scale"), absolute(), student_t(3), student_t(3, 0.5)],
    ids=Noise.describe,
)
def test_a_noise_survives_its_dictionary(noise: Noise) -> None:
    again = Noise.from_dict(noise.to_dict())
    assert again.to_dict() == noise.to_dict() and again == noise and type(again.loss) is type(noise.loss)
