"""The file of a run's checkpoints: when it is due, and how it is written so that it is never half there.

It is safetensors, the numbers beside the arrays are JSON in its metadata; a SHA-256 covers every byte, and loading runs
no code. The checkpoint before the last stays beside it, with ".previous" at the end of its name. What the arrays and
numbers are is the business of nncore.training.resume.
"""

import contextlib
import json
import os
import re
import reprlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.files import atomic
from nncore.files import tensors as safetensors

Array = NDArray[Any]
FORMAT = "1"
UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


class Found(NamedTuple):
    """The newest whole checkpoint, and what is wrong with a newer one: nothing where it is the last."""

    path: Path
    tensors: dict[str, Array]
    state: dict[str, Any]
    problem: str


def interval(every: Any) -> tuple[float, int]:
    """Return the seconds and iterations between two checkpoints, one of them 0."""
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
        self.next_time, self.next_iteration = time.monotonic() + self.seconds, self.iterations

    def __enter__(self) -> "Checkpoint":
        self.lock = atomic.Lock(self.path, "checkpoint")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.lock:
            self.lock.release()

    def steps_left(self, done: int) -> int:
        """Return the iterations until one is due by their number."""
        return self.next_iteration - done if self.iterations else sys.maxsize

    def due(self, done: int) -> bool:
        """Return whether it is time for one."""
        return done >= self.next_iteration if self.iterations else time.monotonic() >= self.next_time

    def start(self, done: int) -> None:
        """Remove what killed runs have left, and count from here."""
        atomic.remove_left(self.path)
        self._count(done)

    def _count(self, done: int) -> None:
        self.next_time = time.monotonic() + self.seconds
        self.next_iteration = (done // self.iterations + 1) * self.iterations if self.iterations else 0

    def write(self, tensors: Mapping[str, Array], state: Mapping[str, Any], done: int) -> None:
        """Replace the file; the one before stays as the previous one if it is of this run."""
        data = _encoded(tensors, state)
        if self.own:
            self._keep()
        atomic.write_atomically(self.path, data)
        if not self.own:
            self.previous.unlink(missing_ok=True)
        self.own = True
        self._count(done)

    def _keep(self) -> None:
        """Give the file the previous one's name as well; at every moment one of the two is whole."""
        self.previous.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # somebody removed it
            try:
                os.link(self.path, self.previous)
            except OSError:  # a file system without links
                os.replace(self.path, self.previous)

    def read(self) -> Found | None:
        """Return the newest whole checkpoint; None if there is no file.

        Raises
        ------
        ValueError
            If there are files, and none is whole.
        """
        problem = ""
        for path in (self.path, self.previous):
            try:
                tensors, state = _from_bytes(path)
            except FileNotFoundError:
                problem = problem or f"{path} is not there"
            except ValueError as error:
                problem = problem or str(error)
            else:
                self.own = path == self.path
                return Found(path, tensors, state, "" if self.own else problem)
        if self.path.exists() or self.previous.exists():
            raise ValueError(f"{problem}, and there is no previous one: start anew with resume=False")
        return None


def _encoded(tensors: Mapping[str, Array], state: Mapping[str, Any]) -> safetensors.Encoded:
    numbers = json.dumps(state, default=lambda value: value.tolist())  # an array, or a number of NumPy's
    return safetensors.Encoded(tensors, {"nncore_checkpoint": FORMAT, "state": numbers}, signed=True)


def _to_bytes(tensors: Mapping[str, Array], state: Mapping[str, Any]) -> bytes:
    return _encoded(tensors, state).to_bytes()


def _from_bytes(path: Path, data: bytes | None = None) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arguments of _encoded, if every byte of the file, or of its data, is as it was."""
    tensors, metadata, intact = safetensors.read(path, data)
    if "nncore_checkpoint" not in metadata or intact is None:
        raise ValueError(f"{path} is not a checkpoint, expected a file that fit wrote")
    if not intact:
        raise ValueError(f"{path} was changed after it was written, its SHA-256 does not fit")
    version = metadata["nncore_checkpoint"]
    if version != FORMAT:
        raise ValueError(f"{path} has format {reprlib.repr(version)}, expected {FORMAT!r}: use a newer nncore")
    try:
        state = safetensors.strict_json(metadata.get("state", ""))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no readable state, expected what fit writes")
    return tensors, state
