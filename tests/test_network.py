"""NeuralNetwork, Layer and the book's classes: views, layouts, single samples, own loops."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st

from nncore import Layer, NeuralNetwork, SimpleNet, TwoLayerNet, cross_entropy_error, numerical_gradient, softmax
from nncore.core.dispatch import network as core_network


def small_net(loss="squared_error", dtype=np.float64, last=None):
    return NeuralNetwork([Layer(4, 5, "tanh"), Layer(5, 3, last)], loss=loss, dtype=dtype, rng=0)


def test_layers_become_views_of_the_networks_vector():
    layer = Layer(2, 3, "tanh", weights=np.arange(6.0).reshape(2, 3), bias=[1.0, 2.0, 3.0])
    net = NeuralNetwork([layer, Layer(3, 1)], rng=0)
    before = layer.activate([1.0, -1.0])
    net.predict([1.0, -1.0])
    np.testing.assert_array_equal(layer.weights, np.arange(6.0).reshape(2, 3))
    assert layer.weights is net.params["W1"] or np.shares_memory(layer.weights, net.params["W1"])
    np.testing.assert_array_equal(layer.activate([1.0, -1.0]), before)
    layer.weights = np.zeros((2, 3))
    layer.bias = np.zeros(3)
    assert not net.params["W1"].any()
    assert not net.core.params[:9].any()
    net.params["W1"] += 1.0
    np.testing.assert_array_equal(layer.weights, np.ones((2, 3)))
    net.params["b1"] = [1, 2, 3]
    np.testing.assert_array_equal(layer.bias, [1.0, 2.0, 3.0])


def test_adding_a_layer_keeps_the_values():
    net = small_net()
    x = np.ones(4)
    hidden = net.predict(x)
    net.add_layer(Layer(3, 2, weights=np.eye(3, 2), bias=np.zeros(2)))
    np.testing.assert_allclose(net.predict(x), hidden[:2], rtol=1e-15)
    assert list(net.params) == ["W1", "b1", "W2", "b2", "W3", "b3"]


def test_params_can_be_changed_but_not_lost():
    net = small_net()
    view = net.params["W1"]
    net.params["W1"] *= 2
    assert net.params["W1"] is view
    with pytest.raises(ValueError, match=r"params\['W1'\] has shape \(2, 2\), expected \(4, 5\)"):
        net.params["W1"] = np.ones((2, 2))
    with pytest.raises(KeyError, match="expected one of W1, b1, W2, b2"):
        net.params["W3"] = np.ones(3)
    with pytest.raises(TypeError, match="cannot be removed"):
        del net.params["W1"]
    assert set(net.params) == {"W1", "b1", "W2", "b2"}
    assert "W1: (4, 5)" in repr(net.params)


def test_seed_makes_weights():
    first, second, other = (TwoLayerNet(4, 3, 2, rng=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.params["W1"], second.params["W1"])
    assert np.any(first.params["W1"] != other.params["W1"])


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (None, (1 / 300) ** 0.5),
        ("normal", 0.01),
        ("uniform", 0.01),
        ("lecun", 0.05),
        ("xavier", (2 / 700) ** 0.5),
        ("he", (2 / 400) ** 0.5),
        ("he_uniform", (2 / 400) ** 0.5),
        (0.3, 0.3),
    ],
)
def test_initial_weights(init, std):
    layer = Layer(400, 300, init=init, rng=0)
    # the sample deviation of n numbers is right to about 1 / sqrt(2 n)
    assert layer.weights.std() == pytest.approx(std, rel=5 / np.sqrt(2 * 400 * 300))
    assert abs(layer.weights.mean()) < 5 * std / np.sqrt(400 * 300)
    if init is None:
        assert 0 <= layer.bias.min() < layer.bias.max() <= 0.1
    else:
        assert not layer.bias.any()
    if init in ("uniform", "he_uniform"):
        assert np.abs(layer.weights).max() <= std * 3**0.5


LAYOUTS = {
    "fortran": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "list": lambda x: x.tolist(),
    "read-only": lambda x: x,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_any_layout_of_x_and_t(layout, dtype, rng):
    net = small_net(loss="softmax_cross_entropy")
    x = rng.integers(0, 5, size=(6, 4)).astype(dtype)
    t = ref.one_hot(rng.integers(3, size=6), 3)
    if layout == "read-only":
        x.setflags(write=False)
        t.setflags(write=False)
    plain = x * net.input_scale if dtype == np.uint8 and layout != "list" else x.astype(np.float64)
    x_in, t_in = LAYOUTS[layout](x), LAYOUTS[layout](t)
    tolerance = {"rtol": 1e-13, "atol": 1e-15}
    np.testing.assert_allclose(net.predict(x_in), net.predict(plain), **tolerance)
    grads, expected = net.gradient(x_in, t_in), net.gradient(plain, t)
    for name in expected:
        np.testing.assert_allclose(grads[name], expected[name], **tolerance)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(1, 7),
    st.sampled_from(["relu", "tanh", "sigmoid"]),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_any_architecture_equals_the_reference(sizes, n_samples, activation, dtype, use_bias, seed):
    rng = np.random.default_rng(seed)
    layers = [Layer(m, n, activation, use_bias=use_bias) for m, n in itertools.pairwise(sizes)]
    net = NeuralNetwork(layers, rng=seed, dtype=dtype)
    x, t = rng.normal(size=(n_samples, sizes[0])), rng.normal(size=(n_samples, sizes[-1]))
    twins = [
        (la.weights.astype(float), None if la.bias is None else la.bias.astype(float), activation) for la in layers
    ]
    tolerance = 1e3 * np.finfo(dtype).eps
    np.testing.assert_allclose(net.predict(x), ref.network_forward(twins, x)[-1], rtol=tolerance, atol=tolerance)
    expected, _ = ref.network_gradient(twins, "squared_error", x, t)
    grads = net.gradient(x, t)
    for k, (dW, db) in enumerate(expected, start=1):
        # a pre-activation within rounding of relu's kink may fall on either side
        if activation == "relu" and dtype == np.float32:
            continue
        np.testing.assert_allclose(grads[f"W{k}"], dW, rtol=tolerance, atol=tolerance * (1 + np.abs(dW).max()))
        if use_bias:
            np.testing.assert_allclose(grads[f"b{k}"], db, rtol=tolerance, atol=tolerance * (1 + np.abs(db).max()))


def test_one_sample_and_a_batch_agree(rng):
    net = small_net()
    x = rng.normal(size=(7, 4))
    batch = net.predict(x)
    for row, expected in zip(x, batch, strict=True):
        assert net.predict(row).shape == (3,)
        np.testing.assert_allclose(net.predict(row), expected, rtol=1e-14)


def test_large_batches_are_cut_into_blocks(rng):
    net = small_net(loss="softmax_cross_entropy")
    x, t = rng.normal(size=(1000, 4)), rng.integers(3, size=1000)
    twins = [(la.weights, la.bias, la.activation or "identity") for la in net.layers]
    np.testing.assert_allclose(net.predict(x), ref.network_forward(twins, x)[-1], rtol=1e-12, atol=1e-14)
    expected = ref.network_loss(twins, "softmax_cross_entropy", x, ref.one_hot(t, 3))
    assert net.loss(x, t) == pytest.approx(expected, rel=1e-12)


def test_labels_one_hot_and_soft_targets(rng):
    net = small_net(loss="softmax_cross_entropy")
    x, labels = rng.normal(size=(6, 4)), np.array([0, 1, 2, 2, 1, 0], dtype=np.uint8)
    hot = ref.one_hot(labels, 3)
    assert net.loss(x, labels) == net.loss(x, hot) == net.loss(x, hot.astype(int))
    assert net.loss(x[0], 0) == net.loss(x[0], hot[0]) == net.loss(x[:1], [0])
    assert net.loss(x, 0.5 * hot + 0.5 / 3) > 0


def test_predict_proba(rng):
    x = rng.normal(size=(5, 4))
    logits, probabilities = small_net("softmax_cross_entropy"), small_net("softmax_cross_entropy", last="softmax")
    np.testing.assert_allclose(logits.predict_proba(x), probabilities.predict(x), rtol=1e-14)
    np.testing.assert_array_equal(probabilities.predict_proba(x), probabilities.predict(x))
    np.testing.assert_allclose(logits.predict_proba(x).sum(axis=1), 1, rtol=1e-14)
    with pytest.raises(ValueError, match="squared_error"):
        small_net().predict_proba(x)


def test_backpropagation_shows_the_articles_error_and_delta(rng):
    """last_activation, error and delta of each layer against the article's formulas, one sample and a batch."""
    for x, y in [(rng.normal(size=4), rng.normal(size=3)), (rng.normal(size=(6, 4)), rng.normal(size=(6, 3)))]:
        net = small_net(last="sigmoid")
        assert net.layers[0].delta is None
        assert net.layers[0].last_activation is None
        weights = [la.weights.copy() for la in net.layers]
        first = net.layers[0].activate(x)
        output = net.predict(x)
        net.backpropagation(x, y, 0.5)
        hidden, last = net.layers
        np.testing.assert_allclose(last.last_activation, output, rtol=1e-13)
        np.testing.assert_allclose(last.error, y - output, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(last.delta, (y - output) * output * (1 - output), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(hidden.last_activation, first, rtol=1e-13)
        np.testing.assert_allclose(hidden.error, last.delta @ weights[1].T, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(hidden.delta, hidden.error * (1 - first**2), rtol=1e-12, atol=1e-15)
        assert last.delta.shape == y.shape


def test_backpropagation_with_softmax_cross_entropy_shows_t_minus_y(rng):
    for last in (None, "softmax"):
        net = small_net("softmax_cross_entropy", last=last)
        x = rng.normal(size=4)
        probabilities = net.predict_proba(x)
        net.backpropagation(x, 2, 0.1)
        expected = ref.one_hot(2, 3) - probabilities
        np.testing.assert_allclose(net.layers[1].delta, expected, rtol=1e-12)
        np.testing.assert_allclose(net.layers[1].error, expected, rtol=1e-12)


def test_forward_backward_for_own_losses(rng):
    """A loss of one's own: sum(y**3); twice backward after one forward."""
    for last in (None, "sigmoid", "softmax"):
        net = small_net(last=last)
        x = rng.normal(size=(5, 4))
        y = net.forward(x)
        np.testing.assert_array_equal(y, net.predict(x))
        grads, dx = net.backward(3 * y**2)
        again, _ = net.backward(3 * y**2)
        np.testing.assert_array_equal(grads["W1"], again["W1"])
        for name, value in net.params.items():
            numerical, bound = ref.numerical_gradient(lambda net=net, x=x: float((net.predict(x) ** 3).sum()), value)
            assert np.all(np.abs(grads[name] - numerical) <= bound), name
        numerical, bound = ref.numerical_gradient(lambda net=net, x=x: float((net.predict(x) ** 3).sum()), x)
        assert np.all(np.abs(dx - numerical) <= bound)
    net.predict(x)
    net.gradient(x, rng.normal(size=(5, 3)))
    with pytest.raises(RuntimeError, match="expected forward"):
        net.backward(y)


def test_gradients_are_new_arrays_each_time(rng):
    net = small_net()
    x, t = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    first = net.gradient(x, t)
    kept = copy.deepcopy(first)
    net.gradient(2 * x, t)
    for name in first:
        np.testing.assert_array_equal(first[name], kept[name])


def test_accuracy_of_scores_labels_and_one_hot():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert NeuralNetwork.accuracy(scores, [1, 0, 0]) == pytest.approx(2 / 3)
    assert NeuralNetwork.accuracy(scores, ref.one_hot([1, 0, 0], 2)) == pytest.approx(2 / 3)
    assert NeuralNetwork.accuracy([1, 0, 1], [1, 0, 0]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("activation", [None, "identity", "relu", "tanh", "sigmoid"])
def test_layer_alone(activation, rng):
    layer = Layer(3, 4, activation, rng=0)
    x = rng.normal(size=(5, 3))
    z = ref.FORWARD[activation or "identity"](x @ layer.weights + layer.bias)
    np.testing.assert_allclose(layer.activate(x), z, rtol=1e-13)
    np.testing.assert_array_equal(layer.last_activation, layer.activate(x))
    np.testing.assert_allclose(
        layer.apply_activation_derivative(z), ref.DERIVATIVE[activation or "identity"](z), rtol=1e-13
    )
    assert layer.activate(x[0]).shape == (4,)


def test_relu_has_slope_0_at_0():
    np.testing.assert_array_equal(Layer(1, 1, "relu").apply_activation_derivative([0.0, -0.0, 1e-300]), [0, 0, 1])


def test_simple_net_gradient(rng):
    net = SimpleNet(rng=0)
    x, t = np.array([0.6, 0.9]), np.array([0, 0, 1])
    assert net.W.shape == (2, 3)
    assert net.loss(x, t) == pytest.approx(cross_entropy_error(softmax(net.predict(x)), t), rel=1e-14)
    assert net.loss(x, 2) == net.loss(x, t)
    # the book's way: f ignores its argument and reads net.W by alias
    np.testing.assert_allclose(numerical_gradient(lambda w: net.loss(x, t), net.W), net.gradient(x, t), rtol=1e-8)


def test_two_layer_net_is_the_books(rng):
    net = TwoLayerNet(6, 5, 3, rng=0)
    x, t = rng.normal(size=(8, 6)), rng.integers(3, size=8)
    p = net.params
    y = ref.softmax(ref.FORWARD["sigmoid"](x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-13)
    assert net.loss(x, t) == pytest.approx(-np.log(y[np.arange(8), t] + 1e-7).mean(), rel=1e-13)
    assert net.accuracy(x, t) == net.accuracy(x, ref.one_hot(t, 3)) == np.mean(y.argmax(axis=1) == t)
    grad, numerical = net.gradient(x, t), net.numerical_gradient(x, t)
    for name in p:
        # truncation of the step 1e-4
        np.testing.assert_allclose(grad[name], numerical[name], atol=1e-8)


def test_networks_can_be_copied(rng):
    net = small_net()
    x = rng.normal(size=(3, 4))
    before = net.predict(x)
    twin = copy.deepcopy(net)
    twin.params["W1"] += 1
    np.testing.assert_array_equal(net.predict(x), before)
    assert np.any(twin.predict(x) != before)
    thawed = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(thawed.predict(x), before)
    thawed.params["W1"] += 1
    assert np.shares_memory(thawed.layers[0].weights, thawed.params["W1"])


def test_weights_read_before_the_first_run_come_from_the_networks_seed():
    first, second = small_net(), small_net()
    np.testing.assert_array_equal(first.layers[0].weights, second.params["W1"])


def test_predict_into_an_array_given(rng):
    net = NeuralNetwork([Layer(5, 7, "tanh"), Layer(7, 3)], dtype=np.float32, rng=0)
    x = rng.normal(size=(700, 5)).astype(np.float32)
    expected = net.predict(x)
    for n_threads in (1, 2, "auto"):
        out = np.full((700, 3), np.nan, np.float32)
        assert net.predict(x, out=out, n_threads=n_threads) is out
        np.testing.assert_array_equal(out, expected)
    one = np.empty(3, np.float32)
    np.testing.assert_array_equal(net.predict(x[4], out=one), net.predict(x[4:5])[0])
    with pytest.raises(ValueError, match=r"out has shape \(3,\), expected \(700, 3\)"):
        net.predict(x, out=one)
    with pytest.raises(TypeError, match="out is a float64 array"):
        net.predict(x[4], out=np.empty(3))
    one.flags.writeable = False
    with pytest.raises(TypeError, match="out is read-only"):
        net.predict(x[4], out=one)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64, ">f4"])
def test_arrays_of_any_layout_predict_the_same(dtype, rng):
    """The quick way for plain arrays and the way of all others lead to the same numbers."""
    net = NeuralNetwork([Layer(6, 4, "tanh"), Layer(4, 2)], rng=0)
    x = rng.integers(0, 9, size=(10, 6)).astype(dtype)
    expected = net.predict(x)
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.tolist() if dtype != np.uint8 else x):
        np.testing.assert_allclose(net.predict(other), expected, rtol=1e-6)
    np.testing.assert_allclose(net.predict(x[3]), expected[3], rtol=1e-14)
    for some in (x, x[3], x[:1]):
        out = np.full_like(net.predict(some), np.nan)
        assert net.predict(some, out=out) is out
        np.testing.assert_array_equal(out, net.predict(some, n_threads=1))
        np.testing.assert_array_equal(net.predict(some), out)
    assert core_network.plain_rows(x, 6) is (x if dtype in (np.uint8, np.float32, np.float64) else None)
    for value in (np.nan, np.inf, -np.inf):
        wide = rng.normal(size=(3000, 6))
        wide[2999, 5] = value
        assert core_network.plain_rows(wide, 6) is None
        with pytest.raises(ValueError, match=r"x\[2999, 5\] is"):
            net.predict(wide)
