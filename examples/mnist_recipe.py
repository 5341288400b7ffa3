"""A better recipe for MNIST: two hidden layers with dropout, Adam, a learning rate that rises, then falls as a cosine.

784-256-128-10 in float32, batches of 128. With --checkpoint FILE the training can be interrupted: the same call goes
on. MNIST comes from --data, from the folder that NNCORE_DATA names, or is downloaded.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

from nncore import Adam, Cosine, Layer, NeuralNetwork, WarmUp, load_mnist
from nncore.plotting import plot_accuracy, plot_loss


def main(out: Path, data: Path | None, epochs: int, checkpoint: Path | None) -> None:
    """Train, draw learning rate, losses and accuracies."""
    (x_train, t_train), test = load_mnist(normalize=False, data_dir=data)
    net = NeuralNetwork(
        [
            Layer(784, 256, "relu", init="he", dropout=0.2),
            Layer(256, 128, "relu", init="he", dropout=0.2),
            Layer(128, 10, init="xavier"),
        ],
        loss="softmax_cross_entropy", dtype="float32", rng=0,
    )  # fmt: skip
    history = net.fit(
        x_train, t_train, optimizer=Adam(lr=0.002), schedule=WarmUp(200, Cosine()), batch_size=128, epochs=epochs,
        validation_data=test, checkpoint=checkpoint, resume=checkpoint is not None, rng=0,
    )  # fmt: skip
    print(f"test accuracy {history.test_accuracy[-1]:.4f} after {history.epochs} epochs in {history.seconds:.0f} s")

    out.mkdir(parents=True, exist_ok=True)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
    left.plot(history.lr)
    left.set(xlabel="iteration", ylabel="learning rate")
    plot_loss(history, middle)
    plot_accuracy(history, right)
    figure.savefig(out / "mnist_recipe.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    parser.add_argument("--data", type=Path, help="folder that holds MNIST")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the data")
    parser.add_argument("--checkpoint", type=Path, help="file to write now and then, and to go on from")
    main(**vars(parser.parse_args()))
