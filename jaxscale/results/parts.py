"""Components of a fit: basins, standard errors, residuals, design check and provenance."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Basin:
    """A minimum and the number of polished starts that converged to it.

    Args:
        objective: value at the minimum.
        count: starts that converged to it.
        params: every parameter at the minimum.
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
        independent: polished starts that were drawn at random, regardless of their score.
        agree: independent starts that reached the best objective to 1e-6.
        agree_all: polished starts that reached it.
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
    """Method of the standard errors of a fit, and what its intervals need in addition.

    Args:
        method: "classical", "hc3", "known errors", "observed information", "sandwich", "bootstrap" (the last two also
            with "cluster " before them), or "none".
        freedom: degrees of freedom of t quantiles.
        n_resamples: bootstrap resamples; 0 where there are none.
        reason: why this method, or why there are no errors; may be empty.
        at_bound: parameters at a bound of their support, with that bound.
        percentiles: percentiles of the resamples by parameter, at the probabilities ``shares``.
        shares: probabilities of the percentiles.
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
        r2_trimmed: the same without the 5 % of rows with the largest absolute residuals.
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
        allowed: whether the verdict was overridden.
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
        used_sha256: fingerprint of the fitted numbers; empty in files of older versions.
        columns: input or "response" to column.
    """

    seed: int
    versions: dict[str, str]
    data: str
    data_sha256: str
    used_sha256: str
    columns: dict[str, str]
