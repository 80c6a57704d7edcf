# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
"""Forecasts with model discrepancy: formulas, coverage, validation."""

import json
import math

import numpy as np
import pytest
from scipy import integrate, stats

import jaxscale
from benchmarks import calibration_reality
from jaxscale import laws
from jaxscale.prediction import discrepancy
from jaxscale.prediction.discrepancy import covariance, predict_residuals
from jaxscale.utils.errors import DataError

X = np.geomspace(1e17, 1e21, 23)
FAR = np.geomspace(2e21, 2e22, 8)


def straight(x):
    """A straight line's Jacobian."""
    return np.stack([np.ones_like(x), x], axis=1)


def observed(x, y, **columns):
    """Observations of an input X and a response, with further columns."""
    table = {"X": x, "loss": y, **columns}
    return jaxscale.Observations.from_table(table, inputs=["X"], response="loss", **{name: name for name in columns})


def power(x, bend=0.0, noise=0.0, seed=0):
    """A power law with a floor and a quadratic deviation in log space beyond the middle of the data."""
    s = np.maximum(np.log(x / 1e19), 0.0)
    scatter = noise * np.random.default_rng(seed).standard_normal(len(x))
    return (1.7 + 710 * x**-0.15) * np.exp(bend * s**2 + scatter)


def ends(found):
    """Lower and upper ends as arrays."""
    return np.array([(row["lower"], row["upper"]) for row in found.params.values()]).T


def textbook(jacobian, residual, slopes, level=0.9):
    """Least-squares forecast and half width of its prediction interval."""
    freedom = len(residual) - jacobian.shape[1]
    place = np.linalg.lstsq(jacobian, residual, rcond=None)[0]
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    variance = np.sum((residual - jacobian @ place) ** 2) / freedom
    half = np.sqrt(variance * (1 + np.einsum("ij,jk,ik->i", slopes, inverse, slopes)))
    return slopes @ place, stats.t.ppf((1 + level) / 2, freedom) * half


def test_discrepancy_is_a_line_plus_integrated_wiener_process():
    """``1 + a b + int_0^min (a - u)(b - u) du``; the processes on both sides of the smallest size are independent."""
    for a, b in ((0.3, 0.8), (1.0, 1.0), (1.7, 0.2)):
        area = integrate.quad(lambda u, a=a, b=b: (a - u) * (b - u), 0, min(a, b))[0]
        np.testing.assert_allclose(covariance(np.array([a]), np.array([b])), 1 + a * b + area, rtol=1e-12)
    assert covariance(np.array([-0.5]), np.array([0.8]))[0, 0] == pytest.approx(1 - 0.4, rel=1e-15)
    everywhere = np.linspace(-1, 3, 40)
    assert np.linalg.eigvalsh(covariance(everywhere, everywhere)).min() > -1e-12


@pytest.mark.parametrize("clustered", [False, True])
def test_each_setting_is_generalised_least_squares_and_its_weight_the_restricted_likelihood(clustered, monkeypatch):
    """Against dense formulas: universal kriging, with weights and with runs."""
    generator = np.random.default_rng(1)
    x, z = np.sort(generator.uniform(0, 1, 12)), np.array([1.1, 1.6])
    J, H, weight = straight(x), straight(z), generator.uniform(0.5, 2.0, 12)
    r = generator.standard_normal(12)
    run = np.arange(12) // 3 if clustered else None
    monkeypatch.setattr(discrepancy, "DISCREPANCIES", np.array([0.0, 0.1, 10.0]))
    monkeypatch.setattr(discrepancy, "SHARED", np.array([0.5, 3.0]))
    belief = predict_residuals(J, r, weight, H, x, z, run)
    unit, logs, k = None, [], 0
    for shared in (0.5, 3.0) if clustered else (0.0,):
        noise = np.diag(1 / weight) + (shared * (run[:, None] == run) if clustered else 0)
        # The trace of P K over n - p, P being the residual maker under the noise.
        inverse = np.linalg.inv(noise)
        maker = inverse - inverse @ J @ np.linalg.inv(J.T @ inverse @ J) @ J.T @ inverse
        unit = unit or 10 / np.trace(maker @ covariance(x, x))
        for tau, odds in ((0.0, 0.5), (0.1, math.sqrt(0.1) / 1.1), (10.0, math.sqrt(10) / 11)):
            V = noise + tau * unit * covariance(x, x)
            W = np.linalg.inv(V)
            inner = np.linalg.inv(J.T @ W @ J)
            place = inner @ J.T @ W @ r
            variance = (r - J @ place) @ W @ (r - J @ place) / 10
            c = tau * unit * covariance(z, x)
            mean = H @ place + c @ W @ (r - J @ place)
            gap = H - c @ W @ J
            own = 1 + shared + tau * unit * np.diag(covariance(z, z)) - np.diag(c @ W @ c.T)
            spread = np.sqrt(variance * (own + np.diag(gap @ inner @ gap.T)))
            np.testing.assert_allclose(belief.mean[k], mean, rtol=1e-8)
            np.testing.assert_allclose(belief.spread[k], spread, rtol=1e-8)
            other = math.sqrt(0.1) / 1.1 + math.sqrt(10) / 11
            prior = math.log(0.5 if tau == 0 else 0.5 * odds / other)
            prior += 0.5 * math.log(shared) - math.log1p(shared) if clustered else 0.0
            determinants = np.linalg.slogdet(V)[1] + np.linalg.slogdet(J.T @ W @ J)[1]
            logs.append(prior - 0.5 * (determinants + 10 * math.log(variance)))
            k += 1
    expected = np.exp(np.array(logs) - max(logs))
    np.testing.assert_allclose(belief.weight, expected / expected.sum(), rtol=1e-8)
    assert belief.freedom == 10


def test_correctly_specified_law_gives_the_t_prediction_interval(monkeypatch):
    """Without discrepancy the mixture is one Student-t."""
    monkeypatch.setattr(discrepancy, "DISCREPANCIES", np.array([0.0]))
    monkeypatch.setattr(discrepancy, "_prior", lambda: np.zeros(1))
    x, z = np.linspace(0, 1, 9), np.array([1.5, 4.0])
    r = np.random.default_rng(2).standard_normal(9)
    belief = predict_residuals(straight(x), r, np.ones(9), straight(z), x, z)
    middle, half = textbook(straight(x), r, straight(z))
    np.testing.assert_allclose(belief.quantile(0.05), middle - half, rtol=1e-10)
    np.testing.assert_allclose(belief.quantile(0.95), middle + half, rtol=1e-10)
    np.testing.assert_allclose(belief.deviation(), half / stats.t.ppf(0.95, 7) * math.sqrt(7 / 5), rtol=1e-12)
    assert belief.probability_law_holds() == 1.0


def test_intervals_have_nominal_coverage_under_the_law():
    """Lines with normal noise: coverage slightly above 90 %, widths a sixth above the t interval."""
    generator = np.random.default_rng(3)
    x, z = np.linspace(0, 1, 25), np.linspace(1.05, 1.5, 6)
    held, plain, wider, sure = [], [], [], []
    for _ in range(200):
        r, new = generator.standard_normal(25), generator.standard_normal(6)
        belief = predict_residuals(straight(x), r, np.ones(25), straight(z), x, z)
        low, high = belief.quantile(0.05), belief.quantile(0.95)
        middle, half = textbook(straight(x), r, straight(z))
        held.append(np.mean((new > low) & (new < high)))
        plain.append(np.mean(np.abs(new - middle) < half))
        wider.append(np.median((high - low) / (2 * half)))
        sure.append(belief.probability_law_holds())
    assert 0.87 < np.mean(plain) < 0.95
    assert np.mean(plain) < np.mean(held) < np.mean(plain) + 0.05
    assert 1.0 < np.median(wider) < 1.25
    assert np.median(sure) > 0.5


def test_intervals_have_nominal_coverage_under_discrepancy():
    """A large discrepancy: least squares intervals are far too narrow, and a correct law is almost excluded."""
    generator = np.random.default_rng(4)
    x, z = np.linspace(0, 1, 25), np.linspace(1.05, 1.5, 6)
    both = np.concatenate([x, z])
    root = np.linalg.cholesky(covariance(both, both) + 1e-10 * np.eye(31))
    held, plain, sure = [], [], []
    for _ in range(200):
        y = 100 * root @ generator.standard_normal(31) + generator.standard_normal(31)
        r, new = y[:25], y[25:]
        belief = predict_residuals(straight(x), r, np.ones(25), straight(z), x, z)
        middle, half = textbook(straight(x), r, straight(z))
        held.append(np.mean((new > belief.quantile(0.05)) & (new < belief.quantile(0.95))))
        plain.append(np.mean(np.abs(new - middle) < half))
        sure.append(belief.probability_law_holds())
    assert 0.86 < np.mean(held) < 0.94
    assert np.mean(plain) < 0.4
    assert np.median(sure) < 1e-3


def test_run_effects_widen_intervals_of_a_new_run():
    """Run effects of three times the noise within runs: intervals of a new run cover them."""
    generator = np.random.default_rng(5)
    x, run = np.tile(np.linspace(0, 1, 4), 8) / 2 + np.repeat(np.arange(8), 4) / 16, np.repeat(np.arange(8), 4)
    z = np.array([1.1])
    held, alone = [], []
    for _ in range(100):
        r = 3 * generator.standard_normal(8)[run] + generator.standard_normal(32)
        new = 3 * generator.standard_normal() + generator.standard_normal()
        for found, codes in ((held, run), (alone, None)):
            belief = predict_residuals(straight(x), r, np.ones(32), straight(z), x, z, codes)
            found.append(belief.quantile(0.05)[0] < new < belief.quantile(0.95)[0])
    assert 0.85 < np.mean(held) < 0.99
    # Rows treated as independent give intervals that are too narrow on the same data.
    assert np.mean(alone) < np.mean(held)


def test_unidentified_directions_have_infinite_intervals():
    """Two columns that coincide at the data and differ beyond: the interval is infinite."""
    x = np.linspace(0, 1, 8)
    J = np.stack([np.ones(8), x, x], axis=1)
    H = np.array([[1.0, 1.2, 1.2], [1.0, 1.2, 1.5]])
    belief = predict_residuals(J, np.random.default_rng(6).standard_normal(8), np.ones(8), H, x, np.array([1.2, 1.2]))
    assert belief.freedom == 6
    assert np.isfinite(belief.quantile(0.95)[0]) and belief.quantile(0.95)[1] == np.inf
    assert belief.quantile(0.05)[1] == -np.inf and belief.quantile(0.5)[1] == 0.0


def test_with_two_degrees_of_freedom_there_is_no_standard_deviation():
    """The variance of such a Student-t is infinite; its interval is not."""
    x = np.linspace(0, 1, 4)
    belief = predict_residuals(straight(x), np.array([0.1, -0.2, 0.3, -0.1]), np.ones(4), straight(x + 1), x, x + 1)
    assert belief.freedom == 2 and np.all(np.isnan(belief.deviation()))
    assert np.all(np.isfinite(belief.quantile(0.95)))


@pytest.fixture(scope="module")
def follows():
    """A forecast from data simulated from the law."""
    data = observed(X, power(X, noise=0.003, seed=4))
    return jaxscale.forecast("compute_power_floor", data, at={"X": FAR}, progress=False)


def test_forecast_under_the_law_is_unbiased(follows):
    """The true law lies inside; the table labels every new input, in order."""
    lower, upper = ends(follows)
    assert np.all((lower < power(FAR)) & (power(FAR) < upper))
    assert np.all(np.log(upper / lower) < 0.04)
    assert follows["X = 2e+21"] == (lower[0], upper[0]) and list(follows.params)[-1] == "X = 2e+22"
    assert follows.level == 0.9 and follows.method == "law with discrepancy"
    assert follows.about["along"] == "X" and follows.about["freedom"] == 20
    assert follows.about["law_holds"] > 0.5 and follows.about["discrepancy"] < 1
    assert 0.001 < follows.about["scatter"] < 0.006
    for row in follows.params.values():
        assert row["lower"] < row["estimate"] < row["upper"] and row["sd"] > 0
    assert "X = 2e+21" in str(follows) and "P(law holds)" in str(follows)
    assert json.loads(follows.to_json())["params"]["X = 2e+21"]["level"] == 0.9


def test_forecast_is_hardly_wider_than_least_squares(follows):
    """The law is nearly linear in its parameters here: compare with the t prediction interval at the fit."""
    data = observed(X, power(X, noise=0.003, seed=4))
    fit_of_law = jaxscale.fit("compute_power_floor", data, noise=jaxscale.noise.squared("log"), progress=False)
    law = laws.get("compute_power_floor")

    def slopes(x):
        columns = []
        for name, value in fit_of_law.params.items():
            up, down = ({**fit_of_law.params, name: value * (1 + sign * 1e-4)} for sign in (1, -1))
            columns.append(np.log(np.asarray(law(x, **up)) / np.asarray(law(x, **down))) / 2e-4)
        return np.stack(columns, axis=1)

    residual = np.log(data.response) - np.log(fit_of_law.predict(X=X))
    _, half = textbook(slopes(X), residual, slopes(FAR))
    lower, upper = ends(follows)
    ratio = np.log(upper / lower) / (2 * half)
    assert np.all((ratio > 0.95) & (ratio < 1.4))


def test_forecast_widens_under_discrepancy_and_covers(follows):
    """The same law with a growing deviation: beyond the data the interval is much wider, increasing with distance."""
    y = power(X, bend=0.004, noise=0.003, seed=4)
    found = jaxscale.forecast("compute_power_floor", observed(X, y), at={"X": FAR}, progress=False)
    lower, upper = ends(found)
    truth = power(FAR, bend=0.004)
    assert np.all((lower < truth) & (truth < upper))
    width, before = np.log(upper / lower), np.log(np.divide(*ends(follows)[::-1]))
    assert np.all(width > 1.5 * before) and width[-1] > 2 * width[0]
    assert found.about["law_holds"] < 0.01 and found.about["discrepancy"] > 1


def test_benchmark_of_real_sweeps_uses_forecast(follows):
    """Held-out rows are forecast from the others."""
    y, held = np.append(power(X, noise=0.003, seed=4), power(FAR)), np.arange(len(X) + len(FAR)) >= len(X)
    sweep = calibration_reality.Sweep("made", "all", "compute_power_floor", {"X": np.append(X, FAR)}, y, held)
    fit_of_law, about = calibration_reality.by_discrepancy(laws.get("compute_power_floor"), [sweep])
    np.testing.assert_allclose(fit_of_law[0], ends(follows), rtol=1e-12)
    assert calibration_reality.score(sweep, fit_of_law[0])["hits"] == len(FAR)
    assert about == [{name: follows.about[name] for name in ("scatter", "discrepancy")}]


def test_forecast_ignores_rows_of_weight_0_and_row_order(follows):
    """The same intervals, to rounding, from shuffled rows with an outlier of weight 0."""
    order = np.random.default_rng(7).permutation(24)
    x, y = np.append(X, 1e22)[order], np.append(power(X, noise=0.003, seed=4), 9.0)[order]
    data = observed(x, y, weight=np.append(np.ones(23), 0.0)[order])
    again = jaxscale.forecast("compute_power_floor", data, at={"X": FAR}, size="X", progress=False)
    np.testing.assert_allclose(ends(again), ends(follows), rtol=1e-5)


def test_levels_are_nested_and_labels_are_unique():
    """Intervals of one predictive distribution, with runs of two rows, about one median."""
    data = observed(X, power(X, noise=0.003, seed=4), run=np.arange(23) // 2)
    inner = jaxscale.forecast("compute_power_floor", data, at={"X": [1e22, 1e22]}, level=0.5, progress=False)
    outer = jaxscale.forecast("compute_power_floor", data, at={"X": 1e22}, level=0.95, progress=False)
    assert list(inner.params) == ["X = 1e+22", "X = 1e+22 (2)"] and inner["X = 1e+22"] == inner["X = 1e+22 (2)"]
    assert outer["X = 1e+22"][0] < inner["X = 1e+22"][0] < inner["X = 1e+22"][1] < outer["X = 1e+22"][1]
    assert outer.params["X = 1e+22"]["estimate"] == pytest.approx(inner.params["X = 1e+22"]["estimate"], rel=1e-12)


def test_forecast_of_a_fraction_stays_in_the_unit_interval():
    """A response between 0 and 1 is forecast on the logit scale."""
    k = np.geomspace(1, 100, 12)
    y = np.exp(-1.5 * k**-0.4) * np.exp(0.02 * np.random.default_rng(8).standard_normal(12))
    data = jaxscale.Observations.from_table({"k": k, "y": y}, inputs=["k"], response="y")
    found = jaxscale.forecast("coverage_exp_power", data, at={"k": [1e3, 1e6]}, level=0.999, progress=False)
    lower, upper = ends(found)
    assert np.all((0 < lower) & (lower < upper) & (upper < 1))


def test_forecast_of_real_responses():
    """A noise-free line in log x is forecast exactly; a fixed parameter uses no degree of freedom."""
    x = np.geomspace(1, 100, 12)
    data = jaxscale.Observations.from_table({"x": x, "y": 2 - 3 * np.log(x)}, inputs=["x"], response="y")
    found = jaxscale.forecast("log_linear", data, at={"x": 1e4}, fixed={"a": 2.0}, progress=False)
    assert found.about["freedom"] == 11
    assert found.params["x = 10000"]["estimate"] == pytest.approx(2 - 3 * np.log(1e4), rel=1e-9)


DATA = observed(X, power(X, noise=0.003, seed=4))
SIGNED = jaxscale.Observations.from_table(
    {"H": np.linspace(-1, 1, 9), "R": np.linspace(0, 1, 9) ** 2}, inputs=["H"], response="R"
)
FLAT = jaxscale.Observations.from_table(
    {"N": np.geomspace(1e6, 1e9, 9), "D": np.geomspace(1e11, 1e8, 9), "L": np.linspace(3, 2, 9) ** 2},
    inputs=["N", "D"],
    response="L",
)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(level=1.0), ValueError, "Argument level must lie between 0 and 1, but is 1.0."),
        # beartype checks types before the function, whose own messages are for users without it.
        (dict(at=[1e22]), TypeError, "at"),
        (dict(at={}), ValueError, "compute_power_floor needs the input X to predict."),
        (dict(at={"x": 1.0}), ValueError, "compute_power_floor has no input 'x'"),
        (dict(at={"X": -1.0}), ValueError, "Argument at must keep X above 0, but holds -1."),
        (dict(at={"X": [1.0, math.nan]}), ValueError, "Argument at must keep X above 0, but holds nan."),
        (dict(at={"X": math.inf}), ValueError, "Argument at must keep X below inf, but holds inf."),
        (
            dict(size="N"),
            ValueError,
            "Argument size names 'N', which is no input of compute_power_floor; its inputs are X.",
        ),
        (
            dict(law="entropy_reward", observations=SIGNED, at={"H": 1.0}),
            ValueError,
            "Argument size must name inputs that are positive numbers, but H is not; name others.",
        ),
        (
            dict(law="kaplan_nd", observations=FLAT, at={"N": 1e9, "D": 1e9}, allow_unidentified=True),
            ValueError,
            "Argument size must name inputs that vary, but N * D is the same in every row.",
        ),
        (
            dict(law="kaplan_nd", observations=FLAT, at={"N": [1e9, 1e9], "D": [1e9, 1e9, 1e9]}),
            ValueError,
            "Argument at must hold numbers or equally long arrays, but their lengths are [2, 3].",
        ),
        (dict(size=[]), ValueError, "Argument size must name an input, but is empty."),
        (dict(fixed={"F": 1.0}), ValueError, "Argument fixed names 'F', which is no parameter of compute_power_floor"),
        (dict(observations=3), TypeError, "observations"),
        (
            dict(observations=observed(X[::10], power(X[::10])), allow_unidentified=True),
            DataError,
            "dict has 3 rows with positive weight for 3 free parameters of compute_power_floor; add rows or fix "
            "a parameter, so that the noise can be estimated.",
        ),
    ],
)
def test_invalid_arguments_of_forecast(changes, error, message):
    """All error messages."""
    arguments = dict(law="compute_power_floor", observations=DATA, at={"X": 1e22}, progress=False) | changes
    with pytest.raises(error) as raised:
        jaxscale.forecast(**arguments)
    assert message in str(raised.value)
