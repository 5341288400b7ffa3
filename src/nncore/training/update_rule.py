"""The base of all update rules: settings that are checked, the state of a vector, the book's update.

A rule is settings here and arithmetic in the core, which reads them as a tuple.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.dispatch import optimizer as core
from nncore.core.settings import Checked
from nncore.model.model import Model

Array = NDArray[Any]
# The settings that the core reads: kind, weight_decay, beta1, beta2, eps, momentum_decay.
Rule = tuple[int, float, float, float, float, float]


@dataclass(eq=False)
class State:
    """The memory of a rule for one parameter vector: (n_vectors, n) numbers and the updates done."""

    vectors: Array
    n_steps: int = 0


class Optimizer(ABC):
    """The base of all rules: settings, and the book's update.

    Attributes are the settings; they may be changed between updates. Copies and pickles keep the state of update.
    """

    lr = Checked(checks.positive_float)
    weight_decay = Checked(checks.non_negative_float)

    def __init__(self, lr: float, weight_decay: float) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self._states: dict[str, State] = {}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({settings})"

    @abstractmethod
    def _rule(self) -> Rule:
        """Return the settings as the core reads them."""

    def _numbers(
        self, kind: str, beta1: float = 0.0, beta2: float = 0.0, eps: float = 0.0, momentum_decay: float = 0.0
    ) -> Rule:
        return core.KINDS[kind], self.weight_decay, beta1, beta2, eps, momentum_decay

    def _state(self, size: int, dtype: "np.dtype[Any]", before: State | None = None) -> State:
        """Return the state before if it fits this rule and vector, else a new one."""
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

        >>> from nncore import SGD, Layer, NeuralNetwork
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


def expect_optimizer(value: Any) -> None:
    """Raise TypeError unless it is an optimizer."""
    checks.instance(value, "optimizer", Optimizer, "an optimizer such as SGD(lr=0.1)")


def rule_of(optimizer: Optimizer) -> Rule:
    """Return an optimizer's settings as the core reads them."""
    return optimizer._rule()


def new_state(optimizer: Optimizer, size: int, dtype: "np.dtype[Any]") -> State:
    """Return the state of a rule before its first update of a vector."""
    return optimizer._state(size, dtype)


def settings_of(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer's settings by name."""
    return {name: value for name, value in vars(optimizer).items() if name[0] != "_"}


def rule_and_state(net: Model, optimizer: Optimizer) -> tuple[Rule, State]:
    """Return an optimizer's rule, and its state for this network: kept while it is the very same object, else new."""
    used, state = net.trained_with
    if used is not optimizer:
        expect_optimizer(optimizer)
        state = None
    rule = optimizer._rule()
    if state is None or len(state.vectors) != core.STATE_VECTORS[rule[0]]:
        state = optimizer._state(net.n_params, net.dtype)
        net.trained_with = optimizer, state
    return rule, state
