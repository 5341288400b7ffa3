"""Networks as ONNX, for onnxruntime and other programs that read it."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from nncore.core.checks import Array
from nncore.files.atomic import write_atomically
from nncore.files.exported import exportable, input_type, link
from nncore.files.formats import warn_of_ending
from nncore.functions import kinds
from nncore.model.model import Model

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
        """Add a number to the graph and return its name."""
        self.arrays[str(value)] = np.array(value, self.dtype)
        return str(value)

    def cast(self, name: str, dtype: str | None = None) -> str:
        """Convert to a type, by default the network's."""
        return self("Cast", name, to=self.element(dtype or self.dtype))

    def element(self, dtype: "np.dtype[Any] | str") -> int:
        """Return ONNX's number of a type."""
        return int(self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def rename(self, name: str, output: str) -> None:
        """Give a node's output another name."""
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
    element = input_type(net, input_dtype)
    try:
        from onnx import checker, helper, numpy_helper
    except ImportError as error:
        raise ImportError("export_onnx needs the package onnx: pip install nncore[onnx]") from error
    net, graph, z = exportable(net), _Graph(net.dtype), "x"
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
    to_probabilities = link(net)
    if to_probabilities:
        graph.rename(operators[to_probabilities](graph, z, 0.0), "probabilities")
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
    write_atomically(path, model.SerializeToString())
    warn_of_ending(path, "ONNX", ".onnx", stacklevel=3)
