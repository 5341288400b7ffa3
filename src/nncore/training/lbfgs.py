"""L-BFGS: scipy.optimize's on the loss and the gradient of the compiled core over all samples."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks, mapped, threads
from nncore.data import inputs
from nncore.data.samples import Data
from nncore.model.model import Model
from nncore.training.divergence import Watch
from nncore.training.early_stopping import early_stopping
from nncore.training.epoch_end import EpochEnd
from nncore.training.evaluation import Evaluation
from nncore.training.history import History
from nncore.training.optimizers import LBFGS
from nncore.training.progress import bar_of
from nncore.training.settings import FitSettings

Array = NDArray[Any]
# Samples whose outputs are in memory at a time.
ROWS = 4096
# Settings of fit that have no meaning here: they must be as if they had not been given.
WITHOUT = (
    "batch_size", "epochs", "iterations", "sampling", "schedule", "clip_norm", "clip_value", "checkpoint", "resume",
    "rng",
)  # fmt: skip


class Ended(Exception):
    """A callback or early stopping ends the run."""


def fit(net: Model, data: Data, optimizer: LBFGS, given: FitSettings) -> History:
    """Train with L-BFGS."""
    _expect_usual(net, given)
    net.expect_finite()
    evaluation = Evaluation(net, (data.x, data.true), data.test, given.metrics)
    stopping, callbacks = early_stopping(given.early_stopping), checks.callables(given.callbacks, "callbacks")
    epoch_end = EpochEnd(net, History(), evaluation, None, stopping, callbacks)
    objective = Objective(net, data, given.n_threads)
    with bar_of(given.progress, optimizer.max_iter) as bar:
        return _Minimization(objective, epoch_end, bar).run(optimizer)


def _expect_usual(net: Model, given: FitSettings) -> None:
    """Raise ValueError for settings, of fit or of layers, that have no meaning with L-BFGS."""
    usual = FitSettings()
    for name in WITHOUT:
        value, default = getattr(given, name), getattr(usual, name)
        if value != default:
            raise ValueError(f"{name} is {value!r}, expected {default!r} with LBFGS, which takes all samples")
    for k, layer in enumerate(net.layers, start=1):
        for what in ("dropout", "max_norm", "batch_norm"):
            if getattr(layer, what):
                raise ValueError(f"layer {k} has {what} {getattr(layer, what)}, expected none with LBFGS")


class Objective:
    """The mean loss over all samples and its gradient, as a function of the parameters that training may change."""

    def __init__(self, net: Model, data: Data, n_threads: int | str) -> None:
        self.net, self.data = net, data
        self.pace = threads.Pace(threads.choices(n_threads, min(len(data.x), ROWS) * net.n_params))
        self.free = _trainable(net)
        weights = data.weights
        self.total = float(len(data.x) if weights is None or weights.ndim == 2 else weights.sum())
        self.grads = np.empty(net.n_params, net.dtype)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the loss and the gradient at x; the network has these parameters then."""
        net, before = self.net, time.perf_counter()
        net.core.params[self.free] = x
        loss, gradient = 0.0, np.zeros(len(x))
        n_threads, _ = self.pace.next()
        usable = threads.usable(n_threads)
        for rows, targets, weights, share in self.blocks():
            loss += share * net.core.gradient(rows, targets, weights, self.grads, n_threads=usable)
            gradient += share * self.grads[self.free]
        self.pace.took(n_threads, 1, time.perf_counter() - before)
        return loss, gradient

    def blocks(self) -> Iterator[tuple[Array, Array, Array | None, float]]:
        """Yield rows, targets and weights of some samples after the other, and their share in the mean."""
        for at, part in mapped.pieces(self.data.x, uncut=True):
            for first in range(0, len(part), ROWS):
                rows = part[first : first + ROWS]
                here = slice(at.start + first, at.start + first + len(rows))
                weights = None if self.data.weights is None else self.data.weights[here]
                share = len(rows) if weights is None or weights.ndim == 2 else weights.sum()
                if share:
                    yield rows, self.data.t[here], weights, share / self.total


class _Minimization:
    """One run: the functions that SciPy calls, and the network that follows it."""

    def __init__(self, objective: Objective, epoch_end: EpochEnd, bar: Any) -> None:
        self.objective, self.net, self.free = objective, objective.net, objective.free
        self.epoch_end, self.history, self.bar = epoch_end, epoch_end.history, bar
        self.started = time.perf_counter()
        self.watch = Watch(self.net, objective.data)

    def run(self, optimizer: LBFGS) -> History:
        """Minimize, as far as Ctrl-C, early stopping and the callbacks let it come."""
        with self.net.core.training("fit"):
            return self._run(optimizer)

    def _run(self, optimizer: LBFGS) -> History:
        from scipy.optimize import minimize

        inputs.trained_on(self.net, self.objective.data.kind)
        params, history = self.net.core.params, self.history
        options = {
            "maxiter": optimizer.max_iter, "maxfun": optimizer.max_fun, "gtol": optimizer.tol, "ftol": optimizer.ftol,
            "maxcor": optimizer.memory,
        }  # fmt: skip
        start = params[self.free].astype(np.float64)
        reached = start.copy()

        def callback(intermediate_result: Any) -> None:
            reached[:] = intermediate_result.x
            self.iterated(reached, intermediate_result.fun)

        with threads.held_blas():
            try:
                minimize(self.evaluate, start, jac=True, method="L-BFGS-B", options=options, callback=callback)
            except KeyboardInterrupt:
                history.interrupted, history.ended = True, "Ctrl-C"
            except Ended:
                pass
            finally:
                # a line search may have ended elsewhere
                params[self.free] = reached
                history.seconds = time.perf_counter() - self.started
        self.epoch_end.restore_best()
        return history

    def evaluate(self, x: Array) -> tuple[float, Array]:
        """Return the loss and the gradient at x, for SciPy."""
        before = time.perf_counter()
        loss, gradient = self.objective(x)
        self.history.train_seconds += time.perf_counter() - before
        self.history.n_threads = self.objective.pace.found
        if not self.history.iterations and not (np.isfinite(loss) and np.isfinite(gradient).all()):
            what = f"the loss is {loss}" if not np.isfinite(loss) else "the gradient is not finite"
            self.watch.go_back()
            raise FloatingPointError(f"{what} at the start, expected a finite loss: {self.watch.advice(rate=False)}")
        return loss, gradient

    def iterated(self, x: Array, loss: float) -> None:
        """Note an iteration that has reached x."""
        history, epoch_end = self.history, self.epoch_end
        self.net.core.params[self.free] = x
        history.loss = np.append(history.loss, loss)
        history.epochs = history.iterations
        epoch_end.record()
        history.seconds = time.perf_counter() - self.started
        self.bar.update(1)
        self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        if epoch_end.call_back():
            history.ended = "a callback"
            raise Ended
        if epoch_end.stops:
            history.ended = epoch_end.why_stopped()
            raise Ended


def _trainable(net: Model) -> NDArray[np.bool_]:
    """Return which parameters training may change."""
    mask = np.ones(net.n_params, net.dtype)
    views = net.named(mask)
    for k, layer in enumerate(net.layers, start=1):
        if layer.lr_scale == 0:
            views[f"W{k}"][:] = 0
        if layer.use_bias and (layer.lr_scale == 0 or not layer.trainable_bias):
            views[f"b{k}"][:] = 0
    if not mask.any():
        raise ValueError("all layers are frozen, expected one with an lr_scale above 0")
    return np.asarray(mask != 0)
