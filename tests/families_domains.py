"""Families of the gradient tournament: edges of domains, special functions, iterations and transforms."""

import numpy as np
from gradient_instances import EPS, Instance, family, size
from scipy import special

L = np.longdouble


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
            lambda z: (z * np.log(z)).sum(),
            x,
            np.log(x) + 1,
            length=x,
            noise=EPS * np.linalg.norm(x * np.log(x)),
            other=[np.log(x)],
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
            lambda z: np.logaddexp(z, 0).sum(),
            x,
            g,
            noise=EPS * np.abs(x).sum(),
            length=1.0,
            other=[1 - g, g * (1 - g)],
        )
    if kind == 1:
        e = np.exp(x - x.max())

        def f(z):
            return z.max() + np.log(np.exp(z - z.max()).sum())

        return Instance(f, x, e / e.sum(), noise=EPS * np.abs(x).max() * 2, length=1.0, other=[e, e / e.sum() - 1 / n])
    y = rng.integers(2, size=n)
    g = np.where(y, -special.expit(-x), special.expit(x))
    return Instance(
        lambda z: (np.logaddexp(0, z) - y * z).sum(),
        x,
        g,
        noise=2 * EPS * np.abs(x).sum(),
        length=1.0,
        other=[special.expit(x)],
    )


@family
def special_functions(rng):
    n, kind = size(rng, 1, 60), rng.integers(6)
    x = rng.uniform(0.2, 6, n)
    if kind == 0:
        return Instance(
            lambda z: special.loggamma(z).sum(),
            x,
            special.digamma(x),
            f=lambda z: float(special.gammaln(z).sum()),
            noise=EPS * (8 * np.sqrt(n) + 4),
            length=x,
            by="complex",
            other=[special.polygamma(1, x)],
        )
    if kind == 1:
        x = rng.normal(size=n) * 1.5
        g = 2 / np.sqrt(np.pi) * np.exp(-(x**2))
        return Instance(
            lambda z: special.erf(z).sum(), x, g, noise=2 * EPS * np.sqrt(n), length=0.5, by="complex", other=[g / 2]
        )
    if kind == 2:
        return Instance(
            lambda z: special.jv(0, z).sum(),
            x * 4,
            -special.j1(x * 4),
            noise=8 * EPS * np.sqrt(n),
            length=0.5,
            by="double",
        )
    if kind == 3:
        x = rng.normal(size=n) * 1.5
        cdf, pdf = special.ndtr(x), np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
        g = cdf + x * pdf
        return Instance(
            lambda z: (z * (1 + special.erf(z / np.sqrt(2))) / 2).sum(),
            x,
            g,
            noise=2 * EPS * (1 + np.linalg.norm(x)),
            length=0.5,
            by="complex",
            other=[cdf],
        )
    b = rng.uniform(0.5, 3, n)
    if kind == 4:
        return Instance(
            lambda z: special.betaln(z["a"], z["b"]).sum(),
            {"a": x, "b": b},
            {"a": special.digamma(x) - special.digamma(x + b), "b": special.digamma(b) - special.digamma(x + b)},
            noise=EPS * 20 * np.sqrt(n),
            length={"a": x, "b": b},
            by="double",
        )
    return Instance(
        lambda z: special.gamma(z).sum(),
        x,
        special.gamma(x) * special.digamma(x),
        noise=EPS * 8 * special.gamma(x).max() * 6,
        length=x,
        by="complex",
        other=[special.gamma(x)],
    )


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
        f,
        x,
        g.astype(float),
        noise=EPS * np.sqrt(n) * 2.0**steps,
        length=0.5 * 0.25**steps * 4,
        other=[(g / (r * (1 - 2 * x))).astype(float)],
    )


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

    return Instance(
        f, x, g, noise=EPS * 2 * n * n, length=1.0 + np.abs(x), other=[g / 2, 2 * np.real(basis.T @ (w * y)), g / n]
    )


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
