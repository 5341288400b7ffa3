"""Initial weights and biases of a layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks

Array = NDArray[Any]

# Standard deviation of the weights from n_in and n_out; UNIFORM draws from +-sqrt(3) of it instead.
# LeCun et al., Efficient BackProp (1998); Glorot and Bengio (2010); He et al. (2015).
INITS: dict[str, Callable[[int, int], float]] = {
    "normal": lambda n_in, n_out: 0.01,
    "lecun": lambda n_in, n_out: (1 / n_in) ** 0.5,
    "xavier": lambda n_in, n_out: (2 / (n_in + n_out)) ** 0.5,
    "he": lambda n_in, n_out: (2 / n_in) ** 0.5,
}
UNIFORM = {"uniform": "normal", **{f"{name}_uniform": name for name in INITS if name != "normal"}}
ORTHOGONAL = "orthogonal"


def checked(init: Any) -> str | float | None:
    """The init of a layer: a name, a standard deviation, or None for the article's."""
    if isinstance(init, str):
        return checks.choice(init, "init", [*INITS, *UNIFORM, ORTHOGONAL])
    return None if init is None else checks.positive_float(init, "init")


def weights(rng: np.random.Generator, init: str | float | None, n_in: int, n_out: int) -> Array:
    """Draw weights (n_in, n_out)."""
    shape = n_in, n_out
    if init is None:
        return np.asarray(rng.standard_normal(shape) * np.sqrt(1 / n_out))
    if isinstance(init, float):
        return rng.standard_normal(shape) * init
    if init == ORTHOGONAL:
        return _orthogonal(rng, n_in, n_out)
    std = INITS[UNIFORM.get(init, init)](n_in, n_out)
    if init in UNIFORM:
        bound = std * 3**0.5
        return rng.uniform(-bound, bound, shape)
    return rng.standard_normal(shape) * std


def bias(rng: np.random.Generator, init: str | float | None, n_out: int) -> Array:
    """Draw a bias (n_out,): the article's is random, the others are 0."""
    return rng.random(n_out) * 0.1 if init is None else np.zeros(n_out)


def _orthogonal(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """Orthonormal columns, or rows if there are fewer, uniformly distributed.

    Saxe, McClelland, Ganguli (2014); the signs make the decomposition unique (Mezzadri, 2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
    q *= np.sign(np.diag(r))
    return np.ascontiguousarray(q if n_in >= n_out else q.T)
