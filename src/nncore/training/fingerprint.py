"""The data and settings that two runs must share for the one to go on with the other's checkpoint."""

import json
import re
import reprlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nncore.core import mapped
from nncore.data.sparse_rows import SparseRows
from nncore.training.run import Run

# Of larger arrays the checksum takes so many blocks, evenly spread.
WHOLE_BYTES = 256 << 20
BLOCK_BYTES = 1 << 20


def fingerprint(run: Run) -> dict[str, Any]:
    """Return all that must be the same, by the names that messages use, in JSON's types."""
    net, data, settings, epoch_end = run.net, run.data, run.settings, run.epoch_end
    result = {
        **_layers(run),
        "loss": net.loss_name,
        **{name: getattr(net, name) for name in ("delta", "label_smoothing")},
        "input_scale": data.input_scale,
        "dtype": net.dtype.name,
        "X": checksum(data.x),
        "y": checksum(data.t),
        "sample_weight with class_weight": checksum(data.weights),
        "validation X": data.test and checksum(data.test[0]),
        "validation y": data.test and checksum(data.test[1]),
        "optimizer": _description(settings.optimizer),
        "iterations": settings.total,
        "batch_size": settings.batch_size,
        "sampling": settings.sampling,
        "rng": type(run.plan.rng.bit_generator).__name__,
        "rng's seed": run.plan.seed,
        "schedule": _description(settings.schedule),
        "clip_norm": settings.clip_norm,
        "clip_value": settings.clip_value,
        "metrics": list(epoch_end.evaluation.metrics),
        "early_stopping": _description(epoch_end.stopping),
    }
    fixed: dict[str, Any] = json.loads(json.dumps(result))
    return fixed


def _layers(run: Run) -> dict[str, Any]:
    """Return the settings of all layers, of functions their names."""
    return {
        f"layer {i}'s {name}": value
        for i, layer in enumerate(run.net.layers, start=1)
        for name, value in {
            **{name: getattr(layer, name) for name in ("n_input", "n_neurons", "use_bias", "batch_norm")},
            "activation": layer.activation_label,
            **layer.settings(),
        }.items()
    }


def _description(settings: Any) -> str:
    """Return the repr, without the addresses of functions, which are others in the next process."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(settings))


def checksum(data: Any) -> str | None:
    """Return type, shape and CRC-32 of an array or sparse rows; None of None."""
    if data is None:
        return None
    arrays = (data.rows.indptr, data.rows.indices, data.rows.data) if isinstance(data, SparseRows) else (data,)
    crc = 0
    for array in arrays:
        flat = memoryview(array.reshape(-1).view(np.uint8))
        whole = len(flat) <= WHOLE_BYTES
        step = BLOCK_BYTES if whole else len(flat) * BLOCK_BYTES // WHOLE_BYTES
        for first in range(0, len(flat), step):
            crc = zlib.crc32(flat[first : first + BLOCK_BYTES], crc)
        mapped.release(array)
    return f"{data.dtype} {tuple(data.shape)} with CRC {crc:08x}"


def expect_same(path: Path, before: Any, now: Mapping[str, Any]) -> None:
    """Raise ValueError unless the fingerprint in a checkpoint is that of the run at hand."""
    if not isinstance(before, dict):
        raise ValueError(f"{path} has no run, expected what fit writes")
    different = [
        f"{name} is {now.get(name)}, the checkpoint's {_short(before.get(name))}"
        for name in {**now, **before}
        if now.get(name) != before.get(name)
    ]
    if different:
        more = f" (and {len(different) - 3} more differences)" if len(different) > 3 else ""
        raise ValueError(f"{path} is of another run: {'; '.join(different[:3])}{more}")


def _short(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() and len(value) < 200 else reprlib.repr(value)
