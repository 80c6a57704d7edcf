"""Declaration of a law: validation, and use as an ordinary function."""

import copy
import inspect
import pickle
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law import (
    Input,
    Law,
    LawError,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    fraction,
    law,
    location,
    positive,
    positive_number,
    real,
    scale,
    unit,
)


@law(
    inputs=dict(N=Input("parameters")),
    response=Response("nat/token", positive),
    source="a textbook",
    E=floor(),
    A=amplitude(N="alpha"),
    alpha=exponent(),
)
def declared(N, *, E, A, alpha):
    """Irreducible loss plus a power law in model size.

    More words.
    """
    return E + A / N**alpha


def declare(**changed: Any) -> Law:
    """The law above with other arguments of its declaration; None omits one."""
    arguments: dict[str, Any] = dict(
        inputs=dict(N=Input("parameters")),
        response=Response("nat/token", positive),
        source="a textbook",
        E=floor(),
        A=amplitude(N="alpha"),
        alpha=exponent(),
    )
    arguments = {key: value for key, value in {**arguments, **changed}.items() if value is not None}
    return law(**arguments)(declared.function)


REFUSED = {
    "missing kind": (dict(alpha=None, A=floor()), "field 'alpha': is a parameter of the function without a kind"),
    "kind without parameter": (dict(beta=exponent()), "field 'beta': has a kind, but the function has no such"),
    "unknown input": (dict(inputs=dict(D=Input("tokens"))), "field 'inputs': must match the positional arguments"),
    "unknown input of a power": (dict(A=amplitude(D="alpha")), "field 'A': names the unknown input 'D'"),
    "unknown input of a location": (dict(A=location("D")), "field 'A': names the unknown input 'D'"),
    "unknown exponent": (dict(A=amplitude(N="beta")), "field 'A': names the unknown exponent 'beta'"),
    "unknown turned exponent": (dict(A=scale(N="-beta")), "field 'A': names the unknown exponent '-beta'"),
    "no source": (dict(source=""), "field 'source': must name the source of the formula"),
    "bad range": (dict(E=floor(range=(2.0, 1.0))), "field 'E': needs a range with low < high, but has (2.0, 1.0)"),
    "empty range": (dict(E=floor(range=(1.0, 1.0))), "field 'E': needs a range with low < high, but has (1.0, 1.0)"),
    "unknown affine": (dict(affine=("E", "C")), "field 'affine': names the unknown parameter 'C'"),
    "published incomplete": (
        dict(published=dict(paper=dict(E=1.0, A=2.0))),
        "field 'published': set 'paper' must hold exactly the parameters ['E', 'A', 'alpha']",
    ),
    "published with more": (
        dict(published=dict(paper=dict(E=1.0, A=2.0, alpha=0.3, beta=0.4))),
        "field 'published': set 'paper' must hold exactly the parameters ['E', 'A', 'alpha']",
    ),
    "published outside support": (
        dict(published=dict(paper=dict(E=1.0, A=-2.0, alpha=0.3))),
        "field 'published': set 'paper' has A = -2.0, outside its support (positive)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_declaration_names_law_and_field(case: str) -> None:
    changed, message = REFUSED[case]
    with pytest.raises(LawError) as raised:
        declare(**changed)
    assert str(raised.value).startswith("law 'declared', ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (
            "inputs=dict(N=Input('')), b=0.5",
            "law 'f', field 'b': must be a parameter kind such as exponent(), but is 0.5",
        ),
        ("inputs=dict(N='size'), b=exponent()", "law 'f', field 'N': must be an Input(...), but is 'size'"),
    ],
)
def test_a_declaration_of_the_wrong_type_names_law_and_field(declaration: str, message: str) -> None:
    # In a process of its own: here the checks of the annotations would refuse the call first.
    program = f"""
from jaxscale.law import Input, LawError, Response, exponent, law
try:
    law(response=Response(''), source='a textbook', name='f', {declaration})(lambda N, *, b: N**b)
except LawError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == message


def test_a_declaration_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="source"):
        declare(source="")


def test_attributes_of_a_declared_law() -> None:
    assert declared.name == "declared"
    assert declared.summary == "Irreducible loss plus a power law in model size."
    assert "More words." in (declared.__doc__ or "")
    assert repr(declared) == "<law declared(N; E, A, alpha)>"
    assert list(inspect.signature(declared).parameters) == ["N", "E", "A", "alpha"]
    assert declare(name="another").name == "another"


def test_a_declaration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(TypeError):
        declared.parameters["alpha"] = floor()  # type: ignore[index]
    with pytest.raises(AttributeError):
        declared.name = "other"  # type: ignore[misc]


def test_supports_of_parameter_kinds() -> None:
    supports = {
        floor(): positive,
        exponent(): positive,
        amplitude(): positive,
        scale(): positive,
        location("x"): positive,
        positive_number(): positive,
        coefficient(): real,
        fraction(): unit,
        exponent(real): real,
    }
    assert all(kind.support is support for kind, support in supports.items())
    assert amplitude(N="alpha", D="beta").powers == (("N", "alpha"), ("D", "beta"))
    assert location("x").input == "x"


def test_supports_are_open() -> None:
    assert not positive.contains(0.0)
    assert not unit.contains(1.0)
    assert positive.contains(1e-300) and unit.contains(0.5) and real.contains(-1e300)
    assert not real.contains(float("nan"))


@pytest.mark.parametrize(
    "original", [declared, laws.get("chinchilla"), laws.get("bnsl2"), laws.get("bnsl[5]")], ids=str
)
def test_copies_and_pickles_are_the_law_itself(original: Law) -> None:
    assert pickle.loads(pickle.dumps(original)) is original
    assert copy.deepcopy(original) is original
    assert {original: 1}[original] == 1


def test_a_law_is_a_function_under_every_transformation(x64: None) -> None:
    params = dict(E=1.0, A=10.0, alpha=0.5)
    assert declared(100.0, **params) == 2.0
    assert jax.jit(declared)(100.0, **params) == 2.0
    batch = jax.vmap(lambda n: declared(n, **params))(jnp.array([100.0, 400.0]))
    np.testing.assert_allclose(batch, [2.0, 1.5], rtol=1e-15)
    np.testing.assert_allclose(declared(np.array([100.0, 400.0]), **params), [2.0, 1.5], rtol=1e-15)
    slope = jax.grad(lambda p: declared(100.0, **p))(params)
    np.testing.assert_allclose([slope["E"], slope["A"], slope["alpha"]], [1.0, 0.1, -np.log(100.0)], rtol=1e-14)


@pytest.mark.parametrize(
    "count", [70_000_000_000, 10**20, np.int64(70_000_000_000), np.array([70_000_000_000])], ids=repr
)
def test_counts_beyond_32_bits_do_not_wrap_round(count: Any) -> None:
    nd = laws.get("kaplan_nd")
    params = nd.published["kaplan2020"]
    exact = nd(np.asarray(count, float), 2e10, **params)
    np.testing.assert_allclose(nd(count, 20_000_000_000, **params), exact, rtol=1e-6)


def test_small_integers_stay_integers() -> None:
    @law(inputs=dict(k=Input("index", low=-1.0)), response=Response("", real), source="a textbook", a=coefficient())
    def indexed(k, *, a):
        """An input that counts."""
        return a * jnp.arange(3.0)[k]

    assert indexed(2, a=1.0) == 2.0
    assert list(indexed(np.array([0, 2]), a=1.0)) == [0.0, 2.0]
