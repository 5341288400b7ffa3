"""Gradient descent: from a start step by step down the gradient, and how much depends on the learning rate.

Each step is x = x - lr * gradient. On x0**2 + x1**2 it multiplies x by 1 - 2 lr: with lr = 0.1 that is 0.8 and x goes
to the minimum; with lr = 10 it is -19 and x flies away; with lr = 1e-10 it is 1 but for a trifle and x stands still.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import gradient_descent
from nncore.plotting import plot_descent


def bowl(x):
    """Return x0**2 + x1**2, least at (0, 0)."""
    return np.sum(x**2)


def main(out: Path) -> None:
    """Descend with three learning rates, draw the path of the good one and the progress of all."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for lr, style in ((0.1, "-"), (10.0, "--"), (1e-10, ":")):
        x, path = gradient_descent(bowl, [-3.0, 4.0], lr=lr, step_num=100, return_path=True)
        print(f"lr = {lr}: after 100 steps x = {x}")
        right.semilogy([bowl(point) for point in path], style, label=f"lr = {lr:g}")
        if lr == 0.1:
            plot_descent(bowl, path, (-4.5, 4.5, -4.5, 4.5), ax=left)
    left.set_title("lr = 0.1")
    right.set(xlabel="step", ylabel="f(x)")
    right.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "gradient_descent.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
