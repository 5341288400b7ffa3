"""Networks for other programs: ONNX, one C99 header, and PyTorch's state dicts in both directions."""

import copy
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nncore.core import checks
from nncore.files import c_header, formats
from nncore.files import models as persistence
from nncore.files import tensors as _tensors
from nncore.functions import kinds
from nncore.model.layers import Layer
from nncore.model.model import Model

Array = checks.Array

# Random rows that the error of quantized weights is measured on where no samples are given.
N_RANDOM_ROWS = 1000

ONNX_BYTES = 2_000_000_000  # of a file, which holds little more

SELU = {"alpha": kinds.SELU_ALPHA, "gamma": kinds.SELU_SCALE}

# The operators of each activation, from the graph, the name of a and the activation's parameter.
ONNX: dict[str, Callable[["_Graph", str, float], str]] = {
    "identity": lambda g, a, p: a,
    "relu": lambda g, a, p: g("Relu", a),
    "leaky_relu": lambda g, a, p: g("LeakyRelu", a, alpha=p),
    "elu": lambda g, a, p: g("Elu", a, alpha=p),
    "selu": lambda g, a, p: g("Selu", a, **SELU),
    "gelu": lambda g, a, p: g("Mul", g("Mul", a, 0.5), g("Add", g("Erf", g("Mul", a, 0.5**0.5)), 1.0)),
    "silu": lambda g, a, p: g("Mul", a, g("Sigmoid", a)),
    "mish": lambda g, a, p: g("Mul", a, g("Tanh", g("Softplus", a))),
    "softplus": lambda g, a, p: g("Softplus", a),
    "softsign": lambda g, a, p: g("Div", a, g("Add", g("Abs", a), 1.0)),
    "tanh": lambda g, a, p: g("Tanh", a),
    "sigmoid": lambda g, a, p: g("Sigmoid", a),
    "hard_sigmoid": lambda g, a, p: g("HardSigmoid", a, alpha=1 / 6, beta=0.5),
    "softmax": lambda g, a, p: g("Softmax", a, axis=-1),
}
# The same in float64 for operators that onnxruntime has in float32 only; of erf it has no other.
ONNX_FLOAT64: dict[str, Callable[["_Graph", str, float], str]] = {
    "leaky_relu": lambda g, a, p: g("Add", g("Max", a, 0.0), g("Mul", g("Min", a, 0.0), p)),
    "elu": lambda g, a, p: g("Add", g("Max", a, 0.0), g("Mul", g("Sub", g("Exp", g("Min", a, 0.0)), 1.0), p)),
    "selu": lambda g, a, p: g("Mul", ONNX_FLOAT64["elu"](g, a, SELU["alpha"]), SELU["gamma"]),
    "gelu": lambda g, a, p: g(
        "Mul", g("Mul", a, 0.5), g("Add", g.cast(g("Erf", g.cast(g("Mul", a, 0.5**0.5), "float32"))), 1.0)
    ),
    "mish": lambda g, a, p: g("Mul", a, g("Tanh", ONNX_FLOAT64["softplus"](g, a, p))),
    "softplus": lambda g, a, p: g(
        "Add", g("Max", a, 0.0), g("Log", g("Add", g("Exp", g("Neg", g("Abs", a))), 1.0))
    ),
    "hard_sigmoid": lambda g, a, p: g("Clip", g("Add", g("Mul", a, 1 / 6), 0.5), 0.0, 1.0),
}  # fmt: skip

# The module of torch.nn that follows the Linear of a layer.
TORCH = {name: row.torch for name, row in kinds.ACTIVATIONS.items() if row.torch}


M = TypeVar("M", bound=Model)


def _link(net: Model) -> str | None:
    """What makes probabilities of what predict yields, if it yields logits."""
    if net._layer(-1).activation_name != "identity":
        return None
    return kinds.loss(net.loss_name).probabilities


def _folded(net: Model) -> Model:
    """The network, or one with the same predictions whose weights and biases have the normalisation within them."""
    net.expect_names("an export", loss=False)
    persistence.expect_sound(persistence.tensors_of(net))
    if not any(layer.batch_norm for layer in net.layers):
        return net
    with np.errstate(over="ignore", invalid="ignore"):
        affine = [layer.affine() for layer in net.layers]
    for k, (W, b) in enumerate(affine, 1):
        persistence.expect_sound({f"W{k}": W} if b is None else {f"W{k}": W, f"b{k}": b})  # a factor can be too large
    layers = [
        Layer(*la.shape, la.activation, *wb, use_bias=la.use_bias) for la, wb in zip(net.layers, affine, strict=True)
    ]
    loss = net.loss_function or net.loss_name
    return Model(layers, loss=loss, dtype=net.dtype, input_scale=net.input_scale)


def _input_type(net: Model, input_dtype: str | None) -> str:
    return checks.choice(input_dtype or str(net.dtype), "input_dtype", (str(net.dtype), "uint8"))


class _Graph:
    """The nodes of an ONNX graph as they are made: calling it appends one and returns the name of its output."""

    def __init__(self, dtype: "np.dtype[Any]") -> None:
        from onnx import helper

        self.helper, self.dtype = helper, dtype
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}

    def __call__(self, op: str, *inputs: str | float, **attributes: Any) -> str:
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op, names, [output], **attributes))
        return output

    def constant(self, value: float) -> str:
        self.arrays[str(value)] = np.array(value, self.dtype)
        return str(value)

    def cast(self, name: str, dtype: str | None = None) -> str:
        return self("Cast", name, to=self.element(dtype or self.dtype))

    def element(self, dtype: "np.dtype[Any] | str") -> int:
        """ONNX's number of a type."""
        return int(self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def rename(self, name: str, output: str) -> None:
        self.nodes.append(self.helper.make_node("Identity", [name], [output]))


def export_onnx(net: Model, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> None:
    """Write a network as ONNX (operator set 13, of 2020), for onnxruntime and other programs that read it.

    Parameters
    ----------
    net : NeuralNetwork
    path : path-like
    input_dtype : {None, "float32", "float64", "uint8"}
        Of the input: the network's type, which is the default, or bytes, which the graph multiplies by input_scale.

    Notes
    -----
    The input "x" is (N, n_in) for any N, the output "y" (N, n_out) what predict yields. Where these are logits, for one
    of the cross-entropies, a second output "probabilities" holds their softmax or sigmoid. Batch normalisation is
    within weights and biases. All is computed in the network's type, but for the erf of gelu in float64 networks, which
    onnxruntime has in float32 only.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    OSError
        If the file cannot be written; one that was there stays, as with save.
    TypeError, ValueError
        If an argument is not as described, the network has no layer, a parameter is not finite, or they take more than
        2 GB.
    """
    element = _input_type(net, input_dtype)
    try:
        from onnx import checker, helper, numpy_helper
    except ImportError as error:
        raise ImportError("export_onnx needs the package onnx: pip install nncore[onnx]") from error
    net, graph, z = _folded(net), _Graph(net.dtype), "x"
    if net.core.params.nbytes > ONNX_BYTES:
        raise ValueError(
            f"the parameters take {net.core.params.nbytes:,} bytes, expected at most {ONNX_BYTES:,} in ONNX"
        )
    if element == "uint8":
        z = graph("Mul", graph.cast("x"), net.input_scale)
    operators = ONNX if net.dtype == np.float32 else {**ONNX, **ONNX_FLOAT64}
    for k, layer in enumerate(net.layers, 1):
        a = graph("Gemm", z, f"W{k}", f"b{k}") if layer.use_bias else graph("MatMul", z, f"W{k}")
        z = operators[layer.activation_name](graph, a, layer.activation_param)
    graph.rename(z, "y")
    outputs = ["y"]
    link = _link(net)
    if link:
        graph.rename(operators[link](graph, z, 0.0), "probabilities")
        outputs.append("probabilities")
    arrays = {**net.params, **graph.arrays}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "nncore",
            [helper.make_tensor_value_info("x", graph.element(element), ["N", net.n_in])],
            [helper.make_tensor_value_info(name, graph.element(net.dtype), ["N", net.n_out]) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="nncore",
    )  # fmt: skip
    checker.check_model(model)
    persistence.write_atomically(path, model.SerializeToString())
    formats.warn_of_ending(path, "ONNX", ".onnx", stacklevel=3)


def export_c(
    net: Model,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    input_dtype: str | None = None,
    quantize: str | None = None,
    samples: ArrayLike | None = None,
) -> float:
    """Write a network as one C99 header that needs <math.h> only, for C and C++ programs and small devices.

    It defines ``<name>_predict(x, y)``, which fills y[n_out] from x[n_in] as predict does for one sample, in the
    network's float type; and, where predict yields logits of one of the cross-entropies,
    ``<name>_probabilities(x, y)``. Nothing is allocated. Weights are written so that compilers read the same numbers.

    Parameters
    ----------
    net : NeuralNetwork
    path : path-like
    name : str, optional
        Begins all names of the header; what C does not take in names becomes _. By default the file's name.
    input_dtype : {None, "float32", "float64", "uint8"}
        Of x: the network's type, which is the default, or bytes, which are multiplied by input_scale.
    quantize : {None, "int8"}
        "int8" stores a weight as a byte, times a scale for each unit (symmetric, from its largest weight): about a
        quarter of the size in float32. Sums, biases and activations stay as they are.
    samples : array_like of shape (n_samples, n_in), optional
        The error of "int8" is measured on them. Without it 1,000 random rows are taken, from N(0, 1) or, for uint8, of
        uniform bytes, which may be far from your data.

    Returns
    -------
    float
        The largest difference of an output by quantize on the samples, also written to the header; 0.0 without it.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays, as with save.
    TypeError, ValueError
        If an argument is not as described, the network has no layer, or a parameter is not finite.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nncore import NeuralNetwork
    >>> net = NeuralNetwork([Layer(2, 1, weights=[[0.5], [0.25]], bias=[1.0])], dtype="float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     error = export_c(net, Path(folder) / "line.h")
    ...     text = (Path(folder) / "line.h").read_text()
    >>> print(text[text.index("static inline") :])
    static inline void line_predict(const float x[2], float y[1])
    {
        int i, j;
        /* Layer 1: 2 -> 1, identity */
        for (j = 0; j < 1; j++) y[j] = line_b1[j];
        for (i = 0; i < 2; i++) {
            const float v = x[i];
            for (j = 0; j < 1; j++) y[j] += v * line_W1[i][j];
        }
    }
    <BLANKLINE>
    #endif
    <BLANKLINE>
    """
    element = _input_type(net, input_dtype)
    if quantize is not None:
        checks.choice(quantize, "quantize", ("int8",))
    elif samples is not None:
        raise ValueError("samples is given, expected None without quantize='int8': nothing is measured")
    net = _folded(net)
    about = [f"A dense network made by nncore: {net.description}."]
    error = 0.0
    if quantize:
        rows, source = _rows(net, samples, element)
        expected = net.predict(rows)
        error = float(np.abs(_with_int8_weights(net).predict(rows) - expected).max())
        about.append(
            f"Its weights are rounded to 8 bits: on {len(rows):,} {source} an output differs by at most {error:.3g} "
            f"from the network's own, the largest of which is {np.abs(expected).max():.3g}."
        )
    name = _c_name(checks.path(path, "path").stem if name is None else name)
    text = c_header.header(
        net, name, uint8=element == "uint8", int8=quantize == "int8", link=_link(net), about=about
    )  # fmt: skip
    persistence.write_atomically(path, text.encode())
    formats.warn_of_ending(path, "C", ".h", ".hpp", ".c", ".txt", stacklevel=3)
    return error


def _c_name(name: str) -> str:
    checks.instance(name, "name", str, "text to begin the names in C with")
    name = re.sub(r"[^a-zA-Z0-9]", "_", name)
    return name if name[:1].isalpha() else f"net_{name}"


def _rows(net: Model, samples: ArrayLike | None, element: str) -> tuple[Array, str]:
    """What quantized weights are measured on, and what to call it."""
    if samples is not None:
        return checks.samples(samples, "samples", net.n_in), "given rows"
    rng, shape = np.random.default_rng(0), (N_RANDOM_ROWS, net.n_in)
    if element == "uint8":
        return rng.integers(256, size=shape, dtype=np.uint8), "rows of random bytes"
    return rng.standard_normal(shape, net.dtype), "random rows"


def _with_int8_weights(net: Model) -> Model:
    """A copy that computes with the quantized weights."""
    twin = copy.deepcopy(net)
    for layer in twin.layers:
        weights, scale = c_header.quantized(layer.weights)
        layer.weights = weights * scale
    return twin


def export_torch(net: Model, path: str | os.PathLike[str]) -> str:
    """Write the parameters as the state dict of a torch.nn.Sequential, in a safetensors file.

    Parameters
    ----------
    net : NeuralNetwork
    path : path-like

    Returns
    -------
    str
        The Sequential whose ``load_state_dict`` takes ``safetensors.torch.load_file(path)``, also in the file's
        metadata as "sequential". It yields what predict yields for floats: bytes are to be multiplied by the file's
        "input_scale" first. Dropout is left out, batch normalisation within weights and biases.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays, as with save.
    TypeError, ValueError
        If the network has no layer, or a parameter is not finite.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nncore import NeuralNetwork
    >>> net = NeuralNetwork([Layer(2, 3, "relu"), Layer(3, 1, use_bias=False)], dtype="float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(export_torch(net, Path(folder) / "torch.safetensors"))
    Sequential(Linear(2, 3), ReLU(), Linear(3, 1, bias=False))
    """
    modules: list[str] = []
    tensors: dict[str, Array] = {}
    net = _folded(net)
    params = net.params
    for k, layer in enumerate(net.layers, 1):
        tensors[f"{len(modules)}.weight"] = params[f"W{k}"].T
        if layer.use_bias:
            tensors[f"{len(modules)}.bias"] = params[f"b{k}"]
        bias = "" if layer.use_bias else ", bias=False"
        modules.append(f"Linear({layer.n_input}, {layer.n_neurons}{bias})")
        if layer.activation_name in TORCH:
            modules.append(TORCH[layer.activation_name].format(p=layer.activation_param))
    sequential = f"Sequential({', '.join(modules)}){'.double()' if net.dtype == np.float64 else ''}"
    metadata = {"format": "pt", "sequential": sequential, "input_scale": repr(net.input_scale)}
    persistence.write_atomically(path, _tensors.Encoded(tensors, metadata))
    formats.warn_of_ending(path, "safetensors", ".safetensors", stacklevel=3)
    return sequential


def from_torch(
    source: str | os.PathLike[str] | Mapping[str, Any],
    activations: str | Sequence[str | None] | None,
    *,
    names: Sequence[str] | None = None,
    make: type[M],
    **settings: Any,
) -> M:
    """Make a network of the Linear layers of a PyTorch module.

    Parameters
    ----------
    source : path-like or mapping
        A safetensors file, or what ``state_dict()`` returns (of tensors or arrays): ``N.weight`` (n_out, n_in) and,
        unless made with bias=False, ``N.bias`` (n_out,), of Linear layers only.
    activations : str, None, or sequence of these
        One a layer, as PyTorch does not store them; a single one is that of all layers but the last, which gets None.
    names : sequence of str, optional
        The N in their order from input to output. By default that of their numbers, if they differ in a number only
        ("0", "2", "10" or "fc1", "fc2"), else that of the mapping.
    make : type
        The class of the network.
    **settings
        Of NeuralNetwork, such as loss, dtype and input_scale. By default dtype is float64 if a tensor is, else float32.

    Returns
    -------
    NeuralNetwork

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If a tensor is not of a Linear layer, layers do not fit each other, their order cannot be told, or activations,
        names or settings do not fit.

    Examples
    --------
    >>> state = {"0.weight": [[1.0, -1.0]], "0.bias": [0.5], "2.weight": [[2.0]]}
    >>> from_torch(state, "relu", make=Model).predict([3.0, 1.0])
    array([5.])
    """
    is_file = not isinstance(source, Mapping)
    if is_file and not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"source is a {type(source).__name__}, expected a safetensors file, or what a module's state_dict() returns"
        )
    if isinstance(source, Mapping):
        what, state = "source", {name: _tensor(value, name) for name, value in source.items()}
    else:
        what, state = os.fspath(source), _tensors.read(source).tensors
    for name, tensor in state.items():
        checks.finite(tensor, f"{name} of {what}")
    dtype = np.float64 if any(tensor.dtype == np.float64 for tensor in state.values()) else np.float32
    known = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    order = _in_order(known, names, what, is_file=is_file)
    if isinstance(activations, str) or activations is None:
        activations = [activations] * (len(order) - 1) + [None]
    if len(activations) != len(order):
        raise ValueError(f"activations has {len(activations)} names, expected {len(order)}, one a layer: {order}")
    layers = []
    for name, activation in zip(order, activations, strict=True):
        prefix = f"{name}." if name else ""
        weight, bias = state.pop(f"{prefix}weight", None), state.pop(f"{prefix}bias", None)
        if weight is None or weight.ndim != 2:
            shape = "missing" if weight is None else f"of shape {weight.shape}"
            raise ValueError(f"{what}: {prefix}weight is {shape}, expected (n_out, n_in) of a Linear layer")
        layers.append(Layer(weight.shape[1], weight.shape[0], activation, weight.T, bias, use_bias=bias is not None))
    if state:
        raise ValueError(f"{what} has {', '.join(state)}, expected weight and bias of Linear layers only")
    return make(layers, **{"dtype": dtype, **settings})


def _tensor(value: Any, name: str) -> Array:
    """A tensor of PyTorch, or anything that becomes an array."""
    return checks.numbers(value.detach().cpu().numpy() if hasattr(value, "detach") else value, name)


def _in_order(known: list[str], names: Sequence[str] | None, what: str, *, is_file: bool) -> list[str]:
    """The layers' names from input to output; a file tells no order but that of numbers."""
    if not known:
        raise ValueError(f"{what} is empty, expected weight and bias of Linear layers")
    if names is not None:
        if sorted(names) != sorted(known):
            raise ValueError(f"names is {list(names)}, expected the layers {known} in their order")
        return list(names)
    if len({re.sub(r"\d+", "#", name) for name in known}) == 1:
        return sorted(known, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    if is_file:
        raise ValueError(f"{what} has the layers {known}, whose order a file does not tell, expected names=[...]")
    return known
