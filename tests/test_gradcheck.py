"""check_gradient: right gradients pass, planted faults are caught and named, hard functions get the right verdict."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from cases import NETWORKS

from nncore import GradientMismatch, Layer, NeuralNetwork, SimpleNet, TwoLayerNet, check_gradient
from nncore.model.stack import Stack
from nncore.testing import assert_gradient


def network(name, dtype="float64"):
    sizes, activations, loss, delta, bias = NETWORKS[name]
    layers = [
        Layer(m, n, a, use_bias=bias, init="xavier") for m, n, a in zip(sizes[:-1], sizes[1:], activations, strict=True)
    ]
    net = NeuralNetwork(layers, loss=loss, delta=delta, dtype=dtype, rng=0)
    for key, value in net.params.items():
        if key.startswith("b"):
            value[:] = np.random.default_rng(1).normal(scale=0.5, size=value.shape)
    return net


def batch(net, n=20):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, net.n_in))
    if net.loss_name == "squared_error":
        return x, rng.normal(size=(n, net.n_out))
    return x, rng.integers(net.n_out, size=n)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_network_passes(name, dtype):
    net = network(name, dtype)
    before = net.core.params.copy()
    report = check_gradient(net, *batch(net))
    assert report.passed, str(report)
    assert report.counts["ok"] > 0.9 * net.n_params
    assert 2 * net.n_params <= report.n_evaluations <= 2.1 * net.n_params + 192 * len(net.params)
    assert set(report.numerical) == set(net.params)
    np.testing.assert_array_equal(net.core.params, before)


@pytest.mark.parametrize("name", ["moons", "mnist", "regression"])
def test_float32_as_it_is_passes_with_its_own_tolerance(name):
    net = network(name, "float32")
    report = check_gradient(net, *batch(net), dtype="network")
    assert report.passed, str(report)
    assert 1e-7 < report.max_abs_error < 1e-2


FAULTS = {
    "sign": (lambda g, p: {**g, "W1": -g["W1"]}, "sign"),
    "sum instead of mean": (lambda g, p: {**g, "b1": 20 * g["b1"]}, "all elements of b1 are 20 times too large"),
    "missing factor": (lambda g, p: {**g, "W2": 0.5 * g["W2"]}, "W2 are 2 times too small"),
    "bias forgotten": (lambda g, p: {**g, "b2": 0 * g["b2"]}, "b2 is missing"),
    "one element": (
        lambda g, p: {**g, "W1": g["W1"] + 0.1 * (np.arange(g["W1"].size) == 7).reshape(g["W1"].shape)},
        "1 of ",
    ),
    "penalty": (lambda g, p: {k: g[k] + 0.01 * p[k] * (k[0] == "W") for k in g}, "regularisation"),
    "transposed": (lambda g, p: {**g, "W2": g["W2"].T}, "transpose"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught_and_named(fault):
    net = NeuralNetwork([Layer(5, 6, "tanh"), Layer(6, 6, "sigmoid"), Layer(6, 2)], rng=0)
    x, t = batch(net)
    change, words = FAULTS[fault]
    wrong = change(net.gradient(x, t), dict(net.params))
    report = check_gradient(net, x, t, grad=wrong)
    assert not report.passed
    assert words in " ".join(report.hints) + str(report), str(report)
    with pytest.raises(GradientMismatch, match=r"^[Wb]\d\["):
        assert_gradient(net, x, t, grad=wrong)


class HandWritten:
    """A network of NumPy with a mistake in its backward pass."""

    def __init__(self, mistake):
        rng = np.random.default_rng(0)
        self.mistake = mistake
        self.params = {name: rng.normal(size=s) for name, s in {"W1": (4, 5), "b1": 5, "W2": (5, 3), "b2": 3}.items()}
        self.x, self.t = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))
        self.kept = rng.normal(size=(7, 5))

    def loss(self, p):
        self.z = np.tanh(self.x @ p["W1"] + p["b1"])
        return 0.5 * float(np.sum((self.z @ p["W2"] + p["b2"] - self.t) ** 2)) / 7

    def grad(self, p):
        self.loss(p)
        da2 = (self.z @ p["W2"] + p["b2"] - self.t) / 7
        z = self.kept if self.mistake == "stale" else self.z
        da1 = da2 @ p["W2"].T * (1 - self.z if self.mistake == "derivative" else 1 - self.z**2)
        if self.mistake == "state":
            self.kept, da1 = da1 * np.arange(5), self.kept
        return {"W1": self.x.T @ da1, "b1": da1.sum(axis=0), "W2": z.T @ da2, "b2": da2.sum(axis=0)}


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("stale", "b2 is right and W2 is not: are the inputs kept for W2 those of this evaluation, or stale"),
        ("derivative", "everything up to b1 is wrong and everything from W2 on is right: does the gradient pass from"),
        ("state", "grad(x) returned another gradient when called again"),
        (None, ""),
    ],
)
def test_mistakes_between_layers_are_named(mistake, words):
    net = HandWritten(mistake)
    report = check_gradient(net.loss, net.params, grad=net.grad)
    assert report.passed == (mistake is None)
    assert words in " ".join(report.hints + report.notes), str(report)


def test_weights_of_the_samples():
    net = network("mnist")
    x, t = batch(net)
    weights = np.random.default_rng(3).random(20)
    assert check_gradient(net, x, t, sample_weight=weights).passed
    assert not check_gradient(net, x, t, sample_weight=weights, grad=net.gradient(x, t)).passed
    weights[5:] = 0
    assert net.loss(x, t, sample_weight=np.ones(20) * 0.3) == pytest.approx(net.loss(x, t), rel=1e-14)
    for name, slope in net.numerical_gradient(x, t, sample_weight=weights * (weights > 0)).items():
        expected = net.gradient(x[:5], t[:5], sample_weight=weights[:5])[name]
        np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-8)


def test_agrees_with_the_books_loop_on_thousands_of_elements():
    """The book's numerical gradient, h = 1e-4: 2,000 elements of W1 and all of the others."""
    rng = np.random.default_rng(0)
    net = TwoLayerNet(784, 50, 10, rng=0)
    for value in net.params.values():
        value[...] = rng.normal(scale=0.1, size=value.shape)
    x, labels = rng.random((100, 784)), rng.integers(10, size=100)
    p = {name: value.copy() for name, value in net.params.items()}

    def loss():
        z = 1 / (1 + np.exp(-(x @ p["W1"] + p["b1"])))
        a = z @ p["W2"] + p["b2"]
        a -= a.max(axis=1, keepdims=True)
        y = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
        return -np.sum(np.log(y[np.arange(100), labels] + 1e-7)) / 100

    slopes = net.network.numerical_gradient(x, labels, h=1e-4)
    for name, value in p.items():
        for i in rng.choice(value.size, min(value.size, 2000), replace=False):
            start = value.flat[i]
            value.flat[i] = start + 1e-4
            up = loss()
            value.flat[i] = start - 1e-4
            difference = (up - loss()) / 2e-4
            value.flat[i] = start
            assert abs(slopes[name].flat[i] - difference) < 1e-9


def test_ctrl_c_ends_the_check_of_a_large_network(ctrl_c):
    """One perturbation of this network takes seconds: only looks within a unit end it."""
    net = NeuralNetwork([Layer(300, 500, "tanh"), Layer(500, 500, "tanh"), Layer(500, 3)], rng=0)
    rng = np.random.default_rng(0)
    x, t = rng.random((2000, 300)), rng.integers(3, size=2000)
    before = net.core.params.copy()
    with ctrl_c(0.5):
        check_gradient(net, x, t)
    np.testing.assert_array_equal(net.core.params, before)
    assert check_gradient(net, x[:2], t[:2], sample=50).passed


def test_relu_at_zero_is_a_kink_and_no_failure_unless_asked():
    net = NeuralNetwork([Layer(1, 1, "relu", weights=[[1.0]], bias=[0.0]), Layer(1, 1, weights=[[1.0]], bias=[0.5])])
    x, t = np.array([[0.0], [1.0]]), np.zeros((2, 1))
    report = check_gradient(net, x, t)
    assert report.verdict["b1"][0] == "kink"
    assert report.passed
    assert not check_gradient(net, x, t, kinks="fail").passed
    # the other choice, relu'(0) = 1, is the slope of the other side; what is beyond both is wrong
    for change, verdict in [(0.25, "kink"), (0.125, "kink"), (0.26, "mismatch"), (-0.01, "mismatch")]:
        other = net.gradient(x, t)
        other["b1"] = other["b1"] + change
        assert check_gradient(net, x, t, grad=other).verdict["b1"][0] == verdict


def test_the_books_classes_are_networks():
    rng = np.random.default_rng(0)
    assert check_gradient(TwoLayerNet(6, 4, 3, rng=0), rng.random((5, 6)), [0, 1, 2, 1, 0]).passed
    assert check_gradient(SimpleNet(rng=0), np.array([0.6, 0.9]), 2).passed


def test_same_bits_for_any_number_of_threads():
    net = network("deep")
    reports = [check_gradient(net, *batch(net), n_threads=n) for n in (1, 2, 4)]
    for report in reports[1:]:
        for key, value in reports[0].numerical.items():
            np.testing.assert_array_equal(report.numerical[key], value)


def test_a_sample_checks_some_of_every_parameter():
    net = network("moons")
    report = check_gradient(net, *batch(net), sample=60)
    assert report.passed
    assert 60 <= report.n_evaluations / 2 <= 80 + 96 * len(net.params)
    assert re.search(r"\d+ of 2,702 elements at random", str(report))
    full, again = check_gradient(net, *batch(net)), check_gradient(net, *batch(net), sample=60)
    for key, verdict in report.verdict.items():
        chosen = verdict != "unchecked"
        assert chosen.any()
        np.testing.assert_array_equal(report.numerical[key][chosen], full.numerical[key][chosen])
        np.testing.assert_array_equal(again.verdict[key], verdict)


def test_directions_find_a_wrong_gradient_and_say_what_they_could_miss():
    net = network("moons")
    x, t = batch(net)
    before = net.core.params.copy()
    report = check_gradient(net, x, t, directions=10)
    assert report.passed
    assert "would have shown in 99 of 100" in " ".join(str(report).split())
    wrong = {key: 1.01 * value for key, value in net.gradient(x, t).items()}
    assert not check_gradient(net, x, t, grad=wrong, directions=10).passed
    np.testing.assert_array_equal(net.core.params, before)


def rosenbrock(x):
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rosenbrock_grad(x):
    grad = np.zeros_like(x)
    grad[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    grad[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return grad


def test_functions_pass_and_fail():
    x = np.array([-1.2, 1.0, 0.3])
    report = check_gradient(rosenbrock, x, grad=rosenbrock_grad)
    assert report.passed
    assert list(report.numerical) == ["x"]
    np.testing.assert_array_equal(x, [-1.2, 1.0, 0.3])
    wrong = rosenbrock_grad(x)
    wrong[1] *= 1.001
    report = check_gradient(rosenbrock, x, grad=wrong)
    assert report.counts["mismatch"] == 1
    assert report.worst(1)[0].index == (1,)


def test_containers_keep_their_names():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    params = {"weights": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}

    def loss(p):
        return 0.5 * float(np.sum((x @ p["weights"] + p["bias"] - t) ** 2)) / len(x)

    def grad(p, factor=1):
        da = (x @ p["weights"] + p["bias"] - t) / len(x)
        return {"weights": x.T @ da, "bias": da.sum(axis=0) * factor}

    assert check_gradient(loss, params, grad=grad).passed
    report = check_gradient(loss, params, grad=lambda p: grad(p, factor=8))
    assert not report.passed
    assert "all elements of bias are 8 times too large: sum instead of mean over 8 samples?" in str(report)
    sequence = [params["weights"], params["bias"]]
    both = check_gradient(lambda s: loss({"weights": s[0], "bias": s[1]}), sequence, grad=list(grad(params).values()))
    assert both.passed
    assert list(both.numerical) == ["x[0]", "x[1]"]
    assert check_gradient(loss, params, grad=grad, sample=3).counts["unchecked"] == 5
    assert check_gradient(loss, params, grad=grad, directions=4).passed


def noisy(seed, size=1e-10):
    rng = np.random.default_rng(seed)
    return lambda x: float(np.sum(x**2)) + size * rng.standard_normal()


def wiggle(x):
    return float(np.sin(1e6 * x[0]))


VERDICTS = {
    "abs at 0, slope of one side": (lambda x: float(abs(x[0])), [0.0], [1.0], "kink"),
    "max of equal inputs": (lambda x: float(max(x[0], x[1])), [1.0, 1.0], [1.0, 0.0], "kink"),
    "step function": (lambda x: float(np.floor(x[0])), [0.5], [0.0], "ok"),
    "small scale": (lambda x: float(x[0] ** 2), [1e-8], [2e-8], "ok"),
    "large scale": (lambda x: float(x[0] ** 2), [1e8], [2e8], "ok"),
    "wrong at a large scale": (lambda x: float(x[0] ** 2), [1e8], [2.01e8], "mismatch"),
    "overflow beside": (lambda x: float(np.exp(x[0])), [709.78], [np.exp(709.78)], "ok"),
    "analytic NaN": (lambda x: float(x[0]), [1.0], [np.nan], "nonfinite"),
    "two values": (noisy(0), [0.3], [0.6], "ok"),
    "two values, wrong": (noisy(0), [0.3], [0.601], "mismatch"),
    "two values far apart": (noisy(0, 10.0), [0.3], [0.6], "noise"),
    "constant": (lambda x: 1.0, [0.3], [0.0], "ok"),
    "a wiggle faster than the step": (wiggle, [0.7], [1e6 * np.cos(0.7e6)], "ok"),
    "wrong at a wiggle": (wiggle, [0.7], [5.0], "mismatch"),
    "cube root at 0": (lambda x: float(np.cbrt(x[0])), [0.0], [0.0], "mismatch"),
    "cube root, infinite": (lambda x: float(np.cbrt(x[0])), [0.0], [np.inf], "nonfinite"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_hard_cases_get_the_right_verdict(name):
    f, x, grad, verdict = VERDICTS[name]
    with np.errstate(over="ignore"):
        report = check_gradient(f, np.array(x), grad=grad)
    assert verdict in report.verdict["x"], str(report)


@pytest.mark.parametrize(("slope", "verdict"), [(-1.0, "ok"), (1.0, "mismatch")])
def test_a_kink_beside_a_bound_is_passed_by_a_finer_step(slope, verdict):
    report = check_gradient(lambda x: float(abs(x[0] - 1e-6)), np.array([0.0]), grad=[slope], bounds=(0, 1))
    assert report.verdict["x"][0] == verdict, str(report)


BAD = {
    "t missing": (lambda net, x, t: check_gradient(net, x), TypeError, "t is missing"),
    "t with a function": (
        lambda net, x, t: check_gradient(np.sum, x, t, grad=x),
        TypeError,
        "t is given with a function",
    ),
    "grad shape": (
        lambda net, x, t: check_gradient(np.sum, x, grad=x[0]),
        ValueError,
        r"grad has shape \(3,\), expected \(20, 3\)",
    ),
    "grad names": (
        lambda net, x, t: check_gradient(net, x, t, grad={"W1": 1}),
        ValueError,
        "grad has W1, expected W1, b1",
    ),
    "h": (lambda net, x, t: check_gradient(net, x, t, h=0), ValueError, "h is 0"),
    "dtype": (lambda net, x, t: check_gradient(net, x, t, dtype="half"), ValueError, "dtype is 'half'"),
    "both modes": (lambda net, x, t: check_gradient(net, x, t, sample=3, directions=3), ValueError, "only one of them"),
    "sample": (lambda net, x, t: check_gradient(net, x, t, sample=0), ValueError, "sample is 0"),
    "not finite": (lambda net, x, t: check_gradient(np.sum, x * np.nan, grad=x), ValueError, r"x\[0, 0\] is nan"),
    "no layer": (lambda net, x, t: check_gradient(NeuralNetwork(), x, t), ValueError, "no layer"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, message = BAD[name]
    net = network("regression")
    with pytest.raises(error, match=message):
        call(net, *batch(net))


def test_a_loss_that_is_not_finite_is_said_before_any_work():
    net = network("regression")
    net.params["W1"][:] = np.nan
    with pytest.raises(ValueError, match="the loss of this network at x and t is nan"):
        check_gradient(net, *batch(net))


def test_pytest_shows_the_table(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "import numpy as np\nfrom nncore.testing import assert_gradient\n"
        "def test_gradient():\n    x = np.ones(3)\n    assert_gradient(lambda x: float(np.sum(x**2)), x, grad=-2 * x)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "sign flipped" in done.stdout
    assert "parameter" in done.stdout
    assert "> " in done.stdout
    assert "assert_gradient(lambda x" in done.stdout


def test_the_command(tmp_path, capsys):
    from nncore.cli import main as cli

    out = tmp_path / "run"
    assert cli.main(["train", "digits", "--hidden", "8", "--iterations", "50", "--quiet", "--out", str(out)]) == 0
    model = str(out / "model.safetensors")
    files = ["--plot", str(tmp_path / "p.png"), "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    assert cli.main(["check", model, "digits", "--samples", "30", *files]) == 0
    assert "Gradient check PASSED" in capsys.readouterr().out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "r.json").read_text())["passed"] is True
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "Gradient check PASSED" in page
    assert cli.main(["check", model, "digits", "--sample", "40"]) == 0
    assert "elements at random" in capsys.readouterr().out
    (tmp_path / "bare.csv").write_text(",".join("1" * 64) + "\n")
    assert cli.main(["check", model, str(tmp_path / "bare.csv")]) == 2
    assert "has no labels" in capsys.readouterr().err


def test_the_command_exits_1_for_a_wrong_gradient(tmp_path, capsys, monkeypatch):
    from nncore.cli import main as cli

    cli.main(["train", "moons", "--iterations", "50", "--quiet", "--out", str(tmp_path)])
    right = Stack.core.fget

    class Wrong:
        def __init__(self, core):
            self.core = core

        def __getattr__(self, name):
            return getattr(self.core, name)

        def gradient(self, x, t, weights, grads):
            loss = self.core.gradient(x, t, weights, grads)
            grads *= 2
            return loss

    monkeypatch.setattr(Stack, "core", property(lambda net: Wrong(right(net))))
    assert cli.main(["check", str(tmp_path / "model.safetensors"), "moons"]) == 1
    assert "2 times too large" in capsys.readouterr().out
