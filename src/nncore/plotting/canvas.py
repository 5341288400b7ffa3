"""Axes and figures to draw on, and pictures as the content of a file."""

import io
import math
from typing import TYPE_CHECKING, Any, Literal

from nncore.plotting.style import AXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def axes(ax: Any, projection: str = "rectilinear") -> Any:
    """The axes given, or new ones."""
    from matplotlib.axes import Axes

    if ax is None:
        return figure().add_subplot(projection=projection)
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is a {type(ax).__name__}, expected Matplotlib axes or None")
    if projection == "3d" and ax.name != "3d":
        raise ValueError("ax has two dimensions, expected axes made with projection='3d'")
    return ax


def figure(
    width: float = AXES[0], height: float = AXES[1], layout: Literal["constrained", "compressed"] = "constrained"
) -> "Figure":
    """A new figure of so many inches, known to pyplot, so that plt.show() shows it."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout=layout)


def columns(count: int) -> int:
    """Columns of a grid about square or up to twice as wide, with as few empty places as possible."""
    least = math.ceil(math.sqrt(count))
    return min(range(least, 2 * least + 1), key=lambda columns: (-count % columns, columns))


def encoded(figure: "Figure", kind: str = "png", dpi: float | None = None) -> bytes:
    """Return the picture as the content of a file of this kind, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=kind, dpi=dpi)
    finally:
        plt.close(figure)
    return buffer.getvalue()
