"""Rows with many zeros: compressed exactly, and training on them equals training on the dense rows."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from cases import NETWORKS, make_network

from nncore import SGD, Layer, NeuralNetwork
from nncore.core import mapped
from nncore.data import samples


def sparse_rows(rng, shape, dtype, density=0.2):
    x = rng.normal(size=shape) * 100 if dtype != np.uint8 else rng.integers(1, 256, size=shape)
    return np.where(rng.random(shape) < density, x, 0).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (40, 64), (3, 70000)])
def test_compressed_rows_hold_every_value(core, shape, dtype, rng):
    x = sparse_rows(rng, shape, dtype)
    x[0] = 0
    x[-1, -1] = 9
    rows = core.compressed.compress(x, 1.0)
    assert rows.columns.dtype == (np.uint16 if shape[1] <= 2**16 else np.int32)
    parts = len(rows.bounds) - 1
    assert rows.bounds[0] == 0
    assert rows.bounds[-1] == shape[1]
    assert rows.max_piece == np.diff(rows.pieces).max()
    again = np.zeros_like(x)
    for k in range(len(x) * parts):
        i, part = divmod(k, parts)
        at = slice(rows.pieces[k], rows.pieces[k + 1])
        assert np.all((rows.bounds[part] <= rows.columns[at]) & (rows.columns[at] < rows.bounds[part + 1]))
        again[i, rows.columns[at]] = rows.values[at]
    np.testing.assert_array_equal(again, x)
    assert np.all(rows.values != 0)
    assert core.compressed.compress(x, 0.5 * np.count_nonzero(x) / x.size) is None


@pytest.mark.parametrize("name", ["mnist", "one layer", "deep", "moons", "no bias"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("source", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_training_equals_the_dense_path(core, name, dtype, source, batch_size, rng):
    results, sizes = [], NETWORKS[name][0]
    seed = rng.integers(2**32)
    for compressed in (False, True):
        for n_threads in (1, 3):
            same = np.random.default_rng(seed)
            net, _, _, _ = make_network(core, name, dtype, same)
            net.input_scale = 1 / 255
            x = sparse_rows(same, (30, sizes[0]), source)
            x[3] = 0
            t = same.random(size=(30, sizes[-1])).astype(dtype)
            index, losses, weights = same.permutation(30), np.empty(-(-30 // batch_size)), same.random(30)
            data = core.compressed.compress(x, 1.0) if compressed else x
            done = net.train(data, t, weights, index, 0, 30, batch_size, 0.01, losses, n_threads=n_threads)
            assert done == len(losses)
            results.append(np.append(net.params, losses))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[2], results[3])
    # the two paths add the same terms in another order, some hundred times one after the other
    scale = np.abs(results[0]).max()
    np.testing.assert_allclose(results[2], results[0], rtol=0, atol=2000 * np.finfo(dtype).eps * scale)


def test_fit_compresses_where_it_pays(rng):
    """By density, on data that are read at least once; the result is that of the dense path."""
    x, t = sparse_rows(rng, (500, 100), np.uint8), rng.integers(3, size=500)

    def fit(x, **settings):
        net = NeuralNetwork([Layer(100, 8, "tanh"), Layer(8, 3)], loss="softmax_cross_entropy", rng=0)
        history = net.fit(x, t, batch_size=20, rng=1, progress=False, **settings)
        return history.density, net.core.params

    density, params = fit(x, epochs=3)
    assert density == np.count_nonzero(x) / x.size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "MAX_DENSITY", 0.0)
        none, dense = fit(x, epochs=3)
    assert none is None
    np.testing.assert_allclose(params, dense, rtol=0, atol=1e-12)
    assert fit(x, iterations=3)[0] is None  # too short to be worth a pass over the data
    assert fit(np.maximum(x, 1), epochs=1)[0] is None
    assert fit(x[:, :10].repeat(10, axis=1) * 1.0, epochs=1)[0] is not None
    some = np.zeros((5000, 100))
    some[:, ::2] = 1
    some[::5] = 0  # the rows that the first look sees
    assert samples._rows(some, 0.3) is some


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "coo_array"])
def test_scipy_matrices_are_as_good_as_dense_ones(dtype, kind, rng):
    x = sparse_rows(rng, (200, 90), np.float64 if dtype == np.int16 else dtype).astype(dtype)
    x[7] = 0
    t, weights = rng.integers(3, size=200), rng.random(200)
    given = getattr(scipy.sparse, kind)(x)
    nets, results = [], []
    for data in (x, given):
        net = NeuralNetwork([Layer(90, 8, "tanh"), Layer(8, 3)], loss="softmax_cross_entropy", rng=0)
        history = net.fit(
            data, t, batch_size=20, epochs=3, rng=1, sample_weight=weights, validation_data=(data, t), progress=False
        )
        nets.append(net)
        results.append((history.loss, history.test_accuracy, history.density))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)
    assert results[0][1] == results[1][1]
    assert results[1][2] == np.count_nonzero(x) / x.size
    net = nets[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped, "PIECE_BYTES", 4000)
        np.testing.assert_allclose(net.predict(given), net.predict(x), rtol=1e-12)
        assert net.loss(given, t, sample_weight=weights) == pytest.approx(net.loss(x, t, sample_weight=weights))
    np.testing.assert_array_equal(net.gradient(given, t)["W1"], net.gradient(x, t)["W1"])


def test_scipy_matrices_out_of_order_and_wide(rng):
    """Indices in any order, twice; 100,000 columns, of which nothing dense is made."""
    x = scipy.sparse.random_array((500, 100_000), density=1e-3, rng=rng, format="csr", dtype=np.float32)
    net = NeuralNetwork([Layer(100_000, 4, "tanh"), Layer(4, 1)], dtype=np.float32, rng=0)
    y = rng.random(500)
    tracemalloc.start()
    net.fit(x, y, optimizer=SGD(0.1), batch_size=50, epochs=2, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * 500 * 100_000 * 4
    shuffled = scipy.sparse.csr_array(([1.0, 2.0, 3.0, 4.0], [3, 0, 3, 1], [0, 3, 4]), shape=(2, 70))
    one = NeuralNetwork([Layer(70, 2)], rng=0)
    dense = np.zeros((2, 70))
    dense[0, 0], dense[0, 3], dense[1, 1] = 2, 4, 4
    one.fit(shuffled, [[1.0, 0.0], [0.0, 1.0]], batch_size=1, epochs=1, sampling="sequential", progress=False)
    other = NeuralNetwork([Layer(70, 2)], rng=0)
    other.fit(dense, [[1.0, 0.0], [0.0, 1.0]], batch_size=1, epochs=1, sampling="sequential", progress=False)
    np.testing.assert_allclose(one.core.params, other.core.params, rtol=1e-12)
    np.testing.assert_array_equal(shuffled.indices, [3, 0, 3, 1])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (scipy.sparse.csr_array((3, 5)), ValueError, r"X has shape \(3, 5\), expected \(n_samples, 4\)"),
        (scipy.sparse.csr_array((0, 4)), ValueError, "X is empty"),
        (scipy.sparse.csr_array([[0.0, 0, 0, 0], [0, np.inf, 0, 1], [0, 0, 0, 0]]), ValueError, r"X\[1, 1\] is inf"),
        (scipy.sparse.csr_array(np.eye(3, 4) * 1j), TypeError, "sparse array of dtype complex128"),
    ],
)
def test_bad_scipy_matrices(x, error, message):
    with pytest.raises(error, match=message):
        NeuralNetwork([Layer(4, 1)]).fit(x, np.zeros(3))


def test_a_normalised_first_layer_takes_dense_rows(rng):
    """Rows with many zeros stay dense; a sparse matrix is refused before anything changes."""
    x, t = sparse_rows(rng, (60, 100), np.float64), rng.integers(3, size=60)
    net = NeuralNetwork([Layer(100, 8, "relu", batch_norm=True), Layer(8, 3)], loss="softmax_cross_entropy", rng=0)
    assert net.fit(x, t, epochs=2, progress=False).density is None
    before = net.core.params.copy()
    with pytest.raises(ValueError, match="X is a sparse matrix, expected an array: the first layer has batch_norm"):
        net.fit(scipy.sparse.csr_array(x), t, progress=False)
    np.testing.assert_array_equal(net.core.params, before)


def spoil(x, part, at, value):
    getattr(x, part)[at] = value


def cut_short(x, part):
    setattr(x, part, getattr(x, part)[:-1])


SPOILT = {
    "column": lambda x: spoil(x, "indices", 5, 10**6),
    "negative column": lambda x: spoil(x, "indices", 5, -1),
    "lowest column": lambda x: spoil(x, "indices", 5, np.iinfo(x.indices.dtype).min),
    "last column": lambda x: spoil(x, "indices", -1, 10**6),
    "indptr beyond": lambda x: spoil(x, "indptr", -1, x.nnz + 10**5),
    "indptr within": lambda x: spoil(x, "indptr", 3, 10**8),
    "indptr falls": lambda x: spoil(x, "indptr", 3, 0),
    "indptr begins later": lambda x: spoil(x, "indptr", 0, 1),
    "indptr negative": lambda x: spoil(x, "indptr", 3, -5),
    "indptr short": lambda x: cut_short(x, "indptr"),
    "data short": lambda x: cut_short(x, "data"),
    "indices short": lambda x: cut_short(x, "indices"),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("fault", SPOILT)
def test_invalid_scipy_matrices_are_refused(fault, kind, wide, rng):
    """SciPy does not look; a valid one has been used before, so that it thinks to know what it is."""
    net = NeuralNetwork([Layer(80, 5, "relu"), Layer(5, 3)], loss="softmax_cross_entropy", rng=0)
    t = rng.integers(3, size=50)
    x = scipy.sparse.csr_matrix(sparse_rows(rng, (50, 80), np.float64)).asformat(kind)
    if wide:
        x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    net.predict(x)
    SPOILT[fault](x)
    before = net.core.params.copy()
    for call in (lambda: net.predict(x), lambda: net.loss(x, t), lambda: net.fit(x, t, progress=False)):
        with pytest.raises(ValueError, match=r"[xX] is an invalid sparse matrix: its ind"):
            call()
    with pytest.raises(ValueError, match="validation X is an invalid sparse matrix: its ind"):
        net.fit(np.zeros((50, 80)), t, validation_data=(x, t), progress=False)
    np.testing.assert_array_equal(net.core.params, before)


def test_a_matrix_that_changes_during_fit(rng):
    """Training and evaluation read indices of their own."""
    x = scipy.sparse.csr_matrix(sparse_rows(rng, (50, 80), np.float64))
    t = rng.integers(3, size=50)
    own = x.copy()

    def change(history):
        own.indices[:] = 10**9
        own.indptr[:] = -1

    params = []
    for data, callbacks in ((x, []), (own, [change])):
        net = NeuralNetwork([Layer(80, 5, "relu"), Layer(5, 3)], loss="softmax_cross_entropy", rng=0)
        net.fit(data, t, validation_data=(data, t), epochs=3, callbacks=callbacks, rng=0, progress=False)
        params.append(net.core.params)
    np.testing.assert_array_equal(*params)
