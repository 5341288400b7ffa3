"""nncore train: a network from the options, its training, and what is written and said about it."""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
import tomllib
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nncore.cli import options, results
from nncore.cli.options import BATCH_SIZE, CHECKPOINT_EVERY, ITERATIONS, MOST_EPOCHS, SGD_LR
from nncore.cli.pictures import png, use_agg
from nncore.cli.terminal import fail, note, printable, say

if TYPE_CHECKING:
    from nncore.cli.source import Source
    from nncore.network import NeuralNetwork
    from nncore.training.history import History
    from nncore.training.update_rule import Optimizer

PICTURES = ("weights.png", "mistakes.png")  # of images only
# Endings that a person means a file by.
FILES = (".safetensors", ".h5", ".pt", ".pth", ".pkl", ".onnx", ".npz", ".csv", ".json", ".toml", ".ckpt", ".png", ".h")


def run(args: argparse.Namespace) -> int:
    """Train as the options say; SIGTERM and SIGHUP end it as Ctrl-C does, with exit code 128 + signal."""
    with _signals_interrupt() as signals:
        try:
            code = _train(args, signals)
        except KeyboardInterrupt:
            if not signals:
                raise
            code = fail(f"interrupted by {signals[0].name}", 1)
    return 128 + signals[0] if signals else code


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[list[signal.Signals]]:
    """Have signals that ask for an end raise KeyboardInterrupt; yields the list of those that came."""
    came: list[signal.Signals] = []

    def interrupt(number: int, frame: Any) -> NoReturn:
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup's is left alone
                before[number] = signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _train(args: argparse.Namespace, signals: list[signal.Signals]) -> int:
    from nncore.cli import sources
    from nncore.cli.files import expect_range
    from nncore.core import checks
    from nncore.files import models as persistence

    started = time.perf_counter()
    args = options.complete(args)
    checks.non_negative_int(args.seed, "--seed")
    optimizer = _optimizer(args)
    source = sources.load(args.dataset, test_size=args.test_size, label=args.label, task=args.task, seed=args.seed)
    train, validation = _validation_split(args, source)
    args.batch_size = min(BATCH_SIZE, len(train[0])) if args.batch_size is None else args.batch_size
    defaults = _default_length(args, len(train[0]))
    args.lr, args.out = optimizer.lr, args.out or f"nncore-{Path(args.dataset).stem}"
    net, out = _network(args, source), Path(args.out)
    settings = _fit_settings(args, out)
    for x in (source.x_train, source.x_test):
        expect_range(x, net.dtype, source.name)
    _make_writable(out)
    _note_before(args, source, out)

    def write_config(history: "History | None" = None) -> None:
        if history is None or history.epochs == 1:  # once a killed run could need it
            persistence.write_atomically(out / "config.toml", options.to_toml(args).encode())

    settings |= {"optimizer": optimizer, "callbacks": [write_config] if settings["checkpoint"] else ()}
    history = _fit(net, train, validation or (source.x_test, source.t_test), settings)
    history.held_out = "test" if validation is None else "validation"
    write_config()
    written = [*_write(net, source, history, out), str(out / "config.toml")]
    if not args.quiet:
        rows = {
            "data": results.data(source, history, 0 if validation is None else len(validation[0])),
            **({"labels": source.labels} if source.labels else {}),
            "network": net.description,
            "parameters": f"{net.n_params:,}",
            "training": results.training(args, history) + defaults,
            "time": results.times(history, time.perf_counter() - started),
            **results.reached(net, source, history, train, validation),
            "written": ("\n" + 12 * " ").join(written),
        }
        say("\n".join(f"{name:<11} {value}" for name, value in rows.items()))
    if history.interrupted:
        by = f" by {signals[0].name}" if signals else ""
        return fail(f"interrupted after {history.iterations} iterations{by}; {_how_to_go_on(args)}", 1)
    return 0


def _note_before(args: argparse.Namespace, source: "Source", out: Path) -> None:
    """Say what is known of the data and of the folder before the training."""
    from nncore.cli import advice

    for text in (*source.notes, *advice.on_scales(source), *_earlier(out, args.dataset)):
        note(text)
    if args.resume and not args.quiet and not list(out.glob("run.ckpt*")):
        print(f"nncore: no checkpoint in {out}: training from the start", file=sys.stderr)


def _fit(
    net: "NeuralNetwork", train: tuple[Any, Any], held_out: tuple[Any, Any], settings: dict[str, Any]
) -> "History":
    """Train; an interruption is no warning, as the command ends with a message about it."""
    from nncore.core import notices

    notices.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", notices.InterruptWarning)
        history = net.fit(*train, validation_data=held_out, **settings)
    if history.interrupted and not history.iterations:
        raise KeyboardInterrupt
    return history


def _how_to_go_on(args: argparse.Namespace) -> str:
    """The end of the message about an interruption."""
    if args.resume or args.checkpoint_every:
        return f"what was reached is in {args.out}: the same command with --resume goes on"
    return f"what was reached is in {args.out}: to go on later, train with --checkpoint-every, then with --resume"


def _default_length(args: argparse.Namespace, n_samples: int) -> str:
    """Decide how long to train where the options do not say it; returns what to say about it."""
    if args.iterations is not None or args.epochs is not None:
        return ""
    steps = -(-n_samples // max(args.batch_size, 1))
    args.iterations = min(ITERATIONS, MOST_EPOCHS * steps)
    if args.iterations == ITERATIONS:
        return ""
    return f"; {MOST_EPOCHS:,} epochs by default, --epochs or --iterations for others"


def _earlier(out: Path, dataset: str) -> list[str]:
    """A note if the folder holds a model of other data, which will be replaced."""
    if not (out / "model.safetensors").is_file():
        return []
    try:
        earlier = tomllib.loads((out / "config.toml").read_text(encoding="utf-8")).get("dataset")
    except (OSError, ValueError):
        return []
    return [] if earlier in (dataset, None) else [f"{out} holds a model trained on {earlier}, which will be replaced"]


def _optimizer(args: argparse.Namespace) -> "Optimizer":
    """The optimizer the options describe."""
    from nncore.core import checks
    from nncore.training.optimizers import OPTIMIZERS

    name = checks.choice(args.optimizer, "--optimizer", OPTIMIZERS)
    lr = SGD_LR if args.lr is None and name == "sgd" else args.lr
    return OPTIMIZERS[name]() if lr is None else OPTIMIZERS[name](lr)


def _validation_split(args: argparse.Namespace, source: "Source") -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    """The rows to train on, and with --val those of them that are held back."""
    import numpy as np

    x, t = source.x_train, source.t_train
    if args.val is None:
        if args.early_stopping is not None:
            raise ValueError(f"--early-stopping is {args.early_stopping}, expected --val with it: not the test rows")
        return (x, t), None
    n = round(args.val * len(x)) if 0 < args.val < 1 else 0
    if not 0 < n < len(x):
        raise ValueError(f"--val is {args.val}, expected a fraction that leaves rows of the {len(x)} on both sides")
    order = np.random.default_rng([args.seed, 1]).permutation(len(x))
    held, kept = np.sort(order[:n]), np.sort(order[n:])
    return (x[kept], t[kept]), (x[held], t[held])


def _fit_settings(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The arguments of fit that the options give."""
    from nncore.core import checks
    from nncore.training import schedules

    schedule = args.schedule
    if schedule is not None:
        checks.choice(schedule, "--schedule", schedules.SCHEDULES)
    if args.warm_up is not None:
        schedule = schedules.WarmUp(checks.positive_int(args.warm_up, "--warm-up"), schedule or "constant")
    if args.class_weight is not None:
        checks.choice(args.class_weight, "--class-weight", ["balanced"])
    every = args.checkpoint_every or CHECKPOINT_EVERY
    return {
        "batch_size": args.batch_size, "iterations": args.iterations, "epochs": args.epochs,
        "sampling": args.sampling, "schedule": schedule, "clip_norm": args.clip_norm,
        "class_weight": args.class_weight, "early_stopping": args.early_stopping,
        "n_threads": _whole(args.threads), "rng": args.seed, "progress": False if args.quiet else "auto",
        "checkpoint": out / "run.ckpt" if args.resume or args.checkpoint_every else None,
        "checkpoint_every": _whole(every), "resume": args.resume,
    }  # fmt: skip


def _whole(text: str) -> int | str:
    """A whole number, if it is one."""
    return int(text) if text.isascii() and text.isdigit() else text


def _network(args: argparse.Namespace, source: "Source") -> "NeuralNetwork":
    """The network the options describe, for this data."""
    from nncore.core import checks
    from nncore.functions import kinds
    from nncore.model.layers import Layer
    from nncore.network import NeuralNetwork

    hidden = [checks.positive_int(n, "--hidden") for n in args.hidden if n != 0]
    name, _ = checks.named(args.activation, "--activation", kinds.HIDDEN, kinds.ACTIVATION_PARAMS)
    loss = args.loss = args.loss or ("softmax_cross_entropy" if source.classes else "squared_error")
    if kinds.loss(loss).exclusive and not source.classes:
        raise ValueError(f"--loss is {loss!r}, but the labels of {source.name} are not classes: use squared_error")
    output = "sigmoid" if loss == "squared_error" and source.classes else None
    sizes = [source.n_in, *hidden, source.n_out]
    init = kinds.activation(name).init
    layers = [
        Layer(m, n, args.activation, init=init, dropout=args.dropout, l2=args.l2) for m, n in pairwise(sizes[:-1])
    ]
    layers.append(Layer(sizes[-2], sizes[-1], output, init=init, l2=args.l2))
    return NeuralNetwork(layers, loss=loss, dtype=args.dtype, rng=args.seed, input_scale=source.input_scale)


def _make_writable(folder: Path) -> None:
    """Find out before the training whether its results can be written."""
    if folder.suffix.lower() in FILES and not folder.exists():
        raise ValueError(f"--out is {folder}, expected a name for a folder: the model in it is model.safetensors")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--out is {folder}, which is a file, expected a folder to write to")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"--out is {folder}, which is not writable, expected a folder to write to")


def _write(net: "NeuralNetwork", source: "Source", history: "History", out: Path) -> list[str]:
    """Model, history and pictures; returns the names of the files."""
    from nncore import plotting
    from nncore.files import models as persistence

    use_agg()
    metadata = {
        "dataset": printable(source.name), "classes": json.dumps(source.classes), "label": source.label or "",
        "input": str(source.x_train.dtype), "columns": json.dumps(source.columns) if source.columns else "",
        "decimal": "," if source.decimal_commas else "",
    }  # fmt: skip
    persistence.save(net, out / "model.safetensors", metadata)
    persistence.write_atomically(out / "history.csv", history.to_csv().encode())
    figures = {"curves.png": plotting.plot_curves(history)}
    if source.image_shape is not None:
        probabilities = net.predict_proba(source.x_test) if net.is_classifier else None
        predicted = (net.predict(source.x_test) if probabilities is None else probabilities).argmax(axis=1)
        figures["weights.png"] = plotting.plot_weights(net.params["W1"], source.image_shape)
        figures["mistakes.png"] = plotting.plot_mistakes(
            source.x_test.reshape(-1, *source.image_shape), source.t_test, predicted, probabilities, source.classes
        )
    for name, figure in figures.items():
        persistence.write_atomically(out / name, png(figure))
    for name in set(PICTURES) - set(figures):
        (out / name).unlink(missing_ok=True)  # of an earlier run: beside this model it would mislead
    return [str(out / name) for name in ("model.safetensors", "history.csv", *figures)]
