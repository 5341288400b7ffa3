"""Targets and tables as users have them: what a loss is not defined for is refused on every path, the rest is taken."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nncore
from nncore import (
    LBFGS,
    SGD,
    Layer,
    MLPClassifier,
    MLPRegressor,
    NeuralNetwork,
    SimpleNet,
    TwoLayerNet,
    check_gradient,
    fit_many,
    losses,
)

X = np.linspace(-1, 1, 24).reshape(6, 4)
PROBABILITIES = np.array([[1.0, 0, 0], [0, 1, 0], [0.2, 0.3, 0.5], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
# A loss, what it takes, and what it does not.
TARGETS = {
    "softmax_cross_entropy": (PROBABILITIES, (-0.25, 1.5, -1e-9)),
    "sigmoid_cross_entropy": (PROBABILITIES, (-0.25, 1.5, 1 + 1e-9)),
    "binary_cross_entropy": (PROBABILITIES, (-0.25, 1.5, 1 + 1e-9)),
    "poisson": (np.arange(18.0).reshape(6, 3), (-1.0, -1e-9)),
    "hinge": (np.where(PROBABILITIES > 0.4, 1.0, -1.0), (0.0, 0.5, 2.0)),
}
PATHS = {
    "loss": lambda net, t: net.loss(X, t),
    "gradient": lambda net, t: net.gradient(X, t),
    "numerical_gradient": lambda net, t: net.numerical_gradient(X, t),
    "check_gradient": lambda net, t: check_gradient(net, X, t),
    "fit": lambda net, t: net.fit(X, t, epochs=1, progress=False),
    "LBFGS": lambda net, t: net.fit(X, t, optimizer=LBFGS(2), progress=False),
    "validation": lambda net, t: net.fit(
        X, TARGETS[net.loss_name][0], validation_data=(X, t), epochs=1, progress=False
    ),
    "partial_fit": lambda net, t: net.partial_fit(X, t),
    "one sample": lambda net, t: net.partial_fit(X[2], t[2]),
    "backpropagation": lambda net, t: net.backpropagation(X, t, 0.1),
    "train": lambda net, t: net.train(X, X, t, t, 0.1, 1),
    "fit_many": lambda net, t: fit_many([net], X, t, epochs=1, progress=False),
    "fit_many, the second": lambda net, t: fit_many(
        [NeuralNetwork([Layer(4, 3)], rng=1), net], X, t, epochs=1, progress=False
    ),
}


def network(loss, **options):
    last = "sigmoid" if loss == "binary_cross_entropy" else None
    return NeuralNetwork([Layer(4, 3, last)], loss=loss, rng=0, **options)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("loss", TARGETS)
def test_what_a_loss_is_not_defined_for_is_refused_on_every_path(loss, path):
    good, bad = TARGETS[loss]
    for value in bad:
        t = good.copy()
        t[2, 1] = value
        net = network(loss)
        before = net.core.params.copy(), copy.deepcopy(net.rng.bit_generator.state)
        place = re.escape("[0, 1]" if path == "one sample" else "[2, 1]")
        with pytest.raises(
            ValueError,
            match=rf"(t|y|y_test|validation y){place} is {re.escape(str(value))}, expected .* with loss '{loss}'",
        ):
            PATHS[path](net, t)
        np.testing.assert_array_equal(net.core.params, before[0])
        assert net.rng.bit_generator.state == before[1]
    PATHS[path](network(loss), good)
    if loss != "softmax_cross_entropy":
        PATHS[path](network(loss), good.astype(np.float32))


@pytest.mark.parametrize("path", PATHS)
def test_class_targets_sum_to_one(path):
    for row in ([1.0, 1.0, 0.0], [0.2, 0.2, 0.2], [0.0, 0.0, 0.0], [0.0, 1.0, 2e-5]):
        t = PROBABILITIES.copy()
        t[2] = row
        with pytest.raises(
            ValueError, match=rf"\[[02]\] sums to {sum(row):.7g}, expected numbers from 0 to 1 that sum to 1"
        ):
            PATHS[path](network("softmax_cross_entropy"), t)


@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60, deadline=None)
def test_probabilities_that_a_softmax_gave_are_taken(seed, n, dtype):
    """Whatever rounding leaves of their sums."""
    y = (np.random.default_rng(seed).normal(size=(5, n)) * 4).astype(dtype)
    e = np.exp(y - y.max(axis=1, keepdims=True))
    for t in (nncore.softmax(y), e / e.sum(axis=1, keepdims=True)):
        loss, _ = losses.softmax_cross_entropy(y, t)
        assert loss == pytest.approx(float(-(t * nncore.log_softmax(y)).sum(axis=1).mean()), rel=1e-5)
        nncore.cross_entropy_error(nncore.softmax(y), t)


SMOOTH = {"delta": 1e-7, "label_smoothing": 0.1}


@pytest.mark.parametrize("call", [
    lambda: NeuralNetwork([Layer(2, 4, "tanh"), Layer(4, 1)], loss="softmax_cross_entropy"),
    lambda: NeuralNetwork([Layer(2, 1)], loss="softmax_cross_entropy", **SMOOTH),
    lambda: (net := NeuralNetwork(loss="softmax_cross_entropy"), net.add_layer(Layer(2, 1)), net.predict([1.0, 2.0])),
    lambda: Layer(4, 1, "softmax"),
    lambda: NeuralNetwork([Layer(4, 1, "softmax")]),
    lambda: TwoLayerNet(4, 3, 1),
    lambda: SimpleNet(W=np.ones((2, 1))),
    lambda: losses.softmax_cross_entropy([[1.0], [2.0]], [0, 0]),
])  # fmt: skip
def test_a_softmax_of_one_output_is_refused(call):
    with pytest.raises(
        ValueError, match=r"1 output, expected 2|n_neurons is 1, expected 2|y has shape \(2, 1\), expected 2"
    ):
        call()


def test_a_first_layer_of_one_unit_is_none_of_its_business():
    net = NeuralNetwork(loss="softmax_cross_entropy")
    net.add_layer(Layer(2, 1))
    net.add_layer(Layer(1, 3, "softmax"))
    assert net.predict([1.0, 2.0]).sum() == pytest.approx(1)


def classifier(n_out=3):
    return NeuralNetwork([Layer(4, n_out)], loss="softmax_cross_entropy", rng=0)


def test_bool_labels_are_zero_and_one():
    labels = np.array([True, False, True, True, False, False])
    for n_out in (2, 3):
        assert classifier(n_out).loss(X, labels) == classifier(n_out).loss(X, labels.astype(int))
    single = NeuralNetwork([Layer(4, 1)], loss="sigmoid_cross_entropy", rng=0)
    assert single.loss(X, labels) == single.loss(X, labels[:, None]) == single.loss(X, labels.astype(float))
    for t in (labels, labels.tolist(), pd.Series(labels), pd.Series(labels, dtype="boolean")):
        assert losses.softmax_cross_entropy(X[:, :2], t)[0] == losses.softmax_cross_entropy(X[:, :2], labels * 1)[0]
    np.testing.assert_array_equal(nncore.one_hot([True, False]), [[0, 1], [1, 0]])


LABELS = np.array([0, 1, 2, 1, 0, 2])
MESSAGES = {
    "one column": (
        lambda: classifier().fit(X, LABELS[:, None]),
        "y has shape (6, 1), expected (6,) labels or (6, 3) targets: ravel() makes labels of one column, y.ravel()",
    ),
    "from 1": (
        lambda: classifier().fit(X, LABELS + 1),
        "is 3, expected labels 0 to 2: these count from 1, subtract 1 of y",
    ),
    "from 1, on a path": (lambda: classifier().gradient(X, LABELS + 1), "these count from 1, subtract 1 of t"),
    "from 1, a loss": (lambda: losses.softmax_cross_entropy(X[:, :3], LABELS + 1), "these count from 1"),
    "beyond": (lambda: classifier().fit(X, LABELS * 2), "is 4, expected labels 0 to 2"),
    "words": (
        lambda: classifier().fit(X, np.array(list("abcabc"))),
        "y has words for labels, expected class numbers: np.unique(y, return_inverse=True)",
    ),
    "words in a list": (lambda: classifier().loss(X, list("abcabc")), "t has words for labels"),
    "words in a table": (lambda: classifier().fit(X, pd.Series(list("abcabc"))), "y has words for labels"),
    "words as categories": (
        lambda: classifier().fit(X, pd.Series(list("abcabc"), dtype="category")),
        "y has words for labels",
    ),
    "whole floats": (
        lambda: classifier().fit(X, LABELS * 1.0),
        "y is an array of dtype float64, expected integer labels 0 to 2: y.astype(int) makes some of whole numbers",
    ),
    "0 and 1 for a hinge": (
        lambda: NeuralNetwork([Layer(4, 1)], loss="hinge").fit(X, LABELS % 2),
        "is 0.0, expected -1 or 1 with loss 'hinge': of 0 and 1 take 2 * t - 1",
    ),
    "mse": (lambda: NeuralNetwork(loss="mse"), ": is 'squared_error' meant?"),
    "MAE": (lambda: NeuralNetwork(loss="MAE"), ": is 'absolute_error' meant?"),
    "crossentropy": (lambda: NeuralNetwork(loss="categorical_crossentropy"), ": is 'softmax_cross_entropy' meant?"),
    "misspelt": (lambda: Layer(2, 2, "sigmiod"), ": is 'sigmoid' meant?"),
    "probabilities above 1": (
        lambda: losses.binary_cross_entropy([1.5], [1.0]),
        "y goes from 1.5 to 1.5, expected numbers from 0 to 1",
    ),
    "NaN for a probability": (lambda: losses.binary_cross_entropy([np.nan], [1.0]), "expected numbers from 0 to 1"),
    "logits": (
        lambda: nncore.cross_entropy_error([2.0, -1.0], 0),
        "y goes from -1.0 to 2.0, expected probabilities from 0 to 1",
    ),
    "clipped": (lambda: nncore.binary_cross_entropy([7.0], [1]), "y goes from 7.0 to 7.0, expected probabilities"),
    "targets": (lambda: nncore.binary_cross_entropy([0.7], [2]), "t goes from 2.0 to 2.0, expected probabilities"),
    "no distribution": (lambda: nncore.cross_entropy_error([[0.5, 0.5]], [[1.0, 1.0]]), "t[0] sums to 2"),
    "probabilities for logarithms": (
        lambda: nncore.negative_log_likelihood([[0.5, 0.5]], [1]),
        "log_probabilities goes up to 0.5, expected logarithms",
    ),
    "base": (lambda: nncore.entropy([0.5, 0.5], base=1), "base is 1, expected a finite number above 0 other than 1"),
    "counts": (
        lambda: MLPRegressor(loss="poisson").fit(X, [1, 2, -3, 0, 1, 2]),
        "y[2, 0] is -3.0, expected numbers of 0 or more",
    ),
    "counts to go on with": (
        lambda: MLPRegressor(loss="poisson").partial_fit(X, [1, 2, -3, 0, 1, 2]),
        "y[2, 0] is -3.0",
    ),
    "counts to be judged by": (
        lambda: MLPRegressor(loss="poisson").fit(X, LABELS, validation_data=(X, -LABELS)),
        "is -1.0, expected numbers of 0",
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name):
    call, message = MESSAGES[name]
    with pytest.raises((TypeError, ValueError), match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_outputs_of_ones_own_that_are_no_probabilities():
    own = (lambda a: a, np.ones_like)
    net = NeuralNetwork([Layer(4, 1, own, weights=np.ones((4, 1)), bias=[9.0])], loss="binary_cross_entropy")
    with pytest.raises(
        ValueError, match=r"the outputs go from .* expected numbers from 0 to 1 with binary_cross_entropy"
    ):
        net.loss(X, np.ones(6))


def test_targets_in_a_large_file_are_looked_at_too(tmp_path):
    """Piece by piece; the place is that in the whole."""
    n = 3_000_000
    path = tmp_path / "t.bin"
    t = np.memmap(path, np.float64, "w+", shape=(n, 3))
    t[:, 0] = 1
    t[n - 2] = [0.5, 0.2, 0.1]
    with pytest.raises(ValueError, match=rf"t\[{n - 2}\] sums to 0.8, expected"):
        losses.domains.targets_for("softmax_cross_entropy", t, "t")


# Data frames.
def frame(**columns):
    return pd.DataFrame({"a": [0.5, 1.0, -1.0, 2.0], **columns})


TAKEN = {
    "bool beside float": frame(b=[True, False, True, True]),
    "nullable": frame(b=pd.array([1, 2, 3, 4], "Int64"), c=pd.array([True, False, True, False], "boolean")),
    "nullable floats": frame(b=pd.array([1.5, 2, 3, 4], "Float64")),
    "bytes beside floats": frame(b=np.arange(4, dtype=np.uint8)),
    "bools alone": pd.DataFrame({"a": [True, False, False, True]}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_data_frames_of_numbers_are_taken(name):
    table = TAKEN[name]
    plain = np.column_stack([table[c].to_numpy(dtype=float) for c in table])
    net = NeuralNetwork([Layer(plain.shape[1], 1)], rng=0)
    np.testing.assert_array_equal(net.predict(table), net.predict(plain))
    other = copy.copy(net)
    net.fit(table, [1.0, 0, 0, 1], epochs=2, rng=0, progress=False)
    other.fit(plain, [1.0, 0, 0, 1], epochs=2, rng=0, progress=False)
    np.testing.assert_array_equal(net.core.params, other.core.params)


REFUSED = {
    "text": (
        frame(kind=list("wxyz")),
        r"X has the column 'kind' of dtype (object|str), expected real numbers: encode it",
    ),
    "category": (frame(kind=pd.Categorical(list("wxyz"))), "X has the column 'kind' of dtype category, expected real"),
    "time": (
        frame(day=pd.to_datetime(["2020-01-01"] * 4)),
        r"X has the column 'day' of dtype datetime64\[.*\], expected",
    ),
    "missing": (
        frame(b=pd.array([1, 2, None, 4], "Int64")),
        "X has the column 'b' without a value in row 2, expected numbers only",
    ),
    "missing bool": (
        frame(b=pd.array([None, True, True, True], "boolean")),
        "X has the column 'b' without a value in row 0",
    ),
    "NaN": (frame(b=[1.0, 2, np.nan, 4]), r"X\[2, 1\] is nan, expected finite numbers only"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_columns_that_are_no_numbers_are_named(name):
    table, message = REFUSED[name]
    net = NeuralNetwork([Layer(2, 1)], rng=0)
    with pytest.raises((TypeError, ValueError), match=message):
        net.fit(table, [1.0, 0, 0, 1], epochs=1, progress=False)


def test_columns_of_targets():
    net, x = NeuralNetwork([Layer(4, 2)], loss="softmax_cross_entropy", rng=0), X[:4]
    expected = net.loss(x, [0, 1, 1, 0])
    for t in (pd.Series([0, 1, 1, 0]), pd.Series([0, 1, 1, 0], dtype="Int64"), pd.array([0, 1, 1, 0], "Int8")):
        assert net.loss(x, t) == expected
    with pytest.raises(ValueError, match=r"t\[1\] is nan, expected finite numbers only"):
        net.loss(x, pd.Series([0, None, 1, 0], dtype="Int64"))


# Weights.
HUGE = {
    "sum overflows": (
        np.full(6, 1e308),
        "sample_weight goes up to 1e+308 and its sum is inf, expected one from 2.3e-308",
    ),
    "sum underflows": (np.full(6, 5e-324), "sample_weight goes up to 4.94066e-324 and its sum is 2.96439e-323"),
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("kind", ["fit", "loss", "gradient", "LBFGS", "losses", "classifier", "regressor"])
def test_weights_that_cannot_be_added_are_refused(name, kind):
    weights, message = HUGE[name]
    net = classifier()
    calls = {
        "fit": lambda: net.fit(X, LABELS, sample_weight=weights, progress=False),
        "loss": lambda: net.loss(X, LABELS, sample_weight=weights),
        "gradient": lambda: net.gradient(X, LABELS, sample_weight=weights),
        "LBFGS": lambda: net.fit(X, LABELS, sample_weight=weights, optimizer=LBFGS(), progress=False),
        "losses": lambda: losses.huber(np.ones((6, 2)), np.zeros((6, 2)), weights),
        "classifier": lambda: MLPClassifier().fit(X, LABELS, weights),
        "regressor": lambda: MLPRegressor().partial_fit(X, LABELS, weights),
    }
    with pytest.raises(ValueError, match=re.escape(message.removeprefix("sample_weight"))):
        calls[kind]()


@pytest.mark.parametrize(("weight", "by_class"), [(1e200, 1e200), (1e-200, 1e-200), (1e300, 1e8)])
def test_products_of_weights_that_round_away_are_refused(weight, by_class):
    weights, classes = np.full(6, weight), {0: by_class, 1: by_class, 2: 1.0}
    for call in (
        lambda: classifier().fit(X, LABELS, sample_weight=weights, class_weight=classes, progress=False),
        lambda: MLPClassifier(class_weight=classes).fit(X, LABELS, weights),
    ):
        with pytest.raises(ValueError, match=r"class_weight multiplies weights|expected one from 2.3e-308"):
            call()


def test_a_batch_of_tiny_weights_counts_by_their_shares():
    """1 / sum overflows where weight / sum does not."""
    weights = np.array([1.0, 1, 1, 1, 1e-310, 3e-310])
    net = NeuralNetwork([Layer(4, 1)], rng=0)
    history = net.fit(
        X,
        np.arange(6.0),
        sample_weight=weights,
        batch_size=2,
        sampling="sequential",
        epochs=1,
        optimizer=SGD(1e-300),
        progress=False,
    )
    parts = [net.loss(X[i], [float(i)]) for i in (4, 5)]
    assert history.loss[2] == pytest.approx(parts[0] / 4 + parts[1] * 3 / 4, rel=1e-9)
