"""Losses for own loops: formulas, gradients, weights, masks, and the same numbers as networks have."""

import re

import numpy as np
import pytest
import reference as ref

from nncore import Layer, NeuralNetwork, check_gradient, losses

# name -> the function, its NumPy twins, its name and settings in torch
LOSSES = {
    "squared_error": (losses.squared_error, {}, "mse_loss", {}),
    "absolute_error": (losses.absolute_error, {}, "l1_loss", {}),
    "huber(0.7)": (losses.huber, {"delta": 0.7}, "huber_loss", {"delta": 0.7}),
    "quantile(0.8)": (losses.quantile, {"q": 0.8}, None, {}),
    "poisson": (losses.poisson, {}, "poisson_nll_loss", {"log_input": True}),
    "sigmoid_cross_entropy": (losses.sigmoid_cross_entropy, {}, "binary_cross_entropy_with_logits", {}),
    "binary_cross_entropy": (losses.binary_cross_entropy, {}, "binary_cross_entropy", {}),
    "hinge": (losses.hinge, {}, None, {}),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def batch(name, rng, shape=(7, 4)):
    y = rng.uniform(0.05, 0.95, shape) if name == "binary_cross_entropy" else rng.normal(size=shape)
    if name == "hinge":
        return y, rng.choice([-1.0, 1.0], shape)
    return y, rng.random(shape)


def weights_of(kind, rng):
    return {"none": None, "samples": rng.random(7), "outputs": rng.random((7, 4)) * rng.integers(0, 2, (7, 4))}[kind]


def shares(weights, shape):
    """The factor of a term, written anew."""
    if weights is None:
        return np.full(shape, 1 / shape[0])
    return weights / shape[0] if weights.ndim == 2 else np.outer(weights / weights.sum(), np.ones(shape[1]))


@every_loss
@pytest.mark.parametrize("weights", ["none", "samples", "outputs"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_value_and_gradient(name, weights, dtype, rng):
    function, settings, _, _ = LOSSES[name]
    y, t = batch(name, rng)
    weight = weights_of(weights, rng)
    share = shares(weight, y.shape)
    loss, dy = function(y.astype(dtype), t, weight, **settings)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    assert dy.dtype == dtype
    assert type(loss) is float
    assert loss == pytest.approx(np.sum(share * ref.TERM[name](y, t)), rel=tolerance)
    np.testing.assert_allclose(dy, share * ref.SLOPE[name](y, t), rtol=tolerance, atol=tolerance)


@every_loss
def test_gradient_check(name, rng):
    function, settings, _, _ = LOSSES[name]
    y, t = batch(name, rng)
    weight = weights_of("outputs", rng)
    report = check_gradient(
        lambda y: function(y, t, weight, **settings)[0], y, grad=function(y, t, weight, **settings)[1]
    )
    assert report.passed, str(report)


@every_loss
def test_torch(name, rng):
    torch = pytest.importorskip("torch")
    function, settings, other, other_settings = LOSSES[name]
    if other is None:
        other = {
            "quantile(0.8)": lambda y, t, reduction: torch.maximum(0.8 * (t - y), -0.2 * (t - y)),
            "hinge": lambda y, t, reduction: torch.relu(1 - t * y),
        }[name]
    else:
        other = getattr(torch.nn.functional, other)
    y, t = batch(name, rng)
    weight = weights_of("outputs", rng)
    theirs = torch.tensor(y, requires_grad=True)
    value = (torch.tensor(weight) * other(theirs, torch.tensor(t), reduction="none", **other_settings)).sum() / 7
    value = value / 2 if name == "squared_error" else value
    value.backward()
    loss, dy = function(y, t, weight, **settings)
    assert loss == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(dy, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", ["none", "samples"])
def test_softmax_cross_entropy_and_torch(smoothing, weights, rng):
    torch = pytest.importorskip("torch")
    y, labels = rng.normal(size=(7, 4)), rng.integers(4, size=7)
    weight = weights_of(weights, rng)
    theirs = torch.tensor(y, requires_grad=True)
    by_sample = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(labels), label_smoothing=smoothing, reduction="none"
    )
    value = by_sample.mean() if weight is None else (torch.tensor(weight) * by_sample).sum() / weight.sum()
    value.backward()
    for t in (labels, np.eye(4)[labels]):
        loss, dy = losses.softmax_cross_entropy(y, t, weight, label_smoothing=smoothing)
        assert loss == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(dy, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weights", ["none", "samples", "outputs"])
@pytest.mark.parametrize("delta", [0.0, 1e-3])
def test_softmax_cross_entropy_by_the_formula(weights, delta, rng):
    y, t = rng.normal(size=(7, 4)), ref.softmax(rng.normal(size=(7, 4)))
    weight = weights_of(weights, rng)
    expected, slope = ref.softmax_cross_entropy(y, shares(weight, y.shape) * t, delta)
    loss, dy = losses.softmax_cross_entropy(y, t, weight, delta=delta)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dy, slope, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", [*LOSSES, "softmax_cross_entropy"])
@pytest.mark.parametrize("weights", ["none", "samples", "outputs"])
def test_a_network_has_the_same_loss_and_gradient(name, weights, rng):
    function, settings = LOSSES[name][:2] if name in LOSSES else (losses.softmax_cross_entropy, {})
    last = "sigmoid" if name == "binary_cross_entropy" else None
    net = NeuralNetwork([Layer(5, 4, last)], loss=name, rng=0)
    x, weight = rng.normal(size=(7, 5)), weights_of(weights, rng)
    t = rng.integers(4, size=7) if name in ("hinge", "softmax_cross_entropy") else rng.random((7, 4))
    loss, dy = function(net.forward(x), t, weight, **settings)
    grads, _ = net.backward(dy)
    assert loss == pytest.approx(net.loss(x, t, sample_weight=weight), rel=1e-12)
    for key, grad in net.gradient(x, t, sample_weight=weight).items():
        np.testing.assert_allclose(grads[key], grad, rtol=1e-9, atol=1e-14)


def test_as_the_loss_of_a_network(rng):
    x, t = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    nets = [NeuralNetwork([Layer(3, 4, "tanh"), Layer(4, 2)], loss=loss, rng=0) for loss in ("huber", losses.huber)]
    for net in nets:
        net.fit(x, t, epochs=3, rng=1, progress=False)
    np.testing.assert_allclose(nets[1].core.params, nets[0].core.params, rtol=1e-12)


def test_a_mask_of_one_sample_hides_as_that_of_many():
    loss, dy = losses.sigmoid_cross_entropy([3, 9], [1, 5], weights=[1, 0])
    of_rows, dy_of_rows = losses.sigmoid_cross_entropy([[3, 9]], [[1, 5]], weights=[[1, 0]])
    assert loss == of_rows == pytest.approx(np.log1p(np.exp(-3)))
    np.testing.assert_array_equal(dy, dy_of_rows[0])


def test_a_mask_may_hide_all_there_is():
    loss, dy = losses.squared_error(np.ones((2, 3)), np.zeros((2, 3)), np.zeros((2, 3)))
    assert loss == 0
    assert not dy.any()
    assert losses.squared_error(np.ones((2, 3)), np.zeros((2, 3)), np.zeros(2))[0] == 0


def test_one_sample_alone(rng):
    y, t = rng.normal(size=4), rng.random(4)
    loss, dy = losses.squared_error(y, t, [1, 0, 1, 0])
    together, rows = losses.squared_error(y[None], t[None], [[1, 0, 1, 0]])
    assert dy.shape == (4,)
    assert loss == together
    np.testing.assert_array_equal(dy, rows[0])


BAD = {
    "shape of y": (lambda: losses.huber(np.ones((2, 2, 2)), 1), r"y has shape \(2, 2, 2\), expected \(n_samples"),
    "no y": (lambda: losses.huber(np.ones((0, 2)), np.ones((0, 2))), r"y has shape \(0, 2\)"),
    "shape of t": (lambda: losses.huber(np.ones((2, 3)), np.ones((3, 2))), r"t has shape \(3, 2\), expected \(2,\)"),
    "label": (lambda: losses.softmax_cross_entropy(np.ones((2, 3)), [0, 3]), r"t\[1\] is 3, expected labels 0 to 2"),
    "range": (lambda: losses.binary_cross_entropy([0.5], [2.0]), r"t\[0, 0\] is 2.0, expected numbers from 0 to 1"),
    "weights": (lambda: losses.huber(np.eye(2, 3), np.eye(2, 3), np.ones(3)), r"weights has shape \(3,\), expected"),
    "negative": (lambda: losses.huber([1.0], [1.0], [-1.0]), r"weights goes from -1.0 to -1.0, expected 0 or more"),
    "NaN": (lambda: losses.huber([1.0], [1.0], [np.nan]), r"weights\[0\] is nan, expected finite"),
    "delta": (lambda: losses.huber([1.0], [1.0], delta=0), "delta is 0, expected a finite number above 0"),
    "q": (lambda: losses.quantile([1.0], [1.0], q=1), "q is 1, expected a number between 0 and 1"),
    "smoothing": (
        lambda: losses.softmax_cross_entropy([[1.0, 2.0]], [1], label_smoothing=1), "label_smoothing is 1, expected"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", losses.__all__)
def test_docstrings_are_whole(name):
    """Their shared parts are filled in, as help() shows them."""
    text = getattr(losses, name).__doc__
    assert not re.search(r"{\w+}", text)
    for part in (
        "Parameters\n---",
        "\ny : array_like",
        "\nweights : array_like",
        "Returns\n---",
        "Raises\n---",
        ">>> ",
    ):
        assert part in text
