"""The gradient check of a network: by the compiled differences, refined where they leave a question."""

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.checking.directions import along_directions, sizes_of
from nncore.checking.evidence import MISMATCH, Evidence, judge
from nncore.checking.evidence import NOISE as UNRESOLVED
from nncore.checking.functions import slopes_of_array, spread
from nncore.checking.report import GradientReport
from nncore.core import checks
from nncore.data import batches
from nncore.differences.evaluation import evaluator
from nncore.differences.extrapolation import SAFETY
from nncore.differences.slopes import IMMATERIAL
from nncore.model import passes
from nncore.model.model import Model
from nncore.model.python_engine import PythonNetwork

Array = NDArray[Any]
FINER = (1 / 64, 1 / 1024)  # of the step, where a relu changed sides within it
FINER_SINGLE = (1 / 4,)  # float32 hides what shorter ones tell
LONGER, LONGER_SINGLE = 64.0, 8.0  # times the step, where rounding hides the slope
# Parameters of each array whose differences over two steps tell the rounding, and how few do not.
MEASURED, MEASURED_SINGLE, FEWEST = 24, 48, 4
ANOTHER = 1.03  # times the step: other rounding, hardly another truncation
NEAR = 10.0  # times the tolerance: a mismatch that other rounding may explain
LEAST = 0.02  # of the rounding that sums of the network's size may have: less is luck


def check_network(
    net: Model, x: ArrayLike, t: ArrayLike, grad: Mapping[str, ArrayLike] | None, *,
    sample_weight: ArrayLike | None, h: float | None, rtol: float, atol: float, kinks: str, noise: str | float,
    dtype: str, sample: int | None, directions: int | None, rng: Any, n_threads: int | str, max_memory: int,
) -> GradientReport:  # fmt: skip
    """Return the report of check_gradient for a network."""
    started = time.perf_counter()
    step = 0.0 if h is None else checks.positive_float(h, "h")
    given = None if grad is None else _given(net, grad)
    if dtype == "float64" and net.dtype != np.float64:
        net = net.astype(np.float64)
    settings: dict[str, Any] = {
        "rtol": rtol, "atol": atol, "kinks": kinks, "noise": checks.choice(noise, "noise", ("fail", "report")),
    }  # fmt: skip
    rows, targets, _ = batches.batch(net, x, t, weights=sample_weight)
    weights = batches.weights_for(net, sample_weight, len(rows))
    analytic = np.empty(net.n_params, net.dtype)
    loss = net.core.gradient(rows, targets, weights, analytic)
    if not np.isfinite(loss):
        raise ValueError(f"the loss of this network at x and t is {loss}, expected a finite one to start from")
    tested = analytic if given is None else given
    generator = checks.generator(rng)
    if directions is not None:
        count = checks.positive_int(directions, "directions")
        evidence, level, note, evaluations = _along_directions(
            net, (rows, targets, weights), tested, count=count, h=h, rtol=rtol, rng=generator
        )
        return GradientReport(
            evidence, n_evaluations=evaluations, seconds=time.perf_counter() - started,
            mode=f"{count} random directions", note=note, noise_level={"direction": level}, **settings,
        )  # fmt: skip
    wanted, mode = _selection(net, sample, generator)
    if isinstance(net.core, PythonNetwork):
        batch = (rows, targets, weights)
        evidence, levels, evaluations = _by_whole_losses(net, batch, tested, wanted, h, rtol)
        return GradientReport(
            evidence, n_evaluations=evaluations, seconds=time.perf_counter() - started, mode=mode,
            values=dict(net.params), noise_level=levels, **settings,
        )  # fmt: skip
    rounding = float(np.finfo(net.dtype).eps) * _magnitude(net, rows, loss)
    probe = _Probe(net, rows, targets, weights, n_threads, max_memory, rounding)
    with np.errstate(all="ignore"):
        found = probe.measured(tested, step, wanted)
        probe.refine(found, rtol, atol)
    evidence = _by_name(net, found)
    levels = {name: float(np.max(view, initial=0.0)) for name, view in net.named(probe.noise).items()}
    return GradientReport(
        evidence, n_evaluations=probe.n_evaluations, seconds=time.perf_counter() - started, mode=mode,
        values=dict(net.params), noise_level=levels, **settings,
    )  # fmt: skip


def _by_name(net: Model, found: Evidence) -> dict[str, Evidence]:
    """The evidence of every parameter, as views."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    views = {field: net.named(array) for field, array in values.items() if array is not None}
    return {name: Evidence(**{field: view[name] for field, view in views.items()}) for name in net.params}


def _by_whole_losses(
    net: Model, batch: tuple[Array, Array, Array | None], analytic: Array, wanted: NDArray[np.uint8] | None,
    h: float | None, rtol: float,
) -> tuple[dict[str, Evidence], dict[str, float], int]:  # fmt: skip
    """The evidence of a network with functions of the user's: the whole loss for each parameter, array by array."""
    evidence, levels, evaluations = {}, {}, 0
    chosen = np.ones(net.n_params, np.uint8) if wanted is None else wanted
    named = zip(net.params.items(), net.named(analytic).values(), net.named(chosen).values(), strict=True)
    for (name, view), gradient, part in named:
        elements = np.flatnonzero(part)
        fn = evaluator(lambda _: net.core.loss(*batch), view, name=name)
        found, levels[name] = slopes_of_array(fn, gradient, elements, h=h, rtol=rtol, level=None)
        evidence[name] = spread(gradient, found, elements)
        evaluations += fn.n_evaluations
    return evidence, levels, evaluations


class _Probe:
    """The compiled differences of one network on one batch, with what they say of kinks and of their errors."""

    def __init__(
        self, net: Model, rows: Array, targets: Array, weights: Array | None, n_threads: int | str,
        max_memory: int, rounding: float,
    ):  # fmt: skip
        self.net, self.batch, self.weights = net, (rows, targets), weights
        self.n_threads, self.max_memory, self.rounding = n_threads, max_memory, rounding
        self.h = float(np.finfo(net.dtype).eps) ** (1 / 3)
        self.steps = self.h * np.maximum(1.0, np.abs(net.core.params.astype(float)))
        self.noise = np.full(net.n_params, rounding)
        self.n_evaluations = 0

    def slopes(
        self, h: float, wanted: NDArray[np.uint8] | None, truncation: Array | None = None, one_sided: bool = False
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Central differences of the wanted parameters, or those of the upper side, and whether a kink lies within."""
        slope = np.empty(self.net.n_params)
        kink = passes.differences(self.net,
            *self.batch, h, self.n_threads, slope, truncation, weights=self.weights, wanted=wanted,
            rounding=self.rounding, max_memory=self.max_memory, one_sided=one_sided,
        )  # fmt: skip
        self.n_evaluations += 2 * (self.net.n_params if wanted is None else int(wanted.sum()))
        return slope, kink.astype(bool)

    def measured(self, analytic: Array, h: float, wanted: NDArray[np.uint8] | None) -> Evidence:
        """What one step says of every wanted parameter."""
        n = self.net.n_params
        checked = np.ones(n, bool) if wanted is None else wanted.astype(bool)
        if h:
            self.h, self.steps = h, np.full(n, h)
        if self.net.dtype == np.float32:
            self._measure_noise(checked)
        truncation = np.empty(n)
        slope, kink = self.slopes(h, wanted, truncation)
        return Evidence(
            analytic, slope, truncation, self.noise / self.steps, kink, ~np.isfinite(slope), checked,
            np.zeros(n, bool), np.full(n, np.nan), np.full(n, np.nan),
        )  # fmt: skip

    def _measure_noise(self, checked: NDArray[np.bool_]) -> None:
        """The rounding of the loss in each array: what differences over nearly the same step scatter by."""
        some = np.zeros(checked.size, np.uint8)
        single = self.net.dtype == np.float32
        most = MEASURED_SINGLE if single else MEASURED
        rng = np.random.default_rng(0)
        for chosen, fit in zip(self.net.named(some).values(), self.net.named(checked).values(), strict=True):
            places = np.flatnonzero(fit)
            chosen.reshape(-1)[rng.choice(places, min(most, places.size), replace=False)] = 1
        (first, kink), (second, crosses) = self.slopes(self.h, some), self.slopes(self.h * ANOTHER, some)
        usable = some.astype(bool) & ~kink & ~crosses & (first != 0)
        largest = 0.0
        for view, fit, apart in zip(
            *(self.net.named(a).values() for a in (self.noise, usable, np.abs(first - second) * self.h)), strict=True
        ):
            if np.count_nonzero(fit) >= FEWEST:
                # a tenth of normal numbers is above 1.64 deviations, the largest of 48 is about 2.2; in float32 some
                # parameters have much more rounding than others
                part, deviations = (1.0, 2.2) if single else (0.9, 1.64)
                level = np.quantile(apart[fit], part) / deviations
                view[...] = np.clip(level, LEAST * self.rounding, self.rounding)
                largest = max(largest, float(view.flat[0]))
        self.rounding = largest or self.rounding

    def _unclear(self, found: Evidence, rtol: float, atol: float) -> NDArray[np.bool_]:
        """Elements that do not agree, or are neither resolved nor too small to matter: none in most checks."""
        numerical, error = np.abs(found.numerical), np.abs(found.analytic - found.numerical)
        allowed = rtol * numerical + atol
        uncertain = SAFETY * (found.truncation + found.rounding)
        matters = np.empty_like(numerical)
        for view, slopes in zip(self.net.named(matters).values(), self.net.named(numerical).values(), strict=True):
            view[...] = IMMATERIAL * rtol * np.max(slopes, initial=0.0)
        agrees = error <= allowed + uncertain
        clear = agrees & ((uncertain <= allowed) | (uncertain <= matters) | ((numerical == 0) & (error == 0)))
        return np.asarray(~clear & found.checked)

    def _near(self, found: Evidence, rtol: float, atol: float) -> NDArray[np.bool_]:
        """Where other rounding may explain an error."""
        now = replace(found)  # its arrays have been changed
        return np.asarray(now.error() <= NEAR * now.tolerance(rtol, atol))

    def _codes(self, found: Evidence, rtol: float, atol: float) -> NDArray[np.uint8]:
        """The verdicts so far, in one vector."""
        codes = np.zeros(self.net.n_params, np.uint8)
        for view, evidence in zip(self.net.named(codes).values(), _by_name(self.net, found).values(), strict=True):
            view[...] = judge(evidence, rtol=rtol, atol=atol)
        return codes

    def refine(self, found: Evidence, rtol: float, atol: float) -> None:
        """Look again, in place, at parameters near a kink with shorter steps, at those below rounding with longer ones.

        Where a kink stays within the shortest step the slopes of its two sides are taken.
        """
        kink = found.kink & found.checked
        beside = kink.copy()  # a kink, which only shorter steps pass by
        single = self.net.dtype == np.float32
        h, last = self.h, 1.0
        for factor in FINER_SINGLE if single else FINER:
            if not kink.any():
                break
            slope, still = self.slopes(h * factor, kink.astype(np.uint8))
            found.truncation[kink] = np.abs(slope - found.numerical)[kink] if single else 0.0
            found.numerical[kink], found.rounding[kink] = slope[kink], self.noise[kink] / (h * factor)
            kink &= still
            last = factor
        found.kink[:] = kink
        if kink.any() and found.left is not None and found.right is not None:
            upper, _ = self.slopes(h * last, kink.astype(np.uint8), one_sided=True)
            found.right[kink] = upper[kink]
            found.left[kink] = (2 * found.numerical - upper)[kink]
        unclear = self._unclear(found, rtol, atol) & ~kink
        if not unclear.any():
            return
        if not single:
            # the rounding that sums of this size may have leaves a question: what it is, and again by that
            self._measure_noise(found.checked)
            truncation = np.empty(self.net.n_params)
            slope, crosses = self.slopes(h, unclear.astype(np.uint8), truncation)
            again = unclear & ~beside & ~crosses
            found.numerical[again], found.truncation[again] = slope[again], truncation[again]
            found.rounding[again] = (self.noise / h)[again]
        codes = self._codes(found, rtol, atol)
        near = (codes == MISMATCH) & ~beside & self._near(found, rtol, atol)
        if near.any():
            # some parameters have more rounding than others: their own differences over two steps tell
            slope, _ = self.slopes(h * ANOTHER, near.astype(np.uint8))
            apart = (slope - found.numerical)[near]
            found.rounding[near] = np.maximum(found.rounding[near], np.abs(apart))
            found.numerical[near] += apart / 2
            codes = self._codes(found, rtol, atol)
        unresolved = np.isin(codes, (UNRESOLVED, MISMATCH)) & ~kink
        unresolved &= self._near(found, rtol, atol)
        if unresolved.any():
            truncation = np.empty(self.net.n_params)
            h *= LONGER_SINGLE if single else LONGER
            slope, crosses = self.slopes(h, unresolved.astype(np.uint8), truncation)
            noise = np.maximum(self.noise, found.rounding * self.steps)
            better = unresolved & ~crosses & (truncation + noise / h < found.truncation + found.rounding)
            found.numerical[better], found.truncation[better] = slope[better], truncation[better]
            found.rounding[better] = (noise / h)[better]


def _given(net: Model, grad: Mapping[str, ArrayLike]) -> Array:
    """A gradient by parameter name as one vector in the network's order."""
    missing = [name for name in net.params if name not in grad]
    if missing or len(grad) != len(net.params):
        raise ValueError(f"grad has {', '.join(grad) or 'nothing'}, expected {', '.join(net.params)}")
    parts = [checks.parameter(grad[name], f"grad[{name!r}]", view.shape) for name, view in net.params.items()]
    return np.concatenate([np.ravel(checks.floats(part, "grad")) for part in parts])


def _magnitude(net: Model, rows: Array, loss: float) -> float:
    """The size of the numbers that are rounded on the way to the loss: the loss, and sums of random sign before it."""
    largest = 0.0
    some = slice(None, None, max(1, len(rows) // 32))  # an estimate needs no more, and nothing here looks for Ctrl-C
    z = rows[some] * (net.input_scale if rows.dtype == np.uint8 else 1.0)
    for k, layer in enumerate(net.layers):
        bias = 0.0 if layer.bias is None else layer.bias
        sums = np.square(z, dtype=np.float64) @ np.square(layer.weights, dtype=np.float64) + np.square(bias)
        largest = max(largest, float(np.sqrt(sums).mean()))
        z = net.core.last("z", k)[some]  # type: ignore[index]
    return 1.0 + abs(loss) + largest


def _selection(net: Model, sample: int | None, rng: np.random.Generator) -> tuple[NDArray[np.uint8] | None, str]:
    """Which elements are checked: all, or so many at random, of each parameter by its size but at least one."""
    if sample is None:
        return None, "every element"
    sample = min(checks.positive_int(sample, "sample"), net.n_params)
    wanted = np.zeros(net.n_params, np.uint8)
    for view in net.named(wanted).values():
        count = min(view.size, max(1, round(sample * view.size / net.n_params)))
        view.reshape(-1)[rng.choice(view.size, count, replace=False)] = 1
    return wanted, f"{int(wanted.sum()):,} of {net.n_params:,} elements at random"


def _along_directions(
    net: Model, batch: tuple[Array, Array, Array | None], analytic: Array, *, count: int, h: float | None,
    rtol: float, rng: np.random.Generator,
) -> tuple[dict[str, Evidence], float, str, int]:  # fmt: skip
    """along_directions over a network's parameters; batch: samples, targets and weights."""
    params = net.core.params
    start = params.copy()

    def move(offset: Array) -> float:
        params[:] = start + offset
        return float(net.core.loss(*batch))

    try:
        return along_directions(
            move, np.concatenate([sizes_of(view) for view in net.named(start).values()]),
            analytic.astype(np.float64), count=count, h=h, rtol=rtol, noise=None, rng=rng,
            eps=float(np.finfo(net.dtype).eps),
        )  # fmt: skip
    finally:
        params[:] = start
