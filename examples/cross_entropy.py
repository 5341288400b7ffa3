"""Cross-entropy from three sides: as a loss over classes, as a loss over yes and no, and as information.

1. The loss of scores is the mean of -log(softmax) at the true class. Taking log-softmax first and picking afterwards
   gives the same, and stays finite where a probability rounds to 0.
2. Of yes and no: -log(y) if it is true, -log(1 - y) if it is not; y is clipped so that 0 and 1 can be answered.
3. Information: of two archers one misses 90 % of the time, the other 99 %. A hit of the second tells more, but happens
   so rarely that a shot of the first is worth more questions. Who takes the first for the second asks too many.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import (
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_error,
    entropy,
    information_content,
    log_softmax,
    negative_log_likelihood,
    softmax,
)


def main(out: Path) -> None:
    """Print the numbers of the three sides, draw the second and the third."""
    scores, labels = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3], [0.2, 0.4, 3.0]]), np.array([0, 1, 2])
    print("log-softmax, then negative log-likelihood:", negative_log_likelihood(log_softmax(scores), labels))
    print("softmax, then cross-entropy:              ", cross_entropy_error(softmax(scores), labels, delta=0))
    print("a class whose probability rounds to 0:    ", negative_log_likelihood(log_softmax([[0.0, 1000.0]]), [0]))

    print("yes and no, 0.9 and 0.1:", binary_cross_entropy([0.9, 0.1], [1, 0]))
    print("yes and no, entirely wrong:", binary_cross_entropy([0.0, 1.0], [1, 0]))

    archers = {"first": np.array([0.9, 0.1]), "second": np.array([0.99, 0.01])}  # miss, hit
    for name, p in archers.items():
        miss, hit = information_content(p)
        print(f"{name} archer: a miss tells {miss:.4f} bits, a hit {hit:.4f}, a shot {entropy(p):.4f}")
    print(f"the first taken for the second: {cross_entropy(archers['first'], archers['second']):.4f} bits")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    y = np.linspace(0.001, 0.999, 200)
    left.plot(y, [binary_cross_entropy([v], [1]) for v in y], label="it is true")
    left.plot(y, [binary_cross_entropy([v], [0]) for v in y], "--", label="it is not")
    left.set(xlabel="answer y", ylabel="binary cross-entropy", ylim=(0, 5))
    left.legend(loc="upper center")
    p = np.linspace(0.005, 1, 200)
    right.plot(p, information_content(p), color="black")
    for (name, probabilities), marker in zip(archers.items(), "os", strict=True):
        right.plot(probabilities, information_content(probabilities), marker, label=f"{name} archer: hit and miss")
    right.set(xlabel="probability", ylabel="information in bits")
    right.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "cross_entropy.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
