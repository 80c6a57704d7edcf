"""Batches of fits: predictions, standard errors, intervals and files."""

import math
from pathlib import Path

import numpy as np
import pytest

import jaxscale
from jaxscale import Fits, fit, fit_many, noise
from tests.sweeps import small, sweep

NOISE = noise.squared("log")
FIXED = [{}, {"E": 1.7}]


@pytest.fixture(scope="module")
def fits() -> Fits:
    return fit_many(small, [sweep(0), sweep(1, 33)], fixed=FIXED, noise=NOISE)


def test_predictions_have_the_shape_of_the_fits_and_of_the_inputs(fits: Fits) -> None:
    N = np.array([1e9, 1e10, 1e11])
    predicted = fits.predict(N=N)
    assert predicted.shape == (2, 2, 3) and fits.predict(N=1e9).shape == (2, 2)
    own = {name: values[1, 0] for name, values in fits.params.items()}
    np.testing.assert_allclose(predicted[1, 0], [small(n, **own) for n in N], rtol=1e-12)


def test_standard_errors_and_intervals_are_those_of_single_fits(fits: Fits) -> None:
    for i, data in enumerate([sweep(0), sweep(1, 33)]):
        for j, fixed in enumerate(FIXED):
            one = fit(small, data, fixed=fixed, noise=NOISE)
            for name in one.free:
                assert fits.stderr[name][i, j] == pytest.approx(one.stderr[name], rel=1e-5)
                lower, upper = fits.intervals(0.8)[name]
                assert (lower[i, j], upper[i, j]) == pytest.approx(one.intervals(0.8)[name], rel=1e-6)
    assert math.isnan(fits.stderr["E"][0, 1]) and np.isnan(fits.intervals()["E"][0][:, 1]).all()


def test_weighted_refits_have_their_own_standard_errors() -> None:
    keep = np.ones((2, 20))
    keep[1, :5] = 0
    refits = fit_many(small, sweep(), weight=keep, noise=NOISE)
    part = sweep(weight=keep[1])
    assert refits.stderr["alpha"][1] == pytest.approx(fit(small, part, noise=NOISE).stderr["alpha"], rel=1e-5)


def test_a_loss_that_needs_resamples_has_no_standard_errors() -> None:
    one = fit_many(small, sweep(), noise=noise.huber(1e-4))
    assert one.ok and math.isnan(float(one.stderr["alpha"])) and one.predict(N=1e9).shape == ()


def test_a_frame_has_a_row_for_every_fit(fits: Fits) -> None:
    frame = fits.to_frame()
    assert list(frame.columns) == ["data", "fixed", "E", "A", "alpha", "objective", "status", "ok"]
    assert frame["data"].tolist() == [0, 0, 1, 1] and frame["fixed"].tolist() == [0, 1, 0, 1]
    assert frame["alpha"].tolist() == fits.params["alpha"].ravel().tolist()


def test_a_file_holds_the_fits_and_their_errors(fits: Fits, tmp_path: Path) -> None:
    path = tmp_path / "fits.json"
    fits.save(path)
    again = Fits.load(path, law=small)
    assert (again.law, again.free, again.axes) == (small, fits.free, fits.axes)
    for name, values in fits.params.items():
        np.testing.assert_array_equal(again.params[name], values)
        np.testing.assert_array_equal(again.stderr[name], fits.stderr[name])
    np.testing.assert_array_equal(again.status, fits.status)
    assert Fits.load(path).law == "small"
    np.testing.assert_array_equal(again.intervals()["A"][0], fits.intervals()["A"][0])


def test_invalid_files_raise(fits: Fits, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Argument path must end in \.json, as files of fits do, but is '"):
        fits.save(tmp_path / "fits.nc")
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(ValueError, match=r"does not hold fits \('shape'\); write them with Fits\.save\.$"):
        Fits.load(other)
    fits.save(other)
    with pytest.raises(ValueError, match=r"^Argument law is chinchilla, but the file holds the fits of small\.$"):
        Fits.load(other, law=jaxscale.laws.chinchilla)


def test_a_notice_counts_the_fits_that_did_not_converge(fits: Fits) -> None:
    assert fits.notices == ()
    status = fits.status.copy()
    status[0, 1] = 0
    failed = jaxscale.Fits(**{**vars(fits), "status": status})
    assert [(notice.code, notice.message) for notice in failed.notices] == [
        ("not_converged", "1 of 4 fits did not converge; see ok.")
    ]


def test_fits_without_standard_errors_raise(fits: Fits) -> None:
    bare = jaxscale.Fits(**{**vars(fits), "errors": {}, "solved": None})
    with pytest.raises(ValueError, match=r"^These fits hold no standard errors; fit again\.$"):
        bare.intervals()
