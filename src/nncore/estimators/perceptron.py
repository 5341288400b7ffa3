"""What MLPClassifier and MLPRegressor share: parameters, the start, the engine behind, a fit and predictions."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from nncore.core import checks, notices, target_checks
from nncore.core.blas import held_blas
from nncore.data.samples import Data
from nncore.data.sparse_rows import is_sparse
from nncore.estimators.epochs import Epochs, Tasks, Validation
from nncore.functions.kinds import ACTIVATION_PARAMS, ACTIVATIONS
from nncore.model.layers import Layer
from nncore.network import NeuralNetwork
from nncore.training.divergence import Watch
from nncore.training.lbfgs import Objective

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""


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

CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "alpha": checks.non_negative_float,
    "learning_rate_init": checks.positive_float,
    "power_t": checks.non_negative_float,
    "max_iter": checks.positive_int,
    "tol": checks.non_negative_float,
    "validation_fraction": checks.fraction,
    "beta_1": checks.fraction,
    "beta_2": checks.fraction,
    "epsilon": checks.positive_float,
    "max_fun": checks.positive_int,
    "momentum": checks.closed_fraction,
}
FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


@contextmanager
def _unchanged_if_refused(estimator: "Perceptron") -> Iterator[None]:
    """What raises within leaves the estimator as it was, fitted or not."""
    before = dict(estimator.__dict__)
    try:
        yield
    except Exception:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def _by_layer(value: Any, name: str, n_layers: int) -> list[Any]:
    """One value for all hidden layers, or one for each."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return [value] * n_layers
    if len(value) != n_layers:
        raise ValueError(f"{name} has {len(value)} values, expected one, or one for each of {n_layers} hidden layers")
    return list(value)


@dataclass(eq=False, repr=False)
class Perceptron(CallbackSupportMixin, BaseEstimator):
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
            check(getattr(self, name), name)
        for name in FLAGS:
            checks.switch(getattr(self, name), name)
        checks.choice(self.solver, "solver", SOLVERS)
        checks.choice(self.learning_rate, "learning_rate", SCHEDULES)
        for name, other in (("batch_size", "auto"), ("n_iter_no_change", math.inf), ("n_threads", "auto")):
            if getattr(self, name) != other:
                checks.positive_int(getattr(self, name), name)
        if not self._follows_dtype():
            checks.float_type(self.dtype)
        checks.callables(self.callbacks, "callbacks")
        if self.scoring is not None:
            check_scoring(self, scoring=self.scoring)
        if self.solver == "lbfgs" and any(rate for *_, rate in self._hidden()):
            raise ValueError(f"dropout is {self.dropout}, expected 0 with solver='lbfgs', whose loss must not change")

    def _hidden(self) -> list[tuple[int, str, float]]:
        """Size, activation and dropout of each hidden layer."""
        sizes = [self.hidden_layer_sizes] if np.ndim(self.hidden_layer_sizes) == 0 else list(self.hidden_layer_sizes)
        sizes = [checks.positive_int(size, f"hidden_layer_sizes[{i}]") for i, size in enumerate(sizes)]
        names = _by_layer(self.activation, "activation", len(sizes))
        rates = _by_layer(self.dropout, "dropout", len(sizes))
        for name in names:
            checks.named(name, "activation", HIDDEN_ACTIVATIONS, ACTIVATION_PARAMS)
        rates = [checks.fraction(rate, "dropout") for rate in rates]
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
        net.core.penalty_by_samples, net.core.penalty_share = by_batch, self._divisor()
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
        return target_checks.sample_weights(sample_weight, len(y), 1)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, validation_data: Any = None, classes: Any = None,
        incremental: bool = False,
    ) -> "Perceptron":  # fmt: skip
        """Train from a new start, or go on from the fit before."""
        self._check_settings()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it makes one pass, expected False")
        if validation_data is not None and self.solver == "lbfgs":
            raise ValueError("validation_data is given, expected None with solver='lbfgs', which ends by its gradient")
        anew = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        epochs = None
        with _unchanged_if_refused(self):
            rows, y_rows = self._samples(X, y, reset=anew)
            t, fitted = self._encode(y_rows, classes, keep=not anew)
            given, weights = (
                target_checks.sample_weights(sample_weight, len(y_rows), 1),
                self._weights(y_rows, sample_weight),
            )
            rng = check_random_state(self.random_state)
            sizes = [*(n for n, *_ in self._hidden()), fitted["n_outputs_"]]
            if not anew and [len(b) for b in self.intercepts_] != sizes:
                raise ValueError(f"hidden_layer_sizes is {self.hidden_layer_sizes}, expected that of the fit before")
            self.__dict__.update(fitted)
            self.diverged_ = False
            if anew:
                self._start(rng, rows.dtype if self._follows_dtype() else np.dtype(self.dtype))
            net = self._network()
            net.expect_finite()
            data = Data(net, rows, t, None, weights)
            self._regularise(net, data)
            tasks = None if incremental else Tasks(self, X, y, sample_weight)
            if self.solver != "lbfgs":
                train, validation = self._split(rows, y_rows, t, given, validation_data, rng)
                epochs = Epochs(self, net, data, train, validation, rng, tasks)
        with net.core.training("fit"):
            if epochs is None:
                self._minimise(net, data, tasks)
            else:
                epochs.train()
        if not np.isfinite(net.core.params).all():
            raise ValueError(
                "a parameter is not finite after training, expected finite ones: scale X, or lower the rate"
            )
        if tasks is not None:
            tasks.close()
        return self

    def _split(
        self, rows: Any, y: Array, t: Array, weights: Array | None, given: Any, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], "Validation | None"]:
        """Which samples to train on, and those to score after every epoch: given ones, or a part set aside."""
        everything = np.arange(len(t))
        scorer = None if self.scoring is None else check_scoring(self, scoring=self.scoring)
        if given is not None:
            X, y = self._samples(*checks.pair(given, "validation_data"), reset=False)
            self._encode(y, getattr(self, "classes_", None), keep=True)
            return everything, Validation(X, y, None, scorer)
        if not self.early_stopping:
            return everything, None
        some = "" if weights is None else " with a sample_weight above 0"
        if weights is not None:  # samples of weight 0 are as good as absent
            everything = np.flatnonzero(weights)
        two_classes = self._two_classes(y[everything], some)
        if math.ceil(self.validation_fraction * len(everything)) < 2:
            raise ValueError(
                f"The validation set is too small: early_stopping sets aside validation_fraction = "
                f"{self.validation_fraction} of {len(everything)} samples{some}, expected 2 of them or more"
            )
        train, test = train_test_split(
            everything, test_size=self.validation_fraction, random_state=rng, stratify=two_classes
        )
        return train, Validation(rows[test], y[test], None if weights is None else weights[test], scorer)

    def _minimise(self, net: NeuralNetwork, data: Data, tasks: "Tasks | None") -> None:
        """SciPy's L-BFGS-B on the engine's loss and gradient of all samples."""
        from scipy.optimize import minimize

        watch, reached, pressed = Watch(net, data), net.core.params.astype(np.float64), False

        def evaluate(x: Array) -> tuple[float, Array]:
            loss, gradient = objective(x)
            if not self.n_iter_ and not (np.isfinite(loss) and np.isfinite(gradient).all()):
                watch.go_back()
                raise ValueError(f"the loss or its gradient is not finite at the start: {watch.advice(rate=False)}")
            return loss, gradient

        def iteration(intermediate_result: Any) -> None:
            net.core.params[:] = reached[:] = intermediate_result.x
            self._record(float(intermediate_result.fun))
            if tasks is not None:
                tasks.begin()
                if tasks.end():
                    raise StopIteration

        least = self._least_losses(data.t)
        self.n_iter_, self._least = 0, 0.0 if least is None else float(np.average(least, weights=data.weights))
        objective = Objective(net, data, self.n_threads)
        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        try:
            with held_blas():
                result = minimize(
                    evaluate, reached.copy(), method="L-BFGS-B", jac=True, callback=iteration, options=options
                )
        except KeyboardInterrupt:
            net.core.params[:], pressed = reached, True
        if pressed:
            notices.interrupted(f"Ctrl-C ended training after iteration {self.n_iter_}")
            return
        net.core.params[:] = result.x
        self.loss_ = self._reported(float(result.fun))
        message = self._far_from_targets(net, data, np.arange(len(data.t)))
        if not message and result.status in (1, 2):
            message = f"L-BFGS ended after {self.n_iter_} iterations without having converged: {result.message}"
        if message:
            notices.warn(message, ConvergenceWarning)

    def _samples_a_step(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        batch_size = int(self.batch_size)
        if batch_size > n:
            notices.warn(f"batch_size is {batch_size}, which is more than the {n} samples there are")
        return min(batch_size, n)

    def _validated(self, validation: Validation) -> float:
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

    def _divisor(self) -> int:
        """What scikit-learn divides the loss by, without penalty, where it reports it."""
        return 1

    def _least_losses(self, t: Array) -> Array | None:
        """What scikit-learn takes off the engine's loss of each sample: that of a perfect prediction; None: nothing."""
        return None

    def _two_classes(self, y: Array, some: str) -> Array | None:
        """What the samples set aside are stratified by: two classes, if y has two."""
        return None

    def _far_from_targets(self, net: NeuralNetwork, data: Data, rows: NDArray[np.intp]) -> str:
        """What to say where predictions for samples trained on are far from targets for want of scaled ones."""
        return ""

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
