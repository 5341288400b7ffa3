"""class NeuralNetwork: layers over one flat parameter vector, computed by the compiled engine."""

import contextlib
import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from math import inf, isfinite
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nncore import _checks, _divergence, _domains, _inputs, _mapped, _threads, training
from nncore import _scoring as scoring
from nncore._dispatch import activation as core_activation
from nncore._dispatch import loss as core_loss
from nncore._dispatch import network as core_network
from nncore._python_engine import LossFunction, PythonNetwork
from nncore._settings import Fixed
from nncore._sparse_rows import SparseRows, is_sparse
from nncore.functions import sigmoid, softmax
from nncore.history import History
from nncore.layers import CUSTOM, Layer
from nncore.metrics import EarlyStopping
from nncore.optimizers import LBFGS, SGD, Optimizer, State
from nncore.schedules import Schedule

Array = NDArray[Any]
LOSSES = core_loss.LOSSES
# Those with a parameter in parentheses: its default, and the check that says what it may be.
LOSS_PARAMS = {"huber": (1.0, _checks.positive_float), "quantile": (0.5, _checks.inner_fraction)}
# What losses are called elsewhere.
OTHER_NAMES = {
    "mse": "squared_error", "mean_squared_error": "squared_error", "l2": "squared_error", "mae": "absolute_error",
    "l1": "absolute_error", "pinball": "quantile", "log_loss": "softmax_cross_entropy",
    "cross_entropy": "softmax_cross_entropy", "crossentropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy", "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "nll": "softmax_cross_entropy", "bce": "sigmoid_cross_entropy", "binary_crossentropy": "sigmoid_cross_entropy",
    "bce_with_logits": "sigmoid_cross_entropy",
}  # fmt: skip
# Losses that ask for certain outputs: the activations that the last layer may have.
LAST_ACTIVATIONS = {
    "softmax_cross_entropy": ("identity", "softmax"),
    "sigmoid_cross_entropy": ("identity", "sigmoid"),
    "binary_cross_entropy": ("sigmoid", "hard_sigmoid", "softmax", CUSTOM),
}


class Params(MutableMapping[str, Array]):
    """The parameters by name, W1, b1, W2, ...: views that can be changed but never replaced or removed."""

    def __init__(self, views: dict[str, Array], core: core_network.Network) -> None:
        self._views, self._core = views, core

    def __getitem__(self, name: str) -> Array:
        if name not in self._views:
            raise KeyError(f"{name!r}: expected one of {', '.join(self._views)}")
        return self._views[name]

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        view = self[name]
        if value is not view:  # params["W1"] -= g has changed the view already
            self._core.expect_still()
            view[...] = _checks.finite_parameter(value, f"params[{name!r}]", view.shape)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"params[{name!r}] cannot be removed: the network needs all of {', '.join(self._views)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return f"Params({', '.join(f'{name}: {view.shape}' for name, view in self._views.items())})"


def _configure(core: core_network.Network, index: int, layer: Layer) -> None:
    core.configure(index, param=layer.activation_param, **{**layer.settings(), "max_norm": layer.max_norm or 0.0})


def _unusual(layer: Layer) -> str:
    """The arguments of a layer that are not the default's."""
    usual = {"use_bias": True, "batch_norm": False, **Layer(1, 1).settings()}
    given = {"use_bias": layer.use_bias, "batch_norm": layer.batch_norm, **layer.settings()}
    return ", ".join(f"{name}={value}" for name, value in given.items() if value != usual[name])


class NeuralNetwork:
    """A stack of dense layers with a loss.

    Parameters
    ----------
    layers : iterable of Layer
        From input to output; more can follow by add_layer.
    loss : str or function
        A sum over outputs, averaged over the batch:

        - "squared_error": (y - t)**2 / 2;
        - "absolute_error": abs(y - t);
        - "huber(delta)" (1 without the parentheses): (y - t)**2 / 2 up to an error of delta, linear beyond;
        - "quantile(q)" (0.5): max(q * (t - y), (q - 1) * (t - y));
        - "poisson": exp(y) - t * y, t 0 or more, so that predict yields the logarithm of the mean;
        - "softmax_cross_entropy": -t * log(softmax(a) + delta), t labels or rows of numbers from 0 to 1 that sum to 1
          (within 1e-5; 1e-3 in float32). The last layer has two outputs or more, no activation, and predict yields
          logits; or "softmax", and predict yields probabilities;
        - "sigmoid_cross_entropy": -t * log(s) - (1 - t) * log(1 - s) with s = sigmoid(a), t from 0 to 1. The last layer
          has no activation and predict yields logits, or "sigmoid" and predict yields probabilities;
        - "binary_cross_entropy": the same of probabilities y, with logarithms of at least -100;
        - "hinge": max(0, 1 - t * y), t -1 or 1;
        - your own: a function of outputs y and targets t, both (n_samples, n_out), labels as one-hot rows, that returns
          (loss, dy): a number and its gradient by y. Whether it is a mean over the batch is its own business; with a
          sum steps are longer by the batch size. It takes no sample_weight. Training goes through Python, batch by
          batch.
    dtype : {float64, float32}
        Of parameters and arithmetic; data of another type are converted while they are read.
    rng : int or numpy.random.Generator, optional
        For initial weights, and for fit unless it gets its own.
    delta : float
        The book's constant within the logarithm; 0 for the exact loss.
    label_smoothing : float
        Targets of softmax_cross_entropy become (1 - label_smoothing) * t + label_smoothing / n_out.
    input_scale : float
        uint8 data are multiplied by it while they are read; floats are taken as they are. Saved with the model. A
        network trained on uint8 takes other integers from 0 to 255 for bytes too, and refuses floats that are not
        scaled; trained on other integers, or on floats far beyond scaled bytes, it has 1 here.

    Raises
    ------
    TypeError, ValueError
        For unknown names, or layers that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> net = NeuralNetwork([Layer(2, 8, "tanh"), Layer(8, 1)], rng=0)
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> history = net.fit(X, [0.0, 1.0, 1.0, 0.0], optimizer=SGD(0.1), batch_size=4, epochs=3000)
    >>> net.predict(X).round(1)
    array([[0.],
           [1.],
           [1.],
           [0.]])
    """

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
            self._loss_kind, self._loss_param, self.loss_name = CUSTOM, 0.0, _checks.function_name(loss)
        else:
            self._loss_kind, self._loss_param = _checks.named(loss, "loss", LOSSES, LOSS_PARAMS, OTHER_NAMES)
            self.loss_name = str(loss)
        self.dtype = _checks.float_type(dtype)
        self.rng = _checks.generator(rng)
        self.delta = _checks.non_negative_float(delta, "delta")
        self.label_smoothing = _checks.fraction(label_smoothing, "label_smoothing")
        if self.label_smoothing and self._loss_kind != "softmax_cross_entropy":
            raise ValueError(f"label_smoothing is {label_smoothing}, expected 0 with loss {self.loss_name!r}")
        if self.delta and self._loss_kind != "softmax_cross_entropy":
            raise ValueError(f"delta is {delta}, expected 0 with loss {self.loss_name!r}")
        self._input: str | None = None  # what it was trained on, one of _inputs.KINDS
        # whether predict may take any plain array, and accuracy knows what it returned by the shape
        self._takes_plain = True
        self._core: core_network.Network | None = None
        self.input_scale = input_scale
        self._byte_scale = self.input_scale
        self._layers: list[Layer] = []
        self._params: Params | None = None
        self._single_sample = False
        # of the masks of updates outside fit, and how many there were
        self._seed: int | None = None
        self._masks = 0
        # of updates outside fit: the loss above which to look, and the largest parameter at first
        self._limit, self._first_size = -inf, 1.0
        self._last_prediction: ref[Array] | None = None
        # the last one fit was called with, and what it remembers of this network
        self._optimizer: tuple[Optimizer | None, State | None] = (None, None)
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
        return f"NeuralNetwork({list(self._layers)}, loss={self.loss_name!r}, dtype={self.dtype})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers from input to output."""
        return tuple(self._layers)

    @property
    def input_scale(self) -> float:
        """What uint8 data are multiplied by."""
        return self._input_scale

    @input_scale.setter
    def input_scale(self, value: float) -> None:
        scale = _checks.positive_float(value, "input_scale")
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
        if self._layers and self._layers[-1].activation_name == "softmax":
            raise ValueError(
                f"layer {len(self._layers)} has activation 'softmax', expected that in the last layer only"
            )
        with contextlib.nullcontext() if self._core is None else self._core.training("add_layer"):
            layer.join(self)
            self._layers.append(layer)
            self._takes_plain = self.n_in != self.n_out and self._input != _inputs.BYTES
            self._core = self._params = None
            self._optimizer = (None, None)

    def __copy__(self) -> "NeuralNetwork":
        """A copy has parameters of its own."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """The layers hold the values; a copy lays them out in a vector of its own."""
        if self._core is not None:
            self._core.expect_still(pause=True)
        return {**self.__dict__, "_core": None, "_params": None, "_last_prediction": None}

    def expect_still(self) -> None:
        """That no other thread trains this network: what is read, or set, would fall between two of its updates.

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
            with _threads.building:
                core = self._core = self._core or self._build()
        return core

    def _build(self) -> core_network.Network:
        last = self._layer(-1)
        fitting = LAST_ACTIVATIONS.get(self._loss_kind, (last.activation_name,))
        if last.activation_name not in fitting:
            names = " or ".join(map(repr, fitting)).replace("'identity'", "None").replace(repr(CUSTOM), "functions")
            raise ValueError(
                f"the last layer has activation {last.activation!r}, expected {names} with {self.loss_name}"
            )
        self._expect_classes()
        self._expect_plain_last()
        specs = [(*la.shape, la.activation_id, la.use_bias, la.trainable_bias) for la in self._layers]
        if self._loss_kind == "sigmoid_cross_entropy" and last.activation_name == "sigmoid":
            specs[-1] = (*last.shape, core_activation.LOGISTIC, last.use_bias, last.trainable_bias)
        loss = LOSSES["squared_error" if self.loss_function else self._loss_kind]
        norm = tuple(index for index, layer in enumerate(self._layers) if layer.batch_norm)
        settings = specs, loss, self.delta, self.dtype, self._loss_param, self.label_smoothing, norm
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
        if self._loss_kind == "softmax_cross_entropy" and self.n_out == 1:
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

    def _named(self, flat: Array) -> dict[str, Array]:
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
            self._params = Params(self._named(self.core.params), self.core)
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
        >>> layers = [Layer(784, 50, "relu", dropout=0.2), Layer(50, 10)]
        >>> print(NeuralNetwork(layers, dtype="float32").summary())
        784-50-10 (relu, identity), squared_error, float32
        <BLANKLINE>
        layer  weights   activation  parameters    bytes  settings
        1      784 x 50  relu            39,250  157,000  dropout=0.2
        2      50 x 10   identity           510    2,040
        total                            39,760  159,040
        """
        title, size = self.description, self.dtype.itemsize
        rows = [("layer", "weights", "activation", "parameters", "bytes", "settings")]
        for k, layer in enumerate(self._layers, 1):
            n = layer.n_neurons * (layer.n_input + layer.use_bias + layer.batch_norm)
            shape, name = f"{layer.n_input} x {layer.n_neurons}", layer.activation_label
            rows.append((str(k), shape, name, f"{n:,}", f"{n * size:,}", _unusual(layer)))
        rows.append(("total", "", "", f"{self.n_params:,}", f"{self.n_params * size:,}", ""))
        if not any(row[-1] for row in rows[1:]):
            rows = [(*row[:-1], "") for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, "<<<>><", widths, strict=True))
            for row in rows
        )
        return "\n".join([title, "", *(line.rstrip() for line in lines)])

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self._layer(0).n_input

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self._layer(-1).n_neurons

    @property
    def is_classifier(self) -> bool:
        """Whether the outputs are probabilities or logits of classes."""
        return self._loss_kind.endswith("cross_entropy") or self._layer(-1).activation_name == "softmax"

    def _samples(self, x: Any, name: str = "x", *, sparse: bool = False, kind: str | None = None) -> tuple[Any, bool]:
        """Rows for the engine, and whether it was a single sample; sparse rows stay so only where they may.

        kind: what it is trained on, if not what it was.
        """
        kind = kind or self._input
        rows = core_network.plain_rows(x, self.n_in)
        if rows is not None:
            if kind == _inputs.BYTES and rows.dtype != np.uint8:
                _inputs.expect_scaled(rows, name, self.input_scale)
            return rows, rows is not x
        if is_sparse(x):

            def as_taken(stored: Array) -> Array:
                return _inputs.same_numbers(stored, name, kind, self.input_scale)

            sparse_rows = SparseRows(x, name, self.n_in, as_taken)
            return sparse_rows if sparse else sparse_rows[:], False
        array = _inputs.same_numbers(_checks.numbers(x, name), name, kind, self.input_scale)
        return _checks.samples(array, name, self.n_in), array.ndim == 1

    def _batch(
        self, x: ArrayLike, t: ArrayLike, x_name: str = "x", t_name: str = "t", *, sparse: bool = False,
        weights: ArrayLike | None = None, kind: str | None = None,
    ) -> tuple[Any, Array, bool]:  # fmt: skip
        rows, single = self._samples(x, x_name, sparse=sparse, kind=kind)
        targets = core_network.plain_rows(t, self.n_out)
        if targets is None or len(targets) != len(rows) or targets.dtype.kind == "u":
            targets = _checks.targets(t, t_name, len(rows), self.n_out)
        return rows, _domains.targets_for(self._loss_kind, targets, t_name, weights), single

    def _weights(self, sample_weight: ArrayLike | None, n_samples: int) -> NDArray[np.float64] | None:
        """The weights of samples, if this loss can be weighted."""
        self.expect_unweighted(sample_weight)
        return _checks.sample_weights(sample_weight, n_samples, self.n_out)

    def expect_unweighted(self, weights: ArrayLike | None) -> None:
        """That a loss that is a function, and reduces a batch itself, gets no weights.

        Raises
        ------
        ValueError
            If it gets some.
        """
        if weights is not None and self.loss_function:
            raise ValueError(f"samples have weights, expected none with the loss {self.loss_name}: it can weigh itself")

    def expect_names(self, what: str, *, loss: bool = True) -> None:
        """That no activation, and no loss unless it does not matter, is a function: what (a file) cannot hold one.

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

    def _outputs(self, rows: Any, out: Array | None = None, n_threads: int | str = 1) -> Array:
        """The outputs for rows that are checked."""
        if out is None:
            out = np.empty((len(rows), self.n_out), self.dtype)
        macs = self._macs(len(rows))
        with _threads.single_threaded_blas(macs):
            if type(rows) is np.ndarray and rows.nbytes <= _mapped.WINDOW_BYTES:
                self.core.forward(rows, out, _threads.choices(n_threads, macs)[-1])
            else:
                for part, at in _mapped.parts(rows):
                    self.core.forward(part, out[at], _threads.choices(n_threads, macs)[-1])
        if np.isnan(out.min()):
            self.expect_finite()
        return out

    def expect_finite(self) -> None:
        """That no parameter and no running moment is NaN or infinite.

        Raises
        ------
        ValueError
            If one is.
        """
        core = self.core
        if not (isfinite(_checks.largest(core.params)) and isfinite(_checks.largest(core.moments))):
            for name, values in self.params.items():
                _checks.finite(values, f"params[{name!r}]")
            _checks.finite(core.moments, "the running moments")

    def _mean(self, rows: Any, of: Callable[[Array, slice], float], weights: Array | None = None) -> float:
        """The mean over samples of what is itself a mean over the rows of a part; rows in memory are one part."""
        means, sums = [], []
        for part, at in _mapped.parts(rows):
            means.append(of(part, at))
            sums.append(len(part) if weights is None or weights.ndim == 2 else weights[at].sum())
        return means[0] if len(means) == 1 else float(np.average(means, weights=sums))

    def _loss(self, rows: Array, targets: Array, weights: Array | None = None, *, n_threads: int = 1) -> float:
        """The mean loss of samples that are checked."""

        def loss(part: Array, at: slice) -> float:
            some = None if weights is None else weights[at]
            return float(self.core.loss(part, targets[at], some, n_threads=_threads.usable(n_threads)))

        with _threads.single_threaded_blas(self._macs(len(rows))):
            return self._mean(rows, loss, weights)

    def _accuracy(self, rows: Array, targets: Array, *, n_threads: int = 1) -> float:
        """The accuracy for samples that are checked."""

        def accuracy(part: Array, at: slice) -> float:
            return scoring.of_outputs(self, self._outputs(part, None, n_threads), targets[at])

        return self._mean(rows, accuracy)

    def _scores(self, outputs: Array) -> Array:
        """Outputs such that a single one means class 1 above 0.5."""
        if self._loss_kind == "hinge":
            return outputs + 0.5
        return self._probabilities(outputs) if self._loss_kind == "sigmoid_cross_entropy" else outputs

    def _probabilities(self, outputs: Array) -> Array:
        """Class probabilities from outputs."""
        if self._layers[-1].activation_name != "identity":
            return outputs
        of_logits: Array = (softmax if self._loss_kind == "softmax_cross_entropy" else sigmoid)(outputs)
        return of_logits

    def _macs(self, n_samples: int) -> int:
        return n_samples * self.n_params

    def predict(self, x: ArrayLike, *, out: Array | None = None, n_threads: int | str = "auto") -> Array:
        """Return what the last layer yields.

        Parameters
        ----------
        x : array_like of shape (n_samples, n_in) or (n_in,)
            float32, float64 or uint8 are read as they are; other numbers become float64. SciPy sparse matrices as well.
        out : ndarray of the result's shape and of the network's dtype, optional
            Filled and returned: nothing is allocated for a contiguous x.
        n_threads : int or "auto"
            "auto" is one thread unless there is much to share. The result does not depend on it.

        Returns
        -------
        ndarray of shape (n_samples, n_out) or (n_out,)
            Of the network's dtype. The same call gives the same bits; a row's outputs alone, in a batch, or at another
            CPU level differ by rounding.

        Raises
        ------
        TypeError, ValueError
            If x is not finite numbers of a fitting shape, or not scaled as the network was trained (see input_scale), a
            parameter is NaN, or out is not as described.
        """
        if n_threads == "auto":
            if self._takes_plain:
                y = self.core.forward_plain(x, out)
                if y is not None:
                    return y
            elif self._input != _inputs.BYTES or getattr(x, "dtype", None) == np.uint8:
                y = self.core.forward_plain(x, out)
                if y is not None:
                    return self._remembered(y)
        rows, single = self._samples(x, sparse=True)
        if out is None:
            y = self._outputs(rows, None, n_threads)
            return self._remembered(y[0] if single else y)
        shape = (self.n_out,) if single else (len(rows), self.n_out)
        if not isinstance(out, np.ndarray) or out.shape != shape:
            raise ValueError(f"out has shape {np.shape(out)}, expected {shape}")
        return self._remembered(self._outputs(rows, out, n_threads))

    feed_forward = predict

    def _remembered(self, y: Array) -> Array:
        """What was predicted last, so that accuracy knows it from inputs of the same shape."""
        self._last_prediction = ref(y)
        return y

    def predict_proba(self, x: ArrayLike) -> Array:
        """Return class probabilities: the softmax or sigmoid of logits, or what a layer of these yields.

        Parameters
        ----------
        x : array_like of shape (n_samples, n_in) or (n_in,)

        Returns
        -------
        ndarray of shape (n_samples, n_out) or (n_out,)

        Raises
        ------
        ValueError
            If the loss is no cross-entropy and the last layer not softmax, or x does not fit.
        """
        if not self.is_classifier:
            raise ValueError(f"the loss is {self.loss_name!r}, expected a cross-entropy for probabilities")
        return self._probabilities(self.predict(x))

    accuracy = scoring.Accuracy()

    def evaluate(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> dict[str, float]:
        """Return the loss, and how good the predictions are, by name.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As X and t in loss.

        Returns
        -------
        dict of float
            "loss", with the penalties, and "accuracy" where the targets stand for classes (of several labels a sample
            the fraction of right labels); "r2" and "rmse" where they are numbers, with "poisson" of the means,
            exp(output). All by the weights, if there is one a sample.

        Raises
        ------
        TypeError, ValueError
            As loss.

        Examples
        --------
        >>> net = NeuralNetwork([Layer(1, 1, weights=[[2.0]], bias=[0.0])])
        >>> net.evaluate([[1.0], [2.0], [3.0]], [2.0, 4.0, 7.0])
        {'loss': 0.16666666666666666, 'r2': 0.9210526315789473, 'rmse': 0.5773502691896257}
        """
        return scoring.evaluate(self, X, y, sample_weight)

    def score(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy where the targets stand for classes, else R².

        Parameters
        ----------
        X, y, sample_weight : array_like
            As X and t in loss.

        Returns
        -------
        float
            1 at best.

        Raises
        ------
        TypeError, ValueError
            As loss.
        """
        values = self.evaluate(X, y, sample_weight=sample_weight)
        return next(values[name] for name in ("accuracy", "r2") if name in values)

    def loss(self, X: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """Return the loss averaged over the samples.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_in) or (n_in,)
        t : array_like
            Labels (n_samples,), integers from 0 on or bools; or targets (n_samples, n_out).
        sample_weight : array_like of shape (n_samples,) or (n_samples, n_out), optional
            sum(weight * loss) / sum(weight) instead of the mean; with one weight an output, 0 for a mask, each term of
            the sum over outputs times its weight, and the mean over samples. What a mask hides may be any number, and
            rows of classes need not sum to 1 then.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If X or t does not fit the network.
        """
        rows, targets, _ = self._batch(X, t, sparse=True, weights=sample_weight)
        return self._loss(rows, targets, self._weights(sample_weight, len(rows)))

    def gradient(self, X: ArrayLike, t: ArrayLike, *, sample_weight: ArrayLike | None = None) -> dict[str, Array]:
        """Return the gradient of the loss, by back-propagation.

        Parameters
        ----------
        X, t, sample_weight : array_like
            As in loss.

        Returns
        -------
        dict of ndarray
            New arrays W1, b1, ... of the parameters' shapes.

        Raises
        ------
        TypeError, ValueError
            If X or t does not fit the network.
        """
        rows, targets, single = self._batch(X, t, weights=sample_weight)
        weights = self._weights(sample_weight, len(rows))
        grads = np.empty(self.n_params, self.dtype)
        with _threads.single_threaded_blas(self._macs(len(rows))):
            self.core.gradient(rows, targets, weights, grads)
        self._single_sample = single
        return self._named(grads)

    def numerical_gradient(
        self, X: ArrayLike, t: ArrayLike, h: float | None = None, *, sample_weight: ArrayLike | None = None,
        n_threads: int | str = "auto",
    ) -> dict[str, Array]:  # fmt: skip
        """Return the gradient of the loss by central differences of every parameter.

        The loss is evaluated anew for each parameter, from the layer on that it changes; no derivative is used.

        Parameters
        ----------
        X, t, sample_weight : array_like
            As in loss.
        h : float, optional
            Step; by default eps**(1/3) * max(1, abs(p)) for each parameter p.
        n_threads : int or "auto"
            The result does not depend on it, to the bit.

        Returns
        -------
        dict of ndarray
            As gradient.

        Raises
        ------
        TypeError, ValueError
            If X or t does not fit the network, or h is not above 0.
        """
        rows, targets, _ = self._batch(X, t, weights=sample_weight)
        step = 0.0 if h is None else _checks.positive_float(h, "h")
        slope = np.empty(self.n_params)
        self._differences(rows, targets, step, n_threads, slope, weights=self._weights(sample_weight, len(rows)))
        return self._named(slope.astype(self.dtype, copy=False))

    def _differences(
        self,
        rows: Array,
        targets: Array,
        h: float,
        n_threads: int | str,
        slope: NDArray[np.float64],
        truncation: NDArray[np.float64] | None = None,
        *,
        weights: NDArray[np.float64] | None = None,
        wanted: NDArray[np.uint8] | None = None,
        rounding: float = 0.0,
        max_memory: int = 64 << 20,
        one_sided: bool = False,
    ) -> NDArray[np.uint8]:
        """Fill in slopes of the mean loss by every parameter and their estimated truncation errors; returns kinks."""
        kink = np.empty(self.n_params, np.uint8)
        weights = np.ones(len(rows)) if weights is None else weights
        with _threads.single_threaded_blas(_threads.BLAS_THREADED_MACS):
            self.core.numerical_gradient(
                rows, targets, weights, h, slope, truncation, kink, max_memory, wanted, rounding, one_sided,
                n_threads=_threads.choices(n_threads, len(rows) * self.n_params**2 // 16)[-1],
            )  # fmt: skip
        return kink

    def forward(self, X: ArrayLike) -> Array:
        """As predict, and keep what backward needs: for losses and loops of your own, without dropout and penalties.

        Examples
        --------
        >>> from nncore import losses
        >>> net, optimizer = NeuralNetwork([Layer(1, 1)], rng=0), SGD(0.1)
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> for _ in range(500):
        ...     loss, dy = losses.huber(net.forward(x), 2 * x + 1)
        ...     grads, dx = net.backward(dy)
        ...     optimizer.update(net.params, grads)
        >>> loss < 0.001
        True
        """
        rows, single = self._samples(X)
        out = np.empty((len(rows), self.n_out), self.dtype)
        with _threads.single_threaded_blas(self._macs(len(rows))):
            self.core.forward_keep(rows, out)
        self._single_sample = single
        return out[0] if self._single_sample else out

    def backward(self, dy: ArrayLike) -> tuple[dict[str, Array], Array]:
        """Return the gradients of a loss whose gradient by the outputs of the last forward is dy.

        Parameters
        ----------
        dy : array_like
            Shape of forward's result.

        Returns
        -------
        grads : dict of ndarray
            By parameter.
        dx : ndarray
            By the input that forward was given.

        Raises
        ------
        RuntimeError
            If the last call on this network was not forward or backward.
        ValueError
            If dy has another shape.
        """
        outputs = self.core.n_kept
        expected = (self.n_out,) if self._single_sample else (outputs, self.n_out)
        array = _checks.finite(_checks.floats(_checks.parameter(dy, "dy", expected), "dy"), "dy") if outputs else dy
        grads = np.empty(self.n_params, self.dtype)
        dx = np.empty((outputs, self.n_in), self.dtype)
        with _threads.single_threaded_blas(self._macs(outputs)):
            self.core.backward(np.ascontiguousarray(array, self.dtype), grads, dx)
        return self._named(grads), (dx[0] if self._single_sample else dx)

    def backpropagation(self, X: ArrayLike, y: ArrayLike, learning_rate: float) -> None:
        """Make one gradient descent update, with one sample or the mean over a batch.

        Parameters
        ----------
        X, y : array_like
            As X and t in loss.
        learning_rate : float
            Above 0.

        Raises
        ------
        TypeError, ValueError
            If X or y does not fit the network, or the learning rate is not above 0.
        FloatingPointError
            As partial_fit.
        """
        lr = _checks.positive_float(learning_rate, "learning_rate")
        rows, targets, single = self._batch(X, y, "X", "y", kind=self._input or _inputs.NUMBERS)
        with self.core.training("backpropagation"):
            loss = self._update(rows, targets, lr)
            self._single_sample = single
            if not loss <= self._limit:
                self._limit = _divergence.limit_after(self, loss)
        if self._input is None:
            self._trained_on_first(X, rows)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, *, optimizer: Optimizer | None = None) -> float:
        """Make one update, with one sample or the mean over a batch, as data come in.

        Parameters
        ----------
        X, y : array_like
            As X and t in loss.
        optimizer : Optimizer, optional
            By default that of this network's last fit or partial_fit, whose state is kept; at first SGD().

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        TypeError, ValueError
            If X or y does not fit the network.
        FloatingPointError
            If the loss is not finite; nothing has changed then. If the loss and the largest parameter have grown by a
            factor of 1e10 since the first updates: training has diverged, and parameters of before are gone, so keep a
            copy of what must not be lost.

        Examples
        --------
        >>> net, optimizer = NeuralNetwork([Layer(1, 1)], rng=0), SGD(0.1)
        >>> for x in np.random.default_rng(0).uniform(-1, 1, 1000):
        ...     loss = net.partial_fit([x], [2 * x + 1], optimizer=optimizer)
        >>> net.predict([0.5]).round(3)
        array([2.])
        """
        if optimizer is None:
            optimizer = self.optimizer or SGD()
        rows, targets, single = self._batch(X, y, "X", "y", kind=self._input or _inputs.NUMBERS)
        with self.core.training("partial_fit"):
            before = self._optimizer
            rule, state = training.rule_and_state(self, optimizer)
            loss = self._update(rows, targets, optimizer.lr, rule, state)
            self._single_sample = single
            if not loss <= self._limit:
                if not isfinite(loss):
                    self._optimizer = before
                self._limit = _divergence.limit_after(self, loss)
        if self._input is None:
            self._trained_on_first(X, rows)
        return loss

    def _trained_on_first(self, X: ArrayLike, rows: Array) -> None:
        """The first sample or batch says what kind of numbers the network is trained on."""
        _inputs.trained_on(self, _inputs.kind_of(X, rows, _inputs.scale_with(self, _inputs.BYTES)))

    def _update(self, rows: Array, targets: Array, lr: float, *rule: Any) -> float:
        """One update with the samples; returns the loss before it."""
        core, n = self.core, len(rows)
        if core.has_dropout or core.has_batch_norm:
            return self._masked_update(rows, targets, lr, *rule)
        if n == 1:  # without products
            return core.step(rows, targets, lr, *rule)
        with _threads.single_threaded_blas(self._macs(n)):
            return core.step(rows, targets, lr, *rule)

    def _masked_update(self, rows: Array, targets: Array, lr: float, *rule: Any) -> float:
        """One update as fit makes it, with dropout and the moments of the batch; the masks go on where they ended."""
        if self._seed is None:
            self._seed = int(self.rng.integers(1 << 63))
        loss, n = np.empty(1), len(rows)
        with _threads.single_threaded_blas(self._macs(n)):
            self.core.train(
                rows, targets, None, np.arange(n), 0, n, n, lr, loss, *rule, seed=self._seed, first_step=self._masks
            )
        self._masks += 1
        return float(loss[0])

    @property
    def optimizer(self) -> Optimizer | None:
        """What fit or partial_fit last updated this network with; its state for this network is kept."""
        return self._optimizer[0]

    def last_of(self, layer: Layer, what: str) -> Array | None:
        """What Layer.last_activation ("z"), error ("dz") and delta ("da") show."""
        if self._core is None:
            return None
        index = self._layers.index(layer)
        if what == "dz" and index == len(self._layers) - 1:
            if self._loss_kind == "squared_error":
                t, z = self._core.last("t", index), self._core.last("z", index)
                return None if t is None else (t - z)[0 if self._single_sample else slice(None)]
            what = "da"  # softmax and cross-entropy are one step: its error is t - y
        values = self._core.last(what, index)
        if values is None:
            return None
        if what != "z":
            values = values * -len(values)  # the article's sign, and each sample's own loss instead of the mean
        return np.asarray(values[0] if self._single_sample else values)

    def train(
        self,
        X_train: ArrayLike,
        X_test: ArrayLike,
        y_train: ArrayLike,
        y_test: ArrayLike,
        learning_rate: float,
        max_epochs: int,
    ) -> tuple[list[float], list[float]]:
        """Run the article's loop: one update a sample, in order, max_epochs times over the training set.

        Parameters
        ----------
        X_train, X_test : array_like of shape (n_samples, n_in)
        y_train, y_test : array_like
            Labels (n_samples,), or one-hot rows.
        learning_rate : float
        max_epochs : int

        Returns
        -------
        mses : list of float
            Mean of (y - output)**2 over the training set, after epochs 1, 11, 21, ...
        accuracies : list of float
            On the test set, after the same epochs.

        Raises
        ------
        TypeError, ValueError
            If data do not fit the network.
        """
        rows, t_test, _ = self._batch(X_test, y_test, "X_test", "y_test")
        X_train, t_train, _ = self._batch(X_train, y_train, "X_train", "y_train")
        expected = np.eye(self.n_out)[t_train] if t_train.ndim == 1 else t_train
        mses: list[float] = []
        accuracies: list[float] = []

        def record(history: History) -> None:
            if history.epochs % 10 == 1 or max_epochs == 1:
                mses.append(float(np.mean((expected - self.predict(X_train)) ** 2)))
                accuracies.append(self._accuracy(rows, t_test))

        self.fit(
            X_train, t_train, optimizer=SGD(learning_rate), batch_size=1, epochs=max_epochs,
            sampling="sequential", callbacks=[record], progress=False,
        )  # fmt: skip
        return mses, accuracies

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        optimizer: str | Optimizer | LBFGS | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        iterations: int | None = None,
        sampling: str = "shuffle",
        schedule: str | Schedule | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | str | None = None,
        metrics: Sequence[str | Callable[[Array, Array], float]] | None = None,
        early_stopping: int | EarlyStopping | None = None,
        callbacks: Sequence[Callable[[History], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: str | int = "30s",
        resume: bool = False,
        progress: bool | str = "auto",
        n_threads: int | str = "auto",
        rng: int | np.random.Generator | None = None,
    ) -> History:
        """Train: many updates a call of the compiled core, Python only about every 50 ms.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_in)
            float32, float64 or uint8 (times input_scale) are read as they are, without a copy in the network's type.
            Rows with many zeros are compressed first, which copies their non-zeros; a SciPy sparse matrix is trained on
            as it is, for any number of features. A contiguous numpy.memmap of these
            types may be larger than memory: above 64 MB it is copied and trained on a window of 64 MB at a time.
        y : array_like
            Labels (n_samples,), or targets (n_samples, n_out).
        optimizer : SGD, AdaGrad, RMSprop, Adam, AdamW or LBFGS, or str, optional
            By default SGD(lr=0.01). A name, "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw" or
            "lbfgs", stands for a new one with its defaults. The network keeps the state of the last one: a fit with the
            very same object goes on where the fit before ended, any other begins anew. LBFGS keeps none, and takes all
            samples at once: what is about batches, the learning rate or checkpoints is refused with it.
        batch_size : int, optional
            Samples an update, by default 32 or all if there are fewer; a larger number than there are is an error. The
            last batch of an epoch takes what is left.
        epochs, iterations : int, optional
            How long, by one of the two; 10 epochs if neither is given.
        sampling : {"shuffle", "replacement", "sequential"}
            A new permutation every epoch; the book's draws with replacement (an epoch is then
            max(n_samples // batch_size, 1) updates); or the order given. The permutation of a large numpy.memmap is one
            of blocks of consecutive rows, and of the rows within each window of 64 blocks: so most of the file is read
            in sequence.
        schedule : str or Schedule, optional
            How the optimizer's lr changes from one iteration to the next: "linear", "cosine", "inverse_scaling",
            "plateau", "constant", or an object such as ``WarmUp(500, Cosine())``.
        clip_norm, clip_value : float, optional
            Limits of each update's gradient, above 0: first of every element's size, then of the Euclidean norm over
            all parameters that are trained, as torch.nn.utils.clip_grad_value_ and clip_grad_norm_ have them.
        validation_data : (X_test, y_test), optional
            Then train and test accuracy (losses, if the targets are not classes) are recorded every epoch.
        sample_weight : array_like of shape (n_samples,) or (n_samples, n_out), optional
            Each batch's loss is weighted as in loss.
        class_weight : dict, array_like of shape (n_classes,) or "balanced", optional
            Weights of the samples of each class; classes that a dict does not name have 1, "balanced" is
            n_samples / (n_classes_present * count). With labels, or one-hot rows, a batch's loss is then the mean by
            these weights, as torch.nn.CrossEntropyLoss(weight=...) has it; soft targets of softmax_cross_entropy are
            multiplied by them. Metrics know nothing of weights.
        metrics : sequence of str or callable, optional
            What is recorded every epoch instead, in ``History``, of the validation data: "accuracy", "loss", "top_5"
            (any number), "mse", "r2", "auc", with "train_" before it of the training data, which takes longer; or
            functions of targets (as y, rows if there is one output) and outputs (as predict yields them) that return
            a number.
        early_stopping : int or EarlyStopping, optional
            End when the first metric of the validation data, or without these the epoch's loss, has not improved for so
            many epochs, and take the best parameters. ``History.watched`` names it. A value that is not finite is never
            better.
        callbacks : sequence of callable
            Called with the History after every epoch; one that returns True ends the training. ``nncore.callbacks``
            has some.
        checkpoint : path-like, optional
            A file that is written now and then, and at the end, also after Ctrl-C: all that it takes to go on. Each
            replaces the one before, which stays beside it with ".previous" at the end of its name. One run at a time
            has the file, until it ends or is killed.
        checkpoint_every : str or int
            How often: "30s", "500ms", "10min", "1h", or a number of iterations.
        resume : bool
            Go on from the checkpoint, to the bit as if there had been no interruption; begin anew if there is none.
            X, y and all settings must be those of the run that wrote it, but for callbacks, progress and n_threads;
            the generator's state is the checkpoint's. A damaged checkpoint is reported by a warning, and the previous
            one taken.
        progress : bool or "auto"
            A progress bar; "auto" shows it on a terminal.
        n_threads : int or "auto"
            "auto" tries one thread and all of them where steps are large enough to share, and goes by what is faster at
            the time. All are NNCORE_NUM_THREADS, or the CPUs that this process is allowed on and its container has
            time of, but no more than OMP_NUM_THREADS, OMP_THREAD_LIMIT and the limits of threadpoolctl allow, or of
            torch.set_num_threads where PyTorch has the same OpenMP library; one in a process forked from one that has
            used threads. The result does not depend on it, to the bit.
        rng : int or numpy.random.Generator, optional
            For sampling; by default the network's.

        Returns
        -------
        History
            Also after Ctrl-C, with ``interrupted`` True, a warning, and the network as the last update left it.

        Raises
        ------
        TypeError, ValueError
            For data or settings that do not fit, or a checkpoint of another run, or one that holds what fit would not
            have written; nothing has changed then.
        OSError
            If a checkpoint cannot be written; BlockingIOError, before anything has changed, if another run has it.
        FloatingPointError
            If training diverges. It names the iteration, the learning rate, what is large in X and y, and the
            parameters that grew most; the network has its last sane parameters again, or the best with early stopping.
        KeyboardInterrupt
            By Ctrl-C if another fit was ended so within the last second: the user wants out of a loop or search.
        RuntimeError
            If another thread trains this network, or a callback of a training of it calls this; nothing has changed
            then.

        Warns
        -----
        InterruptWarning
            If Ctrl-C ended it.
        UserWarning
            If X is uint8 and has zeros and ones only, which input_scale makes next to nothing.

        Notes
        -----
        Training has diverged if a loss or a parameter is not finite, or if the largest parameter is more than 100 times
        what it was at the start (or than 1, if it was smaller) and the mean loss of up to 4096 training samples more
        than 1e10 times what it was before that, and than that of outputs of 0. This is looked at after fixed numbers of
        updates (16,384 samples or more), before a checkpoint and at the end; the parameters of the last look are kept.

        The same data, settings and seed give the same bits, for any number of threads. Another batch size, another CPU
        level, or rows in another order give sums in another order: the same to rounding.

        From its begin to its end a training has the network for itself. Other threads may predict and compute losses,
        by parameters between two updates or some of them from before one; all else, from gradient to save and an
        assignment to params, is refused to them with a RuntimeError, but for save, exports and copies while callbacks
        are called. What writes into the arrays of params themselves cannot be seen. Callbacks may do everything but
        train. After Ctrl-C or an error the parameters are those after a whole update.

        Examples
        --------
        >>> from nncore import load_digits
        >>> (x, t), test = load_digits()
        >>> net = NeuralNetwork([Layer(64, 32, "relu", init="he"), Layer(32, 10)], loss="softmax_cross_entropy", rng=0)
        >>> history = net.fit(x, t, optimizer=SGD(0.2), epochs=30, validation_data=test, rng=0)
        >>> history.test_accuracy[-1] > 0.95
        True
        """
        with self.core.training("fit"):
            return training.fit(
                self, X, y, optimizer=SGD() if optimizer is None else optimizer, batch_size=batch_size, epochs=epochs,
                iterations=iterations, sampling=sampling, schedule=schedule, clip_norm=clip_norm,
                clip_value=clip_value, validation_data=validation_data, sample_weight=sample_weight,
                class_weight=class_weight, metrics=metrics, early_stopping=early_stopping, callbacks=callbacks,
                checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume, progress=progress,
                n_threads=n_threads, rng=rng,
            )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and architecture as a safetensors file, or leave the file that is there as it is.

        Of a symbolic link the target is replaced; anything but a regular file is left alone.

        Raises
        ------
        OSError
            If the file cannot be written.
        TypeError, ValueError
            If path is not the path of a file, or an activation or the loss is a function.

        Warns
        -----
        UserWarning
            If the name ends as files of other programs do, such as .h5 or .onnx; the file is written nevertheless.
        """
        from nncore import persistence

        with self.core.reading("save"):
            persistence.save(self, path)

    def export_onnx(self, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> None:
        """Write the network as ONNX; see nncore.export.export_onnx.

        Raises
        ------
        ImportError
            If the package onnx is not installed: pip install nncore[onnx].
        OSError, TypeError, ValueError
            If the file cannot be written, or an argument is not as described there.
        """
        from nncore import export

        with self.core.reading("export_onnx"):
            export.export_onnx(self, path, input_dtype=input_dtype)

    def export_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        input_dtype: str | None = None,
        quantize: str | None = None,
        samples: ArrayLike | None = None,
    ) -> float:
        """Write the network as one C99 header that needs <math.h> only; see nncore.export.export_c.

        Raises
        ------
        OSError, TypeError, ValueError
            If the file cannot be written, or an argument is not as described there.
        """
        from nncore import export

        with self.core.reading("export_c"):
            return export.export_c(
                self, path, name=name, input_dtype=input_dtype, quantize=quantize, samples=samples
            )  # fmt: skip

    def export_torch(self, path: str | os.PathLike[str]) -> str:
        """Write the parameters as the state dict of a torch.nn.Sequential; see nncore.export.export_torch.

        Raises
        ------
        OSError, ValueError
            If the file cannot be written, or the network has no layer.
        """
        from nncore import export

        with self.core.reading("export_torch"):
            return export.export_torch(self, path)

    @staticmethod
    def from_torch(
        source: str | os.PathLike[str] | Mapping[str, Any],
        activations: str | Sequence[str | None] | None,
        *,
        names: Sequence[str] | None = None,
        **settings: Any,
    ) -> "NeuralNetwork":
        """Make a network of the Linear layers of a PyTorch module; see nncore.export.from_torch.

        Raises
        ------
        OSError, TypeError, ValueError
            If the file cannot be read, its tensors are not of Linear layers, or an argument is not as described there.
        """
        from nncore import export

        return export.from_torch(source, activations, names=names, **settings)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "NeuralNetwork":
        """Read a network that save wrote.

        Raises
        ------
        OSError
            If the file cannot be read.
        MemoryError
            If it is larger than the machine's memory.
        TypeError, ValueError
            If path is not the path of a file, the file is not such a one, a byte of it has changed, or its parameters
            are not finite.

        Warns
        -----
        UserWarning
            If the file is unverified: another program wrote it, without a digest.
        """
        from nncore import persistence

        return persistence.load(path)
