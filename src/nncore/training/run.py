"""One training run: its updates in chunks of about 50 ms, each one call of the core, with what Python does between."""

import math
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks, mapped, threads
from nncore.core.dispatch import sparse
from nncore.data import inputs
from nncore.data.samples import Data
from nncore.model.model import Model
from nncore.training.divergence import Watch, looks_apart
from nncore.training.epoch_end import EpochEnd
from nncore.training.history import History
from nncore.training.plan import Plan
from nncore.training.rates import Rates, one_each
from nncore.training.settings import RunSettings
from nncore.training.update_rule import rule_and_state, rule_of

CHUNK_SECONDS = threads.CALL_SECONDS


class Keeper(Protocol):
    """The keeper of a run's checkpoints, as the run knows it; iterations are counted from the run's first."""

    def restore(self, run: "Run") -> bool:
        """Make the run what it was at its last checkpoint; False where it begins anew."""

    def start(self, done: int) -> None:
        """Take note that the run goes on from here."""

    def steps_left(self, done: int) -> int:
        """Return the iterations until a checkpoint is due by their number."""

    def due(self, done: int) -> bool:
        """Return whether it is time for one."""

    def write(self, run: "Run") -> None:
        """Write one."""

    def finish(self, run: "Run") -> None:
        """Write the last one, unless it is there."""


class Run:
    """The chunks of one training run, sized so that each takes about CHUNK_SECONDS.

    Nothing changes before the run trains.

    Attributes
    ----------
    epoch : dict, or None
        Where the epochs at hand began, and how the generator stood there, for a keeper.
    seed : int
        The key of the dropout masks.
    """

    def __init__(self, net: Model, data: Data, settings: RunSettings, epoch_end: EpochEnd) -> None:
        self.net, self.data, self.settings = net, data, settings
        self.epoch_end, self.history = epoch_end, epoch_end.history
        self.plan = _plan(data, settings)
        rows = data.rows(net, settings.total * settings.batch_size)
        if isinstance(rows, sparse.CompressedRows):
            self.history.density = len(rows.values) / data.x.size
        self.samples = rows, data.t, data.weights
        self.look_every = max(1, looks_apart(net.n_params) // settings.batch_size)
        # nothing to do between epochs: small ones go to the core several at a time
        self.epochs_at_once = 1 if epoch_end.needed else self.plan.epochs_at_once
        self.losses = one_each(settings.total)
        self.rates = Rates(settings.optimizer, settings.schedule, settings.total)
        self.epoch: dict[str, Any] | None = None
        self.seed = 0
        self.keeper: Keeper | None = None
        self.pace = threads.Pace(settings.threads, CHUNK_SECONDS)

    def train(self, bar: Any) -> History:
        """Train for all epochs, or as far as Ctrl-C, early stopping and the callbacks let them come."""
        with self.net.core.training("fit"):
            return self._train(bar)

    def _train(self, bar: Any) -> History:
        begin = self._start()
        history = self.history
        self.started = time.perf_counter() - history.seconds
        with threads.single_threaded_blas(threads.BLAS_THREADED_MACS):
            try:
                bar.update(history.iterations)
                self._all_epochs(begin, bar)
                if not self.watch.is_sane():
                    self._fail()
            except KeyboardInterrupt:
                history.interrupted, history.ended = True, "Ctrl-C"
            finally:
                history.seconds = self._elapsed()
            if self.keeper and self.epoch and self.epoch_end.settled:
                self.keeper.finish(self)
        self.epoch_end.restore_best()
        return history

    def _start(self) -> int:
        """Begin, or go on from a checkpoint; return at which iteration the epoch at hand began."""
        if self.keeper is None or not self.keeper.restore(self):
            self.rates.between(0, 1)  # refuses what a schedule of the user's gives wrongly before anything changes
            self.state = rule_and_state(self.net, self.settings.optimizer)[1]
            if self.net.core.has_dropout:
                self.seed = int(self.plan.rng.integers(1 << 63))
        done = self.history.iterations
        inputs.trained_on(self.net, self.data.kind)
        self.watch = Watch(self.net, self.data, done)
        if self.keeper:
            self.keeper.start(done)
        return self._rewound(done)

    def _rewound(self, done: int) -> int:
        """Return where the epoch begins that the iterations done end in, with the generator as it was then."""
        if self.epoch is None:
            return 0
        begin, steps = self.epoch["begin"], self.plan.steps
        self.plan.rng.bit_generator.state = self.epoch["rng"]
        whole = -(-(done - begin) // steps) if self.epoch_end.recorded else (done - begin - 1) // steps
        for _ in range(whole):
            self.plan.epoch()
        return done if self.epoch_end.recorded else begin + max(whole, 0) * steps

    def _all_epochs(self, begin: int, bar: Any) -> None:
        """Run the epochs from the one that began at this iteration, until something ends the run."""
        history = self.history
        while begin < self.settings.total and not self.epoch_end.stops:
            self._record(self._epochs(begin, bar))
            begin, history.seconds = history.iterations, self._elapsed()
            if self.epoch_end.call_back():
                history.ended = "a callback"
                break
        if self.epoch_end.stops:
            history.ended = self.epoch_end.why_stopped()

    def _record(self, shares: NDArray[Any]) -> None:
        """Measure after an epoch; where a parameter is not finite any more, training has diverged."""
        try:
            self.epoch_end.record(shares)
        except ValueError:
            if not math.isfinite(checks.largest(self.net.core.params)):
                self._fail()
            raise

    def _epochs(self, begin: int, bar: Any) -> NDArray[Any]:
        """Run the rest of the epochs that began at this iteration: as many as go together, as far as the total.

        Returns what the loss of each batch counts.
        """
        plan, total = self.plan, self.settings.total
        if self.keeper:
            self.epoch = {"begin": begin, "rng": plan.rng.bit_generator.state}
        count = min(self.epochs_at_once, -(-(total - begin) // plan.steps))
        index = np.concatenate([plan.epoch() for _ in range(count)])
        done, steps = self.history.iterations - begin, min(count * plan.steps, total - begin)
        # before the windows replace the index by places in their buffer
        shares = plan.loss_weights(index, steps, self.data.weights) if self.epoch_end.needed else np.empty(0)
        if plan.windows is None:
            self._steps(index, done, steps, bar)
            return shares
        window = plan.windows.size // plan.batch_size
        for first in range(done // window * window, steps, window):
            last = min(first + window, steps)
            self.samples = plan.windows.load(index[plan.sample_at(first) : plan.sample_at(last)])
            self._steps(index, max(first, done), last, bar)
        return shares

    def _steps(self, index: NDArray[np.intp], first: int, last: int, bar: Any) -> None:
        """Make the updates first to last of these epochs, chunk by chunk."""
        history, keeper = self.history, self.keeper
        while first < last:
            n_threads, chunk = self.pace.next()
            history.n_threads = self.pace.found
            chunk = min(chunk, self.look_every - history.iterations % self.look_every)
            if keeper:
                chunk = min(chunk, keeper.steps_left(history.iterations))
            end = min(first + chunk, last)
            self._chunk(index, first, end, n_threads, bar)
            first = end
            if history.iterations % self.look_every == 0:
                self._look()
            if keeper and keeper.due(history.iterations):
                if not self.watch.is_sane():
                    self._fail()
                history.seconds = self._elapsed()
                keeper.write(self)

    def _chunk(self, index: NDArray[np.intp], first: int, last: int, n_threads: int, bar: Any) -> None:
        """Make the updates first to last of these epochs in one call of the core."""
        plan, settings, core = self.plan, self.settings, self.net.core
        begin, end = plan.sample_at(first), plan.sample_at(last)
        n_steps, done_before = last - first, self.history.iterations
        losses = self.losses[done_before : done_before + n_steps]
        lr = self.rates.between(done_before, done_before + n_steps)
        core.steps_done = 0
        before = time.perf_counter()
        try:
            core.train(
                *self.samples, index[begin:end], begin % plan.size, plan.size, plan.batch_size, lr, losses,
                rule_of(settings.optimizer), self.state, clip_norm=settings.clip_norm, clip_value=settings.clip_value,
                seed=self.seed, first_step=done_before, n_threads=threads.usable(n_threads),
            )  # fmt: skip
        finally:
            # Ctrl-C is raised when the core returns: what it did counts
            elapsed = time.perf_counter() - before
            self._note(done_before + core.steps_done, elapsed)
        done = core.steps_done
        if done < n_steps:
            self._fail(self.losses[self.history.iterations])
        self._show(done, losses[-1], bar)
        self.pace.took(n_threads, done, elapsed)

    def _note(self, done: int, seconds: float) -> None:
        """Note in the history that so many iterations are done, and how long the last call of the core took."""
        history = self.history
        history.train_seconds += seconds
        history.lr = None if self.rates.values is None else self.rates.values[:done]
        history.loss = self.losses[:done]
        history.epochs = -(-done // self.plan.steps)

    def _show(self, done: int, loss: float, bar: Any) -> None:
        """Show so many more iterations."""
        accuracies = self.history.test_accuracy
        bar.update(done)
        accuracy = {"accuracy": f"{accuracies[-1]:.4f}"} if accuracies else {}
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False, **accuracy)

    def _look(self) -> None:
        """Look whether training has diverged; if not, these parameters are the ones to go back to."""
        if not self.watch.is_sane():
            self._fail()
        self.watch.keep(self.history.iterations)

    def _elapsed(self) -> float:
        """Return the seconds since the start, with those of the runs that this one goes on with."""
        return time.perf_counter() - self.started

    def _fail(self, loss: float | None = None) -> None:
        """Go back to where training had not diverged, and raise the error that says it has.

        loss is one that is not finite; None where the watch saw it.
        """
        watch, iterations = self.watch, self.history.iterations
        rate = self.rates.at(iterations if loss is not None else max(iterations - 1, 0))
        what, grown, advice = self._what_diverged(loss), watch.layer(), watch.advice()
        kept = f"the parameters are again those after iteration {watch.kept_at}"
        if self.epoch_end.best_network is not None:
            kept = f"the parameters are again those of epoch {self.history.best_epoch}, the best"
        watch.go_back()
        self.epoch_end.restore_best()
        self.net.trained_with = self.settings.optimizer, None  # its moments have grown as well
        raise FloatingPointError(
            f"{what} with learning rate {rate}, expected a finite loss that falls: {advice}; {grown}; {kept}"
        )

    def _what_diverged(self, loss: float | None) -> str:
        watch, iterations = self.watch, self.history.iterations
        if loss is not None:
            return f"the loss became {loss} at iteration {iterations + 1}"
        if math.isnan(watch.loss) and not np.isfinite(self.net.core.params).all():
            return f"a parameter is not finite after iteration {iterations}"
        return (
            f"training has diverged: the mean loss was {watch.before:.3g}, and {watch.loss:.3g} after iteration "
            f"{iterations}"
        )


def _plan(data: Data, settings: RunSettings) -> Plan:
    """Return the plan of a run, with windows where the samples are many and in a file."""
    windows = None
    if mapped.is_large(data.x):
        windows = mapped.Windows(data.x, data.t, data.weights, settings.batch_size)
    return Plan(len(data.x), settings.batch_size, settings.sampling, settings.rng, windows, settings.seed)
