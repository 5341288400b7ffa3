"""Families of the gradient tournament: linear algebra and polynomials."""

import numpy as np
from gradient_instances import EPS, Instance, decades, family, size

L = np.longdouble


def spread_matrix(rng, n, worst):
    """A matrix with singular values over up to so many decades, and a positive determinant."""
    u, _ = np.linalg.qr(rng.normal(size=(n, n)))
    v, _ = np.linalg.qr(rng.normal(size=(n, n)))
    a = (u * 10 ** rng.uniform(-worst, 0, n)) @ v
    if np.linalg.det(a) < 0:
        a[0] *= -1
    return a


def solve_long(a, b):
    """Solve a u = b by elimination with pivots, in long double."""
    a, b = np.array(a, L), np.array(b, L)
    n = len(b)
    for k in range(n):
        p = k + int(np.argmax(np.abs(a[k:, k])))
        a[[k, p]], b[[k, p]] = a[[p, k]], b[[p, k]]
        for i in range(k + 1, n):
            m = a[i, k] / a[k, k]
            a[i] -= m * a[k]
            b[i] -= m * b[k]
    u = np.zeros_like(b)
    for k in reversed(range(n)):
        u[k] = (b[k] - a[k, k + 1 :] @ u[k + 1 :]) / a[k, k]
    return u


def inverse_long(a):
    return np.array([solve_long(a, e) for e in np.eye(len(a))]).T


@family
def log_determinant(rng):
    n = size(rng, 1, 10)
    x = spread_matrix(rng, n, rng.choice([0.3, 2, 5])) * 10.0 ** rng.integers(-3, 4)
    g = inverse_long(x).T.astype(float)
    noise = EPS * (abs(np.linalg.slogdet(x)[1]) + n * np.linalg.norm(g * x) + np.linalg.norm(g) * np.abs(x).max())
    return Instance(
        lambda z: np.linalg.slogdet(z)[1] if z.dtype == float else np.log(np.linalg.det(z) / np.linalg.det(z.real)),
        x,
        g,
        noise=noise,
        length=1 / np.maximum(np.abs(g), 1e-300),
        by="complex",
        other=[g.T, g - g * np.eye(n)],
    )


@family
def covariance_likelihood(rng):
    """log det(S) + trace(inv(S) C) of a symmetric positive S, all of whose elements are free."""
    n = size(rng, 2, 8)
    a = rng.normal(size=(n, n)) / np.sqrt(n)
    s = a @ a.T + np.eye(n) * rng.choice([1.0, 0.1])
    c = np.cov(rng.normal(size=(n, 5 * n)))
    p = inverse_long(s).astype(float)
    g = p.T - (p @ c @ p).T

    def f(z):
        if z.dtype == complex:
            return np.log(np.linalg.det(z)) + np.trace(np.linalg.inv(z) @ c)
        return np.linalg.slogdet(z)[1] + np.trace(np.linalg.solve(z, c))

    noise = 8 * EPS * n * (np.linalg.norm(p) * np.abs(s).max() * (1 + np.linalg.norm(p @ c)))
    length = 1 / np.maximum(np.abs(p), 1e-3).T
    return Instance(f, s, g, noise=noise, length=length, by="complex", other=[p.T, g / 2])


@family
def linear_solve(rng):
    n = size(rng, 1, 9)
    a = spread_matrix(rng, n, rng.choice([0.3, 3, 7]))
    b, c = rng.normal(size=n), rng.normal(size=n)
    u, w = solve_long(a, b), solve_long(a.T, c)
    g = {"A": -np.outer(w, u).astype(float), "b": w.astype(float)}
    inverse = np.abs(inverse_long(a)).astype(float)
    noise = EPS * n * float(np.linalg.norm(w) * np.linalg.norm(a) * np.linalg.norm(u))
    length = {"A": 1 / np.maximum(inverse.T, 1e-300), "b": np.full(n, 1.0 + np.abs(b).max())}
    if rng.random() < 0.5:
        return Instance(
            lambda z: c @ np.linalg.solve(z["A"], z["b"]), {"A": a, "b": b}, g, noise=noise, length=length, by="complex"
        )
    return Instance(
        lambda z: c @ np.linalg.solve(z, b),
        a,
        g["A"],
        noise=noise,
        length=length["A"],
        by="complex",
        other=[g["A"].T, -g["A"]],
    )


@family
def largest_eigenvalue(rng):
    n = size(rng, 2, 10)
    s = rng.normal(size=(n, n))
    s = (s + s.T) / 2
    values, vectors = np.linalg.eigh(s)
    v = vectors[:, -1]
    gap = values[-1] - values[-2]
    noise = EPS * n * np.abs(values).max()
    # eigvalsh would read one triangle only: the element is moved in both halves of the symmetric part
    return Instance(
        lambda z: np.linalg.eigvalsh((z + z.T) / 2)[-1],
        s,
        np.outer(v, v),
        noise=noise,
        length=gap,
        by="double",
        other=[np.outer(v, v) * 2 - np.eye(n) * v**2],
    )


@family
def norms(rng):
    """Norms of vectors and residuals, some so near 0 that a step of fixed size crosses the kink there."""
    n = size(rng, 1, 200)
    kind, scale = rng.integers(4), 10.0 ** rng.uniform(-12, 3)
    x = rng.normal(size=n) * scale
    if kind == 0:
        r = np.linalg.norm(x)
        return Instance(lambda z: np.sqrt((z * z).sum()), x, x / r, length=r, other=[2 * x, x])
    if kind == 1:
        p = rng.choice([1.5, 3.0, 4.0])
        q = (np.abs(x) ** p).sum() ** (1 / p)
        g = np.sign(x) * np.abs(x) ** (p - 1) * q ** (1 - p)
        # |x|^p is not smooth at 0, and the sum not where it vanishes
        length = np.abs(x) if p != 4 else np.full(n, q / n)
        return Instance(
            lambda z: (np.abs(z) ** L(p)).sum() ** (1 / L(p)) if z.dtype == L else (np.abs(z) ** p).sum() ** (1 / p),
            x,
            g,
            length=length,
            other=[g * p],
        )
    m = size(rng, 1, 12)
    a, b = rng.normal(size=(m + n, n)) / scale, rng.normal(size=m + n)
    if kind == 2:
        b = (a @ x) + 10.0 ** rng.uniform(-6, 0) * rng.normal(size=m + n)
    residual = (a.astype(L) @ x - b).astype(float)
    r = np.linalg.norm(residual)
    g = a.T @ residual / r
    noise = EPS * (np.linalg.norm(np.abs(a) @ np.abs(x)) + np.linalg.norm(b)) / np.sqrt(n + m)
    noise *= 1 + np.linalg.norm(residual) / r
    return Instance(
        lambda z: np.sqrt(((a @ z - b) ** 2).sum()),
        x,
        g,
        noise=noise,
        length=r / np.linalg.norm(a, axis=0),
        other=[g * r],
    )


@family
def quadratic_form(rng):
    """Ill-conditioned quadratics, exact for a central difference of any step, with a lost term among the mistakes."""
    n = size(rng, 1, 120)
    d = 10.0 ** rng.uniform(-rng.choice([1, 8]), 2, n)
    q = rng.normal(size=(n, 3)) / np.sqrt(n)
    b, x = rng.normal(size=n), rng.normal(size=n)
    g = d * x + q @ (q.T @ x) + b
    return Instance(
        lambda z: (d * z * z).sum() / 2 + ((q.T @ z) ** 2).sum() / 2 + (b * z).sum(),
        x,
        g,
        length=1 + np.abs(x),
        noise=2 * EPS * (np.linalg.norm(d * x * x) + np.linalg.norm(b * x) + 1),
        other=[g - b, 2 * d * x + b, d * x + b],
    )


@family
def rosenbrock(rng):
    n = size(rng, 2, 200)
    x = rng.uniform(-2, 2, n) if rng.random() < 0.7 else 1 + 1e-3 * rng.normal(size=n)
    g = np.zeros(n)
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    wrong = g.copy()
    wrong[1:] -= 200 * (x[1:] - x[:-1] ** 2)
    noise = 5 * EPS * (300 + np.linalg.norm(100 * (x[1:] - x[:-1] ** 2) ** 2))
    return Instance(
        lambda z: (100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum(), x, g, noise=noise, other=[wrong]
    )


@family
def polynomial(rng):
    """High degrees by Horner's rule or Chebyshev's recurrence, in the argument or in the coefficients."""
    degree = int(rng.integers(8, 40))
    kind = rng.integers(3)
    if kind == 0:
        c, x = rng.normal(size=degree), rng.uniform(-1.2, 1.2, size(rng, 1, 50))
        powers = x[:, None] ** np.arange(degree - 1)
        g = powers @ (c[1:] * np.arange(1, degree))
        noise = EPS * np.abs(x[:, None] ** np.arange(degree) * c).sum()

        def horner(z):
            total = np.zeros_like(z)
            for factor in c[::-1]:
                total = total * z + factor
            return total.sum()

        return Instance(horner, x, g, noise=noise, length=1.0 / degree)
    if kind == 1:
        x = np.cos(rng.uniform(0.2, np.pi - 0.2, size(rng, 1, 50)))
        angle = np.arccos(x)
        g = degree * np.sin(degree * angle) / np.sin(angle)

        def chebyshev(z):
            before, now = np.ones_like(z), z.copy()
            for _ in range(degree - 1):
                before, now = now, 2 * z * now - before
            return now.sum()

        return Instance(chebyshev, x, g, noise=4 * EPS * degree * np.sqrt(x.size), length=0.3 / degree, other=[-g])
    t = rng.uniform(-1, 1, 30)
    y = np.sin(3 * t)
    powers = t[:, None] ** np.arange(degree)
    x = rng.normal(size=degree)
    residual = powers @ x - y
    g = powers.T @ residual / 30
    return Instance(
        lambda z: ((powers @ z - y) ** 2).sum() / 60,
        x,
        g,
        noise=4 * EPS * np.mean((np.abs(powers) @ np.abs(x) + 1) * np.abs(residual)),
        length=1 + np.abs(x),
        other=[g * 2, g * 30],
    )


@family
def product_of_all(rng):
    """The product of the elements, some small, at times one of them 0."""
    n = size(rng, 2, 40)
    x = decades(rng, -1, 0.5, n)
    if rng.random() < 0.3:
        x[rng.integers(n)] = 0
    g = np.array([np.prod(np.delete(x, i)) for i in range(n)])
    return Instance(
        lambda z: np.prod(z),
        x,
        g,
        noise=EPS * np.sqrt(n) * np.abs(g).max() * (np.abs(x).min() + 1e-2),
        length=np.maximum(np.abs(x), 1e-2),
    )
