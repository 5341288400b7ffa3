"""An estimator's fit and predictions: data, the start, the engine behind, and samples to score."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from nncore.core import checks
from nncore.data.samples import Data
from nncore.data.sparse_rows import is_sparse
from nncore.estimators.epochs import Epochs
from nncore.estimators.lbfgs import minimise
from nncore.estimators.progress import Progress
from nncore.estimators.tasks import Tasks
from nncore.estimators.versions import validate_data
from nncore.model.layers import Layer
from nncore.network import NeuralNetwork

Array = NDArray[Any]


@contextmanager
def _unchanged_if_refused(estimator: "Perceptron") -> Iterator[None]:
    """Leave the estimator as it was, fitted or not, if anything is raised within."""
    before = dict(estimator.__dict__)
    try:
        yield
    except Exception:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


@dataclass(eq=False)
class Validation:
    """Samples to score, and how."""

    X: Any
    y: Array
    weights: Array | None
    scorer: Callable[..., float] | None


class Perceptron(Progress):
    """The fit and the predictions of both estimators, which say what y stands for."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the engine, which is made anew from coefs_ and intercepts_."""
        return {name: value for name, value in super().__getstate__().items() if name != "_engine"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _encode(self, y: Array, classes: Any, *, keep: bool) -> tuple[Array, dict[str, Any]]:
        """Targets of the engine, and the attributes that describe them; keep: they are those of the fit before."""

    @abstractmethod
    def _output(self) -> tuple[str, str]:
        """The engine's loss and the activation of its last layer."""

    @abstractmethod
    def _predicted(self, outputs: Array) -> Array:
        """Predictions from the outputs of the last layer."""

    @abstractmethod
    def _agreement(self, y: Array, predicted: Array, weights: Array | None) -> float:
        """The score of predictions, 1 at best."""

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
        self.n_layers_ = len(sizes)
        self._begin_anew()

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
        """The weights of the samples in the loss."""
        return checks.sample_weights(sample_weight, len(y), 1)

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
        with _unchanged_if_refused(self):
            net, tasks, train = self._prepared(X, y, sample_weight, validation_data, classes, incremental)
        with net.core.training("fit"):
            train()
        if not np.isfinite(net.core.params).all():
            raise ValueError(
                "a parameter is not finite after training, expected finite ones: scale X, or lower the rate"
            )
        if tasks is not None:
            tasks.close()
        return self

    def _prepared(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, classes: Any, incremental: bool
    ) -> tuple[NeuralNetwork, Tasks | None, Callable[[], None]]:
        """The engine with data and settings, the callbacks, and the training itself, to be called."""
        anew = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        rows, y_rows = self._samples(X, y, reset=anew)
        t, fitted = self._encode(y_rows, classes, keep=not anew)
        given, weights = checks.sample_weights(sample_weight, len(y_rows), 1), self._weights(y_rows, sample_weight)
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
        if self.solver == "lbfgs":
            return net, tasks, partial(minimise, self, net, data, tasks)
        train, validation = self._split(rows, y_rows, t, given, validation_data, rng)
        validated = None if validation is None else partial(self._validated, validation)
        return net, tasks, Epochs(self, net, data, train, validated, rng, tasks).train

    def _split(
        self, rows: Any, y: Array, t: Array, weights: Array | None, given: Any, rng: np.random.RandomState
    ) -> tuple[NDArray[np.intp], Validation | None]:
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

    def _two_classes(self, y: Array, some: str) -> Array | None:
        """Whether each sample is of the second of two classes, by which those set aside are stratified; else None."""
        return None

    def _outputs(self, X: Any) -> Array:
        """The outputs of the last layer."""
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
