"""Every script of examples/ runs, prints its numbers and writes its pictures."""

import runpy
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.image
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

# Script -> options for a short run, pictures, what it prints among other things.
SCRIPTS = {
    "activations": ([], ["activations"], ["tanh: f(-1, 0, 1) = [-0.7616  0.      0.7616]"]),
    "adversarial": (
        ["--epochs", "1"],
        ["adversarial"],
        ["step   accuracy after it   after a random one", "\n0.1    0."],
    ),
    "autoencoder": (
        ["--epochs", "20"],
        ["autoencoder"],
        ["mean image: 0.0739", "2 principal components: 0.0528", "network: 0.0"],
    ),
    "check_gradients": (
        [],
        ["check_gradients"],
        [
            "all elements of b are 32 times too large: sum instead of mean over 32 samples?",
            "LogisticRegression:\nGradient check PASSED",
            "corrected:\nGradient check PASSED",
            "PyTorch, module.grad:",
        ],
    ),
    "cross_entropy": (
        [],
        ["cross_entropy"],
        ["0.254595293295412", "a hit 3.3219", "a hit 6.6439", "taken for the second: 0.6774 bits"],
    ),
    "gradient_descent": ([], ["gradient_descent"], ["x = [-6.1111", "x = [-2.99999994  3.99999992]"]),
    "gradients": ([], ["gradients"], ["[3.0, 4.0]: [6. 8.]", "[0.0, 2.0]: [0. 4.]", "[3.0, 0.0]: [6. 0.]"]),
    "loss_functions": (
        [],
        ["loss_functions"],
        ["squared error 0.09750000000000003", "cross-entropy 0.510825457099338"],
    ),
    "mnist_recipe": (["--epochs", "1"], ["mnist_recipe"], ["test accuracy 0.9", "after 1 epochs in"]),
    "moons": (["--epochs", "11"], ["moons", "moons_boundary", "moons_curves"], ["11 epochs of 1400 updates"]),
    "numerical_diff": (
        [],
        ["numerical_diff"],
        ["slope at 5:  0.199999", "slope at 10: 0.299999", "0.0", "6.00000000000378", "7.999999999999119"],
    ),
    "policy_gradient": (
        ["--updates", "45"],
        ["policy_gradient"],
        ["update 0: poles stay up for 1", "update 40: poles stay up for 1", "100 new poles: 1"],
    ),
    "simple_net": ([], ["simple_net"], ["[1.05414809 0.63071653 1.1328074 ] largest: 2", "loss: 0.92806828"]),
    "train_mnist": (
        ["--iterations", "620"],
        ["train_mnist", "train_mnist_mistakes", "train_mnist_weights"],
        ["epoch 1: train acc, test acc | 0.", "fit: "],
    ),
    "two_layer_net_gradient": ([], ["two_layer_net_gradient"], ["W1: shape (784, 100), gradient (784, 100)"]),
    "yolo_loss": (
        ["--epochs", "1"],
        ["yolo_loss"],
        ["PASSED: 560 ok; every element", "weights of a network:\nGradient check PASSED", "1 epochs: loss"],
    ),
    "xor": ([], ["xor"], ["always falling: True", "1 xor 1: 0.02"]),
}


def test_every_example_is_in_the_table():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_example(name, request, monkeypatch, tmp_path, capsys):
    options, pictures, lines = SCRIPTS[name]
    if "mnist" in name:
        options = [*options, "--data", str(request.getfixturevalue("mnist_dir"))]
    out = tmp_path / "new" / "folder"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--out", str(out), *options])
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        plt.close("all")
    printed = capsys.readouterr()
    assert printed.err == ""
    for line in lines:
        assert line in printed.out
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{picture}.png" for picture in pictures)
    for path in out.iterdir():
        assert matplotlib.image.imread(path)[..., :3].std() > 0.01, f"{path.name} is blank"
    assert [path.name for path in tmp_path.iterdir()] == ["new"], "nothing is written elsewhere"


@pytest.mark.parametrize("name", SCRIPTS)
def test_example_has_a_short_help(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert "--out" in capsys.readouterr().out
