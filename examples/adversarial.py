"""Digits that a network gets wrong though they look the same: the gradient of the loss by the input.

Back-propagation does not end at the weights: backward also returns dx, the gradient by each pixel. A small step along
its sign, as long for each pixel, raises the loss most (fast gradient sign method). One in random directions does nearly
nothing. MNIST comes from --data, from the folder that NNCORE_DATA names, or is downloaded.

I. Goodfellow, J. Shlens, C. Szegedy, Explaining and harnessing adversarial examples (2015).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import Adam, Layer, NeuralNetwork, load_mnist, losses


def signs(net, x, t):
    """The sign of the gradient of the loss by each pixel."""
    _, dy = losses.softmax_cross_entropy(net.forward(x), t)
    _, dx = net.backward(dy)
    return np.sign(dx)


def main(out: Path, data: Path | None, epochs: int) -> None:
    """Train, print accuracies by the size of the step, draw digits before and after."""
    (x_train, t_train), (x, t) = load_mnist(normalize=True, data_dir=data)
    net = NeuralNetwork(
        [Layer(784, 100, "relu", init="he"), Layer(100, 10, init="xavier")],
        loss="softmax_cross_entropy", dtype=np.float32, rng=0,
    )  # fmt: skip
    net.fit(x_train, t_train, optimizer=Adam(), batch_size=100, epochs=epochs)

    worst = signs(net, x, t)
    chance = np.random.default_rng(0).choice([-1, 1], x.shape)
    print("step   accuracy after it   after a random one")
    for step in (0, 0.02, 0.05, 0.1):
        after, random = (net.accuracy(net.predict(np.clip(x + step * way, 0, 1)), t) for way in (worst, chance))
        print(f"{step:<6} {after:<19.4f} {random:.4f}")

    moved = np.clip(x + 0.1 * worst, 0, 1)
    before, after = net.predict(x).argmax(axis=1), net.predict(moved).argmax(axis=1)
    shown = [np.flatnonzero((t == digit) & (before == t) & (after != t))[0] for digit in range(10)]
    figure, axes = plt.subplots(3, 10, figsize=(10, 3.6), layout="constrained")
    rows = zip(axes, (x, worst, moved), (before, None, after), strict=True)
    for row, pictures, classes in rows:
        for ax, i in zip(row, shown, strict=True):
            ax.imshow(pictures[i].reshape(28, 28), cmap="gray")
            ax.set(xticks=[], yticks=[], title="" if classes is None else f"a {classes[i]}")
    for ax, label in zip(axes[:, 0], ("digit", "0.1 times", "sum"), strict=True):
        ax.set_ylabel(label)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "adversarial.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    parser.add_argument("--data", type=Path, help="folder that holds MNIST")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training set")
    main(**vars(parser.parse_args()))
