# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
"""Five models with published reference draws, as log densities of unconstrained vectors.

The models are those of posteriordb (Magnusson et al. 2025, "posteriordb: testing, benchmarking and developing Bayesian
inference algorithms"): https://github.com/stan-dev/posteriordb. A positive parameter is the exponential of its
coordinate, which is also the log Jacobian. Priors that a Stan program does not state are flat.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import jax.scipy.stats as stats
import numpy as np
import pandas as pd

import jaxscale
from jaxscale import Draws

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """A model with its parameters as functions of the coordinates.

    Args:
        posterior: its name in posteriordb.
        log_density: log density as a function of the coordinates and the data.
        data: function from columns of the data set to the data of the density.
        start: function from these data to initial coordinates.
        params: name of a parameter to a function of the coordinates.
    """

    posterior: str
    log_density: Callable[[Any, Any], Any]
    data: Callable[[Columns], dict[str, np.ndarray]]
    start: Callable[[dict[str, np.ndarray]], np.ndarray]
    params: dict[str, Callable[[Any], Any]]


def _coordinate(k: int) -> Callable[[Any], Any]:
    return lambda x: x[k]


def _positive(k: int) -> Callable[[Any], Any]:
    return lambda x: jnp.exp(x[k])


def _effect(k: int) -> Callable[[Any], Any]:
    return lambda x: x[8] + jnp.exp(x[9]) * x[k]


def _line(x: Any, data: Any) -> Any:
    """Normal residuals about a line, flat in its coefficients and in their standard deviation."""
    scale = jnp.exp(x[-1])
    return jnp.sum(stats.norm.logpdf(data["y"], data["X"] @ x[:-1], scale)) + x[-1]


def _line_cauchy(x: Any, data: Any) -> Any:
    """As :func:`_line` with a half-Cauchy(0, 2.5) prior on the standard deviation."""
    return _line(x, data) + stats.cauchy.logpdf(jnp.exp(x[-1]), 0.0, 2.5)


def _schools(x: Any, data: Any) -> Any:
    """Eight schools, non-centred: offsets, their mean and the log of their spread."""
    offset, mean, spread = x[:8], x[8], jnp.exp(x[9])
    prior = jnp.sum(stats.norm.logpdf(offset)) + stats.norm.logpdf(mean, 0.0, 5.0)
    prior += stats.cauchy.logpdf(spread, 0.0, 5.0) + x[9]
    return prior + jnp.sum(stats.norm.logpdf(data["y"], mean + spread * offset, data["sigma"]))


def _process(x: Any, data: Any) -> Any:
    """Gaussian process regression: length scale, amplitude and noise variance."""
    length, amplitude, added = jnp.exp(x)
    prior = stats.gamma.logpdf(length, 25.0, scale=0.25) + jnp.sum(x)
    prior += stats.norm.logpdf(amplitude, 0.0, 2.0) + stats.norm.logpdf(added)
    away = (data["x"][:, None] - data["x"][None, :]) / length
    covariance = amplitude**2 * jnp.exp(-0.5 * away**2) + added * jnp.eye(len(data["x"]))
    root = jnp.linalg.cholesky(covariance)
    white = jnp.linalg.solve(root, data["y"])
    return prior - 0.5 * white @ white - jnp.sum(jnp.log(jnp.diagonal(root)))


def _design(response: np.ndarray, *columns: np.ndarray) -> dict[str, np.ndarray]:
    return dict(X=np.column_stack([np.ones_like(response), *columns]), y=response)


def _squares(data: dict[str, np.ndarray]) -> np.ndarray:
    solution, residual, *_ = np.linalg.lstsq(data["X"], data["y"])
    return np.append(solution, 0.5 * np.log(residual[0] / len(data["y"])))


def _coefficients(count: int) -> dict[str, Callable[[Any], Any]]:
    return {f"beta[{k + 1}]": _coordinate(k) for k in range(count)} | {"sigma": _positive(count)}


REFERENCES = [
    Reference(
        "earnings-logearn_logheight_male",
        _line,
        lambda c: _design(np.log(c["earn"]), np.log(c["height"]), c["male"]),
        _squares,
        _coefficients(3),
    ),
    Reference(
        "eight_schools-eight_schools_noncentered",
        _schools,
        lambda c: dict(y=c["y"], sigma=c["sigma"]),
        lambda _: np.append(np.zeros(8), [4.0, 1.0]),
        {f"theta[{k + 1}]": _effect(k) for k in range(8)} | {"mu": _coordinate(8), "tau": _positive(9)},
    ),
    Reference(
        "gp_pois_regr-gp_regr",
        _process,
        lambda c: dict(x=c["x"], y=c["y"]),
        lambda _: np.log([6.0, 2.0, 1.0]),
        {"rho": _positive(0), "alpha": _positive(1), "sigma": _positive(2)},
    ),
    Reference(
        "kidiq-kidscore_momiq",
        _line_cauchy,
        lambda c: _design(c["kid_score"], c["mom_iq"]),
        _squares,
        _coefficients(2),
    ),
    Reference(
        "mesquite-logmesquite_logvolume",
        _line,
        lambda c: _design(np.log(c["weight"]), np.log(c["diam1"] * c["diam2"] * c["canopy_height"])),
        _squares,
        _coefficients(2),
    ),
]


def columns(folder: Path, posterior: str) -> Columns:
    """Load the data of a posterior, by variable."""
    table = pd.read_csv(folder / "reference_posteriors_data.csv")
    own = table[table.dataset == posterior.split("-")[0]].sort_values("row")
    return {str(name): rows.value.to_numpy(float) for name, rows in own.groupby("variable")}


@dataclass(frozen=True)
class Comparison:
    """Comparison of one parameter with the reference draws.

    Args:
        posterior: name of the posterior.
        parameter: name of the parameter.
        reference: mean, standard deviation and Monte-Carlo error of the mean of the reference draws.
        mean: mean of the draws.
        sd: standard deviation of the draws.
        effective: bulk and tail effective sample size; that of the weights for importance sampling.
        rhat: R-hat of the chains.
        sampler: method of the draws.
    """

    posterior: str
    parameter: str
    reference: tuple[float, float, float]
    mean: float
    sd: float
    effective: tuple[float, float]
    rhat: float
    sampler: str

    @property
    def error(self) -> float:
        """Error of the mean in standard deviations of the reference."""
        return (self.mean - self.reference[0]) / self.reference[1]

    @property
    def ratio(self) -> float:
        """Ratio of the standard deviations."""
        return self.sd / self.reference[1]

    @property
    def passed(self) -> bool:
        """Whether the mean is within 0.05 sd, the sd within 5 %, and the effective sample size at least 10,000."""
        return abs(self.error) <= 0.05 and abs(self.ratio - 1) <= 0.05 and self.effective[0] >= 10_000

    @property
    def cells(self) -> list[str]:
        """Row of the table."""
        mean, sd, error = self.reference
        known = [f"{mean:.6g}", f"{sd:.4g}", f"{error / sd:.3f}"]
        own = [f"{self.mean:.6g}", f"{self.error:+.3f}", f"{self.ratio:.3f}"]
        chains = [f"{self.effective[0]:.0f}", f"{self.effective[1]:.0f}", f"{self.rhat:.4f}", self.sampler]
        return [self.posterior, self.parameter, *known, *own, *chains, "pass" if self.passed else "FAIL"]


HEAD = "posterior,parameter,mean,sd,MCSE / sd,ours,error / sd,sd ratio,bulk,tail,R-hat,sampler,verdict".split(",")


def sample_model(model: Reference, folder: Path, **settings: Any) -> Draws:
    """Sample one of the models; settings as for :func:`jaxscale.sample`."""
    data = model.data(columns(folder, model.posterior))
    return jaxscale.sample(model.log_density, model.start(data), data, **settings)


def compare_model(model: Reference, folder: Path, **settings: Any) -> list[Comparison]:
    """Compare every parameter of a model with the reference draws."""
    draws = sample_model(model, folder, **settings)
    summary = pd.read_csv(folder / "reference_posteriors_summary.csv")
    known = summary[summary.posterior == model.posterior].set_index("parameter")
    of = {name: lambda p, f=f: f(p["x"]) for name, f in model.params.items()}
    rows = draws.intervals(quantity=of).params
    found = []
    for name, row in rows.items():
        reference = tuple(float(known.loc[name, column]) for column in ("mean", "sd", "mcse_mean"))
        worth = min(len(draws), draws.about.get("ess", np.inf))
        effective = (row.get("ess_bulk", worth), row.get("ess_tail", worth))
        diagnostics = (effective, row.get("rhat", np.nan), draws.method)
        found.append(Comparison(model.posterior, name, reference, row["estimate"], row["sd"], *diagnostics))  # pyright: ignore
    return found
