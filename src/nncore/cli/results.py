"""The lines that nncore train prints about a training and its results."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nncore.cli.source import Source
    from nncore.network import NeuralNetwork
    from nncore.training.history import History


def data(source: "Source", history: "History", n_validation: int) -> str:
    """The data of the training, in a line."""
    kind = f"{len(source.classes)} classes" if source.classes else f"{source.n_out} number{'s' * (source.n_out > 1)}"
    sparse = "" if history.density is None else f" ({history.density:.0%} not zero, compressed)"
    held = f" {n_validation:,} validation," if n_validation else ""
    n_train = len(source.x_train) - n_validation
    sizes = f"{n_train:,} train,{held} {len(source.x_test):,} test"
    return f"{source.name}: {sizes}, {source.n_in} inputs{sparse}, {kind}"


def training(args: argparse.Namespace, history: "History") -> str:
    """How it was trained, in a line."""
    parts = [f"{history.iterations:,} iterations of {args.batch_size}", args.optimizer, f"lr {args.lr:g}"]
    schedule = args.schedule or "constant"
    if args.warm_up is not None:
        schedule = f"{schedule} after {args.warm_up} of warm-up"
    parts += [schedule] if args.schedule or args.warm_up is not None else []
    parts += [args.sampling, f"{history.n_threads} thread{'s' if history.n_threads > 1 else ''}"]
    return ", ".join(parts)


def times(history: "History", seconds: float) -> str:
    """The time it took, in a line."""
    per_iteration = 1e6 * history.train_seconds / max(history.iterations, 1)
    return f"{history.train_seconds:.2f} s training, {per_iteration:.1f} µs an iteration; {seconds:.2f} s this command"


def reached(
    net: "NeuralNetwork",
    source: "Source",
    history: "History",
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None,
) -> dict[str, str]:
    """The results by name; with --val the rows that decided are those of the validation, and the test is made now."""
    rows, columns = {}, history.epoch_columns()
    best = len(history.epoch_ends) if history.best_epoch is None else history.best_epoch
    for kind, form in (("accuracy", ".4f"), ("loss", ".6g")):
        if f"test_{kind}" not in columns or not columns[f"test_{kind}"]:
            continue
        values = {name: columns[f"{data}_{kind}"][best - 1] for name, data in (("train", "train"), ("test", "test"))}
        if validation is not None:
            test = source.x_test, source.t_test
            measured = net.evaluate(*test)[kind]
            values = {"train": values["train"], "validation": values["test"], "test": measured}
        rows[kind] = ", ".join(f"{name} {value:{form}}" for name, value in values.items())
    if history.best_epoch is not None and validation is not None:
        watched = f"by the {history.watched_label} of {len(validation[0]):,} rows"
        rows["best epoch"] = f"{best} of {history.epochs}, {watched}"
    if history.ended:
        rows["ended by"] = history.ended
    if not source.classes:
        sets = {"train": train, "validation": validation, "test": (source.x_test, source.t_test)}
        scores = {name: regression_scores(net.predict(pair[0]), pair[1]) for name, pair in sets.items() if pair}
        rows["R²"] = ", ".join(f"{name} {r2:.4g}" for name, (r2, _) in scores.items())
        rows["RMSE"] = ", ".join(f"{name} {rmse:.6g}" for name, (_, rmse) in scores.items())
    return rows


def regression_scores(y: Any, t: Any) -> tuple[float, float]:
    """Return R², the mean over outputs as scikit-learn's r2_score, and the root of the mean squared error."""
    import numpy as np

    y, t = y.astype(np.float64), t.astype(np.float64)
    errors, spread = ((y - t) ** 2).sum(axis=0), ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(spread > 0, 1 - errors / spread, np.where(errors > 0, 0.0, 1.0))
    return float(r2.mean()), float(np.sqrt(errors.sum() / t.size))
