"""Exclusive or, which one layer cannot learn: two sigmoid layers without biases can.

The third input is always 1 and does what a bias would. The published loop minimises sum((y - output)**2) over the
four points with steps of 1. Here the loss is half the square, averaged over the batch: an eighth of that sum. So a
learning rate of 8 makes the same updates.
"""

import argparse
from pathlib import Path

import numpy as np

from nncore import SGD, Layer, NeuralNetwork
from nncore.plotting import plot_loss

X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])


def main(out: Path) -> None:
    """Train 1,500 iterations, print the predictions, draw the loss."""
    rng = np.random.default_rng(0)  # other seeds end a little nearer or further off
    net = NeuralNetwork(
        [
            Layer(3, 4, "sigmoid", weights=rng.random((3, 4)), use_bias=False),
            Layer(4, 1, "sigmoid", weights=rng.random((4, 1)), use_bias=False),
        ]
    )
    history = net.fit(X, Y, optimizer=SGD(lr=8), batch_size=4, iterations=1500, sampling="sequential")
    sums = 8 * history.loss
    print(
        f"sum of squares: {sums[0]:.4f} at first, {sums[-1]:.4f} at last; always falling: {np.all(np.diff(sums) < 0)}"
    )
    for x, y, output in zip(X, Y, net.predict(X), strict=True):
        print(f"{x[0]:.0f} xor {x[1]:.0f}: {output[0]:.4f}, expected {y[0]:.0f}")

    ax = plot_loss(sums, window=1)
    ax.set_ylabel("sum of squared errors")
    out.mkdir(parents=True, exist_ok=True)
    ax.figure.savefig(out / "xor.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
