"""Ready callbacks write what the history holds; the history plots itself, becomes a table, is pickled."""

import csv
import pickle
import re
import sys
import types

import numpy as np
import pytest

import nncore
from nncore import SGD, History, InterruptWarning, Layer, NeuralNetwork
from nncore.training.callbacks import CSVLog, PlotHistory, TensorBoard, TimeLimit


@pytest.fixture
def data(rng):
    x = rng.normal(size=(50, 4))
    return x, (x[:, 0] > 0).astype(int)


def fit(data, net=None, **settings):
    net = net or NeuralNetwork([Layer(4, 2)], loss="softmax_cross_entropy", rng=0)
    return net.fit(
        *data, **{"optimizer": SGD(0.3), "batch_size": 15, "epochs": 3, "progress": False, "rng": 1, **settings}
    )


MEASURED = {"schedule": "cosine", "metrics": ["accuracy", "auc"]}


def test_csv_log(data, tmp_path):
    log = CSVLog(tmp_path / "log.csv")
    lines = []
    for _ in range(2):  # the second training begins the file anew
        history = fit(
            data, validation_data=data, callbacks=[log, lambda h: lines.append(log.path.read_text())], **MEASURED
        )
    assert [text.count("\n") for text in lines] == [2, 3, 4, 2, 3, 4]
    rows = list(csv.DictReader(lines[-1].splitlines()))
    assert list(rows[0]) == ["epoch", "iteration", "loss", "lr", "test_accuracy", "test_auc"]
    for i, row in enumerate(rows):
        expected = {
            "epoch": i + 1, "iteration": 4 * i + 4, "loss": history.loss[4 * i : 4 * i + 4] @ [15, 15, 15, 5] / 50,
            "lr": history.lr[4 * i + 3], "test_accuracy": history.test_accuracy[i],
            "test_auc": history.metrics["test_auc"][i],
        }  # fmt: skip
        assert {name: float(value) for name, value in row.items()} == pytest.approx(expected, rel=1e-8)


def test_csv_log_of_a_resumed_training(data, tmp_path):
    def end(history):
        return history.epochs == 2

    settings = {"validation_data": data, "checkpoint": tmp_path / "c", "resume": True, **MEASURED}
    fit(data, callbacks=[end], **settings)
    fit(data, callbacks=[CSVLog(tmp_path / "resumed.csv")], **settings)
    fit(data, validation_data=data, callbacks=[CSVLog(tmp_path / "whole.csv")], **MEASURED)
    assert (tmp_path / "resumed.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_plot_history(data, tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    for name, start in (("h.png", b"\x89PNG"), ("h.svg", b"<?xml"), ("h", b"\x89PNG")):
        fit(data, callbacks=[PlotHistory(tmp_path / name)])
        assert (tmp_path / name).read_bytes().startswith(start)
    assert plt.get_fignums() == before


def test_time_limit(data):
    seen = []

    def clock(history):  # a second an epoch
        history.seconds = float(history.epochs)
        seen.append(history.epochs)

    assert fit(data, epochs=50, callbacks=[clock, TimeLimit(4.5)]).epochs == 5
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="seconds is 0, expected a finite number above 0"):
        TimeLimit(0)


class Writer:
    """Stands in for a SummaryWriter: what was logged."""

    def __init__(self, folder):
        self.folder, self.logged, self.flushed = folder, {}, 0
        Writer.last = self

    def add_scalar(self, name, value, iteration):
        assert type(value) is float
        self.logged.setdefault(name, []).append((iteration, value))

    def flush(self):
        self.flushed += 1


@pytest.mark.parametrize("package", ["tensorboardX", "torch.utils.tensorboard"])
def test_tensorboard(data, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    for name in ("torch", "torch.utils", package) if package.startswith("torch") else (package,):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[package].SummaryWriter = Writer
    history = fit(data, validation_data=data, callbacks=[TensorBoard(tmp_path / "runs")], **MEASURED)
    logged = Writer.last.logged
    assert set(logged) == {"loss", "lr", "accuracy/test", "auc/test"}
    assert logged["accuracy/test"] == list(zip([4, 8, 12], history.test_accuracy, strict=True))
    assert logged["lr"][-1] == (12, history.lr[-1])
    assert Writer.last.flushed == 3
    assert Writer.last.folder == str(tmp_path / "runs")


def test_tensorboard_writes_event_files(data, tmp_path):
    pytest.importorskip("tensorboardX")
    fit(data, callbacks=[TensorBoard(tmp_path)])
    assert [path.name.startswith("events") for path in tmp_path.iterdir()] == [True]


def test_tensorboard_without_a_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        ImportError, match="TensorBoard needs a package that is not installed: pip install tensorboardX"
    ):
        TensorBoard(tmp_path)


def test_history_as_a_frame(data):
    pd = pytest.importorskip("pandas")
    history = fit(data, validation_data=data, **MEASURED)
    frame = history.to_frame()
    assert frame.index.name == "iteration"
    assert frame.index.tolist() == list(range(1, 13))
    np.testing.assert_array_equal(frame["loss"], history.loss)
    np.testing.assert_array_equal(frame["lr"], history.lr)
    for name, values in history.epoch_columns().items():
        assert frame[name].dropna().to_dict() == dict(zip(history.epoch_ends, values, strict=True))
    assert list(fit(data).to_frame().columns) == ["loss"]
    assert isinstance(History().to_frame(), pd.DataFrame)
    read = pd.read_csv(pd.io.common.StringIO(history.to_csv()), index_col="iteration")
    pd.testing.assert_frame_equal(read, frame, rtol=1e-5, check_index_type=False)


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=re.escape("History.to_frame needs pandas, which is not installed")):
        History().to_frame()


def test_history_plots_itself(data):
    import matplotlib.pyplot as plt

    with_columns = fit(data, validation_data=data, metrics=["auc", "top_1"])
    figure = with_columns.plot()
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "auc"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), with_columns.metrics["test_auc"])
    assert len(fit(data).plot().axes) == 1
    plt.close("all")


def test_history_is_pickled(data):
    history = fit(data, validation_data=data, early_stopping=2, **MEASURED)
    again = pickle.loads(pickle.dumps(history))
    assert again.to_csv() == history.to_csv()
    assert (again.best_epoch, again.seconds, again.metrics) == (history.best_epoch, history.seconds, history.metrics)


def test_history_after_ctrl_c(data):
    """It plots, becomes a table and is pickled as that of any run."""

    def press(history):
        if history.epochs == 2:
            raise KeyboardInterrupt

    with pytest.warns(InterruptWarning, match="Ctrl-C ended this fit after 8 iterations"):
        history = pickle.loads(pickle.dumps(fit(data, validation_data=data, callbacks=[press], **MEASURED)))
    assert history.interrupted
    assert (history.iterations, history.epoch_ends) == (8, [4, 8])
    assert len(history.lr) == 8
    assert len(history.to_csv().splitlines()) == 9
    assert nncore.plotting.plot_curves(history).axes
