"""Notices: caveats about a result, each with a code, a meaning and a remedy."""

from dataclasses import dataclass

from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.text import wrap


@dataclass(frozen=True)
class Notice:
    """A caveat about a result that does not stop the computation.

    Args:
        code: a key of :data:`CODES`.
        message: what was found, and where.
    """

    code: str
    message: str

    def __post_init__(self) -> None:
        """Refuse an unknown code."""
        if self.code not in CODES:
            raise ArgumentError("code", f"must be one of {', '.join(CODES)}, but is {self.code!r}.")


CODES: dict[str, tuple[str, str]] = {
    "duplicate_rows": (
        "Several rows have the same inputs and the same response, so a run may have been entered twice.",
        "Remove the copies; if they are repeated measurements of one run, give its column as run=.",
    ),
    "units": (
        "All values of an input are so small that the column is probably in another unit.",
        "Convert the column to the unit of the law, for example to parameters rather than billions of them.",
    ),
    "unidentified": (
        "The inputs do not identify the named parameters, and the fit was computed because this was allowed.",
        "Add the runs that the design check suggests, or fix a parameter.",
    ),
    "at_bound": (
        "The estimate of a parameter is at a bound of its support; its standard error is not meaningful.",
        "Fit a law without that term, fix the parameter, or add runs where the term matters.",
    ),
    "outside_range": (
        "The estimate of a parameter is outside the plausible range of this law.",
        "Check the units of the inputs and whether the law suits the data.",
    ),
    "flat": (
        "The estimates of the named parameters are nearly collinear: the objective is almost flat along a combination.",
        "Fix one of the named parameters, or add runs that separate them.",
    ),
    "no_overdispersion": (
        "The counts show no overdispersion: the estimate of the dispersion or concentration tends to infinity.",
        "Use the Poisson likelihood in place of the negative binomial, or the binomial in place of the beta-binomial.",
    ),
    "starts_disagree": (
        "Too few polished starts ended at the best objective to be confident that it is the global optimum.",
        "Raise the number of starts, fix a parameter, or use a simpler law.",
    ),
    "independent_starts_disagree": (
        "No randomly selected start converged to the best objective; only starts selected by their scores did.",
        "Fit again with another seed and more starts, and compare the objectives; or fix a parameter.",
    ),
    "other_basins": (
        "There are other local minima whose objectives are close to the best; the best one is reported.",
        "Compare their parameters (basins in the JSON file) before using the estimates.",
    ),
    "not_converged": (
        "The best start did not satisfy the convergence criterion.",
        "Raise the number of starts; if the notice remains, the data may not determine the parameters: fix one.",
    ),
    "worse_than_constant": (
        "The law describes the responses no better than a constant does.",
        "Keep only rows in the regime of the law (where), check the row with the largest residual, or use another law.",
    ),
    "outlying_rows": (
        "A few outliers make R^2 negative; the robust loss limits their influence on the fit.",
        "Check the row with the largest residual for an error; leave it out (where) if it is one.",
    ),
    "no_degrees_of_freedom": (
        "There are as many free parameters as rows, so that the fit cannot be assessed; R^2 is not meaningful.",
        "Add runs, fix parameters, or use a law with fewer of them.",
    ),
    "few_degrees_of_freedom": (
        "Standard errors have at most one degree of freedom, which is too few for intervals.",
        "Add runs, fix parameters, or use a law with fewer of them.",
    ),
    "poorly_determined": (
        "The data hardly determine a parameter: its standard error exceeds its value, or a factor of ten "
        "on the logarithmic scale.",
        "Do not report it: fix one of the named parameters, add runs that vary its inputs, or use a simpler law.",
    ),
    "resamples_failed": (
        "Some refits of resampled data did not converge and were left out.",
        "If there are many, standard errors and intervals are too small: fix a parameter or use a simpler law.",
    ),
    "runs_ignored": (
        "Several rows share a run, but were resampled as if their errors were independent.",
        "Resample with kind wild, cluster or parametric, which keep the rows of a run together.",
    ),
    "leave_one_out": (
        "The draws are leave-one-out refits, whose spread is far smaller than the sampling variability of estimates.",
        "Use the jackknife standard errors (about['stderr']); for predictions and decisions use bootstrap.",
    ),
    "not_mixed": (
        "The chains have not mixed, so that the draws do not yet represent the posterior.",
        "Increase num_samples and num_warmup, give narrower priors, or fix the named parameter.",
    ),
    "few_draws": (
        "The effective sample size is too small for interval endpoints.",
        "Draw more, with more chains or longer ones.",
    ),
    "divergences": (
        "There are divergent transitions, so that the sampler may have missed part of the posterior.",
        "Give a narrower prior to parameters that the data do not identify, or fix them; more draws do not help.",
    ),
    "low_energy": (
        "The energy fraction of missing information (E-BFMI) is low, so that the tails may be explored poorly.",
        "Draw more, or use a likelihood or prior with lighter tails.",
    ),
    "heavy_weights": (
        "A few importance weights dominate, so that the draws do not represent the posterior.",
        'Sample with method="nuts" (or "auto", which falls back to it).',
    ),
    "not_calibrated": (
        "The posterior is not known to be calibrated for this design: with so few runs, or this likelihood, simulation "
        "did not confirm the coverage of its intervals.",
        "Add runs, fix a parameter, or use a likelihood and a design that the coverage study covers; where residuals "
        "scale with the response, use --likelihood normal --scale-by level.",
    ),
    "prior_range": (
        "The responses lie outside the range that the law declares for the named parameters, so that their default "
        "priors, which do not depend on the responses, may bias the posterior.",
        "Give priors for the named parameters (priors=, --prior), or express the response in the law's unit.",
    ),
    "not_determined": (
        "The data do not determine the named parameters: a term that they belong to is not needed, or runs that would "
        "separate them are missing.",
        "Fit a simpler law without that term, fix one of the named parameters, or add runs where the term matters.",
    ),
    "scatter_exceeds_errors": (
        "The residuals are larger than the known errors of the rows allow, so that the law is misspecified, or the "
        "errors are understated: standard errors are too small.",
        "Leave out sigma to estimate the scatter from the residuals, or use a law that describes the rows better.",
    ),
    "several_modes": (
        "The posterior has several separate modes; intervals may span a region of negligible density between them.",
        "Look at the pair plot; fix a parameter or give a prior that selects one of them.",
    ),
    "interrupted": (
        "The computation was interrupted; the draws that were finished are kept.",
        "Run it again for all draws; with a checkpoint it resumes where it stopped.",
    ),
    "open_profile": (
        "A profile stays below its threshold over the whole range that was searched, so the interval is open there.",
        "Do not report that end: add runs that determine the quantity, fix a parameter, or lower the level.",
    ),
    "bad_loo": (
        "Leaving out the named rows or runs changes the posterior too much for importance weights to be reliable.",
        "Check these rows for errors, try a likelihood with heavier tails, or refit without them to score them.",
    ),
}


def listing() -> str:
    """Text of all notices: code, meaning and remedy."""
    return "\n\n".join("\n".join(notice_lines(code, meaning)) for code, (meaning, _) in CODES.items())


def notice_lines(code: str, message: str) -> list[str]:
    """Lines of a report for a notice and its remedy."""
    return [
        *wrap(f"{code}: {message}", "", "  "),
        *wrap(f"Remedy: {CODES[code][1]}", "  "),
    ]
