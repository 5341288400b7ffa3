"""The slope of a function from two of its values: forward or central, and why the step must not be too small.

A forward difference errs by about h, a central one by about h**2. Rounding errs by about 1e-16 / h, so that below
some step both get worse again. A step such as 10e-50 vanishes entirely: x + h is x, and the slope seems to be 0.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import numerical_diff
from nncore.plotting import plot_function_and_tangent


def parabola(x):
    """Return 0.01 x**2 + 0.1 x, whose slope is 0.02 x + 0.1."""
    return 0.01 * x**2 + 0.1 * x


def main(out: Path) -> None:
    """Print slopes and partial derivatives, draw tangents and errors."""
    print("slope at 5: ", numerical_diff(parabola, 5))
    print("slope at 10:", numerical_diff(parabola, 10))
    print("slope at 5, forward difference:", numerical_diff(parabola, 5, method="forward"))
    print("slope at 5, h = 10e-50:        ", numerical_diff(parabola, 5, h=10e-50))
    print("np.float32(1e-50) is", np.float32(1e-50))

    # A partial derivative is the slope of a function of one variable, the others held: here of x0**2 + x1**2.
    print("by x0 at (3, 4):", numerical_diff(lambda x0: x0 * x0 + 4.0**2.0, 3.0))
    print("by x1 at (3, 4):", numerical_diff(lambda x1: 3.0**2.0 + x1 * x1, 4.0))

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    plot_function_and_tangent(parabola, [5, 10], x_range=(0, 20), ax=left)
    steps = np.logspace(-15, 0, 61)
    for method, style in (("forward", "--"), ("central", "-")):
        slopes = np.array([numerical_diff(np.sin, 1.0, h, method) for h in steps])
        right.loglog(steps, abs(slopes - np.cos(1.0)), style, label=method)
    right.set(xlabel="step h", ylabel="error", title="Error of the slope of sin at 1")
    right.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "numerical_diff.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
