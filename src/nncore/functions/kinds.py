"""The kinds of activations and losses: one row for each, which everything else reads.

The arithmetic is the core's; every fact that Python needs of a kind stands here, once. tests/test_complete.py compares
the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.dispatch import activation as core_activation
from nncore.core.dispatch import loss as core_loss

Array = NDArray[Any]
ZERO_ONE = (0.0, 1.0)
# The name of what is a function of the user's.
CUSTOM = "custom"
# Klambauer, Unterthiner, Mayr, Hochreiter, Self-normalizing neural networks (2017).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class Parameter:
    """The parameter of a name, as in "huber(0.5)"."""

    name: str
    default: float
    check: Callable[[Any, str], float]


@dataclass(frozen=True)
class Activation:
    """An activation z = f(a)."""

    name: str
    parameter: Parameter | None = None
    kinks: tuple[float, ...] = ()  # the a where the derivative jumps
    smooth_with: float | None = None  # the parameter with which it jumps nowhere
    keeps_slope: bool = False  # the output does not determine the derivative, which is kept beside it
    bounds: tuple[float, float] = (-inf, inf)  # of the outputs, where there are both
    elementwise: bool = True  # else for a last layer of two outputs or more
    init: str = "xavier"  # of the weights of such a layer, where nothing else is asked for
    other_names: tuple[str, ...] = ()  # what scikit-learn calls it
    torch: str | None = None  # the module of torch.nn, {p} being the parameter; None: no module is needed

    @property
    def number(self) -> int:
        """The core's number."""
        return core_activation.ACTIVATIONS[self.name]

    def kinks_with(self, parameter: float) -> tuple[float, ...]:
        """The a where the derivative jumps with this parameter."""
        return () if parameter == self.smooth_with else self.kinks


@dataclass(frozen=True)
class Targets:
    """The targets that a loss is defined for: in words, and as a test of each number."""

    expected: str
    fit: Callable[[Array], NDArray[np.bool_]]


_FROM_0_TO_1 = Targets("numbers from 0 to 1", lambda t: (t >= 0) & (t <= 1))


@dataclass(frozen=True)
class Loss:
    """A loss of outputs y and targets t: a sum over outputs, unless the classes exclude each other."""

    name: str
    parameter: Parameter | None = None
    targets: Targets | None = None  # None: any numbers
    classes: bool = False  # targets are classes, and not numbers
    exclusive: bool = False  # a sample has one class: targets sum to 1, and there are two outputs or more
    coding: tuple[float, float] = ZERO_ONE  # targets of a class that is not the sample's, and of one that is
    outputs: tuple[float, float] | None = None  # what outputs must lie between
    link: str | None = None  # what makes predictions of outputs: an activation that yields probabilities, or exp
    other_names: tuple[str, ...] = ()  # what others call it

    @property
    def number(self) -> int:
        """The core's number."""
        return core_loss.LOSSES[self.name]

    @property
    def margin(self) -> bool:
        """Whether the sign of an output says yes or no to a class, as that of a target does."""
        return self.coding != ZERO_ONE

    @property
    def probabilities(self) -> str | None:
        """The activation that makes probabilities of classes of outputs, which are logits then."""
        return self.link if self.classes else None

    @property
    def of_probabilities(self) -> bool:
        """Whether outputs are probabilities of classes, or logits."""
        return self.classes and not self.margin

    @property
    def last_activations(self) -> tuple[str, ...] | None:
        """The activations that the last layer may have; None: any."""
        if self.probabilities:
            return "identity", self.probabilities
        if self.outputs:
            return *(row.name for row in ACTIVATIONS.values() if row.bounds == self.outputs), CUSTOM
        return None


ACTIVATIONS = {
    row.name: row
    for row in (
        Activation("identity"),
        Activation("relu", kinks=(0.0,), init="he", torch="ReLU()"),
        Activation("tanh", bounds=(-1, 1), torch="Tanh()"),
        Activation("sigmoid", bounds=(0, 1), other_names=("logistic",), torch="Sigmoid()"),
        Activation(
            "leaky_relu", Parameter("slope", 0.01, checks.non_negative_float), kinks=(0.0,), init="he",
            torch="LeakyReLU({p})",
        ),
        Activation(
            "elu", Parameter("alpha", 1.0, checks.positive_float), kinks=(0.0,), smooth_with=1.0, torch="ELU({p})",
        ),
        Activation("selu", kinks=(0.0,), torch="SELU()"),
        Activation("gelu", keeps_slope=True, torch="GELU()"),
        Activation("silu", keeps_slope=True, torch="SiLU()"),
        Activation("softplus", torch="Softplus()"),
        Activation("hard_sigmoid", kinks=(-3.0, 3.0), bounds=(0, 1), torch="Hardsigmoid()"),
        Activation("mish", keeps_slope=True, torch="Mish()"),
        Activation("softsign", bounds=(-1, 1), torch="Softsign()"),
        Activation("softmax", bounds=(0, 1), elementwise=False, torch="Softmax(dim=-1)"),
    )
}  # fmt: skip

LOSSES = {
    row.name: row
    for row in (
        Loss("squared_error", other_names=("mse", "mean_squared_error", "l2")),
        Loss("absolute_error", other_names=("mae", "l1")),
        Loss("huber", Parameter("delta", 1.0, checks.positive_float)),
        Loss("log_cosh", other_names=("logcosh",)),
        Loss("quantile", Parameter("q", 0.5, checks.inner_fraction), other_names=("pinball",)),
        Loss("poisson", targets=Targets("numbers of 0 or more", lambda t: t >= 0), link="exp"),
        Loss(
            "softmax_cross_entropy",
            targets=Targets("numbers from 0 to 1 that sum to 1", _FROM_0_TO_1.fit),
            classes=True,
            exclusive=True,
            link="softmax",
            other_names=(
                "log_loss", "cross_entropy", "crossentropy", "categorical_crossentropy",
                "sparse_categorical_crossentropy", "nll",
            ),
        ),
        Loss(
            "sigmoid_cross_entropy",
            targets=_FROM_0_TO_1,
            classes=True,
            link="sigmoid",
            other_names=("bce", "binary_crossentropy", "bce_with_logits"),
        ),
        Loss(
            "binary_cross_entropy",
            targets=_FROM_0_TO_1,
            classes=True,
            outputs=ZERO_ONE,
        ),
        Loss("hinge", targets=Targets("-1 or 1", lambda t: np.abs(t) == 1), classes=True, coding=(-1.0, 1.0)),
    )
}  # fmt: skip

_OWN_ACTIVATION, _OWN_LOSS = Activation(CUSTOM), Loss(CUSTOM)


def activation(name: str) -> Activation:
    """The row of an activation's name; of functions of the user's one that says nothing."""
    return ACTIVATIONS.get(name, _OWN_ACTIVATION)


def loss(name: str) -> Loss:
    """The row of a loss such as "hinge" or "huber(0.5)"; of a function of the user's one that says nothing."""
    return LOSSES.get(name) or LOSSES.get(name.partition("(")[0], _OWN_LOSS)


def _parameters(rows: Mapping[str, Activation | Loss]) -> dict[str, tuple[float, Callable[[Any, str], float]]]:
    """Default and check of those that have a parameter."""
    return {name: (row.parameter.default, row.parameter.check) for name, row in rows.items() if row.parameter}


ACTIVATION_PARAMS = _parameters(ACTIVATIONS)
LOSS_PARAMS = _parameters(LOSSES)
# The activations that a hidden layer may have.
HIDDEN = [name for name, row in ACTIVATIONS.items() if row.elementwise]
# The losses of an estimator that predicts numbers.
REGRESSION = [name for name, row in LOSSES.items() if not row.classes]
# What activations and losses are called elsewhere.
OTHER_ACTIVATIONS = {other: name for name, row in ACTIVATIONS.items() for other in row.other_names}
OTHER_LOSSES = {other: name for name, row in LOSSES.items() for other in row.other_names}
