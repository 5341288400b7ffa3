"""Arrays in files: trained on window by window, in bounded memory, with the results of arrays in memory."""

import subprocess
import sys

import numpy as np
import pytest

from nncore import SGD, Layer, NeuralNetwork
from nncore.core import checks, mapped
from nncore.training import run as training

N, WIDTH = 1000, 8


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """128 rows of float32 a window, 32 a piece."""
    monkeypatch.setattr(mapped, "WINDOW_BYTES", 128 * WIDTH * 4)
    monkeypatch.setattr(mapped, "PIECE_BYTES", 32 * WIDTH * 4)
    monkeypatch.setattr(mapped, "BLOCKS", 16)


def opened(folder, array, mode="r"):
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode=mode)


@pytest.fixture
def x(rng, tmp_path):
    return opened(tmp_path, rng.normal(size=(N, WIDTH)).astype(np.float32))


def network():
    return NeuralNetwork([Layer(WIDTH, 6, "tanh"), Layer(6, 3)], loss="softmax_cross_entropy", rng=0)


def trained(x, t, **settings):
    net = network()
    history = net.fit(x, t, **{"optimizer": SGD(0.1), "batch_size": 30, "rng": 1, "progress": False, **settings})
    return np.append(net.core.params, history.loss)


def test_what_is_large(x, tmp_path, rng):
    assert mapped.is_large(x)
    assert mapped.is_large(np.asarray(x)[5:])
    assert not mapped.is_large(x[:128])
    assert not mapped.is_large(np.array(x))
    assert not mapped.is_large(x + 1)
    assert not mapped.is_large(opened(tmp_path, np.array(x), "c"))


@pytest.mark.parametrize("sampling", ["sequential", "replacement"])
@pytest.mark.parametrize("settings", [{"epochs": 3}, {"iterations": 50}, {"epochs": 1, "batch_size": 200}])
@pytest.mark.parametrize("chunk_seconds", [0.0, 1e9])
def test_training_equals_that_in_memory(x, rng, sampling, settings, chunk_seconds, monkeypatch):
    monkeypatch.setattr(training, "CHUNK_SECONDS", chunk_seconds)
    t, weights = rng.integers(3, size=N), rng.random(N)
    settings = {"sampling": sampling, "sample_weight": weights, **settings}
    np.testing.assert_array_equal(trained(x, t, **settings), trained(np.array(x), t, **settings))


def test_targets_may_be_mapped_too(x, rng, tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    t = np.eye(3)[rng.integers(3, size=N)]
    settings = {"sampling": "sequential", "epochs": 2, "validation_data": (x, t)}
    np.testing.assert_array_equal(trained(x, opened(folder, t), **settings), trained(np.array(x), t, **settings))


@pytest.mark.parametrize("batch_size", [1, 30, 128, 300, N])
def test_a_shuffled_epoch_takes_every_row_once(x, batch_size, rng):
    windows = mapped.Windows(x, np.arange(N), None, batch_size)
    assert windows.size % batch_size == 0
    order = windows.shuffled(rng)
    np.testing.assert_array_equal(np.sort(order), np.arange(N))
    assert not np.array_equal(order, windows.shuffled(rng))
    for first in range(0, N, windows.size):
        wanted = order[first : first + windows.size].copy()
        places = wanted.copy()
        rows, labels, _ = windows.load(places)
        np.testing.assert_array_equal(rows[places], x[wanted])
        np.testing.assert_array_equal(labels[places], wanted)
        # read mostly in sequence: hardly more runs of consecutive rows than blocks
        assert np.sum(np.diff(np.sort(wanted)) > 1) <= -(-windows.size // windows.block) + 1


def test_a_shuffle_repeats_and_does_not_depend_on_threads_or_chunks(x, rng, monkeypatch):
    t = rng.integers(3, size=N)
    expected = trained(x, t, epochs=3)
    np.testing.assert_array_equal(trained(x, t, epochs=3, n_threads=2), expected)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 0.0)
    np.testing.assert_array_equal(trained(x, t, epochs=3), expected)
    assert not np.array_equal(trained(x, t, epochs=3, rng=2), expected)


def test_evaluation_equals_that_in_memory(x, rng):
    t, weights, net = rng.integers(3, size=N), rng.random(N), network()
    np.testing.assert_array_equal(net.predict(x), net.predict(np.array(x)))
    assert net.loss(x, t) == pytest.approx(net.loss(np.array(x), t), rel=1e-14)
    assert net.loss(x, t, sample_weight=weights) == pytest.approx(
        net.loss(np.array(x), t, sample_weight=weights), rel=1e-14
    )
    history = net.fit(x, t, epochs=2, validation_data=(x, t), progress=False)
    assert history.train_accuracy == history.test_accuracy
    assert history.train_accuracy[-1] == pytest.approx(net.accuracy(net.predict(np.array(x)), t))


@pytest.mark.parametrize("shape", [(), (5,), (N, WIDTH), (WIDTH, N), (3, 50, 40), (0, 4)])
def test_every_element_is_checked(shape, rng):
    array = rng.normal(size=shape)
    assert checks.finite(array, "x") is array
    if array.size:
        array[tuple(n - 1 for n in shape)] = np.inf
        where = ", ".join(str(n - 1) for n in shape)
        with pytest.raises(ValueError, match=rf"^x\[{where}\] is inf, expected finite numbers only$"):
            checks.finite(array, "x")


def test_a_nan_in_the_last_row_is_found(rng, tmp_path):
    values = rng.normal(size=(N, WIDTH))
    values[-1, 3] = np.nan
    net = network()
    before = net.core.params.copy()
    with pytest.raises(ValueError, match=r"X\[999, 3\] is nan"):
        net.fit(opened(tmp_path, values), np.zeros(N, int), progress=False)
    np.testing.assert_array_equal(net.core.params, before)


def test_what_was_written_to_the_map_stays(rng, tmp_path):
    x = opened(tmp_path, np.zeros((N, WIDTH), np.float32), "r+")
    x[:] = rng.normal(size=x.shape)
    expected = np.array(x)
    trained(x, rng.integers(3, size=N), epochs=1)
    np.testing.assert_array_equal(x, expected)


def test_the_memory_of_a_large_map_is_bounded(tmp_path):
    """200 MB in a file, of which no more than a window, its copy and some pieces are ever in memory."""
    code = f"""
import os, tracemalloc, numpy as np, nncore
from nncore import Layer, NeuralNetwork
from nncore.core import mapped
mapped.WINDOW_BYTES, mapped.PIECE_BYTES = 8 << 20, 1 << 20
x = np.memmap({str(tmp_path / "x")!r}, np.float32, "w+", shape=(50_000, 1000))  # a hole in the file: no disk
t = np.zeros(50_000, int)
net = NeuralNetwork([Layer(1000, 2)], loss="softmax_cross_entropy", dtype="float32", rng=0)
net.fit(np.zeros((1, 1000)), [0], progress=False)
def peak():  # with the pages of the file where the system tells, else the arrays
    if not os.path.exists("/proc/self/status"):
        return tracemalloc.get_traced_memory()[1] >> 20
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024
tracemalloc.start()
before = peak()
for sampling in ("shuffle", "replacement"):
    net.fit(x, t, batch_size=500, epochs=1, sampling=sampling, validation_data=(x, t), progress=False)
net.predict(x), net.loss(x, t)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60
