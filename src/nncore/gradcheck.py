"""check_gradient: is this gradient right, and if not, which element is wrong, by how much, and why."""

import time
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks
from nncore._differences import differences
from nncore.book import SimpleNet, TwoLayerNet
from nncore.layers import Layer
from nncore.network import NeuralNetwork
from nncore.report import MISMATCH, NOISE, RESOLVED, Evidence, GradientReport, judge

Array = NDArray[Any]
DTYPES = ("float64", "network")


def check_gradient(f: Any, x: Any, t: ArrayLike | None = None, **settings: Any) -> GradientReport:
    """Compare a gradient with central differences, element by element.

    Two forms: ``check_gradient(net, x, t)`` checks the back-propagation of a network of this library on the samples x
    with targets t; ``check_gradient(f, x, grad=g)`` checks the gradient g that somebody wrote for the function f.

    Parameters
    ----------
    f : NeuralNetwork, TwoLayerNet, SimpleNet, or a function
        A function as numerical_gradient takes it: a Python function of x (it may read x by alias), or a C function.
    x : array_like, or for a function an array of floats or a dict, list or tuple of them
        Samples (n_samples, n_in) for a network. A function's own arrays are changed in place and restored.
    t, sample_weight : array_like
        Targets, and the weights of the samples in the loss; for a network only.
    grad : array_like, dict, list or tuple, or callable
        The gradient under test, in the form of x; or a function that is called with x and returns it. A network
        provides its own unless one is given, as a dict by parameter name.
    h : float, optional
        Step; by default by float type, scaled by each value.
    rtol, atol : float
        Forgiven beside the estimated error of the difference: rtol * max(|analytic|, |numerical|) + atol. Both hold
        for each element by itself. Defaults 1e-6 and 0.
    kinks : {"ignore", "fail"}
        Whether an element at a kink, such as relu at 0, fails the check.
    sample : int, optional
        Check only so many elements, drawn at random from every array by its size.
    directions : int, optional
        Check only the slope along so many random directions; the report says how small an error they could miss.
    rng : int or numpy.random.Generator
        For both; 0 by default, so that a check repeats.
    dtype : {"float64", "network"}
        For a network: check a copy in double precision (default), or float32 as it is, with its larger tolerances.
    n_threads : int or "auto"
        For a network or a C function; the result does not depend on it.
    max_memory : int
        Bytes of workspace.
    noise, bounds, vectorized
        For a function, as numerical_gradient has them.

    Returns
    -------
    GradientReport
        Print it; ``passed``, ``worst()``, ``hints``, ``raise_if_failed()``, ``plot()``.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, or a start that is not finite; said before any work.

    Notes
    -----
    The error estimate is that of the central difference, truncation plus rounding. For networks kinks are found
    exactly, by the side on which each relu is at the two points; for functions by five points an element.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> check_gradient(lambda x: np.sum(x**3), x, grad=3 * x**2).passed
    True
    >>> report = check_gradient(lambda x: np.sum(x**3), x, grad=[3.0, 12.0, -27.0])
    >>> report.passed, report.worst(1)[0].index
    (False, (2,))
    """
    if isinstance(f, (TwoLayerNet, SimpleNet)):
        f = f.network
    if isinstance(f, NeuralNetwork):
        if t is None:
            raise TypeError("t is missing, expected check_gradient(net, x, t) for a network")
        return check_network(f, x, t, **settings)
    if t is not None:
        raise TypeError("t is given with a function, expected check_gradient(f, x, grad=...)")
    return check_function(f, x, **settings)


def check_function(
    f: Any,
    x: Any,
    *,
    grad: Any,
    h: float | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    kinks: str = "ignore",
    sample: int | None = None,
    directions: int | None = None,
    rng: int | np.random.Generator | None = 0,
    **how: Any,
) -> GradientReport:
    """Check_gradient for a function, which says what the arguments are."""
    started = time.perf_counter()
    arrays = {"x": x} if isinstance(x, np.ndarray) or not isinstance(x, (dict, list, tuple)) else _named_arrays(x)
    container = None if arrays.get("x") is x else x
    analytic = _named_gradients(grad(x) if callable(grad) else grad, arrays, container)
    settings: dict[str, Any] = {"rtol": rtol, "atol": atol, "kinks": kinks}
    if not all(np.isfinite(a).all() for a in arrays.values()):
        for name, array in arrays.items():
            _checks.finite(array, name)
    deterministic = True
    if callable(f) and not how.get("vectorized"):
        first, second = f(x), f(x)
        deterministic = bool(first == second or (first != first and second != second))
    generator = _checks.generator(rng)
    if directions is not None:
        if sample is not None:
            raise ValueError(f"sample is {sample} and directions is {directions}, expected only one of them")
        if not callable(f) or how.get("vectorized"):
            raise TypeError("directions is given, expected a Python function of one point for them")
        evidence, note = _function_along_directions(f, x, arrays, analytic, directions, h, generator, rtol)
        return GradientReport(
            evidence, n_evaluations=4 * directions + 2, seconds=time.perf_counter() - started,
            mode=f"{directions} random directions", note=note, deterministic=deterministic, **settings,
        )  # fmt: skip
    total = sum(array.size for array in arrays.values())
    evidence, evaluations, checked = {}, 2, 0
    for key, (name, array) in zip(_keys(container), arrays.items(), strict=True):
        elements = None
        if sample is not None and array.size:
            count = min(array.size, max(1, round(_checks.positive_int(sample, "sample") * array.size / total)))
            elements = np.sort(generator.choice(array.size, count, replace=False))
        found = differences(f, x, h, key=key, name=name, elements=elements, diagnose=True, **how)
        evidence[name] = _evidence(analytic[name], found, elements)
        evaluations += found.n_evaluations
        if deterministic:
            doubtful = _doubtful(evidence[name], rtol, atol)
            evaluations += _look_again(evidence[name], doubtful, f, x, h, key=key, name=name, **how)
        checked += array.size if elements is None else elements.size
    mode = "every element" if sample is None else f"{checked:,} of {total:,} elements at random"
    report = GradientReport(
        evidence, n_evaluations=evaluations, seconds=time.perf_counter() - started, mode=mode,
        deterministic=deterministic, values=arrays, **settings,
    )  # fmt: skip
    if callable(grad) and not report.passed:
        again = _named_gradients(grad(x), arrays, container)
        if any(not np.array_equal(again[name], analytic[name], equal_nan=True) for name in arrays):
            report.note = "grad(x) returned another gradient when called again: does it read what an earlier call left?"
    return report


def _look_again(evidence: Evidence, elements: NDArray[np.intp], f: Any, x: Any, h: float | None, **how: Any) -> int:
    """Hold the differences of these elements against finer ones, in place; the number of evaluations.

    A function that varies within the step has a difference that is wrong by more than its estimates tell. The coarsest
    step whose difference a finer one confirms is believed; where none is, the truncation is what they differ by.
    """
    evaluations = 0
    for finer in (1 / 64, 1 / 4096):
        if not elements.size:
            break
        found = differences(f, x, h, elements=elements, diagnose=True, finer=finer, **how)
        evaluations += found.n_evaluations
        analytic, before, u_before = (
            array.flat[elements] for array in (evidence.analytic, evidence.numerical, evidence.uncertainty())
        )
        after = _evidence(analytic, found, None)
        apart, u = np.abs(after.numerical - before), after.uncertainty()
        surprising = ~(apart <= u + u_before)
        telling = u < RESOLVED * np.abs(after.numerical)
        better = surprising | (u < u_before)
        for field in ("numerical", "truncation", "rounding", "kink", "nonfinite"):
            getattr(evidence, field).flat[elements[better]] = getattr(after, field)[better]
        # where rounding hides what the finer step would tell, a still finer one tells less
        open_ = surprising | ~(telling | (after.rounding > after.truncation))
        elements, apart = elements[open_], apart[open_]
    if elements.size:
        evidence.truncation.flat[elements] += apart
    return evaluations


def _doubtful(evidence: Evidence, rtol: float, atol: float) -> NDArray[np.intp]:
    """Elements that differ, and those hidden by the truncation of a step that is too long for them."""
    codes = judge(evidence, rtol=rtol, atol=atol)
    return np.flatnonzero((codes == MISMATCH) | ((codes == NOISE) & (evidence.truncation > evidence.rounding)))


def _named_arrays(x: Any) -> dict[str, Array]:
    """The arrays of a container by name: a dict's keys, or x[0], x[1], ..."""
    if isinstance(x, dict):
        return {str(key): value for key, value in x.items()}
    return {f"x[{i}]": value for i, value in enumerate(x)}


def _keys(container: Any) -> list[Any]:
    """What differences takes for each array: its key in the container, None for a single array."""
    if container is None:
        return [None]
    return list(container) if isinstance(container, dict) else list(range(len(container)))


def _named_gradients(grad: Any, arrays: Mapping[str, Any], container: Any) -> dict[str, Array]:
    """The gradient under test by the names of the arrays, each of its array's shape."""
    if container is None:
        grads = [grad]
    else:
        keys = _keys(container)
        if len(grad) != len(keys) or (isinstance(container, dict) and any(key not in grad for key in keys)):
            got = ", ".join(map(str, grad)) if isinstance(grad, Mapping) else f"{len(grad)} arrays"
            raise ValueError(f"grad has {got}, expected {', '.join(arrays)}")
        grads = [grad[key] for key in keys]
    return {
        name: _checks.floats(
            _checks.parameter(g, "grad" if container is None else f"grad of {name}", np.shape(a)), "grad"
        )
        for g, (name, a) in zip(grads, arrays.items(), strict=True)
    }


def _evidence(analytic: Array, found: Any, elements: NDArray[np.intp] | None) -> Evidence:
    """What was found, spread over the array when only some elements were asked for."""
    fields = {name: getattr(found, name) for name in ("truncation", "rounding", "kink", "nonfinite")}
    fields["numerical"] = found.value
    checked = np.ones(analytic.shape, bool)
    if elements is not None:
        checked = np.isin(np.arange(analytic.size), elements).reshape(analytic.shape)
        for name, part in fields.items():
            whole = np.zeros(analytic.size, part.dtype)
            whole[elements] = part
            fields[name] = whole.reshape(analytic.shape)
    return Evidence(analytic=analytic, checked=checked, **fields)


def _function_along_directions(
    f: Any, x: Any, arrays: Mapping[str, Array], analytic: Mapping[str, Array], count: int, h: float | None,
    rng: np.random.Generator, rtol: float,
) -> tuple[dict[str, Evidence], str]:  # fmt: skip
    """_directions over the arrays of a function, which are moved in place."""
    starts = {name: array.copy() for name, array in arrays.items()}
    sizes = [array.size for array in arrays.values()]

    def move(offset: Array) -> float:
        for (name, array), part in zip(arrays.items(), np.split(offset, np.cumsum(sizes)[:-1]), strict=True):
            array[...] = starts[name] + part.reshape(array.shape)
        return float(f(x))

    values = np.concatenate([np.ravel(a) for a in starts.values()]).astype(np.float64)
    flat = np.concatenate([np.ravel(g) for g in analytic.values()]).astype(np.float64)
    eps = max(float(np.finfo(a.dtype).eps) for a in arrays.values())
    try:
        rounding = eps * (1.0 + abs(float(f(x))))
        return _directions(move, values, flat, _checks.positive_int(count, "directions"), h, eps, rounding, rng, rtol)
    finally:
        for name, array in arrays.items():
            array[...] = starts[name]


def check_network(
    net: NeuralNetwork,
    x: ArrayLike,
    t: ArrayLike,
    *,
    grad: Mapping[str, ArrayLike] | None = None,
    sample_weight: ArrayLike | None = None,
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
    weights = net._weights(sample_weight, len(rows))
    analytic = np.empty(net.n_params, net.dtype)
    loss = net.core.gradient(rows, targets, weights, analytic)
    if not np.isfinite(loss):
        raise ValueError(f"the loss of this network at x and t is {loss}, expected a finite one to start from")
    tested = analytic if given is None else given
    settings: dict[str, Any] = {"rtol": rtol, "atol": atol, "kinks": kinks}
    rounding = float(np.finfo(net.dtype).eps) * _magnitude(net, rows, loss)
    generator = _checks.generator(rng)
    if directions is not None:
        count = _checks.positive_int(directions, "directions")
        evidence, note = _along_directions(net, (rows, targets, weights), tested, count, h, rounding, generator, rtol)
        return GradientReport(
            evidence, n_evaluations=4 * count, seconds=time.perf_counter() - started,
            mode=f"{count} random directions", note=note, **settings,
        )  # fmt: skip
    wanted, mode = _selection(net, sample, generator)
    slope, truncation = np.empty(net.n_params), np.empty(net.n_params)
    kink = net._differences(
        rows, targets, step, n_threads, slope, truncation,
        weights=weights, wanted=wanted, rounding=rounding, max_memory=max_memory,
    )  # fmt: skip
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
            use_bias=layer.use_bias, batch_norm=layer.batch_norm, **layer.settings(),
        )
        for layer in net.layers
    ]  # fmt: skip
    twin = NeuralNetwork(
        layers,
        loss=net.loss_function or net.loss_name,
        delta=net.delta,
        label_smoothing=net.label_smoothing,
        input_scale=net.input_scale,
    )
    twin.core.params[:], twin.core.moments[:] = net.core.params, net.core.moments
    return twin


def _magnitude(net: NeuralNetwork, rows: Array, loss: float) -> float:
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
    net: NeuralNetwork, batch: tuple[Array, Array, Array | None], analytic: Array, count: int, h: float | None,
    rounding: float, rng: np.random.Generator, rtol: float,
) -> tuple[dict[str, Evidence], str]:  # fmt: skip
    """_directions over a network's parameters; batch: samples, targets and weights."""
    params = net.core.params
    start = params.copy()

    def move(offset: Array) -> float:
        params[:] = start + offset
        return net.core.loss(*batch)

    eps = float(np.finfo(net.dtype).eps)
    try:
        return _directions(move, start, analytic.astype(np.float64), count, h, eps, rounding, rng, rtol)
    finally:
        params[:] = start


def _directions(
    move: Any, start: Array, analytic: Array, count: int, h: float | None, eps: float, rounding: float,
    rng: np.random.Generator, rtol: float,
) -> tuple[dict[str, Evidence], str]:  # fmt: skip
    """Slopes along random unit vectors of move(offset), with half the step as well to see the truncation."""
    # along a unit vector each of n elements moves by about 1 / sqrt(n) of the step
    step = h or eps ** (1 / 3) * max(1.0, float(np.linalg.norm(start)))
    slopes, halved, products = np.empty((3, count))
    for i in range(count):
        v = rng.standard_normal(start.size)
        v /= np.linalg.norm(v)
        products[i] = np.dot(analytic, v)
        for out, d in ((slopes, step), (halved, step / 2)):
            out[i] = (move(d * v) - move(-d * v)) / (2 * d)
    no = np.zeros(count, bool)
    evidence = Evidence(
        products,
        halved,
        np.abs(slopes - halved) / 3,
        np.full(count, 2 * rounding / step),
        no,
        ~np.isfinite(halved),
        ~no,
    )
    # e.v is about normal with deviation |e| / sqrt(n): |e| such that all directions miss it once in a hundred times
    tolerance = float(np.max(evidence.tolerance(rtol, 0.0)))
    quantile = NormalDist().inv_cdf((1 + 0.01 ** (1 / count)) / 2)
    missed = tolerance * np.sqrt(start.size) / quantile
    note = (
        f"A gradient off by {missed:.1g} or more (2-norm; its own is {np.linalg.norm(analytic):.1g}) would have shown "
        f"in 99 of 100 such checks; a smaller error can pass."
    )
    return {"direction": evidence}, note
