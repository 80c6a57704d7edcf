"""Coverage of 90 % predictive intervals for the held-out largest runs of real sweeps."""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.calibration_sweeps import Columns, levels, to_observations
from benchmarks.common import table
from jaxscale.data.tables import Table
from jaxscale.fitting.sandwich import classical, sandwich
from jaxscale.law import Law, positive
from jaxscale.noise import likelihoods
from jaxscale.noise.likelihoods import Likelihood

LEVEL = 0.9
# Fraction of a sweep that is held out, and the largest number of rows of a learning curve.
HELD, LONGEST = 1 / 3, 64
METHODS = ("Wald", "Wald, by runs", "posterior, normal", "posterior, t", "posterior, normal, level")
METHODS += ("Wald, stretched", "forecast")


@dataclass(frozen=True)
class Sweep:
    """A real sweep with held-out larger runs.

    Args:
        file: name of the data set.
        part: name of its subset.
        law: name of the law.
        columns: inputs of the law, shape (n,).
        response: shape (n,).
        held: mask of held-out rows, shape (n,).
        run: codes of runs, if a run has several rows.
    """

    file: str
    part: str
    law: str
    columns: Columns
    response: np.ndarray
    held: np.ndarray
    run: np.ndarray | None = None


def _sweep(
    file: str,
    part: str,
    law: str,
    rows: Table,
    kept: np.ndarray,
    inputs: Mapping[str, str],
    response: str,
    size: np.ndarray,
    run: str = "",
) -> Sweep:
    """Create a sweep from rows of a table; the largest third is held out (whole runs if these have several rows)."""
    y = _numbers(rows, response)
    columns = {name: _numbers(rows, column) for name, column in inputs.items()}
    kept = kept & np.isfinite(y) & np.all([np.isfinite(column) for column in columns.values()], axis=0)
    if not run:
        order = np.argsort(size[kept], kind="stable")
        held = np.zeros(kept.sum(), bool)
        held[order[round((1 - HELD) * len(order)) :]] = True
        return Sweep(file, part, law, {k: v[kept] for k, v in columns.items()}, y[kept], held)
    codes = np.unique(rows.column(run)[kept].astype(str), return_inverse=True)[1]
    largest = np.zeros(codes.max() + 1)
    np.maximum.at(largest, codes, size[kept])
    order = np.argsort(largest, kind="stable")
    held = np.isin(codes, order[round((1 - HELD) * len(order)) :])
    return Sweep(file, part, law, {k: v[kept] for k, v in columns.items()}, y[kept], held, codes)


def _numbers(rows: Table, column: str) -> np.ndarray:
    cells = rows.column(column)
    if cells.dtype.kind in "biuf":
        return cells.astype(float)
    return np.array([float(cell) if str(cell).strip() else math.nan for cell in cells])


def _best(rows: Table, kept: np.ndarray, response: str, *by: str) -> np.ndarray:
    """Mask of the rows with the lowest response for each combination of columns."""
    y = np.where(kept & np.isfinite(_numbers(rows, response)), _numbers(rows, response), np.inf)
    best: dict[Any, int] = {}
    for k, key in enumerate(zip(*(rows.column(name) for name in by), strict=True)):
        if np.isfinite(y[k]) and y[k] < y[best.get(key, k)] or key not in best and np.isfinite(y[k]):
            best[key] = k
    likelihood = np.zeros(len(y), bool)
    likelihood[list(best.values())] = True
    return likelihood


def _of(rows: Table, column: str) -> Iterable[tuple[str, np.ndarray]]:
    cells = rows.column(column).astype(str)
    return [(value, cells == value) for value in np.unique(cells)]


def chinchilla_sweeps(load: Callable[[str], Table]) -> list[Sweep]:
    """Losses of runs by parameters and tokens."""
    found, nd = [], {"N": "params", "D": "tokens"}

    def add(file: str, part: str, rows: Table, kept: np.ndarray, response: str = "loss", run: str = "") -> None:
        size = _numbers(rows, "params") * _numbers(rows, "tokens")
        found.append(_sweep(file, part, "chinchilla", rows, kept, nd, response, size, run))

    rows = load("chinchilla_epoch")
    add("chinchilla_epoch", "published fit", rows, _numbers(rows, "in_published_fit") == 1)
    rows = load("misfitting_sweep")
    add("misfitting_sweep", "best", rows, _best(rows, _numbers(rows, "is_final") == 1, "loss", "params", "tokens"))
    for file in ("isoflop_llama3", "isoflop_xlstm_llama_ctx8192"):
        rows = load(file)
        add(file, "all", rows, np.ones(len(rows), bool))
    rows = load("isoflop_marin_comma_nemotron")
    for part, own in _of(rows, "dataset"):
        add("isoflop_marin_comma_nemotron", part, rows, own)
    rows = load("porian_isoflop_refinedweb")
    for part, own in _of(rows, "experiment"):
        # Below one token for each parameter a model is far from converged.
        add("porian_isoflop_refinedweb", part, rows, own & (_numbers(rows, "tokens") > _numbers(rows, "params")))
    rows = load("overtraining")
    for part, own in _of(rows, "dataset"):
        add("overtraining", part, rows, own, "loss_c4_eval")
    rows = load("olmo_ladder")
    for response in ("loss_c4_en", "loss_pile", "bpb_hellaswag_val", "bpb_arc_easy_test"):
        add("olmo_ladder", response, rows, _numbers(rows, "is_final") == 1, response)
    rows = load("lr_batch_dense")
    add("lr_batch_dense", "best", rows, _best(rows, np.ones(len(rows), bool), "loss", "params", "tokens"))
    rows = load("gemstones")
    # Seven of the 35 checkpoints of each model.
    add("gemstones", "every 50 B", rows, np.round(_numbers(rows, "tokens") / 1e9) % 50 == 0, run="run")
    return found


def other_sweeps(load: Callable[[str], Table]) -> list[Sweep]:
    """Sweeps of other laws."""
    found = []
    rows = load("data_constrained_c4")
    inputs = {"N": "params", "D": "tokens", "U_D": "unique_tokens"}
    size = _numbers(rows, "params") * _numbers(rows, "tokens")
    whole = np.ones(len(rows), bool)
    found.append(_sweep("data_constrained_c4", "all", "data_constrained", rows, whole, inputs, "loss", size))
    rows = load("routed_lm")
    used = _numbers(rows, "in_published_fit") == 1
    for part, own in _of(rows, "router_type"):
        if part != "Dense":
            inputs = {"N": "params", "E": "num_experts"}
            own = used & (own & (_numbers(rows, "num_experts") > 1))
            size = _numbers(rows, "params_total")
            found.append(_sweep("routed_lm", part, "routed_bilinear", rows, own, inputs, "loss", size))
    rows = load("openclip_zeroshot")
    size = _numbers(rows, "macs_total")
    public = rows.column("upstream_dataset").astype(str) != "CLIP-WIT"
    for part, own in _of(rows, "downstream_dataset"):
        inputs = {"C": "macs_total"}
        found.append(_sweep("openclip_zeroshot", part, "clip_pareto", rows, own & public, inputs, "error", size))
    rows = load("learning_curves")
    x, y, seen = _numbers(rows, "seen_examples"), _numbers(rows, "loss"), rows.column("split").astype(str) == "fit"
    for part, own in _of(rows, "curve"):
        own = np.flatnonzero(own & (y > 0) & (x > 0))
        own = np.concatenate([_thin(own[seen[own]]), _thin(own[~seen[own]])])
        found.append(Sweep("learning_curves", part, "learning_curve_floor", {"m": x[own]}, y[own], ~seen[own]))
    return found


def _thin(places: np.ndarray) -> np.ndarray:
    """At most LONGEST of the indices, evenly spaced."""
    return places[np.unique(np.linspace(0, len(places) - 1, min(len(places), LONGEST)).round().astype(int))]


def likelihood_of(method: str) -> Likelihood:
    """Likelihood of a method."""
    return {
        "posterior, t": likelihoods.student_t(),
        "posterior, normal": likelihoods.normal(),
        "posterior, normal, level": likelihoods.normal(scale_by="level"),
    }[method]


def _part(sweep: Sweep, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in sweep.columns.items()}


def by_posterior(
    law: Law, sweeps: Sequence[Sweep], method: str, starts: Any, sampler: str
) -> tuple[list[Any], list[Any]]:
    """Predictive intervals of the held-out rows of every sweep, and diagnostics of the sampler."""
    import jaxscale

    seen = [to_observations(law, _part(s, ~s.held), s.response[~s.held], _runs(s, ~s.held)) for s in sweeps]
    kind: Any = sampler
    likelihood = likelihood_of(method)
    found = jaxscale.posterior_many(
        law, seen, likelihood=likelihood, starts=starts, method=kind, seed=0, progress=False
    )
    ends, about = [], []
    for k, sweep in enumerate(sweeps):
        params = {name: np.asarray(draws[k]) for name, draws in found.params.items()}
        level = levels(law, _part(sweep, sweep.held), params)
        run = _runs(sweep, sweep.held)
        data = {"group": np.zeros(level.shape[1], int), "run": np.arange(level.shape[1]) if run is None else run}
        sites = {name: np.asarray(draws[k]) for name, draws in found.nuisance.items()}
        new = likelihoods.replicate(found.models.likelihood, k, sites, level, data)
        ends.append(np.nanquantile(new, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0))
        about.append({"khat": float(found.khat[k]), "method": str(found.method[k]), "ok": bool(found.ok[k])})
    return ends, about


def _runs(sweep: Sweep, rows: np.ndarray) -> np.ndarray | None:
    return None if sweep.run is None else np.unique(sweep.run[rows], return_inverse=True)[1]


def by_curvature(law: Law, sweeps: Sequence[Sweep], places: Any, clustered: bool) -> list[Any]:
    """Wald prediction intervals ``exp(law +- t sqrt(s^2 + g' V g))``, with log residuals."""
    ends = []
    for k, sweep in enumerate(sweeps):
        place = {name: np.asarray(places[name][k], float)[None] for name in law.parameters}
        seen, held = _part(sweep, ~sweep.held), _part(sweep, sweep.held)
        r = np.log(levels(law, seen, place)[0]) - np.log(sweep.response[~sweep.held])
        J, G = (_slopes(law, columns, place) for columns in (seen, held))
        covariance, freedom = classical(J, r, np.ones(len(r)))
        run = _runs(sweep, ~sweep.held)
        if clustered and run is not None:
            bend = J[:, :, None] * J[:, None, :]
            covariance, freedom = sandwich(J.T @ J, J * r[:, None], np.eye(J.shape[1]), run, bend)
        variance = np.sum(r**2) / max(len(r) - J.shape[1], 1)
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.sqrt(variance + np.einsum("ni,ij,nj->n", G, covariance, G))
            spread = np.minimum(stats.t.ppf((1 + LEVEL) / 2, max(freedom, 1)) * spread, 100.0)
        middle = np.log(levels(law, held, place)[0])
        ends.append(np.exp(np.stack([middle - spread, middle + spread])))
    return ends


def stretch(law: Law, sweeps: Sequence[Sweep], places: Any) -> list[Any]:
    """Wald intervals that are widened by the errors of a hold-out within the fitted rows.

    The largest third of the fitted rows is predicted from the rest; the intervals are multiplied by the 90 % quantile
    of the errors there in units of their half width (in logs; at least 1).
    """
    import jaxscale

    inner = [_inner(sweep) for sweep in sweeps]
    seen = [to_observations(law, _part(s, ~s.held), s.response[~s.held]) for s in inner]
    fits = jaxscale.fit_many(law, seen, noise=jaxscale.noise.squared("log"), progress=False).params
    found = []
    for ends, own, tried in zip(
        by_curvature(law, sweeps, places, False), inner, by_curvature(law, inner, fits, False), strict=True
    ):
        y = np.log(own.response[own.held])
        lower, upper = np.log(tried)
        miss = np.abs(y - 0.5 * (lower + upper)) / (0.5 * (upper - lower))
        factor = max(1.0, float(np.quantile(miss, LEVEL)))
        lower, upper = np.log(ends)
        middle, half = 0.5 * (lower + upper), np.minimum(0.5 * factor * (upper - lower), 100.0)
        found.append(np.exp(np.stack([middle - half, middle + half])))
    return found


def by_discrepancy(law: Law, sweeps: Sequence[Sweep]) -> tuple[list[Any], list[Any]]:
    """Intervals of :func:`jaxscale.forecast`, with size the product of all inputs, and its diagnostics."""
    import jaxscale

    ends, about = [], []
    for sweep in sweeps:
        seen = to_observations(law, _part(sweep, ~sweep.held), sweep.response[~sweep.held], _runs(sweep, ~sweep.held))
        # Unidentified sweeps are included, as for the other methods.
        settings: Any = dict(level=LEVEL, allow_unidentified=True, progress=False)
        found = jaxscale.forecast(law, seen, at=_part(sweep, sweep.held), **settings)
        ends.append(np.array([(row["lower"], row["upper"]) for row in found.params.values()]).T)
        about.append({name: found.about[name] for name in ("scatter", "discrepancy")})
    return ends, about


def _inner(sweep: Sweep) -> Sweep:
    """Sweep of the fitted rows with their largest third held out, by the product of the inputs."""
    seen = ~sweep.held
    size = np.sum([np.log(column[seen]) for column in sweep.columns.values()], axis=0)
    held = np.zeros(int(seen.sum()), bool)
    held[np.argsort(size, kind="stable")[round((1 - HELD) * len(held)) :]] = True
    return Sweep(sweep.file, sweep.part, sweep.law, _part(sweep, seen), sweep.response[seen], held)


def _slopes(law: Law, columns: Columns, place: Columns) -> np.ndarray:
    found = []
    for name in law.parameters:
        step = 1e-5 * np.maximum(np.abs(place[name]), 1e-8)
        up, down = (levels(law, columns, {**place, name: place[name] + sign * step}) for sign in (1, -1))
        found.append((np.log(up) - np.log(down))[0] / (2 * step[0]))
    return np.stack(found, axis=-1)


def score(sweep: Sweep, ends: np.ndarray) -> dict[str, Any]:
    """Number of held-out responses inside, above and below the intervals; width and interval score in logs."""
    y = np.log(sweep.response[sweep.held])
    with np.errstate(divide="ignore"):
        lower, upper = np.log(np.maximum(ends, 1e-300))
    miss = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    return {
        "file": sweep.file,
        "part": sweep.part,
        "law": sweep.law,
        "seen": int((~sweep.held).sum()),
        "count": len(y),
        "hits": int(np.sum(miss == 0)),
        "above": int(np.sum(y > upper)),
        "below": int(np.sum(y < lower)),
        "width": float(np.median(upper - lower)),
        "score": float(np.mean(upper - lower + 2 / (1 - LEVEL) * miss)),
    }


def run(
    folder: Path,
    *,
    sampler: str = "importance",
    only: str = "",
    until: float = math.inf,
    say: Callable[[str], None] = print,
) -> None:
    """Write scores to a folder, one file for each law and method; existing files are kept."""
    import jaxscale
    from jaxscale import laws
    from jaxscale.data.datasets import load

    folder.mkdir(parents=True, exist_ok=True)
    every = [*chinchilla_sweeps(load), *other_sweeps(load)]
    for law, clustered in sorted({(s.law, s.run is not None) for s in every}):
        own = [s for s in every if (s.law, s.run is not None) == (law, clustered)]
        if only not in law:
            continue
        known, places = laws.get(law), None
        assert known.response.domain is positive
        for method in METHODS:
            stem = method.replace(", ", "-").replace(" ", "-")
            path = folder / f"{law}_{'runs' if clustered else 'rows'}_{stem}.json"
            if (
                path.exists()
                or (method == "Wald, by runs" and not clustered)
                or (method == "Wald, stretched" and clustered)
                or time.time() > until
            ):
                continue
            start = time.perf_counter()
            if places is None:
                seen = [to_observations(known, _part(s, ~s.held), s.response[~s.held]) for s in own]
                noise = jaxscale.noise.squared("log")
                places = jaxscale.fit_many(known, seen, noise=noise, progress=False).params
            if method == "Wald, stretched":
                ends, about = stretch(known, own, places), [{} for _ in own]
            elif method == "forecast":
                ends, about = by_discrepancy(known, own)
            elif method.startswith("Wald"):
                ends, about = by_curvature(known, own, places, "runs" in method), [{} for _ in own]
            else:
                ends, about = by_posterior(known, own, method, places, sampler)
            scores = [score(s, e) | one for s, e, one in zip(own, ends, about, strict=True)]
            path.write_text(json.dumps({"method": method, "scores": scores}))
            share = sum(s["hits"] for s in scores) / sum(s["count"] for s in scores)
            say(f"{law} | {method} | {time.perf_counter() - start:.0f} s | {len(own)} sweeps | covered {share:.3f}")


def summary(folder: Path) -> str:
    """Table of coverage by file and method, pooled over rows and over sweeps, and of interval scores."""
    scores: dict[str, dict[tuple[str, str], Any]] = {}
    for path in sorted(folder.glob("*.json")):
        block = json.loads(path.read_text())
        for one in block["scores"]:
            scores.setdefault(block["method"], {})[one["file"], one["part"]] = one
    methods = [method for method in METHODS if method in scores]
    files = sorted({key[0] for own in scores.values() for key in own})
    rows = []
    for file in files:
        row = [file]
        any_method = max((scores[m] for m in methods), key=len)
        parts = [one for key, one in any_method.items() if key[0] == file]
        row += [str(len(parts)), str(sum(one["count"] for one in parts))]
        for method in methods:
            own = [one for key, one in scores[method].items() if key[0] == file]
            count = sum(one["count"] for one in own)
            row.append(
                f"{sum(o['hits'] for o in own) / count:.0%} ({np.median([o['width'] for o in own]):.2g})" if own else ""
            )
        rows.append(row)
    shared = set.intersection(*(set(scores[m]) for m in methods if len(scores[m]) > 1)) if methods else set()
    for label, value in (
        ("pooled over rows", lambda own: f"{sum(o['hits'] for o in own) / sum(o['count'] for o in own):.1%}"),
        ("mean over sweeps", lambda own: f"{np.mean([o['hits'] / o['count'] for o in own]):.1%}"),
        ("held-out runs above", lambda own: f"{sum(o['above'] for o in own) / sum(o['count'] for o in own):.1%}"),
        ("held-out runs below", lambda own: f"{sum(o['below'] for o in own) / sum(o['count'] for o in own):.1%}"),
        ("median interval score", lambda own: f"{np.median([o['score'] for o in own]):.3g}"),
        ("mean interval score", lambda own: f"{np.mean([min(o['score'], 10.0) for o in own]):.3g}"),
    ):
        count = sum(scores[methods[0]][key]["count"] for key in shared) if methods else 0
        row = [label, str(len(shared)), str(count)]
        rows.append(row + [value([scores[m][k] for k in shared]) if shared <= set(scores[m]) else "" for m in methods])
    return table(["file", "sweeps", "held out", *methods], rows)
