"""Shared style of plots: figures, axes, labels, bands and files.

Figures are created without pyplot, so that no window opens and no backend is selected.
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxscale.data.observations import Observations
from jaxscale.law import Law
from jaxscale.results.draws import Draws
from jaxscale.utils.files import write_atomically

ENDINGS = ("png", "svg", "pdf")
INK, POINT, BAND = "#222222", "#2a6f97", "#9aa5b1"
# Coverage and opacity of prediction bands.
LEVELS = ((0.9, 0.25), (0.5, 0.5))
# Most draws that predictions use.
ENOUGH = 4000


def new_panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure without a GUI backend, and its flattened panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def render(figure: Any, ending: str) -> bytes:
    """A figure as bytes of a file, reproducibly.

    Args:
        figure: from :func:`plot`.
        ending: "png", "svg" or "pdf".
    """
    import matplotlib

    buffer = io.BytesIO()
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
    with matplotlib.rc_context({"svg.hashsalt": "jaxscale"}):
        figure.savefig(buffer, format=ending, dpi=160, metadata=undated)
    return buffer.getvalue()


def save(figure: Any, path: str | Path) -> None:
    """Write a figure atomically.

    Args:
        figure: from :func:`plot`.
        path: a file that ends in .png, .svg or .pdf.

    Raises:
        ValueError: the path has another extension.
    """
    write_atomically(path, render(figure, file_format(path)))


def file_format(path: str | Path) -> str:
    """The file format of a figure by the extension of its path.

    Args:
        path: of the figure.

    Raises:
        ValueError: the format is not supported.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise ValueError(f"{path} does not end in a supported figure format; end it in .png, .svg or .pdf.")
    return ending


def spread(values: np.ndarray) -> float:
    """Range of an input, on the log scale where it is positive."""
    low, high = values.min(), values.max()
    return float(np.log(high / low)) if low > 0 else float(np.log1p(high - low))


def with_unit(name: str, unit: str) -> str:
    """A label with its unit, where there is one."""
    return f"{name} ({unit})" if unit else name


def input_label(law: Law, observations: Observations, name: str) -> str:
    """Label of an input: its name with its unit or column."""
    column = dict(observations.columns).get(name, name)
    return with_unit(name, law.inputs[name].unit or (column if column != name else ""))


def response_name(observations: Observations) -> str:
    """Column of the response."""
    return dict(observations.columns).get("response", "response")


def tidy(axes: Any) -> None:
    """Remove the frame and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def log_axis(axis: Any, values: np.ndarray) -> None:
    """A log axis; within one decade, ticks are plain numbers at even steps."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    if values.max() < 12 * values.min():
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def scatter(axes: Any, x: np.ndarray, y: np.ndarray, colour: np.ndarray | None) -> Any:
    """Points, coloured by a third variable where there is one."""
    from matplotlib.colors import LogNorm, Normalize

    style: dict[str, Any] = {"s": 26, "linewidths": 0.4, "edgecolors": "white", "zorder": 3}
    if colour is None:
        return axes.scatter(x, y, color=POINT, **style)
    norm = (LogNorm if colour.min() > 0 else Normalize)(colour.min(), colour.max())
    return axes.scatter(x, y, c=colour, cmap="viridis", norm=norm, **style)


def new_figure(size: tuple[float, float], rows: int, columns: int, **settings: Any) -> tuple[Any, Any]:
    """A figure without a GUI backend, and its panels as a matrix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def freeze_layout(figure: Any) -> Any:
    """The figure with a fixed layout, so that every rendering is the same."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def few_ticks(axes: Any, both: bool) -> None:
    """At most three ticks on the horizontal axis, or on both."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(3))
    if both:
        axes.yaxis.set_major_locator(MaxNLocator(3))


def thin(draws: Draws) -> Draws:
    """The draws thinned to at most :data:`ENOUGH`."""
    step = -(-len(draws) // ENOUGH)
    part = {
        field: {name: values[::step] for name, values in getattr(draws, field).items()}
        for field in ("params", "nuisance", "stats")
    }
    return replace(draws, chains=1, **part)
