"""Families of the gradient tournament: more shapes of functions, rough and smooth, and mixtures of them."""

import numpy as np
from families_algebra import solve_long, spread_matrix
from families_networks import softmax
from families_rough import distances
from gradient_instances import EPS, Instance, decades, family, size

L = np.longdouble


@family
def soft_kinks(rng):
    """Smooth corners of widths from 1e-9 to 1: sqrt(x² + d²), softplus(kx)/k, tanh(kx)."""
    n, kind = size(rng, 1, 80), rng.integers(3)
    d = 10.0 ** rng.uniform(-8, 0, n)
    x = d * rng.normal(size=n)
    x[rng.random(n) < 0.2] = 0.0
    y = x / d
    if kind == 0:
        return Instance(
            lambda z: np.sqrt(z * z + d * d).sum(),
            x,
            y / np.sqrt(1 + y * y),
            length=0.5 * d,
            noise=2 * EPS * np.linalg.norm(d),
            other=[np.sign(x)],
        )
    if kind == 1:
        g = 1 / (1 + np.exp(-y))
        return Instance(
            lambda z: (d * np.logaddexp(z / d, 0)).sum(),
            x,
            g,
            length=d,
            noise=EPS * np.linalg.norm(d),
            other=[(x > 0) + 0.0],
        )
    return Instance(
        lambda z: np.tanh(z / d).sum(),
        x,
        (1 - np.tanh(y) ** 2) / d,
        length=0.5 * d,
        noise=EPS * np.sqrt(n),
        other=[1 / d],
    )


@family
def rough_powers(rng):
    """|x - k|^p with p from 1.3 to 2.7, near k and at it: a slope, but no curvature there."""
    n = size(rng, 1, 60)
    k, p = np.round(rng.normal(size=n), 1), rng.uniform(1.3, 2.7, n)
    x = k + np.where(rng.random(n) < 0.5, rng.normal(size=n), distances(rng, n, 0.3) * 10)
    d = (x.astype(L) - k).astype(float)
    g = p * np.sign(d) * np.abs(d) ** (p - 1) + 0.1
    away = np.where(d == 0, 1e-6, np.abs(d))
    return Instance(
        lambda z: (np.abs(z - k) ** p + 0.1 * z).sum(),
        x,
        g,
        low=g - 3 * np.abs(d) ** (p - 1),
        high=g + 3 * np.abs(d) ** (p - 1),
        length=np.minimum(away, 0.5),
        reach=np.where(d == 0, 1e-3, np.minimum(away, 0.5)) * (1 - 1e-3),
        noise=EPS * (2 + n + np.linalg.norm(g * x)),
        other=[g - 0.1, g / 2 + 0.05],
    )


ACTIVATIONS = {  # name: (function, slope, joints with the slopes on their two sides)
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.where(z > 0, 1, np.exp(z)), {}),
    "selu": (
        lambda z: 1.05 * np.where(z > 0, z, 1.67 * np.expm1(np.minimum(z, 0))),
        lambda z: 1.05 * np.where(z > 0, 1, 1.67 * np.exp(z)),
        {0.0: (1.05 * 1.67, 1.05)},
    ),
    "hard_swish": (
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z < -3, 0, np.where(z > 3, 1, (2 * z + 3) / 6)),
        {-3.0: (0.0, -0.5), 3.0: (1.5, 1.0)},
    ),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: (np.abs(z) < 1) + 0.0, {-1.0: (0.0, 1.0), 1.0: (1.0, 0.0)}),
    "swish": (lambda z: z / (1 + np.exp(-z)), lambda z: (1 + np.exp(-z) * (1 + z)) / (1 + np.exp(-z)) ** 2, {}),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2, {}),
}


@family
def activations(rng):
    """Activation functions with their joints and clipped ranges, at and near them and elsewhere."""
    n = size(rng, 1, 100)
    function, slope, joints = ACTIVATIONS[rng.choice(list(ACTIVATIONS))]
    x = rng.normal(size=n) * 3
    w = rng.normal(size=n)
    at = rng.random(n) < 0.4
    points = np.array(list(joints) or [0.0])
    x[at] = rng.choice(points, at.sum()) + distances(rng, at.sum(), 0.4)
    middle = slope(x)
    g, kink, low, high = middle.copy(), np.zeros(n, bool), middle.copy(), middle.copy()
    away = np.minimum(np.abs(x), np.abs(x[:, None] - points).min(1))
    for joint, (left, right) in joints.items():
        here = x == joint
        near = np.abs(x - joint) < 0.05
        kink |= here
        g[here] = rng.choice([left, right])
        low[near] = np.minimum(middle[near], min(left, right))
        high[near] = np.maximum(middle[near], max(left, right))
        low[here], high[here] = min(left, right), max(left, right)
    # What has no kink at 0 has a curvature that jumps there.
    length = np.where(kink, 0.5, np.where(away == 0, 1e-3, np.minimum(away, 0.5)))
    if not joints:
        length = np.maximum(length, 1e-3)
        low, high = low - 0.05 * (np.abs(x) < 0.05), high + 0.05 * (np.abs(x) < 0.05)
    low, high = np.minimum(w * low, w * high), np.maximum(w * low, w * high)
    return Instance(
        lambda z: (w * function(z)).sum(),
        x,
        w * g,
        low=low,
        high=high,
        kink=kink,
        length=length,
        reach=np.where(away == 0, 0.0, np.minimum(away, 0.5)),
        noise=EPS * (1 + np.linalg.norm(w * x)),
        other=[w * (x > 0), w],
    )


@family
def wrapped_angles(rng):
    """Squared differences of angles brought to half a turn on either side, where there is a kink."""
    n = size(rng, 1, 80)
    turn = 8.0  # a turn of eight units is exact in binary
    t = np.round(rng.normal(size=n) * 8) / 8
    d = np.where(rng.random(n) < 0.6, rng.uniform(-3.9, 3.9, n), 4 + distances(rng, n, 0.2))
    x = t + d
    away = (x.astype(L) - t).astype(float)
    r = np.mod(away + 4, turn) - 4
    g = 2 * r
    edge = 4 - np.abs(r)
    near = edge < 0.05
    return Instance(
        lambda z: ((np.mod(z - t + 4, L(turn) if z.dtype == L else turn) - 4) ** 2).sum(),
        x,
        g,
        low=np.where(near, -8.0, g),
        high=np.where(near, 8.0, g),
        kink=edge == 0,
        length=np.where(edge == 0, 0.5, np.minimum(edge, 0.5)),
        noise=EPS * (16 * np.sqrt(n) + n + 8 * np.linalg.norm(x)),
        other=[2 * away, r],
    )


@family
def nearest_centre(rng):
    """The k-means loss by the centres: every point belongs to the nearest one."""
    n, k, d = int(rng.integers(2, 60)), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    points, c = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    squares = ((points[:, None] - c) ** 2).sum(-1)
    belongs = np.eye(k)[squares.argmin(1)]
    g = 2 * (belongs.sum(0)[:, None] * c - belongs.T @ points) / n
    soft = softmax(-squares)
    gaps = np.sort(squares, 1)
    gap = (gaps[:, 1] - gaps[:, 0]).min() if k > 1 else 1.0
    length = min(0.5, gap / (4 * np.sqrt(gaps[:, -1].max()) + 1))
    other = [2 * (soft.sum(0)[:, None] * c - soft.T @ points) / n, g / 2]
    # Another point may change its centre within a longer step: then the check may see two slopes.
    wide = 2 * np.sqrt(gaps.max()) * np.sum(gaps[:, 1] - gaps[:, 0] < 0.05) / n if k > 1 else 0.0
    return Instance(
        lambda z: ((points[:, None] - z) ** 2).sum(-1).min(1).sum() / n,
        c,
        g,
        low=g - wide,
        high=g + wide,
        length=length,
        noise=2 * EPS * (1 + squares.min(1).mean()),
        other=other,
    )


@family
def products_with_logs(rng):
    """x log y with x exactly 0 among its elements, entropies and divergences."""
    n = size(rng, 1, 60)
    x, y = rng.uniform(0, 1, n), 10.0 ** rng.uniform(-6, 0, n)
    x[rng.random(n) < 0.4] = 0.0

    def f(z):
        return (z["x"] * np.log(z["y"])).sum() - (z["y"] * np.log(z["y"])).sum()

    g = {"x": np.log(y), "y": x / y - np.log(y) - 1}
    length = {"x": np.ones(n), "y": y}
    other = [{"x": np.log(y), "y": x / y - np.log(y)}, {"x": np.log(y) * (x > 0), "y": g["y"]}]
    return Instance(f, {"x": x, "y": y}, g, length=length, noise=EPS * (20 * np.sqrt(n) + 10), other=other)


@family
def masked_attention(rng):
    """Attention that looks at the past only, its scores masked by -inf or by a large number."""
    n, d = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    mask = np.where(np.tril(np.ones((n, n))) > 0, 0.0, rng.choice([-np.inf, -1e9]))
    scores, v, c = rng.normal(size=(n, n)), rng.normal(size=(n, d)), rng.normal(size=(n, d))
    p = softmax(scores + mask)
    dp = c @ v.T
    g = {"scores": p * (dp - (p * dp).sum(1, keepdims=True)), "V": p.T @ c}
    q = softmax(scores)
    unmasked = {"scores": q * (dp - (q * dp).sum(1, keepdims=True)), "V": q.T @ c}
    return Instance(
        lambda z: (c * (softmax(z["scores"] + mask) @ z["V"])).sum(),
        {"scores": scores, "V": v},
        g,
        length=1.0,
        noise=EPS * (1 + np.linalg.norm(c)) * (1 + np.linalg.norm(v)),
        other=[unmasked],
    )


@family
def pair_energy(rng):
    """Lennard-Jones energies of particles in a line or plane: steep on one side, flat on the other."""
    n, d = int(rng.integers(2, 9)), int(rng.integers(1, 3))
    unit = 10.0 ** rng.choice([0, -10, 3])
    grid = np.zeros((n, d))
    grid[:, 0] = np.arange(n)
    x = (grid + rng.normal(size=(n, d)) * 0.08) * unit
    i, j = np.triu_indices(n, 1)

    def f(z):
        s = (((z[i] - z[j]) / unit) ** 2).sum(-1)
        inverse = 1 / (s * s * s)
        return (inverse * inverse - 2 * inverse).sum()

    away = (x[i] - x[j]) / unit
    s = (away**2).sum(-1)
    pull = (-6 * s**-7 + 6 * s**-4)[:, None] * 2 * away / unit
    g = np.zeros((n, d))
    np.add.at(g, i, pull)
    np.add.at(g, j, -pull)
    half, attraction = np.zeros((n, d)), np.zeros((n, d))
    np.add.at(half, i, pull)
    only = (6 * s**-4)[:, None] * 2 * away / unit
    np.add.at(attraction, i, only)
    np.add.at(attraction, j, -only)
    return Instance(
        f,
        x,
        g,
        length=0.3 * np.sqrt(s.min()) * unit,
        noise=EPS * 6 * (np.linalg.norm(s**-6) + n) * (1 + n),
        other=[half, attraction],
    )


@family
def matrix_powers(rng):
    """trace(A^k) / k and a determinant without its logarithm, of entries far from 1."""
    n, kind = int(rng.integers(1, 8)), rng.integers(2)
    a = spread_matrix(rng, n, 1.0) * 10.0 ** rng.uniform(-10, 10)
    if kind == 0:
        k = int(rng.integers(2, 7))

        def f(z):
            product = z
            for _ in range(k - 1):
                product = product @ z
            return np.trace(product) / k

        g = np.linalg.matrix_power(a.astype(L), k - 1).T.astype(float) if k > 2 else a.T
        noise = EPS * n * np.linalg.norm(a) ** k
        return Instance(f, a, g, length=0.3 * np.abs(a).max(), noise=noise, other=[g.T, g * k])
    determinant = np.linalg.det(a)
    g = determinant * np.array([solve_long(a, e) for e in np.eye(n)], dtype=L).astype(float)
    noise = EPS * n * np.linalg.norm(g) * np.linalg.norm(a)
    return Instance(
        lambda z: np.linalg.det(z),
        a,
        g,
        length=np.abs(a).max(),
        noise=noise,
        by="complex",
        other=[g.T, g / determinant],
    )


@family
def nuclear_norm(rng):
    m, n = int(rng.integers(1, 8)), int(rng.integers(1, 8))
    a = rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-5, 5)
    u, s, v = np.linalg.svd(a, full_matrices=False)
    g = u @ v
    return Instance(
        lambda z: np.linalg.svd(z, compute_uv=False).sum(),
        a,
        g,
        length=min(0.5 * s.max(), s.min()) if min(m, n) < max(m, n) or m == 1 else 0.5 * s.min(),
        noise=2 * EPS * s.sum() * max(m, n) ** 0.5,
        by="double",
        other=[np.outer(u[:, 0], v[0]), a / np.linalg.norm(a)] if min(m, n) > 1 else [g * 2],
    )


@family
def gaussian_process(rng):
    """The marginal likelihood of a Gaussian process by the logarithms of its length, height and noise."""
    n = int(rng.integers(3, 25))
    t = np.sort(rng.uniform(0, 5, n))
    y = np.sin(t) + 0.1 * rng.normal(size=n)
    x = np.array([rng.normal() * 0.3, rng.normal() * 0.3, rng.uniform(-2.5, 0)])
    squares = (t[:, None] - t) ** 2

    def kernel(z):
        return np.exp(2 * z[1] - squares / 2 * np.exp(-2 * z[0])), np.exp(2 * z[2])

    def f(z):
        k, noise = kernel(z)
        c = k + noise * np.eye(n)
        fit = y @ np.linalg.solve(c, y) / 2
        if z.dtype == complex:
            return fit + np.log(np.linalg.det(c) / np.linalg.det(c.real)) / 2
        return fit + np.linalg.slogdet(c)[1] / 2

    k, noise = kernel(x)
    inverse = np.linalg.inv(k + noise * np.eye(n))
    weights = inverse @ y
    outer = inverse - np.outer(weights, weights)
    parts = (k * squares * np.exp(-2 * x[0]), 2 * k, 2 * noise * np.eye(n))
    g = np.array([(outer * part).sum() / 2 for part in parts])
    fit_only = np.array([-(np.outer(weights, weights) * part).sum() / 2 for part in parts])
    condition = np.linalg.cond(k + noise * np.eye(n))
    return Instance(
        f,
        x,
        g,
        length=0.2,
        noise=EPS * 4 * np.sqrt(condition) * (1 + y @ weights + n),
        by="complex",
        other=[fit_only, g / 2],
    )


@family
def mixed_bag(rng):
    """One term of every kind in one sum: smooth, steep, kinked, sparse, of large and small scale."""
    n = size(rng, 6, 100)
    group = rng.integers(6, size=n)
    u = 10.0 ** rng.uniform(-6, 6, n)
    x = rng.normal(size=n) * np.where(group == 5, u, 1.0)
    x[(group == 2) & (rng.random(n) < 0.5)] = 0.0
    w = rng.uniform(0.5, 2, n)

    def pieces(z):
        return np.select(
            [group == 0, group == 1, group == 2, group == 3, group == 4],
            [np.sin(w * z), np.exp(20 * w * np.tanh(z)) * np.exp(-20 * w), w * np.abs(z), 0 * z, w * z * z * z],
            np.sin(z / u) + z / u,
        )

    steep = np.exp(20 * w * (np.tanh(x) - 1)) * 20 * w * (1 - np.tanh(x) ** 2)
    g = np.select(
        [group == 0, group == 1, group == 2, group == 3, group == 4],
        [w * np.cos(w * x), steep, w * np.sign(x), 0 * x, 3 * w * x * x],
        (np.cos(x / u) + 1) / u,
    )
    side = np.where((group == 2) & (np.abs(x) < 0.05), w, 0.0)
    length = np.select(
        [group == 1, (group == 2) & (x != 0), group == 5], [0.02, np.minimum(np.abs(x), 0.5), 0.5 * u], 0.4
    )
    return Instance(
        lambda z: pieces(z).sum(),
        x,
        g,
        low=np.where(side > 0, -side, g),
        high=np.where(side > 0, side, g),
        kink=(group == 2) & (x == 0),
        length=length,
        noise=EPS * (2 * n + np.linalg.norm((w * x**3)[group == 4])),
        other=[g * (group != 2), g * (group != 1)],
    )


@family
def units_within_one_array(rng):
    """Least squares whose columns are in metres, pascals and seconds: coefficients and gradients of all sizes."""
    n, d = int(rng.integers(5, 40)), int(rng.integers(2, 10))
    unit = 10.0 ** rng.integers(-9, 10, d)
    data = rng.normal(size=(n, d)) * unit
    x = rng.normal(size=d) / unit
    y = data @ x + rng.normal(size=n)
    residual = (data.astype(L) @ x - y).astype(float)
    g = data.T @ residual / n
    standardised = g / unit
    return Instance(
        lambda z: ((data @ z - y) ** 2).sum() / (2 * n),
        x,
        g,
        length=1 / unit,
        noise=EPS * (3 + d),
        other=[standardised, g * n, g * 2],
    )


@family
def decades_of_decay(rng):
    """Rates of reactions: exp(-x t) over long and short times, many gradients underflow."""
    n = size(rng, 1, 60)
    x, t = 10.0 ** rng.uniform(-3, 3, n), 10.0 ** rng.uniform(-3, 3, n)
    amount = rng.uniform(0.5, 2, n)
    decay = np.exp(-x * t)
    return Instance(
        lambda z: (amount * np.exp(-z * t)).sum(),
        x,
        -amount * t * decay,
        length=np.minimum(1 / t, 10 * x),
        noise=4 * EPS * (1 + np.linalg.norm(amount * decay * (1 + x * t))),
        other=[-amount * x * decay, amount * t * decay],
    )


@family
def ramps(rng):
    """Sawtooth waves of curved ramps, far from their jumps and beside them."""
    n = size(rng, 1, 60)
    whole = rng.integers(-50, 50, n).astype(float)
    d = np.where(rng.random(n) < 0.5, rng.uniform(0.05, 0.95, n), np.abs(decades(rng, -7, -2, n)))
    x = whole + d
    part = x - whole
    w = rng.normal(size=n)
    up = np.minimum(part, 1 - part)
    return Instance(
        lambda z: (w * (z - whole) ** 2).sum() + 0.1 * z.sum(),
        x,
        2 * w * part + 0.1,
        f=lambda z: float((w * (z - np.floor(z)) ** 2).sum() + 0.1 * z.sum()),
        length=np.minimum(up, 0.5),
        noise=EPS * (1 + np.linalg.norm(w) + np.linalg.norm(x)),
        other=[2 * w * part, w * part + 0.1],
    )
