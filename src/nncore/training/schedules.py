"""Schedules of the learning rate: a factor of the optimizer's lr for every iteration.

i counts the iterations of a run from 0, total is their number. Formulas are those of torch.optim.lr_scheduler, stepped
once an iteration, where it has them; each docstring names its counterpart.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.settings import Checked

Factors = NDArray[np.float64]
MODES = ("auto", "min", "max")


def mode_of(value: Any, name: str) -> str:
    """Check whether less or more of a metric is better."""
    return checks.choice(value, name, MODES)


def _shrinking(value: Any, name: str) -> float:
    """Check a number above 0 and below 1."""
    factor = checks.positive_float(value, name)
    if factor >= 1:
        raise ValueError(f"{name} is {value}, expected a number above 0 and below 1")
    return factor


class Schedule(ABC):
    """The base of all schedules; a subclass with factors of its own is a schedule too.

    Attributes are the settings. One object may serve many runs: those that follow a metric are copied for each.
    """

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({settings})"

    @abstractmethod
    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last.

        Parameters
        ----------
        first, last : int
            Counting from 0, last not included.
        total : int
            Iterations of the whole run.

        Returns
        -------
        ndarray of shape (last - first,), float64
            Finite numbers of 0 or more.
        """


class Constant(Schedule):
    """The optimizer's lr throughout: 1.

    Examples
    --------
    >>> Constant().factors(0, 3, 3)
    array([1., 1., 1.])
    """

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return ones."""
        return np.ones(last - first)


class Step(Schedule):
    """Falls by a factor again and again: factor ** (i // every).

    torch's StepLR(step_size=every, gamma=factor).

    Parameters
    ----------
    every : int
        Iterations.
    factor : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number.

    Examples
    --------
    >>> Step(2, 0.5).factors(0, 5, 5)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    every = Checked(checks.positive_int)
    factor = Checked(checks.positive_float)

    def __init__(self, every: int, factor: float = 0.1) -> None:
        self.every, self.factor = every, factor

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last."""
        return np.asarray(np.power(self.factor, np.arange(first, last) // self.every))


class Exponential(Schedule):
    """Falls with every iteration: factor ** i.

    torch's ExponentialLR(gamma=factor).

    Parameters
    ----------
    factor : float
        Above 0; 0.5 ** (1 / n) halves in n iterations.

    Raises
    ------
    TypeError, ValueError
        If factor is not such a number.

    Examples
    --------
    >>> Exponential(0.5).factors(0, 4, 4)
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    factor = Checked(checks.positive_float)

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last."""
        return np.asarray(np.power(self.factor, np.arange(first, last, dtype=np.float64)))


class Linear(Schedule):
    """A straight line towards the end: 1 + (final - 1) * i / total.

    torch's LinearLR(start_factor=1, end_factor=final, total_iters=total).

    Parameters
    ----------
    final : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If final is not such a number.

    Examples
    --------
    >>> Linear().factors(0, 4, 4)
    array([1.  , 0.75, 0.5 , 0.25])
    """

    final = Checked(checks.non_negative_float)

    def __init__(self, final: float = 0.0) -> None:
        self.final = final

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last."""
        return np.asarray(1 + (self.final - 1) * (np.arange(first, last) / total))


class Cosine(Schedule):
    """Half a wave towards the end: final + (1 - final) * (1 + cos(pi * i / total)) / 2.

    torch's CosineAnnealingLR(T_max=total, eta_min=final * lr); Loshchilov, Hutter, SGDR: stochastic gradient descent
    with warm restarts, ICLR 2017, without restarts.

    Parameters
    ----------
    final : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If final is not such a number.

    Examples
    --------
    >>> Cosine().factors(0, 4, 4).round(3)
    array([1.   , 0.854, 0.5  , 0.146])
    """

    final = Checked(checks.non_negative_float)

    def __init__(self, final: float = 0.0) -> None:
        self.final = final

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last."""
        wave = (1 + np.cos(np.pi * np.arange(first, last) / total)) / 2
        return np.asarray(self.final + (1 - self.final) * wave)


class InverseScaling(Schedule):
    """Falls ever more slowly: (i + 1) ** -power.

    scikit-learn's learning_rate="invscaling" with power_t=power, counted in iterations instead of samples.

    Parameters
    ----------
    power : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If power is not such a number.

    Examples
    --------
    >>> InverseScaling(1.0).factors(0, 4, 4).round(3)
    array([1.   , 0.5  , 0.333, 0.25 ])
    """

    power = Checked(checks.non_negative_float)

    def __init__(self, power: float = 0.5) -> None:
        self.power = power

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last."""
        return np.asarray(np.arange(first + 1, last + 1, dtype=np.float64) ** -self.power)


def _threshold_mode(value: Any, name: str) -> str:
    """Check whether a threshold is relative."""
    return checks.choice(value, name, ("rel", "abs"))


class ReduceOnPlateau(Schedule):
    """Falls by a factor when a metric has not improved for more than patience epochs.

    An epoch improves that is better than the best so far by more than a threshold. After a fall the count of epochs
    begins anew. A metric that is infinite or NaN is no improvement.

    torch's ReduceLROnPlateau with cooldown 0.

    Parameters
    ----------
    patience : int
        Epochs, 0 or more.
    factor : float
        From above 0 to below 1.
    threshold : float
        0 or more.
    threshold_mode : {"rel", "abs"}
        "rel": less than best * (1 - threshold) is an improvement, or where more is better, more than
        best * (1 + threshold): of a negative metric, where it moves the other way, a little less than the best will do.
        "abs": by more than threshold.
    minimum : float
        Of the factor of lr; 0 or more.
    metric : str or callable, optional
        As one of fit's metrics. By default the first of them; without validation_data the mean of the epoch's batch
        losses.
    mode : {"auto", "min", "max"}
        Whether less or more of the metric is better; "auto" knows it for metrics with a name.

    Raises
    ------
    TypeError, ValueError
        If a setting is not as described.

    Examples
    --------
    >>> from nncore import Layer, NeuralNetwork
    >>> net = NeuralNetwork([Layer(1, 1)], rng=0)
    >>> schedule = ReduceOnPlateau(patience=2, factor=0.5)
    >>> history = net.fit([[1.0], [2.0]], [0.0, 0.0], schedule=schedule, epochs=60)
    >>> bool(history.lr[-1] <= history.lr[0])
    True
    """

    patience = Checked(checks.non_negative_int)
    factor = Checked(_shrinking)
    threshold = Checked(checks.non_negative_float)
    threshold_mode = Checked(_threshold_mode)
    minimum = Checked(checks.non_negative_float)
    mode = Checked(mode_of)

    def __init__(
        self,
        patience: int = 10,
        factor: float = 0.1,
        *,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        minimum: float = 0.0,
        metric: str | Callable[[Any, Any], float] | None = None,
        mode: str = "auto",
    ) -> None:
        self.patience, self.factor, self.threshold, self.minimum = patience, factor, threshold, minimum
        self.threshold_mode, self.metric, self.mode = threshold_mode, metric, mode
        self._factor, self._best, self._waited = 1.0, np.inf, 0

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factor that the epochs so far have left, for each iteration."""
        return np.full(last - first, self._factor)

    def observe(self, value: float, sign: float = 1.0) -> None:
        """Take note of an epoch's metric, turned so that less is better: it is sign * value, sign 1 or -1."""
        limit = self._best
        if np.isfinite(limit):
            limit -= sign * self.threshold * limit if self.threshold_mode == "rel" else self.threshold
        if np.isfinite(value) and value < limit:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._waited > self.patience:
            self._factor, self._waited = max(self._factor * self.factor, min(self.minimum, self._factor)), 0

    @property
    def state(self) -> tuple[float, float, int]:
        """The factor by now, the best metric and the epochs since then, for checkpoints."""
        return self._factor, float(self._best), self._waited

    @state.setter
    def state(self, value: tuple[float, float, int]) -> None:
        self._factor, self._best, self._waited = value


class WarmUp(Schedule):
    """Rises along a line for the first iterations, then follows another schedule over the rest.

    (i + 1) / (steps + 1) while i < steps, and from there on what the other gives for i - steps of total - steps.

    torch's SequentialLR of LinearLR(start_factor=1 / (steps + 1), total_iters=steps) and the other.

    Parameters
    ----------
    steps : int
        Iterations.
    then : str or Schedule
        By default constant.

    Raises
    ------
    TypeError, ValueError
        If steps is not such a number, or then is no schedule.

    Examples
    --------
    >>> WarmUp(3, "linear").factors(0, 7, 7)
    array([0.25, 0.5 , 0.75, 1.  , 0.75, 0.5 , 0.25])
    """

    steps = Checked(checks.positive_int)
    then = Checked(lambda value, name: schedule(value, name))

    def __init__(self, steps: int, then: str | Schedule = "constant") -> None:
        self.steps = steps
        self.then = then

    def factors(self, first: int, last: int, total: int) -> Factors:
        """Return the factors of iterations first to last."""
        edge = min(max(first, self.steps), last)
        rising = np.arange(first + 1, edge + 1) / (self.steps + 1)
        rest = self.then.factors(edge - self.steps, last - self.steps, max(total - self.steps, 1))
        return np.append(rising, rest) if edge > first else rest


def follower_of(given: Schedule | None) -> ReduceOnPlateau | None:
    """Return the part of a schedule that follows a metric, if there is one."""
    while isinstance(given, WarmUp):
        given = given.then
    return given if isinstance(given, ReduceOnPlateau) else None


# Those that need no setting, by name.
SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "inverse_scaling": InverseScaling,
    "plateau": ReduceOnPlateau,
}


def schedule(value: Any, name: str = "schedule") -> Schedule:
    """Return a schedule for one run, from its name or an object, which is copied."""
    if isinstance(value, str):
        return SCHEDULES[checks.choice(value, name, SCHEDULES)]()
    checks.instance(value, name, Schedule, f"a schedule such as Cosine(), or one of {', '.join(map(repr, SCHEDULES))}")
    result: Schedule = copy.deepcopy(value)
    return result
