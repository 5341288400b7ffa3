"""Finding things in a picture: the loss of a detector such as YOLO, put together from losses and masks, and checked.

A picture of 16 x 16 pixels is divided into 4 x 4 cells. For each, the network yields the box of a thing whose middle is
in the cell (4 numbers), whether there is one (1 logit), and whether it is a block or a frame (2 logits). The loss is a
sum of four parts, each with weights that hide what does not count:

- the squared error of the box, where there is a thing, times 2 - w * h: an error counts more for a small one;
- the binary cross-entropy of "there is one", where there is;
- the same where there is none, weighed down, as that is nearly everywhere;
- the binary cross-entropy of the classes, where there is a thing.

J. Redmon, A. Farhadi, YOLOv3: an incremental improvement (2018).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import Adam, Layer, NeuralNetwork, check_gradient, losses, sigmoid

SIZE, GRID = 16, 4
CELL = SIZE // GRID
BOX, OBJECT, CLASSES = slice(0, 4), slice(4, 5), slice(5, 7)
COORDINATES, NO_OBJECT = 5, 0.5  # what boxes count, and cells without a thing


def yolo_loss(y, t):
    """The loss of a batch, y and t (n_samples, 4 * 4 * 7), and its gradient by y: a mean over the pictures."""
    cells, expected = (array.reshape(len(y), GRID * GRID, 7) for array in (y, t))
    there = expected[..., OBJECT]
    width, height = expected[..., 2:3], expected[..., 3:4]
    total, dy = 0.0, np.zeros_like(cells)
    for part, loss, weights in (
        (BOX, losses.squared_error, COORDINATES * there * (2 - width * height)),
        (OBJECT, losses.sigmoid_cross_entropy, there),
        (OBJECT, losses.sigmoid_cross_entropy, NO_OBJECT * (1 - there)),
        (CLASSES, losses.sigmoid_cross_entropy, there),
    ):
        rows, targets = (array[..., part].reshape(len(y), -1) for array in (cells, expected))
        weights = np.broadcast_to(weights, cells[..., part].shape).reshape(len(y), -1)
        value, gradient = loss(rows, targets, weights)
        total += value
        dy[..., part] += gradient.reshape(cells[..., part].shape)
    return total, dy.reshape(y.shape)


def pictures(rng, n):
    """Noisy pictures (n, 256) of up to three blocks and frames that do not touch, and their targets (n, 4 * 4 * 7)."""
    x, t = 0.1 * rng.standard_normal((n, SIZE, SIZE)), np.zeros((n, GRID * GRID, 7))
    for picture, cells in zip(x, t, strict=True):
        for _ in range(3):
            (width, height), block = rng.integers(4, 8, 2), rng.integers(2)
            left, top = rng.integers(SIZE - width + 1), rng.integers(SIZE - height + 1)
            if picture[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1].max() > 0.6:
                continue  # there is something already
            picture[top : top + height, left : left + width] += 1
            if not block:
                picture[top + 1 : top + height - 1, left + 1 : left + width - 1] -= 1
            x_middle, y_middle = (left + width / 2) / CELL, (top + height / 2) / CELL  # in cells
            column, row = int(x_middle), int(y_middle)
            cells[row * GRID + column] = (
                x_middle - column, y_middle - row, width / SIZE, height / SIZE, 1, block, 1 - block
            )  # fmt: skip
    return x.reshape(n, -1), t.reshape(n, -1)


def boxes(outputs):
    """Left, top, width, height in pixels, and whether it is a block, of every cell with a thing."""
    cells = outputs.reshape(GRID * GRID, 7)
    for i in np.flatnonzero(cells[:, 4] > 0):
        x, y, width, height = cells[i, BOX] * (CELL, CELL, SIZE, SIZE)
        left, top = i % GRID * CELL + x - width / 2, i // GRID * CELL + y - height / 2
        yield left, top, width, height, cells[i, 5] > cells[i, 6]


def main(out: Path, epochs: int) -> None:
    """Check the gradient, train, print what is found, draw it."""
    rng = np.random.default_rng(0)
    (x_train, t_train), (x_test, t_test) = pictures(rng, 10000), pictures(rng, 1000)

    y, t = rng.standard_normal((5, t_test.shape[1])), t_test[:5]
    print("The loss by each of 5 * 112 outputs:")
    print(check_gradient(lambda y: yolo_loss(y, t)[0], y, grad=yolo_loss(y, t)[1]))

    net = NeuralNetwork(
        [Layer(SIZE * SIZE, 256, "relu", init="he"), Layer(256, GRID * GRID * 7, init="xavier")], loss=yolo_loss, rng=0
    )
    print("\nThe loss by the weights of a network:")
    print(check_gradient(net, x_test[:5], t, sample=500))

    history = net.fit(x_train, t_train, optimizer=Adam(), epochs=epochs, rng=0)
    y = net.predict(x_test)
    cells, expected = (array.reshape(-1, 7) for array in (y, t_test))
    there, found = expected[:, 4] == 1, sigmoid(cells[:, 4]) > 0.5
    both = there & found
    right = (cells[both, 5] > cells[both, 6]) == (expected[both, 5] == 1)
    print(f"\n{epochs} epochs: loss {history.loss[0]:.2f} at first, {history.loss[-1]:.2f} at last; of new pictures")
    print(f"{both.sum() / there.sum():.1%} of the things are found, {right.mean():.1%} of them as the right kind,")
    print(f"and {both.sum() / found.sum():.1%} of what is found is there")

    figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
    for ax, picture, outputs in zip(axes.flat, x_test, y, strict=False):
        ax.imshow(picture.reshape(SIZE, SIZE), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        for left, top, width, height, block in boxes(outputs):
            colour = "#E69F00" if block else "#56B4E9"
            ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, color=colour, lw=2))
    figure.suptitle("found in new pictures: blocks in orange, frames in blue")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "yolo_loss.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the training pictures")
    main(**vars(parser.parse_args()))
