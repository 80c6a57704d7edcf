"""Pages of laws and the listing of the catalogue: contents and width."""

import math

import jax
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.law import Input, Response, curve, exponent, floor, law, location, real
from jaxscale.reporting import citation, law_page
from jaxscale.reporting.formula_text import readable
from jaxscale.utils import text as text_module

CATALOGUE = laws.catalogue()


def flowing(text: str) -> str:
    """A page without line breaks."""
    return " ".join(text.split())


def line_of(text: str, start: str) -> str:
    return next(line for line in text.split("\n") if line.startswith(start))


@law(
    inputs=dict(x=Input("steps", low=-math.inf), z=Input("", low=0.0, high=1.0), u=Input("m", low=-math.inf, high=2.0)),
    response=Response("", real),
    c=floor(real),
    b=exponent(),
    source="a test",
)
def bare(x, z, u, *, c, b):
    """A law without a formula."""
    return c + x + z * b + u


def test_listing_shows_inputs_and_summary_of_every_law() -> None:
    text = law_page.listing(CATALOGUE.values())
    message = flowing(text)
    for entry in CATALOGUE.values():
        count = {0: "no parameters", 1: "1 parameter"}.get(len(entry.parameters), f"{len(entry.parameters)} parameters")
        response = entry.response.unit or "any unit"
        named = f"{entry.name} ({', '.join(entry.inputs)}): {response}, {count} {entry.summary.replace('``', '')} ["
        assert named in message
    assert max(map(len, text.split("\n"))) <= text_module.WIDTH


@pytest.mark.parametrize("name", CATALOGUE)
def test_page_shows_the_whole_declaration(name: str) -> None:
    entry = laws.get(name)
    # Operation by operation, also inside nested jit, so that compiled operations serve the whole catalogue.
    with jax.disable_jit():
        text = law_page.page(entry)
    message = flowing(text)
    assert max(map(len, text.split("\n"))) <= text_module.WIDTH
    assert entry.summary.replace("``", "") in message and entry.source in message and "``" not in message
    assert f"Family {entry.family} Source" in message and "Formula none" not in message
    table = text[text.index("\nParameter ") :] if entry.parameters else ""
    for parameter, declared in entry.parameters.items():
        assert line_of(table, f"{parameter} ").split()[1:3] == [declared.kind, declared.support.name]
    for label, values in entry.published.items():
        assert f"{label}: " + ", ".join(f"{key}={value:g}" for key, value in values.items()) in message
    assert "\nShape: " in text and text.endswith(f"\n\n{citation.bibtex(entry)}")
    assert ("no parameters to fit." in message) is (not entry.parameters)


def test_page_shows_ranges_of_inputs() -> None:
    text = law_page.page(bare)
    assert "x: steps, any real number" in text
    assert "z: any unit, between 0 and 1" in text
    assert "u: m, below 2" in text
    assert line_of(text, "LaTeX").split() == ["LaTeX", "none"]
    assert line_of(text, "Formula").split() == ["Formula", "none"]
    assert line_of(text, "Family").split() == ["Family", "test_law_page"]
    facts = law_page.facts(bare)["inputs"]["x"]
    assert (facts["unit"], facts["low"], facts["high"]) == ("steps", None, None)


def test_page_shows_a_sketch() -> None:
    sketch = curve.sketch(laws.get("chinchilla"), "N")
    columns = [[row[8:].ljust(60)[k] for row in sketch[:12]].index("*") for k in range(60)]
    assert columns == sorted(columns) and (columns[0], columns[-1]) == (0, 11)
    assert sketch[0].split()[0] == "11.3" and sketch[-1].split() == ["1e+05", "1e+13"]


def test_a_curve_is_the_law_with_the_other_inputs_in_their_middle() -> None:
    chinchilla = laws.get("chinchilla")
    x, y = curve.curve(chinchilla, "D", 5)
    np.testing.assert_allclose(x, np.geomspace(1e6, 1e13, 5))
    np.testing.assert_allclose(y, chinchilla(1e9, x, **chinchilla.published["besiroglu2024"]), rtol=1e-12)


def test_constant_law_is_sketched_as_a_line() -> None:
    @law(inputs=dict(x=Input("")), response=Response("", real), c=floor(real, range=(1.0, 3.0)), source="a test")
    def level(x, *, c):
        """A level."""
        return c

    rows = curve.sketch(level, "x")
    assert rows[11].count("*") == 60 and rows[0].split() == ["1.73", "|"]


def test_locations_are_spread_over_the_range_of_their_input() -> None:
    @law(
        inputs=dict(x=Input("", typical=(1.0, 1e6))),
        response=Response("", real),
        first=location("x"),
        second=location("x"),
        far=location("x", range=(1e8, 1e9)),
        source="a test",
    )
    def steps(x, *, first, second, far):
        """Steps."""
        return (x > first) + (x > second) + (x > far)

    assert list(steps.typical.values()) == pytest.approx([10**1.5, 1e3, 10**8.75])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("y = a * x**-b1", "y = a · x^-b₁"),
        ("L = (N_c / N)**(alpha_N / alpha_D)", "L = (N_c / N)^(α_N / α_D)"),
        ("z**2 + w**-10 + v**0.5 + u**1 / 2", "z² + w⁻¹⁰ + v^0.5 + u¹ / 2"),
        ("sum_i c_i * exp(-lam * t) -> inf, d_12 <= log10(x)", "Σᵢ cᵢ · exp(-λ · t) → ∞, d₁₂ ≤ log₁₀(x)"),
        ("prod_(j=2..k) (n_j) + D_cpt", "Π_(j=2..k) (nⱼ) + D_cpt"),
    ],
)
def test_formula_is_printed_in_mathematical_notation(code: str, message: str) -> None:
    assert readable(code) == message


def test_families_are_counted_and_listed() -> None:
    found = law_page.by_family(CATALOGUE.values())
    assert list(found) == sorted(found) and sum(map(len, found.values())) == len(CATALOGUE)
    assert {"loss", "moe", "mixtures", "precision", "curves"} <= set(found)
    assert CATALOGUE["chinchilla"] in found["loss"] and CATALOGUE["joint_moe"] in found["moe"]
    rows = law_page.families(CATALOGUE.values()).split("\n")
    assert f"| [moe](LAWS.md#moe) | {len(found['moe'])} | `fine_grained_moe`, `moe_leverage` |" in law_page.families(
        CATALOGUE.values()
    )
    assert len(rows) == 2 + len(found)
    whole = law_page.markdown(CATALOGUE.values())
    assert all(f"\n| `{name}` | " in whole for name in CATALOGUE)
    assert all(f"## {family}\n" in whole for family in found)
