"""Update rules: settings here, arithmetic in the core.

Formulas, names and defaults are those of torch.optim, from which each class's docstring quotes; g is the gradient,
p the parameter, and all operations are by element.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.dispatch import optimizer as core
from nncore.core.settings import Checked

Array = NDArray[Any]
# What the core reads: kind, weight_decay, beta1, beta2, eps.
Rule = tuple[int, float, float, float, float]


@dataclass(eq=False)
class State:
    """What a rule remembers of one parameter vector: (n_vectors, n) numbers and the updates done."""

    vectors: Array
    n_steps: int = 0


class Optimizer(ABC):
    """What the rules share: settings, and the book's update.

    Attributes are the settings; they may be changed between updates. Copies and pickles keep the state of update.
    """

    lr = Checked(checks.positive_float)
    weight_decay = Checked(checks.non_negative_float)
    _squares: ClassVar[int | None] = None  # the vector of the state that sums or averages squares

    def __init__(self, lr: float, weight_decay: float) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self._states: dict[str, State] = {}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({settings})"

    @abstractmethod
    def _rule(self) -> Rule:
        """The settings as the core reads them."""

    def _numbers(self, kind: str, beta1: float = 0.0, beta2: float = 0.0, eps: float = 0.0) -> Rule:
        return core.KINDS[kind], self.weight_decay, beta1, beta2, eps

    def _state(self, size: int, dtype: "np.dtype[Any]", before: State | None = None) -> State:
        """The state before if it fits this rule and vector, else a new one."""
        shape = core.STATE_VECTORS[self._rule()[0]], size
        if before is not None and before.vectors.shape == shape and before.vectors.dtype == dtype:
            return before
        return State(np.zeros(shape, dtype))

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Change the arrays of params in place by those of grads: the book's call for own loops.

        Parameters
        ----------
        params, grads : mapping of str to ndarray
            Arrays of float32 or float64, by the same names and of the same shapes; finite gradients. The state of each
            is kept by its name.

        Raises
        ------
        TypeError, ValueError
            If an array is missing or does not fit, or is of another size than in the update before; nothing has
            changed then.

        Notes
        -----
        grads may hold more than params: what is to stay as it is is left out of params. All arrays get the learning
        rate lr; a layer's own lr_scale is for fit. For rates of your own use several optimizers, each with its params.

        Examples
        --------
        The gradients of two halves of a batch make one update, of the last layer only:

        >>> from nncore import Layer, NeuralNetwork
        >>> net, optimizer = NeuralNetwork([Layer(2, 3, "tanh"), Layer(3, 1)], rng=0), SGD(lr=0.1)
        >>> x, t = np.ones((8, 2)), np.ones((8, 1))
        >>> halves = [net.gradient(x[part], t[part]) for part in (slice(4), slice(4, 8))]
        >>> grads = {name: (halves[0][name] + halves[1][name]) / 2 for name in net.params}
        >>> optimizer.update({name: net.params[name] for name in ("W2", "b2")}, grads)
        """
        missing = [key for key in params if key not in grads]
        if missing:
            raise ValueError(f"grads has {', '.join(grads) or 'nothing'}, expected {', '.join(params)}")
        arrays = {key: checks.updatable(params[key], grads[key], key) for key in params}
        for key, (flat, _) in arrays.items():
            known = self._states[key].vectors.shape[1] if key in self._states else flat.size
            if known != flat.size:
                raise ValueError(
                    f"params[{key!r}] has {flat.size} elements, expected {known} as in the update before: "
                    "another network needs an optimizer of its own"
                )
        rule = self._rule()
        for key, (flat, grad) in arrays.items():
            state = self._states[key] = self._state(flat.size, flat.dtype, self._states.get(key))
            core.update(rule, self.lr, state.n_steps, grad, flat, state.vectors)
            state.n_steps += 1
            if not np.may_share_memory(flat, params[key]):
                params[key][...] = flat.reshape(params[key].shape)


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

    _squares = 0
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

    _squares = 0
    alpha = Checked(checks.fraction)
    eps = Checked(checks.positive_float)

    def __init__(self, lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.alpha, self.eps = alpha, eps

    def _rule(self) -> Rule:
        return self._numbers("rmsprop", beta2=self.alpha, eps=self.eps)


def _betas(value: Any, name: str) -> tuple[float, float]:
    """A pair of numbers from 0 to below 1."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} is {value!r}, expected a pair of numbers from 0 to below 1")
    return checks.fraction(value[0], f"{name}[0]"), checks.fraction(value[1], f"{name}[1]")


class Adam(Optimizer):
    """Momentum over a forgetting AdaGrad, both means corrected for having begun at 0.

    In update i: m = beta1 * m + (1 - beta1) * g, v = beta2 * v + (1 - beta2) * g**2 and
    p -= lr * (m / (1 - beta1**i)) / (sqrt(v / (1 - beta2**i)) + eps).

    Source: torch.optim.Adam; Kingma, Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
    weight_decay as in SGD: it adds weight_decay * p to g.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    betas : pair of float
        Each from 0 to below 1.
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
    >>> Adam(lr=0.1).update(params, {"x": np.array([3.0, -0.01])})
    >>> params["x"].round(4)
    array([0.9, 1.1])
    """

    _kind: ClassVar[str] = "adam"
    _squares = 1
    betas = Checked(_betas)
    eps = Checked(checks.positive_float)

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        self.betas, self.eps = betas, eps

    def _rule(self) -> Rule:
        return self._numbers(self._kind, *self.betas, self.eps)


class AdamW(Adam):
    """Adam whose weight_decay leaves g alone: p -= lr * weight_decay * p, then Adam's update.

    Source: torch.optim.AdamW; Loshchilov, Hutter, Decoupled weight decay regularization, ICLR 2019.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    betas : pair of float
        Each from 0 to below 1.
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
    >>> params = {"x": np.array([1.0, -1.0])}
    >>> AdamW(lr=0.1, weight_decay=0.5).update(params, {"x": np.zeros(2)})
    >>> params["x"]
    array([ 0.95, -0.95])
    """

    _kind: ClassVar[str] = "adamw"

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)


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


# By the names of the command line.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def by_name(value: Any) -> Any:
    """The optimizer of this name with its defaults; what is no string as it is."""
    if not isinstance(value, str):
        return value
    if value == "lbfgs":
        return LBFGS()
    return OPTIMIZERS[checks.choice(value, "optimizer", [*OPTIMIZERS, "lbfgs"])]()
