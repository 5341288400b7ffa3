"""The table of jobs: which data, which network, which start."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nncore
from benchmarks.problem import SEED, Array, Job


def _moons() -> tuple[Array, Array]:
    return nncore.load_moons()[0]


def _mnist() -> tuple[Array, Array]:
    return nncore.load_mnist(normalize=False)[0]


def _dense() -> tuple[Array, Array]:
    """As many samples as the book's batch has, with no pixel that is 0 and so makes its weights cheap."""
    rng = np.random.default_rng(SEED)
    return rng.random((100, 784)), rng.integers(10, size=100)


def _floats(n_in: int, n: int = 1000) -> Callable[[], tuple[Array, Array]]:
    """Samples for predictions, whose labels nobody reads."""
    return lambda: (np.random.default_rng(SEED).random((n, n_in)), np.zeros(n, np.intp))


def _some_mnist() -> tuple[Array, Array]:
    """Enough that their floats are more than a cache holds, few enough that an epoch is soon over."""
    x, t = nncore.load_mnist(normalize=False)[0]
    return x[:12_800], t[:12_800]


def _article_start(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[Array, Array]:
    return rng.standard_normal((n_in, n_out)) * np.sqrt(1 / n_out), rng.random(n_out) * 0.1


def _book_start(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[Array, Array]:
    return rng.standard_normal((n_in, n_out)) * 0.01, np.zeros(n_out)


def _he_start(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[Array, Array]:
    return rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in), np.zeros(n_out)


# A sum that rounding moves over the kink of relu changes a parameter, and Adam takes a step of lr whichever sign the
# rounding of a vanishing gradient has: measured are 1e-4 in the first 20 steps and 6e-3 after 50. A learning rate 1 %
# off is at 0.03 or more after 5.
RELU: dict[str, Any] = {"activation": "relu", "check": 10, "tolerance": 5e-3}

PREDICT: dict[str, Any] = {
    "batch_size": 1, "lr": 0.0, "sampling": "sequential", "draw": _he_start, "dtypes": ("float32",)
}  # fmt: skip

JOBS = {
    job.name: job
    for job in (
        Job(
            name="moons",
            title="2-25-50-25-2, sigmoid, 0.5 * squared error, one sample a step in order, lr 0.01",
            unit="step",
            sizes=(2, 25, 50, 25, 2),
            batch_size=1,
            lr=0.01,
            sampling="sequential",
            load=_moons,
            draw=_article_start,
            output="sigmoid",
        ),
        Job(
            name="mnist",
            title="784-50-10, sigmoid, softmax cross-entropy, 100 samples drawn with replacement, lr 0.1, "
            "the loss of every batch",
            unit="iteration",
            sizes=(784, 50, 10),
            batch_size=100,
            lr=0.1,
            sampling="replacement",
            load=_mnist,
            draw=_book_start,
            longer=3,  # 10,000 iterations, as in the book, and more
        ),
        Job(
            name="gradcheck",
            title="784-50-10, sigmoid, softmax cross-entropy, 100 dense samples, the slope of the loss by each of "
            "39,760 parameters by differences, h 1e-4",
            unit="gradient",
            sizes=(784, 50, 10),
            batch_size=100,
            lr=0.0,
            sampling="sequential",
            load=_dense,
            draw=_book_start,
            dtypes=("float64",),  # differences of float32 losses show rounding
            prefix="ms",
        ),
        Job(
            name="medium",
            title="784-512-512-10, relu, softmax cross-entropy, Adam, batches of 128 from 12,800 shuffled MNIST images "
            "as floats",
            unit="iteration",
            sizes=(784, 512, 512, 10),
            batch_size=128,
            lr=1e-3,
            sampling="shuffle",
            load=_some_mnist,
            draw=_he_start,
            dtypes=("float32",),
            optimizer="adam",
            floor=True,
            **RELU,
        ),
        Job(
            name="wide",
            title="784-1024-1024-10, relu, softmax cross-entropy, SGD, lr 0.1, batches of 256 from 12,800 shuffled "
            "MNIST images as floats",
            unit="iteration",
            sizes=(784, 1024, 1024, 10),
            batch_size=256,
            lr=0.1,
            sampling="shuffle",
            load=_some_mnist,
            draw=_he_start,
            dtypes=("float32",),
            floor=True,
            **RELU,
        ),
        Job(
            name="predict-small",
            title="4-64-64-2, tanh, one row a call from Python",
            unit="prediction",
            sizes=(4, 64, 64, 2),
            load=_floats(4),
            activation="tanh",
            output="identity",
            **PREDICT,
        ),
        Job(
            name="predict",
            title="784-50-10, sigmoid, softmax, one row a call from Python",
            unit="prediction",
            sizes=(784, 50, 10),
            load=_floats(784),
            **PREDICT,
        ),
        Job(
            name="predict-many",
            title="784-50-10, sigmoid, softmax, 10,000 rows a call from Python",
            unit="prediction",
            sizes=(784, 50, 10),
            load=_floats(784, 10_000),
            **{**PREDICT, "batch_size": 10_000, "prefix": "ms"},
        ),
        Job(
            name="online",
            title="2-25-50-25-2, sigmoid, linear outputs, 0.5 * squared error, one update with one sample a call from "
            "Python, lr 0.01",
            unit="update",
            sizes=(2, 25, 50, 25, 2),
            batch_size=1,
            lr=0.01,
            sampling="sequential",
            load=_moons,
            draw=_article_start,
            dtypes=("float32",),
            output="identity",
        ),
        Job(
            name="many",
            title="networks of the job moons side by side: two Python threads with fit, 8 networks with fit_many",
            unit="step of each network",
            sizes=(2, 25, 50, 25, 2),
            batch_size=1,
            lr=0.01,
            sampling="sequential",
            load=_moons,
            draw=_article_start,
            dtypes=("float32",),
            output="sigmoid",
        ),
    )
}
