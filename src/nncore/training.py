"""fit: epochs of many compiled steps, with what Python does between them."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks, _threads
from nncore.optimizers import SGD

if TYPE_CHECKING:
    from nncore.network import NeuralNetwork

SAMPLINGS = ("shuffle", "replacement", "sequential")
# Python gets control back about this often: progress bar, Ctrl-C.
CHUNK_SECONDS = 0.05


@dataclass
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
        Threads used.
    interrupted : bool
        Whether Ctrl-C ended it.
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
    interrupted: bool = False

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
    optimizer: SGD,
    batch_size: int,
    epochs: int | None,
    iterations: int | None,
    sampling: str,
    validation_data: tuple[ArrayLike, ArrayLike] | None,
    sample_weight: ArrayLike | None,
    callbacks: Sequence[Callable[[History], Any]],
    progress: bool | str,
    n_threads: int | str,
    rng: int | np.random.Generator | None,
) -> History:
    """NeuralNetwork.fit, which says what the arguments are: everything is checked before anything changes."""
    x, t, _ = net._batch(X, y, "X", "y")
    n = len(x)
    batch_size = _checks.positive_int(batch_size, "batch_size")
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, expected at most {n}, the number of samples")
    if epochs is not None and iterations is not None:
        raise ValueError(f"epochs is {epochs} and iterations is {iterations}, expected only one of them")
    _checks.choice(sampling, "sampling", SAMPLINGS)
    if not isinstance(optimizer, SGD):
        raise TypeError(f"optimizer is {optimizer!r}, expected an optimizer such as SGD(lr=0.1)")
    epoch_steps = max(n // batch_size, 1) if sampling == "replacement" else -(-n // batch_size)
    if iterations is None:
        total = epoch_steps * _checks.positive_int(10 if epochs is None else epochs, "epochs")
    else:
        total = _checks.positive_int(iterations, "iterations")
    weights = _checks.sample_weights(sample_weight, n)
    test = None if validation_data is None else net._batch(*validation_data, "validation X", "validation y")[:2]
    generator = net.rng if rng is None else _checks.generator(rng)
    macs = batch_size * net.n_params
    history = History(n_threads=_threads.resolve(n_threads, macs))
    record = _recorder(net, history, (x, t), test)
    run = _Run(net, x, t, weights, batch_size, optimizer.lr, history)
    started = time.perf_counter()
    net.core.n_threads = history.n_threads
    with _threads.single_threaded_blas(max(macs, _threads.BLAS_THREADED_MACS)), _bar(progress, total) as bar:
        try:
            for index in _epoch_indices(n, epoch_steps, batch_size, total, sampling, generator):
                history.epochs += 1
                run.epoch(index, bar)
                record(bar)
                history.seconds = time.perf_counter() - started
                if any([callback(history) is True for callback in callbacks]):
                    break
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            net.core.n_threads = 1
            history.seconds = time.perf_counter() - started
    return history


def _epoch_indices(
    n: int, epoch_steps: int, batch_size: int, total: int, sampling: str, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """The samples of each epoch in the order of use; the last epoch ends with the total number of updates."""
    done = 0
    while done < total:
        if sampling == "replacement":
            index = rng.integers(n, size=epoch_steps * batch_size, dtype=np.intp)
        elif sampling == "shuffle":
            index = rng.permutation(n).astype(np.intp, copy=False)
        else:
            index = np.arange(n, dtype=np.intp)
        yield index[: (total - done) * batch_size]
        done += epoch_steps


class _Run:
    """The chunks of one training run, sized so that each takes about CHUNK_SECONDS."""

    def __init__(
        self,
        net: "NeuralNetwork",
        x: NDArray[Any],
        t: NDArray[Any],
        weights: NDArray[np.float64] | None,
        batch_size: int,
        lr: float,
        history: History,
    ) -> None:
        self.net, self.data, self.batch_size, self.lr, self.history = net, (x, t, weights), batch_size, lr, history
        self.steps = 1

    def epoch(self, index: NDArray[np.intp], bar: Any) -> None:
        """Run the updates of one epoch."""
        start = 0
        while start < len(index):
            part = index[start : start + self.steps * self.batch_size]
            losses = np.empty(-(-len(part) // self.batch_size))
            before = time.perf_counter()
            done = self.net.core.train(*self.data, part, self.batch_size, self.lr, losses)
            elapsed = time.perf_counter() - before
            self.history.train_seconds += elapsed
            self.history.loss = np.append(self.history.loss, losses[:done])
            if done < len(losses):
                raise FloatingPointError(
                    f"the loss became {losses[done]} at iteration {self.history.iterations + 1} with learning rate "
                    f"{self.lr}, expected a finite loss: try a smaller learning rate"
                )
            start += len(part)
            bar.update(done)
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False, **self.shown())
            # at most 8 times more than last time: the first chunks are too short to be measured well
            per_step = max(elapsed / done, 1e-9)
            self.steps = max(1, min(8 * self.steps, int(CHUNK_SECONDS / per_step)))

    def shown(self) -> dict[str, str]:
        """The last test figure, for the progress bar."""
        if self.history.test_accuracy:
            return {"accuracy": f"{self.history.test_accuracy[-1]:.4f}"}
        return {}


def _recorder(net: "NeuralNetwork", history: History, train: Any, test: Any) -> Callable[[Any], None]:
    """Returns the function that evaluates the network after an epoch."""
    if test is None:
        return lambda bar: None

    def are_classes(t: NDArray[Any]) -> bool:
        return t.ndim == 1 or (net.n_out > 1 and bool(((t == 0) | (t == 1)).all() and (t.sum(axis=1) == 1).all()))

    classes = are_classes(train[1]) and are_classes(test[1])

    def record(bar: Any) -> None:
        history.epoch_ends.append(history.iterations)
        for name, (x, t) in (("train", train), ("test", test)):
            if classes:
                getattr(history, f"{name}_accuracy").append(net.accuracy(net._outputs(x), t))
            else:
                getattr(history, f"{name}_loss").append(net.core.loss(x, t))

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
