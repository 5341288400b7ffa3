"""The classes of the book's chapter 4 on the compiled engine: only the import line of its scripts changes.

Source: S. Saito, Deep Learning from Scratch, chapter 4.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nncore.core import checks
from nncore.data import batches
from nncore.model.layers import Layer
from nncore.model.params import Params
from nncore.network import NeuralNetwork
from nncore.training import scoring
from nncore.training.history import History

Array = NDArray[Any]
# The book's constant within the logarithm of cross_entropy_error.
DELTA = 1e-7


class SimpleNet:
    """One layer of weights without bias; its loss is the cross-entropy of the softmax of x @ W.

    Parameters
    ----------
    W : array_like of shape (n_in, n_out), optional
        Copied; by default (2, 3) drawn from N(0, 1).
    rng : int or numpy.random.Generator, optional
        For W.

    Examples
    --------
    >>> net = SimpleNet(W=[[0.47, 0.99, 0.84], [0.86, 0.04, 0.67]])
    >>> net.predict([0.6, 0.9]).round(3)
    array([1.056, 0.63 , 1.107])
    >>> round(net.loss([0.6, 0.9], [0, 0, 1]), 4)
    0.9443
    """

    def __init__(self, W: ArrayLike | None = None, rng: int | np.random.Generator | None = None) -> None:
        values = checks.generator(rng).standard_normal((2, 3)) if W is None else checks.floats(W, "W")
        if values.ndim != 2:
            raise ValueError(f"W has shape {values.shape}, expected (n_in, n_out)")
        n_in, n_out = values.shape
        layer = Layer(n_in, n_out, weights=values, use_bias=False)
        self.network = NeuralNetwork([layer], loss="softmax_cross_entropy", delta=DELTA)

    @property
    def W(self) -> Array:
        """The weights: change them in place, or assign the same shape."""
        return self.network.params["W1"]

    @W.setter
    def W(self, value: ArrayLike) -> None:
        self.network.params["W1"] = value

    def predict(self, x: ArrayLike) -> Array:
        """Return x @ W, the scores before the softmax."""
        return self.network.predict(x)

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the cross-entropy for a target that is one-hot or a label; averaged over a batch."""
        return self.network.loss(x, t)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Return dW, the exact gradient of loss, (n_in, n_out)."""
        return self.network.gradient(x, t)["W1"]


class TwoLayerNet:
    """One hidden layer, softmax outputs, cross-entropy: the book's network for MNIST.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        784, 50, 10 in the book.
    weight_init_std : float
        Standard deviation of the initial weights; biases start at 0.
    activation : str
        Of the hidden layer.
    dtype : {float64, float32}
    rng : int or numpy.random.Generator, optional
        For weights, and for fit unless it gets its own.

    Attributes
    ----------
    params : mapping
        W1, b1, W2, b2: views that may be changed in place, as in ``net.params["W1"] -= lr * grad["W1"]``.
    network : NeuralNetwork
        What it is made of.

    Examples
    --------
    >>> net = TwoLayerNet(784, 100, 10)
    >>> {name: value.shape for name, value in net.params.items()}
    {'W1': (784, 100), 'b1': (100,), 'W2': (100, 10), 'b2': (10,)}
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float = 0.01,
        *,
        activation: str = "sigmoid",
        dtype: DTypeLike = np.float64,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        std = checks.positive_float(weight_init_std, "weight_init_std")
        self.network = NeuralNetwork(
            [
                Layer(input_size, hidden_size, activation, init=std),
                Layer(hidden_size, output_size, "softmax", init=std),
            ],
            loss="softmax_cross_entropy",
            dtype=dtype,
            rng=rng,
            delta=DELTA,
        )

    @property
    def params(self) -> Params:
        """W1, b1, W2, b2."""
        return self.network.params

    def predict(self, x: ArrayLike) -> Array:
        """Return the class probabilities of one sample (n_in,) or a batch (n_samples, n_in)."""
        return self.network.predict(x)

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the cross-entropy, averaged over the batch; t one-hot or labels."""
        return self.network.loss(x, t)

    def accuracy(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the fraction of right classes; t one-hot or labels."""
        return scoring.mean_accuracy(self.network, *batches.batch(self.network, x, t)[:2])

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Return the exact gradient of loss by back-propagation, as new arrays W1, b1, W2, b2."""
        return self.network.gradient(x, t)

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Return the gradient of loss by central differences with the book's step 1e-4."""
        return self.network.numerical_gradient(x, t, h=1e-4)

    def fit(self, x: ArrayLike, t: ArrayLike, **settings: Any) -> History:
        """Train as NeuralNetwork.fit does, with its arguments."""
        return self.network.fit(x, t, **settings)
