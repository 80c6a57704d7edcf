"""Batches of fits agree with single fits, whatever else is in the batch."""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jaxscale
from jaxscale import Fits, fit, fit_many, noise
from jaxscale.data.observations import Observations
from jaxscale.engine import descent, newton, runner
from jaxscale.fitting import batched_fits
from jaxscale.fitting import fit_many as fit_many_module
from jaxscale.utils.errors import DataError
from tests.sweeps import TRUE, small, sweep

pytestmark = pytest.mark.usefixtures("optimised")
FIXED = [{}, {"E": 1.7}, {"alpha": 0.3}]
NOISES = [noise.huber(1e-3), noise.huber(1e-1)]
WEIGHTS = np.random.default_rng(0).multinomial(20, np.ones(20) / 20, size=6).astype(float)


def bits(fits: Fits, place: Any = ...) -> list[bytes]:
    """Every number of a batch of fits."""
    arrays = [*fits.params.values(), fits.objective, fits.status, fits.agree, fits.polished, fits.steps]
    return [np.ascontiguousarray(array[place]).tobytes() for array in arrays]


@pytest.fixture(scope="module")
def sets() -> list[Observations]:
    return [sweep(0), sweep(1, 33), sweep(2, 45), sweep(3, 20)]


@pytest.fixture(scope="module")
def together(sets: list[Observations]) -> Fits:
    return fit_many(small, sets)


@pytest.fixture(scope="module")
def refits() -> Fits:
    return fit_many(small, sweep(), weight=WEIGHTS, noise=noise.squared("log"))


def test_all_combinations_agree_with_a_loop(sets: list[Observations]) -> None:
    sets = sets[1:3]
    fits = fit_many(small, sets, fixed=FIXED, noise=NOISES)
    assert fits.axes == ("data", "fixed", "noise") and str(fits.law) == "small"
    assert {array.shape for array in (*fits.params.values(), fits.objective, fits.status)} == {(2, 3, 2)}
    assert {array.shape for array in (fits.agree, fits.polished, fits.steps, fits.ok, fits.status_names)} == {(2, 3, 2)}
    assert fits.ok.all() and set(fits.status_names.ravel()) <= {"converged", "flat"}
    assert np.all((1 <= fits.agree) & (fits.agree <= fits.polished))
    for i, data in enumerate(sets):
        for j, fixed in enumerate(FIXED):
            for k, level in enumerate(NOISES):
                one = fit(small, data, fixed=fixed, noise=level, n_resamples=0)
                assert fits.objective[i, j, k] == pytest.approx(one.objective, rel=1e-11)
                for name, value in one.params.items():
                    assert fits.params[name][i, j, k] == pytest.approx(value, rel=1e-7), name
                for name, value in fixed.items():
                    assert fits.params[name][i, j, k] == value


def test_result_does_not_depend_on_other_data_sets(sets: list[Observations], together: Fits) -> None:
    for order in ([3, 2, 1, 0], [2, 0, 3], [1] * 9 + [0, 2], [0], [2]):
        again = fit_many(small, [sets[k] for k in order])
        for place, k in enumerate(order):
            assert bits(again, place) == bits(together, k), (order, k)
    longer = fit_many(small, [sweep(9, 300), *sets])
    for k in range(len(sets)):
        assert bits(longer, k + 1) == bits(together, k), k


def test_result_does_not_depend_on_other_deltas(sets: list[Observations]) -> None:
    fits, alone = (fit_many(small, sets, noise=noises) for noises in ([NOISES[1], NOISES[0]], NOISES[0]))
    assert fits.axes == ("data", "noise")
    for k in range(len(sets)):
        assert bits(fits, (k, 1)) == bits(alone, k)


def test_a_fitted_scale_is_that_of_a_single_fit(sets: list[Observations], together: Fits) -> None:
    for k, data in enumerate(sets):
        one = fit(small, data)
        assert one.noise.loss.settings["delta"] == "scale"
        assert together.objective[k] == pytest.approx(one.objective, rel=1e-11)
        assert [together.params[name][k] for name in TRUE] == pytest.approx([*one.params.values()], rel=1e-7)


def test_known_errors_are_weights_as_in_a_single_fit(sets: list[Observations]) -> None:
    data = sets[0]
    known = replace(data, sigma=data.response * np.geomspace(1e-3, 1e-1, len(data)))
    fits, one = fit_many(small, [known, data]), fit(small, known)
    assert [fits.params[name][0] for name in TRUE] == pytest.approx([*one.params.values()], rel=1e-7)
    plain = fit(small, data, noise=noise.squared("log"))
    assert [fits.params[name][1] for name in TRUE] == pytest.approx([*plain.params.values()], rel=1e-7)
    with pytest.raises(ValueError, match="Argument noise must be squared error where every row has a known error"):
        fit_many(small, [known], noise=NOISES)


def test_an_axis_stands_for_a_sequence_only(sets: list[Observations], together: Fits) -> None:
    one = fit_many(small, sets[0])
    assert (
        one.axes == () and one.objective.shape == () and one.params["E"].shape == () and one.status_names == "converged"
    )
    assert one.objective == pytest.approx(together.objective[0], rel=1e-12)
    assert fit_many(small, tuple(sets[:1]), fixed=[{"E": 1.7}]).objective.shape == (1, 1)
    assert fit_many(small, sets[:1], fixed={"E": 1.7}).params["E"].tolist() == [1.7]


def test_weightings_are_refits_with_weights_in_the_table(refits: Fits) -> None:
    assert refits.axes == ("weight",) and refits.objective.shape == (6,) and refits.ok.all()
    assert np.all(refits.agree == refits.agree[0]) and np.all(refits.polished == refits.polished[0])
    for k, weight in enumerate(WEIGHTS):
        one = fit(small, sweep(weight=weight), noise=noise.squared("log"))
        assert refits.objective[k] == pytest.approx(one.objective, rel=1e-11)
        for name, value in one.params.items():
            assert refits.params[name][k] == pytest.approx(value, rel=1e-7)


def test_every_data_set_has_its_own_weightings(sets: list[Observations], refits: Fits) -> None:
    ones = [np.ones((6, len(data))) for data in sets[1:]]
    fits = fit_many(small, sets, weight=[WEIGHTS, *ones], noise=noise.squared("log"))
    assert fits.axes == ("data", "weight") and fits.objective.shape == (4, 6)
    np.testing.assert_allclose(fits.objective[0], refits.objective, rtol=1e-11)
    np.testing.assert_allclose(fits.params["alpha"][0], refits.params["alpha"], rtol=1e-7)
    plain = fit_many(small, sets, noise=noise.squared("log"))
    np.testing.assert_allclose(fits.objective[1:], np.tile(plain.objective[1:, None], 6), rtol=1e-12)


def test_weights_multiply_those_of_the_rows() -> None:
    base = np.linspace(1.0, 2.0, 20)
    once = fit_many(small, sweep(weight=base), weight=WEIGHTS, noise=noise.squared("log"))
    both = fit_many(small, sweep(), weight=WEIGHTS * base, noise=noise.squared("log"))
    np.testing.assert_allclose(once.objective, both.objective, rtol=1e-11)
    np.testing.assert_allclose(once.params["A"], both.params["A"], rtol=1e-7)


def test_leaving_out_is_a_weight_of_zero() -> None:
    whole = sweep()
    fits = fit_many(small, whole, weight=1 - np.eye(20), noise=noise.squared("log"))
    for k in (0, 7, 19):
        kept = np.arange(20) != k
        one = fit(small, sweep_of(whole, kept), noise=noise.squared("log"))
        assert fits.objective[k] == pytest.approx(one.objective, rel=1e-11)
        assert fits.params["alpha"][k] == pytest.approx(one.params["alpha"], rel=1e-7)
    held = whole.inputs["N"] < 1e8
    fits = fit_many(small, whole, weight=held[None].astype(float), noise=noise.squared("log"))
    one = fit(small, sweep_of(whole, held), noise=noise.squared("log"))
    assert fits.params["E"][0] == pytest.approx(one.params["E"], rel=1e-7)


def sweep_of(whole: Observations, kept: np.ndarray) -> Observations:
    table = {"N": whole.inputs["N"][kept], "loss": whole.response[kept]}
    return Observations.from_table(table, inputs=["N"], response="loss")


def test_values_of_rows_left_out_have_no_effect() -> None:
    weights = 1 - np.eye(20)[3:4]
    wild = sweep()
    response = wild.response.copy()
    response[3] = 50.0
    settings: dict[str, Any] = dict(weight=weights, noise=noise.squared("log"))
    odd, even = (fit_many(small, data, **settings) for data in (replace(wild, response=response), wild))
    assert odd.objective[0] == pytest.approx(even.objective[0], rel=1e-11)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_failed_data_set_is_marked_and_affects_no_other(
    sets: list[Observations], together: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A response without a logarithm, which validation would reject.
    monkeypatch.setattr(fit_many_module, "validate", lambda *_: [])
    bad = replace(sets[1], response=np.where(np.arange(33) == 4, -1.0, sets[1].response))
    worse = replace(sets[3], response=np.full(20, np.nan))
    fits = fit_many(small, [sets[0], bad, sets[2], worse])
    assert fits.ok.tolist() == [True, False, True, False]
    assert fits.status_names.tolist() == ["converged", "nonfinite", "converged", "nonfinite"]
    assert np.isnan(fits.objective[[1, 3]]).all() and fits.agree[[1, 3]].tolist() == [0, 0]
    assert bits(fits, 0) == bits(together, 0) and bits(fits, 2) == bits(together, 2)
    weights = [np.ones((2, len(data))) for data in sets]
    fits = fit_many(small, [sets[0], bad, sets[2], worse], weight=weights)
    assert fits.ok.tolist() == [[True] * 2, [False] * 2, [True] * 2, [False] * 2]
    good = fit_many(small, sets, weight=weights)
    assert bits(fits, 0) == bits(good, 0) and bits(fits, 2) == bits(good, 2)


def program_sizes() -> dict[str, int]:
    """Number of compiled shapes of each program."""
    programs: dict[str, Any] = dict(
        starts=batched_fits._starts, named=batched_fits._params_by_name, settle=descent._run_pool
    )
    return {name: program._cache_size() for name, program in programs.items()}


def test_other_data_of_the_same_size_do_not_recompile() -> None:
    def fitted(seed: int) -> None:
        fit_many(small, [sweep(seed + k, rows) for k, rows in ((0, 40), (1, 20), (2, 48))])
        fit_many(small, [sweep(seed + 3, 48), sweep(seed + 4, 47)], noise=noise.huber(3e-3), seed=seed)
        fit_many(small, sweep(seed + 3, 22), weight=np.ones((3, 22)), noise=noise.squared("log"))

    fitted(5)
    before = program_sizes()
    fitted(20)
    assert program_sizes() == before


def test_seed_determines_the_result(sets: list[Observations], together: Fits) -> None:
    assert bits(fit_many(small, sets)) == bits(together)
    other = fit_many(small, sets, seed=5)
    assert bits(other) == bits(fit_many(small, sets, seed=5))
    np.testing.assert_allclose(other.objective, together.objective, rtol=1e-11)


def test_few_starts_are_enough_for_a_call() -> None:
    for starts, polish in ((1, 1), (1, 8), (3, 8), (256, 1)):
        fits = fit_many(small, [sweep(1, 33), sweep(2, 45)], starts=starts, polish=polish)
        assert np.all(fits.polished <= 2 * min(starts, polish)) and fits.objective.shape == (2,)


class Scripted(batched_fits.Problems):
    """A batch with given objectives and statuses of two polished starts per round."""

    rounds: list[tuple[list[float], list[int]]]

    def _initial_coordinates(self, members: np.ndarray, u: np.ndarray, best: int, random: int) -> np.ndarray:
        return np.zeros((len(members), len(self.free), len(self.rounds[0][0])))

    def _descend(self, members: np.ndarray, z: np.ndarray, weight: Any = None, **settings: Any) -> Any:
        f, status = self.rounds.pop(0)
        lanes = newton.init_lanes(self.problem, z, xp=np)
        lanes.local.f[:], lanes.status[:] = f, status
        lanes.z[:] = f
        return lanes


def scripted(rounds: list[tuple[list[float], list[int]]]) -> tuple[float, int, int, int]:
    """Objective, status, number of agreeing starts, number of polished starts."""
    settings: Any = (small, tuple(TRUE), {}, [sweep()], [{}], [noise.squared("log")], True, runner.Runner())
    data = Scripted(*settings)
    data.rounds = list(rounds)
    lanes, agree, polished = data.search(16, 2, np.random.default_rng(0))
    assert lanes.z[0, 0] == lanes.local.f[0]
    return float(lanes.local.f[0]), int(lanes.status[0]), int(agree[0]), int(polished[0])


GOOD, STALLED = newton.CONVERGED, newton.STALLED


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([([1.0] * 8, [GOOD] * 8)], (1.0, GOOD, 8, 8)),
        ([([1.0, *[2.0] * 7], [GOOD] * 8), ([3.0] * 8, [GOOD] * 8)], (1.0, GOOD, 1, 16)),
        ([([2.0, *[3.0] * 7], [GOOD] * 8), ([1.0] * 8, [GOOD] * 8)], (1.0, GOOD, 8, 16)),
        ([([2.0, *[3.0] * 7], [GOOD] * 8), ([2.0] * 8, [GOOD] * 8)], (2.0, GOOD, 9, 16)),
        ([([1.0, *[1 + 1e-9] * 7], [STALLED, *[GOOD] * 7])], (1 + 1e-9, GOOD, 8, 8)),
        ([([0.5, *[1.0] * 7], [STALLED, *[GOOD] * 7]), ([1.0] * 8, [GOOD] * 8)], (0.5, STALLED, 1, 16)),
    ],
)
def test_agreement_counts_starts_of_all_rounds(
    rounds: list[tuple[list[float], list[int]]], expected: tuple[float, int, int, int]
) -> None:
    assert scripted(rounds) == expected


def test_exact_data_agree() -> None:
    N = np.geomspace(1e6, 1e9, 20)
    table = {"N": N, "loss": TRUE["E"] + TRUE["A"] / N ** TRUE["alpha"]}
    fits = fit_many(small, Observations.from_table(table, inputs=["N"], response="loss"), noise=noise.squared("log"))
    assert fits.ok and fits.agree >= fits.polished // 2
    for name, value in TRUE.items():
        assert fits.params[name] == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(noise=[]), "Argument noise must not be empty."),
        (dict(fixed=[]), "Argument fixed must not be empty."),
        (dict(observations=[]), "Argument observations must not be empty."),
        (
            dict(fixed=[{}, dict(TRUE)]),
            "Argument fixed must leave a parameter to fit, but one of its entries fixes all.",
        ),
        (
            dict(fixed={"gamma": 1.0}),
            "Argument fixed names 'gamma', which is no parameter of small; its parameters are E, A, alpha.",
        ),
        (
            dict(fixed=[{"E": -1.0}]),
            "Argument fixed must keep E in its support (positive), but sets it to -1.0.",
        ),
        (
            dict(noise=[noise.huber(1e-3), noise.squared("log")]),
            "Argument noise must hold noises that differ in delta only, but holds huber(delta=0.001) on log residuals "
            "and squared on log residuals; call fit_many once for each.",
        ),
        (
            dict(noise=[noise.student_t(4), noise.student_t(5)]),
            "Argument noise must hold noises that differ in delta only, but holds student_t(df=4) on log residuals "
            "and student_t(df=5) on log residuals; call fit_many once for each.",
        ),
        (
            dict(noise=noise.absolute()),
            "Argument noise must not be absolute, whose optimum is a vertex; use fit, or huber with a small delta.",
        ),
        (dict(starts=0), "Argument starts must be a positive number, but is 0."),
        (dict(starts=True), "Argument starts must be a positive number, but is True."),
        (dict(polish=0), "Argument polish must be a positive number, but is 0."),
        (dict(polish=True), "Argument polish must be a positive number, but is True."),
        (dict(seed=-1), "Argument seed must not be negative, but is -1."),
        (
            dict(weight=np.ones(20)),
            "Argument weight must have shape (weightings, rows), but a table has (20,) for 20 rows; all tables need "
            "as many weightings.",
        ),
        (
            dict(weight=np.ones((2, 19))),
            "Argument weight must have shape (weightings, rows), but a table has (2, 19) for 20 rows; all tables "
            "need as many weightings.",
        ),
        (
            dict(observations=[sweep(), sweep()], weight=[np.ones((2, 20)), np.ones((3, 20))]),
            "Argument weight must have shape (weightings, rows), but a table has (3, 20) for 20 rows; all tables "
            "need as many weightings.",
        ),
        (
            dict(observations=[sweep(), sweep()], weight=[np.ones((2, 20))]),
            "Argument weight must hold one table for each of the 2 data sets.",
        ),
        (dict(weight=np.zeros((0, 20))), "Argument weight must not be empty."),
        *(
            (
                dict(weight=np.where(np.arange(20) == 3, value, rest)[None]),
                "Argument weight must be finite, not negative, and in each weighting positive for a row that has a "
                "weight.",
            )
            for value, rest in ((np.nan, 1.0), (-1.0, 1.0), (np.inf, 1.0), (0.0, 0.0))
        ),
        (
            dict(observations=sweep(weight=np.arange(20) % 2), weight=(1.0 - np.arange(20) % 2)[None]),
            "Argument weight must be finite, not negative, and in each weighting positive for a row that has a weight.",
        ),
    ],
)
def test_argument_messages(arguments: dict[str, Any], message: str) -> None:
    settings = {"observations": sweep(), **arguments}
    with pytest.raises(ValueError) as refusal:
        fit_many(small, settings.pop("observations"), **settings)
    assert str(refusal.value) == message


def test_wrong_observations_and_unknown_laws_raise() -> None:
    with pytest.raises(TypeError) as refusal:
        # The runtime type checker of the tests would reject the call earlier.
        inspect.unwrap(fit_many)(small, [sweep(), {"N": [1.0]}])
    assert str(refusal.value) == (
        "Argument observations must be Observations (make them with Observations.from_table) or a sequence of them, "
        "but holds dict."
    )
    with pytest.raises(ValueError, match="Law 'chinchila' is not in the catalogue"):
        jaxscale.fit_many("chinchila", sweep())
    few = Observations.from_table({"N": [1e6, 1e7], "loss": [3.0, 2.0]}, inputs=["N"], response="loss")
    with pytest.raises(DataError, match="has 2 rows with positive weight, but small has 3 free parameters"):
        fit_many(small, [sweep(), few])
