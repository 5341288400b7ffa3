"""Checkpoints of a training run: all that it takes to go on with the same bits, in one file that is never half written.

The file is safetensors, the numbers beside the arrays are JSON in its metadata; a SHA-256 covers every byte, and
loading runs no code. The checkpoint before the last stays beside it, with ".previous" at the end of its name.
"""

import contextlib
import hashlib
import json
import os
import re
import sys
import time
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _mapped, persistence
from nncore._sparse_rows import SparseRows
from nncore.optimizers import State

if TYPE_CHECKING:
    from nncore.training import _Run

Array = NDArray[Any]
FORMAT = "1"
UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
# Of larger arrays the checksum takes so many blocks, evenly spread.
WHOLE_BYTES = 256 << 20
BLOCK_BYTES = 1 << 20
# What a run's History holds besides the losses and rates.
RECORDED = (
    "epoch_ends", "epoch_loss", "train_accuracy", "test_accuracy", "train_loss", "test_loss", "metrics", "best_epoch",
    "seconds", "train_seconds",
)  # fmt: skip
# What captured notes beside the arrays.
STATE = ("epoch", "seed", "n_steps", "optimizer", "layers", "schedule", "early_stopping", "history")


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
    """The file of one run, and when it is due."""

    def __init__(self, path: Any, every: Any) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"checkpoint is {path!r}, expected the path of a file")
        self.seconds, self.iterations = interval(every)
        self.path = Path(path).resolve()
        self.previous = self.path.with_name(self.path.name + ".previous")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint is {path}, but there is no folder {self.path.parent}")
        if self.path.is_dir():
            raise IsADirectoryError(f"checkpoint is {path}, which is a folder, expected the path of a file")
        # whether what is at the path is an earlier one of this very run
        self.own = False
        # how far the run was when it was written
        self.held: tuple[int, int] | None = None
        self.next_time, self.next_iteration = time.monotonic() + self.seconds, self.iterations

    def steps_left(self, done: int) -> int:
        """Iterations until one is due by their number."""
        return self.next_iteration - done if self.iterations else sys.maxsize

    def due(self, done: int) -> bool:
        """Whether it is time for one."""
        return done >= self.next_iteration if self.iterations else time.monotonic() >= self.next_time

    def start(self, done: int) -> None:
        """Remove what killed runs have left, and count from here."""
        pattern = re.compile(rf"\.{re.escape(self.path.name)}\.[a-z0-9_]{{8}}\.tmp")
        for path in self.path.parent.iterdir():
            if pattern.fullmatch(path.name):
                path.unlink(missing_ok=True)
        self._count(done)

    def _count(self, done: int) -> None:
        self.next_time = time.monotonic() + self.seconds
        self.next_iteration = (done // self.iterations + 1) * self.iterations if self.iterations else 0

    def write(self, run: "_Run") -> None:
        """Replace the file; the one before stays as the previous one if it is of this run."""
        tensors, state = captured(run)
        data = _to_bytes(tensors, state)
        if self.own:
            self._keep()
        persistence.write_atomically(self.path, data)
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

    def read(self, run: "_Run") -> tuple[dict[str, Array], dict[str, Any]] | None:
        """The newest whole checkpoint, if it fits this run; None if there is no file."""
        problem = ""
        for path in (self.path, self.previous):
            try:
                tensors, state = _from_bytes(path, path.read_bytes())
            except FileNotFoundError:
                problem = problem or f"{path} is not there"
            except ValueError as error:
                problem = problem or str(error)
            else:
                _compare(path, state.get("run", {}), run.fingerprint)
                _check_content(path, tensors, state, run)
                self.own = path == self.path
                if not self.own:
                    warnings.warn(f"{problem}: going on from {path}", stacklevel=5)
                return tensors, state
        if self.path.exists() or self.previous.exists():
            raise ValueError(f"{problem}, and there is no previous one: start anew with resume=False")
        return None


def _position(run: "_Run") -> tuple[int, int]:
    return run.history.iterations, len(run.history.epoch_ends)


def _to_bytes(tensors: dict[str, Array], state: dict[str, Any]) -> bytes:
    numbers = json.dumps(state, default=np.ndarray.tolist)
    entries = {"nncore_checkpoint": FORMAT, "state": numbers, persistence.DIGEST: persistence.NO_DIGEST}
    data = persistence.to_safetensors(tensors, entries)
    return persistence._with_digest(data, persistence.NO_DIGEST, hashlib.sha256(data).hexdigest())


def _from_bytes(path: Path, data: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """What _to_bytes was given, if every byte is as it was."""
    tensors, metadata = persistence.from_safetensors(path, data)
    digest = metadata.get(persistence.DIGEST, "")
    if "nncore_checkpoint" not in metadata or not digest:
        raise ValueError(f"{path} is not a checkpoint, expected a file that fit wrote")
    if digest != hashlib.sha256(persistence._with_digest(data, digest, persistence.NO_DIGEST)).hexdigest():
        raise ValueError(f"{path} was changed after it was written, its SHA-256 does not fit")
    version = metadata["nncore_checkpoint"]
    if version != FORMAT:
        raise ValueError(f"{path} has format {version!r}, expected {FORMAT!r}: use a newer nncore")
    return tensors, json.loads(metadata["state"])


def _compare(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """That a checkpoint is of a run with the same data and settings."""
    different = [
        f"{name} is {now.get(name)}, the checkpoint's {before.get(name)}"
        for name in {**now, **before}
        if now.get(name) != before.get(name)
    ]
    if different:
        more = f" (and {len(different) - 3} more differences)" if len(different) > 3 else ""
        raise ValueError(f"{path} is of another run: {'; '.join(different[:3])}{more}")


def _check_content(path: Path, tensors: Mapping[str, Array], state: Mapping[str, Any], run: "_Run") -> None:
    core, dtype = run.net.core, run.net.dtype
    vectors, n = run.optimizer._state(core.params.size, dtype).vectors, tensors.get("loss", np.empty(0)).size
    expected = {"params": core.params.shape, "moments": core.moments.shape, "optimizer": vectors.shape, "loss": (n,)}
    if run.rates is not None:
        expected["lr"] = (n,)
    missing = [name for name in expected if name not in tensors] + [name for name in STATE if name not in state]
    if missing:
        raise ValueError(f"{path} has no {', no '.join(missing)}, expected what fit writes")
    if n > run.total:
        raise ValueError(f"{path} has {n} losses, expected at most {run.total}")
    for name, shape in expected.items():
        kind = np.dtype(np.float64) if name in ("loss", "lr") else dtype
        if tensors[name].shape != shape or tensors[name].dtype != kind:
            got = f"{tensors[name].dtype} of shape {tensors[name].shape}"
            raise ValueError(f"{path} has {name} as {got}, expected {kind} of shape {shape}")


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
        _mapped.release(array)
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
        "history": {name: getattr(history, name) for name in RECORDED},
    }
    return tensors, state


def restore(run: "_Run", tensors: dict[str, Array], state: dict[str, Any]) -> None:
    """Make a run what it was when the checkpoint was written."""
    history, after = run.history, run.after
    run.net.core.params[:], run.net.core.moments[:] = tensors["params"], tensors["moments"]
    run.state = State(tensors["optimizer"].copy(), state["n_steps"])
    run.net._optimizer = run.optimizer, run.state
    for name, value in state["optimizer"].items():
        setattr(run.optimizer, name, tuple(value) if isinstance(value, list) else value)
    for layer, settings in zip(run.net.layers, state["layers"], strict=True):
        for name, value in settings.items():
            setattr(layer, name, value)
    done = len(tensors["loss"])
    run.losses[:done] = tensors["loss"]
    history.loss, history.epochs = run.losses[:done], -(-done // run.plan.steps)
    if run.rates is not None:
        run.rates[:done] = tensors["lr"]
        history.lr = run.rates[:done]
    for name, value in state["history"].items():
        setattr(history, name, value)
    if after.follower:
        after.follower.state = state["schedule"]
    after.best, after.waited = state["early_stopping"]
    if "best_params" in tensors:
        after.best_network = tensors["best_params"], tensors["best_moments"]
    run.epoch, run.seed = state["epoch"], state["seed"]
