"""The engine behind activations and losses that are Python functions: the same steps, one batch at a time in Python.

What needs no such function is still the core's: products, the other activations and losses, dropout, penalties, the
clipped update.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.dispatch import activation as core_activation
from nncore.core.dispatch import dense as core_dense
from nncore.core.dispatch import loss as core_loss
from nncore.core.dispatch import network as core_network
from nncore.differences.differences import differences
from nncore.functions import kinds
from nncore.functions.weights import shares

Array = NDArray[Any]
Activation = tuple[Callable[[Array], Any], Callable[[Array], Any]]
LossFunction = Callable[[Array, Array], tuple[Any, Any]]
Step = tuple[int, int]  # of training: the seed of the run's masks, and the number of the step
# Samples that outputs are computed for at a time.
BLOCK = 1024
SIGMOID, SOFTMAX = kinds.ACTIVATIONS["sigmoid"].number, kinds.ACTIVATIONS["softmax"].number
LOSSES = {row.number: row for row in kinds.LOSSES.values()}
KEEPING = {row.number for row in kinds.ACTIVATIONS.values() if row.keeps_slope}  # their slope


@dataclass(eq=False)
class _Pass:
    """The arrays of a batch in a layer; z before dropout, and beside it what f' needs: a, or the slope, or nothing."""

    x: Array
    x_hat: Array | None  # of a normalised layer
    z: Array
    kept: Array | None
    da: Array | None = None
    dz: Array | None = None


class PythonNetwork(core_network.Network):
    """Network with a pair of functions for some of the layers, or a function for a loss; see there for the arguments.

    The weights of samples are not for a loss that is a function: the caller refuses them.
    """

    if not TYPE_CHECKING:  # mypy would take it for the signature

        def __new__(cls, *settings, **functions):
            """Make the core's part, which knows nothing of functions."""
            return super().__new__(cls, *settings)

    def __init__(
        self,
        layers: list[tuple[int, int, int, bool, bool]],
        loss: int,
        delta: float,
        dtype: "np.dtype[Any]",
        loss_param: float = 0,
        smoothing: float = 0,
        batch_norm: tuple[int, ...] = (),
        *,
        activations: list[Activation | None],
        loss_function: LossFunction | None,
    ) -> None:
        self.kinds, self.batch_norm = [layer[2] for layer in layers], batch_norm
        self.activations, self.activation_params = activations, [0.0] * len(layers)
        self.loss_kind, self.loss_param, self.delta, self.loss_function = LOSSES[loss], loss_param, delta, loss_function
        self.off, self.on = self.loss_kind.coding
        if smoothing:
            self.off, self.on = smoothing / layers[-1][1], 1 - smoothing + smoothing / layers[-1][1]
        self.smoothed = smoothing > 0
        self._passes: list[_Pass] = []  # of the last forward_keep or gradient
        self._t: Array | None = None  # of the last gradient

    def configure(self, layer: int, *, param: float = 0, **settings: Any) -> None:
        """As Network."""
        super().configure(layer, param=param, **settings)
        self.activation_params[layer] = param

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One caller at a time, as what a batch leaves is kept."""
        self.take()
        try:
            yield
        finally:
            self.release()

    def _rows(self, x: Any, index: Any) -> Array:
        """These samples in the network's float type, contiguous."""
        dtype = self.params.dtype
        if isinstance(x, np.ndarray):
            rows, scaled = np.ascontiguousarray(x[index], dtype), x.dtype == np.uint8
        else:  # CompressedRows
            rows, scaled = np.zeros((len(index), x.bounds[-1]), dtype), x.values.dtype == np.uint8
            starts = x.pieces[:: len(x.bounds) - 1]
            for row, i in zip(rows, index, strict=True):
                part = slice(starts[i], starts[i + 1])
                row[x.columns[part]] = x.values[part]
        return rows * dtype.type(self.input_scale) if scaled else rows

    def _targets(self, t: Array, index: Any) -> Array:
        """The targets of these samples as rows, in the network's float type."""
        part, (_, n_out) = t[index], self.views(len(self.kinds) - 1)[0].shape
        if t.ndim == 1:
            rows = np.full((len(part), n_out), self.off, self.params.dtype)
            rows[np.arange(len(part)), part] = self.on
            return rows
        rows = np.array(part, self.params.dtype, order="C")
        return np.asarray(self.off + (self.on - self.off) * rows, rows.dtype) if self.smoothed else rows

    def _forward(self, x: Array, n_threads: int, step: Step | None = None) -> list[_Pass]:
        """All layers; with a step as in training."""
        passes = []
        for k, functions in enumerate(self.activations):
            W, b = self.views(k)
            a, x_hat, kept = np.empty((len(x), W.shape[1]), W.dtype), None, None
            core_dense.forward(x, W, None if k in self.batch_norm else b, a, n_threads)
            if k in self.batch_norm:
                x_hat = np.empty_like(a)
                self.normalise(k, a, x_hat, step is not None)
            if functions:
                z, kept = checks.applied(functions[0], a), a
            else:
                kept = np.empty_like(a) if self.kinds[k] in KEEPING else None
                slope = None if kept is None else kept.reshape(-1)
                core_activation.activate(self.kinds[k], a.reshape(-1), slope, self.activation_params[k])
                z = a
            passes.append(_Pass(x, x_hat, z, kept))
            x = z
            if step and self.has_dropout:
                x = z.copy()
                self.drop(k, x, *step)
        return passes

    def _differentiate(self, k: int, done: _Pass, dz: Array) -> Array:
        """The da of layer k from dz, which is used up."""
        functions, kept = self.activations[k], done.kept
        if functions:
            assert kept is not None
            return np.asarray(dz * checks.applied(functions[1], kept))
        slope = None if kept is None else kept.reshape(-1)
        core_activation.differentiate(
            self.kinds[k], done.z.reshape(-1), dz.reshape(-1), slope, self.activation_params[k]
        )
        return dz

    def _output(self, z: Array) -> Array:
        """Return the network's outputs from the last layer's z: logits, where that is softmax or a fused sigmoid."""
        if self.kinds[-1] not in (SOFTMAX, core_activation.LOGISTIC):
            return z
        y = z.copy()
        if self.kinds[-1] == SOFTMAX:
            core_activation.softmax(y)
        else:
            core_activation.activate(SIGMOID, y.reshape(-1))
        return y

    def _output_backward(self, last: _Pass, y: Array, dy: Array) -> Array:
        """The da of the last layer from dy, which is used up."""
        if self.kinds[-1] == SOFTMAX:
            core_activation.softmax_backward(y, dy)
        elif self.kinds[-1] == core_activation.LOGISTIC:
            core_activation.differentiate(SIGMOID, y.reshape(-1), dy.reshape(-1))
        else:
            return self._differentiate(len(self.kinds) - 1, last, dy)
        return dy

    def _loss(self, z: Array, t: Array, weights: Array | None) -> tuple[float, Array, Array | None]:
        """The mean loss, its gradient by the outputs y, and y; by z, and None, where the loss takes logits."""
        dy = np.empty_like(z)
        if self.loss_kind.exclusive:
            weighted = np.asarray(t * shares(weights, t.shape), t.dtype)  # the loss is linear in t
            return core_loss.softmax_cross_entropy(z, weighted, dy, self.delta), dy, None
        fused = self.kinds[-1] == core_activation.LOGISTIC
        y = z if fused else self._output(z)
        if self.loss_function:
            return *_called(self.loss_function, y, t), y
        self._expect_possible(y)
        loss = core_loss.terms(self.loss_kind.number, self.loss_param, y, t, shares(weights, t.shape), dy)
        return loss, dy, None if fused else y

    def _expect_possible(self, y: Array) -> None:
        """Refuse outputs for which the loss is not defined."""
        low, high = self.loss_kind.outputs or (None, None)
        if low is not None and not ((y >= low) & (y <= high)).all():
            raise ValueError(
                f"the outputs go from {y.min()} to {y.max()}, expected numbers from {low:g} to {high:g} with "
                f"{self.loss_kind.name}"
            )

    def _backpropagate(
        self, passes: list[_Pass], da: Array, grads: Array, n_threads: int, step: Step | None = None
    ) -> Array:
        """Fill in grads from da of the last layer; returns dx."""
        for k in range(len(passes) - 1, -1, -1):
            done = passes[k]
            done.da, dx = da, np.empty_like(done.x)
            (W, _), (dW, db) = self.views(k), self.views(k, grads)
            if done.x_hat is not None:
                self.normalise_backward(k, done.x_hat, da, grads, step is not None)
                db = None
            core_dense.backward(done.x, W, da, dW, np.empty_like(W[0]) if db is None else db, dx, n_threads)
            if k:
                passes[k - 1].dz = dx.copy()
                if step:
                    self.drop(k - 1, dx, *step)
                da = self._differentiate(k - 1, passes[k - 1], dx)
        return dx

    def _gradient(
        self, x: Array, t: Array, weights: Array | None, grads: Array, n_threads: int, step: Step | None = None
    ) -> tuple[float, Array | None]:
        """The mean loss and dx, and in grads its gradient, both without penalties; of a loss not finite no gradient."""
        self._passes = []
        passes = self._forward(x, n_threads, step)
        loss, dy, y = self._loss(passes[-1].z, t, weights)
        if not isfinite(loss):
            return loss, None
        da = dy if y is None else self._output_backward(passes[-1], y, dy)
        dx = self._backpropagate(passes, da, grads, n_threads, step)
        self._passes, self._t = passes, t
        return loss, dx

    def forward(self, x: Array, out: Array, n_threads: int = 1) -> None:
        """As Network."""
        for first in range(0, len(x), BLOCK):
            part = slice(first, first + BLOCK)
            out[part] = self._output(self._forward(self._rows(x, part), n_threads)[-1].z)

    def forward_plain(self, x: object, out: object = None) -> Array | None:
        """None: there is no short way."""
        return None

    def loss(self, x: Array, t: Array, weights: Array | None = None, *, n_threads: int = 1) -> float:
        """As Network."""
        parts = [slice(first, first + BLOCK) for first in range(0, len(x), BLOCK)]
        z = np.concatenate([self._forward(self._rows(x, part), n_threads)[-1].z for part in parts])
        return self._loss(z, self._targets(t, slice(None)), weights)[0] + self.penalty(_whole(weights, len(x)))

    def gradient(
        self, x: Array, t: Array, weights: Array | None, grads: Array, dx: Array | None = None, *, n_threads: int = 1
    ) -> float:
        """As Network."""
        every = slice(None)
        with self._alone():
            loss, by_x = self._gradient(self._rows(x, every), self._targets(t, every), weights, grads, n_threads)
            if by_x is None:  # grads is as the caller made it: memory of before
                grads[:] = np.nan
            if dx is not None:
                dx[:] = np.nan if by_x is None else by_x
            return loss + self.penalty(_whole(weights, len(x)), grads)

    def forward_keep(self, x: Array, out: Array, *, n_threads: int = 1) -> None:
        """As Network."""
        with self._alone():
            self._passes, self._t = [], None
            passes = self._forward(self._rows(x, slice(None)), n_threads)
            # a copy: the caller's array is the caller's
            passes[-1].z = self._output(passes[-1].z)
            out[:] = passes[-1].z
            self._passes = passes

    def backward(self, dy: Array, grads: Array, dx: Array, *, n_threads: int = 1) -> None:
        """As Network."""
        if not self._passes or self._t is not None:
            raise RuntimeError("backward was called without a forward before it, expected forward(x) first")
        with self._alone():
            da = self._output_backward(self._passes[-1], self._passes[-1].z, np.array(dy))
            dx[:] = self._backpropagate(self._passes, da, grads, n_threads)

    def train(
        self,
        x: Any,
        t: Array,
        weights: Array | None,
        index: NDArray[np.intp],
        position: int,
        epoch_size: int,
        batch_size: int,
        lr: float | NDArray[np.float64],
        losses: NDArray[np.float64],
        rule: Any = (0, 0.0, 0.0, 0.0, 0.0, 0.0),
        state: Any = None,
        *,
        clip_norm: float = 0,
        clip_value: float = 0,
        seed: int = 0,
        first_step: int = 0,
        n_threads: int = 1,
    ) -> int:
        """As Network; Ctrl-C, or an error of a function, leaves what the last update left."""
        self.steps_done = step = begin = 0
        rates = np.broadcast_to(lr, losses.shape)
        with self._alone():
            while begin < len(index):
                m = min(batch_size, len(index) - begin, epoch_size - (position + begin) % epoch_size)
                part = index[begin : begin + m]
                w = None if weights is None else weights[part]
                rows, targets, moments = self._rows(x, part), self._targets(t, part), self.moments.copy()
                try:
                    losses[step] = self._gradient(rows, targets, w, self.grads, n_threads, (seed, first_step + step))[0]
                    if not isfinite(losses[step]):
                        self.moments[:] = moments
                        return step
                    losses[step] += self.penalty(_whole(w, m), self.grads)
                    self.update(rates[step], rule, state, clip_norm=clip_norm, clip_value=clip_value)
                except BaseException:
                    if self.steps_done == step:
                        self.moments[:] = moments
                    raise
                begin, step = begin + m, step + 1
        return step

    def numerical_gradient(
        self,
        x: Array,
        t: Array,
        weights: NDArray[np.float64],
        h: float,
        slope: NDArray[np.float64],
        truncation: NDArray[np.float64] | None,
        kink: NDArray[np.uint8],
        max_memory: int,
        wanted: NDArray[np.uint8] | None = None,
        rounding: float = 0.0,
        one_sided: bool = False,
        *,
        n_threads: int = 1,
    ) -> None:
        """As Network, but by the whole loss for each parameter; kinks and truncation are not looked for."""
        elements = np.arange(slope.size) if wanted is None else np.flatnonzero(wanted)
        method = "forward" if one_sided else "central"
        slope[:], kink[:] = 0, 0
        found = differences(
            lambda params: self.loss(x, t, weights, n_threads=n_threads), self.params, h or None, method,
            elements=elements,
        )  # fmt: skip
        slope[elements] = found.value
        if truncation is not None:
            truncation[:] = 0

    @property
    def n_kept(self) -> int:
        """As Network."""
        return len(self._passes[0].x) if self._passes else 0

    def last(self, what: str, layer: int) -> Array | None:
        """As Network."""
        if not self._passes or (what != "z" and self._t is None):
            return None
        if what == "t":
            return self._t
        last = self._t is not None and layer == len(self._passes) - 1
        values = getattr(self._passes[layer], what)
        return np.array(self._output(values) if last and what == "z" else values)


def _whole(weights: Array | None, m: int) -> float:
    """Return the divisor of the sum over m samples."""
    return m if weights is None or weights.ndim == 2 else float(weights.sum())


def _called(function: LossFunction, y: Array, t: Array) -> tuple[float, Array]:
    """The loss and dy that a function returns, if they are a number and finite numbers of y's shape."""
    name = checks.function_name(function)
    result = function(y.copy(), t)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(f"{name}(y, t) returned a {type(result).__name__}, expected a pair (loss, dy)")
    loss = checks.parameter(result[0], f"the loss of {name}(y, t)", ())
    dy = np.array(checks.parameter(result[1], f"the dy of {name}(y, t)", y.shape), y.dtype, order="C")
    return float(loss), checks.finite(dy, f"the dy of {name}(y, t)") if isfinite(loss) else dy
