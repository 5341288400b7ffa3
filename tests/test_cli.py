"""The nncore command: what it writes, prints and refuses."""

import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nncore
from nncore import NeuralNetwork
from nncore.cli import main as cli
from nncore.files import models as persistence


def run(capsys, *args):
    """Exit code, stdout, stderr of a command that is expected to catch its own errors."""
    try:
        code = cli.main([str(a) for a in args])
    except SystemExit as stop:  # argparse's own
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


def test_train_digits_writes_model_history_and_pictures(tmp_path, capsys):
    out = tmp_path / "run"
    code, text, err = run(capsys, "train", "digits", "--iterations", 600, "--lr", 0.5, "--hidden", 32, "--out", out)
    assert (code, err) == (0, "")
    assert sorted(p.name for p in out.iterdir()) == [
        "config.toml",
        "curves.png",
        "history.csv",
        "mistakes.png",
        "model.safetensors",
        "weights.png",
    ]
    for name in ("curves.png", "weights.png", "mistakes.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 600
    net = NeuralNetwork.load(out / "model.safetensors")
    _, (x, t) = nncore.load_digits(normalize=False)
    accuracy = net.accuracy(net.predict(x), t)
    assert accuracy > 0.9
    assert f"test {accuracy:.4f}" in text
    assert float(rows[-1]["test_accuracy"]) == pytest.approx(accuracy, rel=1e-5)
    for name in ("data", "network", "parameters", "training", "time", "accuracy", "written"):
        assert re.search(f"^{name} ", text, re.MULTILINE)
    assert "64-32-10 (sigmoid, identity), softmax_cross_entropy, float32" in text


def test_same_seed_same_model(tmp_path, capsys):
    models = []
    for name, threads in (("a", 1), ("b", 2)):
        args = ("--iterations", 50, "--seed", 3, "--threads", threads, "--quiet", "--out", tmp_path / name)
        assert run(capsys, "train", "moons", *args) == (0, "", "")
        models.append(NeuralNetwork.load(tmp_path / name / "model.safetensors").core.params)
    np.testing.assert_array_equal(*models)


@pytest.mark.parametrize(
    ("name", "lr"),
    [("momentum", 0.01), ("nesterov", 0.01), ("adagrad", 0.01), ("rmsprop", 0.01), ("adam", 0.001), ("adamw", 0.001)],
)
def test_every_optimizer(name, lr, tmp_path, capsys):
    code, text, _ = run(capsys, "train", "digits", "--optimizer", name, "--epochs", 30, "--out", tmp_path)
    assert code == 0
    assert f"390 iterations of 100, {name}, lr {lr:g}, shuffle" in text
    assert float(re.search(r"test ([\d.]+)\n", text)[1]) > 0.85


def test_every_option(tmp_path, capsys):
    code, text, _ = run(
        capsys,
        "train",
        "moons",
        "--hidden",
        8,
        "--hidden",
        4,
        "--activation",
        "tanh",
        "--loss",
        "squared_error",
        "--optimizer",
        "nesterov",
        "--lr",
        0.2,
        "--batch-size",
        10,
        "--epochs",
        3,
        "--sampling",
        "sequential",
        "--dtype",
        "float64",
        "--seed",
        1,
        "--threads",
        1,
        "--out",
        tmp_path / "o",
    )
    assert code == 0
    assert "2-8-4-2 (tanh, tanh, sigmoid), squared_error, float64" in text
    assert "420 iterations of 10, nesterov, lr 0.2, sequential, 1 thread" in text
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [
        "config.toml",
        "curves.png",
        "history.csv",
        "model.safetensors",
    ]


RECIPE = [
    "digits", "--optimizer", "adam", "--schedule", "cosine", "--warm-up", 20, "--dropout", 0.2, "--l2", 1e-4,
    "--val", 0.1, "--early-stopping", 10, "--class-weight", "balanced", "--clip-norm", 1.0, "--activation", "gelu",
    "--epochs", 12,
]  # fmt: skip


def test_a_recipe(tmp_path, capsys):
    """It does what the same settings of fit do."""
    code, text, err = run(capsys, "train", *RECIPE, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "1,131 train, 126 validation, 540 test" in text
    assert "144 iterations of 100, adam, lr 0.001, cosine after 20 of warm-up, shuffle" in text
    net = NeuralNetwork.load(tmp_path / "model.safetensors")
    (x, t), test = nncore.load_digits(normalize=False)
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "loss", "lr", "train_accuracy", "validation_accuracy"]
    rates = 0.001 * nncore.WarmUp(20, "cosine").factors(0, 144, 144)
    np.testing.assert_allclose([float(row["lr"]) for row in rows], rates, rtol=1e-8)
    shown = [float(number) for number in re.findall(r"\d\.\d{4}", text.split("accuracy")[1])]
    validation = [float(row["validation_accuracy"]) for row in rows if row["validation_accuracy"]]
    assert shown[1:] == pytest.approx([max(validation), net.accuracy(net.predict(test[0]), test[1])], abs=5e-5)
    best = int(re.search(r"best epoch  (\d+) of 12, by the validation accuracy of 126 rows", text)[1])
    assert validation.index(max(validation)) == best - 1
    order = np.random.default_rng([0, 1]).permutation(len(x))
    held, kept = np.sort(order[:126]), np.sort(order[126:])
    hidden = nncore.Layer(64, 50, "gelu", init="xavier", dropout=0.2, l2=1e-4)
    same = NeuralNetwork(
        [hidden, nncore.Layer(50, 10, init="xavier", l2=1e-4)],
        loss="softmax_cross_entropy", dtype="float32", rng=0, input_scale=1 / 16,
    )  # fmt: skip
    same.fit(
        x[kept], t[kept], optimizer=nncore.Adam(), batch_size=100, epochs=12, schedule=nncore.WarmUp(20, "cosine"),
        clip_norm=1.0, class_weight="balanced", validation_data=(x[held], t[held]), early_stopping=10, rng=0,
    )  # fmt: skip
    np.testing.assert_array_equal(same.core.params, net.core.params)


def test_the_config_repeats_the_training(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "train", *RECIPE, "--hidden", 20, "--hidden", 10, "--quiet", "--out", "a") == (0, "", "")
    config = tmp_path / "a" / "config.toml"
    text = config.read_text()
    for line in ('dataset = "digits"', "hidden = [20, 10]", "warm-up = 20", "lr = 0.001", "batch-size = 100"):
        assert line in text.splitlines()
    assert run(capsys, "train", "--config", config, "--quiet", "--out", "b") == (0, "", "")
    one, other = (NeuralNetwork.load(tmp_path / name / "model.safetensors") for name in "ab")
    np.testing.assert_array_equal(one.core.params, other.core.params)
    assert (tmp_path / "b" / "config.toml").read_text() == text.replace('"a"', '"b"')
    code, shown, _ = run(capsys, "train", "moons", "--config", config, "--hidden", 5, "--iterations", 7, "--out", "c")
    assert code == 0
    assert "moons: 1,260 train" in shown
    assert "2-5-2 (gelu, identity)" in shown
    assert "7 iterations of 100" in shown


def test_resume_gives_the_same_model(tmp_path, capsys, monkeypatch):
    """After Ctrl-C at several places, and once more when all is done."""
    options = ["train", "moons", *RECIPE[1:], "--quiet"]
    assert run(capsys, *options, "--out", tmp_path / "whole")[0] == 0
    steps = []

    def update(bar, n):
        steps[:] = [left - n for left in steps]
        if steps and steps[0] <= 0:
            steps.pop()
            raise KeyboardInterrupt

    def result(folder):
        net, history = NeuralNetwork.load(folder / "model.safetensors"), (folder / "history.csv").read_text()
        return net.core.params.tolist(), history

    monkeypatch.setattr(nncore.training.progress.NoBar, "update", update)
    monkeypatch.setattr(nncore.training.run, "CHUNK_SECONDS", 0.0)
    options += ["--checkpoint-every", 10, "--out", tmp_path / "o"]
    for i, done in enumerate((7, 12, 65)):
        steps[:] = [done]
        code, _, err = run(capsys, *options, *(["--resume"] if i else []))
        assert code == 1
        assert re.match(r"nncore: error: interrupted after \d+ iterations; what was reached is in", err)
    for _ in range(2):
        assert run(capsys, "train", "--config", tmp_path / "o" / "config.toml", "--resume", "--quiet") == (0, "", "")
        assert result(tmp_path / "o") == result(tmp_path / "whole")
    code, _, err = run(capsys, *options, "--resume", "--lr", 0.5)
    assert code == 2
    assert "run.ckpt is of another run: optimizer is Adam(lr=0.5" in err


CONFIGS = {
    "not = [toml": "is not a TOML file",
    "hiden = [5]": "has 'hiden', expected options of train: dataset, hidden, activation",
    "hidden = 5": "has hidden = 5, expected a list of whole numbers",
    "hidden = [5.5]": "has hidden = [5.5], expected a list of whole numbers",
    "epochs = 1.5": "has epochs = 1.5, expected a whole number",
    "epochs = true": "has epochs = True, expected a whole number",
    "lr = 'fast'": "has lr = 'fast', expected a number",
    "activation = 3": "has activation = 3, expected text",
    "epochs = 1\niterations = 1": "has iterations and epochs, expected one of them",
    "seed = 1": "DATASET is missing, expected digits, mnist",
}


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_that_does_not_fit(text, tmp_path, capsys):
    (tmp_path / "c.toml").write_text(text)
    code, out, err = run(capsys, "train", "--config", tmp_path / "c.toml")
    assert (code, out) == (2, "")
    assert CONFIGS[text] in err
    assert err.count("\n") == 1


def test_numbers_of_a_config_may_be_whole(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("dataset = 'moons'\nlr = 1\nthreads = 1\nepochs = 1\ncheckpoint-every = 5")
    code, text, _ = run(capsys, "train", "--config", tmp_path / "c.toml", "--out", tmp_path / "o")
    assert code == 0
    assert "14 iterations of 100, sgd, lr 1, shuffle, 1 thread" in text
    assert (tmp_path / "o" / "run.ckpt").exists()


def flowers(path, header=True, n=90):
    rng = np.random.default_rng(0)
    kinds = rng.integers(3, size=n)
    lines = ["length,width,kind"] if header else []
    names = ["rose", "tulip", "daisy"]
    lines += [f"{k + rng.normal(0, 0.1):.3f},{2 - k + rng.normal(0, 0.1):.3f},{names[k]}" for k in kinds]
    path.write_text("\n".join(lines) + "\n")
    return [names[k] for k in kinds]


@pytest.mark.parametrize("header", [True, False])
def test_train_and_predict_a_csv_file(tmp_path, capsys, header):
    data = tmp_path / "flowers.csv"
    truth = flowers(data, header)
    code, text, err = run(capsys, "train", data, "--iterations", 400, "--lr", 0.5, "--out", tmp_path / "o")
    assert (code, err) == (0, "")
    assert "72 train, 18 test, 2 inputs, 3 classes" in text
    code, text, err = run(capsys, "predict", tmp_path / "o" / "model.safetensors", data)
    rows = list(csv.DictReader(text.splitlines()))
    right = np.mean([row["prediction"] == name for row, name in zip(rows, truth, strict=True)])
    assert right > 0.95
    assert f"accuracy {right:.4f} on 90 rows" in err
    # the same rows without the label column
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(",".join(line.split(",")[:2]) for line in data.read_text().splitlines()))
    code, again, err = run(capsys, "predict", tmp_path / "o" / "model.safetensors", bare, "--out", tmp_path / "p.csv")
    assert (code, again, err) == (0, "", "")
    assert (tmp_path / "p.csv").read_text() == text


def test_label_column_by_name(tmp_path, capsys):
    data = tmp_path / "d.csv"
    data.write_text("kind,a\n" + "".join(f"{'xy'[i % 2]},{i % 2}\n" for i in range(20)))
    code, text, _ = run(capsys, "train", data, "--label", "kind", "--iterations", 50, "--out", tmp_path / "o")
    assert code == 0
    assert "1 inputs, 2 classes" in text
    code, _, err = run(capsys, "train", data, "--label", "type", "--out", tmp_path / "o")
    assert code == 2
    assert "--label is 'type', but" in err
    assert "has kind, a" in err


def test_npz_with_images_and_regression(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2, 3))
    np.savez(tmp_path / "r.npz", X=x, y=x[:, 0, 0] * 0.5)
    code, text, _ = run(
        capsys, "train", tmp_path / "r.npz", "--hidden", 0, "--iterations", 500, "--out", tmp_path / "o"
    )
    assert code == 0
    assert "6-1 (identity), squared_error" in text
    assert float(re.search(r"test ([\d.e-]+)", text.split("loss")[-1]).group(1)) < 1e-3
    np.savez(tmp_path / "p.npz", X=x[:3])
    code, text, _ = run(capsys, "predict", tmp_path / "o" / "model.safetensors", tmp_path / "p.npz")
    np.testing.assert_allclose([float(v) for v in text.split()[1:]], x[:3, 0, 0] * 0.5, atol=0.1)


def test_npz_with_its_own_test_set(tmp_path, capsys):
    x, y = np.eye(4, dtype=np.uint8) * 255, np.array([5, 6, 7, 8])
    np.savez(tmp_path / "d.npz", X=x, y=y, X_test=x[:2], y_test=y[:2])
    code, text, _ = run(capsys, "train", tmp_path / "d.npz", "--iterations", 500, "--lr", 1, "--out", tmp_path / "o")
    assert code == 0
    assert "4 train, 2 test, 4 inputs, 4 classes" in text
    assert "500 iterations of 4" in text
    assert "test 1.0000" in text


def test_predict_a_named_data_set_and_info(tmp_path, capsys):
    run(capsys, "train", "moons", "--iterations", 50, "--quiet", "--out", tmp_path)
    model = tmp_path / "model.safetensors"
    code, text, err = run(capsys, "predict", model, "moons")
    assert code == 0
    assert len(text.splitlines()) == 601
    assert re.fullmatch(r"accuracy 0\.\d{4} on 600 rows\n", err)
    code, text, _ = run(capsys, "info", model)
    assert code == 0
    assert "2-50-2 (sigmoid, identity)" in text
    assert "dataset     moons" in text
    code, text, _ = run(capsys, "info")
    assert code == 0
    assert "level" in text


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    assert cli.main(["train", "digits", "--iterations", "50", "--quiet", "--out", str(folder)]) == 0
    return folder / "model.safetensors"


def test_show(digits_model, capsys):
    code, text, err = run(capsys, "show", digits_model)
    assert (code, err) == (0, "")
    assert f"{digits_model}: {digits_model.stat().st_size:,} bytes, verified\n64-50-10 (sigmoid, identity)" in text
    assert re.search(r"^1 +64 x 50 +sigmoid +3,250 +13,000$", text, re.MULTILINE)
    assert re.search(r"^total +3,760 +15,040$", text, re.MULTILINE)
    assert re.search(
        r"^uint8 scale 0.0625\nclasses     \[.*\]\ndataset     digits\ninput       uint8$", text, re.MULTILINE
    )
    assert re.search(r"^sha256      [0-9a-f]{64}$", text, re.MULTILINE)
    assert run(capsys, "info", digits_model) == (0, text, "")


@pytest.mark.filterwarnings("default")
def test_show_of_another_programs_file(digits_model, tmp_path, capsys):
    metadata = persistence.read_metadata(digits_model)
    foreign = {"architecture": metadata["architecture"], "author": "\x1b[31mred"}
    save_file(load_file(digits_model), tmp_path / "m", foreign)
    code, text, err = run(capsys, "show", tmp_path / "m")
    assert (code, err) == (0, f"nncore: warning: {tmp_path / 'm'} is unverified: it has no SHA-256 of its content\n")
    assert "bytes, unverified, it has no SHA-256\n" in text
    assert "author      '\\x1b[31mred'" in text


def test_export(digits_model, tmp_path, capsys):
    """As it was trained, the model takes bytes."""
    code, text, err = run(capsys, "export", digits_model, "--to", "c")
    header = digits_model.with_suffix(".h")
    assert (code, text, err) == (0, f"written     {header}, {header.stat().st_size:,} bytes\n", "")
    assert "void model_predict(const unsigned char x[64], float y[10])" in header.read_text()
    options = ["--name", "digit", "--quantize", "int8", "--samples", "digits", "--input", "float32"]
    code, text, err = run(capsys, "export", digits_model, "--to", "c", "--out", tmp_path / "q.h", *options)
    assert (code, err) == (0, "")
    error = re.match(r"difference  ([\d.e-]+) in an output at most\n", text)[1]
    assert f"on 540 given rows an output differs by at most {error}" in " ".join((tmp_path / "q.h").read_text().split())
    assert "void digit_predict(const float x[64], float y[10])" in (tmp_path / "q.h").read_text()
    code, text, err = run(capsys, "export", digits_model, "--to", "torch")
    assert (code, err) == (0, "")
    assert "module      Sequential(Linear(64, 50), Sigmoid(), Linear(50, 10))\ninput       bytes times 0.0625\n" in text
    assert set(load_file(digits_model.with_suffix(".torch.safetensors"))) == {
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    }


def test_export_onnx(digits_model, capsys, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert run(capsys, "export", digits_model, "--to", "onnx")[0] == 0
    session = onnxruntime.InferenceSession(digits_model.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
    _, (x, _) = nncore.load_digits(normalize=False)
    (found,) = session.run(["probabilities"], {"x": x})
    np.testing.assert_allclose(found, NeuralNetwork.load(digits_model).predict_proba(x), atol=1e-6)
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, out, err = run(capsys, "export", digits_model, "--to", "onnx")
    assert (code, out) == (1, "")
    assert err == "nncore: error: export_onnx needs the package onnx: pip install nncore[onnx]\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "java"], "--to is 'java', expected one of 'onnx', 'c', 'torch'"),
        (["--to", "onnx", "--quantize", "int8"], "--quantize is 'int8', expected no such option with --to onnx"),
        (["--to", "torch", "--input", "uint8"], "--input is 'uint8', expected no such option with --to torch"),
        (["--to", "c", "--input", "int8"], "input_dtype is 'int8', expected one of 'float32', 'uint8'"),
        (["--to", "c", "--samples", "digits"], "samples is given, expected None without quantize='int8'"),
        ([], "required: --to"),
    ],
)
def test_export_errors(digits_model, capsys, options, message):
    code, out, err = run(capsys, "export", digits_model, *options)
    assert (code, out) == (2, "")
    assert message in err


ERRORS = {
    "unknown data set": (["train", "minst"], "DATASET is 'minst', expected one of digits, mnist, fashion-mnist, moons"),
    "missing file": (["train", "nothing.csv"], "nothing.csv"),
    "activation": (["train", "moons", "--activation", "x"], "--activation is 'x', expected one of 'identity'"),
    "optimizer": (
        ["train", "moons", "--optimizer", "Adam"],
        "--optimizer is 'Adam', expected one of 'sgd', 'momentum'",
    ),
    "lr": (["train", "moons", "--lr", "0"], "lr is 0.0, expected a finite number above 0"),
    "batch size": (["train", "moons", "--batch-size", "5000"], "batch_size is 5000, expected at most 1400"),
    "threads": (["train", "moons", "--threads", "many"], "n_threads is 'many', expected"),
    "sampling": (["train", "moons", "--sampling", "x"], "sampling is 'x', expected one of 'shuffle'"),
    "dtype": (["train", "moons", "--dtype", "int8"], "dtype is 'int8', expected float32 or float64"),
    "hidden": (["train", "moons", "--hidden", "-3"], "--hidden is -3, expected 1 or more"),
    "diverges": (["train", "moons", "--activation", "relu", "--lr", "1e30"], "learning rate"),
    "model": (["predict", "nothing.safetensors", "moons"], "nothing.safetensors"),
    "dropout": (["train", "moons", "--dropout", "1"], "dropout is 1.0, expected a number from 0 to below 1"),
    "l2": (["train", "moons", "--l2", "-1"], "l2 is -1.0, expected a finite number of 0 or more"),
    "schedule": (["train", "moons", "--schedule", "x"], "--schedule is 'x', expected one of 'constant', 'linear'"),
    "val": (["train", "moons", "--val", "1"], "--val is 1.0, expected a fraction that leaves rows of the 1400"),
    "stopping": (["train", "moons", "--early-stopping", "3"], "--early-stopping is 3, expected --val with it"),
    "class weight": (["train", "moons", "--class-weight", "x"], "--class-weight is 'x', expected one of 'balanced'"),
    "clip": (["train", "moons", "--clip-norm", "0"], "clip_norm is 0.0, expected a finite number above 0"),
    "every": (["train", "moons", "--checkpoint-every", "often"], "checkpoint_every is 'often', expected a time"),
    "config": (["train", "--config", "nothing.toml"], "--config is nothing.toml, but there is no such file"),
    "warm-up": (["train", "moons", "--warm-up", "0"], "--warm-up is 0, expected 1 or more"),
    "seed": (["train", "moons", "--seed", "-1"], "--seed is -1, expected"),
    "task": (["train", "moons", "--task", "numbers"], "expected them for files only: moons has its own"),
    "label": (["train", "digits", "--label", "y"], "expected them for files only: digits has its own"),
    "both lengths": (["train", "moons", "--epochs", "1", "--iterations", "1"], "not allowed with"),
    "no command": ([], "required: COMMAND"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args, message = ERRORS[name]
    code, out, err = run(capsys, *args)
    assert code == (1 if name == "diverges" else 2)
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    if "usage" not in err:
        assert re.fullmatch(r"nncore: error: .+\n", err)


def test_the_folder_of_results(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    code, _, err = run(capsys, "train", "moons", "--out", "file")
    assert code == 1
    assert err == "nncore: error: --out is file, which is a file, expected a folder to write to\n"
    args = "train", "moons", "--iterations", "5", "--out", "o", "--resume"
    assert run(capsys, *args)[2] == "nncore: no checkpoint in o: training from the start\n"
    assert run(capsys, *args)[2] == ""


BROKEN = {
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"a,b\n", "has a header only"),
    "ragged.csv": (b"1,2,0\n1,2\n", "line 2 has 2 columns, expected 3"),
    "text.csv": (b"1,2,0\n1,x,1\n", "line 2 has 'x', expected numbers"),
    "nan.csv": (b"1,2,0\n1,nan,1\n3,4,0\n5,6,1\n", "line 2 has nan, expected finite numbers"),
    "bytes.csv": (b"\xff\xfe\x00", "not a readable .csv file"),
    "one.csv": (b"1\n2\n", "has one column"),
    "cut.npz": (b"PK\x03\x04rest", "not a readable .npz file"),
    "text.npz": (b"hello", "not a readable .npz file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name, tmp_path, capsys):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    code, _, err = run(capsys, "train", tmp_path / name, "--out", tmp_path / "o")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_npz_without_y_or_with_pickles(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)))
    code, _, err = run(capsys, "train", tmp_path / "a.npz")
    assert (code, "has the arrays X, expected X and y" in err) == (2, True)
    np.savez(tmp_path / "b.npz", X=np.array([[object()]]), y=[1])
    code, _, err = run(capsys, "train", tmp_path / "b.npz")
    assert (code, "not a readable .npz file" in err) == (2, True)


def test_an_unwritable_out_is_found_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "train", "moons", "--out", tmp_path / "file" / "o")
    assert code == 1
    assert err.count("\n") == 1


def test_no_data_and_no_network_says_what_to_set(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NNCORE_DATA", str(tmp_path / "nowhere"))
    code, _, err = run(capsys, "train", "mnist")
    assert code == 1
    assert "NNCORE_DATA" in err


def test_help_can_be_read(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, text, _ = run(capsys, "train", "--help")
    assert code == 0
    for option in (
        "--hidden",
        "--activation",
        "--loss",
        "--lr",
        "--batch-size",
        "--iterations",
        "--epochs",
        "--sampling",
        "--dtype",
        "--seed",
        "--threads",
        "--out",
        "--quiet",
    ):
        assert option in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_installed_command_and_module():
    command = os.path.join(os.path.dirname(sys.executable), "nncore")
    for args in ([command], [sys.executable, "-m", "nncore"]):
        if args[0] == command and not os.path.exists(command):
            continue  # run from the source tree
        done = subprocess.run([*args, "info"], capture_output=True, text=True, check=True)
        assert "nncore" in done.stdout


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_books_job(mnist_dir, tmp_path, capsys, monkeypatch, dtype):
    """The main job on real MNIST: 784-50-10, batch 100, lr 0.1, 10,000 iterations."""
    monkeypatch.setenv("NNCORE_DATA", str(mnist_dir))
    code, text, err = run(
        capsys,
        "train",
        "mnist",
        "--hidden",
        50,
        "--batch-size",
        100,
        "--lr",
        0.1,
        "--iterations",
        10000,
        "--sampling",
        "replacement",
        "--dtype",
        dtype,
        "--seed",
        0,
        "--out",
        tmp_path,
    )
    assert (code, err) == (0, "")
    assert "39,760" in text
    assert float(re.search(r"test (0\.\d+)", text.split("accuracy")[-1]).group(1)) >= 0.945
