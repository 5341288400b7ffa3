"""class Layer: one dense layer, by itself or in a network."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.core.dispatch import activation as core_activation
from nncore.core.dispatch import dense as core_dense
from nncore.core.settings import Checked, Fixed
from nncore.functions import kinds
from nncore.model import initial_weights

Array = NDArray[Any]
T = TypeVar("T")


class Owner(Protocol):
    """The part of a network that its layers ask for."""

    rng: np.random.Generator
    dtype: np.dtype[Any]

    def configure(self, layer: "Layer") -> None:
        """Read the settings of a layer again."""

    def expect_still(self) -> None:
        """Refuse where another thread trains the network."""

    def last_of(self, layer: "Layer", what: str) -> Array | None:
        """Return the values that the last pass left of the layer."""


# An activation's own f(a) and f'(a), and its name then.
Functions = tuple[Callable[[Array], Any], Callable[[Array], Any]]

BATCH_NORM_EPS = 1e-5  # added to a running variance before its root is taken


class _Setting(Checked[T]):
    """A checked attribute that the network of the layer reads again when it was set."""

    def __set__(self, layer: "Layer", value: Any) -> None:
        before = layer.__dict__.get(self.name)
        super().__set__(layer, value)
        if layer.__dict__.get("_network") is not None:
            try:
                layer._network.configure(layer)  # type: ignore[union-attr]
            except BaseException:
                layer.__dict__[self.name] = before
                raise


class Layer:
    """A dense layer: activation(x @ weights + bias).

    Parameters
    ----------
    n_input, n_neurons : int
        Number of inputs and of outputs.
    activation : str or pair of functions, optional
        Applied to the outputs; None is "identity". Further "relu", "leaky_relu(slope)" (0.01 without the parentheses),
        "elu(alpha)" (1), "selu", "gelu" (with the normal distribution, not its tanh approximation), "silu",
        "mish", "softplus", "softsign", "tanh", "sigmoid", "hard_sigmoid" (x / 6 + 1 / 2 between 0 and 1), and as the
        last layer of a network "softmax". Or your own as (f, df): functions of the pre-activations a
        (n_samples, n_neurons) that return f(a) and the derivative f'(a), element by element, as arrays of that shape.
        Training then goes through Python, batch by batch.
    weights : array_like of shape (n_input, n_neurons), optional
        Copied. By default drawn when first needed, as init says.
    bias : array_like of shape (n_neurons,), optional
        Copied.
    use_bias : bool
        False: no bias at all.
    trainable_bias : bool
        False: training leaves the bias as it is, like the article's published loop.
    init : {None, "normal", "uniform", "lecun", "xavier", "he", "lecun_uniform", "xavier_uniform", "he_uniform", \
            "orthogonal"} or float
        None is the article's: weights N(0, 1) * sqrt(1 / n_neurons), bias U(0, 1) * 0.1. Named ones have zero bias;
        a number is the standard deviation of normal weights, 0.01 that of "normal" and of "uniform".
    rng : int or numpy.random.Generator, optional
        For the weights; by default the network's.
    batch_norm : bool
        Normalise x @ weights by unit, then times gamma, before the bias is added: by mean and variance of the batch in
        training, by their running means otherwise (in a batch of one sample too). Not of the last layer.
    dropout : float
        Probability that training sets an output to 0; the others are divided by 1 - dropout. Not of the last layer.
    l1, l2 : float
        Add l1 * sum(abs(weights)) + l2 / 2 * sum(weights**2) to the network's loss.
    max_norm : float, optional
        After each update the weights into a unit whose norm is larger are shrunk to it.
    lr_scale : float
        The layer's learning rate is that of the optimizer times this; 0 freezes the layer.

    Attributes
    ----------
    weights, bias : ndarray
        Once a network has run, views of its parameter vector; assigning copies into them.
    gamma, running_mean, running_var : ndarray or None
        (n_neurons,) of a layer with batch_norm: the factor, a parameter of the network, and the running moments.
    last_activation, error, delta : ndarray or None
        Output, error (target minus output, or what the next layer sends back) and error times derivative of the last
        ``backpropagation`` of the network.
    trainable_bias, dropout, l1, l2, max_norm, lr_scale
        May be changed at any time.
    activation_name, activation_param : str, float
        "leaky_relu" and 0.2 of the activation "leaky_relu(0.2)"; 0 where there is no parameter. "custom" for a pair of
        functions, which is ``functions`` then, else None.

    Raises
    ------
    TypeError, ValueError
        For sizes below 1, unknown names, or weights of the wrong shape.

    Examples
    --------
    >>> layer = Layer(2, 1, "relu", weights=[[1.0], [2.0]], bias=[0.5])
    >>> layer.activate([1.0, 1.0])
    array([3.5])

    An activation of your own, the square:

    >>> layer = Layer(1, 1, (np.square, lambda a: 2 * a), weights=[[3.0]], bias=[0.0])
    >>> layer.activate([2.0])
    array([36.])
    """

    n_input = Fixed[int]()
    n_neurons = Fixed[int]()
    activation = Fixed[str | Functions | None]()
    activation_name = Fixed[str]()
    activation_param = Fixed[float]()
    functions = Fixed[Functions | None]()
    use_bias = Fixed[bool]()
    batch_norm = Fixed[bool]()
    init = Fixed[str | float | None]()
    trainable_bias = _Setting(checks.switch)
    dropout = _Setting(checks.fraction)
    l1 = _Setting(checks.non_negative_float)
    l2 = _Setting(checks.non_negative_float)
    max_norm = _Setting(checks.optional_positive_float)
    lr_scale = _Setting(checks.non_negative_float)

    def __init__(
        self,
        n_input: int,
        n_neurons: int,
        activation: str | Functions | None = None,
        weights: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        *,
        use_bias: bool = True,
        trainable_bias: bool = True,
        init: str | float | None = None,
        rng: int | np.random.Generator | None = None,
        batch_norm: bool = False,
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        self.n_input = checks.positive_int(n_input, "n_input")
        self.n_neurons = checks.positive_int(n_neurons, "n_neurons")
        if isinstance(activation, (tuple, list)):
            self.functions = checks.functions(activation, "activation")
            self.activation_name, self.activation_param = kinds.CUSTOM, 0.0
        else:
            self.functions = None
            name = "identity" if activation is None else activation
            self.activation_name, self.activation_param = checks.named(
                name, "activation", kinds.ACTIVATIONS, kinds.ACTIVATION_PARAMS
            )
        self.activation = activation
        if not kinds.activation(self.activation_name).elementwise and self.n_neurons == 1:
            raise ValueError(
                "n_neurons is 1, expected 2 or more with activation 'softmax', as the softmax of one is always 1: for "
                "a single output take 'sigmoid'"
            )
        self.use_bias = checks.switch(use_bias, "use_bias")
        self.batch_norm = checks.switch(batch_norm, "batch_norm")
        if self.batch_norm and not self.use_bias:
            raise ValueError("use_bias is False, expected True with batch_norm, whose shift it is")
        self.trainable_bias = trainable_bias
        self.dropout, self.l1, self.l2, self.max_norm, self.lr_scale = dropout, l1, l2, max_norm, lr_scale
        self.init = initial_weights.checked(init)
        self._rng = rng if rng is None else checks.generator(rng)
        self._network: Owner | None = None
        self._last: Array | None = None
        self._weights: Array | None = None
        self._bias: Array | None = None
        self._norm: tuple[Array, Array, Array] | None = None
        if self.batch_norm:
            self._norm = np.ones(self.n_neurons), np.zeros(self.n_neurons), np.ones(self.n_neurons)
        if weights is not None:
            self._weights = np.array(checks.floats(checks.finite_parameter(weights, "weights", self.shape), "weights"))
        if bias is not None:
            if not self.use_bias:
                raise ValueError("bias is given, expected None with use_bias=False")
            self._bias = np.array(checks.floats(checks.finite_parameter(bias, "bias", (self.n_neurons,)), "bias"))

    def __repr__(self) -> str:
        activation = self.activation_label if self.functions else repr(self.activation)
        return f"Layer({self.n_input}, {self.n_neurons}, {activation})"

    @property
    def activation_label(self) -> str:
        """The activation in words: "identity" for None, the names of functions."""
        if self.functions:
            return f"({', '.join(map(checks.function_name, self.functions))})"
        return str(self.activation or "identity")

    @property
    def shape(self) -> tuple[int, int]:
        """(n_input, n_neurons), the shape of the weights."""
        return self.n_input, self.n_neurons

    @property
    def activation_id(self) -> int:
        """The core's number for the activation; functions are none of its business."""
        return kinds.ACTIVATIONS["identity" if self.functions else self.activation_name].number

    def settings(self) -> dict[str, Any]:
        """Return the settings that may be changed at any time, by name."""
        return {name: getattr(self, name) for name, value in vars(Layer).items() if isinstance(value, _Setting)}

    def join(self, network: Owner) -> None:
        """Belong to this network, whose generator draws what was not given unless the layer has its own.

        At once: the order in which weights are first looked at must not matter.
        """
        self._network = network
        self._rng = self._rng or network.rng
        self._initialise()

    def leave(self) -> None:
        """Belong to no network again."""
        self._network = None

    def _expect_still(self) -> None:
        """Refuse where another thread trains the network of this layer."""
        if self._network is not None:
            self._network.expect_still()

    def _initialise(self) -> None:
        """Draw what was not given."""
        rng = self._rng or np.random.default_rng()
        if self._weights is None:
            self._weights = initial_weights.weights(rng, self.init, *self.shape)
        if self._bias is None and self.use_bias:
            self._bias = initial_weights.bias(rng, self.init, self.n_neurons)

    @property
    def weights(self) -> Array:
        """(n_input, n_neurons)."""
        if self._weights is None:
            self._initialise()
        assert self._weights is not None
        return self._weights

    @weights.setter
    def weights(self, value: ArrayLike) -> None:
        if value is not self._weights:
            self._expect_still()
            self.weights[...] = checks.finite_parameter(value, "weights", self.shape)

    @property
    def bias(self) -> Array | None:
        """(n_neurons,), or None with use_bias=False."""
        if self._bias is None and self.use_bias:
            self._initialise()
        return self._bias

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        bias = self.bias
        if bias is None:
            raise ValueError("bias is assigned to a layer made with use_bias=False, expected no assignment")
        if value is not bias:
            self._expect_still()
            bias[...] = checks.finite_parameter(value, "bias", (self.n_neurons,))

    @property
    def gamma(self) -> Array | None:
        """(n_neurons,), or None without batch_norm."""
        return None if self._norm is None else self._norm[0]

    @property
    def running_mean(self) -> Array | None:
        """(n_neurons,), or None without batch_norm."""
        return None if self._norm is None else self._norm[1]

    @property
    def running_var(self) -> Array | None:
        """(n_neurons,), or None without batch_norm."""
        return None if self._norm is None else self._norm[2]

    def lay_out(self, weights: Array, bias: Array | None, norm: tuple[Array, Array, Array] | None) -> None:
        """Move into a network's vector: the values are copied, the arrays become views of it."""
        weights[...] = self.weights
        if bias is not None:
            bias[...] = self.bias
        for to, value in zip(norm or (), self._norm or (), strict=True):
            to[...] = value
        self._weights, self._bias, self._norm, self._last = weights, bias, norm, None

    def affine(self) -> tuple[Array, Array | None]:
        """W and b such that the outputs are activation(x @ W + b) in prediction: normalisation is within them."""
        if self._norm is None:
            return self.weights, self.bias
        gamma, mean, variance = self._norm
        factor = gamma / np.sqrt(variance + variance.dtype.type(BATCH_NORM_EPS))
        return self.weights * factor, self.bias - factor * mean

    def _of_last(self, what: str) -> Array | None:
        """Return the values that the network's last backpropagation left in this layer."""
        return None if self._network is None else self._network.last_of(self, what)

    def activate(self, x: ArrayLike) -> Array:
        """Return activation(x @ weights + bias) for one sample (n_input,) or a batch (n_samples, n_input).

        Parameters
        ----------
        x : array_like
            float32, float64, or anything that becomes float64.

        Returns
        -------
        ndarray
            (n_neurons,) or (n_samples, n_neurons), of the weights' type.

        Raises
        ------
        TypeError, ValueError
            If x is not numbers of a fitting shape.
        """
        array = checks.floats(x, "x")
        rows = checks.samples(array, "x", self.n_input, what="this layer").astype(self.weights.dtype, copy=False)
        z = np.empty((len(rows), self.n_neurons), self.weights.dtype)
        W, b = self.affine()
        core_dense.forward(rows, W, b, z)
        if self.functions:
            z = checks.applied(self.functions[0], z)
        elif not kinds.activation(self.activation_name).elementwise:
            core_activation.softmax(z)
        else:
            core_activation.activate(self.activation_id, z.reshape(-1), param=self.activation_param)
        self._last = z[0] if array.ndim == 1 else z
        return self._last

    def apply_activation_derivative(self, z: ArrayLike) -> Array:
        """Return f'(a) written from the output z = f(a), elementwise.

        Parameters
        ----------
        z : array_like
            Outputs of this layer, any shape: relu gives z > 0, tanh 1 - z**2, sigmoid z * (1 - z), None 1.

        Returns
        -------
        ndarray
            Same shape.

        Raises
        ------
        ValueError
            For softmax, whose derivative is not elementwise, for gelu, silu and mish, which have the same output at two
            places, and for functions of your own, whose derivative is written from a.
        """
        kind = kinds.activation(self.activation_name)
        if not kind.elementwise:
            raise ValueError(f"activation is {kind.name!r}, expected an elementwise one: its derivative is a matrix")
        if self.functions or kind.keeps_slope:
            raise ValueError(f"activation is {self.activation!r}, expected one whose output determines its derivative")
        outputs = checks.floats(z, "z")
        slope = np.ones_like(outputs)
        core_activation.differentiate(
            self.activation_id, outputs.reshape(-1), slope.reshape(-1), param=self.activation_param
        )
        return slope

    @property
    def last_activation(self) -> Array | None:
        """Outputs of the network's last backpropagation; of activate, while there was none."""
        kept = self._of_last("z")
        return self._last if kept is None else kept

    @property
    def error(self) -> Array | None:
        """Target minus output for the last layer, else the next layer's delta @ weights.T; None before a call."""
        return self._of_last("dz")

    @property
    def delta(self) -> Array | None:
        """The error times f'(a): minus the gradient of each sample's loss by the pre-activations, or None."""
        return self._of_last("da")
