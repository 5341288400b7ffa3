"""class Model: what a stack of layers computes, its loss, and their derivatives."""

from collections.abc import Iterable
from typing import Any, Self
from weakref import ref

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nncore.core import checks
from nncore.core.blas import single_threaded_blas
from nncore.data import batches, inputs
from nncore.model import passes
from nncore.model.layers import Layer
from nncore.model.stack import Stack

Array = NDArray[Any]


class Model(Stack):
    """A stack of layers that predicts and has gradients; NeuralNetwork trains and saves it besides."""

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
            if self.takes_plain:
                y = self.core.forward_plain(x, out)
                if y is not None:
                    return y
            elif self.input_kind != inputs.BYTES or getattr(x, "dtype", None) == np.uint8:
                y = self.core.forward_plain(x, out)
                if y is not None:
                    return self._remembered(y)
        rows, single = batches.rows(self, x, sparse=True)
        if out is None:
            y = passes.outputs(self, rows, None, n_threads)
            return self._remembered(y[0] if single else y)
        shape = (self.n_out,) if single else (len(rows), self.n_out)
        if not isinstance(out, np.ndarray) or out.shape != shape:
            raise ValueError(f"out has shape {np.shape(out)}, expected {shape}")
        return self._remembered(passes.outputs(self, rows, out, n_threads))

    feed_forward = predict

    def _remembered(self, y: Array) -> Array:
        """Keep what was predicted last, so that accuracy knows it from inputs of the same shape."""
        self.last_prediction = ref(y)
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
        return passes.probabilities(self, self.predict(x))

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
        rows, targets, _ = batches.batch(self, X, t, sparse=True, weights=sample_weight)
        return passes.loss(self, rows, targets, batches.weights_for(self, sample_weight, len(rows)))

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
        rows, targets, single = batches.batch(self, X, t, weights=sample_weight)
        weights = batches.weights_for(self, sample_weight, len(rows))
        grads = np.empty(self.n_params, self.dtype)
        with single_threaded_blas(len(rows) * self.n_params):
            self.core.gradient(rows, targets, weights, grads)
        self._single_sample = single
        return self.named(grads)

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
        rows, targets, _ = batches.batch(self, X, t, weights=sample_weight)
        step = 0.0 if h is None else checks.positive_float(h, "h")
        slope = np.empty(self.n_params)
        passes.differences(
            self, rows, targets, step, n_threads, slope, weights=batches.weights_for(self, sample_weight, len(rows))
        )
        return self.named(slope.astype(self.dtype, copy=False))

    def forward(self, X: ArrayLike) -> Array:
        """As predict, and keep what backward needs: for losses and loops of your own, without dropout and penalties.

        Examples
        --------
        >>> from nncore import SGD, Layer, NeuralNetwork, losses
        >>> net, optimizer = NeuralNetwork([Layer(1, 1)], rng=0), SGD(0.1)
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> for _ in range(500):
        ...     loss, dy = losses.huber(net.forward(x), 2 * x + 1)
        ...     grads, dx = net.backward(dy)
        ...     optimizer.update(net.params, grads)
        >>> loss < 0.001
        True
        """
        rows, single = batches.rows(self, X)
        out = np.empty((len(rows), self.n_out), self.dtype)
        with single_threaded_blas(len(rows) * self.n_params):
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
        array = checks.finite(checks.floats(checks.parameter(dy, "dy", expected), "dy"), "dy") if outputs else dy
        grads = np.empty(self.n_params, self.dtype)
        dx = np.empty((outputs, self.n_in), self.dtype)
        with single_threaded_blas(outputs * self.n_params):
            self.core.backward(np.ascontiguousarray(array, self.dtype), grads, dx)
        return self.named(grads), (dx[0] if self._single_sample else dx)

    def folded(self) -> Self:
        """Return a network of the same predictions without batch normalisation, which is within weights and biases.

        Returns
        -------
        NeuralNetwork
            This one if no layer has batch_norm.

        Raises
        ------
        ValueError
            If a weight or a bias becomes infinite, as its factor can be too large.
        """
        if not any(layer.batch_norm for layer in self.layers):
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            affine = [layer.affine() for layer in self.layers]
        for k, (W, b) in enumerate(affine, 1):
            checks.finite(W, f"W{k}")
            if b is not None:
                checks.finite(b, f"b{k}")
        return self._rebuilt(
            (
                Layer(*layer.shape, layer.activation, *values, use_bias=layer.use_bias, **layer.settings())
                for layer, values in zip(self.layers, affine, strict=True)
            ),
            self.dtype,
        )

    def astype(self, dtype: DTypeLike) -> Self:
        """Return a copy whose parameters and arithmetic are of another float type.

        Parameters
        ----------
        dtype : {float64, float32}

        Returns
        -------
        NeuralNetwork
            It starts as one that was not trained yet: without a kind of input that it expects.

        Raises
        ------
        ValueError
            For another type, or a parameter that is not finite.
        """
        twin = self._rebuilt(
            (
                Layer(
                    *layer.shape, layer.activation, layer.weights, layer.bias, use_bias=layer.use_bias,
                    batch_norm=layer.batch_norm, **layer.settings(),
                )
                for layer in self.layers
            ),
            dtype,
        )  # fmt: skip
        twin.core.params[:], twin.core.moments[:] = self.core.params, self.core.moments
        return twin

    def _rebuilt(self, layers: Iterable[Layer], dtype: DTypeLike) -> Self:
        """Return a network of this class with the settings of this one and other layers."""
        twin = type(self).__new__(type(self))  # a subclass may be made from other arguments
        Stack.__init__(
            twin, layers, loss=self.loss_function or self.loss_name, dtype=dtype, delta=self.delta,
            label_smoothing=self.label_smoothing, input_scale=self.input_scale,
        )  # fmt: skip
        twin.__dict__.update({name: value for name, value in self.__dict__.items() if name not in twin.__dict__})
        return twin
