"""Which samples an epoch takes, in which order."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import mapped

SAMPLINGS = ("shuffle", "replacement", "sequential")
# Samples that are drawn at once, if it takes more than one epoch for them.
DRAWN_AT_ONCE = 1 << 16


def steps_of(n: int, batch_size: int, sampling: str) -> int:
    """Return the updates of one epoch over n samples."""
    return max(n // batch_size, 1) if sampling == "replacement" else -(-n // batch_size)


class Plan:
    """The samples of one run, epoch by epoch.

    Attributes
    ----------
    steps, size : int
        Updates and samples of one epoch.
    epochs_at_once : int
        Epochs that may be drawn at once.
    seed : int or None
        That rng was made of, if a number was given: a run that is resumed must have the same.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        sampling: str,
        rng: np.random.Generator,
        windows: mapped.Windows | None = None,
        seed: int | None = None,
    ) -> None:
        self.n, self.batch_size, self.sampling, self.rng, self.windows = n, batch_size, sampling, rng, windows
        self.seed = seed
        self.steps = steps_of(n, batch_size, sampling)
        self.size = self.steps * batch_size if sampling == "replacement" else n
        self.epochs_at_once = 1 if windows else max(1, DRAWN_AT_ONCE // self.size)

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """Samples of each batch of an epoch."""
        sizes = np.full(self.steps, float(self.batch_size))
        sizes[-1] = self.size - (self.steps - 1) * self.batch_size
        return sizes

    def sample_at(self, step: int) -> int:
        """Return how many samples the first so many updates of consecutive epochs take."""
        return step // self.steps * self.size + min(step % self.steps * self.batch_size, self.size)

    def epoch(self) -> NDArray[np.intp]:
        """Draw the samples of the next epoch, in a way that does not depend on how training is cut into chunks."""
        if self.sampling == "replacement":
            return self.rng.integers(self.n, size=self.size, dtype=np.intp)
        if self.sampling == "shuffle" and self.windows:
            return self.windows.shuffled(self.rng)
        if self.sampling == "shuffle":
            return self.rng.permutation(self.n).astype(np.intp, copy=False)
        return np.arange(self.n, dtype=np.intp)

    def loss_weights(self, index: NDArray[np.intp], steps: int, weights: NDArray[np.float64] | None) -> NDArray[Any]:
        """Return what the loss of each of these batches counts in the epoch's: its samples, or their weights."""
        if weights is None or weights.ndim == 2:
            return self.sizes[:steps]
        starts = np.arange(0, steps * self.batch_size, self.batch_size)
        return np.add.reduceat(weights[index[: self.sample_at(steps)]], starts)
