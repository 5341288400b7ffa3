"""fit: the fused loop, the Python loop and NumPy's agree step by step; sampling, chunks, interruption, failure."""

import dataclasses
import inspect
import itertools
import signal
import sys
import threading
import time

import numpy as np
import pytest
import reference as ref

import nncore
from nncore import SGD, InterruptWarning, Layer, NeuralNetwork, TwoLayerNet
from nncore.core import threads as _threads
from nncore.training import run as training
from nncore.training.plan import Plan
from nncore.training.settings import FitSettings


def moons_net(dtype=np.float64, rng=0):
    sizes = [2, 25, 50, 25, 2]
    return NeuralNetwork([Layer(m, n, "sigmoid") for m, n in itertools.pairwise(sizes)], dtype=dtype, rng=rng)


def params_of(net):
    return {name: value.copy() for name, value in net.params.items()}


def layers_of(net):
    return [
        (la.weights.copy(), None if la.bias is None else la.bias.copy(), la.activation or "identity")
        for la in net.layers
    ]


def largest_difference(net, other):
    return max(np.abs(net.params[name] - other[name]).max() for name in other)


def test_moons_three_loops_agree_after_1000_steps():
    (x, t), _ = nncore.load_moons()
    fused, stepped = moons_net(), moons_net()
    layers = layers_of(fused)
    fused.fit(x, t, optimizer=SGD(0.01), batch_size=1, iterations=1000, sampling="sequential", progress=False)
    for i in range(1000):
        stepped.backpropagation(x[i], t[i], 0.01)
    ref.article_loop(layers, x, ref.one_hot(t, 2), 0.01, 1000)
    for k, (W, b, _) in enumerate(layers, start=1):
        for net in (fused, stepped):
            np.testing.assert_allclose(net.params[f"W{k}"], W, rtol=0, atol=1e-10)
            np.testing.assert_allclose(net.params[f"b{k}"], b, rtol=0, atol=1e-10)


def run_book_job(x, t, n_in, iterations, batch_size=100):
    """The book's job three ways from the same start: fused fit, the book's Python loop on our net, plain NumPy."""
    index = np.random.default_rng(3).integers(len(x), size=(iterations, batch_size), dtype=np.intp)
    fused, stepped = TwoLayerNet(n_in, 50, 10, rng=1), TwoLayerNet(n_in, 50, 10, rng=1)
    plain = params_of(fused)
    plan = Plan(len(x), batch_size, "replacement", np.random.default_rng(3))
    np.testing.assert_array_equal(
        np.concatenate([plan.epoch() for _ in range(-(-iterations // plan.steps))])[: index.size], index.ravel()
    )
    history = fused.fit(
        x,
        t,
        optimizer=SGD(0.1),
        batch_size=batch_size,
        iterations=iterations,
        sampling="replacement",
        rng=3,
        progress=False,
    )
    t_hot = ref.one_hot(t, 10)
    for rows in index:
        grad = stepped.gradient(x[rows], t_hot[rows])
        for key in ("W1", "b1", "W2", "b2"):
            stepped.params[key] -= 0.1 * grad[key]
    losses = ref.book_loop(plain, x.astype(np.float64), t_hot, index, 0.1)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-10)
    assert largest_difference(fused, plain) < 1e-10
    assert largest_difference(stepped, plain) < 1e-10


def test_mnist_three_loops_agree_after_1000_steps(mnist_dir):
    (x, t), _ = nncore.load_mnist(data_dir=mnist_dir)
    run_book_job(x.astype(np.float64), t, 784, 1000)


def test_digits_three_loops_agree_after_1000_steps():
    (x, t), _ = nncore.load_digits()
    run_book_job(x.astype(np.float64), t, 64, 1000)


@pytest.mark.parametrize("sampling", ["shuffle", "sequential"])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_epochs_take_every_sample_and_the_rest_in_a_smaller_batch(sampling, batch_size, rng):
    x, t = rng.normal(size=(100, 4)), rng.normal(size=(100, 2))
    net = NeuralNetwork([Layer(4, 5, "tanh"), Layer(5, 2)], rng=0)
    layers = layers_of(net)
    history = net.fit(
        x, t, optimizer=SGD(0.05), batch_size=batch_size, epochs=3, sampling=sampling, rng=5, progress=False
    )
    generator = np.random.default_rng(5)
    expected = []
    for _ in range(3):
        index = generator.permutation(100) if sampling == "shuffle" else np.arange(100)
        expected += ref.sgd_steps(layers, "squared_error", x, t, index, batch_size, 0.05)
    assert history.iterations == 3 * -(-100 // batch_size)
    assert history.epochs == 3
    np.testing.assert_allclose(history.loss, expected, rtol=1e-10)
    np.testing.assert_allclose(net.params["W1"], layers[0][0], rtol=0, atol=1e-12)


def test_chunks_and_callbacks_do_not_change_a_bit(rng, monkeypatch):
    x, t = rng.normal(size=(53, 4)), rng.normal(size=(53, 2))

    def run(seconds, **settings):
        monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
        net = NeuralNetwork([Layer(4, 5, "tanh"), Layer(5, 2)], rng=0)
        history = net.fit(x, t, batch_size=5, iterations=217, rng=1, progress=False, **settings)
        return np.append(net.core.params, history.loss)

    whole = run(1e9)
    for seconds, settings in [(0.0, {}), (1e-4, {}), (1e9, {"callbacks": [lambda h: None]}), (0.0, {"n_threads": 2})]:
        np.testing.assert_array_equal(run(seconds, **settings), whole)


def test_threads_do_not_change_a_bit(rng):
    x, t = rng.normal(size=(400, 300)).astype(np.float32), rng.integers(10, size=400)

    def run(n_threads):
        net = NeuralNetwork(
            [Layer(300, 200, "relu"), Layer(200, 10)], loss="softmax_cross_entropy", rng=0, dtype="float32"
        )
        net.fit(x, t, batch_size=200, epochs=3, rng=1, n_threads=n_threads, progress=False)
        return net.core.params

    for n_threads in (2, 5):
        np.testing.assert_array_equal(run(n_threads), run(1))


@pytest.mark.parametrize("rows", ["dense", "sparse"])
@pytest.mark.parametrize("weights", [None, "by sample", "by output"])
@pytest.mark.parametrize("make", [lambda: SGD(0.5), lambda: nncore.Adam(0.01)])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_a_large_batch_in_blocks_is_that_of_its_whole_gradient(rows, weights, make, n_layers, rng):
    """Blocks of samples have gradients of their own, parts of compressed columns sums of their own."""
    n, sizes, optimizer = 410, (90, 40, 12, 3), make()

    def network():
        layers = [Layer(sizes[k], sizes[k + 1], "tanh") for k in range(n_layers - 1)]
        return NeuralNetwork([*layers, Layer(sizes[n_layers - 1], 3)], loss="softmax_cross_entropy", rng=5)

    nets = [network() for _ in range(4)]
    x, t = rng.normal(size=(n, 90)), rng.integers(3, size=n)
    if rows == "sparse":
        x *= rng.random(x.shape) < 0.1
    w = None if weights is None else rng.random(n if weights == "by sample" else (n, 3))
    for n_threads, net in enumerate(nets[:3], 1):
        net.fit(
            x, t, sample_weight=w, optimizer=optimizer, batch_size=200, epochs=2, sampling="sequential",
            n_threads=n_threads, progress=False,
        )  # fmt: skip
        np.testing.assert_array_equal(net.core.params, nets[0].core.params)
    for start in (0, 200, 400) * 2:
        part = slice(start, start + 200)
        grads = nets[3].gradient(x[part], t[part], sample_weight=None if w is None else w[part])
        optimizer.update(nets[3].params, grads)
    np.testing.assert_allclose(nets[0].core.params, nets[3].core.params, rtol=0, atol=1e-12)


def test_threads_are_chosen_by_what_calls_took():
    pace, calls = _threads.Pace((1, 2)), []

    def call(seconds_per_step, waking=0.0):
        n_threads, steps = pace.next()
        pace.took(n_threads, steps, waking + steps * seconds_per_step[n_threads])
        calls.append((n_threads, steps))

    call({1: 1e-4, 2: 6e-5}, waking=0.5)  # two threads, which are started: that does not count
    assert pace.found == 2
    call({1: 1e-4, 2: 6e-5})
    call({1: 1e-4, 2: 6e-5})
    assert calls == [(2, 1), (2, 1), (1, 8)]
    assert pace.fastest == 2
    for _ in range(10):
        call({1: 1e-4, 2: 6e-5})
    call({1: 1e-4, 2: 1.5e-4})  # a hiccup
    assert pace.fastest == 2
    for _ in range(10):
        call({1: 1e-4, 2: 1.5e-4})  # another program has taken a core
    assert pace.fastest == 1
    for _ in range(100):
        call({1: 1e-4, 2: 6e-5})
    assert pace.fastest == 2
    calls.clear()
    for _ in range(100):
        call({1: 1e-4, 2: 4e-2})
    assert [steps for n_threads, steps in calls if n_threads == 2][-1] == 1  # one where steps are known to be slow


@pytest.mark.parametrize("shared", [0.01, 0.2, 2.0])
def test_looks_take_little_time_where_steps_are_long(shared):
    """One step wakes the threads and one is the look."""
    pace, spent = _threads.Pace((1, 2)), {1: 0.0, 2: 0.0}
    for _ in range(2000):
        n_threads, steps = pace.next()
        spent[n_threads] += (seconds := steps * {1: shared / 2, 2: shared}[n_threads])
        pace.took(n_threads, steps, seconds)
    assert spent[2] < 0.07 * spent[1]


def test_a_hiccup_of_milliseconds_in_a_short_call_does_not_decide():
    pace = _threads.Pace((1, 2))
    for i in range(100):
        n_threads, steps = pace.next()
        steps = min(steps, 9)  # what an epoch has
        pace.took(n_threads, steps, steps * {1: 1.7e-4, 2: 1e-4}[n_threads] + (4e-3 if i % 20 == 19 else 0))
        assert pace.fastest == 2 or i < 3
    for _ in range(4):
        n_threads, steps = pace.next()
        pace.took(n_threads, 9, 9 * {1: 1.7e-4, 2: 5e-4}[n_threads])
    assert pace.fastest == 1  # again and again it was slow


def test_sample_weights(rng):
    x, t = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    weights = rng.integers(0, 3, size=20).astype(float)
    net = NeuralNetwork([Layer(3, 4, "tanh"), Layer(4, 1)], rng=0)
    layers = layers_of(net)
    history = net.fit(
        x, t, optimizer=SGD(0.1), batch_size=20, epochs=1, sampling="sequential", sample_weight=weights, progress=False
    )
    (dW, _), _ = ref.network_gradient(layers, "squared_error", x, t, weights=weights)[0]
    np.testing.assert_allclose(net.params["W1"], layers[0][0] - 0.1 * dW, atol=1e-14)
    assert history.loss[0] == pytest.approx(ref.network_loss(layers, "squared_error", x, t, weights=weights))


def test_uint8_rows_are_scaled_while_they_are_read(rng):
    x = rng.integers(0, 256, size=(50, 12), dtype=np.uint8)
    t = rng.integers(3, size=50)

    def run(x, dtype):
        net = NeuralNetwork([Layer(12, 6, "sigmoid"), Layer(6, 3)], loss="softmax_cross_entropy", rng=0, dtype=dtype)
        net.fit(x, t, batch_size=10, epochs=2, rng=0, progress=False)
        return net.core.params

    np.testing.assert_allclose(run(x, "float64"), run(x / 255, "float64"), rtol=0, atol=1e-13)
    np.testing.assert_allclose(run(x, "float32"), run((x / 255).astype("float32"), "float32"), rtol=0, atol=1e-5)
    np.testing.assert_allclose(run((x / 255).astype("float32"), "float64"), run(x / 255, "float64"), rtol=0, atol=1e-6)


def test_history_of_a_classifier():
    (x, t), test = nncore.load_digits()
    net = NeuralNetwork([Layer(64, 16, "relu", init="he"), Layer(16, 10)], loss="softmax_cross_entropy", rng=0)
    history = net.fit(x, t, optimizer=SGD(0.2), epochs=5, validation_data=test, rng=0, progress=False)
    assert history.epoch_ends == [40, 80, 120, 160, 200]
    assert history.loss.shape == (200,)
    assert history.train_accuracy[-1] == net.accuracy(net.predict(x), t)
    assert history.test_accuracy[-1] == net.accuracy(net.predict(test[0]), test[1])
    assert history.test_loss == []
    assert 0 < history.train_seconds <= history.seconds
    lines = history.to_csv().splitlines()
    assert lines[0] == "iteration,loss,train_accuracy,test_accuracy"
    assert len(lines) == 201
    assert lines[39].endswith(",,")
    assert float(lines[40].split(",")[3]) == pytest.approx(history.test_accuracy[0], rel=1e-5)


def test_history_of_a_regression_holds_losses(rng):
    x = rng.normal(size=(30, 2))
    y = x[:, 0] * 0.5
    net = NeuralNetwork([Layer(2, 1)], rng=0)
    history = net.fit(x, y, optimizer=SGD(0.1), batch_size=10, epochs=4, validation_data=(x, y), progress=False)
    assert history.train_accuracy == []
    assert history.test_loss[-1] == pytest.approx(net.loss(x, y))
    assert history.test_loss[-1] < history.test_loss[0]


def test_a_callback_ends_the_training(rng):
    net = NeuralNetwork([Layer(2, 1)], rng=0)
    history = net.fit(
        rng.normal(size=(10, 2)),
        rng.normal(size=10),
        batch_size=5,
        epochs=9,
        progress=False,
        callbacks=[lambda history: history.epochs == 3],
    )
    assert history.epochs == 3
    assert history.iterations == 6


def test_ctrl_c_leaves_a_network_and_the_history_so_far(rng):
    """A real signal, while the core runs without the GIL."""
    net = moons_net()
    start = params_of(net)

    def press_ctrl_c():
        # only once training is under way: the parameters move
        while np.array_equal(net.params["W1"], start["W1"]):
            time.sleep(0)
        signal.raise_signal(signal.SIGINT) if sys.platform == "win32" else signal.pthread_kill(
            threading.main_thread().ident, signal.SIGINT
        )

    thread = threading.Thread(target=press_ctrl_c)
    thread.start()
    with pytest.warns(InterruptWarning, match="Ctrl-C ended this fit after"):
        history = net.fit(
            rng.normal(size=(1000, 2)), rng.integers(2, size=1000), batch_size=1, iterations=10**8, progress=False
        )
    thread.join()
    assert history.interrupted
    assert 0 < history.iterations < 10**8
    assert np.isfinite(history.loss).all()
    assert np.isfinite(net.predict([0.1, 0.2])).all()
    assert net.fit(rng.normal(size=(4, 2)), [0, 1, 0, 1], batch_size=2, progress=False).iterations == 20


def test_a_loss_that_is_not_finite_stops_and_says_where(rng):
    x, t = 10 * rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    net = NeuralNetwork([Layer(3, 4), Layer(4, 1)], rng=0)
    with pytest.raises(
        FloatingPointError, match=r"at iteration \d+ with learning rate 50\.0, .* smaller learning rate"
    ):
        net.fit(x, t, optimizer=SGD(50.0), batch_size=20, epochs=1000, progress=False)


def test_trainable_bias_false_leaves_the_bias(rng):
    layers = [Layer(3, 4, "tanh", bias=np.arange(4.0), trainable_bias=False), Layer(4, 1)]
    net = NeuralNetwork(layers, rng=0)
    net.fit(rng.normal(size=(9, 3)), rng.normal(size=9), batch_size=3, epochs=2, progress=False)
    net.backpropagation([1.0, 2.0, 3.0], [1.0], 0.1)
    np.testing.assert_array_equal(net.params["b1"], np.arange(4.0))
    assert np.any(net.gradient(rng.normal(size=(9, 3)), rng.normal(size=9))["b1"] != 0)


def test_bar_shows_loss_and_accuracy(capsys):
    (x, t), test = nncore.load_digits()
    net = NeuralNetwork([Layer(64, 10)], loss="softmax_cross_entropy", rng=0)
    net.fit(x, t, epochs=2, validation_data=test, progress=True, rng=0)
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "loss=" in shown
    assert "accuracy=" in shown


def test_a_second_caller_gets_a_clear_error(rng):
    """One network, two threads that train: one of them may be refused, none may crash or corrupt."""
    x, t = rng.normal(size=(2000, 64)), rng.integers(10, size=2000)
    net = NeuralNetwork([Layer(64, 64, "tanh"), Layer(64, 10)], loss="softmax_cross_entropy", rng=0)
    errors = []

    def train():
        try:
            net.fit(x, t, epochs=20, progress=False, rng=0)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("in use by another thread" in message for message in errors)
    assert len(errors) < 2
    assert np.isfinite(net.predict(x)).all()


def test_prediction_from_many_threads(rng):
    net = NeuralNetwork([Layer(64, 64, "tanh"), Layer(64, 10)], rng=0)
    x = rng.normal(size=(3000, 64))
    expected = net.predict(x)
    results = [None] * 8

    def predict(i):
        results[i] = net.predict(x)

    threads = [threading.Thread(target=predict, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("make", [SGD, lambda: SGD(0.1, momentum=0.9), nncore.Adam])
def test_partial_fit_is_one_update_of_fit(make, rng):
    x, t = rng.normal(size=(12, 2)), rng.random((12, 2))
    fitted, online = moons_net(), moons_net()
    fitted.fit(x, t, optimizer=make(), batch_size=3, epochs=1, sampling="sequential", progress=False)
    optimizer = make()
    for first in range(0, 12, 3):
        loss = online.partial_fit(
            x[first : first + 3], t[first : first + 3], optimizer=optimizer if not first else None
        )
    assert online.optimizer is optimizer
    np.testing.assert_allclose(online.core.params, fitted.core.params, rtol=0, atol=1e-14)
    assert online.partial_fit(x[0], t[0]) != loss


def test_partial_fit_refuses_what_does_not_fit(rng):
    net = moons_net()
    before = net.core.params.copy()
    with pytest.raises(ValueError, match=r"X has shape \(3,\), expected"):
        net.partial_fit([1.0, 2.0, 3.0], [0.0, 1.0])
    with pytest.raises(TypeError, match="optimizer is 'adam', expected an optimizer such as SGD"):
        net.partial_fit([1.0, 2.0], [0.0, 1.0], optimizer="adam")
    large = NeuralNetwork([Layer(1, 1, weights=[[1e300]], bias=[0.0])])
    with pytest.raises(FloatingPointError, match="the loss of X and y is inf, expected a finite loss: nothing"):
        large.partial_fit([1e300], [0.0])
    np.testing.assert_array_equal(net.core.params, before)
    assert large.params["W1"][0, 0] == 1e300


def test_settings_have_the_defaults_of_fit():
    """Those that are not about data: L-BFGS refuses what differs from them."""
    public = inspect.signature(NeuralNetwork.fit).parameters
    for field in dataclasses.fields(FitSettings):
        assert field.default == public[field.name].default
    about_data = {"self", "X", "y", "validation_data", "sample_weight", "class_weight"}
    assert public.keys() == about_data | {field.name for field in dataclasses.fields(FitSettings)}
