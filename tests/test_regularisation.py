"""The parts of training besides descending: dropout, penalties, clipping, limits, rates; and weights of outputs."""

import numpy as np
import pytest
import reference as ref
from cases import targets_of

from nncore import SGD, Adam, Layer, NeuralNetwork, check_gradient
from nncore.core.dispatch import loss as core_loss
from nncore.data import batches
from nncore.training import scoring

DTYPES = (np.float32, np.float64)


def network(
    rng=0, loss="squared_error", sizes=(6, 8, 7, 3), activations=("tanh", "gelu", None), dtype=float, **settings
):
    layers = [
        Layer(a, b, f, init="xavier", **(settings if f else {}))
        for a, b, f in zip(sizes, sizes[1:], activations, strict=False)
    ]
    return NeuralNetwork(layers, loss=loss, rng=rng, dtype=dtype)


def batch(rng, net, n=20):
    return rng.normal(size=(n, net.n_in)), targets_of(rng, net.loss_name, (n, net.n_out))


def masked_gradient(net, x, t, masks):
    """Of 0.5 * squared error, averaged, with what each hidden layer's outputs are multiplied by."""
    zs, slopes = [x], []
    for k, layer in enumerate(net.layers):
        a = zs[-1] @ layer.weights.astype(float) + layer.bias
        name = layer.activation or "identity"
        z = ref.FORWARD[name](a)
        slopes.append(ref.DERIVATIVE[name](a if name in ref.BY_INPUT else z))
        zs.append(z * masks[k])
    dz, grads = (zs[-1] - t) / len(x), {}
    for k in reversed(range(len(net.layers))):
        da = dz * masks[k] * slopes[k]
        grads[f"W{k + 1}"], grads[f"b{k + 1}"] = zs[k].T @ da, da.sum(axis=0)
        dz = da @ net.layers[k].weights.T.astype(float)
    return grads


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", ["dense", "sparse"])
@pytest.mark.parametrize("n", [20, 210])
def test_a_step_with_dropout_is_that_of_its_masks(rows, dtype, n, rng):
    """Whole, and in blocks of samples."""
    net = network(sizes=(80, 33, 7, 3), dtype=dtype, dropout=0.4)
    net.layers[1].dropout = 0.1
    x, t = batch(rng, net, n)
    x *= rng.random(x.shape) < (0.1 if rows == "sparse" else 1)
    seed, step = 2**63 + 12345, 7
    masks = [ref.dropout_mask(seed, step, k, layer.dropout, (n, layer.n_neurons)) for k, layer in enumerate(net.layers)]
    expected = masked_gradient(net, x, t, masks)
    before = {name: value.copy() for name, value in net.params.items()}
    data = x
    if rows == "sparse":
        from nncore.core.dispatch import compressed

        data = compressed.compress(x, 0.5)
    losses = np.empty(1)
    net.core.train(data, t, None, np.arange(n), 0, n, n, 1.0, losses, seed=seed, first_step=step, n_threads=2)
    for name, value in net.params.items():
        np.testing.assert_allclose(before[name] - value, expected[name], rtol=0, atol=400 * np.finfo(dtype).eps)


def test_masks_drop_as_often_as_asked_and_differ(rng):
    net = network(sizes=(1, 4096, 1), activations=("identity", None), dropout=0.3)
    net.layers[0].weights, net.layers[0].bias, net.layers[1].weights = (
        np.zeros((1, 4096)),
        np.ones(4096),
        np.ones((4096, 1)),
    )
    dropped = []
    for step in range(50):
        net.layers[1].weights = np.ones((4096, 1))
        net.core.train(
            np.ones((1, 1)),
            np.zeros((1, 1)),
            None,
            np.zeros(1, int),
            0,
            1,
            1,
            1e-9,
            np.empty(1),
            seed=3,
            first_step=step,
        )
        dropped.append(net.layers[1].weights[:, 0] == 1.0)  # no output, no gradient
    share = np.mean(dropped, axis=1)
    assert abs(share.mean() - 0.3) < 5 * np.sqrt(0.21 / (50 * 4096))
    assert np.abs(share - 0.3).max() < 5 * np.sqrt(0.21 / 4096)
    correlation = np.corrcoef(np.array(dropped, float)) - np.eye(50)
    assert np.abs(correlation).max() < 5 / np.sqrt(4096)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_dropout_does_not_depend_on_threads_or_chunks(batch_size, rng):
    x, t = rng.normal(size=(64, 40)), rng.normal(size=(64, 3))
    results = []
    for parts, threads in (((64,), 1), ((64,), 2), ((16, 32, 16), 1)):
        net = network(sizes=(40, 300, 200, 3), dropout=0.5)
        steps = position = 0
        for n in parts:
            losses = np.empty(n // batch_size)
            net.core.train(
                x,
                t,
                None,
                np.arange(position, position + n),
                position,
                64,
                batch_size,
                0.01,
                losses,
                seed=5,
                first_step=steps,
                n_threads=threads,
            )
            steps, position = steps + len(losses), position + n
        results.append(net.core.params.copy())
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_fit_with_dropout_repeats_and_predicts_without(rng):
    nets = [network(dropout=0.5) for _ in range(3)]
    x, t = batch(rng, nets[0], 100)
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        net.fit(x, t, epochs=3, rng=seed, progress=False)
    np.testing.assert_array_equal(nets[0].core.params, nets[1].core.params)
    assert np.any(nets[0].core.params != nets[2].core.params)
    np.testing.assert_array_equal(nets[0].predict(x), nets[0].predict(x))
    assert check_gradient(nets[0], x[:10], t[:10]).passed


def test_updates_outside_fit_drop_too(rng):
    nets = [network(dropout=0.5, rng=3) for _ in range(2)]
    x, t = batch(rng, nets[0])
    losses = [[net.partial_fit(x, t, optimizer=SGD(1e-12)) for _ in range(4)] for net in nets]
    assert losses[0] == losses[1]
    assert len(set(np.round(losses[0], 9))) == 4
    nets[0].backpropagation(x, t, 0.1)
    assert np.any(nets[0].core.params != nets[1].core.params)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_belong_to_the_loss(dtype, rng):
    net = network(dtype=dtype, l1=0.03, l2=0.2)
    plain = network(dtype=dtype)
    x, t = batch(rng, net)
    W = [layer.weights.astype(float) for layer in net.layers[:2]]
    expected = plain.loss(x, t) + sum(0.1 * (w**2).sum() + 0.03 * np.abs(w).sum() for w in W)
    tolerance = 40 * float(np.finfo(dtype).eps)
    assert net.loss(x, t) == pytest.approx(expected, rel=tolerance)
    grads, without = net.gradient(x, t), plain.gradient(x, t)
    for k, w in enumerate(W, start=1):
        np.testing.assert_allclose(grads[f"W{k}"], without[f"W{k}"] + 0.2 * w + 0.03 * np.sign(w), atol=4 * tolerance)
    np.testing.assert_array_equal(grads["b1"], without["b1"])
    np.testing.assert_array_equal(grads["W3"], without["W3"])
    assert check_gradient(net, x, t).passed
    net.core.penalty_by_samples = True
    assert net.loss(x, t) == pytest.approx(plain.loss(x, t) + (expected - plain.loss(x, t)) / 20, rel=tolerance)


def test_penalty_by_the_weight_of_the_batch(rng):
    net, plain = network(l2=0.2), network()
    net.core.penalty_by_samples = True
    x, t = batch(rng, net)
    weights = rng.random(20)
    grads, without = (n.gradient(x, t, sample_weight=weights)["W1"] for n in (net, plain))
    np.testing.assert_allclose(grads, without + 0.2 * net.params["W1"] / weights.sum(), rtol=1e-12)
    slopes = net.numerical_gradient(x, t, sample_weight=weights)["W1"]
    np.testing.assert_allclose(grads, slopes, atol=1e-8)


@pytest.mark.parametrize("batch_size", [1, 7, 20])
@pytest.mark.parametrize("optimizer", [SGD(0.05), Adam(0.01)])
@pytest.mark.parametrize(
    "settings",
    [{"l1": 0.01, "l2": 0.1}, {"max_norm": 0.8}, {"lr_scale": 0.5}, {"lr_scale": 0.0}, {"trainable_bias": False}],
    ids=str,
)
@pytest.mark.parametrize("width", [6, 80])
def test_fit_takes_the_steps_of_a_loop_with_update(settings, optimizer, batch_size, width, rng):
    """Rows of 80 with few non-zeros take the sparse way, one sample a step and plain descent the packed one."""
    nets = [network(sizes=(width, 8, 7, 3), **settings) for _ in range(2)]
    x, t = batch(rng, nets[0])
    x *= rng.random(x.shape) < (0.1 if width == 80 else 1)
    losses = (
        nets[0]
        .fit(x, t, optimizer=optimizer, epochs=3, batch_size=batch_size, sampling="sequential", progress=False)
        .loss
    )
    net, kind, expected = nets[1], type(optimizer), []
    rules = [kind(optimizer.lr * (layer.lr_scale or 1)) for layer in net.layers]
    for first in [*range(0, 20, batch_size)] * 3:
        rows = slice(first, first + batch_size)
        expected.append(net.loss(x[rows], t[rows]))
        grads = net.gradient(x[rows], t[rows])
        for k, (layer, rule) in enumerate(zip(net.layers, rules, strict=True), start=1):
            names = [f"W{k}", f"b{k}"][: 2 if layer.trainable_bias else 1]
            if layer.lr_scale:
                rule.update({n: net.params[n] for n in names}, grads)
            if layer.max_norm:
                norms = np.linalg.norm(layer.weights, axis=0)
                layer.weights *= np.where(norms > layer.max_norm, layer.max_norm / norms, 1)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    np.testing.assert_allclose(nets[0].core.params, net.core.params, rtol=0, atol=1e-10)


@pytest.mark.parametrize("limits", [(0.5, 0.0), (0.0, 0.02), (0.3, 0.02), (1e9, 1e9)])
def test_clipped_steps(limits, rng):
    net = network(lr_scale=0.5)
    net.layers[0].lr_scale = 0.0
    x, t = batch(rng, net)
    grads, before = {name: value.copy() for name, value in net.gradient(x, t).items()}, net.core.params.copy()
    norm, value = limits
    free = [name for name in grads if name[1] != "1"]
    if value:
        grads = {name: np.clip(g, -value, value) for name, g in grads.items()}
    total = np.sqrt(sum((grads[name] ** 2).sum() for name in free))
    if norm and total > norm:
        grads = {name: g * norm / (total + 1e-6) for name, g in grads.items()}
    net.core.train(x, t, None, np.arange(20), 0, 20, 20, 0.1, np.empty(1), clip_norm=norm, clip_value=value)
    for name, start in net.named(before).items():
        scale = {"1": 0, "2": 0.05, "3": 0.1}[name[1]]
        np.testing.assert_allclose(net.params[name], start - scale * grads[name], rtol=0, atol=1e-14)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_learning_rates_by_step(batch_size, rng):
    nets = [network() for _ in range(2)]
    x, t = batch(rng, nets[0])
    n = 20 // batch_size
    rates, losses = rng.random(n) * 0.1, np.empty(n)
    nets[0].core.train(x, t, None, np.arange(20), 0, 20, batch_size, rates, losses)
    for k, lr in enumerate(rates):
        rows = slice(k * batch_size, (k + 1) * batch_size)
        nets[1].partial_fit(x[rows], t[rows], optimizer=SGD(lr))
    np.testing.assert_allclose(nets[0].core.params, nets[1].core.params, rtol=0, atol=1e-13)
    with pytest.raises(TypeError, match="lr is a float64 array of shape"):
        nets[0].core.train(x, t, None, np.arange(20), 0, 20, batch_size, np.ones(n + 1), losses)


@pytest.mark.parametrize("loss", [*ref.TERM, "softmax_cross_entropy"])
def test_weights_of_outputs(loss, rng):
    last = "sigmoid" if loss == "binary_cross_entropy" else None
    net = network(loss=loss, activations=("tanh", "silu", last))
    x, t = rng.normal(size=(20, 6)), targets_of(rng, loss, (20, 3))
    if loss == "softmax_cross_entropy":
        t = ref.softmax(t)
    weights = rng.random((20, 3)) * (rng.random((20, 3)) < 0.7)
    y = net.predict(x)
    terms = ref.TERM[loss](y, t) if loss in ref.TERM else t * (ref.log_sum_exp(y) - y)
    assert net.loss(x, t, sample_weight=weights) == pytest.approx((weights * terms).sum() / 20, rel=1e-12)
    grads, slopes = (of(x, t, sample_weight=weights) for of in (net.gradient, net.numerical_gradient))
    for name in grads:
        np.testing.assert_allclose(grads[name], slopes[name], rtol=0, atol=3e-8)
    other = network(loss=loss, activations=("tanh", "silu", last))
    history = net.fit(x, t, sample_weight=weights, batch_size=20, epochs=1, sampling="sequential", optimizer=SGD(0.1))
    for name, value in other.params.items():
        value -= 0.1 * grads[name]
    np.testing.assert_allclose(net.core.params, other.core.params, atol=1e-14)
    assert history.loss[0] == pytest.approx((weights * terms).sum() / 20, rel=1e-12)
    # a mask: what it hides may be anything
    hidden = np.where(weights == 0, rng.normal(size=(20, 3)) * 9, t)
    assert net.loss(x, hidden, sample_weight=weights) == pytest.approx(net.loss(x, t, sample_weight=weights), rel=1e-14)
    if loss in core_loss.TARGETS:
        with pytest.raises(ValueError, match=r"y\[\d+, \d\] is .*, expected"):
            net.fit(x, np.where(weights > 0, -7.0, t), sample_weight=weights, progress=False)


def test_smoothed_labels(rng):
    net = NeuralNetwork([Layer(6, 8, "tanh"), Layer(8, 4)], loss="softmax_cross_entropy", label_smoothing=0.2, rng=0)
    x, labels = rng.normal(size=(20, 6)), rng.integers(4, size=20)
    y = net.predict(x)
    smooth = 0.8 * np.eye(4)[labels] + 0.05
    expected = (smooth * (ref.log_sum_exp(y) - y)).sum() / 20
    for t in (labels, np.eye(4)[labels]):
        assert net.loss(x, t) == pytest.approx(expected, rel=1e-12)
        assert check_gradient(net, x, t).passed


def test_a_label_is_one_against_the_rest_for_hinge(rng):
    net = network(loss="hinge")
    x, labels = rng.normal(size=(20, 6)), rng.integers(3, size=20)
    assert net.loss(x, labels) == net.loss(x, 2 * np.eye(3)[labels] - 1)
    net.fit(x, labels, optimizer=Adam(0.01), epochs=200, validation_data=(x, labels), progress=False)
    assert net.accuracy(net.predict(x), labels) == 1.0


@pytest.mark.parametrize("fused", [True, False])
def test_accuracy_and_probabilities_of_one_logit(fused, rng):
    net = NeuralNetwork([Layer(2, 1, "sigmoid" if fused else None)], loss="sigmoid_cross_entropy", rng=0)
    x = rng.normal(size=(200, 2))
    t = (x.sum(axis=1) > 0).astype(float)
    history = net.fit(x, t, optimizer=SGD(1.0), epochs=50, validation_data=(x, t), progress=False)
    logits = x @ net.params["W1"] + net.params["b1"]
    np.testing.assert_allclose(net.predict_proba(x), ref.FORWARD["sigmoid"](logits), rtol=1e-12)
    np.testing.assert_allclose(net.predict(x), net.predict_proba(x) if fused else logits, rtol=1e-12)
    assert history.loss[-1] < 0.2
    assert scoring.mean_accuracy(net, *batches.batch(net, x, t)[:2]) > 0.97


@pytest.mark.parametrize("activation", ["gelu", "silu", "softplus"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_first_layer_on_compressed_rows(activation, threads, rng):
    """Activations that keep their slope beside their output, or are not 0 at 0, where rows of weights are padded."""
    from nncore.core.dispatch import compressed

    nets = [network(sizes=(80, 33, 7, 3), activations=(activation, "tanh", None), dropout=0.2) for _ in range(2)]
    x, t = batch(rng, nets[0])
    x *= rng.random(x.shape) < 0.1
    for net, rows in zip(nets, (x, compressed.compress(x, 0.5)), strict=True):
        index, losses = np.tile(np.arange(20), 3), np.empty(9)
        net.core.train(rows, t, None, index, 0, 20, 8, 0.1, losses, seed=3, n_threads=threads)
    np.testing.assert_allclose(nets[1].core.params, nets[0].core.params, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (5, 5)])
def test_orthogonal_weights(shape):
    W = Layer(*shape, init="orthogonal", rng=0).weights
    product = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-14)


def test_settings_of_a_layer_may_change(rng):
    net = network()
    x, t = batch(rng, net)
    before = net.loss(x, t)
    net.layers[0].l2 = 0.5
    assert net.loss(x, t) == pytest.approx(before + 0.25 * (net.params["W1"] ** 2).sum(), rel=1e-13)
    frozen = net.params["W1"].copy()
    net.layers[0].lr_scale = 0
    net.fit(x, t, epochs=1, optimizer=Adam())
    np.testing.assert_array_equal(net.params["W1"], frozen)


def test_dropout_of_the_last_layer_is_refused_later_too(rng):
    net = network()
    x, t = batch(rng, net)
    before = net.gradient(x, t)
    with pytest.raises(ValueError, match=r"the last layer has dropout 0.3, expected 0: its outputs are the network's"):
        net.layers[-1].dropout = 0.3
    assert net.layers[-1].dropout == 0
    net.fit(x, t, optimizer=SGD(0.1), batch_size=20, epochs=1)
    np.testing.assert_allclose(net.params["W3"], network().params["W3"] - 0.1 * before["W3"], atol=1e-14)


def test_names_with_a_parameter():
    layer = Layer(2, 2, "leaky_relu(0.2)")
    assert (layer.activation, layer.activation_name, layer.activation_param) == ("leaky_relu(0.2)", "leaky_relu", 0.2)
    assert Layer(2, 2, "leaky_relu").activation_param == 0.01
    np.testing.assert_array_equal(
        Layer(1, 1, "elu(2)", weights=[[1.0]], bias=[0.0]).activate([-1.0]), [2 * np.expm1(-1.0)]
    )
