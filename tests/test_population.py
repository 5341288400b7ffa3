"""fit_many: each network as if trained by itself, whatever the number of threads; failures and Ctrl-C stay in place."""

import copy
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest
from test_sparse import sparse_rows

import nncore
from nncore import SGD, InterruptWarning, Layer, NeuralNetwork, fit_many
from nncore.data import samples


def networks(count=4, n_in=6, n_out=3, **settings):
    return [NeuralNetwork([Layer(n_in, 5 + i, "tanh"), Layer(5 + i, n_out)], rng=i, **settings) for i in range(count)]


@pytest.fixture
def data(rng):
    return rng.normal(size=(100, 6)), rng.integers(3, size=100)


def result(net, history):
    return np.concatenate([net.core.params, history.loss, history.test_accuracy])


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("n_jobs", [None, 1, 3, -1])
def test_each_network_is_as_trained_by_itself(data, rng, seed, n_jobs):
    each = {
        "optimizer": [SGD(0.1), SGD(0.01), None, SGD(0.2)],
        "batch_size": [None, 7, 100, 1],
        "epochs": [3, None, 5, 2],
        "iterations": (None, 40, None, None),
        "sampling": ["shuffle", "replacement", "sequential", "shuffle"],
    }
    every = {"validation_data": data, "sample_weight": rng.random(100), "progress": False}
    together, alone = networks(), networks()
    histories = fit_many(together, *data, **each, **every, rng=seed, n_jobs=n_jobs)
    rngs = [None] * 4 if seed is None else np.random.default_rng(seed).spawn(4)
    for i, net in enumerate(alone):
        history = net.fit(*data, **{name: values[i] for name, values in each.items()}, **every, rng=rngs[i])
        np.testing.assert_array_equal(result(together[i], histories[i]), result(net, history))
        assert histories[i].error is None
        assert histories[i].n_threads == 1
        assert together[i].rng.bit_generator.state == net.rng.bit_generator.state


def test_data_are_checked_and_compressed_once(rng, monkeypatch):
    """And a run too short to be worth the compression does without, as by itself."""
    x, t = sparse_rows(rng, (500, 100), np.uint8), rng.integers(3, size=500)
    compress, calls = samples.compressed.compress, []
    monkeypatch.setattr(samples.compressed, "compress", lambda *args: calls.append(args) or compress(*args))
    settings = {"batch_size": 20, "iterations": [60, 3, 60], "progress": False, "rng": 0}
    histories = fit_many(networks(3, 100), x, t, **settings)
    assert len(calls) == 1
    assert [history.density is None for history in histories] == [False, True, False]


def test_callbacks_for_all_or_for_each(data):
    seen = []
    histories = fit_many(networks(3), *data, epochs=3, callbacks=[seen.append], progress=False)
    assert sorted(map(id, seen)) == sorted(id(history) for history in histories for _ in range(3))
    stops = [[lambda history, n=n: history.epochs == n] for n in (1, 3, 2)]
    histories = fit_many(networks(3), *data, epochs=5, callbacks=stops, progress=False)
    assert [history.epochs for history in histories] == [1, 3, 2]


def test_one_that_fails_leaves_the_others_alone(data):
    x, t = 10 * data[0], np.eye(3)[data[1]]
    nets, alone = networks(), networks()
    rates = [SGD(0.001), SGD(50.0), SGD(0.001), SGD(0.002)]
    histories = fit_many(nets, x, t, optimizer=rates, epochs=50, progress=False, n_jobs=2)
    assert isinstance(histories[1].error, FloatingPointError)
    assert 0 < histories[1].iterations < histories[0].iterations
    for i in (0, 2, 3):
        history = alone[i].fit(x, t, optimizer=rates[i], epochs=50, progress=False)
        np.testing.assert_array_equal(result(nets[i], histories[i]), result(alone[i], history))

    def broken(history):
        raise KeyError("mine")

    histories = fit_many(networks(2), *data, callbacks=[[broken], []], epochs=2, progress=False)
    assert isinstance(histories[0].error, KeyError)
    assert histories[1].error is None
    assert histories[1].epochs == 2


def test_ctrl_c_stops_all(data):
    """Those that train, and those whose turn has not come."""
    nets = networks(5)
    start = nets[0].core.params.copy()

    def press_ctrl_c():
        while np.array_equal(nets[0].core.params, start):
            time.sleep(0)
        signal.raise_signal(signal.SIGINT) if sys.platform == "win32" else signal.pthread_kill(
            threading.main_thread().ident, signal.SIGINT
        )

    thread = threading.Thread(target=press_ctrl_c)
    thread.start()
    started = time.perf_counter()
    with pytest.warns(InterruptWarning, match="Ctrl-C ended this fit_many: 5 of 5 networks were not done"):
        histories = fit_many(nets, *data, batch_size=1, iterations=10**7, n_jobs=2, progress=False)
    assert time.perf_counter() - started < 5
    thread.join()
    assert all(history.interrupted for history in histories)
    assert [history.iterations for history in histories[2:]] == [0, 0, 0]
    assert 0 < histories[0].iterations < 10**7
    assert all(history.error is None for history in histories)
    assert not any(h.interrupted for h in fit_many(nets, *data, epochs=1, progress=False))


def test_ctrl_c_while_a_thread_starts(data, monkeypatch):
    """The pool then does not know of the thread; the network that it trains is waited for all the same."""
    start, pressed = threading.Thread.start, []

    def interrupted(thread):
        start(thread)
        if not pressed and thread.name.startswith("nncore"):
            pressed.append(thread)
            while np.array_equal(nets[0].core.params, before):
                time.sleep(0)
            raise KeyboardInterrupt

    nets = networks(3)
    before = nets[0].core.params.copy()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.warns(InterruptWarning, match="3 of 3 networks were not done"):
        histories = fit_many(nets, *data, batch_size=1, iterations=10**7, n_jobs=2, progress=False)
    after = nets[0].core.params.copy()
    pressed[0].join(10)
    np.testing.assert_array_equal(nets[0].core.params, after)
    assert histories[0].iterations > 0


def test_one_bar_over_all(data, capsys):
    fit_many(networks(3), *data, batch_size=10, epochs=[1, 2, 3], progress=True)
    shown = capsys.readouterr().err
    assert "60/60" in shown
    assert "networks=3/3" in shown


net = networks(1)[0]
shared = np.random.default_rng(0)
REFUSED = {
    "twice": ([*networks(2), net, net], {}, "networks[3] is networks[2] again, expected different ones"),
    "no list": (net, {}, "networks is a NeuralNetwork, expected a list of NeuralNetwork"),
    "empty": ([], {}, "networks is empty, expected at least one NeuralNetwork"),
    "no network": ([net, 3], {}, "networks[1] is a int, expected a NeuralNetwork"),
    "sizes": (
        [net, *networks(1, n_out=4)],
        {},
        "networks[1] has 6 inputs and 4 outputs, expected 6 and 3 as networks[0]",
    ),
    "one generator": (
        [NeuralNetwork([Layer(6, 3)], rng=shared) for _ in range(2)],
        {},
        "networks[1] has the random generator of networks[0], expected one each, or rng for fit_many",
    ),
    "too few": (networks(3), {"batch_size": [1, 2]}, "batch_size has 2 items, expected 3, one a network"),
    "too few callbacks": (networks(3), {"callbacks": [[], []]}, "callbacks has 2 items, expected 3, one a network"),
    "one setting": (networks(2), {"batch_size": [1, 0]}, "batch_size is 0, expected 1 or more"),
    "optimizer": (networks(2), {"optimizer": [SGD(), 0.1]}, "optimizer is 0.1, expected an optimizer"),
    "n_jobs": (networks(2), {"n_jobs": 0}, "n_jobs is 0, expected a whole number of workers"),
    "progress": (networks(2), {"progress": 3}, "progress is 3, expected True, False or 'auto'"),
    "rng": (networks(2), {"rng": -1}, "rng is -1, expected a whole number of 0 or more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_changes(data, name):
    nets, settings, message = REFUSED[name]
    known = [one for one in nets if isinstance(one, NeuralNetwork)] if isinstance(nets, list) else []
    before = [copy.copy(one) for one in known]
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fit_many(nets, *data, **{"progress": False, **settings})
    for one, old in zip(known, before, strict=True):
        np.testing.assert_array_equal(one.core.params, old.core.params)
        assert one.rng.bit_generator.state == old.rng.bit_generator.state


def test_the_network_with_a_wrong_setting_is_named(data):
    with pytest.raises(ValueError, match="batch_size is 0") as caught:
        fit_many(networks(2), *data, batch_size=[1, 0], progress=False)
    assert caught.value.__notes__ == ["This is about networks[1]."]


def test_a_shared_generator_is_fine_when_rng_is_given(data):
    nets = [NeuralNetwork([Layer(6, 3)], rng=shared) for _ in range(2)]
    fit_many(nets, *data, rng=0, progress=False)
    assert nncore.fit_many is fit_many
