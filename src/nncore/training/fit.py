"""fit: epochs of many compiled steps, with what Python does between them."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks, mapped, notices
from nncore.core import threads as _threads
from nncore.core.dispatch import compressed
from nncore.core.dispatch import optimizer as core_optimizer
from nncore.data import inputs as _inputs
from nncore.data.samples import Data
from nncore.model.model import Model
from nncore.training import schedules as rates
from nncore.training.divergence import Watch, looks_apart
from nncore.training.early_stopping import early_stopping as as_stopping
from nncore.training.epoch_end import EpochEnd
from nncore.training.evaluation import Evaluation
from nncore.training.history import History
from nncore.training.optimizers import LBFGS, Optimizer, Rule, State, by_name

if TYPE_CHECKING:
    from nncore.files.checkpoints import Checkpoint

SAMPLINGS = ("shuffle", "replacement", "sequential")
CHUNK_SECONDS = _threads.CALL_SECONDS
EPOCHS_TOGETHER = 1 << 16  # samples
# Learning rates are computed so many at a time from a multiple of it on: their last bits may depend on their place.
RATES_TOGETHER = 1 << 10


def fit(
    net: Model,
    X: ArrayLike,
    y: ArrayLike,
    *,
    validation_data: tuple[ArrayLike, ArrayLike] | None,
    sample_weight: ArrayLike | None,
    class_weight: Any,
    progress: bool | str,
    checkpoint: Any,
    checkpoint_every: Any,
    resume: bool,
    **settings: Any,
) -> History:
    """NeuralNetwork.fit, which says what the arguments are: everything is checked before anything changes."""
    data = Data(net, X, y, validation_data, sample_weight, class_weight)
    settings["optimizer"] = by_name(settings["optimizer"])
    if isinstance(settings["optimizer"], LBFGS):
        from nncore.training import lbfgs

        history = lbfgs.fit(net, data, progress=progress, checkpoint=checkpoint, resume=resume, **settings)
    else:
        run = prepare(net, data, **settings)
        if checkpoint is None and resume:
            raise ValueError("resume is True and checkpoint is None, expected the path of a checkpoint")
        kept = contextlib.nullcontext() if checkpoint is None else run.keep(data, checkpoint, checkpoint_every, resume)
        with kept, bar_of(progress, run.total) as bar:
            history = run.train(bar)
    if history.interrupted:
        notices.interrupted(f"Ctrl-C ended this fit after {history.iterations:,} iterations")
    return history


def prepare(
    net: Model,
    data: Data,
    *,
    optimizer: Optimizer,
    batch_size: int | None,
    epochs: int | None,
    iterations: int | None,
    sampling: str,
    schedule: Any,
    clip_norm: float | None,
    clip_value: float | None,
    metrics: Iterable[Any] | None,
    early_stopping: Any,
    callbacks: Sequence[Callable[[History], Any]],
    n_threads: int | str,
    rng: int | np.random.Generator | None,
) -> "_Run":
    """Check the settings; nothing changes before the run trains."""
    n = len(data.x)
    net.expect_finite()
    net.expect_unweighted(data.weights)  # again: others of a population share the data
    batch_size = min(32, n) if batch_size is None else checks.positive_int(batch_size, "batch_size")
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, expected at most {n}, the number of samples")
    if epochs is not None and iterations is not None:
        raise ValueError(f"epochs is {epochs} and iterations is {iterations}, expected only one of them")
    checks.choice(sampling, "sampling", SAMPLINGS)
    callbacks = checks.callables(callbacks, "callbacks")
    optimizer = by_name(optimizer)
    checks.instance(optimizer, "optimizer", Optimizer, "an optimizer such as SGD(lr=0.1)")
    checks.positive_float(optimizer.lr, "the optimizer's lr")
    large = mapped.is_large(data.x)
    windows = mapped.Windows(data.x, data.t, data.weights, batch_size) if large else None
    plan = _Plan(n, batch_size, sampling, net.rng if rng is None else checks.generator(rng), windows)
    plan.seed = int(rng) if isinstance(rng, (int, np.integer)) else None  # what a run that goes on must have
    if iterations is None:
        total = plan.steps * checks.positive_int(10 if epochs is None else epochs, "epochs")
    else:
        total = checks.positive_int(iterations, "iterations")
    threads = _threads.choices(n_threads, batch_size * net.n_params, _threads.STEP_MACS_PER_THREAD)
    follow = schedule if schedule is None else rates.schedule(schedule)
    clip = [
        0.0 if value is None else checks.positive_float(value, name)
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value))
    ]
    evaluation = Evaluation(net, (data.x, data.true), data.test, metrics)
    after = EpochEnd(net, History(), evaluation, follow, as_stopping(early_stopping), callbacks)
    return _Run(net, data, plan, optimizer, total, threads, follow, clip, after)


def rule_and_state(net: Model, optimizer: Optimizer) -> tuple[Rule, State]:
    """Its settings, and its state for this network: that of before if it was with this very object, else a new one."""
    used, state = net.trained_with
    if used is not optimizer:
        checks.instance(optimizer, "optimizer", Optimizer, "an optimizer such as SGD(lr=0.1)")
        state = None
    rule = optimizer._rule()
    if state is None or len(state.vectors) != core_optimizer.STATE_VECTORS[rule[0]]:
        state = optimizer._state(net.n_params, net.dtype)
        net.trained_with = optimizer, state
    return rule, state


class _Plan:
    """Which samples an epoch takes, in which order."""

    def __init__(
        self,
        n: int,
        batch_size: int,
        sampling: str,
        rng: np.random.Generator,
        windows: mapped.Windows | None = None,
    ) -> None:
        self.n, self.batch_size, self.sampling, self.rng, self.windows = n, batch_size, sampling, rng, windows
        self.seed: int | None = None
        # updates and samples of one epoch
        self.steps = max(n // batch_size, 1) if sampling == "replacement" else -(-n // batch_size)
        self.size = self.steps * batch_size if sampling == "replacement" else n
        # epochs that may be drawn at once
        self.together = 1 if windows else max(1, EPOCHS_TOGETHER // self.size)

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """Samples of each batch of an epoch."""
        sizes = np.full(self.steps, float(self.batch_size))
        sizes[-1] = self.size - (self.steps - 1) * self.batch_size
        return sizes

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

    What a checkpoint holds of it, besides network and history: epoch, where the epochs at hand began and how the
    generator stood there, and seed, the key of the dropout masks.
    """

    def __init__(
        self,
        net: Model,
        data: Data,
        plan: _Plan,
        optimizer: Optimizer,
        total: int,
        threads: tuple[int, ...],
        schedule: rates.Schedule | None,
        clip: Sequence[float],
        after: EpochEnd,
    ) -> None:
        self.net, self.plan, self.optimizer, self.total = net, plan, optimizer, total
        self.schedule, self.after, self.history = schedule, after, after.history
        self.clip_norm, self.clip_value = clip
        rows = data.rows(net, total * plan.batch_size)
        if isinstance(rows, compressed.CompressedRows):
            self.history.density = len(rows.values) / data.x.size
        self.given, self.data = data, (rows, data.t, data.weights)
        self.look_every = max(1, looks_apart(net.n_params) // plan.batch_size)
        # nothing to do between epochs: small ones go to the core several at a time
        self.together = 1 if after.needed else plan.together
        self.losses = _one_each(total)
        self.rates = _one_each(total) if schedule else None
        self.epoch: dict[str, Any] | None = None
        self.seed = 0
        self.checkpoint: Checkpoint | None = None
        self.resumed: Any = None
        self.pace = _threads.Pace(threads, CHUNK_SECONDS)

    @contextlib.contextmanager
    def keep(self, data: Data, path: Any, every: Any, resume: bool) -> Iterator[None]:
        """Write checkpoints, and perhaps go on from the last; nothing changes before the run trains."""
        from nncore.files import checkpoints as checkpoint

        self.fingerprint = checkpoint.fingerprint(self, data)
        self.checkpoint = checkpoint.Checkpoint(path, every)
        with self.checkpoint:
            if resume:
                self.resumed = self.checkpoint.read(self)
            yield

    def train(self, bar: Any) -> History:
        """All epochs, or as far as Ctrl-C, early stopping and the callbacks let them come."""
        with self.net.core.training("fit"):
            return self._train(bar)

    def _train(self, bar: Any) -> History:
        begin = self._start()
        history = self.history
        self.started = time.perf_counter() - history.seconds
        with _threads.single_threaded_blas(_threads.BLAS_THREADED_MACS):
            try:
                bar.update(history.iterations)
                while begin < self.total and not self.after.stops:
                    self._record(self._epochs(begin, bar))
                    begin, history.seconds = history.iterations, self._elapsed()
                    if self.after.call_back():
                        history.ended = "a callback"
                        break
                if self.after.stops:
                    history.ended = self.after.why_stopped()
                if not self.watch.is_sane():
                    self._fail()
            except KeyboardInterrupt:
                history.interrupted, history.ended = True, "Ctrl-C"
            finally:
                history.seconds = self._elapsed()
            if self.checkpoint and self.epoch and self.after.settled:
                self.checkpoint.finish(self)
        self.after.restore_best()
        return history

    def _record(self, shares: NDArray[Any]) -> None:
        """Measure after an epoch; where a parameter is not finite any more, training has diverged."""
        try:
            self.after.record(shares)
        except ValueError:
            if not math.isfinite(checks.largest(self.net.core.params)):
                self._fail()
            raise

    def _start(self) -> int:
        """Begin, or go on from a checkpoint; returns at which iteration the epoch at hand began."""
        if self.resumed is None:
            self._rates(0, 1)  # what a schedule of the user's gives wrongly is refused before anything changes
            self.state = rule_and_state(self.net, self.optimizer)[1]
            if self.net.core.has_dropout:
                self.seed = int(self.plan.rng.integers(1 << 63))
        else:
            from nncore.files import checkpoints as checkpoint

            checkpoint.restore(self, self.resumed)
        done = self.history.iterations
        _inputs.trained_on(self.net, self.given.kind)
        self.watch = Watch(self.net, self.given, done)
        if self.checkpoint:
            self.checkpoint.start(done)
        return self._rewound(done)

    def _rewound(self, done: int) -> int:
        """Where the epoch begins that the iterations done end in, with the generator as it was then."""
        if self.epoch is None:
            return 0
        begin, steps = self.epoch["begin"], self.plan.steps
        self.plan.rng.bit_generator.state = self.epoch["rng"]
        whole = -(-(done - begin) // steps) if self.after.recorded else (done - begin - 1) // steps
        for _ in range(whole):
            self.plan.epoch()
        return done if self.after.recorded else begin + max(whole, 0) * steps

    def _epochs(self, begin: int, bar: Any) -> NDArray[Any]:
        """Run the rest of the epochs that began at this iteration: as many as go together, as far as the total.

        Returns what the loss of each batch counts.
        """
        plan = self.plan
        if self.checkpoint:
            self.epoch = {"begin": begin, "rng": plan.rng.bit_generator.state}
        count = min(self.together, -(-(self.total - begin) // plan.steps))
        index = np.concatenate([plan.epoch() for _ in range(count)])
        done, steps = self.history.iterations - begin, min(count * plan.steps, self.total - begin)
        shares = self._shares(index, steps)
        if plan.windows is None:
            self._steps(index, done, steps, bar)
            return shares
        window = plan.windows.size // plan.batch_size
        for first in range(done // window * window, steps, window):
            last = min(first + window, steps)
            self.data = plan.windows.load(index[plan.sample_at(first) : plan.sample_at(last)])
            self._steps(index, max(first, done), last, bar)
        return shares

    def _shares(self, index: NDArray[np.intp], steps: int) -> NDArray[Any]:
        """What the loss of each batch of an epoch counts: its samples, or their weights."""
        if not self.after.needed:
            return np.empty(0)
        plan, weights = self.plan, self.given.weights
        if weights is None or weights.ndim == 2:
            return plan.sizes[:steps]
        starts = np.arange(0, steps * plan.batch_size, plan.batch_size)
        return np.add.reduceat(weights[index[: plan.sample_at(steps)]], starts)

    def _steps(self, index: NDArray[np.intp], first: int, last: int, bar: Any) -> None:
        """The updates first to last of these epochs, chunk by chunk."""
        while first < last:
            threads, chunk = self.pace.next()
            self.history.n_threads = self.pace.found
            chunk = min(chunk, self.look_every - self.history.iterations % self.look_every)
            if self.checkpoint:
                chunk = min(chunk, self.checkpoint.steps_left(self.history.iterations))
            end = min(first + chunk, last)
            self._chunk(index, first, end, threads, bar)
            first = end
            if self.history.iterations % self.look_every == 0:
                self._look()
            if self.checkpoint and self.checkpoint.due(self.history.iterations):
                if not self.watch.is_sane():
                    self._fail()
                self.history.seconds = self._elapsed()
                self.checkpoint.write(self)

    def _look(self) -> None:
        """That training has not diverged: these parameters are the ones to go back to."""
        if not self.watch.is_sane():
            self._fail()
        self.watch.keep(self.history.iterations)

    def _elapsed(self) -> float:
        """Seconds since the start, and before it in the runs that this one goes on with."""
        return time.perf_counter() - self.started

    def _chunk(self, index: NDArray[np.intp], first: int, last: int, threads: int, bar: Any) -> None:
        """The updates first to last of these epochs: one call of the core."""
        plan, history, core = self.plan, self.history, self.net.core
        begin, end = plan.sample_at(first), plan.sample_at(last)
        n_steps, done_before = last - first, history.iterations
        losses = self.losses[done_before : done_before + n_steps]
        lr = self._rates(done_before, done_before + n_steps)
        core.steps_done = 0
        before = time.perf_counter()
        try:
            core.train(
                *self.data, index[begin:end], begin % plan.size, plan.size, plan.batch_size, lr, losses,
                self.optimizer._rule(), self.state, clip_norm=self.clip_norm, clip_value=self.clip_value,
                seed=self.seed, first_step=done_before, n_threads=_threads.usable(threads),
            )  # fmt: skip
        finally:
            # Ctrl-C is raised when the core returns: what it did counts
            done = core.steps_done
            elapsed = time.perf_counter() - before
            history.train_seconds += elapsed
            history.lr = None if self.rates is None else self.rates[: done_before + done]
            history.loss = self.losses[: done_before + done]
            history.epochs = -(-history.iterations // plan.steps)
        if done < n_steps:
            self._fail(self.losses[history.iterations])
        bar.update(done)
        accuracy = {"accuracy": f"{history.test_accuracy[-1]:.4f}"} if history.test_accuracy else {}
        bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False, **accuracy)
        self.pace.took(threads, done, elapsed)

    def _rates(self, first: int, last: int) -> Any:
        """The learning rates of these iterations: one number without a schedule."""
        if self.schedule is None or self.rates is None:
            return self.optimizer.lr
        begin = first // RATES_TOGETHER * RATES_TOGETHER
        end = min(-(-last // RATES_TOGETHER) * RATES_TOGETHER, self.total)
        factors = np.asarray(self.schedule.factors(begin, end, self.total), np.float64)
        if factors.shape != (end - begin,) or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"{self.schedule} gave an array of shape {factors.shape} for iterations {begin} to {end}, "
                f"expected {end - begin} finite numbers of 0 or more"
            )
        self.rates[first:last] = self.optimizer.lr * factors[first - begin : last - begin]
        return self.rates[first:last]

    def _fail(self, loss: float | None = None) -> None:
        """Raise what says that training has diverged, and go back to where it had not.

        loss: one that is not finite; None: the watch saw it.
        """
        watch, iterations = self.watch, self.history.iterations
        rate = self._rate_at(iterations if loss is not None else max(iterations - 1, 0))
        if loss is not None:
            what = f"the loss became {loss} at iteration {iterations + 1}"
        elif math.isnan(watch.loss) and not np.isfinite(self.net.core.params).all():
            what = f"a parameter is not finite after iteration {iterations}"
        else:
            what = f"training has diverged: the mean loss was {watch.before:.3g}, and {watch.loss:.3g} after iteration "
            what += f"{iterations}"
        grown, advice = watch.layer(), watch.advice()
        kept = f"the parameters are again those after iteration {watch.kept_at}"
        if self.after.best_network is not None:
            kept = f"the parameters are again those of epoch {self.history.best_epoch}, the best"
        watch.go_back()
        self.after.restore_best()
        self.net.trained_with = self.optimizer, None  # its moments have grown as well
        raise FloatingPointError(
            f"{what} with learning rate {rate}, expected a finite loss that falls: {advice}; {grown}; {kept}"
        )

    def _rate_at(self, iteration: int) -> float:
        return self.optimizer.lr if self.rates is None else float(self.rates[iteration])


def _one_each(total: int) -> NDArray[np.float64]:
    """Room for a number of every iteration."""
    try:
        return np.empty(total)
    except (MemoryError, ValueError):
        raise ValueError(
            f"epochs or iterations ask for {total} updates, expected fewer: their losses need {8 * total:.3g} bytes"
        ) from None


class NoBar:
    """Stands in for the progress bar when none is shown."""

    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def update(self, n: int) -> None:
        """Take note of n more iterations."""

    def set_postfix(self, **values: Any) -> None:
        """Show these beside the bar."""


def bar_of(progress: bool | str, total: int) -> Any:
    """The progress bar, or what stands in for it."""
    if not (progress is True or progress is False or progress == "auto"):
        raise ValueError(f"progress is {progress!r}, expected True, False or 'auto'")
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        return NoBar()
    from tqdm import tqdm

    return tqdm(total=total, unit="it", dynamic_ncols=True)
