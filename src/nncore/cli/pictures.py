"""Pictures that the command writes to files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def use_agg() -> None:
    """Let Matplotlib draw without asking for a window system."""
    import matplotlib

    matplotlib.use("Agg")


def png(figure: "Figure") -> bytes:
    """Return the picture as the content of a PNG file, and close it."""
    from nncore.plotting import canvas

    return canvas.encoded(figure, dpi=120)
