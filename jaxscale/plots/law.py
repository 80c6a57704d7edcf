"""Plot of a law at its published or typical constants."""

from typing import Any

import numpy as np

from jaxscale.law import Law
from jaxscale.law.curve import curve, is_wide
from jaxscale.plots.style import INK, POINT


def plot_law(law: Law) -> Any:
    """Plot a law: the response along each input, with the others at the middle of their ranges.

    Args:
        law: the law, at its published or typical constants.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(law.inputs), 3)
    rows = -(-len(law.inputs) // columns)
    figure = Figure(figsize=(1.0 + 3.6 * columns, 0.6 + 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    curves = {name: curve(law, name) for name in law.inputs}
    wide = is_wide(np.concatenate([y for _, y in curves.values()]))
    for panel, (name, (x, y)) in zip(panels, curves.items(), strict=False):
        panel.plot(x, y, color=POINT)
        panel.set_xscale("log" if x[0] > 0 else "linear")
        panel.set_yscale("log" if wide else "linear")
        unit = law.inputs[name].unit
        panel.set_xlabel(f"{name} ({unit})" if unit else name)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel(law.response.unit or "response")
    figure.suptitle(law.name, fontsize=11, color=INK)
    return figure
