"""Batch normalisation: training by the moments of the batch, everything else by the running ones."""

import copy

import numpy as np
import pytest
import reference as ref

from nncore import SGD, Adam, Layer, NeuralNetwork, check_gradient

EPS = 1e-5
DTYPES = (np.float32, np.float64)


def network(dtype=float, **settings):
    layers = [
        Layer(5, 8, "tanh", init="xavier", batch_norm=True, **settings),
        Layer(8, 7, "gelu", init="xavier", batch_norm=True),
        Layer(7, 3, init="xavier"),
    ]
    net = NeuralNetwork(layers, rng=0, dtype=dtype)
    rng = np.random.default_rng(1)
    for layer in layers[:2]:
        layer.gamma[:], layer.bias[:] = rng.uniform(0.5, 1.5, layer.n_neurons), rng.normal(size=layer.n_neurons)
        layer.running_mean[:] = rng.normal(size=layer.n_neurons) * 0.3
        layer.running_var[:] = rng.uniform(0.5, 1.5, layer.n_neurons)
    net.core  # noqa: B018  laid out
    return net


def outputs(params, moments, x):
    """The outputs by the reference; moments: running mean and variance by layer, None: those of the batch."""
    found = []
    for k, name in ((1, "tanh"), (2, "gelu")):
        u = x @ params[f"W{k}"]
        mean, variance = (u.mean(axis=0), u.var(axis=0)) if moments is None else moments[k - 1]
        found.append((u.mean(axis=0), u.var(axis=0, ddof=1) if len(u) > 1 else None))
        x = ref.FORWARD[name](params[f"gamma{k}"] * (u - mean) / np.sqrt(variance + EPS) + params[f"b{k}"])
    return x @ params["W3"] + params["b3"], found


def float64s(net):
    return {name: value.astype(float) for name, value in net.params.items()}


def running(net):
    return [(la.running_mean.astype(float).copy(), la.running_var.astype(float).copy()) for la in net.layers[:2]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_take_the_running_moments(dtype, rng):
    net = network(dtype)
    x = rng.normal(size=(9, 5))
    expected, _ = outputs(float64s(net), running(net), x)
    np.testing.assert_allclose(net.predict(x), expected, atol=50 * np.finfo(dtype).eps)
    np.testing.assert_allclose(net.predict(x[3]), expected[3], atol=50 * np.finfo(dtype).eps)
    z = net.layers[0].activate(x.astype(dtype))
    np.testing.assert_allclose(
        net.layers[2].activate(net.layers[1].activate(z)), expected, atol=50 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [2, 12])
def test_a_step_of_training_takes_those_of_the_batch(dtype, m, rng):
    net = network(dtype)
    x, t = rng.normal(size=(m, 5)), rng.normal(size=(m, 3))
    params, before = float64s(net), running(net)
    y, moments = outputs(params, None, x)
    loss = net.core.train(x, t, None, np.arange(m), 0, m, m, 1.0, losses := np.empty(1)) and losses[0]
    assert loss == pytest.approx(((y - t) ** 2).sum() / (2 * m), rel=100 * float(np.finfo(dtype).eps))
    for name, value in params.items():

        def f():
            return ((outputs(params, None, x)[0] - t) ** 2).sum() / (2 * m)

        slope, error = ref.numerical_gradient(f, value, 1e-4)
        np.testing.assert_array_less(
            np.abs(value - net.params[name] - slope), error + 2000 * np.finfo(dtype).eps, err_msg=name
        )
    for layer, (mean, variance), (batch_mean, batch_variance) in zip(net.layers, before, moments, strict=False):
        tolerance = 50 * np.finfo(dtype).eps
        np.testing.assert_allclose(layer.running_mean, 0.9 * mean + 0.1 * batch_mean, atol=tolerance)
        np.testing.assert_allclose(layer.running_var, 0.9 * variance + 0.1 * batch_variance, atol=tolerance)


def test_a_batch_of_one_takes_the_running_moments(rng):
    net = network()
    x, t = rng.normal(size=(1, 5)), rng.normal(size=(1, 3))
    grads, before, moments = net.gradient(x, t), float64s(net), net.core.moments.copy()
    net.partial_fit(x, t, optimizer=SGD(0.1))
    for name, value in net.params.items():
        np.testing.assert_allclose(value, before[name] - 0.1 * grads[name], atol=1e-15)
    np.testing.assert_array_equal(net.core.moments, moments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_those_of_prediction(dtype, rng):
    net = network(dtype, l2=0.1)
    x, t = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    grads, slopes = net.gradient(x, t), net.numerical_gradient(x, t)
    assert list(grads) == ["W1", "gamma1", "b1", "W2", "gamma2", "b2", "W3", "b3"]
    for name in grads:
        np.testing.assert_allclose(grads[name], slopes[name], atol=3e-8 if dtype == np.float64 else 3e-3)
    report = check_gradient(net, x, t)
    assert report.passed, str(report)
    wrong = {name: value.copy() for name, value in net.gradient(x, t).items()}
    wrong["gamma2"][3] *= 1.01
    report = check_gradient(net, x, t, grad=wrong)
    assert not report.passed
    assert "gamma2[3]" in str(report)


def test_a_gamma_of_0_has_a_slope(rng):
    net = network()
    net.params["gamma1"][2] = 0
    x, t = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    assert check_gradient(net, x, t).passed


def test_training_learns_and_repeats(rng):
    x = rng.normal(size=(400, 5)) * [0.1, 0.3, 1, 3, 10] + 5
    t = np.tanh((x - 5) / [0.1, 0.3, 1, 3, 10]).sum(axis=1, keepdims=True) * [1, -1, 0.5]
    nets = [network() for _ in range(2)]
    losses = [
        net.fit(x, t, optimizer=Adam(0.01), epochs=60, rng=2, n_threads=n).loss
        for net, n in zip(nets, (1, 2), strict=True)
    ]
    np.testing.assert_array_equal(nets[0].core.params, nets[1].core.params)
    np.testing.assert_array_equal(nets[0].core.moments, nets[1].core.moments)
    assert losses[0][-5:].mean() < 0.4 * losses[0][:5].mean()
    assert nets[0].loss(x, t) < 0.4 * losses[0][:5].mean()


def test_copies_and_forward_backward(rng):
    net = network()
    x, dy = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    twin = copy.deepcopy(net)
    np.testing.assert_array_equal(twin.predict(x), net.predict(x))
    assert not np.shares_memory(twin.layers[0].running_mean, net.layers[0].running_mean)
    net.forward(x)
    grads, dx = net.backward(dy)
    slopes, _ = ref.numerical_gradient(lambda: (twin.predict(x) * dy).sum(), x, 1e-6)
    np.testing.assert_allclose(dx, slopes, atol=1e-7)
    slopes, _ = ref.numerical_gradient(lambda: (twin.predict(x) * dy).sum(), twin.params["gamma1"], 1e-6)
    np.testing.assert_allclose(grads["gamma1"], slopes, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_hold_the_running_moments(dtype, tmp_path, rng):
    net = network(dtype)
    x, t = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    net.save(tmp_path / "net.safetensors")
    again = NeuralNetwork.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    for one in (net, again):
        one.partial_fit(x, t)
    np.testing.assert_array_equal(again.core.moments, net.core.moments)
    np.testing.assert_array_equal(again.core.params, net.core.params)


def test_refused():
    with pytest.raises(ValueError, match="use_bias is False, expected True with batch_norm"):
        Layer(2, 2, batch_norm=True, use_bias=False)
    with pytest.raises(ValueError, match="the last layer has batch_norm, expected none"):
        NeuralNetwork([Layer(2, 2, batch_norm=True)]).predict([1.0, 2.0])


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_training_is_that_of_torch(optimizer, rng):
    torch = pytest.importorskip("torch")
    net = network()
    modules = []
    for k, (layer, f) in enumerate(zip(net.layers, (torch.nn.Tanh, torch.nn.GELU, None), strict=True)):
        linear = torch.nn.Linear(*layer.shape, bias=k == 2, dtype=torch.float64)
        linear.weight.data = torch.tensor(layer.weights.T.copy())
        modules.append(linear)
        if f is None:
            linear.bias.data = torch.tensor(layer.bias.copy())
            continue
        norm = torch.nn.BatchNorm1d(layer.n_neurons, dtype=torch.float64)
        norm.weight.data, norm.bias.data = torch.tensor(layer.gamma.copy()), torch.tensor(layer.bias.copy())
        norm.running_mean[:], norm.running_var[:] = torch.tensor(layer.running_mean), torch.tensor(layer.running_var)
        modules += [norm, f()]
    model = torch.nn.Sequential(*modules)
    x, t = rng.normal(size=(60, 5)), rng.normal(size=(60, 3))
    rule = getattr(torch.optim, optimizer)(model.parameters(), lr=0.01)
    for _ in range(2):
        for s in range(0, 60, 8):
            y = model(torch.tensor(x[s : s + 8]))
            rule.zero_grad()
            (((y - torch.tensor(t[s : s + 8])) ** 2).sum() / (2 * len(y))).backward()
            rule.step()
    net.fit(x, t, optimizer={"SGD": SGD, "Adam": Adam}[optimizer](0.01), batch_size=8, epochs=2, sampling="sequential")
    model.eval()
    np.testing.assert_allclose(net.predict(x), model(torch.tensor(x)).detach().numpy(), rtol=0, atol=1e-11)
