"""Notices: what a person should know about a result, each with a code, a meaning and a cure."""

from dataclasses import dataclass

from jaxscale.utils.errors import ArgumentError
from jaxscale.utils.text import wrapped


@dataclass(frozen=True)
class Notice:
    """Something that does not stop the work but may change what the result means.

    Args:
        code: a key of :data:`CODES`.
        message: what was found, and where.
    """

    code: str
    message: str

    def __post_init__(self) -> None:
        """Refuse a code that nobody can look up."""
        if self.code not in CODES:
            raise ArgumentError("code", f"must be one of {', '.join(CODES)}, but is {self.code!r}.")


CODES: dict[str, tuple[str, str]] = {
    "duplicate_rows": (
        "Several rows have the same inputs and the same response, so a run may have been entered twice.",
        "Remove the copies; where they are repeated measurements of one run, name its column with run=.",
    ),
    "units": (
        "All values of an input are so small that the column is probably counted in another unit.",
        "Multiply the column so that it counts single units, for example parameters rather than billions.",
    ),
    "unidentified": (
        "The inputs cannot tell the named parameters apart, and the fit was made all the same.",
        "Add the runs that the design check names, or fix a parameter.",
    ),
    "at_bound": (
        "A parameter ran to the edge of where it may lie; its standard error means nothing.",
        "Fit a law without that term, fix the parameter, or add runs where the term matters.",
    ),
    "outside_range": (
        "A parameter lies outside the range that is plausible for this law.",
        "Check the units of the inputs and the suitability of the law before using the fit.",
    ),
    "flat": (
        "Some parameters trade off against each other, so that the objective hardly depends on them.",
        "Fix one of the named parameters, or add runs that vary what separates them.",
    ),
    "no_overdispersion": (
        "The counts scatter no more than the distribution without the dispersion or concentration says, which runs to "
        "infinity.",
        "Use the Poisson likelihood in place of the negative binomial, or the binomial in place of the beta-binomial.",
    ),
    "starts_disagree": (
        "Too few polished starts ended at the best objective to trust that it is the global optimum.",
        "Raise the number of starts, fix a parameter, or use a simpler law.",
    ),
    "independent_starts_disagree": (
        "No start that was drawn at random ended at the best objective; only starts chosen by their scores did.",
        "Fit again with another seed and more starts, and compare the objectives; or fix a parameter.",
    ),
    "other_basins": (
        "There are other local minima whose objectives are close to the best; the best one is reported.",
        "Compare their parameters (basins in the JSON file) before leaning on the numbers.",
    ),
    "not_converged": (
        "The best descent did not end at a certified optimum.",
        "Raise the number of starts; if it stays, the law is not determined by these data: fix a parameter.",
    ),
    "worse_than_constant": (
        "The law describes the responses no better than a constant does.",
        "Keep only rows in the regime of the law (where), check the row of the largest residual, or use another law.",
    ),
    "outlying_rows": (
        "A few rows lie so far from the law that they alone make R^2 negative; the robust loss passes them by.",
        "Check the row of the largest residual for an error; leave it out (where) if it is one.",
    ),
    "no_degrees_of_freedom": (
        "There are as many free parameters as rows, so that nothing shows whether the law holds; R^2 means nothing.",
        "Add runs, fix parameters, or use a law with fewer of them.",
    ),
    "few_degrees_of_freedom": (
        "Standard errors rest on one degree of freedom or none, which is too few for intervals.",
        "Add runs, fix parameters, or use a law with fewer of them.",
    ),
    "poorly_determined": (
        "The data say next to nothing of a parameter: its standard error exceeds its value, or a factor of ten.",
        "Do not quote it: fix one of the named parameters, add runs that vary its inputs, or use a simpler law.",
    ),
    "resamples_failed": (
        "Some refits of resampled data did not settle and were left out.",
        "If there are many, standard errors and intervals are too small: fix a parameter or use a simpler law.",
    ),
    "runs_ignored": (
        "Several rows share a run, but were resampled as if each had its own luck.",
        "Resample with kind wild, cluster or parametric, which keep the rows of a run together.",
    ),
    "leave_one_out": (
        "The draws are refits without one row or run each: they lie far closer together than estimates do.",
        "Read the standard errors that follow from them (about['stderr']); for draws to act on use bootstrap.",
    ),
    "not_mixed": (
        "The chains of the sampler do not agree with one another, so that what they show is not yet the posterior.",
        "Draw more (draws, warmup), give narrower priors, or fix the named parameter: a flat direction mixes slowly.",
    ),
    "few_draws": (
        "The draws are worth too few independent ones for the ends of an interval.",
        "Draw more, from more chains or for longer.",
    ),
    "divergences": (
        "The sampler met places where its steps were too coarse, and may have missed part of the posterior.",
        "Give a narrower prior to what the data do not identify, or fix it; more draws do not help.",
    ),
    "low_energy": (
        "The sampler moves slowly between levels of energy, so that tails may be explored badly.",
        "Draw more, or use a likelihood or prior with lighter tails.",
    ),
    "heavy_weights": (
        "A few importance weights dominate, so that the draws are no sample of the posterior.",
        'Sample with method="nuts" (or "auto", which does so by itself).',
    ),
    "not_calibrated": (
        "The posterior is not calibrated for this design: with so few runs, or this likelihood, its intervals were not "
        "seen to hold the truth as often as they claim.",
        "Add runs, fix a parameter, or use a likelihood and a design that the coverage study covers; where residuals "
        "scatter by the level, --likelihood normal --scale-by level.",
    ),
    "prior_range": (
        "The responses lie outside the range that the law declares for the named parameters, so that default priors, "
        "which do not follow the responses, may pull the posterior.",
        "Give priors for the named parameters (priors=, --prior), or express the response in the law's unit.",
    ),
    "not_determined": (
        "The named parameters may have almost any value: a term that they belong to is not needed, or runs that would "
        "tell them apart are missing.",
        "Fit a simpler law without that term, fix one of the named parameters, or add runs where the term matters.",
    ),
    "scatter_exceeds_errors": (
        "The residuals are larger than the known errors of the rows allow, so that the law is not exact, or the errors "
        "are too small: standard errors are too small too.",
        "Leave out sigma to estimate the scatter from the residuals, or use a law that describes the rows better.",
    ),
    "several_modes": (
        "The posterior has several separate modes; intervals may span a gap where nothing is plausible.",
        "Look at the pair plot; fix a parameter or give a prior that chooses between them.",
    ),
    "interrupted": (
        "The work was interrupted and what was finished by then is kept.",
        "Run it again for all draws; with a checkpoint it goes on where it stopped.",
    ),
    "open_profile": (
        "A profile stays below its threshold as far as it was followed, so the interval has no end there.",
        "Do not quote that end: add runs that tell the quantity from the others, fix a parameter, or lower the level.",
    ),
    "bad_loo": (
        "Leaving out the named rows or runs changes the posterior so much that weights cannot say what it becomes.",
        "Check these rows for errors, try a likelihood with heavier tails, or refit without them to score them.",
    ),
}


def listing() -> str:
    """Every notice that a result can carry: its code, what it means and what to do."""
    return "\n\n".join("\n".join(notice_lines(code, meaning)) for code, (meaning, _) in CODES.items())


def notice_lines(code: str, message: str) -> list[str]:
    """A notice and its cure, as lines of a report."""
    return [
        *wrapped(f"{code}: {message}", "", "  "),
        *wrapped(f"Cure: {CODES[code][1]}", "  "),
    ]
