"""MLPClassifier and MLPRegressor: scikit-learn's estimators, trained by the compiled engine.

Parameters, attributes and what a random_state stands for are scikit-learn's: the same start, order of samples, split
and end of training. The core makes the updates; Python shuffles, and looks at the loss of each epoch.
"""

import copy
import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from nncore import _checks, _threads
from nncore._data import Data
from nncore._sparse_rows import is_sparse
from nncore.layers import ACTIVATION_PARAMS, ACTIVATIONS, Layer
from nncore.lbfgs import Objective
from nncore.network import LOSS_PARAMS, NeuralNetwork
from nncore.optimizers import Optimizer, Rule

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """Nothing to tear down."""
        return method


try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator: Any, *args: Any, **settings: Any) -> Any:
        """The method it was then."""
        return estimator._validate_data(*args, **settings)


Array = NDArray[Any]

SOLVERS = ("lbfgs", "sgd", "adam")
SCHEDULES = ("constant", "invscaling", "adaptive")
# scikit-learn's names beside the engine's
ALIASES = {"logistic": "sigmoid"}
HIDDEN_ACTIVATIONS = [*ALIASES, *(name for name in ACTIVATIONS if name != "softmax")]
# The engine's loss and last activation with one sigmoid a label, and with a softmax over classes.
CLASSIFIER_LOSSES = {
    "log_loss": (("sigmoid_cross_entropy", "sigmoid"), ("softmax_cross_entropy", "softmax")),
    "squared_error": (("squared_error", "sigmoid"), ("squared_error", "softmax")),
    "hinge": (("hinge", "identity"), ("hinge", "identity")),
}
REGRESSOR_LOSSES = ("squared_error", "absolute_error", "huber", "quantile", "poisson")
# Below this rate "adaptive" stops.
SMALLEST_RATE = 1e-6

CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "alpha": _checks.non_negative_float,
    "learning_rate_init": _checks.positive_float,
    "power_t": _checks.non_negative_float,
    "max_iter": _checks.positive_int,
    "tol": _checks.non_negative_float,
    "validation_fraction": _checks.fraction,
    "beta_1": _checks.fraction,
    "beta_2": _checks.fraction,
    "epsilon": _checks.positive_float,
    "max_fun": _checks.positive_int,
    "momentum": _checks.closed_fraction,
}
FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


class _Descent(Optimizer):
    """scikit-learn's solvers "sgd" and "adam": the rule, the rate by now and the state."""

    def __init__(self, estimator: "_Perceptron", net: NeuralNetwork) -> None:
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
class _Validation:
    """Samples to score, and how."""

    X: Any
    y: Array
    weights: Array | None
    scorer: Callable[..., float] | None


class _Tasks:
    """What is called after every epoch: the parameter callbacks, and those of scikit-learn's set_callbacks."""

    def __init__(self, estimator: "_Perceptron", X: Any, y: Any, sample_weight: Any) -> None:
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


def _switch(value: Any, name: str) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}, expected True or False")


def _by_layer(value: Any, name: str, n_layers: int) -> list[Any]:
    """One value for all hidden layers, or one for each."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return [value] * n_layers
    if len(value) != n_layers:
        raise ValueError(f"{name} has {len(value)} values, expected one, or one for each of {n_layers} hidden layers")
    return list(value)


@dataclass(eq=False, repr=False)
class _Perceptron(CallbackSupportMixin, BaseEstimator):
    """What both estimators share; the parameters are described in MLPClassifier."""

    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    max_fun: int = 15000
    dropout: float | Sequence[float] = 0.0
    scoring: Any = None
    callbacks: Sequence[Callable[[Any], Any]] = ()
    dtype: Any = "auto"
    n_threads: int | str = "auto"

    def __getstate__(self) -> dict[str, Any]:
        """Without the engine, which is made anew from coefs_ and intercepts_."""
        return {name: value for name, value in super().__getstate__().items() if name != "_engine"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _encode(self, y: Array, classes: Any, *, keep: bool) -> tuple[Array, dict[str, Any]]:
        """What the engine takes for y, and the attributes that say so; keep: they are those of the fit before."""

    @abstractmethod
    def _output(self) -> tuple[str, str]:
        """The engine's loss and the activation of its last layer."""

    @abstractmethod
    def _predicted(self, outputs: Array) -> Array:
        """Predictions from the outputs of the last layer."""

    @abstractmethod
    def _agreement(self, y: Array, predicted: Array, weights: Array | None) -> float:
        """The score of predictions, 1 at best."""

    def _check_settings(self) -> None:
        """That every parameter is in its range."""
        for name, check in CHECKS.items():
            if check(getattr(self, name), name) != getattr(self, name):
                raise TypeError(f"{name} is {getattr(self, name)!r}, expected a number")
        for name in FLAGS:
            _switch(getattr(self, name), name)
        _checks.choice(self.solver, "solver", SOLVERS)
        _checks.choice(self.learning_rate, "learning_rate", SCHEDULES)
        for name, other in (("batch_size", "auto"), ("n_iter_no_change", math.inf), ("n_threads", "auto")):
            if getattr(self, name) != other:
                _checks.positive_int(getattr(self, name), name)
        if not self._follows_dtype():
            _checks.float_type(self.dtype)
        _checks.callables(self.callbacks, "callbacks")
        if self.solver == "lbfgs" and any(rate for *_, rate in self._hidden()):
            raise ValueError(f"dropout is {self.dropout}, expected 0 with solver='lbfgs', whose loss must not change")

    def _hidden(self) -> list[tuple[int, str, float]]:
        """Size, activation and dropout of each hidden layer."""
        sizes = [self.hidden_layer_sizes] if np.ndim(self.hidden_layer_sizes) == 0 else list(self.hidden_layer_sizes)
        sizes = [_checks.positive_int(size, f"hidden_layer_sizes[{i}]") for i, size in enumerate(sizes)]
        names = _by_layer(self.activation, "activation", len(sizes))
        rates = _by_layer(self.dropout, "dropout", len(sizes))
        for name in names:
            _checks.named(name, "activation", HIDDEN_ACTIVATIONS, ACTIVATION_PARAMS)
        rates = [_checks.fraction(rate, "dropout") for rate in rates]
        return list(zip(sizes, [ALIASES.get(name, name) for name in names], rates, strict=True))

    def _follows_dtype(self) -> bool:
        """Whether the float type is that of X."""
        return isinstance(self.dtype, str) and self.dtype == "auto"

    def _start(self, rng: np.random.RandomState, dtype: "np.dtype[Any]") -> None:
        """Draw the initial parameters and forget what was recorded."""
        hidden = self._hidden()
        sizes = [self.n_features_in_, *(size for size, *_ in hidden), self.n_outputs_]
        names: list[Any] = [name for _, name, _ in hidden]
        names.append(names[-1] if names else self.activation)
        self.coefs_, self.intercepts_ = [], []
        for n_in, n_out, name in zip(sizes, sizes[1:], names, strict=False):
            bound = np.sqrt((2 if name in ("logistic", "sigmoid") else 6) / (n_in + n_out))
            self.coefs_.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
            self.intercepts_.append(rng.uniform(-bound, bound, n_out).astype(dtype))
        self.n_layers_, self.n_iter_, self.t_ = len(sizes), 0, 0
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_: float | None = None
        self.best_validation_score_: float | None = None
        self.validation_scores_: list[float] | None = None

    def _network(self) -> NeuralNetwork:
        """The engine on coefs_ and intercepts_; made anew if other arrays were assigned, or activations or loss."""
        loss, output = self._output()
        made_for = loss, [*(name for _, name, _ in self._hidden()), output]
        known, net = self.__dict__.get("_engine", (None, None))
        pairs = list(zip(self.coefs_, self.intercepts_, strict=True))
        if len(pairs) != len(made_for[1]):
            raise ValueError(f"hidden_layer_sizes is {self.hidden_layer_sizes}, expected that of the fit before")
        if known == made_for and all(a is b for a, b in zip(chain(*pairs), net.params.values(), strict=True)):
            return net
        layers = [Layer(W.shape[0], W.shape[1], name, W, b) for (W, b), name in zip(pairs, made_for[1], strict=True)]
        net = NeuralNetwork(layers, loss=loss, dtype=self.coefs_[0].dtype, rng=0, input_scale=1.0)
        views = list(net.params.values())
        self.coefs_, self.intercepts_ = views[::2], views[1::2]
        self._engine = made_for, net
        return net

    def _regularise(self, net: NeuralNetwork, data: Data) -> None:
        """Penalty and dropout as they are now; L-BFGS sums means over blocks of samples, so it divides by all."""
        by_batch = self.solver != "lbfgs"
        total = 1 if by_batch else len(data.x) if data.weights is None else data.weights.sum()
        net.core.penalty_by_samples = by_batch
        for layer, rate in zip(net.layers, [*(rate for *_, rate in self._hidden()), 0.0], strict=True):
            layer.l2, layer.dropout = self.alpha / total, rate

    def _samples(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        """X and y as arrays of numbers that fit each other, X perhaps as a sparse matrix."""
        rows, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=isinstance(self, RegressorMixin),
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        y = y.toarray() if is_sparse(y) else y
        return rows, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _weights(self, y: Array, sample_weight: ArrayLike | None) -> Array | None:
        """What each sample's loss counts."""
        return _checks.sample_weights(sample_weight, len(y), 1)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, validation_data: Any = None, classes: Any = None,
        incremental: bool = False,
    ) -> "_Perceptron":  # fmt: skip
        """Train from a new start, or go on from the fit before."""
        self._check_settings()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it makes one pass, expected False")
        anew = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        rows, y_rows = self._samples(X, y, reset=anew)
        t, fitted = self._encode(y_rows, classes, keep=not anew)
        given, weights = _checks.sample_weights(sample_weight, len(y_rows), 1), self._weights(y_rows, sample_weight)
        rng = check_random_state(self.random_state)
        if not anew and [len(b) for b in self.intercepts_] != [*(n for n, *_ in self._hidden()), fitted["n_outputs_"]]:
            raise ValueError(f"hidden_layer_sizes is {self.hidden_layer_sizes}, expected that of the fit before")
        self.__dict__.update(fitted)
        if anew:
            self._start(rng, rows.dtype if self._follows_dtype() else np.dtype(self.dtype))
        net = self._network()
        data = Data(net, rows, t, None, weights)
        self._regularise(net, data)
        tasks = None if incremental else _Tasks(self, X, y, sample_weight)
        if self.solver == "lbfgs":
            self._minimise(net, data, tasks)
        else:
            train, validation = self._split(rows, y_rows, t, given, validation_data, rng)
            _Epochs(self, net, data, train, validation, rng, tasks).train()
        if not np.isfinite(net.core.params).all():
            raise ValueError(
                "a parameter is not finite after training, expected finite ones: scale X, or lower the rate"
            )
        if tasks is not None:
            tasks.close()
        return self

    def _split(
        self, rows: Any, y: Array, t: Array, weights: Array | None, given: Any, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], "_Validation | None"]:
        """Which samples to train on, and those to score after every epoch: given ones, or a part set aside."""
        everything = np.arange(len(t))
        scorer = None if self.scoring is None else check_scoring(self, scoring=self.scoring)
        if given is not None:
            X, y = self._samples(*_checks.pair(given, "validation_data"), reset=False)
            self._encode(y, getattr(self, "classes_", None), keep=True)
            return everything, _Validation(X, y, None, scorer)
        if not self.early_stopping:
            return everything, None
        binary = isinstance(self, ClassifierMixin) and self.n_outputs_ == 1
        train, test = train_test_split(
            everything, test_size=self.validation_fraction, random_state=rng, stratify=t > 0 if binary else None
        )
        if len(test) < 2:
            raise ValueError(
                f"The validation set is too small: validation_fraction is {self.validation_fraction} of {len(t)} "
                f"samples, expected 2 of them or more"
            )
        return train, _Validation(rows[test], y[test], None if weights is None else weights[test], scorer)

    def _minimise(self, net: NeuralNetwork, data: Data, tasks: "_Tasks | None") -> None:
        """SciPy's L-BFGS-B on the engine's loss and gradient of all samples."""
        from scipy.optimize import minimize

        def iteration(intermediate_result: Any) -> None:
            net.core.params[:] = intermediate_result.x
            self._record(float(intermediate_result.fun))
            if tasks is not None:
                tasks.begin()
                if tasks.end():
                    raise StopIteration

        self.n_iter_, self._least = 0, self._least_loss(data.t, data.weights)
        objective = Objective(net, data, self.n_threads)
        with _threads.held_blas():
            result = minimize(
                objective,
                net.core.params.astype(np.float64),
                method="L-BFGS-B",
                jac=True,
                callback=iteration,
                options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
            )
        net.core.params[:] = result.x
        self.loss_ = self._reported(float(result.fun))
        if result.status in (1, 2):
            warnings.warn(
                f"L-BFGS ended after {self.n_iter_} iterations without having converged: {result.message}",
                ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    def _samples_a_step(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        batch_size = int(self.batch_size)
        if batch_size > n:
            warnings.warn(f"batch_size is {batch_size}, which is more than the {n} samples there are", stacklevel=6)
        return min(batch_size, n)

    def _validated(self, validation: _Validation) -> float:
        """The score of the validation samples: NaN where predictions are not finite."""
        if validation.scorer is None:
            predicted = self._predicted(self._network().predict(validation.X, n_threads=self.n_threads))
            if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
                return math.nan
            return float(self._agreement(validation.y, predicted, validation.weights))
        plain = copy.copy(self)  # shares the engine; without names, as the samples have none any more
        plain._engine = self._engine
        plain.__dict__.pop("feature_names_in_", None)
        known = {} if validation.weights is None else {"sample_weight": validation.weights}
        return float(validation.scorer(plain, validation.X, validation.y, **known))

    def _record(self, loss: float) -> None:
        """An epoch, or an iteration of L-BFGS, is over."""
        self.n_iter_ += 1
        self.loss_ = self._reported(loss)
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")

    def _record_score(self, score: float) -> None:
        """Of the validation samples, after an epoch."""
        if self.validation_scores_ is None:
            self.validation_scores_ = []
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")

    def _reported(self, loss: float) -> float:
        """scikit-learn's loss from the engine's."""
        return loss

    def _least_loss(self, t: Array, weights: Array | None) -> float:
        """What scikit-learn takes off the engine's loss: that of perfect predictions."""
        return 0.0

    def _outputs(self, X: Any) -> Array:
        """What the last layer yields."""
        check_is_fitted(self)
        rows = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        return self._network().predict(rows, n_threads=self.n_threads)

    def _solver_is_stochastic(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("solver is 'lbfgs', expected 'sgd' or 'adam' for partial_fit")
        return True

    def predict(self, X: Any) -> Array:
        """Return what is predicted for samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Classes, or 0 and 1 for each of several labels; or numbers, for each of several outputs.

        Raises
        ------
        ValueError
            If X has another number of features than in fit, or is not finite.
        sklearn.exceptions.NotFittedError
            Before fit.
        """
        return self._predicted(self._outputs(X))


class _Epochs:
    """The epochs of one fit by "sgd" or "adam": scikit-learn's order of samples, and when it ends."""

    def __init__(
        self,
        estimator: _Perceptron,
        net: NeuralNetwork,
        data: Data,
        train: NDArray[np.intp],
        validation: _Validation | None,
        rng: np.random.RandomState,
        tasks: _Tasks | None,
    ) -> None:
        self.estimator, self.net, self.validation, self.rng, self.tasks = estimator, net, validation, rng, tasks
        self.batch_size = estimator._samples_a_step(len(train))
        if tasks is not None or not hasattr(estimator, "_optimizer"):
            estimator._optimizer = _Descent(estimator, net)
        self.optimizer = estimator._optimizer
        self.max_iter = 1 if tasks is None else estimator.max_iter
        self.data = data.rows(net, self.max_iter * len(train)), data.t, data.weights
        self.rows = train
        estimator._least = estimator._least_loss(data.t[train], None if data.weights is None else data.weights[train])
        self.starts = np.arange(0, len(train), self.batch_size)
        self.sizes = np.diff(self.starts, append=len(train))
        self.losses = np.empty(len(self.starts))
        macs = self.batch_size * net.n_params
        self.pace = _threads.Pace(_threads.choices(estimator.n_threads, macs, _threads.STEP_MACS_PER_THREAD))
        self.best = net.core.params.copy()
        self.seed = int(rng.randint(2**31)) if net.core.has_dropout else 0

    def train(self) -> None:
        """Until there is no improvement, Ctrl-C or the last epoch."""
        estimator, ended = self.estimator, False
        estimator.n_iter_ = 0
        try:
            with _threads.single_threaded_blas(_threads.BLAS_THREADED_MACS):
                while not ended and estimator.n_iter_ < self.max_iter:
                    ended = self.epoch()
        except KeyboardInterrupt:
            warnings.warn(f"Ctrl-C ended training after epoch {estimator.n_iter_}", stacklevel=5)
            ended = True
        finally:
            if estimator.early_stopping:
                self.net.core.params[:] = self.best
        if not ended and self.tasks is not None:
            warnings.warn(
                f"max_iter is {self.max_iter}, expected more: the loss or score still improved in the last epochs",
                ConvergenceWarning, stacklevel=5,
            )  # fmt: skip

    def epoch(self) -> bool:
        """One pass over the samples; whether it was the last one."""
        if self.tasks is not None:
            self.tasks.begin()
        if self.estimator.shuffle:
            order = np.arange(len(self.rows))
            self.rng.shuffle(order)
            self.rows = self.rows[order]
        finite = self.descend()
        self.estimator._record(float(self.losses @ self.sizes) / len(self.rows) if finite else math.nan)
        self.estimator.t_ += len(self.rows)
        ended = self.is_last(self.score()) if finite else self.diverged()
        return (self.tasks is not None and self.tasks.end()) or ended

    def descend(self) -> bool:
        """The updates of an epoch, in calls of the core of about 50 ms; whether all losses were finite."""
        first, size, optimizer = 0, len(self.rows), self.optimizer
        while first < len(self.starts):
            threads, steps = self.pace.next()
            last = min(first + steps, len(self.starts))
            begin, end = first * self.batch_size, min(last * self.batch_size, size)
            started = time.perf_counter()
            with _threads.shared(self.net.core, threads):
                done = self.net.core.train(
                    *self.data, self.rows[begin:end], begin, size, self.batch_size, optimizer.lr,
                    self.losses[first:last], optimizer.settings, optimizer.state,
                    seed=self.seed, first_step=optimizer.state.n_steps,
                )  # fmt: skip
            if done < last - first:
                return False
            self.pace.took(threads, done, time.perf_counter() - started)
            first = last
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
        """Whether scores have been no better for so long that training ends; a score of NaN counts as better."""
        estimator, early = self.estimator, self.estimator.early_stopping
        best = self.best_score()
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if score < best + estimator.tol else 0
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
        """The loss is not finite: an error, unless there are better parameters to go back to."""
        estimator = self.estimator
        message = f"the loss is not finite in epoch {estimator.n_iter_}: scale X and y, or lower learning_rate_init"
        if not estimator.early_stopping:
            raise ValueError(message)
        estimator._record_score(math.nan)
        warnings.warn(f"{message}; the best parameters so far are kept", ConvergenceWarning, stacklevel=6)
        return True


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, _Perceptron):
    """A drop-in for scikit-learn's classifier of the same name, trained by the compiled engine.

    With the same parameters and random_state it takes scikit-learn's path: the same start, order of samples, validation
    split and end of training; losses differ by rounding. The parameters from loss on are not in scikit-learn.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer; () for none.
    activation : str or sequence of str
        "relu", "logistic", "tanh", "identity" or any other activation of Layer, such as "leaky_relu(0.1)", for all
        hidden layers or one for each.
    solver : {"adam", "sgd", "lbfgs"}
        lbfgs is SciPy's L-BFGS-B on the loss of all samples.
    alpha : float
        Penalty: alpha / 2 times the sum of squared weights is added to the loss, divided by the batch's samples.
    batch_size : int or "auto"
        Samples an update; "auto" is 200 or all if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of sgd: as it is; learning_rate_init / t**power_t after t samples; or divided by 5 whenever there was no
        improvement for n_iter_no_change epochs, down to 1e-6.
    learning_rate_init : float
        Above 0.
    power_t : float
        Of invscaling.
    max_iter : int
        Epochs of sgd and adam, iterations of lbfgs.
    shuffle : bool
        Whether each epoch has a new order of samples.
    random_state : int, numpy.random.RandomState, optional
        For the start, the split, the order of samples and dropout.
    tol : float
        What counts as an improvement; for lbfgs the gradient's largest element at the end.
    verbose : bool or int
        Print the loss after every epoch.
    warm_start : bool
        Whether fit goes on from the fit before.
    momentum : float
        Of sgd, from 0 to 1.
    nesterovs_momentum : bool
        Of sgd.
    early_stopping : bool
        Set validation_fraction of the samples aside, end when their score has not improved for n_iter_no_change epochs,
        and keep the best parameters. Otherwise training ends when the loss has not improved for so long.
    validation_fraction : float
        From 0 to below 1.
    beta_1, beta_2, epsilon : float
        Of adam.
    n_iter_no_change : int or numpy.inf
        Epochs.
    max_fun : int
        Evaluations of lbfgs.
    loss : {"log_loss", "squared_error", "hinge"}
        Cross-entropy; the squared error of probabilities; or max(0, 1 - t * y) of each output, without probabilities.
    class_weight : dict, "balanced" or list of dict, optional
        What samples of a class count, by class: multiplied with sample_weight. "balanced" is n_samples / (n_classes *
        count). One dict for each of several labels.
    dropout : float or sequence of float
        Probability that an output of a hidden layer is 0 in training, of all or of each; not with lbfgs.
    scoring : str or callable, optional
        The validation score, as in sklearn.model_selection; by default the accuracy.
    callbacks : sequence of callable
        Called with the estimator after every epoch; one that returns True ends training. The callbacks of
        scikit-learn 1.9 go to set_callbacks.
    dtype : {"auto", float32, float64}
        Of parameters and arithmetic; "auto" is that of X.
    n_threads : int or "auto"
        The result does not depend on it, to the bit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Or the numbers of the labels.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and bias (n_out,) of each layer. What is assigned to them is used.
    loss_curve_ : list of float
        The mean loss of each epoch; of lbfgs that of each iteration.
    loss_, best_loss_ : float
        The last of them, and the lowest; best_loss_ is None with early_stopping.
    validation_scores_, best_validation_score_ : list of float, float
        None without early_stopping and validation_data.
    n_iter_, t_ : int
        Epochs or iterations of the last fit; samples trained on so far.
    n_layers_, n_outputs_, n_features_in_ : int
        Layers with the input; outputs: 1 for two classes; inputs.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        If X has names.
    out_activation_ : {"softmax", "logistic", "identity"}
        Of the last layer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier((20, 10), activation=["tanh", "relu"], max_iter=1000, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.95
    True
    >>> classifier.predict(X[:3])
    array([0, 0, 0])
    """

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str | Sequence[str] = "relu"
    _: KW_ONLY
    loss: str = "log_loss"
    class_weight: Any = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _check_settings(self) -> None:
        super()._check_settings()
        _checks.choice(self.loss, "loss", CLASSIFIER_LOSSES)
        if isinstance(self.class_weight, str):
            _checks.choice(self.class_weight, "class_weight", ["balanced"])

    def _output(self) -> tuple[str, str]:
        return CLASSIFIER_LOSSES[self.loss][self.out_activation_ == "softmax"]

    def _encode(self, y: Array, classes: Any, *, keep: bool) -> tuple[Array, dict[str, Any]]:
        check_classification_targets(y)
        if y.ndim == 2:
            n = y.shape[1]
            if keep and not (self._multilabel and self.n_outputs_ == n):
                raise ValueError(f"y has {n} labels, expected classes or labels as in the fit before")
            return self._signs(y > 0), self._described(np.arange(n), n, multilabel=True)
        known = np.unique(y if classes is None else classes)
        if keep and classes is None and not np.array_equal(known, self.classes_):
            raise ValueError(f"y has classes {known}, expected {self.classes_} as in the fit before with warm_start")
        labels = np.minimum(np.searchsorted(known, y), len(known) - 1)
        unseen = known[labels] != y
        if unseen.any():
            raise ValueError(f"y has classes {np.unique(y[unseen])}, expected only {known}")
        n = len(known) if len(known) > 2 else 1
        return (labels if n > 1 else self._signs(labels.reshape(-1, 1) > 0)), self._described(known, n)

    def _signs(self, positive: Array) -> Array:
        """Targets of outputs that say yes or no."""
        return np.where(positive, 1.0, -1.0 if self.loss == "hinge" else 0.0)

    def _described(self, classes: Array, n_outputs: int, multilabel: bool = False) -> dict[str, Any]:
        activation = "softmax" if n_outputs > 1 and not multilabel else "logistic"
        return {
            "classes_": classes,
            "n_outputs_": n_outputs,
            "out_activation_": "identity" if self.loss == "hinge" else activation,
            "_multilabel": multilabel,
        }

    def _weights(self, y: Array, sample_weight: ArrayLike | None) -> Array | None:
        weights = super()._weights(y, sample_weight)
        if self.class_weight is None:
            return weights
        by_class = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else weights * by_class

    def _predicted(self, outputs: Array) -> Array:
        if self.n_outputs_ > 1 and not self._multilabel:
            return self.classes_[outputs.argmax(axis=1)]
        positive = outputs > (0 if self.loss == "hinge" else 0.5)
        if self.n_outputs_ > 1:
            return positive.astype(int)
        return self.classes_[np.minimum(positive[:, 0], len(self.classes_) - 1)]

    def _agreement(self, y: Array, predicted: Array, weights: Array | None) -> float:
        same = y == predicted
        return float(np.average(same.all(axis=1) if same.ndim == 2 else same, weights=weights))

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> "MLPClassifier":
        """Train from a new start, or with warm_start go on from the fit before.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Classes of any type, or an indicator matrix of several labels.
        sample_weight : array-like of shape (n_samples,), optional
            Each batch's loss is the mean by these weights.
        validation_data : (X, y), optional
            Scored after every epoch; with early_stopping instead of a part of X.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y does not fit, or the loss becomes infinite or NaN.
        """
        return self._fit(X, y, sample_weight, validation_data=validation_data)

    @available_if(_Perceptron._solver_is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":
        """Make one pass over samples, as data come in.

        Parameters
        ----------
        X, y, sample_weight
            As in fit; y need not have all classes.
        classes : array-like of shape (n_classes,), optional
            All classes there will be; in the first call, unless y is an indicator matrix, they are needed.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        TypeError, ValueError
            As fit; if classes are missing or not those of the first call; if y has others.
        """
        known = getattr(self, "classes_", None)
        if known is None and classes is None:
            raise ValueError("classes is None, expected all classes in the first call of partial_fit")
        if known is not None and classes is not None and not np.array_equal(np.unique(classes), known):
            raise ValueError(f"classes is {classes}, expected {known} as in the first call of partial_fit")
        if self.class_weight == "balanced":
            raise ValueError("class_weight is 'balanced', expected a dict for partial_fit, which sees a part of y only")
        return self._fit(X, y, sample_weight, classes=classes if known is None else known, incremental=True)

    @available_if(lambda self: self._has_probabilities())
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of classes_; of several labels that of each.
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    @available_if(lambda self: self._has_probabilities())
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of predict_proba.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _has_probabilities(self) -> bool:
        if self.loss == "hinge":
            raise AttributeError("loss is 'hinge', whose outputs are no probabilities, expected 'log_loss'")
        return True


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, _Perceptron):
    """A drop-in for scikit-learn's regressor of the same name, trained by the compiled engine.

    Parameters and attributes are those of MLPClassifier, without classes.

    Parameters
    ----------
    loss : str
        "squared_error"; "poisson", whose predictions are exp(output); and beyond scikit-learn "absolute_error",
        "huber(delta)" and "quantile(q)", all as in NeuralNetwork.
    scoring : str or callable, optional
        The validation score; by default R².

    Notes
    -----
    scikit-learn divides the squared error of several outputs by their number where it reports a loss, and not in the
    gradient. Losses are reported so here too, but with the penalty divided as well, and lbfgs gets a loss and a
    gradient that belong together.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = MLPRegressor("huber(1.5)", (), solver="lbfgs", random_state=0)
    >>> regressor.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5
    True
    """

    loss: str = "squared_error"
    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str | Sequence[str] = "relu"

    def _check_settings(self) -> None:
        super()._check_settings()
        _checks.named(self.loss, "loss", REGRESSOR_LOSSES, LOSS_PARAMS)

    def _output(self) -> tuple[str, str]:
        return self.loss, "identity"

    def _encode(self, y: Array, classes: Any, *, keep: bool) -> tuple[Array, dict[str, Any]]:
        t = _checks.targets_for(self.loss, y.reshape(len(y), -1), "y")
        if keep and self.n_outputs_ != t.shape[1]:
            raise ValueError(f"y has {t.shape[1]} outputs, expected {self.n_outputs_} as in the fit before")
        return t, {"n_outputs_": t.shape[1], "out_activation_": "exp" if self.loss == "poisson" else "identity"}

    def _reported(self, loss: float) -> float:
        return (loss - self._least) / (self.n_outputs_ if self.loss == "squared_error" else 1)

    def _least_loss(self, t: Array, weights: Array | None) -> float:
        if self.loss != "poisson":
            return 0.0
        from scipy.special import xlogy

        return float(np.average((t - xlogy(t, t)).sum(axis=1), weights=weights))

    def _predicted(self, outputs: Array) -> Array:
        if self.out_activation_ == "exp":
            outputs = np.exp(outputs)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def _agreement(self, y: Array, predicted: Array, weights: Array | None) -> float:
        return float(r2_score(y, predicted, sample_weight=weights))

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> "MLPRegressor":
        """Train from a new start, or with warm_start go on from the fit before.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Each batch's loss is the mean by these weights.
        validation_data : (X, y), optional
            Scored after every epoch; with early_stopping instead of a part of X.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y does not fit, or the loss becomes infinite or NaN.
        """
        return self._fit(X, y, sample_weight, validation_data=validation_data)

    @available_if(_Perceptron._solver_is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Make one pass over samples, as data come in.

        Parameters
        ----------
        X, y, sample_weight
            As in fit.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            As fit.
        """
        return self._fit(X, y, sample_weight, incremental=True)
