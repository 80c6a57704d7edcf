"""BibTeX citations of laws and fits."""

import dataclasses
import re

import pytest

import jaxscale
from jaxscale import designs, laws, noise
from jaxscale.data.observations import Observations
from jaxscale.fitting.fit import fit
from jaxscale.law import Law
from jaxscale.reporting import citation
from jaxscale.reporting.citation import Paper, papers
from jaxscale.results.fit import Fit

CATALOGUE = laws.catalogue()
ENTRY = re.compile(r"@(misc|software|article)\{[a-z0-9]+,\n(  \w+ = \{.*\},\n)+\}", re.DOTALL)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    observations = Observations.from_table(designs.example(), inputs=["N", "D"], response="loss")
    return fit("chinchilla", observations, noise=noise.huber(1e-3), starts=64, n_resamples=8)


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("law", CATALOGUE.values(), ids=CATALOGUE)
def test_a_source_names_papers_or_a_standard_form(law: Law) -> None:
    for part in law.source.split("; "):
        assert part == part.strip() and part and not part.endswith(".")
        # A source with a year or an arXiv number has an author and is parsed completely.
        named = papers(part)
        assert len(named) == (part != citation.UNCONFIRMED and "a standard " not in part)
        assert all(paper.author or not re.search(r", .* \d{4}$|arXiv", paper.title) for paper in named)
    assert citation.UNCONFIRMED not in law.source or law.source.endswith(f"; {citation.UNCONFIRMED}")
    for entry in citation.bibtex(law).split("\n\n"):
        # A source without papers gives a comment.
        assert ENTRY.fullmatch(entry) if papers(law.source) else entry.startswith(f"% {law.name}: ")
        assert entry.count("{") == entry.count("}")


def test_one_key_is_one_paper() -> None:
    found: dict[str, Paper] = {}
    for law in CATALOGUE.values():
        for paper in papers(law.source):
            assert found.setdefault(paper.key, paper) == paper
    assert len({paper.title.lower() for paper in found.values()}) == len(found)


def test_source_is_parsed_into_papers() -> None:
    source = (
        "The First & Best: Part 3.3, a Tale, Maia Polo 2024, arXiv:2401.01234; Bare title; "
        "the Hill curve, a standard form; unconfirmed form"
    )
    first, second = papers(source)
    assert first == Paper("The First & Best: Part 3.3, a Tale", "Maia Polo", "2024", "2401.01234")
    assert second == Paper("Bare title")
    assert (first.key, first.short, second.key, second.short) == (
        "maiapolo2024first",
        "Maia Polo 2024",
        "bare",
        "Bare title",
    )
    assert first.bibtex == (
        "@misc{maiapolo2024first,\n  title = {{The First \\& Best: Part 3.3, a Tale}},\n"
        "  author = {{Maia Polo} and others},\n  year = {2024},\n"
        "  eprint = {2401.01234},\n  archivePrefix = {arXiv},\n}"
    )


def test_short_source_marks_unconfirmed_forms() -> None:
    assert citation.short(laws.get("chinchilla")) == "Hoffmann 2022; Besiroglu 2024"
    assert citation.short(laws.get("hill")) == "a standard form"
    assert citation.short(laws.get("t2i_power")).endswith("; unconfirmed form")


def test_the_citation_of_a_fit_names_its_law_and_its_methods(fitted: Fit) -> None:
    text = jaxscale.citation(fitted)
    law, methods = ["hoffmann2022training", "besiroglu2024chinchilla"], ["jaxscale", "jax2018"]
    search, affine = ["marquardt1963algorithm", "mckay1979comparison"], ["golub1973differentiation"]
    assert keys(text) == [*law, *methods, *search, *affine, "huber1964robust", "efron1979bootstrap"]
    assert all(ENTRY.fullmatch(entry) for entry in text.split("\n\n"))
    assert jaxscale.citation(dataclasses.replace(fitted, law=str(fitted.law))) == text


@pytest.mark.parametrize(
    ("method", "loss", "last"),
    [
        ("classical", "squared", ["golub1973differentiation"]),
        ("sandwich", "student_t", ["lange1989robust", "white1980heteroskedasticity"]),
        ("hc3", "huber", ["huber1964robust", "white1980heteroskedasticity", "mackinnon1985some"]),
        ("cluster sandwich", "squared", ["white1980heteroskedasticity", "cameron2015practitioner"]),
    ],
)
def test_only_methods_that_were_used_are_cited(fitted: Fit, method: str, loss: str, last: list[str]) -> None:
    other = dataclasses.replace(
        fitted, errors=dataclasses.replace(fitted.errors, method=method), noise=jaxscale.noise.named(loss)
    )
    assert keys(jaxscale.citation(other))[-len(last) :] == last
    bound = dataclasses.replace(other, free=("alpha", "beta"))
    assert "golub1973differentiation" not in keys(jaxscale.citation(bound))
