"""Slopes of a network's loss by its parameters from compiled differences, refined where they leave a question."""

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from nncore.checking.evidence import MISMATCH, NOISE, Evidence, judge
from nncore.core.checks import Array
from nncore.differences.extrapolation import SAFETY
from nncore.differences.slopes import IMMATERIAL
from nncore.model import passes
from nncore.model.model import Model

FINER = (1 / 64, 1 / 1024)  # of the step, where a relu changed sides within it
FINER_SINGLE = (1 / 4,)  # the rounding of float32 hides the slope over shorter ones
LONGER, LONGER_SINGLE = 64.0, 8.0  # times the step, where rounding hides the slope
# Parameters of each array whose differences over two steps tell the rounding, and how few do not.
MEASURED, MEASURED_SINGLE, FEWEST = 24, 48, 4
ANOTHER = 1.03  # times the step: other rounding, hardly another truncation
NEAR = 10.0  # times the tolerance: a mismatch that other rounding may explain
LEAST = 0.02  # of the rounding that sums of the network's size may have: less is luck


def by_name(net: Model, found: Evidence) -> dict[str, Evidence]:
    """Return the evidence of every parameter, as views."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    views = {field: net.named(array) for field, array in values.items() if array is not None}
    return {name: Evidence(**{field: view[name] for field, view in views.items()}) for name in net.params}


class NetworkSlopes:
    """The compiled differences of one network on one batch, with the kinks within them and their errors."""

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
        """Return central differences of the wanted parameters, or one-sided ones, and whether a kink lies within."""
        slope = np.empty(self.net.n_params)
        kink = passes.differences(self.net,
            *self.batch, h, self.n_threads, slope, truncation, weights=self.weights, wanted=wanted,
            rounding=self.rounding, max_memory=self.max_memory, one_sided=one_sided,
        )  # fmt: skip
        self.n_evaluations += 2 * (self.net.n_params if wanted is None else int(wanted.sum()))
        return slope, kink.astype(bool)

    def measured(self, analytic: Array, h: float, wanted: NDArray[np.uint8] | None) -> Evidence:
        """Return the evidence of one step for every wanted parameter."""
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
        """Measure the rounding of the loss in each array, by how differences over nearly the same step scatter."""
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
        """Return elements that do not agree, or are neither resolved nor too small to matter: none in most checks."""
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
        """Return where other rounding may explain an error."""
        now = replace(found)  # its arrays have been changed
        return np.asarray(now.error() <= NEAR * now.tolerance(rtol, atol))

    def _codes(self, found: Evidence, rtol: float, atol: float) -> NDArray[np.uint8]:
        """Return the verdicts so far, in one vector."""
        codes = np.zeros(self.net.n_params, np.uint8)
        for view, evidence in zip(self.net.named(codes).values(), by_name(self.net, found).values(), strict=True):
            view[...] = judge(evidence, rtol=rtol, atol=atol)
        return codes

    def refine(self, found: Evidence, rtol: float, atol: float) -> None:
        """Look again, in place, at parameters near a kink with shorter steps, at those below rounding with longer ones.

        Where a kink stays within the shortest step the slopes of its two sides are taken.
        """
        beside = found.kink & found.checked  # only shorter steps pass a kink by
        kink = self._pass_kinks(found)
        unclear = self._unclear(found, rtol, atol) & ~kink
        if not unclear.any():
            return
        if self.net.dtype != np.float32:
            self._repeat_with_measured_noise(found, unclear, beside)
        codes = self._codes(found, rtol, atol)
        near = (codes == MISMATCH) & ~beside & self._near(found, rtol, atol)
        if near.any():
            self._average_two_steps(found, near)
            codes = self._codes(found, rtol, atol)
        unresolved = np.isin(codes, (NOISE, MISMATCH)) & ~kink
        unresolved &= self._near(found, rtol, atol)
        if unresolved.any():
            self._take_longer_step(found, unresolved)

    def _pass_kinks(self, found: Evidence) -> NDArray[np.bool_]:
        """Take shorter steps where a kink lies within, and return where it lies within the shortest one too."""
        kink = found.kink & found.checked
        single = self.net.dtype == np.float32
        last = 1.0
        for factor in FINER_SINGLE if single else FINER:
            if not kink.any():
                break
            slope, still = self.slopes(self.h * factor, kink.astype(np.uint8))
            found.truncation[kink] = np.abs(slope - found.numerical)[kink] if single else 0.0
            found.numerical[kink], found.rounding[kink] = slope[kink], self.noise[kink] / (self.h * factor)
            kink &= still
            last = factor
        found.kink[:] = kink
        if kink.any() and found.left is not None and found.right is not None:
            upper, _ = self.slopes(self.h * last, kink.astype(np.uint8), one_sided=True)
            found.right[kink] = upper[kink]
            found.left[kink] = (2 * found.numerical - upper)[kink]
        return kink

    def _repeat_with_measured_noise(
        self, found: Evidence, unclear: NDArray[np.bool_], beside: NDArray[np.bool_]
    ) -> None:
        """Take the step again with the rounding that is measured, which is less than sums of this size may have."""
        self._measure_noise(found.checked)
        truncation = np.empty(self.net.n_params)
        slope, crosses = self.slopes(self.h, unclear.astype(np.uint8), truncation)
        again = unclear & ~beside & ~crosses
        found.numerical[again], found.truncation[again] = slope[again], truncation[again]
        found.rounding[again] = (self.noise / self.h)[again]

    def _average_two_steps(self, found: Evidence, near: NDArray[np.bool_]) -> None:
        """Take another step of about the same length: it tells the rounding where there is more than elsewhere."""
        slope, _ = self.slopes(self.h * ANOTHER, near.astype(np.uint8))
        apart = (slope - found.numerical)[near]
        found.rounding[near] = np.maximum(found.rounding[near], np.abs(apart))
        found.numerical[near] += apart / 2

    def _take_longer_step(self, found: Evidence, unresolved: NDArray[np.bool_]) -> None:
        """Take a longer step where rounding hides the slope, if its two errors are smaller together."""
        truncation = np.empty(self.net.n_params)
        h = self.h * (LONGER_SINGLE if self.net.dtype == np.float32 else LONGER)
        slope, crosses = self.slopes(h, unresolved.astype(np.uint8), truncation)
        noise = np.maximum(self.noise, found.rounding * self.steps)
        better = unresolved & ~crosses & (truncation + noise / h < found.truncation + found.rounding)
        found.numerical[better], found.truncation[better] = slope[better], truncation[better]
        found.rounding[better] = (noise / h)[better]
