"""How wrong is an answer? Squared error and cross-entropy of one answer, and of a batch.

An answer is a probability for each of the ten digits. The digit shown is a 2; one answer says 2, the other says 7.
Both losses tell them apart, but only cross-entropy looks at nothing but the probability of the truth, and grows
without bound when that goes to 0.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import cross_entropy_error, mean_squared_error, one_hot

SAYS_2 = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
SAYS_7 = np.array([0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0])


def main(out: Path) -> None:
    """Print the losses of both answers, and draw the losses over the probability of the truth."""
    t = one_hot(2, n_classes=10)
    print("the truth, one-hot:", t)
    for name, y in (("says 2", SAYS_2), ("says 7", SAYS_7)):
        print(f"{name}: squared error {mean_squared_error(y, t)}, cross-entropy {cross_entropy_error(y, t)}")

    # A batch has one row a sample; its cross-entropy is the mean. The truth may be one-hot rows or labels.
    batch, labels = np.stack([SAYS_2, SAYS_7]), np.array([2, 2])
    print("batch, one-hot:", cross_entropy_error(batch, one_hot(labels, 10)))
    print("batch, labels: ", cross_entropy_error(batch, labels))

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.bar(np.arange(10) - 0.2, SAYS_2, 0.4, label="says 2")
    left.bar(np.arange(10) + 0.2, SAYS_7, 0.4, label="says 7")
    left.set(xlabel="digit", ylabel="probability", xticks=range(10), title="Two answers to a 2")
    left.legend()
    # What is left of 1 is spread evenly over the nine wrong digits.
    p = np.linspace(0.01, 1, 100)
    answers = [np.where(t == 1, q, (1 - q) / 9) for q in p]
    right.plot(p, [cross_entropy_error(y, t) for y in answers], label="cross-entropy")
    right.plot(p, [mean_squared_error(y, t) for y in answers], "--", label="squared error")
    right.set(xlabel="probability of the right digit", ylabel="loss", title="Their losses")
    right.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "loss_functions.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
