"""Parameter recovery on simulated data for laws of every family; for all laws: python -m benchmarks.refit."""

import logging
from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks import refit
from jaxscale import laws
from jaxscale.law import Input, Law, Response, amplitude, coefficient, exponent, law, positive, real, unit
from jaxscale.reporting import law_page
from jaxscale.results.fit import Fit

Columns = dict[str, np.ndarray]

# Laws that compile quickly, two or so of each family.
THIRTY = (
    "gqa_cost", "vocab_optimum_power",
    "log_linear", "exp_decay_floor",
    "pruned_exponential", "repeated_equivalent_size",
    "knowledge_bits", "passuntil",
    "stable_lr_batch_sgd", "weight_decay_width_lambda",
    "kinetics_cost", "verifier_gap_sqrt",
    "chinchilla", "compute_power",
    "regmix_linear2", "skill_isoflop_n",
    "factored_curve", "embedding_log",
    "moe_leverage_marginals_c", "saturating_transform",
    "qid_low_bit",
    "overopt_bon",
    "allometry", "amdahl",
    "sgd_noise", "variance_limited",
    "lr_annealing",
    "wsd_sqrt_cooldown",
    "acc_linear_loss", "alignment_power",
)  # fmt: skip


def test_the_laws_span_all_families() -> None:
    families = {laws.get(name).family for name in THIRTY}
    assert families == set(law_page.by_family(laws.catalogue().values()))
    assert len(THIRTY) == len(set(THIRTY)) == 30


@pytest.mark.parametrize("name", THIRTY)
def test_the_constants_of_a_law_come_back(name: str, caplog: pytest.LogCaptureFixture) -> None:
    law = laws.get(name)
    columns, fit = refit.fit_sweep(law)
    assert refit.assess(law, columns, fit) == ("parameters", "")
    assert Fit.from_json(fit.to_json()) == fit
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        refit.fit_sweep(law, seed=1)
    assert compilations(caplog) == []


def compilations(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("Compiling")]


def test_compilations_are_seen(caplog: pytest.LogCaptureFixture) -> None:
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        jax.jit(lambda x: 2 * x)(1.0)
    assert len(compilations(caplog)) == 1


@law(
    inputs=dict(x=Input("", typical=(1.0, 1e4))),
    response=Response("", positive),
    a1=amplitude(x="b1"),
    b1=exponent(),
    a2=amplitude(x="b2"),
    b2=exponent(),
    source="a test",
)
def pair(x, *, a1, b1, a2, b2):
    """Two exchangeable terms."""
    return a1 * x**-b1 + a2 * x**-b2


@pytest.fixture(scope="module")
def found() -> tuple[Columns, Fit]:
    """A sweep of the pair, and a fit with its true constants."""
    columns, fit = refit.fit_sweep(laws.get("knowledge_bits"))
    return refit.sweep(pair), replace(fit, law=pair, params=pair.typical)


def test_refit_is_assessed_by_constants_or_residuals(found: tuple[Columns, Fit]) -> None:
    columns, fit = found
    assert refit.assess(pair, columns, fit) == ("parameters", "")
    swapped = {f"{name[0]}{3 - int(name[1])}": value for name, value in pair.typical.items()}
    assert refit.assess(pair, columns, replace(fit, params=swapped)) == (
        "parameters",
        "in another order: a2, b2, a1, b1",
    )
    moved = replace(fit, params={**pair.typical, "b2": 1.0})
    assert refit.assess(pair, columns, moved) == ("predictions", "not identified by the rows: b2")
    far = replace(moved, residuals=replace(fit.residuals, rms=3e-6))
    verdict, reason = refit.assess(pair, columns, far)
    assert verdict == "failed" and reason.startswith("converged, residuals 3")


def line(truth: float) -> Law:
    """A line whose slope may have either sign."""

    @law(
        inputs=dict(x=Input("")),
        response=Response("", real),
        source="a test",
        a=coefficient(range=(-5e3, 5e3)),
        published=dict(known=dict(a=truth)),
    )
    def sloped(x, *, a):
        """A line."""
        return a * x

    return sloped


@pytest.mark.parametrize(("truth", "close", "far"), [(0.0, 0.009, 0.011), (1.0, 1.0009, 1.002)])
def test_only_a_parameter_that_is_zero_is_seen_against_its_range(
    found: tuple[Columns, Fit], truth: float, close: float, far: float
) -> None:
    sloped = line(truth)
    columns = refit.sweep(sloped)
    for a, verdict in ((close, "parameters"), (far, "predictions")):
        fit = replace(found[1], law=sloped, params={"a": a}, residuals=replace(found[1].residuals, rms=0.0))
        assert refit.assess(sloped, columns, fit)[0] == verdict


def test_probabilities_near_zero_are_not_observations() -> None:
    @law(
        inputs=dict(x=Input("", low=-np.inf, typical=(-20.0, 20.0))),
        response=Response("", unit),
        k=coefficient(range=(1.0, 3.0)),
        source="a test",
    )
    def step(x, *, k):
        """A probability that saturates early."""
        return 1 / (1 + jax.numpy.exp(-k * x))

    columns = refit.sweep(step, rows=20)
    assert len(columns["y"]) == 20
    assert np.all((columns["y"] > 9e-5) & (columns["y"] < 1 - 9e-5))


def test_laws_are_chosen_by_name_and_family() -> None:
    assert [law.name for law in refit.select_laws("bnsl", "", 0)] == ["bnsl1", "bnsl2", "bnsl3"]
    assert {law.family for law in refit.select_laws("", "moe", 0)} == {"moe"}
    sample = refit.select_laws("", "", 2)
    families = set(law_page.by_family(laws.catalogue().values()))
    assert len(sample) <= 2 * len(families) and {law.family for law in sample} == families


def test_a_law_without_parameters_has_nothing_to_refit() -> None:
    assert refit.refit(laws.get("best_of_n_kl")).verdict == "nothing to fit"
