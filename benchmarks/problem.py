"""A job, and its part for each peer: data, start, samples in their order. The same for every peer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
    sampling : {"sequential", "shuffle", "replacement"}
        As in ``NeuralNetwork.fit``; shuffled samples have to be whole batches.
    load : callable
        Returns training samples as they come, and their labels.
    draw : callable
        (rng, n_in, n_out) to the initial weights and bias of one layer.
    dtypes : tuple of str
        Float types in which it makes sense.
    prefix : {"µs", "ms"}
        In what the table gives the time of a unit.
    activation, output : str
        Of the hidden layers and of the last one.
    optimizer : {"sgd", "adam"}
        Adam with PyTorch's defaults but for lr.
    check : int
        Steps after which the peers have to agree; 0 is an epoch.
    tolerance : float
        By how much they may differ then; 0 is the harness's own.
    longer : int
        Times the seconds of a run, where it begins with something that is done once.
    floor : bool
        Whether the table has a row with the least that any dense step costs.
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
    activation: str = "sigmoid"
    output: str = "softmax"
    optimizer: str = "sgd"
    check: int = 0
    tolerance: float = 0.0
    longer: int = 1
    floor: bool = False


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

    @property
    def checked(self) -> int:
        """Steps after which the peers are compared."""
        return self.job.check or self.epoch

    @cached_property
    def pieces(self) -> list[Array]:
        """The samples as arrays (batch_size, n_in), at hand before the clock starts."""
        return np.split(self.x, range(self.job.batch_size, len(self.x), self.job.batch_size))

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
        if self.job.sampling == "shuffle":
            rng, epochs = np.random.default_rng(SEED), -(-steps // self.epoch)
            return np.stack([rng.permutation(n) for _ in range(epochs)]).reshape(-1, shape[1])[:steps]
        return (np.arange(steps * self.job.batch_size, dtype=np.intp) % n).reshape(shape)
