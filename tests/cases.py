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


def code(core, table, text):
    """Number and parameter of an activation or loss such as "elu(1.5)"."""
    name, _, param = text.rstrip(")").partition("(")
    return table[name], float(param or 0)


def _activation_case(name):
    def run(core, inputs):
        z, da = inputs["a"].copy().reshape(-1), inputs["dz"].copy().reshape(-1)
        kind, param = code(core, core.activation.ACTIVATIONS, name)
        slope = nan_like(z) if core.activation.keeps_slope(kind) else None
        core.activation.activate(kind, z, slope, param)
        core.activation.differentiate(kind, z, da, slope, param)
        return {"z": z, "da": da}

    def expected(inputs):
        a = inputs["a"].reshape(-1)
        z = ref.FORWARD[name](a)
        return {"z": z, "da": inputs["dz"].reshape(-1) * ref.DERIVATIVE[name](a if name in ref.BY_INPUT else z)}

    def bound(inputs, expected, key, eps):
        # z to 6 ulp, of hard_sigmoid those of what it adds up; the derivative written from z turns an error of z into
        # the same absolute error, times dz
        a, dz = np.abs(inputs["a"].reshape(-1)), np.abs(inputs["dz"].reshape(-1))
        if key == "z":
            # the reference's erfc(-a / sqrt(2)) has the condition a**2 in its tail; test_precision.py knows better
            return 6 * eps * (np.abs(expected["z"]) * (1 + a**2 * (name == "gelu")) + (name == "hard_sigmoid"))
        return 10 * eps * dz * (1 + a)

    return Case(
        f"activation[{name}]",
        SHAPES_2D,
        lambda rng, shape: {"a": rng.normal(scale=4, size=shape), "dz": rng.normal(size=shape)},
        run,
        expected,
        bound,
    )


def targets_of(rng, loss, shape):
    """Targets that a loss takes."""
    name = loss.partition("(")[0]
    if name == "hinge":
        return rng.choice([-1.0, 1.0], size=shape)
    if name in ("sigmoid_cross_entropy", "binary_cross_entropy"):
        return rng.choice([0.0, 1.0, 0.25], size=shape)
    return rng.poisson(2.0, size=shape) * 1.0 if name == "poisson" else rng.normal(size=shape)


def _terms_case(name):
    def inputs(rng, shape):
        y = rng.uniform(0.01, 0.99, size=shape) if name == "binary_cross_entropy" else rng.normal(scale=2, size=shape)
        return {"y": y, "t": targets_of(rng, name, shape), "w": rng.uniform(0, 2, size=shape)}

    def run(core, inputs):
        kind, param = code(core, core.loss.LOSSES, name)
        dy, plain = nan_like(inputs["y"]), nan_like(inputs["y"])
        w = inputs["w"].astype(np.float64)
        loss = core.loss.terms(kind, param, inputs["y"], inputs["t"], w, dy)
        core.loss.terms(kind, param, inputs["y"], inputs["t"], None, plain)
        return {"loss": np.array(loss), "dy": dy, "plain": plain}

    def expected(inputs):
        y, t, w = inputs["y"], inputs["t"], inputs["w"]
        slope = ref.SLOPE[name](y, t)
        return {"loss": np.array((w * ref.TERM[name](y, t)).sum()), "dy": w * slope, "plain": slope}

    def bound(inputs, expected, key, eps):
        if key == "loss":
            size = np.abs(inputs["w"] * ref.TERM[name](inputs["y"], inputs["t"])).sum()
            return 4e-15 * (10 + inputs["y"].size) * (1 + size)
        return 4 * eps * (1 + np.abs(expected[key]))

    return Case(f"loss[{name}]", SHAPES_2D, inputs, run, expected, bound)


def _softmax_run(core, inputs):
    y, da = inputs["a"].copy(), inputs["dy"].copy()
    log_sums = nan_like(np.empty(len(y)))
    core.activation.softmax(y, log_sums)
    core.activation.softmax_backward(y, da)
    return {"y": y, "log_sums": log_sums, "da": da}


def _softmax_expected(inputs):
    y = ref.softmax(inputs["a"])
    shifted = inputs["a"] - inputs["a"].max(axis=1, keepdims=True)
    return {"y": y, "log_sums": ref.log_sum_exp(shifted)[:, 0], "da": ref.softmax_backward(y, inputs["dy"])}


def _softmax_bound(inputs, expected, key, eps):
    # exp(a - top) carries the rounding of its argument, the sum that of n terms
    a = inputs["a"]
    relative = eps * (a.shape[1] + 8 + np.abs(a - a.max(axis=1, keepdims=True, initial=-1e9)))
    if key == "y":
        return relative * expected["y"]
    if key == "log_sums":
        return eps * (a.shape[1] + 8) * (1 + expected["log_sums"])
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
    *(_terms_case(name) for name in ref.TERM),
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
    "rectifiers": ((4, 7, 6, 5, 2), ("leaky_relu(0.2)", "elu(1.5)", "selu", "identity"), "huber(0.7)", 0.0, True),
    "smooth": ((4, 7, 6, 5, 3), ("gelu", "silu", "softplus", "identity"), "softmax_cross_entropy", 0.0, True),
    "smooth on both sides": ((4, 7, 6, 3), ("mish", "softsign", "mish"), "log_cosh", 0.0, True),
    "hard": ((4, 9, 3), ("hard_sigmoid", "identity"), "absolute_error", 0.0, True),
    "quantile": ((4, 9, 2), ("gelu", "identity"), "quantile(0.8)", 0.0, True),
    "counts": ((4, 9, 2), ("tanh", "identity"), "poisson", 0.0, True),
    "yes or no": ((4, 9, 3), ("tanh", "identity"), "sigmoid_cross_entropy", 0.0, True),
    "probabilities": ((4, 9, 3), ("tanh", "sigmoid"), "binary_cross_entropy", 0.0, True),
    "margins": ((4, 9, 3), ("tanh", "identity"), "hinge", 0.0, True),
    "last gelu": ((4, 6, 2), ("selu", "gelu"), "squared_error", 0.0, True),
}


def make_network(core, name, dtype, rng, trainable_bias=True):
    """The engine and the reference's layers with the same parameters."""
    sizes, activations, loss, delta, bias = NETWORKS[name]
    codes = [code(core, core.activation.ACTIVATIONS, a) for a in activations]
    specs = [(m, n, kind, bias, trainable_bias) for m, n, (kind, _) in zip(sizes, sizes[1:], codes, strict=False)]
    kind, param = code(core, core.loss.LOSSES, loss)
    net = core.network.Network(specs, kind, delta, np.dtype(dtype), param)
    for k, (_, number) in enumerate(codes):
        net.configure(k, param=number, trainable_bias=trainable_bias)
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
    if loss != "softmax_cross_entropy":
        return x, targets_of(rng, loss, (n_samples, sizes[-1])).astype(dtype)
    return x, ref.one_hot(rng.integers(sizes[-1], size=n_samples), sizes[-1]).astype(dtype)


def flat(grads):
    """(dW, db) pairs in the order of the parameter vector."""
    return np.concatenate([part.ravel() for dW, db in grads for part in (dW, db) if part is not None])
