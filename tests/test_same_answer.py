"""Same input, same answer: bytes and the same numbers in other types; NaN parameters; accuracy's two readings."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score

import nncore
from nncore import SGD, Layer, MLPClassifier, NeuralNetwork, TwoLayerNet, fit_many
from nncore.training import metrics
from nncore.training.evaluation import Evaluation

BYTES = np.random.default_rng(0).integers(0, 256, (60, 4), dtype=np.uint8)
LABELS = np.arange(60) % 3


def network(n_in=4, n_out=3, activation=None, loss="softmax_cross_entropy", **settings):
    return NeuralNetwork([Layer(n_in, 5, "tanh"), Layer(5, n_out, activation)], loss=loss, rng=0, **settings)


def trained(x, y=LABELS, **settings):
    net = network(**settings)
    net.fit(x, y, epochs=2, progress=False, rng=0)
    return net


def reference(net, x):
    """The outputs in NumPy."""
    p = net.params
    return np.tanh(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]


# ---- bytes ----------------------------------------------------------------------------------------------------

INTEGERS = {
    "uint8": BYTES,
    "int64": BYTES.astype(int),
    "int16": BYTES.astype(np.int16),
    "list": BYTES.tolist(),
    "sparse": sp.csc_matrix(BYTES.astype(int)),
    "big-endian": BYTES.astype(">u4"),
    "Fortran": np.asfortranarray(BYTES),
    "strided": np.repeat(BYTES, 2, axis=0)[::2],
}


@pytest.mark.parametrize("how", ["fit", "partial_fit", "backpropagation", "fit_many", "file", "copy", "pickle"])
@pytest.mark.parametrize("name", INTEGERS)
def test_a_network_trained_on_bytes_takes_integers_for_bytes(how, name, tmp_path):
    net = network()
    if how == "partial_fit":
        net.partial_fit(BYTES, LABELS)
    elif how == "backpropagation":
        net.backpropagation(BYTES, LABELS, 0.1)
    elif how == "fit_many":
        fit_many([net], BYTES, LABELS, epochs=1, progress=False)
    else:
        net = trained(BYTES)
    if how == "file":
        net.save(tmp_path / "m")
        net = NeuralNetwork.load(tmp_path / "m")
    net = {"copy": copy.copy, "pickle": lambda net: pickle.loads(pickle.dumps(net))}.get(how, lambda net: net)(net)
    x, expected = INTEGERS[name], reference(net, BYTES / 255)
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-12)
    if name != "sparse":
        np.testing.assert_allclose(net.predict(x[0]), expected[0], rtol=1e-12)
    np.testing.assert_allclose(net.predict(BYTES / 255), expected, rtol=1e-12)
    assert net.loss(x, LABELS) == net.loss(BYTES, LABELS)
    assert net.score(x, LABELS) == np.mean(expected.argmax(axis=1) == LABELS)
    np.testing.assert_array_equal(net.gradient(x, LABELS)["W1"], net.gradient(BYTES, LABELS)["W1"])


def test_integers_that_are_no_bytes_and_floats_that_are_not_scaled_are_refused():
    net = trained(BYTES)
    for bad in ([[1, 2, 3, 256]], [[-1, 2, 3, 4]]):
        with pytest.raises(
            ValueError, match=r"x has integers from .*, expected 0 to 255: the network was trained on bytes"
        ):
            net.predict(bad)
    dark = np.minimum(BYTES[:1], 7).astype(float)
    for bad in (
        BYTES.astype(float),
        BYTES.astype(np.float32),
        BYTES[0].astype(float),
        0.999 * BYTES,
        dark,
        -1.0 * BYTES,
    ):
        for call in (
            net.predict,
            net.predict_proba,
            net.forward,
            lambda x: net.loss(x, LABELS[: len(np.atleast_2d(x))]),
        ):
            with pytest.raises(
                ValueError, match=r"x has floats up to .*, expected uint8, or floats that are multiplied"
            ):
                call(bad)
    with pytest.raises(ValueError, match="validation X has floats up to 255"):
        net.fit(BYTES, LABELS, validation_data=(BYTES.astype(float), LABELS), progress=False)
    with pytest.raises(ValueError, match="x has floats up to 255"):
        net.predict(sp.csr_array(BYTES.astype(float)))
    scaled = BYTES / 255
    for fine in (scaled, scaled + np.random.default_rng(0).normal(size=scaled.shape), np.rint(scaled), scaled - 0.5):
        np.testing.assert_allclose(net.predict(fine), reference(net, fine), rtol=1e-12)


@pytest.mark.parametrize("x", [BYTES.astype(int), BYTES.astype(float), BYTES.tolist(), BYTES % 2 == 0])
def test_a_network_trained_on_plain_numbers_takes_bytes_as_they_are(x, tmp_path):
    net = trained(x)
    numbers = np.asarray(x)
    np.testing.assert_allclose(
        net.predict(numbers.astype(np.uint8)), reference(net, numbers.astype(float)), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(net.predict(x), reference(net, numbers.astype(float)), rtol=1e-12, atol=1e-14)
    net.save(tmp_path / "m")
    loaded = NeuralNetwork.load(tmp_path / "m").predict(numbers.astype(np.uint8))
    np.testing.assert_array_equal(loaded, net.predict(x))
    for again in (net, NeuralNetwork.load(tmp_path / "m")):  # and from now on bytes are scaled again
        again.fit(BYTES, LABELS, progress=False)
        np.testing.assert_allclose(again.predict(BYTES), reference(again, BYTES / 255), rtol=1e-12, atol=1e-14)
    again.input_scale = 0.5
    again.fit(BYTES, LABELS, progress=False)
    np.testing.assert_allclose(again.predict(BYTES), reference(again, BYTES / 2), rtol=1e-12, atol=1e-14)


def test_a_network_trained_on_scaled_floats_scales_bytes_and_warns_of_integers():
    for net in (trained(BYTES / 255), network()):
        np.testing.assert_allclose(net.predict(BYTES), reference(net, BYTES / 255), rtol=1e-12)
        with pytest.warns(UserWarning, match="x has integers, which are taken as they are, though bytes") as caught:
            net.predict(BYTES.tolist())
        assert caught[0].filename == __file__
        net.predict([[0, 1, 2, 3]])  # small ones are what a user types
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(input_scale=1.0).predict(BYTES.tolist())  # the same either way


def test_flags_as_bytes_are_said():
    flags = (BYTES > 127).astype(np.uint8)
    for x in (flags, sp.csr_matrix(flags)):
        with pytest.warns(UserWarning, match="X is uint8 with no value above 1, and bytes are multiplied"):
            network().fit(x, LABELS, progress=False)
    network(input_scale=1).fit(flags, LABELS, progress=False)


def test_a_refused_fit_changes_nothing_of_it():
    net = trained(BYTES)
    with pytest.raises(ValueError, match="y has shape"):
        net.fit(BYTES.astype(int), LABELS[:5], progress=False)
    fresh = network()
    with pytest.raises(ValueError, match="y has shape"):
        fresh.partial_fit(BYTES, LABELS[:5])
    assert (net.input_kind, fresh.input_kind, net.input_scale) == ("bytes", None, 1 / 255)


def test_the_file_says_what_it_was_trained_on(tmp_path):
    import json

    from nncore.files import models

    net = trained(BYTES)
    net.save(tmp_path / "m")
    architecture = json.loads(models.read_metadata(tmp_path / "m")["architecture"])
    assert architecture["trained_on"] == "bytes"
    tensors = models.tensors_of(net)
    data = models.to_safetensors(tensors, {"architecture": json.dumps({**architecture, "trained_on": "pixels"})})
    (tmp_path / "odd").write_bytes(data)
    with pytest.raises(ValueError, match="trained_on is 'pixels', expected one of None, 'bytes'"):
        NeuralNetwork.load(tmp_path / "odd")


# ---- parameters that are NaN ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_are_not_finite_are_refused_by_name(value, dtype):
    with pytest.raises(ValueError, match=rf"weights\[1, 0\] is {value}, expected finite"):
        Layer(2, 1, weights=[[1.0], [value]])
    with pytest.raises(ValueError, match=rf"bias\[0\] is {value}"):
        Layer(2, 1, bias=[value])
    with pytest.raises(ValueError, match=rf"2.weight of source\[0, 1\] is {value}"):
        NeuralNetwork.from_torch({"0.weight": np.ones((2, 2)), "2.weight": np.array([[1.0, value]])}, "relu")
    net = network(dtype=dtype)
    with pytest.raises(ValueError, match=r"params\['b1'\]\[0\] is"):
        net.params["b1"] = np.full(5, value)
    assert np.isfinite(net.core.params).all()
    net.params["W2"][3, 1] = value
    x = BYTES / 255
    for call in (
        lambda: net.fit(x, LABELS, progress=False),
        lambda: net.fit(x, LABELS, optimizer="lbfgs", progress=False),
        lambda: fit_many([network(dtype=dtype), net], x, LABELS, progress=False),
    ):
        with pytest.raises(ValueError, match=rf"params\['W2'\]\[3, 1\] is {value}, expected finite numbers only"):
            call()
    if np.isnan(value):
        for call in (net.predict, net.predict_proba, lambda x: net.score(x, LABELS), lambda x: net.accuracy(x, LABELS)):
            with pytest.raises(ValueError, match=r"params\['W2'\]\[3, 1\] is nan"):
                call(x)
        with pytest.raises(ValueError, match=r"params\['W2'\]\[3, 1\] is nan"):
            net.predict(x[0].astype(np.float32))


def test_an_estimator_refuses_coefficients_that_are_nan():
    classifier = MLPClassifier(5, max_iter=500, random_state=0, tol=1e-2).fit(BYTES / 255, LABELS)
    classifier.coefs_[0][1, 2] = np.nan
    with pytest.raises(ValueError, match=r"params\['W1'\]\[1, 2\] is nan"):
        classifier.predict(BYTES / 255)
    with pytest.raises(ValueError, match=r"params\['W1'\]\[1, 2\] is nan"):
        classifier.partial_fit(BYTES / 255, LABELS)


def test_overflow_of_finite_parameters_is_no_fault_of_theirs():
    net = NeuralNetwork([Layer(1, 1, weights=[[1e300]], bias=[0.0])])
    assert np.isinf(net.predict([1e300]))


# ---- accuracy, evaluate, score --------------------------------------------------------------------------------

OUTPUTS = [
    ("sigmoid_cross_entropy", None, 1), ("sigmoid_cross_entropy", "sigmoid", 1), ("softmax_cross_entropy", None, 2),
    ("softmax_cross_entropy", "softmax", 2), ("squared_error", "sigmoid", 1), ("squared_error", None, 1),
    ("squared_error", "sigmoid", 2), ("binary_cross_entropy", "sigmoid", 1), ("softmax_cross_entropy", None, 3),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "activation", "n_out"), OUTPUTS)
@pytest.mark.parametrize("n_in", [1, 2, 3, 5])
def test_accuracy_of_inputs_and_of_predictions(loss, activation, n_out, n_in):
    """Right in either reading, or refused: never that of the other reading."""
    rng = np.random.default_rng([n_in, n_out])
    x = rng.normal(size=(200, n_in))
    y = (x[:, 0] > 0.3).astype(int)
    net = network(n_in, n_out, activation, loss)
    net.fit(x, y, epochs=3, optimizer=SGD(0.02), progress=False, rng=0)
    outputs = net.predict(x)
    cut = 0 if loss == "sigmoid_cross_entropy" and activation is None else 0.5
    labels = (outputs[:, 0] > cut).astype(int) if n_out == 1 else outputs.argmax(axis=1)
    expected = accuracy_score(y, labels)
    assert net.evaluate(x, y).get("accuracy", expected) == expected
    assert net.accuracy(net.predict(x), y) == expected  # the article's call
    assert net.accuracy(labels, y) == expected
    assert net.accuracy(y_pred=outputs, y_true=y) == expected
    refused = []
    for given in (x, outputs.copy()):
        try:
            assert net.accuracy(given, y) == expected
        except ValueError as error:
            refused.append(str(error))
    assert all("may be inputs or predictions of this network" in message for message in refused)
    assert not refused or n_in == n_out or n_in == 1
    assert net.accuracy(x[3], y[3]) == float(labels[3] == y[3])
    if n_out > 1:
        one_hot = np.eye(n_out)[y]
        assert net.accuracy(labels, one_hot) == net.accuracy(net.predict(x), one_hot) == expected


def test_values_tell_where_shapes_do_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    y = (x[:, 0] > 0).astype(int)
    for activation, loss in (("softmax", "softmax_cross_entropy"), ("sigmoid", "squared_error")):
        net = network(2, 2, activation, loss)
        expected = accuracy_score(y, net.predict(x).argmax(axis=1))
        assert net.accuracy(x, y) == expected  # below 0, so no probabilities
        if activation == "softmax":
            assert net.accuracy(net.predict(x).copy(), y) == expected
        else:
            with pytest.raises(ValueError, match=r"use net\.score\(X, y\) for inputs, nncore\.metrics\.accuracy"):
                net.accuracy(net.predict(x).copy(), y)


def test_probabilities_are_not_cut_as_logits():
    net = network(4, 1, None, "sigmoid_cross_entropy")
    with pytest.raises(ValueError, match="which may be probabilities, while this network predicts logits"):
        net.accuracy(y_pred=[[0.3], [0.8]], y_true=[0, 1])
    assert net.accuracy(y_pred=[[0.6], [0.8]], y_true=[0, 1]) == 0.5
    assert metrics.accuracy([[0.3], [0.8]], [0, 1]) == NeuralNetwork.accuracy([[0.3], [0.8]], [0, 1]) == 1.0
    for arguments in ({"y_pred": [1]}, {"x": [1]}, {"y_pred": [1], "x": [1], "y_true": [1]}):
        with pytest.raises(TypeError, match="accuracy got"):
            net.accuracy(**arguments)


def test_the_book_s_class_takes_inputs():
    net, x = TwoLayerNet(4, 5, 4, rng=0), np.random.default_rng(0).normal(size=(30, 4))
    t = np.arange(30) % 4
    assert net.accuracy(x, t) == net.accuracy(x, np.eye(4)[t]) == accuracy_score(t, net.predict(x).argmax(axis=1))


def test_evaluate_and_score_by_kind_of_loss():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(80, 4)), rng.integers(1, 4, 80).astype(float)
    T = x[:, :2] + 0.1 * rng.normal(size=(80, 2))
    for loss in ("squared_error", "absolute_error", "huber", "quantile(0.7)"):
        net = network(4, 2, None, loss)
        y = net.predict(x)
        for weights in (None, w):
            found = net.evaluate(x, T, sample_weight=weights)
            assert found["r2"] == pytest.approx(r2_score(T, y, sample_weight=weights))
            assert found["rmse"] == pytest.approx(np.sqrt(mean_squared_error(T, y, sample_weight=weights)))
            assert found["loss"] == net.loss(x, T, sample_weight=weights)
            assert net.score(x, T, sample_weight=weights) == found["r2"]
    counts = rng.poisson(np.exp(x[:, 0]))
    net = network(4, 1, None, "poisson")
    assert net.score(x, counts) == pytest.approx(r2_score(counts, np.exp(net.predict(x)[:, 0])))
    labels = np.arange(80) % 3
    net = network()
    predicted = net.predict(x).argmax(axis=1)
    assert net.evaluate(x, labels, sample_weight=w) == {
        "loss": net.loss(x, labels, sample_weight=w),
        "accuracy": pytest.approx(accuracy_score(labels, predicted, sample_weight=w)),
    }  # fmt: skip
    soft = rng.dirichlet(np.ones(3), 80)
    assert net.score(x, soft) == np.mean(predicted == soft.argmax(axis=1))
    several = rng.random((80, 3)) > 0.5
    net = network(4, 3, None, "sigmoid_cross_entropy")
    assert net.score(x, several) == np.mean((net.predict(x) > 0) == several)
    net = network(4, 1, None, "hinge")
    signs = np.where(x[:, 0] > 0, 1.0, -1.0)
    assert net.score(x, signs) == np.mean((net.predict(x)[:, 0] > 0) == (signs > 0))
    assert net.score(sp.csr_matrix(x), signs) == net.score(x, signs)


def test_evaluate_does_not_look_at_what_a_mask_hides():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(80, 4)), rng.integers(0, 3, (80, 3)).astype(float)
    several = (rng.random((80, 3)) > 0.5).astype(float)
    net = network(loss="sigmoid_cross_entropy")
    right = {"accuracy": accuracy_score(several.ravel(), (net.predict(x) > 0).ravel(), sample_weight=w.ravel())}
    found = net.evaluate(x, np.where(w == 0, -7.0, several), sample_weight=w)
    assert found == pytest.approx({"loss": net.loss(x, several, sample_weight=w), **right})
    signs = network(loss="hinge")
    right = accuracy_score(several.ravel(), (signs.predict(x) > 0).ravel(), sample_weight=w.ravel())
    assert signs.score(x, np.where(w == 0, 5.0, 2 * several - 1), sample_weight=w) == pytest.approx(right)
    net, T = network(loss="squared_error"), rng.normal(size=(80, 3))
    y, hidden = net.predict(x), np.where(w == 0, 1e9, T)
    assert net.score(x, hidden, sample_weight=w) == pytest.approx(
        np.mean([r2_score(T[:, k], y[:, k], sample_weight=w[:, k]) for k in range(3)])
    )
    rmse = np.sqrt(mean_squared_error(T.ravel(), y.ravel(), sample_weight=w.ravel()))
    assert net.evaluate(x, hidden, sample_weight=w)["rmse"] == pytest.approx(rmse)
    net, labels = network(), rng.integers(0, 3, 80)
    counted = w[np.arange(80), labels]
    right = accuracy_score(labels, net.predict(x).argmax(axis=1), sample_weight=counted)
    assert net.score(x, labels, sample_weight=w) == pytest.approx(right)


def test_outputs_that_are_no_numbers_are_never_right():
    with pytest.raises(ValueError, match=r"y_pred\[1, 0\] is nan, expected numbers: nan is of no class"):
        metrics.accuracy([[0.0], [np.nan]], [0, 0])
    with pytest.raises(ValueError, match=r"y_true\[0\] is nan"):
        metrics.accuracy([0, 0], [np.nan, 0])
    layers = [Layer(2, 3, weights=np.full((2, 3), 1e200), bias=np.zeros(3)), Layer(3, 3, weights=np.eye(3) * 1e200)]
    net = NeuralNetwork(layers, loss="softmax_cross_entropy")
    net.layers[1].weights[0, 1] = -1e200
    x, t = np.full((2, 2), 1e200), [0, 0]
    with np.errstate(all="ignore"):
        assert np.isnan(net.predict(x)).any()
        assert np.isnan(net.score(x, t))
        assert np.isnan(net.accuracy(x, t))
        values = Evaluation(net, (x, np.asarray(t)), None, ["train_top_1", "train_accuracy"])()
    assert np.isnan(list(values.values())).all()


def test_accuracy_of_nothing_and_of_outputs_in_the_caller_s_array():
    net = network(2, 2, loss="squared_error")
    with pytest.raises(ValueError, match=r"x is empty, shape \(0, 2\)"):
        net.accuracy(np.empty((0, 2)), np.empty((0, 2)))
    x, t, out = np.random.default_rng(0).normal(size=(9, 2)), np.arange(9) % 2, np.empty((9, 2))
    for given in (x, x.tolist()):
        assert net.accuracy(net.predict(given, out=out), t) == np.mean(out.argmax(axis=1) == t)


def test_an_update_that_fails_does_not_say_what_the_network_is_trained_on():
    for update in ("partial_fit", "backpropagation"):
        net, first = network(3, 2, loss="squared_error"), SGD(0.1)
        settings = {"learning_rate": 0.1} if update == "backpropagation" else {"optimizer": first}
        with pytest.raises(FloatingPointError, match="nothing was updated"):
            getattr(net, update)(np.full((1, 3), 1000), [[1e200, 1e200]], **settings)
        assert (net.input_kind, net.input_scale, net.optimizer) == (None, 1 / 255, None)
        getattr(net, update)(np.full((1, 3), 1000), [[1.0, 1.0]], **settings)
        assert net.input_scale == 1


def test_large_negative_floats_are_no_scaled_bytes():
    for sign in (1, -1):
        assert trained(sign * np.random.default_rng(0).uniform(0, 5000, (60, 4))).input_scale == 1


# ---- what rounding may change ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_alone_and_in_batches_differs_by_rounding_only(dtype):
    net = NeuralNetwork([Layer(30, 40, "tanh"), Layer(40, 10)], dtype=dtype, rng=0)
    x = np.random.default_rng(0).normal(size=(300, 30))
    expected = net.predict(x)
    np.testing.assert_array_equal(net.predict(x), expected)
    for n in (1, 2, 7, 64, 65):
        np.testing.assert_allclose(net.predict(x[:n]), expected[:n], rtol=0, atol=64 * np.finfo(dtype).eps)


def test_history_has_a_short_repr():
    history = trained(BYTES).fit(BYTES, LABELS, iterations=400, progress=False)
    assert len(repr(history)) < 200
    assert repr(history).startswith("History(400 iterations, ")
    assert repr(nncore.History()) == "History(0 iterations, 0 epochs)"
