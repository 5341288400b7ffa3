"""Estimated errors of gradients, Jacobians and Hessians, held against closed forms."""

import numpy as np
import pytest

from nncore import check_gradient, numerical_gradient, numerical_hessian, numerical_jacobian

NAN = np.nan


def squares(x):
    return float(np.sum(x**2))


def covered(value, error, true):
    """The part of the elements whose error is within the estimate."""
    assert not np.isnan(error).any()
    assert (np.isfinite(value) | (error == np.inf)).all()
    return float(np.mean((np.abs(value - true) <= error) | np.isnan(value)))


def instances(rng, n):
    """Name, f, x and the exact gradient of sums of functions of one element, and some that mix."""
    for power in range(7):
        w, x = 10.0**power, rng.normal(size=n)
        yield f"wave of {w:g}", lambda x, w=w: np.sin(w * x).sum(), x, w * np.cos(w * x)
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-10, 10, n)
    c = rng.normal(size=n) / np.abs(x)
    yield "mixed scales", lambda x, c=c: np.sin(c * x).sum(), x, c * np.cos(c * x)
    yield "squares of mixed scales", lambda x: np.sum(x**2), x, 2 * x
    x = np.exp(3 * rng.normal(size=n))
    yield "logarithms", lambda x: np.log(x).sum(), x, 1 / x
    for offset in (1e3, 1e6, 1e9):
        x = rng.normal(size=n)
        yield f"offset {offset:g}", lambda x, o=offset: o + np.sum(x**3), x, 3 * x**2
    for a in (1, 10, 50):
        x = rng.normal(size=n)
        yield f"growth of {a}", lambda x, a=a: np.exp(a * x).sum(), x, a * np.exp(a * x)
        p = np.exp(a * x) / np.exp(a * x).sum()
        yield f"log of sums, {a}", lambda x, a=a: np.log(np.exp(a * x).sum()), x, a * p
    for d in (1e-2, 1e-5, 1e-8):
        x = rng.uniform(0.5, 2, n)
        e = x - d * rng.uniform(0.5, 2, n)
        yield f"log near its edge, {d:g}", lambda x, e=e: np.log(x - e).sum(), x, 1 / (x - e)
        yield f"root near its edge, {d:g}", lambda x, e=e: np.sqrt(x - e).sum(), x, 0.5 / np.sqrt(x - e)
    rows, x = rng.normal(size=(50, n)).astype(np.float32), rng.normal(size=n)
    yield (
        "float32 inside",
        lambda x: float(np.tanh(rows @ x.astype(np.float32)).sum(dtype=np.float32)),
        x,
        (rows.astype(float).T @ (1 - np.tanh(rows.astype(float) @ x) ** 2)),
    )
    for noise in (1e-14, 1e-12, 1e-10, 1e-8, 1e-6):
        x = rng.normal(size=n)
        yield (
            f"noise {noise:g}",
            lambda x, s=noise: np.cos(3 * x).sum() + s * rng.standard_normal(),
            x,
            -3 * np.sin(3 * x),
        )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("how", [{}, {"method": "richardson"}, {"order": 4}, {"method": "forward"}])
def test_errors_of_gradients_hold(seed, how):
    rng = np.random.default_rng(seed)
    parts = {}
    with np.errstate(all="ignore"):
        for name, f, x, true in instances(rng, 25):
            value, info = numerical_gradient(lambda x, f=f: float(f(x)), x, full_output=True, **how)
            parts[name] = covered(value, info.error, true)
            if not how:
                assert info.n_evaluations <= 12 + 72 * x.size
    assert np.mean(list(parts.values())) >= 0.97, parts
    assert min(parts.values()) >= 0.8, parts


def test_errors_of_gradients_are_of_some_use():
    """Estimates that hold because they are large would be none."""
    rng = np.random.default_rng(0)
    for _, f, x, true in list(instances(rng, 25))[:6]:
        value, error = numerical_gradient(lambda x, f=f: float(f(x)), x, return_error=True)
        assert np.median(error / np.abs(true)) < 1e-6
        assert np.median(np.abs(value - true) / np.abs(true)) < 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_jacobians_hold(seed):
    rng, parts = np.random.default_rng(seed), {}
    n = 8
    rows = rng.normal(size=(10, n))
    cases = []
    for power in range(0, 7, 2):
        w, x = 10.0**power, rng.normal(size=n)
        cases.append((f"wave {w:g}", lambda x, w=w: np.sin(w * x), x, np.diag(w * np.cos(w * x))))
        slope = (w * (1 - np.tanh(rows @ x * w) ** 2))[:, None] * rows
        cases.append((f"tanh {w:g}", lambda x, w=w: np.tanh(rows @ x * w), x, slope))
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-10, 10, n)
    c = rng.normal(size=n) / np.abs(x)
    cases.append(("mixed scales", lambda x: np.sin(c * x), x, np.diag(c * np.cos(c * x))))
    for d in (1e-2, 1e-5):
        x = rng.uniform(0.5, 2, n)
        e = x - d
        cases.append((f"edge {d:g}", lambda x, e=e: np.log(x - e), x, np.diag(1 / (x - e))))
    for offset in (1e4, 1e8):
        cases.append((f"offset {offset:g}", lambda x, o=offset: o + rows @ x, rng.normal(size=n), rows))
    for noise in (1e-14, 1e-10, 1e-6):
        cases.append(
            (f"noise {noise:g}", lambda x, s=noise: rows @ x + s * rng.standard_normal(10), rng.normal(size=n), rows)
        )
    single = rows.astype(np.float32)
    cases.append(("float32", lambda x: single @ x.astype(np.float32), rng.normal(size=n), single.astype(float)))
    with np.errstate(all="ignore"):
        for name, f, x, true in cases:
            parts[name] = covered(*numerical_jacobian(f, x, full_output=True), true)
    assert np.mean(list(parts.values())) >= 0.97, parts
    assert min(parts.values()) >= 0.85, parts


def hessians(rng, n):
    """Name, f, x and the exact matrix."""
    for power in range(0, 7, 2):
        w, a = 10.0**power, rng.normal(size=n)
        x = rng.normal(size=n)
        yield f"waves of {w:g}", lambda x, w=w: np.sin(w * x).sum(), x, np.diag(-w * w * np.sin(w * x))
        x = rng.normal(size=n) / w
        yield (
            f"wave across, {w:g}",
            lambda x, w=w, a=a: np.sin(w * (a @ x)),
            x,
            -w * w * np.sin(w * (a @ x)) * np.outer(a, a),
        )
    for _ in range(3):
        x = rng.normal(size=n) * 10.0 ** rng.uniform(-10, 10, n)
        c = rng.normal(size=n) / np.abs(x)
        yield "mixed scales", lambda x, c=c: np.exp(c @ x / 4), x, np.exp(c @ x / 4) * np.outer(c, c) / 16
    for offset in (1e3, 1e6, 1e9):
        x = rng.normal(size=n)
        true = np.diag(6 * x)
        true[0, 1] = true[1, 0] = 1
        yield f"offset {offset:g}", lambda x, o=offset: o + np.sum(x**3) + x[0] * x[1], x, true
    for noise in (1e-14, 1e-10, 1e-6):
        x, rows = rng.normal(size=n), rng.normal(size=(9, n))
        yield (
            f"noise {noise:g}",
            lambda x, s=noise, r=rows: np.sum((r @ x) ** 2) + s * rng.standard_normal(),
            x,
            2 * rows.T @ rows,
        )
    single = rows.astype(np.float32)
    yield (
        "float32",
        lambda x: float(np.square(single @ x.astype(np.float32)).sum(dtype=np.float32)),
        x,
        (2 * single.astype(float).T @ single.astype(float)),
    )
    for d in (1e-2, 1e-5):
        x = rng.uniform(0.5, 2, n)
        e = x - d
        yield f"edge {d:g}", lambda x, e=e: np.log(x - e).sum(), x, np.diag(-1 / (x - e) ** 2)
    for a in (1, 10):
        x = rng.normal(size=n)
        p = np.exp(a * x) / np.exp(a * x).sum()
        yield f"log of sums, {a}", lambda x, a=a: np.log(np.exp(a * x).sum()), x, a * a * (np.diag(p) - np.outer(p, p))


@pytest.mark.parametrize("seed", range(4))
def test_errors_of_hessians_hold(seed):
    parts = {}
    with np.errstate(all="ignore"):
        for name, f, x, true in hessians(np.random.default_rng(seed), 6):
            value, error = numerical_hessian(lambda x, f=f: float(f(x)), x, full_output=True)
            np.testing.assert_array_equal(value, value.T)
            parts[name] = covered(value, error, true)
    assert np.mean(list(parts.values())) >= 0.97, parts
    # values of float32 are rough in proportion to their size, which grows with the step
    assert min(part for name, part in parts.items() if name != "float32") >= 0.75, parts
    assert parts["float32"] >= 0.5


def test_second_derivatives_of_mixed_scales():
    """x0**2 x1 + x1**3 at (1e6, 2): 12 beside 2e6."""
    f = lambda x: float(x[0] ** 2 * x[1] + x[1] ** 3)  # noqa: E731
    value, error = numerical_hessian(f, np.array([1e6, 2.0]), full_output=True)
    true = np.array([[4.0, 2e6], [2e6, 12.0]])
    np.testing.assert_allclose(value, true, rtol=1e-4)
    assert (np.abs(value - true) <= error).all()
    np.testing.assert_array_equal(value, numerical_hessian(f, np.array([1e6, 2.0])))
    with_step, rough = numerical_hessian(lambda x: float(np.sum(x**4)), np.array([1.0, 2.0]), h=1e-3, full_output=True)
    assert (np.abs(with_step - np.diag([12.0, 48.0])) <= rough).all()


def test_a_derivative_that_is_not_there_has_no_known_error():
    """Where f is nowhere finite beside x, the estimate is infinite and not NaN, which compares with nothing."""

    def f(x):
        return float(x @ x) if (x == [1.0, 2.0]).all() else NAN

    x = np.array([1.0, 2.0])
    with np.errstate(all="ignore"):
        for h in (None, 1e-3):
            assert (numerical_hessian(f, x, h, full_output=True)[1] == np.inf).all()
        assert (numerical_gradient(f, x, full_output=True)[1].error == np.inf).all()
        assert (numerical_jacobian(lambda x: np.array([f(x)]), x, full_output=True)[1] == np.inf).all()
        assert check_gradient(f, x, grad=2 * x).counts["nonfinite"] == 2


def test_what_a_hessian_costs():
    for n in (1, 4, 12):
        calls = []
        x = np.random.default_rng(n).normal(size=n) + 3
        numerical_hessian(lambda x: calls.append(1) or float(np.exp(x @ x / 100)), x)  # noqa: B023
        assert len(calls) <= 4 * n**2 + 30 * n + 12


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one(n):
    x = np.full(n, 2.0)
    value, info = numerical_gradient(squares, x, full_output=True)
    assert value.shape == info.error.shape == (n,)
    value, error = numerical_hessian(squares, x, full_output=True)
    np.testing.assert_allclose(value, 2 * np.eye(n), atol=1e-6)
    assert error.shape == (n, n)
    for f, shape in ((lambda x: np.ones((2, 3)) * x.sum(), (2, 3)), (lambda x: np.zeros(0), (0,))):
        value, error = numerical_jacobian(f, x, full_output=True)
        assert value.shape == error.shape == (*shape, n)
        np.testing.assert_allclose(value, np.ones((*shape, n)))
    assert check_gradient(squares, x, grad=2 * x).passed
