"""Profile likelihood: exact intervals and ellipses, published profiles, independent refits, validation."""

import json
import logging
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import brentq, least_squares, minimize
from scipy.special import stdtrit
from scipy.stats import f as fisher

import jaxscale
from jaxscale import Fit, Observations, noise
from jaxscale.law import Input, Law, Response, law, positive_number, real
from jaxscale.plots import profile as profile_module
from jaxscale.plots import style
from jaxscale.profiling import likelihood_ratio
from jaxscale.profiling.targets import validate_derived
from jaxscale.utils.files import replace_nonfinite
from tests.lines import line
from tests.real_sweeps import sweep

ROWS = 30
x = np.linspace(-2.0, 3.0, ROWS)
w = np.linspace(0.5, 2.0, ROWS)
y = 1.0 + 0.5 * x + np.random.default_rng(0).standard_normal(ROWS)


@law(
    inputs=dict(x=Input("")),
    response=Response("", real),
    v=positive_number(range=(1.0, 1e3)),
    k=positive_number(range=(1e-3, 1.0)),
    source="Bates and Watts (1988)",
)
def puromycin(x, *, v, k):
    """Michaelis-Menten kinetics."""
    return v * x / (k + x)


def observed(x: np.ndarray, y: np.ndarray, **more: np.ndarray) -> Observations:
    columns: dict[str, Any] = {name: name for name in more}
    return Observations.from_table({"x": x, "y": y, **more}, inputs=["x"], response="y", **columns)


def fitted(law: Law | str, observations: Observations, kind: noise.Noise, **settings: Any) -> Fit:
    settings = {"starts": 64, "n_resamples": 0} | settings
    return jaxscale.fit(law, observations, noise=kind, **settings)


def double(params: dict[str, Any]) -> Any:
    return params["c"] + 2 * params["m"]


def second(params: dict[str, Any]) -> Any:
    return params["m"]


@pytest.fixture(scope="module")
def straight() -> Fit:
    return fitted(line, observed(x, y, weight=w), noise.squared())


@pytest.fixture(scope="module")
def profiled(straight: Fit) -> jaxscale.Profile:
    return jaxscale.profile(straight, quantity={"sum": double, "slope": second}, level=0.95)


def least(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of the line and its covariance."""
    root = np.sqrt(w)[:, None]
    best, rest, *_ = np.linalg.lstsq(columns * root, y * root[:, 0], rcond=None)
    return best, rest[0] / (ROWS - 2) * np.linalg.inv(columns.T @ (w[:, None] * columns))


COLUMNS = np.stack([np.ones(ROWS), x], axis=1)


@pytest.mark.parametrize(("name", "of"), [("c", [1, 0]), ("m", [0, 1]), ("sum", [1, 2]), ("slope", [0, 1])])
def test_interval_of_a_line_is_the_t_interval(profiled: jaxscale.Profile, name: str, of: list[int]) -> None:
    best, covariance = least(COLUMNS)
    error = float(np.sqrt(np.array(of) @ covariance @ of))
    t = stdtrit(ROWS - 2, 0.975)
    curve = profiled[name]
    assert curve.lower == pytest.approx(of @ best - t * error, abs=1e-8 * error)
    assert curve.upper == pytest.approx(of @ best + t * error, abs=1e-8 * error)
    assert curve.stderr == pytest.approx(error, rel=1e-9)
    np.testing.assert_allclose(curve.root, (curve.values - of @ best) / error, atol=1e-7)
    assert len(curve.values) == 21 and np.all(np.diff(curve.values) > 0)
    assert profiled.threshold == pytest.approx(t) and not profiled.notices


def test_contour_of_a_line_is_the_f_ellipse(straight: Fit) -> None:
    contour = jaxscale.contour(straight, ("c", "m"), level=(0.5, 0.9))
    best, covariance = least(COLUMNS)
    away = contour.polygons - best
    inside = np.einsum("lpi,ij,lpj->lp", away, np.linalg.inv(covariance), away)
    expected = 2 * fisher.ppf([0.5, 0.9], 2, ROWS - 2)
    np.testing.assert_allclose(inside, np.repeat(expected[:, None], 32, axis=1), rtol=1e-8)
    assert contour.thresholds == pytest.approx(expected) and contour.estimate == pytest.approx(best, rel=1e-9)
    assert json.dumps(contour.to_dict())


CONCENTRATION = np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.10], 2)
VELOCITY = np.array([76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200.0])


def test_profile_of_puromycin_agrees_with_the_reference() -> None:
    fit = fitted(puromycin, observed(CONCENTRATION, VELOCITY), noise.squared(), starts=512)
    profile = jaxscale.profile(fit, level=0.95, quantity={"ratio": ratio})
    # The estimates and standard error of Bates and Watts, table 2.2.
    assert fit.params == pytest.approx({"v": 212.7, "k": 0.0641}, rel=1e-3)
    assert fit.stderr["v"] == pytest.approx(6.95, rel=1e-3)

    def squares(k: float) -> float:
        column = CONCENTRATION / (k + CONCENTRATION)
        return float(VELOCITY @ VELOCITY - (column @ VELOCITY) ** 2 / (column @ column))

    lowest = 2 * fit.objective

    def excess(k: float) -> float:
        return 10 * (squares(k) - lowest) / lowest - stdtrit(10, 0.975) ** 2

    best = fit.params["k"]
    assert profile["k"].lower == pytest.approx(brentq(excess, best / 3, best, xtol=1e-14), rel=1e-8)
    assert profile["k"].upper == pytest.approx(brentq(excess, best, best * 3, xtol=1e-14), rel=1e-8)
    reference = [10 * (squares(k) - lowest) / lowest for k in profile["k"].values]
    np.testing.assert_allclose(profile["k"].statistic, reference, rtol=1e-9, atol=1e-9)
    # A nonlinear quantity, and all parameters along its profile.
    along = profile["ratio"]
    np.testing.assert_allclose(along.params["v"] / along.params["k"], along.values, rtol=1e-10)


def ratio(params: dict[str, Any]) -> Any:
    return params["v"] / params["k"]


def test_a_student_profile_is_the_likelihood_ratio() -> None:
    fit = fitted(line, observed(x, y), noise.student_t(4, space="linear"))
    curve = jaxscale.profile(fit, ["m"], points=7)["m"]

    def cost(m: float) -> float:
        def at(free: np.ndarray) -> float:
            r = free[0] + m * x - y
            return float(np.sum(free[1] + 2.5 * np.log1p(r**2 * np.exp(-2 * free[1]) / 4)))

        return float(minimize(at, [1.0, 0.0], method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-12)).fun)

    lowest = cost(fit.params["m"])
    np.testing.assert_allclose(curve.statistic, [2 * (cost(m) - lowest) for m in curve.values], rtol=1e-6, atol=1e-8)
    assert 2 * (cost(curve.upper) - lowest) == pytest.approx(1.6448536**2, rel=1e-6)


def test_repeated_runs_widen_the_interval_to_that_of_the_cluster_sandwich() -> None:
    run = np.arange(ROWS) // 3
    fit = fitted(line, observed(x, y, weight=w, run=run), noise.squared())
    profile = jaxscale.profile(fit, points=5)
    t = stdtrit(9, 0.95)
    for name in ("c", "m"):
        middle, error = fit.params[name], fit.stderr[name]
        assert profile[name].upper == pytest.approx(middle + t * error, abs=1e-6 * error)
        assert profile[name].lower == pytest.approx(middle - t * error, abs=1e-6 * error)
    assert profile.about["freedom"] == 9 and set(profile.about["variance ratio"]) == {"c", "m"}
    mean = np.mean(list(profile.about["variance ratio"].values()))
    area, plain = (
        np.prod(np.ptp(jaxscale.contour(one, ("c", "m"), level=0.5).polygons[0], axis=0))
        for one in (fit, fitted(line, observed(x, y, weight=w), noise.squared()))
    )
    factor = fisher.ppf(0.5, 2, 9) / fisher.ppf(0.5, 2, ROWS - 2)
    assert 0.5 * mean < area / plain / factor < 2 * mean


@pytest.mark.parametrize("kind", [noise.absolute("linear"), noise.huber(0.02, "linear"), noise.huber(1.3, "linear")])
def test_robust_intervals_cover(kind: noise.Noise) -> None:
    generator, hits, several = np.random.default_rng(1), 0, 60
    for _ in range(several):
        place = np.linspace(-2.0, 3.0, 60)
        fit = fitted(
            line, observed(place, 1 + 0.5 * place + generator.standard_t(3, 60)), kind, starts=dict(c=1, m=0.5)
        )
        curve = jaxscale.profile(fit, ["m"], points=5)["m"]
        hits += curve.lower < 0.5 < curve.upper
    # Three standard deviations of the count around the nominal 90 %.
    assert 0.78 <= hits / several <= 0.99


def test_a_law_with_its_own_coordinates_has_the_same_profile(straight: Fit, profiled: jaxscale.Profile) -> None:
    def forth(z: Any, centre: Any) -> dict[str, Any]:
        return {"c": z[0] + z[1], "m": z[0] - z[1]}

    def back(params: Any, centre: Any) -> Any:
        return jax.numpy.stack([params["c"] + params["m"], params["c"] - params["m"]]) / 2

    turned = replace(line, name="turned", coordinates=(forth, back))
    profile = jaxscale.profile(replace(straight, law=turned), level=0.95)
    for name in ("c", "m"):
        assert profile.intervals()[name] == pytest.approx(profiled.intervals()[name], rel=1e-9)


def test_open_end_is_reported() -> None:
    # All but one row saturate, so that k = 0 is not rejected.
    place = np.arange(1.0, 13.0)
    response = place / (0.01 + place) + 0.05 * np.random.default_rng(2).standard_normal(12)
    response[0] = 0.93
    fit = fitted(puromycin, observed(place, response), noise.squared(), starts=512, allow_unidentified=True)
    profile = jaxscale.profile(fit, quantity={"ratio": ratio})
    assert profile["k"].lower == -np.inf and 0.1 < profile["k"].upper < 1
    assert np.isfinite([profile["v"].lower, profile["v"].upper]).all()
    assert profile["ratio"].upper == np.inf
    notice, other = profile.notices
    assert notice.code == other.code == "open_profile"
    assert notice.message == "The profile of k does not reach its threshold below the estimate."
    assert other.message == "The profile of ratio does not reach its threshold above the estimate."
    assert "open_profile: The profile of k" in str(profile)
    contour = jaxscale.contour(fit, ("v", "k"), level=(0.5, 0.9), points=16)
    # In the downward direction k decreases at constant v.
    assert np.isnan(contour.polygons[1, 12]).all() and np.isfinite(contour.polygons[1, 4]).all()
    assert contour.notices[-1].message == "The contour of v and k at level 0.9 is open in 1 directions."
    for figure in (profile_module.plot_profile(profile), profile_module.plot_contour(contour)):
        assert style.render(figure, "png")


def test_a_profile_is_a_table_a_dictionary_and_a_pickle(profiled: jaxscale.Profile) -> None:
    again = pickle.loads(pickle.dumps(profiled))
    assert again.to_dict() == profiled.to_dict() and str(again) == str(profiled)
    entries = json.loads(json.dumps(replace_nonfinite(profiled.to_dict()), allow_nan=False))
    assert entries["method"] == "profile likelihood" and entries["params"]["m"]["level"] == 0.95
    assert len(entries["curves"]["m"]["params"]["c"]) == 21
    assert "95 % interval" in str(profiled) and "F with 1 and n - p" in str(profiled)
    figure = profile_module.plot_profile(profiled)
    assert [panel.get_xlabel() for panel in figure.axes[:4]] == ["c", "m", "sum", "slope"]
    assert figure.get_suptitle() == "line: profiles with 95 % intervals"


def test_second_data_set_does_not_recompile(straight: Fit, caplog: pytest.LogCaptureFixture) -> None:
    other = fitted(line, observed(x[:-3], y[:-3] ** 2), noise.squared())
    for fit in (straight, other):
        caplog.clear()
        with jax.log_compiles(True), caplog.at_level(logging.WARNING):
            jaxscale.profile(fit, quantity={"sum": double, "slope": second})
            jaxscale.contour(fit, ("c", "m"))
    assert [record.message for record in caplog.records if record.message.startswith("Compiling")] == []


def of(**quantities: Any) -> dict[str, Any]:
    return {"quantity": quantities}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 2.0}, "Argument level must lie between 0 and 1, but is 2.0."),
        ({"points": 4}, "Argument points must be a whole number of at least 5, but is 4."),
        ({"seed": -1}, "Argument seed must not be negative, but is -1."),
        ({"params": []}, "Argument params or quantity must name something to profile, but both are empty."),
        ({"params": ["n"]}, "Argument params names 'n', which is no free parameter of this fit; these are c, m."),
        ({"params": "m"}, "Argument params must be a sequence of names, but is the text 'm'; write ['m']."),
        (of(m=second), "Argument quantity names 'm', which names a parameter already; give it another name."),
        (
            of(two=lambda p: jax.numpy.zeros(2)),
            "Argument quantity must give one number for two, but gives an array of shape",
        ),
        (
            of(one=lambda p: 1.0 + 0 * p["m"]),
            "Argument quantity must give for one a finite number that depends on the free",
        ),
    ],
)
def test_wrong_arguments_of_a_profile(straight: Fit, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        jaxscale.profile(straight, **settings)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"params": ["c"]}, "Argument params must hold two different parameters, but holds c."),
        ({"params": ["c", "c"]}, "Argument params must hold two different parameters, but holds c, c."),
        ({"params": []}, "Argument params must hold two different parameters, but is empty."),
        ({}, "Argument params names 'alpha', which is no free parameter of this fit; these are c, m."),
        ({"params": ["c", "m"], "level": 0.0}, "Argument level must lie between 0 and 1, but is 0.0."),
        (
            {"params": ["c", "m"], "level": []},
            "Argument level must hold at least one number between 0 and 1, but is em",
        ),
        ({"params": ["c", "m"], "points": 7}, "Argument points must be a whole number of at least 8, but is 7."),
    ],
)
def test_wrong_arguments_of_a_contour(straight: Fit, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        jaxscale.contour(straight, **settings)
    assert str(error.value).startswith(message)


def test_fits_that_cannot_be_profiled_raise(straight: Fit) -> None:
    with pytest.raises(ValueError, match="Argument params names 'c', which is no free parameter of this fit \\(it is"):
        jaxscale.profile(replace(straight, free=("m",), fixed={"c": 1.0}), ["c"])
    with pytest.raises(ValueError, match="holds no observations; pass them"):
        jaxscale.profile(replace(straight, observations=None))
    for kind in (noise.squared(), noise.absolute("linear")):
        exact = fitted(line, observed(x, 1 + 0.5 * x), kind)
        with pytest.raises(
            ValueError, match="A profile needs nonzero residuals, but this fit interpolates all of its rows"
        ):
            jaxscale.profile(exact)
    few = fitted(line, observed(x[:2], y[:2]), noise.squared(), allow_unidentified=True)
    with pytest.raises(ValueError, match="A profile needs more rows than free parameters, but there are 2 rows for 2."):
        jaxscale.profile(few)
    with pytest.raises(ValueError, match="A profile needs identified parameters"):
        likelihood_ratio._inverse([np.ones((2, 2))])


def test_wrong_types_raise_without_runtime_type_checks() -> None:
    program = """
import jaxscale
from jaxscale.profiling.targets import validate_derived
for call in (lambda: jaxscale.profile(3), lambda: jaxscale.contour(3), lambda: validate_derived({"bad": 3.0}, ())):
    try:
        call()
    except TypeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    wrong_type = "Argument fit must be a Fit (make one with jaxscale.fit), but is int."
    none = "Argument quantity must map names to functions of the parameters, but 'bad' maps to none."
    assert done.stdout.splitlines() == [wrong_type, wrong_type, none]
    assert validate_derived(double, ()) == {"double": double}


def share(params: dict[str, Any]) -> Any:
    return params["beta"] / (params["alpha"] + params["beta"])


def exponent_of(params: dict[str, Any]) -> Any:
    return params["alpha"]


@pytest.mark.parametrize("kind", [noise.squared("log"), noise.huber(1e-3)])
def test_the_replication_of_chinchilla_against_scipy(data: Path, kind: noise.Noise) -> None:
    epoch = sweep(data, "chinchilla_epoch", "in_published_fit == 1")
    fit = fitted("chinchilla", epoch, kind, starts=4096)
    profile = jaxscale.profile(fit, quantity={"a": share, "twin": exponent_of})
    N, D = np.log(epoch.inputs["N"]), np.log(epoch.inputs["D"])
    robust = {} if kind.loss.quadratic else {"loss": "huber", "f_scale": 1e-3}

    def residual(free: np.ndarray, name: str, held: float) -> np.ndarray:
        first, a, b, e = free
        alpha, beta = (held, first) if name == "alpha" else (first, held)
        beta = alpha * held / (1 - held) if name == "a" else beta
        terms = np.stack([np.full(len(N), e), a - alpha * (N - N.mean()), b - beta * (D - D.mean())])
        return np.log(np.exp(terms).sum(axis=0)) - np.log(epoch.response)

    for name in ("alpha", "beta", "a"):
        curve = profile[name]
        for place in (2, 16):
            p = {key: value[place] for key, value in curve.params.items()}
            sizes = [np.log(p["A"]) - p["alpha"] * N.mean(), np.log(p["B"]) - p["beta"] * D.mean(), np.log(p["E"])]
            start = np.array([p["beta" if name == "alpha" else "alpha"], *sizes]) * 1.01
            end = least_squares(
                residual, start, args=(name, curve.values[place]), xtol=1e-15, ftol=1e-15, gtol=1e-15, **robust
            )
            objective = fit.objective + 0.5 * profile.about["unit c"] * curve.statistic[place]
            assert objective <= end.cost * (1 + 1e-10)
            assert objective == pytest.approx(end.cost, rel=1e-8)
    twin, alpha = profile["twin"], profile["alpha"]
    assert (twin.lower, twin.upper) == pytest.approx((alpha.lower, alpha.upper), rel=1e-9)
    a = profile["a"]
    np.testing.assert_allclose(a.params["beta"] / (a.params["alpha"] + a.params["beta"]), a.values, rtol=1e-10)
    assert np.all(np.diff(a.root) > 0) and not profile.notices
