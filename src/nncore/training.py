"""fit: epochs of many compiled steps, with what Python does between them."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks, _mapped, _threads
from nncore._dispatch import sparse
from nncore._sparse_rows import SparseRows
from nncore.optimizers import Optimizer, State

if TYPE_CHECKING:
    from nncore.network import NeuralNetwork

SAMPLINGS = ("shuffle", "replacement", "sequential")
# Python gets control back about this often: progress bar, Ctrl-C.
CHUNK_SECONDS = 0.05
EPOCHS_TOGETHER = 1 << 16  # samples
# Rows with fewer non-zeros are compressed; measured with 784-50: as fast as dense ones at 0.4, half the time at 0.2.
MAX_DENSITY = 0.3
MIN_FEATURES = 64
# Where the first layer's weights outgrow the second-level cache, dense rows win earlier: a batch of 784-1024-1024-10 on
# images took 12.5 ms dense and 19.0 compressed.
CACHED_BYTES = 2 << 20
UNCACHED = 0.2


@dataclass(eq=False)
class History:
    """What a training run was like.

    Attributes
    ----------
    loss : ndarray of shape (n_iterations,)
        Each batch's loss before its update.
    epoch_ends : list of int
        Iterations done at each record of the lists below: at the end of every epoch, and of the run.
    train_accuracy, test_accuracy : list of float
        Fractions, one an epoch; with validation_data and targets that stand for classes.
    train_loss, test_loss : list of float
        Losses over the whole sets, one an epoch; with validation_data and other targets.
    epochs : int
        Epochs begun.
    seconds : float
        Spent in training; evaluations included.
    train_seconds : float
        Spent in updates only.
    n_threads : int
        Threads used; with "auto", those found fastest in the end.
    density : float or None
        Fraction of non-zeros in X when its rows were compressed, which is chosen where it is faster; else None.
    interrupted : bool
        Whether Ctrl-C ended it.
    error : Exception or None
        What ended it, in a population trained by fit_many.
    """

    loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    epoch_ends: list[int] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    n_threads: int = 1
    density: float | None = None
    interrupted: bool = False
    error: Exception | None = None

    @property
    def iterations(self) -> int:
        """Number of updates."""
        return len(self.loss)

    def epoch_columns(self) -> dict[str, list[float]]:
        """The lists by epoch that were recorded, by name."""
        names = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def to_csv(self) -> str:
        """One line an iteration; what is recorded by epoch stands in the line of the epoch's last iteration."""
        columns = self.epoch_columns()
        rows = dict(zip(self.epoch_ends, zip(*columns.values(), strict=True), strict=True)) if columns else {}
        blank = "," * len(columns)
        lines = [",".join(("iteration", "loss", *columns))]
        for i, loss in enumerate(self.loss, start=1):
            tail = "".join(f",{value:.6g}" for value in rows[i]) if i in rows else blank
            lines.append(f"{i},{loss:.9g}{tail}")
        return "\n".join(lines) + "\n"


def fit(
    net: "NeuralNetwork",
    X: ArrayLike,
    y: ArrayLike,
    *,
    validation_data: tuple[ArrayLike, ArrayLike] | None,
    sample_weight: ArrayLike | None,
    progress: bool | str,
    **settings: Any,
) -> History:
    """NeuralNetwork.fit, which says what the arguments are: everything is checked before anything changes."""
    run = prepare(net, Data(net, X, y, validation_data, sample_weight), **settings)
    with _bar(progress, run.total) as bar:
        return run.train(bar)


class Data:
    """What a network trains on, and others with as many inputs and outputs: checked once, never copied for each."""

    def __init__(
        self,
        net: "NeuralNetwork",
        X: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike] | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        self.x, self.t, _ = net._batch(X, y, "X", "y", sparse=True)
        self.weights = _checks.sample_weights(sample_weight, len(self.x), net.n_out)
        self.test = None
        if validation_data is not None:
            pair = _checks.pair(validation_data, "validation_data")
            self.test = net._batch(*pair, "validation X", "validation y", sparse=True)[:2]
        self._compressed: dict[float, Any] = {}

    def rows(self, net: "NeuralNetwork", n_reads: int) -> Any:
        """The rows as they are, or CompressedRows where that is faster and it is worth the pass over them."""
        limit = MAX_DENSITY if net.layers[0].weights.nbytes <= CACHED_BYTES else MAX_DENSITY * UNCACHED
        if isinstance(self.x, SparseRows):
            limit = 1.0
        elif n_reads < len(self.x):
            return self.x
        if limit not in self._compressed:
            self._compressed[limit] = _rows(self.x, limit)
        return self._compressed[limit]


def prepare(
    net: "NeuralNetwork",
    data: Data,
    *,
    optimizer: Optimizer,
    batch_size: int | None,
    epochs: int | None,
    iterations: int | None,
    sampling: str,
    callbacks: Sequence[Callable[[History], Any]],
    n_threads: int | str,
    rng: int | np.random.Generator | None,
) -> "_Run":
    """Check the settings; nothing changes before the run trains."""
    n = len(data.x)
    net._weights(data.weights, n)
    batch_size = min(32, n) if batch_size is None else _checks.positive_int(batch_size, "batch_size")
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, expected at most {n}, the number of samples")
    if epochs is not None and iterations is not None:
        raise ValueError(f"epochs is {epochs} and iterations is {iterations}, expected only one of them")
    _checks.choice(sampling, "sampling", SAMPLINGS)
    callbacks = _checks.callables(callbacks, "callbacks")
    _checks.instance(optimizer, "optimizer", Optimizer, "an optimizer such as SGD(lr=0.1)")
    large = _mapped.is_large(data.x)
    windows = _mapped.Windows(data.x, data.t, data.weights, batch_size) if large else None
    plan = _Plan(n, batch_size, sampling, net.rng if rng is None else _checks.generator(rng), windows)
    if iterations is None:
        total = plan.steps * _checks.positive_int(10 if epochs is None else epochs, "epochs")
    else:
        total = _checks.positive_int(iterations, "iterations")
    threads = _threads.choices(n_threads, batch_size * net.n_params)
    return _Run(net, data, plan, optimizer, total, threads, callbacks)


def _rows(x: Any, limit: float) -> Any:
    """The rows as they are, or CompressedRows below this density."""
    if isinstance(x, SparseRows):
        return x.compressed()
    if x.shape[1] < MIN_FEATURES or _mapped.is_large(x):
        return x
    some = x[:: max(1, len(x) // 1000)]
    if np.count_nonzero(some) > limit * some.size:
        return x
    return sparse.compress(x, limit) or x


def state_of(net: "NeuralNetwork", optimizer: Optimizer) -> State:
    """Its state for this network: that of the fit before if it was with this very object, else a new one."""
    _checks.instance(optimizer, "optimizer", Optimizer, "an optimizer such as SGD(lr=0.1)")
    used, before = net._optimizer
    state = optimizer._state(net.n_params, net.dtype, before if used is optimizer else None)
    net._optimizer = optimizer, state
    return state


class _Plan:
    """Which samples an epoch takes, in which order."""

    def __init__(
        self,
        n: int,
        batch_size: int,
        sampling: str,
        rng: np.random.Generator,
        windows: _mapped.Windows | None = None,
    ) -> None:
        self.n, self.batch_size, self.sampling, self.rng, self.windows = n, batch_size, sampling, rng, windows
        # updates and samples of one epoch
        self.steps = max(n // batch_size, 1) if sampling == "replacement" else -(-n // batch_size)
        self.size = self.steps * batch_size if sampling == "replacement" else n

    def sample_at(self, step: int) -> int:
        """Samples that the first so many updates of consecutive epochs take."""
        return step // self.steps * self.size + min(step % self.steps * self.batch_size, self.size)

    def epoch(self) -> NDArray[np.intp]:
        """The samples of the next epoch; how they are drawn does not depend on how training is cut into chunks."""
        if self.sampling == "replacement":
            return self.rng.integers(self.n, size=self.size, dtype=np.intp)
        if self.sampling == "shuffle" and self.windows:
            return self.windows.shuffled(self.rng)
        if self.sampling == "shuffle":
            return self.rng.permutation(self.n).astype(np.intp, copy=False)
        return np.arange(self.n, dtype=np.intp)


class _Run:
    """The chunks of one training run, sized so that each takes about CHUNK_SECONDS.

    With a choice of threads it goes by measurement, which costs nothing as the result does not depend on them: a
    step that is shared gains on a quiet machine and loses badly where another program keeps a core busy.
    """

    def __init__(
        self,
        net: "NeuralNetwork",
        data: Data,
        plan: _Plan,
        optimizer: Optimizer,
        total: int,
        threads: tuple[int, ...],
        callbacks: Sequence[Callable[[History], Any]],
    ) -> None:
        self.net, self.plan, self.optimizer, self.total, self.callbacks = net, plan, optimizer, total, callbacks
        self.history = History()
        self.record = _recorder(net, self.history, (data.x, data.t), data.test)
        rows = data.rows(net, total * plan.batch_size)
        if isinstance(rows, sparse.CompressedRows):
            self.history.density = len(rows.values) / data.x.size
        self.data = rows, data.t, data.weights
        # nothing to do between epochs: small ones go to the core several at a time
        self.together = 1 if callbacks or data.test or plan.windows else max(1, EPOCHS_TOGETHER // plan.size)
        self.losses = np.empty(total)
        self.seconds_per_step = dict.fromkeys(threads, 0.0)
        self.chunks = 0
        self.next_look = 0
        self.chunk = 1  # steps
        self.seed = 0

    def _next(self) -> tuple[int, int]:
        """Threads and steps of the next chunk: what was fastest, and now and then a short look at the other choice.

        A look takes a few steps at most and the more looks there were the rarer they become, as where a core is busy
        a shared step can take 20 times as long.
        """
        fastest, *others = sorted(self.seconds_per_step, key=lambda n: self.seconds_per_step[n])
        self.history.n_threads = fastest
        if others and self.chunks >= self.next_look:
            self.next_look = self.chunks + min(2 + self.chunks, 64)
            return others[0], max(1, self.chunk // 16)
        return fastest, self.chunk

    def train(self, bar: Any) -> History:
        """All epochs, or as far as Ctrl-C and the callbacks let them come."""
        history, started = self.history, time.perf_counter()
        self.state = state_of(self.net, self.optimizer)
        if self.net.core.has_dropout:
            self.seed = int(self.plan.rng.integers(1 << 63))
        with _threads.single_threaded_blas(_threads.BLAS_THREADED_MACS):
            try:
                while history.iterations < self.total:
                    left = -(-(self.total - history.iterations) // self.plan.steps)
                    self.epochs(min(self.together, left), bar)
                    self.record()
                    history.seconds = time.perf_counter() - started
                    stops = [callback(history) is True for callback in self.callbacks]
                    if any(stops):
                        break
            except KeyboardInterrupt:
                history.interrupted = True
            finally:
                history.seconds = time.perf_counter() - started
        return history

    def epochs(self, count: int, bar: Any) -> None:
        """Run the updates of this many epochs, as far as the total reaches."""
        plan = self.plan
        index = np.concatenate([plan.epoch() for _ in range(count)])
        steps = min(count * plan.steps, self.total - self.history.iterations)
        if plan.windows is None:
            self._steps(index, 0, steps, bar)
            return
        window = plan.windows.size // plan.batch_size
        for first in range(0, steps, window):
            last = min(first + window, steps)
            self.data = plan.windows.load(index[plan.sample_at(first) : plan.sample_at(last)])
            self._steps(index, first, last, bar)

    def _steps(self, index: NDArray[np.intp], first: int, last: int, bar: Any) -> None:
        """The updates first to last of these epochs, chunk by chunk."""
        while first < last:
            threads, chunk = self._next()
            end = min(first + chunk, last)
            self._chunk(index, first, end, threads, bar)
            first = end

    def _chunk(self, index: NDArray[np.intp], first: int, last: int, threads: int, bar: Any) -> None:
        """The updates first to last of these epochs: one call of the core."""
        plan, history = self.plan, self.history
        begin, end = plan.sample_at(first), plan.sample_at(last)
        n_steps = last - first
        losses = self.losses[history.iterations : history.iterations + n_steps]
        core, lr = self.net.core, self.optimizer.lr
        core.steps_done = 0
        before, done_before = time.perf_counter(), history.iterations
        try:
            with _threads.shared(core, threads):
                core.train(
                    *self.data, index[begin:end], begin % plan.size, plan.size, plan.batch_size, lr, losses,
                    self.optimizer._rule(), self.state, seed=self.seed, first_step=history.iterations,
                )  # fmt: skip
        finally:
            # Ctrl-C is raised when the core returns: what it did counts
            done = core.steps_done
            elapsed = time.perf_counter() - before
            history.train_seconds += elapsed
            history.loss = self.losses[: done_before + done]
            history.epochs = -(-history.iterations // plan.steps)
        if done == n_steps and not np.isfinite(core.params).all():
            raise FloatingPointError(
                f"a parameter is not finite after iteration {history.iterations} with learning rate {lr}, "
                f"expected finite ones: try a smaller learning rate"
            )
        if done < n_steps:
            raise FloatingPointError(
                f"the loss became {losses[done]} at iteration {history.iterations + 1} with learning rate "
                f"{lr}, expected a finite loss: try a smaller learning rate"
            )
        bar.update(done)
        accuracy = {"accuracy": f"{history.test_accuracy[-1]:.4f}"} if history.test_accuracy else {}
        bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False, **accuracy)
        self.chunks += 1
        self.seconds_per_step[threads] = elapsed / done
        # at most 8 times more than last time: the first chunks are too short to be measured well
        per_step = max(min(filter(None, self.seconds_per_step.values())), 1e-9)
        self.chunk = max(1, min(8 * self.chunk, int(CHUNK_SECONDS / per_step)))


def _recorder(net: "NeuralNetwork", history: History, train: Any, test: Any) -> Callable[[], None]:
    """Returns the function that evaluates the network after an epoch."""
    if test is None:
        return lambda: None

    def one_hot(t: NDArray[Any]) -> bool:
        return bool(((t == 0) | (t == 1)).all() and (t.sum(axis=1) == 1).all())

    def are_classes(t: NDArray[Any]) -> bool:
        return t.ndim == 1 or (net.n_out > 1 and all(one_hot(part) for _, part in _mapped.pieces(t)))

    classes = are_classes(train[1]) and are_classes(test[1])

    def record() -> None:
        with _threads.shared(net.core, history.n_threads):
            values = [net._accuracy(x, t) if classes else net._loss(x, t) for x, t in (train, test)]
        # all at once: Ctrl-C may come while they are computed
        history.epoch_ends.append(history.iterations)
        for name, value in zip(("train", "test"), values, strict=True):
            getattr(history, f"{name}_accuracy" if classes else f"{name}_loss").append(value)

    return record


class _NoBar:
    """Stands in for the progress bar when none is shown."""

    def __enter__(self) -> "_NoBar":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def update(self, n: int) -> None:
        pass

    def set_postfix(self, **values: Any) -> None:
        pass


def _bar(progress: bool | str, total: int) -> Any:
    if not (progress is True or progress is False or progress == "auto"):
        raise ValueError(f"progress is {progress!r}, expected True, False or 'auto'")
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        return _NoBar()
    from tqdm import tqdm

    return tqdm(total=total, unit="it", dynamic_ncols=True)
