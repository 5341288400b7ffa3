"""The epochs of "sgd" and "adam": scikit-learn's order of samples, rates, scores and end of training."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from nncore.core import notices
from nncore.core.checks import largest
from nncore.core.threads import BLAS_THREADED_MACS, STEP_MACS_PER_THREAD, Pace, choices, single_threaded_blas, usable
from nncore.data.samples import Data
from nncore.estimators.descent import Descent
from nncore.estimators.progress import Progress
from nncore.estimators.tasks import Tasks
from nncore.network import NeuralNetwork
from nncore.training.divergence import Watch, scale_of_inputs, scale_of_targets

Array = NDArray[Any]

# Below this rate "adaptive" stops.
SMALLEST_RATE = 1e-6
# Samples from one look for divergence to the next: an epoch has Python's share already.
LOOK_SAMPLES = 4096
# Mean weights below one in so many are named where training diverges: the penalty is divided by them.
SMALL_WEIGHTS = 100


class Epochs:
    """The epochs of one fit by "sgd" or "adam": scikit-learn's order of samples, and when it ends.

    train holds the numbers of the samples to train on; validated returns the score of others after an epoch. tasks are
    None in partial_fit, which makes one epoch.
    """

    def __init__(
        self,
        progress: Progress,
        net: NeuralNetwork,
        data: Data,
        train: NDArray[np.intp],
        validated: Callable[[], float] | None,
        rng: np.random.RandomState,
        tasks: Tasks | None,
    ) -> None:
        self.progress, self.net, self.validated, self.rng, self.tasks = progress, net, validated, rng, tasks
        self.batch_size = progress._samples_a_step(len(train))
        if tasks is not None or not hasattr(progress, "_optimizer"):
            progress._optimizer = Descent(progress, net.n_params, net.dtype)
        self.optimizer = progress._optimizer
        self.max_iter = 1 if tasks is None else progress.max_iter
        self.data = data.rows(net, self.max_iter * len(train)), data.t, data.weights
        self.rows, self.least = train, progress._least_losses(data.t)
        self.starts = np.arange(0, len(train), self.batch_size)
        self.sizes = np.diff(self.starts, append=len(train))
        self.losses = np.empty(len(self.starts))
        macs = self.batch_size * net.n_params
        self.pace = Pace(choices(progress.n_threads, macs, STEP_MACS_PER_THREAD))
        self.best = net.core.params.copy()
        self.watch, self.look_every = Watch(net, data), -(-LOOK_SAMPLES // len(train))
        self.seed = int(rng.randint(2**31)) if net.core.has_dropout else 0

    def train(self) -> None:
        """Train until there is no improvement, Ctrl-C or the last epoch."""
        progress, ended, pressed = self.progress, False, False
        progress.n_iter_ = 0
        try:
            with single_threaded_blas(BLAS_THREADED_MACS):
                while not ended and progress.n_iter_ < self.max_iter:
                    ended = self.epoch()
            if not (progress.diverged_ or self.watch.is_sane()):
                self.diverged()
        except KeyboardInterrupt:
            pressed = True
        finally:
            if progress.early_stopping:
                self.net.core.params[:] = self.best
        if pressed:
            notices.interrupted(f"Ctrl-C ended training after epoch {progress.n_iter_}")
        elif self.tasks is not None and not progress.diverged_:
            self.tell(ended)

    def tell(self, ended: bool) -> None:
        """Warn of what makes the result doubtful: the cause that is known, before the advice to train for longer."""
        progress, scores = self.progress, np.array(self.progress.validation_scores_ or [1.0])
        message = progress._far_from_targets(self.net, self.watch.data, self.rows)
        if not message and not ended:
            message = f"max_iter is {self.max_iter}, expected more: the loss or score still improved in the last epochs"
        constant = (scores == scores[0]).all() or not np.isfinite(scores).any()
        waited = progress.early_stopping and progress._no_improvement_count > progress.n_iter_no_change
        if not message and waited and constant and scores[0] != 1:
            message = (
                f"early_stopping ended training after {len(scores)} epochs, in all of which the validation score was "
                f"{scores[0]:g}, expected a finite one that changes: it told nothing about the training"
            )
        if message:
            notices.warn(message, ConvergenceWarning)

    def epoch(self) -> bool:
        """Make one pass over the samples; returns whether it was the last one."""
        if self.tasks is not None:
            self.tasks.begin()
        if self.progress.shuffle:
            order = np.arange(len(self.rows))
            self.rng.shuffle(order)
            self.rows = self.rows[order]
        self.progress._least = self.least_loss()
        finite = self.descend()
        self.progress._record(float(self.losses @ self.sizes) / len(self.rows) if finite else math.nan)
        self.progress.t_ += len(self.rows)
        ended = self.is_last(self.score()) if finite and self.sane() else self.diverged()
        with self.net.core.pause():
            return (self.tasks is not None and self.tasks.end()) or ended

    def least_loss(self) -> float:
        """The mean over the batches of what is taken off their losses; by weights that depends on who is in which."""
        if self.least is None:
            return 0.0
        values, weights = self.least[self.rows], self.data[2]
        if weights is None:
            return float(values.mean())
        wholes = np.add.reduceat(weights[self.rows], self.starts)
        sums = np.add.reduceat(weights[self.rows] * values, self.starts)
        means = np.divide(sums, wholes, out=np.zeros(len(sums)), where=wholes > 0)
        return float(means @ self.sizes) / len(self.rows)

    def descend(self) -> bool:
        """Make the updates of an epoch, in calls of about 50 ms; returns whether all losses were finite."""
        first, size, optimizer = 0, len(self.rows), self.optimizer
        while first < len(self.starts):
            threads, steps = self.pace.next()
            last = min(first + steps, len(self.starts))
            begin, end = first * self.batch_size, min(last * self.batch_size, size)
            started = time.perf_counter()
            done = self.net.core.train(
                *self.data, self.rows[begin:end], begin, size, self.batch_size, optimizer.lr,
                self.losses[first:last], optimizer.settings, optimizer.state,
                seed=self.seed, first_step=optimizer.state.n_steps, n_threads=usable(threads),
            )  # fmt: skip
            if done < last - first:
                return False
            self.pace.took(threads, done, time.perf_counter() - started)
            first = last
        return True

    def sane(self) -> bool:
        """Look whether training has diverged, where it is time to look; returns whether it has not."""
        epoch = self.progress.n_iter_
        if epoch % self.look_every:
            return self.validated is None or math.isfinite(largest(self.net.core.params))
        if not self.watch.is_sane():
            return False
        self.watch.keep(epoch)
        return True

    def score(self) -> float:
        """The score that early stopping goes by, of the validation samples, which is recorded; else minus the loss."""
        progress = self.progress
        if self.validated is None:
            return -progress.loss_
        value = self.validated()
        progress._record_score(value)
        return value if progress.early_stopping else -progress.loss_

    def is_last(self, score: float) -> bool:
        """Count epochs without a better score, NaN and infinity among them; returns whether so many end training."""
        progress, early = self.progress, self.progress.early_stopping
        best = self.best_score()
        no_better = not math.isfinite(score) or score < best + progress.tol
        progress._no_improvement_count = progress._no_improvement_count + 1 if no_better else 0
        if not math.isfinite(score):
            return not self.goes_on()
        if score > best and early:
            progress.best_validation_score_ = score
            self.best[:] = self.net.core.params
        elif score > best:
            progress.best_loss_ = -score
        return not self.goes_on()

    def best_score(self) -> float:
        """The highest score so far."""
        if self.progress.early_stopping:
            score = self.progress.best_validation_score_
            return -math.inf if score is None else score
        return -math.inf if self.progress.best_loss_ is None else -self.progress.best_loss_

    def goes_on(self) -> bool:
        """Set the rate; returns whether there was an improvement of late, or a smaller rate may bring one."""
        progress = self.progress
        schedule = progress.learning_rate if progress.solver == "sgd" else "constant"
        if schedule == "invscaling":
            self.optimizer.learning_rate = progress.learning_rate_init / (progress.t_ + 1) ** progress.power_t
        if progress._no_improvement_count <= progress.n_iter_no_change:
            return True
        lower = schedule == "adaptive" and self.optimizer.lr > SMALLEST_RATE
        if lower:
            progress._no_improvement_count = 0
            self.optimizer.learning_rate = self.optimizer.lr / 5
        if progress.verbose:
            what = "Validation score" if progress.early_stopping else "Training loss"
            then = f"learning rate {self.optimizer.lr:g}" if lower else "stopping"
            print(f"{what} not better by tol={progress.tol:g} for {progress.n_iter_no_change} epochs: {then}")
        return lower

    def diverged(self) -> bool:
        """Go back to the last sane parameters, or the best with early stopping, and say so.

        An error where there are none and the loss is not finite, as in scikit-learn.
        """
        progress, watch = self.progress, self.watch
        finite = math.isfinite(progress.loss_) and math.isfinite(largest(self.net.core.params))
        what = "training has diverged" if finite else "the loss is not finite"
        message = f"{what} in epoch {progress.n_iter_}: scale X and y, or lower learning_rate_init ({self.causes()})"
        watch.go_back()
        progress.diverged_ = True
        if progress.early_stopping:
            progress._record_score(math.nan)
            notices.warn(f"{message}; the best parameters so far are kept", ConvergenceWarning)
            return True
        if not finite and watch.kept_at == watch.first:
            raise ValueError(message)
        # the curve goes on from earlier fits with warm_start
        progress.loss_ = progress.loss_curve_[watch.kept_at - 1 - progress.n_iter_] if watch.kept_at else math.nan
        kept = f"after epoch {watch.kept_at}" if watch.kept_at else "at the start"
        notices.warn(f"{message}; the parameters {kept} are kept", ConvergenceWarning)
        return True

    def causes(self) -> str:
        """The likely causes: which numbers are large, and which parameters grew most."""
        _, t, weights = self.data
        causes = [scale_of_inputs(self.net, self.watch.data.x), scale_of_targets(self.net, t), self.watch.layer()]
        if weights is not None and self.progress.alpha and weights.sum() < len(weights) / SMALL_WEIGHTS:
            share = len(weights) / weights.sum()
            causes.append(f"sample_weight makes alpha count {share:.3g} times, as its mean is {1 / share:.3g}, not 1")
        return "; ".join(filter(None, causes))
