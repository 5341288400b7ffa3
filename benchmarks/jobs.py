"""The jobs: which data, which network, which start, which samples in which order. The same for every peer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import nncore

Array: TypeAlias = NDArray[Any]
Layers: TypeAlias = list[tuple[Array, Array]]

SEED = 0
DTYPES = ("float32", "float64")
H = 1e-4  # the book's step for differences
MICROSECONDS = {"µs": 1.0, "ms": 1e3}


@dataclass(frozen=True)
class Job:
    """One line of the table of jobs.

    Attributes
    ----------
    title : str
        What is computed, for the heading of the table.
    unit : str
        What is timed: a step, an iteration.
    sizes : tuple of int
        Units from input to output.
    sampling : {"sequential", "replacement"}
        As in ``NeuralNetwork.fit``.
    load : callable
        Returns training samples as they come, and their labels.
    draw : callable
        (rng, n_in, n_out) to the initial weights and bias of one layer.
    dtypes : tuple of str
        Float types in which it makes sense.
    prefix : {"µs", "ms"}
        In what the table gives the time of a unit.
    """

    name: str
    title: str
    unit: str
    sizes: tuple[int, ...]
    batch_size: int
    lr: float
    sampling: str
    load: Callable[[], tuple[Array, Array]]
    draw: Callable[[np.random.Generator, int, int], tuple[Array, Array]]
    dtypes: tuple[str, ...] = DTYPES
    prefix: str = "µs"


@dataclass(frozen=True)
class Problem:
    """A job with its data, in one float type: what each peer is given."""

    job: Job
    raw: Array
    labels: Array
    dtype: np.dtype[Any]

    @cached_property
    def x(self) -> Array:
        """Samples of the job's float type, (n_samples, n_in); pixels go from 0 to 1."""
        if self.raw.dtype == np.uint8:
            return np.divide(self.raw, 255, dtype=self.dtype)
        return self.raw.astype(self.dtype)

    @cached_property
    def targets(self) -> Array:
        """One-hot rows of the job's float type, (n_samples, n_out)."""
        return np.eye(self.job.sizes[-1], dtype=self.dtype)[self.labels]

    @property
    def epoch(self) -> int:
        """Steps that take as many samples as there are; runs are whole epochs."""
        return max(len(self.labels) // self.job.batch_size, 1)

    def start(self) -> Layers:
        """Initial weights (n_in, n_out) and bias of every layer, as new arrays.

        The numbers are float32 in either type, so that both start from the same point.
        """
        rng = np.random.default_rng(SEED)
        drawn = [self.job.draw(rng, *shape) for shape in zip(self.job.sizes, self.job.sizes[1:], strict=False)]
        return [tuple(a.astype(np.float32).astype(self.dtype) for a in layer) for layer in drawn]  # type: ignore[misc]

    def sample(self) -> list[NDArray[np.intp]]:
        """Up to 100 elements of W1, b1, W2, b2, ..., as flat indices: of all of them a slow peer would take minutes."""
        rng = np.random.default_rng(SEED)
        sizes = [a.size for layer in self.start() for a in layer]
        return [np.sort(rng.choice(size, min(size, 100), replace=False)) for size in sizes]

    def batches(self, steps: int) -> NDArray[np.intp]:
        """Samples of the first so many steps, (steps, batch_size): those that nncore's ``fit`` takes with SEED."""
        n, shape = len(self.labels), (steps, self.job.batch_size)
        if self.job.sampling == "replacement":
            return np.random.default_rng(SEED).integers(n, size=shape, dtype=np.intp)
        return (np.arange(steps * self.job.batch_size, dtype=np.intp) % n).reshape(shape)


def _moons() -> tuple[Array, Array]:
    return nncore.load_moons()[0]


def _mnist() -> tuple[Array, Array]:
    return nncore.load_mnist(normalize=False)[0]


def _dense() -> tuple[Array, Array]:
    """As many samples as the book's batch has, with no pixel that is 0 and so makes its weights cheap."""
    rng = np.random.default_rng(SEED)
    return rng.random((100, 784)), rng.integers(10, size=100)


def _article_start(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[Array, Array]:
    return rng.standard_normal((n_in, n_out)) * np.sqrt(1 / n_out), rng.random(n_out) * 0.1


def _book_start(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[Array, Array]:
    return rng.standard_normal((n_in, n_out)) * 0.01, np.zeros(n_out)


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
    )
}
