"""The estimators take scikit-learn's path, and what it does not have does what it says."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network as theirs
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits

import nncore
from nncore import MLPClassifier, MLPRegressor

# Training that max_iter ends is meant.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_IRIS = scale(X_IRIS)
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])


def digits(n=1797):
    X, y = load_digits(return_X_y=True)
    return X[:n] / 16, y[:n]


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def both(kind, X, y, *args, **settings):
    """The same fit by scikit-learn and by us."""
    settings = {"random_state": 0, **settings}
    with threadpool_limits(1):  # theirs takes 20 times as long where a core is busy
        return [getattr(module, kind)(**settings).fit(X, y, *args) for module in (theirs, nncore)]


def assert_same(expected, found, rtol=1e-6):
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=rtol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        if getattr(expected, name) is None:
            assert getattr(found, name) is None
        else:
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=rtol)
    for a, b in zip(found.coefs_ + found.intercepts_, expected.coefs_ + expected.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max())
        assert a.dtype == b.dtype


SOLVERS = {
    "adam": {},
    "adam, settings": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "learning_rate_init": 0.01, "alpha": 0.5},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd, plain": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0, "shuffle": False, "batch_size": 64},
    "sgd, invscaling": {
        "solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.3, "nesterovs_momentum": False
    },
    "sgd, adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.01, "n_iter_no_change": 2
    },
}  # fmt: skip


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("data", ["digits", "diabetes"])
def test_follows_scikit_learn(data, solver, early_stopping):
    kind, (X, y) = ("MLPClassifier", digits(600)) if data == "digits" else ("MLPRegressor", diabetes())
    expected, found = both(kind, X, y, early_stopping=early_stopping, max_iter=60, **SOLVERS[solver])
    assert expected.n_iter_ > 5
    assert_same(expected, found)
    np.testing.assert_allclose(found.predict(X[:50]), expected.predict(X[:50]), rtol=1e-6)


def test_follows_scikit_learn_with_defaults_to_the_end():
    expected, found = both("MLPClassifier", *digits())
    assert expected.n_iter_ > 100
    assert_same(expected, found)
    np.testing.assert_allclose(found.predict_proba(digits()[0]), expected.predict_proba(digits()[0]), atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("data", ["digits", "diabetes"])
def test_lbfgs_follows_scikit_learn(data, activation):
    """As far as rounding lets it: the same rows in another order take scikit-learn as far off after 80 iterations."""
    kind, (X, y) = ("MLPClassifier", digits(1500)) if data == "digits" else ("MLPRegressor", diabetes())
    for max_iter in (1, 10, 30):
        expected, found = both(
            kind, X, y, solver="lbfgs", max_iter=max_iter, activation=activation, hidden_layer_sizes=(20, 10), alpha=0.1
        )
        assert found.loss_ == pytest.approx(expected.loss_, rel=1e-6)
        assert found.n_iter_ == expected.n_iter_
        assert found.loss_curve_[-1] == found.loss_


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_counts_are_scikit_learns(solver, weighted, rng):
    """The part that is taken off a batch's loss depends by weights on who is in it, and the end of training on that."""
    X = rng.normal(size=(120, 4))
    y, weights = rng.poisson(np.exp(X[:, 0])), rng.random(120) * 3 * (rng.random(120) < 0.85)
    settings = {"loss": "poisson", "hidden_layer_sizes": (), "batch_size": 16, "max_iter": 40, "tol": 1e-3}
    settings |= {"learning_rate_init": 0.02, "n_iter_no_change": 3}
    expected, found = both("MLPRegressor", X, y, weights if weighted else None, solver=solver, **settings)
    assert found.n_iter_ == expected.n_iter_
    assert found.loss_ == pytest.approx(expected.loss_, rel=1e-6 if solver == "lbfgs" else 1e-12)
    if solver != "lbfgs":  # scikit-learn's has no curve
        np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-12)
        assert found.best_loss_ == pytest.approx(expected.best_loss_, rel=1e-12)


def variants():
    X, y = digits(300)
    weights = np.random.default_rng(0).random(300)
    letters = np.array(list("abcdefghij"))
    Xm, Ym = make_multilabel_classification(200, random_state=0)
    Xr, Yr = make_regression(200, n_targets=3, random_state=0)
    Yr /= Yr.std()
    counts = np.random.default_rng(0).poisson(np.exp(Xr[:, 0]))
    return {
        "two classes": ("MLPClassifier", X, y > 4, None, {}),
        "one class": ("MLPClassifier", X, np.zeros(300, int), None, {}),
        "strings": ("MLPClassifier", X, letters[y].astype(object), None, {"early_stopping": True}),
        "weights": ("MLPClassifier", X, y, weights, {"alpha": 1.0}),
        "weights, early stopping": ("MLPClassifier", X, y > 4, weights, {"alpha": 1.0, "early_stopping": True}),
        "labels": ("MLPClassifier", Xm, Ym, None, {"batch_size": 37}),
        "labels, early stopping": ("MLPClassifier", Xm, Ym, None, {"early_stopping": True}),
        "csr": ("MLPClassifier", sp.csr_matrix(X), y, None, {}),
        "csc": ("MLPClassifier", sp.csc_array(X), y, weights, {"early_stopping": True}),
        "deep": ("MLPClassifier", X, y, None, {"hidden_layer_sizes": [20, 15, 10], "activation": "logistic"}),
        "no hidden layer": ("MLPRegressor", Xr, Yr[:, 0], None, {"hidden_layer_sizes": ()}),
        "column": ("MLPRegressor", Xr, Yr[:, 0], weights[:200], {"solver": "sgd"}),
        "outputs": ("MLPRegressor", Xr, Yr, None, {"alpha": 0, "early_stopping": True}),
        "poisson": ("MLPRegressor", Xr, counts, None, {"loss": "poisson", "early_stopping": True}),
    }  # fmt: skip


@pytest.mark.parametrize("name", variants())
def test_variants_follow_scikit_learn(name):
    kind, X, y, weights, settings = variants()[name]
    expected, found = both(kind, X, y, weights, max_iter=15, **settings)
    assert_same(expected, found)
    np.testing.assert_array_equal(getattr(found, "classes_", 0), getattr(expected, "classes_", 0))
    rows = X[:40]
    if name == "one class":  # a column for each of classes_, where scikit-learn has two
        np.testing.assert_array_equal(found.predict(rows), expected.predict(rows))
        np.testing.assert_array_equal(found.predict_proba(rows), np.ones((40, 1)))
        np.testing.assert_array_equal(found.predict_log_proba(rows), np.zeros((40, 1)))
    elif kind == "MLPClassifier":
        np.testing.assert_array_equal(found.predict(rows), expected.predict(rows))
        np.testing.assert_allclose(found.predict_proba(rows), expected.predict_proba(rows), atol=1e-9)
        np.testing.assert_allclose(found.predict_log_proba(rows), expected.predict_log_proba(rows), atol=1e-6)
    else:
        np.testing.assert_allclose(found.predict(rows), expected.predict(rows), rtol=1e-6)
    assert found.score(X, y) == pytest.approx(expected.score(X, y))


def test_float32_follows_scikit_learn():
    X, y = digits(600)
    expected, found = both("MLPClassifier", X.astype(np.float32), y, max_iter=20)
    assert_same(expected, found, rtol=1e-4)
    assert found.predict_proba(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_penalty_of_several_outputs_is_reported_whole(solver):
    """scikit-learn divides the squared error by the number of outputs where it reports it, and not the penalty."""
    X, Y = make_regression(50, n_features=4, n_targets=3, random_state=0)
    settings = {"alpha": 20.0, "max_iter": 30, "random_state": 0, "solver": solver, "learning_rate_init": 1e-4}
    models = [Estimator(hidden_layer_sizes=5, **settings) for Estimator in (theirs.MLPRegressor, MLPRegressor)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected, found = (model.fit(X, Y) for model in models)
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-9)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_going_on_follows_scikit_learn(kind, solver):
    """partial_fit keeps the optimizer, warm_start the parameters and the best loss."""
    pairs = [getattr(module, kind)(solver=solver, random_state=0) for module in (theirs, nncore)]
    for estimator in pairs:
        first = {"classes": [0, 1, 2]} if kind == "MLPClassifier" else {}
        for part in range(6):
            estimator.partial_fit(X_IRIS[part::6], Y_IRIS[part::6], **(first if part == 0 else {}))
    assert_same(*pairs)
    warm = [
        getattr(module, kind)(solver=solver, random_state=0, max_iter=5, warm_start=True) for module in (theirs, nncore)
    ]
    for estimator in warm:
        estimator.fit(X_IRIS, Y_IRIS).set_params(max_iter=7, alpha=0.1).fit(X_IRIS, Y_IRIS)
    assert_same(*warm)
    assert len(warm[1].loss_curve_) == 12


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(max_iter=100), MLPClassifier(max_iter=30, solver="lbfgs"), MLPRegressor(max_iter=100),
        MLPClassifier(max_iter=100, loss="hinge"),
    ],
    ids=str,
)  # fmt: skip
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(estimator, on_skip=None)


@BOTH
def test_parameters_are_scikit_learns_with_its_defaults(Estimator):
    """In its order where they may be given by position."""
    original = getattr(theirs, Estimator.__name__)()
    assert original.get_params().items() <= Estimator().get_params().items()
    assert repr(Estimator()) == f"{Estimator.__name__}()"
    position = ("poisson", (3, 4), "tanh") if Estimator is MLPRegressor else ((3, 4), "tanh")
    expected = type(original)(*position).get_params()
    assert expected.items() <= Estimator(*position).get_params().items()


@BOTH
def test_pickles_and_copies_go_on_where_the_estimator_was(Estimator):
    estimator = Estimator(max_iter=5, random_state=0).fit(X_IRIS, Y_IRIS)
    for other in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        reference = copy.deepcopy(estimator)
        np.testing.assert_array_equal(other.predict(X_IRIS), estimator.predict(X_IRIS))
        other.partial_fit(X_IRIS, Y_IRIS)
        assert not np.array_equal(other.coefs_[0], estimator.coefs_[0])
        np.testing.assert_array_equal(other.coefs_[0], reference.partial_fit(X_IRIS, Y_IRIS).coefs_[0])
    assert not hasattr(clone(estimator), "coefs_")


def test_parameters_that_are_assigned_are_used():
    classifier = MLPClassifier(4, max_iter=3, random_state=0).fit(X_IRIS, Y_IRIS)
    zero = np.full((len(X_IRIS), 3), 1 / 3)
    assert not np.allclose(classifier.predict_proba(X_IRIS), zero)
    in_place = copy.deepcopy(classifier)
    in_place.predict(X_IRIS)
    for estimator in (classifier, in_place):
        assign = list.__setitem__ if estimator is classifier else (lambda arrays, i, value: np.copyto(arrays[i], value))
        assign(estimator.coefs_, 1, np.zeros((4, 3)))
        assign(estimator.intercepts_, 1, np.zeros(3))
        np.testing.assert_allclose(estimator.predict_proba(X_IRIS), zero)


def test_works_in_pipelines_searches_and_calibration():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, n_jobs=2, cv=3).fit(X_IRIS, Y_IRIS)
    reference = make_pipeline(StandardScaler(), theirs.MLPClassifier(max_iter=30, random_state=0))
    expected = GridSearchCV(reference, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3).fit(X_IRIS, Y_IRIS)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    np.testing.assert_allclose(
        cross_val_score(pipeline, X_IRIS, Y_IRIS, n_jobs=2), cross_val_score(reference, X_IRIS, Y_IRIS)
    )
    calibrated, original = (
        CalibratedClassifierCV(one[-1], cv=3).fit(X_IRIS, Y_IRIS).predict_proba(X_IRIS) for one in (pipeline, reference)
    )
    np.testing.assert_allclose(calibrated, original, atol=1e-8)


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X_IRIS, columns=list("abcd"))
    for scoring in (None, "neg_log_loss"):
        classifier = MLPClassifier(max_iter=3, early_stopping=True, scoring=scoring, random_state=0).fit(frame, Y_IRIS)
        assert list(classifier.feature_names_in_) == list("abcd")
        classifier.predict(frame)
    with pytest.warns(UserWarning, match="feature names"):
        classifier.predict(X_IRIS)


def forward(estimator, X, activations):
    for W, b, f in zip(estimator.coefs_, estimator.intercepts_, activations, strict=True):
        X = f(X @ W + b)
    return X


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_activations_by_layer():
    names = ["tanh", "leaky_relu(0.2)", "logistic"]
    classifier = MLPClassifier([7, 6, 5], names, max_iter=200, random_state=0).fit(X_IRIS, Y_IRIS)
    functions = [np.tanh, lambda a: np.where(a > 0, a, 0.2 * a), lambda a: 1 / (1 + np.exp(-a)), softmax]
    np.testing.assert_allclose(classifier.predict_proba(X_IRIS), forward(classifier, X_IRIS, functions), rtol=1e-9)
    assert classifier.loss_ < 0.7 * classifier.loss_curve_[0]


LOSSES = {
    "absolute_error": lambda y, t: np.abs(y - t),
    "huber": lambda y, t: np.where(np.abs(y - t) < 1, (y - t) ** 2 / 2, np.abs(y - t) - 0.5),
    "huber(0.3)": lambda y, t: np.where(np.abs(y - t) < 0.3, (y - t) ** 2 / 2, 0.3 * (np.abs(y - t) - 0.15)),
    "quantile(0.9)": lambda y, t: np.where(t > y, 0.9 * (t - y), 0.1 * (y - t)),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_the_regressor(loss):
    X, y = diabetes()
    regressor = MLPRegressor(loss, 5, alpha=0, solver="lbfgs", max_iter=60, random_state=0).fit(X, y)
    outputs = forward(regressor, X, [lambda a: np.maximum(a, 0), lambda a: a])
    np.testing.assert_allclose(regressor.predict(X), outputs[:, 0], rtol=1e-9)
    assert regressor.loss_ == pytest.approx(LOSSES[loss](outputs[:, 0], y).mean(), rel=1e-9)
    assert regressor.loss_ < 0.8 * regressor.loss_curve_[0]


def test_a_quantile_is_one():
    X, y = np.zeros((1000, 1)), np.random.default_rng(0).exponential(size=1000)
    regressor = MLPRegressor("quantile(0.9)", (), alpha=0, max_iter=300, random_state=0, learning_rate_init=0.05)
    assert np.mean(y < regressor.fit(X, y).predict(X[:1])) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("loss", ["hinge", "squared_error"])
@pytest.mark.parametrize("y", [Y_IRIS, Y_IRIS > 0, np.eye(3)[Y_IRIS].astype(int)], ids=["classes", "two", "labels"])
def test_losses_of_the_classifier(loss, y):
    classifier = MLPClassifier(20, loss=loss, alpha=0, max_iter=150, random_state=0, learning_rate_init=0.01)
    classifier.fit(X_IRIS, y)
    assert classifier.score(X_IRIS, y) > 0.95
    assert hasattr(classifier, "predict_proba") == (loss != "hinge")
    last = {"identity": lambda a: a, "softmax": softmax, "logistic": lambda a: 1 / (1 + np.exp(-a))}
    outputs = forward(classifier, X_IRIS, [lambda a: np.maximum(a, 0), last[classifier.out_activation_]])
    if loss == "hinge" and y is not Y_IRIS:
        np.testing.assert_array_equal(classifier.predict(X_IRIS), (outputs > 0).astype(int).reshape(y.shape))
    t = y.reshape(150, -1) if classifier.n_outputs_ == 1 or y.ndim == 2 else np.eye(3)[y]
    terms = np.maximum(0, 1 - (2 * t - 1) * outputs) if loss == "hinge" else 0.5 * (outputs - t) ** 2
    # the last loss was that of the batches before their updates
    assert classifier.loss_ == pytest.approx(terms.sum(axis=1).mean(), rel=0.05)


def test_class_weights_are_sample_weights():
    X, y = digits(300)
    y = y > 7
    weights = np.where(y, 3.0, 0.5)
    expected = MLPClassifier(max_iter=5, random_state=0).fit(X, y, weights)
    found = MLPClassifier(max_iter=5, random_state=0, class_weight={False: 0.5, True: 3.0}).fit(X, y)
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
    expected = MLPClassifier(max_iter=5, random_state=0).fit(
        X, y, np.where(y, 150 / y.sum(), 150 / (~y).sum()) * weights
    )
    found = MLPClassifier(max_iter=5, random_state=0, class_weight="balanced").fit(X, y, weights)
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-12)


def test_dropout():
    """A hidden layer that is dropped nearly always learns the classes' shares and little else; runs repeat."""
    X, y = digits(500)
    curves = [
        MLPClassifier(30, dropout=rate, max_iter=20, random_state=0).fit(X, y).loss_curve_
        for rate in (0, 0.5, 0.5, 0.99)
    ]
    assert curves[1] == curves[2]
    assert curves[0][-1] < curves[1][-1] < curves[3][-1]
    by_layer = [
        MLPClassifier([30, 30], dropout=rates, max_iter=2, random_state=0).fit(X, y).loss_curve_
        for rates in (0.5, [0.5, 0.5], [0.5, 0.0])
    ]
    assert by_layer[0] == by_layer[1] != by_layer[2]


def test_dropout_draws_new_masks():
    """Where no parameter moves, each epoch has another loss, and another random_state others."""
    X, y = digits(300)
    settings = {"dropout": 0.5, "max_iter": 4, "shuffle": False, "learning_rate_init": 1e-300, "solver": "sgd"}
    first = MLPClassifier(20, random_state=0, **settings).fit(X, y)
    assert len(set(first.loss_curve_)) == 4
    other = copy.deepcopy(first).set_params(random_state=1, warm_start=True).fit(X, y)
    assert set(first.loss_curve_).isdisjoint(other.loss_curve_[4:])
    np.testing.assert_array_equal(other.coefs_[0], first.coefs_[0])


def test_float_type_and_threads():
    X, y = np.random.default_rng(0).normal(size=(500, 300)), np.arange(500) % 3
    single = MLPClassifier(400, max_iter=3, random_state=0, dtype="float32").fit(X, y)
    assert single.coefs_[0].dtype == single.predict_proba(X).dtype == np.float32
    double = MLPClassifier(400, max_iter=3, random_state=0, dtype=np.float64).fit(X.astype(np.float32), y)
    assert double.coefs_[0].dtype == np.float64
    for solver in ("adam", "lbfgs"):
        one, two = (
            MLPClassifier(400, solver=solver, max_iter=3, random_state=0, n_threads=n).fit(X, y) for n in (1, 2)
        )
        np.testing.assert_array_equal(two.coefs_[0], one.coefs_[0])


def test_validation_data_and_scoring():
    X, y = digits(600)
    test = X[400:], y[400:]
    seen = []
    classifier = MLPClassifier(
        max_iter=30, random_state=0, scoring="neg_log_loss", callbacks=[lambda e: seen.append(e.predict_proba(test[0]))]
    ).fit(X[:400], y[:400], validation_data=test)
    expected = [-log_loss(test[1], p) for p in seen]
    np.testing.assert_allclose(classifier.validation_scores_, expected, rtol=1e-12)
    assert classifier.best_loss_ == min(classifier.loss_curve_)
    assert classifier.t_ == 30 * 400
    stopped = MLPClassifier(
        max_iter=500, random_state=0, early_stopping=True, learning_rate_init=0.03, scoring=classifier.scoring
    ).fit(X[:400], y[:400], validation_data=test)
    assert stopped.n_iter_ < 500
    assert stopped.t_ == stopped.n_iter_ * 400
    assert -log_loss(test[1], stopped.predict_proba(test[0])) == pytest.approx(max(stopped.validation_scores_))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_ends_training(solver):
    seen = []
    estimator = MLPClassifier(
        solver=solver, max_iter=50, random_state=0, callbacks=[lambda e: seen.append(e.loss_), lambda e: len(seen) == 3]
    ).fit(X_IRIS, Y_IRIS)
    assert estimator.n_iter_ == 3
    assert seen == estimator.loss_curve_


class Recorder:
    """A callback after scikit-learn's protocol."""

    def __init__(self, stop_after=100):
        self.calls, self.scores, self.stages, self.stop_after = [], [], [], stop_after

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name))
        self.stages.append(fitted_estimator)
        if len(self.stages) > 1:  # the first is looked at when training is over
            self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
        return len(self.stages) == self.stop_after


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@BOTH
def test_callbacks_of_scikit_learn(Estimator, solver):
    callback = pytest.importorskip("sklearn.callback")
    scoring = "accuracy" if Estimator is MLPClassifier else "r2"
    recorder, monitor = Recorder(), callback.ScoringMonitor(scoring=scoring)
    estimator = Estimator(max_iter=4, random_state=0, solver=solver).set_callbacks(recorder)
    estimator.fit(X_IRIS, Y_IRIS, np.linspace(1, 2, 150))
    epochs = [("begin", "epoch"), ("end", "epoch")] * 4
    assert recorder.calls == [("setup", "fit"), ("begin", "fit"), *epochs, ("end", "fit"), ("teardown", "fit")]
    assert recorder.scores[-1] == recorder.scores[-2] == estimator.score(X_IRIS, Y_IRIS, np.linspace(1, 2, 150))
    once = clone(estimator).set_callbacks().set_params(max_iter=1).fit(X_IRIS, Y_IRIS, np.linspace(1, 2, 150))
    np.testing.assert_array_equal(recorder.stages[0].predict(X_IRIS), once.predict(X_IRIS))
    estimator.set_callbacks(monitor).fit(X_IRIS, Y_IRIS)
    assert len(monitor.get_logs().data) == 5
    estimator.set_callbacks(Recorder(stop_after=2)).fit(X_IRIS, Y_IRIS)
    assert estimator.n_iter_ == 2
    inside = make_pipeline(StandardScaler(), clone(estimator).set_callbacks(recorder))
    inside.fit(X_IRIS, Y_IRIS)


def test_the_progress_bar_of_scikit_learn(capsys):
    callback = pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    MLPClassifier(max_iter=3, random_state=0).set_callbacks(callback.ProgressBar()).fit(X_IRIS, Y_IRIS)
    assert "MLPClassifier - fit" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_trained():
    def press(estimator):
        if estimator.n_iter_ == 3:
            raise KeyboardInterrupt

    classifier = MLPClassifier(max_iter=50, random_state=0, callbacks=[press])
    with pytest.warns(UserWarning, match="Ctrl-C ended training after epoch 3"):
        classifier.fit(X_IRIS, Y_IRIS)
    expected = MLPClassifier(max_iter=3, random_state=0).fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(classifier.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_divergence(Estimator):
    """An error, or with early stopping a warning and the best parameters."""
    settings = {"solver": "sgd", "learning_rate_init": 1e6, "activation": "identity", "random_state": 0, "alpha": 1.0}
    X, y = X_IRIS * 1e100, Y_IRIS
    with pytest.raises(ValueError, match=r"the loss is not finite in epoch \d+: scale X and y, or lower"):
        Estimator(**settings).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="the best parameters so far are kept"):
        estimator = Estimator(**settings, early_stopping=True).fit(X, y)
    assert np.isnan(estimator.validation_scores_[-1])
    assert all(np.isfinite(W).all() for W in estimator.coefs_)


def test_warnings_say_what_ended_training():
    with pytest.warns(ConvergenceWarning, match="max_iter is 2, expected more"):
        MLPClassifier(max_iter=2).fit(X_IRIS, Y_IRIS)
    for settings in ({"max_iter": 2}, {"max_fun": 3}):
        with pytest.warns(ConvergenceWarning, match=r"L-BFGS ended after \d iterations without having converged"):
            MLPClassifier(solver="lbfgs", **settings).fit(X_IRIS, Y_IRIS)
    with pytest.warns(UserWarning, match="batch_size is 1000, which is more than the 150 samples"):
        MLPClassifier(batch_size=1000, max_iter=2).fit(X_IRIS, Y_IRIS)


def test_verbose(capsys):
    MLPClassifier(
        solver="sgd", learning_rate="adaptive", learning_rate_init=1e-5, tol=1.0, n_iter_no_change=1, verbose=True,
        early_stopping=True, random_state=0,
    ).fit(X_IRIS, Y_IRIS)  # fmt: skip
    out = capsys.readouterr().out
    assert re.search(r"Iteration 1, loss = \d\.\d{8}\nValidation score: 0\.\d+\nIteration 2", out)
    assert "Validation score not better by tol=1 for 1 epochs: learning rate 2e-06\n" in out
    assert out.endswith("Validation score not better by tol=1 for 1 epochs: stopping\n")


def test_partial_fit_knows_its_classes():
    classifier = MLPClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes is None, expected all classes in the first call"):
        classifier.partial_fit(X_IRIS, Y_IRIS)
    classifier.partial_fit(X_IRIS[:2], ["a", "c"], classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"y has classes \['d'\], expected only \['a' 'b' 'c'\]"):
        classifier.partial_fit(X_IRIS[:1], ["d"])
    with pytest.raises(ValueError, match=r"classes is \['a', 'b'\], expected \['a' 'b' 'c'\] as in the first call"):
        classifier.partial_fit(X_IRIS[:1], ["a"], classes=["a", "b"])
    classifier.partial_fit(X_IRIS[:1], ["b"])
    several = MLPClassifier(random_state=0).partial_fit(X_IRIS, np.eye(3, dtype=int)[Y_IRIS])
    with pytest.raises(ValueError, match="y is a column of classes, expected 3 labels a sample as in the fit before"):
        several.partial_fit(X_IRIS, Y_IRIS)
    assert several.out_activation_ == "logistic"
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    assert classifier.t_ == 3


REFUSED = {
    "alpha": (-1, "alpha is -1, expected a finite number of 0 or more"),
    "batch_size": (0, "batch_size is 0, expected 1 or more"),
    "solver": ("newton", "solver is 'newton', expected one of 'lbfgs', 'sgd', 'adam'"),
    "learning_rate": ("step", "learning_rate is 'step', expected one of 'constant', 'invscaling', 'adaptive'"),
    "learning_rate_init": ("0.1", "learning_rate_init is '0.1', expected a finite number above 0"),
    "momentum": (1.1, "momentum is 1.1, expected a number from 0 to 1"),
    "beta_1": (1, "beta_1 is 1, expected a number from 0 to below 1"),
    "max_iter": (2.5, "max_iter is 2.5, expected a whole number of 1 or more"),
    "shuffle": ("yes", "shuffle is 'yes', expected True or False"),
    "n_iter_no_change": (0, "n_iter_no_change is 0, expected 1 or more"),
    "hidden_layer_sizes": ((5, 0), "hidden_layer_sizes[1] is 0, expected 1 or more"),
    "activation": (["relu", "relu"], "activation has 2 values, expected one, or one for each of 1 hidden layers"),
    "dropout": (1.0, "dropout is 1.0, expected a number from 0 to below 1"),
    "loss": ("mse", "loss is 'mse', expected one of"),
    "callbacks": ([1], "callbacks holds 1, expected functions"),
    "dtype": ("int8", "dtype is 'int8', expected float32 or float64"),
    "n_threads": (0, "n_threads is 0, expected 1 or more"),
    "validation_fraction": (1.0, "validation_fraction is 1.0, expected a number from 0 to below 1"),
    "scoring": ("best", "scoring"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@BOTH
def test_refused_parameters(Estimator, name):
    value, message = REFUSED[name]
    estimator = Estimator(**{name: value})
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        estimator.fit(X_IRIS, Y_IRIS)
    assert not hasattr(estimator, "coefs_")


@pytest.mark.parametrize(
    "settings",
    [
        {"validation_data": 5},
        {"validation_data": (X_IRIS[:2], [7, 0])},
        {"early_stopping": True, "validation_fraction": 0.001},
        {"class_weight": {0: -1.0}},
        {"validation_data": (X_IRIS, Y_IRIS), "solver": "lbfgs"},
    ],
    ids=str,
)
def test_a_refusal_leaves_the_estimator_as_it_was(settings):
    for fitted in (True, False):
        classifier = MLPClassifier(5, max_iter=20, random_state=0)
        if fitted:
            with pytest.warns(ConvergenceWarning):
                classifier.fit(X_IRIS, Y_IRIS)
        data = {name: settings[name] for name in settings if name == "validation_data"}
        classifier.set_params(**{name: settings[name] for name in settings if name not in data})
        before = {name: copy.copy(value) for name, value in vars(classifier).items()}
        with pytest.raises((TypeError, ValueError)):
            classifier.fit(X_IRIS, Y_IRIS, **data)
        assert vars(classifier).keys() == before.keys()
        assert not fitted or (classifier.n_iter_, classifier.loss_curve_) == (20, before["loss_curve_"])
        for a, b in zip(before.get("coefs_", []), getattr(classifier, "coefs_", []), strict=True):
            np.testing.assert_array_equal(a, b)


def test_refused_data():
    def refuses(message, call, *args, **kwargs):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(*args, **kwargs)

    fitted = MLPClassifier(5, max_iter=2, warm_start=True, random_state=0).fit(X_IRIS, Y_IRIS)
    before = fitted.coefs_[0].copy()
    refuses("y has classes [0 1], expected [0 1 2] as in the fit before", fitted.fit, X_IRIS, Y_IRIS % 2)
    refuses("y has 3 labels, expected classes or labels", fitted.fit, X_IRIS, np.eye(3)[Y_IRIS])
    refuses("hidden_layer_sizes is 6, expected", clone(fitted).fit(X_IRIS, Y_IRIS).set_params(hidden_layer_sizes=6).fit,
            X_IRIS, Y_IRIS)  # fmt: skip
    refuses("sample_weight goes from -1.0 to 0.0", fitted.fit, X_IRIS, Y_IRIS, np.linspace(-1, 0, 150))
    refuses("sample_weight has shape (3,)", fitted.fit, X_IRIS, Y_IRIS, [1, 1, 1])
    refuses(
        "class_weight is 'even', expected one of 'balanced'", MLPClassifier(class_weight="even").fit, X_IRIS, Y_IRIS
    )
    refuses("class_weight is 'balanced', expected a dict", MLPClassifier(class_weight="balanced").partial_fit,
            X_IRIS, Y_IRIS, classes=[0, 1, 2])  # fmt: skip
    refuses("dropout is 0.5, expected 0 with solver='lbfgs'", MLPClassifier(dropout=0.5, solver="lbfgs").fit,
            X_IRIS, Y_IRIS)  # fmt: skip
    refuses("The validation set is too small", MLPRegressor(early_stopping=True).fit, X_IRIS[:3], Y_IRIS[:3])
    refuses("y has classes [7], expected only [0 1 2]", MLPClassifier().fit, X_IRIS, Y_IRIS,
            validation_data=(X_IRIS[:2], [7, 0]))  # fmt: skip
    refuses("y[0, 0] is -1.0, expected numbers of 0 or more", MLPRegressor("poisson").fit, X_IRIS, Y_IRIS - 1.0)
    np.testing.assert_array_equal(fitted.coefs_[0], before)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X_IRIS)
