"""Laws along a schedule: sums and changes of the rate, limits, and fits with whole schedules."""

from typing import Any

import jax
import numpy as np
import pytest

import jaxscale
from jaxscale import Observations, fix, laws, noise, prepare, rename, simulate, tie
from jaxscale.law import Input, Law, Response, coefficient, law
from jaxscale.laws.schedules import annealing_sums, changes_after_warmup, rate_changes
from jaxscale.plots import fit as fit_module
from jaxscale.utils.errors import ArgumentError, DataError
from tests.rates import PEAK, WARMUP, at, constant, cosine, decayed, two_stage

pytestmark = pytest.mark.usefixtures("x64", "optimised")
multi_power, after_warmup = laws.get("multi_power"), laws.get("multi_power_after_warmup")
annealing = laws.get("lr_annealing")
CONSTANTS = dict(multi_power.published["luo2025_25m"])
SUMS = dict(L0=2.7, A=0.5, alpha=0.5, C=0.4)
STEPS = np.arange(1, 10001)


def every_change(step: int, rates: np.ndarray, params: dict[str, float]) -> float:
    """The sum of the multi-power law over all steps, one by one."""
    total, falls = np.cumsum(rates), -np.diff(rates, prepend=rates[:1])
    k = np.flatnonzero(falls[: step + 1])
    k = k[(rates[k] > 0) | (total[step] > total[k - 1])]
    with np.errstate(divide="ignore"):
        base = 1 + params["C"] * rates[k] ** -params["gamma"] * (total[step] - total[k - 1])
    lost = np.sum(falls[k] * (1 - base ** -params["beta"]))
    return params["L0"] + params["A"] * total[step] ** -params["alpha"] - params["B"] * lost


@pytest.mark.parametrize(
    ("rates", "sums"),
    [
        (3e-5 + 1.35e-4 * (1 + np.cos(np.pi * STEPS / 1e4)), (1.6499, 0.2579)),
        (3e-4 * (1 - np.sqrt(np.maximum(STEPS - 8000, 0) / 2000)), (2.5999, 0.2041)),
    ],
)
def test_the_sums_are_those_of_the_source(rates: np.ndarray, sums: tuple[float, float]) -> None:
    found = annealing_sums(9999, rates)
    assert (found["S1"], found["S2"]) == pytest.approx(sums, abs=5e-5)


def test_one_fall_is_remembered_for_a_thousand_steps() -> None:
    rates = np.r_[np.full(10, 2.0), np.full(20000, 1.0)]
    found = annealing_sums([9, 1009, 20000], rates)
    np.testing.assert_allclose(found["S2"], [0.0, 632.3, 1000.0], rtol=1e-4)
    np.testing.assert_allclose(found["S1"], [20.0, 1020.0, 20011.0], rtol=1e-14)
    np.testing.assert_allclose(annealing_sums(1009, rates, memory=0.0)["S2"], 1.0)


def test_the_rises_of_the_warmup_count_only_where_asked() -> None:
    rates = constant(5000)
    assert np.all(annealing_sums(np.arange(5001), rates)["S2"] == 0)
    assert np.all(annealing_sums(np.arange(1, 5001), rates, rises=True)["S2"] < 0)
    assert np.all(changes_after_warmup([3000, 4000], rates)["fall"] == 0)
    assert rate_changes(5000, rates)["fall"].sum() == pytest.approx(-PEAK, rel=1e-12)
    # A later rise, as of a second cycle, counts in either.
    again = np.r_[rates, np.full(100, PEAK / 2), np.full(100, PEAK)]
    assert changes_after_warmup(5200, again)["fall"].min() == -PEAK / 2


@pytest.mark.parametrize(
    ("rates", "last"),
    [
        (cosine(24000), 24000),
        (cosine(24000, end=0.0), 24000),
        (cosine(72000), 72000),
        (two_stage(16000, 9e-5), 16000),
        (decayed(24000, True), 24000),
        (decayed(24000, False), 24000),
        (np.r_[cosine(12000), cosine(12000)[::-1], cosine(12000)], 36000),
    ],
    ids=["cosine", "to zero", "long", "two stages", "exponential", "linear", "three cycles"],
)
@pytest.mark.parametrize("moved", [{}, dict(gamma=0.3, beta=1.2, C=0.5), dict(gamma=1.3, beta=0.2, C=0.01)])
def test_merged_changes_keep_the_loss(rates: np.ndarray, last: int, moved: dict[str, float]) -> None:
    params = CONSTANTS | moved
    steps = np.unique(np.linspace(2200, last, 23).astype(int))
    found = at(multi_power, rate_changes(steps, rates), params)
    exact = np.array([every_change(step, rates, params) for step in steps])
    assert np.abs(found - exact).max() < 1e-5


def test_few_changes_are_kept_as_they_are() -> None:
    rates = np.r_[np.full(10, 4.0), np.full(10, 3.0), np.full(10, 1.0)]
    found = rate_changes([5, 15, 29], rates, knots=4)
    assert found["fall"].shape == (4, 3)
    np.testing.assert_allclose(found["fall"].T, [[0, 0, 0, 0], [1, 0, 0, 0], [1, 2, 0, 0]])
    np.testing.assert_allclose(found["rate"].T[2], [3, 1, 1, 1])
    np.testing.assert_allclose(found["travel"].T[2], [40, 10, 1, 1])
    one = rate_changes(15, rates, knots=4)
    assert one["S1"].shape == () and one["fall"].shape == (4,)
    np.testing.assert_allclose(one["fall"], [1, 0, 0, 0])


@pytest.mark.parametrize("compute", [annealing_sums, rate_changes])
def test_what_is_no_schedule_is_refused(compute: Any) -> None:
    words = "lies outside the schedule, whose steps are 0 to 2; give the learning rate of every step."
    with pytest.raises(ValueError, match=f"^Step 3 {words}$"):
        compute([1, 3], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=f"^Step -1 {words}$"):
        compute([-1, 2], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"^A schedule must not hold negative learning rates, but holds -1\.$"):
        compute([1], [1.0, -1.0])


def test_a_rate_that_turns_too_often_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^The learning rate turns 98 times, too often for a sum with 64 knots\.$"):
        rate_changes(99, 1.0 + np.arange(100) % 2)


def test_a_single_change_is_given_as_plain_numbers() -> None:
    gain = 1 - (1 + CONSTANTS["C"] * 9e-5 ** -CONSTANTS["gamma"] * 0.5) ** -CONSTANTS["beta"]
    expected = CONSTANTS["L0"] + CONSTANTS["A"] * 2.0 ** -CONSTANTS["alpha"] - CONSTANTS["B"] * 2.1e-4 * gain
    np.testing.assert_allclose(multi_power(2.0, 2.1e-4, 9e-5, 0.5, **CONSTANTS), expected, rtol=1e-14)
    several = multi_power(2.0, np.array([2.1e-4, 0.0]), np.array([9e-5, 1.0]), np.array([0.5, 1.0]), **CONSTANTS)
    np.testing.assert_allclose(several, expected, rtol=1e-14)


def test_the_gain_of_a_fall_lies_between_nothing_and_the_fall() -> None:
    bare = CONSTANTS["L0"] + CONSTANTS["A"] * 2.0 ** -CONSTANTS["alpha"]
    np.testing.assert_allclose(multi_power(2.0, 1e-4, 1e-4, 0.0, **CONSTANTS), bare, rtol=1e-15)
    most = bare - CONSTANTS["B"] * 1e-4
    np.testing.assert_allclose(multi_power(2.0, 1e-4, 1e-4, 1e30, **CONSTANTS), most, rtol=1e-12)
    features = changes_after_warmup(24000, cosine(24000))
    lost = float(
        at(multi_power, features | dict(fall=0 * features["fall"]), CONSTANTS) - at(multi_power, features, CONSTANTS)
    )
    assert 0 < lost < CONSTANTS["B"] * (PEAK - 3e-5)


def test_at_a_constant_rate_the_power_law_of_the_sum_remains() -> None:
    steps, rates = np.arange(WARMUP, 24000, 997), constant(24000)
    floor = laws.get("power_law_floor")
    S1 = np.cumsum(rates)[steps]
    params = CONSTANTS | dict(alpha=0.5)
    expected = floor(S1, c=params["L0"], a=params["A"], b=0.5)
    np.testing.assert_allclose(at(after_warmup, changes_after_warmup(steps, rates), params), expected, rtol=1e-14)
    found = at(annealing, annealing_sums(steps, rates), SUMS)
    np.testing.assert_allclose(found, floor(S1, c=2.7, a=0.5, b=0.5), rtol=1e-14)


def test_reductions_of_the_annealing_laws() -> None:
    plain = annealing(3.0, 0.2, **SUMS)
    np.testing.assert_allclose(
        laws.get("lr_annealing_n")(3.0, 0.2, 1e300, **SUMS, B=500.0, beta=0.4), plain, rtol=1e-15
    )
    first = dict(L0=SUMS["L0"], A=SUMS["A"], alpha=SUMS["alpha"], C1=SUMS["C"], C2=0.3, B=0.4, E=28.0, beta=0.2)
    np.testing.assert_allclose(laws.get("cpt_dynamics")(3.0, 0.0, 0.2, 0.0, **first), plain, rtol=1e-15)
    base = dict(laws.get("chinchilla").published["besiroglu2024"])
    logs = dict(a=np.log(base.pop("A")), b=np.log(base.pop("B")))
    expected = laws.get("chinchilla")(1e9, 2e10, **base, A=np.exp(logs["a"]), B=np.exp(logs["b"]))
    np.testing.assert_allclose(laws.get("lr_annealing_nd")(1e9, 2e10, 0.0, **base, **logs, F=1.0, r=0.1), expected)


SCHEDULES = dict(cosine=cosine(6000), constant=constant(6000), stages=two_stage(9000, 9e-5))


def table(names: Any = tuple(SCHEDULES), every: int = 150) -> dict[str, np.ndarray]:
    runs = {name: np.arange(2200, len(SCHEDULES[name]), every) for name in names}
    return dict(
        step=np.concatenate(list(runs.values())),
        curve=np.repeat(list(runs), [len(steps) for steps in runs.values()]),
    )


def curves(law: Law, params: Any, noise: float = 0.0, **settings: Any) -> Observations:
    columns = table(**settings)
    bare = Observations.from_table(
        columns | dict(loss=np.ones(len(columns["step"]))),
        inputs=dict(step="step", schedule="curve"),
        response="loss",
        series=dict(schedule=SCHEDULES),
    )
    inputs = {name: prepare(law, bare).inputs[name] for name in law.inputs}
    loss = simulate(law, params, inputs, noise=noise, seed=1)["loss"]
    return Observations.from_table(
        columns | dict(loss=loss),
        inputs=dict(step="step", schedule="curve"),
        response="loss",
        series=dict(schedule=SCHEDULES),
    )


def test_a_schedule_is_stored_once_and_gathered_by_its_place() -> None:
    observations = curves(annealing, SUMS)
    assert [len(rates) for rates in observations.series["schedule"]] == [6001, 6001, 9001]
    assert set(observations.inputs) == {"step", "schedule"} and set(observations.inputs["schedule"]) == {0.0, 1.0, 2.0}
    prepared = prepare(annealing, observations)
    rows = observations.inputs["schedule"] == 2
    expected = annealing_sums(observations.inputs["step"][rows], SCHEDULES["stages"])
    np.testing.assert_array_equal(prepared.inputs["S2"][rows], expected["S2"])
    assert prepare(annealing, prepared) is prepared and prepare(laws.get("chinchilla"), observations) is observations


def test_a_whole_schedule_is_fitted_and_predicted() -> None:
    observations = curves(annealing, SUMS)
    fit = jaxscale.fit(annealing, observations, noise=noise.squared("log"), n_resamples=0, starts=256)
    assert fit.params == pytest.approx(SUMS, rel=1e-6)
    sums = annealing_sums(5000, SCHEDULES["cosine"])
    assert fit.predict(step=5000, schedule=SCHEDULES["cosine"]) == pytest.approx(
        float(at(annealing, sums, SUMS)), rel=1e-9
    )
    assert fit.predict(**sums) == fit.predict(step=5000, schedule=SCHEDULES["cosine"])
    assert fit.predict(step=[5000, 6000], schedule=SCHEDULES["cosine"]).shape == (2,)
    with pytest.raises(ValueError, match="^lr_annealing has no input 'step'"):
        fit.predict(step=5000, S1=1.0)


def test_rows_that_hold_several_numbers_are_fitted() -> None:
    truth = CONSTANTS | dict(beta=0.5)
    observations = curves(multi_power, truth, every=12)  # More than a block of rows.
    held = fix(multi_power, gamma=CONSTANTS["gamma"], C=CONSTANTS["C"])
    fit = jaxscale.fit(held, observations, noise=noise.squared("log"), n_resamples=0, starts=64, polish=4)
    assert len(observations) > 768
    assert fit.params == pytest.approx({name: truth[name] for name in held.parameters}, rel=1e-4)
    assert fit.objective < 1e-16
    figure = fit_module.plot(fit, observations)
    assert len(figure.axes) == 3
    moved = fit.predict(step=[5000, 6000], schedule=SCHEDULES["cosine"])
    np.testing.assert_allclose(
        moved, at(multi_power, rate_changes([5000, 6000], SCHEDULES["cosine"]), truth), rtol=1e-6
    )


def test_the_engine_inside_a_program_takes_several_numbers_a_row() -> None:
    held = fix(multi_power, gamma=CONSTANTS["gamma"], C=CONSTANTS["C"], beta=0.5, alpha=0.5)
    observations = prepare(held, curves(multi_power, CONSTANTS | dict(beta=0.5, alpha=0.5)))
    inputs = {name: observations.inputs[name] for name in held.inputs}
    weight = np.arange(len(observations)) % 5 > 0

    @jax.jit
    def solved(y: Any) -> Any:
        settings: dict[str, Any] = dict(weight=weight.astype(float), noise=noise.squared("log"), starts=8)
        return jaxscale.solve(held, inputs, y, **settings).params["L0"]

    value = solved(np.where(weight, observations.response, 9.0))
    np.testing.assert_allclose(value, CONSTANTS["L0"], rtol=1e-6)


def test_the_design_check_takes_several_numbers_a_row() -> None:
    observations = prepare(multi_power, curves(multi_power, CONSTANTS))
    design = jaxscale.check(multi_power, observations.inputs)
    assert design.verdict == "not identified" and list(design.suggested_runs) == []
    with pytest.raises(ValueError, match="^Inputs of multi_power must be columns of one length"):
        jaxscale.check(multi_power, observations.inputs | dict(rate=observations.inputs["rate"][:, 1:]))


def test_laws_made_from_a_law_of_schedules_take_schedules() -> None:
    observations = curves(annealing, SUMS)
    size = rename(laws.get("power_law"), x="N", a="B", b="beta")
    expected = prepare(annealing, observations).inputs
    assert (annealing + size).sources == ("step", "schedule")
    np.testing.assert_array_equal(prepare(annealing + size, observations).inputs["S2"], expected["S2"])
    np.testing.assert_array_equal(prepare(tie(annealing, C="A"), observations).inputs["S1"], expected["S1"])
    np.testing.assert_array_equal(prepare(rename(annealing, S2="M"), observations).inputs["M"], expected["S2"])
    both = annealing + rename(multi_power, A="a", alpha="b", L0="c", C="d")
    assert both.sources == ("step", "schedule")
    assert set(prepare(both, observations).inputs) == {"step", "schedule", *both.inputs}
    assert laws.get("chinchilla").sources == ()


def test_a_law_can_prepare_columns_alone() -> None:
    @law(
        inputs=dict(u=Input("")),
        response=Response("nat"),
        source="a textbook",
        a=coefficient(range=(0.1, 10.0)),
        prepare=lambda x, y: dict(u=x * y, unused=x),
    )
    def product(u, *, a):
        """A number times the product of two columns."""
        return a * u

    data = dict(x=[1.0, 2.0, 3.0], y=[2.0, 2.0, 4.0], loss=[4.0, 8.0, 24.0])
    observations = Observations.from_table(data, inputs=["x", "y"], response="loss")
    assert prepare(product, observations).inputs["u"].tolist() == [2.0, 4.0, 12.0]
    assert "unused" not in prepare(product, observations).inputs
    assert jaxscale.fit(product, observations, n_resamples=0).params == pytest.approx(dict(a=2.0))


def read(**changed: Any) -> Observations:
    columns = dict(step=[1.0, 2.0, 3.0], curve=["a", "b", "a"], loss=[3.0, 2.0, 1.0])
    settings: dict[str, Any] = dict(
        inputs=dict(step="step", schedule="curve"),
        response="loss",
        series=dict(schedule=dict(a=[1.0] * 9, b=[2.0] * 9)),
    )
    return Observations.from_table(columns, **{**settings, **changed})


REFUSED = {
    "unknown input": (
        dict(series=dict(rates={})),
        "Argument series names 'rates', which is not an input; map it to a column",
    ),
    "two axes": (
        dict(series=dict(schedule=dict(a=[[1.0]]))),
        "Argument series must hold sequences of finite numbers, but schedule 'a' is none.",
    ),
    "empty": (dict(series=dict(schedule=dict(a=[]))), "sequences of finite numbers, but schedule 'a' is none"),
    "infinite": (dict(series=dict(schedule=dict(a=[np.inf]))), "sequences of finite numbers, but schedule 'a' is none"),
    "unknown label": (
        dict(series=dict(schedule=dict(a=[1.0], bb=[1.0]))),
        "column 'curve', row 2: there is no series 'b' (did you mean 'bb'?)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_series_that_cannot_be_used_are_refused(case: str) -> None:
    changed, words = REFUSED[case]
    with pytest.raises((DataError, ArgumentError)) as caught:
        read(**changed)
    assert words in str(caught.value)


def test_labels_are_compared_as_text_and_must_not_be_empty() -> None:
    data = dict(step=[1.0, 2.0], curve=[3, 4], loss=[1.0, 2.0])
    settings: dict[str, Any] = dict(inputs=dict(step="step", schedule="curve"), response="loss")
    observations = Observations.from_table(data, series=dict(schedule={3: [1.0], "4": [2.0], 5: [3.0]}), **settings)
    assert [values.tolist() for values in observations.series["schedule"]] == [[1.0], [2.0]]
    with pytest.raises(DataError, match="column 'curve', row 2: the cell is empty"):
        Observations.from_table(data | dict(curve=["3", None]), series=dict(schedule={3: [1.0]}), **settings)


def test_what_a_law_cannot_prepare_is_refused() -> None:
    message = (
        "dict: lr_annealing needs the input 'schedule' to compute S1, S2; map step and schedule to columns with "
        "inputs=, a sequence shared by many rows with series=."
    )
    with pytest.raises(DataError) as caught:
        jaxscale.fit(annealing, read(inputs=dict(step="step"), series=None))
    assert str(caught.value) == message
    with pytest.raises(DataError, match="^dict: Step 3 lies outside the schedule"):
        jaxscale.fit(annealing, read(series=dict(schedule=dict(a=[1.0] * 2, b=[1.0] * 9))))


def test_an_input_outside_its_interval_is_found_among_several_numbers() -> None:
    inputs = dict(S1=[1.0, 2.0], fall=np.ones((2, 2)), rate=np.array([[1.0, 1.0], [1.0, -2.0]]), travel=np.ones((2, 2)))
    observations = Observations({k: np.asarray(v) for k, v in inputs.items()}, np.array([1.0, 2.0]), np.ones(2))
    with pytest.raises(DataError, match=r"column 'rate' \(input rate\), row 2: -2 must be above 0"):
        jaxscale.fit(fix(multi_power, A=1.0, B=1.0, C=1.0, alpha=0.5, beta=0.5, gamma=0.5), observations)
