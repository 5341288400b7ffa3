"""One trial of a gradient check: a function, a point, its right gradient, and plausible mistakes.

An Instance states by construction what the scoring needs to know, never by asking the checker:

- ``noise``: how far f's result may be from the smooth function it computes (rounding, float32, random numbers);
- ``length``: by element, over which change of x the function stays smooth (distance to a singularity or a kink,
  reciprocal of a frequency). The best extrapolated difference errs by about noise / length times a small factor;
- ``low`` and ``high``: the smallest and largest slope on either side of a kink at or near x; equal elsewhere;
- ``kink``: where x is exactly at a kink, and every value from low to high is a right one;
- ``free``: where no derivative exists (a jump at x): a right gradient may be refused there.

An element of a wrong gradient is *materially wrong* when its relative error is 1e-3 or more (at a kink: its distance
from the two slopes, relative to the larger one).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EPS = np.finfo(np.float64).eps
EPS32 = np.finfo(np.float32).eps
MATERIAL = 0.999e-3  # 1.001 in floating point is a little less than 1e-3 off
FAIR = 10.0  # noise / length times this is within reach of an extrapolated difference
COMFORTABLE = 30.0  # and this one within reach of a checker that keeps a margin
HARD = 1000.0  # below this one it takes more than a plain difference of two values
RESOLUTION = 1e-4  # what a checker has to resolve by default, relative to the element
NEGLIGIBLE = 1e-6  # of the largest element: an unresolvable rest of this size may be called ok

FAMILIES: dict[str, Callable[[np.random.Generator], "Instance"]] = {}


def family(make):
    """Register a function of a random generator that returns an Instance."""
    FAMILIES[make.__name__] = make
    return make


def flat(value: Any) -> np.ndarray:
    """All elements of an array, or of the arrays of a dict in its order, as float64."""
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in _parts(value)])


def _parts(x: Any) -> list[Any]:
    return list(x.values()) if isinstance(x, dict) else [x]


def shaped(values: np.ndarray, like: Any) -> Any:
    """The inverse of flat."""
    if not isinstance(like, dict):
        return values.reshape(np.shape(like)).copy()
    ends = np.cumsum([np.size(part) for part in like.values()])[:-1]
    parts = zip(like.items(), np.split(values, ends), strict=True)
    return {name: part.reshape(np.shape(array)).copy() for (name, array), part in parts}


@dataclass
class Instance:
    """A function with its point and its right gradient; see the module for what the other fields mean.

    smooth computes f without its noise, in the type of its argument, so that the gradient can be verified in higher
    precision or by a complex step (by: "long", "complex", "double"); without f it is the function itself. reach is the
    distance to the nearest point where smooth is not analytic, where length states a larger one (a curvature that
    jumps). zero_matters is the size of a gradient that counts where the right one is 0 everywhere. other holds
    gradients of losses that are easily taken for this one.
    """

    smooth: Callable[[Any], Any]
    x: Any
    right: Any
    f: Callable[[Any], Any] | None = None
    noise: float | None = None
    length: Any = 1.0
    low: Any = None
    high: Any = None
    kink: Any = False
    free: Any = False
    by: str = "long"
    reach: Any = None
    zero_matters: float = 0.0
    other: list[Any] = field(default_factory=list)
    name: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        smooth = self.smooth
        self.exact = self.f is None
        if self.f is None:
            self.f = lambda x: float(smooth(x))
        self.right = flat(self.right)
        n = self.right.size
        with np.errstate(all="ignore"):
            value = abs(float(self.f(self.x)))
            if self.noise is None:
                self.noise = float(EPS * (value + np.linalg.norm(self.right * flat(self.x))))
        self.length = self._spread(self.length, float)
        self.reach = self.length if self.reach is None else self._spread(self.reach, float)
        self.low = self.right if self.low is None else np.minimum(flat(self.low), self.right)
        self.high = self.right if self.high is None else np.maximum(flat(self.high), self.right)
        self.kink, self.free = self._spread(self.kink, bool), self._spread(self.free, bool)
        if not self.right.size == flat(self.x).size == self.low.size == self.high.size == self.kink.size == n:
            raise ValueError(f"{self.name}: sizes differ")

    def _spread(self, value: Any, dtype: Any) -> np.ndarray:
        if isinstance(value, dict) or np.ndim(value):
            return flat(value).astype(dtype)
        return np.full(self.right.size, value, dtype)

    @property
    def largest(self) -> float:
        """The largest element of the right gradient, or what would be large where all are 0."""
        return max(float(np.abs(self.right).max(initial=0.0)), self.zero_matters)

    def floor(self, factor: float = FAIR) -> np.ndarray:
        """The error of the best difference within reach, by element."""
        return factor * self.noise / self.length

    def must_pass(self) -> bool:
        """Whether a checker can be asked to resolve most of every array, and no element is without a derivative."""
        wanted = np.where(self.right == 0, NEGLIGIBLE * self.largest, RESOLUTION * np.abs(self.right))
        unresolved = shaped(self.floor(COMFORTABLE) > wanted, self.x)
        return not self.free.any() and max(float(np.mean(part)) for part in _parts(unresolved)) <= 0.25

    def material(self, wrong: np.ndarray) -> np.ndarray:
        """Which elements of a gradient are materially wrong."""
        low = np.where(self.kink, self.low, self.right)
        high = np.where(self.kink, self.high, self.right)
        size = np.maximum(np.abs(low), np.abs(high))
        distance = np.maximum(low - wrong, wrong - high)
        return (distance >= MATERIAL * size) & (distance > 0)

    def outside(self, wrong: np.ndarray) -> np.ndarray:
        """Which elements of a gradient lie outside the slopes of the two sides."""
        size = np.maximum(np.abs(self.low), np.abs(self.high))
        return np.maximum(self.low - wrong, wrong - self.high) >= MATERIAL * size

    def unresolvable(self, wrong: np.ndarray) -> np.ndarray:
        """Where no difference of double-precision values shows the error of a gradient."""
        return np.abs(wrong - self.right) < self.floor()

    def negligible(self, wrong: np.ndarray) -> np.ndarray:
        """Where an error is hard to see and so small beside the largest element that calling it ok is no claim."""
        error = np.abs(wrong - self.right)
        return (error <= NEGLIGIBLE * self.largest) & (error < self.floor(HARD))


def make(name: str, seed: int) -> Instance:
    """The instance of a family with a seed; the same one every time."""
    with np.errstate(all="ignore"):
        instance = FAMILIES[name](generator(name, seed))
    instance.name, instance.seed = name, seed
    return instance


def generator(name: str, seed: int, stream: int = 0) -> np.random.Generator:
    """Random numbers that depend on nothing but the family, the seed and their purpose."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed, stream])


# ---- Plausible mistakes. Each takes (instance, rng) and returns a flat gradient, or None where it does not apply.


def some(instance, rng, fraction=None):
    """Random elements, at least one, rather such as are not 0."""
    n = instance.right.size
    (pool,) = np.nonzero(instance.right)
    pool = pool if pool.size else np.arange(n)
    count = 1 if fraction is None else max(1, int(fraction * pool.size))
    return rng.choice(pool, count, replace=False)


def factor_all(instance, rng):
    return instance.right * rng.choice([2, 0.5, 1.001, 0.999, 1.01, 0.99, 3, -1])


def factor_one(instance, rng):
    wrong = instance.right.copy()
    wrong[some(instance, rng)] *= rng.choice([2, 0.5, 1.001, 0.999, 1.01, -1, 0])
    return wrong


def factor_some(instance, rng):
    wrong = instance.right.copy()
    wrong[some(instance, rng, rng.uniform(0.1, 0.6))] *= rng.choice([2, 0.5, 1.002, 0.99, -1, 0])
    return wrong


def factor_weakest(instance, rng):
    """The smallest elements are the ones a floor would swallow."""
    size = np.abs(instance.right)
    (pool,) = np.nonzero(size)
    if not pool.size:
        return None
    wrong = instance.right.copy()
    wrong[pool[np.argmin(size[pool])]] *= rng.choice([2, 0, -1, 1.01])
    return wrong


def missing(instance, rng):
    return np.zeros_like(instance.right)


def offset_one(instance, rng):
    wrong = instance.right.copy()
    wrong[rng.integers(wrong.size)] += 1e-3 * instance.largest * rng.choice([-1, 1])
    return wrong


def jitter(instance, rng):
    """One percent off everywhere, in both directions: a sloppy approximation."""
    return instance.right * (1 + 0.01 * rng.choice([-1, 1], instance.right.size))


def moved(change):
    def mistake(instance, rng):
        if not isinstance(instance.x, dict):
            return change(instance.right.reshape(np.shape(instance.x)), rng)
        parts = shaped(instance.right, instance.x)
        name = rng.choice(list(parts))
        changed = change(parts[name], rng)
        return None if changed is None else flat(parts | {str(name): changed})

    mistake.__name__ = change.__name__
    return mistake


@moved
def transposed(part, rng):
    return part.T.reshape(part.shape).ravel() if part.ndim > 1 else None


@moved
def rolled(part, rng):
    return np.roll(part.ravel(), 1) if part.size > 1 else None


@moved
def reversed_order(part, rng):
    return part.ravel()[::-1].copy() if part.size > 1 else None


@moved
def swapped(part, rng):
    if part.size < 2:
        return None
    part = part.ravel().copy()
    i, j = rng.choice(part.size, 2, replace=False)
    part[[i, j]] = part[[j, i]]
    return part


@moved
def averaged(part, rng):
    return part.ravel() / part.size if part.size > 1 else None


def neighbour(instance, rng):
    """The gradient of a loss easily taken for this one: a term missing, a sum for a mean."""
    return flat(instance.other[rng.integers(len(instance.other))]) if instance.other else None


def outside_kink(instance, rng):
    """A value beyond the slopes of the two sides."""
    (places,) = np.nonzero(instance.high > instance.low)
    if not places.size:
        return None
    wrong = instance.right.copy()
    where = rng.choice(places, max(1, places.size // 2), replace=False)
    width = (instance.high - instance.low)[where]
    beyond = rng.uniform(0.05, 1.0, where.size) * width
    up = rng.random(where.size) < 0.5
    wrong[where] = np.where(up, instance.high[where] + beyond, instance.low[where] - beyond)
    return wrong


MISTAKES = [
    factor_all,
    factor_one,
    factor_some,
    factor_weakest,
    missing,
    offset_one,
    jitter,
    transposed,
    rolled,
    reversed_order,
    swapped,
    averaged,
    neighbour,
    outside_kink,
]


def wrong_gradients(instance: Instance, count: int = 2) -> list[tuple[str, np.ndarray]]:
    """Wrong gradients of an instance with the names of the mistakes; each has a materially wrong element."""
    rng = generator(instance.name, instance.seed, stream=1)
    found: list[tuple[str, np.ndarray]] = []
    # Those that few families offer come first where they apply.
    order = [*rng.permutation(MISTAKES)]
    order.sort(key=lambda mistake: mistake not in (neighbour, outside_kink) or rng.random() < 0.4)
    for mistake in order:
        wrong = mistake(instance, rng)
        if wrong is not None and np.isfinite(wrong).all() and instance.material(wrong).any():
            found.append((mistake.__name__, wrong))
        if len(found) == count:
            break
    if not found:  # the right gradient is 0 everywhere
        wrong = instance.right.copy()
        wrong[rng.integers(wrong.size)] = rng.choice([-1.0, 1.0]) * (instance.largest or 1.0)
        found.append(("not_zero", wrong))
    return found


# ---- What can be known? The best difference of somebody who knows noise and length.


def informed_difference(instance: Instance, i: int) -> tuple[float, float]:
    """Element i by extrapolated differences of f itself, with a bound of its error: what a checker may be asked for."""
    best = (np.nan, np.inf)
    for sides in ((1, -1), (1, 0), (-1, 0)):
        ratio = 4 if 0 not in sides else 2  # errors of even powers of the step cancel between two sides
        before: list[float] = []
        for level in range(10):
            step = instance.length[i] / 2 / 2**level
            (a, at), (b, start) = (_moved(instance, i, side * step) for side in sides)
            if not np.isfinite([a, b]).all():
                before = []
                continue
            row = [(a - b) / (at - start)]
            for order, previous in enumerate(before[:4], 1):
                row.append(row[-1] + (row[-1] - previous) / (ratio**order - 1))
                spread = max(abs(row[-1] - row[-2]), abs(row[-1] - previous))
                error = 2 * spread + 2 * ratio * instance.noise / step
                if error < best[1]:
                    best = (row[-1], error)
            before = row
        if np.isfinite(best[1]):
            break
    return best


def _moved(instance: Instance, i: int, step: float) -> tuple[float, float]:
    """f with one element moved, and where it came to lie (x may be float32)."""
    values = flat(instance.x)
    values[i] += step
    x = shaped(values, instance.x)
    if isinstance(x, dict):
        x = {name: part.astype(instance.x[name].dtype) for name, part in x.items()}
    else:
        x = x.astype(instance.x.dtype)
    return float(instance.f(x)), float(flat(x)[i])


# ---- Is the right gradient right? Verified without the closed form.


def derivative(instance: Instance, i: int) -> tuple[float, float]:
    """Element i of the gradient and the error it may have: by complex step, or extrapolated in long double."""
    if instance.by == "complex":
        values = flat(instance.x).astype(complex)
        step = 1e-30 * max(abs(values[i]), 1e-3)
        values[i] += 1j * step
        return float(np.imag(instance.smooth(shaped(values, instance.x))) / step), 0.0
    long = instance.by == "long"
    dtype = np.longdouble if long else np.float64
    values = np.concatenate([np.asarray(part, dtype).ravel() for part in _parts(instance.x)])
    start = values[i]
    base = dtype(instance.reach[i]) / 8
    table: list[Any] = []
    for level in range(6 if long else 4):
        step = base / 2**level
        sides = []
        for sign in (1, -1):
            values[i] = start + sign * step
            sides.append(instance.smooth(shaped(values, instance.x)))
        row = [(sides[0] - sides[1]) / ((start + step) - (start - step))]
        for order, previous in enumerate(table, 1):
            row.append(row[-1] + (row[-1] - previous) / (4**order - 1))
        table = row
    values[i] = start
    scale = abs(sides[0]) + np.abs(instance.right * flat(instance.x)).max()
    noise = 30 * np.finfo(dtype).eps * (scale + instance.exact * instance.noise / EPS) if long else 3 * instance.noise
    return float(table[-1]), float(noise / step)


# ---- Random sizes and scales


def size(rng, low=1, high=200):
    """A random number of elements, small ones as likely as large ones."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 0.99))))


def decades(rng, low, high, shape=None):
    """Numbers of both signs whose magnitude spreads over the decades from low to high."""
    return rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(low, high, shape)
