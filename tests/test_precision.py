"""Numbers to their last digits: activations in their tails, large logits, sums of very many terms."""

import copy
from decimal import Decimal

import exact
import numpy as np
import pytest
from cases import NETWORKS, code, make_batch, make_network

import nncore
from nncore import SGD, Layer, Momentum, NeuralNetwork, SimpleNet, losses
from nncore.model.python_engine import PythonNetwork

DTYPES = (np.float32, np.float64)
# What is left of a tail is 0 from here on.
LOWEST = {np.float64: -745, np.float32: -103}


def run(core, name, x):
    """z and f'(a) of an activation."""
    kind, param = code(core, core.activation.ACTIVATIONS, name)
    z, slope = x.copy(), np.ones_like(x)
    kept = np.full_like(x, np.nan) if core.activation.keeps_slope(kind) else None
    core.activation.activate(kind, z, kept, param)
    core.activation.differentiate(kind, z, slope, kept, param)
    plain = x.copy()
    core.activation.activate(kind, plain, None, param)
    np.testing.assert_array_equal(plain, z)
    return z, slope


def whole_range(dtype, rng):
    """Numbers of every size and sign down to where the tails end, and whole ones, whose squares are exact."""
    ends = abs(LOWEST[dtype])
    parts = (
        rng.uniform(-ends, ends, 60), rng.uniform(-40, 0, 80), rng.uniform(-14, 8, 80), rng.uniform(-2, 2, 40),
        np.arange(-40, 10), 10.0 ** rng.uniform(-20, 0, 20), -(10.0 ** rng.uniform(-20, 0, 20)),
    )  # fmt: skip
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", exact.FORWARD)
def test_activations_are_exact_to_four_units_over_their_whole_range(core, name, dtype, rng):
    x = whole_range(dtype, rng)
    z, slope = run(core, name, x)
    wide = [Decimal(v) for v in x.tolist()]
    for found, function in ((z, exact.FORWARD[name]), (slope, exact.DERIVATIVE.get(name))):
        if function is None:
            continue
        values = [function(v) for v in wide]
        normal = np.array([abs(v) >= Decimal(float(np.finfo(dtype).tiny)) for v in values])
        assert np.all(np.abs(found[~normal]) <= np.finfo(dtype).tiny)
        # gelu', silu' and mish' have a root between -0.7 and -1.3, a difference of two terms: rounding is that of one
        low = Decimal("-2.5") if name == "mish" else Decimal("-1.8")
        sizes = [
            max(abs(e), exact.sigmoid(v)) if function is exact.DERIVATIVE.get(name) and low < v < Decimal("-0.2") else e
            for v, e in zip(wide, values, strict=True)
        ]
        at = np.flatnonzero(normal)
        errors = exact.ulps(found[at], [values[i] for i in at], [sizes[i] for i in at])
        assert errors.max() <= 4, f"{errors.max():.3g} at {x[at[errors.argmax()]]}"


LIMITS = {  # at inf and -inf: f, f'
    "identity": (np.inf, -np.inf, 1, 1), "relu": (np.inf, 0, 1, 0), "leaky_relu(0.2)": (np.inf, -np.inf, 1, 0.2),
    "leaky_relu(0)": (np.inf, 0, 1, 0), "elu(1.5)": (np.inf, -1.5, 1, 0), "gelu": (np.inf, 0, 1, 0),
    "selu": (np.inf, -1.7580993408473766, 1.0507009873554805, 0), "silu": (np.inf, 0, 1, 0),
    "mish": (np.inf, 0, 1, 0), "softsign": (1, -1, 0, 0),
    "softplus": (np.inf, 0, 1, 0), "sigmoid": (1, 0, 0, 0), "tanh": (1, -1, 0, 0), "hard_sigmoid": (1, 0, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_activations_have_their_limits_at_infinity(core, name, dtype):
    info = np.finfo(dtype)
    z, slope = run(core, name, np.array([np.inf, -np.inf] * 20, dtype))
    np.testing.assert_allclose(np.append(z[:2], slope[:2]), LIMITS[name], rtol=2 * info.eps)
    far, far_slope = run(core, name, np.array([info.max / 2, -info.max / 2, np.nan], dtype))
    np.testing.assert_allclose(far_slope[:2], LIMITS[name][2:], rtol=2 * info.eps, atol=0)
    assert np.isfinite(far[:2]).all()
    assert np.isnan(far[2])


def test_the_exact_values_are_exact():
    """Of the table that measures all others: published digits (DLMF 7.2, and e^-1)."""
    assert str(exact.erfc(Decimal(1)))[:24] == "0.1572992070502851306587"
    assert float(exact.erfc(Decimal(5))) == 1.5374597944280349e-12
    assert float(exact.erfc(Decimal("3.0000001"))) == pytest.approx(float(exact.erfc(Decimal(3))), rel=1e-6)
    assert float(exact.expm1(Decimal("1e-20"))) == 1e-20


# Large logits: only their differences matter.
OFFSETS = {np.float64: (0, 1e4, 1e8, -1e15, 1e30), np.float32: (0, 1e4, 1e8, -1e30)}


def by_differences(y, t):
    """The loss of each row, and the gradient, from the rounded logits in extended precision."""
    shifted = y.astype(np.longdouble) - y.max(axis=1, keepdims=True).astype(np.longdouble)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(t * log_p).sum(axis=1).astype(float), (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t).astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (40, 5), (4, 40), (1, 2)])
def test_a_common_offset_of_logits_changes_nothing(core, dtype, shape, rng):
    m, n = shape
    t = np.eye(n)[rng.integers(n, size=m)] * 0.9 + 0.1 / n
    rtol, identity = 8 * np.finfo(dtype).eps, [(n, n, 0, True, True)]
    kind = core.loss.LOSSES["softmax_cross_entropy"]
    for offset in OFFSETS[dtype]:
        y = (rng.normal(size=shape) * 3 + offset).astype(dtype)  # rounded: at 1e15 to a half, at 1e30 all the same
        expected, slope = by_differences(y, t)
        net = core.network.Network(identity, kind, 0.0, np.dtype(dtype))
        net.params[: n * n] = np.eye(n).ravel()
        rows, grads = t.astype(dtype), np.empty(net.params.size, dtype)
        dy = np.empty_like(y)
        sums = (
            core.loss.softmax_cross_entropy(y, rows, dy, 0.0),
            net.loss(y, rows) * m,
            net.gradient(y, rows, None, grads) * m,
        )
        np.testing.assert_allclose(sums, expected.sum(), rtol=rtol)
        np.testing.assert_allclose(dy, slope, rtol=0, atol=rtol)
        np.testing.assert_allclose(grads[n * n :], slope.mean(axis=0), rtol=0, atol=rtol)
        logs = np.empty(m)
        core.activation.softmax(y.copy(), logs)
        wide = y.astype(float) - y.max(axis=1, keepdims=True).astype(float)
        np.testing.assert_allclose(logs, np.log(np.exp(wide).sum(axis=1)), rtol=0, atol=rtol)  # of a sum of 1 and more


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8, 1e15, 1e30])
def test_equal_logits_have_the_loss_log_5(offset):
    y = np.full((1, 5), offset)
    expected = pytest.approx(np.log(5), rel=1e-15)
    assert losses.softmax_cross_entropy(y, [0])[0] == expected
    assert losses.softmax_cross_entropy(y, [0], label_smoothing=0.3)[0] == expected
    assert losses.softmax_cross_entropy(y, [0], [7.0])[0] == expected
    assert losses.softmax_cross_entropy(y, [0], delta=1e-7)[0] == pytest.approx(-np.log(0.2 + 1e-7), rel=1e-15)
    assert nncore.log_softmax(y)[0, 3] == -expected.expected
    np.testing.assert_allclose(nncore.log_softmax(y.T, axis=0), -np.log(5), rtol=1e-15)
    assert nncore.negative_log_likelihood(nncore.log_softmax(y), [2]) == expected


def test_a_network_keeps_differences_of_large_logits():
    """The case of the report: biases half apart beside logits of 1e12."""
    layer = {"weights": np.ones((1, 2)), "bias": [0.0, 0.5]}
    plain = NeuralNetwork([Layer(1, 2, None, **layer)], loss="softmax_cross_entropy")
    python = NeuralNetwork(
        [Layer(1, 1, (np.positive, np.ones_like), weights=[[1.0]], bias=[0.0]), Layer(1, 2, None, **layer)],
        loss="softmax_cross_entropy",
    )
    assert isinstance(python.core, PythonNetwork)
    expected = np.log1p(np.exp(0.5))
    for net in (plain, python):
        last = len(net.layers)
        for rows in (1, 5):  # a row by itself, and some side by side
            x, t = np.full((rows, 1), 1e12), np.zeros(rows, int)
            assert net.loss(x, t) == pytest.approx(expected, rel=1e-14)
            np.testing.assert_allclose(net.gradient(x, t)[f"b{last}"][0], -1 / (1 + np.exp(-0.5)), rtol=1e-14)
            history = net.fit(x, t, epochs=1, batch_size=rows, optimizer=SGD(1e-300), progress=False)
            assert history.loss[0] == pytest.approx(expected, rel=1e-14)
    far = [Layer(1, 2, None, weights=np.ones((1, 2)), bias=[1e8, 1e8])]
    numerical = NeuralNetwork(far, loss="softmax_cross_entropy").numerical_gradient([[0.0]], [0])
    np.testing.assert_allclose(numerical["b1"], [-0.5, 0.5], rtol=0.01)  # the step itself is rounded beside 1e8
    assert SimpleNet(np.full((2, 3), 1e15)).loss([1.0, 1.0], 1) == pytest.approx(-np.log(1 / 3 + 1e-7), rel=1e-14)


@pytest.mark.parametrize("y", [40.0, 700.0, 1e15, -40.0, -700.0, -1e15, 0.3])
@pytest.mark.parametrize("t", [0.0, 1.0, 1 - 2.0**-40, 2.0**-40])
def test_sigmoid_cross_entropy_keeps_what_is_small(y, t):
    """Loss and slope at the right answer and close to it, where they are differences of nearly equal numbers."""
    loss, dy = losses.sigmoid_cross_entropy([y], [t])
    wide_y, wide_t = Decimal(y), Decimal(t)
    expected = max(wide_y, Decimal(0)) - wide_t * wide_y + exact.log1p((-abs(wide_y)).exp())
    slope = (1 - wide_t) - exact.sigmoid(-wide_y) if y > 0 else exact.sigmoid(wide_y) - wide_t
    assert loss == pytest.approx(float(expected), rel=1e-15, abs=0)
    assert dy[0] == pytest.approx(float(slope), rel=1e-15, abs=0)


# Long sums: terms that are all equal, whose roundings add up, and others.
def terms(kind, shape, rng, dtype=np.float32):
    return (
        np.full(shape, {"0.7371": 0.7371, "1/3": 1 / 3}[kind]) if kind != "random" else rng.random(shape) + 0.5
    ).astype(dtype)


KINDS = ["0.7371", "1/3", "random"]
LONG = 1e-6  # PyTorch's sum has 4e-7, its product 7e-4 (2.13, one thread)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "n_out"), [(1000, 17), (5000, 70), (100_000, 1), (100_000, 3), (100_000, 18)])
def test_sums_over_many_samples(core, kind, n, n_out, rng):
    """dW and db of float32 batches."""
    x, da = terms(kind, (n, 5), rng), terms(kind, (n, n_out), rng)
    dW, db = np.empty((5, n_out), np.float32), np.empty(n_out, np.float32)
    W = np.ones((5, n_out), np.float32)
    core.dense.backward(x, W, da, dW, db, np.empty_like(x))
    np.testing.assert_allclose(db, da.sum(axis=0, dtype=float), rtol=LONG)
    # BLAS, of the baseline, has chains of 256 terms instead of 64, and up to 1,024 terms a single one
    limit = 2 * LONG if not core.network.uses_blas() else 3 * LONG if n > 1024 else 2e-5
    np.testing.assert_allclose(dW, x.T.astype(float) @ da.astype(float), rtol=limit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_in", "n_out"), [(2000, 17), (5000, 70), (100_000, 1), (100_000, 3), (100_000, 18)])
def test_sums_over_many_inputs(core, kind, n_in, n_out, rng):
    """A layer with many inputs, on a batch and on a row alone, and backwards where it has many outputs."""
    x, W = terms(kind, (4, n_in), rng), terms(kind, (n_in, n_out), rng)
    expected = x.astype(float) @ W.astype(float)
    for rows in (4, 1):
        a = np.empty((rows, n_out), np.float32)
        core.dense.forward(x[:rows], W, None, a)
        np.testing.assert_allclose(a, expected[:rows], rtol=3 * LONG)
        core.dense.forward(x[:rows], W, np.ones(n_out, np.float32), a)
        np.testing.assert_allclose(a, expected[:rows] + 1, rtol=3 * LONG)
    back = np.ascontiguousarray(W.T)
    for rows in (4, 1):
        dx = np.empty((rows, n_out), np.float32)
        core.dense.backward(
            np.ones((rows, n_out), np.float32), back, x[:rows], np.empty_like(back), np.empty(n_in, np.float32), dx
        )
        np.testing.assert_allclose(dx, expected[:rows], rtol=3 * LONG)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_a_long_batch(core, kind, rng):
    """Batch normalisation of float32 in training: mean and variance, dgamma and dbeta."""
    m, n = 100_000, 3
    specs = [(n, n, 0, True, True), (n, 1, 0, True, True)]
    net = core.network.Network(specs, 0, 0.0, np.dtype(np.float32), batch_norm=(0,))
    net.norm_views(0)[0][:] = 1
    a = terms(kind, (m, n), rng) + np.where(np.arange(m) % 2, 0.25, -0.25).astype(np.float32)[:, None]
    wide, x_hat = a.astype(float), np.empty_like(a)
    net.normalise(0, a, x_hat, True)
    _, mean, variance = net.norm_views(0)
    np.testing.assert_allclose(mean, 0.1 * wide.mean(axis=0), rtol=LONG)
    np.testing.assert_allclose(variance, 0.1 * wide.var(axis=0, ddof=1), rtol=LONG)
    np.testing.assert_allclose(
        x_hat, (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + 1e-5), rtol=1e-4, atol=2e-6
    )
    da, grads = terms(kind, (m, n), rng), np.empty(net.params.size, np.float32)
    kept = da.copy()
    net.normalise_backward(0, x_hat, da, grads, True)
    np.testing.assert_allclose(grads[n * n + n : n * n + 2 * n], kept.sum(axis=0, dtype=float), rtol=LONG)
    size = np.abs(kept.astype(float) * x_hat).sum(axis=0)
    assert np.all(np.abs(grads[n * n : n * n + n] - (kept.astype(float) * x_hat).sum(axis=0)) <= LONG * size)


@pytest.mark.parametrize("n", [1000, 100_000, 1_000_000])
def test_a_softmax_of_many_classes_sums_to_one(core, n):
    y = np.zeros((1, n), np.float32)
    core.activation.softmax(y)
    np.testing.assert_allclose(y, 1 / n, rtol=LONG)


def test_gradient_losses_and_steps_of_a_long_batch(rng):
    """The case of the report: 100,000 equal rows, a whole step, and by weights."""
    n = 100_000
    x, weights = np.full((n, 2), 0.7371, np.float32), rng.random(n)
    net = NeuralNetwork([Layer(2, 1, None, [[0.3], [0.2]], [0.0])], dtype="float32")
    y = float(x[0].astype(float) @ net.params["W1"].astype(float)[:, 0])
    for w in (None, weights):
        grads = net.gradient(x, np.zeros((n, 1), np.float32), sample_weight=w)
        np.testing.assert_allclose(grads["b1"], y, rtol=LONG)
        np.testing.assert_allclose(grads["W1"], y * 0.7371, rtol=2 * LONG)
        assert net.loss(x, np.zeros(n), sample_weight=w) == pytest.approx(y**2 / 2, rel=LONG)
    history = net.fit(x, np.zeros(n), batch_size=n, epochs=1, progress=False)
    assert history.loss[0] == pytest.approx(y**2 / 2, rel=LONG)
    np.testing.assert_allclose(net.params["b1"], -0.01 * y, rtol=LONG)


def test_sparse_rows_with_many_numbers(rng):
    """The first layer on compressed rows, whose sums are long too."""
    import scipy.sparse

    x = scipy.sparse.csr_matrix(np.full((3, 60_000), 0.7371, np.float32))
    W = np.full((60_000, 20), 1 / 3, np.float32)
    net = NeuralNetwork([Layer(60_000, 20, None, W, np.zeros(20))], dtype="float32", loss="absolute_error")
    history = net.fit(x, np.zeros((3, 20)), batch_size=3, epochs=1, progress=False)
    assert history.loss[0] == pytest.approx(
        20 * float(x[0].toarray().astype(float)[0] @ W[:, 0].astype(float)), rel=2 * LONG
    )


@pytest.mark.parametrize(("n", "optimizer"), [(50_000, SGD(1.0)), (20_000, Momentum(1.0))])
def test_long_batches_of_sparse_rows(n, optimizer):
    """Sums over samples of the first layer, which it updates in place or not: dW is the mean of x."""
    import scipy.sparse

    x = np.zeros((n, 80), np.float32)
    x[:, ::8] = 0.7371
    for rows in (x, scipy.sparse.csr_matrix(x)):
        net = NeuralNetwork([Layer(80, 5, None, np.zeros((80, 5)), np.zeros(5))], dtype="float32")
        net.fit(rows, np.full((n, 5), -1.0), batch_size=n, epochs=1, optimizer=copy.copy(optimizer), progress=False)
        np.testing.assert_allclose(net.params["W1"], -x[:5].T, rtol=3 * LONG)
        np.testing.assert_allclose(net.params["b1"], -1, rtol=LONG)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_out", [1, 9, 20, 40, 64])
def test_single_steps_with_many_inputs(core, dtype, n_out, rng):
    """Packed steps, whose sums are long, equal plain ones."""
    nets = []
    for _ in range(2):
        specs = [(1300, n_out, core.activation.ACTIVATIONS["tanh"], True, True), (n_out, 2, 0, True, True)]
        nets.append(core.network.Network(specs, 0, 0.0, np.dtype(dtype)))
        nets[-1].params[:] = np.random.default_rng(0).normal(scale=0.03, size=nets[-1].params.size)
    x, t, found = rng.normal(size=(6, 1300)).astype(dtype), rng.normal(size=(6, 2)).astype(dtype), np.empty(6)
    nets[0].train(x, t, None, np.arange(6), 0, 6, 1, 1e-3, found)
    expected = [nets[1].step(x[i : i + 1], t[i : i + 1], 1e-3) for i in range(6)]
    tolerance = 300 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_products_do_not_depend_on_threads_and_are_right_at_every_edge(core, dtype, rng):
    """Sums cut into parts: whole numbers, so that every one is exact."""
    for k in (257, 513, 1025, 4097, 9001):
        for m, n in ((1, 1), (2, 3), (67, 50), (1, 70), (129, 9)):
            x, W = rng.integers(-4, 5, (m, k)), rng.integers(-4, 5, (k, n))
            results = []
            for n_threads in (1, 3):
                a = np.full((m, n), np.nan, dtype)
                core.dense.forward(x.astype(dtype), W.astype(dtype), None, a, n_threads)
                dW, db, dx = np.full((m, n), np.nan, dtype), np.empty(n, dtype), np.full((k, m), np.nan, dtype)
                core.dense.backward(
                    np.ascontiguousarray(x.T, dtype), np.ones((m, n), dtype), W.astype(dtype), dW, db, dx, n_threads
                )
                results.append(a)
                np.testing.assert_array_equal(a, x @ W)
                np.testing.assert_array_equal(dW, x @ W)
                np.testing.assert_array_equal(db, W.sum(axis=0))
            np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", NETWORKS)
def test_long_batches_have_the_gradient_of_their_parts(core, name, rng):
    """A batch of 4,500 rows, cut otherwise than its thirds: the same mean."""
    net, *_ = make_network(core, name, np.float64, rng)
    x, t = make_batch(name, rng, 4500)
    grads, part = np.empty_like(net.params), np.empty_like(net.params)
    net.gradient(x, t, None, grads)
    expected = np.zeros_like(grads)
    for rows in np.split(np.arange(4500), 30):
        net.gradient(x[rows], t[rows], None, part)
        expected += part / 30
    np.testing.assert_allclose(grads, expected, rtol=1e-11, atol=1e-13)
