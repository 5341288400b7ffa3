"""Families of the gradient tournament: what floating point does to a difference, from scales and noise to domain edges."""

import zlib

import numpy as np
from gradient_instances import EPS, EPS32, Instance, decades, family, size
from scipy import special

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


# ---- Noise


@family
def large_offset(rng):
    n = size(rng)
    f, grad = ordinary(rng, n)
    offset = decades(rng, 5, 9)
    x = rng.normal(size=n)
    return Instance(lambda z: offset + f(z), x, grad(x), noise=EPS * abs(offset) + EPS * n, length=0.5, other=[grad(x) - x])


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
    terms = int(10 ** rng.uniform(4.5, 6))
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
        f, x, g, noise=EPS * grow * c * (residual**2).sum(), length=1.0, other=[g / terms, g / 2, g * (1 - 1000 / terms)]
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
            lambda z: (z * z).mean() - z.mean() ** 2, x, g, noise=2 * EPS * big**2, length=10.0, other=[2 * x / n, g * n / (n - 1)]
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


# ---- Scales


@family
def steep_exponential(rng):
    n = size(rng, 1, 100)
    rate = rng.choice([20.0, 50.0, 200.0])
    x = rng.uniform(-1, 1, n) * 2
    g = rate * np.exp(rate * x)
    return Instance(
        lambda z: np.exp(rate * z).sum(), x, g, noise=EPS * (rate * np.abs(x).max() + 2) * g.max() / rate, length=1 / rate
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
        lambda z: L(scale) * ((z / unit - target) ** 2 + (z / unit - target) ** 4 / 4).sum()
        if z.dtype == L
        else scale * ((z / unit - target) ** 2 + (z / unit - target) ** 4 / 4).sum(),
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
    return Instance(
        lambda z: value * (1 + part * f(z)), x, value * part * grad(x), noise=2 * EPS * value, length=0.5
    )


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
        noise=1e-323 + EPS * unit * n,
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
        lambda z: (c * z).sum(), x, c, noise=2 * EPS * np.linalg.norm(c * x), length=np.abs(x).max(), other=[c * x, c / n]
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


# ---- Domains


@family
def near_an_edge(rng):
    """log, sqrt, arcsin, powers and reciprocals so near to where they end that an ordinary step leaves the domain."""
    n, kind = size(rng, 1, 60), rng.integers(6)
    d = 10.0 ** rng.uniform(-9, -1, n)
    c = rng.uniform(0.5, 2, n) * d  # every term of the same influence
    if kind == 0:
        a = rng.normal(size=n)
        x = a + d
        d = (x.astype(L) - a).astype(float)
        return Instance(lambda z: np.log(z - a).sum(), x, 1 / d, length=d, noise=EPS * 25 * np.sqrt(n), other=[1 / x])
    if kind == 1:
        x = d
        g = 0.5 / np.sqrt(x)
        return Instance(lambda z: np.sqrt(z).sum(), x, g, length=x, noise=EPS * np.sqrt(n), other=[1 / np.sqrt(x)])
    if kind == 2:
        x = (1 - d) * rng.choice([-1, 1], n)
        d = (1 - np.abs(x).astype(L)).astype(float)
        g = 1 / np.sqrt(d * (2 - d))
        return Instance(
            lambda z: np.arcsin(z).sum(), x, g, length=d, noise=EPS * np.sqrt(n) * 2, other=[-g, 1 / np.sqrt(1 + x * x)]
        )
    if kind == 3:
        x = d * rng.choice([-1, 1], n)
        return Instance(
            lambda z: (c / z).sum(), x, -c / x**2, length=d, noise=EPS * 4 * np.sqrt(n), other=[c / x**2, -1 / x**2]
        )
    if kind == 4:
        x = d
        return Instance(
            lambda z: (z * np.log(z)).sum(), x, np.log(x) + 1, length=x, noise=EPS * np.linalg.norm(x * np.log(x)), other=[np.log(x)]
        )
    x, y = d, 10.0 ** rng.uniform(-9, 0, n)
    return Instance(
        lambda z: -(z["p"] * np.log(z["q"])).sum() + np.log1p(-z["p"]).sum(),
        {"p": x, "q": y},
        {"p": -np.log(y) - 1 / (1 - x), "q": -x / y},
        length={"p": 0.5 * np.ones(n), "q": y},
        noise=EPS * (1 + np.linalg.norm(x * np.log(y))),
        other=[{"p": -np.log(y), "q": -x / y}],
    )


@family
def at_an_edge(rng):
    """x exactly at the boundary of the domain of some elements: only one side has a value."""
    n, kind = size(rng, 1, 40), rng.integers(3)
    low = np.round(rng.normal(size=n), 3)
    at = rng.random(n) < rng.uniform(0.1, 1)
    x = np.where(at, low, low + rng.uniform(0.1, 1, n))
    c = rng.normal(size=n)
    upper = bool(rng.integers(2))
    sign = -1.0 if upper else 1.0

    def inside(z):
        return (sign * (z - low) < 0).any()

    # reflected for an upper bound, so that the domain is on the other side
    x = np.where(at, low, low + sign * np.abs(x - low))

    if kind == 0:
        f = lambda z: np.exp(c * (z - low)).sum()  # noqa: E731
        g = c * np.exp(c * (x - low))
    elif kind == 1:
        f = lambda z: (np.log1p(sign * (z - low)) * c + np.sin(z)).sum()  # noqa: E731
        g = sign * c / (1 + np.abs(x - low)) + np.cos(x)
    else:
        f = lambda z: (c * z + np.abs(z - low) ** 2.5).sum()  # noqa: E731
        g = c + sign * 2.5 * np.abs(x - low) ** 1.5
    other = [np.where(at, 0.0, g), np.where(at, g / 2, g)]
    one = np.where(at, 0.05, np.abs(x - low))
    return Instance(
        f,
        x,
        g,
        f=lambda z: float("nan") if inside(z) else float(f(z)),
        length=np.minimum(one, 0.3),
        noise=EPS * (2 * np.sqrt(n) + np.linalg.norm(c * low)),
        other=other,
    )


@family
def large_arguments(rng):
    """Softplus, logsumexp and sigmoids of large arguments, where one side saturates."""
    n, kind = size(rng, 1, 80), rng.integers(3)
    x = rng.normal(size=n) * rng.choice([10, 100, 1000])
    if kind == 0:
        g = special.expit(x)
        return Instance(
            lambda z: np.logaddexp(z, 0).sum(), x, g, noise=EPS * np.abs(x).sum(), length=1.0, other=[1 - g, g * (1 - g)]
        )
    if kind == 1:
        e = np.exp(x - x.max())

        def f(z):
            return z.max() + np.log(np.exp(z - z.max()).sum())

        return Instance(f, x, e / e.sum(), noise=EPS * np.abs(x).max() * 2, length=1.0, other=[e, e / e.sum() - 1 / n])
    y = rng.integers(2, size=n)
    g = np.where(y, -special.expit(-x), special.expit(x))
    return Instance(
        lambda z: (np.logaddexp(0, z) - y * z).sum(), x, g, noise=2 * EPS * np.abs(x).sum(), length=1.0, other=[special.expit(x)]
    )


@family
def special_functions(rng):
    n, kind = size(rng, 1, 60), rng.integers(6)
    x = rng.uniform(0.2, 6, n)
    if kind == 0:
        return Instance(
            lambda z: special.loggamma(z).sum(), x, special.digamma(x), f=lambda z: float(special.gammaln(z).sum()),
            noise=EPS * (8 * np.sqrt(n) + 4), length=x, by="complex", other=[special.polygamma(1, x)],
        )  # fmt: skip
    if kind == 1:
        x = rng.normal(size=n) * 1.5
        g = 2 / np.sqrt(np.pi) * np.exp(-(x**2))
        return Instance(
            lambda z: special.erf(z).sum(), x, g, noise=2 * EPS * np.sqrt(n), length=0.5, by="complex", other=[g / 2]
        )
    if kind == 2:
        return Instance(
            lambda z: special.jv(0, z).sum(), x * 4, -special.j1(x * 4), noise=8 * EPS * np.sqrt(n), length=0.5, by="double"
        )
    if kind == 3:
        x = rng.normal(size=n) * 1.5
        cdf, pdf = special.ndtr(x), np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
        g = cdf + x * pdf
        return Instance(
            lambda z: (z * (1 + special.erf(z / np.sqrt(2))) / 2).sum(), x, g,
            noise=2 * EPS * (1 + np.linalg.norm(x)), length=0.5, by="complex", other=[cdf],
        )  # fmt: skip
    b = rng.uniform(0.5, 3, n)
    if kind == 4:
        return Instance(
            lambda z: special.betaln(z["a"], z["b"]).sum(),
            {"a": x, "b": b},
            {"a": special.digamma(x) - special.digamma(x + b), "b": special.digamma(b) - special.digamma(x + b)},
            noise=EPS * 20 * np.sqrt(n), length={"a": x, "b": b}, by="double",
        )  # fmt: skip
    return Instance(
        lambda z: special.gamma(z).sum(), x, special.gamma(x) * special.digamma(x), noise=EPS * 8 * special.gamma(x).max() * 6,
        length=x, by="complex", other=[special.gamma(x)],
    )  # fmt: skip


# ---- Iterations and transforms


@family
def chaotic_map(rng):
    """Some steps of the logistic map: derivatives grow as 2 to the number of steps."""
    n, steps = size(rng, 1, 30), int(rng.integers(2, 14))
    x, r = rng.uniform(0.1, 0.9, n), rng.uniform(3.6, 4.0)

    def f(z):
        for _ in range(steps):
            z = r * z * (1 - z)
        return z.sum()

    y, g = x.astype(L), np.ones(n, L)
    for _ in range(steps):
        g, y = g * r * (1 - 2 * y), r * y * (1 - y)
    return Instance(
        f, x, g.astype(float), noise=EPS * np.sqrt(n) * 2.0**steps, length=0.5 * 0.25**steps * 4,
        other=[(g / (r * (1 - 2 * x))).astype(float)],
    )  # fmt: skip


@family
def differential_equation(rng):
    """Euler's method for a damped pendulum, by its parameters and start; the adjoint is run backwards."""
    steps = int(rng.integers(50, 120))
    dt = 4.0 / steps
    damping, stiffness = rng.uniform(0.05, 0.5), rng.uniform(0.5, 3)
    x = np.array([rng.uniform(-2, 2), rng.normal(), damping, stiffness])

    def f(z):
        angle, speed = z[0], z[1]
        for _ in range(steps):
            angle, speed = angle + dt * speed, speed - dt * (z[2] * speed + z[3] * np.sin(angle))
        return angle * angle + speed * speed

    path = [(x[0], x[1])]
    for _ in range(steps):
        a, s = path[-1]
        path.append((a + dt * s, s - dt * (x[2] * s + x[3] * np.sin(a))))
    ga, gs = 2 * path[-1][0], 2 * path[-1][1]
    gd = gk = 0.0
    for a, s in path[-2::-1]:
        gd, gk = gd - gs * dt * s, gk - gs * dt * np.sin(a)
        ga, gs = ga - gs * dt * x[3] * np.cos(a), ga * dt + gs * (1 - dt * x[2])
    g = np.array([ga, gs, gd, gk])
    return Instance(f, x, g, noise=EPS * 30 * (1 + abs(f(x))), length=0.2, other=[g * [1, 1, 0, 1], g * [1, 1, 1, -1]])


@family
def power_spectrum(rng):
    """Complex numbers inside: weighted powers of a Fourier transform."""
    n = size(rng, 2, 128)
    x, w = rng.normal(size=n), rng.uniform(0, 1, n)
    basis = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    y = basis @ x
    g = 2 * np.real(basis.conj().T @ (w * y))

    def f(z):
        if z.dtype == np.float64:
            spectrum = np.fft.fft(z)
            return (w * np.abs(spectrum) ** 2).sum()
        real, imaginary = basis.real @ z, basis.imag @ z
        return (w * (real**2 + imaginary**2)).sum()

    return Instance(f, x, g, noise=EPS * 2 * n * n, length=1.0 + np.abs(x), other=[g / 2, 2 * np.real(basis.T @ (w * y)), g / n])


@family
def gaussian_mixture(rng):
    """The likelihood of a mixture by its means, log variances and weights."""
    n, k = int(rng.integers(2, 40)), int(rng.integers(1, 5))
    data = rng.normal(size=n) * 2
    p = {"mean": rng.normal(size=k), "log_sd": rng.normal(size=k) * 0.5, "logit": rng.normal(size=k)}

    def f(z):
        away = (data[:, None] - z["mean"]) * np.exp(-z["log_sd"])
        logs = -away * away / 2 - z["log_sd"] + z["logit"] - np.log(np.exp(z["logit"]).sum())
        top = logs.max(1)
        return -(top + np.log(np.exp(logs - top[:, None]).sum(1))).sum()

    sd = np.exp(p["log_sd"])
    away = (data[:, None] - p["mean"]) / sd
    prior = np.exp(p["logit"]) / np.exp(p["logit"]).sum()
    logs = -away * away / 2 - p["log_sd"] + np.log(prior)
    r = np.exp(logs - logs.max(1, keepdims=True))
    r /= r.sum(1, keepdims=True)
    g = {"mean": -(r * away / sd).sum(0), "log_sd": -(r * (away**2 - 1)).sum(0), "logit": -(r - prior).sum(0)}
    one = EPS * 8 * np.sqrt(n) * (3 + np.abs(logs).max() / 4)
    length = {"mean": 0.3 * sd, "log_sd": np.full(k, 0.1), "logit": np.full(k, 0.3)}
    other = [g | {"log_sd": -(r * away**2).sum(0)}, g | {"logit": -r.sum(0)}, g | {"mean": -(r * away).sum(0)}]
    return Instance(f, p, g, noise=one, length=length, other=other)
