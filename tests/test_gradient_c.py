"""numerical_gradient of functions written in C, however they are held."""

import ctypes
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from scipy import LowLevelCallable
from scipy.optimize import approx_fprime, rosen, rosen_der, rosen_hess

from nncore import numerical_gradient, numerical_hessian, numerical_jacobian
from nncore.differences.c_functions import ACCEPTED, c_function

SOURCE = r"""
#include <stddef.h>
#include <stdint.h>
#include <time.h>
double rosenbrock(intptr_t n, const double *x)
{
    double sum = 0;
    for (intptr_t i = 0; i + 1 < n; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        sum += 100 * a * a + b * b;
    }
    return sum;
}
double scaled(intptr_t n, const double *x, void *user_data)
{
    return rosenbrock(n, x) * (user_data ? *(double *)user_data : 1);
}
double squares(intptr_t n, const double *x)
{
    double sum = 0;
    for (intptr_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}
double slow(intptr_t n, const double *x)
{
    clock_t start = clock();
    while (clock() - start < CLOCKS_PER_SEC / 1000) {}
    return x[0];
}
float narrow(intptr_t n, const double *x) { return 0; }
double floats(intptr_t n, const float *x) { return 0; }
double swapped(const double *x, intptr_t n) { return 0; }
"""
DOUBLES = ctypes.POINTER(ctypes.c_double)
TYPES = {
    "rosenbrock": (ctypes.c_double, [ctypes.c_ssize_t, DOUBLES]),
    "scaled": (ctypes.c_double, [ctypes.c_ssize_t, DOUBLES, ctypes.c_void_p]),
    "squares": (ctypes.c_double, [ctypes.c_ssize_t, ctypes.c_void_p]),
    "slow": (ctypes.c_double, [ctypes.c_ssize_t, DOUBLES]),
    "narrow": (ctypes.c_float, [ctypes.c_ssize_t, DOUBLES]),
    "floats": (ctypes.c_double, [ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_float)]),
    "swapped": (ctypes.c_double, [DOUBLES, ctypes.c_ssize_t]),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "no C compiler: expected one, as for building nncore"
    folder = tmp_path_factory.mktemp("c")
    (folder / "f.c").write_text(SOURCE)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", folder / "f.so", folder / "f.c"], check=True)
    return str(folder / "f.so")


@pytest.fixture(scope="module")
def lib(path):
    """The functions as ctypes holds them."""
    library = ctypes.CDLL(path)
    for name, (restype, argtypes) in TYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = restype, argtypes
    return library


def bound(x):
    """Rounding eps f / h (a sum of n terms), and truncation h**2 / 6 of f''' = 2400 x, for h = 2**-17 max(1, |x|)"""
    h = 2.0**-17 * np.maximum(1, np.abs(x))
    return x.size * np.finfo(float).eps * rosen(x) / h + 400 * h**2 * np.abs(x) + 1e-12


FACTOR = ctypes.c_double(3.0)
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_ssize_t, DOUBLES)
# Each: the function, and its factor.
HOLDERS = {
    "ctypes": lambda lib: (lib.rosenbrock, 1),
    "ctypes with user_data": lambda lib: (lib.scaled, 1),
    "ctypes callback into Python": lambda lib: (CALLBACK(lambda n, x: rosen(np.ctypeslib.as_array(x, (n,)))), 1),
    "LowLevelCallable": lambda lib: (LowLevelCallable(lib.rosenbrock), 1),
    "LowLevelCallable with user_data": lambda lib: (
        LowLevelCallable(lib.scaled, ctypes.cast(ctypes.pointer(FACTOR), ctypes.c_void_p)),
        3,
    ),
}


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", HOLDERS)
def test_holders(lib, name, n_threads, rng):
    f, factor = HOLDERS[name](lib)
    x = rng.normal(size=40)
    before = x.copy()
    x.flags.writeable = False  # copies are changed
    grad = numerical_gradient(f, x, n_threads=n_threads)
    np.testing.assert_array_equal(x, before)
    assert np.all(np.abs(grad - factor * rosen_der(x)) <= factor * bound(x))


def test_numba(rng):
    numba = pytest.importorskip("numba")
    signature = numba.types.double(numba.types.intp, numba.types.CPointer(numba.types.double))

    @numba.cfunc(signature)
    def squares(n, x):
        total = 0.0
        for i in range(n):
            total += x[i] ** 2
        return total

    x = rng.normal(size=30)
    for f in (squares, LowLevelCallable(squares.ctypes)):
        np.testing.assert_allclose(numerical_gradient(f, x, n_threads=2), 2 * x, atol=1e-8)

    @numba.cfunc(numba.types.double(numba.types.double))
    def cosine(x):
        return np.cos(x)

    with pytest.raises(TypeError, match=re.escape("f is a C function double (double), expected " + ACCEPTED[0])):
        numerical_gradient(cosine, x)


def test_cffi(path, rng):
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef("""
        double rosenbrock(intptr_t n, const double *x);
        double scaled(intptr_t n, const double *x, void *user_data);
        double swapped(const double *x, intptr_t n);
    """)
    library = ffi.dlopen(path)
    x = rng.normal(size=30)
    for f in (library.rosenbrock, library.scaled, LowLevelCallable(library.rosenbrock)):
        assert np.all(np.abs(numerical_gradient(f, x) - rosen_der(x)) <= bound(x))
    with pytest.raises(TypeError, match=re.escape(ACCEPTED[1])):
        numerical_gradient(library.swapped, x)
    with pytest.raises(TypeError, match=re.escape("f is a C function double *")):
        numerical_gradient(ffi.new("double *"), x)


def test_same_bits_for_any_number_of_threads(lib, rng):
    x = rng.normal(size=1001)
    for settings in ({}, {"method": "forward"}, {"order": 4}, {"method": "richardson"}):
        expected = numerical_gradient(lib.rosenbrock, x, **settings)
        for n_threads in (2, 3, 7):
            np.testing.assert_array_equal(
                numerical_gradient(lib.rosenbrock, x, n_threads=n_threads, **settings), expected
            )


def test_same_bits_as_the_python_path(lib, rng):
    x = rng.normal(size=50)
    for settings in ({}, {"method": "backward"}, {"method": "richardson"}, {"bounds": (x.min(), x.max())}):
        expected = numerical_gradient(lambda v: lib.rosenbrock(v.size, v.ctypes.data_as(DOUBLES)), x, **settings)
        np.testing.assert_array_equal(numerical_gradient(lib.rosenbrock, x, **settings), expected)


def test_agrees_with_scipy(lib, rng):
    x = rng.normal(size=50)
    theirs = approx_fprime(x, lambda v: lib.rosenbrock(v.size, v.ctypes.data_as(DOUBLES)))
    ours, error = numerical_gradient(lib.rosenbrock, x, method="forward", return_error=True)
    assert np.all(np.abs(ours - rosen_der(x)) <= error)
    # half the curvature times a step of 1.5e-8, and rounding over it, theirs and ours
    curvature = np.abs(np.diag(rosen_hess(x))) * np.maximum(1, np.abs(x))
    assert np.all(np.abs(ours - theirs) <= 2e-8 * curvature + 8 * np.finfo(float).eps * rosen(x) / 1.5e-8)


def test_other_layouts_and_types(lib, rng):
    x = rng.normal(size=(6, 5))
    for same in (np.asfortranarray(x), x[::-1][::-1], x.astype(">f8")):
        np.testing.assert_array_equal(numerical_gradient(lib.rosenbrock, same), numerical_gradient(lib.rosenbrock, x))
    narrow = x.astype(np.float32)
    grad = numerical_gradient(lib.rosenbrock, narrow)
    assert grad.dtype == np.float32
    np.testing.assert_allclose(grad.ravel(), rosen_der(narrow.ravel().astype(float)), rtol=1e-6, atol=1e-6)
    assert numerical_gradient(lib.rosenbrock, np.empty((0, 3))).shape == (0, 3)


def test_hessian(lib, rng):
    x = rng.normal(size=8)
    hessian = numerical_hessian(lib.rosenbrock, x, n_threads=2)
    np.testing.assert_array_equal(hessian, hessian.T)
    np.testing.assert_allclose(hessian, rosen_hess(x), atol=1e-3)


@pytest.mark.parametrize("name", ["narrow", "floats", "swapped"])
def test_another_signature_is_refused(lib, name):
    with pytest.raises(TypeError, match=r"f is a C function .*, expected " + re.escape(" or ".join(ACCEPTED))):
        numerical_gradient(getattr(lib, name), np.ones(3))


def test_ctypes_without_types_is_refused(path):
    with pytest.raises(TypeError, match=re.escape("f is a C function int (), expected double (intptr_t n")):
        numerical_gradient(ctypes.CDLL(path).rosenbrock, np.ones(3))


@pytest.mark.parametrize(
    ("signature", "accepted"),
    [
        ("double (intptr_t, double *)", True),
        ("double(intptr_t n,const double*x,void*user_data)", True),
        ("double (Py_ssize_t count, double const *values, void *)", True),
        ("double (unsigned long, double *)", False),
        ("float (intptr_t, double *)", False),
        ("double (intptr_t, double *, int)", False),
        ("double (intptr_t, double *, void *, void *)", False),
        ("double (double)", False),
    ],
)
def test_signature_texts(lib, signature, accepted):
    f = LowLevelCallable(lib.rosenbrock, signature=signature)
    if accepted:
        assert c_function(f).takes_user_data == ("void" in signature)
    else:
        with pytest.raises(TypeError, match=re.escape(f"f is a C function {signature}, expected double")):
            c_function(f)


def test_bad_input(lib):
    x = np.ones(3)
    for settings in ({"method": "complex"}, {"n_jobs": 2}, {"vectorized": True}):
        with pytest.raises(ValueError, match="f is a C function, expected a plain Python function for"):
            numerical_gradient(lib.rosenbrock, x, **settings)
    with pytest.raises(TypeError, match="x is a dict, expected one array: f is a C function"):
        numerical_gradient(lib.rosenbrock, {"x": x})
    with pytest.raises(ValueError, match="f is a C function, expected a plain Python function for an array of values"):
        numerical_jacobian(lib.rosenbrock, x)
    with pytest.raises(ValueError, match=re.escape("f(x) is inf at the start, expected a finite number")):
        numerical_gradient(lib.rosenbrock, np.full(3, 1e200))
    with pytest.raises(TypeError, match="x is an array of dtype int64, expected an array of floats"):
        numerical_gradient(lib.rosenbrock, np.arange(3))


@pytest.mark.parametrize("name", ["slow", "squares"])
def test_an_interrupt_stops_the_loop(lib, name, ctrl_c):
    x = np.ones(100_000)
    start = time.perf_counter()
    with ctrl_c(0.3):
        numerical_gradient(getattr(lib, name), x)
    assert time.perf_counter() - start < 0.3 + 0.1 + 0.2  # within 100 ms, and what a busy machine adds
    assert np.all(x == 1)
