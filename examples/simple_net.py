"""The smallest network: one layer of 2 x 3 weights, and the gradient of its loss by those weights.

The gradient dW has the shape of W and says how the loss answers to each weight: with a positive dW[i, j] the loss
grows with W[i, j]. Numerical differences and the exact formula agree; going against dW makes the loss fall.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import SimpleNet, numerical_gradient, softmax
from nncore.plotting import plot_loss


def main(out: Path) -> None:
    """Print prediction, loss and both gradients, then descend and draw what changes."""
    net = SimpleNet(W=[[0.47355232, 0.9977393, 0.84668094], [0.85557411, 0.03563661, 0.69422093]])
    x, t = np.array([0.6, 0.9]), np.array([0, 0, 1])
    scores = net.predict(x)
    print("scores:", scores, "largest:", np.argmax(scores))
    print("loss:", net.loss(x, t))

    numerical = numerical_gradient(lambda W: net.loss(x, t), net.W)  # changes net.W in place, and restores it
    analytic = net.gradient(x, t)
    print("dW, numerical:", numerical, "dW, analytic:", analytic, sep="\n")
    print("largest difference:", abs(numerical - analytic).max())

    losses = []
    for _ in range(100):
        losses.append(net.loss(x, t))
        net.W -= 0.1 * net.gradient(x, t)
    print("loss after 100 steps:", net.loss(x, t))

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    plot_loss(losses, left, window=1)
    right.bar(np.arange(3) - 0.2, softmax(scores), 0.4, label="before")
    right.bar(np.arange(3) + 0.2, softmax(net.predict(x)), 0.4, label="after 100 steps")
    right.set(xlabel="class (2 is right)", ylabel="probability", xticks=range(3))
    right.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "simple_net.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
