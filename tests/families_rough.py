"""Families of the gradient tournament: kinks near x, at x and chosen by convention; jumps; whole numbers."""

import numpy as np
from gradient_instances import EPS, Instance, decades, family, size

L = np.longdouble


def distances(rng, n, exact=0.2):
    """How far the kinks are: within any step a checker may take, or exactly 0."""
    d = decades(rng, -9, -1, n)
    d[rng.random(n) < exact] = 0.0
    return d


def separable(rng, x, joint, left, right, bend, chosen, plain_slope):
    """Sum of left * min(x - joint, 0) + right * max(x - joint, 0) + bend * (x - joint)²/2 + plain_slope * x.

    chosen is where in [0, 1] between the two slopes the derivative at a joint is taken to be.
    """
    d = (x.astype(L) - joint).astype(float)
    curve = bend * d + plain_slope
    g = np.where(d > 0, right, np.where(d < 0, left, left + chosen * (right - left))) + curve
    near = np.abs(d) < 0.05  # a step farther than this need not be taken
    other = np.where(d > 0, left, right) + curve
    sides = [np.where(near, np.minimum(left, right) + curve, g), np.where(near, np.maximum(left, right) + curve, g)]

    def f(z):
        away = z - joint
        return (
            left * np.minimum(away, 0) + right * np.maximum(away, 0) + bend * away * away / 2 + plain_slope * z
        ).sum()

    return Instance(
        f,
        x,
        g,
        low=sides[0] - np.abs(bend * d) * near,  # the slopes at the joint itself
        high=sides[1] + np.abs(bend * d) * near,
        kink=d == 0,
        length=np.where(d == 0, 0.5, np.minimum(np.abs(d), 0.5)),
        noise=2 * EPS * (np.linalg.norm(g * x) + 1),
        zero_matters=float(np.abs(right - left).max()),
        other=[other, np.where(near, other, g)],
    )


@family
def hinges(rng):
    """Sums of hinges of any slopes with their kinks at 1e-9 to 0.1 from x, or exactly at x."""
    n = size(rng)
    joint = np.round(rng.normal(size=n), 2)
    left, right = rng.normal(size=n), rng.normal(size=n)
    x = joint + distances(rng, n)
    return separable(rng, x, joint, left, right, rng.choice([0.0, 1.0], n), rng.choice([0, 0.5, 1], n), rng.normal())


@family
def conventions(rng):
    """abs, relu, clip and leaky relu exactly at their kinks, with the values libraries choose there."""
    n = size(rng, 1, 100)
    kind = rng.integers(3)
    left, right = ((-1.0, 1.0), (0.0, 1.0), (rng.choice([0.01, 0.2]), 1.0))[kind]
    x = np.where(rng.random(n) < 0.5, 0.0, rng.normal(size=n))
    chosen = 0.5 if kind == 0 else rng.choice([0.0, 0.5, 1.0])
    one = np.ones(n)
    slope = rng.choice([0.0, 0.1])
    return separable(rng, x, np.zeros(n), left * one, right * one, np.zeros(n), chosen, slope)


@family
def norm_at_zero(rng):
    """Lengths of vectors, some of which are 0: every direction has its kink there, and 0 is the value chosen."""
    groups, d = int(rng.integers(1, 20)), int(rng.integers(1, 5))
    x = rng.normal(size=(groups, d))
    x[rng.random(groups) < 0.5] = 0.0
    r = np.sqrt((x * x).sum(1, keepdims=True))
    w = rng.uniform(0.5, 2, (groups, 1))
    zero = np.broadcast_to(r == 0, x.shape)
    g = w * x / np.where(r == 0, 1, r)
    side = np.where(zero, w, 0.0)
    return Instance(
        lambda z: (w[:, 0] * np.sqrt((z * z).sum(1))).sum(),
        x,
        g,
        low=g - side,
        high=g + side,
        kink=zero,
        length=np.broadcast_to(np.where(r == 0, 0.5, r), x.shape),
        noise=EPS * (1 + (w * r).sum()),
        other=[g + side * 1.5, w * x],
    )


@family
def support_vectors(rng):
    """The hinge loss of a linear classifier; some margins within a step of their kink, some exactly there."""
    n, d = int(rng.integers(3, 30)), int(rng.integers(1, 12))
    a = np.round(rng.normal(size=(n, d)) * 8) / 8
    x = np.round(rng.normal(size=d) * 8) / 8
    y = rng.choice([-1.0, 1.0], n)
    m = rng.normal(size=n)
    close = rng.random(n) < 0.5
    m[close] = np.where(rng.random(close.sum()) < rng.choice([0, 0.3]), 0.0, decades(rng, -8, -2, close.sum()))
    offset = m + y * (a @ x)  # margins of dyadic numbers: those of 0 are exact
    m = (offset.astype(L) - y * (a @ x)).astype(float)
    ridge = rng.choice([0.0, 0.1])
    slopes = -y[:, None] * a / n
    active = m > 0
    g = (slopes * active[:, None]).sum(0) + ridge * x
    with np.errstate(all="ignore"):
        far = np.where(a != 0, np.abs(m)[:, None] / np.abs(a), np.inf)
    near = far < 0.05
    at = (m == 0)[:, None] & (a != 0)
    # moved by t, a sample that is active may fall silent on one side and the others wake on one side
    change = np.where(active[:, None], -slopes, slopes)
    exact = np.where(at, slopes, 0.0)
    low = g + np.where(near & ~at, np.minimum(change, 0), 0).sum(0) + np.minimum(exact, 0).sum(0)
    high = g + np.where(near & ~at, np.maximum(change, 0), 0).sum(0) + np.maximum(exact, 0).sum(0)
    kink = at.any(0)
    # Where kinks at x and beside it fall together, any of their slopes is let through.
    length = np.minimum(np.where(at, np.inf, far).min(0), 0.5)
    everything = slopes.sum(0) + ridge * x
    return Instance(
        lambda z: np.maximum(offset - y * (a @ z), 0).sum() / n + ridge * (z * z).sum() / 2,
        x,
        g,
        low=low,
        high=high,
        kink=kink,
        length=length,
        noise=EPS * (1 + np.abs(offset).max()),
        other=[everything, g - ridge * x if ridge else g * n],
    )


@family
def max_pool(rng):
    """The largest of every window; the second largest equal, or less by 1e-9 and more."""
    windows, width = size(rng, 1, 50), int(rng.integers(2, 5))
    x = np.round(rng.normal(size=(windows, width)), 3)
    ordered = np.argsort(x, 1)
    first, second = ordered[:, -1], ordered[:, -2]
    rows = np.arange(windows)
    gap = np.abs(distances(rng, windows, 0.15))
    close = rng.random(windows) < 0.6
    x[rows[close], second[close]] = x[rows[close], first[close]] - gap[close]
    w = rng.normal(size=windows)
    top = x.max(1)
    order = np.sort(x, 1)
    first = x.argmax(1)  # the first of equals, as libraries choose
    slope = w * 2 * top + w
    g, low, high = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    g[rows, first] = slope
    runner_up = order[:, -2].copy()
    distance = top[:, None] - x
    distance[rows, first] = top - runner_up
    near = distance < 0.05
    bound = slope[:, None] + w[:, None] * np.array([-2, 2])[:, None, None] * distance
    low[near] = np.minimum(np.minimum(*bound), 0)[near]
    high[near] = np.maximum(np.maximum(*bound), 0)[near]
    wrong = np.zeros_like(x)
    wrong[rows, order_index(x)] = slope
    return Instance(
        lambda z: (w * (z.max(1) ** 2 + z.max(1))).sum(),
        x,
        g,
        low=low,
        high=high,
        kink=distance == 0,
        length=np.where(distance == 0, 0.5, np.minimum(distance, 0.5)),
        noise=EPS * (1 + np.linalg.norm(w * top**2) + np.linalg.norm(w * top)),
        other=[wrong, np.broadcast_to(slope[:, None] / width, x.shape)],
    )


def order_index(x):
    """Where the second largest of every row is."""
    return np.argsort(x, 1, kind="stable")[:, -2]


@family
def robust_losses(rng):
    """Quantile, Huber and epsilon-insensitive losses of residuals at or near their joints, by the predictions."""
    n, kind = size(rng), rng.integers(3)
    y = np.round(rng.normal(size=n), 2)
    d = np.where(rng.random(n) < 0.5, distances(rng, n), rng.normal(size=n))
    if kind == 0:  # quantile: slopes -q and 1 - q
        q = rng.uniform(0.05, 0.95)
        one = np.ones(n) / n
        return separable(rng, y + d, y, (q - 1) * one, q * one, np.zeros(n), rng.choice([0.0, 1.0, 0.5]), 0.0)
    if kind == 1:  # Huber: no kink, but a second derivative that jumps at the joint
        delta = 0.25
        x = y + delta * rng.choice([-1, 1], n) + d
        r = (x.astype(L) - y).astype(float)
        g = np.clip(r, -delta, delta)
        joint = np.abs(np.abs(r) - delta)
        length = np.where(joint < 1e-6, 0.01, np.minimum(np.maximum(joint, 1e-3), 0.5))

        def f(z):
            away = np.abs(z - y)
            return np.where(away < delta, away * away / 2, delta * (away - delta / 2)).sum()

        return Instance(
            f,
            x,
            g,
            low=g - np.minimum(0.05, joint + 0.01),
            high=g + np.minimum(0.05, joint + 0.01),
            length=length,
            noise=EPS * (n + 1),
            other=[r, np.sign(r) * delta],
            reach=np.minimum(joint, 0.5),
        )
    tube = 0.125
    return separable(rng, y + tube + d, y + tube, np.zeros(n), np.ones(n), np.zeros(n), rng.choice([0.0, 1.0]), 0.0)


@family
def lasso(rng):
    """Least squares with an l1 penalty at a sparse point: subgradients at the zeros."""
    n, d = int(rng.integers(2, 30)), size(rng, 1, 60)
    a, y = rng.normal(size=(n, d)), rng.normal(size=n)
    x = np.where(rng.random(d) < 0.5, 0.0, rng.normal(size=d))
    weight = 10.0 ** rng.uniform(-2, 1)
    smooth = a.T @ (a @ x - y) / n
    chosen = rng.choice([0.0, 1.0, -1.0])
    g = smooth + weight * np.where(x == 0, chosen, np.sign(x))
    side = np.where(np.abs(x) < 0.05, weight, 0.0)
    middle = smooth + weight * np.sign(x)
    value = float(((a @ x - y) ** 2).sum()) / (2 * n) + weight * np.abs(x).sum()
    return Instance(
        lambda z: ((a @ z - y) ** 2).sum() / (2 * n) + weight * np.abs(z).sum(),
        x,
        g,
        low=np.where(x == 0, smooth - weight, np.where(side > 0, np.minimum(middle - 2 * weight, middle), middle)),
        high=np.where(x == 0, smooth + weight, np.where(side > 0, np.maximum(middle + 2 * weight, middle), middle)),
        kink=x == 0,
        length=np.where(x == 0, 0.5, np.minimum(np.abs(x), 0.5)),
        noise=EPS * 2 * (1 + value + np.linalg.norm(a) * np.linalg.norm(x)),
        other=[smooth, smooth + weight * np.where(x == 0, 2.0, np.sign(x)), smooth - weight * np.sign(x)],
    )


@family
def total_variation(rng):
    """Sums of |neighbour differences|, some of them 0: flat parts of a signal."""
    n = size(rng, 2, 150)
    x = np.cumsum(np.where(rng.random(n) < 0.4, 0, rng.integers(-8, 9, n))) / 8.0
    s = np.sign(np.diff(x))
    g, low, high = np.zeros(n), np.zeros(n), np.zeros(n)
    g[1:] += s
    g[:-1] -= s
    flat = np.abs(np.diff(x)) < 0.05
    count = np.zeros(n)
    count[1:] += flat
    count[:-1] += flat
    low, high = g - count, g + count
    wrong = g.copy()
    wrong[:-1] += s
    return Instance(
        lambda z: np.abs(np.diff(z)).sum() + (z * z).sum() / 4,
        x,
        g + x / 2,
        low=low + x / 2,
        high=high + x / 2,
        kink=count > 0,
        length=0.1,
        noise=EPS * (1 + np.abs(np.diff(x)).sum() + (x * x).sum()),
        zero_matters=1.0,
        other=[g, wrong + x / 2, g + x / 2 + 1.2 * count],
    )


@family
def ranks(rng):
    """Weighted sums of the sorted elements, medians, ranges: the order changes within a step, or does not."""
    n = size(rng, 2, 100)
    x = np.round(rng.normal(size=n) * 10, 2) + np.arange(n) * 1e-4 * rng.integers(0, 2)
    close = rng.random(n) < 0.3
    x[close] = x[rng.integers(n)] + decades(rng, -7, -2, close.sum())
    x += np.arange(n) * 1e-10  # no two are equal
    w = rng.normal(size=n)
    order = np.argsort(x, kind="stable")
    g = np.empty(n)
    g[order] = w
    s = x[order]
    gaps = np.full(n, np.inf)
    gaps[:-1] = np.diff(s)
    gaps[1:] = np.minimum(gaps[1:], np.diff(s))
    length = np.empty(n)
    length[order] = np.minimum(gaps, 0.5)
    low, high = g.copy(), g.copy()
    for i in range(n):
        reach = np.abs(s - x[i]) < 0.05
        low[i], high[i] = w[reach].min(), w[reach].max()
    return Instance(
        lambda z: (w * np.sort(z)).sum(),
        x,
        g,
        low=low,
        high=high,
        length=length,
        noise=EPS * np.linalg.norm(w * np.sort(x)),
        other=[w],
    )


@family
def linear_table(rng):
    """Piecewise linear interpolation; x between the knots, near them, or on them with the slope of one side."""
    knots = np.arange(8.0)
    y = rng.normal(size=8)
    n = size(rng, 1, 80)
    knot = rng.integers(1, 7, n)
    d = np.where(rng.random(n) < 0.6, distances(rng, n, 0.3), rng.uniform(0.05, 0.95, n))
    x = knot + d
    d = x - knot
    slopes = np.diff(y)
    left, right = slopes[knot - 1], slopes[knot]
    side = rng.integers(2)
    g = np.where(d > 0, right, np.where(d < 0, left, (left, right)[side]))
    near = np.abs(d) < 0.05
    away = np.minimum(np.abs(d), 1 - np.abs(d))

    def f(z):
        cell = np.clip(np.floor(np.asarray(z, float)).astype(int), 0, 6)
        return (y[cell] + (z - cell) * slopes[cell]).sum()

    return Instance(
        f if rng.random() < 0.5 else lambda z: f(z) if z.dtype == L else np.interp(z, knots, y).sum(),
        x,
        g,
        low=np.where(near, np.minimum(left, right), g),
        high=np.where(near, np.maximum(left, right), g),
        kink=d == 0,
        length=np.where(d == 0, 0.5, np.minimum(away, 0.5)),
        noise=EPS * (8 * np.sqrt(n) + n),
        other=[np.where(d > 0, left, right), y[np.clip(np.floor(x).astype(int) + 1, 0, 7)]],
    )


@family
def cubic_table(rng):
    """Catmull-Rom interpolation: slopes are continuous at the knots, curvatures are not."""
    y = rng.normal(size=10)
    n = size(rng, 1, 80)
    cell = rng.integers(1, 8, n)
    t = np.where(rng.random(n) < 0.3, np.abs(decades(rng, -9, -2, n)), rng.uniform(0, 1, n))
    t[rng.random(n) < 0.1] = 0.0
    x = cell + t
    t = x - cell

    def coefficients(c):
        a, b, e, d = y[c - 1], y[c], y[c + 1], y[c + 2]
        return b, (e - a) / 2, a - 2.5 * b + 2 * e - d / 2, (d - a) / 2 + 1.5 * (b - e)

    def f(z):
        c = np.clip(np.floor(np.asarray(z, float)).astype(int), 1, 7)
        u = z - c
        c0, c1, c2, c3 = coefficients(c)
        return (c0 + u * (c1 + u * (c2 + u * c3))).sum()

    _, c1, c2, c3 = coefficients(cell)
    g = c1 + 2 * t * c2 + 3 * t * t * c3
    away = np.minimum(t, 1 - t)
    # The slope is still a smooth enough function beside a knot: a step of 1e-3 passes it with an error of 1e-3.
    length = np.maximum(np.minimum(away, 0.5), 1e-3)
    return Instance(
        f,
        x,
        g,
        low=g - 0.5 * (away < 0.05),
        high=g + 0.5 * (away < 0.05),
        length=length,
        noise=EPS * (8 * np.sqrt(n) + n),
        other=[c1 + t * c2, c1, g - 3 * t * t * c3],
        reach=away,
    )


# ---- Jumps


def jumping(rng, n, d, height):
    """A smooth function plus height * (x >= edge) by element."""
    edge = np.round(rng.normal(size=n), 2)
    x = edge + d
    d = x - edge
    a = rng.normal(size=n)

    def smooth(z):
        return (np.sin(z) * a + z).sum()

    def f(z):
        return float(smooth(z)) + float((height * (z >= edge)).sum())

    return x, d, np.cos(x) * a + 1, smooth, f


@family
def jumps_near(rng):
    """Thresholds at 1e-7 to 0.1 from x: a large step crosses them, a smaller one does not."""
    n = size(rng, 1, 100)
    d = decades(rng, -7, -1, n)
    d[rng.random(n) < 0.5] = 0.3
    x, d, g, smooth, f = jumping(rng, n, d, decades(rng, -3, 2))
    return Instance(
        smooth, x, g, f=f, length=np.minimum(np.abs(d), 0.3), noise=EPS * (n + abs(f(x))), other=[g - 1, g + 1]
    )


@family
def jumps_at(rng):
    """x exactly on a threshold of some elements: no derivative there, and no value that is right."""
    n = size(rng, 1, 60)
    d = np.where(rng.random(n) < rng.choice([0.2, 0.9]), 0.0, 0.3)
    d[0] = 0.0
    x, d, g, smooth, f = jumping(rng, n, d, decades(rng, -3, 2))
    return Instance(smooth, x, g, f=f, length=0.3, free=d == 0, noise=EPS * (n + abs(f(x))), other=[g - 1, 2 * g])


@family
def whole_numbers(rng):
    """Counts, rounded and quantised values: the gradient is 0 almost everywhere, whatever a training rule uses."""
    n, kind = size(rng), rng.integers(3)
    whole = rng.integers(-5, 6, n).astype(float)
    part = rng.uniform(0.05, 0.45, n) * rng.choice([-1, 1], n)
    w = rng.normal(size=n)
    if kind == 0:  # rounded: the straight-through gradient w is not the function's
        f, x, straight = (lambda z: float((w * np.round(z)).sum())), whole + part, w
        away = 0.5 - np.abs(part)
    elif kind == 1:
        f, x, straight = (lambda z: int((z > 0).sum())), whole + part, np.ones(n)
        away = np.abs(x)
    else:
        f, x, straight = (lambda z: float(np.floor(z).sum()) + float(np.sign(z).sum())), whole + part, np.ones(n)
        away = np.abs(part)
    return Instance(
        lambda z: L(0),
        x,
        np.zeros(n),
        f=f,
        length=np.minimum(away, 0.3),
        noise=0.0,
        zero_matters=1.0,
        other=[straight, straight * (rng.random(n) < 0.1)],
    )


@family
def chosen_branch(rng):
    """argmax, where and sorting pick a branch; the branches do not meet, but are far enough away."""
    n = size(rng, 2, 100)
    x = rng.permutation(np.linspace(-2, 2, n) + 1e-3)
    pick = int(np.argmax(x))
    gap = 4 / (n - 1)
    a = rng.normal(size=n)

    def smooth(z):
        return (np.sin(z) * a).sum() + 3 * a[pick] * z[pick] ** 2

    def f(z):
        k = int(np.argmax(z))
        return float((np.sin(z) * a).sum() + 3 * a[k] * z[k] ** 2 + (k % 7))

    g = a * np.cos(x)
    base = g.copy()
    g[pick] += 6 * a[pick] * x[pick]
    distance = x[pick] - x
    distance[pick] = gap
    return Instance(smooth, x, g, f=f, length=np.minimum(distance, 0.5), noise=EPS * (20 + np.sqrt(n)), other=[base])


@family
def seam(rng):
    """A formula for small arguments beside one for large ones that do not quite meet: hand-written special cases."""
    n = size(rng, 1, 80)
    cut = 10.0 ** rng.uniform(-3, -1)
    x = cut * (1 + rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-3, -0.5, n))
    other = rng.random(n) < 0.5
    x[other] = rng.normal(size=other.sum())

    def f(z):
        small = np.abs(z) < cut
        safe = np.where(small, 1.0, z)
        return np.where(small, 1 - z * z / 6, np.sin(safe) / safe).sum()

    small = np.abs(x) < cut
    xl = x.astype(L)
    g = np.where(small, -xl / 3, (xl * np.cos(xl) - np.sin(xl)) / xl**2).astype(float)
    away = np.abs(np.abs(x) - cut)
    return Instance(f, x, g, length=np.minimum(away, 0.3), noise=2 * EPS * (1 + n), other=[-np.cos(x), g * 2])
