"""Families of the gradient tournament: linear algebra, networks and other smooth functions as people write them."""

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
        lambda z: np.sqrt(((a @ z - b) ** 2).sum()), x, g, noise=noise, length=r / np.linalg.norm(a, axis=0), other=[g * r]
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
    noise = 3 * EPS * (300 + np.linalg.norm(100 * (x[1:] - x[:-1] ** 2) ** 2))
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
    return Instance(lambda z: np.prod(z), x, g, noise=EPS * np.sqrt(n) * np.abs(g).max() * (np.abs(x).min() + 1e-2), length=np.maximum(np.abs(x), 1e-2))


# ---- What networks are made of


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_likelihood(a, labels):
    top = a.max(-1, keepdims=True)
    logs = np.log(np.exp(a - top).sum(-1)) + top[:, 0]
    return (logs - a[np.arange(len(a)), labels]).sum()


@family
def cross_entropy(rng):
    n, k = size(rng, 1, 20), int(rng.integers(2, 10))
    x = rng.normal(size=(n, k)) * rng.choice([0.1, 1, 10])
    labels = rng.integers(k, size=n)
    g = softmax(x.astype(L)) - np.eye(k)[labels]
    over_all = np.exp(x - x.max())
    other = [g, g / n + np.eye(k)[labels] / n, over_all / over_all.sum() - np.eye(k)[labels] / n]
    return Instance(
        lambda z: log_likelihood(z, labels) / n, x, g / n, noise=2 * EPS * (1 + np.abs(x).max()), length=2.0, other=other
    )


@family
def attention(rng):
    """softmax(Q K' / sqrt(d)) V, and the loss its product with fixed weights."""
    n, d = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    q, k, v = (rng.normal(size=(n, d)) * rng.choice([0.3, 1, 4]) for _ in range(3))
    c = rng.normal(size=(n, d))
    root = np.sqrt(d)
    p = softmax(q @ k.T / root)
    dp = c @ v.T
    ds = p * (dp - (p * dp).sum(1, keepdims=True)) / root
    g = {"Q": ds @ k, "K": ds.T @ q, "V": p.T @ c}
    no_scale = {"Q": ds @ k * root, "K": ds.T @ q * root, "V": g["V"]}
    no_centre = {"Q": (p * dp / root) @ k, "K": (p * dp / root).T @ q, "V": g["V"]}
    return Instance(
        lambda z: (c * (softmax(z["Q"] @ z["K"].T / root) @ z["V"])).sum(),
        {"Q": q, "K": k, "V": v},
        g,
        noise=EPS * n * np.linalg.norm(c) * (np.linalg.norm(v) + 1),
        length=root / (1 + np.abs(q).max() + np.abs(k).max()),
        other=[no_scale, no_centre, {"Q": g["K"], "K": g["Q"], "V": g["V"]}],
    )


ACTIVATIONS = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0).astype(float)),
    "softplus": (lambda a: np.logaddexp(a, 0), lambda a: 1 / (1 + np.exp(-a))),
}


def mlp_loss(act, data, labels):
    def loss(p):
        hidden = act(data @ p["W1"] + p["b1"])
        return log_likelihood(hidden @ p["W2"] + p["b2"], labels) / len(data)

    return loss


def mlp(rng, name):
    n, d, h, k = (int(v) for v in rng.integers((2, 1, 1, 2), (20, 7, 9, 6)))
    act, slope = ACTIVATIONS[name]
    data, labels = rng.normal(size=(n, d)), rng.integers(k, size=n)
    p = {"W1": rng.normal(size=(d, h)), "b1": rng.normal(size=h)}
    p |= {"W2": rng.normal(size=(h, k)), "b2": rng.normal(size=k)}
    a = data @ p["W1"] + p["b1"]
    dz = (softmax(act(a) @ p["W2"] + p["b2"]) - np.eye(k)[labels]) / n
    through = dz @ p["W2"].T
    da = through * slope(a)
    g = {"W1": data.T @ da, "b1": da.sum(0), "W2": act(a).T @ dz, "b2": dz.sum(0)}
    no_slope = g | {"W1": data.T @ through, "b1": through.sum(0)}
    last_half = g | {"W1": 2 * data[: n // 2].T @ da[: n // 2]}
    other = [no_slope, last_half, g | {"b2": dz.mean(0)}]
    kinks = {"length": 0.5}
    if name == "relu":  # distance of the nearest kink, and what it could add to either slope
        near_w = np.abs(a)[:, None, :] / np.maximum(np.abs(data)[:, :, None], 1e-12)
        jump = np.abs(data[:, :, None] * through[:, None, :])
        near_b = np.abs(a)
        spread = {"W1": (jump * (near_w < 0.05)).sum(0), "b1": (np.abs(through) * (near_b < 0.05)).sum(0)}
        wide = {name: np.zeros_like(g[name]) for name in ("W2", "b2")}
        kinks = {
            "low": {name: g[name] - (spread | wide)[name] for name in g},
            "high": {name: g[name] + (spread | wide)[name] for name in g},
            "length": {
                "W1": np.minimum(near_w.min(0), 0.5),
                "b1": np.minimum(near_b.min(0), 0.5),
                "W2": wide["W2"] + 0.5,
                "b2": wide["b2"] + 0.5,
            },
        }
    return Instance(mlp_loss(act, data, labels), p, g, noise=4 * EPS * 4, other=other, **kinks)


@family
def relu_network(rng):
    return mlp(rng, "relu")


@family
def smooth_network(rng):
    return mlp(rng, rng.choice(["tanh", "sigmoid", "softplus"]))


@family
def batch_norm(rng):
    """A batch normalised by its own mean and variance, at times of a column that hardly varies."""
    n, d = int(rng.integers(2, 16)), int(rng.integers(1, 9))
    spread = 10.0 ** rng.uniform(-2, 2, d)
    x = rng.normal(size=(n, d)) * spread + rng.choice([0, 10]) * spread
    eps = 1e-5
    c = rng.normal(size=(n, d))
    centred = x.astype(L) - x.astype(L).mean(0)
    std = np.sqrt((centred**2).mean(0) + eps)
    hat = centred / std
    g = (c - c.mean(0) - hat * (c * hat).mean(0)) / std

    def f(z):
        away = z - z.mean(0)
        return (c * away / np.sqrt((away**2).mean(0) + eps)).sum()

    noise = 2 * EPS * (np.linalg.norm(c) * np.sqrt(n) + np.linalg.norm(g.astype(float) * np.abs(x).max(0)) + 1)
    noise += EPS * np.linalg.norm(c * np.abs(x) / std.astype(float))
    return Instance(
        f, x, g, noise=noise, length=np.broadcast_to(std.astype(float), x.shape), other=[c / std, (c - c.mean(0)) / std]
    )


@family
def layer_norm(rng):
    n, d = int(rng.integers(1, 9)), int(rng.integers(2, 20))
    x = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-2, 3)
    c = rng.normal(size=(n, d))
    centred = x - x.mean(1, keepdims=True)
    std = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-8)
    hat = centred / std
    g = (c - c.mean(1, keepdims=True) - hat * (c * hat).mean(1, keepdims=True)) / std

    def f(z):
        away = z - z.mean(1, keepdims=True)
        return (c * away / np.sqrt((away**2).mean(1, keepdims=True) + 1e-8)).sum()

    noise = 4 * EPS * np.linalg.norm(c) * np.linalg.norm(hat)
    length = np.broadcast_to(std, x.shape)
    return Instance(f, x, g, noise=noise, length=length, other=[c / std, (c - c.mean(1, keepdims=True)) / std])


@family
def convolution(rng):
    """A one-dimensional convolution of a signal with a kernel, squared through tanh; a flipped kernel is a mistake."""
    n, k = int(rng.integers(4, 100)), int(rng.integers(2, 4))
    s, w = rng.normal(size=n), rng.normal(size=k)
    m = n - k + 1
    windows = np.lib.stride_tricks.sliding_window_view(s, k)
    y = windows @ w
    dy = 2 * np.tanh(y) * (1 - np.tanh(y) ** 2)
    ds = np.zeros(n)
    for j in range(k):
        ds[j : j + m] += dy * w[j]
    g = {"signal": ds, "kernel": windows.T @ dy}

    def f(z):
        total = sum(z["signal"][j : j + m] * z["kernel"][j] for j in range(k))
        return (np.tanh(total) ** 2).sum()

    flipped = {"signal": ds, "kernel": g["kernel"][::-1]}
    return Instance(f, {"signal": s, "kernel": w}, g, noise=EPS * (2 + m), length=0.3, other=[flipped])


@family
def recurrent(rng):
    """Back-propagation through time of a small tanh network; truncated after some steps among the mistakes."""
    n, steps = int(rng.integers(1, 8)), int(rng.integers(2, 25))
    w = rng.normal(size=(n, n)) / np.sqrt(n) * rng.choice([0.7, 1.5])
    b, inputs = rng.normal(size=n) * 0.1, rng.normal(size=(steps, n))

    def f(z):
        h = np.zeros_like(z["b"])
        for row in inputs:
            h = np.tanh(z["W"] @ h + z["b"] + row)
        return (h * h).sum() / 2

    states = [np.zeros(n)]
    for row in inputs:
        states.append(np.tanh(w @ states[-1] + b + row))

    def back(stop):
        dw, db, dh = np.zeros((n, n)), np.zeros(n), states[-1]
        for t in range(steps, stop, -1):
            da = dh * (1 - states[t] ** 2)
            dw, db, dh = dw + np.outer(da, states[t - 1]), db + da, w.T @ da
        return {"W": dw, "b": db}

    return Instance(
        f, {"W": w, "b": b}, back(0), noise=EPS * n * steps**0.5, length=0.05, other=[back(steps - 1), back(1)]
    )


@family
def cosine_similarity(rng):
    n = size(rng, 2, 100)
    a, b = rng.normal(size=n) * 10.0 ** rng.uniform(-6, 6), rng.normal(size=n)
    na, nb = np.linalg.norm(a), np.linalg.norm(b)
    cosine = a @ b / (na * nb)
    g = {"a": b / (na * nb) - cosine * a / na**2, "b": a / (na * nb) - cosine * b / nb**2}
    return Instance(
        lambda z: (z["a"] * z["b"]).sum() / np.sqrt((z["a"] ** 2).sum() * (z["b"] ** 2).sum()),
        {"a": a, "b": b},
        g,
        noise=2 * EPS,
        length={"a": np.full(n, na), "b": np.full(n, nb)},
        other=[{"a": b / (na * nb), "b": a / (na * nb)}],
    )


@family
def dict_of_arrays(rng):
    """Parameters of several shapes and scales under names, with a regularisation that is easily forgotten."""
    n, d = int(rng.integers(2, 30)), int(rng.integers(1, 6))
    data, y = rng.normal(size=(n, d)), rng.normal(size=n)
    unit = 10.0 ** rng.uniform(-4, 4)
    p = {"weights": rng.normal(size=d) / unit, "bias": rng.normal(size=1), "log_scale": rng.normal(size=(1, 1))}
    weight = 10.0 ** rng.uniform(-3, 0)

    def f(z):
        s = np.exp(z["log_scale"][0, 0])
        residual = data @ z["weights"] * unit + z["bias"][0] - y
        return (residual**2).sum() / (2 * n * s * s) + z["log_scale"][0, 0] + weight * (z["weights"] ** 2).sum() * unit**2

    s = np.exp(p["log_scale"][0, 0])
    residual = data @ p["weights"] * unit + p["bias"][0] - y
    g = {
        "weights": data.T @ residual * unit / (n * s * s) + 2 * weight * p["weights"] * unit**2,
        "bias": np.array([residual.mean() / s**2]),
        "log_scale": np.array([[1 - (residual**2).mean() / s**2]]),
    }
    length = {"weights": np.full(d, 1 / unit), "bias": np.ones(1), "log_scale": np.full((1, 1), 0.5)}
    forgotten = g | {"weights": data.T @ residual * unit / (n * s * s)}
    noise = 4 * EPS * ((residual**2).sum() / (2 * n * s * s) + 3)
    return Instance(f, p, g, noise=noise, length=length, other=[forgotten, g | {"bias": g["bias"] * n}])
