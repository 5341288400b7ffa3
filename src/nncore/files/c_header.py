"""One C99 header of a network: its weights as constants, and predict as plain loops over them."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nncore.core.checks import Array
from nncore.functions import kinds
from nncore.model.layers import Layer
from nncore.model.model import Model

WIDTH = 110

# f(a) of each activation. A trailing _ becomes f in float32, as in expf and 0.5f; p is the activation's own parameter.
ACTIVATIONS = {
    "identity": "a",
    "relu": "a < 0.0_ ? 0.0_ : a",
    "leaky_relu": "a < 0.0_ ? {p}_ * a : a",
    "elu": "a < 0.0_ ? {p}_ * expm1_(a) : a",
    "selu": f"{kinds.SELU_SCALE}_ * (a < 0.0_ ? {kinds.SELU_ALPHA}_ * expm1_(a) : a)",
    "gelu": "0.5_ * a * erfc_(-0.7071067811865476_ * a)",
    "silu": "a / (1.0_ + exp_(-a))",
    "mish": "a * tanh_(log1p_(exp_(a)))",
    "softsign": "a / (1.0_ + fabs_(a))",
    "softplus": "(a < 0.0_ ? 0.0_ : a) + log1p_(exp_(-fabs_(a)))",
    "tanh": "tanh_(a)",
    "sigmoid": "1.0_ / (1.0_ + exp_(-a))",
    "hard_sigmoid": "a < -3.0_ ? 0.0_ : a > 3.0_ ? 1.0_ : a / 6.0_ + 0.5_",
    "softmax": "a",  # not elementwise: SOFTMAX follows
}

HEAD = """\
/* {about}

   {name}_predict(x, y)
       y[{n_out}] = what the last layer yields for x[{n_in}]{scaled}.
{also}
   x and y must not overlap. Nothing is allocated: {constants:,} bytes of constants, {stack:,} bytes of stack. */
#ifndef {guard}_H
#define {guard}_H

#include <math.h>

#define {guard}_N_IN {n_in}
#define {guard}_N_OUT {n_out}
"""
ALSO = """\
   {name}_probabilities(x, y)
       y[{n_out}] = the {link} of that.
"""
LAYER = """\
    /* Layer {k}: {n_in} -> {n_out}, {activation} */
    for (j = 0; j < {n_out}; j++) {z}[j] = {start};
    for (i = 0; i < {n_in}; i++) {{
        const {T} v = {read};
        for (j = 0; j < {n_out}; j++) {z}[j] += v * {weight};
    }}
"""
ACTIVATE = """\
    for (j = 0; j < {n_out}; j++) {{
        const {T} a = {a};
        {z}[j] = {f};
    }}
"""
SOFTMAX = """\
static inline void {name}_softmax({T} *y)
{{
    int j;
    {T} top = y[0], sum = 0.0_;
    for (j = 1; j < {n_out}; j++) top = y[j] > top ? y[j] : top;
    for (j = 0; j < {n_out}; j++) {{
        y[j] = exp_(y[j] - top);
        sum += y[j];
    }}
    for (j = 0; j < {n_out}; j++) y[j] /= sum;
}}
"""
PREDICT = """\
static inline void {name}_predict(const {X} x[{n_in}], {T} y[{n_out}])
{{
{buffers}    int i, j;
{layers}}}
"""
PROBABILITIES = """\
static inline void {name}_probabilities(const {X} x[{n_in}], {T} y[{n_out}])
{{
    {name}_predict(x, y);
{link}}}
"""


def quantized(weights: Array) -> tuple[Array, Array]:
    """Return whole numbers -127 to 127 and a scale for each unit, together about the weights: symmetric int8."""
    scale = np.abs(weights).max(axis=0) / 127
    whole = np.rint(weights / np.where(scale == 0, 1, scale)).clip(-127, 127)
    return whole.astype(np.int8), scale.astype(weights.dtype)


def header(net: Model, name: str, *, uint8: bool, int8: bool, link: str | None, about: Iterable[str]) -> str:
    """Return the text of the header.

    uint8: x holds bytes; int8: the weights are quantized; link: "softmax" or "sigmoid" that makes probabilities of the
    outputs of predict, or None; about: sentences for its beginning.
    """
    T = "float" if net.dtype == np.float32 else "double"
    size, widths = net.dtype.itemsize, [layer.n_neurons for layer in net.layers[:-1]]
    # layers write to h1 and h2 by turns, the last to y
    buffers = {f"h{i + 1}": max(widths[i::2]) for i in range(2) if widths[i::2]}
    names = {
        "name": name, "guard": name.upper(), "n_in": net.n_in, "n_out": net.n_out, "T": T,
        "X": "unsigned char" if uint8 else T, "link": link,
    }  # fmt: skip
    softmax = "softmax" in (link, net.layers[-1].activation_name)
    parts = [
        HEAD.format(
            **names,
            about=textwrap.fill(_comment(" ".join(about)), WIDTH, subsequent_indent="   "),
            scaled=f", bytes that are multiplied by {net.input_scale:.9g}" if uint8 else "",
            also=ALSO.format(**names) if link else "",
            constants=sum(_n_bytes(layer, size, int8) for layer in net.layers),
            stack=size * sum(buffers.values()),
        ),
        *(text for k, layer in enumerate(net.layers, 1) for text in _constants(name, T, k, layer, int8)),
        *([_in_type(SOFTMAX.format(**names), T)] if softmax else []),
        PREDICT.format(
            **names,
            buffers=f"    {T} {', '.join(f'{z}[{width}]' for z, width in buffers.items())};\n" if buffers else "",
            layers="".join(_layer(net, names, k, uint8=uint8, int8=int8) for k in range(1, len(net.layers) + 1)),
        ),
    ]
    if link:
        parts.append(PROBABILITIES.format(**{**names, "link": _link(names)}))
    return "\n".join([*parts, "#endif\n"])


def _comment(text: str) -> str:
    """Return text that may stand in a comment of C, whatever the name of a loss or an activation is made of."""
    return re.sub(r"[^ -~]|\\", "?", text).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def _layer(net: Model, names: dict[str, Any], k: int, *, uint8: bool, int8: bool) -> str:
    """Return the loops of one layer."""
    layer, name, T = net.layers[k - 1], names["name"], names["T"]
    x = "x" if k == 1 else f"h{1 + k % 2}"
    z = "y" if k == len(net.layers) else f"h{2 - k % 2}"
    bias, weight = (f"{name}_b{k}[j]" if layer.use_bias else ""), f"{name}_W{k}[i][j]"
    sums = f"{z}[j] * {name}_s{k}[j]{bias and ' + '}{bias}" if int8 else f"{z}[j]"
    f = ACTIVATIONS[layer.activation_name].format(p=str(net.dtype.type(layer.activation_param)))
    text = LAYER.format(
        k=k, n_in=layer.n_input, n_out=layer.n_neurons, T=T, z=z, activation=_comment(layer.activation_label),
        start="0.0_" if int8 or not bias else bias,
        read=f"{net.dtype.type(net.input_scale)!s}_ * ({T})x[i]" if uint8 and k == 1 else f"{x}[i]",
        weight=f"({T}){weight}" if int8 else weight,
    )  # fmt: skip
    if int8 or f != "a":
        text += ACTIVATE.format(n_out=layer.n_neurons, T=T, z=z, a=sums, f=f)
    if layer.activation_name == "softmax":
        text += f"    {name}_softmax(y);\n"
    return _in_type(text, T)


def _link(names: dict[str, Any]) -> str:
    """Return the lines that turn y into probabilities."""
    if names["link"] == "softmax":
        return f"    {names['name']}_softmax(y);\n"
    text = "    int j;\n" + ACTIVATE.format(**names, z="y", a="y[j]", f=ACTIVATIONS["sigmoid"])
    return _in_type(text, names["T"])


def _in_type(text: str, T: str) -> str:
    """Return numbers and functions of mathematics in the type: exp_ becomes expf or exp, 0.5_ becomes 0.5f or 0.5."""
    return re.sub(
        r"\b([\d.]+(?:e[+-]?\d+)?|exp|expm1|log1p|tanh|erfc|fabs)_(?!\w)", r"\1f" if T == "float" else r"\1", text
    )


def _n_bytes(layer: Layer, size: int, int8: bool) -> int:
    """Return the bytes of a layer's constants."""
    n = layer.n_input * layer.n_neurons
    return n * (1 if int8 else size) + layer.n_neurons * size * (int8 + layer.use_bias)


def _constants(name: str, T: str, k: int, layer: Layer, int8: bool) -> Iterator[str]:
    """Yield the definitions of a layer's arrays."""
    weights, kind = layer.weights, T
    if int8:
        (weights, scale), kind = quantized(layer.weights), "signed char"
        yield f"static const {T} {name}_s{k}[{scale.size}] = {{\n{_numbers(scale, T)}\n}};\n"
    rows = ",\n".join(f"{{{_numbers(row, kind)}}}" for row in weights)
    yield f"static const {kind} {name}_W{k}[{layer.n_input}][{layer.n_neurons}] = {{\n{rows}\n}};\n"
    if layer.bias is not None:
        yield f"static const {T} {name}_b{k}[{layer.bias.size}] = {{\n{_numbers(layer.bias, T)}\n}};\n"


def _numbers(values: Array, T: str) -> str:
    """Return the shortest decimals that are read back as the same numbers."""
    suffix = "f" if T == "float" else ""
    return textwrap.fill(", ".join(f"{value!s}{suffix}" for value in values), WIDTH)
