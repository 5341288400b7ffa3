"""What the command trains on: data sets by name, and .npz and .csv files."""

import csv
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore import _checks, datasets

Array = NDArray[Any]
TASKS = ("auto", "classes", "numbers")
NAMES = ("digits", "mnist", "fashion-mnist", "moons")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


@dataclass
class Source:
    """A data set split for training.

    Attributes
    ----------
    x_train, x_test : ndarray of shape (n_samples, n_in)
        uint8 or floats.
    t_train, t_test : ndarray
        Class numbers (n_samples,) if there are classes, else targets (n_samples, n_out).
    classes : list of str
        Names of the classes; empty for numbers to be approximated.
    input_scale : float
        For uint8 data.
    image_shape : tuple of int, or None
        Rows and columns, if a sample is an image.
    """

    name: str
    x_train: Array
    t_train: Array
    x_test: Array
    t_test: Array
    classes: list[str]
    input_scale: float = 1 / 255
    image_shape: tuple[int, int] | None = None
    label: str | None = None  # the label column of a .csv file, where it was named

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.x_train.shape[1])

    @property
    def n_out(self) -> int:
        """Number of outputs: classes, or numbers to be approximated."""
        return len(self.classes) or int(self.t_train.shape[1])


def load(name: str, *, test_size: float = 0.2, label: str | None = None, task: str = "auto", seed: int = 0) -> Source:
    """Load a data set by name, or a .npz file with X and y, or a .csv file with a label column.

    Files are split at random into training and test rows, unless the .npz holds X_test and y_test.

    Raises
    ------
    OSError
        If a file is not there or cannot be read.
    ValueError
        If the name is unknown, or a file does not hold what it should.
    """
    if name in NAMES and (test_size, label, task) != (0.2, None, "auto"):
        raise ValueError(f"--test-size, --label and --task are given, expected them for files only: {name} has its own")
    if name in ("mnist", "fashion-mnist"):
        loader = datasets.load_mnist if name == "mnist" else datasets.load_fashion_mnist
        (x, t), (x_test, t_test) = loader(normalize=False)
        classes = list(FASHION) if name == "fashion-mnist" else [str(k) for k in range(10)]
        return Source(name, x, t, x_test, t_test, classes, image_shape=(28, 28))
    if name == "digits":
        (x, t), (x_test, t_test) = datasets.load_digits(normalize=False)
        return Source(name, x, t, x_test, t_test, [str(k) for k in range(10)], 1 / 16, (8, 8))
    if name == "moons":
        (x, t), (x_test, t_test) = datasets.load_moons()
        return Source(name, x, t, x_test, t_test, ["0", "1"])
    path = Path(name)
    if path.suffix not in (".npz", ".csv"):
        raise ValueError(f"DATASET is {name!r}, expected one of {', '.join(NAMES)}, or a .npz or .csv file")
    if not 0 < test_size < 1:
        raise ValueError(f"--test-size is {test_size}, expected a number between 0 and 1")
    _checks.choice(task, "--task", TASKS)
    if path.suffix == ".npz":
        return _from_npz(path, test_size, task, seed)
    x, y = read_csv(path, label)
    if y is None:
        raise ValueError(f"{path} has one column, expected features and a label column")
    source = _split(path, x, y, test_size, task, seed)
    source.label = label
    return source


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of a .npz file; one that needs pickle is refused."""
    try:
        with path.open("rb") as file:  # by path, np.load leaves a broken file open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds one array, not several by name")
            return {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is not a readable .npz file with arrays X and y: {error}") from None


def _from_npz(path: Path, test_size: float, task: str, seed: int) -> Source:
    arrays = read_npz(path)
    missing = [key for key in ("X", "y") if key not in arrays]
    if missing:
        raise ValueError(f"{path} has the arrays {', '.join(arrays) or 'none'}, expected X and y")
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise ValueError(f"{path} has the arrays {', '.join(arrays)}, expected X_test and y_test together or neither")
    for key in ("y", "y_test"):
        if key in arrays and arrays[key].ndim not in (1, 2):
            raise ValueError(
                f"{path} has {key} of shape {arrays[key].shape}, expected (n_samples,) or (n_samples, n_out)"
            )
    if "X_test" not in arrays:
        return _split(path, _rows(arrays["X"], "X"), arrays["y"], test_size, task, seed)
    n = len(arrays["y"])
    y, classes = _encode(np.concatenate([arrays["y"], arrays["y_test"]]), path, task)
    x, x_test = _rows(arrays["X"], "X"), _rows(arrays["X_test"], "X_test")
    _check_lengths(path, x, y[:n])
    _check_lengths(path, x_test, y[n:])
    return Source(path.name, x, y[:n], x_test, y[n:], classes)


def _rows(x: Array, name: str) -> Array:
    """Samples as rows of numbers: images are flattened."""
    array = _checks.numbers(x, name)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n_samples, n_features), none of them 0")
    array = array.reshape(len(array), -1)
    return array if array.dtype == np.uint8 else _checks.floats(array, name)


def _check_lengths(path: Path, x: Array, y: Array) -> None:
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"{path} has {len(x)} rows of X and {len(y)} of y, expected the same number, 1 or more")


def _encode(y: Array, path: Path, task: str) -> tuple[Array, list[str]]:
    """Class numbers and their names; or, without names, numbers to be approximated."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    words = y.dtype.kind not in "fiub"
    whole = words or (y.ndim == 1 and np.isfinite(y).all() and (y == np.round(y)).all())
    if task == "numbers" or (task == "auto" and not whole) or y.ndim == 2:
        if words or task == "classes":
            raise ValueError(f"{path} has labels of dtype {y.dtype} and shape {y.shape}, expected one per row: {task}")
        return y.reshape(len(y), -1).astype(np.float64), []
    if not whole:
        raise ValueError(f"{path} has fractions among its labels, expected whole numbers or words for --task classes")
    names, numbers = np.unique(y if words else y.astype(np.int64), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{path} has the label {names[0]!s} only, expected two classes or more")
    return numbers, [str(name) for name in names]


def _split(path: Path, x: Array, y: Array, test_size: float, task: str, seed: int) -> Source:
    _check_lengths(path, x, y)
    _checks.finite(x, "X")  # before rows change their places
    y, classes = _encode(y, path, task)
    order = np.random.default_rng(seed).permutation(len(x))
    n_test = max(1, round(test_size * len(x)))
    if n_test >= len(x):
        raise ValueError(f"{path} has {len(x)} rows, expected enough for a training and a test set")
    test, train = order[:n_test], order[n_test:]
    return Source(path.name, x[train], y[train], x[test], y[test], classes)


def read_csv(
    path: Path, label: str | None = None, *, n_features: int | None = None, trained_label: str | None = None
) -> tuple[Array, Array | None]:
    """Features (n_rows, n_features) and the label column of a .csv file, its first line a header or not.

    The label is the column of that name, else that of the name a model was trained with if there is one, else the
    last; with n_features columns in all there is none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(i, row) for i, row in enumerate(csv.reader(file), start=1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a readable .csv file: {error}") from None
    if not lines:
        raise ValueError(f"{path} is empty, expected rows of numbers and a label column")
    header = lines[0][1]
    has_header = not all(map(_is_number, header[:-1] or header))
    if label is None and has_header and trained_label in header:
        label = trained_label
    if label is not None and (not has_header or label not in header):
        known = ", ".join(header) if has_header else "no header"
        raise ValueError(f"--label is {label!r}, but {path} has {known}")
    width = len(header)
    at = header.index(label) if label is not None else width - 1
    rows = lines[1:] if has_header else lines
    if not rows:
        raise ValueError(f"{path} has a header only, expected rows of numbers")
    for i, row in rows:
        if len(row) != width:
            raise ValueError(f"{path}, line {i} has {len(row)} columns, expected {width}")
    unlabelled = width == n_features
    features = [[v for k, v in enumerate(row) if unlabelled or k != at] for _, row in rows]
    x = np.empty((len(rows), width if unlabelled else width - 1))
    for (i, _), values, out in zip(rows, features, x, strict=True):
        try:
            out[:] = values
        except ValueError:
            bad = next(v for v in values if not _is_number(v))
            raise ValueError(f"{path}, line {i} has {bad!r}, expected numbers in the feature columns") from None
        if not np.isfinite(out).all():
            raise ValueError(f"{path}, line {i} has {out[~np.isfinite(out)][0]}, expected finite numbers only")
    if unlabelled or x.shape[1] == 0:
        return x, None
    column = [row[at].strip() for _, row in rows]
    if "" in column:
        raise ValueError(f"{path}, line {rows[column.index('')][0]} has no label, expected one in column {at + 1}")
    return x, np.array(column, dtype=np.float64) if all(map(_is_number, column)) else np.array(column)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
