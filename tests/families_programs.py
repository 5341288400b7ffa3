"""Families of the gradient tournament: what programs do inside f, and how x lies in memory."""

import numpy as np
from families_networks import softmax
from families_noise import hashed, ordinary
from gradient_instances import EPS, EPS32, Instance, family, size

L = np.longdouble


@family
def iterative_solver(rng):
    """Kepler's equation by an iteration that stops at a tolerance: the result jumps as the number of steps changes."""
    n = size(rng, 1, 40)
    tolerance = 10.0 ** rng.uniform(-12, -7)
    mean, e = rng.uniform(-3, 3, n), rng.uniform(0.05, 0.6, n)
    w = rng.normal(size=n)

    def solve(m, e, tolerance):
        angle = m + 0 * e
        for _ in range(200):
            before, angle = angle, m + e * np.sin(angle)
            if np.abs(angle - before).max() < tolerance:
                break
        return angle

    angle = solve(mean.astype(L), e.astype(L), 0).astype(float)
    slope = w / (1 - e * np.cos(angle))
    g = {"mean": slope, "e": slope * np.sin(angle)}
    return Instance(
        lambda z: (w * solve(z["mean"], z["e"], 0)).sum(),
        {"mean": mean, "e": e},
        g,
        f=lambda z: float((w * solve(z["mean"], z["e"], tolerance)).sum()),
        noise=tolerance * np.linalg.norm(w * e / (1 - e)) + EPS * n,
        length=0.2,
        other=[{"mean": w, "e": w * np.sin(angle)}],
    )


@family
def drifting(rng):
    """A function with a state: every call adds a little to its result, as a clock or a running mean would."""
    n = size(rng)
    f, grad = ordinary(rng, n)
    level = 10.0 ** rng.uniform(-15, -10)
    calls = [0]

    def drifts(z):
        calls[0] += 1
        return float(f(z)) + level * calls[0]

    x = rng.normal(size=n)
    return Instance(f, x, grad(x), f=drifts, noise=5 * level + EPS * n, length=0.5)


@family
def quantised_input(rng):
    """A function of x rounded to a grid, as of fixed-point numbers: small steps change nothing."""
    n = size(rng, 1, 60)
    f, grad = ordinary(rng, n)
    places = int(rng.integers(5, 10))
    x = np.round(rng.normal(size=n), places)
    g = grad(x)
    noise = 10.0**-places * np.linalg.norm(g)
    return Instance(f, x, g, f=lambda z: float(f(np.round(z, places))), noise=noise, length=0.5)


@family
def half_precision_inside(rng):
    """A loss in 16 bits: an honest check can hardly tell anything."""
    n = size(rng, 1, 20)
    a, x = rng.uniform(0.5, 2, n), rng.normal(size=n)
    return Instance(
        lambda z: np.tanh(a * z).sum(),
        x,
        a * (1 - np.tanh(a * x) ** 2),
        f=lambda z: np.tanh(a.astype(np.float16) * z.astype(np.float16)).sum(dtype=np.float16),
        noise=1e-3 * (1 + np.sqrt(n)),
        length=0.5,
    )


@family
def single_accumulation(rng):
    """Double-precision terms added up in float32, from the first to the last."""
    n, terms = size(rng, 1, 10), int(10 ** rng.uniform(2, 4))
    data = rng.normal(size=(terms, n)) / np.sqrt(n)
    x = rng.normal(size=n)
    t = data @ x
    g = data.T @ (np.tanh(t) / np.cosh(t) ** 2 * 2)
    return Instance(
        lambda z: (np.tanh(data @ z) ** 2).sum(),
        x,
        g,
        f=lambda z: np.cumsum((np.tanh(data @ z) ** 2).astype(np.float32))[-1],
        noise=EPS32 * np.sqrt(terms) * (np.tanh(t) ** 2).sum(),
        length=0.3,
        other=[g / terms, g / 2],
    )


@family
def small_wiggles(rng):
    """A slow function with a fast one of small amplitude on top that contributes to the slope, or is only noise."""
    n = size(rng, 1, 100)
    f, grad = ordinary(rng, n)
    fast = 10.0 ** rng.uniform(3, 5)
    height = 10.0 ** rng.uniform(-3, 0) / fast
    level = rng.choice([0.0, 1e-13])
    x = rng.normal(size=n)
    return Instance(
        lambda z: f(z) + height * np.sin(fast * z).sum(),
        x,
        grad(x) + height * fast * np.cos(fast * x),
        f=lambda z: float(f(z) + height * np.sin(fast * z).sum()) + level * hashed(z),
        noise=EPS * (n + height * fast * n) + level,
        length=1 / fast,
        other=[grad(x)] if height * fast > 0.01 else [],
    )


@family
def narrow_peaks(rng):
    """Peaks of widths from 1e-6 to 1: flat almost everywhere, steep beside their middle."""
    n = size(rng, 1, 60)
    w = 10.0 ** rng.uniform(-6, 0, n)
    c, a = rng.normal(size=n), rng.normal(size=n)
    far = rng.random(n) < 0.2
    x = c + w * np.where(far, 1e3, rng.normal(size=n))
    d = ((x.astype(L) - c) / w).astype(float)
    g = -2 * a * d / w * np.exp(-d * d)
    return Instance(
        lambda z: (a * np.exp(-(((z - c) / w) ** 2)) + (z - c) * 0.1).sum(),
        x,
        g + 0.1,
        length=0.3 * w,
        noise=EPS * 2 * (n + 0.1 * np.linalg.norm(x - c)),
        other=[g, g / 2 + 0.1],
    )


@family
def large_positions(rng):
    """Time stamps and coordinates far from 0 in a function of small differences: steps relative to x are too long."""
    n = size(rng, 2, 60)
    origin = 10.0 ** rng.uniform(4, 8.5)
    x = np.round(origin) + rng.uniform(0, 10, n)
    gaps = np.diff(x)
    s = np.cos(gaps)
    g = np.zeros(n)
    g[1:] += s
    g[:-1] -= s
    one_sided = g.copy()
    one_sided[:-1] += s
    return Instance(
        lambda z: np.sin(np.diff(z)).sum(),
        x,
        g,
        length=0.5,
        noise=EPS * n,  # differences of neighbours are exact
        other=[one_sided, -g],
    )


# ---- How x lies in memory


@family
def layouts(rng):
    """Views, Fortran order, several dimensions, a single number."""
    n, kind = int(rng.integers(2, 7)), rng.integers(5)
    base = rng.normal(size=(2 * n, 2 * n))
    x = (base[::2, 1::2], np.asfortranarray(base[:n, :n]), base[:n, :3].T, base[::-1][:n, 0], np.array(base[0, 0]))[
        kind
    ]
    a, b = rng.normal(size=x.shape), rng.uniform(0.5, 2, x.shape)
    g = a * b * np.cos(b * x) + 2 * x
    return Instance(
        lambda z: (a * np.sin(b * z)).sum() + (z * z).sum(), x, g, length=0.5, noise=EPS * (n * n + 2), other=[g / 2]
    )


@family
def three_dimensions(rng):
    """Batches of small matrices: sums over the wrong axis and rolled axes are the mistakes."""
    shape = tuple(int(k) for k in rng.integers(1, 6, 3))
    x, c = rng.normal(size=shape), rng.normal(size=shape)
    y = softmax(x)
    g = y * (c - (y * c).sum(-1, keepdims=True))
    over_first = np.exp(x - x.max(0)) / np.exp(x - x.max(0)).sum(0)
    wrong = over_first * (c - (over_first * c).sum(0, keepdims=True))
    other = [g / shape[0], y * c] + ([wrong] if shape[0] > 1 else [])
    return Instance(
        lambda z: (c * softmax(z)).sum(), x, g, length=1.0, noise=EPS * (1 + np.linalg.norm(c)), other=other
    )


@family
def mixed_precision(rng):
    """A dict of a float32 array and a float64 array; f computes in double precision from both."""
    n = size(rng, 1, 40)
    a, c = rng.normal(size=n), rng.normal(size=n)
    w, b = rng.normal(size=n).astype(np.float32), rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3)
    unit = float(np.abs(b).max())

    def f(z):
        wide = z["w"].astype(np.float64) if z["w"].dtype == np.float32 else z["w"]
        return (a * np.tanh(wide * c)).sum() + (wide * np.sin(z["b"] / unit)).sum()

    exact = w.astype(float)
    g = {"w": a * c * (1 - np.tanh(exact * c) ** 2) + np.sin(b / unit), "b": exact * np.cos(b / unit) / unit}
    length = {"w": 0.5 / np.maximum(np.abs(c), 0.5), "b": np.full(n, 0.5 * unit)}
    return Instance(f, {"w": w, "b": b}, g, length=length, noise=EPS * 2 * (n + 1), other=[g | {"b": g["b"] * unit}])
