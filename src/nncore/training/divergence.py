"""Divergence that stays finite is divergence: the rule, the last sane parameters, and what is likely to blame.

A training has diverged when a loss or a parameter is not finite, or when both of these hold:

- the largest parameter is more than GROWN times what it was at the start (or than 1, if it was smaller then);
- the mean loss of the training samples, of LOOK at most, is more than RISEN times what it was before that, and
  than that of outputs of 0.

No training that works does both: parameters grow that much only towards targets that are as large, and then the loss
falls. Looks come after fixed numbers of updates, so that chance of timing decides nothing, and at the end.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import mapped
from nncore.core.checks import largest
from nncore.data.samples import Data
from nncore.model import passes
from nncore.model.model import Model

Array = NDArray[Any]
GROWN, RISEN = 1e2, 1e10
LOOK = 4096, 1 << 22  # rows, numbers
# A look reads all parameters and copies them: once in so many samples that it takes less than a hundredth of the time.
SAMPLES, MOST_SAMPLES, SAMPLES_TIMES_PARAMS = 1 << 14, 1 << 18, 1 << 28
# Numbers of X or y beyond this are named as a likely cause.
LARGE = 10.0
# One update at a time, the loss before it alone tells, where it and the parameters have grown by so much.
STEP_GROWN = 1e10


def looks_apart(n_params: int) -> int:
    """Samples from one look to the next."""
    return min(MOST_SAMPLES, max(SAMPLES, SAMPLES_TIMES_PARAMS // n_params))


class Watch:
    """Looks at a network in training, and keeps its last sane parameters.

    Attributes
    ----------
    kept_at : int
        Updates, or epochs of the estimators, that the kept parameters have had.
    """

    def __init__(self, net: Model, data: Data, done: int = 0) -> None:
        self.net, self.data = net, data
        self.params, self.moments = net.core.params.copy(), net.core.moments.copy()
        self.first = self.kept_at = done
        self.scale = self.looked_at = max(1.0, largest(self.params))
        self.reference = math.nan  # the mean loss that none may exceed by RISEN, once it is needed
        self.before = self.loss = math.nan  # the mean losses then, and at the look that found divergence

    def is_sane(self) -> bool:
        """Return whether the network, as it is now, has not diverged."""
        self.loss = math.nan
        size = largest(self.net.core.params)
        if not math.isfinite(size):
            return False
        if size <= GROWN * self.scale or size <= 2 * self.looked_at:
            return True
        if math.isnan(self.reference):
            self.reference = self._loss_before()
        self.loss = self._loss_now()
        if not self.loss <= RISEN * self.reference:
            return False
        self.looked_at = size
        return True

    def keep(self, done: int) -> None:
        """Take note that these parameters are sane."""
        np.copyto(self.params, self.net.core.params)
        np.copyto(self.moments, self.net.core.moments)
        self.kept_at = done

    def go_back(self) -> None:
        """Give the network the last sane parameters."""
        np.copyto(self.net.core.params, self.params)
        np.copyto(self.net.core.moments, self.moments)

    def _loss_now(self) -> float:
        """Return the mean loss of some of the samples; infinite where a function of the user's refuses what it gets."""
        x, t, weights = self.data.x, self.data.t, self.data.weights
        every = mapped.spread(x, *LOOK)
        if weights is not None:
            weights = np.ascontiguousarray(weights[every])
            if not weights.any():
                every, weights = slice(None), self.data.weights
        try:
            with np.errstate(all="ignore"):
                return passes.loss(self.net, np.ascontiguousarray(x[every]), np.ascontiguousarray(t[every]), weights)
        except (ArithmeticError, ValueError):
            return math.inf
        finally:
            mapped.release(x)

    def _loss_before(self) -> float:
        """Return the mean loss of the kept parameters, or of outputs of 0 if larger: targets that count may be few."""
        core = self.net.core
        params, moments = core.params.copy(), core.moments.copy()
        self.go_back()
        try:
            self.before = self._loss_now()
        finally:
            core.params[:], core.moments[:] = params, moments
        known = abs(self.before) if math.isfinite(self.before) else 0.0
        return max(known, self._loss_of_zeros(), np.finfo(np.float64).tiny)

    def _loss_of_zeros(self) -> float:
        """Return about the mean loss of outputs of 0: squares, or sizes, of targets that are numbers."""
        t = self.data.t
        if t.ndim == 1:
            return 0.0
        power = 2 if self.net.loss_kind == "squared_error" else 1
        return sum(float((np.abs(part, dtype=np.float64) ** power).sum()) for _, part in mapped.pieces(t)) / len(t)

    def layer(self) -> str:
        """Return which parameters grew most since they were kept, and from what to what."""
        before, after = self.net.named(self.params), self.net.named(self.net.core.params)
        sizes = {name: (largest(before[name]), largest(after[name])) for name in after}

        def growth(name: str) -> float:
            was, now = sizes[name]
            return now / max(was, 1e-3) if math.isfinite(now) else math.inf

        name = max(sizes, key=growth)
        return f"{name} grew most, from {sizes[name][0]:.3g} to {sizes[name][1]:.3g}"

    def advice(self, *, rate: bool = True) -> str:
        """Return advice, by what is large; rate says whether training has a learning rate."""
        large = [scale_of_inputs(self.net, self.data.x), scale_of_targets(self.net, self.data.t)]
        scale = f"scale {' and '.join(filter(None, large)) or 'X and y'}"
        return f"{scale}, or try a smaller learning rate" if rate else scale


def scale_of_inputs(net: Model, x: Any) -> str:
    """Return how large a column of X is, in words; "" if none is large."""
    some = np.array(x[mapped.spread(x, *LOOK)])
    mapped.release(x)
    scale = net.core.input_scale if some.dtype == np.uint8 else 1.0
    sizes = np.maximum(-some.min(axis=0).astype(np.float64), some.max(axis=0)) * scale
    column = int(sizes.argmax())
    return f"X (column {column} reaches {sizes[column]:.3g})" if sizes[column] > LARGE else ""


def scale_of_targets(net: Model, t: Array) -> str:
    """Return how large targets that are numbers are, in words; "" if they are not."""
    if t.ndim == 1 or net.is_classifier:
        return ""
    some = t[mapped.spread(t, *LOOK)].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0)
    k = int((np.abs(mean) + deviation).argmax())
    if abs(mean[k]) + deviation[k] <= LARGE:
        return ""
    return f"y (mean {mean[k]:.3g}, standard deviation {deviation[k]:.3g})"


def limit_after(net: Model, loss: float) -> float:
    """Return the loss of a single update up to which there is no need to look again.

    Raises
    ------
    FloatingPointError
        If it is not finite, or it and the parameters have grown as no training makes them.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss of X and y is {loss}, expected a finite loss: nothing was updated")
    size = largest(net.core.params)
    if net.loss_limit == -math.inf:
        net.first_size = max(1.0, size) if math.isfinite(size) else 1.0
    elif not size <= STEP_GROWN * net.first_size:
        raise FloatingPointError(
            f"the loss of X and y is {loss:.3g} and the largest parameter {size:.3g}, {STEP_GROWN:g} times what they "
            f"were, expected ones that do not grow so: scale X and y, or try a smaller learning rate"
        )
    return STEP_GROWN * max(abs(loss), np.finfo(np.float64).tiny)
