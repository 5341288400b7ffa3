"""The parameters as PyTorch's state dict, in both directions."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from nncore.core import checks
from nncore.core.checks import Array
from nncore.files import tensors
from nncore.files.atomic import write_atomically
from nncore.files.exported import exportable
from nncore.files.formats import warn_of_ending
from nncore.functions import kinds
from nncore.model.layers import Layer
from nncore.model.model import Model

M = TypeVar("M", bound=Model)

# The module of torch.nn that follows the Linear of a layer.
TORCH = {name: row.torch for name, row in kinds.ACTIVATIONS.items() if row.torch}


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
    >>> from nncore import Layer, NeuralNetwork
    >>> net = NeuralNetwork([Layer(2, 3, "relu"), Layer(3, 1, use_bias=False)], dtype="float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(export_torch(net, Path(folder) / "torch.safetensors"))
    Sequential(Linear(2, 3), ReLU(), Linear(3, 1, bias=False))
    """
    modules: list[str] = []
    arrays: dict[str, Array] = {}
    net = exportable(net)
    params = net.params
    for k, layer in enumerate(net.layers, 1):
        arrays[f"{len(modules)}.weight"] = params[f"W{k}"].T
        if layer.use_bias:
            arrays[f"{len(modules)}.bias"] = params[f"b{k}"]
        bias = "" if layer.use_bias else ", bias=False"
        modules.append(f"Linear({layer.n_input}, {layer.n_neurons}{bias})")
        if layer.activation_name in TORCH:
            modules.append(TORCH[layer.activation_name].format(p=layer.activation_param))
    sequential = f"Sequential({', '.join(modules)}){'.double()' if net.dtype == np.float64 else ''}"
    metadata = {"format": "pt", "sequential": sequential, "input_scale": repr(net.input_scale)}
    write_atomically(path, tensors.Encoded(arrays, metadata))
    warn_of_ending(path, "safetensors", ".safetensors", stacklevel=3)
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
        what, state = os.fspath(source), tensors.read(source).tensors
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
    """Return the array of a PyTorch tensor, or of anything that becomes an array."""
    return checks.numbers(value.detach().cpu().numpy() if hasattr(value, "detach") else value, name)


def _in_order(known: list[str], names: Sequence[str] | None, what: str, *, is_file: bool) -> list[str]:
    """Return the layers' names from input to output; a file tells no order but that of numbers."""
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
