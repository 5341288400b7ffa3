"""Every picture of the library.

A function that draws one picture takes the axes to draw on, makes a new figure if there are none, and returns the
axes; ``ax.figure.savefig("name.png")`` writes the file. A picture of several parts comes as a figure of its own.
Matplotlib is imported on first use.
"""

from nncore.plotting.functions import plot_descent, plot_function_and_tangent, plot_gradient_field, plot_surface
from nncore.plotting.gradient_check import plot_gradient_report
from nncore.plotting.images import plot_mistakes, plot_weights
from nncore.plotting.planes import plot_decision_boundary, plot_points
from nncore.plotting.training import plot_accuracy, plot_curves, plot_loss

__all__ = [
    "plot_accuracy",
    "plot_curves",
    "plot_decision_boundary",
    "plot_descent",
    "plot_function_and_tangent",
    "plot_gradient_field",
    "plot_gradient_report",
    "plot_loss",
    "plot_mistakes",
    "plot_points",
    "plot_surface",
    "plot_weights",
]
