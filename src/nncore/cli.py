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
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nncore.history import History
    from nncore.network import NeuralNetwork
    from nncore.sources import Source

DATASETS = "digits, mnist, fashion-mnist, moons, a .npz file with X and y, or a .csv file with a label column"


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
        "plain gradient descent with learning rate 0.1, 10,000 iterations - the book's job, for mnist.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    train.add_argument("dataset", metavar="DATASET", help=DATASETS)
    network = train.add_argument_group("network")
    network.add_argument(
        "--hidden", type=int, action="append", metavar="N", help="units of a hidden layer; repeat it for more layers, "
        "0 for none (default: 50)", default=argparse.SUPPRESS,
    )  # fmt: skip
    network.add_argument("--activation", default="sigmoid", metavar="NAME", help="sigmoid, tanh, relu or identity")
    network.add_argument(
        "--loss", metavar="NAME", default=argparse.SUPPRESS,
        help="softmax_cross_entropy or squared_error (default: the first for classes, the second for numbers)",
    )  # fmt: skip
    network.add_argument("--dtype", default="float32", metavar="TYPE", help="float32 or float64")
    run = train.add_argument_group("training")
    run.add_argument(
        "--optimizer", default="sgd", metavar="NAME", help="sgd, momentum, nesterov, adagrad, rmsprop, adam or adamw"
    )
    run.add_argument(
        "--lr", type=float, metavar="X", default=argparse.SUPPRESS,
        help="learning rate (default: 0.1 for sgd, 0.001 for adam and adamw, 0.01 for the others)",
    )  # fmt: skip
    run.add_argument(
        "--batch-size", type=int, metavar="N", default=argparse.SUPPRESS,
        help="samples an update (default: 100, or all if there are fewer)",
    )  # fmt: skip
    length = run.add_mutually_exclusive_group()
    length.add_argument(
        "--iterations", type=int, metavar="N", default=argparse.SUPPRESS, help="updates (default: 10000)"
    )
    length.add_argument("--epochs", type=int, metavar="N", default=argparse.SUPPRESS, help="passes over the data")
    run.add_argument("--sampling", default="shuffle", metavar="NAME", help="shuffle, replacement or sequential")
    run.add_argument("--seed", type=int, default=0, metavar="N", help="for weights, batches and the split of a file")
    run.add_argument("--threads", default="auto", metavar="N", help="threads; the result does not depend on it")
    files = train.add_argument_group("files")
    files.add_argument("--test-size", type=float, default=0.2, metavar="X", help="fraction of a file kept for testing")
    files.add_argument(
        "--task", default="auto", metavar="NAME",
        help="classes or numbers: what the labels of a file are; auto takes whole numbers and words for classes",
    )  # fmt: skip
    files.add_argument(
        "--label", metavar="COLUMN", default=argparse.SUPPRESS,
        help="label column of a .csv file with a header (default: the last)",
    )  # fmt: skip
    files.add_argument(
        "--out", metavar="DIR", default=argparse.SUPPRESS, help="folder to write to (default: nncore-DATASET)"
    )
    train.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help="print nothing but errors")
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
    from nncore import _checks, optimizers, sources

    started = time.perf_counter()
    given = vars(args)
    name = _checks.choice(args.optimizer, "--optimizer", optimizers.OPTIMIZERS)
    make, lr = optimizers.OPTIMIZERS[name], given.get("lr", 0.1 if name == "sgd" else None)
    optimizer = make() if lr is None else make(lr)
    threads = int(args.threads) if args.threads.isascii() and args.threads.isdigit() else args.threads
    source = sources.load(
        args.dataset, test_size=args.test_size, label=given.get("label"), task=args.task, seed=args.seed
    )
    net = _network(args, source)
    out = Path(given.get("out") or f"nncore-{Path(args.dataset).stem}")
    _make_writable(out)
    length = {key: given[key] for key in ("iterations", "epochs") if key in given} or {"iterations": 10_000}
    batch_size = given.get("batch_size", min(100, len(source.x_train)))
    quiet = given.get("quiet", False)
    history = net.fit(
        source.x_train, source.t_train, optimizer=optimizer, batch_size=batch_size,
        sampling=args.sampling, validation_data=(source.x_test, source.t_test), n_threads=threads, rng=args.seed,
        progress=False if quiet else "auto", **length,
    )  # fmt: skip
    if history.interrupted and not history.iterations:
        raise KeyboardInterrupt
    written = _write(net, source, history, out)
    if not quiet:
        settings = f"{history.iterations:,} iterations of {batch_size}, {name}, lr {optimizer.lr:g}, {args.sampling}"
        _print_summary(net, source, history, settings, time.perf_counter() - started, written)
    if history.interrupted:
        return _fail(f"interrupted after {history.iterations} iterations; what was reached is in {out}", 1)
    return 0


def _network(args: argparse.Namespace, source: "Source") -> "NeuralNetwork":
    """The network the options describe, for this data."""
    from nncore import _checks
    from nncore.layers import ACTIVATIONS, Layer
    from nncore.network import NeuralNetwork

    hidden = [n for n in vars(args).get("hidden", [50]) if n != 0]
    _checks.choice(args.activation, "--activation", [name for name in ACTIVATIONS if name != "softmax"])
    loss = vars(args).get("loss") or ("softmax_cross_entropy" if source.classes else "squared_error")
    if loss == "softmax_cross_entropy" and not source.classes:
        raise ValueError(f"--loss is {loss!r}, but the labels of {source.name} are not classes: use squared_error")
    output = "sigmoid" if loss == "squared_error" and source.classes else None
    sizes = [source.n_in, *hidden, source.n_out]
    init = "he" if args.activation == "relu" else "xavier"
    activations = [args.activation] * len(hidden) + [output]
    return NeuralNetwork(
        [Layer(m, n, name, init=init) for m, n, name in zip(sizes, sizes[1:], activations, strict=False)],
        loss=loss, dtype=args.dtype, rng=args.seed, input_scale=source.input_scale,
    )  # fmt: skip


def _make_writable(folder: Path) -> None:
    """Find out before the training whether its results can be written."""
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


def _print_summary(
    net: "NeuralNetwork", source: "Source", history: "History", settings: str, seconds: float, written: list[str]
) -> None:
    per_iteration = 1e6 * history.train_seconds / max(history.iterations, 1)
    kind = f"{len(source.classes)} classes" if source.classes else f"{source.n_out} numbers"
    sparse = "" if history.density is None else f" ({history.density:.0%} not zero, compressed)"
    rows = {
        "data": f"{source.name}: {len(source.x_train):,} train, {len(source.x_test):,} test, "
        f"{source.n_in} inputs{sparse}, {kind}",
        "network": net.description,
        "parameters": f"{net.n_params:,}",
        "training": f"{settings}, {history.n_threads} thread{'s' if history.n_threads > 1 else ''}",
        "time": f"{history.train_seconds:.2f} s training, {per_iteration:.1f} µs an iteration; {seconds:.2f} s in all",
    }
    if history.test_accuracy:
        rows["accuracy"] = f"train {history.train_accuracy[-1]:.4f}, test {history.test_accuracy[-1]:.4f}"
    elif history.test_loss:
        rows["loss"] = f"train {history.train_loss[-1]:.6g}, test {history.test_loss[-1]:.6g}"
    rows["written"] = ("\n" + 12 * " ").join(written)
    for name, value in rows.items():
        print(f"{name:<11} {value}")


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
