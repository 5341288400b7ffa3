"""class Stack: layers laid out on one vector of parameters, and the compiled network that computes with them."""

import contextlib
import copy
from collections.abc import Iterable
from math import inf, isfinite
from typing import Any, Self
from weakref import ref

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nncore.core import checks, process
from nncore.core.dispatch import activation as core_activation
from nncore.core.dispatch import network as core_network
from nncore.core.settings import Fixed
from nncore.data import inputs
from nncore.functions import kinds
from nncore.functions.kinds import CUSTOM, LOSS_PARAMS, LOSSES, OTHER_LOSSES
from nncore.model import summary
from nncore.model.layers import Layer
from nncore.model.params import Params
from nncore.model.python_engine import LossFunction, PythonNetwork

Array = NDArray[Any]


def _configure(core: core_network.Network, index: int, layer: Layer) -> None:
    core.configure(index, param=layer.activation_param, **{**layer.settings(), "max_norm": layer.max_norm or 0.0})


class Stack:
    """Layers, a loss and their settings; the compiled network is made when it is first needed."""

    loss_function = Fixed[LossFunction | None]()
    loss_name = Fixed[str]()
    dtype = Fixed["np.dtype[Any]"]()
    delta = Fixed[float]()
    label_smoothing = Fixed[float]()

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        loss: str | LossFunction = "squared_error",
        dtype: DTypeLike = np.float64,
        rng: int | np.random.Generator | None = None,
        delta: float = 0.0,
        label_smoothing: float = 0.0,
        input_scale: float = 1 / 255,
    ) -> None:
        self.loss_function = None if isinstance(loss, str) or not callable(loss) else loss
        if self.loss_function:
            self.loss_kind, self.loss_param, self.loss_name = CUSTOM, 0.0, checks.function_name(loss)
        else:
            self.loss_kind, self.loss_param = checks.named(loss, "loss", LOSSES, LOSS_PARAMS, OTHER_LOSSES)
            self.loss_name = str(loss)
        self.dtype = checks.float_type(dtype)
        self.rng = checks.generator(rng)
        self.delta = checks.non_negative_float(delta, "delta")
        self.label_smoothing = checks.fraction(label_smoothing, "label_smoothing")
        if self.label_smoothing and not kinds.loss(self.loss_kind).exclusive:
            raise ValueError(f"label_smoothing is {label_smoothing}, expected 0 with loss {self.loss_name!r}")
        if self.delta and not kinds.loss(self.loss_kind).exclusive:
            raise ValueError(f"delta is {delta}, expected 0 with loss {self.loss_name!r}")
        self.input_kind: str | None = None  # what it was trained on, one of inputs.KINDS
        # whether predict may take any plain array, and accuracy knows what it returned by the shape
        self.takes_plain = True
        self._core: core_network.Network | None = None
        self.input_scale = input_scale
        self.byte_scale = self.input_scale
        self._layers: list[Layer] = []
        self._params: Params | None = None
        self._single_sample = False
        # of the masks of updates outside fit, and how many there were
        self._seed: int | None = None
        self._masks = 0
        # of updates outside fit: the loss above which to look, and the largest parameter at first
        self.loss_limit, self.first_size = -inf, 1.0
        self.last_prediction: ref[Array] | None = None
        # the last one fit was called with, and what it remembers of this network
        self.trained_with: tuple[Any, Any] = (None, None)
        try:
            for layer in layers:
                self.add_layer(layer)
            if self._layers:
                self._expect_classes()
        except BaseException:
            for layer in self._layers:
                layer.leave()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._layers)}, loss={self.loss_name!r}, dtype={self.dtype})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers from input to output."""
        return tuple(self._layers)

    @property
    def input_scale(self) -> float:
        """The factor of uint8 data."""
        return self._input_scale

    @input_scale.setter
    def input_scale(self, value: float) -> None:
        scale = checks.positive_float(value, "input_scale")
        self.expect_still()
        self._input_scale = scale
        if self._core is not None:
            self._core.input_scale = scale

    def add_layer(self, layer: Layer) -> None:
        """Append a layer.

        Raises
        ------
        TypeError, ValueError
            If it is not a Layer, belongs to a network already, or does not fit the layer before it.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer is a {type(layer).__name__}, expected a Layer")
        if layer._network is not None:
            raise ValueError(f"{layer} belongs to a network already, expected a layer of its own")
        if self._layers and layer.n_input != self._layers[-1].n_neurons:
            raise ValueError(
                f"layer {len(self._layers) + 1} has {layer.n_input} inputs, "
                f"expected {self._layers[-1].n_neurons}, the outputs of the layer before it"
            )
        if self._layers and not kinds.activation(name := self._layers[-1].activation_name).elementwise:
            raise ValueError(f"layer {len(self._layers)} has activation {name!r}, expected that in the last layer only")
        with contextlib.nullcontext() if self._core is None else self._core.training("add_layer"):
            layer.join(self)
            self._layers.append(layer)
            self.takes_plain = self.n_in != self.n_out and self.input_kind != inputs.BYTES
            self._core = self._params = None
            self.trained_with = (None, None)

    def __copy__(self) -> Self:
        """A copy has parameters of its own."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """The layers hold the values; a copy lays them out in a vector of its own."""
        if self._core is not None:
            self._core.expect_still(pause=True)
        return {**self.__dict__, "_core": None, "_params": None, "last_prediction": None}

    def expect_still(self) -> None:
        """Refuse where another thread trains this network: what is read, or set, would fall between two of its updates.

        Raises
        ------
        RuntimeError
            If one does.
        """
        if self._core is not None:
            self._core.expect_still()

    @property
    def core(self) -> core_network.Network:
        """The compiled network, or its twin for Python functions; made, and the layers laid out, when first needed."""
        core = self._core
        if core is None:
            with process.building:
                core = self._core = self._core or self._build()
        return core

    def _build(self) -> core_network.Network:
        last, kind = self._layer(-1), kinds.loss(self.loss_kind)
        fitting = kind.last_activations or (last.activation_name,)
        if last.activation_name not in fitting:
            names = " or ".join(map(repr, fitting)).replace("'identity'", "None").replace(repr(CUSTOM), "functions")
            raise ValueError(
                f"the last layer has activation {last.activation!r}, expected {names} with {self.loss_name}"
            )
        self._expect_classes()
        self._expect_plain_last()
        specs = [(*la.shape, la.activation_id, la.use_bias, la.trainable_bias) for la in self._layers]
        if kind.link == last.activation_name == "sigmoid":
            specs[-1] = (*last.shape, core_activation.LOGISTIC, last.use_bias, last.trainable_bias)
        loss = LOSSES["squared_error" if self.loss_function else self.loss_kind].number
        norm = tuple(index for index, layer in enumerate(self._layers) if layer.batch_norm)
        settings = specs, loss, self.delta, self.dtype, self.loss_param, self.label_smoothing, norm
        functions = [layer.functions for layer in self._layers]
        if self.loss_function or any(functions):
            core: core_network.Network = PythonNetwork(
                *settings, activations=functions, loss_function=self.loss_function
            )
        else:
            core = core_network.Network(*settings)
        core.input_scale = self.input_scale
        for index, layer in enumerate(self._layers):
            layer.lay_out(*core.views(index), core.norm_views(index) if layer.batch_norm else None)
            _configure(core, index, layer)
        return core

    def _expect_classes(self) -> None:
        if kinds.loss(self.loss_kind).exclusive and self.n_out == 1:
            raise ValueError(
                f"the last layer has 1 output, expected 2 or more with {self.loss_name}, one a class, as the softmax "
                f"of one is always 1: for a single output take sigmoid_cross_entropy"
            )

    def _expect_plain_last(self) -> None:
        last = self._layer(-1)
        if last.dropout or last.batch_norm:
            what, no = (f"dropout {last.dropout}", "0") if last.dropout else ("batch_norm", "none")
            raise ValueError(f"the last layer has {what}, expected {no}: its outputs are the network's")

    def configure(self, layer: Layer) -> None:
        """Read the settings of a layer again: one of them was changed.

        Raises
        ------
        RuntimeError, ValueError
            If another thread trains this network, or the last layer may not have it; the core goes on with the old
            ones.
        """
        if self._core is not None:
            self._expect_plain_last()
            _configure(self._core, self._layers.index(layer), layer)

    def named(self, flat: Array) -> dict[str, Array]:
        """Views of a flat vector by name."""
        views = {}
        for k in range(len(self._layers)):
            W, b = self.core.views(k, flat)
            views[f"W{k + 1}"] = W
            if self._layers[k].batch_norm:
                views[f"gamma{k + 1}"] = self.core.norm_views(k, flat)[0]
            if b is not None:
                views[f"b{k + 1}"] = b
        return views

    @property
    def params(self) -> Params:
        """The parameters W1, b1, W2, ... as views of one vector: change them in place, or assign the same shape.

        A layer with batch_norm has gamma1 as well.
        """
        if self._params is None:
            self._params = Params(self.named(self.core.params), self.core)
        return self._params

    @property
    def n_params(self) -> int:
        """Number of parameters."""
        return int(self.core.params.size)

    def _layer(self, index: int) -> Layer:
        if not self._layers:
            raise ValueError("the network has no layer, expected at least one: use add_layer")
        return self._layers[index]

    @property
    def description(self) -> str:
        """Sizes, activations, loss and type in one line."""
        sizes = "-".join(map(str, [self.n_in, *(layer.n_neurons for layer in self._layers)]))
        activations = ", ".join(layer.activation_label for layer in self._layers)
        return f"{sizes} ({activations}), {self.loss_name}, {self.dtype}"

    def summary(self) -> str:
        """Return a table of the layers.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            If the network has no layer.

        Examples
        --------
        >>> from nncore import Layer, NeuralNetwork
        >>> layers = [Layer(784, 50, "relu", dropout=0.2), Layer(50, 10)]
        >>> print(NeuralNetwork(layers, dtype="float32").summary())
        784-50-10 (relu, identity), squared_error, float32
        <BLANKLINE>
        layer  weights   activation  parameters    bytes  settings
        1      784 x 50  relu            39,250  157,000  dropout=0.2
        2      50 x 10   identity           510    2,040
        total                            39,760  159,040
        """
        return summary.table(self.description, self._layers, self.n_params, self.dtype.itemsize)

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self._layer(0).n_input

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self._layer(-1).n_neurons

    @property
    def first_layer_bytes(self) -> int:
        """Size of the weights that samples are multiplied by."""
        return int(self._layer(0).weights.nbytes)

    @property
    def takes_sparse(self) -> bool:
        """Whether the first layer takes compressed rows: its batch_norm takes moments of dense ones."""
        return not self._layer(0).batch_norm

    @property
    def is_classifier(self) -> bool:
        """Whether the outputs are probabilities or logits of classes."""
        last = kinds.activation(self._layer(-1).activation_name)
        return kinds.loss(self.loss_kind).of_probabilities or not last.elementwise

    def expect_unweighted(self, weights: ArrayLike | None) -> None:
        """Refuse weights for a loss that is a function and reduces a batch itself.

        Raises
        ------
        ValueError
            If it gets some.
        """
        if weights is not None and self.loss_function:
            raise ValueError(f"samples have weights, expected none with the loss {self.loss_name}: it can weigh itself")

    def expect_names(self, what: str, *, loss: bool = True) -> None:
        """Refuse functions as activations, and as the loss unless it does not matter: what (a file) cannot hold one.

        Raises
        ------
        ValueError
            If one is.
        """
        for k, layer in enumerate(self._layers, start=1):
            if layer.functions:
                raise ValueError(f"layer {k} is {layer}, expected an activation by name: {what} holds no functions")
        if self.loss_function and loss:
            raise ValueError(f"the loss is the function {self.loss_name}, expected a name: {what} holds no functions")

    def expect_finite(self) -> None:
        """Refuse parameters and running moments that are NaN or infinite.

        Raises
        ------
        ValueError
            If one is.
        """
        core = self.core
        if not (isfinite(checks.largest(core.params)) and isfinite(checks.largest(core.moments))):
            for name, values in self.params.items():
                checks.finite(values, f"params[{name!r}]")
            checks.finite(core.moments, "the running moments")

    def last_of(self, layer: Layer, what: str) -> Array | None:
        """Return the values behind Layer.last_activation ("z"), error ("dz") and delta ("da")."""
        if self._core is None:
            return None
        index = self._layers.index(layer)
        if what == "dz" and index == len(self._layers) - 1:
            if self.loss_kind == "squared_error":
                t, z = self._core.last("t", index), self._core.last("z", index)
                return None if t is None else (t - z)[0 if self._single_sample else slice(None)]
            what = "da"  # softmax and cross-entropy are one step: its error is t - y
        values = self._core.last(what, index)
        if values is None:
            return None
        if what != "z":
            values = values * -len(values)  # the article's sign, and each sample's own loss instead of the mean
        return np.asarray(values[0] if self._single_sample else values)
