"""Activations and losses that are Python functions: the same results as the core's, and clear words about bad ones."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
from scipy.special import expit, ndtr

from nncore import (
    LBFGS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Layer,
    Momentum,
    Nesterov,
    NeuralNetwork,
    RMSprop,
    check_gradient,
    fit_many,
)
from nncore.files.c_export import export_c
from nncore.files.torch_state import export_torch
from nncore.model.python_engine import PythonNetwork


def dtanh(a):
    return 1 - np.tanh(a) ** 2


def half_square(y, t):
    return 0.5 * np.sum((y - t) ** 2) / len(y), (y - t) / len(y)


# Built-in names and functions that are written without looking at them: by a, not by the output.
ACTIVATIONS = {
    "tanh": (np.tanh, dtanh),
    "sigmoid": (expit, lambda a: expit(a) * expit(-a)),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) * 1.0),
    "gelu": (lambda a: a * ndtr(a), lambda a: ndtr(a) + a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)),
    "softplus": (lambda a: np.logaddexp(0, a), expit),
    "leaky_relu(0.2)": (lambda a: np.where(a > 0, a, 0.2 * a), lambda a: np.where(a > 0, 1, 0.2)),
}


def softmax_cross_entropy(y, t):
    shifted = y - y.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.sum(t * logs) / len(y), (np.exp(logs) - t) / len(y)


LOSSES = {
    "squared_error": half_square,
    "huber(0.5)": lambda y, t: (
        np.where(abs(y - t) <= 0.5, (y - t) ** 2 / 2, 0.5 * (abs(y - t) - 0.25)).sum() / len(y),
        np.clip(y - t, -0.5, 0.5) / len(y),
    ),
    "softmax_cross_entropy": softmax_cross_entropy,
    "sigmoid_cross_entropy": lambda y, t: (np.sum(np.logaddexp(0, y) - t * y) / len(y), (expit(y) - t) / len(y)),
}
OPTIMIZERS = {
    "sgd": lambda: SGD(0.1),
    "momentum": lambda: Momentum(0.05, weight_decay=0.01),
    "nesterov": lambda: Nesterov(0.05),
    "adagrad": lambda: AdaGrad(0.05),
    "rmsprop": lambda: RMSprop(0.01),
    "adam": lambda: Adam(0.01),
    "adamw": lambda: AdamW(0.01),
}


def network(activation="tanh", loss="squared_error", last=None, dtype=np.float64, **settings):
    layers = [Layer(6, 7, activation, **settings), Layer(7, 5, activation, use_bias=False), Layer(5, 3, last)]
    return NeuralNetwork(layers, loss=loss, dtype=dtype, rng=0)


def data(loss="squared_error", n=50):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 6))
    return x, rng.integers(3, size=n) if loss == "softmax_cross_entropy" else rng.random((n, 3))


def assert_same_fit(built_in, custom, x, t, optimizer=lambda: SGD(0.1), rtol=1e-9, **settings):
    """Both end at the same parameters, by the same losses; sizes make a last batch of another size."""
    assert isinstance(custom.core, PythonNetwork)
    assert not isinstance(built_in.core, PythonNetwork)
    settings = {"batch_size": 16, "epochs": 4, "rng": 2, "progress": False, **settings}
    expected = built_in.fit(x, t, optimizer=optimizer(), **settings)
    found = custom.fit(x, t, optimizer=optimizer(), **settings)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=rtol)
    np.testing.assert_allclose(custom.core.params, built_in.core.params, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(custom.predict(x), built_in.predict(x), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(custom.loss(x, t), built_in.loss(x, t), rtol=rtol)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    assert_same_fit(network(name), network(ACTIVATIONS[name]), *data())


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    """One custom, in a network of built-in activations, one of which keeps its slope."""
    assert_same_fit(network("silu", name), network("silu", LOSSES[name]), *data(name))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_with_everything_else(optimizer):
    settings = {"dropout": 0.3, "l1": 0.01, "l2": 0.1, "max_norm": 0.9, "lr_scale": 0.5, "trainable_bias": False}
    built_in, custom = (network(activation, **settings) for activation in ("tanh", ACTIVATIONS["tanh"]))
    assert_same_fit(built_in, custom, *data(), optimizer=OPTIMIZERS[optimizer])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"l1": 0.01, "l2": 0.1},
        {"max_norm": 0.9},
        {"lr_scale": 0.5},
        {"lr_scale": 0.0},
        {"trainable_bias": False},
        {"use_bias": False},
        {"dropout": 0.3, "l2": 0.1},
        {"batch_norm": True},
        {"clip_norm": 0.3},
        {"clip_value": 0.01, "l2": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("rows", ["dense", "sparse"])
@pytest.mark.parametrize("n_hidden", [20, 90])
def test_what_threads_share(settings, optimizer, rows, n_hidden, rng):
    """Blocks of samples and parts of the parameters; with 90 units the layers after the first are in parts as well."""
    x, t = rng.normal(size=(450, 40)), rng.random((450, 3))
    if rows == "sparse":
        x = scipy.sparse.csr_matrix(x * (rng.random(x.shape) < 0.1))
    clips = {name: value for name, value in settings.items() if name.startswith("clip")}
    batch_norm = settings.get("batch_norm", False)  # a first layer that is normalised takes dense rows only
    settings = {name: value for name, value in settings.items() if name not in {*clips, "batch_norm"}}

    def trained(activation, n_threads):
        layers = [
            Layer(40, n_hidden, activation, batch_norm=batch_norm and rows == "dense", **settings),
            Layer(n_hidden, n_hidden, activation, batch_norm=batch_norm),
            Layer(n_hidden, 3, l2=0.01),
        ]
        net = NeuralNetwork(layers, rng=0)
        history = net.fit(
            x, t, optimizer=OPTIMIZERS[optimizer](), batch_size=200, epochs=3, rng=2, progress=False,
            n_threads=n_threads, **clips,
        )  # fmt: skip
        return np.append(net.core.params, history.loss)

    found = trained("tanh", 1)
    np.testing.assert_allclose(found, trained(ACTIVATIONS["tanh"], 1), rtol=1e-9, atol=1e-11)
    for n_threads in (2, 3, 7):
        np.testing.assert_array_equal(trained("tanh", n_threads), found)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_batch_normalisation(dtype):
    """With a last batch of two samples; running moments too, of which predictions and losses are made."""
    x, t = data()
    nets = []
    for activation in ("gelu", ACTIVATIONS["gelu"]):
        layers = [
            Layer(6, 7, activation, batch_norm=True, dropout=0.2),
            Layer(7, 5, "silu", batch_norm=True),
            Layer(5, 3),
        ]
        nets.append(NeuralNetwork(layers, rng=0, dtype=dtype))
    rtol = 1e-9 if dtype == np.float64 else 1e-4
    assert_same_fit(*nets, x, t, rtol=rtol, optimizer=lambda: SGD(0.05))
    for built_in, custom in zip(*(net.layers[:2] for net in nets), strict=True):
        np.testing.assert_allclose(custom.running_mean, built_in.running_mean, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(custom.running_var, built_in.running_var, rtol=rtol)
    assert check_gradient(nets[1], x[:8], t[:8]).passed
    (expected, dx), (found, found_dx) = ((net.forward(x), net.backward(t))[1] for net in nets)
    np.testing.assert_allclose(found_dx, dx, rtol=rtol, atol=rtol)
    for name, grad in expected.items():
        np.testing.assert_allclose(found[name], grad, rtol=10 * rtol, atol=rtol)


@pytest.mark.parametrize(
    ("loss", "last"),
    [
        ("squared_error", "softmax"),
        ("softmax_cross_entropy", "softmax"),
        ("sigmoid_cross_entropy", "sigmoid"),
        ("binary_cross_entropy", "sigmoid"),
        ("hinge", None),
        ("huber(0.3)", "hard_sigmoid"),
        ("poisson", None),
    ],
)
@pytest.mark.parametrize("weights", [None, "samples", "outputs"])
def test_built_in_losses_after_custom_activations(loss, last, weights):
    x, t = data(loss)
    t = np.arange(50) % 3 if loss == "hinge" else t
    rng = np.random.default_rng(3)
    weight = {None: None, "samples": rng.random(50), "outputs": rng.integers(0, 2, (50, 3)) * 1.0}[weights]
    built_in, custom = network("tanh", loss, last), network(ACTIVATIONS["tanh"], loss, last)
    np.testing.assert_allclose(
        custom.loss(x, t, sample_weight=weight), built_in.loss(x, t, sample_weight=weight), rtol=1e-12
    )
    assert check_gradient(custom, x[:9], t[:9], sample_weight=None if weight is None else weight[:9]).passed
    assert_same_fit(built_in, custom, x, t, sample_weight=weight)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("one_hot", [False, True])
def test_label_smoothing_and_delta(smoothing, one_hot):
    x, t = data("softmax_cross_entropy")
    t = np.eye(3)[t] if one_hot else t
    nets = [
        NeuralNetwork(
            [Layer(6, 4, activation), Layer(4, 3)], loss="softmax_cross_entropy", rng=0,
            delta=1e-3, label_smoothing=smoothing,
        )
        for activation in ("tanh", ACTIVATIONS["tanh"])
    ]  # fmt: skip
    assert_same_fit(*nets, x, t)


def test_float32_and_uint8_and_sparse_rows():
    t = data()[1]
    dense = np.random.default_rng(4).integers(0, 256, (50, 6)).astype(np.uint8)
    nets = [network(activation, dtype=np.float32) for activation in ("tanh", ACTIVATIONS["tanh"])]
    assert_same_fit(*nets, dense, t, rtol=2e-5)
    sparse = scipy.sparse.random_array((50, 6), density=0.3, rng=np.random.default_rng(5), format="csr")
    assert_same_fit(network("tanh"), network(ACTIVATIONS["tanh"]), sparse, t)


def test_single_updates_with_dropout():
    x, t = data()
    nets = [network(activation, dropout=0.5) for activation in ("tanh", ACTIVATIONS["tanh"])]
    for net in nets:
        losses = [net.partial_fit(x[i : i + 2], t[i : i + 2], optimizer=Adam(0.01)) for i in range(10)]
        net.layers[0].dropout = 0.0
        net.backpropagation(x[0], t[0], 0.1)
        net.loss_of_first = losses[0]
    np.testing.assert_allclose(nets[1].core.params, nets[0].core.params, rtol=1e-12)
    assert nets[1].loss_of_first == pytest.approx(nets[0].loss_of_first, rel=1e-12)
    for built_in, custom in zip(*(net.layers for net in nets), strict=True):
        for what in ("last_activation", "error", "delta"):
            np.testing.assert_allclose(getattr(custom, what), getattr(built_in, what), rtol=1e-9)


def test_gradient_clipping():
    """Of the core's train, which fit calls."""
    x, t = data()
    params = []
    for activation in ("tanh", ACTIVATIONS["tanh"]):
        core, losses = network(activation).core, np.empty(4)
        core.train(x, t, None, np.arange(50), 0, 50, 16, np.full(4, 0.5), losses, clip_norm=0.01, clip_value=0.005)
        params.append(core.params)
    np.testing.assert_allclose(params[1], params[0], rtol=1e-12)
    assert np.abs(params[0] - network().core.params).max() < 4 * 0.5 * 0.01


def test_own_loops():
    x, t = data()
    grads = []
    for last in ("sigmoid", "softmax", ACTIVATIONS["sigmoid"]):
        nets = network("tanh", last=last), network(ACTIVATIONS["tanh"], last=last)
        results = []
        for net in nets if isinstance(last, str) else (network("tanh", last="sigmoid"), nets[1]):
            y = net.forward(x)
            results.append((*net.backward(y - t), y))
        (expected, dx, y), (found, found_dx, found_y) = results
        np.testing.assert_allclose(found_y, y, rtol=1e-12)
        np.testing.assert_allclose(found_dx, dx, rtol=1e-9, atol=1e-15)
        for name, grad in expected.items():
            np.testing.assert_allclose(found[name], grad, rtol=1e-9, atol=1e-15)
        grads.append(found["W1"])
    with pytest.raises(RuntimeError, match="expected forward"):
        network(ACTIVATIONS["tanh"]).backward(y)


def test_schedule_clipping_and_early_stopping():
    """The rest of fit works with functions too: all of it is around the engine."""
    x, t = data()
    settings = {"schedule": "cosine", "clip_norm": 0.1, "validation_data": (x[:10], t[:10]), "early_stopping": 2}
    assert_same_fit(network("tanh"), network(ACTIVATIONS["tanh"], half_square), x, t, lambda: Adam(0.01), **settings)


def test_lbfgs():
    x, t = data()
    nets = network("tanh"), network(ACTIVATIONS["tanh"], half_square)
    losses = [net.fit(x, t, optimizer=LBFGS(max_iter=20), progress=False).loss for net in nets]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert losses[1][-1] < 0.5 * losses[1][0]


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_a_checkpoint_is_gone_on_with_to_the_same_bits(tmp_path):
    """The functions are not in it: the network that goes on has them, by the same names."""
    x, t = data()

    def run(loss, **settings):
        net = network((np.tanh, dtanh), loss, dropout=0.2, batch_norm=True)
        net.fit(x, t, optimizer=Adam(), batch_size=16, epochs=5, rng=0, progress=False, **settings)
        return net.core.params

    calls = []

    def loss(y, t):
        calls.append(len(y))
        if len(calls) == 11:
            raise KeyboardInterrupt
        return half_square(y, t)

    loss.__name__ = "half_square"
    whole = run(half_square)
    checkpoint = {"checkpoint": tmp_path / "run.ckpt", "checkpoint_every": 1}
    assert np.any(run(loss, **checkpoint) != whole)
    np.testing.assert_array_equal(run(half_square, **checkpoint, resume=True), whole)
    with pytest.raises(ValueError, match="loss"):
        run("squared_error", **checkpoint, resume=True)


def test_a_population_of_both():
    x, t = data()
    nets = [network(activation) for activation in ("tanh", ACTIVATIONS["tanh"], "tanh")]
    fit_many(nets, x, t, epochs=2, rng=0, progress=False)
    alone = [network(activation) for activation in ("tanh", ACTIVATIONS["tanh"], "tanh")]
    for net, child in zip(alone, np.random.default_rng(0).spawn(3), strict=True):
        net.fit(x, t, epochs=2, rng=child, progress=False)
    for net, other in zip(nets, alone, strict=True):
        np.testing.assert_array_equal(net.core.params, other.core.params)
    with pytest.raises(ValueError, match="samples have weights, expected none with the loss half_square"):
        fit_many([network(), network(loss=half_square)], x, t, sample_weight=np.ones(50), progress=False)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient_check_passes(dtype):
    x, t = data(n=8)
    for net in (network(ACTIVATIONS["gelu"], dtype=dtype), network("silu", half_square, "softmax", dtype, l2=0.1)):
        report = check_gradient(net, x, t)
        assert report.passed, str(report)
        assert report.counts["ok"] > 0.9 * net.n_params
        numerical = net.numerical_gradient(x, t)
        tolerance = 1e-6 if dtype == np.float64 else 2e-2
        for name, grad in net.gradient(x, t).items():
            np.testing.assert_allclose(numerical[name], grad, rtol=tolerance, atol=tolerance)
    assert check_gradient(network(ACTIVATIONS["tanh"]), x, t, sample=10).passed


def test_a_wrong_derivative_is_named():
    """The derivative of one unit of the first layer: its column of W1 and its bias are named, and nothing else."""

    def wrong(a):
        slope = dtanh(a)
        slope[:, 4] *= 1.01
        return slope

    net = NeuralNetwork([Layer(6, 7, (np.tanh, wrong)), Layer(7, 3)], rng=0)
    report = check_gradient(net, *data(n=8))
    assert not report.passed
    found = {(element.name, element.index[-1]) for element in report.worst(100) if element.verdict == "mismatch"}
    assert found == {("W1", 4), ("b1", 4)}


def test_a_wrong_gradient_of_a_loss_is_found():
    report = check_gradient(network(loss=lambda y, t: (half_square(y, t)[0], y - t)), *data(n=8))
    assert not report.passed
    assert "8 times too large" in " ".join(report.hints)


BAD_ACTIVATIONS = {
    "shape": ((lambda a: a[:, :1], np.ones_like), ValueError, r"<lambda>\(a\) has shape \(16, 1\), expected \(16, 7\)"),
    "derivative's shape": ((np.tanh, np.sum), ValueError, r"sum\(a\) has shape \(\), expected \(16, 5\)"),
    "type": ((lambda a: "tanh", np.ones_like), TypeError, r"<lambda>\(a\) is an array of dtype <U4"),
    "NaN": (
        (np.tanh, lambda a: a * np.nan), ValueError, r"<lambda>\(a\)\[0, 0\] is nan, expected finite numbers only",
    ),
    "raises": ((lambda a: 1 // 0, np.ones_like), ZeroDivisionError, "division"),
}  # fmt: skip
BAD_LOSSES = {
    "number alone": (lambda y, t: 1.0, TypeError, r"<lambda>\(y, t\) returned a float, expected a pair \(loss, dy\)"),
    "loss a sample": (lambda y, t: (y[:, 0], y - t), ValueError, r"the loss of <lambda>\(y, t\) has shape \(16,\)"),
    "shape": (lambda y, t: (1.0, np.ones(3)), ValueError, r"the dy of .* has shape \(3,\), expected \(16, 3\)"),
    "NaN in dy": (lambda y, t: (1.0, y * np.nan), ValueError, r"the dy of <lambda>\(y, t\)\[0, 0\] is nan"),
    "NaN": (lambda y, t: (np.nan, y), FloatingPointError, "the loss became nan at iteration 1"),
    "raises": (lambda y, t: y.no_such_thing, AttributeError, "no_such_thing"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*BAD_ACTIVATIONS, *(f"loss: {name}" for name in BAD_LOSSES)])
def test_bad_functions_leave_the_network_as_it_was(case):
    if case.startswith("loss: "):
        loss, kind, message = BAD_LOSSES[case.removeprefix("loss: ")]
        net = network(loss=loss, batch_norm=True)
    else:
        activation, kind, message = BAD_ACTIVATIONS[case]
        net = network(activation, batch_norm=True)
    x, t = data()
    before = net.core.params.copy(), net.core.moments.copy()
    with pytest.raises(kind, match=message):
        net.fit(x, t, batch_size=16, progress=False)
    np.testing.assert_array_equal(net.core.params, before[0])
    with pytest.raises(kind):
        net.partial_fit(x[:16], t[:16], optimizer=Adam())
    np.testing.assert_array_equal(net.core.params, before[0])
    if kind is not FloatingPointError:  # a loss that is not finite is no error of a function's
        np.testing.assert_array_equal(net.core.moments, before[1])


def test_functions_cannot_spoil_what_the_engine_keeps():
    """They may write to what they are given."""

    def tanh_in_place(a):
        return np.tanh(a, out=a)

    def loss_in_place(y, t):
        y -= t
        return 0.5 * np.sum(y**2) / len(y), y.__itruediv__(len(y))

    assert_same_fit(network("tanh"), network((tanh_in_place, dtanh), loss_in_place), *data())


def test_a_run_that_fails_late_keeps_what_was_done():
    x, t = data()
    calls = []

    def fails(y, t):
        calls.append(len(y))
        if len(calls) == 3:
            raise RuntimeError("third batch")
        return half_square(y, t)

    net, other = network(loss=fails), network()
    with pytest.raises(RuntimeError, match="third batch"):
        net.fit(x, t, optimizer=Adam(), batch_size=16, sampling="sequential", progress=False)
    other.fit(x, t, optimizer=Adam(), batch_size=16, iterations=2, sampling="sequential", progress=False)
    np.testing.assert_allclose(net.core.params, other.core.params, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
@pytest.mark.parametrize("where", ["forward", "loss", "after the update"])
def test_ctrl_c_leaves_what_the_last_update_left(where, monkeypatch):
    """In the third step, wherever that is: the state and the running moments are those of the updates that count."""
    x, t = data()
    calls = {"forward": 0, "loss": 0, "after the update": 0}

    def pressed(at):
        calls[at] += 1
        if at == where and calls[at] == 3:
            raise KeyboardInterrupt

    def tanh(a):
        pressed("forward")
        return np.tanh(a)

    def loss(y, t):
        pressed("loss")
        return half_square(y, t)

    update = PythonNetwork.update

    def slow_update(self, *args, **settings):
        update(self, *args, **settings)
        pressed("after the update")

    def layers(activation):
        return [Layer(6, 7, activation, batch_norm=True, dropout=0.2), Layer(7, 3)]

    nets = NeuralNetwork(layers((tanh, dtanh)), loss=loss, rng=0), NeuralNetwork(layers("tanh"), rng=0)
    monkeypatch.setattr(PythonNetwork, "update", slow_update)
    settings = {"optimizer": Adam(), "batch_size": 16, "rng": 0, "progress": False}
    history = nets[0].fit(x, t, epochs=2, **settings)
    done = 3 if where == "after the update" else 2
    assert history.interrupted
    assert history.iterations == nets[0].trained_with[1].n_steps == done
    nets[1].fit(x, t, iterations=done, **{**settings, "optimizer": Adam()})
    np.testing.assert_allclose(nets[0].core.params, nets[1].core.params, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(nets[0].layers[0].running_var, nets[1].layers[0].running_var, rtol=1e-12)


def test_divergence_is_told_as_ever():
    x, t = data()
    net = network((np.square, lambda a: 2 * a))
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="with learning rate 1000000"):
        net.fit(x, t, optimizer=SGD(1e6), progress=False)


@pytest.mark.parametrize("activation", [(np.tanh,), (np.tanh, "tanh"), (np.tanh, dtanh, dtanh), np.tanh, 3])
def test_what_is_no_pair_of_functions(activation):
    with pytest.raises((TypeError, ValueError), match=r"activation is .*expected"):
        Layer(2, 3, activation)


def test_what_functions_do_not_go_with():
    x, t = data()
    with pytest.raises(ValueError, match="samples have weights, expected none with the loss half_square"):
        network(loss=half_square).loss(x, t, sample_weight=np.ones(50))
    with pytest.raises(ValueError, match="samples have weights"):
        network(loss=half_square).fit(x, t, sample_weight=np.ones(50), progress=False)
    labels = np.arange(50) % 3
    for optimizer in (SGD(), LBFGS()):
        with pytest.raises(ValueError, match="samples have weights"):
            network(loss=half_square).fit(x, labels, class_weight="balanced", optimizer=optimizer, progress=False)
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1, expected 0 with loss 'half_square'"):
        NeuralNetwork(loss=half_square, label_smoothing=0.1)
    with pytest.raises(ValueError, match="expected None or 'softmax' with softmax_cross_entropy"):
        network(loss="softmax_cross_entropy", last=(np.tanh, dtanh)).predict(x)
    with pytest.raises(ValueError, match="whose output determines its derivative"):
        Layer(2, 3, (np.tanh, dtanh)).apply_activation_derivative([0.5])
    network(last=(expit, ACTIVATIONS["sigmoid"][1]), loss="binary_cross_entropy").fit(x, t, epochs=1, progress=False)


def test_layer_by_itself():
    layer = Layer(2, 3, (np.tanh, dtanh), rng=0)
    np.testing.assert_array_equal(layer.activate([1.0, 2.0]), np.tanh([1.0, 2.0] @ layer.weights + layer.bias))
    assert repr(layer) == "Layer(2, 3, (tanh, dtanh))"
    assert layer.activation_name == "custom"
    assert "(tanh, dtanh)" in NeuralNetwork([layer], loss=half_square).summary()


def test_copies_pickles_and_files(tmp_path):
    x, t = data()
    net = network((np.tanh, dtanh), half_square)
    net.fit(x, t, epochs=1, optimizer=Adam(), progress=False)
    for other in (copy.copy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.predict(x), net.predict(x))
        other.fit(x, t, epochs=1, progress=False)
        assert np.any(other.predict(x) != net.predict(x))
    for function in (lambda y, t: half_square(y, t), network(ACTIVATIONS["sigmoid"])):
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickle.dumps(function)
    for unnamed in (network((np.tanh, dtanh)), network(loss=half_square)):
        with pytest.raises(ValueError, match=r"(tanh, dtanh|half_square).*a model file holds no functions"):
            unnamed.save(tmp_path / "net.safetensors")
    for export in (export_c, export_torch):
        with pytest.raises(ValueError, match=r"layer 1 is Layer.* an export holds no functions"):
            export(network((np.tanh, dtanh)), tmp_path / "net.h")
    assert not list(tmp_path.iterdir())
    assert export_torch(network(loss=half_square), tmp_path / "net").startswith("Sequential(Linear(6, 7), Tanh()")


def test_the_gradient_of_a_loss_that_is_not_finite_is_no_number():
    """And not what the memory held before."""
    for value in (np.nan, np.inf):
        net = NeuralNetwork([Layer(3, 4), Layer(4, 2)], loss=lambda y, t, value=value: (value, y), rng=0)
        gradient = net.gradient(np.ones((5, 3)), np.ones((5, 2)))
        assert all(np.isnan(array).all() for array in gradient.values())
