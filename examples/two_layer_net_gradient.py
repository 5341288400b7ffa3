"""Is back-propagation right? All 79,510 numerical slopes of a two-layer network beside its exact gradient.

The numerical gradient evaluates the loss twice a parameter, back-propagation all of it at the price of about three
evaluations: the one is for checking, the other for training.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import TwoLayerNet


def main(out: Path) -> None:
    """Print shapes, times and differences, draw how the differences are spread."""
    net = TwoLayerNet(input_size=784, hidden_size=100, output_size=10, rng=0)
    rng = np.random.default_rng(0)
    x, t = rng.random((100, 784)), rng.integers(10, size=100)  # 100 random "images" and labels
    print("probabilities:", net.predict(x).shape)

    start = time.perf_counter()
    numerical = net.numerical_gradient(x, t)
    middle = time.perf_counter()
    exact = net.gradient(x, t)
    end = time.perf_counter()
    print(f"numerical: {middle - start:.2f} s, by back-propagation: {1000 * (end - middle):.2f} ms")

    figure, ax = plt.subplots(layout="constrained")
    for key, dp in exact.items():
        difference = abs(numerical[key] - dp)
        print(f"{key}: shape {net.params[key].shape}, gradient {dp.shape}, largest difference {difference.max():.1e}")
        share = np.full(difference.size, 1 / difference.size)
        ax.hist(np.log10(difference.ravel() + 1e-16), np.linspace(-16, -8, 81), weights=share, alpha=0.6, label=key)
    ax.set(xlabel="log10 |numerical - exact|", ylabel="share of the parameter's elements")
    ax.legend(loc="upper left")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "two_layer_net_gradient.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
