"""MLPRegressor: scikit-learn's regressor, trained by the compiled engine as MLPClassifier is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from nncore.core import checks
from nncore.data.samples import Data
from nncore.estimators.perceptron import Perceptron
from nncore.estimators.versions import with_callbacks
from nncore.functions import domains, kinds
from nncore.network import NeuralNetwork

Array = NDArray[Any]

# Targets so many times as large as what predictions reach are not a matter of more epochs; looked at for so many rows.
FAR, LOOK_ROWS = 10, 1000


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, Perceptron):
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
    gradient. Losses are reported so here too; lbfgs gets a loss and a gradient that belong together, and reports the
    penalty divided as well.

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
        checks.named(self.loss, "loss", kinds.REGRESSION, kinds.LOSS_PARAMS)

    def _output(self) -> tuple[str, str]:
        return self.loss, "identity"

    def _encode(self, y: Array, classes: Any, *, keep: bool) -> tuple[Array, dict[str, Any]]:
        t = domains.targets_for(self.loss, checks.floats(y.reshape(len(y), -1), "y"), "y")
        if keep and self.n_outputs_ != t.shape[1]:
            raise ValueError(f"y has {t.shape[1]} outputs, expected {self.n_outputs_} as in the fit before")
        return t, {"n_outputs_": t.shape[1], "out_activation_": kinds.loss(self.loss).link or "identity"}

    def _reported(self, loss: float) -> float:
        return (loss - self._least) / self._divisor()

    def _divisor(self) -> int:
        return self.n_outputs_ if self.loss == "squared_error" else 1

    def _least_losses(self, t: Array) -> Array | None:
        if self.loss != "poisson":
            return None
        from scipy.special import xlogy

        return np.asarray((t - xlogy(t, t)).sum(axis=1))

    def _predicted(self, outputs: Array) -> Array:
        if self.out_activation_ == "exp":
            outputs = np.exp(outputs)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def _far_from_targets(self, net: NeuralNetwork, data: Data, rows: NDArray[np.intp]) -> str:
        if kinds.loss(self.loss).link:
            return ""
        some = rows[:: -(-len(rows) // LOOK_ROWS)]
        t = data.t[some].astype(np.float64)
        outputs = net.predict(data.x[some] if isinstance(data.x, np.ndarray) else data.x.rows[some])
        mean, deviation, reach = t.mean(axis=0), t.std(axis=0), np.abs(outputs).max(axis=0)
        k = int(((np.abs(mean) + deviation) / np.maximum(reach, 1)).argmax())
        y = f"y has mean {mean[k]:.3g} and standard deviation {deviation[k]:.3g}"
        way = "scale y, as TransformedTargetRegressor with a StandardScaler does"
        if abs(mean[k]) + deviation[k] > FAR * max(reach[k], 1):
            return f"{y}, but after {self.n_iter_} epochs predictions reach {reach[k]:.3g} only: {way}"
        small = 0 < deviation.max() ** 2 < self.tol and self.solver != "lbfgs"
        if small and ((t - outputs) ** 2).mean() > t.var(axis=0).mean():
            return f"{y}, whose losses differ by less than tol = {self.tol:g}, and the mean would fit better: {way}"
        return ""

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
            Each batch's loss is the mean by these weights, and the penalty is divided by their sum, as in scikit-learn:
            to multiply all by c is to divide alpha by c. With early_stopping samples of weight 0 are left out.
        validation_data : (X, y), optional
            Scored after every epoch; with early_stopping instead of a part of X.

        Returns
        -------
        MLPRegressor
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
