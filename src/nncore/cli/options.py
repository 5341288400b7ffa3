"""The options of ``nncore train``: from the command line, from a TOML file, and written as one."""

import argparse
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Defaults that others than the table below need as well.
HIDDEN = [50]
SGD_LR = 0.1  # plain descent takes larger steps than the others, whose default is their own
LR_HELP = f"learning rate (default: {SGD_LR:g} for sgd, 0.001 for adam and adamw, 0.002 for nadam, else 0.01)"
BATCH_SIZE = 100  # or all rows, if there are fewer
ITERATIONS, MOST_EPOCHS = 10_000, 1_000  # the book's job, and no more epochs than this on few rows
TEST_SIZE, TASK = 0.2, "auto"
CHECKPOINT_EVERY = "30s"  # of a resumed run

DATASETS = "digits, mnist, fashion-mnist, moons, a .npz file with X and y, or a .csv or .tsv file with a label column"


@dataclass(frozen=True)
class Option:
    """One option, on the command line --name; kind is list for whole numbers, given at once or one at a time."""

    name: str
    kind: type
    metavar: str
    help: str
    default: Any = None

    @property
    def key(self) -> str:
        """Its name in the namespace."""
        return self.name.replace("-", "_")


OPTIONS = {
    "network": [
        Option("hidden", list, "N", "units of a hidden layer; 64,32 or --hidden 64 --hidden 32: two; 0: none", HIDDEN),
        Option("activation", str, "NAME", "of the hidden layers: sigmoid, tanh, relu, gelu and others", "sigmoid"),
        Option("loss", str, "NAME", "(default: softmax_cross_entropy for classes, squared_error for numbers)"),
        Option("dropout", float, "X", "fraction of the hidden units dropped in each update", 0.0),
        Option("l2", float, "X", "penalty: half of X times the sum of the squared weights", 0.0),
        Option("dtype", str, "TYPE", "float32 or float64", "float32"),
    ],
    "training": [
        Option("optimizer", str, "NAME", "sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw or nadam", "sgd"),
        Option(
            "lr",
            float,
            "X",
            LR_HELP,
        ),
        Option("schedule", str, "NAME", "of the learning rate: constant, linear, cosine, inverse_scaling or plateau"),
        Option("warm-up", int, "N", "iterations in which the learning rate rises before that"),
        Option("clip-norm", float, "X", "largest norm of an update's gradient"),
        Option("class-weight", str, "NAME", "balanced: every class counts the same"),
        Option("batch-size", int, "N", f"samples an update (default: {BATCH_SIZE}, or all if there are fewer)"),
        Option("iterations", int, "N", f"updates (default: {ITERATIONS}, for few rows at most {MOST_EPOCHS} epochs)"),
        Option("epochs", int, "N", "passes over the data, instead of iterations"),
        Option("sampling", str, "NAME", "shuffle, replacement or sequential", "shuffle"),
        Option("val", float, "X", "fraction of the training rows to validate on"),
        Option(
            "early-stopping",
            int,
            "N",
            "end after N epochs without a better accuracy (of numbers: loss) on --val, keep the best",
        ),
        Option("seed", int, "N", "for weights, batches and the split of a file", 0),
        Option("threads", str, "N", "threads; the result does not depend on it", "auto"),
    ],
    "files": [
        Option("test-size", float, "X", "fraction of a file kept for testing", TEST_SIZE),
        Option("task", str, "NAME", "classes or numbers: what a file's labels are; auto goes by the labels", TASK),
        Option("label", str, "COLUMN", "label column of a table with a header (default: the last)"),
        Option("out", str, "DIR", "folder to write to, over an earlier run's files (default: nncore-DATASET)"),
        Option("checkpoint-every", str, "TIME", "write DIR/run.ckpt so often: 30s, 10min, or a number of iterations"),
    ],
}
KNOWN = {option.name: option for options in OPTIONS.values() for option in options}


def add(train: argparse.ArgumentParser) -> None:
    """Give the parser all options; what is not given is not in the namespace."""
    train.add_argument("dataset", metavar="DATASET", nargs="?", default=argparse.SUPPRESS, help=DATASETS)
    for title, options in OPTIONS.items():
        group = train.add_argument_group(title)
        for option in options:
            text = option.help if option.default is None else f"{option.help} (default: {_shown(option.default)})"
            many = {"action": "extend", "type": _whole_numbers} if option.kind is list else {"type": option.kind}
            group.add_argument(
                f"--{option.name}", metavar=option.metavar, default=argparse.SUPPRESS, help=text, **many
            )  # fmt: skip
    train.add_argument("--resume", action="store_true", help="go on from DIR/run.ckpt; all other options as before")
    train.add_argument("--config", metavar="FILE", help="take the options that are not given from a .toml file")
    train.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is given, expected whole numbers such as 64 or 64,32") from None


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def complete(args: argparse.Namespace) -> argparse.Namespace:
    """The options given, else those of the file, else the defaults; None for what has no default."""
    given = vars(args)
    config = _read(Path(args.config)) if args.config else {}
    if "iterations" in given and "epochs" in given:
        raise ValueError("--epochs is not allowed with --iterations, expected one of them")
    if "iterations" in given or "epochs" in given:
        config = {key: value for key, value in config.items() if key not in ("iterations", "epochs")}
    defaults = {option.key: option.default for option in KNOWN.values()}
    result = argparse.Namespace(**{**defaults, **config, **given})
    if "dataset" not in result:
        raise ValueError(f"DATASET is missing, expected {DATASETS}")
    return result


def _read(path: Path) -> dict[str, Any]:
    """The options in a TOML file, by their names in the namespace."""
    if not path.is_file():
        raise ValueError(f"--config is {path}, but there is no such file")
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from None
    result = {}
    for name, value in config.items():
        if name not in (*KNOWN, "dataset"):
            raise ValueError(f"{path} has {name!r}, expected options of train: dataset, {', '.join(KNOWN)}")
        result[name.replace("-", "_")] = _checked(path, name, value)
    if "iterations" in result and "epochs" in result:
        raise ValueError(f"{path} has iterations and epochs, expected one of them")
    return result


def _checked(path: Path, name: str, value: Any) -> Any:
    kind = KNOWN[name].kind if name in KNOWN else str
    if kind is float and type(value) is int:
        return float(value)
    if kind is str and type(value) is int and name in ("threads", "checkpoint-every"):
        return str(value)
    whole_numbers = kind is not list or (type(value) is list and all(type(item) is int for item in value))
    if type(value) is not kind or not whole_numbers:
        what = {int: "a whole number", float: "a number", str: "text", list: "a list of whole numbers"}[kind]
        raise ValueError(f"{path} has {name} = {value!r}, expected {what}")
    return value


def to_toml(options: argparse.Namespace) -> str:
    """The options as a TOML file that gives the same training."""
    values = {"dataset": options.dataset, **{name: getattr(options, KNOWN[name].key) for name in KNOWN}}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
    return "\n".join(["# nncore train --config FILE repeats this training", *lines]) + "\n"
