"""Style that plots share: figures, axes, labels, bands and files."""

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
# Coverage of the bands of a prediction, and how opaque each is drawn.
LEVELS = ((0.9, 0.25), (0.5, 0.5))
# Draws that predictions are made from.
ENOUGH = 4000


def new_panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure that belongs to no backend, and its panels in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def render(figure: Any, ending: str) -> bytes:
    """A figure as the bytes of a file; the same figure gives the same bytes.

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
    """Write a figure so that the file is there whole or not at all.

    Args:
        figure: from :func:`plot`.
        path: a file that ends in .png, .svg or .pdf.

    Raises:
        ValueError: the path has another ending.
    """
    write_atomically(path, render(figure, ending_of(path)))


def ending_of(path: str | Path) -> str:
    """The kind of file that a path asks for.

    Args:
        path: where a figure shall be written.

    Raises:
        ValueError: figures cannot be written in this kind.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise ValueError(f"{path} does not end in a kind of figure that can be drawn; end it in .png, .svg or .pdf.")
    return ending


def spread(values: np.ndarray) -> float:
    """How far an input varies: in its logarithm where it has one."""
    low, high = values.min(), values.max()
    return float(np.log(high / low)) if low > 0 else float(np.log1p(high - low))


def labelled(name: str, unit: str) -> str:
    """A name with its unit, where it has one."""
    return f"{name} ({unit})" if unit else name


def input_label(law: Law, observations: Observations, name: str) -> str:
    """Label of an input: its name with its unit, or with its column."""
    column = dict(observations.columns).get(name, name)
    return labelled(name, law.inputs[name].unit or (column if column != name else ""))


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
    """A log axis; within one decade its ticks are plain numbers at even steps."""
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
    """A figure that belongs to no backend, and its panels as a matrix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def frozen(figure: Any) -> Any:
    """The figure with its panels where they are, so that it is the same whenever it is written."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def few_ticks(axes: Any, both: bool) -> None:
    """At most three ticks on the horizontal axis, or on both."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(3))
    if both:
        axes.yaxis.set_major_locator(MaxNLocator(3))


def thinned(draws: Draws) -> Draws:
    """At most :data:`ENOUGH` of the draws, evenly."""
    step = -(-len(draws) // ENOUGH)
    part = {
        field: {name: values[::step] for name, values in getattr(draws, field).items()}
        for field in ("params", "nuisance", "stats")
    }
    return replace(draws, chains=1, **part)
