# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Coverage of nominal 90 % intervals on simulated sweeps."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from scipy import stats

from benchmarks.calibration_sweeps import CASES, DESIGNS, Case, Columns, levels, sweeps
from benchmarks.common import table
from jaxscale import likelihoods
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.fitting.sandwich import classical, sandwich
from jaxscale.law import Law, positive
from jaxscale.noise.likelihoods import Likelihood
from jaxscale.results.fit import LOGARITHMIC
from jaxscale.sampling.adaptive_sampler import ImportanceSettings

LEVEL, BAND = 0.9, (0.88, 0.92)
# Bins of the effective sample size relative to the number of proposals.
SHARES = (0.0, 0.05, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)
# Designs that are evaluated as one batch.
GROUPS = (
    ("12 runs", "25 runs", "40 runs, t3", "40 runs, by level", "40 runs, by halves"),
    ("12 runs x 8",),
    ("240 runs",),
)
Quantity = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def likelihood_of(method: str, case: Case) -> Likelihood:
    """Likelihood of a method."""
    space: Any = case.space
    return {
        "posterior, t": likelihoods.student_t(None, space),
        "posterior, normal": likelihoods.normal(space),
        "posterior, normal, level": likelihoods.normal(space, scale_by="level"),
        "posterior, normal, group": likelihoods.normal(space, scale_by="group"),
    }[method]


def quantities(case: Case, law: Law) -> dict[str, Quantity]:
    """Inferred quantities: parameters, optimal size at ten times the largest budget, value beyond the data."""
    found: dict[str, Quantity] = {name: (lambda p, n=name: p[n]) for name in law.parameters if name not in case.fixed}
    if case.optimum:
        found["N*"] = partial(_optimal_size, case)
    for label, place in zip(("near", "far"), case.beyond, strict=True):
        at = {name: np.asarray(value, float) for name, value in place.items()}

        def value(p: Mapping[str, np.ndarray], at: Mapping[str, np.ndarray] = at) -> np.ndarray:
            shape = np.broadcast_shapes(*(np.shape(v) for v in p.values()))
            flat = {name: np.broadcast_to(v, shape).ravel() for name, v in p.items()}
            return levels(law, at, flat).reshape(shape)

        found[f"value {label}"] = value
    return found


def _optimal_size(case: Case, p: Mapping[str, Any], xp: Any = np) -> Any:
    """Optimal model size at ten times the largest budget."""
    budget = 10 * 6 * case.sizes["N"][1] * case.sizes["D"][1]
    a, b = p["alpha"], p.get("beta", p["alpha"])
    ratio = xp.log(a) + xp.log(p["A"]) - xp.log(b) - xp.log(p["B"])
    return xp.exp((ratio + b * math.log(budget / 6)) / (a + b))


def count_covered(lower: np.ndarray, upper: np.ndarray, truth: float) -> dict[str, float]:
    """Number of intervals that cover the truth, lie above it and below it, and their median width."""
    # An open profile has an infinite end, which covers the truth.
    usable = ~(np.isnan(lower) | np.isnan(upper))
    return {
        "count": int(len(lower)),
        "hits": int(np.sum(usable & (lower <= truth) & (truth <= upper))),
        "too high": int(np.sum(usable & (truth < lower))),
        "too low": int(np.sum(usable & (truth > upper))),
        "width": float(np.median((upper - lower)[usable])) if usable.any() else math.inf,
    }


def by_posterior(case: Case, law: Law, found: Any, rows: slice) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Results for the equal-tailed intervals of a slice of the posteriors, and diagnostics of these."""
    params = {name: np.asarray(v)[rows] for name, v in found.params.items()}
    cells, tails = {}, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    khat, ess = found.khat[rows], found.ess[rows]
    for name, quantity in quantities(case, law).items():
        truth = float(np.squeeze(quantity({k: np.asarray(v, float) for k, v in case.truth.items()})))
        lower, upper = np.nanquantile(quantity(params), tails, axis=1)
        cells[name] = count_covered(lower, upper, truth)
        cells[name]["missed"] = np.flatnonzero(~((lower <= truth) & (truth <= upper))).tolist()
    about = {
        "heavy": int(np.sum(khat >= KHAT_LIMIT)),
        "nuts": int(np.sum(found.method[rows] == "nuts")),
        "ok": int(found.ok[rows].sum()),
    }
    if np.isfinite(ess).any():
        about |= {"khat": np.round(khat, 3).tolist()}
        proposals = ImportanceSettings(draws=next(iter(params.values())).shape[1]).proposals
        about |= {"share": np.round(ess / proposals, 4).tolist()}
    return cells, about


def by_curvature(
    case: Case, law: Law, columns: Columns, response: np.ndarray, run: np.ndarray | None, place: Any, clustered: bool
) -> dict[str, dict[str, float]]:
    """Results for Wald intervals of least-squares fits, with classical or cluster-robust standard errors."""
    free = [name for name in law.parameters if name not in case.fixed]
    transform = np.log if case.space == "log" else np.asarray
    residual = transform(levels(law, columns, place)) - transform(response)
    jacobian = np.stack([_slope(lambda p: transform(levels(law, columns, p)), place, n) for n in free], axis=-1)
    covariance, freedom = [], 1
    for J, r in zip(jacobian, residual, strict=True):
        if clustered:
            one, freedom = sandwich(J.T @ J, J * r[:, None], np.eye(len(free)), run, J[:, :, None] * J[:, None, :])
        else:
            one, freedom = classical(J, r, np.ones(len(r)))
        covariance.append(one)
    t = stats.t.ppf((1 + LEVEL) / 2, freedom)
    cells = {}
    for name, quantity in quantities(case, law).items():
        truth = float(np.squeeze(quantity({k: np.asarray(v, float) for k, v in case.truth.items()})))
        kind = law.parameters.get(name)
        logarithmic = kind.kind in LOGARITHMIC and kind.support is positive if kind else law.response.domain is positive
        seen: Any = np.log if logarithmic else np.asarray
        middle = seen(quantity(place))
        slope = np.stack([_slope(lambda p, q=quantity, s=seen: s(q(p)), place, n) for n in free], axis=-1)
        with np.errstate(invalid="ignore", over="ignore"):
            spread = t * np.sqrt(np.einsum("si,sij,sj->s", slope, np.stack(covariance), slope))
            lower, upper = (np.exp(end) if logarithmic else end for end in (middle - spread, middle + spread))
        cells[name] = count_covered(lower, upper, truth)
    return cells


def by_refits(case: Case, law: Law, data_sets: Sequence[Any], method: str) -> dict[str, dict[str, float]]:
    """Results for percentile intervals of a bootstrap (of runs if these have several rows) or profile likelihoods."""
    import jaxscale

    every = quantities(case, law)
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
    # The same function objects every time, so that profiles compile them once.
    of = {name: value for name, value in _derived(case, law).items() if method == "profile"}
    for runs in data_sets:
        noise = jaxscale.noise.squared(cast(Any, case.space))
        settings: Any = dict(noise=noise, fixed=case.held, starts=128, n_resamples=0, allow_unidentified=True)
        fitted = jaxscale.fit(law, runs, progress=False, **settings)
        # A fit at a bound has no such intervals; that counts as a miss.
        own: dict[str, Any] = dict.fromkeys(every, (math.nan, math.nan))
        with contextlib.suppress(ValueError):
            if method == "profile":
                found = jaxscale.profile(fitted, quantity=of, level=LEVEL).intervals().params
                own = {name: (found[name]["lower"], found[name]["upper"]) for name in every}
            else:
                draws = jaxscale.bootstrap(fitted, n_resamples=400, progress=False)
                params = {**{name: np.full(len(draws), v) for name, v in case.held.items()}, **draws.params}
                tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
                own = {name: tuple(np.nanquantile(value(params), tails)) for name, value in every.items()}
        for name, pair in own.items():
            ends[name].append(pair)
    truth = {
        name: float(np.squeeze(v({k: np.asarray(c, float) for k, c in case.truth.items()})))
        for name, v in every.items()
    }
    return {name: count_covered(*np.array(pairs).T, truth[name]) for name, pairs in ends.items()}


def _derived(case: Case, law: Law) -> dict[str, Any]:
    """Inferred quantities other than the parameters, as differentiable functions."""
    found: dict[str, Any] = {}
    if case.optimum:
        found["N*"] = partial(_optimal_size, case, xp=jnp)
    for label, place in zip(("near", "far"), case.beyond, strict=True):
        at = [place[name] for name in law.inputs]
        found[f"value {label}"] = lambda p, at=at: law(*at, **p)
    return found


def _slope(function: Quantity, place: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Derivative in one parameter by central differences, for every sweep."""
    step = 1e-5 * np.maximum(np.abs(place[name]), 1e-8)
    up, down = (function({**place, name: place[name] + sign * step}) for sign in (1, -1))
    return (up - down) / (2 * step.reshape(step.shape + (1,) * (up.ndim - 1)))


def methods(design: str) -> list[str]:
    """Methods that are evaluated on a design."""
    found = ["posterior, t", "posterior, normal", "Wald", "bootstrap", "profile"]
    if DESIGNS[design].checkpoints > 1:
        return ["Wald, by runs", *found]
    kind = {"level": "level", "halves": "group"}.get(DESIGNS[design].scatter)
    return [*found, f"posterior, normal, {kind}"] if kind else found


def blocks_of(
    case: Case,
    law: Law,
    designs: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    sampler: str,
    sets: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Cells of one law on sweeps of several designs, as one batch for every method.

    All posteriors start from the least-squares fits; ``wanted`` has the designs of every method.
    """
    import jaxscale

    drawn = {design: sweeps(case, law, DESIGNS[design], sets, seed) for design in designs}
    data_sets = [one for design in designs for one in drawn[design][3]]
    space, kind = cast(Any, case.space), cast(Any, sampler)
    noise = jaxscale.noise.squared(space)
    fits = jaxscale.fit_many(law, data_sets, noise=noise, fixed=case.held, starts=128, seed=seed, progress=False).params
    for method, own in wanted.items():
        start = time.perf_counter()
        curved, found = not method.startswith("posterior"), None
        if not curved:
            places = np.concatenate([np.arange(sets) + sets * designs.index(design) for design in own])
            found = jaxscale.posterior_many(
                law,
                [data_sets[k] for k in places],
                likelihood=likelihood_of(method, case),
                fixed=case.held,
                starts={name: np.asarray(values)[places] for name, values in fits.items()},
                method=kind,
                seed=seed,
                progress=False,
            )
        for k, design in enumerate(own):
            about: dict[str, Any] = {}
            if method in ("bootstrap", "profile"):
                cells = by_refits(case, law, drawn[design][3], method)
            elif curved:
                first = sets * designs.index(design)
                place = {name: np.asarray(v, float)[first : first + sets] for name, v in fits.items()}
                columns, response, run, _ = drawn[design]
                cells = by_curvature(case, law, columns, response, run, place, "runs" in method)
            else:
                cells, about = by_posterior(case, law, found, slice(sets * k, sets * (k + 1)))
            facts = {"law": law.name, "design": design, "method": method, "sets": sets, "seed": seed}
            facts |= {"sampler": "none" if curved else sampler, "seconds": time.perf_counter() - start}
            yield facts | {"about": about, "cells": cells}


def _file_name(*parts: Any) -> str:
    return "_".join("".join(c if c.isalnum() else "-" for c in str(part)) for part in parts) + ".json"


def run(
    folder: Path,
    *,
    blocks: Iterable[int] = (0,),
    sampler: str = "importance",
    only: str = "",
    groups: Sequence[Sequence[str]] = GROUPS,
    chosen: Sequence[str] = (),
    sets: int = 100,
    until: float = math.inf,
    say: Callable[[str], None] = print,
) -> None:
    """Write blocks of cells to a folder, one file each; existing files are kept."""
    from jaxscale import laws

    folder.mkdir(parents=True, exist_ok=True)
    for number in blocks:
        for designs in groups:
            for case in (case for case in CASES if only in case.law):
                paths, wanted = {}, {}
                for design in designs:
                    for method in methods(design):
                        kind = sampler if method.startswith("posterior") else ""
                        path = paths[design, method] = folder / _file_name(case.law, design, method, kind, number)
                        if (not chosen or method in chosen) and not path.exists():
                            wanted.setdefault(method, []).append(design)
                if not wanted:
                    continue
                if time.time() > until:
                    return
                for data_sets in blocks_of(case, laws.get(case.law), designs, wanted, sampler, sets, 1000 + number):
                    paths[data_sets["design"], data_sets["method"]].write_text(json.dumps(data_sets))
                    shares = " ".join(f"{k} {v['hits'] / v['count']:.2f}" for k, v in data_sets["cells"].items())
                    label = f"{case.law} | {data_sets['design']} | {data_sets['method']} | {data_sets['seconds']:.0f} s"
                    facts = {k: v for k, v in data_sets["about"].items() if isinstance(v, int)}
                    say(f"{label} | {facts} | {shares}")


def gather(folder: Path) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Merge the cells of all blocks: (law, design, quantity, method) to counts."""
    cells: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        data_sets = json.loads(path.read_text())
        method = data_sets["method"] + (
            f" ({data_sets['sampler']})" if data_sets["sampler"] in ("auto", "nuts") else ""
        )
        for name, cell in data_sets["cells"].items():
            known = cells.setdefault(
                (data_sets["law"], data_sets["design"], name, method), {"widths": [], "heavy": 0, "nuts": 0}
            )
            for key in ("count", "hits", "too high", "too low"):
                known[key] = known.get(key, 0) + cell.get(key, 0)
            known["widths"].append(cell["width"])
            known["heavy"] += data_sets["about"].get("heavy", 0)
            known["nuts"] += data_sets["about"].get("nuts", 0)
    return cells


def by_weights(folder: Path) -> str:
    """Table of the coverage of importance sampling by its diagnostics."""
    counts = {name: [0, 0, 0] for name in ("k-hat >= 0.7", *(f"{a:.0%} to {b:.0%}" for a, b in pairwise(SHARES)))}
    for path in sorted(folder.glob("*_importance_*.json")):
        data_sets = json.loads(path.read_text())
        if "share" not in data_sets["about"] or "level" in data_sets["design"]:
            continue
        khat, share = np.array(data_sets["about"]["khat"]), np.array(data_sets["about"]["share"])
        place = np.where(
            khat >= KHAT_LIMIT, 0, np.clip(np.searchsorted(SHARES, share, side="right"), 1, len(SHARES) - 1)
        )
        for k, row in enumerate(counts.values()):
            own = place == k
            row[0] += int(own.sum())
            row[1] += len(data_sets["cells"]) * int(own.sum())
            row[2] += sum(int(own[cell["missed"]].sum()) for cell in data_sets["cells"].values())
    rows = [[name, f"{a:,}", f"{1 - c / b:.1%}" if b else ""] for name, (a, b, c) in counts.items()]
    return table(["effective share", "posteriors", "held"], rows)


def p_value(hits: int, count: int) -> float:
    """Two-sided binomial p-value against the nearer edge of the band; 1 inside it."""
    share = hits / count
    if BAND[0] <= share <= BAND[1]:
        return 1.0
    edge = BAND[0] if share < BAND[0] else BAND[1]
    return float(stats.binomtest(hits, count, edge).pvalue)


def holm(values: Sequence[float], level: float = 0.05) -> np.ndarray:
    """Mask of hypotheses that Holm's procedure rejects at a family-wise error rate."""
    order = np.argsort(values)
    rejected = np.zeros(len(values), bool)
    for k, place in enumerate(order):
        if values[place] > level / (len(values) - k):
            break
        rejected[place] = True
    return rejected


def assess(cells: Mapping[tuple[str, str, str, str], Mapping[str, Any]], method: str) -> dict[Any, bool]:
    """Whether each cell of a method passes, by Holm's procedure over all of them."""
    keys = [key for key in cells if key[3] == method]
    out = holm([p_value(cells[key]["hits"], cells[key]["count"]) for key in keys])
    return {key: not bool(rejected) for key, rejected in zip(keys, out, strict=True)}


def summary(cells: Mapping[tuple[str, str, str, str], Mapping[str, Any]]) -> str:
    """Tables of the fraction of cells that pass by method and design, and of every cell."""
    found = sorted({key[3] for key in cells})
    passed = {method: assess(cells, method) for method in found}
    rows = []
    for method in found:
        for design in DESIGNS:
            keys = [key for key in passed[method] if key[1] == design]
            if not keys:
                continue
            shares = np.array([cells[key]["hits"] / cells[key]["count"] for key in keys])
            inside = np.mean((shares >= BAND[0]) & (shares <= BAND[1]))
            heavy = sum(cells[key]["heavy"] for key in keys) / sum(cells[key]["count"] for key in keys)
            rows.append(
                [method, design, str(len(keys)), str(min(cells[key]["count"] for key in keys))]
                + [f"{np.mean([passed[method][key] for key in keys]):.0%}", f"{inside:.0%}"]
                + [f"{np.median(shares):.1%}", f"{shares.min():.1%}", f"{shares.max():.1%}", f"{heavy:.0%}"]
            )
    head = [
        "method",
        "design",
        "cells",
        "sweeps",
        "not rejected",
        "inside 88-92",
        "median",
        "least",
        "most",
        "k-hat>0.7",
    ]
    lines = [table(head, rows), ""]
    rows = []
    for key in sorted(cells):
        cell = cells[key]
        share = cell["hits"] / cell["count"]
        rows.append(
            [*key, str(cell["count"]), f"{share:.1%}", f"{cell['too high'] / cell['count']:.1%}"]
            + [f"{cell['too low'] / cell['count']:.1%}", f"{np.median(cell['widths']):.3g}"]
            + [f"{p_value(cell['hits'], cell['count']):.2g}", "" if passed[key[3]][key] else "rejected"]
        )
    head = ["law", "design", "quantity", "method", "sweeps", "covered", "too high", "too low", "width", "p", "Holm"]
    return "\n".join([*lines, table(head, rows)])
