"""Activations and their derivatives to 50 digits, in Python's decimal arithmetic: what last digits are measured by."""

from decimal import Decimal, getcontext, localcontext
from functools import cache

import numpy as np

getcontext().prec = 50
ROOT_TWO, ROOT_PI = Decimal(2).sqrt(), Decimal("3.14159265358979323846264338327950288419716939937510582097494").sqrt()
SCALE, ALPHA = Decimal("1.0507009873554804934193349852946"), Decimal("1.6732632423543772848170429916717")


@cache
def erfc(x):
    """1 minus the series of erf near 0, the continued fraction of erfc in its tail."""
    if x < 0:
        return 2 - erfc(-x)
    if x > 3:
        fraction = Decimal(0)
        for k in range(400, 0, -1):
            fraction = Decimal(k) / 2 / (x + fraction)
        return (-x * x).exp() / (x + fraction) / ROOT_PI
    with localcontext(prec=70):
        term = total = x
        for n in range(1, 200):
            term *= -x * x / n
            total += term / (2 * n + 1)
        return 1 - 2 * total / ROOT_PI


def normal(x):
    return erfc(-x / ROOT_TWO) / 2


def density(x):
    return (-x * x / 2).exp() / ROOT_PI / ROOT_TWO


def sigmoid(x):
    e = (-abs(x)).exp()
    return (1 if x >= 0 else e) / (1 + e)


def expm1(x):
    with localcontext(prec=90):
        return x.exp() - 1


def log1p(x):
    if abs(x) < Decimal("1e-20"):
        return x - x * x / 2 + x * x * x / 3
    with localcontext(prec=90):
        return (1 + x).ln()


def tanh(x):
    return expm1(2 * x) / (expm1(2 * x) + 2)


def squashed(x):
    """tanh(log(1 + e^x)), of e = e^-|x| so that nothing overflows."""
    e = (-abs(x)).exp()
    return (e * e + 2 * e) / (e * e + 2 * e + 2) if x < 0 else (1 + 2 * e) / (1 + 2 * e + 2 * e * e)


FORWARD = {
    "gelu": lambda x: x * normal(x),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * squashed(x),
    "softsign": lambda x: x / (1 + abs(x)),
    "softplus": lambda x: max(x, Decimal(0)) + log1p((-abs(x)).exp()),
    "elu(1)": lambda x: x if x >= 0 else expm1(x),
    "selu": lambda x: SCALE * (x if x >= 0 else ALPHA * expm1(x)),
    "sigmoid": sigmoid,
    "tanh": tanh,
}
# Those that are not written from a rounded output, or are so without loss.
DERIVATIVE = {
    "gelu": lambda x: normal(x) + x * density(x),
    "silu": lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    "mish": lambda x: squashed(x) + x * sigmoid(x) * (1 - squashed(x)) * (1 + squashed(x)),
    "softplus": sigmoid,
}


def ulps(found, exact, size=None):
    """By how many units in the last place of exact (or of size) each number found is off."""
    sizes = exact if size is None else size
    spacing = np.spacing(np.abs(np.array([float(s) for s in sizes])).astype(found.dtype)).tolist()
    return np.array(
        [float(abs(Decimal(f) - e) / Decimal(s)) for f, e, s in zip(found.tolist(), exact, spacing, strict=True)]
    )
