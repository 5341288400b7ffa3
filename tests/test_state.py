"""State: one thread trains a network, whatever others do; what is refused, stopped or killed leaves whole states."""

import contextlib
import copy
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nncore
import nncore.losses
from nncore import LBFGS, SGD, Adam, EarlyStopping, Layer, NeuralNetwork, fit_many
from nncore.estimators.classifier import MLPClassifier
from nncore.training.callbacks import TimeLimit


def classifier(seed=0, hidden=8, **settings):
    layers = [Layer(6, hidden, "tanh"), Layer(hidden, 3)]
    return NeuralNetwork(layers, **{"loss": "softmax_cross_entropy", "rng": seed, **settings})


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 6)), rng.integers(3, size=40)


def in_thread(call):
    """The error or the result of a call in another thread."""
    found = []

    def run():
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@contextlib.contextmanager
def training(net, data, **settings):
    """While another thread is within a fit of this network, at its end of an epoch, or just before."""
    within, go_on = threading.Event(), threading.Event()

    def metric(t, y):  # called between two calls of the core, not by a callback
        within.set()
        go_on.wait()
        return 0.0

    found = []
    settings = {"epochs": 2, "metrics": [metric], "validation_data": data, "progress": False, **settings}
    thread = threading.Thread(target=lambda: found.append(net.fit(*data, **settings)))
    thread.start()
    within.wait()
    try:
        yield found
    finally:
        go_on.set()
        thread.join()


X, T = np.linspace(-1, 1, 24).reshape(4, 6), np.array([0, 1, 2, 1])
USES = {
    "fit": lambda net: net.fit(X, T, epochs=1, progress=False),
    "fit with L-BFGS": lambda net: net.fit(X, T, optimizer=LBFGS(2), progress=False),
    "train": lambda net: net.train(X, X, T, T, 0.1, 1),
    "partial_fit": lambda net: net.partial_fit(X, T),
    "backpropagation": lambda net: net.backpropagation(X[0], T[0], 0.1),
    "gradient": lambda net: net.gradient(X, T),
    "forward": lambda net: net.forward(X),
    "numerical_gradient": lambda net: net.numerical_gradient(X, T),
    "check_gradient": lambda net: nncore.check_gradient(net, X, T),
    "params": lambda net: net.params.__setitem__("W1", net.params["W1"] * 2),
    "weights": lambda net: setattr(net.layers[0], "weights", np.ones((6, 8))),
    "bias": lambda net: setattr(net.layers[0], "bias", np.ones(8)),
    "a setting of a layer": lambda net: setattr(net.layers[0], "l2", 0.5),
    "input_scale": lambda net: setattr(net, "input_scale", 0.5),
    "add_layer": lambda net: net.add_layer(Layer(3, 3)),
}
READS = {
    "predict": lambda net, path: net.predict(X),
    "loss": lambda net, path: net.loss(X, T),
    "accuracy": lambda net, path: net.accuracy(net.predict(X), T),
    "save": lambda net, path: net.save(path / "m"),
    "copy": lambda net, path: copy.copy(net),
    "pickle": lambda net, path: pickle.dumps(net),
    "export": lambda net, path: net.export_c(path / "m.h"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("optimizer", [SGD(0.1), LBFGS(3)])
def test_while_a_thread_trains_others_may_not_change_or_use(use, optimizer, data):
    settings = {} if isinstance(optimizer, LBFGS) else {"rng": 0}
    if isinstance(optimizer, LBFGS):
        settings["epochs"] = None
    alone, net = classifier(), classifier()
    alone.fit(*data, optimizer=optimizer, progress=False, **{"epochs": 2, **settings})
    with training(net, data, optimizer=optimizer, **settings) as found:
        error = in_thread(lambda: USES[use](net))
    assert isinstance(error, RuntimeError), error
    assert str(error).startswith("this network is in use by another thread (fit), expected one caller at a time")
    assert found[0].error is None
    np.testing.assert_array_equal(net.core.params, alone.core.params)
    assert len(net.layers) == 2
    if use != "add_layer":
        USES[use](net)  # free again


@pytest.mark.parametrize("read", READS)
def test_while_a_thread_trains_others_may_read_at_its_pauses(read, data, tmp_path):
    net = classifier()
    with training(net, data):
        result = in_thread(lambda: READS[read](net, tmp_path))
    assert not isinstance(result, BaseException), result


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_a_copy_within_a_call_of_the_core_is_refused(rng, tmp_path):
    """Between two updates of a long call there is nothing whole to copy or to save."""
    net = classifier()
    x, t = rng.normal(size=(100, 6)), rng.integers(3, size=100)
    started, answers, begun = net.core.params.copy(), {}, threading.Event()

    def others():
        begun.wait()
        while np.array_equal(net.core.params, started):
            pass
        for name in ("copy", "pickle", "save", "export"):
            try:
                READS[name](net, tmp_path)
            except RuntimeError as error:
                answers[name] = str(error)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=others)
    thread.start()
    begun.set()
    history = net.fit(x, t, batch_size=2, iterations=10**7, progress=False)
    thread.join()
    assert history.interrupted
    assert set(answers) == {"copy", "pickle", "save", "export"}
    assert all("in use by another thread (fit)" in text for text in answers.values())


@pytest.mark.parametrize("use", ["fit", "fit with L-BFGS", "train", "partial_fit", "backpropagation", "add_layer"])
def test_no_training_within_a_training(use, data):
    net, alone, errors = classifier(), classifier(), []

    def callback(history):
        with pytest.raises(RuntimeError, match=r"was called within fit of the same network, by a callback") as caught:
            USES[use](net)
        errors.append(caught.value)

    net.fit(*data, epochs=2, callbacks=[callback], rng=0, progress=False)
    alone.fit(*data, epochs=2, rng=0, progress=False)
    assert len(errors) == 2
    np.testing.assert_array_equal(net.core.params, alone.core.params)


@pytest.mark.parametrize("optimizer", [SGD(0.1), LBFGS(3)])
def test_callbacks_may_do_everything_else(optimizer, data, tmp_path):
    net = classifier()
    calls = []

    def callback(history):
        for read in READS.values():
            read(net, tmp_path)
        for use in ("gradient", "numerical_gradient", "check_gradient", "params"):
            USES[use](net)
        dy = np.ones_like(net.forward(X))
        net.backward(dy)
        net.layers[0].l2 = 1e-4
        calls.append(history.epochs)

    settings = {} if isinstance(optimizer, LBFGS) else {"epochs": 2}
    net.fit(*data, optimizer=optimizer, callbacks=[callback], progress=False, **settings)
    assert calls


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("optimizer", [SGD(0.1), LBFGS(3)])
def test_every_end_of_a_fit_frees_the_network(error, optimizer, data):
    net = classifier()

    def callback(history):
        raise error

    with contextlib.suppress(error):
        net.fit(*data, optimizer=optimizer, callbacks=[callback], progress=False)
    assert in_thread(lambda: net.fit(*data, epochs=1, progress=False)).epochs == 1
    with pytest.raises(ValueError, match="X has shape"):
        net.fit(X[:, :2], T)
    net.partial_fit(X, T)


def test_two_fits_of_one_network_never_mix(data):
    """Either both ran one after the other, or one of them was refused and changed nothing."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def fit(net, seed):
        return net.fit(*data, iterations=40, batch_size=8, optimizer=SGD(0.05), rng=seed, progress=False, n_threads=1)

    possible = []
    for order in ((0,), (1,), (0, 1), (1, 0)):
        net = classifier()
        for seed in order:
            fit(net, seed)
        possible.append(net.core.params.copy())
    try:
        for _ in range(10):
            net, start, errors = classifier(), threading.Barrier(2), []

            def run(seed, net=net, start=start, errors=errors):
                start.wait()
                try:
                    fit(net, seed)
                except RuntimeError as error:
                    errors.append(str(error))

            threads = [threading.Thread(target=run, args=(seed,)) for seed in (0, 1)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(errors) < 2
            assert all("in use by another thread" in text for text in errors)
            assert any(np.array_equal(net.core.params, p) for p in (possible[:2] if errors else possible[2:]))
    finally:
        sys.setswitchinterval(interval)


def test_an_estimator_has_its_network_for_a_whole_fit(data):
    errors = []

    def callback(estimator):
        net = estimator._engine[1]
        errors.append(in_thread(lambda: net.gradient(X, T)))

    MLPClassifier(5, max_iter=2, callbacks=[callback], random_state=0, tol=0, n_iter_no_change=5).partial_fit(
        *data, classes=[0, 1, 2]
    )
    estimator = MLPClassifier(5, max_iter=2, callbacks=[callback], random_state=0)
    with pytest.warns(UserWarning, match="max_iter is 2"):
        estimator.fit(*data)
    assert len(errors) == 2
    assert all("in use by another thread (fit)" in str(error) for error in errors)


def test_numerical_gradients_side_by_side_with_other_numbers_of_threads(data):
    """Scratch memory is that of the call's own threads."""
    net = classifier()
    expected = net.numerical_gradient(*data, n_threads=1)
    wrong = []

    def run(n_threads):
        for _ in range(20):
            found = net.numerical_gradient(*data, n_threads=n_threads)
            wrong.extend(name for name in found if not np.array_equal(found[name], expected[name]))

    threads = [threading.Thread(target=run, args=(n,)) for n in (1, 16, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_settings_change_between_calls_only(rng):
    """A call reads the settings it began with: those of another size of step would index other memory."""
    net = classifier(hidden=64)
    x, t = rng.normal(size=(400, 6)), rng.integers(3, size=400)
    stop = threading.Event()

    def toggle():
        while not stop.is_set():
            for value in (0.0, 0.5):
                net.core.configure(0, dropout=value, l1=value, max_norm=value)
                net.core.penalty_by_samples = bool(value)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        for _ in range(100):
            net.core.train(x, t, None, rng.permutation(400), 0, 400, 100, 0.01, np.empty(4), n_threads=2)
            net.loss(x, t)
    finally:
        stop.set()
        thread.join()
    assert np.isfinite(net.core.params).all()


def test_the_first_use_of_a_network_by_many_threads(rng):
    """All see one vector of parameters, of which the layers' arrays are views."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            net = NeuralNetwork([Layer(2, 2) for _ in range(12)], rng=0)
            start = threading.Barrier(4)

            def use(net=net, start=start):
                start.wait()
                net.predict([1.0, 2.0])

            threads = [threading.Thread(target=use) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all(np.shares_memory(layer.weights, net.core.params) for layer in net.layers)
    finally:
        sys.setswitchinterval(interval)


def test_backward_belongs_to_the_thread_of_forward():
    net = classifier()
    dy = np.ones_like(net.forward(X))
    assert "was that of another thread" in str(in_thread(lambda: net.backward(dy)))
    net.backward(dy)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_in_the_middle_of_a_fit_leaves_the_child_a_free_network(data):
    """The thread that trains is not in the child."""
    net = classifier()
    context = multiprocessing.get_context("fork")

    def child(queue):
        try:
            queue.put(net.fit(*data, epochs=1, progress=False, rng=0).epochs)
        except BaseException as error:
            queue.put(repr(error))

    with training(net, data):
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        with contextlib.suppress(DeprecationWarning):
            process.start()
        answer = queue.get()
        process.join()
    assert answer == 1


EXIT = """
import os, sys, threading
import numpy as np
import nncore
import nncore.losses
from nncore import SGD, Layer, NeuralNetwork, fit_many
r = np.random.default_rng(0)
x, t = r.normal(size=(400, 64)), r.integers(0, 10, 400)
net = NeuralNetwork([Layer(64, 64, "relu"), Layer(64, 10)], loss="softmax_cross_entropy", rng=0)
begun = threading.Event()
def forever(history):
    begun.set()
def work():
    what = sys.argv[1]
    while True:
        if what == "fit":
            net.fit(x, t, iterations=10**6, batch_size=50, n_threads=2, progress=False, callbacks=[forever])
        elif what == "fit_many":
            # whose threads Python waits for
            fit_many([net], x, t, iterations=300, batch_size=50, progress=False, callbacks=[forever])
            break
        elif what == "numerical_gradient":
            begun.set()
            net.numerical_gradient(x, t, n_threads=2)
        else:
            begun.set()
            net.predict(np.tile(x, (20, 1)), n_threads=2)
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


@pytest.mark.parametrize("what", ["fit", "fit_many", "predict", "numerical_gradient"])
def test_the_interpreter_may_end_under_a_daemon_thread(what):
    runs = [subprocess.Popen([sys.executable, "-c", EXIT, what], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for run in runs:
        error = run.communicate(timeout=120)[1]
        assert (run.returncode, error) == (0, "")


def cpu_seconds_after_a_signal(call, after):
    """How long a call goes on computing after Ctrl-C, by the process's own time, and how long it takes without."""
    started = time.process_time()
    call()
    whole = time.process_time() - started
    pressed = []

    def handler(number, frame):
        raise KeyboardInterrupt

    def press():
        before = time.process_time()
        while time.process_time() - before < after * whole:
            time.sleep(0)  # gives the other thread the interpreter; its own time counts little
        pressed.append(time.process_time())
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=press)
    try:
        thread.start()
        result = call()
        thread.join()
    except KeyboardInterrupt:
        result = None
    finally:
        ended = time.process_time()
        thread.join()
        signal.signal(signal.SIGINT, before)
    return ended - pressed[0], whole, result


@pytest.mark.skipif(sys.platform == "win32", reason="no pthread_kill")
@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
@pytest.mark.parametrize("what", ["fit", "gradient", "loss"])
def test_ctrl_c_is_seen_within_one_step_of_a_wide_network(what, rng):
    """The parameters, the moments and the state of the optimizer are those after a whole step."""
    layers = [Layer(900, 1000, "relu", batch_norm=True, dropout=0.1), Layer(1000, 1000, "relu"), Layer(1000, 10)]
    net = NeuralNetwork(layers, loss="softmax_cross_entropy", rng=0)
    x, t = rng.normal(size=(2500, 900)), rng.integers(10, size=2500)
    optimizer = Adam()
    calls = {
        "fit": lambda: net.fit(x, t, batch_size=2500, iterations=1, optimizer=optimizer, n_threads=1, progress=False),
        "gradient": lambda: net.gradient(x, t),
        "loss": lambda: net.loss(x, t),
    }
    net.partial_fit(x[:50], t[:50], optimizer=optimizer)
    states = []

    def state():
        kept = net.trained_with[1]
        return [net.core.params.copy(), net.core.moments.copy(), kept.vectors.copy(), np.array(kept.n_steps)]

    def call():
        states.append(state())
        return calls[what]()

    late, whole, result = cpu_seconds_after_a_signal(call, 0.3)
    assert result is None or result.interrupted
    assert late < 0.5 * whole
    for before, now in zip(states[-1], state(), strict=True):
        np.testing.assert_array_equal(before, now)


def test_memory_is_held_while_a_call_or_a_training_reads_it(data):
    """NumPy resizes no array with a weak reference: whoever tries gets its error, not freed memory."""
    x, t = data
    own_x, own_t, answers = x.copy(), t.copy(), []

    def resize(history):
        for array in (own_x, own_t, net.core.params.base):
            with pytest.raises(ValueError, match="cannot resize"):
                array.resize((1, 6), refcheck=False)
            answers.append(array.size)
        own_x.shape = (6, 40)
        own_t[:] = 10**9

    net, alone = classifier(), classifier()
    net.fit(own_x, own_t, epochs=2, callbacks=[resize], rng=0, progress=False)
    assert len(answers) == 6
    alone.fit(x, t, epochs=1, rng=0, progress=False)
    assert own_x.resize((3, 6), refcheck=False) is None  # free again
    assert np.isfinite(net.core.params).all()


def test_a_mapped_file_that_becomes_shorter_is_said(tmp_path, rng, monkeypatch):
    from nncore.core import mapped

    path = tmp_path / "x"
    rng.normal(size=(4000, 6)).tofile(path)
    t = rng.integers(3, size=4000)
    small = np.memmap(path, np.float64, "r", shape=(4000, 6))

    def cut(history):
        with path.open("r+b") as file:
            file.truncate(4096)

    history = classifier().fit(small, t, epochs=3, callbacks=[cut], progress=False)  # has a copy
    assert history.epochs == 3
    for call in (classifier().predict, lambda x: classifier().fit(x, t)):
        with pytest.raises(ValueError, match="the file of a mapped array has 4096 bytes, expected 192000"):
            call(small)
    rng.normal(size=(4000, 6)).tofile(path)
    monkeypatch.setattr(mapped, "WINDOW_BYTES", 50_000)
    large = np.memmap(path, np.float64, "r", shape=(4000, 6))
    with pytest.raises(ValueError, match="the file of a mapped array has 4096 bytes"):
        classifier().fit(large, t, epochs=3, callbacks=[cut], progress=False)


def test_outputs_may_go_where_inputs_lie():
    net = NeuralNetwork([Layer(3, 3, "tanh")], rng=0)
    memory = np.linspace(-1, 1, 600)
    x, out = memory[:-3].reshape(-1, 3), memory[3:].reshape(-1, 3)
    expected = net.predict(x.copy())
    np.testing.assert_array_equal(net.predict(x, out=out), expected)
    memory[:] = np.linspace(-1, 1, 600)
    np.testing.assert_array_equal(net.predict(x, out=out, n_threads=2), expected)


def values_of(x):
    """The same numbers in memory of all kinds."""
    raw = np.frombuffer(bytearray(b"\0" + x.tobytes()), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    packed = np.zeros(x.shape, np.dtype([("head", "u1"), ("value", x.dtype)]))
    packed["value"] = x
    read_only = x.copy()
    read_only.setflags(write=False)
    return {
        "misaligned": raw, "packed": packed["value"], "swapped": x.astype(x.dtype.newbyteorder()),
        "strided": np.repeat(x, 2, axis=0)[::2], "columns": np.asfortranarray(x), "backwards": x[::-1].copy()[::-1],
        "read-only": read_only, "list": x.tolist(),
    }  # fmt: skip


@pytest.mark.parametrize("kind", values_of(np.zeros((1, 1))))
def test_numbers_are_the_same_wherever_they_lie(kind, rng):
    x, targets, labels, weights = rng.random((6, 2)), rng.random((6, 2)), np.array([0, 1] * 3), rng.random(6) + 0.1
    other_x, other_targets, other_weights = values_of(x)[kind], values_of(targets)[kind], values_of(weights)[kind]
    other_labels = values_of(labels)[kind]

    def everything(x, targets, labels, weights):
        nets = [NeuralNetwork([Layer(2, 3, "tanh"), Layer(3, 2)], rng=0, loss=loss)
                for loss in ("squared_error", "softmax_cross_entropy")]  # fmt: skip
        out = []
        for net, t in zip(nets, (targets, labels), strict=True):
            out += [net.predict(x), net.predict(x[0]), net.loss(x, t, sample_weight=weights), net.gradient(x, t)["W1"]]
            net.fit(x, t, validation_data=(x, t), sample_weight=weights, epochs=2, batch_size=2, rng=0, progress=False)
            out.append(net.core.params)
        nets[0].params["W1"] = np.asarray(x)[:2, :1] * np.ones(3)
        out += [getattr(nncore, name)(x) for name in ("relu", "sigmoid", "softmax", "gelu", "log_softmax")]
        out += [nncore.losses.squared_error(x, targets)[1], nncore.losses.softmax_cross_entropy(x, labels)[1]]
        return [*out, nncore.Layer(2, 2, weights=np.eye(2), bias=[0.0, 0.0]).activate(x)]

    expected = everything(x, targets, labels, weights)
    found = everything(other_x, other_targets, other_labels, other_weights)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["misaligned", "packed", "swapped", "strided", "columns"])
def test_an_update_reaches_parameters_wherever_they_lie(kind, rng):
    p, g = rng.random((4, 3)), rng.random((4, 3))
    params = values_of(p)[kind]
    SGD(0.1).update({"p": params}, {"p": values_of(g)[kind]})
    np.testing.assert_array_equal(params, p - 0.1 * g)
    shared = np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))
    with pytest.raises(TypeError, match=r"params\['p'\] has elements that share memory"):
        SGD(0.1).update({"p": shared}, {"p": np.ones(3)})


def test_faces_of_kernels_refuse_what_is_not_aligned(core):
    raw = np.zeros(8 * 6 + 1, np.uint8)[1:].view(np.float64)
    good = np.zeros(6)
    rows, raw_rows = good.reshape(2, 3), raw.reshape(2, 3)
    calls = [
        lambda: core.activation.activate(1, raw),
        lambda: core.activation.differentiate(1, good, raw),
        lambda: core.activation.softmax(raw_rows, np.zeros(2)),
        lambda: core.activation.softmax_backward(rows, raw_rows),
        lambda: core.loss.terms(core.loss.LOSSES["squared_error"], 0.0, rows, raw_rows, None, rows),
        lambda: core.optimizer.update((0, 0, 0, 0, 0, 0), 0.1, 0, good, raw, np.zeros((0, 6))),
        lambda: core.dense.forward(raw_rows, np.zeros((3, 1)), None, np.zeros((2, 1))),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="is not aligned in memory"):
            call()


LATER = {
    "input_scale": (lambda: classifier(), "input_scale", (-1, None, np.nan, "x")),
    "l2": (lambda: classifier().layers[0], "l2", (-1, np.nan)),
    "dropout": (lambda: classifier().layers[0], "dropout", (1, -0.1)),
    "dropout of the last": (lambda: (net := classifier(), net.core)[0].layers[1], "dropout", (0.5,)),
    "max_norm": (lambda: classifier().layers[0], "max_norm", (0, "x")),
    "lr_scale": (lambda: classifier().layers[0], "lr_scale", (-1,)),
    "trainable_bias": (lambda: classifier().layers[0], "trainable_bias", (1, None)),
    "lr": (lambda: SGD(0.1), "lr", (0, -1, np.inf, None)),
    "momentum": (lambda: SGD(0.1), "momentum", (-5, 1)),
    "nesterov": (lambda: SGD(0.1), "nesterov", (1,)),
    "weight_decay": (lambda: Adam(), "weight_decay", (-1,)),
    "betas": (lambda: Adam(), "betas", ((1, 0), 0.5, (0.1,))),
    "eps": (lambda: nncore.AdaGrad(), "eps", (0,)),
    "alpha": (lambda: nncore.RMSprop(), "alpha", (1,)),
    "max_iter": (lambda: LBFGS(), "max_iter", (0, 1.5)),
    "tol": (lambda: LBFGS(), "tol", (-1,)),
    "patience": (lambda: EarlyStopping(), "patience", (0, 1.5, np.nan)),
    "min_delta": (lambda: EarlyStopping(), "min_delta", (-1,)),
    "mode": (lambda: EarlyStopping(), "mode", ("less",)),
    "factor": (lambda: nncore.ReduceOnPlateau(), "factor", (1, 0)),
    "every": (lambda: nncore.Step(3), "every", (0,)),
    "final": (lambda: nncore.Cosine(), "final", (-1,)),
    "then": (lambda: nncore.WarmUp(3), "then", ("x", 3)),
    "seconds": (lambda: TimeLimit(1), "seconds", (0,)),
}


@pytest.mark.parametrize("name", LATER)
def test_settings_are_checked_when_they_are_set_later(name):
    make, attribute, values = LATER[name]
    thing = make()
    before = getattr(thing, attribute)
    for value in values:
        with pytest.raises((TypeError, ValueError), match=r"expected"):
            setattr(thing, attribute, value)
        assert getattr(thing, attribute) is before
    setattr(thing, attribute, before)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: classifier(), "label_smoothing", 0.1),
        (lambda: classifier(), "delta", 1e-7),
        (lambda: classifier(), "dtype", np.float32),
        (lambda: classifier(), "loss_name", "hinge"),
        (lambda: classifier().layers[0], "activation", "relu"),
        (lambda: classifier().layers[0], "n_neurons", 3),
        (lambda: classifier().layers[0], "batch_norm", True),
    ],
)
def test_what_would_not_follow_a_change_cannot_be_set(make, name, value):
    with pytest.raises(AttributeError, match=f"{name} of a .* cannot be changed, expected a new"):
        setattr(make(), name, value)


def test_settings_on_the_class_are_descriptors():
    assert repr(Layer.dropout)
    assert repr(SGD.lr)
    assert not hasattr(object.__new__(SGD), "lr")
    optimizer = SGD(0.1, 0.9, nesterov=True)
    optimizer.momentum = 0.0
    with pytest.raises(ValueError, match=r"momentum is 0\.0, expected a number above 0 with nesterov=True"):
        classifier().fit(X, T, optimizer=optimizer, progress=False)


class Unusual:
    """As a PyTorch tensor whose gradients are kept."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def wrong_factors():
    class Wrong(nncore.Schedule):
        def factors(self, first, last, total):
            return np.ones(3)

    return Wrong()


ABSURD = {
    "validation X": {"validation_data": (X[:, :2], T)},
    "validation y": {"validation_data": (X, [9] * 4)},
    "sample_weight": {"sample_weight": [1, 2]},
    "class_weight": {"class_weight": {7: 1.0}},
    "callbacks": {"callbacks": [3]},
    "checkpoint": {"checkpoint": "/no/such/folder/file"},
    "resume": {"resume": True},
    "metrics": {"metrics": ["x"]},
    "early_stopping": {"early_stopping": 0},
    "schedule": {"schedule": wrong_factors()},
    "epochs": {"epochs": 2**62},
    "iterations": {"iterations": 2**60},
    "n_threads": {"n_threads": 0},
    "rng": {"rng": "x"},
    "progress": {"progress": 3},
    "batch_size": {"batch_size": 5},
    "nesterov": {"optimizer": object.__new__(SGD)},
}


@pytest.mark.parametrize("name", ABSURD)
def test_what_is_refused_changes_nothing(name):
    net = NeuralNetwork([Layer(6, 4, "tanh", dropout=0.5, batch_norm=True), Layer(4, 3)],
                        loss="softmax_cross_entropy", rng=0)  # fmt: skip
    optimizer = Adam()
    net.partial_fit(X, T, optimizer=optimizer)

    def state():
        kept = net.trained_with[1]
        return pickle.dumps(
            [net.core.params, net.core.moments, net.rng.bit_generator.state, kept.vectors, kept.n_steps, net._masks]
        )

    before = state()
    with pytest.raises((TypeError, ValueError, OSError, AttributeError)) as caught:
        net.fit(X, T, **{"optimizer": optimizer, "progress": False, **ABSURD[name]})
    assert "\n" not in str(caught.value)
    assert state() == before
    assert net.optimizer is optimizer


def test_sentences_for_what_cannot_be_read():
    with pytest.raises(TypeError, match="x is a Unusual that is no array: Can't call numpy"):
        classifier().predict(Unusual())
    with pytest.raises(ValueError, match=r"epochs or iterations ask for .* updates, expected fewer: their losses need"):
        classifier().fit(X, T, epochs=2**62, progress=False)
    with pytest.raises(ValueError, match="classes is empty, expected all classes there will be"):
        MLPClassifier().partial_fit(X, T, classes=[])


def test_fit_many_refuses_a_network_in_use(data):
    net = classifier()
    with training(net, data):
        history = in_thread(lambda: fit_many([net], *data, epochs=1, progress=False))[0]
    assert "in use by another thread (fit)" in str(history.error)
