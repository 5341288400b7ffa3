"""Every kernel, dtype and level against its NumPy twin, and every backward against numerical gradients."""

import numpy as np
import pytest
import reference as ref
import scipy.special
from cases import CASES, NETWORKS, flat, make_batch, make_network

DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "shape"), [pytest.param(c, s, id=f"{c.name}-{s}") for c in CASES for s in c.shapes])
def test_kernel_equals_reference(core, case, shape, dtype, rng):
    inputs = {key: value.astype(dtype) for key, value in case.inputs(rng, shape).items()}
    outputs = case.run(core, {key: value.copy() for key, value in inputs.items()})
    if 0 in shape:
        assert all(np.all(value == 0) for value in outputs.values())  # empty, or the loss of nothing
        return
    exact = {key: value.astype(np.float64) for key, value in inputs.items()}
    expected = case.expected(exact)
    for key, value in outputs.items():
        error = np.abs(value - expected[key])
        bound = case.bound(exact, expected, key, float(np.finfo(dtype).eps)) + np.finfo(dtype).tiny
        assert np.all(error <= bound), f"{key}: error {np.max(error / bound):.2g} times the bound"


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_every_width(core, dtype, rng):
    """Whatever rest of rows and columns a product's tiles leave: whole numbers, so that every sum is exact.

    NumPy multiplies integers without BLAS, whose float kernels now and then report an invalid value that is none.
    """
    for i in range(138):
        n, m = i // 2 + 1, 1 if i % 2 else i % 23 + 2
        whole = [rng.integers(-9, 9, s) for s in ((m, 11), (11, n), (m, n))]
        x, W, da = (numbers.astype(dtype) for numbers in whole)
        a, dW, db, dx = (np.full_like(like, np.nan) for like in (da, W, W[0], x))
        core.dense.forward(x, W, W[0], a)
        core.dense.backward(x, W, da, dW, db, dx)
        np.testing.assert_array_equal(a, whole[0] @ whole[1] + whole[1][0])
        np.testing.assert_array_equal(dW, whole[0].T @ whole[2])
        np.testing.assert_array_equal(dx, whole[2] @ whole[1].T)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_samples", [1, 3, 40])
def test_network_gradient_equals_reference(core, name, dtype, n_samples, rng):
    net, layers, loss, delta = make_network(core, name, dtype, rng)
    x, t = make_batch(name, rng, n_samples, dtype)
    weights = rng.random(n_samples) + 0.1
    for w in (None, weights):
        grads, dx = np.full_like(net.params, np.nan), np.full_like(x, np.nan)
        value = net.gradient(x, t, w, grads, dx)
        wide = (x.astype(np.float64), t.astype(np.float64), delta, w)
        expected, expected_dx = ref.network_gradient(layers, loss, *wide)
        if layers[0][1] is None:
            expected = [(dW, None) for dW, _ in expected]
        tolerance = 200 * np.finfo(dtype).eps
        np.testing.assert_allclose(value, ref.network_loss(layers, loss, *wide), rtol=tolerance)
        scale = np.abs(flat(expected)).max()
        np.testing.assert_allclose(grads, flat(expected), rtol=tolerance, atol=tolerance * scale)
        np.testing.assert_allclose(dx, expected_dx, rtol=tolerance, atol=tolerance * np.abs(expected_dx).max())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trainable", [True, False])
def test_packed_steps_equal_plain_ones(core, name, dtype, trainable, rng):
    """One sample a step, which train does in memory of its own; a sample of weight 0 changes nothing."""
    nets = []
    for _ in range(2):
        net, *_ = make_network(core, name, dtype, np.random.default_rng(5), trainable)
        nets.append(net)
    x, t = make_batch(name, rng, 20, dtype)
    weights, index, losses = np.ones(20), rng.integers(20, size=60), np.full(60, np.nan)
    weights[3:6] = 0
    assert nets[0].train(x, t, weights, index, 0, 20, 1, 0.01, losses) == 60
    expected = [nets[1].step(x[i : i + 1], t[i : i + 1], 0.01) if weights[i] else 0.0 for i in index]
    tolerance = 2000 * np.finfo(dtype).eps
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=0, atol=tolerance)


def test_packed_steps_stop_at_a_loss_that_is_not_finite(core, rng):
    net, *_ = make_network(core, "moons", np.float64, rng)
    x, t = make_batch("moons", rng, 4)
    x[2] = np.nan
    losses = np.zeros(4)
    before = net.params.copy()
    assert net.train(x, t, None, np.arange(4), 0, 4, 1, 0.1, losses) == 2
    assert np.isnan(losses[2])
    assert np.any(net.params != before)
    net.params[:], after = before, net.params.copy()
    assert net.train(x, t, None, np.arange(2), 0, 4, 1, 0.1, losses[:2]) == 2
    np.testing.assert_array_equal(net.params, after)


def gradient_and_bound(core, name, rng):
    """Analytic and numerical gradient (float64) with the error bound of the latter, by elements."""
    net, _, _, _ = make_network(core, name, np.float64, rng)
    x, t = make_batch(name, rng, 4)
    grads, dx = np.empty_like(net.params), np.empty_like(x)
    net.gradient(x, t, None, grads, dx)
    numerical, error = ref.numerical_gradient(lambda: net.loss(x, t), net.params)
    numerical_dx, error_dx = ref.numerical_gradient(lambda: net.loss(x, t), x)
    return np.append(grads, dx), np.append(numerical, numerical_dx), np.append(error, error_dx)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_gradient_is_the_slope_of_its_loss(core, name, rng):
    grads, numerical, bound = gradient_and_bound(core, name, rng)
    assert np.all(np.abs(grads - numerical) <= bound)


WRONG = {
    "sign": lambda g: -g,
    "factor": lambda g: g * 1.01,
    "sum instead of mean": lambda g: g * 4,
    "one element": lambda g: g + 1e-3 * (np.arange(g.size) == g.size // 2),
    "stale": np.roll,
}


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("name", ["moons", "mnist", "deep"])
def test_wrong_gradients_are_caught(core, name, fault, rng):
    """The comparison above fails where it must."""
    grads, numerical, bound = gradient_and_bound(core, name, rng)
    wrong = np.roll(grads, 1) if fault == "stale" else WRONG[fault](grads)
    assert np.any(np.abs(wrong - numerical) > bound)


def slopes(net, x, t, h=0.0, max_memory=1 << 26, n_threads=1):
    """The engine's central differences of the mean loss."""
    slope, kink = np.full(net.params.size, np.nan), np.full(net.params.size, 9, np.uint8)
    net.numerical_gradient(x, t, np.full(len(x), 1 / len(x)), h, slope, None, kink, max_memory, n_threads=n_threads)
    return slope


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("h", [0.0, 1e-4])
def test_numerical_gradient_of_a_network(core, name, h, rng):
    """The structured loop against perturbing each parameter and running the whole network."""
    net, _, _, _ = make_network(core, name, np.float64, rng)
    x, t = make_batch(name, rng, 5)
    before = net.params.copy()
    numerical = slopes(net, x, t, h)
    np.testing.assert_array_equal(net.params, before)
    step = h or float(np.finfo(float).eps ** (1 / 3))
    for i in range(net.params.size):
        step_i = h or step * max(1.0, abs(before[i]))
        up, down = before[i] + step_i, before[i] - step_i
        net.params[i] = up
        loss_up = net.loss(x, t)
        net.params[i] = down
        loss_down = net.loss(x, t)
        net.params[i] = before[i]
        # both round about as often as they add terms: eps * loss / step is the unit of that noise
        noise = 64 * np.finfo(float).eps * (1 + abs(loss_up)) / step_i
        assert numerical[i] == pytest.approx((loss_up - loss_down) / (up - down), abs=noise)


def test_float32_numerical_gradient(core, rng):
    net, layers, loss, delta = make_network(core, "regression", np.float32, rng)
    x, t = make_batch("regression", rng, 6, np.float32)
    numerical = slopes(net, x, t)
    expected, _ = ref.network_gradient(layers, loss, x.astype(float), t.astype(float), delta)
    # truncation h^2 and rounding eps / h with h = cbrt(eps): a few times eps^(2/3)
    bound = 20 * np.finfo(np.float32).eps ** (2 / 3) * (1 + net.loss(x, t))
    assert np.abs(numerical - flat(expected)).max() < bound


ULPS = {"exp": 2, "sigmoid": 3, "tanh": 3}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activation_error_in_ulp(core, name, dtype, rng):
    """The bounds that vmath.h states, against extended precision."""
    x = np.concatenate(
        [
            rng.uniform(-1, 1, 20000),
            rng.uniform(-20, 20, 20000),
            rng.uniform(-80, 80, 9999),
            10.0 ** rng.uniform(-30, 0, 9999),
        ]
    ).astype(dtype)
    z = x.copy()
    core.activation.activate(core.activation.ACTIVATIONS[name], z)
    wide = x.astype(np.longdouble)
    exact = np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))
    ulps = np.abs(z - exact) / np.spacing(np.abs(exact.astype(dtype)))
    assert ulps.max() <= ULPS[name]


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_error_in_ulp(core, dtype, rng):
    """exp by way of softmax: with a largest element of 0 and a second column, y0 / y1 = exp(a0)."""
    a = np.stack([-rng.uniform(0, 80, 20000), np.zeros(20000)], axis=1).astype(dtype)
    y = a.copy()
    core.activation.softmax(y, np.empty(len(y)))
    exact = np.exp(a[:, 0].astype(np.longdouble))
    exact = exact / (1 + exact)
    ulps = np.abs(y[:, 0] - exact) / np.spacing(exact.astype(dtype))
    assert ulps.max() <= ULPS["exp"] + 2  # the sum and the division round too


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 10, 32, 33, 100])
@pytest.mark.parametrize("m", [1, 3, 4, 15, 16, 17, 50])
def test_softmax(core, dtype, m, n, rng):
    """Few columns or many, few rows or many; what is not finite stays in its row."""
    a = rng.normal(scale=5, size=(m, n)).astype(dtype)
    a[m // 2] += 1000
    y, log_sums = a.copy(), np.empty(m)
    core.activation.softmax(y, log_sums)
    rtol = 1e-14 if dtype == np.float64 else 1e-5
    shifted = a.astype(float) - a.max(axis=1, keepdims=True)
    np.testing.assert_allclose(log_sums, scipy.special.logsumexp(shifted, axis=1), rtol=rtol / 10, atol=rtol)
    np.testing.assert_allclose(y, scipy.special.softmax(a.astype(float), axis=1), rtol=5 * rtol, atol=1e-30)
    lowest, found = a.copy(), np.empty(m)
    lowest[:, 0] = -np.inf
    core.activation.softmax(lowest, found)
    assert (lowest[:, 0] == 0).all() if n > 1 else np.isnan(lowest).all()
    assert np.isfinite(found).all() == (n > 1)
    for bad in (np.nan, np.inf):
        worse, found = a.copy(), np.empty(m)
        worse[0, n // 2] = bad
        core.activation.softmax(worse, found)
        assert np.isnan(worse[0]).all()
        assert np.isnan(found[0])
        np.testing.assert_array_equal(worse[1:], y[1:])
        np.testing.assert_array_equal(found[1:], log_sums[1:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_at_the_ends_of_the_range(core, dtype):
    info = np.finfo(dtype)
    x = np.array([np.nan, np.inf, -np.inf, info.max, -info.max, 0.0, -0.0, info.tiny], dtype)
    for name, ends in {"sigmoid": (1, 0), "tanh": (1, -1), "relu": (np.inf, 0)}.items():
        z = x.copy()
        core.activation.activate(core.activation.ACTIVATIONS[name], z)
        assert np.isnan(z[0])
        assert tuple(z[1:3]) == ends
        assert np.all(np.isfinite(z[3:]))
    for a in ([info.max, -info.max], [-info.max, -info.max], [info.max, info.max]):
        y = np.array([a], dtype)
        core.activation.softmax(y, np.empty(1))
        assert y.sum() == 1


def test_threads_do_not_change_a_bit(core, rng):
    """Blocks are cut by the sizes alone."""
    for shape in [(256, 784, 128), (100, 784, 50), (1000, 65, 67)]:
        x, W, da = rng.normal(size=shape[:2]), rng.normal(size=shape[1:]), rng.normal(size=(shape[0], shape[2]))
        results = []
        for n_threads in (1, 2, 3, 8):
            a, dW, db, dx = np.empty_like(da), np.empty_like(W), np.empty(shape[2]), np.empty_like(x)
            core.dense.forward(x, W, np.zeros(shape[2]), a, n_threads)
            core.dense.backward(x, W, da, dW, db, dx, n_threads)
            results.append([a, dW, db, dx])
        for result in results[1:]:
            for first, other in zip(results[0], result, strict=True):
                np.testing.assert_array_equal(first, other)


def test_faces_refuse_shapes_that_do_not_fit(core):
    x, W, b = np.zeros((5, 3)), np.zeros((4, 2)), np.zeros(2)
    with pytest.raises(ValueError, match=r"W has shape \(4, 2\), expected \(3, 2\)"):
        core.dense.forward(x, W, b, np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"a has shape \(5, 3\), expected \(5, 2\)"):
        core.dense.forward(x, np.zeros((3, 2)), b, np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"t has shape \(5, 2\), expected \(5, 3\)"):
        core.loss.terms(core.loss.LOSSES["squared_error"], 0.0, x, np.zeros((5, 2)), None, x.copy())
    with pytest.raises(TypeError, match="contiguous"):
        make_network(core, "moons", np.float64, np.random.default_rng(0))[0].forward(
            np.zeros((4, 4))[:, ::2], np.zeros((4, 2))
        )


def test_read_only_inputs_are_accepted(core):
    x = np.ones((2, 3))
    x.setflags(write=False)
    a = np.empty((2, 1))
    core.dense.forward(x, np.ones((3, 1)), np.zeros(1), a)
    np.testing.assert_array_equal(a, [[3.0], [3.0]])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numerical_gradient_is_the_same_for_any_threads_and_to_rounding_for_any_memory(core, name, dtype, rng):
    net, _, _, _ = make_network(core, name, dtype, rng)
    x, t = make_batch(name, rng, 37, dtype)
    expected = slopes(net, x, t)
    for n_threads in (2, 5):
        np.testing.assert_array_equal(slopes(net, x, t, n_threads=n_threads), expected)
    # blocks of a few samples: the same differences, added in another order
    noise = 100 * np.finfo(dtype).eps ** (2 / 3) * (1 + abs(net.loss(x, t)))
    np.testing.assert_allclose(slopes(net, x, t, max_memory=20000), expected, rtol=0, atol=noise)


def findings(net, x, t, h=0.0, weights=None):
    """Slopes, estimated truncation errors and kinks."""
    found = np.empty(net.params.size), np.empty(net.params.size), np.empty(net.params.size, np.uint8)
    weights = np.full(len(x), 1 / len(x)) if weights is None else weights
    net.numerical_gradient(x, t, weights, h, *found, 1 << 26)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_truncation_estimate_covers_the_error_of_a_large_step(core, name, rng):
    """With a step so large that truncation rules, the estimate is of the size of the error."""
    net, _, _, _ = make_network(core, name, np.float64, rng)
    x, t = make_batch(name, rng, 8)
    slope, truncation, kink = findings(net, x, t, h=0.01)
    grads = np.empty_like(net.params)
    net.gradient(x, t, None, grads)
    error = np.abs(slope - grads)[kink == 0]
    assert np.all(error <= 4 * truncation[kink == 0] + 1e-11)
    smooth = name in ("moons", "mnist", "large delta", "regression", "no bias", "one layer")
    assert not smooth or truncation.max() < 1000 * error.max() + 1e-11
    assert not smooth or not kink.any()


def test_kinks_are_found_exactly(core):
    """One relu unit whose pre-activation lies within a step of 0 for one sample."""
    specs = [(2, 2, core.activation.ACTIVATIONS["relu"], True, True), (2, 1, 0, True, True)]
    net = core.network.Network(specs, core.loss.LOSSES["squared_error"], 0.0, np.dtype(float))
    net.params[:] = [1.0, 1.0, -1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 0.0]  # W1 (2, 2), b1, W2, b2
    x, t = np.array([[0.3, 0.3 - 1e-7], [0.9, 0.2], [0.0, 0.5]]), np.zeros((3, 1))
    _, _, kink = findings(net, x, t, h=1e-4)
    # unit 0 has a = 1e-7 in the first sample: W1[0, 0], W1[1, 0] and b1[0] move it over 0; nothing else does
    np.testing.assert_array_equal(kink, [1, 0, 1, 0, 1, 0, 0, 0, 0])


def test_kinks_further_on_are_found(core, rng):
    """A change of the first layer that moves a relu of the second one over 0."""
    relu = core.activation.ACTIVATIONS["relu"]
    specs = [(1, 1, 0, True, True), (1, 1, relu, True, True), (1, 1, relu, True, True), (1, 1, 0, True, True)]
    net = core.network.Network(specs, core.loss.LOSSES["squared_error"], 0.0, np.dtype(float))
    net.params[:] = [1, 0, 1, 0, 1, -1, 1, 0]  # the third layer's pre-activation is x - 1
    for x, expected in ((1.0, [1, 1, 1, 1, 1, 1, 0, 0]), (1.5, [0] * 8), (0.5, [0] * 8)):
        _, _, kink = findings(net, np.array([[x]]), np.zeros((1, 1)))
        np.testing.assert_array_equal(kink, expected)


def test_numerical_gradient_by_weights(core, rng):
    net, layers, loss, delta = make_network(core, "logits", np.float64, rng)
    x, t = make_batch("logits", rng, 6)
    weights = rng.random(6)
    slope, _, kink = findings(net, x, t, weights=weights / weights.sum())
    expected, _ = ref.network_gradient(layers, loss, x, t, delta, weights)
    np.testing.assert_allclose(slope[kink == 0], flat(expected)[kink == 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_error_in_ulp(core, dtype, rng):
    """log by way of the loss: with delta = 1 and one-hot targets the loss is -log(p + 1), p the softmax."""
    a = np.stack([rng.uniform(-30, 30, 5000), np.zeros(5000)], axis=1).astype(dtype)
    specs = [(2, 2, core.activation.ACTIVATIONS["softmax"], False, True)]
    for row in a[:50]:
        net = core.network.Network(specs, core.loss.LOSSES["softmax_cross_entropy"], 0.0, np.dtype(dtype))
        net.params[:] = [1, 0, 0, 1]
        slope, _, _ = findings(net, row[None], np.array([[1.0, 0.0]], dtype))
        p = ref.softmax(row[None].astype(float))[0]
        expected = np.outer(row, p - [1, 0]).ravel()
        bound = 40 * np.finfo(dtype).eps ** (2 / 3) * (1 + np.abs(row).max()) ** 2
        np.testing.assert_allclose(slope, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("max_memory", [1 << 26, 40000])
def test_a_sample_has_the_slopes_of_the_whole(core, max_memory, rng):
    """Any number of wanted parameters, also none of a unit, with one and with several perturbations at a time."""
    net, _, _, _ = make_network(core, "mnist", np.float64, rng)
    x, t = make_batch("mnist", rng, 9)
    weights, n = np.full(9, 1 / 9), net.params.size
    whole, truncation, kink = np.empty(n), np.empty(n), np.empty(n, np.uint8)
    net.numerical_gradient(x, t, weights, 0.0, whole, truncation, kink, max_memory)
    for share in (0.0, 0.01, 0.5, 1.0):
        wanted = (rng.random(n) < share).astype(np.uint8)
        slope, estimate = np.full(n, np.nan), np.full(n, np.nan)
        net.numerical_gradient(x, t, weights, 0.0, slope, estimate, kink, max_memory, wanted)
        np.testing.assert_array_equal(slope, np.where(wanted, whole, 0.0))
        assert np.all(np.isfinite(estimate))
