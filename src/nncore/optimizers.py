"""Update rules: settings here, arithmetic in the core."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore import _checks


class SGD:
    """Plain stochastic gradient descent: p = p - lr * dp.

    Parameters
    ----------
    lr : float
        Learning rate, above 0.

    Raises
    ------
    TypeError, ValueError
        If lr is not a finite number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> params, grads = {"W1": np.ones(2)}, {"W1": np.full(2, 5.0)}
    >>> SGD(lr=0.1).update(params, grads)
    >>> params["W1"]
    array([0.5, 0.5])
    """

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = _checks.positive_float(lr, "lr")

    def __repr__(self) -> str:
        return f"SGD(lr={self.lr})"

    def update(self, params: Mapping[str, NDArray[Any]], grads: Mapping[str, NDArray[Any]]) -> None:
        """Change the arrays of params in place by those of grads: the book's call for own loops."""
        missing = [key for key in params if key not in grads]
        if missing:
            raise ValueError(f"grads has {', '.join(grads) or 'nothing'}, expected {', '.join(params)}")
        for key, param in params.items():
            if not isinstance(param, np.ndarray):
                raise TypeError(f"params[{key!r}] is a {type(param).__name__}, expected an array to change in place")
        for key, param in params.items():
            param -= self.lr * grads[key]
