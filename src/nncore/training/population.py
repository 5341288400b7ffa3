"""fit_many: many networks on the same data, each on a core of its own."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nncore.core import checks, notices, threads
from nncore.data.samples import Data
from nncore.model.model import Model
from nncore.training.early_stopping import EarlyStopping
from nncore.training.fit import prepare
from nncore.training.history import History
from nncore.training.progress import NoBar, bar_of
from nncore.training.run import Run
from nncore.training.schedules import Schedule
from nncore.training.settings import FitSettings
from nncore.training.update_rule import Optimizer

# The progress bar, and on some systems Ctrl-C, are looked at this often.
POLL_SECONDS = 0.1

Callbacks = Sequence[Callable[[History], Any]]


def fit_many(
    networks: Iterable[Model],
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: str | Optimizer | Sequence[str | Optimizer | None] | None = None,
    batch_size: int | Sequence[int | None] | None = None,
    epochs: int | Sequence[int | None] | None = None,
    iterations: int | Sequence[int | None] | None = None,
    sampling: str | Sequence[str] = "shuffle",
    schedule: str | Schedule | Sequence[str | Schedule | None] | None = None,
    clip_norm: float | Sequence[float | None] | None = None,
    clip_value: float | Sequence[float | None] | None = None,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Any = None,
    metrics: Sequence[str | Callable[[Any, Any], float]] | None = None,
    early_stopping: int | EarlyStopping | Sequence[int | EarlyStopping | None] | None = None,
    callbacks: Callbacks | Sequence[Callbacks] = (),
    n_jobs: int | None = None,
    progress: bool | str = "auto",
    rng: int | np.random.Generator | None = None,
) -> list[History]:
    """Train a population of networks on the same data, one a thread at a time.

    The data are checked, converted and compressed once, and shared; only of a large numpy.memmap has each network that
    trains a window of its own. What comes out is, bit by bit, what ``network.fit`` gives for each by itself, whatever
    n_jobs is.

    Parameters
    ----------
    networks : iterable of NeuralNetwork
        All different, with the same numbers of inputs and outputs. Put those first that take longest.
    X, y, validation_data, sample_weight, class_weight, metrics
        As in NeuralNetwork.fit, for all.
    optimizer, batch_size, epochs, iterations, sampling, schedule, clip_norm, clip_value, early_stopping
        As in NeuralNetwork.fit: one for all, or a list or tuple with one a network.
    callbacks : sequence of callable, or of such sequences
        For all, or one sequence a network. They are called by the threads, with the History of the network at hand.
    n_jobs : int, optional
        Networks trained at a time: by default as many as threads with ``n_threads="auto"`` of fit; -1 is one a CPU, -2
        one less.
    progress : bool or "auto"
        One progress bar over the updates of all.
    rng : int or numpy.random.Generator, optional
        For sampling: network i gets item i of ``numpy.random.default_rng(rng).spawn(len(networks))``. By default each
        uses its own.

    Returns
    -------
    list of History
        One a network. Where training failed, ``error`` is the exception, such as FloatingPointError for a loss that is
        not finite; the other networks are not touched by it. After Ctrl-C all stop soon, with a warning, and those that
        were not done are ``interrupted``; a second one within a second is raised again.

    Raises
    ------
    TypeError, ValueError
        For data or settings that do not fit, a network that is there twice, or two that share a random generator
        without rng; nothing has changed then.
    SystemExit, or another exception that is no Exception
        If a callback raises it: the others stop as after Ctrl-C.

    Examples
    --------
    Three learning rates, of which one is too large:

    >>> from nncore import SGD, Layer, NeuralNetwork, fit_many, load_digits
    >>> (x, t), test = load_digits()
    >>> rates = [0.001, 0.05, 5.0]
    >>> networks = [NeuralNetwork([Layer(64, 16, "relu", init="he"), Layer(16, 10)], rng=0) for _ in rates]
    >>> histories = fit_many(
    ...     networks, x, t, optimizer=[SGD(lr) for lr in rates], epochs=10, validation_data=test, rng=0
    ... )
    >>> [type(history.error).__name__ for history in histories]
    ['NoneType', 'NoneType', 'FloatingPointError']
    >>> done = [i for i, history in enumerate(histories) if history.error is None]
    >>> rates[max(done, key=lambda i: histories[i].test_accuracy[-1])]
    0.05
    """
    nets = _population(networks, shared_rng=rng is not None)
    n_threads = min(_n_jobs(n_jobs), len(nets))
    one_each = bool(callbacks) and all(isinstance(some, (list, tuple)) for some in callbacks)
    each: dict[str, list[Any]] = {
        "optimizer": _each(optimizer, "optimizer", nets),
        "batch_size": _each(batch_size, "batch_size", nets),
        "epochs": _each(epochs, "epochs", nets),
        "iterations": _each(iterations, "iterations", nets),
        "sampling": _each(sampling, "sampling", nets),
        "schedule": _each(schedule, "schedule", nets),
        "clip_norm": _each(clip_norm, "clip_norm", nets),
        "clip_value": _each(clip_value, "clip_value", nets),
        "early_stopping": _each(early_stopping, "early_stopping", nets),
        "callbacks": _each(callbacks, "callbacks", nets) if one_each else [callbacks] * len(nets),
    }
    given = [
        FitSettings(metrics=metrics, n_threads=1, **{name: values[i] for name, values in each.items()})
        for i in range(len(nets))
    ]
    generator = checks.generator(rng)
    runs = _prepared(nets, Data(nets[0], X, y, validation_data, sample_weight, class_weight), given)
    with bar_of(progress, sum(run.settings.total for run in runs)) as bar:
        if rng is not None:
            for run, child in zip(runs, generator.spawn(len(runs)), strict=True):
                run.plan.rng = child
        histories = _train_all(runs, n_threads, bar)
    interrupted = sum(history.interrupted for history in histories)
    if interrupted:
        notices.interrupted(f"Ctrl-C ended this fit_many: {interrupted} of {len(histories)} networks were not done")
    return histories


def _population(networks: Iterable[Model], *, shared_rng: bool) -> list[Model]:
    """Return the networks as a list, if they can be trained side by side on the same data."""
    if not isinstance(networks, Iterable):
        raise TypeError(f"networks is a {type(networks).__name__}, expected a list of NeuralNetwork")
    nets = list(networks)
    if not nets:
        raise ValueError("networks is empty, expected at least one NeuralNetwork")
    place: dict[int, int] = {}
    generator: dict[int, int] = {}
    for i, net in enumerate(nets):
        if not isinstance(net, Model):
            raise TypeError(f"networks[{i}] is a {type(net).__name__}, expected a NeuralNetwork")
        first = place.setdefault(id(net), i)
        if first != i:
            raise ValueError(f"networks[{i}] is networks[{first}] again, expected different ones: copy.copy makes one")
        first = generator.setdefault(id(net.rng.bit_generator), i)
        if first != i and not shared_rng:
            raise ValueError(
                f"networks[{i}] has the random generator of networks[{first}], expected one each, or rng for fit_many"
            )
        if (net.n_in, net.n_out) != (nets[0].n_in, nets[0].n_out):
            raise ValueError(
                f"networks[{i}] has {net.n_in} inputs and {net.n_out} outputs, "
                f"expected {nets[0].n_in} and {nets[0].n_out} as networks[0]"
            )
    return nets


def _prepared(nets: list[Model], data: Data, given: list[FitSettings]) -> list[Run]:
    """Return the runs of all networks; an error says which network it is about."""
    runs = []
    for i, (net, settings) in enumerate(zip(nets, given, strict=True)):
        try:
            data.expect_for(net)
            runs.append(prepare(net, data, settings))
        except (TypeError, ValueError) as error:
            error.add_note(f"This is about networks[{i}].")
            raise
    return runs


def _n_jobs(n_jobs: int | None) -> int:
    """Return a number of threads of Python's: these need no OpenMP, and may be started after a fork."""
    if n_jobs is None:
        return threads.limited()
    jobs = checks.jobs(n_jobs)
    return jobs if jobs > 0 else max(1, threads.cpus() + 1 + jobs)


def _each(value: Any, name: str, nets: list[Model]) -> list[Any]:
    """Return one value a network, out of a list of them or one for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * len(nets)
    if len(value) != len(nets):
        raise ValueError(f"{name} has {len(value)} items, expected {len(nets)}, one a network")
    return list(value)


class _Stop(NoBar):
    """Stands in for a run's progress bar, and ends the run as Ctrl-C would once that is pressed."""

    def __init__(self) -> None:
        self.pressed = threading.Event()
        self._count, self._changed = 0, threading.Condition()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count one network as training within."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until none trains.

        A pool does not know of a thread that was starting when Ctrl-C came, and leaves without it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)

    def update(self, n: int) -> None:
        if self.pressed.is_set():
            raise KeyboardInterrupt


def _train_all(runs: list[Run], n_threads: int, bar: Any) -> list[History]:
    """Train all, while this thread shows the progress and waits for Ctrl-C."""
    histories, stop = [run.history for run in runs], _Stop()
    for history in histories:
        history.interrupted = True  # until its turn comes: Ctrl-C may be earlier
    with ThreadPoolExecutor(n_threads, thread_name_prefix="nncore") as pool:
        try:
            left = {pool.submit(_train, run, stop) for run in runs}
            runs.clear()  # what a run needs is free when it ends
            _watch(left, histories, bar)
        except KeyboardInterrupt:
            pass
        finally:
            stop.pressed.set()
    stop.wait()
    return histories


def _train(run: Run, stop: _Stop) -> None:
    """Train one network, unless Ctrl-C was pressed before."""
    with stop.training():
        if not stop.pressed.is_set():
            _train_now(run, stop)


def _train_now(run: Run, stop: _Stop) -> None:
    """Train one network; what goes wrong stands in its history, what is to end the process ends the others first."""
    run.history.interrupted = False
    try:
        run.train(stop)
    except Exception as error:
        run.history.error = error
    except BaseException as error:
        run.history.interrupted, run.history.ended = True, type(error).__name__
        stop.pressed.set()
        raise
    if run.history.interrupted:  # a callback pressed Ctrl-C
        stop.pressed.set()


def _watch(left: set[Future[None]], histories: list[History], bar: Any) -> None:
    """Show how far all are, until the last is done."""
    shown = 0
    while left:
        ready, left = wait(left, POLL_SECONDS)
        for future in ready:
            future.result()
        done = sum(history.iterations for history in histories)
        bar.set_postfix(networks=f"{len(histories) - len(left)}/{len(histories)}", refresh=False)
        bar.update(done - shown)
        shown = done
