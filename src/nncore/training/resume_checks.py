"""The content of a checkpoint, checked as a whole before anything of a run is changed.

A right digest says that a file is as it was written, not that fit wrote it. Each number is compared with what the run
at hand allows: its type, its range, and what must fit together (epochs, iterations, metrics).
"""

import copy
import inspect
import json
import reprlib
from collections.abc import Callable, Mapping
from math import isfinite, isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.model.layers import Layer
from nncore.training.optimizers import class_of, state_names
from nncore.training.run import Run
from nncore.training.update_rule import new_state, settings_of

Array = NDArray[Any]
Numbers = dict[str, Any]
# The notes of a checkpoint beside the arrays.
STATE = ("run", "epoch", "seed", "n_steps", "optimizer", "layers", "schedule", "early_stopping", "history")
COLUMNS = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
# The fields of a run's History besides the losses and rates.
RECORDED = ("epoch_ends", "epoch_loss", *COLUMNS, "metrics", "best_epoch", "seconds", "train_seconds")
MOST = (1 << 63) - 1


class Resumed(NamedTuple):
    """The content of a checkpoint, ready to be taken over."""

    tensors: dict[str, Array]
    epoch: Numbers
    seed: int
    n_steps: int
    optimizer: Numbers
    layers: list[Numbers]
    schedule: Any
    early_stopping: tuple[float, int]
    history: Numbers


def checked(path: Path, tensors: dict[str, Array], state: Numbers, run: Run) -> Resumed:
    """Return the content of a checkpoint that this run can go on with.

    Raises
    ------
    ValueError
        If it has anything that fit would not have written; the run is as it was.
    """
    try:
        _arrays(tensors, state, run)
        done = len(tensors["loss"])
        ends = _recorded(state, done, run)
        return Resumed(
            tensors,
            _epoch(state["epoch"], done, ends, run),
            _whole(state["seed"], "seed", 0, MOST),
            _whole(state["n_steps"], "n_steps", done, MOST),
            _optimizer(state["optimizer"], run),
            _layers(state["layers"], run),
            _schedule(state["schedule"], run),
            _early_stopping(state, tensors, run),
            _history(state["history"], run),
        )
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has {' '.join(str(error).split())}") from None


def _fail(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"{name} {reprlib.repr(value)}, expected {expected}")


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _fail(name, value, f"a whole number from {low} to {high}")
    return value


def _real(value: Any, name: str, fits: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(value) if type(value) in (int, float) else None
    except OverflowError:
        number = None
    if number is None or not fits(number):
        raise _fail(name, value, expected)
    return number


def _same_kind(value: Any, model: Any, name: str) -> Any:
    """Return a switch where it is one, else no text and no switch: what number it may be is checked elsewhere."""
    for one in value if isinstance(value, list) else [value]:
        too_large = type(one) is int and abs(one) > 1e308
        if isinstance(one, str) or too_large or isinstance(one, bool) != isinstance(model, bool):
            raise _fail(name, value, "True or False" if isinstance(model, bool) else "numbers")
    return value


def _names(value: Any, name: str, expected: Any) -> Numbers:
    """Return a dict that has exactly these names."""
    if not isinstance(value, dict) or value.keys() != set(expected):
        raise _fail(name, value, f"{', '.join(expected)} by name")
    return value


def _arrays(tensors: Mapping[str, Array], state: Numbers, run: Run) -> None:
    """Expect all arrays to be there, of their shapes and types, with possible numbers."""
    core, dtype = run.net.core, run.net.dtype
    vectors = new_state(run.settings.optimizer, core.params.size, dtype).vectors
    loss = tensors.get("loss", np.empty(0))
    expected = {"params": core.params.shape, "moments": core.moments.shape, "optimizer": vectors.shape}
    expected["loss"] = (loss.size,)
    if run.rates.values is not None:
        expected["lr"] = (loss.size,)
    if "best_params" in tensors or "best_moments" in tensors:
        expected |= {"best_params": core.params.shape, "best_moments": core.moments.shape}
    missing = [name for name in expected if name not in tensors] + [name for name in STATE if name not in state]
    if missing:
        raise ValueError(f"no {', no '.join(missing)}, expected what fit writes")
    unknown = [*(tensors.keys() - expected.keys()), *(state.keys() - set(STATE))]
    if unknown:
        raise ValueError(f"the unknown {reprlib.repr(unknown[0])}, expected what fit writes")
    if loss.size > run.settings.total:
        raise ValueError(f"{loss.size} losses, expected at most {run.settings.total}")
    for name, shape in expected.items():
        kind = np.dtype(np.float64) if name in ("loss", "lr") else dtype
        if tensors[name].shape != shape or tensors[name].dtype != kind:
            got = f"{tensors[name].dtype} of shape {tensors[name].shape}"
            raise ValueError(f"{name} as {got}, expected {kind} of shape {shape}")
        _check_numbers(name, tensors[name], run)


def _check_numbers(name: str, array: Array, run: Run) -> None:
    """Expect an array to be finite, and 0 or more where it must be."""
    if name == "optimizer":  # squares can grow beyond the type: their parameter then stands still
        for i, (vector, what) in enumerate(zip(array, state_names(run.settings.optimizer), strict=True)):
            if what != "squares":
                checks.finite(vector, f"{name}[{i}]")
            elif not (vector >= 0).all():
                raise ValueError(f"{name}[{i}] with numbers that are not 0 or more, expected squares")
        return
    checks.finite(array, name)
    if name == "lr" and (array < 0).any():
        raise ValueError(f"lr from {array.min()} on, expected 0 or more")
    if name.endswith("moments"):
        for k, layer in enumerate(run.net.layers):
            variances = array[_variances(run, k)] if layer.batch_norm else array[:0]
            if (variances < 0).any():
                raise ValueError(f"{name} with the variance {variances.min()} in layer {k + 1}, expected 0 or more")


def _variances(run: Run, k: int) -> slice:
    """Return where the running variances of a layer lie in the vector of all moments."""
    core = run.net.core
    start, view = core.moments.__array_interface__["data"][0], core.norm_views(k)[2]
    first = (view.__array_interface__["data"][0] - start) // view.itemsize
    return slice(first, first + view.size)


def _recorded(state: Numbers, done: int, run: Run) -> list[int]:
    """Return where recorded epochs ended: all epochs, unless only callbacks, which may be others, asked for it."""
    history = _names(state["history"], "history", RECORDED)
    ends, steps, epoch_end = history["epoch_ends"], run.plan.steps, run.epoch_end
    if not isinstance(ends, list) or any(type(end) is not int or not 0 < end <= done for end in ends):
        raise _fail("epoch_ends", ends, f"a list of iterations up to {done}")
    all_of_them = [min((i + 1) * steps, run.settings.total) for i in range(len(ends))]
    if epoch_end.evaluation.metrics or epoch_end.follower or epoch_end.stopping:
        fits = ends == all_of_them
    else:
        fits = ends == sorted(set(ends)) and all(end % steps == 0 or end == run.settings.total for end in ends)
    if not fits:
        raise _fail("epoch_ends", ends, f"the ends of epochs of {steps} iterations")
    return ends


def _epoch(value: Any, done: int, ends: list[int], run: Run) -> Numbers:
    """Return where the epochs at hand began, and how the generator stood there."""
    epoch, plan = _names(value, "epoch", ("begin", "rng")), run.plan
    begin = _whole(epoch["begin"], "epoch's begin", 0, min(done, run.settings.total - 1))
    if begin % plan.steps or done > begin + plan.epochs_at_once * plan.steps:
        raise ValueError(f"epochs from iteration {begin} to {done}, expected a begin at a multiple of {plan.steps}")
    last = ends[-1] if ends else 0
    complete = run.epoch_end.evaluation.metrics or run.epoch_end.follower or run.epoch_end.stopping
    if last != done and (last > begin or (complete and last < begin)):
        raise _fail("epoch_ends", ends, f"the ends of epochs to iteration {begin}")
    return {"begin": begin, "rng": _generator(epoch["rng"], plan.rng.bit_generator)}


def _generator(value: Any, generator: Any) -> Numbers:
    """Return a state that a generator of this kind can have: tried on a copy of it."""
    now = _plain(generator.state)
    if not _alike(value, now):
        raise _fail("the generator's state", value, f"one of {now['bit_generator']}")
    possible, twin = _possible(value), copy.deepcopy(generator)
    try:
        twin.state = value
    except (ArithmeticError, TypeError, ValueError):
        possible = False
    if not possible or _plain(twin.state) != value:
        raise _fail("the generator's state", value, f"one that {value['bit_generator']} can have")
    result: Numbers = value
    return result


def _possible(state: Numbers) -> bool:
    """Return whether NumPy's generators stay within their memory and give more than one number: they do not look."""
    name, inner = state["bit_generator"], state["state"]
    if state.get("has_uint32", 0) > 1:
        return False
    if name in ("PCG64", "PCG64DXSM"):
        return bool(inner["inc"] % 2)
    if name == "MT19937":
        return bool(inner["pos"] <= 624 and (any(inner["key"][1:]) or inner["key"][0] >> 31))
    return bool(name != "Philox" or state["buffer_pos"] <= 4)


def _plain(state: Any) -> Any:
    return json.loads(json.dumps(state, default=lambda array: array.tolist()))


def _alike(value: Any, model: Any) -> bool:
    """Return whether both have the same names, lengths and types; whole numbers are 0 or more."""
    if type(value) is not type(model):
        return False
    if isinstance(model, dict):
        return value.keys() == model.keys() and all(_alike(value[name], model[name]) for name in model)
    if isinstance(model, list):
        return len(value) == len(model) and all(map(_alike, value, model))
    return bool(value >= 0) if isinstance(model, int) else bool(value == model)


def _optimizer(value: Any, run: Run) -> Numbers:
    """Return settings that its class takes; a callback may have set lr to 0."""
    optimizer = run.settings.optimizer
    now = settings_of(optimizer)
    given = {
        name: _same_kind(setting, now[name], f"the optimizer's {name}")
        for name, setting in _names(value, "optimizer", now).items()
    }
    given = {name: tuple(setting) if isinstance(setting, list) else setting for name, setting in given.items()}
    kind: Callable[..., Any] = class_of(optimizer)
    settings = {name: given[name] for name in inspect.signature(kind).parameters}
    lr = checks.positive_float(given["lr"], "lr")
    made = kind(**{**settings, "lr": lr})
    if len(state_names(made)) != len(state_names(optimizer)):
        raise _fail("optimizer", given, f"settings for the state of {optimizer}")
    return {**given, **{name: vars(made)[name] for name in settings}, "lr": lr}


def _layers(value: Any, run: Run) -> list[Numbers]:
    """Return the settings that training looks at, each as its layer takes it."""
    layers = run.net.layers
    if not isinstance(value, list) or len(value) != len(layers):
        raise _fail("layers", value, f"the settings of {len(layers)}")
    result = []
    for k, (given, layer) in enumerate(zip(value, layers, strict=True), 1):
        names = layer.settings()
        given = _names(given, f"layer {k}'s settings", names)
        result.append(
            {
                name: vars(Layer)[name].check(
                    _same_kind(given[name], now, f"layer {k}'s {name}"), f"layer {k}'s {name}"
                )
                for name, now in names.items()
            }
        )
    if result[-1]["dropout"]:
        raise _fail(f"layer {len(layers)}'s dropout", result[-1]["dropout"], "0 of the last layer")
    return result


def _schedule(value: Any, run: Run) -> Any:
    """Return a plateau's factor of the learning rate, its best and the epochs since then."""
    follower = run.epoch_end.follower
    if follower is None:
        if value is not None:
            raise _fail("schedule", value, "None")
        return None
    if not isinstance(value, list) or len(value) != len(follower.state):
        raise _fail("schedule", value, "the state of a plateau")
    factor = _real(value[0], "schedule's factor", lambda v: 0 <= v <= 1, "a number from 0 to 1")
    best = _real(value[1], "schedule's best", lambda v: not isnan(v), "a number")
    return factor, best, _whole(value[2], "schedule's epochs", 0, follower.patience)


def _early_stopping(state: Numbers, tensors: Mapping[str, Array], run: Run) -> tuple[float, int]:
    """Return the best metric so far and the epochs since then, which fit best_epoch and the parameters kept."""
    value, stopping, history = state["early_stopping"], run.epoch_end.stopping, state["history"]
    if not isinstance(value, list) or len(value) != 2:
        raise _fail("early_stopping", value, "the best metric and the epochs since then")
    best = _real(value[0], "the best metric", lambda v: not isnan(v), "a number")
    count = len(history["epoch_ends"]) if stopping else 0
    waited = _whole(value[1], "epochs since the best", 0, count)
    if history["best_epoch"] is not None:
        _whole(history["best_epoch"], "best_epoch", 1, count)
        if history["best_epoch"] + waited != count:
            raise _fail("epochs since the best", waited, f"{count} less the best_epoch, {history['best_epoch']}")
    kept = stopping is not None and stopping.restore_best and history["best_epoch"] is not None
    if kept != ("best_params" in tensors):
        raise ValueError(f"{'no ' if kept else ''}best_params, expected {'those' if kept else 'none'} to be restored")
    return best, waited


def _history(history: Numbers, run: Run) -> Numbers:
    """Return columns as long as there are records, and times."""
    count, columns = len(history["epoch_ends"]), set(run.epoch_end.evaluation.metrics)
    metrics = history["metrics"]
    if not isinstance(metrics, dict) or metrics.keys() != (
        columns - set(COLUMNS) if count else metrics.keys() & columns
    ):
        raise _fail("metrics", metrics, f"{', '.join(sorted(columns - set(COLUMNS))) or 'none'} by name")
    for name, values in [*((name, history[name]) for name in ("epoch_loss", *COLUMNS)), *metrics.items()]:
        length = count if name in {"epoch_loss", *columns} else 0
        if not isinstance(values, list) or len(values) != length:
            raise _fail(name, values, f"{length} numbers, one for each record")
        for value in values:
            _real(value, name, lambda v: True, "numbers")
    times = {
        name: _real(history[name], name, lambda v: isfinite(v) and v >= 0, "a number of seconds, 0 or more")
        for name in ("seconds", "train_seconds")
    }
    return {**history, **times}
