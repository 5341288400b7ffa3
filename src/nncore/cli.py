"""The nncore command: train, predict, check, show, export, info."""

import argparse
import csv
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncore import _train_options
from nncore._train_options import DATASETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nncore.history import History
    from nncore.network import NeuralNetwork
    from nncore.optimizers import Optimizer
    from nncore.sources import Source


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed or interrupted, 2 wrong arguments or data."""
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print("nncore: warning:", message, file=sys.stderr)
            return int(args.run(args))
    except (ValueError, TypeError) as error:
        return _fail(error, 2)
    except (OSError, ArithmeticError, ImportError, MemoryError, RuntimeError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 1)


def _fail(error: object, code: int) -> int:
    print("nncore: error:", " ".join(str(error).split()), file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nncore", description="Train dense neural networks on a CPU, predict with them, check their gradients."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    predict = commands.add_parser(
        "predict", help="predict with a saved model", description="Write a class or a number for every row of DATA."
    )
    predict.add_argument("model", metavar="MODEL", help="model.safetensors that train wrote")
    predict.add_argument("data", metavar="DATA", help=f"{DATASETS} (of a named data set, the test rows)")
    predict.add_argument("--label", metavar="COLUMN", help="label column of a .csv file with a header (default: last)")
    predict.add_argument("--out", metavar="FILE", help="write the .csv there instead of to the terminal")
    predict.set_defaults(run=_predict)
    check = commands.add_parser(
        "check", help="check a model's gradient element by element",
        description="Compare the back-propagation of MODEL on rows of DATA with central differences of its loss.",
    )  # fmt: skip
    check.add_argument("model", metavar="MODEL", help="model.safetensors that train wrote")
    check.add_argument("data", metavar="DATA", help=f"{DATASETS} (of a named data set, the test rows)")
    check.add_argument("--samples", type=int, default=100, metavar="N", help="rows of DATA to use (default: 100)")
    check.add_argument("--sample", type=int, metavar="K", help="check only K parameters, drawn at random")
    check.add_argument("--label", metavar="COLUMN", help="label column of a .csv file with a header (default: last)")
    check.add_argument("--plot", metavar="FILE", help="draw the report as a PNG picture")
    check.add_argument("--json", metavar="FILE", help="write the report with all its arrays")
    check.set_defaults(run=_check)
    show = commands.add_parser(
        "show", help="show a model's layers, sizes and metadata", description="Show what MODEL holds."
    )
    show.add_argument("model", metavar="MODEL", help="a model file")
    show.set_defaults(run=_show)
    _add_export(commands)
    info = commands.add_parser(
        "info", help="show what is installed and runs", description="Show the configuration, or as show a model."
    )
    info.add_argument("model", metavar="MODEL", nargs="?", help="a model file to show instead")
    info.set_defaults(run=_info)
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a network and write model, history and pictures",
        description="Train a network on DATASET. Without options: one hidden layer of 50, batch 100, "
        "plain gradient descent with learning rate 0.1, 10,000 iterations: the book's job for mnist, which draws its "
        "batches with --sampling replacement. "
        "All options are written beside the model, as config.toml.",
    )
    _train_options.add(train)
    train.set_defaults(run=_train)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export", help="write a model for ONNX, C or PyTorch",
        description="Write MODEL for other programs: ONNX (which needs the package onnx: pip install nncore[onnx]), "
        "one C header that needs <math.h> only, or the safetensors of a PyTorch state dict.",
    )  # fmt: skip
    export.add_argument("model", metavar="MODEL", help="model.safetensors that train wrote")
    export.add_argument("--to", required=True, metavar="FORMAT", help="onnx, c or torch")
    export.add_argument(
        "--out", metavar="FILE", help="(default: MODEL with another ending: .onnx, .h, .torch.safetensors)"
    )
    export.add_argument(
        "--input",
        metavar="TYPE",
        help="for onnx and c: uint8 for bytes, or the network's own (default: as trained)",
    )
    export.add_argument(
        "--name", metavar="NAME", help="for c: begins all names of the header (default: that of the file)"
    )
    export.add_argument("--quantize", metavar="TYPE", help="for c: int8, a byte for each weight")
    export.add_argument(
        "--samples", dest="data", metavar="DATA", help="rows to measure the error of int8 on, as DATA of predict"
    )
    export.set_defaults(run=_export, label=None)


def _train(args: argparse.Namespace) -> int:
    from nncore import _checks, _notices, persistence, sources

    started = time.perf_counter()
    args = _train_options.complete(args)
    _checks.non_negative_int(args.seed, "--seed")
    optimizer = _optimizer(args)
    source = sources.load(args.dataset, test_size=args.test_size, label=args.label, task=args.task, seed=args.seed)
    train, validation = _validation_split(args, source)
    args.batch_size = min(100, len(train[0])) if args.batch_size is None else args.batch_size
    args.iterations = 10_000 if args.iterations is args.epochs is None else args.iterations
    args.lr, args.out = optimizer.lr, args.out or f"nncore-{Path(args.dataset).stem}"
    net, out = _network(args, source), Path(args.out)
    settings = _fit_settings(args, out)
    _make_writable(out)
    if args.resume and not args.quiet and not list(out.glob("run.ckpt*")):
        print(f"nncore: no checkpoint in {out}: training from the start", file=sys.stderr)

    def write_config(history: "History | None" = None) -> None:
        if history is None or history.epochs == 1:  # once a killed run could need it
            persistence.write_atomically(out / "config.toml", _train_options.to_toml(args).encode())

    _notices.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _notices.InterruptWarning)  # it is said below
        history = net.fit(
            *train, optimizer=optimizer, validation_data=validation or (source.x_test, source.t_test),
            callbacks=[write_config] if settings["checkpoint"] else (), **settings,
        )  # fmt: skip
    history.held_out = "test" if validation is None else "validation"
    if history.interrupted and not history.iterations:
        raise KeyboardInterrupt
    write_config()
    written = [*_write(net, source, history, out), str(out / "config.toml")]
    if not args.quiet:
        rows = {
            "data": _data(source, history, 0 if validation is None else len(validation[0])),
            "network": net.description,
            "parameters": f"{net.n_params:,}",
            "training": _training(args, history),
            "time": _times(history, time.perf_counter() - started),
            **_results(net, source, history, 0 if validation is None else len(validation[0])),
            "written": ("\n" + 12 * " ").join(written),
        }
        print("\n".join(f"{name:<11} {value}" for name, value in rows.items()))
    if history.interrupted:
        later = "with --checkpoint-every 30s it could go on by --resume"
        again = "the same command with --resume goes on" if settings["checkpoint"] else later
        reached = f"interrupted after {history.iterations} iterations; what was reached is in {out}"
        return _fail(f"{reached}: {again}", 1)
    return 0


def _optimizer(args: argparse.Namespace) -> "Optimizer":
    """The optimizer the options describe; plain descent takes larger steps than the others."""
    from nncore import _checks
    from nncore.optimizers import OPTIMIZERS

    name = _checks.choice(args.optimizer, "--optimizer", OPTIMIZERS)
    lr = 0.1 if args.lr is None and name == "sgd" else args.lr
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
    """What the options say to fit."""
    from nncore import _checks, schedules

    schedule = args.schedule
    if schedule is not None:
        _checks.choice(schedule, "--schedule", schedules.SCHEDULES)
    if args.warm_up is not None:
        schedule = schedules.WarmUp(_checks.positive_int(args.warm_up, "--warm-up"), schedule or "constant")
    if args.class_weight is not None:
        _checks.choice(args.class_weight, "--class-weight", ["balanced"])
    every = args.checkpoint_every or "30s"
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
    from nncore import _checks
    from nncore.layers import ACTIVATION_PARAMS, ACTIVATIONS, Layer
    from nncore.network import NeuralNetwork

    hidden = [_checks.positive_int(n, "--hidden") for n in args.hidden if n != 0]
    known = [name for name in ACTIVATIONS if name != "softmax"]
    name, _ = _checks.named(args.activation, "--activation", known, ACTIVATION_PARAMS)
    loss = args.loss = args.loss or ("softmax_cross_entropy" if source.classes else "squared_error")
    if loss == "softmax_cross_entropy" and not source.classes:
        raise ValueError(f"--loss is {loss!r}, but the labels of {source.name} are not classes: use squared_error")
    output = "sigmoid" if loss == "squared_error" and source.classes else None
    sizes = [source.n_in, *hidden, source.n_out]
    init = "he" if "relu" in name else "xavier"
    layers = [
        Layer(m, n, args.activation, init=init, dropout=args.dropout, l2=args.l2) for m, n in pairwise(sizes[:-1])
    ]
    layers.append(Layer(sizes[-2], sizes[-1], output, init=init, l2=args.l2))
    return NeuralNetwork(layers, loss=loss, dtype=args.dtype, rng=args.seed, input_scale=source.input_scale)


def _make_writable(folder: Path) -> None:
    """Find out before the training whether its results can be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--out is {folder}, which is a file, expected a folder to write to")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"--out is {folder}, which is not writable, expected a folder to write to")


def _write(net: "NeuralNetwork", source: "Source", history: "History", out: Path) -> list[str]:
    """Model, history and pictures; returns the names of the files."""
    from nncore import persistence, plotting

    _use_agg()
    metadata = {
        "dataset": source.name, "classes": json.dumps(source.classes), "label": source.label or "",
        "input": str(source.x_train.dtype),
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
        persistence.write_atomically(out / name, _png(figure))
    return [str(out / name) for name in ("model.safetensors", "history.csv", *figures)]


def _use_agg() -> None:
    """Pictures go to files: no window system is asked for."""
    import matplotlib

    matplotlib.use("Agg")


def _png(figure: "Figure") -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return buffer.getvalue()


def _data(source: "Source", history: "History", n_validation: int) -> str:
    """What it was trained on, in a line."""
    kind = f"{len(source.classes)} classes" if source.classes else f"{source.n_out} numbers"
    sparse = "" if history.density is None else f" ({history.density:.0%} not zero, compressed)"
    held = f" {n_validation:,} validation," if n_validation else ""
    n_train = len(source.x_train) - n_validation
    sizes = f"{n_train:,} train,{held} {len(source.x_test):,} test"
    return f"{source.name}: {sizes}, {source.n_in} inputs{sparse}, {kind}"


def _training(args: argparse.Namespace, history: "History") -> str:
    """How it was trained, in a line."""
    parts = [f"{history.iterations:,} iterations of {args.batch_size}", args.optimizer, f"lr {args.lr:g}"]
    schedule = args.schedule or "constant"
    if args.warm_up is not None:
        schedule = f"{schedule} after {args.warm_up} of warm-up"
    parts += [schedule] if args.schedule or args.warm_up is not None else []
    parts += [args.sampling, f"{history.n_threads} thread{'s' if history.n_threads > 1 else ''}"]
    return ", ".join(parts)


def _times(history: "History", seconds: float) -> str:
    per_iteration = 1e6 * history.train_seconds / max(history.iterations, 1)
    return f"{history.train_seconds:.2f} s training, {per_iteration:.1f} µs an iteration; {seconds:.2f} s this command"


def _results(net: "NeuralNetwork", source: "Source", history: "History", n_validation: int) -> dict[str, str]:
    """What was reached; with --val the rows that decided are those of the validation, and the test is made now."""
    rows, columns = {}, history.epoch_columns()
    best = len(history.epoch_ends) if history.best_epoch is None else history.best_epoch
    for kind, form in (("accuracy", ".4f"), ("loss", ".6g")):
        if f"test_{kind}" not in columns or not columns[f"test_{kind}"]:
            continue
        values = {name: columns[f"{data}_{kind}"][best - 1] for name, data in (("train", "train"), ("test", "test"))}
        if n_validation:
            test = source.x_test, source.t_test
            measured = net.evaluate(*test)[kind]
            values = {"train": values["train"], "validation": values["test"], "test": measured}
        rows[kind] = ", ".join(f"{name} {value:{form}}" for name, value in values.items())
    if history.best_epoch is not None:
        rows["best epoch"] = f"{best} of {history.epochs}, by the {history.watched_label} of {n_validation:,} rows"
    if history.ended:
        rows["ended by"] = history.ended
    return rows


def _predict(args: argparse.Namespace) -> int:
    from nncore import persistence
    from nncore.network import NeuralNetwork

    net = NeuralNetwork.load(args.model)
    metadata = persistence.read_metadata(args.model)
    classes = json.loads(metadata.get("classes", "[]"))
    x, y = _rows_to_predict(args, net, metadata)
    outputs = net.predict_proba(x) if net.is_classifier else net.predict(x)
    if classes:
        predicted = outputs.argmax(axis=1)
        rows = [
            ["prediction", "score"],
            *([classes[k], f"{row[k]:.6g}"] for k, row in zip(predicted, outputs, strict=True)),
        ]
        if y is not None:
            right = sum(classes[k] == label for k, label in zip(predicted, y, strict=True))
            print(f"accuracy {right / len(y):.4f} on {len(y):,} rows", file=sys.stderr)
    else:
        header = [f"prediction{k + 1}" for k in range(net.n_out)] if net.n_out > 1 else ["prediction"]
        rows = [header, *([f"{v:.9g}" for v in row] for row in outputs)]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    text = buffer.getvalue()
    if args.out:
        persistence.write_atomically(args.out, text.encode())
    else:
        print(text, end="")
    return 0


def _rows_to_predict(
    args: argparse.Namespace, net: "NeuralNetwork", metadata: dict[str, str]
) -> tuple[Any, list[str] | None]:
    """The rows of DATA in the form the model was trained on, and the names of their true classes if it has them."""
    import numpy as np

    from nncore import sources

    path = Path(args.data)
    if path.suffix == ".csv":
        x, y = sources.read_csv(path, args.label, n_features=net.n_in, trained_label=metadata.get("label"))
    elif path.suffix == ".npz":
        arrays = sources.read_npz(path)
        if "X" not in arrays:
            raise ValueError(f"{path} has the arrays {', '.join(arrays) or 'none'}, expected X")
        x, y = arrays["X"].reshape(len(arrays["X"]), -1), arrays.get("y")
    else:
        source = sources.load(args.data)
        return source.x_test, [source.classes[k] for k in source.t_test]
    if metadata.get("input") == "uint8" and x.dtype != np.uint8:
        if not ((x >= 0) & (x <= 255) & (x == np.round(x))).all():
            raise ValueError(
                f"{path} has values from {x.min():g} to {x.max():g}, expected bytes: whole numbers 0 to 255"
            )
        x = x.astype(np.uint8)
    if y is None or y.ndim != 1:
        return x, None
    whole = y.dtype.kind == "f" and bool((y == np.round(y)).all())
    return x, [str(v) for v in (y.astype(np.int64) if whole else y)]


def _check(args: argparse.Namespace) -> int:
    import numpy as np

    from nncore import _checks, check_gradient, persistence
    from nncore.network import NeuralNetwork

    count = _checks.positive_int(args.samples, "--samples")
    net = NeuralNetwork.load(args.model)
    metadata = persistence.read_metadata(args.model)
    classes = json.loads(metadata.get("classes", "[]"))
    x, y = _rows_to_predict(args, net, metadata)
    if y is None:
        raise ValueError(f"DATA is {args.data!r}, which has no labels, expected a data set with them")
    unknown = sorted({label for label in y if classes and label not in classes})
    if unknown:
        raise ValueError(f"{args.data} has the label {unknown[0]!r}, expected one of {', '.join(classes)}")
    t = [classes.index(label) for label in y] if classes else np.array(y, dtype=np.float64)
    report = check_gradient(net, x[:count], t[:count], sample=args.sample)
    if args.json:
        persistence.write_atomically(args.json, report.to_json().encode())
    if args.plot:
        _use_agg()
        persistence.write_atomically(args.plot, _png(report.plot()))
    print(report)
    return 0 if report.passed else 1


def _show(args: argparse.Namespace) -> int:
    from nncore import persistence
    from nncore.network import NeuralNetwork

    net = NeuralNetwork.load(args.model)
    metadata = persistence.read_metadata(args.model)
    state = "verified" if "sha256" in metadata else "unverified, it has no SHA-256"
    print(f"{args.model}: {os.path.getsize(args.model):,} bytes, {state}")
    print(net.summary())
    print(f"\n{'uint8 scale':<11} {net.input_scale:.6g}")
    for name, value in sorted(metadata.items()):
        if value and name not in ("architecture", "nncore_format"):
            print(f"{name:<11} {value if value.isprintable() else repr(value)}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from nncore import _checks, persistence
    from nncore.network import NeuralNetwork

    endings = {"onnx": ".onnx", "c": ".h", "torch": ".torch.safetensors"}
    ending = endings[_checks.choice(args.to, "--to", endings)]
    of_c = {"--name": args.name, "--quantize": args.quantize, "--samples": args.data}
    for option, value in {**of_c, "--input": args.input}.items():
        if value is not None and args.to != "c" and (args.to, option) != ("onnx", "--input"):
            raise ValueError(f"{option} is {value!r}, expected no such option with --to {args.to}")
    net = NeuralNetwork.load(args.model)
    metadata = persistence.read_metadata(args.model)
    out = Path(args.out or Path(args.model).with_suffix(ending))
    input_dtype = args.input or ("uint8" if metadata.get("input") == "uint8" else None)
    if args.to == "onnx":
        net.export_onnx(out, input_dtype=input_dtype)
    elif args.to == "torch":
        print(f"module      {net.export_torch(out)}")
        if input_dtype:
            print(f"input       bytes times {net.input_scale:.9g}")
    else:
        samples = None if args.data is None else _rows_to_predict(args, net, metadata)[0]
        error = net.export_c(out, name=args.name, input_dtype=input_dtype, quantize=args.quantize, samples=samples)
        if args.quantize:
            print(f"difference  {error:.3g} in an output at most")
    print(f"written     {out}, {out.stat().st_size:,} bytes")
    return 0


def _info(args: argparse.Namespace) -> int:
    import nncore

    if args.model is not None:
        return _show(args)
    nncore.show_config()
    return 0
