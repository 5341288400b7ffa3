"""Model files: safetensors with the architecture in the metadata, and a digest over every byte.

Loading runs no code, and the contents of a file pass the checks of arguments.

A file of another program loads too, as unverified, if its metadata have an "architecture": JSON as _architecture makes.
"""

import json
import os
import reprlib
import warnings
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from nncore.core import checks
from nncore.core.checks import Array
from nncore.data import inputs
from nncore.files import formats
from nncore.files.atomic import write_atomically
from nncore.files.tensors import DIGEST, Encoded, strict_json
from nncore.files.tensors import read as read_tensors
from nncore.model.layers import Layer
from nncore.model.model import Model

FORMAT = "1"
LAYER_SHAPE = ("n_input", "n_neurons", "activation", "use_bias", "batch_norm")
SETTINGS = ("delta", "label_smoothing", "input_scale")

M = TypeVar("M", bound=Model)


def _architecture(net: Model) -> dict[str, Any]:
    """Return everything but the tensors that is needed to rebuild a network, as JSON has it."""
    net.expect_names("a model file")
    layers = [{**{name: getattr(layer, name) for name in LAYER_SHAPE}, **layer.settings()} for layer in net.layers]
    settings = {name: getattr(net, name) for name in SETTINGS}
    if net.input_kind:
        settings |= {"trained_on": net.input_kind, "input_scale": inputs.scale_with(net, inputs.BYTES)}
    return {"layers": layers, "loss": net.loss_name, **settings}


def save(net: Model, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write a network as safetensors: W1, b1, ... and, in the metadata, all that is needed to rebuild it.

    The same network and metadata give the same bytes. The file is written beside its place and then takes it; of a
    symbolic link the target is replaced. Anything but a regular file (a device, a pipe, a folder) is left alone.

    Parameters
    ----------
    net : NeuralNetwork
    path : path-like
    metadata : mapping of str to str, optional
        More entries for the file's metadata.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays as it is, unless the message says that the new one is
        there and only its safety in a power failure is unknown.
    TypeError, ValueError
        If path is not the path of a file, metadata are not texts, or an activation or the loss is a function.

    Warns
    -----
    UserWarning
        If the name ends as another program's files do, such as .h5 or .onnx; the file is written nevertheless.
    """
    for name, text in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"metadata has {reprlib.repr(text)} for {name!r}, expected texts by name")
    entries = {**(metadata or {}), "nncore_format": FORMAT, "architecture": json.dumps(_architecture(net))}
    write_atomically(path, Encoded(tensors_of(net), entries, signed=True))
    formats.warn_of_ending(path, "safetensors", ".safetensors", stacklevel=3)


def tensors_of(net: Model) -> dict[str, Array]:
    """Return the parameters by name, and the running moments of normalised layers."""
    tensors = dict(net.params)
    for k, layer in enumerate(net.layers, 1):
        if layer.running_mean is not None and layer.running_var is not None:
            tensors[f"running_mean{k}"], tensors[f"running_var{k}"] = layer.running_mean, layer.running_var
    return tensors


def to_safetensors(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a file without a digest."""
    return Encoded(tensors, metadata).to_bytes()


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return a model file's metadata after checking all of it; without an entry "sha256" there was no digest to check.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a complete nncore model, or a byte of it has changed.
    """
    return _read(path, Model)[1]


def load(path: str | os.PathLike[str], make: type[M]) -> M:
    """Rebuild a network from a file that save wrote, or another program in the same form.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If path is not the path of a file, or the file is not a complete nncore model, a byte of it has changed,
        architecture and tensors do not fit, a parameter is not finite or a running variance negative.

    Warns
    -----
    UserWarning
        If the file is unverified: it has no digest of its content.
    """
    net, metadata = _read(path, make)
    if DIGEST not in metadata:
        warnings.warn(f"{path} is unverified: it has no SHA-256 of its content", stacklevel=3)
    return net


def _read(path: str | os.PathLike[str], make: type[M]) -> tuple[M, dict[str, str]]:
    """Return the network and the metadata of a file, after comparing its digest if it has one."""
    tensors, metadata, intact = read_tensors(path)
    if intact is False or (intact is None and any(_is_nearly(key, DIGEST) for key in metadata)):
        raise ValueError(f"{path} was changed after it was written, its SHA-256 does not fit: use another copy")
    if "architecture" not in metadata:
        if "nncore_checkpoint" in metadata:
            raise ValueError(f"{path} is a checkpoint, expected a file that save wrote: fit takes it with resume=True")
        raise ValueError(
            f"{path} is a safetensors file without an nncore architecture, expected one that save wrote: "
            "NeuralNetwork.from_torch takes the state dicts of PyTorch"
        )
    version = metadata.get("nncore_format", FORMAT)
    if version != FORMAT:
        raise ValueError(f"{path} has format {reprlib.repr(version)}, expected {FORMAT!r}: use a newer nncore")
    try:
        expect_sound(tensors)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None
    try:
        net = _rebuild(strict_json(metadata["architecture"]), tensors, make)
    except (AttributeError, LookupError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} holds an architecture that does not fit its tensors: {reason}") from None
    _expect_classes(path, metadata, net.n_out)
    return net, metadata


def _is_nearly(key: str, name: str) -> bool:
    """Whether key is this name, or was before one byte of it changed: a file whose digest lost its name had one."""
    return len(key) == len(name) and sum(a != b for a, b in zip(key, name, strict=True)) <= 1


def expect_sound(tensors: Mapping[str, Array]) -> None:
    """Check that all numbers of a network are finite, and no running variance negative.

    Raises
    ------
    ValueError
        If one is not; the message has its name.
    """
    for name, array in tensors.items():
        checks.finite(array, name)
        if name.startswith("running_var") and (array < 0).any():
            where = ", ".join(str(int(i)) for i in np.argwhere(array < 0)[0])
            raise ValueError(f"{name}[{where}] is {array[array < 0][0]}, expected a variance of 0 or more")


def _expect_classes(path: str | os.PathLike[str], metadata: dict[str, str], n_out: int) -> None:
    """Check that the names of classes, if there are some, are as many as the outputs; one output may have two."""
    if "classes" not in metadata:
        return
    try:
        classes = strict_json(metadata["classes"])
    except (ValueError, RecursionError):
        classes = metadata["classes"]
    counts = {0, n_out} if n_out > 1 else {0, 1, 2}
    names = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not names or len(classes) not in counts or len(set(classes)) < len(classes):
        raise ValueError(
            f"{path} has the classes {reprlib.repr(classes)} in its metadata, expected {n_out} different names, one "
            "for each output"
        )


def _rebuild(settings: dict[str, Any], tensors: dict[str, Array], make: type[M]) -> M:
    """Return the network; shapes are compared before anything of an architecture's size is made."""
    _expect_keys("the architecture", settings, ("layers", "loss", *SETTINGS), ("trained_on",))
    expected: dict[str, tuple[int, ...]] = {}
    for k, layer in enumerate(settings["layers"], 1):
        _expect_keys(f"layer {k}", layer, ("n_input", "n_neurons", "use_bias"), LAYER_SHAPE, Layer(1, 1).settings())
        expected[f"W{k}"] = layer["n_input"], layer["n_neurons"]
        if layer["use_bias"]:
            expected[f"b{k}"] = (layer["n_neurons"],)
        if layer.get("batch_norm"):
            expected.update(dict.fromkeys((f"gamma{k}", f"running_mean{k}", f"running_var{k}"), (layer["n_neurons"],)))
    for name, shape in expected.items():
        if name not in tensors:
            raise ValueError(f"tensor {name} is missing, expected one of shape {shape}")
        if tensors[name].shape != shape:
            raise ValueError(f"tensor {name} has shape {tensors[name].shape}, expected {shape}")
    for name, tensor in tensors.items():
        if name not in expected:
            raise ValueError(f"tensor {name} of shape {tensor.shape} is unknown, expected {', '.join(expected)} only")
        if tensor.dtype != tensors["W1"].dtype or tensor.dtype not in checks.FLOATS:
            raise ValueError(f"tensor {name} is {tensor.dtype}, expected float32 or float64, the same for all")
    dtype = tensors["W1"].dtype
    net = make(
        # arrays that a layer has copied are not kept
        [
            Layer(**layer, weights=tensors.pop(f"W{k}"), bias=tensors.pop(f"b{k}", None))
            for k, layer in enumerate(settings["layers"], 1)
        ],
        loss=settings["loss"], dtype=dtype, **{name: settings[name] for name in SETTINGS},
    )  # fmt: skip
    for name, array in tensors_of(net).items():
        if name in tensors:
            array[...] = tensors[name]
    kind = settings.get("trained_on")
    if kind not in inputs.KINDS:
        raise ValueError(f"trained_on is {kind!r}, expected one of {', '.join(map(repr, inputs.KINDS))}")
    if kind is not None:
        inputs.trained_on(net, kind)
    return net


def _expect_keys(what: str, value: Any, needed: Iterable[str], *optional: Iterable[str]) -> None:
    """Check that value is a dict with the needed names, and no others than the optional ones."""
    checks.instance(value, what, dict, "settings by name")
    for name in needed:
        if name not in value:
            raise KeyError(name)
    for name in value.keys() - set(chain(needed, *optional)):
        raise ValueError(f"{what} has the unknown setting {reprlib.repr(name)}")
