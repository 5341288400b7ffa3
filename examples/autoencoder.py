"""An autoencoder: a network whose target is its own input learns to describe a digit of 64 pixels by two numbers.

The layers get narrower towards the middle, where two units hold all that the second half draws the digit from. Nobody
tells the network what a digit is; in the plane of the two numbers those of a kind lie together all the same. The best
that can be had with straight lines alone, two principal components, is worse.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import Adam, Layer, NeuralNetwork, load_digits


def principal(x_train, x_test, n):
    """The test images drawn from their n principal components."""
    mean = x_train.mean(axis=0)
    directions = np.linalg.svd(x_train - mean, full_matrices=False)[2][:n]
    return mean + (x_test - mean) @ directions.T @ directions


def main(out: Path, epochs: int) -> None:
    """Train, print the errors, draw digits and what is made of them, and the plane."""
    (x_train, _), (x_test, t_test) = load_digits()
    sizes = [(64, 64, "tanh"), (64, 32, "tanh"), (32, 2, None), (2, 32, "tanh"), (32, 64, "tanh"), (64, 64, "sigmoid")]
    net = NeuralNetwork([Layer(*size, init="xavier") for size in sizes], rng=0)
    net.fit(x_train, x_train, optimizer=Adam(lr=0.002), epochs=epochs, rng=0)

    # the first half by itself: copies of its layers in a network of their own
    encoder = NeuralNetwork(
        [Layer(*size, la.weights, la.bias) for size, la in zip(sizes[:3], net.layers, strict=False)]
    )
    codes, drawn, linear = encoder.predict(x_test), net.predict(x_test), principal(x_train, x_test, 2)
    for name, images in (("mean image", x_train.mean(axis=0)), ("2 principal components", linear), ("network", drawn)):
        print(f"mean squared error of a pixel, {name}: {np.mean((images - x_test) ** 2):.4f}")

    shown = [np.flatnonzero(t_test == digit)[0] for digit in range(10)]
    figure = plt.figure(figsize=(12, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    for row, images, label in zip(
        left.subplots(3, 10), (x_test, drawn, linear), ("digit", "network", "linear"), strict=True
    ):
        row[0].set_ylabel(label)
        for ax, i in zip(row, shown, strict=True):
            ax.imshow(images[i].reshape(8, 8), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
    plane = right.subplots()
    for digit in range(10):
        plane.scatter(*codes[t_test == digit].T, marker=f"${digit}$", lw=0.3)
    plane.set(xlabel="first number", ylabel="second number")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "autoencoder.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=200, help="passes over the training set")
    main(**vars(parser.parse_args()))
