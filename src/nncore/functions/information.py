"""Information measures of distributions.

Source: C. Shannon, A Mathematical Theory of Communication (1948).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks

Array = NDArray[Any]


def _distribution(p: ArrayLike, name: str) -> Array:
    """Probabilities that sum to 1."""
    array = np.asarray(checks.floats(p, name), dtype=np.float64)
    if array.ndim != 1 or not ((array >= 0).all() and abs(array.sum() - 1) <= 1e-6):
        raise ValueError(f"{name} is {array}, expected probabilities of 0 or more that sum to 1")
    return array


def _base(base: float) -> float:
    """The base of a logarithm."""
    return checks.number(base, "base", lambda v: 0 < v < np.inf and v != 1, "a finite number above 0 other than 1")


def information_content(p: ArrayLike, base: float = 2.0) -> Any:
    """Return -log(p): what learning of an event of probability p tells.

    Parameters
    ----------
    p : array_like
        Probabilities in (0, 1], any shape.
    base : float
        2 for bits, e for nats.

    Returns
    -------
    ndarray or float

    Raises
    ------
    ValueError
        If a probability is not in (0, 1].

    Examples
    --------
    >>> information_content(0.25)
    2.0
    """
    array = np.asarray(checks.floats(p, "p"), dtype=np.float64)
    if not ((array > 0) & (array <= 1)).all():
        raise ValueError(f"p is {array}, expected probabilities above 0 and up to 1")
    result = np.abs(np.log(array) / np.log(_base(base)))
    return result if result.ndim else float(result)


def entropy(p: ArrayLike, base: float = 2.0) -> float:
    """Return -sum(p log(p)): the information expected from one draw.

    Parameters
    ----------
    p : array_like of shape (n_outcomes,)
        Probabilities that sum to 1.
    base : float
        2 for bits, e for nats.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If p is not a distribution.

    Examples
    --------
    >>> entropy([0.5, 0.5])
    1.0
    """
    return cross_entropy(p, p, base)


def cross_entropy(p: ArrayLike, q: ArrayLike, base: float = 2.0) -> float:
    """Return -sum(p log(q)): the information expected when draws from p are coded for q.

    Parameters
    ----------
    p, q : array_like of shape (n_outcomes,)
        The true and the assumed distribution.
    base : float
        2 for bits, e for nats.

    Returns
    -------
    float
        inf where q rules out what p allows.

    Raises
    ------
    ValueError
        If p or q is not a distribution, or their lengths differ.

    Examples
    --------
    >>> round(cross_entropy([0.9, 0.1], [0.99, 0.01]), 6)
    0.677435
    """
    true, assumed = _distribution(p, "p"), _distribution(q, "q")
    if true.shape != assumed.shape:
        raise ValueError(f"q has {assumed.size} outcomes, expected {true.size} to match p")
    possible = true > 0
    if (assumed[possible] == 0).any():
        return float("inf")
    return float(-np.sum(true[possible] * np.log(assumed[possible])) / np.log(_base(base)))
