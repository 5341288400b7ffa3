"""Model files: safetensors with the architecture in the metadata, and a digest over every byte.

Format of safetensors: 8 bytes length of the header, the header as JSON, the raw tensors. Loading runs no code.

A file of another program loads too, as unverified, if its metadata have an "architecture": JSON as _architecture makes.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import _checks, _inputs
from nncore.layers import Layer
from nncore.network import NeuralNetwork

if TYPE_CHECKING:
    from nncore._checks import Array

FORMAT = "1"
DIGEST = "sha256"
# In the hashed bytes the digest's own place holds zeros.
NO_DIGEST = "0" * 64
LAYER_SHAPE = ("n_input", "n_neurons", "activation", "use_bias", "batch_norm")
SETTINGS = ("delta", "label_smoothing", "input_scale")


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file as a whole or not at all: until the rename, what was there stays.

    Raises
    ------
    OSError
        If it cannot be written (missing folder, no permission, full disk); the temporary file is removed.
    """
    target = Path(path).resolve()  # a link stays one
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _architecture(net: NeuralNetwork) -> dict[str, Any]:
    net.expect_names("a model file")
    layers = [{**{name: getattr(layer, name) for name in LAYER_SHAPE}, **layer.settings()} for layer in net.layers]
    settings = {name: getattr(net, name) for name in SETTINGS}
    if net._input:
        settings |= {"trained_on": net._input, "input_scale": _inputs.scale_with(net, _inputs.BYTES)}
    return {"layers": layers, "loss": net.loss_name, **settings}


def save(net: NeuralNetwork, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write a network as safetensors: W1, b1, ... and, in the metadata, all that is needed to rebuild it.

    The same network and metadata give the same bytes.

    Parameters
    ----------
    net : NeuralNetwork
    path : path-like
    metadata : dict of str, optional
        More entries for the file's metadata.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays as it is.
    """
    entries = {
        **(metadata or {}),
        "nncore_format": FORMAT,
        "architecture": json.dumps(_architecture(net)),
        DIGEST: NO_DIGEST,
    }
    data = to_safetensors(tensors_of(net), entries)
    write_atomically(path, _with_digest(data, NO_DIGEST, hashlib.sha256(data).hexdigest()))


def tensors_of(net: NeuralNetwork) -> dict[str, "Array"]:
    """The parameters by name, and the running moments of normalised layers."""
    tensors = dict(net.params)
    for k, layer in enumerate(net.layers, 1):
        if layer.running_mean is not None and layer.running_var is not None:
            tensors[f"running_mean{k}"], tensors[f"running_var{k}"] = layer.running_mean, layer.running_var
    return tensors


def to_safetensors(tensors: dict[str, "Array"], metadata: dict[str, str]) -> bytes:
    """The bytes of a file; safetensors itself writes metadata in an order that differs from call to call."""
    from safetensors.numpy import save as to_bytes

    data = to_bytes({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + data[end:]


def from_safetensors(path: str | os.PathLike[str], data: bytes) -> tuple[dict[str, "Array"], dict[str, str]]:
    """The tensors and the metadata in the bytes of a file; path is for messages."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        tensors = from_bytes(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    except KeyError as error:  # a type that NumPy does not have
        raise ValueError(f"{path} has a tensor of type {error.args[0]}, expected F32 or F64") from None
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from None
    return tensors, metadata or {}


def _with_digest(data: bytes, old: str, new: str) -> bytes:
    """Exchange the digest in its place in the header: within another value the quotes would be escaped."""
    return data.replace(f'"{DIGEST}":"{old}"'.encode(), f'"{DIGEST}":"{new}"'.encode(), 1)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return a model file's metadata after checking its digest; without an entry "sha256" there was none to check.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a complete nncore model, or a byte of it has changed.
    """
    return _read(path)[1]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, "Array"], dict[str, str]]:
    """The tensors and the metadata of a file whose every byte is as it was written, if it says what was written."""
    data = Path(path).read_bytes()
    tensors, metadata = from_safetensors(path, data)
    digest = metadata.get(DIGEST, "")
    if any(_is_nearly(key, DIGEST) for key in metadata) and (
        digest != hashlib.sha256(_with_digest(data, digest, NO_DIGEST)).hexdigest()
    ):
        raise ValueError(f"{path} was changed after it was written, its SHA-256 does not fit: use another copy")
    if "architecture" not in metadata:
        raise ValueError(f"{path} is a safetensors file without an nncore architecture, expected one that save wrote")
    version = metadata.get("nncore_format", FORMAT)
    if version != FORMAT:
        raise ValueError(f"{path} has format {version!r}, expected {FORMAT!r}: use a newer nncore")
    return tensors, metadata


def _is_nearly(key: str, name: str) -> bool:
    """Whether key is this name, or was before one byte of it changed: a file whose digest lost its name had one."""
    return len(key) == len(name) and sum(a != b for a, b in zip(key, name, strict=True)) <= 1


def load(path: str | os.PathLike[str]) -> NeuralNetwork:
    """Rebuild a network from a file that save wrote, or another program in the same form.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a complete nncore model, a byte of it has changed, or architecture and tensors do not fit.

    Warns
    -----
    UserWarning
        If the file is unverified: it has no digest of its content.
    """
    tensors, metadata = _read(path)
    try:
        net = _rebuild(json.loads(metadata["architecture"]), tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} holds an architecture that does not fit its tensors: {reason}") from None
    if DIGEST not in metadata:
        warnings.warn(f"{path} is unverified: it has no SHA-256 of its content", stacklevel=3)
    return net


def _rebuild(settings: dict[str, Any], tensors: dict[str, "Array"]) -> NeuralNetwork:
    """The network; shapes are compared before anything of an architecture's size is made."""
    expected: dict[str, tuple[int, ...]] = {}
    for k, layer in enumerate(settings["layers"], 1):
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
        if tensor.dtype != tensors["W1"].dtype or tensor.dtype not in _checks.FLOATS:
            raise ValueError(f"tensor {name} is {tensor.dtype}, expected float32 or float64, the same for all")
    net = NeuralNetwork(
        [
            Layer(**layer, weights=tensors[f"W{k}"], bias=tensors.get(f"b{k}"))
            for k, layer in enumerate(settings["layers"], 1)
        ],
        loss=settings["loss"], dtype=tensors["W1"].dtype, **{name: settings[name] for name in SETTINGS},
    )  # fmt: skip
    for name, array in tensors_of(net).items():
        array[...] = tensors[name]
    kind = settings.get("trained_on")
    if kind not in _inputs.KINDS:
        raise ValueError(f"trained_on is {kind!r}, expected one of {', '.join(map(repr, _inputs.KINDS))}")
    if kind is not None:
        _inputs.trained_on(net, kind)
    return net
