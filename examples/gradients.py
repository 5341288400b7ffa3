"""The gradient of x0**2 + x1**2: all partial derivatives at once, its surface, and its field of arrows.

The gradient points where the function grows fastest; the arrows show its negative, the way down. They are longer
where the surface is steeper, and all of them point at the minimum.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import numerical_gradient
from nncore.plotting import plot_gradient_field, plot_surface


def bowl(x):
    """Return x0**2 + x1**2."""
    return np.sum(x**2)


def main(out: Path) -> None:
    """Print the gradient at three points, draw surface and field."""
    for point in ([3.0, 4.0], [0.0, 2.0], [3.0, 0.0]):
        print(f"gradient at {point}:", numerical_gradient(bowl, np.array(point)))

    figure = plt.figure(figsize=(10, 4.6), layout="constrained")
    plot_surface(bowl, ax=figure.add_subplot(1, 2, 1, projection="3d"))
    plot_gradient_field(bowl, ax=figure.add_subplot(1, 2, 2))
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "gradients.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
