"""check_gradient: is this gradient right, and if not, which element is wrong, by how much, and why."""

import time
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks
from nncore.layers import Layer
from nncore.network import NeuralNetwork
from nncore.report import Evidence, GradientReport

Array = NDArray[Any]
DTYPES = ("float64", "network")


def check_network(
    net: NeuralNetwork,
    x: ArrayLike,
    t: ArrayLike,
    *,
    grad: Mapping[str, ArrayLike] | None = None,
    h: float | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    kinks: str = "ignore",
    dtype: str = "float64",
    sample: int | None = None,
    directions: int | None = None,
    rng: int | np.random.Generator | None = 0,
    n_threads: int | str = "auto",
    max_memory: int = 64 << 20,
) -> GradientReport:
    """Check_gradient for a network, which says what the arguments are."""
    started = time.perf_counter()
    _checks.choice(dtype, "dtype", DTYPES)
    step = 0.0 if h is None else _checks.positive_float(h, "h")
    if sample is not None and directions is not None:
        raise ValueError(f"sample is {sample} and directions is {directions}, expected only one of them")
    given = None if grad is None else _given(net, grad)
    if dtype == "float64" and net.dtype != np.float64:
        net = _in_float64(net)
    rows, targets, _ = net._batch(x, t)
    analytic = np.empty(net.n_params, net.dtype)
    loss = net.core.gradient(rows, targets, None, analytic)
    if not np.isfinite(loss):
        raise ValueError(f"the loss of this network at x and t is {loss}, expected a finite one to start from")
    tested = analytic if given is None else given
    settings: dict[str, Any] = {"rtol": rtol, "atol": atol, "kinks": kinks}
    rounding = float(np.finfo(net.dtype).eps) * _magnitude(net, rows, loss)
    generator = _checks.generator(rng)
    if directions is not None:
        count = _checks.positive_int(directions, "directions")
        evidence, note = _along_directions(net, rows, targets, tested, count, step, rounding, generator, rtol)
        return GradientReport(
            evidence, n_evaluations=4 * count, seconds=time.perf_counter() - started,
            mode=f"{count} random directions", note=note, **settings,
        )  # fmt: skip
    wanted, mode = _selection(net, sample, generator)
    slope, truncation = np.empty(net.n_params), np.empty(net.n_params)
    kink = net._differences(
        rows, targets, step, n_threads, slope, truncation, wanted=wanted, rounding=rounding, max_memory=max_memory
    )
    params = net.core.params
    steps = step or float(np.finfo(net.dtype).eps) ** (1 / 3) * np.maximum(1.0, np.abs(params))
    checked = np.ones(net.n_params, bool) if wanted is None else wanted.astype(bool)
    found = {
        "analytic": tested, "numerical": slope, "truncation": truncation,
        "rounding": rounding / steps * np.ones(net.n_params), "kink": kink.astype(bool),
        "nonfinite": ~np.isfinite(slope), "checked": checked,
    }  # fmt: skip
    named = {field: net._named(values) for field, values in found.items()}
    evidence = {name: Evidence(**{field: views[name] for field, views in named.items()}) for name in net.params}
    return GradientReport(
        evidence, n_evaluations=2 * int(checked.sum()), seconds=time.perf_counter() - started, mode=mode,
        values=dict(net.params), **settings,
    )  # fmt: skip


def _given(net: NeuralNetwork, grad: Mapping[str, ArrayLike]) -> Array:
    """A gradient by parameter name as one vector in the network's order."""
    missing = [name for name in net.params if name not in grad]
    if missing or len(grad) != len(net.params):
        raise ValueError(f"grad has {', '.join(grad) or 'nothing'}, expected {', '.join(net.params)}")
    parts = [_checks.parameter(grad[name], f"grad[{name!r}]", view.shape) for name, view in net.params.items()]
    return np.concatenate([np.ravel(_checks.floats(part, "grad")) for part in parts])


def _in_float64(net: NeuralNetwork) -> NeuralNetwork:
    """The same network in double precision, so that the differences resolve what float32 hides."""
    layers = [
        Layer(
            layer.n_input, layer.n_neurons, layer.activation, layer.weights.astype(np.float64),
            None if layer.bias is None else layer.bias.astype(np.float64),
            use_bias=layer.use_bias, trainable_bias=layer.trainable_bias,
        )
        for layer in net.layers
    ]  # fmt: skip
    return NeuralNetwork(layers, loss=net.loss_name, delta=net.delta, input_scale=net.input_scale)


def _magnitude(net: NeuralNetwork, rows: Array, loss: float) -> float:
    """The size of the numbers that are rounded on the way to the loss: the loss, and sums of random sign before it."""
    largest = 0.0
    z = rows * (net.input_scale if rows.dtype == np.uint8 else 1.0)
    for k, layer in enumerate(net.layers):
        bias = 0.0 if layer.bias is None else layer.bias
        sums = np.square(z, dtype=np.float64) @ np.square(layer.weights, dtype=np.float64) + np.square(bias)
        largest = max(largest, float(np.sqrt(sums).mean()))
        z = net.core.last("z", k)  # type: ignore[assignment]
    return 1.0 + abs(loss) + largest


def _selection(
    net: NeuralNetwork, sample: int | None, rng: np.random.Generator
) -> tuple[NDArray[np.uint8] | None, str]:
    """Which elements are checked: all, or so many at random, of each parameter by its size but at least one."""
    if sample is None:
        return None, "every element"
    sample = min(_checks.positive_int(sample, "sample"), net.n_params)
    wanted = np.zeros(net.n_params, np.uint8)
    for view in net._named(wanted).values():
        count = min(view.size, max(1, round(sample * view.size / net.n_params)))
        view.reshape(-1)[rng.choice(view.size, count, replace=False)] = 1
    return wanted, f"{int(wanted.sum()):,} of {net.n_params:,} elements at random"


def _along_directions(
    net: NeuralNetwork, rows: Array, targets: Array, analytic: Array, count: int, h: float, rounding: float,
    rng: np.random.Generator, rtol: float,
) -> tuple[dict[str, Evidence], str]:  # fmt: skip
    """Slopes along random unit vectors of the parameter space, with half the step as well for the truncation."""
    params = net.core.params
    start = params.copy()
    # along a unit vector each of n elements moves by about 1 / sqrt(n) of the step
    step = h or float(np.finfo(net.dtype).eps) ** (1 / 3) * max(1.0, float(np.linalg.norm(start)))
    slopes, halved, products = np.empty((3, count))
    try:
        for i in range(count):
            v = rng.standard_normal(net.n_params)
            v /= np.linalg.norm(v)
            products[i] = np.dot(analytic.astype(np.float64), v)
            for out, d in ((slopes, step), (halved, step / 2)):
                params[:] = start + d * v
                up = net.core.loss(rows, targets)
                params[:] = start - d * v
                out[i] = (up - net.core.loss(rows, targets)) / (2 * d)
    finally:
        params[:] = start
    truncation = np.abs(slopes - halved) * 4 / 3
    no = np.zeros(count, bool)
    evidence = Evidence(products, slopes, truncation, np.full(count, rounding / step), no, ~np.isfinite(slopes), ~no)
    # e.v is about normal with deviation |e| / sqrt(n): |e| such that all directions miss it once in a hundred times
    tolerance = float(np.max(evidence.tolerance(rtol, 0.0)))
    quantile = NormalDist().inv_cdf((1 + 0.01 ** (1 / count)) / 2)
    missed = tolerance * np.sqrt(net.n_params) / quantile
    note = (
        f"A wrong gradient off by {missed:.1g} or more (2-norm; the gradient's is {np.linalg.norm(analytic):.1g}) "
        f"would have shown in 99 of 100 such checks; a smaller error, or one element, can pass."
    )
    return {"direction": evidence}, note
