"""The peers: one module each, all with the same small interface.

A peer's module imports its package at the top, so that one that is not installed shows by its ImportError, and has

- ``version()``: what the table says about it;
- ``JOBS``: by name of a job, the `Entry` that says how the peer does it, or several.

A module is called after what it does, never after the package that it imports.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem


class Outcome(NamedTuple):
    """The result of a run.

    Attributes
    ----------
    loss : float
        Of the last batch, before its update; of online after it.
    params : list of ndarray
        W1, b1, W2, b2, ..., with weights (n_in, n_out); empty for a peer that takes no common start. Of gradcheck the
        slopes by the elements in ``Problem.sample``, of predictions the last ones.
    threads : int
        That the peer could use.
    part : float
        Of the work of each step that was done, if a peer would take too long for all of it.
    """

    loss: float
    params: list[NDArray[Any]]
    threads: int
    part: float = 1.0


def predicted(y: NDArray[Any], threads: int) -> Outcome:
    """The result of predictions: the mean of the squares stands for the loss."""
    return Outcome(float(np.mean(np.square(y))), [y], threads)


class MissingError(Exception):
    """Raised by ``prepare`` if the installed version of a package lacks what the job needs."""


# Trains on from where it is, for so many steps over the problem's batches from the first one on.
Run: TypeAlias = Callable[[int], Outcome]


@dataclass(frozen=True)
class Entry:
    """A peer's version of one job.

    Attributes
    ----------
    prepare : callable
        Takes a problem and a number of threads (None: the peer's default); does once what is no part of training,
        such as compiling, and returns the Run.
    threads : tuple
        The numbers of threads that are measured, each in a row of its own.
    comparable : bool
        Whether it starts and samples as the others do, so that its result must be theirs.
    note : str
        What a reader of the figure has to know.
    limit : float, optional
        Absolute difference from the reference that its method explains; by default what rounding does to a training.
    """

    prepare: Callable[[Problem, int | None], Run]
    threads: tuple[int | None, ...] = (None,)
    comparable: bool = True
    note: str = ""
    limit: float | None = None


class Peer(Protocol):
    """A peer's module."""

    JOBS: Mapping[str, Entry | tuple[Entry, ...]]

    def version(self) -> str:
        """Package and version, with what else decides the speed."""


# In the order of the table; the first is what the others are compared with.
PEERS = {
    "nncore": "nncore_fused",
    "numpy": "numpy_reference",
    "torch": "torch_eager",
    "jax": "jax_scan",
    "sklearn": "sklearn_mlp",
    "numba": "numba_loops",
    "scipy": "scipy_differences",
    "onnxruntime": "onnx_session",
    "fann": "fann_incremental",
}


def load(name: str) -> Peer:
    """Import a peer's module.

    Raises
    ------
    ImportError
        If its package is not installed.
    """
    return cast(Peer, importlib.import_module(f"{__name__}.{PEERS[name]}"))


def entries(peer: Peer, job: str) -> tuple[Entry, ...]:
    """The peer's versions of a job."""
    found = peer.JOBS.get(job, ())
    return (found,) if isinstance(found, Entry) else found
