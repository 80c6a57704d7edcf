"""Parts of a fit: landscape, standard errors, residuals, design check, provenance."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Basin:
    """A minimum that polished starts converged to.

    Args:
        objective: of the minimum.
        count: starts that converged to it.
        params: every parameter there.
    """

    objective: float
    count: int
    params: dict[str, float]


@dataclass(frozen=True)
class Landscape:
    """Starts of a search and the minima they converged to.

    Args:
        scored: starts whose objective was computed.
        polished: starts that descended.
        converged: descents that ended at a minimum.
        independent: polished starts that were drawn at random, whatever their score.
        agree: independent starts that ended at the best objective to 1e-6.
        agree_all: polished starts that did.
        basins: minima, best first.
    """

    scored: int
    polished: int
    converged: int
    independent: int
    agree: int
    agree_all: int
    basins: tuple[Basin, ...] = ()


@dataclass(frozen=True)
class StandardErrors:
    """How the standard errors of a fit were estimated, and what its intervals need beside them.

    Args:
        method: "classical", "hc3", "known errors", "observed information", "sandwich", "bootstrap" (the last two also
            with "cluster " before them), or "none".
        freedom: degrees of freedom of t quantiles.
        n_resamples: bootstrap resamples; 0 where there are none.
        reason: why this method, or why there are no errors; may be empty.
        at_bound: parameters that lie at an end of their support, and that end.
        percentiles: of the resamples, by parameter, at ``shares``.
        shares: of the percentiles.
    """

    method: str
    freedom: int
    n_resamples: int = 0
    reason: str = ""
    at_bound: dict[str, float] = field(default_factory=dict)
    percentiles: dict[str, tuple[float, ...]] = field(default_factory=dict)
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Residuals:
    """Residuals ``t(law) - t(response)`` in the noise's space.

    Args:
        rms: root mean square.
        median: median absolute residual.
        largest: the residual that is largest in absolute value.
        largest_row: its row, as ``row_unit`` counts it.
        row_unit: "line" of a text file, else "row".
        r2: coefficient of determination, in the response's own unit.
        r2_trimmed: without the twentieth of the rows that are farthest from the law.
    """

    rms: float
    median: float
    largest: float
    largest_row: int
    row_unit: str
    r2: float
    r2_trimmed: float


@dataclass(frozen=True)
class Design:
    """The design check of a fit.

    Args:
        verdict: "identified", or what the rows do not determine.
        condition: condition number of the information matrix.
        noise_level: noise assumed, relative to the response.
        stderr: expected standard error of every parameter.
        allowed: whether the fit was made in spite of the verdict.
    """

    verdict: str
    condition: float
    noise_level: float
    stderr: dict[str, float]
    allowed: bool


@dataclass(frozen=True)
class Provenance:
    """What identifies the computation behind a result.

    Args:
        seed: of starts and resamples.
        versions: of Python and of the packages that computed it.
        data: name of the table.
        data_sha256: fingerprint of the table.
        used_sha256: fingerprint of the numbers that were fitted; empty in files of older versions.
        columns: input or "response" to column.
    """

    seed: int
    versions: dict[str, str]
    data: str
    data_sha256: str
    used_sha256: str
    columns: dict[str, str]
