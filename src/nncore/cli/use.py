"""nncore predict: rows in the form a model was trained on, and what it says of them."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncore.cli.results import regression_scores
from nncore.cli.terminal import note, say

if TYPE_CHECKING:
    from nncore.network import NeuralNetwork

Labels = Sequence[str]


def run(args: argparse.Namespace) -> int:
    """Write a class or a number for every row."""
    net, metadata = load(args.model)
    classes = classes_of(args.model, net, metadata)
    _check_out(args)
    x, y = rows_to_predict(args, net, metadata)
    outputs = net.predict_proba(x) if net.is_classifier else net.predict(x)
    if classes:
        predicted = outputs.argmax(axis=1)
        rows = [
            ["prediction", "score"],
            *([classes[k], f"{row[k]:.6g}"] for k, row in zip(predicted, outputs, strict=True)),
        ]
    else:
        header = [f"prediction{k + 1}" for k in range(net.n_out)] if net.n_out > 1 else ["prediction"]
        rows = [header, *([f"{v:.9g}" for v in row] for row in outputs)]
    if y is not None:
        _say_how_good(args.data, rows[1:], y, classes, outputs)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    if args.out:
        from nncore.files import models as persistence

        persistence.write_atomically(args.out, buffer.getvalue().encode("utf-8", "backslashreplace"))
    else:
        say(buffer.getvalue(), end="")
    return 0


def load(path: str) -> tuple["NeuralNetwork", dict[str, str]]:
    """Return the network in a model file, and the file's metadata."""
    from nncore.cli.files import expect_file
    from nncore.files import models as persistence
    from nncore.network import NeuralNetwork

    expect_file(Path(path), "MODEL")
    return NeuralNetwork.load(path), persistence.read_metadata(path)


def _check_out(args: argparse.Namespace) -> None:
    """Refuse to write over what is read."""
    for argument, path in (("MODEL", args.model), ("DATA", args.data)):
        if args.out and os.path.exists(args.out) and os.path.exists(path) and os.path.samefile(args.out, path):
            raise ValueError(f"--out is {args.out}, which is {argument}, expected another file")
    if args.out and Path(args.out).suffix.lower() in (".npz", ".json", ".parquet", ".xlsx", ".safetensors"):
        raise ValueError(f"--out is {args.out}, expected a name that ends in .csv: predictions are written as such")


def classes_of(path: str, net: "NeuralNetwork", metadata: dict[str, str]) -> list[str]:
    """Return the names of the classes of a model; empty if it has none.

    Raises
    ------
    ValueError
        If the metadata has something else than one name for each output.
    """
    classes = _listed_names(path, metadata, "classes")
    if classes and len(classes) != net.n_out:
        raise ValueError(f"{path} has {len(classes)} names of classes, expected {net.n_out}, one for each output")
    return classes


def _listed_names(path: str, metadata: dict[str, str], entry: str) -> list[str]:
    """A list of different names in the metadata."""
    try:
        names = json.loads(metadata.get(entry) or "[]")
    except (ValueError, RecursionError):
        names = None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_list or len(set(names)) != len(names):
        raise ValueError(f"{path} has {entry} {metadata[entry][:100]!r} in its metadata, expected a list of names")
    return list(names)


def rows_to_predict(
    args: argparse.Namespace, net: "NeuralNetwork", metadata: dict[str, str]
) -> tuple[Any, list[str] | None]:
    """Return the rows of DATA in the form the model was trained on, and their true labels if it has them, as text."""
    import numpy as np

    from nncore.cli import files, rows, sources

    path = Path(args.data)
    ending = path.suffix.lower()
    if ending not in files.FILES:
        if args.data not in sources.NAMES:
            names = ", ".join(sources.NAMES)
            raise ValueError(f"DATA is {args.data!r}, expected one of {names}, or a .npz, .csv or .tsv file")
        source = sources.load(args.data, label=args.label)
        return source.x_test, [source.classes[k] for k in source.t_test]
    files.expect_file(path, "DATA")
    if ending == ".npz":
        if args.label is not None:
            raise ValueError(f"--label is {args.label!r}, expected it for tables only: the labels of {path} are its y")
        x, y = rows.rows_of_npz(path)
    else:
        trained = _trained(args.model, net, metadata)
        x, y, notes = rows.rows_of_table(path, net.n_in, args.label, trained)
        for text in notes:
            note(text)
    if metadata.get("input") == "uint8" and x.dtype != np.uint8:
        if not ((x >= 0) & (x <= 255) & (x == np.round(x))).all():
            raise ValueError(
                f"{path} has values from {x.min():g} to {x.max():g}, expected bytes: whole numbers 0 to 255"
            )
        x = x.astype(np.uint8)
    elif metadata.get("input", "uint8") != "uint8" and x.dtype == np.uint8:
        x = x.astype(np.float64)  # the model was not trained on bytes, which would be scaled
    files.expect_range(x, net.dtype, str(path))
    return x, y


def _trained(path: str, net: "NeuralNetwork", metadata: dict[str, str]) -> Any:
    """Return what the model knows of the table it was trained on."""
    from nncore.cli.rows import Trained

    columns, label = _listed_names(path, metadata, "columns"), metadata.get("label") or None
    n_features = len(columns) - (label in columns)
    if columns and n_features != net.n_in:
        raise ValueError(f"{path} has {n_features} names of columns, expected {net.n_in}, one for each input")
    return Trained(columns, label, metadata.get("decimal") == ",")


def _say_how_good(data: str, rows: Sequence[Sequence[str]], y: Labels, classes: Sequence[str], outputs: Any) -> None:
    """Compare with the labels that the rows have."""
    import numpy as np

    from nncore.data import tables
    from nncore.data.classes import names_as

    names = names_as(y, classes) if classes else list(y)
    known = [k for k, name in enumerate(names) if name != ""]
    of = f"{len(known):,} rows" if len(known) == len(names) else f"{len(known):,} of {len(names):,} rows, with labels"
    if not known:
        return
    if classes:
        unknown = sorted({names[k] for k in known} - set(classes))
        if unknown:
            note(f"{data} has the label {tables.listed(unknown, 5)}, no class of the model: {tables.listed(classes)}")
        right = sum(rows[k][0] == names[k] for k in known)
        print(f"accuracy {right / len(known):.4f} on {of}", file=sys.stderr)
    elif outputs.shape[1] == 1:
        try:
            t = np.array([float(names[k]) for k in known])
        except ValueError:
            note(f"{data} has labels that are no numbers: they are not compared with the predictions")
            return
        r2, rmse = regression_scores(outputs[known], t[:, np.newaxis])
        print(f"R² {r2:.4g}, RMSE {rmse:.6g} on {of}", file=sys.stderr)
