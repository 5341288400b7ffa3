"""Families of the gradient tournament: rounding, float32, random numbers, and large sums."""

import zlib

import numpy as np
from gradient_instances import EPS, EPS32, Instance, decades, family, size

L = np.longdouble


def hashed(x):
    """A number from -1 to 1 that looks random and depends on the bits of x only."""
    return zlib.crc32(np.ascontiguousarray(x).tobytes()) / 2.0**31 - 1


def ordinary(rng, n):
    """A smooth function of n elements with coupled and separate terms, and its gradient as a function."""
    a, b, w = rng.normal(size=n), rng.uniform(0.5, 2, n), rng.normal(size=n) / np.sqrt(n)

    def f(z):
        return (a * np.sin(b * z)).sum() + np.tanh((w * z).sum()) + (z * z).sum() / 2

    def grad(z):
        return a * b * np.cos(b * z) + w * (1 - np.tanh((w * z).sum()) ** 2) + z

    return f, grad


@family
def large_offset(rng):
    n = size(rng)
    f, grad = ordinary(rng, n)
    offset = decades(rng, 5, 9)
    x = rng.normal(size=n)
    return Instance(
        lambda z: offset + f(z), x, grad(x), noise=EPS * abs(offset) + EPS * n, length=0.5, other=[grad(x) - x]
    )


@family
def hashed_noise(rng):
    """Noise of 1e-14 to 1e-6 that is the same for the same x, as from an iterative solver."""
    n = size(rng)
    f, grad = ordinary(rng, n)
    level = 10.0 ** rng.uniform(-14, -6)
    x = rng.normal(size=n)
    return Instance(f, x, grad(x), f=lambda z: float(f(z)) + level * hashed(z), noise=level + EPS * n, length=0.5)


@family
def random_noise(rng):
    """Noise that differs from call to call, as from dropout of little weight or atomic additions."""
    n = size(rng)
    f, grad = ordinary(rng, n)
    level = 10.0 ** rng.uniform(-14, -6)
    noise = np.random.default_rng(rng.integers(2**32))
    x = rng.normal(size=n)
    return Instance(
        f, x, grad(x), f=lambda z: float(f(z)) + level * noise.uniform(-1, 1), noise=level + EPS * n, length=0.5
    )


@family
def relative_noise(rng):
    """A result known to so many digits only: rounded when printed, or perturbed in proportion to its value."""
    n = size(rng, 1, 60)
    f, grad = ordinary(rng, n)
    digits = int(rng.integers(7, 14))
    scale = 10.0 ** rng.uniform(-8, 8)
    x = rng.normal(size=n)
    value = abs(float(f(x))) + 1
    return Instance(
        lambda z: scale * f(z),
        x,
        scale * grad(x),
        f=lambda z: float(f"{scale * float(f(z)):.{digits}e}"),
        noise=scale * value * 10.0**-digits,
        length=0.5,
    )


@family
def rounded_result(rng):
    n = size(rng, 1, 60)
    f, grad = ordinary(rng, n)
    places = int(rng.integers(6, 13))
    x = rng.normal(size=n)
    return Instance(
        f, x, grad(x), f=lambda z: round(float(f(z)), places), noise=0.5 * 10.0**-places + EPS * n, length=0.5
    )


@family
def float32_inside(rng):
    """A network's loss in float32 of float64 parameters; the result is of any of three types."""
    n, d = int(rng.integers(1, 40)), size(rng, 1, 60)
    w = rng.normal(size=(n, d)).astype(np.float32)
    y = rng.normal(size=n).astype(np.float32)
    x = rng.normal(size=d).astype(np.float32).astype(np.float64) / np.sqrt(d)
    mean = bool(rng.integers(2))
    turn = (float, np.float32, np.float64)[rng.integers(3)]

    def smooth(z):
        loss = (np.tanh(w.astype(z.dtype) @ z) - y) ** 2
        return loss.mean() if mean else loss.sum()

    def single(z):
        return turn(smooth(np.asarray(z).astype(np.float32)))

    h = np.tanh(w.astype(float) @ x)
    g = w.T.astype(float) @ (2 * (h - y) * (1 - h**2)) / (n if mean else 1)
    value = float(smooth(x))
    noise = EPS32 * (value + np.linalg.norm(g * x) + 1 / np.sqrt(n if mean else 1))
    length = 0.5 / np.abs(w).max(0).astype(float)
    return Instance(smooth, x, g, f=single, noise=noise, length=length, other=[g * n if mean else g / n])


@family
def float32_array(rng):
    """x itself in float32; f in float32 or, from it, in float64."""
    n = size(rng)
    a, b = rng.normal(size=n), rng.uniform(0.5, 2, n)
    x = (rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3)).astype(np.float32)
    b = b / max(1.0, float(np.abs(x).max()))
    double = bool(rng.integers(2))
    exact = x.astype(np.float64)

    def smooth(z):
        return (a * np.sin(b * z)).sum() + (b * b * z * z).sum()

    def f(z):
        if double:
            return float(smooth(np.asarray(z, np.float64)))
        aa, bb = a.astype(np.float32), b.astype(np.float32)
        return float((aa * np.sin(bb * z)).sum(dtype=np.float32) + (bb * bb * z * z).sum(dtype=np.float32))

    g = a * b * np.cos(b * exact) + 2 * b * b * exact
    noise = (EPS if double else EPS32) * (abs(float(smooth(exact))) + np.sqrt(n) + np.linalg.norm(g * exact))
    return Instance(smooth, x, g, f=f, noise=noise, length=0.5 / b)


@family
def many_terms(rng):
    """Sums of 30,000 to a million terms, pairwise, in order, or by products; few elements."""
    terms = 1_000_000 if rng.random() < 0.2 else int(10 ** rng.uniform(4.5, 5.3))
    n = int(rng.integers(1, 4))
    t = rng.normal(size=terms)
    x = rng.normal(size=n) * 0.3
    kind = rng.integers(3)
    mean = bool(rng.integers(2))
    c = 1.0 / terms if mean else 1.0

    def f(z):
        total = t + z[0]
        for power in range(1, n):
            total = total + z[power] * t**power
        square = total * total
        if kind == 0:
            return c * square.sum()
        if kind == 1:
            return c * np.cumsum(square)[-1]
        return c * (total @ total)

    residual = t + x[0] + sum(x[p] * t**p for p in range(1, n))
    g = np.array([2 * c * (residual * t**p).sum() for p in range(n)])
    grow = np.sqrt(terms) if kind == 1 else 16
    return Instance(
        f,
        x,
        g,
        noise=EPS * grow * c * (residual**2).sum(),
        length=1.0,
        other=[g / terms, g / 2, g * (1 - 1000 / terms)],
    )


@family
def cancellation(rng):
    """A small difference of large numbers: variances by squares of means, energies before and after."""
    n, kind = size(rng, 2, 150), rng.integers(4)
    big = 10.0 ** rng.uniform(2, 7)
    x = rng.normal(size=n)
    if kind == 0:
        x = x + big
        g = 2 * (x - x.mean()) / n
        return Instance(
            lambda z: (z * z).mean() - z.mean() ** 2,
            x,
            g,
            noise=2 * EPS * big**2,
            length=10.0,
            other=[2 * x / n, g * n / (n - 1)],
        )
    if kind == 1:
        g = np.cos(x)
        return Instance(
            lambda z: ((big + np.sin(z)) - big).sum(), x, g, noise=EPS * big * np.sqrt(n), length=0.5, other=[-g]
        )
    if kind == 2:
        g = np.sin(2 * x)
        return Instance(
            lambda z: ((big + np.sin(z) ** 2) ** 2 - big**2).sum() / (2 * big),
            x,
            g * (1 + np.sin(x) ** 2 / big),
            noise=EPS * big * np.sqrt(n),
            length=0.3,
            other=[g * 2],
        )
    e = 10.0 ** rng.uniform(-5, -1)
    return Instance(
        lambda z: ((1 - np.cos(e * z)) / (e * e)).sum(),
        x,
        np.sin(e * x) / e,
        noise=EPS / e**2 * np.sqrt(n),
        length=0.5 / e,
        other=[np.cos(e * x)],
    )
