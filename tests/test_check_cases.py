"""check_gradient where it was wrong: the right verdict, or a sentence that says what to do."""

from itertools import pairwise

import numpy as np
import pytest

from nncore import Layer, NeuralNetwork, check_gradient, numerical_gradient, numerical_jacobian

NAN = np.nan


def squares(x):
    return float(np.sum(x**2))


def only(report):
    """The verdict of a report that gives one for all elements."""
    (word,) = {word for words in report.verdict.values() for word in words.ravel()}
    return word


# ---- noise, measured -----------------------------------------------------------------------------------------

MIX = np.random.default_rng(7).normal(size=(30, 12))
FUNCTIONS = {
    "squares": (lambda x: np.sum(x**2), lambda x: 2 * x),
    "log of sums": (
        lambda x: np.log(np.exp(MIX @ x).sum()),
        lambda x: MIX.T @ (np.exp(MIX @ x) / np.exp(MIX @ x).sum()),
    ),
    "offset": (lambda x: 1e3 + np.sum(np.sin(x)), np.cos),
    "product": (lambda x: np.prod(1 + x**2), lambda x: np.prod(1 + x**2) * 2 * x / (1 + x**2)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_known_noise_is_measured(name):
    """Normal noise of 1e-14 to 1e-6, from seven values: within a factor of three for most, and five for all.

    The right gradient is never wrong, and one that is 1 % off never right.
    """
    f, grad = FUNCTIONS[name]
    ratios = []
    for seed, power in enumerate(range(-14, -5)):
        rng = np.random.default_rng(seed)
        x, level = rng.normal(size=12), 10.0**power

        def noisy(x, level=level, rng=rng):
            return float(f(x) + level * rng.standard_normal())

        report = check_gradient(noisy, x, grad=grad)
        ratios.append(report.noise_level["x"] / np.hypot(level, 0.5 * np.spacing(abs(f(x)))))
        assert report.counts["mismatch"] == 0, str(report)
        assert not check_gradient(noisy, x, grad=1.01 * grad(x)).passed
        if power <= -10:
            assert report.passed, str(report)
    assert 1 / 5 <= min(ratios) <= max(ratios) <= 5, ratios
    assert np.mean([1 / 3 <= ratio <= 3 for ratio in ratios]) >= 0.75, ratios


@pytest.mark.parametrize("seed", range(6))
def test_float32_inside_is_measured(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(500, 4)).astype(np.float32)
    x, right = np.ones(4) + 0.1 * rng.normal(size=4), rows.sum(axis=0, dtype=np.float64)

    def f(x):
        return float((100 + rows @ x.astype(np.float32)).sum(dtype=np.float32))  # 5e4, of units of 4e-3

    points = x + 1e-5 * rng.normal(size=(200, 4))
    true = np.std([f(p) - (100 + rows.astype(float) @ p).sum() for p in points])
    report = check_gradient(f, x, grad=right)
    assert true / 3 <= report.noise_level["x"] <= 20 * true
    assert report.passed, str(report)
    for wrong in (0 * right, -right, 1.01 * right):
        assert check_gradient(f, x, grad=wrong).counts["mismatch"] >= 2
    assert check_gradient(f, x, grad=right, noise=2.0**29).counts["mismatch"] == 0
    assert not check_gradient(f, x, grad=0 * right, noise=2.0**29).passed


def test_noise_that_hides_everything_fails_unless_it_is_to_be_reported():
    rng = np.random.default_rng(0)

    def f(x):
        return squares(x) + 100 * rng.standard_normal()

    x = rng.normal(size=5)
    report = check_gradient(f, x, grad=2 * x)
    assert not report.passed
    assert report.unresolved == ["x"]
    assert "5 noise" in str(report).splitlines()[0]
    assert "f gave two values at one point" in " ".join(report.notes)
    assert check_gradient(f, x, grad=2 * x, noise="report").passed
    assert not check_gradient(f, x, grad=2 * x + 1e5, noise="report").passed


# ---- steps, edges, waves, scales -----------------------------------------------------------------------------


def offs(grad, element, sizes=(-3e-4, 3e-4, -1e-2, 0.5, -2.0)):
    """The gradient with one element off by each of these parts."""
    for size in sizes:
        wrong = np.array(grad, float)
        wrong[element] *= 1 + size
        yield wrong


PLACES = {
    "close to an edge": (lambda x: np.log(x[0] - 0.0999), [0.1], [1 / (0.1 - 0.0999)]),
    "log of mixed scales": (lambda x: np.log(x).sum(), [1e-7, 1.0, 1e5], [1e7, 1.0, 1e-5]),
    "root of mixed scales": (lambda x: np.sqrt(x).sum(), [1e-10, 1.0, 1e6], [5e4, 0.5, 5e-4]),
    "waves": (
        lambda x: np.sin([1e4, 3e3, 10.0] * x).sum(),
        [0.3, -1.2, 0.7],
        [1e4, 3e3, 10.0] * np.cos([3e3, -3.6e3, 7.0]),
    ),
    "a wave of a million": (lambda x: np.sin(1e6 * x).sum(), [0.7, 0.2], 1e6 * np.cos([7e5, 2e5])),
    "scales of 20 decades": (
        lambda x: np.sum(np.sin(x / [1e-10, 1.0, 1e10])),
        [0.3e-10, 0.5, 0.7e10],
        np.cos([0.3, 0.5, 0.7]) / [1e-10, 1.0, 1e10],
    ),
    "growth": (lambda x: np.exp(50 * x).sum(), [0.1, 0.2, 0.15], 50 * np.exp([5.0, 10.0, 7.5])),
    "an offset": (lambda x: 1e6 + np.sum(x**3), [0.5, 2.0], [0.75, 12.0]),
    "huge": (lambda x: 1e300 * np.sum(x**2), [0.5, 2.0], [1e300, 4e300]),
    "tiny": (lambda x: 1e-300 * np.sum(x**2), [0.5, 2.0], [1e-300, 4e-300]),
    "a tiny x": (lambda x: 3 * np.sum(x), [1e-300, 2e-300], [3.0, 3.0]),
    "a huge x": (lambda x: np.sum(x / 7), [1e300, 2e300], [1 / 7, 1 / 7]),
}


@pytest.mark.parametrize("name", PLACES)
def test_hard_places(name):
    f, x, right = PLACES[name]
    x, right = np.array(x), np.array(right)
    with np.errstate(all="ignore"):
        report = check_gradient(lambda x: float(f(x)), x, grad=right)
        assert only(report) == "ok", str(report)
        assert report.smallest_error["x"] <= 2.1e-4
        assert report.n_evaluations <= 12 + 72 * x.size
        for i in range(x.size):
            for wrong in offs(right, i):
                found = check_gradient(lambda x: float(f(x)), x, grad=wrong)
                assert found.verdict["x"][i] == "mismatch", (i, wrong, str(found))
                assert (np.delete(found.verdict["x"], i) == "ok").all()


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.25])
def test_bounds_are_kept(side, value):
    """At both edges and within, one-sided where it has to be."""
    seen = []

    def f(x):
        seen.append(x.copy())
        return float(np.exp(x[0]) + x[1] ** 2 + (1 - x[0]) ** 1.5)

    x = np.array([value, 0.5])
    if side:
        x = x[::-1].copy()
        f_, f = f, lambda x: f_(x[::-1])
    right = np.array([np.exp(value) - 1.5 * (1 - value) ** 0.5, 1.0])
    right = right[::-1] if side else right
    assert only(check_gradient(f, x, grad=right, bounds=(0, 1))) == "ok"
    assert check_gradient(f, x, grad=right + np.array([1e-2, 0]), bounds=(0, 1)).verdict["x"].tolist() == [
        "mismatch",
        "ok",
    ]
    assert 0 <= np.min(seen) <= np.max(seen) <= 1


@pytest.mark.parametrize("noise", [1e-14, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("distance", [0.0, 1e-6, 1e-4, 0.004, 0.005, 0.006, 0.3])
def test_bounds_are_kept_by_the_search_in_noise(noise, distance):
    rng, seen = np.random.default_rng(0), []

    def f(x):
        seen.append(x.copy())
        return squares(x) + noise * rng.standard_normal()

    x = np.array([distance, 1 - distance, 0.5 + distance / 2])
    for differentiate in (
        lambda: check_gradient(f, x, grad=2 * x, bounds=(0, 1)),
        lambda: check_gradient(f, x, grad=3 * x + 1, bounds=(0, 1)),
        lambda: numerical_gradient(f, x, bounds=(0, 1), full_output=True),
    ):
        differentiate()
    assert 0 <= np.min(seen) <= np.max(seen) <= 1


def test_a_jacobian_keeps_its_bounds_too():
    seen = []

    def f(x):
        seen.append(x.copy())
        return np.outer(x, np.exp(x))

    x = np.array([0.0, 0.5, 1.0])
    right = np.zeros((3, 3, 3))
    for i in range(3):
        right[i, :, i] += np.exp(x)
        right[:, i, i] += x * np.exp(x[i])
    value, error = numerical_jacobian(f, x, bounds=(0, 1), full_output=True)
    assert (np.abs(value - right) <= error).mean() >= 0.95
    np.testing.assert_allclose(value, right, atol=1e-8)
    assert 0 <= np.min(seen) <= np.max(seen) <= 1


# ---- kinks and jumps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "low", "high"), [(abs, -1.0, 1.0), (lambda x: max(x, 0.0), 0.0, 1.0), (lambda x: 3 * x + abs(x), 2.0, 4.0)]
)
@pytest.mark.parametrize("place", [0.0, 1e-9, -3e-12])
def test_a_kink_is_seen_wherever_the_value_is(f, low, high, place):
    """Also where it is the middle one, which the central difference has too."""
    x = np.array([place])
    for part in (0.0, 0.25, 0.5, 1.0):
        grad = [low + part * (high - low)]
        kept, refused = (check_gradient(lambda x: float(f(x[0])), x, grad=grad, kinks=k) for k in ("ignore", "fail"))
        if place == 0:
            assert (only(kept), only(refused)) == ("kink", "kink"), (part, str(kept))
            assert (kept.passed, refused.passed) == (True, False)
        else:  # a step that is short enough is on one side
            assert only(kept) in ("ok", "kink", "mismatch")
            assert only(kept) != "ok" or grad[0] == (high if place > 0 else low)
    for outside in (low - 0.01, high + 0.01, 2 * high + 1, -high - 1):
        assert only(check_gradient(lambda x: float(f(x[0])), x, grad=[outside])) == "mismatch"


def test_a_sample_near_its_kink_hides_nothing():
    """Hinge loss: one of ten samples is 1e-8 from its kink; twice, flipped, missing and random are wrong."""
    rng = np.random.default_rng(0)
    rows, w = rng.normal(size=(10, 3)), rng.normal(size=3)
    rows[0] *= (1 - 1e-8) / (rows[0] @ w)
    right = -rows[rows @ w < 1].sum(0) / 10
    f = lambda w: float(np.maximum(0, 1 - rows @ w).mean())  # noqa: E731
    assert check_gradient(f, w, grad=right).passed
    for wrong in (2 * right, -right, 0 * right, 100 * rng.normal(size=3)):
        assert check_gradient(f, w, grad=wrong).counts["mismatch"] == 3


def test_a_network_near_a_kink_hides_nothing():
    rng = np.random.default_rng(0)
    net = NeuralNetwork([Layer(3, 4, "relu"), Layer(4, 4, "relu"), Layer(4, 2)], rng=0)
    x, t = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    z = np.maximum(x @ net.layers[0].weights + net.layers[0].bias, 0)[0]
    net.layers[1].bias[:] = -(z @ net.layers[1].weights) + 1e-9
    right = net.gradient(x, t)
    assert check_gradient(net, x, t).passed
    flipped = {k: -v if k in ("W1", "b1", "W2", "b2") else v for k, v in right.items()}
    report = check_gradient(net, x, t, grad=flipped)
    assert not report.passed
    for name in ("W1", "b1", "W2", "b2"):
        wrong = right[name] != 0
        assert (report.verdict[name][wrong] == "mismatch").mean() > 0.8
    for factor in (0.0, 0.5, 2.0):
        assert not check_gradient(net, x, t, grad={k: factor * v for k, v in right.items()}).passed


def test_many_kinks_in_float32_hide_no_factor():
    rng = np.random.default_rng(0)
    sizes = (20, 25, 25, 25, 2)
    layers = [Layer(a, b, "relu" if b > 2 else None, init="he") for a, b in pairwise(sizes)]
    net = NeuralNetwork(layers, loss="softmax_cross_entropy", dtype="float32", rng=1)
    x, t = rng.normal(size=(1000, 20)), rng.integers(2, size=1000)
    wrong = {k: np.asarray(v, float) * (1.5 if k == "W1" else 1) for k, v in net.gradient(x, t).items()}
    report = check_gradient(net, x, t, dtype="network", grad=wrong)
    assert not report.passed
    assert (report.verdict["W1"] == "mismatch").mean() > 0.4


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e5])
def test_a_jump_is_no_kink(side, size):
    """f(x) = x / 4, and more beyond 0: the slope is 1/4 on the side where it does not jump."""

    def f(x):
        return float(x[0] / 4 + size * (side * x[0] > 0))

    x = np.array([0.0])
    right = check_gradient(f, x, grad=[0.25])
    assert (only(right), right.passed) == ("jump", True)
    assert "jump: 1 element, such as x[0], where the function itself jumps" in right.notes[0]
    assert not check_gradient(f, x, grad=[0.25], kinks="fail").passed
    for wrong in (0.0, -0.25, 0.5, size, 1e5 * size, 1e12):
        if wrong != 0.25:
            assert only(check_gradient(f, x, grad=[wrong])) == "mismatch", wrong


def test_a_step_at_its_jump():
    """Flat on both sides: 0 is the slope of both, and it is said that the function jumps."""
    for f in (lambda x: float(x[0] > 0), lambda x: float(np.floor(x[0])), lambda x: 5.0 - 3 * (x[0] >= 0)):
        report = check_gradient(f, np.array([0.0]), grad=[0.0])
        assert (only(report), report.passed) == ("jump", True)
        for wrong in (1e-3, -1.0, 1e9):
            assert not check_gradient(f, np.array([0.0]), grad=[wrong]).passed


@pytest.mark.parametrize("seed", range(40))
def test_what_passes_at_a_break_is_near_it(seed):
    """Kinks and jumps at every distance, under every offset: twice the slopes and their opposite never pass."""
    rng = np.random.default_rng(seed)
    size, a = 10.0 ** rng.uniform(-12, 12), 10.0 ** rng.uniform(-8, 8)
    x = size * rng.uniform(0.5, 2) * rng.choice([-1, 1])
    at = x + rng.choice([-1, 1]) * size * rng.choice([0, 10.0 ** rng.uniform(-12, -1)])
    offset = rng.choice([0, a * size * 10.0 ** rng.uniform(-6, 3)])
    functions = {
        "kink": (lambda x: offset + a * (2 * x[0] + abs(x[0] - at)), a, 3 * a),
        "jump": (lambda x: offset + a * (x[0] + size * (x[0] > at)), a, a),
    }
    for f, low, high in functions.values():
        right = low if x < at else high
        report = check_gradient(lambda x, f=f: float(f(x)), np.array([x]), grad=[right])
        assert report.counts["mismatch"] == report.counts["nonfinite"] == 0, str(report)
        for wrong in (2 * high, -low, -high, 100 * high):
            assert not check_gradient(lambda x, f=f: float(f(x)), np.array([x]), grad=[wrong]).passed


@pytest.mark.parametrize("distance", 10.0 ** np.arange(-8, 0.0) * 3)
@pytest.mark.parametrize("offset", [0.0, 0.24])
def test_a_dead_relu_is_right_to_have_no_gradient(distance, offset):
    """f does not move at all on this side of its kink, and much beyond: that is no noise."""
    for x, slope in ((3233.0, 40712.0), (-2e-4, 1367.0), (0.7, -3.0)):
        at = x + abs(x) * distance
        f = lambda v: offset + slope * max(v[0] - at, 0.0)  # noqa: B023, E731
        assert only(check_gradient(f, np.array([x]), grad=[0.0])) == "ok"
        for wrong in (slope, -slope, 0.5 * slope):
            assert only(check_gradient(f, np.array([x]), grad=[wrong])) == "mismatch"


# ---- causes --------------------------------------------------------------------------------------------------


def test_a_softmax_over_the_whole_batch_is_named():
    rng = np.random.default_rng(0)
    x, W, t = rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), np.eye(5)[[0, 1, 2]]

    def softmax(a):
        e = np.exp(a - a.max())
        return e / e.sum()

    report = check_gradient(
        lambda W: float(-np.sum(t * np.log(softmax(x @ W) + 1e-7)) / 3),
        W,
        grad=lambda W: x.T @ (softmax(x @ W) - t) / 3,
    )
    assert not report.passed
    assert "softmax over all 3 x 5 numbers" in report.hints[0]
    assert "axis=1, keepdims=True" in report.hints[0]


def test_a_loss_that_broadcasts_is_named():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    y = x @ [1.0, 2.0]
    report = check_gradient(
        lambda w: float(np.mean((x @ w.reshape(2, 1) - y) ** 2)),
        np.array([0.3, 0.1]),
        grad=lambda w: 2 * x.T @ (x @ w - y) / 20,
    )
    assert not report.passed
    assert "broadcasts (20, 1) with (20,) to (20, 20)" in report.hints[0]


def test_float32_is_checked_to_what_is_said():
    """One element 0.1 % wrong, and all 0.5 % too large: in float64 they show, in float32 they are not called ok."""
    rng = np.random.default_rng(0)
    net = NeuralNetwork([Layer(6, 8, "tanh"), Layer(8, 3)], loss="softmax_cross_entropy", dtype="float32", rng=0)
    x, t = rng.normal(size=(30, 6)), rng.integers(3, size=30)
    right = {k: np.asarray(v, float) for k, v in net.gradient(x, t).items()}
    one = {k: v.copy() for k, v in right.items()}
    place = np.unravel_index(np.abs(one["W1"]).argmax(), one["W1"].shape)
    one["W1"][place] *= 1.001
    assert check_gradient(net, x, t, grad=one).verdict["W1"][place] == "mismatch"
    report = check_gradient(net, x, t, grad={k: 1.005 * v for k, v in right.items()})
    assert report.hints == ["all elements of every parameter are 0.5 % too large"]
    single = check_gradient(net, x, t, dtype="network")
    assert single.passed, str(single)
    assert single.rtol == 0.03
    assert "tolerance 0.03 of the element" in " ".join(str(single).split())


# ---- directions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(15))
def test_directions_of_relu_networks(seed):
    """1,000 samples have kinks within every step: right ones pass, and wrong ones of several kinds do not."""
    rng = np.random.default_rng(seed)
    sizes = [(10, 20, 20, 2), (8, 30, 3), (5, 12, 12, 12, 1)][seed % 3]
    layers = [
        Layer(a, b, "relu" if i < len(sizes) - 2 else None, init="he") for i, (a, b) in enumerate(pairwise(sizes))
    ]
    squared = sizes[-1] == 1 or seed % 2
    net = NeuralNetwork(layers, loss="squared_error" if squared else "softmax_cross_entropy", rng=seed)
    x = rng.normal(size=(1000, sizes[0]))
    t = rng.normal(size=(1000, sizes[-1])) if squared else rng.integers(sizes[-1], size=1000)
    report = check_gradient(net, x, t, directions=5)
    assert report.passed, str(report)
    assert report.counts["noise"] == 0
    right = net.gradient(x, t)
    last = f"b{len(sizes) - 1}"
    wrongs = [
        {**right, "W1": 1.1 * right["W1"]},
        {**right, "W1": -right["W1"]},
        {name: 1.001 * value for name, value in right.items()},
        {**right, last: 0 * right[last] - 1},
    ]
    for wrong in wrongs:
        assert check_gradient(net, x, t, grad=wrong, directions=5).counts["mismatch"] > 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [0.0, 1e-14, 1e-10])
def test_directions_of_mixed_scales_and_noise(seed, noise):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=40) * 10.0 ** rng.uniform(-10, 10, 40)
    c = rng.normal(size=40) / np.abs(x)
    right = c * np.cos(c * x)

    def f(x):
        return float(np.sum(np.sin(c * x)) + noise * rng.standard_normal())

    report = check_gradient(f, x, grad=right, directions=5)
    assert report.passed, str(report)
    assert report.counts["ok"] == 5
    if noise:
        assert noise / 5 <= report.noise_level["direction"] <= 5 * max(noise, 1e-14)
    one = np.where(np.arange(40) == np.abs(c * x).argmax(), -1, 1)
    for wrong in (1.01 * right, -right, np.where(np.arange(40) < 20, right, 0), one * right):
        assert not check_gradient(f, x, grad=wrong, directions=5).passed


# ---- what it costs -------------------------------------------------------------------------------------------

SMOOTH = {
    "squares": (lambda x: np.sum(x**2), lambda x: 2 * x),
    "waves": (lambda x: np.sum(np.sin(x)), np.cos),
    "rosenbrock": (
        lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
        lambda x: (
            np.concatenate([-400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1]), [0]])
            + np.concatenate([[0], 200 * (x[1:] - x[:-1] ** 2)])
        ),
    ),
    "log of sums": (lambda x: np.log(np.exp(x).sum()), lambda x: np.exp(x) / np.exp(x).sum()),
    "norm": (lambda x: np.sqrt(x @ x), lambda x: x / np.sqrt(x @ x)),
    "tanh layer": (lambda x: np.tanh(x.reshape(-1, 10) @ np.ones(10)).sum() / 3, None),
    "mean": (lambda x: np.mean((x - 1) ** 2), lambda x: 2 * (x - 1) / x.size),
}


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_cost_2_2_evaluations_an_element(name, n):
    f, grad = SMOOTH[name]
    if grad is None:
        grad = lambda x: np.repeat(1 - np.tanh(x.reshape(-1, 10).sum(axis=1)) ** 2, 10) / 3  # noqa: E731
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return float(f(x))

    x = np.random.default_rng(0).normal(size=n)
    report = check_gradient(counted, x, grad=grad)
    assert report.passed, str(report)
    assert report.counts["ok"] == n
    assert 2 * n <= calls <= 2.2 * n
    assert abs(report.n_evaluations - calls) <= 3
