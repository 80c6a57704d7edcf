"""BibTeX citations of a law's sources and of the methods of a fit.

>>> from jaxscale import laws
>>> [paper.key for paper in papers(laws.chinchilla.source)]
['hoffmann2022training', 'besiroglu2024chinchilla']
"""

import re
from dataclasses import dataclass

from jaxscale.law import Law
from jaxscale.laws import resolve
from jaxscale.results.fit import Fit
from jaxscale.utils.text import wrap

UNCONFIRMED = "unconfirmed form"
# Sources without a paper.
STANDARD = ("a standard form", "a standard identity")
_PAPER = re.compile(
    r"(?P<title>.+), (?P<author>[^,:;\d]+) (?P<year>(?:19|20)\d\d)(?:, arXiv:(?P<arxiv>\d{4}\.\d{4,5}))?"
)
_SPECIAL = re.compile("[&%#_]")
_SMALL = {"a", "an", "and", "for", "from", "how", "in", "is", "of", "on", "the", "to", "with"}


@dataclass(frozen=True)
class Paper:
    """A paper named by a law's source.

    Args:
        title: the title.
        author: family name of the first author; empty where the source gives the title only.
        year: year of publication.
        arxiv: arXiv identifier, where known.
    """

    title: str
    author: str = ""
    year: str = ""
    arxiv: str = ""

    @property
    def key(self) -> str:
        """BibTeX key: author, year and the first significant word of the title."""
        words = re.findall(r"[a-z0-9]+", self.title.lower())
        significant = [word for word in words if word not in _SMALL]
        return re.sub(r"\W", "", self.author).lower() + self.year + (significant or words)[0]

    @property
    def short(self) -> str:
        """Short form for lists: author and year, or the title."""
        return f"{self.author} {self.year}" if self.author else self.title

    @property
    def bibtex(self) -> str:
        """The paper as a BibTeX entry."""
        fields = {"title": f"{{{self.title}}}"}
        if self.author:
            fields |= {"author": f"{{{self.author}}} and others", "year": self.year}
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        return _entry("misc", self.key, fields)


def papers(source: str) -> list[Paper]:
    """The papers named by a law's source, in order; none for a standard form.

    Args:
        source: papers separated by ``"; "``, each ``"Title, First-author Year"`` with ``", arXiv:number"`` where
            known, or a title only; ``"unconfirmed form"`` may follow.
    """
    entries = []
    for part in source.split("; "):
        match = _PAPER.fullmatch(part)
        if match:
            entries.append(Paper(**{name: value or "" for name, value in match.groupdict().items()}))
        elif part != UNCONFIRMED and not any(words in part for words in STANDARD):
            entries.append(Paper(part))
    return entries


def short(law: Law) -> str:
    """A law's source in short: authors and years, and whether the form is unconfirmed.

    Args:
        law: the law.
    """
    names = [paper.short for paper in papers(law.source)] or ["a standard form"]
    return "; ".join(names + [UNCONFIRMED] * law.source.endswith(UNCONFIRMED))


def bibtex(law: Law) -> str:
    """A law's papers as BibTeX; a comment for a standard form.

    Args:
        law: the law.
    """
    return "\n\n".join(paper.bibtex for paper in papers(law.source)) or "\n".join(
        wrap(f"{law.name}: {law.source}", "% ")
    )


def citation(fit: Fit) -> str:
    """BibTeX entries of a fit: the papers of its law and of the methods used.

    Args:
        fit: the fit.
    """
    law = resolve(fit.law)
    known = _METHODS | fit.noise.loss.references
    methods = [_entry(known[key][0], key, known[key][1]) for key in _method_keys(fit, law)]
    return "\n\n".join([bibtex(law), *methods])


def _method_keys(fit: Fit, law: Law) -> list[str]:
    """Keys of the entries of a fit's methods, in the order of printing."""
    method = fit.errors.method
    return [
        "jaxscale",
        "jax2018",
        "marquardt1963algorithm",
        "mckay1979comparison",
        *(["golub1973differentiation"] if set(law.affine) & set(fit.free) else []),
        *fit.noise.loss.references,
        *(["white1980heteroskedasticity"] if "sandwich" in method or method == "hc3" else []),
        *(["mackinnon1985some"] if method == "hc3" else []),
        *(["efron1979bootstrap"] if "bootstrap" in method else []),
        *(["cameron2015practitioner"] if "cluster" in method else []),
    ]


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines_of_fields = [
        wrap(f"{name} = {{{_SPECIAL.sub(_escape, value)}}},", "  ", "    ") for name, value in fields.items()
    ]
    return "\n".join([f"@{kind}{{{key},", *(line for lines in lines_of_fields for line in lines), "}"])


_METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "jaxscale": (
        "software",
        {"title": "{jaxscale: fit scaling laws in JAX}", "author": "{The jaxscale authors}"},
    ),
    "jax2018": (
        "software",
        {
            "title": "{JAX: composable transformations of Python+NumPy programs}",
            "author": "Bradbury, James and Frostig, Roy and Hawkins, Peter and Johnson, Matthew James and others",
            "year": "2018",
            "url": "http://github.com/jax-ml/jax",
        },
    ),
    "marquardt1963algorithm": (
        "article",
        {
            "title": "{An algorithm for least-squares estimation of nonlinear parameters}",
            "author": "Marquardt, Donald W.",
            "journal": "Journal of the Society for Industrial and Applied Mathematics",
            "year": "1963",
            "volume": "11",
            "pages": "431--441",
        },
    ),
    "mckay1979comparison": (
        "article",
        {
            "title": "{A comparison of three methods for selecting values of input variables in the analysis of output "
            "from a computer code}",
            "author": "McKay, M. D. and Beckman, R. J. and Conover, W. J.",
            "journal": "Technometrics",
            "year": "1979",
            "volume": "21",
            "pages": "239--245",
        },
    ),
    "golub1973differentiation": (
        "article",
        {
            "title": "{The differentiation of pseudo-inverses and nonlinear least squares problems whose variables "
            "separate}",
            "author": "Golub, G. H. and Pereyra, V.",
            "journal": "SIAM Journal on Numerical Analysis",
            "year": "1973",
            "volume": "10",
            "pages": "413--432",
        },
    ),
    "white1980heteroskedasticity": (
        "article",
        {
            "title": "{A heteroskedasticity-consistent covariance matrix estimator and a direct test for "
            "heteroskedasticity}",
            "author": "White, Halbert",
            "journal": "Econometrica",
            "year": "1980",
            "volume": "48",
            "pages": "817--838",
        },
    ),
    "mackinnon1985some": (
        "article",
        {
            "title": "{Some heteroskedasticity-consistent covariance matrix estimators with improved finite sample "
            "properties}",
            "author": "MacKinnon, James G. and White, Halbert",
            "journal": "Journal of Econometrics",
            "year": "1985",
            "volume": "29",
            "pages": "305--325",
        },
    ),
    "efron1979bootstrap": (
        "article",
        {
            "title": "{Bootstrap methods: another look at the jackknife}",
            "author": "Efron, B.",
            "journal": "The Annals of Statistics",
            "year": "1979",
            "volume": "7",
            "pages": "1--26",
        },
    ),
    "cameron2015practitioner": (
        "article",
        {
            "title": "{A practitioner's guide to cluster-robust inference}",
            "author": "Cameron, A. Colin and Miller, Douglas L.",
            "journal": "Journal of Human Resources",
            "year": "2015",
            "volume": "50",
            "pages": "317--372",
        },
    ),
}
