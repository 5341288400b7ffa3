"""check_gradient where it was wrong: the right verdict, or a sentence that says what to do."""

import ctypes
import inspect
from itertools import pairwise

import numpy as np
import pytest

from nncore import Layer, NeuralNetwork, check_gradient, numerical_gradient, numerical_hessian, numerical_jacobian

NAN = np.nan


def squares(x):
    return float(np.sum(x**2))


def only(report):
    """The verdict of a report that gives one for all elements."""
    (word,) = {word for words in report.verdict.values() for word in words.ravel()}
    return word


# ---- f, grad and x are watched -------------------------------------------------------------------------------

M = np.array([[1.0, 2.0], [3.0, 4.0]])
A = np.arange(1.0, 7.0)


@pytest.mark.parametrize(
    ("x", "names"),
    [
        (np.lib.stride_tricks.as_strided(np.array([0.7]), (2,), (0,)), "x has elements that share memory"),
        (np.lib.stride_tricks.sliding_window_view(A.copy(), 2, writeable=True), "x has elements that share memory"),
        (np.broadcast_to(np.array([[1.0], [2.0]]), (2, 3)), "x has elements that share memory"),
        ({"a": A, "b": A}, "a and b share memory"),
        ({"a": A[:4], "b": A[3:]}, "a and b share memory"),
        ({"a": A[:2], "b": A[::2], "c": A[3:]}, "a and b share memory"),
        ([A, A[::-1]], r"x\[0\] and x\[1\] share memory"),
        ((A[:3], A[3:], A.reshape(2, 3)), r"x\[0\] and x\[2\] share memory"),
        ({"a": np.ones(2), "b": np.lib.stride_tricks.as_strided(A, (3, 3), (8, 8))}, "b has elements that share"),
    ],
)
def test_elements_in_common_memory_are_named(x, names):
    with pytest.raises(ValueError, match=f"^{names}.*, expected (an array|arrays) of (its|their) own: pass a copy of"):
        check_gradient(lambda x: 0.0, x, grad=x)


def test_views_that_share_nothing_are_checked():
    a = A.copy()
    f = lambda p: float(p["even"] @ p["odd"])  # noqa: E731
    even, odd = a[::2], a[1::2]
    report = check_gradient(f, {"even": even, "odd": odd}, grad={"even": odd.copy(), "odd": even.copy()})
    assert only(report) == "ok"
    turned = np.asfortranarray(np.arange(6.0).reshape(2, 3) + 1)[:, ::-1].T
    assert only(check_gradient(squares, turned, grad=lambda x: 2 * x)) == "ok"


class Changing:
    """A function of x that is right, but writes into x at one of its calls."""

    def __init__(self, call, into=-1):
        self.call, self.into, self.calls = call, into, 0

    def __call__(self, x):
        self.calls += 1
        value = squares(x)
        if self.calls == self.call:
            x.flat[self.into] *= 1.5
        return value


@pytest.mark.parametrize("call", range(1, 13))
def test_f_that_changes_x_is_named_at_whichever_call(call):
    x = np.array([1.0, -2.0, 3.0])
    with pytest.raises(ValueError, match=r"^f changed x\[2\] from 3 to 4.5, expected a function that leaves its arg"):
        check_gradient(Changing(call), x, grad=2 * x)
    np.testing.assert_array_equal(x, [1.0, -2.0, 3.0])
    f = Changing(call)
    with pytest.raises(ValueError, match=r"^f changed x\['W'\]\[2\] from 3 to 4.5|^f changed W\[2\] from 3 to 4.5"):
        check_gradient(lambda p: f(p["W"]), {"W": x, "b": np.ones(2)}, grad={"W": 2 * x, "b": [0, 0]})
    np.testing.assert_array_equal(x, [1.0, -2.0, 3.0])


@pytest.mark.parametrize("call", [1, 2, 8, 14])
def test_f_that_changes_x_along_directions(call):
    """Later than at the beginning, every value is of a point that is set anew: x is right, and restored."""
    x = np.array([1.0, -2.0, 3.0])
    if call <= 2:
        with pytest.raises(ValueError, match=r"^f changed x\[2\] from 3 to 4.5"):
            check_gradient(Changing(call), x, grad=2 * x, directions=4)
    else:
        assert check_gradient(Changing(call), x, grad=2 * x, directions=4).passed
    np.testing.assert_array_equal(x, [1.0, -2.0, 3.0])


@pytest.mark.parametrize("how", [{}, {"full_output": True}])
@pytest.mark.parametrize("differentiate", [numerical_gradient, numerical_jacobian, numerical_hessian])
def test_numerical_derivatives_say_it_too(differentiate, how):
    x = np.array([1.0, 2.0])

    def f(x):
        x *= 2
        return float(x.sum()) if differentiate is not numerical_jacobian else x.copy()

    with pytest.raises(
        ValueError, match=r"^f changed x\[0\] from 1 to 2, expected a function that leaves its argument"
    ):
        differentiate(f, x, **how)
    np.testing.assert_array_equal(x, [1.0, 2.0])


@pytest.mark.parametrize("directions", [None, 3])
def test_grad_that_changes_x_is_named(directions):
    x, p = np.array([1.0, 2.0]), {"W": np.array([1.0, 2.0]), "b": np.array([-0.0, 5.0])}

    def grad(x):
        x *= 2
        return x

    with pytest.raises(ValueError, match=r"^grad changed x\[0\] from 1 to 2, expected a function that leaves"):
        check_gradient(squares, x, grad=grad, directions=directions)

    def grad_of_dict(p):
        p["b"] += 1
        return {"W": 2 * p["W"], "b": np.zeros(2)}

    with pytest.raises(ValueError, match=r"^grad changed b\[0\] from -0 to 1, expected"):
        check_gradient(lambda p: squares(p["W"]), p, grad=grad_of_dict, directions=directions)
    np.testing.assert_array_equal(x, [1.0, 2.0])
    assert p["b"].tobytes() == np.array([-0.0, 5.0]).tobytes()


@pytest.mark.parametrize(
    ("f", "grad"),
    [
        (lambda x: squares(x) / 2, lambda x: x),
        (lambda x: float(x.ravel() @ x.ravel()[::-1]) / 2, lambda x: x[::-1, ::-1]),
        (lambda x: float(np.sum(x * x.T)) / 2, lambda x: x.T),
    ],
)
def test_grad_that_returns_x_or_a_view_of_it(f, grad):
    """What it returned is kept as it was then, and does not move with x."""
    x = np.array([[1.0, 2.0], [3.0, -4.0]])
    report, given = check_gradient(f, x, grad=grad), check_gradient(f, x, grad=grad(x))
    assert only(report) == only(given) == "ok"
    assert only(check_gradient(lambda x: 2 * f(x), x, grad=grad)) == "mismatch"
    x += 1
    for later in (report, given):
        assert (later.analytic["x"] == grad(x - 1)).all()


def test_grad_that_returns_one_array_again_and_again():
    """A buffer that is filled anew: what it held at first is compared, and that it changed is said."""
    buffer = np.zeros(2)

    def grad(x):
        buffer[:] = 3 * x if buffer.any() else 4 * x
        return buffer

    report = check_gradient(squares, np.array([1.0, 2.0]), grad=grad)
    assert report.analytic["x"].tolist() == [4.0, 8.0]
    assert "grad(x) returned another gradient when called again" in " ".join(report.notes)


@pytest.mark.parametrize("start", [np.array([-0.0, 0.0, 1e-320, 1 / 3]), np.array([-0.0, 2.5], np.float32)])
@pytest.mark.parametrize("end", ["passes", "fails", "raises", "changes"])
@pytest.mark.parametrize("directions", [None, 2])
def test_x_is_restored_to_the_bit(start, end, directions):
    x, calls = start.copy(), []

    def f(x):
        calls.append(1)
        if len(calls) == 15 and end == "raises":
            raise ZeroDivisionError
        if len(calls) == 2 and end == "changes":
            x += 0.0  # makes 0 of -0
        return np.sum(x * 3.0)

    grad = np.full(x.shape, 3.0 if end == "passes" else 4.0)
    try:
        report = check_gradient(f, x, grad=grad, directions=directions)
    except (ZeroDivisionError, ValueError):
        assert end in ("raises", "changes")
    else:
        assert report.passed == (end == "passes")
    assert x.tobytes() == start.tobytes()


def test_an_array_beside_x_keeps_its_nan():
    """Only what is checked has to be finite; what f reads beside it is nobody's business, to the bit."""
    beside = np.array([0.0, 0.0])
    beside.view(np.uint64)[1] = 0x7FF800000000BEEF
    before = beside.tobytes()
    x = np.array([1.0])
    assert check_gradient(lambda x: float(x[0] ** 2 + beside[0]), x, grad=[2.0]).passed
    assert beside.tobytes() == before
    x[0] = NAN
    with pytest.raises(ValueError, match=r"^x\[0\] is nan, expected finite numbers only$"):
        check_gradient(squares, x, grad=[2.0])


# ---- what a first try passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "x", "grad"),
    [
        (lambda x: x**2, 3.0, 6.0),
        (lambda x: x**2, 3, lambda x: 2 * x),
        (lambda x: x**2, np.float64(3), 6),
        (lambda x: float(x) ** 2, np.array(3.0), np.array(6.0)),
        (lambda x: x[0] ** 2, [3.0], [6.0]),
        (lambda x: x[0] ** 2, (3,), (6,)),
        (lambda x: x[0] * x[1], [3, 4.0], [4, 3]),
        (lambda x: np.sum(x**2), [3, 4, 5], lambda x: 2 * x),
        (lambda x: x[0] * x[1][()], [np.array(3.0), np.array(4.0)], [4.0, 3.0]),
        (lambda p: p["a"] * 2, {"a": np.array(3.0)}, {"a": 2}),
    ],
)
def test_numbers_and_lists_work(f, x, grad):
    assert only(check_gradient(f, x, grad=grad)) == "ok"
    twice = (lambda x: 2 * np.asarray(grad(x))) if callable(grad) else None
    if twice is None:
        twice = {k: 2 * v for k, v in grad.items()} if isinstance(grad, dict) else (
            [2 * g for g in grad] if isinstance(grad, (list, tuple)) else 2 * grad
        )  # fmt: skip
    assert only(check_gradient(f, x, grad=twice)) == "mismatch"


@pytest.mark.parametrize("h", [1e-300, 1e300])
def test_a_step_that_cannot_tell(h):
    """One that vanishes beside x is made longer; the right gradient is never called wrong, nor a wrong one ok."""
    net = NeuralNetwork([Layer(3, 4, "tanh"), Layer(4, 2)], rng=0)
    x, t = np.random.default_rng(0).normal(size=(5, 3)), np.zeros((5, 2))
    with np.errstate(all="ignore"):
        right = check_gradient(lambda x: float(np.sum(x**3)), np.array([1.0, 2.0]), grad=[3.0, 12.0], h=h)
        wrong = check_gradient(lambda x: float(np.sum(x**3)), np.array([1.0, 2.0]), grad=[3.0, -12.0], h=h)
        assert right.counts["mismatch"] == 0
        assert not wrong.passed
        assert check_gradient(net, x, t, h=h).counts["mismatch"] == 0
        assert not check_gradient(net, x, t, h=h, grad={k: 2 * v for k, v in net.gradient(x, t).items()}).passed


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((3, 0)), [], {}])
def test_nothing_to_check(x):
    report = check_gradient(lambda x: 1.0, x, grad=x)
    assert report.passed
    assert "nothing to check" in str(report)


class Tensor:
    """What a tensor of PyTorch does when NumPy looks at it."""

    def __init__(self, array, requires_grad=True):
        self.array, self.requires_grad = np.asarray(array), requires_grad

    def detach(self):
        return Tensor(self.array, requires_grad=False)

    def numpy(self):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.array

    def __array__(self, dtype=None, copy=None):
        return self.numpy()

    def __float__(self):
        return float(self.array)


Tensor.__module__ = "torch"
X = np.array([1.0, 2.0])
PAIR = {"W": X, "b": X.copy()}


def pair(p):
    return squares(p["W"]) + float(np.sum(p["b"]))


REFUSED = {
    "no grad": (
        lambda: check_gradient(squares, X),
        TypeError,
        r"grad is missing, expected check_gradient\(f, x, grad=",
    ),
    "grad None": (lambda: check_gradient(squares, X, grad=None), TypeError, "grad is missing, expected"),
    "grad returns None": (
        lambda: check_gradient(squares, X, grad=lambda x: None),
        TypeError,
        r"grad\(x\) is None, expected the gradient, of the shape of x \(2,\): a function has to return it",
    ),
    "grad of one is None": (
        lambda: check_gradient(pair, PAIR, grad={"W": 2 * X, "b": None}),
        TypeError,
        r"grad of b is None, expected an array of shape \(2,\)",
    ),
    "grad of another kind": (
        lambda: check_gradient(pair, PAIR, grad=[2 * X, np.ones(2)]),
        ValueError,
        "grad is a list of 2, expected a dict with W, b",
    ),
    "grad returns another kind": (
        lambda: check_gradient(pair, PAIR, grad=lambda p: 2 * p["W"]),
        ValueError,
        r"grad\(x\) is a ndarray, expected a dict with W, b",
    ),
    "grad lacks one": (
        lambda: check_gradient(pair, PAIR, grad={"W": 2 * X}),
        ValueError,
        "grad is a dict with W, expected a dict with W, b",
    ),
    "grad has one more": (
        lambda: check_gradient(pair, PAIR, grad={"W": X, "b": X, "c": X}),
        ValueError,
        "grad is a dict with W, b, c, expected a dict with W, b",
    ),
    "grad is a dict for a list": (
        lambda: check_gradient(lambda s: squares(s[0]), [X], grad={"x": X}),
        ValueError,
        r"grad is a dict with x, expected a list or tuple with x\[0\]",
    ),
    "grad is too short": (
        lambda: check_gradient(lambda s: squares(s[0]), [X, X.copy()], grad=(X,)),
        ValueError,
        r"grad is a tuple of 1, expected a list or tuple with x\[0\], x\[1\]",
    ),
    "grad of another shape": (
        lambda: check_gradient(squares, X, grad=lambda x: 2 * x[:1]),
        ValueError,
        r"grad\(x\) has shape \(1,\), expected \(2,\)",
    ),
    "vector-valued f": (
        lambda: check_gradient(lambda x: x**2, X, grad=2 * X),
        TypeError,
        r"f returned a ndarray of shape \(2,\), expected one number: return their sum or mean, or numerical_jacobian",
    ),
    "f of one number in an array": (
        lambda: check_gradient(lambda x: np.sum(x**2, keepdims=True), X, grad=2 * X),
        TypeError,
        r"f returned a ndarray of shape \(1,\), expected one number: return .item\(\) of it",
    ),
    "f of nothing": (
        lambda: check_gradient(lambda x: None, X, grad=X),
        TypeError,
        "f returned a NoneType, expected one number",
    ),
    "f is a number": (lambda: check_gradient(3.0, X, grad=X), TypeError, "f is a float, expected a function of x"),
    "x of integers": (
        lambda: check_gradient(squares, np.array([1, 2]), grad=X),
        TypeError,
        "x is an array of dtype int64, expected an array of floats: a step added to an integer vanishes",
    ),
    "x is a bool": (lambda: check_gradient(squares, True, grad=1.0), TypeError, "x is a bool, expected an array of"),
    "x is complex": (lambda: check_gradient(squares, 1j, grad=1.0), TypeError, "x is a complex, expected an array of"),
    "x is a nested list": (
        lambda: check_gradient(squares, [[1.0], [2.0]], grad=[[2.0], [4.0]]),
        TypeError,
        "x is a list, expected an array of floats, or a dict, list or tuple of arrays",
    ),
    "a tensor": (
        lambda: check_gradient(squares, Tensor(X), grad=2 * X),
        TypeError,
        r"x is a torch Tensor, expected a NumPy array: pass x.detach\(\).numpy\(\), and let f make the tensor of its",
    ),
    "a tensor in a dict": (
        lambda: check_gradient(squares, {"W": Tensor(X)}, grad={"W": 2 * X}),
        TypeError,
        r"x\['W'\] is a torch Tensor, expected a NumPy array: pass x\['W'\].detach\(\).numpy\(\)",
    ),
    "a tensor in a list": (
        lambda: check_gradient(squares, [X, Tensor(X, False)], grad=[X, X]),
        TypeError,
        r"x\[1\] is a torch Tensor, expected a NumPy array",
    ),
    "an untyped C function": (
        lambda: check_gradient(ctypes.CDLL(None).labs, X, grad=X),
        TypeError,
        r"f is a C function int \(\), expected double \(intptr_t n, .*: set f.restype = ctypes.c_double and f.argtypes",
    ),
    "an untyped C function, differentiated": (
        lambda: numerical_gradient(ctypes.CDLL(None).labs, X),
        TypeError,
        "set f.restype = ctypes.c_double and f.argtypes = ",
    ),
    "rtol NaN": (
        lambda: check_gradient(squares, X, grad=3 * X, rtol=NAN),
        ValueError,
        "rtol is nan, expected a finite",
    ),
    "atol NaN": (
        lambda: check_gradient(squares, X, grad=3 * X, atol=NAN),
        ValueError,
        "atol is nan, expected a finite",
    ),
    "rtol True": (lambda: check_gradient(squares, X, grad=3 * X, rtol=True), TypeError, "rtol is True, expected a fin"),
    "rtol infinite": (lambda: check_gradient(squares, X, grad=3 * X, rtol=np.inf), ValueError, "rtol is inf, expected"),
    "noise NaN": (lambda: check_gradient(squares, X, grad=3 * X, noise=NAN), ValueError, "noise is nan, expected"),
    "noise unknown": (
        lambda: check_gradient(squares, X, grad=X, noise="none"),
        ValueError,
        "noise is 'none', expected one of 'fail', 'report'",
    ),
    "kinks unknown": (
        lambda: check_gradient(squares, X, grad=X, kinks="none"),
        ValueError,
        "kinks is 'none', expected one of 'ignore', 'fail'",
    ),
    "bounds and directions": (
        lambda: check_gradient(squares, X, grad=X, bounds=(0, 5), directions=2),
        TypeError,
        "bounds are given with directions, expected only one of them",
    ),
    "outside its bounds": (
        lambda: check_gradient(squares, X, grad=2 * X, bounds=(0, 1.5)),
        ValueError,
        r"x\[1\] is 2.0, expected bounds around it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_sentence_that_says_what_to_do(name):
    call, error, message = REFUSED[name]
    before = X.tobytes()
    with pytest.raises(error, match=f"^{message}|{message}"):
        call()
    assert X.tobytes() == before


def test_a_typed_c_function_works():
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    f = prototype(lambda n, x, _: sum(x[i] ** 2 for i in range(n)))
    assert check_gradient(f, X, grad=2 * X).passed
    assert check_gradient(f, X, grad=3 * X).hints == ["all elements of x are 1.5 times too large"]


def test_tensors_may_come_back():
    """A loss and a gradient computed by PyTorch, of NumPy's x."""
    report = check_gradient(lambda x: Tensor(np.sum(x**2)), X, grad=lambda x: Tensor(2 * x))
    assert only(report) == "ok"
    assert report.notes == []


def test_the_signature_is_written_out():
    parameters = inspect.signature(check_gradient).parameters
    assert not [p for p in parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    assert {"h", "rtol", "atol", "kinks", "noise", "sample", "directions", "bounds", "n_threads"} <= set(parameters)
    for name in parameters:
        assert name in check_gradient.__doc__, name


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


# ---- estimated errors ----------------------------------------------------------------------------------------


def covered(value, error, true):
    """The part of the elements whose error is within the estimate."""
    assert not np.isnan(error).any()
    assert (np.isfinite(value) | (error == np.inf)).all()
    return float(np.mean((np.abs(value - true) <= error) | np.isnan(value)))


def instances(rng, n):
    """Name, f, x and the exact gradient of sums of functions of one element, and some that mix."""
    for power in range(7):
        w, x = 10.0**power, rng.normal(size=n)
        yield f"wave of {w:g}", lambda x, w=w: np.sin(w * x).sum(), x, w * np.cos(w * x)
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-10, 10, n)
    c = rng.normal(size=n) / np.abs(x)
    yield "mixed scales", lambda x, c=c: np.sin(c * x).sum(), x, c * np.cos(c * x)
    yield "squares of mixed scales", lambda x: np.sum(x**2), x, 2 * x
    x = np.exp(3 * rng.normal(size=n))
    yield "logarithms", lambda x: np.log(x).sum(), x, 1 / x
    for offset in (1e3, 1e6, 1e9):
        x = rng.normal(size=n)
        yield f"offset {offset:g}", lambda x, o=offset: o + np.sum(x**3), x, 3 * x**2
    for a in (1, 10, 50):
        x = rng.normal(size=n)
        yield f"growth of {a}", lambda x, a=a: np.exp(a * x).sum(), x, a * np.exp(a * x)
        p = np.exp(a * x) / np.exp(a * x).sum()
        yield f"log of sums, {a}", lambda x, a=a: np.log(np.exp(a * x).sum()), x, a * p
    for d in (1e-2, 1e-5, 1e-8):
        x = rng.uniform(0.5, 2, n)
        e = x - d * rng.uniform(0.5, 2, n)
        yield f"log near its edge, {d:g}", lambda x, e=e: np.log(x - e).sum(), x, 1 / (x - e)
        yield f"root near its edge, {d:g}", lambda x, e=e: np.sqrt(x - e).sum(), x, 0.5 / np.sqrt(x - e)
    rows, x = rng.normal(size=(50, n)).astype(np.float32), rng.normal(size=n)
    yield (
        "float32 inside",
        lambda x: float(np.tanh(rows @ x.astype(np.float32)).sum(dtype=np.float32)),
        x,
        (rows.astype(float).T @ (1 - np.tanh(rows.astype(float) @ x) ** 2)),
    )
    for noise in (1e-14, 1e-12, 1e-10, 1e-8, 1e-6):
        x = rng.normal(size=n)
        yield (
            f"noise {noise:g}",
            lambda x, s=noise: np.cos(3 * x).sum() + s * rng.standard_normal(),
            x,
            -3 * np.sin(3 * x),
        )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("how", [{}, {"method": "richardson"}, {"order": 4}, {"method": "forward"}])
def test_errors_of_gradients_hold(seed, how):
    rng = np.random.default_rng(seed)
    parts = {}
    with np.errstate(all="ignore"):
        for name, f, x, true in instances(rng, 25):
            value, info = numerical_gradient(lambda x, f=f: float(f(x)), x, full_output=True, **how)
            parts[name] = covered(value, info.error, true)
            if not how:
                assert info.n_evaluations <= 12 + 72 * x.size
    assert np.mean(list(parts.values())) >= 0.97, parts
    assert min(parts.values()) >= 0.8, parts


def test_errors_of_gradients_are_of_some_use():
    """Estimates that hold because they are large would be none."""
    rng = np.random.default_rng(0)
    for _, f, x, true in list(instances(rng, 25))[:6]:
        value, error = numerical_gradient(lambda x, f=f: float(f(x)), x, return_error=True)
        assert np.median(error / np.abs(true)) < 1e-6
        assert np.median(np.abs(value - true) / np.abs(true)) < 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_jacobians_hold(seed):
    rng, parts = np.random.default_rng(seed), {}
    n = 8
    rows = rng.normal(size=(10, n))
    cases = []
    for power in range(0, 7, 2):
        w, x = 10.0**power, rng.normal(size=n)
        cases.append((f"wave {w:g}", lambda x, w=w: np.sin(w * x), x, np.diag(w * np.cos(w * x))))
        slope = (w * (1 - np.tanh(rows @ x * w) ** 2))[:, None] * rows
        cases.append((f"tanh {w:g}", lambda x, w=w: np.tanh(rows @ x * w), x, slope))
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-10, 10, n)
    c = rng.normal(size=n) / np.abs(x)
    cases.append(("mixed scales", lambda x: np.sin(c * x), x, np.diag(c * np.cos(c * x))))
    for d in (1e-2, 1e-5):
        x = rng.uniform(0.5, 2, n)
        e = x - d
        cases.append((f"edge {d:g}", lambda x, e=e: np.log(x - e), x, np.diag(1 / (x - e))))
    for offset in (1e4, 1e8):
        cases.append((f"offset {offset:g}", lambda x, o=offset: o + rows @ x, rng.normal(size=n), rows))
    for noise in (1e-14, 1e-10, 1e-6):
        cases.append(
            (f"noise {noise:g}", lambda x, s=noise: rows @ x + s * rng.standard_normal(10), rng.normal(size=n), rows)
        )
    single = rows.astype(np.float32)
    cases.append(("float32", lambda x: single @ x.astype(np.float32), rng.normal(size=n), single.astype(float)))
    with np.errstate(all="ignore"):
        for name, f, x, true in cases:
            parts[name] = covered(*numerical_jacobian(f, x, full_output=True), true)
    assert np.mean(list(parts.values())) >= 0.97, parts
    assert min(parts.values()) >= 0.85, parts


def hessians(rng, n):
    """Name, f, x and the exact matrix."""
    for power in range(0, 7, 2):
        w, a = 10.0**power, rng.normal(size=n)
        x = rng.normal(size=n)
        yield f"waves of {w:g}", lambda x, w=w: np.sin(w * x).sum(), x, np.diag(-w * w * np.sin(w * x))
        x = rng.normal(size=n) / w
        yield (
            f"wave across, {w:g}",
            lambda x, w=w, a=a: np.sin(w * (a @ x)),
            x,
            -w * w * np.sin(w * (a @ x)) * np.outer(a, a),
        )
    for _ in range(3):
        x = rng.normal(size=n) * 10.0 ** rng.uniform(-10, 10, n)
        c = rng.normal(size=n) / np.abs(x)
        yield "mixed scales", lambda x, c=c: np.exp(c @ x / 4), x, np.exp(c @ x / 4) * np.outer(c, c) / 16
    for offset in (1e3, 1e6, 1e9):
        x = rng.normal(size=n)
        true = np.diag(6 * x)
        true[0, 1] = true[1, 0] = 1
        yield f"offset {offset:g}", lambda x, o=offset: o + np.sum(x**3) + x[0] * x[1], x, true
    for noise in (1e-14, 1e-10, 1e-6):
        x, rows = rng.normal(size=n), rng.normal(size=(9, n))
        yield (
            f"noise {noise:g}",
            lambda x, s=noise, r=rows: np.sum((r @ x) ** 2) + s * rng.standard_normal(),
            x,
            2 * rows.T @ rows,
        )
    single = rows.astype(np.float32)
    yield (
        "float32",
        lambda x: float(np.square(single @ x.astype(np.float32)).sum(dtype=np.float32)),
        x,
        (2 * single.astype(float).T @ single.astype(float)),
    )
    for d in (1e-2, 1e-5):
        x = rng.uniform(0.5, 2, n)
        e = x - d
        yield f"edge {d:g}", lambda x, e=e: np.log(x - e).sum(), x, np.diag(-1 / (x - e) ** 2)
    for a in (1, 10):
        x = rng.normal(size=n)
        p = np.exp(a * x) / np.exp(a * x).sum()
        yield f"log of sums, {a}", lambda x, a=a: np.log(np.exp(a * x).sum()), x, a * a * (np.diag(p) - np.outer(p, p))


@pytest.mark.parametrize("seed", range(4))
def test_errors_of_hessians_hold(seed):
    parts = {}
    with np.errstate(all="ignore"):
        for name, f, x, true in hessians(np.random.default_rng(seed), 6):
            value, error = numerical_hessian(lambda x, f=f: float(f(x)), x, full_output=True)
            np.testing.assert_array_equal(value, value.T)
            parts[name] = covered(value, error, true)
    assert np.mean(list(parts.values())) >= 0.97, parts
    # values of float32 are rough in proportion to their size, which grows with the step
    assert min(part for name, part in parts.items() if name != "float32") >= 0.75, parts
    assert parts["float32"] >= 0.5


def test_second_derivatives_of_mixed_scales():
    """x0**2 x1 + x1**3 at (1e6, 2): 12 beside 2e6."""
    f = lambda x: float(x[0] ** 2 * x[1] + x[1] ** 3)  # noqa: E731
    value, error = numerical_hessian(f, np.array([1e6, 2.0]), full_output=True)
    true = np.array([[4.0, 2e6], [2e6, 12.0]])
    np.testing.assert_allclose(value, true, rtol=1e-4)
    assert (np.abs(value - true) <= error).all()
    np.testing.assert_array_equal(value, numerical_hessian(f, np.array([1e6, 2.0])))
    with_step, rough = numerical_hessian(lambda x: float(np.sum(x**4)), np.array([1.0, 2.0]), h=1e-3, full_output=True)
    assert (np.abs(with_step - np.diag([12.0, 48.0])) <= rough).all()


def test_a_derivative_that_is_not_there_has_no_known_error():
    """Where f is nowhere finite beside x, the estimate is infinite and not NaN, which compares with nothing."""

    def f(x):
        return float(x @ x) if (x == [1.0, 2.0]).all() else NAN

    x = np.array([1.0, 2.0])
    with np.errstate(all="ignore"):
        for h in (None, 1e-3):
            assert (numerical_hessian(f, x, h, full_output=True)[1] == np.inf).all()
        assert (numerical_gradient(f, x, full_output=True)[1].error == np.inf).all()
        assert (numerical_jacobian(lambda x: np.array([f(x)]), x, full_output=True)[1] == np.inf).all()
        assert check_gradient(f, x, grad=2 * x).counts["nonfinite"] == 2


def test_what_a_hessian_costs():
    for n in (1, 4, 12):
        calls = []
        x = np.random.default_rng(n).normal(size=n) + 3
        numerical_hessian(lambda x: calls.append(1) or float(np.exp(x @ x / 100)), x)  # noqa: B023
        assert len(calls) <= 4 * n**2 + 30 * n + 12


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one(n):
    x = np.full(n, 2.0)
    value, info = numerical_gradient(squares, x, full_output=True)
    assert value.shape == info.error.shape == (n,)
    value, error = numerical_hessian(squares, x, full_output=True)
    np.testing.assert_allclose(value, 2 * np.eye(n), atol=1e-6)
    assert error.shape == (n, n)
    for f, shape in ((lambda x: np.ones((2, 3)) * x.sum(), (2, 3)), (lambda x: np.zeros(0), (0,))):
        value, error = numerical_jacobian(f, x, full_output=True)
        assert value.shape == error.shape == (*shape, n)
        np.testing.assert_allclose(value, np.ones((*shape, n)))
    assert check_gradient(squares, x, grad=2 * x).passed
