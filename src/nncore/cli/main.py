"""The nncore command: train, predict, check, show, export, info."""

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nncore import __version__
from nncore.cli import options, train, use
from nncore.cli.options import DATASETS
from nncore.cli.pictures import png, use_agg
from nncore.cli.terminal import fail, note, say
from nncore.cli.use import classes_of, rows_to_predict


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed or interrupted, 2 wrong arguments or data."""
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: note(message)
            return int(args.run(args))
    except (ValueError, TypeError) as error:
        return fail(error, 2)
    except MemoryError as error:
        return fail(f"not enough memory: {error}", 1)
    except (OSError, ArithmeticError, ImportError, RuntimeError) as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return fail("interrupted", 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nncore", description="Train dense neural networks on a CPU, predict with them, check their gradients."
    )
    parser.add_argument(
        "--version", action="version", version=f"nncore {__version__}", help="show the version and exit"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_predict(commands)
    _add_check(commands)
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


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict", help="predict with a saved model", description="Write a class or a number for every row of DATA."
    )
    predict.add_argument("model", metavar="MODEL", help="model.safetensors that train wrote")
    predict.add_argument("data", metavar="DATA", help=f"{DATASETS} (of a named data set, the test rows)")
    predict.add_argument("--label", metavar="COLUMN", help="label column of a table (default: as in training, or last)")
    predict.add_argument("--out", metavar="FILE", help="write the .csv there instead of to the terminal")
    predict.set_defaults(run=use.run)


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check", help="check a model's gradient element by element",
        description="Compare the back-propagation of MODEL on rows of DATA with central differences of its loss.",
    )  # fmt: skip
    check.add_argument("model", metavar="MODEL", help="model.safetensors that train wrote")
    check.add_argument("data", metavar="DATA", help=f"{DATASETS} (of a named data set, the test rows)")
    check.add_argument("--samples", type=int, default=100, metavar="N", help="rows of DATA to use (default: 100)")
    check.add_argument("--sample", type=int, metavar="K", help="check only K parameters, drawn at random")
    check.add_argument("--label", metavar="COLUMN", help="label column of a table (default: as in training, or last)")
    check.add_argument("--plot", metavar="FILE", help="draw the report as a PNG picture")
    check.add_argument("--json", metavar="FILE", help="write the report with all its arrays")
    check.add_argument("--html", metavar="FILE", help="write the report as a page")
    check.set_defaults(run=_check)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network and write model, history and pictures",
        description="Train a network on DATASET. "
        f"Without options: one hidden layer of {options.HIDDEN[0]}, batch {options.BATCH_SIZE}, plain gradient descent "
        f"with learning rate {options.SGD_LR:g}, {options.ITERATIONS:,} iterations: the book's job for mnist, which "
        "draws its batches with --sampling replacement. "
        "All options are written beside the model, as config.toml.",
    )
    options.add(parser)
    parser.set_defaults(run=train.run)


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


def _check(args: argparse.Namespace) -> int:
    import numpy as np

    from nncore import check_gradient
    from nncore.core import checks
    from nncore.data.classes import names_as
    from nncore.files import models as persistence

    count = checks.positive_int(args.samples, "--samples")
    net, metadata = use.load(args.model)
    classes = classes_of(args.model, net, metadata)
    x, y = rows_to_predict(args, net, metadata)
    if y is None or "" in y:
        raise ValueError(f"DATA is {args.data!r}, which has no labels, expected a data set with them")
    y = names_as(y, classes) if classes else y
    unknown = sorted({label for label in y if classes and label not in classes})
    if unknown:
        raise ValueError(f"{args.data} has the label {unknown[0]!r}, expected one of {', '.join(classes)}")
    t = [classes.index(label) for label in y] if classes else np.array(y, dtype=np.float64)
    report = check_gradient(net, x[:count], t[:count], sample=args.sample)
    if args.json:
        persistence.write_atomically(args.json, report.to_json().encode())
    if args.html:
        persistence.write_atomically(args.html, report.to_html().encode())
    if args.plot:
        use_agg()
        persistence.write_atomically(args.plot, png(report.plot()))
    print(report)
    return 0 if report.passed else 1


def _show(args: argparse.Namespace) -> int:
    net, metadata = use.load(args.model)
    state = "verified" if "sha256" in metadata else "unverified, it has no SHA-256"
    print(f"{args.model}: {os.path.getsize(args.model):,} bytes, {state}")
    print(net.summary())
    print()
    if metadata.get("input", "uint8") == "uint8":  # else bytes are no input of this model
        print(f"{'uint8 scale':<11} {net.input_scale:.6g}")
    for name, value in sorted(metadata.items()):
        if value and name not in ("architecture", "nncore_format"):
            say(f"{name:<11} {value if value.isprintable() else repr(value)}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from nncore.core import checks

    endings = {"onnx": ".onnx", "c": ".h", "torch": ".torch.safetensors"}
    ending = endings[checks.choice(args.to, "--to", endings)]
    of_c = {"--name": args.name, "--quantize": args.quantize, "--samples": args.data}
    for option, value in {**of_c, "--input": args.input}.items():
        if value is not None and args.to != "c" and (args.to, option) != ("onnx", "--input"):
            raise ValueError(f"{option} is {value!r}, expected no such option with --to {args.to}")
    net, metadata = use.load(args.model)
    out = Path(args.out or Path(args.model).with_suffix(ending))
    if out.suffix.lower() in train.FILES and not out.name.endswith(ending[ending.rindex(".") :]):
        raise ValueError(f"--out is {out}, expected a name that ends in {ending}, which --to {args.to} writes")
    input_dtype = args.input or ("uint8" if metadata.get("input") == "uint8" else None)
    if args.to == "onnx":
        net.export_onnx(out, input_dtype=input_dtype)
    elif args.to == "torch":
        print(f"module      {net.export_torch(out)}")
        if input_dtype:
            print(f"input       bytes times {net.input_scale:.9g}")
    else:
        samples = None if args.data is None else rows_to_predict(args, net, metadata)[0]
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
