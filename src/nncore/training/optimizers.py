"""Update rules: settings here, arithmetic in the core, and the table of all of them.

Formulas, names and defaults are those of torch.optim, from which each class's docstring quotes; g is the gradient,
p the parameter, and all operations are by element.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from nncore.core import checks
from nncore.core.dispatch import optimizer as core
from nncore.core.settings import Checked
from nncore.training.adam import Adam, AdamW, NAdam
from nncore.training.update_rule import Optimizer, Rule, rule_of


class SGD(Optimizer):
    """Stochastic gradient descent, by default plain: p -= lr * g.

    With momentum v = momentum * v + g and p -= lr * v, with nesterov p -= lr * (g + momentum * v). weight_decay adds
    weight_decay * p to g, for weights and biases alike.

    Source: torch.optim.SGD with dampening 0; Sutskever, Martens, Dahl, Hinton, On the importance of initialization and
    momentum in deep learning, ICML 2013. With a constant lr this is the book's v = momentum * v - lr * g, p += v.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    momentum : float
        From 0 to below 1.
    nesterov : bool
        Look ahead along v; needs a momentum above 0.
    weight_decay : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> params, grads = {"W1": np.ones(2)}, {"W1": np.full(2, 5.0)}
    >>> SGD(lr=0.1).update(params, grads)
    >>> params["W1"]
    array([0.5, 0.5])
    """

    momentum = Checked(checks.fraction)
    nesterov = Checked(checks.switch)

    def __init__(
        self, lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        self._rule()

    def _rule(self) -> Rule:
        if self.nesterov and not self.momentum:
            raise ValueError(f"momentum is {self.momentum}, expected a number above 0 with nesterov=True")
        kind = "nesterov" if self.nesterov else "momentum" if self.momentum else "sgd"
        return self._numbers(kind, beta1=self.momentum)


def Momentum(lr: float = 0.01, momentum: float = 0.9, *, weight_decay: float = 0.0) -> SGD:
    """Return SGD with momentum, by the book's name.

    Examples
    --------
    >>> Momentum()
    SGD(lr=0.01, weight_decay=0.0, momentum=0.9, nesterov=False)
    """
    return SGD(lr, momentum, weight_decay=weight_decay)


def Nesterov(lr: float = 0.01, momentum: float = 0.9, *, weight_decay: float = 0.0) -> SGD:
    """Return SGD with Nesterov's momentum, by the book's name.

    Examples
    --------
    >>> Nesterov(lr=0.1)
    SGD(lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=True)
    """
    return SGD(lr, momentum, nesterov=True, weight_decay=weight_decay)


class AdaGrad(Optimizer):
    """Steps that shrink with the gradients so far: s += g**2, p -= lr * g / (sqrt(s) + eps).

    Source: torch.optim.Adagrad with lr_decay 0; Duchi, Hazan, Singer, Adaptive subgradient methods for online learning
    and stochastic optimization, JMLR 12, 2011. weight_decay as in SGD.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    eps : float
        Above 0.
    weight_decay : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"x": np.array([1.0, 1.0])}
    >>> optimizer = AdaGrad(lr=0.1)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"x": np.array([3.0, 0.01])})
    >>> params["x"].round(4)
    array([0.8293, 0.8293])
    """

    eps = Checked(checks.positive_float)

    def __init__(self, lr: float = 0.01, *, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.eps = eps

    def _rule(self) -> Rule:
        return self._numbers("adagrad", eps=self.eps)


class RMSprop(Optimizer):
    """AdaGrad that forgets: s = alpha * s + (1 - alpha) * g**2, p -= lr * g / (sqrt(s) + eps).

    Source: torch.optim.RMSprop, not centered and without momentum; Hinton, Neural networks for machine learning,
    lecture 6e, 2012. weight_decay as in SGD.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    alpha : float
        From 0 to below 1.
    eps : float
        Above 0.
    weight_decay : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"x": np.array([1.0, 1.0])}
    >>> RMSprop(lr=0.01).update(params, {"x": np.array([3.0, 0.01])})
    >>> params["x"].round(4)
    array([0.9, 0.9])
    """

    alpha = Checked(checks.fraction)
    eps = Checked(checks.positive_float)

    def __init__(self, lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.alpha, self.eps = alpha, eps

    def _rule(self) -> Rule:
        return self._numbers("rmsprop", beta2=self.alpha, eps=self.eps)


class LBFGS:
    """Limited-memory BFGS on all samples at once, for small data and smooth losses; an optimizer for fit.

    Each iteration, which counts as an epoch, is a line search along a direction made of the last steps and gradients.
    All of fit that is about batches or a learning rate is refused with it.

    Source: scipy.optimize.minimize(method="L-BFGS-B"), which scikit-learn's MLP uses too; Liu, Nocedal, On the limited
    memory BFGS method for large scale optimization, Mathematical Programming 45, 1989.

    Parameters
    ----------
    max_iter : int
        Iterations at most.
    tol : float
        0 or more: it ends when no element of the gradient is larger.
    ftol : float
        0 or more: it ends when an iteration lowers the loss by less than this fraction of it.
    max_fun : int
        Evaluations of the loss at most.
    memory : int
        Steps remembered.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> from nncore import Layer, NeuralNetwork
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> net = NeuralNetwork([Layer(2, 8, "tanh"), Layer(8, 1)], rng=0)
    >>> history = net.fit(X, [0.0, 1.0, 1.0, 0.0], optimizer=LBFGS(), progress=False)
    >>> abs(net.predict(X).ravel().round(3))
    array([0., 1., 1., 0.])
    """

    max_iter = Checked(checks.positive_int)
    tol = Checked(checks.non_negative_float)
    ftol = Checked(checks.non_negative_float)
    max_fun = Checked(checks.positive_int)
    memory = Checked(checks.positive_int)

    def __init__(
        self, max_iter: int = 200, *, tol: float = 1e-5, ftol: float = 1e-9, max_fun: int = 15000, memory: int = 10
    ) -> None:
        self.max_iter, self.tol, self.ftol, self.max_fun, self.memory = max_iter, tol, ftol, max_fun, memory

    def __repr__(self) -> str:
        return f"LBFGS({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Row(NamedTuple):
    """One rule of the core: its kind, what makes it with its defaults, and what the vectors of its state are.

    The kind is the name for fit and on the command line too. make is None where only the estimators use the rule.
    """

    kind: str
    make: Callable[..., Optimizer] | None
    state: tuple[str, ...]


# Every kind that the core knows: a new one needs its row here.
RULES = (
    Row("sgd", SGD, ()),
    Row("momentum", Momentum, ("velocity",)),
    Row("nesterov", Nesterov, ("velocity",)),
    Row("adagrad", AdaGrad, ("squares",)),
    Row("rmsprop", RMSprop, ("squares",)),
    Row("adam", Adam, ("mean", "squares")),
    Row("adamw", AdamW, ("mean", "squares")),
    Row("nadam", NAdam, ("mean", "squares")),
    Row("adam_hat", None, ("mean", "squares")),
)
OPTIMIZERS = {row.kind: row.make for row in RULES if row.make is not None}
_CLASSES = {make for make in OPTIMIZERS.values() if isinstance(make, type)}
_BY_NUMBER = {core.KINDS[row.kind]: row for row in RULES}


def by_name(value: Any) -> Any:
    """Return the optimizer of this name with its defaults, SGD for None, and anything else as it is."""
    if value is None:
        return SGD()
    if not isinstance(value, str):
        return value
    if value == "lbfgs":
        return LBFGS()
    return OPTIMIZERS[checks.choice(value, "optimizer", [*OPTIMIZERS, "lbfgs"])]()


def class_of(optimizer: Optimizer) -> type[Optimizer]:
    """Return the class here that an optimizer is of: its own may be a subclass of the user's."""
    return next((one for one in type(optimizer).__mro__ if one in _CLASSES), Optimizer)


def state_names(optimizer: Optimizer) -> tuple[str, ...]:
    """Return what the vectors of an optimizer's state are: "velocity", "mean" or "squares"."""
    return _BY_NUMBER[rule_of(optimizer)[0]].state
