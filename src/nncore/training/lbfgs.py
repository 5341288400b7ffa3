"""L-BFGS: scipy.optimize's on the loss and the gradient of the compiled core over all samples."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks, mapped
from nncore.core import threads as _threads
from nncore.core.blas import held_blas
from nncore.core.pace import Pace
from nncore.data import inputs as _inputs
from nncore.data.samples import Data
from nncore.model.model import Model
from nncore.training import fit as training
from nncore.training.divergence import Watch
from nncore.training.early_stopping import early_stopping as as_stopping
from nncore.training.epoch_end import EpochEnd
from nncore.training.evaluation import Evaluation
from nncore.training.history import History
from nncore.training.optimizers import LBFGS

Array = NDArray[Any]
# Samples whose outputs are in memory at a time.
ROWS = 4096
# What of fit's settings has no meaning here, and what it is if it was not given.
WITHOUT = {
    "batch_size": None, "epochs": None, "iterations": None, "sampling": "shuffle", "schedule": None, "clip_norm": None,
    "clip_value": None, "checkpoint": None, "resume": False, "rng": None,
}  # fmt: skip


class Ended(Exception):
    """A callback or early stopping ends the run."""


def fit(
    net: Model,
    data: Data,
    *,
    optimizer: LBFGS,
    progress: bool | str,
    metrics: Any,
    early_stopping: Any,
    callbacks: Any,
    n_threads: int | str,
    **settings: Any,
) -> History:
    """NeuralNetwork.fit with L-BFGS."""
    for name, default in WITHOUT.items():
        if settings[name] != default:
            raise ValueError(f"{name} is {settings[name]!r}, expected {default!r} with LBFGS, which takes all samples")
    for k, layer in enumerate(net.layers, start=1):
        for what in ("dropout", "max_norm", "batch_norm"):
            if getattr(layer, what):
                raise ValueError(f"layer {k} has {what} {getattr(layer, what)}, expected none with LBFGS")
    net.expect_finite()
    evaluation = Evaluation(net, (data.x, data.true), data.test, metrics)
    stopping, callbacks = as_stopping(early_stopping), checks.callables(callbacks, "callbacks")
    after = EpochEnd(net, History(), evaluation, None, stopping, callbacks)
    objective = Objective(net, data, n_threads)
    with training.bar_of(progress, optimizer.max_iter) as bar:
        return _Minimization(objective, after, bar).run(optimizer)


class Objective:
    """The mean loss over all samples and its gradient, as a function of the parameters that training may change."""

    def __init__(self, net: Model, data: Data, n_threads: int | str) -> None:
        self.net, self.data = net, data
        self.pace = Pace(_threads.choices(n_threads, min(len(data.x), ROWS) * net.n_params))
        self.free = _trainable(net)
        weights = data.weights
        self.total = float(len(data.x) if weights is None or weights.ndim == 2 else weights.sum())
        self.grads = np.empty(net.n_params, net.dtype)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """The loss and the gradient at x; the network has these parameters then."""
        net, before = self.net, time.perf_counter()
        net.core.params[self.free] = x
        loss, gradient = 0.0, np.zeros(len(x))
        n_threads, _ = self.pace.next()
        usable = _threads.usable(n_threads)
        for rows, targets, weights, share in self.blocks():
            loss += share * net.core.gradient(rows, targets, weights, self.grads, n_threads=usable)
            gradient += share * self.grads[self.free]
        self.pace.took(n_threads, 1, time.perf_counter() - before)
        return loss, gradient

    def blocks(self) -> Iterator[tuple[Array, Array, Array | None, float]]:
        """Rows, targets and weights of some samples after the other, and their share in the mean."""
        for part, at in mapped.parts(self.data.x):
            for first in range(0, len(part), ROWS):
                rows = part[first : first + ROWS]
                here = slice(at.start + first, at.start + first + len(rows))
                weights = None if self.data.weights is None else self.data.weights[here]
                share = len(rows) if weights is None or weights.ndim == 2 else weights.sum()
                if share:
                    yield rows, self.data.t[here], weights, share / self.total


class _Minimization:
    """One run: what scipy calls, and the network that follows it."""

    def __init__(self, objective: Objective, after: EpochEnd, bar: Any) -> None:
        self.objective, self.net, self.free = objective, objective.net, objective.free
        self.after, self.history, self.bar = after, after.history, bar
        self.started = time.perf_counter()
        self.watch = Watch(self.net, objective.data)

    def run(self, optimizer: LBFGS) -> History:
        """Minimize, as far as Ctrl-C, early stopping and the callbacks let it come."""
        with self.net.core.training("fit"):
            return self._run(optimizer)

    def _run(self, optimizer: LBFGS) -> History:
        from scipy.optimize import minimize

        _inputs.trained_on(self.net, self.objective.data.kind)
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

        with held_blas():
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
        self.after.restore_best()
        return history

    def evaluate(self, x: Array) -> tuple[float, Array]:
        """What scipy calls."""
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
        history, after = self.history, self.after
        self.net.core.params[self.free] = x
        history.loss = np.append(history.loss, loss)
        history.epochs = history.iterations
        after.record()
        history.seconds = time.perf_counter() - self.started
        self.bar.update(1)
        self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        if after.call_back():
            history.ended = "a callback"
            raise Ended
        if after.stops:
            history.ended = after.why_stopped()
            raise Ended


def _trainable(net: Model) -> NDArray[np.bool_]:
    """Which parameters training may change."""
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
