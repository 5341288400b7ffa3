"""Handwritten digits, better: 784-256-128-10 with dropout, Adam and a learning rate that falls along a cosine.

98.3 % and more of the test digits are right, where the book's network (train_mnist.py) gets 97 %. Dropout is what keeps
the larger network from learning the training digits by heart; the falling rate lets it settle. MNIST comes from --data,
from the folder that NNCORE_DATA names, or is downloaded.
"""

import argparse
import math
from pathlib import Path

import numpy as np

from nncore import Adam, Layer, NeuralNetwork, load_mnist
from nncore.plotting import plot_mistakes


def main(out: Path, data: Path | None, epochs: int) -> None:
    """Train, print accuracies, draw what is still wrong."""
    (x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, data_dir=data)
    net = NeuralNetwork(
        [
            Layer(784, 256, "relu", init="he", dropout=0.3),
            Layer(256, 128, "relu", init="he", dropout=0.2),
            Layer(128, 10, init="xavier"),
        ],
        loss="softmax_cross_entropy",
        dtype=np.float32,
        rng=0,
    )
    optimizer, seconds = Adam(), 0.0
    for epoch in range(epochs):
        optimizer.lr = 0.002 * (1 + math.cos(math.pi * epoch / epochs)) / 2
        history = net.fit(x_train, t_train, optimizer=optimizer, batch_size=100, epochs=1, progress=False)
        seconds += history.seconds
        print(f"epoch {epoch + 1}: learning rate {optimizer.lr:.5f}, loss {history.loss.mean():.4f}, {seconds:.1f} s")
    outputs = net.predict_proba(x_test)
    print(f"test accuracy {net.accuracy(outputs, t_test):.4f}")

    out.mkdir(parents=True, exist_ok=True)
    plot_mistakes(x_test, t_test, outputs.argmax(axis=1), outputs).savefig(out / "mnist_better.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    parser.add_argument("--data", type=Path, help="folder that holds MNIST")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training set")
    main(**vars(parser.parse_args()))
