"""numerical_gradient of functions: any layout and float type, restored whatever happens."""

import numpy as np
import pytest

from nncore import gradient_descent, numerical_diff, numerical_gradient


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
