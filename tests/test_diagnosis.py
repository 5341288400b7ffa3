"""The causes that a failed gradient check names, from its numbers and by experiments with the function."""

import doctest
import math
import warnings

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from nncore import check_gradient
from nncore.checking.causes import trace
from nncore.checking.causes.cases import Case, ratio_in_words
from nncore.checking.causes.diagnosis import diagnose
from nncore.checking.causes.tape import INPUT, PART, Tape
from nncore.checking.causes.trace import trace_hints
from nncore.checking.evidence import Evidence
from nncore.checking.report import GradientReport

U = 1e-10


def case(numerical, analytic, name="x", u=U):
    numerical, analytic = np.array(numerical, float), np.array(analytic, float)
    tolerance = 4 * u + 1e-6 * np.maximum(np.abs(numerical), np.abs(analytic))
    yes = np.ones(numerical.shape, bool)
    return Case(name, analytic, numerical, tolerance, yes, yes, np.abs(analytic - numerical) > tolerance)


def hinted(numerical, analytic, u=U, **named):
    """The hints of a report, which is how they are read."""
    numerical, analytic = np.array(numerical, float), np.array(analytic, float)
    parts, no = np.full(numerical.shape, u / 2), np.zeros(numerical.shape, bool)
    report = GradientReport(
        {"x": Evidence(analytic, numerical, parts, parts, no, no, ~no)}, n_evaluations=1, seconds=0.0, **named
    )
    assert not report.passed
    return report.hints


# ---- from numbers: factors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.005, "all elements of x are 0.5 % too large"),
        (0.995, "all elements of x are 0.5 % too small"),
        (1.0123, "all elements of x are 1.23 % too large"),
        (1 + 2e-5, "all elements of x are 0.002 % too large"),
        (0.9, "all elements of x are 10 % too small"),
        (-1.005, "all elements of x are of the wrong sign and 0.5 % too large"),
        (1.2, "all elements of x are 1.2 times too large"),
        (-1.0, "the sign of x is flipped"),
        (0.5, "all elements of x are 2 times too small: a factor of 2 forgotten?"),
    ],
)
def test_a_factor_of_all(factor, words, rng):
    g = rng.standard_normal((5, 4))
    assert hinted(g, factor * g, rtol=min(1e-4, abs(factor - 1) / 10)) == [words]


@given(st.floats(-6, 6), st.sampled_from([-1, 1]))
def test_no_factor_is_said_to_be_1_or_0_per_cent(exponent, sign):
    """Over twelve decades of distance from 1, the size that is said is the size there is, to its last digit."""
    factor = 1 + sign * 10.0**exponent
    if factor == 0:
        return
    g = np.random.default_rng(0).standard_normal(6)
    hints = diagnose([case(g, factor * g, u=1e-14)]) if abs(factor - 1) > 1.1e-6 else []
    words = ratio_in_words(factor, 1.0)
    for text in [words, *hints]:
        if "flipped" not in text:
            said = text.split(" %")[0].split(" times")[0].split()[-1]
            digits = len(said.split("e")[0].replace(".", "").lstrip("0").rstrip("0"))
            size = abs(factor) if abs(factor) > 1 else 1 / abs(factor)
            size = 100 * abs(abs(factor) - 1) if "%" in text else size
            assert float(said) == pytest.approx(size, rel=10.0 ** (1 - digits))
            assert "%" in text or float(said) != 1


def test_a_factor_has_the_digits_that_the_difference_tells(rng):
    g = 1 + rng.random(50)
    (hint,) = hinted(g + 1e-3 * rng.standard_normal(50), 1.0512 * g, u=1e-3)
    said = float(hint.split(" % ")[0].split()[-1])
    assert said == pytest.approx(5.12, abs=0.1)
    assert len(hint.split(" % ")[0].split()[-1]) <= 4


# ---- from numbers: arrangements ------------------------------------------------------------------------------


def put(array, places, values):
    changed = array.copy()
    changed.flat[list(places)] = values
    return changed


def taken(array, axis, order):
    return array.take(order, axis)


ARRANGEMENTS = {
    "pair": ((12,), lambda g: put(g, (3, 8), g[[8, 3]]), "x[3] and x[8] are swapped"),
    "first two": ((2,), lambda g: g[::-1], "x[0] and x[1] are swapped"),
    "neighbours": ((9,), lambda g: put(g, (3, 4), g[[4, 3]]), "x[3] and x[4] are swapped"),
    "pair of a matrix": ((4, 5), lambda g: put(g, (1, 13), g.flat[[13, 1]]), "x[0, 1] and x[2, 3] are swapped"),
    "segment": ((12,), lambda g: put(g, range(3, 8), np.roll(g[3:8], 1)), "x[3] to x[7] are rolled by 1"),
    "segment back": ((12,), lambda g: put(g, range(3, 8), np.roll(g[3:8], -2)), "x[3] to x[7] are rolled by 2"),
    "rolled far": ((12,), lambda g: np.roll(g, 4), "x is shifted by 4 elements"),
    "rolled rows": ((7, 3), lambda g: np.roll(g, -2, 0), "x is shifted by 2 rows"),
    "rolled columns": ((3, 8), lambda g: np.roll(g, 4, 1), "x is shifted by 4 columns"),
    "rolled in memory": ((4, 5), lambda g: np.roll(g, 1), "x is shifted by one element in memory"),
    "rows swapped": ((5, 3), lambda g: taken(g, 0, [0, 3, 2, 1, 4]), "rows 1 and 3 of x are swapped"),
    "columns swapped": ((5, 4), lambda g: taken(g, 1, [0, 1, 3, 2]), "columns 2 and 3 of x are swapped"),
    "three": (
        (9,),
        lambda g: put(g, (1, 4, 8), g[[4, 8, 1]]),
        "3 elements of x have each other's values: x[1], x[4], x[8]",
    ),
    "any order": (
        (30,),
        lambda g: g[np.random.default_rng(1).permutation(30)],
        "elements of x have each other's values: x[0], ... x[29]",
    ),
    "3-D": ((3, 2, 4), lambda g: taken(g, 2, [0, 2, 1, 3]), "places along axis 2 1 and 2 of x are swapped"),
}  # fmt: skip


@pytest.mark.parametrize("u", [1e-13, 1e-8, 1e-4])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_an_arrangement_is_named(name, u, rng):
    shape, wrong, words = ARRANGEMENTS[name]
    g = rng.permutation(np.linspace(-2, 2, math.prod(shape)) + 0.3).reshape(shape)
    (hint,) = hinted(g + u * rng.standard_normal(shape), wrong(g), u=u)
    assert hint == words or (name == "any order" and hint.endswith(words))


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_any_permutation_is_recognised_and_no_random_numbers_are(seed, n):
    rng = np.random.default_rng(seed)
    g, order = rng.standard_normal(n), rng.permutation(n)
    if (np.count_nonzero(order != np.arange(n))) >= 2:
        (hint,) = diagnose([case(g, g[order])])
        assert any(word in hint for word in ("swapped", "rolled", "shifted", "reverse", "each other's"))
    assert not any("each other" in hint or "swapped" in hint for hint in diagnose([case(g, rng.standard_normal(n))]))


# ---- from numbers: parts -------------------------------------------------------------------------------------


def diagonal(g):
    return g + np.diag(np.diag(g))


PARTS = {
    "rows by weights": (
        (4, 3),
        lambda g: g * np.array([[2.0], [1.0], [0.5], [3.0]]),
        "each row of x is wrong by a factor of its own (2, 1, 0.5, ...): is a product by row missing?",
    ),
    "columns by weights": (
        (4, 2),
        lambda g: g / [4.0, 0.1],
        "each column of x is wrong by a factor of its own (0.25, 10): is a product by column missing?",
    ),
    "diagonal twice": (
        (4, 4),
        diagonal,
        "4 of 16 elements of x are 2 times too large: those on the diagonal",
    ),
    "one row flipped": (
        (5, 4),
        lambda g: put(g, range(4, 8), -g[1]),
        "4 of 20 elements of x are of the wrong sign: in x[1, :]",
    ),
    "never written": (
        (10,),
        lambda g: put(g, range(7, 10), 0),
        "3 of 10 elements of x are missing, all zero: x[7] to x[9]",
    ),
    "last row never written": (
        (5, 4),
        lambda g: put(g, range(16, 20), 0),
        "4 of 20 elements of x are missing, all zero: in x[4, :]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("u", [1e-13, 1e-8])
@pytest.mark.parametrize("name", PARTS)
def test_a_wrong_part_is_named(name, u, rng):
    shape, wrong, words = PARTS[name]
    g = 1 + rng.random(shape)
    assert hinted(g + u * rng.standard_normal(shape), wrong(g), u=u) == [words]


def test_a_gradient_accumulated_in_float32(rng):
    rows = rng.standard_normal((3000, 8))
    right = rows.sum(axis=0, dtype=np.float64)
    total = np.zeros(8, np.float32)
    for row in rows.astype(np.float32):
        total += row
    (hint,) = hinted(right, total, u=1e-12, rtol=1e-6)
    assert hint.startswith("the values of x are those of float32 and so are their errors")
    (hint,) = hinted(right, right + 1e-5, u=1e-12, rtol=1e-7) or [""]
    assert "float32" not in hint, "doubles"
    simple = np.arange(1.0, 6.0)
    assert "float32" not in "".join(hinted(simple, [1, 2, 3, 4, 5.0001], rtol=1e-6)), "simple numbers"


def test_random_errors_have_no_cause(rng):
    for _ in range(200):
        g = rng.standard_normal((4, 5))
        assert diagnose([case(g, g + 0.1 * rng.standard_normal(g.shape))]) == []


# ---- by experiment -------------------------------------------------------------------------------------------

N, D, K = 12, 4, 5
DATA = np.random.default_rng(5)
X, Y = DATA.standard_normal((N, D)), DATA.standard_normal(N)
T = np.eye(K)[DATA.integers(K, size=N)]
W0, V0 = DATA.standard_normal((D, K)), DATA.standard_normal(D)
PROBE = DATA.standard_normal((N, K))
SAMPLE_WEIGHT = 0.5 + DATA.random(N)
SQUARE, TK = DATA.standard_normal((K, D)), np.eye(K)[[1, 4, 0, 0, 2]]


def differences(f, x):
    """Of the fourth order, one element after the other, by hand."""
    x, slopes = np.array(x, float), np.empty(np.shape(x))
    for i in np.ndindex(x.shape):
        kept, values = x[i], []
        for h in (-2e-3, -1e-3, 1e-3, 2e-3):
            x[i] = kept + h
            with np.errstate(all="ignore"):
                values.append(float(np.asarray(f(x)).reshape(())))
        x[i] = kept
        slopes[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-3
    return slopes


def traced(f, x, gradient, grad=None):
    """The hints and notes where the gradient is that."""
    notes = []
    return trace_hints(f, x, [case(differences(f, x), gradient)], grad, notes), notes


def softmax(a, axis=1):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_of_book(a):
    """Transposed, so that axis 0 is that of the classes."""
    a = a.T - np.max(a.T, axis=0)
    return (np.exp(a) / np.sum(np.exp(a), axis=0)).T


def bare(a):
    return np.exp(a) / np.exp(a).sum()


def log_softmax(a, axis):
    a = a - np.max(a, axis=axis, keepdims=True)
    return a - np.log(np.sum(np.exp(a), axis=axis, keepdims=True))


def no_keepdims(a):
    e = np.exp(a - a.max())
    return e / e.sum(axis=1)


def normed(h, axis):
    return (h - h.mean(axis=axis, keepdims=True)) / np.sqrt(h.var(axis=axis, keepdims=True) + 1e-5)


def entropy(p):
    return -np.sum(T * np.log(p + 1e-12)) / N


def of_entropy(W):
    return X.T @ (softmax(X @ W) - T) / N


def of_squares(w, rows=slice(None), n=N):
    return 2 * X[rows].T @ (X[rows] @ w - Y[rows]) / n


def loop(w):
    total = 0.0
    for row, y in zip(X, Y, strict=True):
        total += (row @ w - y) ** 2
    return total / N


def batches(w):
    total = 0.0
    for i in range(0, N, 4):
        total += np.mean((X[i : i + 4] @ w - Y[i : i + 4]) ** 2)
    return total / 3


def chained(w):
    r = X @ w - Y
    return r @ r / N


SHAPES = "both of one shape, so ravel or reshape one of them"
AXIS_1 = "the gradient is right for axis=1, keepdims=True"
ALL = f"over all {N} x {K} numbers"
BATCH = "does a later batch overwrite what it should add to?"
# f, where, the gradient under test, what is said
CAUSES = {
    "F47": (
        lambda w: np.mean((X @ w.reshape(D, 1) - Y) ** 2), V0, of_squares(V0),
        f"f broadcasts ({N}, 1) with ({N},) to ({N}, {N}) in subtract: the gradient is right for {SHAPES}",
    ),
    "weights (n,) and losses (n, 1)": (
        lambda w: np.mean(SAMPLE_WEIGHT * (X @ w[:, None] - Y[:, None]) ** 2), V0,
        2 * X.T @ (SAMPLE_WEIGHT * (X @ V0 - Y)) / N,
        f"f broadcasts ({N},) with ({N}, 1) to ({N}, {N}) in multiply: the gradient is right for {SHAPES}",
    ),
    "twice": (
        lambda w: np.mean(np.logaddexp(0, X @ w[:, None]) - (Y > 0) * (X @ w[:, None])), V0,
        X.T @ (scipy.special.expit(X @ V0) - (Y > 0)) / N,
        f"f broadcasts ({N},) with ({N}, 1) to ({N}, {N}) in multiply: the gradient is right for {SHAPES}",
    ),
    "numbers of rows on columns": (
        lambda W: np.sum(SAMPLE_WEIGHT[:K] * (SQUARE @ W) ** 2), W0,
        2 * SQUARE.T @ (SAMPLE_WEIGHT[:K, None] * (SQUARE @ W0)),
        "f applies (5,) to the columns of (5, 5) in multiply: the gradient is right for its rows, as with [:, None]",
    ),
    "softmax over the batch": (
        lambda W: entropy(bare(X @ W)), W0, of_entropy(W0), f"f takes the softmax {ALL}: {AXIS_1}",
    ),
    "softmax over the samples": (
        lambda W: entropy(softmax(X @ W, 0)), W0, of_entropy(W0),
        f"f takes the softmax over axis 0 of {N} x {K} numbers: {AXIS_1}",
    ),
    "log-softmax over the batch": (
        lambda W: -np.sum(T * log_softmax(X @ W, None)) / N, W0, of_entropy(W0), f"f takes the softmax {ALL}: {AXIS_1}",
    ),
    "softmax without keepdims": (
        lambda W: -np.sum(TK * np.log(no_keepdims(SQUARE @ W))), W0,
        SQUARE.T @ (softmax(SQUARE @ W0) - TK),
        f"f takes the softmax over axis 1 of {K} x {K} numbers without keepdims: {AXIS_1}",
    ),
    "batch for layer": (
        lambda W: np.sum(normed(X @ W, 0) * PROBE), W0, differences(lambda W: np.sum(normed(X @ W, 1) * PROBE), W0),
        f"f takes the mean and var over axis 0 of {N} x {K} numbers: {AXIS_1}",
    ),
    "maximum over the samples": (
        lambda W: np.max(X @ W, axis=0).sum(), W0, differences(lambda W: np.max(X @ W, axis=1).sum(), W0),
        f"f takes the max over axis 0 of {N} x {K} numbers: the gradient is right for axis=1",
    ),
    "mean over all numbers": (
        lambda W: np.mean((X @ W - T) ** 2), W0, 2 * X.T @ (X @ W0 - T) / N,
        f"f takes the mean {ALL}: the gradient is that of their sum divided by {N}",
    ),
    "sum": (
        lambda w: np.sum((X @ w - Y) ** 2), V0, of_squares(V0),
        f"f takes the sum over {N} numbers: the gradient is that of their sum divided by {N}",
    ),
    "n - 1": (
        lambda w: np.mean((X @ w - Y) ** 2), V0, of_squares(V0, n=N - 1),
        f"f takes the mean over {N} numbers: the gradient is that of their sum divided by {N - 1}",
    ),
    "outputs counted too": (
        lambda W: np.mean(np.sum((X @ W - T) ** 2, axis=1)), W0, 2 * X.T @ (X @ W0 - T) / (N * K),
        f"f takes the sum over axis 1 of {N} x {K} numbers: the gradient is that of their sum divided by {K}",
    ),
    "last batch": (
        lambda w: np.mean((X @ w - Y) ** 2), V0, of_squares(V0, slice(8, N), 4),
        f"the gradient is that of the mean over the last 4 of {N} samples: {BATCH}",
    ),
    "last batch, by all": (
        lambda w: np.sum((X @ w - Y) ** 2) / N, V0, of_squares(V0, slice(8, N)),
        f"the gradient is that of the last 4 of {N} samples: {BATCH}",
    ),
    "last batch of a product": (
        chained, V0, of_squares(V0, slice(9, N)), f"the gradient is that of the last 3 of {N} samples: {BATCH}",
    ),
    "last batch of columns": (
        lambda W: np.sum(np.mean((X @ W - T) ** 2, axis=0)), W0, 2 * X[8:].T @ (X[8:] @ W0 - T[8:]) / 4,
        f"the gradient is that of the mean over the last 4 of {N} samples: {BATCH}",
    ),
    "last batch of a norm": (
        lambda w: np.linalg.norm(X @ w - Y) ** 2 / N, V0, of_squares(V0, slice(8, N)),
        f"the gradient is that of the last 4 of {N} samples: {BATCH}",
    ),
    "last batch of einsum": (
        lambda W: np.einsum("ij,ij->", X @ W - T, X @ W - T) / N, W0, 2 * X[8:].T @ (X[8:] @ W0 - T[8:]) / N,
        f"the gradient is that of the last 4 of {N} samples: {BATCH}",
    ),
    "last batch of average": (
        lambda W: np.average((X @ W - T) ** 2), W0, 2 * X[8:].T @ (X[8:] @ W0 - T[8:]) / 4 / K,
        f"the gradient is that of the mean over the last 4 of {N} samples: {BATCH}",
    ),
    "last sample of a loop": (
        loop, V0, of_squares(V0, slice(N - 1, N)),
        f"the gradient is that of the last of {N} terms that f adds: {BATCH}",
    ),
    "last of the batches": (
        batches, V0, of_squares(V0, slice(8, N), 4),
        f"the gradient is that of the last of 3 terms that f adds, times 3 / 1: {BATCH}",
    ),
    "last incomplete batch": (
        lambda w: np.mean((X @ w - Y) ** 2), V0, of_squares(V0, slice(0, 9), 9),
        f"the gradient is that of the mean over the first 9 of {N} samples: is the rest left out?",
    ),
    "one sample left out": (
        lambda W: entropy(softmax(X @ W)), W0,
        np.delete(X, 7, 0).T @ np.delete(softmax(X @ W0) - T, 7, 0) / N,
        f"the gradient leaves out number 7 of {N} samples, counted from 0",
    ),
    "one sample twice": (
        lambda w: np.mean((X @ w - Y) ** 2), V0, of_squares(V0) + of_squares(V0, slice(3, 4)),
        f"the gradient counts twice number 3 of {N} samples, counted from 0",
    ),
    "from the middle": (
        lambda w: np.mean((X @ w - Y) ** 2) + 0.1 * np.sum(w**2), V0, of_squares(V0, slice(4, 7), 3) + 0.2 * V0,
        f"the gradient is that of the mean over numbers 4 to 6 of {N} samples, counted from 0",
    ),
    "a term is left out": (
        lambda w: np.mean((X @ w - Y) ** 2) + 0.1 * np.sum(w**4), V0, of_squares(V0),
        "the gradient leaves out number 1 of 2 terms that f adds, counted from 0",
    ),
    "one sample alone": (
        lambda w: np.mean((X @ w - Y) ** 2), V0, of_squares(V0, slice(5, 6)),
        f"the gradient is that of number 5 of {N} samples, divided by {N}, counted from 0",
    ),
    "norms by rows": (
        lambda W: np.linalg.norm(X @ W, axis=0).sum(), W0,
        differences(lambda W: np.linalg.norm(X @ W, axis=1).sum(), W0),
        f"f takes the norm over axis 0 of {N} x {K} numbers: the gradient is right for axis=1",
    ),
    "norms of order 1 by rows": (
        lambda W: (np.linalg.norm(X @ W, 1, axis=0) ** 2).sum(), W0,
        differences(lambda W: (np.linalg.norm(X @ W, 1, axis=1) ** 2).sum(), W0),
        f"f takes the norm over axis 0 of {N} x {K} numbers: the gradient is right for axis=1",
    ),
    "normalised over the batch": (
        lambda W: np.sum(np.maximum(X @ W, 0) / (1e-3 + np.maximum(X @ W, 0).sum()) * PROBE), W0,
        differences(
            lambda W: np.sum(np.maximum(X @ W, 0) / (1e-3 + np.maximum(X @ W, 0).sum(1, keepdims=True)) * PROBE), W0
        ),
        f"f takes the sum {ALL}: {AXIS_1}",
    ),
    "a term has the wrong sign": (
        lambda w: np.mean((X @ w - Y) ** 2) + np.sum(w**4), V0, of_squares(V0) - 4 * V0**3,
        "the gradient has the wrong sign for number 1 of 2 terms that f adds, counted from 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_found_by_experiment(name):
    f, x, gradient, words = CAUSES[name]
    before = x.copy()
    hints, _ = traced(f, x, gradient)
    assert x.tobytes() == before.tobytes()
    assert hints == [words]


def of_bare_entropy(W):
    return X.T @ (bare(X @ W) - T) / N


def of_column(w):
    """(n, 1) less (n,), averaged, where a column was meant."""
    r = X @ w.reshape(-1, 1) - Y
    return 2 * X.T @ r.mean(axis=1) / N


# f, where, grad, what is said
CAUSES_IN_GRAD = {
    "softmax": (
        lambda W: entropy(softmax(X @ W)), W0, of_bare_entropy,
        f"grad takes the softmax {ALL}: it is right for axis=1, keepdims=True",
    ),
    "F46": (
        lambda W: entropy(bare(X @ W)), W0, of_bare_entropy,
        f"f takes the softmax {ALL}, and so does grad: they agree for axis=1, keepdims=True",
    ),
    "broadcast": (
        lambda w: np.mean((X @ w - Y) ** 2), V0, of_column,
        f"grad broadcasts ({N}, 1) with ({N},) to ({N}, {N}) in subtract: it is right for {SHAPES}",
    ),
    "axis of the sum": (
        lambda b: np.mean((SQUARE @ W0 + b) ** 2) * K, np.ones(K), lambda b: np.sum(2 * (SQUARE @ W0 + b), axis=1) / K,
        f"grad takes the sum over axis 1 of {K} x {K} numbers: it is right for axis=0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES_IN_GRAD)
def test_a_cause_is_found_in_the_gradient(name):
    f, x, grad, words = CAUSES_IN_GRAD[name]
    assert traced(f, x, grad(x), grad) == ([words], [])


def test_containers():
    """Dict, list and tuple, and an array that is right beside one that is not."""
    b0 = np.linspace(-1, 1, K)
    right = softmax(X @ W0 + b0) - T
    gradients = {"W": X.T @ right / N, "b": right.sum(axis=0) / N}

    def loss(W, b):
        return entropy(bare(X @ W + b))

    cases = [
        case(differences(lambda W: loss(W, b0), W0), gradients["W"], "W"),
        case(differences(lambda b: loss(W0, b), b0), gradients["b"], "b"),
    ]
    words = [f"f takes the softmax {ALL}: {AXIS_1}"]
    assert trace_hints(lambda p: loss(p["W"], p["b"]), {"W": W0, "b": b0}, cases) == words
    assert trace_hints(lambda p: loss(*p), [W0, b0], cases) == words
    assert trace_hints(lambda p: loss(*p), (W0, b0), cases) == words
    last = X[-3:].T @ right[-3:] / N
    cases = [
        case(differences(lambda W: entropy(softmax(X @ W + b0)), W0), last, "W"),
        case(gradients["b"], gradients["b"], "b"),
    ]
    assert trace_hints(lambda p: entropy(softmax(X @ p[0] + p[1])), [W0, b0], cases) == []


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (lambda a: scipy.special.softmax(a), True),
        (lambda a: np.exp(scipy.special.log_softmax(a)), True),
        (lambda a: scipy.special.softmax(a, axis=1), False),
        (lambda a: np.exp(a - scipy.special.logsumexp(a, axis=1, keepdims=True)), False),
        (lambda a: np.exp(a - scipy.special.logsumexp(a)), True),
        (softmax, False),
        (softmax_of_book, False),
        (lambda a: softmax(a, None), True),
        (lambda a: softmax(a, 0), True),
    ],
)
def test_a_softmax_that_explains_nothing_is_asked_about(function, asked, rng):
    x = W0.copy()
    hints, _ = traced(lambda W: entropy(function(X @ W)), x, rng.standard_normal(x.shape))
    assert len(hints) == asked
    assert all("f takes the softmax over" in hint and hint.endswith("meant?") for hint in hints)
    right = differences(lambda W: entropy(function(X @ W)), x)
    assert traced(lambda W: entropy(function(X @ W)), x, -right) == ([], []), "the sign explains it"


# ---- no false hints ------------------------------------------------------------------------------------------

P0, Q0 = DATA.standard_normal(6), DATA.standard_normal((4, 4))
# right functions, some of which look like a mistake
RIGHT = {
    "outer product": (lambda w: np.sum((w[:, None] * X[0]) ** 3), DATA.standard_normal(3)),
    "square outer product": (lambda w: np.sum(np.tanh(w[:, None] * w)), P0),
    "all pairs": (lambda w: np.sum(np.exp(-((w[:, None] - w) ** 2))), P0),
    "all pairs, explicit": (lambda w: np.sum(np.exp(-((w[:, None] - w[None, :]) ** 2))), P0),
    "kernel of data": (lambda s: Y @ np.exp(-((X[:, :1] - X[:, 0]) ** 2) * s[0]) @ Y, np.array([0.7, 0.2])),
    "bias of a square": (lambda b: np.sum(np.tanh(Q0 @ Q0 + b) ** 3), DATA.standard_normal(4)),
    "softmax": (lambda W: entropy(softmax(X @ W)), W0),
    "softmax of the book": (lambda W: entropy(softmax_of_book(X @ W)), W0),
    "log-softmax": (lambda W: -np.sum(T * log_softmax(X @ W, 1)) / N, W0),
    "attention": (lambda Q: np.sum((softmax(Q @ Q.T / 2) @ Q) ** 3), Q0),
    "batch norm": (lambda W: np.sum(normed(X @ W, 0) * PROBE), W0),
    "layer norm": (lambda W: np.sum(normed(X @ W, 1) * PROBE), W0),
    "norms": (lambda W: np.sum(W / np.linalg.norm(W, axis=1, keepdims=True) * PROBE[:D]), W0),
    "logsumexp": (lambda W: np.mean(scipy.special.logsumexp(X @ W, axis=1)), W0),
    "trace by einsum": (lambda Q: np.einsum("ij,ji->", Q, np.sin(Q)), Q0),
    "sum of some": (lambda w: np.sum((X @ w) ** 2, where=Y > 0), V0),
    "one row": (lambda w: np.sum((X[:1] @ w) ** 2) / 3, V0),
    "norm of another order": (lambda w: np.linalg.norm(X @ w - Y, 1) + np.linalg.norm(X @ w - Y, 3), V0),
    "einsum": (lambda W: np.einsum("ij,jk,ik->", X, W, np.sin(X @ W)), W0),
    "where": (lambda W: np.mean(np.where(X @ W > 0, X @ W, 0.01 * (X @ W)) ** 2), W0),
    "picked": (lambda W: -np.mean(np.log(softmax(X @ W)[np.arange(N), T.argmax(1)])), W0),
    "loop": (loop, V0),
    "batches": (batches, V0),
    "total": (lambda w: np.mean((X @ w - Y) ** 2) + 0.1 * np.sum(w**2) + 0.1 * np.abs(w).sum(), V0),
    "in place": (lambda w: np.sum(np.multiply(w, 2, out=w) ** 3), P0),
    "plain arrays": (lambda w: np.sum(np.asarray(w) ** 3), P0),
    "a single number": (lambda w: w**3 + 2 * w, np.array(1.5)),
    "determinant": (lambda Q: np.linalg.slogdet(Q @ Q.T + np.eye(4))[1], Q0),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_yield_no_hint(name, rng):
    """With a gradient that is right but for something that f has no part in."""
    f, x = RIGHT[name]
    g = differences(lambda v: f(v.copy()), x)
    size = np.abs(g).max()
    wrong = [g + 0.2 * size * rng.standard_normal(g.shape) for _ in range(5)]
    wrong += [g * rng.uniform(0.5, 2, g.shape), 1.3 * g, -g, 0 * g, rng.standard_normal(g.shape), g + 0.07, g**2]
    wrong += [put(g, [k], g.flat[k] + size) for k in (0, g.size - 1)]
    wrong += [g * (rng.random(g.shape) < 0.6), put(g, range(g.size // 2), 0)]
    before = x.copy()
    for gradient in wrong:
        assert traced(f, x, gradient) == ([], [])
    assert x.tobytes() == before.tobytes()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_no_combination_of_operations_yields_a_false_hint(seed):
    """Random programs of sums, products, means and maxima over random axes, under random gradients."""
    rng = np.random.default_rng(seed)
    n, k = rng.integers(1, 6, 2)
    data, column, line, x = (rng.standard_normal(s) for s in ((n, 4), (n, 1), (n,), (4, k)))
    steps = rng.integers(0, 9, rng.integers(1, 6))

    def f(x):
        a = data @ x
        for step in steps:
            axis = int(step) % 2
            if step < 2:
                a = a - a.mean(axis=axis, keepdims=True)
            elif step < 4:
                a = np.tanh(a) / (1 + np.exp(a).sum(axis=axis, keepdims=True))
            elif step < 6:
                a = a * (1 + np.max(a, axis=axis, keepdims=True))
            elif step == 6:
                a = a * column
            elif step == 7:
                a = np.sin(a) + line[:, None]
            else:
                a = a + a**2
        return np.sum(a) + 0.1 * np.sum(x**2)

    hints, _ = traced(f, x, rng.standard_normal(x.shape))
    assert not any("right" in hint or "is that of" in hint or "leaves out" in hint for hint in hints)


# ---- single precision ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "where"),
    [
        (lambda w: np.mean((X @ w.astype(np.float32) - Y).astype(np.float32) ** 2), "from astype on"),
        (lambda w: np.sum(np.tanh(X @ w), dtype=np.float32), "from sum on"),
        (lambda w: np.mean((np.float32(X) @ np.asarray(w, np.float32)) ** 2), "as its values show"),
        (lambda w: float(np.float32(X @ w).sum()), "from astype on|as its values show"),
    ],
)
def test_a_function_in_float32_is_a_note_or_a_hint(f, where):
    slopes = differences(f, V0)
    hints, notes = traced(f, V0, slopes + 1.0)
    (note,) = notes
    assert any(f"f computes in float32 ({way}) though its argument is float64" in note for way in where.split("|"))
    assert not hints or "float32" not in hints[0]
    near = slopes + 2e-4 * np.abs(slopes).max() * np.array([1, -1, 1, 1])
    hints, notes = traced(f, V0, near)
    assert hints[0].startswith(note)
    assert notes == []


@pytest.mark.parametrize(
    "f",
    [
        lambda w: np.sum(w**2),
        lambda w: float(np.round(np.sum(w), 1)),
        lambda w: int(np.sum(w > 0)),
        lambda w: np.mean((np.float32(X) @ w - np.float32(Y)) ** 2),
    ],
)
def test_a_function_in_float64_has_no_such_note(f, rng):
    hints, notes = traced(f, V0, rng.standard_normal(D))
    assert not any("float32" in text for text in hints + notes)
    single = V0.astype(np.float32)
    hints = trace_hints(f, single, [case(np.ones(D), np.zeros(D))], None, notes)
    assert not any("float32" in text for text in hints + notes), "as its argument does"


# ---- manners -------------------------------------------------------------------------------------------------


class State:
    """A layer that keeps what it was called with, as those of the book do."""

    def loss(self, w):
        self.w, self.z = w, X @ w
        return np.mean((self.z - Y) ** 2)

    def gradient(self, w):
        self.dz = 2 * (self.z - Y) / N
        return X.T @ self.dz


def test_nothing_is_left_behind():
    state, w = State(), V0.copy()
    traced(state.loss, w, np.ones(D), state.gradient)
    assert state.w is w
    for kept in (state.w, state.z, state.dz):
        assert type(kept) is np.ndarray
    np.testing.assert_array_equal(state.z, X @ w)


def test_an_array_that_f_keeps_is_an_array_like_any_other():
    kept = []
    traced(lambda w: kept.append(w * 2) or np.sum(w**2), V0, np.ones(D))
    old = kept[0]
    assert type(old + 1) is np.ndarray
    assert isinstance(float(np.sum(old)), float)
    np.testing.assert_array_equal(old[1:] * 1, V0[1:] * 2)


def raises(w):
    raise KeyError("no")


def only_plain(w):
    if type(w) is not np.ndarray:
        raise TypeError("an array, please")
    return float(np.sum(w**2))


def shrinks(w):
    w *= 0
    return float(np.sum(w))


@pytest.mark.parametrize(
    "f",
    [
        raises,
        only_plain,
        shrinks,
        lambda w: None,
        lambda w: w,
        lambda w: "text",
        lambda w: np.random.default_rng().random() + np.sum(w),
        lambda w: 1 / 0,
        lambda w: [np.sum(w)] * 2,
        lambda w: np.sum(w, dtype=object),
        lambda w: warnings.warn("careful", stacklevel=1) or np.sum(w),
        lambda w: sum(np.sum(w * i) for i in range(4000)),
        lambda w: np.sum(np.sqrt(w)),
    ],
)
def test_nothing_is_raised_or_changed(f):
    for x in (V0.copy(), np.zeros(0), np.array([np.nan, 1.0])):
        before = x.copy()
        cases = [case(np.zeros(x.shape), np.ones(x.shape))]
        assert trace_hints(f, x, cases, grad=f) == []
        assert x.tobytes() == before.tobytes()


@pytest.mark.parametrize("cases", [[], [case([1.0], [2.0])], [case(V0, -V0)] * 2])
def test_cases_of_something_else(cases):
    assert trace_hints(np.sum, V0, cases) == []


def test_an_interrupt_is_passed_on():
    def f(w):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        traced(lambda w: f(w) if type(w) is not np.ndarray else np.sum(w), V0, np.ones(D))


@pytest.mark.parametrize("n", [1, 2, 50, 1000])
def test_evaluations_are_few(n):
    count = 0

    def f(w):
        nonlocal count
        count += 1
        a = np.outer(w, np.ones(3))
        for axis in (0, 1, None, 0, 1):
            a = np.sin(a) / (2 + np.exp(a).sum(axis=axis, keepdims=True))
        return np.sum(a)

    trace_hints(f, np.ones(n), [case(np.zeros(n), np.arange(1.0, n + 1) ** 2)])
    assert count <= min(400, 40 + 4 * n) + 10


@pytest.mark.parametrize("module", [trace])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_elements_that_were_not_checked_have_no_part(rng):
    """Their numerical values are not known."""
    g, told = 1 + rng.random((8, 6)), rng.random((8, 6)) < 0.6
    factors = 1 + rng.random((8, 1))
    part = case(np.where(told, g, np.nan), factors * g)
    part = Case("x", part.analytic, part.numerical, part.tolerance, told, told, told & part.wrong)
    (hint,) = diagnose([part])
    assert hint.startswith("each row of x is wrong by a factor of its own")
    half = case(of_squares(V0), of_squares(V0, slice(8, N), 4))
    told = np.array([True, True, False, True])
    unknown = np.where(told, half.numerical, np.nan)
    half = Case("x", half.analytic, unknown, half.tolerance, told, told, told)
    (hint,) = trace_hints(lambda w: np.mean((X @ w - Y) ** 2), V0, [half])
    assert hint.startswith(f"the gradient is that of the mean over the last 4 of {N} samples")


def test_parts_of_a_result_are_not_made_by_the_operation_that_follows():
    tape = Tape()
    a = tape.traced(np.arange(6.0))
    p, _ = np.split(a, 2)
    np.sum(np.exp(a))
    np.sum(p)
    assert [(o.name, o.makers) for o in tape.operations] == [("exp", (INPUT,)), ("sum", (0,)), ("sum", (PART,))]


def test_a_gradient_of_0_beside_one_that_is_not_still_has_its_causes_sought():
    """The ratio of all to nothing is none; what comes after it is tried."""
    x = np.arange(1.0, 5.0)
    assert "nan" not in str(check_gradient(lambda x: np.mean(x**2), x, grad=np.zeros(4)).hints)
