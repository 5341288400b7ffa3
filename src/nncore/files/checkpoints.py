"""Checkpoints of a training run: all that it takes to go on with the same bits, in one file that is never half written.

The file is safetensors, the numbers beside the arrays are JSON in its metadata; a SHA-256 covers every byte, and
loading runs no code. The checkpoint before the last stays beside it, with ".previous" at the end of its name.
"""

import contextlib
import json
import os
import re
import reprlib
import sys
import time
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks, mapped
from nncore.data.sparse_rows import SparseRows
from nncore.files import atomic
from nncore.files import tensors as _tensors
from nncore.training import resume as _resume
from nncore.training.optimizers import State

if TYPE_CHECKING:
    from nncore.training.fit import _Run

Array = NDArray[Any]
FORMAT = "1"
UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
# Of larger arrays the checksum takes so many blocks, evenly spread.
WHOLE_BYTES = 256 << 20
BLOCK_BYTES = 1 << 20


def interval(every: Any) -> tuple[float, int]:
    """Seconds and iterations between two checkpoints, one of them 0."""
    expected = "expected a time such as '30s', '500ms', '10min' or '1h', or a number of iterations of 1 or more"
    if isinstance(every, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|min|h)", every)
        if match and float(match[1]) > 0:
            return float(match[1]) * UNITS[match[2]], 0
    elif isinstance(every, (int, np.integer)) and not isinstance(every, bool) and every >= 1:
        return 0.0, int(every)
    raise ValueError(f"checkpoint_every is {every!r}, {expected}")


class Checkpoint:
    """The file of one run, and when it is due. Within its "with" no other run has the file."""

    def __init__(self, path: Any, every: Any) -> None:
        given = checks.path(path, "checkpoint")
        self.seconds, self.iterations = interval(every)
        if os.path.isdir(given):
            raise IsADirectoryError(f"checkpoint is {path}, which is a folder, expected the path of a file")
        if not os.path.isdir(os.path.dirname(os.path.realpath(given))):
            raise FileNotFoundError(f"checkpoint is {path}, but there is no folder {given.parent}")
        self.path, _ = atomic.regular_target(given)
        self.previous = self.path.with_name(atomic.beside(self.path, "", ".previous"))
        self.lock: atomic.Lock | None = None
        # whether what is at the path is an earlier one of this very run
        self.own = False
        # how far the run was when it was written
        self.held: tuple[int, int] | None = None
        self.next_time, self.next_iteration = time.monotonic() + self.seconds, self.iterations

    def __enter__(self) -> "Checkpoint":
        self.lock = atomic.Lock(self.path, "checkpoint")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.lock:
            self.lock.release()

    def steps_left(self, done: int) -> int:
        """Iterations until one is due by their number."""
        return self.next_iteration - done if self.iterations else sys.maxsize

    def due(self, done: int) -> bool:
        """Whether it is time for one."""
        return done >= self.next_iteration if self.iterations else time.monotonic() >= self.next_time

    def start(self, done: int) -> None:
        """Remove what killed runs have left, and count from here."""
        atomic.remove_left(self.path)
        self._count(done)

    def _count(self, done: int) -> None:
        self.next_time = time.monotonic() + self.seconds
        self.next_iteration = (done // self.iterations + 1) * self.iterations if self.iterations else 0

    def write(self, run: "_Run") -> None:
        """Replace the file; the one before stays as the previous one if it is of this run."""
        data = _encoded(*captured(run))
        if self.own:
            self._keep()
        atomic.write_atomically(self.path, data)
        if not self.own:
            self.previous.unlink(missing_ok=True)
        self.own, self.held = True, _position(run)
        self._count(run.history.iterations)

    def finish(self, run: "_Run") -> None:
        """Write the last one, unless it is there."""
        if self.held != _position(run):
            self.write(run)

    def _keep(self) -> None:
        """Give the file the previous one's name as well; at every moment one of the two is whole."""
        self.previous.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # somebody removed it
            try:
                os.link(self.path, self.previous)
            except OSError:  # a file system without links
                os.replace(self.path, self.previous)

    def read(self, run: "_Run") -> _resume.Resumed | None:
        """What the newest whole checkpoint holds, if all of it fits this run; None if there is no file."""
        problem = ""
        for path in (self.path, self.previous):
            try:
                tensors, state = _from_bytes(path)
            except FileNotFoundError:
                problem = problem or f"{path} is not there"
            except ValueError as error:
                problem = problem or str(error)
            else:
                _compare(path, state.get("run"), run.fingerprint)
                resumed = _resume.checked(path, tensors, state, run)
                self.own = path == self.path
                if not self.own:
                    warnings.warn(f"{problem}: going on from {path}", stacklevel=6)
                return resumed
        if self.path.exists() or self.previous.exists():
            raise ValueError(f"{problem}, and there is no previous one: start anew with resume=False")
        return None


def _position(run: "_Run") -> tuple[int, int]:
    return run.history.iterations, len(run.history.epoch_ends)


def _encoded(tensors: Mapping[str, Array], state: Mapping[str, Any]) -> _tensors.Encoded:
    numbers = json.dumps(state, default=lambda value: value.tolist())  # an array, or a number of NumPy's
    return _tensors.Encoded(tensors, {"nncore_checkpoint": FORMAT, "state": numbers}, signed=True)


def _to_bytes(tensors: Mapping[str, Array], state: Mapping[str, Any]) -> bytes:
    return _encoded(tensors, state).to_bytes()


def _from_bytes(path: Path, data: bytes | None = None) -> tuple[dict[str, Array], dict[str, Any]]:
    """What _encoded was given, if every byte of the file, or of its data, is as it was."""
    tensors, metadata, intact = _tensors.read(path, data)
    if "nncore_checkpoint" not in metadata or intact is None:
        raise ValueError(f"{path} is not a checkpoint, expected a file that fit wrote")
    if not intact:
        raise ValueError(f"{path} was changed after it was written, its SHA-256 does not fit")
    version = metadata["nncore_checkpoint"]
    if version != FORMAT:
        raise ValueError(f"{path} has format {reprlib.repr(version)}, expected {FORMAT!r}: use a newer nncore")
    try:
        state = _tensors.strict_json(metadata.get("state", ""))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no readable state, expected what fit writes")
    return tensors, state


def _compare(path: Path, before: Any, now: Mapping[str, Any]) -> None:
    """That a checkpoint is of a run with the same data and settings."""
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


def fingerprint(run: "_Run", data: Any) -> dict[str, Any]:
    """What two runs must have in common for the one to go on with the other's checkpoint, in JSON's types."""
    net, plan, after = run.net, run.plan, run.after
    sizes = ("n_input", "n_neurons", "use_bias", "batch_norm")
    result = {
        **{
            f"layer {i}'s {name}": value
            for i, layer in enumerate(net.layers, start=1)
            for name, value in {
                **{name: getattr(layer, name) for name in sizes},
                "activation": layer.activation_label,  # of functions their names
                **layer.settings(),
            }.items()
        },
        "loss": net.loss_name,
        **{name: getattr(net, name) for name in ("delta", "label_smoothing")},
        "input_scale": data.input_scale,
        "dtype": net.dtype.name,
        "X": checksum(data.x),
        "y": checksum(data.t),
        "sample_weight with class_weight": checksum(data.weights),
        "validation X": data.test and checksum(data.test[0]),
        "validation y": data.test and checksum(data.test[1]),
        "optimizer": _description(run.optimizer),
        "iterations": run.total,
        "batch_size": plan.batch_size,
        "sampling": plan.sampling,
        "rng": type(plan.rng.bit_generator).__name__,
        "rng's seed": plan.seed,
        "schedule": _description(run.schedule),
        "clip_norm": run.clip_norm,
        "clip_value": run.clip_value,
        "metrics": list(after.evaluation.metrics),
        "early_stopping": _description(after.stopping),
    }
    fixed: dict[str, Any] = json.loads(json.dumps(result))
    return fixed


def _description(settings: Any) -> str:
    """Its repr, without the addresses of functions, which are others in the next process."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(settings))


def checksum(data: Any) -> str | None:
    """Type, shape and CRC-32 of an array or sparse rows; None of None."""
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


def captured(run: "_Run") -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the numbers of a run as it is now."""
    history, after = run.history, run.after
    core = run.net.core
    tensors = {
        "params": core.params, "moments": core.moments, "optimizer": run.state.vectors, "loss": history.loss,
    }  # fmt: skip
    if history.lr is not None:
        tensors["lr"] = history.lr
    if after.best_network is not None:
        tensors["best_params"], tensors["best_moments"] = after.best_network
    state = {
        "run": run.fingerprint,
        "epoch": run.epoch,
        "seed": run.seed,
        "n_steps": run.state.n_steps,
        "optimizer": {name: value for name, value in vars(run.optimizer).items() if name[0] != "_"},
        "layers": [layer.settings() for layer in run.net.layers],
        "schedule": after.follower and after.follower.state,
        "early_stopping": [after.best, after.waited],
        "history": {name: getattr(history, name) for name in _resume.RECORDED},
    }
    return tensors, state


def restore(run: "_Run", saved: _resume.Resumed) -> None:
    """Make a run what it was when the checkpoint was written; all that is in it has been checked."""
    history, after, tensors = run.history, run.after, saved.tensors
    run.net.core.params[:], run.net.core.moments[:] = tensors["params"], tensors["moments"]
    run.state = State(tensors["optimizer"].copy(), saved.n_steps)
    run.net.trained_with = run.optimizer, run.state
    for name, value in saved.optimizer.items():
        setattr(run.optimizer, name, value)
    for layer, settings in zip(run.net.layers, saved.layers, strict=True):
        for name, value in settings.items():
            setattr(layer, name, value)
    done = len(tensors["loss"])
    run.losses[:done] = tensors["loss"]
    history.loss, history.epochs = run.losses[:done], -(-done // run.plan.steps)
    if run.rates is not None:
        run.rates[:done] = tensors["lr"]
        history.lr = run.rates[:done]
    for name, value in saved.history.items():
        setattr(history, name, value)
    if after.follower:
        after.follower.state = saved.schedule
    after.best, after.waited = saved.early_stopping
    if "best_params" in tensors:
        after.best_network = tensors["best_params"], tensors["best_moments"]
    run.epoch, run.seed = saved.epoch, saved.seed
