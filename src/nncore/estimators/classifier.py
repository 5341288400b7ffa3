"""MLPClassifier: scikit-learn's classifier, trained by the compiled engine.

Parameters, attributes and what a random_state stands for are scikit-learn's: the same start, order of samples, split
and end of training. The core makes the updates; Python shuffles, and looks at the loss of each epoch.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from nncore.core import checks
from nncore.estimators.perceptron import Perceptron
from nncore.estimators.versions import with_callbacks
from nncore.functions import kinds

Array = NDArray[Any]

# The engine's loss and last activation with one sigmoid a label, and with a softmax over classes.
LOSSES = {
    "log_loss": (("sigmoid_cross_entropy", "sigmoid"), ("softmax_cross_entropy", "softmax")),
    "squared_error": (("squared_error", "sigmoid"), ("squared_error", "softmax")),
    "hinge": (("hinge", "identity"), ("hinge", "identity")),
}


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, Perceptron):
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
        Whether fit goes on from the fit before; L-BFGS then begins with no memory of curvature, so that many short fits
        are worse than a long one: to watch it use callbacks.
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
        Of each epoch, None without early_stopping and validation_data; the highest, None without early_stopping.
    diverged_ : bool
        Whether training diverged by the rule of NeuralNetwork.fit: coefs_ and intercepts_ are then the last sane ones.
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
        checks.choice(self.loss, "loss", LOSSES)
        if isinstance(self.class_weight, str):
            checks.choice(self.class_weight, "class_weight", ["balanced"])

    def _output(self) -> tuple[str, str]:
        return LOSSES[self.loss][self.out_activation_ == "softmax"]

    def _encode(self, y: Array, classes: Any, *, keep: bool) -> tuple[Array, dict[str, Any]]:
        check_classification_targets(y)
        if y.ndim == 2:
            n = y.shape[1]
            if not np.isin(y, (0, 1)).all():
                raise ValueError(
                    f"Multioutput target data is not supported: y has {n} columns with values other than 0 and 1, "
                    f"expected one column of classes, or a column of 0 and 1 for each label"
                )
            if keep and not (self._multilabel and self.n_outputs_ == n):
                raise ValueError(f"y has {n} labels, expected classes or labels as in the fit before")
            return self._signs(y > 0), self._described(np.arange(n), n, multilabel=True)
        if keep and self._multilabel:
            raise ValueError(
                f"y is a column of classes, expected {self.n_outputs_} labels a sample as in the fit before"
            )
        known = np.unique(y if classes is None else classes)
        if keep and classes is None and not np.array_equal(known, self.classes_):
            raise ValueError(f"y has classes {known}, expected {self.classes_} as in the fit before with warm_start")
        labels = np.minimum(np.searchsorted(known, y), len(known) - 1)
        unseen = known[labels] != y
        if unseen.any():
            raise ValueError(f"y has classes {np.unique(y[unseen])}, expected only {known}")
        n = len(known) if len(known) > 2 else 1
        return (labels if n > 1 else self._signs(labels.reshape(-1, 1) > 0)), self._described(known, n)

    @property
    def _kind(self) -> kinds.Loss:
        """The engine's loss of outputs that say yes or no."""
        return kinds.LOSSES[LOSSES[self.loss][0][0]]

    def _signs(self, positive: Array) -> Array:
        """Targets of outputs that say yes or no."""
        off, on = self._kind.coding
        return np.where(positive, on, off)

    def _described(self, classes: Array, n_outputs: int, multilabel: bool = False) -> dict[str, Any]:
        activation = "softmax" if n_outputs > 1 and not multilabel else "logistic"
        return {
            "classes_": classes,
            "n_outputs_": n_outputs,
            "out_activation_": "identity" if self._kind.margin else activation,
            "_multilabel": multilabel,
        }

    def _two_classes(self, y: Array, some: str) -> Array | None:
        if self.n_outputs_ > 1 or y.ndim == 2:
            return None
        known, counts = np.unique(y, return_counts=True)
        k = int(counts.argmin())
        if counts[k] < 2:
            name = known[k].item() if isinstance(known[k], np.generic) else known[k]
            raise ValueError(
                f"y has {counts[k]} sample of class {name!r}{some}, expected 2 or more of each class with "
                f"early_stopping, which sets samples of both aside: give validation_data, or early_stopping=False"
            )
        return np.asarray(y == self.classes_[-1])

    def _weights(self, y: Array, sample_weight: ArrayLike | None) -> Array | None:
        weights = super()._weights(y, sample_weight)
        if self.class_weight is None:
            return weights
        by_class = checks.addable(compute_sample_weight(self.class_weight, y), "class_weight")
        if weights is None:
            return by_class
        return checks.addable(checks.multiplied(weights, by_class, "class_weight"), "sample_weight times class_weight")

    def _predicted(self, outputs: Array) -> Array:
        if self.n_outputs_ > 1 and not self._multilabel:
            return self.classes_[outputs.argmax(axis=1)]
        positive = outputs > (0 if self._kind.margin else 0.5)
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
            Each batch's loss is the mean by these weights, and the penalty is divided by their sum, as in scikit-learn:
            to multiply all by c is to divide alpha by c. With early_stopping samples of weight 0 are left out.
        validation_data : (X, y), optional
            Scored after every epoch; with early_stopping instead of a part of X.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y does not fit, or the loss becomes infinite or NaN with no parameters to go back to.

        Warns
        -----
        ConvergenceWarning
            If training has diverged (see diverged_), was not done, or could not succeed, as y is to be scaled.
        """
        return self._fit(X, y, sample_weight, validation_data=validation_data)

    @available_if(Perceptron._solver_is_stochastic)
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
        if classes is not None and np.size(classes) == 0:
            raise ValueError("classes is empty, expected all classes there will be")
        if known is None and classes is None and type_of_target(y) != "multilabel-indicator":
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
            In the order of classes_, so of a single class ones, (n_samples, 1), where scikit-learn has two columns; of
            several labels that of each.
        """
        outputs = self._outputs(X)
        if len(self.classes_) == 1 and not self._multilabel:
            return np.ones_like(outputs)
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
        if self.loss in LOSSES and self._kind.margin:
            raise AttributeError(f"loss is {self.loss!r}, whose outputs are no probabilities, expected 'log_loss'")
        return True
