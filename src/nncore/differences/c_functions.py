"""Functions written in C, recognised by the object that holds them: scipy.LowLevelCallable, numba, ctypes, cffi.

Nothing is imported for it: who passes a ctypes pointer has imported ctypes.
"""

import re
import struct
import sys
import types
from typing import Any, NamedTuple

from nncore.core.dispatch import functions

ACCEPTED = ("double (intptr_t n, const double *x, void *user_data)", "double (intptr_t n, const double *x)")
UNTYPED = (
    ": set f.restype = ctypes.c_double and f.argtypes = (ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_double), "
    "ctypes.c_void_p), or wrap it in a function of x"
)

# Names of intptr_t in cffi, ctypes and C code, where the size is the same.
_POINTER_SIZE = struct.calcsize("P")
_SIZES = {"long": struct.calcsize("l"), "int": struct.calcsize("i"), "long long": 8, "int64_t": 8, "int32_t": 4}
_INTPTR = {"intptr_t", "ssize_t", "Py_ssize_t", "ptrdiff_t", "npy_intp"}
_INTPTR |= {name for name, size in _SIZES.items() if size == _POINTER_SIZE}


# Most functions are of these classes, which need no further look.
_PYTHON = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)


class CFunction(NamedTuple):
    """The address of a C function, and the arguments it takes."""

    address: int
    user_data: int
    takes_user_data: bool
    owner: Any  # the function lives as long as this


def c_function(f: Any) -> CFunction | None:
    """Return the C function that f holds, or None if f is a Python callable.

    Raises
    ------
    TypeError
        If f is a C function of another signature.
    """
    if isinstance(f, _PYTHON):
        return None
    names = {f"{cls.__module__}.{cls.__name__}" for cls in type(f).__mro__}
    if any(name.endswith(".LowLevelCallable") for name in names):
        return _from_capsule(tuple.__getitem__(f, 0), f)
    if "builtins.PyCapsule" in names:
        return _from_capsule(f, f)
    if "_ctypes.CFuncPtr" in names or "_ctypes.PyCFuncPtr" in names:
        return _from_ctypes(f, f)
    if any(name.startswith("numba.") and name.endswith(".CFunc") for name in names):
        return _from_ctypes(f.ctypes, f)
    if type(f).__module__ == "_cffi_backend":
        return _from_cffi(f)
    return None


def _from_capsule(capsule: Any, owner: Any) -> CFunction:
    address, user_data, signature = functions.capsule_parts(capsule)
    return CFunction(address, user_data, _takes_user_data(signature), owner)


def _from_ctypes(f: Any, owner: Any) -> CFunction:
    ctypes = sys.modules["ctypes"]
    arguments = [_ctypes_name(t) for t in f.argtypes or ()]
    signature = f"{_ctypes_name(f.restype)} ({', '.join(arguments)})"
    address = ctypes.cast(f, ctypes.c_void_p).value
    # ctypes takes every function for one that returns int, unless its types are set
    way_out = "" if f.argtypes else UNTYPED
    return CFunction(address or 0, 0, _takes_user_data(signature, void_is_data=True, way_out=way_out), owner)


def _from_cffi(f: Any) -> CFunction:
    ffi = sys.modules["_cffi_backend"].FFI()
    takes = _takes_user_data(ffi.typeof(f).cname.replace("(*)", ""))
    return CFunction(int(ffi.cast("intptr_t", f)), 0, takes, f)


def _ctypes_name(kind: Any) -> str:
    """Return the name in C of a ctypes type; an array argument made by numpy.ctypeslib counts as its pointer."""
    ctypes = sys.modules["ctypes"]
    if kind is None:
        return "void"
    if kind is ctypes.c_void_p:
        return "void *"
    if str(getattr(kind, "_dtype_", "")) == "float64" or kind is ctypes.POINTER(ctypes.c_double):
        return "double *"
    if kind is ctypes.c_ssize_t:
        return "intptr_t"
    return str(kind.__name__).removeprefix("c_")


def _takes_user_data(signature: str, void_is_data: bool = False, way_out: str = "") -> bool:
    """Whether a signature is the accepted one with user_data; void_is_data: x may be declared a void pointer.

    way_out: what the error says at its end.
    """
    found = re.fullmatch(r"\s*double\s*\((.*)\)\s*", signature, re.DOTALL)
    arguments = [_plain(argument) for argument in found[1].split(",")] if found else []
    pointers = ("double *", "void *") if void_is_data else ("double *",)
    if not (len(arguments) in (2, 3) and arguments[0] in _INTPTR and arguments[1] in pointers) or (
        arguments[2:] not in ([], ["void *"])
    ):
        known = " or ".join(ACCEPTED)
        raise TypeError(f"f is a C function {signature.strip() or 'without signature'}, expected {known}{way_out}")
    return len(arguments) == 3


def _plain(argument: str) -> str:
    """Return an argument of a C signature without const and without its name."""
    words = [word for word in argument.replace("*", " * ").split() if word != "const"]
    if "*" in words:
        return " ".join(words[: words.index("*") + 1])
    return " ".join(words if " ".join(words) in _INTPTR or len(words) < 2 else words[:-1])
