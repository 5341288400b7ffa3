"""Families of the gradient tournament: what networks are made of, and their losses."""

import numpy as np
from gradient_instances import EPS, Instance, family, size

L = np.longdouble


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
        lambda z: log_likelihood(z, labels) / n,
        x,
        g / n,
        noise=2 * EPS * (1 + np.abs(x).max()),
        length=2.0,
        other=other,
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
        return (
            (residual**2).sum() / (2 * n * s * s) + z["log_scale"][0, 0] + weight * (z["weights"] ** 2).sum() * unit**2
        )

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
