"""The data that the command trains on: data sets by name, and .npz, .csv and .tsv files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.cli import advice
from nncore.cli.files import FILES, expect_file, expect_lengths, expected_names, label_column, rows_of_array
from nncore.cli.options import TASK, TEST_SIZE
from nncore.cli.source import Source
from nncore.core import checks
from nncore.data import classes, datasets, npz, tables
from nncore.data.classes import TASKS, Targets

Array = NDArray[Any]
NAMES = ("digits", "mnist", "fashion-mnist", "moons")
DIGITS = tuple("0123456789")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def load(
    name: str, *, test_size: float = TEST_SIZE, label: str | None = None, task: str = TASK, seed: int = 0
) -> Source:
    """Load a data set by name, or a .npz file with X and y, or a .csv or .tsv file with a label column.

    Files are split at random into training and test rows, unless the .npz holds X_test and y_test.

    Raises
    ------
    OSError
        If a file is not there or cannot be read.
    ValueError
        If the name is unknown, or a file does not hold what it should.
    """
    if name in NAMES:
        if (test_size, label, task) != (TEST_SIZE, None, TASK):
            given = "--test-size, --label and --task are given"
            raise ValueError(f"{given}, expected them for files only: {name} has its own")
        return _named(name)
    path = Path(name)
    if path.suffix.lower() not in FILES:
        raise ValueError(f"DATASET is {name!r}, expected one of {', '.join(NAMES)}, or a .npz, .csv or .tsv file")
    expect_file(path, "DATASET")
    if not 0 < test_size < 1:
        raise ValueError(f"--test-size is {test_size}, expected a number between 0 and 1")
    checks.choice(task, "--task", TASKS)
    if path.suffix.lower() != ".npz":
        return _from_table(path, label, test_size, task, seed)
    if label is not None:
        raise ValueError(f"--label is {label!r}, expected it for tables only: the labels of {path} are its array y")
    return _from_npz(path, test_size, task, seed)


def _named(name: str) -> Source:
    """A data set that comes with its test rows."""
    if name == "moons":
        (x, t), (x_test, t_test) = datasets.load_moons()
        return Source(name, x, t, x_test, t_test, ["0", "1"])
    if name == "digits":
        (x, t), (x_test, t_test) = datasets.load_digits(normalize=False)
        return Source(name, x, t, x_test, t_test, list(DIGITS), 1 / 16, (8, 8))
    loader, names = (datasets.load_mnist, DIGITS) if name == "mnist" else (datasets.load_fashion_mnist, FASHION)
    (x, t), (x_test, t_test) = loader(normalize=False)
    return Source(name, x, t, x_test, t_test, list(names), image_shape=(28, 28))


def _from_table(path: Path, label: str | None, test_size: float, task: str, seed: int) -> Source:
    table = tables.read(path, expected_names(label))
    if table.width == 1:
        delimiters = "commas, semicolons, tabs or bars"
        raise ValueError(f"{path} has one column, expected features and a label column, separated by {delimiters}")
    at = table.width - 1 if label is None else label_column(table, label)
    features = [k for k in range(table.width) if k != at]
    y = classes.from_cells(table, at, features, task)
    numeric = [at] if y.dtype.kind == "f" else []
    commas = table.decimal_commas([*features, *numeric])
    x = table.numbers(features, commas=commas)
    source = _split(path, x, y, test_size, task, seed, table.column(at))
    source.notes = [*table.notes, *advice.on_counting(x, table, features), *source.notes]
    source.columns, source.decimal_commas = table.names or [], commas
    source.label = table.names[at] if table.names else None
    return source


def _from_npz(path: Path, test_size: float, task: str, seed: int) -> Source:
    arrays, names = npz.read_npz(path, ("X", "y", "X_test", "y_test"))
    known = tables.listed([repr(name)[1:-1] for name in names]) or "none"
    if not {"X", "y"} <= set(arrays):
        raise ValueError(f"{path} has the arrays {known}, expected X and y")
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise ValueError(f"{path} has the arrays {known}, expected X_test and y_test together or neither")
    for key in ("y", "y_test"):
        if key in arrays and (arrays[key].ndim not in (1, 2) or 0 in arrays[key].shape[1:]):
            raise ValueError(
                f"{path} has {key} of shape {arrays[key].shape}, expected (n_samples,) or (n_samples, n_out)"
            )
    x, y = rows_of_array(arrays["X"], "X"), arrays["y"]
    if "X_test" not in arrays:
        return _split(path, x, y, test_size, task, seed, "y")
    x_test, y_test = rows_of_array(arrays["X_test"], "X_test"), arrays["y_test"]
    expect_lengths(path, x, y)
    expect_lengths(path, x_test, y_test)
    _check_pairs(path, x, x_test, y, y_test)
    targets = classes.encode(np.concatenate([y, y_test]), path, task, "y")
    t, t_test = targets.t[: len(y)], targets.t[len(y) :]
    return _source(path, (x, t, x_test, t_test), targets)


def _check_pairs(path: Path, x: Array, x_test: Array, y: Array, y_test: Array) -> None:
    """Refuse test data of another kind than the training data: bytes are scaled, floats are not."""
    if x.shape[1] != x_test.shape[1] or (x.dtype == np.uint8) != (x_test.dtype == np.uint8):
        raise ValueError(
            f"{path} has X with {x.shape[1]} features of {x.dtype} and X_test with {x_test.shape[1]} of "
            f"{x_test.dtype}, expected the same"
        )
    if y.shape[1:] != y_test.shape[1:] or (y.dtype.kind in "US") != (y_test.dtype.kind in "US"):
        raise ValueError(
            f"{path} has y of shape {y.shape} and dtype {y.dtype}, y_test of {y_test.shape} and {y_test.dtype}, "
            f"expected the same kind"
        )


def _split(path: Path, x: Array, y: Array, test_size: float, task: str, seed: int, name: str) -> Source:
    expect_lengths(path, x, y)
    targets = classes.encode(y, path, task, name)
    order = np.random.default_rng(seed).permutation(len(x))
    n_test = max(1, round(test_size * len(x)))
    if n_test >= len(x):
        raise ValueError(f"{path} has {len(x)} rows, expected enough for a training and a test set")
    test, train, t = order[:n_test], order[n_test:], targets.t
    return _source(path, (x[train], t[train], x[test], t[test]), targets)


def _source(path: Path, arrays: tuple[Array, Array, Array, Array], targets: Targets) -> Source:
    """The source of x, t, x_test, t_test, with notes on what may surprise."""
    source = Source(path.name, *arrays, targets.classes)
    if not targets.classes:
        source.notes = [f"{path}: {targets.note}"] if targets.note else []
        return source
    source.labels = targets.note
    counts = np.bincount(source.t_train, minlength=len(targets.classes))
    rare = [name for name, count in zip(targets.classes, counts, strict=True) if count < 2]
    if rare:
        few = "more than one training row has" if counts.min() else "training row, or just one, has"
        source.notes = [f"{path}: no {few} the class {tables.listed(rare, 5)}, too few to learn it"]
    return source
