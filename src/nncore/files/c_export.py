"""Networks as one C99 header: which name, with weights as they are or as bytes, and how far those are off."""

import copy
import os
import re

import numpy as np
from numpy.typing import ArrayLike

from nncore.core import checks
from nncore.core.checks import Array
from nncore.files import c_header
from nncore.files.atomic import write_atomically
from nncore.files.exported import exportable, input_type, link
from nncore.files.formats import warn_of_ending
from nncore.model.model import Model

# Random rows that the error of quantized weights is measured on where no samples are given.
N_RANDOM_ROWS = 1000


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
    >>> from nncore import Layer, NeuralNetwork
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
    element = input_type(net, input_dtype)
    if quantize is not None:
        checks.choice(quantize, "quantize", ("int8",))
    elif samples is not None:
        raise ValueError("samples is given, expected None without quantize='int8': nothing is measured")
    net = exportable(net)
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
        net, name, uint8=element == "uint8", int8=quantize == "int8", link=link(net), about=about
    )  # fmt: skip
    write_atomically(path, text.encode())
    warn_of_ending(path, "C", ".h", ".hpp", ".c", ".txt", stacklevel=3)
    return error


def _c_name(name: str) -> str:
    """Return a name that C takes."""
    checks.instance(name, "name", str, "text to begin the names in C with")
    name = re.sub(r"[^a-zA-Z0-9]", "_", name)
    return name if name[:1].isalpha() else f"net_{name}"


def _rows(net: Model, samples: ArrayLike | None, element: str) -> tuple[Array, str]:
    """Return rows to measure quantized weights on, and what to call them."""
    if samples is not None:
        return checks.samples(samples, "samples", net.n_in), "given rows"
    rng, shape = np.random.default_rng(0), (N_RANDOM_ROWS, net.n_in)
    if element == "uint8":
        return rng.integers(256, size=shape, dtype=np.uint8), "rows of random bytes"
    return rng.standard_normal(shape, net.dtype), "random rows"


def _with_int8_weights(net: Model) -> Model:
    """Return a copy that computes with the quantized weights."""
    twin = copy.copy(net)
    for layer in twin.layers:
        weights, scale = c_header.quantized(layer.weights)
        layer.weights = weights * scale
    return twin
