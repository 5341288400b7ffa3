"""Families of the gradient tournament: steep, fast, large, small and mixed scales."""

import numpy as np
from families_noise import ordinary
from gradient_instances import EPS, Instance, decades, family, size

L = np.longdouble


@family
def steep_exponential(rng):
    n = size(rng, 1, 100)
    rate = rng.choice([20.0, 50.0, 200.0])
    x = rng.uniform(-1, 1, n) * 2
    g = rate * np.exp(rate * x)
    return Instance(
        lambda z: np.exp(rate * z).sum(),
        x,
        g,
        noise=EPS * (rate * np.abs(x).max() + 2) * g.max() / rate,
        length=1 / rate,
    )


@family
def fast_waves(rng):
    """sin(1e5 x), and among its elements slow ones."""
    n = size(rng, 1, 150)
    w = np.where(rng.random(n) < rng.uniform(0, 1), 10.0 ** rng.uniform(3, 5.5), rng.uniform(0.5, 2, n))
    a = 1 / w if rng.random() < 0.3 else np.ones(n)
    x = rng.normal(size=n)
    return Instance(
        lambda z: (a * np.sin(w * z)).sum(),
        x,
        a * w * np.cos(w * x),
        noise=EPS * (np.sqrt(n) + np.linalg.norm(a * w * x)),
        length=1 / w,
    )


@family
def mixed_scales(rng):
    """Elements over 20 decades whose terms are all of one size."""
    n = size(rng)
    u = 10.0 ** rng.uniform(-10, 10, n)
    x = rng.normal(size=n) * u
    y = x / u
    return Instance(
        lambda z: (np.sin(z / u) + (z / u) ** 2).sum(),
        x,
        (np.cos(y) + 2 * y) / u,
        length=0.5 * u,
        noise=EPS * (n + np.linalg.norm(y)),
    )


@family
def mixed_coefficients(rng):
    """Terms over 20 decades, most of which the sum swallows."""
    n = size(rng)
    c = decades(rng, -10, 10, n)
    x = rng.normal(size=n)
    return Instance(
        lambda z: (c * np.sin(z)).sum(),
        x,
        c * np.cos(x),
        length=0.5,
        noise=EPS * np.linalg.norm(c),
    )


@family
def physical_units(rng):
    """Lengths of 1e-8, frequencies of 1e9 and elements that are exactly 0 among large ones."""
    n = size(rng, 2, 100)
    unit = 10.0 ** rng.choice([-8, 9, -19, 23, 0], n)
    x = unit * rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
    x[rng.random(n) < rng.uniform(0, 0.4)] = 0.0
    target = rng.normal(size=n)
    y = x / unit - target
    scale = 10.0 ** rng.uniform(-20, 20)
    g = scale * (2 * y + y**3) / unit
    return Instance(
        lambda z: (
            L(scale) * ((z / unit - target) ** 2 + (z / unit - target) ** 4 / 4).sum()
            if z.dtype == L
            else scale * ((z / unit - target) ** 2 + (z / unit - target) ** 4 / 4).sum()
        ),
        x,
        g,
        length=0.5 * unit,
        noise=EPS * scale * (n + (y**4).sum()),
    )


@family
def sparse_gradient(rng):
    """Rows of a table of which few are looked up, or a mask: most elements have no influence."""
    rows, d = int(rng.integers(3, 60)), int(rng.integers(1, 4))
    x = rng.normal(size=(rows, d))
    ids = rng.integers(rows, size=int(rng.integers(1, 6)))
    w = rng.normal(size=(len(ids), d))

    def f(z):
        return (np.tanh(z[ids]) * w).sum()

    g, last = np.zeros((rows, d)), np.zeros((rows, d))
    np.add.at(g, ids, w * (1 - np.tanh(x[ids]) ** 2))
    last[ids] = w * (1 - np.tanh(x[ids]) ** 2)  # a row looked up twice counts once
    return Instance(f, x, g, length=0.5, noise=EPS * (1 + np.linalg.norm(w)), other=[last])


@family
def huge_value(rng):
    """A large value that hardly depends on x."""
    n = size(rng, 1, 60)
    f, grad = ordinary(rng, n)
    x = rng.normal(size=n)
    value, part = 10.0 ** rng.uniform(8, 14), 10.0 ** rng.uniform(-10, -4)
    return Instance(lambda z: value * (1 + part * f(z)), x, value * part * grad(x), noise=2 * EPS * value, length=0.5)


@family
def tiny_values(rng):
    """Everything far below 1: losses of 1e-300, elements of 1e-200, subnormal results."""
    n = size(rng, 1, 60)
    kind = rng.integers(3)
    x = rng.normal(size=n)
    if kind == 0:
        f, grad = ordinary(rng, n)
        scale = 10.0 ** rng.uniform(-300, -100)
        return Instance(lambda z: L(scale) * f(z), x, scale * grad(x), noise=EPS * n * scale, length=0.5)
    if kind == 1:
        unit = 10.0 ** rng.uniform(-200, -50)
        return Instance(
            lambda z: np.tanh(z / unit).sum(), x * unit, (1 - np.tanh(x) ** 2) / unit, noise=EPS * n, length=0.5 * unit
        )
    unit = 10.0 ** rng.uniform(-317, -309)
    return Instance(
        lambda z: L(unit) * (np.sin(z) + z).sum(),
        x,
        unit * (np.cos(x) + 1),
        noise=2e-323 + EPS * unit * n,
        length=0.5,
    )


@family
def constant(rng):
    """A function that does not depend on x at all, or on some of its elements only."""
    n = size(rng)
    value = rng.choice([0.0, 1.0, decades(rng, -10, 10)])
    x = decades(rng, -3, 3, n)
    return Instance(lambda z: L(value), x, np.zeros(n), noise=0.0, length=np.abs(x), zero_matters=abs(value) or 1.0)


@family
def linear(rng):
    n = size(rng)
    c = decades(rng, -2, 2, n)
    x = decades(rng, -3, 3, n)
    return Instance(
        lambda z: (c * z).sum(),
        x,
        c,
        noise=2 * EPS * np.linalg.norm(c * x),
        length=np.abs(x).max(),
        other=[c * x, c / n],
    )


@family
def even_at_zero(rng):
    """Even functions at 0: the gradient is 0 by symmetry, and a wrong one is not."""
    n = size(rng, 1, 100)
    a, b = rng.normal(size=n), rng.uniform(0.5, 2, n)
    x = np.zeros(n)
    moved = rng.random(n) < rng.choice([0, 0.3])
    x[moved] = rng.normal(size=moved.sum())
    g = -a * b * np.sin(b * x) + 4 * x**3
    offset = rng.choice([0.0, 1.0, 100.0])
    return Instance(
        lambda z: (a * np.cos(b * z)).sum() + (z**4).sum() + offset,
        x,
        g,
        noise=EPS * (offset + 2 * n + (x**4).sum()),
        length=0.5,
        zero_matters=float(np.abs(a * b).max()),
        other=[-a * b * np.cos(b * x)],
    )
