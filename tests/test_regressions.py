"""Faults that were found by trying to break it: each has its test."""

import copy
import multiprocessing
import os
import signal
import threading
import warnings

import numpy as np
import pytest
import reference as ref

from nncore import Layer, NeuralNetwork, binary_cross_entropy, load_moons, one_hot
from nncore.training import scoring


def classifier(n_in=8, n_out=3, **settings):
    return NeuralNetwork([Layer(n_in, 5, "tanh"), Layer(5, n_out)], loss="softmax_cross_entropy", rng=0, **settings)


def test_labels_changed_during_fit_write_nowhere(rng):
    """The caller's array is read in place; what it turns into must not reach memory it should not."""
    x, y = rng.normal(size=(40, 8)), rng.integers(3, size=40)

    def spoil(history):
        y[:] = 10**8

    history = classifier().fit(x, y, epochs=3, progress=False, callbacks=[spoil])
    assert history.epochs == 3
    with pytest.raises(ValueError, match=r"y\[0\] is 100000000"):
        classifier().fit(x, y, progress=False)


def test_rows_that_change_while_they_are_compressed_stay_within_their_place(core):
    x = np.zeros((300, 400), np.uint8)
    x[:, ::5] = 1
    stop = threading.Event()

    def toggle():
        while not stop.is_set():
            x[:] = 1
            x[:] = 0

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        for _ in range(100):
            rows = core.compressed.compress(x, 1.0)
            assert len(rows.columns) == len(rows.values) == rows.pieces[-1]
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_a_child_started_between_chunks_can_predict(rng, start):
    """While fit shares its work by two threads: the child of a callback has none of them."""
    x, y = rng.normal(size=(600, 300)), rng.integers(10, size=600)
    net = NeuralNetwork([Layer(300, 200, "relu"), Layer(200, 10)], loss="softmax_cross_entropy", rng=0)
    agree = []

    def in_a_child(history):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that forking a process with threads is risky is the point
            with multiprocessing.get_context(start).Pool(1) as pool:
                outputs = pool.apply_async(net.predict, (x,)).get(timeout=60)
        agree.append(np.array_equal(outputs, net.predict(x)))

    net.fit(x, y, batch_size=300, epochs=2, n_threads=2, progress=False, callbacks=[in_a_child])
    assert agree == [True, True]


def test_many_threads_are_not_started(rng):
    x, y = rng.normal(size=(600, 300)), rng.integers(10, size=600)
    params = []
    for n_threads in (1, 100_000):
        net = NeuralNetwork([Layer(300, 200, "relu"), Layer(200, 10)], loss="softmax_cross_entropy", rng=0)
        net.fit(x, y, batch_size=300, epochs=1, n_threads=n_threads, progress=False, rng=0)
        params.append(net.core.params)
    np.testing.assert_array_equal(*params)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_the_history_after_ctrl_c_is_that_of_the_network():
    """The signal is raised when the core returns: the chunk that was under way counts."""
    (x, t), _ = load_moons()
    net, twin = (NeuralNetwork([Layer(2, 25, "sigmoid"), Layer(25, 2, "sigmoid")], rng=0) for _ in range(2))
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    history = net.fit(x, t, batch_size=1, iterations=10**8, sampling="sequential", progress=False)
    assert history.interrupted
    assert history.epochs == -(-history.iterations // len(x))
    twin.fit(x, t, batch_size=1, iterations=history.iterations, sampling="sequential", progress=False)
    np.testing.assert_array_equal(twin.core.params, net.core.params)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_ctrl_c_during_the_evaluation_keeps_the_columns_of_one_length(rng, monkeypatch):
    x, y = rng.normal(size=(40, 8)), rng.integers(3, size=40)
    net = classifier()
    calls = []

    def accuracy(*args, **threads):
        calls.append(args)
        if len(calls) == 4:  # the test accuracy of the second epoch
            raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(scoring, "mean_accuracy", accuracy)
    history = net.fit(x, y, epochs=5, validation_data=(x, y), progress=False)
    assert history.interrupted
    assert len(history.epoch_ends) == len(history.train_accuracy) == len(history.test_accuracy) == 1
    assert history.to_csv()


@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy"])
def test_last_activation_and_error_of_a_softmax_layer(loss, rng):
    net = NeuralNetwork([Layer(4, 3, "softmax")], loss=loss, rng=0)
    x, t = rng.normal(size=4), np.array([0.0, 1.0, 0.0])
    y = net.predict(x)
    net.forward(x)
    np.testing.assert_allclose(net.layers[0].last_activation, y, rtol=1e-14)
    net.backpropagation(x, t, 1e-9)
    np.testing.assert_allclose(net.layers[0].last_activation, y, rtol=1e-14)
    np.testing.assert_allclose(net.layers[0].error, t - y, rtol=1e-12)


def test_accuracy_with_one_output():
    assert NeuralNetwork.accuracy([[0.2], [0.9], [0.7]], [0, 1, 0]) == pytest.approx(2 / 3)
    assert NeuralNetwork.accuracy(np.eye(3), [[0], [1], [2]]) == 1.0


def test_a_shallow_copy_has_its_own_parameters():
    net = classifier()
    _ = net.core
    twin = copy.copy(net)
    twin.params["W1"][:] = 0
    assert np.shares_memory(net.layers[0].weights, net.params["W1"])
    assert net.params["W1"].any()


def test_weights_do_not_depend_on_which_is_read_first():
    first, second = classifier(), classifier()
    _ = first.layers[1].weights
    np.testing.assert_array_equal(first.core.params, second.core.params)


def test_layers_of_a_refused_network_are_free_again():
    layer = Layer(4, 3)
    with pytest.raises(ValueError, match="layer 2 has 2 inputs"):
        NeuralNetwork([layer, Layer(2, 1)])
    NeuralNetwork([layer, Layer(3, 1)])


def test_a_divergence_in_the_last_update_is_seen():
    from nncore import SGD

    net = NeuralNetwork([Layer(1, 1, weights=[[1e10]], bias=[0.0])])
    with pytest.raises(FloatingPointError, match="not finite"):
        net.fit([[1.0]], [[0.0]], batch_size=1, iterations=1, optimizer=SGD(1e308), progress=False)


def test_float32_binary_cross_entropy_is_finite():
    for t in (0, 1):
        assert np.isfinite(binary_cross_entropy(np.float32([1.0]), [t], eps=1e-8))


def test_one_hot_of_many_classes_needs_no_matrix_of_them():
    assert one_hot([3, 99_999]).shape == (2, 100_000)


def test_fit_takes_few_samples_without_a_batch_size(rng):
    assert (
        classifier().fit(rng.normal(size=(10, 8)), rng.integers(3, size=10), epochs=2, progress=False).iterations == 2
    )


def test_the_faces_refuse_none(core):
    net = core.network.Network([(2, 1, 0, True, True)], 0, 0.0, np.dtype(float))
    out = np.empty((1, 1))
    for call in (
        lambda: net.forward(None, out),
        lambda: net.forward(np.ones((1, 2)), None),
        lambda: net.train(np.ones((1, 2)), np.array(1.0), None, np.zeros(1, np.intp), 0, 1, 1, 0.1, np.empty(1)),
        lambda: net.loss(np.ones((1, 2)), None),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    for layer in (-1, 10**6):
        with pytest.raises(IndexError):
            net.views(layer)
    out.setflags(write=False)
    with pytest.raises(TypeError, match="read-only"):
        net.forward(np.ones((1, 2)), out)


def test_a_network_in_use_says_so(rng):
    """A long call of the core in one thread; another one asks meanwhile."""
    net = classifier()
    x, t = rng.normal(size=(100, 8)), rng.integers(3, size=100)
    # two samples a step: with one the parameters stand elsewhere until the call ends
    index, losses = rng.integers(100, size=600_000), np.empty(300_000)
    started = net.core.params.copy()
    thread = threading.Thread(target=net.core.train, args=(x, t, None, index, 0, len(index), 2, 0.01, losses))
    thread.start()
    refused = False
    while thread.is_alive() and not refused:
        if np.array_equal(net.core.params, started):
            continue
        with pytest.raises(RuntimeError, match="in use by another thread"):
            net.gradient(x, t)
        refused = True
    thread.join()
    assert refused


def test_masked_elements_are_not_read():
    x = np.ma.masked_array(np.ones((3, 8)), mask=np.eye(3, 8))
    with pytest.raises(TypeError, match="x is a masked array with 3 masked elements"):
        classifier().predict(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"callbacks": print}, "callbacks is"),
        ({"callbacks": [3]}, "callbacks holds 3, expected functions"),
        ({"validation_data": (1,)}, "validation_data is 1 items, expected a pair"),
        ({"validation_data": 5}, "validation_data is a int, expected a pair"),
        ({"optimizer": 0}, "optimizer is 0"),
    ],
)
def test_settings_are_checked_before_anything_changes(settings, message, rng):
    net = classifier()
    before = net.core.params.copy()
    with pytest.raises(TypeError, match=message):
        net.fit(rng.normal(size=(10, 8)), rng.integers(3, size=10), progress=False, **settings)
    np.testing.assert_array_equal(net.core.params, before)


def test_a_digest_like_value_in_the_metadata_does_no_harm(tmp_path):
    from nncore.files import models

    models.save(classifier(), tmp_path / "m", {"dataset": "0" * 64})
    assert models.read_metadata(tmp_path / "m")["dataset"] == "0" * 64


def test_saving_keeps_links_and_permissions(tmp_path):
    net = classifier()
    net.save(tmp_path / "m")
    os.chmod(tmp_path / "m", 0o600)
    (tmp_path / "link").symlink_to(tmp_path / "m")
    net.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert os.stat(tmp_path / "m").st_mode & 0o777 == 0o600


def test_a_tiny_step_gives_zero_for_networks_too(rng):
    x, t = rng.normal(size=(4, 8)), rng.integers(3, size=4)
    assert not any(g.any() for g in classifier().numerical_gradient(x, t, h=1e-50).values())


def test_labels_as_a_column(rng):
    net = classifier()
    x, t = rng.normal(size=(6, 8)), rng.integers(3, size=6)
    assert net.loss(x, t) == net.loss(x, ref.one_hot(t, 3))
