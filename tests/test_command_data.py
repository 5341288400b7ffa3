"""The command on tables and arrays: columns by name, labels, what is said, and what ends it."""

import io
import json
import os
import re
import signal
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error

import nncore
from nncore import Layer, NeuralNetwork
from nncore.cli import main as cli
from nncore.cli import train
from nncore.cli.terminal import printable
from nncore.files import models as persistence


def run(capsys, *args):
    """Exit code, stdout, stderr."""
    try:
        code = cli.main([str(a) for a in args])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Their content is tested elsewhere, and takes most of the time."""

    def png(figure):
        plt.close(figure)
        return b""

    monkeypatch.setattr(train, "png", png)


def kinds(n=60):
    rng = np.random.default_rng(0)
    for i in range(n):
        yield f"{i % 2 + rng.normal(0, 0.1):.2f}", f"{5 - 5 * (i % 2) + rng.normal(0, 0.1):.2f}", "xy"[i % 2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of columns a and b, with the label kind between them."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "train.csv").write_text("a,kind,b\n" + "".join(f"{a},{kind},{b}\n" for a, b, kind in kinds()))
    args = ("--label", "kind", "--iterations", "500", "--lr", "0.5", "--quiet", "--out", str(folder))
    assert cli.main(["train", str(folder / "train.csv"), *args]) == 0
    return folder / "model.safetensors"


PREDICTED = {
    "a,b\n0,5\n1,0\n": ("xy", ""),
    "b,a\n5,0\n0,1\n": ("xy", ""),
    "b, a\r\n5, 0\r\n0, 1\r\n": ("xy", ""),
    "kind,b,a\nx,5,0\nx,0,1\n": ("xy", "accuracy 0.5000 on 2 rows"),
    "b,a,kind\n5,0,x\n0,1,y\n": ("xy", "accuracy 1.0000 on 2 rows"),
    "b;a;kind\n5,0;0,0;x\n0,0;1,0;y\n": ("xy", "accuracy 1.0000 on 2 rows"),
    "b\ta\n5\t0\n0\t1\n": ("xy", ""),
    "a,b,kind\n0,5,\n1,0,y\n": ("xy", "accuracy 1.0000 on 1 of 2 rows, with labels"),
    "a,b,kind\n0,5,\n1,0,\n": ("xy", ""),
    "a,b,kind\n0,5,z\n1,0,y\n": ("xy", "has the label z, no class of the model: x, y"),
    ",a,b\n0,0,5\n1,1,0\n": ("xy", "the first column has no name and is left out"),
    ",b,a,kind\n0,5,0,x\n1,0,1,y\n": ("xy", "accuracy 1.0000 on 2 rows"),
    "0,5\n1,0\n": ("xy", "has no header: its columns are taken in the order of the training"),
    "0,x,5\n1,y,0\n": ("xy", "accuracy 1.0000 on 2 rows"),
}


@pytest.mark.parametrize("text", PREDICTED)
def test_columns_are_taken_by_name(model, text, tmp_path, capsys):
    (tmp_path / "p.csv").write_bytes(text.encode())
    code, out, err = run(capsys, "predict", model, tmp_path / "p.csv")
    expected, said = PREDICTED[text]
    assert code == 0
    assert "".join(line.split(",")[0] for line in out.splitlines()[1:]) == expected
    assert said in err if said else err == ""


NOT_PREDICTED = {
    "a,c\n0,5\n": "lacks b and has c, unknown to the model, expected the columns a, b (and kind, the label) in",
    "a\n0\n": "lacks b, expected the columns a, b",
    "a,b,c\n0,5,1\n": "has c, unknown to the model",
    "a,b,a\n0,5,1\n": "has two columns named 'a'",
    "A,B\n0,5\n": "lacks a, b and has A, B, unknown",
    "0,1,2,3\n4,5,6,7\n": "lacks a, b and has 0, 1, 2, 3, unknown",
    "5,1,2,3\n4,5,6,7\n": "has 4 columns, expected the 2 inputs of the model, 3 with labels",
    "a,b\n0,?\n": "line 2 has '?', expected numbers in column b",
    "a,b\n": "has a header only",
}


@pytest.mark.parametrize("text", NOT_PREDICTED)
def test_other_columns_are_refused(model, text, tmp_path, capsys):
    (tmp_path / "p.csv").write_text(text)
    code, out, err = run(capsys, "predict", model, tmp_path / "p.csv")
    assert (code, out) == (2, "")
    assert NOT_PREDICTED[text] in err
    assert err.count("\n") == 1


def test_a_model_without_names_takes_columns_in_their_order(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("".join(f"{a},{b},{kind}\n" for a, b, kind in kinds()))
    assert run(capsys, "train", tmp_path / "t.csv", "--iterations", 500, "--lr", 0.5, "--out", tmp_path / "o")[0] == 0
    (tmp_path / "p.csv").write_text("p,q\n0,5\n1,0\n")
    code, out, err = run(capsys, "predict", tmp_path / "o" / "model.safetensors", tmp_path / "p.csv")
    assert (code, [line[0] for line in out.splitlines()[1:]]) == (0, ["x", "y"])
    assert "the model knows no names of columns" in err


@pytest.mark.parametrize("labels", [("1.0", "2"), ("1", "2.0"), ("01.0e0", "2")])
def test_labels_that_are_the_same_number(labels, tmp_path, capsys):
    """1 and 1.0 are one class, in training and in prediction."""
    rows = [f"{a},{b},{'12'['xy'.index(kind)]}\n" for a, b, kind in kinds()]
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "".join(rows))
    assert run(capsys, "train", tmp_path / "t.csv", "--iterations", 500, "--lr", 0.5, "--out", tmp_path / "o")[0] == 0
    (tmp_path / "p.csv").write_text(f"a,b,kind\n0,5,{labels[0]}\n1,0,{labels[1]}\n0,5,1.5\n")
    _, out, err = run(capsys, "predict", tmp_path / "o" / "model.safetensors", tmp_path / "p.csv")
    right = 2 if not labels[0].startswith("0") else 1
    assert f"accuracy {right / 3:.4f} on 3 rows" in err
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["1", "2", "1"]


def test_numbers_are_measured_as_scikit_learn_does(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    y = x[:, 0] - 0.5 * x[:, 1] + 0.1 * rng.normal(size=80)
    np.savez(tmp_path / "d.npz", X=x[:60], y=y[:60], X_test=x[60:], y_test=y[60:])
    args = ("--hidden", 0, "--iterations", 300, "--val", 0.25, "--out", tmp_path / "o")
    code, text, err = run(capsys, "train", tmp_path / "d.npz", *args)
    assert (code, err) == (0, "")
    net = NeuralNetwork.load(tmp_path / "o" / "model.safetensors")
    predicted = net.predict(x)[:, 0]
    shown = re.search(r"^R² +train [\d.]+, validation [\d.]+, test ([\d.]+)$", text, re.MULTILINE)[1]
    assert float(shown) == pytest.approx(r2_score(y[60:], predicted[60:]), rel=1e-3)
    shown = re.search(r"^RMSE +train [\d.]+, validation [\d.]+, test ([\d.]+)$", text, re.MULTILINE)[1]
    assert float(shown) == pytest.approx(root_mean_squared_error(y[60:], predicted[60:]), rel=1e-5)
    np.savez(tmp_path / "p.npz", X=x[60:], y=y[60:, np.newaxis])
    _, _, err = run(capsys, "predict", tmp_path / "o" / "model.safetensors", tmp_path / "p.npz")
    r2, rmse = r2_score(y[60:], predicted[60:]), root_mean_squared_error(y[60:], predicted[60:])
    assert err == f"R² {r2:.4g}, RMSE {rmse:.6g} on 20 rows\n"


def test_decimal_commas_in_labels_that_lack_some(tmp_path, capsys):
    rows = [(i % 7 / 4, i % 3 / 2) for i in range(40)]
    text = "a;b;y\n" + "".join(f"{a};{b};{a - b + 0.125}\n" for a, b in rows).replace(".", ",")
    (tmp_path / "t.csv").write_text(text)
    args = ("--hidden", 0, "--iterations", 500, "--out", tmp_path / "o")
    assert run(capsys, "train", tmp_path / "t.csv", *args)[0] == 0
    (tmp_path / "p.csv").write_text("b;y;a\n0,5;0,625;1\n0;;1\n1,0;0,875;1,75\n")
    code, out, err = run(capsys, "predict", tmp_path / "o" / "model.safetensors", tmp_path / "p.csv")
    assert code == 0
    np.testing.assert_allclose([float(line) for line in out.splitlines()[1:]], [0.625, 1.125, 0.875], atol=0.05)
    assert re.fullmatch(r"R² [\d.]+, RMSE [\d.]+ on 2 of 3 rows, with labels\n", err)


def test_prices_are_numbers_and_said_to_be(tmp_path, capsys):
    """F51: 30 prices are not 30 classes; targets of this size may let the training diverge, which is said before."""
    rows = "".join(f"{i},{i * i},{100000 + 1000 * i}\n" for i in range(30))
    (tmp_path / "price.csv").write_text("a,b,y\n" + rows)
    code, out, err = run(capsys, "train", tmp_path / "price.csv", "--iterations", 50, "--out", tmp_path / "o")
    assert code in (0, 1)
    assert "classes" not in out
    assert "column y has 30 different whole numbers from 100000 to 129000, taken for numbers: --task classes" in err
    assert "the targets have the mean 1.1" in err
    assert "column b (about 4" in err
    code, out, _ = run(
        capsys, "train", tmp_path / "price.csv", "--task", "classes", "--iterations", 5, "--out", tmp_path / "c"
    )
    assert (code, "2 inputs, 30 classes" in out) == (0, True)


def test_few_rows_do_not_get_thousands_of_epochs(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "".join(f"{a},{b},{kind}\n" for a, b, kind in kinds(150)))
    code, text, _ = run(capsys, "train", tmp_path / "t.csv", "--out", tmp_path / "o")
    assert code == 0
    assert "2,000 iterations of 100, sgd" in text
    assert "1,000 epochs by default, --epochs or --iterations for others" in text
    assert "iterations = 2000\n" in (tmp_path / "o" / "config.toml").read_text()


def test_what_early_stopping_watches_is_said(tmp_path, capsys):
    args = ("moons", "--val", 0.1, "--early-stopping", 2, "--epochs", 4, "--out", tmp_path)
    _, text, _ = run(capsys, "train", *args)
    assert re.search(r"^(stopping|best epoch) .*\bby the .*accuracy .*\b140 .*rows", text, re.MULTILINE)


@pytest.mark.parametrize("given", [["64,32"], ["64", "32"], ["64, 32"]])
def test_hidden_layers_in_one_option(given, tmp_path, capsys):
    args = [part for value in given for part in ("--hidden", value)]
    _, text, _ = run(capsys, "train", "moons", *args, "--iterations", 5, "--out", tmp_path)
    assert "2-64-32-2" in text


@pytest.mark.parametrize("given", ["64;32", "64x32", "64,", "1.5", ""])
def test_hidden_layers_otherwise_written(given, tmp_path, capsys):
    code, _, err = run(capsys, "train", "moons", "--hidden", given, "--out", tmp_path)
    assert code == 2
    assert f"--hidden: {given!r} is given, expected whole numbers such as 64 or 64,32" in err


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"nncore {nncore.__version__}\n", "")


def test_show_tells_of_bytes_only_where_they_are_inputs(model, capsys):
    code, text, _ = run(capsys, "show", model)
    assert (code, "uint8 scale" in text) == (0, False)
    assert 'columns     ["a", "kind", "b"]' in text


# ---- what ends a training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)])
def test_a_signal_ends_the_training_as_ctrl_c_does(name, tmp_path, capsys, monkeypatch, request):
    """Model and checkpoint are written, and going on gives what a run without the signal gives."""
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
    request.addfinalizer(lambda: signal.signal(number, before))
    options = ["train", "moons", "--iterations", 300, "--checkpoint-every", "1h", "--quiet", "--out"]
    assert run(capsys, *options, tmp_path / "whole")[0] == 0
    monkeypatch.setattr(nncore.training.run, "CHUNK_SECONDS", 0.0)
    calls = []

    def update(bar, n):
        calls.append(n)
        if len(calls) == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(nncore.training.progress.NoBar, "update", update)
    code, out, err = run(capsys, *options, tmp_path / "o")
    assert (code, out) == (128 + number, "")
    assert re.search(
        rf"interrupted after \d+ iterations by {name}; what was reached is in .*with --resume goes on\n", err
    )
    assert (tmp_path / "o" / "run.ckpt").exists()
    assert signal.getsignal(number) is signal.SIG_DFL
    assert run(capsys, *options, tmp_path / "o", "--resume") == (0, "", "")
    one, other = (NeuralNetwork.load(tmp_path / name / "model.safetensors") for name in ("whole", "o"))
    np.testing.assert_array_equal(one.core.params, other.core.params)


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def update(bar, n):
        if n:
            raise KeyboardInterrupt

    monkeypatch.setattr(nncore.training.progress.NoBar, "update", update)
    for options, way_out in (
        ((), "to go on later, train with --checkpoint-every, then with --resume"),
        (("--checkpoint-every", "1h"), "the same command with --resume goes on"),
    ):
        code, _, err = run(capsys, "train", "moons", "--epochs", 50, "--quiet", "--out", tmp_path, *options)
        assert code == 1
        assert err.splitlines()[-1].endswith(way_out)


# ---- what is written ---------------------------------------------------------------------------------------


def test_nothing_of_an_earlier_run_misleads(tmp_path, capsys):
    run(capsys, "train", "digits", "--iterations", 5, "--out", tmp_path)
    assert (tmp_path / "weights.png").exists()
    code, _, err = run(capsys, "train", "moons", "--iterations", 5, "--out", tmp_path)
    assert (code, err) == (0, f"nncore: warning: {tmp_path} holds a model trained on digits, which will be replaced\n")
    assert not (tmp_path / "weights.png").exists()
    assert not (tmp_path / "mistakes.png").exists()
    assert run(capsys, "train", "moons", "--iterations", 5, "--out", tmp_path)[2] == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "moons", "--out", "m.h5"], "--out is m.h5, expected a name for a folder"),
        (["train", "moons", "--out", "model.safetensors"], "expected a name for a folder"),
        (["predict", "MODEL", "d.csv", "--out", "d.csv"], "--out is d.csv, which is DATA, expected another file"),
        (["predict", "MODEL", "d.csv", "--out", "MODEL"], "which is MODEL, expected another file"),
        (["predict", "MODEL", "d.csv", "--out", "p.npz"], "--out is p.npz, expected a name that ends in .csv"),
        (["export", "MODEL", "--to", "c", "--out", "a.onnx"], "--out is a.onnx, expected a name that ends in .h"),
        (["export", "MODEL", "--to", "torch", "--out", "a.pt"], "expected a name that ends in .torch.safetensors"),
    ],
)
def test_files_that_would_be_misread_or_lost(args, message, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.csv").write_text("a,b\n0,5\n")
    before = (tmp_path / "d.csv").read_bytes(), model.read_bytes()
    code, out, err = run(capsys, *[str(model) if arg == "MODEL" else arg for arg in args])
    assert (code, out) == (2, "")
    assert message in err
    assert ((tmp_path / "d.csv").read_bytes(), model.read_bytes()) == before


@pytest.mark.parametrize(
    "args",
    [
        ["train", "absent.csv"], ["train", "absent.npz"], ["train", "folder.csv"], ["train", "--config", "absent.toml"],
        ["predict", "absent.safetensors", "moons"], ["predict", "MODEL", "absent.csv"], ["predict", "MODEL", "no.npz"],
        ["predict", "folder.csv", "moons"], ["predict", "MODEL", "d.parquet"], ["check", "absent", "moons"],
        ["check", "MODEL", "absent.csv"], ["show", "absent"], ["info", "absent"], ["export", "absent", "--to", "c"],
    ],
)  # fmt: skip
def test_a_file_that_is_not_there(args, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    code, out, err = run(capsys, *[str(model) if arg == "MODEL" else arg for arg in args])
    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"nncore: error: (MODEL|DATA|DATASET|--config) is .*(no such file|a folder|expected one of).*\n", err
    )


# ---- models with hostile metadata --------------------------------------------------------------------------


METADATA = ['["a"]', '["a", "b", "c"]', '{"a": 1}', '["a", 1]', '["a", "a"]', "[", "[" * 100_000, "7"]


@pytest.mark.parametrize("text", METADATA, ids=range(len(METADATA)))
@pytest.mark.parametrize("entry", ["classes", "columns"])
def test_hostile_metadata(entry, text, tmp_path, capsys):
    net = NeuralNetwork([Layer(2, 2)], rng=0, loss="softmax_cross_entropy")
    persistence.save(net, tmp_path / "m", {entry: text})
    (tmp_path / "d.csv").write_text("0,1\n2,3\n")
    code, out, err = run(capsys, "predict", tmp_path / "m", tmp_path / "d.csv")
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"nncore: error: .*\b{entry}\b.*, expected .*\b(names|one for each)\b.*\n", err)


def test_names_do_not_steer_the_terminal(tmp_path, capsys):
    names = ["\x1b[31mred", "\ud800\u202e\x85"]
    net = NeuralNetwork([Layer(3, 2, weights=np.array([[1, -1]] * 3), bias=[0, 0])], loss="softmax_cross_entropy")
    persistence.save(net, tmp_path / "m", {"classes": json.dumps(names)})
    np.savez(tmp_path / "d.npz", X=[[1.0, 1, 1], [-1, -1, -1]], y=["\x1b]0;title\x07", "b"])
    code, out, err = run(capsys, "predict", tmp_path / "m", tmp_path / "d.npz")
    assert code == 0
    assert [line.split(",")[0] for line in out.splitlines()] == ["prediction", r"\x1b[31mred", r"\ud800\u202e\x85"]
    assert r"\x1b]0;title\x07" in err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out + err)
    (tmp_path / "d.csv").write_text("\x1b[2J,b\n1,2\n3,4\n")
    _, _, err = run(capsys, "train", tmp_path / "d.csv", "--label", "c")
    assert r"has \x1b[2J, b" in err
    assert printable("größe, 数, é\n\t") == "größe, 数, é\n\t"


def test_names_that_the_output_cannot_hold(tmp_path, monkeypatch):
    net = NeuralNetwork([Layer(1, 2)], rng=0, loss="softmax_cross_entropy")
    persistence.save(net, tmp_path / "m", {"classes": '["größe", "größe 数"]', "label": "größe"})
    np.savez(tmp_path / "d.npz", X=[[1.0]])
    for command, expected in (("predict", rb"gr\xf6\xdfe"), ("show", rb"label       gr\xf6\xdfe")):
        output = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, "ascii"))
        assert (
            cli.main([command, str(tmp_path / "m"), *([str(tmp_path / "d.npz")] if command == "predict" else [])]) == 0
        )
        sys.stdout.flush()
        assert expected in output.getvalue()


def test_arrays_of_another_kind_than_the_training(tmp_path, capsys):
    net = NeuralNetwork([Layer(3, 2)], rng=0, loss="softmax_cross_entropy")
    x = np.arange(24, dtype=np.uint8).reshape(8, 3)
    np.savez(tmp_path / "c.npz", X=x + 5j)
    np.savez(tmp_path / "u.npz", X=x)
    np.savez(tmp_path / "f.npz", X=x.astype(float))
    for entry in ("uint8", "float64"):
        persistence.save(net, tmp_path / entry, {"classes": '["a", "b"]', "input": entry})
        code, _, err = run(capsys, "predict", tmp_path / entry, tmp_path / "c.npz")
        assert (code, "X is an array of dtype complex128, expected real numbers" in err) == (2, True)
        bytes_, floats = (run(capsys, "predict", tmp_path / entry, tmp_path / name) for name in ("u.npz", "f.npz"))
        assert bytes_ == floats
        scores = [float(line.split(",")[1]) for line in floats[1].splitlines()[1:]]
        expected = net.predict_proba(x if entry == "uint8" else x.astype(float)).max(axis=1)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
