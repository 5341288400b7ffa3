"""check_gradient watches what it is given: who changes x, what shares memory, and first tries that do not fit."""

import ctypes
import inspect

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
    """The gradient is kept as it was returned, and does not move with x."""
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
    """Behaves as a tensor of PyTorch does when NumPy looks at it."""

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


# ---- what reads alike, or cannot be ----------------------------------------------------------------------------


def test_a_change_below_six_digits_is_shown():
    def f(x):
        x[0] += 1e-9
        return squares(x)

    with pytest.raises(ValueError, match=r"f changed x\[0\] from 1 to 1\.00000000\d+, expected"):
        check_gradient(f, np.ones(3), grad=np.full(3, 2.0))


def test_keys_that_read_alike_are_named():
    with pytest.raises(ValueError, match="x has the keys 1, '1', expected keys that differ as text"):
        check_gradient(lambda p: squares(p[1]), {1: np.ones(2), "1": np.ones(2)}, grad=lambda p: p)


def test_a_number_as_noise_is_for_functions():
    net = NeuralNetwork([Layer(2, 1)], rng=0)
    with pytest.raises(TypeError, match="a number as noise is given with a network, expected it only for a function"):
        check_gradient(net, [[1.0, 2.0]], [[1.0]], noise=100.0)


@pytest.mark.parametrize("settings", [{"h": 0}, {"noise": -5}, {"noise": NAN}])
def test_errors_are_asked_for_with_the_same_settings(settings):
    for full in (False, True):
        for derivative in (numerical_gradient, numerical_jacobian):
            with pytest.raises(ValueError, match=rf"{next(iter(settings))} is .*, expected a finite number above 0"):
                derivative(squares, np.ones(2), full_output=full, **settings)


def test_a_direction_of_which_nothing_is_known_promises_nothing():
    def f(x):
        return squares(x) if (x == 1).all() else NAN

    report = check_gradient(f, np.ones(3), grad=np.full(3, 2.0), directions=2)
    assert not report.passed
    assert "nan" not in report.note
    assert "nothing is known" in report.note
