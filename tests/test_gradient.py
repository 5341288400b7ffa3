"""numerical_gradient of functions: any layout and float type, restored whatever happens."""

import math
import operator
import re

import numpy as np
import pytest

from nncore import gradient_descent, numerical_diff, numerical_gradient, numerical_hessian, numerical_jacobian
from nncore.differences.differences import differences


def f(x):
    return float(np.sum(np.sin(x) * np.arange(1, x.size + 1).reshape(x.shape)))


def df(x):
    return np.cos(x) * np.arange(1, x.size + 1).reshape(x.shape)


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "transposed": lambda x: x.T.copy().T,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 2), (0,), (2, 0)])
def test_every_layout(layout, dtype, shape, rng):
    if shape == () and layout in ("strided", "reversed"):
        return
    x = LAYOUTS[layout](np.asarray(rng.normal(size=shape), dtype=dtype))
    before = x.copy()
    grad = numerical_gradient(lambda v: f(v.astype(np.float64)), x)
    np.testing.assert_array_equal(x, before)
    assert grad.shape == x.shape
    assert grad.dtype == np.dtype(dtype).newbyteorder("=")
    # truncation h^2 / 6 times the third derivative, rounding eps f / h; f is computed in float64
    eps = np.finfo(dtype).eps if dtype != np.longdouble else np.finfo(np.float64).eps
    bound = 20 * eps ** (2 / 3) * (x.size + 1) + 4 * np.finfo(float).eps * abs(f(before.astype(float))) / eps ** (1 / 3)
    assert np.all(np.abs(grad - df(before.astype(np.float64))) <= bound)


def test_forward_differences(rng):
    x = rng.normal(size=6)
    np.testing.assert_allclose(numerical_gradient(f, x, method="forward"), df(x), atol=1e-6)
    np.testing.assert_allclose(numerical_gradient(f, x, h=1e-3, method="forward"), df(x), atol=6e-3)


def test_a_view_is_perturbed_where_it_lives(rng):
    """f ignores its argument and reads the array by alias, as the book does."""
    whole = rng.normal(size=(4, 6))
    for view in (whole, whole[1], whole[:, 2], whole[::2, ::3]):
        grad = numerical_gradient(lambda _: float(np.sum(whole**2)), view)
        np.testing.assert_allclose(grad, 2 * view, atol=1e-8)


def test_x_is_restored_when_f_raises(rng):
    x = rng.normal(size=4)
    before = x.copy()
    calls = []

    def fails(v):
        calls.append(1)
        if len(calls) == 5:
            raise ZeroDivisionError("in f")
        return f(v)

    with pytest.raises(ZeroDivisionError, match="in f"):
        numerical_gradient(fails, x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_default_step_never_vanishes(scale):
    x = np.array([3.0 * scale], dtype=np.float32)
    slope = 2.0
    grad = numerical_gradient(lambda v: slope * float(v[0]), x)
    assert grad[0] == pytest.approx(slope, rel=1e-6)


def test_a_step_that_vanishes_gives_zero():
    """The book's lesson: 10e-50 is lost in x + h."""
    assert np.float32(1e-50) == 0
    assert numerical_diff(lambda x: x**2, 3.0, h=10e-50) == 0.0
    assert numerical_gradient(lambda x: float(x[0]) ** 2, np.array([3.0]), h=10e-50)[0] == 0.0


def test_gradient_descent_keeps_its_start():
    start = np.array([-3.0, 4.0])
    x, path = gradient_descent(lambda v: float(np.sum(v**2)), start, lr=0.1, step_num=10, return_path=True)
    np.testing.assert_array_equal(start, [-3.0, 4.0])
    np.testing.assert_array_equal(path[0], start)
    np.testing.assert_array_equal(path[-1], x)
    np.testing.assert_allclose(path, np.outer(0.8 ** np.arange(11), start), atol=1e-8)


# Published test functions: value 0 at the minimum; J. Moré, B. Garbow, K. Hillstrom, ACM TOMS 7 (1981), 17.
def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def rosenbrock_gradient(x):
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def powell_singular(x):
    return (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def powell_singular_gradient(x):
    a, b, c, d = x[0] + 10 * x[1], x[2] - x[3], (x[1] - 2 * x[2]) ** 3, (x[0] - x[3]) ** 3
    return np.array([2 * a + 40 * d, 20 * a + 4 * c, 10 * b - 8 * c, -10 * b - 40 * d])


def wood(x):
    return (
        100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + 90 * (x[3] - x[2] ** 2) ** 2 + (1 - x[2]) ** 2
        + 10 * (x[1] + x[3] - 2) ** 2 + (x[1] - x[3]) ** 2 / 10
    )  # fmt: skip


def wood_gradient(x):
    u, v, w, d = x[1] - x[0] ** 2, x[3] - x[2] ** 2, 20 * (x[1] + x[3] - 2), (x[1] - x[3]) / 5
    return np.array(
        [-400 * x[0] * u - 2 * (1 - x[0]), 200 * u + w + d, -360 * x[2] * v - 2 * (1 - x[2]), 180 * v + w - d]
    )


PUBLISHED = {
    "Rosenbrock, start": (rosenbrock, rosenbrock_gradient, [-1.2, 1.0]),
    "Rosenbrock, minimum": (rosenbrock, rosenbrock_gradient, [1.0, 1.0]),
    "Powell, start": (powell_singular, powell_singular_gradient, [3.0, -1.0, 0.0, 1.0]),
    "Powell, minimum": (powell_singular, powell_singular_gradient, [0.0, 0.0, 0.0, 0.0]),
    "Wood, start": (wood, wood_gradient, [-3.0, -1.0, -3.0, -1.0]),
    "Wood, minimum": (wood, wood_gradient, [1.0, 1.0, 1.0, 1.0]),
}
SCHEMES = {
    "forward": {"method": "forward"},
    "backward": {"method": "backward"},
    "central": {},
    "order 4": {"order": 4},
    "richardson": {"method": "richardson"},
    "complex": {"method": "complex"},
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_functions(name, scheme):
    """Each within its own estimate of truncation and rounding; estimates are good to a small factor."""
    f, df, start = PUBLISHED[name]
    x = np.array(start)
    grad, error = numerical_gradient(f, x, return_error=True, **SCHEMES[scheme])
    np.testing.assert_array_equal(x, start)
    # at a minimum of value 0 the estimate of rounding is 0 beside that of truncation
    assert np.all(np.abs(grad - df(x)) <= 3 * error + 1e-14)
    # and small: of the size of the best step's error for these slopes and curvatures of up to 1e4
    best = {"forward": 1e-4, "backward": 1e-4, "central": 2e-7, "order 4": 1e-7, "richardson": 1e-7, "complex": 1e-11}
    assert np.all(error <= best[scheme] * (1 + np.abs(df(x)).max()))


@pytest.mark.parametrize(("ours", "theirs"), [("forward", "2-point"), ("central", "3-point"), ("complex", "cs")])
def test_agrees_with_scipy(ours, theirs, rng):
    from scipy.optimize import approx_fprime, rosen, rosen_der, rosen_hess
    from scipy.optimize._numdiff import approx_derivative

    x = rng.normal(size=12)
    grad, error = numerical_gradient(rosen, x, method=ours, return_error=True)
    assert np.all(np.abs(grad - rosen_der(x)) <= error)
    # a forward difference is off by half the curvature times a step of 1.5e-8, theirs and ours
    curvature = np.abs(np.diag(rosen_hess(x))) * np.maximum(1, np.abs(x)) if ours == "forward" else 0.0
    rounding = 8 * np.finfo(float).eps * rosen(x) / 1.5e-8 if ours == "forward" else 0.0
    allowed = 2e-8 * curvature + rounding + 1e-9 * np.abs(grad).max()
    assert np.all(np.abs(grad - approx_derivative(rosen, x, method=theirs)) <= allowed)
    if ours == "forward":
        assert np.all(np.abs(grad - approx_fprime(x, rosen)) <= allowed)


def test_richardson_agrees_with_scipy_differentiate():
    from scipy.differentiate import derivative

    x = np.array([0.3, 1.7, 4.0])
    grad = numerical_gradient(lambda v: float(np.sum(np.exp(np.sin(v)))), x, method="richardson")
    np.testing.assert_allclose(grad, derivative(lambda v: np.exp(np.sin(v)), x).df, rtol=1e-10)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "complex"])
def test_the_function_may_be_called_in_four_ways(scheme, rng):
    """In place, in processes, in stacks, a block of elements at a time: the same bits wherever f's are."""
    x = rng.normal(size=(3, 5))
    settings = SCHEMES[scheme]

    def g(v):
        return float(np.sum(np.sin(v.ravel()) * np.arange(15.0)))

    expected = numerical_gradient(g, x, **settings)
    np.testing.assert_array_equal(numerical_gradient(g, x, n_jobs=2, **settings), expected)
    stacks = []

    def stacked(v):
        stacks.append(v.shape)
        return np.array([g(one) for one in v])

    x.flags.writeable = False
    np.testing.assert_array_equal(numerical_gradient(stacked, x, vectorized=True, **settings), expected)
    one_by_one = numerical_gradient(stacked, x, vectorized=True, max_memory=1, **settings)
    np.testing.assert_array_equal(one_by_one, expected)
    assert stacks[-1] == (1, 3, 5)


def test_stacks_are_bounded(rng):
    x, sizes = rng.normal(size=1000), []

    def squares(v):
        sizes.append(v.nbytes)
        return np.sum(v**2, axis=1)

    grad = numerical_gradient(squares, x, vectorized=True, max_memory=10 * x.nbytes)
    np.testing.assert_allclose(grad, 2 * x, atol=1e-7)
    assert max(sizes) == 10 * x.nbytes


def test_the_short_way_has_the_bits_of_the_long_one(rng):
    """f's calls are the same, the loop in C does what the formulas on arrays do."""
    for dtype in (np.float32, np.float64):
        x = (rng.normal(size=200) * 10.0 ** rng.integers(-3, 6, size=200)).astype(dtype)
        for method in ("forward", "backward", "central"):
            for h in (None, 1e-2):
                short = differences(f, x, h, method)
                long = differences(f, x, h, method, elements=np.arange(200))
                np.testing.assert_array_equal(short.value, long.value)
                assert short.n_evaluations == long.n_evaluations


@pytest.mark.parametrize("container", [dict, list, tuple])
def test_all_parameters_of_a_network(container, rng):
    arrays = [rng.normal(size=(3, 4)), rng.normal(size=4).astype(np.float32), np.empty((0, 2))]
    x = dict(zip("Wbe", arrays, strict=True)) if container is dict else container(arrays)
    before = [a.copy() for a in arrays]
    calls = []

    def loss(p):
        calls.append(p)
        W, b, _ = p.values() if container is dict else p
        return float(np.sum(np.tanh(W) * b.astype(float)))

    grads = numerical_gradient(loss, x)
    assert type(grads) is container
    assert all(p is x for p in calls)
    dW, db, de = grads.values() if container is dict else grads
    W, b, _ = before
    np.testing.assert_array_equal(arrays[0], W)
    np.testing.assert_allclose(dW, b * (1 - np.tanh(W) ** 2), atol=1e-8)
    np.testing.assert_allclose(db, np.tanh(W).sum(axis=0), rtol=1e-4)
    assert db.dtype == np.float32
    assert de.shape == (0, 2)
    in_processes = numerical_gradient(loss, x, n_jobs=2)
    for one, other in zip(grads if container is not dict else "Wbe", in_processes, strict=True):
        one, other = (grads[one], in_processes[other]) if container is dict else (one, other)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize("method", ["central", "forward", "richardson"])
def test_jacobian(method, vectorized, rng):
    A, x = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(4, 5))

    def g(v):
        return np.sin(np.einsum("ijkl,...kl->...ij", A, v))

    expected = np.cos(g_inner := np.einsum("ijkl,kl->ij", A, x))[..., None, None] * A
    assert g_inner.shape == (2, 3)
    jacobian = numerical_jacobian(g, x, method=method, vectorized=vectorized, max_memory=10_000)
    assert jacobian.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(jacobian, expected, atol=1e-6 if method == "forward" else 1e-8)


def test_jacobian_by_complex_step_and_in_processes(rng):
    x = rng.normal(size=4)
    exact = np.diag(np.exp(x))
    np.testing.assert_allclose(numerical_jacobian(np.exp, x, method="complex"), exact, rtol=1e-15)
    np.testing.assert_array_equal(numerical_jacobian(np.exp, x, n_jobs=2), numerical_jacobian(np.exp, x))
    assert numerical_jacobian(np.exp, np.empty((0,))).shape == (0, 0)


def test_hessian(rng):
    from scipy.optimize import rosen, rosen_hess

    x = rng.normal(size=7)
    before = x.copy()
    hessian = numerical_hessian(rosen, x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(hessian, hessian.T)
    # rounding 4 eps f / h**2 and truncation h**2 f''''/12 with h = 2**-13, f'''' = 2400
    bound = 16 * np.finfo(float).eps * rosen(x) * 2**26 + 2400 * 2.0**-26 * 4
    assert np.abs(hessian - rosen_hess(x)).max() <= bound
    np.testing.assert_array_equal(numerical_hessian(lambda v: rosen(v.T), x, vectorized=True).T, hessian)
    assert numerical_hessian(lambda v: float(np.sum(v**2)), np.ones((2, 3))).shape == (2, 3, 2, 3)


def test_a_float32_function_of_float64_gets_the_larger_step(rng):
    x = rng.normal(size=5)
    grad = numerical_gradient(lambda v: np.sum(np.sin(v.astype(np.float32))), x)
    # h = 2**-8: truncation h**2 / 6, rounding of f and of x within it, about 5 eps over h
    assert np.abs(grad - np.cos(x)).max() <= 2.0**-16 / 6 + 5 * np.finfo(np.float32).eps * 2**8


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled_inputs(size, dtype):
    """f varies on the scale of x: the step must, too."""
    x = np.array([0.3, -1.1, 2.0], dtype=dtype) * dtype(size)
    grad = numerical_gradient(lambda v: float(np.sum(np.sin(v.astype(float) / size))), x)
    relative = np.finfo(dtype).eps ** (2 / 3) * 20
    np.testing.assert_allclose(grad * size, np.cos(x.astype(float) / size), atol=relative)


def test_small_weights_of_an_ordinary_function_keep_the_ordinary_step():
    x = np.full(4, 1e-9)
    grad = numerical_gradient(lambda v: float(np.sum(np.sin(v + 1))), x)
    np.testing.assert_allclose(grad, np.cos(1.0 + x), rtol=1e-10)


def test_noise_asks_for_a_larger_step(rng):
    """f is good to 1e-10: h ~ 1e-10**(1/3) has an error of 1e-7, eps**(1/3) one of 1e-5."""
    x = rng.normal(size=50)

    def noisy(v):
        return float(np.sum(np.sin(v))) + 1e-10 * rng.normal()

    plain = np.abs(numerical_gradient(noisy, x) - np.cos(x)).max()
    aware = np.abs(numerical_gradient(noisy, x, noise=1e-10 / np.finfo(float).eps) - np.cos(x)).max()
    assert aware < 1e-6 < plain
    found, info = numerical_gradient(noisy, x, full_output=True)
    assert not info.kink.any()
    assert 0.3e-10 < info.noise < 3e-10
    assert np.mean(np.abs(found - np.cos(x)) <= info.error) >= 0.95
    assert np.median(info.error) < 1e-6


def test_bounds_are_never_crossed(rng):
    low, high = np.array([0.0, 0.0, -1.0, 0.25]), np.array([1.0, 1.0, 1.0, 0.25 + 1e-7])
    x = np.array([0.0, 1.0, 0.5, 0.25])

    def g(v):
        assert np.all((low <= v) & (v <= high))
        return float(np.sum(np.exp(v)))

    for method, tolerance in {"central": 1e-8, "forward": 1e-6, "backward": 1e-6, "richardson": 1e-8}.items():
        grad, error = numerical_gradient(g, x, method=method, bounds=(low, high), return_error=True)
        np.testing.assert_allclose(grad[:3], np.exp(x[:3]), atol=tolerance)
        assert np.all(np.abs(grad - np.exp(x)) <= 3 * error)
    np.testing.assert_allclose(
        numerical_gradient(lambda v: float(np.sum(v**1.5)), np.array([1.0, 4.0], dtype=np.float32), bounds=(1.0, 4.0)),
        [1.5, 3.0], atol=2e-3,
    )  # fmt: skip


# function, point, whether it has a kink or a jump there
KINKS = {
    "abs at 0": (lambda x: abs(x[0]), 0.0, True),
    "abs beside 0": (lambda x: abs(x[0] - 1), 1 + 3e-6, False),
    "abs beside 0, other side": (lambda x: abs(x[0] - 1), 1 - 5e-6, False),
    "abs away from 0": (lambda x: abs(x[0]), 1e-3, False),
    "max of equals": (lambda x: max(x[0], 1.0) + x[0] ** 2, 1.0, True),
    "relu": (lambda x: max(x[0] - 2, 0.0) + np.sin(x[0]), 2.0, True),
    "relu beside": (lambda x: max(x[0] - 2, 0.0) + np.sin(x[0]), 2 + 1e-6, False),
    "leaky relu": (lambda x: max(x[0], 0.01 * x[0]), 0.0, True),
    "a step at x": (lambda x: float(x[0] >= 0), 0.0, True),
    "a step elsewhere": (lambda x: float(x[0] >= 0), 0.1, False),
    "square": (lambda x: x[0] ** 2, 0.0, False),
    "cube": (lambda x: x[0] ** 3, 0.0, False),
    "fourth power": (lambda x: x[0] ** 4, 0.0, False),
    "signed square": (lambda x: x[0] * abs(x[0]), 0.3, False),
    "constant": (lambda x: 3.0, 0.7, False),
    "line": (lambda x: 3 * x[0] - 1, 0.7, False),
    "exp": (lambda x: np.exp(x[0]), 3.0, False),
    "sharp sigmoid": (lambda x: 1 / (1 + np.exp(-1e4 * x[0])), 1e-5, False),
    "cube root": (lambda x: np.cbrt(x[0]), 0.5, False),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks(name):
    g, x, expected = KINKS[name]
    _, info = numerical_gradient(lambda v: float(g(v)), np.array([x]), full_output=True)
    assert info.kink[0] == expected
    assert np.isfinite(info.error[0]) == (name != "a step at x")


def test_what_wiggles_faster_than_the_first_step_is_resolved(rng):
    x = rng.normal(size=100)
    grad, info = numerical_gradient(lambda v: float(np.sum(np.sin(1e6 * v))), x, full_output=True)
    assert not info.kink.any()
    assert np.mean(np.abs(grad - 1e6 * np.cos(1e6 * x)) <= info.error) >= 0.95
    assert np.median(info.error) < 1


@pytest.mark.parametrize("smooth", [True, False])
def test_kinks_of_a_layer(smooth, rng):
    """A pre-activation of 0 is a kink of all weights into it with an input; one near 0 is none."""
    X, W, V = (rng.normal(size=shape) for shape in [(10, 30), (30, 40), (40, 3)])
    W *= 0.05
    activation = np.tanh if smooth else lambda a: np.maximum(a, 0)
    W[:, 7] = 0
    X[3, :5] = 0
    W[:, 8] -= X[3] * (X[3] @ W[:, 8] - 1e-9) / (X[3] @ X[3])
    _, info = numerical_gradient(lambda w: np.mean((activation(X @ w) @ V) ** 2), W, full_output=True)
    expected = np.zeros(W.shape, bool)
    expected[:, 7] = not smooth
    np.testing.assert_array_equal(info.kink, expected)


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-7])
def test_cube_root_near_0_knows_its_error(x):
    grad, info = numerical_gradient(lambda v: float(np.cbrt(v[0] + x)), np.array([0.0]), full_output=True)
    true = 1 / (3 * np.cbrt(x) ** 2) if x else np.inf
    assert abs(grad[0] - true) <= info.error[0] or info.error[0] > 0.1 * abs(grad[0])


def test_overflow_beside_x_leaves_the_other_side():
    def g(v):
        return float(np.exp(v[0]) if v[0] <= 709.7 else np.inf)

    grad, info = numerical_gradient(g, np.array([709.7]), full_output=True)
    assert abs(grad[0] - np.exp(709.7)) <= info.error[0] <= 1e-4 * grad[0]


def test_n_evaluations_and_elements(rng):
    x = rng.normal(size=(4, 5))
    calls = []

    def g(v):
        calls.append(1)
        return f(v)

    found = differences(g, x, elements=[3, 17])
    assert found.n_evaluations == len(calls) == 5
    np.testing.assert_allclose(found.value, df(x).flat[[3, 17]], atol=1e-8)
    calls.clear()
    _, info = numerical_gradient(g, x, full_output=True)
    assert info.n_evaluations == len(calls)


def test_the_exception_says_which_element(rng):
    x = np.zeros((2, 3))

    def fails(v):
        if v[1, 2] != 0:
            raise ZeroDivisionError("in f")
        return 0.0

    for settings in ({}, {"order": 4}, {"n_jobs": 2}):
        with pytest.raises(ZeroDivisionError, match="in f") as caught:
            numerical_gradient(fails, x, **settings)
        assert "x[1, 2]" in caught.value.__notes__[0]
    with pytest.raises(ZeroDivisionError) as caught:
        numerical_gradient(lambda p: fails(p["W"]), {"W": x})
    assert "x['W'][1, 2]" in caught.value.__notes__[0]
    with pytest.raises(ZeroDivisionError) as caught:
        numerical_gradient(lambda v: [fails(one) for one in v], x, vectorized=True)
    assert "elements 0 to 5 of x" in caught.value.__notes__[0]
    assert not x.any()


def test_an_interrupt_restores_x():
    x = np.ones(10)

    def interrupted(v):
        if v[4] != 1:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        numerical_gradient(interrupted, x)
    np.testing.assert_array_equal(x, 1)


def test_an_interrupt_stops_a_function_without_python_code(ctrl_c):
    """operator.itemgetter never looks for signals; the loop does."""
    x = np.ones(20_000_000)
    with ctrl_c(0.3):
        numerical_gradient(operator.itemgetter(0), x)
    assert np.all(x == 1)


BAD = {
    "h": (lambda x: numerical_gradient(f, x, h=0), "h is 0, expected a finite number above 0"),
    "method": (lambda x: numerical_gradient(f, x, method="best"), "method is 'best', expected one of 'central'"),
    "order": (lambda x: numerical_gradient(f, x, order=3), "order is 3, expected 2 or 4"),
    "order, method": (
        lambda x: numerical_gradient(f, x, order=4, method="forward"),
        "order is 4 and method is 'forward', expected method 'central' with order 4",
    ),
    "noise": (lambda x: numerical_gradient(f, x, noise=-1), "noise is -1, expected a finite number above 0"),
    "f": (lambda x: numerical_gradient(3, x), "f is a int, expected a function of x"),
    "f(x) NaN": (lambda x: numerical_gradient(lambda v: np.nan, x), "f(x) is nan at the start, expected a finite"),
    "f(x) None": (lambda x: numerical_gradient(lambda v: None, x), "f returned a NoneType, expected one number"),
    "f(x) complex": (lambda x: numerical_gradient(lambda v: 1j, x), "f returned a complex, expected one number"),
    "x NaN": (lambda x: numerical_gradient(f, np.array([1, np.nan])), "x[1] is nan, expected finite numbers only"),
    "in a dict": (
        lambda x: numerical_gradient(f, {"W": x, "b": [1.0]}),
        "x['b'] is a list, expected an array of floats",
    ),
    "integers in a list": (
        lambda x: numerical_gradient(f, [x, np.arange(3)]),
        "x[1] is an array of dtype int64, expected an array of floats",
    ),
    "bounds": (lambda x: numerical_gradient(f, x, bounds=1.0), "bounds is a float, expected a pair (low, high)"),
    "bounds, shape": (
        lambda x: numerical_gradient(f, x, bounds=(np.zeros(2), 1)),
        "bounds has shapes [(2,), ()], expected (3,) to match x",
    ),
    "outside bounds": (
        lambda x: numerical_gradient(f, x, bounds=(0, [2, 0.5, 2])),
        "x[1] is 1.0, expected bounds around it: they are 0 and 0.5",
    ),
    "vectorized": (
        lambda x: numerical_gradient(f, x, vectorized=True),
        "f returned an array of shape () for a stack of 1, expected (1,)",
    ),
    "vectorized dict": (
        lambda x: numerical_gradient(f, {"x": x}, vectorized=True),
        "x is a dict, expected one array: f is vectorized",
    ),
    "complex, vectorized": (
        lambda x: numerical_gradient(f, x, method="complex", vectorized=True),
        "f is vectorized, expected a plain Python function for method 'complex'",
    ),
    "n_jobs": (lambda x: numerical_gradient(f, x, n_jobs=0), "n_jobs is 0, expected a whole number of workers"),
    "n_threads": (
        lambda x: numerical_gradient(f, x, n_threads=2),
        "n_threads is 2, expected 1 for a Python function: n_jobs shares its evaluations",
    ),
    "max_memory": (lambda x: numerical_gradient(f, x, max_memory=0), "max_memory is 0, expected 1 or more"),
    "complex-safe": (
        lambda x: numerical_gradient(lambda v: float(np.sum(np.abs(v))), x, method="complex"),
        "f is not complex-safe: of a complex x it returned a float, expected one complex number",
    ),
    "complex, raises": (
        lambda x: numerical_gradient(lambda v: math.sin(complex(v[0])), x, method="complex"),
        "f is not complex-safe, expected a function of complex x: it raised TypeError",
    ),
    "Jacobian, shapes": (
        lambda x: numerical_jacobian(lambda v: v[v > 0.9999999], x),
        "expected float64 numbers of shape (3,) as before",
    ),
    "Jacobian, text": (lambda x: numerical_jacobian(lambda v: ["a"], x), "f returned a list, expected numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    run, message = BAD[name]
    x = np.ones(3)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        run(x)
    np.testing.assert_array_equal(x, 1)
