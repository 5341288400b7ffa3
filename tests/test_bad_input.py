"""Bad input: one sentence that names the argument, what was given and what was expected; nothing has changed."""

import re

import numpy as np
import pytest

import nncore
from nncore import SGD, Layer, NeuralNetwork, SimpleNet, TwoLayerNet
from nncore.differences import gradient

X = np.linspace(-1, 1, 20).reshape(5, 4)
T = np.array([0, 1, 2, 1, 0])


def net():
    return NeuralNetwork([Layer(4, 3)], loss="softmax_cross_entropy", rng=0)


def with_value(value, index=(3, 2)):
    x = X.copy()
    x[index] = value
    return x


def fit(**settings):
    return lambda: net().fit(X, T, **{"progress": False, "batch_size": 2, **settings})


CASES = {
    "wrong width": (lambda: net().predict(X[:, :3]), r"x has shape (5, 3), expected (n_samples, 4) or (4,)"),
    "layer, wrong width": (
        lambda: Layer(4, 2).activate(X[:, :3]),
        "x has shape (5, 3), expected (n_samples, 4) or (4,)",
    ),
    "three dimensions": (lambda: net().predict(X[None]), "x has shape (1, 5, 4)"),
    "empty": (lambda: net().predict(X[:0]), "x is empty, shape (0, 4), expected at least one sample"),
    "NaN": (lambda: net().predict(with_value(np.nan)), "x[3, 2] is nan, expected finite numbers"),
    "inf": (lambda: net().gradient(with_value(-np.inf), T), "x[3, 2] is -inf, expected finite numbers"),
    "NaN in fit": (lambda: net().fit(with_value(np.nan), T), "X[3, 2] is nan"),
    "NaN in t": (lambda: net().loss(X, with_value(np.nan)[:, :3]), "t[3, 2] is nan"),
    "object": (lambda: net().predict(X.astype(object)), "x is an array of dtype object, expected real numbers"),
    "string": (lambda: net().predict([["a"] * 4]), "x is an array of dtype <U1, expected real numbers"),
    "complex": (lambda: net().predict(X + 0j), "x is an array of dtype complex128, expected real numbers"),
    "ragged": (lambda: net().predict([[1, 2, 3, 4], [1]]), "x is a ragged list, expected rows of equal length"),
    "label too large": (lambda: net().loss(X, [0, 1, 3, 0, 0]), "t[2] is 3, expected labels 0 to 2"),
    "label negative": (lambda: net().fit(X, [0, -1, 2, 0, 0]), "y[1] is -1, expected labels 0 to 2"),
    "labels not integers": (
        lambda: net().loss(X, T + 0.5),
        "t is an array of dtype float64, expected integer labels 0 to 2",
    ),
    "too few labels": (lambda: net().loss(X, T[:4]), "t has shape (4,), expected (5,) labels or (5, 3) targets"),
    "one-hot too wide": (
        lambda: net().loss(X, np.eye(4)[T]),
        "t has shape (5, 4), expected (5,) labels or (5, 3) targets",
    ),
    "lr 0": (lambda: SGD(0), "lr is 0, expected a finite number above 0"),
    "lr negative": (lambda: SGD(-0.1), "lr is -0.1, expected a finite number above 0"),
    "lr NaN": (lambda: SGD(float("nan")), "lr is nan, expected a finite number above 0"),
    "lr text": (lambda: SGD("fast"), "lr is 'fast', expected a finite number above 0"),
    "learning_rate": (lambda: net().backpropagation(X, T, 0), "learning_rate is 0, expected a finite number above 0"),
    "batch size 0": (fit(batch_size=0), "batch_size is 0, expected 1 or more"),
    "batch size a half": (fit(batch_size=0.5), "batch_size is 0.5, expected a whole number of 1 or more"),
    "batch size too large": (fit(batch_size=6), "batch_size is 6, expected at most 5, the number of samples"),
    "epochs 0": (fit(epochs=0), "epochs is 0, expected 1 or more"),
    "iterations -1": (fit(iterations=-1), "iterations is -1, expected 1 or more"),
    "both lengths": (fit(epochs=1, iterations=1), "epochs is 1 and iterations is 1, expected only one of them"),
    "sampling": (
        fit(sampling="random"),
        "sampling is 'random', expected one of 'shuffle', 'replacement', 'sequential'",
    ),
    "optimizer": (fit(optimizer=0.1), "optimizer is 0.1, expected an optimizer such as SGD(lr=0.1)"),
    "optimizer's name": (fit(optimizer="adamax"), "optimizer is 'adamax', expected one of 'sgd', "),
    "progress": (fit(progress="yes"), "progress is 'yes', expected True, False or 'auto'"),
    "n_threads": (fit(n_threads=0), "n_threads is 0, expected 1 or more"),
    "rng": (fit(rng=-1), "rng is -1, expected a whole number of 0 or more, a numpy.random.Generator or None"),
    "weights shape": (
        fit(sample_weight=np.ones(4)),
        "sample_weight has shape (4,), expected (5,) or (5, 3) to match X",
    ),
    "weights negative": (
        fit(sample_weight=[1, 1, -1, 1, 1]),
        "sample_weight goes from -1.0 to 1.0, expected 0 or more, not all zero",
    ),
    "weights zero": (fit(sample_weight=np.zeros(5)), "sample_weight goes from 0.0 to 0.0"),
    "validation": (fit(validation_data=(X[:, :2], T)), "validation X has shape (5, 2)"),
    "loss name": (
        lambda: NeuralNetwork(loss="mse"),
        "loss is 'mse', expected one of 'squared_error', 'absolute_error', 'huber'",
    ),
    "loss parameter": (
        lambda: NeuralNetwork(loss="huber(0)"),
        "the parameter of loss 'huber' is 0, expected a finite number above 0",
    ),
    "loss parameter text": (
        lambda: NeuralNetwork(loss="quantile(x)"),
        "the parameter of loss 'quantile' is 'x', expected a number between 0 and 1",
    ),
    "loss without a parameter": (
        lambda: NeuralNetwork(loss="hinge(1)"),
        "loss is 'hinge(1)', expected 'hinge', which has no parameter",
    ),
    "activation parameter": (
        lambda: Layer(2, 2, "elu(-1)"),
        "the parameter of activation 'elu' is -1, expected a finite number above 0",
    ),
    "last activation": (
        lambda: NeuralNetwork([Layer(2, 2, "relu")], loss="sigmoid_cross_entropy").core,
        "the last layer has activation 'relu', expected None or 'sigmoid' with sigmoid_cross_entropy",
    ),
    "smoothing": (
        lambda: NeuralNetwork(loss="sigmoid_cross_entropy", label_smoothing=0.1),
        "label_smoothing is 0.1, expected 0 with loss 'sigmoid_cross_entropy'",
    ),
    "smoothing 1": (
        lambda: NeuralNetwork(loss="softmax_cross_entropy", label_smoothing=1),
        "label_smoothing is 1, expected a number from 0 to below 1",
    ),
    "dropout": (lambda: Layer(2, 2, dropout=1), "dropout is 1, expected a number from 0 to below 1"),
    "dropout of the last layer": (
        lambda: NeuralNetwork([Layer(2, 2, dropout=0.5)]).core,
        "the last layer has dropout 0.5, expected 0: its outputs are the network's",
    ),
    "l2": (lambda: Layer(2, 2, l2=-1), "l2 is -1, expected a finite number of 0 or more"),
    "max_norm": (lambda: Layer(2, 2, max_norm=0), "max_norm is 0, expected a finite number above 0"),
    "lr_scale": (
        lambda: setattr(Layer(2, 2), "lr_scale", "x"),
        "lr_scale is 'x', expected a finite number of 0 or more",
    ),
    "probabilities as targets": (
        lambda: NeuralNetwork([Layer(4, 2)], loss="sigmoid_cross_entropy").loss(X, np.full((5, 2), 1.5)),
        "t[0, 0] is 1.5, expected numbers from 0 to 1 with loss 'sigmoid_cross_entropy'",
    ),
    "hinge targets": (
        lambda: NeuralNetwork([Layer(4, 1)], loss="hinge").fit(X, [1, 1, 1, 0, 1], progress=False),
        "y[3, 0] is 0.0, expected -1 or 1 with loss 'hinge'",
    ),
    "dtype": (lambda: NeuralNetwork(dtype="int32"), "dtype is 'int32', expected float32 or float64"),
    "activation": (lambda: Layer(2, 2, "gauss"), "activation is 'gauss', expected one of 'identity', 'relu'"),
    "init": (lambda: Layer(2, 2, init="zeros"), "init is 'zeros', expected one of 'normal', 'lecun', 'xavier', 'he'"),
    "n_input": (lambda: Layer(0, 2), "n_input is 0, expected 1 or more"),
    "weights given": (lambda: Layer(2, 3, weights=np.ones((3, 2))), "weights has shape (3, 2), expected (2, 3)"),
    "bias given": (lambda: Layer(2, 3, bias=np.ones(2)), "bias has shape (2,), expected (3,)"),
    "bias without": (lambda: Layer(2, 3, bias=np.ones(3), use_bias=False), "expected None with use_bias=False"),
    "no layer": (
        lambda: NeuralNetwork().predict([1.0]),
        "the network has no layer, expected at least one: use add_layer",
    ),
    "no layer, fit": (
        lambda: NeuralNetwork().fit(X, T),
        "the network has no layer, expected at least one: use add_layer",
    ),
    "layers that do not fit": (
        lambda: NeuralNetwork([Layer(4, 3), Layer(2, 1)]),
        "layer 2 has 2 inputs, expected 3, the outputs of the layer before it",
    ),
    "not a layer": (lambda: NeuralNetwork([3]), "layer is a int, expected a Layer"),
    "softmax within": (
        lambda: NeuralNetwork([Layer(2, 2, "softmax"), Layer(2, 1)]),
        "expected that in the last layer only",
    ),
    "sigmoid logits": (
        lambda: NeuralNetwork([Layer(2, 2, "sigmoid")], loss="softmax_cross_entropy").predict([1.0, 2.0]),
        "the last layer has activation 'sigmoid', expected None or 'softmax' with softmax_cross_entropy",
    ),
    "dy": (lambda: (n := net(), n.forward(X), n.backward(np.ones((5, 2)))), "dy has shape (5, 2), expected (5, 3)"),
    "accuracy": (lambda: NeuralNetwork.accuracy([1, 2], [1]), "y_pred has shape (2,) and y_true (1,)"),
    "two layer net": (
        lambda: TwoLayerNet(4, 3, 2, weight_init_std=0),
        "weight_init_std is 0, expected a finite number above 0",
    ),
    "simple net": (lambda: SimpleNet(W=np.ones(3)), "W has shape (3,), expected (n_in, n_out)"),
    "softmax axis": (lambda: nncore.softmax(X, axis=2), "axis is 2 and x has shape (5, 4), expected an axis of x"),
    "softmax of a number": (lambda: nncore.softmax(1.0), "expected an axis of x"),
    "mse shapes": (lambda: nncore.mean_squared_error(X, X[0]), "t has shape (4,), expected (5, 4) to match y"),
    "cross-entropy shapes": (
        lambda: nncore.cross_entropy_error(X, X[:, :2]),
        "t has shape (5, 2), expected (5, 4) to match y",
    ),
    "cross-entropy label": (lambda: nncore.cross_entropy_error(X[0], 4), "labels[] is 4, expected labels 0 to 3"),
    "one_hot": (lambda: nncore.one_hot([0, 3], 3), "labels[1] is 3, expected labels 0 to 2"),
    "eps": (
        lambda: nncore.binary_cross_entropy([0.5], [1], eps=0.5),
        "eps is 0.5, expected a number between 0 and 0.5",
    ),
    "distribution": (
        lambda: nncore.entropy([0.5, 0.6]),
        "p is [0.5 0.6], expected probabilities of 0 or more that sum to 1",
    ),
    "information": (lambda: nncore.information_content(0.0), "expected probabilities above 0 and up to 1"),
    "h": (lambda: gradient.numerical_diff(np.sin, 1.0, h=0), "h is 0, expected a finite number above 0"),
    "method": (
        lambda: gradient.numerical_diff(np.sin, 1.0, method="x"),
        "method is 'x', expected one of 'central', 'forward'",
    ),
    "integer x": (
        lambda: gradient.numerical_gradient(np.sum, np.arange(3)),
        "x is an array of dtype int64, expected an array of floats",
    ),
    "list x": (lambda: gradient.numerical_gradient(np.sum, [1.0]), "x is a list, expected an array of floats"),
    "f returns an array": (
        lambda: gradient.numerical_gradient(lambda x: x, np.ones(3)),
        "f returned a ndarray of shape (3,), expected one number",
    ),
    "f returns text": (
        lambda: gradient.numerical_gradient(lambda x: "1", np.ones(3)),
        "f returned a str, expected one number",
    ),
    "steps": (lambda: gradient.gradient_descent(np.sum, X, step_num=0), "step_num is 0, expected 1 or more"),
    "config": (lambda: nncore.show_config("json"), "mode is 'json', expected one of 'stdout', 'dicts'"),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name):
    call, message = CASES[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_nothing_has_changed_after_a_refusal():
    network = net()
    before, state = network.core.params.copy(), network.rng.bit_generator.state
    for settings in (
        {"batch_size": 9},
        {"sampling": "x"},
        {"sample_weight": [1]},
        {"validation_data": (X, [9] * 5)},
        {"progress": 3},
    ):
        with pytest.raises((ValueError, TypeError)):
            network.fit(X, T, **{"batch_size": 2, "progress": False, **settings})
    with pytest.raises(ValueError, match="has shape"):
        network.params["W1"] = np.ones(3)
    np.testing.assert_array_equal(network.core.params, before)
    assert network.rng.bit_generator.state == state


def test_a_layer_belongs_to_one_network():
    layer = Layer(2, 2)
    NeuralNetwork([layer])
    with pytest.raises(ValueError, match="belongs to a network already"):
        NeuralNetwork([layer])


def test_read_only_x_cannot_be_perturbed():
    x = np.ones(3)
    x.setflags(write=False)
    with pytest.raises(TypeError, match="x is read-only, expected a writable array"):
        gradient.numerical_gradient(np.sum, x)


def test_unknown_public_name():
    with pytest.raises(AttributeError, match="has no attribute 'Conv2D'"):
        _ = nncore.Conv2D
