"""The one table of cases: kernel, inputs, reference, error bound, edge shapes.

Bounds are derived: eps times the number of roundings times the size of what is added up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import reference as ref

# rows, columns: 0, 1, odd, not a multiple of 8, larger than a vector register and than a BLAS block
SHAPES_2D = [(0, 3), (1, 1), (1, 7), (2, 8), (3, 9), (5, 33), (17, 10)]
SIZES_DENSE = [(1, 1, 1), (1, 2, 25), (1, 25, 50), (3, 5, 7), (2, 50, 25), (16, 24, 40), (100, 784, 50), (65, 130, 67)]
SIZES_DENSE += [(40, 600, 103), (33, 70, 300), (600, 99, 150)]  # several copied strips, depths and blocks


@dataclass
class Case:
    """One kernel: inputs(rng, shape) -> dict of float64 arrays, the names of outputs, and how to run both sides."""

    name: str
    shapes: list
    inputs: Callable
    run: Callable  # (core, dict of arrays of one dtype) -> dict of outputs
    expected: Callable  # (dict of float64 arrays) -> dict of outputs
    bound: Callable  # (inputs, expected, output name, eps) -> largest error allowed


def nan_like(array, dtype=None):
    """An output that shows every element the kernel forgets."""
    return np.full(np.shape(array), np.nan, dtype or array.dtype)


def _activation_case(name):
    def run(core, inputs):
        z = inputs["a"].copy().reshape(-1)
        da = inputs["dz"].copy().reshape(-1)
        core.activation.activate(core.activation.ACTIVATIONS[name], z)
        core.activation.differentiate(core.activation.ACTIVATIONS[name], z, da)
        return {"z": z, "da": da}

    def expected(inputs):
        z = ref.FORWARD[name](inputs["a"].reshape(-1))
        return {"z": z, "da": inputs["dz"].reshape(-1) * ref.DERIVATIVE[name](z)}

    # z to 4 ulp; the derivative written from z turns an error of z into the same absolute error, times dz
    return Case(
        f"activation[{name}]",
        SHAPES_2D,
        lambda rng, shape: {"a": rng.normal(scale=4, size=shape), "dz": rng.normal(size=shape)},
        run,
        expected,
        lambda i, e, key, eps: (
            4 * eps * np.abs(e["z"])
            if key == "z"
            else 10 * eps * np.abs(i["dz"].reshape(-1)) * (1 + np.abs(e["z"]) * (name == "identity"))
        ),
    )


def _softmax_run(core, inputs):
    y, da = inputs["a"].copy(), inputs["dy"].copy()
    log_sums = nan_like(np.empty(len(y)))
    core.activation.softmax(y, log_sums)
    core.activation.softmax_backward(y, da)
    return {"y": y, "log_sums": log_sums, "da": da}


def _softmax_expected(inputs):
    y = ref.softmax(inputs["a"])
    return {"y": y, "log_sums": ref.log_sum_exp(inputs["a"])[:, 0], "da": ref.softmax_backward(y, inputs["dy"])}


def _softmax_bound(inputs, expected, key, eps):
    # exp(a - top) carries the rounding of its argument, the sum that of n terms
    a = inputs["a"]
    relative = eps * (a.shape[1] + 8 + np.abs(a - a.max(axis=1, keepdims=True, initial=-1e9)))
    if key == "y":
        return relative * expected["y"]
    if key == "log_sums":
        return eps * (a.shape[1] + 8) * (1 + np.abs(a).max(axis=1, initial=0))
    largest = np.abs(inputs["dy"]).max(axis=1, keepdims=True, initial=0)
    return 4 * relative.max(initial=0) * largest * np.ones_like(a)


def _dense_inputs(rng, shape):
    n_samples, n_in, n_out = shape
    return {
        "x": rng.normal(size=(n_samples, n_in)),
        "W": rng.normal(size=(n_in, n_out)),
        "b": rng.normal(size=n_out),
        "da": rng.normal(size=(n_samples, n_out)),
    }


def _dense_run(core, inputs):
    x, W, b, da = (inputs[k] for k in ("x", "W", "b", "da"))
    out = {"a": nan_like(da), "no_bias": nan_like(da), "dW": nan_like(W), "db": nan_like(b), "dx": nan_like(x)}
    core.dense.forward(x, W, b, out["a"])
    core.dense.forward(x, W, None, out["no_bias"])
    core.dense.backward(x, W, da, out["dW"], out["db"], out["dx"])
    return out


def _dense_expected(inputs):
    x, W, b, da = (inputs[k] for k in ("x", "W", "b", "da"))
    dW, db, dx = ref.dense_backward(x, W, da)
    return {"a": ref.dense_forward(x, W, b), "no_bias": x @ W, "dW": dW, "db": db, "dx": dx}


def _dense_bound(inputs, expected, key, eps):
    # |error| <= (k + 2) eps |A| |B| for a product with inner dimension k (Higham, section 3.5)
    magnitude = _dense_expected({k: np.abs(v) for k, v in inputs.items()})
    n_samples, n_in = inputs["x"].shape
    inner = {"a": n_in, "no_bias": n_in, "dW": n_samples, "db": n_samples, "dx": inputs["W"].shape[1]}[key]
    return (inner + 2) * eps * magnitude[key]


def _loss_case(name, probabilities, *extra):
    def inputs(rng, shape):
        y = rng.normal(scale=3, size=shape)
        t = ref.one_hot(rng.integers(shape[1], size=shape[0]), shape[1]) if shape[0] else np.empty(shape)
        t = 0.9 * t + 0.1 / shape[1] if shape[0] % 2 else t
        return {"y": ref.softmax(y) if probabilities and shape[0] else y, "t": t}

    def run(core, inputs):
        dy = nan_like(inputs["y"])
        return {"loss": np.array(getattr(core.loss, name)(inputs["y"], inputs["t"], dy, *extra)), "dy": dy}

    def expected(inputs):
        if inputs["y"].size == 0:
            return {"loss": np.array(0.0), "dy": np.empty_like(inputs["y"])}
        value, dy = getattr(ref, name)(inputs["y"], inputs["t"], *extra)
        return {"loss": np.array(value), "dy": dy}

    def bound(inputs, expected, key, eps):
        n_rows, n = inputs["y"].shape
        size = 1 + np.abs(inputs["y"]).max(initial=0)
        if key == "loss":
            return eps * (n + 8) * (n_rows * size**2 + abs(expected["loss"]))
        return eps * (n + 8) * (2 * size + np.abs(expected["dy"]))

    suffix = f"[delta={extra[0]:g}]" if extra else ""
    return Case(f"{name}{suffix}", SHAPES_2D, inputs, run, expected, bound)


CASES = [
    *(_activation_case(name) for name in ref.FORWARD),
    Case(
        "softmax",
        SHAPES_2D,
        lambda rng, s: {"a": rng.normal(scale=5, size=s), "dy": rng.normal(size=s)},
        _softmax_run,
        _softmax_expected,
        _softmax_bound,
    ),
    Case("dense", SIZES_DENSE, _dense_inputs, _dense_run, _dense_expected, _dense_bound),
    _loss_case("squared_error", False),
    _loss_case("cross_entropy", True, 0.0),
    _loss_case("cross_entropy", True, 1e-7),
    _loss_case("softmax_cross_entropy", False, 0.0),
    _loss_case("softmax_cross_entropy", False, 1e-7),
    _loss_case("softmax_cross_entropy", False, 0.1),
]

# Networks for the engine: name -> sizes, activations, loss, delta, biases.
NETWORKS = {
    "moons": ((2, 25, 50, 25, 2), ("sigmoid",) * 4, "squared_error", 0.0, True),
    "mnist": ((64, 50, 10), ("sigmoid", "softmax"), "softmax_cross_entropy", 1e-7, True),
    "logits": ((5, 8, 3), ("relu", "identity"), "softmax_cross_entropy", 0.0, True),
    "large delta": ((5, 8, 3), ("tanh", "identity"), "softmax_cross_entropy", 0.1, True),
    "regression": ((3, 9, 1), ("tanh", "identity"), "squared_error", 0.0, True),
    "softmax regression": ((4, 7, 3), ("relu", "softmax"), "squared_error", 0.0, True),
    "no bias": ((3, 4, 1), ("sigmoid", "sigmoid"), "squared_error", 0.0, False),
    "one layer": ((2, 3), ("softmax",), "softmax_cross_entropy", 1e-7, False),
    "deep": ((6, 5, 7, 4, 9, 2), ("tanh", "relu", "sigmoid", "tanh", "identity"), "squared_error", 0.0, True),
}


def make_network(core, name, dtype, rng, trainable_bias=True):
    """The engine and the reference's layers with the same parameters."""
    sizes, activations, loss, delta, bias = NETWORKS[name]
    specs = [
        (m, n, core.activation.ACTIVATIONS[a], bias, trainable_bias)
        for m, n, a in zip(sizes, sizes[1:], activations, strict=False)
    ]
    net = core.network.Network(specs, core.loss.LOSSES[loss], delta, np.dtype(dtype))
    net.params[:] = rng.normal(scale=0.7, size=net.params.size)
    layers = []
    for k, activation in enumerate(activations):
        W, b = net.views(k)
        layers.append((W.astype(np.float64), None if b is None else b.astype(np.float64), activation))
    return net, layers, loss, delta


def make_batch(name, rng, n_samples, dtype=np.float64):
    """Inputs and targets (one-hot for classes) that fit a network of the table."""
    sizes, _, loss, _, _ = NETWORKS[name]
    x = rng.normal(size=(n_samples, sizes[0])).astype(dtype)
    if sizes[-1] == 1 or loss == "squared_error":
        return x, rng.normal(size=(n_samples, sizes[-1])).astype(dtype)
    return x, ref.one_hot(rng.integers(sizes[-1], size=n_samples), sizes[-1]).astype(dtype)


def flat(grads):
    """(dW, db) pairs in the order of the parameter vector."""
    return np.concatenate([part.ravel() for dW, db in grads for part in (dW, db) if part is not None])
