"""Model files: safetensors with the architecture in the metadata, and a digest over every byte.

Format of safetensors: 8 bytes length of the header, the header as JSON, the raw tensors. Loading runs no code.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncore import _checks
from nncore.layers import Layer
from nncore.network import NeuralNetwork

if TYPE_CHECKING:
    from nncore._checks import Array

FORMAT = "1"
# In the hashed bytes the digest's own place holds zeros.
NO_DIGEST = "0" * 64


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
    return {
        "layers": [
            {
                "n_input": layer.n_input,
                "n_neurons": layer.n_neurons,
                "activation": layer.activation,
                "use_bias": layer.use_bias,
                "trainable_bias": layer.trainable_bias,
            }
            for layer in net.layers
        ],
        "loss": net.loss_name,
        "delta": net.delta,
        "input_scale": net.input_scale,
    }


def save(net: NeuralNetwork, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write a network as safetensors: W1, b1, ... and, in the metadata, all that is needed to rebuild it.

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
    from safetensors.numpy import save as to_bytes

    entries = {
        **(metadata or {}),
        "nncore_format": FORMAT,
        "architecture": json.dumps(_architecture(net)),
        "sha256": NO_DIGEST,
    }
    data = to_bytes(dict(net.params), entries)
    digest = hashlib.sha256(data).hexdigest()
    write_atomically(path, _with_digest(data, NO_DIGEST, digest))


def _with_digest(data: bytes, old: str, new: str) -> bytes:
    """Exchange the digest in its place in the header: within another value the quotes would be escaped."""
    return data.replace(f'"sha256":"{old}"'.encode(), f'"sha256":"{new}"'.encode(), 1)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return a model file's metadata after checking its digest.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a complete nncore model, or a byte of it has changed.
    """
    return _read(path)[1]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, "Array"], dict[str, str]]:
    """The tensors and the metadata of a file whose every byte is as it was written."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    data = Path(path).read_bytes()
    try:
        tensors = from_bytes(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from None
    if "nncore_format" not in metadata or "architecture" not in metadata:
        raise ValueError(f"{path} is a safetensors file without an nncore architecture, expected one that save wrote")
    digest = metadata.get("sha256", "")
    if digest != hashlib.sha256(_with_digest(data, digest, NO_DIGEST)).hexdigest():
        raise ValueError(f"{path} was changed after it was written, its SHA-256 does not fit: use another copy")
    if metadata["nncore_format"] != FORMAT:
        raise ValueError(f"{path} has format {metadata['nncore_format']!r}, expected {FORMAT!r}: use a newer nncore")
    return tensors, metadata


def load(path: str | os.PathLike[str]) -> NeuralNetwork:
    """Rebuild a network from a file that save wrote.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a complete nncore model, or a byte of it has changed.
    """
    tensors, metadata = _read(path)
    try:
        settings = json.loads(metadata["architecture"])
        layers = [Layer(**layer) for layer in settings["layers"]]
        net = NeuralNetwork(
            layers,
            loss=settings["loss"],
            delta=settings["delta"],
            input_scale=settings["input_scale"],
            dtype=_checks.float_type(tensors["W1"].dtype),
        )
        if set(net.params) != set(tensors):
            raise ValueError(f"tensors {', '.join(tensors)}, expected {', '.join(net.params)}")
        for name in net.params:
            net.params[name] = tensors[name]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds an architecture that does not fit its tensors: {error}") from None
    return net
