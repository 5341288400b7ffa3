"""Two moons that no straight line parts: a network of sigmoid layers, 2-25-50-25-2, learns the border.

train updates the network with one sample at a time, in their order, and looks every tenth epoch at the mean squared
error on the training set and the accuracy on the test set. For long nothing seems to happen, then the border bends.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt

from nncore import Layer, NeuralNetwork, load_moons
from nncore.plotting import plot_decision_boundary, plot_points


def main(out: Path, epochs: int) -> None:
    """Draw the data, train, draw the curves and the border."""
    (x_train, t_train), (x_test, t_test) = load_moons()  # 2,000 points, 30 % of them for the test
    out.mkdir(parents=True, exist_ok=True)
    figure = plt.figure(figsize=(10, 3.8), layout="constrained")
    light, dark = figure.subfigures(1, 2)
    plot_points(x_train, t_train, light.subplots())
    plot_points(x_train, t_train, dark.subplots(), dark=True)
    figure.savefig(out / "moons.png")

    net = NeuralNetwork(rng=0)
    net.add_layer(Layer(2, 25, "sigmoid"))
    net.add_layer(Layer(25, 50, "sigmoid"))
    net.add_layer(Layer(50, 25, "sigmoid"))
    net.add_layer(Layer(25, 2, "sigmoid"))
    start = time.perf_counter()
    mses, accuracies = net.train(x_train, x_test, t_train, t_test, learning_rate=0.01, max_epochs=epochs)
    print(f"{epochs} epochs of {len(x_train)} updates: {time.perf_counter() - start:.1f} s")
    print(f"mean squared error {mses[-1]:.4f}, test accuracy {accuracies[-1]:.4f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.plot(range(1, epochs + 1, 10), mses)
    left.set(xlabel="epoch", ylabel="mean squared error, training set")
    right.plot(range(1, epochs + 1, 10), accuracies)
    right.set(xlabel="epoch", ylabel="accuracy, test set")
    figure.savefig(out / "moons_curves.png")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    plot_decision_boundary(net.predict, x_train, t_train, left).set_title("training set")
    plot_decision_boundary(net.predict, x_test, t_test, right).set_title("test set")
    figure.savefig(out / "moons_boundary.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the pictures")
    parser.add_argument("--epochs", type=int, default=1000, help="passes over the training set")
    main(**vars(parser.parse_args()))
