"""L-BFGS takes the steps that scipy takes on a NumPy loss; Ctrl-C, callbacks and early stopping leave the last ones."""

import re

import numpy as np
import pytest
import reference as ref
from scipy.optimize import minimize

import nncore
from nncore import LBFGS, InterruptWarning, Layer, NeuralNetwork
from nncore.data import batches
from nncore.training import lbfgs


@pytest.fixture
def data(rng):
    x = rng.normal(size=(60, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.3)


def classifier(**settings):
    layers = [Layer(4, 6, "tanh", init="xavier"), Layer(6, 3, init="xavier")]
    return NeuralNetwork(layers, **{"loss": "softmax_cross_entropy", "rng": 0, **settings})


def fit(net, data, *options, **settings):
    return net.fit(*data, **{"optimizer": LBFGS(*options), "progress": False, **settings})


def by_numpy(net, x, t, max_iter, weights=None):
    """The same minimization with a loss and gradient in NumPy: the losses by iteration, the parameters at the end."""
    shapes = [array.shape for array in net.params.values()]
    sizes = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def layers(v):
        arrays = [part.reshape(shape) for part, shape in zip(np.split(v, sizes), shapes, strict=True)]
        names = [layer.activation or "identity" for layer in net.layers]
        return list(zip(arrays[::2], arrays[1::2], names, strict=True))

    def loss(v):
        return ref.network_loss(layers(v), net.loss_name, x, t, weights=weights)

    def gradient(v):
        grads = ref.network_gradient(layers(v), net.loss_name, x, t, weights=weights)[0]
        return np.concatenate([np.concatenate([dW.ravel(), db.ravel()]) for dW, db in grads])

    losses = []
    options = {"maxiter": max_iter, "gtol": 1e-5, "ftol": 1e-9}
    start = np.concatenate([array.ravel() for array in net.params.values()])
    found = minimize(
        loss, start, jac=gradient, method="L-BFGS-B", options=options, callback=lambda v: losses.append(loss(v))
    )
    return losses, found.x


def test_the_steps_are_scipys(data):
    x, t = data
    weights = np.random.default_rng(0).random(60)
    for settings in ({}, {"sample_weight": weights}):
        net = classifier()
        losses, params = by_numpy(net, x, np.eye(3)[t], 12, settings.get("sample_weight"))
        history = fit(net, data, 12, **settings)
        np.testing.assert_allclose(history.loss, losses, rtol=1e-8)
        np.testing.assert_allclose(np.concatenate([a.ravel() for a in net.params.values()]), params, atol=1e-6)
        assert history.loss[-1] == pytest.approx(net.loss(x, t, **settings), rel=1e-12)
        assert history.epochs == history.iterations == 12


def test_blocks_and_parts_add_up(data, monkeypatch):
    import scipy.sparse as sp

    whole, blocks, parts, soft = classifier(), classifier(), classifier(), classifier()
    settings = {"class_weight": {0: 2.0, 1: 0.0}}
    expected = fit(whole, data, 5, **settings).loss
    monkeypatch.setattr(lbfgs, "ROWS", 7)
    np.testing.assert_allclose(fit(blocks, data, 5, **settings).loss, expected, rtol=1e-9)
    np.testing.assert_allclose(fit(parts, (sp.csr_array(data[0]), data[1]), 5, **settings).loss, expected, rtol=1e-9)
    monkeypatch.undo()
    by_output = {"sample_weight": np.random.default_rng(1).random((60, 3))}
    expected = fit(classifier(), data, 5, **by_output).loss
    monkeypatch.setattr(lbfgs, "ROWS", 7)
    np.testing.assert_allclose(fit(soft, data, 5, **by_output).loss, expected, rtol=1e-9)


def test_it_ends_at_a_minimum(data):
    net = classifier()
    for layer in net.layers:
        layer.l2 = 0.1
    history = fit(net, data, optimizer=LBFGS(tol=1e-7, ftol=0))
    assert history.iterations < 200
    gradients = np.empty(net.n_params)
    net.core.gradient(*batches.batch(net, *data)[:2], None, gradients)
    assert np.abs(gradients).max() < 1e-6
    assert np.all(np.diff(history.loss) <= 0)


def test_digits_are_learned():
    (x, t), test = nncore.load_digits()
    for dtype in ("float32", "float64"):
        net = NeuralNetwork(
            [Layer(64, 20, "tanh", init="xavier"), Layer(20, 10)], loss="softmax_cross_entropy", rng=0, dtype=dtype
        )
        history = fit(net, (x, t), validation_data=test)
        assert history.test_accuracy[-1] > 0.93
        assert history.test_accuracy[-1] == net.accuracy(net.predict(test[0]), test[1])
        assert len(history.test_accuracy) == history.iterations == history.epoch_ends[-1]


def test_frozen_parameters_stay(data):
    layers = [
        Layer(4, 6, "tanh", trainable_bias=False, bias=np.arange(6.0)),
        Layer(6, 5, "tanh", lr_scale=0),
        Layer(5, 3),
    ]
    net = NeuralNetwork(layers, loss="softmax_cross_entropy", rng=0)
    before = {name: value.copy() for name, value in net.params.items()}
    fit(net, data, 10)
    same = {name for name, value in net.params.items() if np.array_equal(value, before[name])}
    assert same == {"b1", "W2", "b2"}


def test_ctrl_c_leaves_the_last_iteration(data, monkeypatch):
    whole, net = classifier(), classifier()
    expected = fit(whole, data, 4)
    calls, evaluate = [], lbfgs._Minimization.evaluate

    def press(self, x):
        calls.append(x)
        if self.history.iterations == 4:
            evaluate(self, x)
            raise KeyboardInterrupt
        return evaluate(self, x)

    monkeypatch.setattr(lbfgs._Minimization, "evaluate", press)
    with pytest.warns(InterruptWarning, match="Ctrl-C ended this fit after 4 iterations"):
        history = fit(net, data)
    assert history.interrupted
    np.testing.assert_array_equal(history.loss, expected.loss)
    np.testing.assert_array_equal(net.core.params, whole.core.params)


def test_callbacks_and_early_stopping_end_it(data):
    whole, net, best = classifier(), classifier(), classifier()
    fit(whole, data, 3)
    history = fit(net, data, callbacks=[lambda history: history.epochs == 3])
    assert (history.iterations, history.interrupted) == (3, False)
    np.testing.assert_array_equal(net.core.params, whole.core.params)
    values = iter([3.0, 2.0, 1.0, 2.0, 2.0])
    stopping = nncore.EarlyStopping(lambda true, outputs: next(values), patience=2, mode="min")
    history = fit(best, data, early_stopping=stopping, validation_data=data)
    assert (history.epochs, history.best_epoch) == (5, 3)
    np.testing.assert_array_equal(best.core.params, whole.core.params)


def test_the_bar_counts_iterations(data, capsys):
    fit(classifier(), data, 7, progress=True)
    assert "7/7" in capsys.readouterr().err


BAD = {
    "batch_size": ({"batch_size": 10}, "batch_size is 10, expected None with LBFGS, which takes all samples"),
    "epochs": ({"epochs": 10}, "epochs is 10, expected None with LBFGS"),
    "sampling": ({"sampling": "replacement"}, "sampling is 'replacement', expected 'shuffle' with LBFGS"),
    "schedule": ({"schedule": "cosine"}, "schedule is 'cosine', expected None with LBFGS"),
    "clip_norm": ({"clip_norm": 1.0}, "clip_norm is 1.0, expected None with LBFGS"),
    "checkpoint": ({"checkpoint": "c"}, "checkpoint is 'c', expected None with LBFGS"),
    "metrics": ({"metrics": ["f1"]}, "a metric is 'f1', expected a function or one of"),
    "max_iter": (lambda: LBFGS(0), "max_iter is 0, expected 1 or more"),
    "tol": (lambda: LBFGS(tol=-1), "tol is -1, expected a finite number of 0 or more"),
    "memory": (lambda: LBFGS(memory=1.5), "memory is 1.5, expected a whole number of 1 or more"),
    "dropout": ({"layer": {"dropout": 0.5}}, "layer 1 has dropout 0.5, expected none with LBFGS"),
    "max_norm": ({"layer": {"max_norm": 1.0}}, "layer 1 has max_norm 1.0, expected none with LBFGS"),
    "batch_norm": ({"network": "batch_norm"}, "layer 1 has batch_norm True, expected none with LBFGS"),
    "frozen": ({"layer": {"lr_scale": 0}}, "all layers are frozen, expected one with an lr_scale above 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_before_anything_changes(data, name):
    settings, message = BAD[name]
    net = classifier()
    if isinstance(settings, dict):
        settings = dict(settings)
        if settings.pop("network", None):
            net = NeuralNetwork([Layer(4, 6, batch_norm=True), Layer(6, 3)], rng=0)
        for key, value in settings.pop("layer", {}).items():
            for layer in net.layers[: None if key == "lr_scale" else 1]:
                setattr(layer, key, value)
    before = net.core.params.copy()
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        settings() if callable(settings) else fit(net, data, **settings)
    np.testing.assert_array_equal(net.core.params, before)


def test_a_loss_that_is_not_finite_at_the_start():
    net = NeuralNetwork([Layer(1, 1, weights=[[1e300]], bias=[0.0])])
    with pytest.raises(FloatingPointError, match="the loss is inf at the start, expected a finite loss"):
        fit(net, ([[1e300]], [0.0]))
    assert net.params["W1"][0, 0] == 1e300
    with pytest.raises(TypeError, match=r"optimizer is LBFGS\("):
        nncore.fit_many([net], [[1.0]], [0.0], optimizer=LBFGS(), progress=False)
