# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Diagnostics of posteriors at default settings on real files with suitable laws.

A pair is a law and a set of rows. Runs are given where a law is fitted to several rows of each run; from files with
thousands of rows only final checkpoints or the best runs are used, as the name of the pair says.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import jaxscale
from jaxscale import Draws, Observations, fix, laws, likelihoods, noise
from jaxscale.bayes.psis import KHAT_LIMIT
from jaxscale.data.datasets import data_folder
from jaxscale.results.mcmc_diagnostics import ENOUGH, MIXED

LOGS, RAW = noise.squared("log"), noise.squared("linear")
SIZES = dict(N="params", D="tokens")
# Parameters that the authors of the data-constrained law fix.
REPEATED = dict(A=np.exp(6.255414), B=np.exp(7.3049974), E=np.exp(0.6254804), alpha=0.3526596, beta=0.3526596)


@dataclass(frozen=True)
class Pair:
    """A law and a set of rows.

    Args:
        name: name of the rows.
        law: a law, or its name.
        file: name of the CSV file.
        response: column of the response.
        inputs: input of the law to column.
        where: filter of the rows, as a pandas query.
        select: function of these rows that thins, joins or averages them.
        noise: noise of the fit; by default that of the law's response.
        fixed: parameters that are not inferred.
        likelihood: likelihood; by default that of the noise.
        more: further arguments of ``Observations.from_table``.
    """

    name: str
    law: Any
    file: str
    response: str
    inputs: dict[str, str] = field(default_factory=lambda: SIZES)
    where: str = ""
    select: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows
    noise: Any = None
    fixed: dict[str, float] | None = None
    likelihood: Any = None
    more: dict[str, Any] = field(default_factory=dict)

    def observations(self, folder: Path) -> Observations:
        """Load the rows from the folder of the files."""
        rows = pd.read_csv(folder / f"{self.file}.csv")
        rows = self.select(rows.query(self.where) if self.where else rows)
        return Observations.from_table(rows, inputs=self.inputs, response=self.response, **self.more)

    def fit(self, folder: Path) -> jaxscale.Fit:
        """Fit that initialises the posterior."""
        settings = dict(n_resamples=0, starts=1024, allow_unidentified=True, noise=self.noise, fixed=self.fixed)
        return jaxscale.fit(self.law, self.observations(folder), **{k: v for k, v in settings.items() if v is not None})


@dataclass(frozen=True)
class Verdict:
    """Diagnostics of the draws of one pair, the worst over parameters and nuisance parameters."""

    pair: Pair
    draws: Draws
    rows: int
    rhat: float
    bulk: float
    tail: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the draws pass the diagnostics of their chains or weights."""
        few = min(self.bulk, self.tail) < ENOUGH
        fine = self.draws.about["khat"] < KHAT_LIMIT if self.draws.method == "importance" else self.rhat <= MIXED
        return fine and not few and self.draws.about["divergences"] == 0

    @property
    def cells(self) -> list[str]:
        """The verdict as a row of the table."""
        about, name = self.draws.about, getattr(self.pair.law, "name", self.pair.law)
        numbers = [self.draws.method, f"{about.get('khat', np.nan):.2f}", f"{self.rhat:.3f}"]
        numbers += [f"{self.bulk:.0f}", f"{self.tail:.0f}", f"{about['divergences']}"]
        cost = [f"{about.get('steps', np.nan):.0f}", f"{about['modes']}", f"{self.seconds:.1f}"]
        return [self.pair.name, name, f"{self.rows}", *numbers, *cost, "pass" if self.passed else self.worst]

    @property
    def worst(self) -> str:
        """Verdict with the parameter that has the smallest effective sample size."""
        if self.draws.method == "importance":
            return "FAIL, weights"
        rows = self.draws.intervals().params
        name = min(rows, key=lambda name: min(rows[name]["ess_bulk"], rows[name]["ess_tail"]))
        return f"FAIL, worst {name}"


HEAD = "rows,law,n,sampler,k-hat,R-hat,bulk,tail,diverged,steps,modes,seconds,verdict".split(",")


def assess(pair: Pair, folder: Path | None = None, **settings: Any) -> Verdict:
    """Fit, sample and assess; seconds are those of sampling, including compilation."""
    fitted = pair.fit(folder or data())
    start = time.perf_counter()
    settings = dict(likelihood=pair.likelihood, progress=False) | settings
    drawn = jaxscale.posterior(fitted, **settings)
    seconds = time.perf_counter() - start
    rows = drawn.intervals().params.values()
    worth = min(len(drawn), drawn.about.get("ess", np.inf))
    rhat = max(row.get("rhat", np.nan) for row in rows)
    bulk, tail = (min(row.get(name, worth) for row in rows) for name in ("ess_bulk", "ess_tail"))
    return Verdict(pair, drawn, fitted.rows_used, rhat, bulk, tail, seconds)


def data() -> Path:
    """The folder with the files."""
    folder = data_folder()
    if folder is None:
        raise SystemExit("Set JAXSCALE_DATA to the folder with the real data.")
    return folder


def _best_of(by: list[str]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda rows: rows.loc[rows.groupby(by).loss.idxmin()]


def _ladder_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean of the last five evaluations of every run."""
    last = rows.sort_values("step").groupby("run").tail(5).groupby("run")
    kept = {name: "mean" for name in ("loss_c4_en", "bpb_hellaswag_val", "acc_hellaswag_val", "bpb_piqa_val")}
    return last.agg(dict(params="first", tokens="last") | kept).reset_index()


def _groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean loss of the symbolic group of every mixture, weighted by the validation shares of its two subsets."""
    shares = [name for name in rows if name.startswith("w_")]
    wide = rows.pivot(index="mixture_id", columns="domain", values="loss")
    heavy = np.array([0.02160494, 0.09529321])
    mixed = rows.groupby("mixture_id")[shares].first()
    mixed["loss"] = wide[["DM_Mathematics", "Github"]].to_numpy() @ heavy / heavy.sum()
    return mixed.reset_index()


@functools.cache
def _schedules() -> dict[str, np.ndarray]:
    """Learning rates of the three published curves, including warm-up."""
    steps, peak, warm = 24000, 3e-4, 2160
    rise = np.linspace(0.0, peak, warm)
    share = np.arange(steps + 1 - warm) / (steps - warm)
    two = np.full(16001 - warm, peak)
    two[8000 - warm :] = 9e-5
    return {
        "cosine_24000": np.concatenate([rise, peak * (0.1 + 0.45 * (1 + np.cos(np.pi * share)))]),
        "constant_24000": np.concatenate([rise, np.full(steps + 1 - warm, peak)]),
        "wsdcon_9": np.concatenate([rise, two]),
    }


def _curve(name: str) -> dict[str, Any]:
    seen = {"x": "seen_examples"}
    return dict(file="learning_curves", response="loss", inputs=seen, where=f"curve == '{name}' and split == 'fit'")


def _chinchilla() -> list[Pair]:
    gem, ladder = "gemstones", "length in ('1xC', '2xC', '5xC', '10xC')"
    widths = dict(w="width", d="depth", N="params", T="tokens")
    nemotron = "dataset.str.contains('{}', case=False) and validation_optimal_run == 0"
    porian = "experiment == 'tuned_short_const_standard' and loss_split == 'val' and tokens > 10 * params"
    best = _best_of(["params", "tokens"])
    misfit = dict(file="misfitting_sweep", response="loss", where="is_final == 1")
    return [
        Pair("epoch", "chinchilla", "chinchilla_epoch", "loss", where="in_published_fit == 1"),
        Pair("epoch, all rows", "chinchilla", "chinchilla_epoch", "loss"),
        Pair("epoch, normal", "chinchilla", "chinchilla_epoch", "loss", where="in_published_fit == 1", noise=LOGS),
        Pair("gemstones <= 100B", "chinchilla", gem, "loss", where="in_fit_le_100b == 1"),
        Pair("gemstones >= 120B", "chinchilla", gem, "loss", where="in_fit_120b_plus == 1"),
        Pair(
            "gemstones <= 100B, runs",
            "chinchilla",
            gem,
            "loss",
            where="in_fit_le_100b == 1",
            more=dict(run="run"),
            noise=LOGS,
        ),
        Pair("gemstones", "width_depth_params_tokens", gem, "loss", widths),
        Pair("misfitting, final", "chinchilla", **misfit),
        Pair("misfitting, best rate", "chinchilla", select=best, **misfit),
        Pair("misfitting, best rate", "kaplan_nd", select=best, **misfit),
        Pair("llama 3 isoflops", "chinchilla", "isoflop_llama3", "loss"),
        Pair("comma isoflops", "chinchilla", "isoflop_marin_comma_nemotron", "loss", where=nemotron.format("comma")),
        Pair(
            "nemotron isoflops", "chinchilla", "isoflop_marin_comma_nemotron", "loss", where=nemotron.format("nemotron")
        ),
        Pair("xlstm isoflops", "chinchilla", "isoflop_xlstm_llama_ctx8192", "loss"),
        Pair("xlstm isoflops", "chinchilla_tied", "isoflop_xlstm_llama_ctx8192", "loss"),
        Pair("refinedweb, D > 10 N", "chinchilla", "porian_isoflop_refinedweb", "loss", where=porian),
        Pair("farseer", "farseer", "scalebench_farseer_train", "loss"),
        Pair("farseer", "chinchilla", "scalebench_farseer_train", "loss"),
        Pair("ladder, C4 loss", "chinchilla", "olmo_ladder", "loss_c4_en", where=ladder, select=_ladder_steps),
        Pair("ladder, bpb", "chinchilla", "olmo_ladder", "bpb_hellaswag_val", where=ladder, select=_ladder_steps),
    ]


def _other() -> list[Pair]:
    over, flops = dict(C="flops_6nd", M="tokens_per_param"), {"x": "flops"}
    ladder = "length in ('1xC', '2xC', '5xC', '10xC')"
    repeated, router = SIZES | dict(U_D="unique_tokens"), "in_published_fit == 1 and router_type in ('Dense', '{}')"
    best, symbolic = _best_of(["params", "tokens"]), "step == 30000 and model_size == '70M'"
    two = "step == 30000 and model_size == '70M' and domain == '{}'"
    laion = "downstream_dataset == 'imagenet1k' and upstream_dataset != 'CLIP-WIT'"
    five = {f"r{k}": f"w_{name}" for k, name in enumerate("academic prose dialogue symbolic internet".split(), 1)}
    three = {f"r{k}": f"w_{name}" for k, name in enumerate("github books3 pile_cc".split(), 1)}
    clever, tuned = dict(eta="lr", B="batch_size"), "experiment == 'tuned_short_const_standard'"
    curves = "model_size == '25M' and split == 'fit'"
    series = dict(series=dict(schedule=_schedules()))
    multi = dict(step="step", schedule="schedule")
    small = "dataset == 'rpj'"
    return [
        Pair("optima of refinedweb", "power_law", "porian_optima_refinedweb", "params_opt", flops, tuned, noise=LOGS),
        Pair("llama 3 at 1e20", "isoflop_parabola", "isoflop_llama3", "loss", {"N": "params"}, "flops == 1e20"),
        Pair("overtraining", "overtraining_cm", "overtraining", "loss_c4_eval", over, small, noise=RAW),
        Pair(
            "overtraining, published 5 rows",
            "overtraining_cm",
            "overtraining",
            "loss_c4_eval",
            over,
            small + " and in_published_loss_fit == 1",
            noise=RAW,
        ),
        Pair("overtraining", "error_exp_loss", "overtraining", "error_avg_17", {"L": "loss_c4_eval"}, small, noise=RAW),
        *[
            Pair(f"routed, {name}", "routed_bilinear", "routed_lm", "loss", dict(N="params", E="num_experts"), where)
            for name in ("S-Base", "RL-R", "Hash")
            if (where := router.format(name))
        ],
        Pair(
            "routed, scalebench",
            "routed_bilinear",
            "scalebench_moe_train",
            "loss",
            dict(N="params_dense", E="num_experts"),
        ),
        Pair("best of steps", "step_law_lr", "lr_batch_dense", "lr", select=best, noise=LOGS),
        Pair("best of steps", "step_law_batch", "lr_batch_dense", "batch_size", {"D": "tokens"}, select=best),
        Pair("one cell of steps", "lr_loss_bowl", "lr_batch_dense", "loss", clever, select=_largest_cell),
        Pair("one MoE of steps", "lr_loss_bowl", "lr_batch_moe", "loss", clever, select=_largest_cell),
        *[
            Pair(f"two domains, {name}", "data_mixing_exp1", "mixture_2domain", "loss", {"r1": share}, two.format(name))
            for name, share in (("Github", "w_github"), ("Pile-CC", "w_pile_cc"))
        ],
        Pair(
            "three domains, 410M",
            fix(laws.get("data_mixing_exp3"), t1=0.0),
            "mixture_3domain",
            "loss",
            three,
            "model_size == '410M' and step == 60000 and domain.str.lower().str.contains('github')",
        ),
        Pair(
            "five domains, symbolic",
            fix(laws.get("data_mixing_exp5"), t1=0.0),
            "mixture_5domain",
            "loss",
            five,
            symbolic,
            _groups,
        ),
        Pair("ladder, accuracy", "accuracy_sigmoid_loss", "olmo_ladder", "acc_hellaswag_val",
             {"L": "bpb_hellaswag_val"}, ladder, _ladder_steps),
        Pair("openclip, imagenet", "power_law", "openclip_zeroshot", "error", {"x": "macs_total"}, laion, noise=LOGS),
        Pair("openclip, imagenet", "power_law_floor", "openclip_zeroshot", "error", {"x": "macs_total"}, laion),
        Pair("repeated data", "data_constrained", "data_constrained_c4", "loss", repeated, fixed=REPEATED),
        Pair("repeated data, all free", "data_constrained", "data_constrained_c4", "loss", repeated),
        Pair("streams", "parallel_streams", "scalebench_parallel_train", "loss",
             dict(N="params", P="parallel_streams"), "group == group.iloc[0]"),
        Pair("vocabulary, V for its parameters", "vocab_loss", "scalebench_vocab_train", "unigram_normalized_loss",
             dict(N_nv="params_non_vocab", N_v="vocab_size", D="characters")),
        Pair("schedules, 25M, every 8th row", "multi_power", "lr_schedule_curves", "loss", multi, curves,
             lambda rows: rows.iloc[::8], more=series),
        Pair("schedules, 25M, every 8th row", "lr_annealing", "lr_schedule_curves", "loss", multi, curves,
             lambda rows: rows.iloc[::8], more=series),
        Pair("OPT 125M along training", "power_law_floor", "opt_trajectories", "loss", {"x": "tokens"},
             "model_size == '125m'"),
        Pair("o1-mini", "acc_log_n", "test_time_o1_mini_aime", "accuracy", {"X": "tokens_used_mean"}),
        Pair("BiT on ImageNet", "power_law_floor", **_curve("IC|inet_25|BiT/50/1")),
        Pair("BiT on ImageNet", "bnsl1", **_curve("IC|inet_25|BiT/50/1")),
        Pair("BiT on ImageNet", "shifted_power_data", **_curve("IC|inet_25|BiT/50/1")),
        Pair("skill of Llama-2", "log_linear", "observational_benchmarks", "mmlu", {"x": "flops"},
             "family == 'Llama-2' or family == 'LLaMA' or family == 'Llama'"),
    ]  # fmt: skip


def _largest_cell(rows: pd.DataFrame) -> pd.DataFrame:
    """Learning rates and batch sizes of the model and tokens with the most rows, within 5 % of the best loss."""
    shape = ["params", "tokens"] if "params" in rows else ["params_total", "tokens"]
    cells = rows.groupby(shape)
    cell = cells.get_group(cells.size().idxmax())
    return cell[cell.loss < 1.05 * cell.loss.min()]


def pairs(only: str = "") -> list[Pair]:
    """Pairs whose name or law contains a text."""
    return [pair for pair in [*_chinchilla(), *_other()] if only in f"{pair.name} x {_name(pair.law)}"]


def _name(law: Any) -> str:
    return getattr(law, "name", law)


__all__ = ["HEAD", "Pair", "Verdict", "assess", "likelihoods", "pairs"]
