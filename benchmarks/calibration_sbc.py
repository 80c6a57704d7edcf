# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Simulation-based calibration: ranks of true parameters among posterior draws are uniform if drawn from the prior.

Source: Talts et al. 2018 (arXiv 1804.06788); the log likelihood as a test quantity, Modrak et al. 2023 (arXiv
2211.02383).
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from scipy import stats

from benchmarks.calibration_sweeps import levels
from benchmarks.common import table
from jaxscale.data.observations import Observations
from jaxscale.engine.starts import hypercube
from jaxscale.law import Law, between, positive, unit
from jaxscale.noise import likelihoods
from jaxscale.noise.likelihood import Likelihood

# Draws among which the truth is ranked, bins of the ranks, rows of a data set, and the smallest acceptable p-value.
DRAWS, BINS, ROWS, SMALL = 63, 16, 24, 1e-3
# Posteriors per block.
BLOCK = 500
# Relative scale of the priors of exponents and of other parameters, and absolute scale for fractions.
EXPONENT, OTHER, FRACTION = 0.1, 0.25, 0.05
TRIALS = 200


@dataclass(frozen=True)
class Case:
    """A law with medians of the priors, ranges of its inputs, and a likelihood.

    Args:
        law: name of the law.
        sizes: input to (lowest, highest); by default those of the law.
        likelihood: the likelihood.
        constants: medians of the priors; by default the typical parameters.
        scale: median of the prior of the scale.
    """

    law: str
    sizes: Mapping[str, tuple[float, float]]
    likelihood: Likelihood
    constants: Mapping[str, float] = field(default_factory=dict)
    scale: float = 0.01


_N, _D = {"N": (10**7.5, 10**9.5)}, {"D": (1e9, 1e11)}
_T, _NORMAL = likelihoods.student_t(None), likelihoods.normal(runs=False)
_PLAIN = likelihoods.normal("linear", runs=False)
CASES: tuple[Case, ...] = (
    Case("chinchilla", _N | _D, _NORMAL),
    Case("chinchilla_tied", _N | _D, _T),
    Case("kaplan_nd", _N | _D, _T),
    Case(
        "compute_power_floor", {"X": (1e17, 1e21)}, likelihoods.normal(scale_by="level"), dict(E=1.7, A=710, alpha=0.15)
    ),
    Case("kaplan_ns", _N | {"S_min": (1e3, 1e5)}, likelihoods.normal(runs=True)),
    Case("step_law_lr", _N | _D, _T, scale=0.1),
    Case("transfer_tokens", _N | {"D_F": (1e6, 1e9)}, _NORMAL, scale=0.1),
    Case("qid_low_bit", _N | _D | {"P": (2.0, 4.0)}, _NORMAL, scale=0.1),
    Case("routed_bilinear", _N | {"E": (1.5, 256.0)}, _T),
    Case(
        "parallel_streams",
        _N | {"P": (1.0, 16.0)},
        likelihoods.student_t(None, runs=True),
        dict(E=1.3, A=1e9, k=0.3, alpha=0.2),
    ),
    Case("kaplan_bcrit", {}, likelihoods.laplace(), scale=0.1),
    Case("exp_decay_floor", {"x": (1.0, 100.0)}, _PLAIN, dict(c=1.0, a=1.0, b=0.03)),
    Case("hill", {"x": (1.0, 1e4)}, likelihoods.laplace("linear"), dict(lo=0.1, hi=0.9, x0=100.0, n=1.0)),
    Case("accuracy_sigmoid_loss", {"L": (1.9, 3.6)}, _PLAIN, dict(a=-0.7, k=5.0, L0=2.5, b=0.95)),
    Case("error_exp_loss", {"L": (1.9, 3.6)}, _PLAIN, dict(eps=0.85, k=2.2, gamma=0.71)),
    Case("coverage_exp_power", {}, likelihoods.binomial("trials"), dict(a=-3.0, b=0.4)),
    Case("passuntil", {}, likelihoods.beta_binomial("trials"), dict(c=500.0, alpha=0.3)),
    Case("gompertz", {"x": (1.0, 100.0)}, _NORMAL, dict(b1=100.0, b2=1.5, b3=0.05), 0.05),
    Case("steps_batch_floor", {"B": (10.0, 1e4)}, likelihoods.student_t(8.0), dict(a=3000.0, b=1e6, gamma=0.9)),
    Case("rl_sigmoid", {}, likelihoods.normal("logit", runs=False), dict(R0=0.2, A=0.6, C_mid=1e4, B=1.0), 0.05),
    Case("allometry", {}, likelihoods.normal(scale_by="group"), dict(A0=3.0, k=0.75), 0.1),
    Case("outer_power_nd", _N | _D, _NORMAL),
    Case("log_quadratic", {"x": (1.0, 1e3)}, likelihoods.student_t(4.0, "linear"), dict(a=1.0, b=0.5, c=-0.1), 0.05),
)


def prior(law: Law, name: str, constant: float) -> dist.Distribution:
    """Prior centred at a value, narrow enough that simulated data are plausible."""
    kind = law.parameters[name]
    share = EXPONENT if kind.kind == "exponent" else OTHER
    if kind.support is positive:
        return dist.LogNormal(math.log(constant), share)
    if kind.support is unit:
        count = constant * (1 - constant) / min(FRACTION, 0.5 * min(constant, 1 - constant)) ** 2 - 1
        return dist.Beta(constant * count, (1 - constant) * count)
    return dist.Normal(constant, share * abs(constant))


def priors(case: Case, law: Law) -> dict[str, dist.Distribution]:
    """Priors of a case: of the law's parameters and of the nuisance parameters."""
    constants = {**law.typical, **case.constants}
    found = {name: prior(law, name, constants[name]) for name in law.parameters}
    known = {
        "scale": dist.LogNormal(math.log(case.scale), 0.3),
        "power": dist.Normal(0.0, 0.5),
        "df": dist.Gamma(6.0, 1.0),
        "run_ratio": dist.LogNormal(0.0, 0.4),
        "concentration": dist.LogNormal(4.0, 0.5),
    }
    return found | {name: known[name] for name in case.likelihood.sites}


def simulate(case: Case, law: Law, count: int, seed: int) -> tuple[dict[str, np.ndarray], list[Observations]]:
    """Draw true parameters from the priors, each of shape (count,) or (count, groups), and a data set for each."""
    generator = np.random.default_rng([seed, len(case.law), sum(map(ord, case.law))])
    likelihood, names = case.likelihood, list(law.inputs)
    shares = hypercube(np.random.default_rng(0), ROWS, len(names))
    sizes = {name: case.sizes.get(name, law.inputs[name].sizes) for name in names}
    columns = {name: between(*sizes[name], u) for name, u in zip(names, shares, strict=True)}
    run, group = np.arange(ROWS) // 4, np.arange(ROWS) % 2
    truth = {}
    for name, one in priors(case, law).items():
        shape = (count, 2) if name == "scale" and likelihood.scale_by == "group" else (count,)
        truth[name] = np.asarray(one.sample(jax.random.PRNGKey(generator.integers(2**31)), shape), float)
    data = {"run": run, "group": group, "trials": np.full(ROWS, TRIALS)}
    exact = levels(law, columns, truth)
    response = likelihoods.replicate(likelihood, int(generator.integers(2**63)), truth, exact, data)
    extra = {"trials": np.full(ROWS, float(TRIALS))} if likelihood.counts else {}
    data_sets = []
    for y in response:
        rows = {**columns, **extra, "response": y, "run": run, "group": group}
        read: dict[str, Any] = dict(inputs=[*names, *extra], response="response")
        if likelihood.runs:
            read["run"] = "run"
        if likelihood.scale_by == "group":
            read["group"] = "group"
        data_sets.append(Observations.from_table(rows, **read))
    return truth, data_sets


@jax.jit
def _log_likelihoods(models: Any, sites: Any) -> Any:
    each = lambda model, own: jax.vmap(lambda one: model.rows(one).sum())(own)  # noqa: E731
    return jax.lax.map(lambda part: each(*part), (models, sites))


def ranks(case: Case, law: Law, count: int, seed: int, sampler: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Rank of every true value among thinned draws, shape (count,) by quantity, and diagnostics of the sampler."""
    import jaxscale

    truth, sets = simulate(case, law, count, seed)
    kind: Any = sampler
    found = jaxscale.posterior_many(
        law, sets, likelihood=case.likelihood, priors=priors(case, law), method=kind, seed=seed, progress=False
    )
    step = next(iter(found.params.values())).shape[1] // DRAWS
    sites = {k: np.asarray(v)[:, step - 1 :: step][:, :DRAWS] for k, v in (found.params | found.nuisance).items()}
    whole = {k: np.concatenate([sites[k], truth[k][:, None]], axis=1) for k in found.models.shapes}
    with jax.enable_x64(True):
        log_likelihood = np.asarray(_log_likelihoods(found.models, whole))
    above = {"log likelihood": (log_likelihood[:, :-1] < log_likelihood[:, -1:]).sum(axis=1)}
    for name, draws in whole.items():
        for k in range(draws.shape[2] if draws.ndim == 3 else 1):
            own = draws[:, :, k] if draws.ndim == 3 else draws
            above[f"{name}[{k}]" if draws.ndim == 3 else name] = (own[:, :-1] < own[:, -1:]).sum(axis=1)
    about = {
        "heavy": int(np.sum(found.khat >= 0.7)),
        "nuts": int(np.sum(found.method == "nuts")),
        "bad": int(np.sum(~found.ok)),
        "ess": float(np.nanmedian(found.ess)) if np.isfinite(found.ess).any() else None,
    }
    return above, about


def p_value(counts: np.ndarray) -> float:
    """P-value of a chi-square test of uniformity from the counts of the ranks 0..DRAWS."""
    bins = np.asarray(counts).reshape(BINS, -1).sum(axis=1)
    return float(stats.chisquare(bins).pvalue)


def run(
    folder: Path,
    *,
    blocks: Iterable[int] = (0,),
    sampler: str = "importance",
    only: str = "",
    sets: int = BLOCK,
    until: float = math.inf,
    say: Callable[[str], None] = print,
) -> None:
    """Write blocks of ranks to a folder, one file each; existing files are kept."""
    from jaxscale import laws

    folder.mkdir(parents=True, exist_ok=True)
    for number in blocks:
        for case in CASES:
            path = folder / f"{case.law}_{sampler}_{number}.json"
            if only not in case.law or path.exists():
                continue
            if time.time() > until:
                return
            start = time.perf_counter()
            above, about = ranks(case, laws.get(case.law), sets, 5000 + number, sampler)
            counts = {name: np.bincount(r, minlength=DRAWS + 1).tolist() for name, r in above.items()}
            facts = {"law": case.law, "likelihood": case.likelihood.describe(), "sampler": sampler, "sets": sets}
            facts |= {"seconds": time.perf_counter() - start, "about": about, "ranks": counts}
            path.write_text(json.dumps(facts))
            values = {name: p_value(np.array(v)) for name, v in counts.items()}
            worst = min(values, key=lambda name: values[name])
            say(f"{case.law} | {sampler} | {facts['seconds']:.0f} s | {about} | least p {values[worst]:.2g} ({worst})")


def summary(folder: Path) -> str:
    """Table with a row for every law; results of "auto" supersede those of "importance"."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        data_sets = json.loads(path.read_text())
        one = known.setdefault(
            (data_sets["law"], data_sets["sampler"]), {"sets": 0, "heavy": 0, "nuts": 0, "bad": 0, "ranks": {}}
        )
        one["likelihood"] = data_sets["likelihood"]
        one["sets"] += data_sets["sets"]
        for key in ("heavy", "nuts", "bad"):
            one[key] += data_sets["about"][key]
        for name, counts in data_sets["ranks"].items():
            one["ranks"][name] = np.asarray(counts) + one["ranks"].get(name, 0)
    rows, tests, small = [], 0, 0
    for (law, sampler), one in sorted(known.items()):
        values = {name: p_value(counts) for name, counts in one["ranks"].items()}
        if sampler == "importance" and (law, "auto") in known:
            law += " (superseded)"
        else:
            tests, small = tests + len(values), small + sum(value <= SMALL for value in values.values())
        worst = min(values, key=lambda name: values[name])
        rows.append(
            [law, one["likelihood"], sampler, str(one["sets"]), f"{one['heavy'] / one['sets']:.1%}", str(one["nuts"])]
            + [str(len(values)), f"{values[worst]:.2g} ({worst})", f"{values['log likelihood']:.2g}"]
            + ["pass" if values[worst] > SMALL else "FAIL"]
        )
    head = [
        "law",
        "likelihood",
        "sampler",
        "posteriors",
        "k-hat>=0.7",
        "by NUTS",
        "tests",
        "least p",
        "p of log lik.",
        "",
    ]
    summary_line = f"{tests} tests, {small} with p <= {SMALL} ({tests * SMALL:.2g} expected by chance)."
    least = min((p_value(c) for one in known.values() for c in one["ranks"].values()), default=1.0)
    return (
        table(head, rows)
        + f"\n\n{summary_line} Least p times the number of tests (Bonferroni): {min(1.0, least * tests):.2g}.\n"
    )
