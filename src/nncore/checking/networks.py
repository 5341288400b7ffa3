"""The gradient check of a network: every parameter, a sample of them, or some directions."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.checking.directions import along_directions, sizes_of
from nncore.checking.evidence import Evidence
from nncore.checking.functions import slopes_of_array, spread
from nncore.checking.network_slopes import NetworkSlopes, by_name
from nncore.checking.report import GradientReport
from nncore.core import checks
from nncore.data import batches
from nncore.differences.evaluation import evaluator
from nncore.model.model import Model
from nncore.model.python_engine import PythonNetwork

Array = NDArray[Any]


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
    slopes = NetworkSlopes(net, rows, targets, weights, n_threads, max_memory, rounding)
    with np.errstate(all="ignore"):
        found = slopes.measured(tested, step, wanted)
        slopes.refine(found, rtol, atol)
    evidence = by_name(net, found)
    levels = {name: float(np.max(view, initial=0.0)) for name, view in net.named(slopes.noise).items()}
    return GradientReport(
        evidence, n_evaluations=slopes.n_evaluations, seconds=time.perf_counter() - started, mode=mode,
        values=dict(net.params), noise_level=levels, **settings,
    )  # fmt: skip


def _by_whole_losses(
    net: Model, batch: tuple[Array, Array, Array | None], analytic: Array, wanted: NDArray[np.uint8] | None,
    h: float | None, rtol: float,
) -> tuple[dict[str, Evidence], dict[str, float], int]:  # fmt: skip
    """Return the evidence of a network with functions of the user's, from its whole loss, array by array."""
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


def _given(net: Model, grad: Mapping[str, ArrayLike]) -> Array:
    """Return a gradient by parameter name as one vector in the network's order."""
    missing = [name for name in net.params if name not in grad]
    if missing or len(grad) != len(net.params):
        raise ValueError(f"grad has {', '.join(grad) or 'nothing'}, expected {', '.join(net.params)}")
    parts = [checks.parameter(grad[name], f"grad[{name!r}]", view.shape) for name, view in net.params.items()]
    return np.concatenate([np.ravel(checks.floats(part, "grad")) for part in parts])


def _magnitude(net: Model, rows: Array, loss: float) -> float:
    """Return the size of the numbers that are rounded on the way to the loss: it, and sums of random sign before it."""
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
    """Choose the elements: all, or so many at random, of each parameter by its size but at least one; and say which."""
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
    """Return along_directions over a network's parameters; batch: samples, targets and weights."""
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
