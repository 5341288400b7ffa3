"""Kernel, book's update, fused fit, reference and torch take the same path; state is kept where it belongs."""

import copy
import pickle
import re

import numpy as np
import pytest
import reference as ref

import nncore
from nncore import SGD, AdaGrad, Adam, AdamW, Layer, Momentum, NAdam, Nesterov, NeuralNetwork, RMSprop
from nncore.training import optimizers
from nncore.training.optimizers import OPTIMIZERS
from nncore.training.update_rule import State

# name -> the class, its NumPy twin, its name in torch, settings that all three take
RULES = {
    "sgd": (SGD, ref.sgd, "SGD", {}),
    "sgd, decay": (SGD, ref.sgd, "SGD", {"weight_decay": 0.3}),
    "momentum": (SGD, ref.sgd, "SGD", {"momentum": 0.8}),
    "momentum, decay": (SGD, ref.sgd, "SGD", {"momentum": 0.9, "weight_decay": 0.2}),
    "nesterov": (SGD, ref.sgd, "SGD", {"momentum": 0.9, "nesterov": True}),
    "nesterov, decay": (SGD, ref.sgd, "SGD", {"momentum": 0.7, "nesterov": True, "weight_decay": 0.2}),
    "adagrad": (AdaGrad, ref.adagrad, "Adagrad", {}),
    "adagrad, settings": (AdaGrad, ref.adagrad, "Adagrad", {"eps": 0.01, "weight_decay": 0.1}),
    "rmsprop": (RMSprop, ref.rmsprop, "RMSprop", {}),
    "rmsprop, settings": (RMSprop, ref.rmsprop, "RMSprop", {"alpha": 0.7, "eps": 0.01, "weight_decay": 0.1}),
    "adam": (Adam, ref.adam, "Adam", {}),
    "adam, settings": (Adam, ref.adam, "Adam", {"betas": (0.6, 0.8), "eps": 0.01, "weight_decay": 0.1}),
    "adamw": (AdamW, ref.adamw, "AdamW", {}),
    "nadam": (NAdam, ref.nadam, "NAdam", {}),
    "nadam, settings": (
        NAdam,
        ref.nadam,
        "NAdam",
        {"betas": (0.6, 0.8), "eps": 0.01, "weight_decay": 0.1, "momentum_decay": 0.3},
    ),
    "adamw, settings": (AdamW, ref.adamw, "AdamW", {"betas": (0.6, 0.8), "eps": 0.01, "weight_decay": 0.5}),
}
rules = pytest.mark.parametrize("name", RULES)


def make(name, lr=0.01):
    return RULES[name][0](lr=lr, **RULES[name][3])


def params_of(net):
    return {key: value.copy() for key, value in net.params.items()}


def classifier(dtype=np.float64, **settings):
    layers = [Layer(6, 9, "tanh", **settings), Layer(9, 3)]
    return NeuralNetwork(layers, loss="softmax_cross_entropy", dtype=dtype, rng=0)


def samples(rng, n=40, n_in=6):
    return rng.normal(size=(n, n_in)), rng.integers(3, size=n)


def fit(net, data, optimizer, **settings):
    return net.fit(
        *data, optimizer=optimizer, **{"batch_size": 8, "epochs": 4, "rng": 1, "progress": False, **settings}
    )


@rules
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 7, 64, 16384 + 3])
def test_kernel_equals_reference(core, name, dtype, n, rng):
    _, twin, _, settings = RULES[name]
    rule = make(name)._rule()
    params = rng.normal(size=n).astype(dtype)
    state = np.zeros((core.optimizer.STATE_VECTORS[rule[0]], n), dtype)
    expected, past = params.astype(np.float64), {}
    for i in range(1, 6):
        grads = rng.normal(size=n).astype(dtype)
        core.optimizer.update(rule, 0.01, i - 1, grads, params, state)
        expected = twin(expected, grads.astype(np.float64), past, i, 0.01, **settings)
    # five steps of about ten roundings; a step is a few times lr
    np.testing.assert_allclose(
        params, expected, rtol=0, atol=50 * np.finfo(dtype).eps * np.abs(expected).max(initial=1)
    )


@rules
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_do_not_change_a_bit(core, name, dtype, rng):
    """Three steps on a vector long enough to be shared, which ends within a block."""
    rule, n = make(name)._rule(), (1 << 18) + 12_345
    start, grads = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)
    results = []
    for n_threads in (1, 2, 5):
        params, state = start.copy(), np.zeros((core.optimizer.STATE_VECTORS[rule[0]], n), dtype)
        for i in range(3):
            core.optimizer.update(rule, 0.01, i, grads, params, state, n_threads)
        results.append(np.append(params, state))
    assert np.mean(results[0][:n] == start) < 1e-3
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@rules
def test_fit_is_the_same_for_any_number_of_threads(name, rng):
    """A network whose vector is shared, biases that stay in between."""
    data = rng.normal(size=(20, 700)), rng.integers(3, size=20)

    def run(n_threads):
        layers = [Layer(700, 400, "tanh", trainable_bias=False), Layer(400, 3)]
        net = NeuralNetwork(layers, loss="softmax_cross_entropy", dtype="float32", rng=0)
        fit(net, data, make(name, 0.001), epochs=2, n_threads=n_threads)
        return net.core.params

    np.testing.assert_array_equal(run(2), run(1))


@rules
@pytest.mark.parametrize("batch_size", [1, 8])
def test_update_fit_and_reference_take_the_same_path(name, batch_size, rng):
    x, t = samples(rng)
    fused, stepped = classifier(), classifier()
    plain, pasts = params_of(fused), {}
    optimizer, (_, twin, _, settings) = make(name), RULES[name]
    fit(fused, (x, t), make(name), sampling="sequential", batch_size=batch_size, epochs=None, iterations=20)
    for i in range(1, 21):
        rows = np.arange((i - 1) * batch_size, i * batch_size) % 40
        optimizer.update(stepped.params, stepped.gradient(x[rows], t[rows]))
        layers = [(plain["W1"], plain["b1"], "tanh"), (plain["W2"], plain["b2"], "softmax")]
        grads, _ = ref.network_gradient(layers, "softmax_cross_entropy", x[rows], ref.one_hot(t[rows], 3))
        for k, pair in enumerate(grads, start=1):
            for key, grad in zip((f"W{k}", f"b{k}"), pair, strict=True):
                plain[key] = twin(plain[key], grad, pasts.setdefault(key, {}), i, 0.01, **settings)
    for key, expected in plain.items():
        np.testing.assert_allclose(fused.params[key], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(stepped.params[key], expected, rtol=0, atol=1e-12)


@rules
def test_the_path_is_that_of_torch(name, rng, request):
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)  # in which its NAdam keeps the product of momenta
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    x, t = samples(rng)
    net = classifier()
    params = {key: torch.tensor(value, requires_grad=True) for key, value in params_of(net).items()}
    theirs = getattr(torch.optim, RULES[name][2])(params.values(), lr=0.01, **RULES[name][3])
    for start in range(0, 160, 8):
        rows = np.arange(start, start + 8) % 40
        theirs.zero_grad()
        z = torch.tanh(torch.tensor(x[rows]) @ params["W1"] + params["b1"])
        torch.nn.functional.cross_entropy(z @ params["W2"] + params["b2"], torch.tensor(t[rows])).backward()
        theirs.step()
    fit(net, (x, t), make(name), sampling="sequential")
    for key, value in params.items():
        np.testing.assert_allclose(net.params[key], value.detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "adam", "adamw", "nadam"])
def test_defaults_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    cls, _, theirs, _ = RULES[name]
    defaults = getattr(torch.optim, theirs)([torch.zeros(1)]).defaults
    ours = {key: value for key, value in vars(cls()).items() if key[0] != "_"}
    assert ours == {key: defaults[key] for key in ours}


@rules
def test_a_bias_that_is_not_trainable_stays(name, rng):
    bias = rng.normal(size=9)
    net, optimizer = classifier(bias=bias, trainable_bias=False), make(name)
    before = params_of(net)
    fit(net, samples(rng), optimizer)
    np.testing.assert_array_equal(net.params["b1"], bias)
    assert all(np.all(net.params[key] != before[key]) for key in ("W1", "W2", "b2"))
    for vector in net.trained_with[1].vectors:
        state = net.named(vector)
        assert not state["b1"].any()
        assert all(state[key].all() for key in ("W1", "W2", "b2"))


@rules
@pytest.mark.parametrize("trainable_bias", [True, False])
def test_sparse_rows_equal_dense_ones(core, name, trainable_bias, rng):
    x = np.where(rng.random((30, 64)) < 0.2, rng.normal(size=(30, 64)), 0)
    t, index, rule = rng.normal(size=(30, 2)), rng.permutation(30), make(name)._rule()
    specs = [(64, 5, core.activation.ACTIVATIONS["tanh"], True, trainable_bias), (5, 2, 0, True, True)]
    start, results = rng.normal(size=64 * 5 + 5 + 5 * 2 + 2), []
    for data in (x, core.compressed.compress(x, 1.0)):
        net = core.network.Network(specs, core.loss.LOSSES["squared_error"], 0.0, np.dtype(float))
        net.params[:] = start
        state = State(np.zeros((core.optimizer.STATE_VECTORS[rule[0]], start.size)))
        for _ in range(3):
            assert net.train(data, t, None, index, 0, 30, 7, 0.01, np.empty(5), rule, state) == 5
        assert state.n_steps == 15
        results.append(np.append(net.params, state.vectors))
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=1e-10)


@rules
def test_a_second_fit_continues(name, rng):
    data = samples(rng)
    whole, parts, anew = classifier(), classifier(), classifier()
    fit(whole, data, make(name), sampling="sequential", epochs=6)
    optimizer = make(name)
    for _ in range(3):
        fit(parts, data, optimizer, sampling="sequential", epochs=2)
        fit(anew, data, make(name), sampling="sequential", epochs=2)
    np.testing.assert_array_equal(parts.core.params, whole.core.params)
    assert np.array_equal(anew.core.params, whole.core.params) == name.startswith("sgd")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_network_and_optimizer_continues(copied, rng):
    data, net, optimizer = samples(rng), classifier(), Adam()
    fit(net, data, optimizer)
    twin, twin_optimizer = copied((net, optimizer))
    fit(net, data, optimizer)
    fit(twin, data, twin_optimizer)
    np.testing.assert_array_equal(twin.core.params, net.core.params)
    assert net.trained_with[1].n_steps == 40


def test_one_optimizer_serves_two_networks(rng):
    data, optimizer = samples(rng), Adam()
    first, second, alone = classifier(), classifier(), classifier()
    for net in (first, second, first, second):
        fit(net, data, optimizer)
    other = Adam()
    fit(alone, data, other)
    fit(alone, data, other)
    np.testing.assert_array_equal(first.core.params, alone.core.params)
    np.testing.assert_array_equal(second.core.params, alone.core.params)


def test_one_optimizer_serves_a_population(rng):
    data, optimizer, alone = samples(rng), Adam(), classifier()
    nets = [classifier(), classifier()]
    for _ in range(2):
        nncore.fit_many(nets, *data, optimizer=optimizer, batch_size=8, epochs=2, sampling="sequential", progress=False)
    fit(alone, data, Adam(), sampling="sequential")
    for net in nets:
        np.testing.assert_array_equal(net.core.params, alone.core.params)


def test_a_new_layer_or_momentum_begins_anew(rng):
    data, net, optimizer = samples(rng), classifier(), SGD(0.01)
    fit(net, data, optimizer)
    optimizer.momentum = 0.9
    fit(net, data, optimizer)
    assert net.trained_with[1].n_steps == 20
    net.add_layer(Layer(3, 3))
    fit(net, data, optimizer)
    assert net.trained_with[1].n_steps == 20


def test_the_learning_rate_may_change_between_epochs(rng):
    data, net, parts = samples(rng), classifier(), classifier()
    optimizer, other = Adam(0.01), Adam(0.01)
    fit(net, data, optimizer, epochs=2, callbacks=[lambda h: setattr(optimizer, "lr", 0.001)], sampling="sequential")
    fit(parts, data, other, epochs=1, sampling="sequential")
    other.lr = 0.001
    fit(parts, data, other, epochs=1, sampling="sequential")
    np.testing.assert_array_equal(net.core.params, parts.core.params)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@rules
def test_copies_of_optimizers_update_alike(copied, name, rng):
    optimizer, p = make(name), {"x": rng.normal(size=5)}
    optimizer.update(p, {"x": rng.normal(size=5)})
    twin, q = copied((optimizer, p))
    grads = {"x": rng.normal(size=5)}
    optimizer.update(p, grads)
    twin.update(q, grads)
    np.testing.assert_array_equal(p["x"], q["x"])


@rules
def test_update_takes_any_layout(name, rng):
    value, grad = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    expected = {"x": value.copy()}
    optimizer = make(name)
    optimizer.update(expected, {"x": grad})
    wide = np.zeros((6, 8))
    layouts = [np.asfortranarray(value), wide[:, ::2], value.astype(">f8"), np.array(0.0)]
    wide[:, ::2] = value
    for array in layouts[:3]:
        make(name).update({"x": array}, {"x": grad.tolist()})
        np.testing.assert_array_equal(array, expected["x"])
    make(name).update({"x": layouts[3]}, {"x": 1.0})
    assert layouts[3] < 0
    single = value.astype(np.float32)
    make(name).update({"x": single}, {"x": grad})
    np.testing.assert_allclose(single, expected["x"], atol=1e-5)


def test_a_parameter_may_be_its_own_gradient():
    """The gradient of 0.5 * sum(x**2) is x."""
    x = np.linspace(-1, 1, 50)
    expected = 0.9 * x
    SGD(0.1).update({"x": x}, {"x": x})
    np.testing.assert_allclose(x, expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_never_stays_subnormal(core, dtype):
    """Without a gradient it shrinks to 0, but a NaN stays one."""
    tiny = np.finfo(dtype).tiny
    for kind, n_vectors in core.optimizer.STATE_VECTORS.items():
        params, state = np.array([1.0, np.nan], dtype), np.full((n_vectors, 2), 2 * tiny, dtype)
        grads = np.array([0.0, np.nan], dtype)
        for i in range(2000):
            core.optimizer.update((kind, 0.0, 0.5, 0.5, 1e-8, 0.004), 0.01, i, grads, params, state)
        assert np.all((state[:, 0] == 0) | (state[:, 0] >= tiny))
        assert np.isnan(state[:, 1]).all()
        assert np.isnan(params[1])
        assert params[0] == 1


@pytest.mark.parametrize("optimizer", [SGD(1e30), Momentum(1e30), AdaGrad(1e300), AdamW(1e200)])
def test_a_loss_that_is_not_finite_stops_and_says_where(optimizer, rng):
    net = NeuralNetwork([Layer(3, 4), Layer(4, 1)], rng=0)
    with pytest.raises(FloatingPointError, match=re.escape(f"with learning rate {optimizer.lr}, expected")):
        fit(net, (10 * rng.normal(size=(20, 3)), rng.normal(size=20)), optimizer, epochs=1000)


@rules
def test_digits_are_learned(name):
    (x, t), test = nncore.load_digits()
    net = NeuralNetwork([Layer(64, 30, "relu", init="he"), Layer(30, 10)], loss="softmax_cross_entropy", rng=0)
    cls, settings = RULES[name][0], {**RULES[name][3], "weight_decay": 1e-4}
    lr = 0.002 if cls is RMSprop else 0.03 if cls is not SGD else 0.2 * (1 - settings.get("momentum", 0))
    history = net.fit(x, t, optimizer=cls(lr, **settings), epochs=15, validation_data=test, rng=0, progress=False)
    assert history.test_accuracy[-1] > 0.9


def test_the_books_names():
    assert (Momentum().momentum, Momentum().nesterov) == (0.9, False)
    assert (Nesterov().momentum, Nesterov().nesterov) == (0.9, True)
    assert set(OPTIMIZERS) == {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam"}
    for make_one in OPTIMIZERS.values():
        optimizer = make_one(0.25)
        assert optimizer.lr == 0.25
        assert eval(repr(optimizer), vars(optimizers)).__dict__ == optimizer.__dict__


def test_every_kind_of_the_core_has_its_row(core):
    """With as many vectors of state as the core keeps."""
    kinds = core.optimizer.KINDS
    assert {row.kind: len(row.state) for row in optimizers.RULES} == {
        kind: core.optimizer.STATE_VECTORS[number] for kind, number in kinds.items()
    }


def test_no_kind_of_the_core_runs_the_rule_of_another(core):
    """As one would whose number is known and whose arithmetic is missing."""
    found = set()
    for number in core.optimizer.KINDS.values():
        params, state = np.ones(3), np.zeros((core.optimizer.STATE_VECTORS[number], 3))
        for step in range(3):
            grads = np.array([1.0, -2.0, step])
            core.optimizer.update((number, 0.1, 0.7, 0.8, 0.01, 0.2), 0.1, step, grads, params, state)
        found.add(tuple(params))
    assert len(found) == len(core.optimizer.KINDS)


def updating(params, grads):
    return lambda: SGD().update(params, grads)


def updating_again(params):
    """An update with other params than in the one before."""
    optimizer = SGD(0.1, 0.9)
    optimizer.update({"W1": np.ones(3)}, {"W1": np.ones(3)})
    return lambda: optimizer.update(params, params)


def set_later(optimizer, name, value):
    return lambda: setattr(optimizer, name, value)


BAD = {
    "other size": (updating_again({"W1": np.ones(4)}), "params['W1'] has 4 elements, expected 3 as in the update"),
    "lr nan": (set_later(SGD(), "lr", np.nan), "lr is nan, expected a finite number above 0"),
    "gradient": (updating({"W1": np.ones(2)}, {"W1": np.array([1, np.nan])}), "grads['W1'][1] is nan, expected finite"),
    "nesterov text": (lambda: SGD(0.1, 0.9, "no"), "nesterov is 'no', expected True or False"),
    "lr": (lambda: Adam(0), "lr is 0, expected a finite number above 0"),
    "momentum": (lambda: SGD(0.1, 1.0), "momentum is 1.0, expected a number from 0 to below 1"),
    "momentum text": (lambda: Momentum(0.1, "x"), "momentum is 'x', expected a number from 0 to below 1"),
    "nesterov": (lambda: SGD(nesterov=True), "momentum is 0.0, expected a number above 0 with nesterov=True"),
    "weight_decay": (lambda: AdamW(weight_decay=-1), "weight_decay is -1, expected a finite number of 0 or more"),
    "weight_decay None": (
        lambda: SGD(weight_decay=None),
        "weight_decay is None, expected a finite number of 0 or more",
    ),
    "alpha": (lambda: RMSprop(alpha=float("nan")), "alpha is nan, expected a number from 0 to below 1"),
    "betas": (lambda: Adam(betas=0.9), "betas is 0.9, expected a pair of numbers from 0 to below 1"),
    "betas[1]": (lambda: Adam(betas=(0.9, 1)), "betas[1] is 1, expected a number from 0 to below 1"),
    "eps": (lambda: AdaGrad(eps=0), "eps is 0, expected a finite number above 0"),
    "no grads": (updating({"W1": np.ones(2)}, {}), "grads has nothing, expected W1"),
    "a list": (updating({"W1": [1.0]}, {"W1": [1.0]}), "params['W1'] is a list, expected an array to change in place"),
    "integers": (
        updating({"W1": np.ones(2, int)}, {"W1": np.ones(2)}),
        "params['W1'] is an array of dtype int64, expected float32 or float64",
    ),
    "read-only": (
        updating({"W1": np.broadcast_to(1.0, 3)}, {"W1": np.ones(3)}),
        "params['W1'] is read-only, expected an array to change in place",
    ),
    "shape": (
        updating({"W1": np.ones((2, 3))}, {"W1": np.ones(3)}),
        "grads['W1'] has shape (3,), expected (2, 3) to match params['W1']",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_message(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


def test_nothing_has_changed_after_a_refusal():
    params = {"a": np.ones(2), "b": np.ones(2)}
    with pytest.raises(ValueError, match="grads"):
        Adam().update(params, {"a": np.ones(2), "b": np.ones(3)})
    np.testing.assert_array_equal(params["a"], 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_with_the_papers_epsilon_hat(core, dtype, rng):
    """Kingma and Ba's form whose rate holds both corrections, which scikit-learn has; eps large enough to see."""
    beta1, beta2, eps, lr, n = 0.8, 0.95, 0.1, 0.01, 50
    params = rng.normal(size=n).astype(dtype)
    expected, m, v = params.astype(np.float64), np.zeros(n), np.zeros(n)
    state = np.zeros((2, n), dtype)
    for i in range(1, 6):
        grads = rng.normal(size=n).astype(dtype)
        core.optimizer.update(
            (core.optimizer.KINDS["adam_hat"], 0.0, beta1, beta2, eps, 0.0), lr, i - 1, grads, params, state
        )
        m, v = beta1 * m + (1 - beta1) * grads, beta2 * v + (1 - beta2) * grads.astype(np.float64) ** 2
        expected -= lr * np.sqrt(1 - beta2**i) / (1 - beta1**i) * m / (np.sqrt(v) + eps)
    np.testing.assert_allclose(params, expected, rtol=0, atol=50 * np.finfo(dtype).eps * np.abs(expected).max())


def test_the_faces_refuse_what_does_not_fit(core):
    one, rule = np.ones(3), (core.optimizer.KINDS["adam"], 0.0, 0.9, 0.999, 1e-8, 0.0)
    with pytest.raises(ValueError, match=r"state has shape \(1, 3\), expected \(2, 3\)"):
        core.optimizer.update(rule, 0.1, 0, one, one.copy(), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="grads has 2 elements, expected 3"):
        core.optimizer.update(rule, 0.1, 0, one[:2], one.copy(), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="kind is 99"):
        core.optimizer.update((99, 0.0, 0.0, 0.0, 0.0, 0.0), 0.1, 0, one, one.copy(), np.zeros((2, 3)))
    net = core.network.Network([(2, 1, 0, True, True)], 0, 0.0, np.dtype(float))
    call = (np.ones((1, 2)), np.ones((1, 1)), None, np.zeros(1, np.intp), 0, 1, 1, 0.1, np.empty(1))
    with pytest.raises(TypeError, match="state is a float64 array of shape"):
        net.train(*call, rule, State(np.zeros((1, 3))))
    with pytest.raises(TypeError, match="state is None"):
        net.train(*call, rule, None)
    with pytest.raises(ValueError, match="kind is -1"):
        net.train(*call, (-1, 0.0, 0.0, 0.0, 0.0, 0.0), None)


@rules
def test_gradients_that_are_accumulated_make_the_step_of_the_whole_batch(name, rng):
    """With forward and backward, which know nothing of the other samples: dy has the share of the whole."""
    x, t = samples(rng)
    whole, parts = classifier(), classifier()
    optimizers = make(name), make(name)
    for _ in range(5):
        optimizers[0].update(whole.params, whole.gradient(x, t))
        total = {key: np.zeros(value.shape) for key, value in parts.params.items()}
        for part in (slice(0, 10), slice(10, 33), slice(33, 40)):
            y = nncore.softmax(parts.forward(x[part]))
            grads, _ = parts.backward((y - np.eye(3)[t[part]]) / len(x))
            for key in total:
                total[key] += grads[key]
        optimizers[1].update(parts.params, total)
    for key, value in whole.params.items():
        np.testing.assert_allclose(parts.params[key], value, rtol=1e-9, atol=1e-12)


@rules
def test_frozen_layers_and_learning_rates_by_layer_in_own_loops(name, rng):
    """Parameters that are left out stay as they are, each optimizer has its rate: as lr_scale has it in fit."""
    x, t = samples(rng, n=24)
    layers = [Layer(6, 5, "tanh", lr_scale=0), Layer(5, 4, "tanh", lr_scale=0.5), Layer(4, 3, trainable_bias=False)]
    fitted = NeuralNetwork(layers, loss="softmax_cross_entropy", rng=0)
    looped = copy.copy(fitted)
    frozen = params_of(looped)
    fit(fitted, (x, t), make(name), sampling="sequential")
    slow, fast = make(name, lr=0.005), make(name)
    for i in range(12):
        part = slice(i % 3 * 8, i % 3 * 8 + 8)
        grads = looped.gradient(x[part], t[part])
        slow.update({key: looped.params[key] for key in ("W2", "b2")}, grads)
        fast.update({"W3": looped.params["W3"]}, grads)
    for key, value in fitted.params.items():
        np.testing.assert_allclose(looped.params[key], value, rtol=1e-9, atol=1e-12)
        assert np.array_equal(value, frozen[key]) == (key in ("W1", "b1", "b3"))
