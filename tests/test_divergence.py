"""Divergence that stays finite is divergence, and no training that works is taken for it."""

import itertools
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import nncore
from nncore import LBFGS, SGD, Adam, EarlyStopping, Layer, MLPClassifier, MLPRegressor, NeuralNetwork, RMSprop, fit_many
from nncore.data.samples import Data
from nncore.training import divergence
from nncore.training import run as training

LINE = np.arange(200.0)[:, None]  # x = 0..199, y = 2x: keras#3040


def line(**settings):
    net = NeuralNetwork([Layer(1, 1)], rng=0, **settings)
    return net, net.core.params.copy()


def fit_line(net, **settings):
    settings = {"optimizer": SGD(0.001), "batch_size": 1, "epochs": 1, "progress": False, **settings}
    return net.fit(LINE, 2 * LINE, **settings)


def test_a_loss_that_grows_by_1e290_is_divergence():
    """By theory: each step multiplies the error of the weight by 1 - lr * x**2, which is down to -38."""
    net, start = line()
    optimizer = SGD(0.001)
    with pytest.raises(FloatingPointError) as raised:
        fit_line(net, optimizer=optimizer)
    message, (W, b) = str(raised.value), start
    before = 0.5 * np.mean((2 * LINE - (W * LINE + b)) ** 2)
    for part in (
        f"the mean loss was {before:.3g}, and",
        "after iteration 200 with learning rate 0.001",
        "X (column 0 reaches 199) and y (mean 199, standard deviation 115), or try a smaller learning rate",
        "W1 grew most, from 0.126 to",
        "the parameters are again those after iteration 0",
    ):
        assert part in message
    np.testing.assert_array_equal(net.core.params, start)
    assert net.optimizer is optimizer
    fit_line(net, optimizer=SGD(1e-5))  # and training goes on from there
    assert abs(net.params["W1"][0, 0] - 2) < 0.1


def test_the_last_sane_parameters_are_those_of_the_last_look(monkeypatch):
    """Of a finite loss and of one that is not: the rate leaps in iteration 31, looks come every 10."""
    monkeypatch.setattr(training, "looks_apart", lambda n_params: 10)

    class Leap(nncore.Schedule):
        def __init__(self, factor):
            self.factor = factor

        def factors(self, first, last, total):
            return np.where(np.arange(first, last) < 30, 1.0, self.factor)

    sane = line()[0]
    fit_line(sane, optimizer=SGD(1e-6), epochs=None, iterations=30, rng=1)
    for factor, what in ((1e3, "the mean loss was"), (1e300, "the loss became")):
        net, _ = line()
        with pytest.raises(FloatingPointError, match=f"{what}.*again those after iteration 30"):
            fit_line(net, optimizer=SGD(1e-6), epochs=None, iterations=200, schedule=Leap(factor), rng=1)
        np.testing.assert_array_equal(net.core.params, sane.core.params)


def test_the_loss_of_an_earlier_look_is_not_taken_for_that_of_the_last():
    net = NeuralNetwork([Layer(1, 1)], rng=0)
    watch = divergence.Watch(net, Data(net, LINE, 2 * LINE, None, None))
    net.layers[0].weights[...] = 1e4
    assert watch.is_sane()
    assert np.isfinite(watch.loss)
    net.layers[0].weights[...] = np.nan
    assert not watch.is_sane()
    assert np.isnan(watch.loss)


def test_with_early_stopping_the_best_parameters_come_back():
    net, _ = line()
    with pytest.raises(FloatingPointError, match="again those of epoch 1, the best"):
        fit_line(net, epochs=20, validation_data=(LINE, 2 * LINE), early_stopping=EarlyStopping(patience=50))
    assert np.isfinite(net.core.params).all()


def test_momentum_float32_functions_and_sparse_rows():
    import scipy.sparse as sp

    def squares(y, t):
        return 0.5 * np.mean((y - t) ** 2), (y - t) / y.size

    # so few steps that the loss stays within float32
    for settings in ({"dtype": np.float32}, {"loss": squares}, {}):
        net, start = line(**settings)
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="smaller learning rate"):
            fit_line(net, optimizer=nncore.Momentum(0.001), epochs=None, iterations=20)
        np.testing.assert_array_equal(net.core.params, start)
    net, start = line()
    with pytest.raises(FloatingPointError, match="column 0 reaches 199"):
        net.fit(sp.csr_matrix(LINE), 2 * LINE, optimizer=SGD(0.001), batch_size=1, epochs=1, progress=False)


def test_a_population_notes_it_and_goes_back():
    nets = [line()[0], line()[0]]
    start = nets[0].core.params.copy()
    settings = {"optimizer": [SGD(0.001), SGD(1e-5)], "batch_size": 1, "epochs": 1, "progress": False, "rng": 0}
    diverged, fine = fit_many(nets, LINE, 2 * LINE, **settings)
    assert isinstance(diverged.error, FloatingPointError)
    assert fine.error is None
    np.testing.assert_array_equal(nets[0].core.params, start)


def test_updates_one_by_one():
    for update in (
        lambda net, x: net.backpropagation([x], [2 * x], 0.001),
        lambda net, x: net.partial_fit([x], [2 * x]),
    ):
        net, _ = line()
        net.trained_with = SGD(0.001), None
        with pytest.raises(FloatingPointError, match=r"1e\+10 times what they were, .* scale X and y"):
            list(map(update, itertools.repeat(net), itertools.cycle(LINE[:, 0])))
        assert np.abs(net.core.params).max() < 1e20
    with pytest.raises(FloatingPointError, match="nothing was updated"):
        line()[0].backpropagation([1e200], [0.0], 0.1)


def test_lbfgs_says_what_is_large_at_the_start():
    net, start = line()
    with pytest.raises(FloatingPointError, match=r"scale X \(column 0 reaches 1e\+160\)"):
        net.fit([[1.0], [1e160]], [1.0, 2.0], optimizer=LBFGS(), progress=False)
    np.testing.assert_array_equal(net.core.params, start)
    with pytest.raises(ValueError, match="not finite at the start: scale X"):
        MLPRegressor(solver="lbfgs", random_state=0).fit([[1.0], [1e160]], [1.0, 2.0])


# ---- no false alarm -------------------------------------------------------------------------------------------

SCALES = {"unit": 1.0, "pixels": 100.0, "large": 1e4, "tiny": 1e-5}
TARGETS = {
    "unit": lambda z: z,
    "a million": lambda z: 1e6 + 1e5 * z,
    "1e12": lambda z: 1e12 * z,
    "tiny": lambda z: 1e-9 * z,
    "zero": lambda z: 0 * z,
    "one outlier": lambda z: np.where(np.arange(len(z)) == 7, 1e6, z),
    "sorted": lambda z: np.sort(1e6 * np.abs(z)),
    "classes": lambda z: (z > 0).astype(int),
}
NETS = {
    "line": lambda n: [Layer(4, n)],
    "tanh": lambda n: [Layer(4, 8, "tanh"), Layer(8, n)],
    "deep": lambda n: [Layer(4, 16, "relu", init="he"), Layer(16, 16, "relu", init="he"), Layer(16, n)],
}
# Steps that the size of gradients does not lengthen, first ones included; and plain ones within the limit of stability.
RULES = {
    "adam": lambda limit: Adam(1e-3), "large adam": lambda limit: Adam(0.1), "rmsprop": lambda limit: RMSprop(0.01),
    "large rmsprop": lambda limit: RMSprop(0.1), "sgd": lambda limit: SGD(0.5 * limit),
    "momentum": lambda limit: nncore.Momentum(0.1 * limit, 0.9),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", SCALES)
def test_usual_trainings_raise_no_alarm(scale, rule, monkeypatch):
    """Looked at after every update, each sample by itself and in batches; a line is stable below 1 / max(|x|**2)."""
    monkeypatch.setattr(training, "looks_apart", lambda n_params: 1)
    rng = np.random.default_rng([list(SCALES).index(scale), list(RULES).index(rule)])
    z = rng.normal(size=(40, 4))
    x, limit = SCALES[scale] * z, 1 / ((SCALES[scale] * z) ** 2).sum(axis=1).max() / 2
    for target, name, batch_size in itertools.product(TARGETS, NETS, (1, 16)):
        if rule in ("sgd", "momentum") and name != "line":
            continue
        t = TARGETS[target](z[:, 0] - z[:, 2])
        classes = target == "classes"
        loss = "softmax_cross_entropy" if classes else "squared_error"
        net = NeuralNetwork(NETS[name](2 if classes else 1), loss=loss, rng=0)
        history = net.fit(
            x, t, optimizer=RULES[rule](min(limit, 0.5)), batch_size=batch_size, epochs=4, progress=False, rng=0,
            sampling="sequential" if batch_size == 1 else "shuffle",
        )  # fmt: skip
        assert history.epochs == 4


def test_one_target_in_many_that_counts_is_no_divergence(monkeypatch):
    """It moves the bias by 1e8, and the others bring it back: it is not among the 4096 samples that are looked at."""
    monkeypatch.setattr(training, "looks_apart", lambda n_params: 1)
    x, t = np.zeros((20_000, 1)), np.zeros(20_000)
    t[1] = 1e9
    net = NeuralNetwork([Layer(1, 1)], rng=0)
    net.fit(x, t, optimizer=SGD(0.1), batch_size=1, iterations=400, sampling="sequential", progress=False)
    assert abs(net.params["b1"][0]) < 1e-6


@pytest.mark.parametrize("factor", [3.0, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("scale", SCALES)
def test_steps_beyond_the_limit_of_stability_raise_it(scale, factor):
    """Of a line without bias in whole batches, an error grows by |1 - lr * curvature| = 2 * factor - 1 a step."""
    x = SCALES[scale] * np.random.default_rng(0).normal(size=(50, 1))
    net = NeuralNetwork([Layer(1, 1, use_bias=False)], rng=0)
    start = net.core.params.copy()
    rate = 2 * factor / np.mean(x**2)
    steps = int(20 / np.log10(2 * factor - 1)) + 1  # the weight grows by 1e20 or more
    with pytest.raises(FloatingPointError, match=r"diverged|became|not finite"):
        net.fit(x, 3 * x, optimizer=SGD(rate), batch_size=50, epochs=steps, progress=False)
    np.testing.assert_array_equal(net.core.params, start)


def test_the_generator_finds_a_watch_that_looks_at_the_loss_of_batches_alone(monkeypatch):
    """A planted fault: without the size of parameters and of targets, sorted targets are taken for divergence."""
    monkeypatch.setattr(divergence, "GROWN", 0.0)
    monkeypatch.setattr(divergence, "RISEN", 1.0)
    with pytest.raises(FloatingPointError):
        test_usual_trainings_raise_no_alarm("unit", "large rmsprop", monkeypatch)


# ---- the estimators -------------------------------------------------------------------------------------------


def test_weights_of_1e_12_give_no_coefficients_of_1e77():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(30, 3)), rng.integers(1, 4, 30).astype(float)
    y = (X[:, 0] > 0).astype(int)
    settings = {"hidden_layer_sizes": 5, "shuffle": False, "batch_size": 30, "max_iter": 20, "random_state": 0,
                "solver": "sgd", "alpha": 0.1}  # fmt: skip
    with pytest.warns(
        ConvergenceWarning, match="training has diverged in epoch .*alpha count .* times, as its mean is"
    ):
        classifier = MLPClassifier(**settings).fit(X, y, 1e-12 * w)
    assert classifier.diverged_
    assert max(np.abs(W).max() for W in classifier.coefs_) < 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter
        again = MLPClassifier(**settings).fit(X, y, w)
        # a common factor of the weights divides alpha
        scaled = MLPClassifier(**{**settings, "alpha": 0.1e-3}).fit(X, y, 1e-3 * w)
    assert not again.diverged_
    np.testing.assert_allclose(scaled.coefs_[0], again.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_estimator_keeps_the_last_sane_parameters(early_stopping, monkeypatch):
    """Rates that leap in epoch 4 of 10; looks come every epoch."""
    monkeypatch.setattr("nncore.estimators.epochs.LOOK_SAMPLES", 1)

    def leap(estimator):
        kept.append([W.copy() for W in estimator.coefs_])
        if estimator.n_iter_ == 3:
            estimator._optimizer.learning_rate = 1e-3

    kept = []
    regressor = MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", learning_rate_init=1e-7, momentum=0.0, batch_size=1, max_iter=10,
        random_state=0, tol=0, callbacks=[leap], early_stopping=early_stopping, alpha=0,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="training has diverged in epoch 4: .*column 0 reaches 199.* are kept"):
        regressor.fit(LINE[:120:2].repeat(2, axis=0) * 199 / 118, LINE[:120, 0])
    assert regressor.diverged_
    assert regressor.n_iter_ == 4
    np.testing.assert_array_equal(regressor.coefs_[0], kept[2][0])


def test_partial_fit_of_an_estimator_goes_back():
    regressor = MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", learning_rate_init=1e-3, momentum=0.0, batch_size=1, random_state=0
    )
    regressor.partial_fit(LINE[:2], LINE[:2, 0])
    before = regressor.coefs_[0].copy()
    with pytest.warns(ConvergenceWarning, match="diverged in epoch 1.*the parameters at the start are kept"):
        regressor.partial_fit(LINE, LINE[:, 0])
    assert regressor.diverged_
    np.testing.assert_array_equal(regressor.coefs_[0], before)
