"""Algebra of laws: values, derivatives, declarations, identity, and a fit of a derived law."""

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxscale
from jaxscale import Observations, chain, compose, designs, fix, laws, noise, rename, simulate, tie
from jaxscale.law import Input, Law, Response, algebra, exponent, law, positive, real, unit
from tests.law_examples import (
    accuracy,
    bits,
    capacity,
    chinchilla,
    declare_law,
    power_law,
    power_law_floor,
    repetition,
    shares,
    signed,
)

pytestmark = pytest.mark.usefixtures("x64")
CONSTANTS = dict(chinchilla.published["besiroglu2024"])
CURVE = dict(a=-0.6, k=1.5, L0=2.8, b=0.85)
ND = np.array([1e8, 1e9, 7e10]), np.array([2e9, 2e10, 1.4e12])
BITS = (4.0, 8.0, 16.0)
GAINS = dict(capacity.published["kumar2024"])
X = np.geomspace(10.0, 1e6, 7)


def test_a_fixed_parameter_is_gone_and_the_rest_is_the_law() -> None:
    fixed = fix(chinchilla, E=1.8172, alpha=0.3478)
    assert fixed.name == "chinchilla(E=1.8172, alpha=0.3478)"
    assert list(fixed.parameters) == ["A", "B", "beta"] and list(fixed.inputs) == ["N", "D"]
    rest = {key: CONSTANTS[key] for key in fixed.parameters}
    np.testing.assert_array_equal(fixed(*ND, **rest), chinchilla(*ND, **CONSTANTS))
    assert fixed.affine == ("A", "B") and fixed.decreasing == ("N", "D")
    assert fixed.parameters["A"].powers == () and fixed.parameters["B"].powers == (("D", "beta"),)
    assert dict(fixed.published) == {"besiroglu2024": rest}
    assert fixed.formula.endswith(r",\; E = 1.8172,\; \alpha = 0.3478")
    assert fixed.source == chinchilla.source and f"Source: {chinchilla.source}." in (fixed.__doc__ or "")
    assert fixed.summary == "chinchilla with E = 1.8172, alpha = 0.3478."
    # What falls for plausible parameters need not fall for this one.
    assert fix(chinchilla, alpha=2.5).decreasing == ()
    assert fix(chinchilla, E=2.0, name="floored").name == "floored"


def test_a_scale_without_its_exponent_is_a_number() -> None:
    single = laws.get("kaplan_single")
    assert fix(single, alpha=0.076).parameters["X_c"].kind == "positive_number"


def test_chinchilla_with_tied_exponents_is_the_tied_law() -> None:
    tied, known = tie(chinchilla, beta="alpha"), laws.get("chinchilla_tied")
    assert tied.name == "chinchilla(beta=alpha)" and set(tied.parameters) == set(known.parameters)
    params = known.published["muennighoff2023"]
    np.testing.assert_array_equal(tied(*ND, **params), known(*ND, **params))
    assert {key: kind.powers for key, kind in tied.parameters.items()} == {
        key: kind.powers for key, kind in known.parameters.items()
    }
    assert tied.parameters["B"].powers == (("D", "alpha"),)
    assert tied.affine == ("E", "A", "B") and tied.decreasing == ("N", "D")
    assert dict(tied.published) == {}
    assert tied.formula.endswith(r",\; \beta = \alpha")
    same = tie(laws.get("precision_capacity_loss"), beta="alpha")
    assert list(same.published) == ["kumar2024"] and "beta" not in same.published["kumar2024"]


def test_a_parameter_tied_to_one_that_is_not_affine_is_not_affine() -> None:
    assert tie(chinchilla, beta="A").affine == ("E", "B")
    assert tie(chinchilla, B="A").affine == ("E", "A")
    assert tie(chinchilla, B="alpha").affine == ("E", "A")


def test_a_renamed_law_is_the_law() -> None:
    other = rename(chinchilla, N="M", alpha="a", A="C")
    assert other.name == "chinchilla(N→M, A→C, alpha→a)"
    assert list(other.inputs) == ["M", "D"] and list(other.parameters) == ["E", "C", "a", "B", "beta"]
    assert other.parameters["C"].powers == (("M", "a"),)
    assert other.affine == ("E", "C", "B") and other.decreasing == ("M", "D")
    np.testing.assert_array_equal(other(*ND, **other.published["besiroglu2024"]), chinchilla(*ND, **CONSTANTS))
    assert other.formula.endswith(r"N \to M,\; A \to C,\; \alpha \to a")
    turned = rename(laws.get("overtraining_cm"), eta="slope")
    assert turned.parameters["a"].powers == (("C", "slope"), ("M", "-slope"))
    renamed = rename(chinchilla, N=Input("non-embedding parameters"))
    assert renamed.inputs["N"].unit == "non-embedding parameters" and renamed.name == "chinchilla(N)"


def test_a_sum_adds_values_and_keeps_what_is_true_of_both() -> None:
    second = rename(power_law, a="A", b="slope")
    both = power_law_floor + second
    assert both.name == "power_law_floor + power_law(a→A, b→slope)"
    assert list(both.inputs) == ["x"] and list(both.parameters) == ["c", "a", "b", "A", "slope"]
    params = dict(c=0.3, a=2.0, b=0.4, A=0.7, slope=-0.2)
    np.testing.assert_allclose(
        both(X, **params), power_law_floor(X, c=0.3, a=2.0, b=0.4) + power_law(X, a=0.7, b=-0.2), rtol=1e-15
    )
    assert set(both.affine) == {*power_law_floor.affine, *second.affine} and "A" in both.affine
    assert both.decreasing == ()
    assert both.source.count(";") + 1 == len(set(both.source.split("; ")))
    falling = chinchilla + rename(chinchilla, E="e", A="F", B="G", alpha="a", beta="b", D="U")
    assert falling.decreasing == ("N", "D", "U")


def test_shared_parameters_are_one() -> None:
    both = algebra.add(power_law_floor, rename(power_law, a="c", b="g"), shared=["c"])
    assert list(both.parameters) == ["c", "a", "b", "g"] and both.affine == ("c", "a")
    np.testing.assert_allclose(both(4.0, c=3.0, a=2.0, b=0.5, g=-1.0), 3 + 2 / 2 + 3 / 4, rtol=1e-15)


def test_a_parameter_affine_in_one_part_only_is_not_affine_in_the_sum() -> None:
    bent = declare_law("bent", dict(x=Input("")), Response(""), lambda x, *, a: x**-a, a=exponent())
    both = algebra.add(rename(power_law_floor, b="g"), bent, shared=["a"])
    assert "a" not in both.affine and "c" in both.affine
    np.testing.assert_allclose(both(2.0, c=1.0, a=3.0, g=0.5), 1 + 3 * 2**-0.5 + 2**-3.0, rtol=1e-15)


def test_a_prefix_renames_what_clashes() -> None:
    both = algebra.add(power_law_floor, power_law_floor, prefix="late_")
    assert list(both.parameters) == ["c", "a", "b", "late_c", "late_a", "late_b"]
    assert both.parameters["late_a"].powers == (("x", "late_b"),)
    value = both(2.0, c=1.0, a=2.0, b=0.5, late_c=0.0, late_a=4.0, late_b=2.0)
    np.testing.assert_allclose(value, 1 + 2 / 2**0.5 + 1.0, rtol=1e-15)


def test_a_product_multiplies() -> None:
    product = power_law_floor * shares
    assert product.name == "power_law_floor * shares" and list(product.parameters) == ["c", "a", "b", "s"]
    value = power_law_floor(X, c=0.3, a=2.0, b=0.4) * shares(X, s=0.5)
    np.testing.assert_allclose(product(X, c=0.3, a=2.0, b=0.4, s=0.5), value, rtol=1e-15)
    assert product.affine == power_law_floor.affine
    assert product.response.domain is positive
    assert (shares * rename(shares, s="r")).response.domain is unit
    assert (signed * shares).response.domain is real
    assert (shares * power_law_floor).affine == power_law_floor.affine
    assert algebra.multiply(shares, signed, response=Response("kg")).response.unit == "kg"
    assert ((power_law_floor + shares) * rename(shares, s="r")).name == "(power_law_floor + shares) * shares(s→r)"
    assert "\\left(" in product.formula
    shared = algebra.multiply(rename(power_law_floor, a="s"), shares, shared=["s"])
    assert "s" not in shared.affine


def test_sums_have_the_wider_domain() -> None:
    assert (shares + rename(shares, s="r")).response.domain is positive
    assert (shares + signed).response.domain is real


def test_what_is_no_law_cannot_be_added_or_multiplied() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        chinchilla + 1.0  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError, match="unsupported operand"):
        2.0 * chinchilla  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]


def test_bits_inside_chinchilla_are_the_precision_law() -> None:
    composed, known = compose(chinchilla, N=capacity), laws.get("precision_capacity_loss")
    assert composed.name == "chinchilla(N=precision_capacity)"
    assert list(composed.inputs) == ["N", "P_w", "P_a", "P_kv", "D"]
    np.testing.assert_allclose(
        composed(ND[0], *BITS, ND[1], **CONSTANTS, **GAINS), known(*ND, *BITS, **CONSTANTS, **GAINS), rtol=1e-14
    )
    # With ample bits it is chinchilla.
    np.testing.assert_allclose(
        composed(ND[0], 1e6, 1e6, 1e6, ND[1], **CONSTANTS, **GAINS), chinchilla(*ND, **CONSTANTS), rtol=1e-14
    )
    assert composed.affine == ("E", "A", "B") and composed.decreasing == ("D",)
    # The value that takes the place of N is of the size of the N inside it.
    assert composed.parameters["A"].powers == (("N", "alpha"),)
    assert composed.parameters["g_w"].input == "P_w"
    assert set(chinchilla.source.split("; ")) | set(capacity.source.split("; ")) == set(composed.source.split("; "))
    assert composed.formula == rf"{chinchilla.formula},\; N = {capacity.formula.split('=', 1)[1].strip()}"


def test_repeated_tokens_within_one_epoch_are_chinchilla() -> None:
    repeated = compose(chinchilla, D=repetition)
    assert list(repeated.inputs) == ["N", "U_D", "D"]
    np.testing.assert_allclose(repeated(ND[0], ND[1], ND[1], **CONSTANTS, R_D=15.0), chinchilla(*ND, **CONSTANTS))
    limit = repeated(ND[0], ND[1] / 100, ND[1], **CONSTANTS, R_D=1e12)
    np.testing.assert_allclose(limit, chinchilla(*ND, **CONSTANTS), rtol=1e-6)


def test_several_inputs_are_replaced_at_once() -> None:
    both = compose(chinchilla, N=capacity, D=repetition)
    assert list(both.inputs) == ["N", "P_w", "P_a", "P_kv", "U_D", "D"]
    n, d = capacity(1e9, *BITS, **GAINS), repetition(1e9, 2e10, R_D=15.0)
    value = both(1e9, *BITS, 1e9, 2e10, **CONSTANTS, **GAINS, R_D=15.0)
    np.testing.assert_allclose(value, chinchilla(n, d, **CONSTANTS), rtol=1e-15)
    swapped = compose(chinchilla, N=rename(power_law, x="D", a="c", b="g"), D=rename(power_law, x="N", a="h", b="j"))
    value = swapped(5.0, 3.0, **CONSTANTS, c=2.0, g=0.5, h=4.0, j=0.2)
    np.testing.assert_allclose(value, chinchilla(2 * 5.0**0.5, 4 * 3.0**0.2, **CONSTANTS), rtol=1e-15)


def test_routing_to_one_expert_is_the_base_law() -> None:
    routed = laws.get("routed_effective_params")
    composed = compose(rename(chinchilla, E="floor"), N=routed)
    params = dict(a=-0.082, b=-0.108, c=0.009, E_start=1.847, E_max=314.478)
    base = {("floor" if key == "E" else key): value for key, value in CONSTANTS.items()}
    one = dict(zip(composed.inputs, composed.inputs, strict=True)) | dict(N=1e9, E=1.0, D=2e10)
    np.testing.assert_allclose(
        composed(*one.values(), **base, **params), chinchilla(1e9, 2e10, **CONSTANTS), rtol=1e-12
    )


def test_a_chain_passes_the_loss_to_the_outer_law() -> None:
    chained = chain(chinchilla, accuracy, through="L")
    assert chained is compose(accuracy, L=chinchilla)
    assert chained.response is accuracy.response and list(chained.inputs) == ["N", "D"]
    expected = accuracy(chinchilla(*ND, **CONSTANTS), **CURVE)
    np.testing.assert_array_equal(chained(*ND, **CONSTANTS, **CURVE), expected)
    # Its midpoint lies on an axis that is no longer an input.
    assert chained.parameters["L0"].kind == "positive_number" and chained.parameters["L0"].input is None
    assert chained.parameters["A"].powers == (("N", "alpha"),)
    assert chain(chinchilla, accuracy) is chained
    one_step = laws.get("ladder_one_step_nd")
    ladder = fix(chained, k=1.0, L0=2.0)
    shifted = CONSTANTS | dict(E=CONSTANTS["E"] - 2.0, a=-0.6, b=0.85)
    np.testing.assert_allclose(ladder(*ND, **CONSTANTS, a=-0.6, b=0.85), one_step(*ND, **shifted), rtol=1e-13)


def test_a_location_on_a_removed_input_is_a_coefficient() -> None:
    peaks = laws.get("gaussian_peaks1")
    place = [key for key, kind in peaks.parameters.items() if kind.kind == "location"]
    inner: dict[str, Any] = {next(iter(peaks.inputs)): rename(signed, x="t", a="a_1", q="q_1")}
    composed = compose(peaks, **inner)
    assert [composed.parameters[key].kind for key in place] == ["coefficient"]


def test_derivatives_of_derived_laws() -> None:
    composed = tie(compose(chinchilla, N=capacity), beta="alpha")
    chained = chain(composed, accuracy, through="L")
    values = {key: CONSTANTS[key] for key in ("E", "A", "alpha", "B")} | GAINS | CURVE

    def value(sizes: Any, params: Any) -> Any:
        return chained(jnp.exp(sizes[0]), *BITS, jnp.exp(sizes[1]), **params)

    # Operation by operation, so that first and second derivatives share compiled programs.
    with jax.disable_jit():
        check_grads(
            value, (jnp.log(jnp.array([1e9, 2e10])), values), order=2, modes=("fwd", "rev"), rtol=1e-4, atol=1e-4
        )
    columns = [np.full(3, size) for size in (1e9, *BITS, 2e10)]
    mapped = jax.jit(jax.vmap(lambda *row: chained(*row, **values)))(*columns)
    np.testing.assert_allclose(mapped, chained(1e9, *BITS, 2e10, **values), rtol=1e-14)


def test_equal_operations_return_the_same_law_also_after_pickling() -> None:
    for again in (
        lambda: fix(chinchilla, E=1.69),
        lambda: tie(chinchilla, beta="alpha"),
        lambda: power_law_floor + rename(power_law, a="A", b="g"),
        lambda: chain(compose(chinchilla, N=capacity), accuracy, through="L"),
    ):
        first = again()
        assert again() is first and hash(again()) == hash(first)
        assert pickle.loads(pickle.dumps(first)) is first and copy.deepcopy(first) is first
    assert fix(chinchilla, E=1.69, A=2.0) is fix(chinchilla, A=2.0, E=1.69)
    assert fix(chinchilla, E=1.69) is not fix(chinchilla, E=1.7)
    assert fix(chinchilla, E=1) is fix(chinchilla, E=1.0)


def test_a_compiled_program_is_used_again() -> None:
    traced = []

    def counted(law: Law, N: Any) -> Any:
        traced.append(law)
        return law(N, 1e10, A=400.0, alpha=0.34, B=410.0, beta=0.28)

    program = jax.jit(counted, static_argnums=0)
    for size in (1e9, 2e9):
        program(fix(chinchilla, E=1.69), size)
    assert len(traced) == 1


def test_the_code_of_a_law_distinguishes_recipes() -> None:
    one, other = fix(chinchilla, E=1.69, name="same"), fix(chinchilla, E=1.7, name="same")
    assert "A / N**alpha" in one.code and one.code != other.code
    assert law(inputs={}, response=Response(""), source="a textbook")(eval("lambda: 1.0")).code == ""


def test_inputs_of_one_name_are_defined_where_all_are() -> None:
    narrow = declare_law(
        "narrow", dict(x=Input("", low=0.5, high=9.0, lower=1.0, typical=(1.0, 2.0))), Response(""), lambda x: x
    )
    merged = (shares + narrow).inputs["x"]
    assert merged == Input("", 0.5, 9.0, 1.0, (1.0, 2.0))


def test_a_response_can_be_declared_where_units_differ() -> None:
    both = algebra.add(rename(chinchilla, N=Input("parameters")), bits, response=Response("nat or bit"))
    assert both.response.unit == "nat or bit"


def test_a_composed_law_is_fitted() -> None:
    composed = fix(compose(chinchilla, D=repetition), E=1.8)
    sizes = designs.grid(N=(1e8, 1e10, 5), U_D=(1e9, 3e10, 3), D=(3e9, 1e12, 6))
    truth = dict(A=480.0, alpha=0.35, B=2000.0, beta=0.37, R_D=12.0)
    table = simulate(composed, truth, sizes, noise=1e-9)
    observations = Observations.from_table(table, inputs=list(composed.inputs), response="loss")
    fit = jaxscale.fit(composed, observations, noise=noise.squared("log"), n_resamples=0, starts=512)
    assert fit.params == pytest.approx(truth, rel=1e-5)
    assert str(fit.law) == "chinchilla(D=repetition_tokens)(E=1.8)"
    assert fit.predict(N=1e9, U_D=1e9, D=1e11) == pytest.approx(float(composed(1e9, 1e9, 1e11, **truth)), rel=1e-7)
    assert jaxscale.Fit.from_json(fit.to_json(), law=composed).predict(N=1e9, U_D=1e9, D=1e11) == fit.predict(
        N=1e9, U_D=1e9, D=1e11
    )


def test_a_chain_is_fitted_to_accuracies() -> None:
    chained = fix(chain(chinchilla, accuracy, through="L"), E=1.8172, A=482.01, alpha=0.3478)
    sizes = designs.grid(N=(1e8, 1e10, 6), D=(1e9, 1e12, 8))
    truth = dict(B=2085.43, beta=0.3658, **CURVE)
    table = simulate(chained, truth, sizes, noise=1e-7, response="accuracy")
    observations = Observations.from_table(table, inputs=["N", "D"], response="accuracy")
    fit = jaxscale.fit(chained, observations, n_resamples=0, starts=1024)
    assert fit.params == pytest.approx(truth, rel=2e-3)
