"""The learning rate of every iteration of a run: the optimizer's lr times the factor of the schedule."""

import numpy as np
from numpy.typing import NDArray

from nncore.training.schedules import Schedule
from nncore.training.update_rule import Optimizer

# Factors are computed in aligned blocks of this many, so that a resumed run gets the same bits: the last bits of a
# vectorised function may depend on an element's place in the array.
BLOCK = 1 << 10


class Rates:
    """The learning rates of one run.

    Attributes
    ----------
    values : ndarray of shape (total,), or None
        Those computed so far, with a schedule.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule | None, total: int) -> None:
        self.optimizer, self.schedule, self.total = optimizer, schedule, total
        self.values = one_each(total) if schedule else None

    def between(self, first: int, last: int) -> float | NDArray[np.float64]:
        """Return the rates of the iterations first to last, which is not included; one number without a schedule."""
        if self.schedule is None or self.values is None:
            return self.optimizer.lr
        begin = first // BLOCK * BLOCK
        end = min(-(-last // BLOCK) * BLOCK, self.total)
        factors = np.asarray(self.schedule.factors(begin, end, self.total), np.float64)
        if factors.shape != (end - begin,) or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"{self.schedule} gave an array of shape {factors.shape} for iterations {begin} to {end}, "
                f"expected {end - begin} finite numbers of 0 or more"
            )
        self.values[first:last] = self.optimizer.lr * factors[first - begin : last - begin]
        return self.values[first:last]

    def at(self, iteration: int) -> float:
        """Return the rate of an iteration that has begun."""
        return self.optimizer.lr if self.values is None else float(self.values[iteration])


def one_each(total: int) -> NDArray[np.float64]:
    """Return room for a number of every iteration."""
    try:
        return np.empty(total)
    except (MemoryError, ValueError):
        raise ValueError(
            f"epochs or iterations ask for {total} updates, expected fewer: their losses need {8 * total:.3g} bytes"
        ) from None
