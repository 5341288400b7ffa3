"""The four activations of a layer, and their derivatives written from the output.

With z = f(a) the derivative f'(a) needs no a: it is 1 for None, z > 0 for relu, 1 - z**2 for tanh, z (1 - z) for
sigmoid. Back-propagation has z at hand, so a layer keeps its outputs only.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import Layer


def main(out: Path) -> None:
    """Print the values at -1, 0 and 1, draw the functions and their derivatives."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    a = np.linspace(-4, 4, 201).reshape(-1, 1)
    for ax, name in zip(axes, (None, "relu", "tanh", "sigmoid"), strict=True):
        layer = Layer(1, 1, name, weights=[[1.0]], bias=[0.0])  # so that a = x
        z = layer.activate([[-1.0], [0.0], [1.0]])
        dz = layer.apply_activation_derivative(z)
        print(f"{name}: f(-1, 0, 1) = {z.ravel().round(4)}, f'(-1, 0, 1) = {dz.ravel().round(4)}")

        z = layer.activate(a)
        ax.plot(a, z, label="z = f(a)")
        ax.plot(a, layer.apply_activation_derivative(z), "--", label="f'(a)")
        ax.set(title=str(name), xlabel="a", ylim=(-1.5, 2))
    axes[0].legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "activations.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
