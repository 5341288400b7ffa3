"""Handwritten digits: a network of 50 hidden units learns MNIST in mini-batches, by the book's loop and by fit.

The loop is that of the book, where only the import line is another. fit does the same updates in compiled code:
batches of 100 drawn with replacement, learning rate 0.1, accuracies after every epoch of 600 batches. MNIST comes
from --data, from the folder that NNCORE_DATA names, or is downloaded.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import SGD, TwoLayerNet, load_mnist
from nncore.plotting import plot_accuracy, plot_loss, plot_mistakes, plot_weights


def train_by_loop(x_train, t_train, x_test, t_test, iters_num):
    """Train as the book does; returns the network, its losses and its accuracies on the training and the test set."""
    network = TwoLayerNet(input_size=784, hidden_size=50, output_size=10)
    train_size = x_train.shape[0]
    batch_size = 100
    learning_rate = 0.1
    train_loss_list = []
    train_acc_list = []
    test_acc_list = []
    iter_per_epoch = max(train_size / batch_size, 1)

    for i in range(iters_num):
        batch_mask = np.random.choice(train_size, batch_size)  # noqa: NPY002 (the book's line)
        x_batch = x_train[batch_mask]
        t_batch = t_train[batch_mask]

        grad = network.gradient(x_batch, t_batch)
        for key in ("W1", "b1", "W2", "b2"):
            network.params[key] -= learning_rate * grad[key]

        loss = network.loss(x_batch, t_batch)
        train_loss_list.append(loss)

        if i % iter_per_epoch == 0:
            train_acc = network.accuracy(x_train, t_train)
            test_acc = network.accuracy(x_test, t_test)
            train_acc_list.append(train_acc)
            test_acc_list.append(test_acc)
            print(f"epoch {len(train_acc_list) - 1}: train acc, test acc | {train_acc:.4f}, {test_acc:.4f}")
    return network, train_loss_list, train_acc_list, test_acc_list


def main(out: Path, data: Path | None, iterations: int) -> None:
    """Train both ways, draw losses, accuracies, weights and mistakes."""
    (x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, one_hot_label=True, data_dir=data)

    start = time.perf_counter()
    _, losses, train_acc, test_acc = train_by_loop(x_train, t_train, x_test, t_test, iterations)
    print(f"the loop: {time.perf_counter() - start:.1f} s, last loss {losses[-1]:.3f}")

    net = TwoLayerNet(784, 50, 10, rng=0)
    history = net.fit(
        x_train, t_train, optimizer=SGD(lr=0.1), batch_size=100, iterations=iterations, sampling="replacement",
        validation_data=(x_test, t_test),
    )  # fmt: skip
    print(f"fit: {history.seconds:.1f} s, last loss {history.loss[-1]:.3f}, test acc {history.test_accuracy[-1]:.4f}")

    out.mkdir(parents=True, exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    plot_loss(history, left)
    plot_accuracy(history, right)
    epochs = range(1, len(test_acc))  # without the first values, after a single update
    right.plot(epochs, train_acc[1:], "o", mfc="none", color="black", label="train, by the loop")
    right.plot(epochs, test_acc[1:], "x", color="black", label="test, by the loop")
    right.legend(loc="lower right")
    figure.savefig(out / "train_mnist.png")

    probabilities = net.predict(x_test)
    plot_weights(net.params["W1"]).savefig(out / "train_mnist_weights.png")
    mistakes = plot_mistakes(x_test, t_test.argmax(axis=1), probabilities.argmax(axis=1), probabilities)
    mistakes.savefig(out / "train_mnist_mistakes.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the pictures")
    parser.add_argument("--data", type=Path, help="folder that holds MNIST")
    parser.add_argument("--iterations", type=int, default=10000, help="updates of each training")
    main(**vars(parser.parse_args()))
