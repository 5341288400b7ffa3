"""Adam and its relatives: means of gradients and of their squares."""

from typing import Any, ClassVar

from nncore.core import checks
from nncore.core.settings import Checked
from nncore.training.update_rule import Optimizer, Rule


def _betas(value: Any, name: str) -> tuple[float, float]:
    """Check a pair of numbers from 0 to below 1."""
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


class NAdam(Adam):
    """Adam with Nesterov's look ahead: the step goes by the mean that the next gradient will find.

    The momentum of step i is mu_i = betas[0] * (1 - 0.96**(i * momentum_decay) / 2), M the product of mu_1 to mu_i, m
    and v are those of Adam, w is v without its bias: p -= lr * step / (sqrt(w) + eps) with
    step = (1 - mu_i) / (1 - M) * g + mu_(i+1) / (1 - M * mu_(i+1)) * m.

    Source: torch.optim.NAdam; Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    betas : pair of float
        Each from 0 to below 1.
    eps : float
        Above 0.
    weight_decay : float
        0 or more, times p is added to g.
    momentum_decay : float
        0 or more; how fast the momentum grows from half of betas[0] to all of it.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"x": np.array([1.0, -1.0])}
    >>> NAdam(lr=0.1).update(params, {"x": np.array([1.0, -2.0])})
    >>> params["x"].round(4)
    array([ 0.8944, -0.8944])
    """

    _kind: ClassVar[str] = "nadam"
    momentum_decay = Checked(checks.non_negative_float)

    def __init__(
        self,
        lr: float = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 0.004,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)
        self.momentum_decay = momentum_decay

    def _rule(self) -> Rule:
        return self._numbers(self._kind, *self.betas, self.eps, self.momentum_decay)
