"""The epochs of MLPClassifier and MLPRegressor: scikit-learn's order of samples, rates, scores and end of training."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from nncore.core import notices
from nncore.core import threads as _threads
from nncore.core.blas import single_threaded_blas
from nncore.core.checks import largest
from nncore.core.pace import Pace
from nncore.data.samples import Data
from nncore.network import NeuralNetwork
from nncore.training.divergence import Watch, scale_of_inputs, scale_of_targets
from nncore.training.optimizers import Optimizer, Rule

if TYPE_CHECKING:
    from nncore.estimators.perceptron import Perceptron

Array = NDArray[Any]

# Below this rate "adaptive" stops.
SMALLEST_RATE = 1e-6
# Samples from one look for divergence to the next: an epoch has Python's share already.
LOOK_SAMPLES = 4096
# Mean weights below one in so many are named where training diverges: the penalty is divided by them.
SMALL_WEIGHTS = 100


class Descent(Optimizer):
    """scikit-learn's solvers "sgd" and "adam": the rule, the rate by now and the state."""

    def __init__(self, estimator: "Perceptron", net: NeuralNetwork) -> None:
        super().__init__(estimator.learning_rate_init, 0.0)
        if estimator.solver == "adam":
            self.settings = self._numbers("adam_hat", estimator.beta_1, estimator.beta_2, estimator.epsilon)
        else:
            kind = "nesterov" if estimator.nesterovs_momentum else "momentum"
            self.settings = self._numbers(kind if estimator.momentum else "sgd", estimator.momentum)
        self.state = self._state(net.n_params, net.dtype)

    def _rule(self) -> Rule:
        return self.settings

    @property
    def learning_rate(self) -> float:
        """The rate, by scikit-learn's name."""
        return self.lr

    @learning_rate.setter
    def learning_rate(self, lr: float) -> None:
        """The engine's velocities are sums of gradients, scikit-learn's of steps: those stay as they are."""
        self.state.vectors *= self.lr / lr
        self.lr = lr


@dataclass(eq=False)
class Validation:
    """Samples to score, and how."""

    X: Any
    y: Array
    weights: Array | None
    scorer: Callable[..., float] | None


class Tasks:
    """What is called after every epoch: the parameter callbacks, and those of scikit-learn's set_callbacks."""

    def __init__(self, estimator: "Perceptron", X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.known = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.fit: Any = None
        self.epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(**self.known)

    def begin(self) -> None:
        """An epoch begins."""
        if self.fit is not None and hasattr(self.estimator, "_skl_callbacks"):
            self.epoch = self.fit.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.known)

    def end(self) -> bool:
        """An epoch has ended; whether one of the callbacks ends training."""
        stops = [callback(self.estimator) is True for callback in self.estimator.callbacks]
        if self.epoch is not None:
            stops.append(self.epoch.call_on_fit_task_end(**self.known, reconstruction_attributes=self._copies))
        return any(stops)

    def close(self) -> None:
        """The fit has ended."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.known, reconstruction_attributes=self._copies)

    def _copies(self) -> dict[str, list[Array]]:
        """The parameters as they are now: training goes on changing them."""
        return {name: [a.copy() for a in getattr(self.estimator, name)] for name in ("coefs_", "intercepts_")}


class Epochs:
    """The epochs of one fit by "sgd" or "adam": scikit-learn's order of samples, and when it ends."""

    def __init__(
        self,
        estimator: "Perceptron",
        net: NeuralNetwork,
        data: Data,
        train: NDArray[np.intp],
        validation: Validation | None,
        rng: np.random.RandomState,
        tasks: Tasks | None,
    ) -> None:
        self.estimator, self.net, self.validation, self.rng, self.tasks = estimator, net, validation, rng, tasks
        self.batch_size = estimator._samples_a_step(len(train))
        if tasks is not None or not hasattr(estimator, "_optimizer"):
            estimator._optimizer = Descent(estimator, net)
        self.optimizer = estimator._optimizer
        self.max_iter = 1 if tasks is None else estimator.max_iter
        self.data = data.rows(net, self.max_iter * len(train)), data.t, data.weights
        self.rows, self.least = train, estimator._least_losses(data.t)
        self.starts = np.arange(0, len(train), self.batch_size)
        self.sizes = np.diff(self.starts, append=len(train))
        self.losses = np.empty(len(self.starts))
        macs = self.batch_size * net.n_params
        self.pace = Pace(_threads.choices(estimator.n_threads, macs, _threads.STEP_MACS_PER_THREAD))
        self.best = net.core.params.copy()
        self.watch, self.look_every = Watch(net, data), -(-LOOK_SAMPLES // len(train))
        self.seed = int(rng.randint(2**31)) if net.core.has_dropout else 0

    def train(self) -> None:
        """Until there is no improvement, Ctrl-C or the last epoch."""
        estimator, ended, pressed = self.estimator, False, False
        estimator.n_iter_ = 0
        try:
            with single_threaded_blas():
                while not ended and estimator.n_iter_ < self.max_iter:
                    ended = self.epoch()
            if not (estimator.diverged_ or self.watch.is_sane()):
                self.diverged()
        except KeyboardInterrupt:
            pressed = True
        finally:
            if estimator.early_stopping:
                self.net.core.params[:] = self.best
        if pressed:
            notices.interrupted(f"Ctrl-C ended training after epoch {estimator.n_iter_}")
        elif self.tasks is not None and not estimator.diverged_:
            self.tell(ended)

    def tell(self, ended: bool) -> None:
        """Warn of what makes the result doubtful: the cause that is known, before the advice to train for longer."""
        estimator, scores = self.estimator, np.array(self.estimator.validation_scores_ or [1.0])
        message = estimator._far_from_targets(self.net, self.watch.data, self.rows)
        if not message and not ended:
            message = f"max_iter is {self.max_iter}, expected more: the loss or score still improved in the last epochs"
        constant = (scores == scores[0]).all() or not np.isfinite(scores).any()
        waited = estimator.early_stopping and estimator._no_improvement_count > estimator.n_iter_no_change
        if not message and waited and constant and scores[0] != 1:
            message = (
                f"early_stopping ended training after {len(scores)} epochs, in all of which the validation score was "
                f"{scores[0]:g}, expected a finite one that changes: it told nothing about the training"
            )
        if message:
            notices.warn(message, ConvergenceWarning)

    def epoch(self) -> bool:
        """One pass over the samples; whether it was the last one."""
        if self.tasks is not None:
            self.tasks.begin()
        if self.estimator.shuffle:
            order = np.arange(len(self.rows))
            self.rng.shuffle(order)
            self.rows = self.rows[order]
        self.estimator._least = self.least_loss()
        finite = self.descend()
        self.estimator._record(float(self.losses @ self.sizes) / len(self.rows) if finite else math.nan)
        self.estimator.t_ += len(self.rows)
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
        """The updates of an epoch, in calls of the core of about 50 ms; whether all losses were finite."""
        first, size, optimizer = 0, len(self.rows), self.optimizer
        while first < len(self.starts):
            threads, steps = self.pace.next()
            last = min(first + steps, len(self.starts))
            begin, end = first * self.batch_size, min(last * self.batch_size, size)
            started = time.perf_counter()
            done = self.net.core.train(
                *self.data, self.rows[begin:end], begin, size, self.batch_size, optimizer.lr,
                self.losses[first:last], optimizer.settings, optimizer.state,
                seed=self.seed, first_step=optimizer.state.n_steps, n_threads=_threads.usable(threads),
            )  # fmt: skip
            if done < last - first:
                return False
            self.pace.took(threads, done, time.perf_counter() - started)
            first = last
        return True

    def sane(self) -> bool:
        """Whether training has not diverged, as far as it is time to look."""
        epoch = self.estimator.n_iter_
        if epoch % self.look_every:
            return self.validation is None or math.isfinite(largest(self.net.core.params))
        if not self.watch.is_sane():
            return False
        self.watch.keep(epoch)
        return True

    def score(self) -> float:
        """Of the validation samples, which is recorded, with early_stopping; else minus the loss."""
        estimator = self.estimator
        if self.validation is None:
            return -estimator.loss_
        value = estimator._validated(self.validation)
        estimator._record_score(value)
        return value if estimator.early_stopping else -estimator.loss_

    def is_last(self, score: float) -> bool:
        """Whether scores have been no better for so long that training ends; none that is not finite is better."""
        estimator, early = self.estimator, self.estimator.early_stopping
        best = self.best_score()
        no_better = not math.isfinite(score) or score < best + estimator.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if no_better else 0
        if not math.isfinite(score):
            return not self.goes_on()
        if score > best and early:
            estimator.best_validation_score_ = score
            self.best[:] = self.net.core.params
        elif score > best:
            estimator.best_loss_ = -score
        return not self.goes_on()

    def best_score(self) -> float:
        """The highest so far."""
        if self.estimator.early_stopping:
            score = self.estimator.best_validation_score_
            return -math.inf if score is None else score
        return -math.inf if self.estimator.best_loss_ is None else -self.estimator.best_loss_

    def goes_on(self) -> bool:
        """Whether there was an improvement of late, or a smaller rate may bring one; sets the rate."""
        estimator = self.estimator
        schedule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        if schedule == "invscaling":
            self.optimizer.learning_rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return True
        lower = schedule == "adaptive" and self.optimizer.lr > SMALLEST_RATE
        if lower:
            estimator._no_improvement_count = 0
            self.optimizer.learning_rate = self.optimizer.lr / 5
        if estimator.verbose:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            then = f"learning rate {self.optimizer.lr:g}" if lower else "stopping"
            print(f"{what} not better by tol={estimator.tol:g} for {estimator.n_iter_no_change} epochs: {then}")
        return lower

    def diverged(self) -> bool:
        """Go back to the last sane parameters, or the best with early stopping, and say so.

        An error where there are none and the loss is not finite, as in scikit-learn.
        """
        estimator, watch = self.estimator, self.watch
        finite = math.isfinite(estimator.loss_) and math.isfinite(largest(self.net.core.params))
        what = "training has diverged" if finite else "the loss is not finite"
        message = f"{what} in epoch {estimator.n_iter_}: scale X and y, or lower learning_rate_init ({self.causes()})"
        watch.go_back()
        estimator.diverged_ = True
        if estimator.early_stopping:
            estimator._record_score(math.nan)
            notices.warn(f"{message}; the best parameters so far are kept", ConvergenceWarning)
            return True
        if not finite and watch.kept_at == watch.first:
            raise ValueError(message)
        # the curve goes on from earlier fits with warm_start
        estimator.loss_ = estimator.loss_curve_[watch.kept_at - 1 - estimator.n_iter_] if watch.kept_at else math.nan
        kept = f"after epoch {watch.kept_at}" if watch.kept_at else "at the start"
        notices.warn(f"{message}; the parameters {kept} are kept", ConvergenceWarning)
        return True

    def causes(self) -> str:
        """What is known of the reason: which numbers are large, and which parameters grew most."""
        _, t, weights = self.data
        causes = [scale_of_inputs(self.net, self.watch.data.x), scale_of_targets(self.net, t), self.watch.layer()]
        if weights is not None and self.estimator.alpha and weights.sum() < len(weights) / SMALL_WEIGHTS:
            share = len(weights) / weights.sum()
            causes.append(f"sample_weight makes alpha count {share:.3g} times, as its mean is {1 / share:.3g}, not 1")
        return "; ".join(filter(None, causes))
