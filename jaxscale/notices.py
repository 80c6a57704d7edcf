"""Notices: what a person should know about a result, each with a code, a meaning and a cure."""

from dataclasses import dataclass


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
            raise ValueError(f"Argument code must be one of {', '.join(CODES)}, but is {self.code!r}.")


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
    "starts_disagree": (
        "Too few polished starts ended at the best objective to trust that it is the global optimum.",
        "Raise the number of starts, fix a parameter, or use a simpler law.",
    ),
    "other_basins": (
        "There are other local minima; the best one is reported.",
        "Compare their parameters (basins in the JSON file) before leaning on the numbers.",
    ),
    "not_converged": (
        "The best descent did not end at a certified optimum.",
        "Raise the number of starts; if it stays, the law is not determined by these data: fix a parameter.",
    ),
    "resamples_failed": (
        "Some bootstrap refits did not settle and were left out of the standard errors.",
        "If there are many, the standard errors are too small: fix a parameter or use a simpler law.",
    ),
    "bad_loo": (
        "Leaving out the named rows or runs changes the posterior so much that weights cannot say what it becomes.",
        "Check these rows for errors, try a likelihood with heavier tails, or refit without them to score them.",
    ),
}
