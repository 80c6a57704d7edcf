"""Conversion of fits to and from JSON entries."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jaxscale.noise import Noise
from jaxscale.results.parts import Basin, Design, Landscape, Provenance, Residuals, StandardErrors
from jaxscale.utils.notices import Notice

if TYPE_CHECKING:
    from jaxscale.results.fit import Fit


def to_entries(fit: "Fit") -> dict[str, Any]:
    """The JSON entries of a fit: plain numbers, strings, lists and dictionaries."""
    errors, landscape = asdict(fit.errors), asdict(fit.landscape)
    percentiles, shares, basins = errors.pop("percentiles"), errors.pop("shares"), landscape.pop("basins")
    return {
        "law": str(fit.law),
        "params": fit.params,
        "stderr": fit.stderr,
        "correlation": fit.correlation,
        "free": fit.free,
        "fixed": fit.fixed,
        "uncertainty": {key: value for key, value in errors.items() if value or key not in ("reason", "at_bound")},
        "noise": noise_entries(fit.noise, fit.scale),
        "objective": fit.objective,
        "certificate": fit.certificate,
        "residuals": asdict(fit.residuals),
        "rows_read": fit.rows_read,
        "rows_used": fit.rows_used,
        "starts": landscape,
        "basins": basins,
        "status": fit.status,
        "design": {} if fit.design is None else asdict(fit.design),
        **asdict(fit.provenance),
        "percentiles": {"shares": shares} | percentiles if percentiles else {},
        "notices": [{"code": notice.code, "message": notice.message} for notice in fit.notices],
    }


def noise_entries(noise: Noise, scale: float | None) -> dict[str, Any]:
    """The JSON entries of a noise with its scale, and whether the scale was fitted where it can also be given."""
    if scale is None:
        return noise.to_dict()
    fitted = {} if noise.loss.concomitant_scale else {"scale_fitted": noise.infers_scale}
    return noise.to_dict() | {"scale": scale} | fitted


def from_entries(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`Fit` from JSON entries.

    Raises:
        KeyError: an entry is missing.
        TypeError: an entry has the wrong type.
        ValueError: the noise is unknown.
    """
    noise = dict(entries["noise"])
    scale, fitted = noise.get("scale"), noise.pop("scale_fitted", noise.get("delta") == "scale")
    if fitted:
        noise.pop("scale")
    percentiles = dict(entries.get("percentiles", {}))
    shares = tuple(percentiles.pop("shares", ()))
    starts = entries["starts"]
    provenance = {name: entries[name] for name in ("seed", "versions", "data", "data_sha256", "columns")}
    return {
        **{name: entries[name] for name in ("law", "params", "fixed", "objective", "status")},
        **{name: entries[name] for name in ("rows_read", "rows_used")},
        "stderr": _numbers(entries["stderr"]),
        "correlation": tuple(tuple(map(_number, row)) for row in entries["correlation"]),
        "free": tuple(entries["free"]),
        "noise": Noise.from_dict(noise),
        "scale": scale,
        "certificate": _number(entries["certificate"]),
        "errors": StandardErrors(
            **entries["uncertainty"],
            percentiles={name: tuple(row) for name, row in percentiles.items()},
            shares=shares,
        ),
        "residuals": Residuals(**_numbers(entries["residuals"])),
        "landscape": Landscape(**starts, basins=tuple(Basin(**basin) for basin in entries["basins"])),
        "design": _design(entries["design"]),
        "provenance": Provenance(**provenance, used_sha256=entries.get("used_sha256", "")),
        "notices": tuple(Notice(**notice) for notice in entries["notices"]),
    }


def _design(entries: Mapping[str, Any]) -> Design | None:
    if not entries:
        return None
    return Design(**{**entries, "condition": _number(entries["condition"]), "stderr": _numbers(entries["stderr"])})


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _numbers(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(value) for name, value in entries.items()}
