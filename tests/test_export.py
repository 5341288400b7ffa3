"""Exports: other programs compute what predict does, and what they hold comes back."""

import ctypes
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import expit, softmax

import nncore
from nncore import Layer, NeuralNetwork
from nncore.functions.kinds import ACTIVATIONS

WITHIN = [*(name for name in ACTIVATIONS if name != "softmax"), "leaky_relu(0.3)", "elu(0.7)"]
C_FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow"]
# Rounding of sums of a few terms, relative to the largest output: those of float32 differ in their order.
ROUNDING = {"float32": 1e-6, "float64": 1e-14}


def compilers():
    c = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert c, "no C compiler: expected one, as for building nncore"
    return c, shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def network(sizes, activation, last=None, *, bias=True, **settings):
    """Random layers, with outputs well beyond where activations bend."""
    rng = np.random.default_rng(len(sizes))
    layers = []
    for k, (m, n) in enumerate(pairwise(sizes)):
        b = rng.normal(size=n) if bias else None
        name = last if k == len(sizes) - 2 else activation
        layers.append(Layer(m, n, name, rng.normal(size=(m, n)) * 2 / m**0.5, b, use_bias=bias))
    return NeuralNetwork(layers, **settings)


def normalised(dtype):
    """A network whose hidden layer is normalised by moments that are not 0 and 1."""
    rng = np.random.default_rng(3)
    hidden = Layer(6, 9, "tanh", rng.normal(size=(6, 9)), rng.normal(size=9), batch_norm=True)
    hidden.gamma[:], hidden.running_mean[:], hidden.running_var[:] = rng.uniform(0.5, 2, size=(3, 9))
    return NeuralNetwork([hidden, Layer(9, 4, None, rng.normal(size=(9, 4)), rng.normal(size=4))], dtype=dtype)


def cases():
    """Name -> network, settings of export_c: every activation and what the loops of a header depend on."""
    found = {}
    for dtype in ROUNDING:
        short = dtype.replace("float", "f")
        for activation in WITHIN:
            name = re.sub(r"\W", "", activation)
            found[f"{name}_{short}"] = network([6, 9, 7, 4], activation, activation, dtype=dtype), {}
        found[f"softmax_{short}"] = network([6, 9, 4], "tanh", "softmax", loss="softmax_cross_entropy", dtype=dtype), {}
        found[f"logits_{short}"] = network([6, 9, 4], "relu", loss="softmax_cross_entropy", dtype=dtype), {}
        found[f"logit_{short}"] = network([6, 9, 1], "relu", loss="sigmoid_cross_entropy", dtype=dtype), {}
        found[f"bytes_{short}"] = network([6, 9, 4], "tanh", dtype=dtype, input_scale=0.01), {"input_dtype": "uint8"}
        found[f"no_bias_{short}"] = network([6, 9, 4], "relu", "sigmoid", bias=False, dtype=dtype), {}
        found[f"deep_{short}"] = network([2, 8, 3, 9, 2, 5, 1], "tanh", dtype=dtype), {}
        found[f"norm_{short}"] = normalised(dtype), {}
        found[f"one_{short}"] = network([1, 1], None, dtype=dtype), {}
    return found


CASES = cases()


def inputs(net, settings, n=20):
    rng = np.random.default_rng(1)
    if "input_dtype" in settings:
        return rng.integers(256, size=(n, net.n_in), dtype=np.uint8)
    return (2 * rng.normal(size=(n, net.n_in))).astype(net.dtype)


def library(folder, names):
    """Headers of these names in one shared library: call(function, x) fills rows of outputs."""
    code = [f'#include "{name}.h"' for name in names]
    for name in names:
        text = (folder / f"{name}.h").read_text()
        assert re.findall("#include.*", text) == ["#include <math.h>"]
        for kind, x, y in re.findall(r"inline void \w+?_(predict|probabilities)\(const (.*?) x.*?, (\w+) y", text):
            code.append(f"void call_{name}_{kind}(const {x} *x, {y} *y);")  # prototypes: -pedantic is not all
            code.append(f"void call_{name}_{kind}(const {x} *x, {y} *y) {{ {name}_{kind}(x, y); }}")
    (folder / "all.c").write_text("\n".join(code) + "\n")
    # optimised, compilers see arrays that are too short
    build = [compilers()[0], *C_FLAGS, "-O2", "-shared", "-fPIC", "-o", folder / "all.so", folder / "all.c", "-lm"]
    subprocess.run(build, check=True)
    loaded = ctypes.CDLL(str(folder / "all.so"))

    def call(function, x, net):
        y = np.empty((len(x), net.n_out), net.dtype)
        for i in range(len(x)):
            getattr(loaded, f"call_{function}")(ctypes.c_void_p(x[i:].ctypes.data), ctypes.c_void_p(y[i:].ctypes.data))
        return y

    return SimpleNamespace(call=call, folder=folder)


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    for name, (net, settings) in CASES.items():
        assert net.export_c(folder / f"{name}.h", **settings) == 0.0
    return library(folder, CASES)


def close(found, net, x):
    expected = net.predict(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING[str(net.dtype)] * np.abs(expected).max())


@pytest.mark.parametrize("name", CASES)
def test_c_computes_what_predict_does(lib, name):
    net, settings = CASES[name]
    x = inputs(net, settings)
    close(lib.call(f"{name}_predict", x, net), net, x)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("name", "link"), [("logits", lambda a: softmax(a, axis=1)), ("logit", expit)])
def test_c_probabilities(lib, name, link, dtype):
    net, _ = CASES[f"{name}_{dtype}"]
    x = inputs(net, {}) * 50
    a = lib.call(f"{name}_{dtype}_predict", x, net)
    assert a.max() > 90  # exp of it is too large for float32
    found = lib.call(f"{name}_{dtype}_probabilities", x, net)
    np.testing.assert_allclose(found, link(a), rtol=0, atol=ROUNDING[str(net.dtype)])


def test_c_has_probabilities_of_logits_only(lib):
    of_probabilities = {name for name in CASES if "_probabilities" in (lib.folder / f"{name}.h").read_text()}
    assert of_probabilities == {"logits_f32", "logits_f64", "logit_f32", "logit_f64"}


def test_c_headers_are_valid_cpp_and_may_stay_unused(lib):
    c, cpp = compilers()
    includes = "".join(f'#include "{name}.h"\n' for name in CASES)
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    (lib.folder / "twice.c").write_text(includes * 2)
    subprocess.run([c, "-std=c99", *flags, lib.folder / "twice.c"], check=True)
    if cpp:
        (lib.folder / "twice.cpp").write_text(includes * 2)
        subprocess.run([cpp, "-std=c++11", *flags, lib.folder / "twice.cpp"], check=True)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_c_reads_the_same_numbers(tmp_path, rng, dtype):
    """Every bit, at the ends of the range too."""
    info = np.finfo(dtype)
    W = rng.normal(size=(3, 8)).astype(dtype)
    W[0] = info.max, info.tiny, info.smallest_subnormal, -0.0, 0.1, -1e-5, 1e20, 16777216.0
    net = NeuralNetwork([Layer(3, 8, weights=W, bias=W[1])], dtype=dtype)
    net.export_c(tmp_path / "net.h")
    T = "float" if dtype == "float32" else "double"
    (tmp_path / "net.c").write_text(
        f'#include "net.h"\nconst {T} *weights(void) {{ return &net_W1[0][0]; }}\n'
        f"const {T} *bias(void) {{ return net_b1; }}\n"
    )
    subprocess.run(
        [compilers()[0], "-std=c99", "-shared", "-fPIC", "-o", tmp_path / "n.so", tmp_path / "net.c"], check=True
    )
    loaded = ctypes.CDLL(str(tmp_path / "n.so"))
    for function, expected in (("weights", W), ("bias", W[1])):
        getattr(loaded, function).restype = ctypes.c_void_p
        found = ctypes.string_at(getattr(loaded, function)(), expected.nbytes)
        assert found == expected.tobytes()


@pytest.mark.parametrize("dtype", ROUNDING)
def test_int8_states_its_error(tmp_path, rng, dtype):
    nets = {
        "logits": network([20, 30, 5], "relu", loss="softmax_cross_entropy", dtype=dtype),
        "no_bias": network([20, 30, 5], "tanh", "sigmoid", bias=False, dtype=dtype),
    }
    nets["logits"].params["W1"][:, 3] = 0  # no largest weight to scale by
    x = rng.normal(size=(50, 20)).astype(dtype)
    errors = {}
    for name, net in nets.items():
        errors[name] = net.export_c(tmp_path / f"{name}.h", quantize="int8", samples=x)
        text = (tmp_path / f"{name}.h").read_text()
        assert f"on 50 given rows an output differs by at most {errors[name]:.3g}" in " ".join(text.split())
    lib = library(tmp_path, nets)
    for name, net in nets.items():
        y = net.predict(x)
        found = np.abs(lib.call(f"{name}_predict", x, net) - y).max()
        assert found == pytest.approx(errors[name], rel=1e-3)
        assert 0 < found < 0.05 * np.abs(y).max()
    probabilities = lib.call("logits_probabilities", x, nets["logits"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_int8_rounds_each_weight_by_half_a_step_at_most(tmp_path, rng):
    """Steps of a unit's largest weight / 127: read from the header, and seen in the error of a linear layer."""
    net = network([20, 5], None)
    W, x = net.params["W1"], rng.normal(size=(200, 20))
    step = np.abs(W).max(axis=0) / 127
    error = net.export_c(tmp_path / "n.h", quantize="int8", samples=x)
    text = (tmp_path / "n.h").read_text()
    scale, whole = (
        np.array(re.findall(r"[-\d.e]+", re.search(f"n_{name}.*= {{([^;]*)}};", text)[1]), float)
        for name in ("s1", "W1")
    )
    np.testing.assert_allclose(scale, step, rtol=1e-15)
    whole = whole.reshape(W.shape)
    np.testing.assert_array_equal(np.abs(whole).max(axis=0), 127)
    assert np.all(np.abs(whole * scale - W) <= step / 2 * (1 + 1e-12))
    bound = (np.abs(x) @ np.abs(whole * scale - W)).max()
    assert 0.1 * bound < error <= bound


def test_int8_on_random_rows_and_its_size(tmp_path):
    net = network([64, 32, 4], "relu", dtype="float32")
    net.export_c(tmp_path / "n.h", quantize="int8")
    assert "on 1,000 random rows" in (tmp_path / "n.h").read_text()
    net.export_c(tmp_path / "b.h", quantize="int8", input_dtype="uint8")
    text = " ".join((tmp_path / "b.h").read_text().split())
    assert "on 1,000 rows of random bytes" in text
    # bytes of weights, and a float32 of scale and one of bias a unit
    assert f"{64 * 32 + 32 * 4 + 8 * (32 + 4):,} bytes of constants, {4 * 32} bytes of stack" in text


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [("digits.h", None, "digits"), ("my net-2.h", None, "my_net_2"), ("2.h", None, "net_2"), ("x.h", "a*/b", "a__b")],
)
def test_c_names(tmp_path, file, name, expected):
    network([1, 1], None).export_c(tmp_path / file, name=name)
    text = (tmp_path / file).read_text()
    assert f"void {expected}_predict(" in text
    assert f"#ifndef {expected.upper()}_H" in text


# ONNX


def run_onnx(path, x, outputs=None):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(outputs, {"x": x})


@pytest.mark.parametrize("name", CASES)
def test_onnx_computes_what_predict_does(tmp_path, name):
    pytest.importorskip("onnx")
    net, settings = CASES[name]
    net.export_onnx(tmp_path / "m.onnx", **settings)
    x = inputs(net, settings)
    (found,) = run_onnx(tmp_path / "m.onnx", x, ["y"])
    assert found.dtype == net.dtype
    expected = net.predict(x)
    within = 1e-7 if name == "gelu_f64" else ROUNDING[str(net.dtype)]  # its erf is computed in float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=within * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("name", "link"), [("logits", lambda a: softmax(a, axis=1)), ("logit", expit)])
def test_onnx_takes_any_number_of_rows_and_has_probabilities(tmp_path, name, link, dtype):
    onnx = pytest.importorskip("onnx")
    net, _ = CASES[f"{name}_{dtype}"]
    net.export_onnx(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == ["N", 6]
    assert [output.name for output in graph.output] == ["y", "probabilities"]
    for n in (1, 7):
        x = inputs(net, {}, n) * 50
        y, probabilities = run_onnx(tmp_path / "m.onnx", x)
        close(y, net, x)
        np.testing.assert_allclose(probabilities, link(y), rtol=0, atol=ROUNDING[str(net.dtype)])


def test_onnx_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"needs the package onnx: pip install nncore\[onnx\]"):
        network([1, 1], None).export_onnx(tmp_path / "m.onnx")


# PyTorch


def numbered(sizes, indices, dtype="float32", bias=True):
    rng = np.random.default_rng(0)
    state = {}
    for m, n, i in zip(sizes, sizes[1:], indices, strict=False):
        state[f"{i}.weight"] = rng.normal(size=(n, m)).astype(dtype)
        if bias:
            state[f"{i}.bias"] = rng.normal(size=n).astype(dtype)
    return state


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_from_a_state_dict_of_arrays(tmp_path, rng, dtype, bias):
    """Eleven layers of one size: in a file, and sorted as text, "10" comes before "2"."""
    state = numbered([4] * 12, range(11), dtype, bias)
    save_file(dict(sorted(state.items())), tmp_path / "t.safetensors")
    x = rng.normal(size=(5, 4)).astype(dtype)
    z = x.astype(float)
    for k in range(11):
        a = z @ state[f"{k}.weight"].T.astype(float) + state.get(f"{k}.bias", 0.0)
        z = np.tanh(a) if k < 10 else a
    for source in (state, dict(sorted(state.items())), tmp_path / "t.safetensors"):
        net = NeuralNetwork.from_torch(source, "tanh", loss="softmax_cross_entropy")
        assert (net.dtype, net.loss_name) == (dtype, "softmax_cross_entropy")
        np.testing.assert_allclose(net.predict(x), z, rtol=0, atol=30 * ROUNDING[dtype] * np.abs(z).max())


def affine(net):
    """Weights and biases with the normalisation within them, one after the other."""
    return np.concatenate([part.ravel() for la in net.layers for part in la.affine() if part is not None])


@pytest.mark.parametrize("name", CASES)
def test_to_a_state_dict_and_back(tmp_path, name):
    net, _ = CASES[name]
    net.export_torch(tmp_path / "t.safetensors")
    state = load_file(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(state["0.weight"], net.layers[0].affine()[0].T)
    again = NeuralNetwork.from_torch(tmp_path / "t.safetensors", [layer.activation for layer in net.layers])
    np.testing.assert_array_equal(again.core.params, affine(net))
    assert again.dtype == net.dtype


def test_the_order_of_layers(tmp_path):
    state = {f"{name}.weight": np.eye(2) * k for k, name in enumerate(("input", "hidden", "output"), 1)}
    net = NeuralNetwork.from_torch(state, None)
    np.testing.assert_array_equal(net.params["W3"], state["output.weight"])
    save_file(state, tmp_path / "t")
    with pytest.raises(ValueError, match=r"whose order a file does not tell, expected names=\[...\]"):
        NeuralNetwork.from_torch(tmp_path / "t", None)
    net = NeuralNetwork.from_torch(tmp_path / "t", None, names=["input", "hidden", "output"])
    np.testing.assert_array_equal(net.params["W2"], state["hidden.weight"])
    (single,) = NeuralNetwork.from_torch({"weight": np.ones((1, 2))}, ["relu"]).layers
    assert (single.shape, single.activation, single.bias) == ((2, 1), "relu", None)


@pytest.mark.parametrize("name", CASES)
def test_torch_computes_what_predict_does(tmp_path, name):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_tensors

    net, settings = CASES[name]
    module = eval(net.export_torch(tmp_path / "t.safetensors"), vars(torch.nn))
    module.load_state_dict(load_tensors(tmp_path / "t.safetensors"))
    x = inputs(net, settings)
    scaled = x * net.dtype.type(net.input_scale) if x.dtype == np.uint8 else x
    found = module(torch.from_numpy(scaled)).detach().numpy()
    within = 1e-9 if name == "softplus_f64" else ROUNDING[str(net.dtype)]  # above 20 PyTorch's is the identity
    expected = net.predict(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=within * np.abs(expected).max())
    # tensors with a gradient too
    again = NeuralNetwork.from_torch(dict(module.named_parameters()), [layer.activation for layer in net.layers])
    np.testing.assert_array_equal(again.core.params, affine(net))


def not_finite():
    """A network that became so: none is made so."""
    net = NeuralNetwork([Layer(1, 2)])
    net.params["W1"][0, 1] = np.nan
    return net


# Bad input

NET = network([6, 9, 4], "tanh", dtype="float32")
STATE = numbered([3, 2, 1], (0, 2))
ERRORS = {
    "input of c": (lambda p: NET.export_c(p, input_dtype="int8"), "expected one of 'float32', 'uint8'"),
    "input of onnx": (lambda p: NET.export_onnx(p, input_dtype="float64"), "expected one of 'float32', 'uint8'"),
    "quantize": (lambda p: NET.export_c(p, quantize="int4"), "quantize is 'int4', expected one of 'int8'"),
    "samples alone": (lambda p: NET.export_c(p, samples=[[0.0] * 6]), "samples is given, expected None without"),
    "samples": (
        lambda p: NET.export_c(p, quantize="int8", samples=[[0.0] * 5]),
        "samples has shape (1, 5), expected (n_samples, 6)",
    ),
    "name": (lambda p: NET.export_c(p, name=3), "name is 3, expected text"),
    "no layer, c": (lambda p: NeuralNetwork().export_c(p), "the network has no layer"),
    "no layer, onnx": (lambda p: NeuralNetwork().export_onnx(p), "the network has no layer"),
    "no layer, torch": (lambda p: NeuralNetwork().export_torch(p), "the network has no layer"),
    "not finite": (
        lambda p: not_finite().export_c(p),
        "W1[0, 1] is nan, expected finite numbers only",
    ),
    "too few activations": (
        lambda p: NeuralNetwork.from_torch(STATE, ["relu"]),
        "activations has 1 names, expected 2, one a layer: ['0', '2']",
    ),
    "activation": (lambda p: NeuralNetwork.from_torch(STATE, "maxout"), "activation is 'maxout', expected one of"),
    "names": (lambda p: NeuralNetwork.from_torch(STATE, None, names=["0", "1"]), "expected the layers ['0', '2']"),
    "setting": (lambda p: NeuralNetwork.from_torch(STATE, None, loss="mse"), "loss is 'mse', expected one of"),
    "empty": (lambda p: NeuralNetwork.from_torch({}, None), "source is empty, expected weight and bias"),
    "batch norm": (
        lambda p: NeuralNetwork.from_torch({**STATE, "1.weight": np.ones(2), "1.bias": np.ones(2)}, None),
        "1.weight is of shape (2,), expected (n_out, n_in) of a Linear layer",
    ),
    "running mean": (
        lambda p: NeuralNetwork.from_torch({**STATE, "2.running_mean": np.ones(1)}, None),
        "source has 2.running_mean, expected weight and bias of Linear layers only",
    ),
    "no weight": (lambda p: NeuralNetwork.from_torch({"0.bias": np.ones(2)}, None), "0.weight is missing, expected"),
    "bias": (
        lambda p: NeuralNetwork.from_torch({**STATE, "0.bias": np.ones(3)}, None),
        "bias has shape (3,), expected (2,)",
    ),
    "layers": (
        lambda p: NeuralNetwork.from_torch(numbered([3, 2, 1], (2, 0)), None),
        "layer 2 has 3 inputs, expected 1, the outputs of the layer before it",
    ),
    "text": (lambda p: NeuralNetwork.from_torch({"0.weight": "x"}, None), "0.weight is an array of dtype <U1"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input(tmp_path, name):
    call, message = ERRORS[name]
    if "onnx" in name:
        pytest.importorskip("onnx")
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", [3, None, b"file", [("0.weight", [[1.0]])]])
def test_what_is_no_source(source):
    with pytest.raises(TypeError, match=r"source is a \w+, expected a safetensors file, or what a module's state_dict"):
        NeuralNetwork.from_torch(source, None)


def test_a_damaged_file_of_tensors(tmp_path):
    (tmp_path / "t").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="t is not a complete safetensors file"):
        NeuralNetwork.from_torch(tmp_path / "t", None)
    NET.export_torch(tmp_path / "t")
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(data.replace(b'"dtype":"F32"', b'"dtype":"Q32"'))
    with pytest.raises(ValueError, match="t is not a complete safetensors file"):
        NeuralNetwork.from_torch(tmp_path / "t", None)


def test_files_are_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "n.h").write_text("before")
    with pytest.raises(ValueError, match="quantize"):
        NET.export_c(tmp_path / "n.h", quantize="x")
    assert (tmp_path / "n.h").read_text() == "before"
    for export in (NET.export_c, NET.export_torch):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            export(tmp_path / "nowhere" / "file")


# What must not be exported


EXPORTS = {
    "onnx": lambda net, path: net.export_onnx(path),
    "c": lambda net, path: net.export_c(path, name="net"),
    "int8": lambda net, path: net.export_c(path, name="net", quantize="int8"),
    "torch": lambda net, path: net.export_torch(path),
}


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("weights", np.nan, r"W1\[0, 0\] is nan, expected finite"),
        ("bias", np.inf, r"b1\[0\] is inf, expected finite"),
        ("gamma", np.nan, r"gamma1\[0\] is nan, expected finite"),
        ("running_mean", -np.inf, r"running_mean1\[0\] is -inf, expected finite"),
        ("running_var", -1.0, r"running_var1\[0\] is -1.0, expected a variance of 0 or more"),
        ("gamma", 1e306, r"W1\[\d, \d\] is -?inf, expected finite"),  # times 1 / sqrt of a small variance
    ],
)
def test_what_is_not_finite_is_not_exported(tmp_path, export, array, value, message):
    if export == "onnx":
        pytest.importorskip("onnx")
    net = normalised("float64")
    net.layers[0].running_var[:] = 1e-300
    if array == "gamma" and value > 1:
        net.layers[0].weights[:] *= 100
        net.layers[0].weights[1, 0] = 0  # times an infinite factor no number
    getattr(net.layers[0], array).reshape(-1)[0] = value
    (tmp_path / "there").write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        EXPORTS[export](net, tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"old"


INJECTIONS = [
    "*/ int evil; /*",
    "/* /* ",
    "*",
    "??/",
    "line\nbreak */",
    "\\",
    "größe",
    "//",
    "*/#error no",
    "a" * 300,
    "",
]


@pytest.mark.parametrize("name", INJECTIONS)
def test_no_name_gets_out_of_its_comment(tmp_path, name):
    """A loss that is a function gives the header its name, whatever that is."""

    def loss(y, t):
        return 0.0, y - t

    loss.__name__ = name
    layers = [Layer(2, 3, "leaky_relu( 0.25)"), Layer(3, 1)]
    NeuralNetwork(layers, loss=loss, rng=0).export_c(tmp_path / "net.h", name="net")
    text = (tmp_path / "net.h").read_text()
    assert text.isascii()
    code = "\n".join(["#include <stdio.h>", '#include "net.h"', "int main(void)", "{"])
    code += 'double x[2] = {1, 2}, y[1]; net_predict(x, y); return printf("%d", NET_N_OUT) != 1; }\n'
    (tmp_path / "main.c").write_text(code)
    run = [compilers()[0], "-std=c99", "-Wall", "-Wextra", "-Wcomment", "-Wtrigraphs", "-Werror", "-o"]
    subprocess.run([*run, tmp_path / "main", tmp_path / "main.c", "-lm"], check=True)
    assert subprocess.run([tmp_path / "main"], check=True, capture_output=True).stdout == b"1"


@pytest.mark.parametrize("name", ["*/ x /*", "int", "größe", "a b\nc", "9", "", "_", "a" * 300, "%s{}"])
def test_every_name_becomes_one_that_c_takes(tmp_path, name):
    network([2, 1], None).export_c(tmp_path / "n.h", name=name)
    (tmp_path / "main.c").write_text('#include "n.h"\nint main(void) { return 0; }\n')
    flags = ["-std=c99", "-Wall", "-Werror", "-pedantic", "-fsyntax-only"]
    subprocess.run([compilers()[0], *flags, tmp_path / "main.c"], check=True)


def test_an_onnx_file_has_its_limit(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(nncore.files.onnx_export, "ONNX_BYTES", 100)
    with pytest.raises(ValueError, match="the parameters take 480 bytes, expected at most 100 in ONNX"):
        network([5, 10], None).export_onnx(tmp_path / "m.onnx")


class Made(NeuralNetwork):
    """A subclass that is made from other arguments than its parent, and predicts in its own way."""

    def __init__(self, size):
        super().__init__([Layer(3, size, "tanh", batch_norm=True), Layer(size, 2)], dtype="float32", rng=0)
        self.shift = 1.0

    def predict(self, x, **settings):
        return super().predict(x, **settings) + self.shift


@pytest.mark.parametrize("change", [lambda net: net.folded(), lambda net: net.astype("float64")])
def test_a_rebuilt_network_is_of_the_same_class_and_predicts_the_same(change):
    x, net = np.random.default_rng(0).random((20, 3)), Made(5)
    net.fit(x, x[:, :2], epochs=3, progress=False)
    twin = change(net)
    assert type(twin) is Made
    np.testing.assert_allclose(twin.predict(x), net.predict(x), rtol=1e-5)
    twin.layers[0].weights *= 2
    assert not np.shares_memory(twin.core.params, net.core.params)


def test_folding_leaves_a_network_without_batch_norm_as_it_is():
    net = NeuralNetwork([Layer(3, 2)])
    assert net.folded() is net
    assert NeuralNetwork([Layer(3, 2, batch_norm=True), Layer(2, 1)]).folded().layers[0].batch_norm is False
