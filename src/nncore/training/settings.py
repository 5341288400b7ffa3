"""The settings of fit, as they were given and as a run takes them.

They travel as one object from NeuralNetwork.fit and fit_many to all that reads them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks, threads
from nncore.model.model import Model
from nncore.training import plan
from nncore.training.early_stopping import EarlyStopping
from nncore.training.history import History
from nncore.training.optimizers import LBFGS, by_name
from nncore.training.schedules import Schedule, schedule
from nncore.training.update_rule import Optimizer, expect_optimizer

Metric = str | Callable[[NDArray[Any], NDArray[Any]], float]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The settings of fit as they were given, not yet checked; NeuralNetwork.fit says what each means."""

    optimizer: str | Optimizer | LBFGS | None = None
    batch_size: int | None = None
    epochs: int | None = None
    iterations: int | None = None
    sampling: str = "shuffle"
    schedule: str | Schedule | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    metrics: Sequence[Metric] | None = None
    early_stopping: int | EarlyStopping | None = None
    callbacks: Sequence[Callable[[History], Any]] = ()
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: str | int = "30s"
    resume: bool = False
    progress: bool | str = "auto"
    n_threads: int | str = "auto"
    rng: int | np.random.Generator | None = None


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run, checked.

    Attributes
    ----------
    total : int
        Updates.
    seed : int or None
        That rng was made of, if a number was given.
    threads : tuple of int
        Numbers of threads to choose from.
    clip_norm, clip_value : float
        0 for none.
    """

    optimizer: Optimizer
    batch_size: int
    total: int
    sampling: str
    rng: np.random.Generator
    seed: int | None
    threads: tuple[int, ...]
    schedule: Schedule | None
    clip_norm: float
    clip_value: float
    callbacks: tuple[Callable[[History], Any], ...]


def checked(given: FitSettings, net: Model, n: int) -> RunSettings:
    """Return the settings as a run over n samples takes them, if all fit.

    Raises
    ------
    TypeError, ValueError
        For the first that does not fit.
    """
    batch_size = _batch_size(given.batch_size, n)
    if given.epochs is not None and given.iterations is not None:
        raise ValueError(f"epochs is {given.epochs} and iterations is {given.iterations}, expected only one of them")
    sampling = checks.choice(given.sampling, "sampling", plan.SAMPLINGS)
    callbacks = checks.callables(given.callbacks, "callbacks")
    optimizer = by_name(given.optimizer)
    expect_optimizer(optimizer)
    checks.positive_float(optimizer.lr, "the optimizer's lr")
    rng = net.rng if given.rng is None else checks.generator(given.rng)
    return RunSettings(
        optimizer=optimizer,
        batch_size=batch_size,
        total=_total(given, plan.steps_of(n, batch_size, sampling)),
        sampling=sampling,
        rng=rng,
        seed=int(given.rng) if isinstance(given.rng, (int, np.integer)) else None,
        threads=threads.choices(given.n_threads, batch_size * net.n_params, threads.STEP_MACS_PER_THREAD),
        schedule=None if given.schedule is None else schedule(given.schedule),
        clip_norm=_clip(given.clip_norm, "clip_norm"),
        clip_value=_clip(given.clip_value, "clip_value"),
        callbacks=callbacks,
    )


def _batch_size(given: int | None, n: int) -> int:
    batch_size = min(32, n) if given is None else checks.positive_int(given, "batch_size")
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, expected at most {n}, the number of samples")
    return batch_size


def _total(given: FitSettings, steps: int) -> int:
    """Return the updates of all epochs of so many steps, or the iterations."""
    if given.iterations is None:
        return steps * checks.positive_int(10 if given.epochs is None else given.epochs, "epochs")
    return checks.positive_int(given.iterations, "iterations")


def _clip(given: float | None, name: str) -> float:
    return 0.0 if given is None else checks.positive_float(given, name)
