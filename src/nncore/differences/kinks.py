"""Bends, kinks and jumps told apart by shorter steps: how the difference of the slopes on the two sides changes.

An eighth of the step at a time, a bend's difference shrinks with the step, a kink's stays, and a jump's grows.
"""

import numpy as np
from numpy.typing import NDArray

from nncore.differences.evaluation import Array
from nncore.differences.extrapolation import CENTRAL, ONE_SIDED, SAFETY, extrapolated
from nncore.differences.search import DRIFTS, JUMP, KINK, NOISY, OPEN, SMOOTH, Mask, Search

GAP = 2.45  # noise of the difference of the two one-sided slopes: f(x + h) - 2 f(x) + f(x - h) over h
FINER = 8.0
FINER_ROUNDS = 8


def take_finer_steps(search: Search) -> None:
    """Take an eighth of the step at a time until bend, kink or jump is clear, or noise takes over."""
    rows = np.flatnonzero(search.state == OPEN)
    coarse = search.h.copy()
    for _ in range(FINER_ROUNDS):
        h = coarse[rows] / FINER
        rows, h = rows[h >= search.shortest[rows]], h[h >= search.shortest[rows]]
        if not rows.size:
            break
        before = search.up[rows, -1], search.down[rows, -1]
        search.evaluate(rows, h)
        kind, enough = _kind(search, rows, before, h)
        coarse[rows] = h
        done = (kind == SMOOTH) & enough
        search.state[rows[done]] = SMOOTH
        hidden = (kind == NOISY) & ~done
        keep = hidden & np.isin(search.state[rows], (KINK, JUMP))  # noise hides no more than how near it is
        search.state[rows[hidden & ~keep]] = NOISY
        follow = ~done & ~hidden
        search.state[rows[follow]] = np.where(np.isin(kind[follow], (KINK, JUMP)), kind[follow], OPEN)
        rows = rows[follow]


def _kind(
    search: Search, rows: NDArray[np.intp], before: tuple[Array, Array], h: Array
) -> tuple[NDArray[np.int8], Mask]:
    """Return the state of each row by two steps, one FINER times the other, and whether that settles a smooth one."""
    up, down = search.up[rows, -1], search.down[rows, -1]
    slope, slope_before = up / 2 + down / 2, before[0] / 2 + before[1] / 2
    gap, gap_before = up - down, before[0] - before[1]
    steep = np.fmax(np.abs(up), np.abs(down))
    noise = search.roughness(rows, search.size_of_f[rows, -1])
    rounding, gap_noise = CENTRAL * noise / h, SAFETY * GAP * noise / h
    size = np.abs(slope) if search.expected is None else np.fmax(np.abs(slope), np.abs(search.expected[rows]))
    insignificant = np.abs(gap) <= np.fmax(search.rtol / 2 * steep, gap_noise)
    shrinks = np.abs(gap - gap_before / FINER) <= 0.3 * np.abs(gap_before) / FINER + gap_noise
    converged = np.abs(slope - slope_before) <= search.rtol * size / 2 + SAFETY * rounding
    kind = np.full(len(rows), OPEN, np.int8)
    kind[np.abs(gap) > 0.5 * np.abs(gap_before)] = KINK
    kind[np.abs(gap) > 4 * np.abs(gap_before)] = JUMP
    kind[(np.abs(gap) <= gap_noise) | ~np.isfinite(gap)] = OPEN
    kind[(insignificant | shrinks) & converged] = SMOOTH
    hidden = SAFETY * rounding > (search.rtol * size if search.expected is not None else np.abs(slope - slope_before))
    if search.expected is not None:
        kind[(kind == SMOOTH) & hidden & ~search.is_immaterial(rows, SAFETY * rounding)] = NOISY
    kind[(kind != SMOOTH) & hidden & (np.abs(gap) <= 4 * gap_noise)] = NOISY
    if search.expected is not None:
        kind[(up == 0) & (down == 0) & (search.expected[rows] == 0) & ~search.is_coarse(rows)] = SMOOTH
    search.settled[rows] = np.stack([slope, np.abs(slope - slope_before) / FINER, rounding], axis=1)
    # without an expectation the best is wanted: go on until only rounding is left
    enough = np.ones(len(rows), bool) if search.expected is not None else np.abs(slope - slope_before) <= 4 * rounding
    return kind, enough


def take_back_drifts(search: Search) -> None:
    """Take kinks and jumps back where f(x) itself has changed by as much since the beginning."""
    rows = np.flatnonzero(np.isin(search.state, (KINK, JUMP)))
    if rows.size:
        drift = abs(float(search.fn.call()) - search.f0)
        steps, up, down, _ = search.ascending(rows)
        drifts = (np.abs(up[:, 0] - down[:, 0]) * steps[:, 0] <= 2 * SAFETY * drift) & (drift > 0)
        search.state[rows[drifts]] = DRIFTS
        search.noise[rows[drifts]] = np.maximum(search.noise[rows[drifts]], SAFETY * drift / search.fn.n_evaluations)


def slopes_of_sides(search: Search, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
    """Return the slopes left and right of kinks and jumps, and their errors; at a jump, one slope is infinite."""
    steps, up, down, noise = search.ascending(rows)
    noise = ONE_SIDED * noise / steps
    sides = [extrapolated(steps, side, noise, power=1) for side in (down, up)]
    (left, off_left, round_left, _), (right, off_right, round_right, _) = sides
    jump = search.state[rows] == JUMP
    breaks_left = jump & (np.abs(down[:, 0]) > np.abs(up[:, 0]))
    breaks_right = jump & ~breaks_left
    left = np.where(breaks_left, np.copysign(np.inf, down[:, 0]), left)
    right = np.where(breaks_right, np.copysign(np.inf, up[:, 0]), right)
    off_left, round_left = (np.where(breaks_left, 0.0, a) for a in (off_left, round_left))
    off_right, round_right = (np.where(breaks_right, 0.0, a) for a in (off_right, round_right))
    return left, right, np.maximum(off_left, off_right), np.maximum(round_left, round_right)
