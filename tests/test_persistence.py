"""Model files: what is saved comes back, what is damaged is refused, what was there survives a failure."""

import json
import os
import re
import stat

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nncore import Layer, NeuralNetwork
from nncore.files import models as persistence
from nncore.functions.kinds import ACTIVATIONS, LOSSES


def small_net(**settings):
    layers = [Layer(3, 4, "tanh"), Layer(4, 2, use_bias=False)]
    return NeuralNetwork(layers, rng=0, **settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_saved_comes_back(tmp_path, rng, dtype):
    net = small_net(loss="softmax_cross_entropy", dtype=dtype, delta=1e-7, input_scale=0.25)
    net.save(tmp_path / "model.safetensors")
    again = NeuralNetwork.load(tmp_path / "model.safetensors")
    x = rng.integers(0, 5, size=(6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    assert again.loss(x, [0, 1] * 3) == net.loss(x, [0, 1] * 3)
    assert (again.dtype, again.loss_name, again.delta, again.input_scale) == (net.dtype, net.loss_name, 1e-7, 0.25)
    assert repr(again) == repr(net)
    assert [layer.trainable_bias for layer in again.layers] == [True, True]


def test_every_setting_comes_back(tmp_path):
    """Of layers all that training looks at, of the network all arguments; then training goes on alike."""
    settings = {"dropout": 0.25, "l1": 0.5, "l2": 0.125, "max_norm": 2.0, "lr_scale": 0.5, "trainable_bias": False}
    layers = [Layer(3, 4, "elu(0.7)", rng=0, **settings), Layer(4, 2, rng=1)]
    assert settings.keys() == layers[0].settings().keys()
    net = NeuralNetwork(layers, loss="softmax_cross_entropy", label_smoothing=0.1)
    net.save(tmp_path / "m")
    again = NeuralNetwork.load(tmp_path / "m")
    assert again.layers[0].settings() == settings
    assert again.layers[1].settings() == Layer(4, 2).settings()
    assert again.label_smoothing == 0.1
    x, t = np.random.default_rng(0).normal(size=(20, 3)), [0, 1] * 10
    for one in (net, again):
        one.fit(x, t, batch_size=5, epochs=2, rng=0, progress=False)
    np.testing.assert_array_equal(net.core.params, again.core.params)


@pytest.mark.parametrize("loss", [*LOSSES, "huber(0.5)", "quantile(0.9)"])
def test_every_loss_comes_back(tmp_path, loss):
    activation = "sigmoid" if loss == "binary_cross_entropy" else None
    net = NeuralNetwork([Layer(3, 2, activation)], loss=loss, rng=0)
    net.save(tmp_path / "m")
    x, t = np.ones((1, 3)), [[1.0, 0.0 if loss == "softmax_cross_entropy" else 1.0]]
    assert NeuralNetwork.load(tmp_path / "m").loss(x, t) == net.loss(x, t)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "leaky_relu(0.3)"])
def test_every_activation_comes_back(tmp_path, rng, activation):
    net = NeuralNetwork([Layer(3, 2, activation)], rng=0)
    net.save(tmp_path / "m")
    x = rng.normal(size=(5, 3))
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path / "m").predict(x), net.predict(x))


def test_the_file_is_plain_safetensors(tmp_path):
    from safetensors import safe_open

    net = small_net()
    persistence.save(net, tmp_path / "m", {"dataset": "toy"})
    with safe_open(tmp_path / "m", "numpy") as file:
        assert set(file.keys()) == {"W1", "b1", "W2"}
        np.testing.assert_array_equal(file.get_tensor("W1"), net.params["W1"])
        assert file.metadata()["dataset"] == "toy"
    assert persistence.read_metadata(tmp_path / "m")["dataset"] == "toy"


def test_every_changed_byte_is_refused(tmp_path):
    """Each of its bits, and what changes the structure of JSON; loading must not even warn."""
    path = tmp_path / "m"
    small_net().save(path)
    data = path.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for position, byte in enumerate(data):
            for value in {byte ^ 1 << bit for bit in range(8)} | set(b'\0\x20"\\,:{}\xff') - {byte}:
                file.seek(position)
                file.write(bytes([value]))
                with pytest.raises(ValueError, match=r"m was changed after|m is not a complete safetensors"):
                    NeuralNetwork.load(path)
            file.seek(position)
            file.write(bytes([byte]))
    NeuralNetwork.load(path)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    net = small_net()
    files = set()
    for i in range(8):
        persistence.save(net, tmp_path / f"{i}", {"b": "1", "a": "2", "c": "3"})
        files.add((tmp_path / f"{i}").read_bytes())
    assert len(files) == 1


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "m"
    small_net().save(path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="not a complete safetensors"):
            NeuralNetwork.load(path)


def test_foreign_files_are_refused(tmp_path):
    save_file({"W1": np.ones((2, 2))}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="without an nncore architecture"):
        NeuralNetwork.load(tmp_path / "foreign")
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(ValueError, match="not a complete safetensors"):
        NeuralNetwork.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        NeuralNetwork.load(tmp_path / "nothing")


def rewrite(path, change_metadata=lambda m: m, change_tensors=lambda t: t):
    """A model file as another program would write it: without a digest."""
    small_net().save(path)
    metadata = {name: text for name, text in persistence.read_metadata(path).items() if name != "sha256"}
    save_file(change_tensors(load_file(path)), path, change_metadata(metadata))


def test_a_file_of_another_program_is_unverified(tmp_path):
    path = tmp_path / "m"
    rewrite(path)
    with pytest.warns(UserWarning, match="m is unverified: it has no SHA-256 of its content") as caught:
        net = NeuralNetwork.load(path)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(net.core.params, small_net().core.params)
    rewrite(path, lambda metadata: {"architecture": metadata["architecture"]})
    with pytest.warns(UserWarning, match="unverified"):
        NeuralNetwork.load(path)
    for digest in ("", "0" * 64, "x"):
        rewrite(path, lambda metadata, digest=digest: {**metadata, "sha256": digest})
        with pytest.raises(ValueError, match="m was changed after it was written"):
            NeuralNetwork.load(path)


TENSORS = {
    "missing": (lambda t: {"W1": t["W1"], "W2": t["W2"]}, "tensor b1 is missing, expected one of shape (4,)"),
    "misshapen": (lambda t: {**t, "W2": t["W2"].T.copy()}, "tensor W2 has shape (2, 4), expected (4, 2)"),
    "unknown": (lambda t: {**t, "b2": np.ones(2)}, "tensor b2 of shape (2,) is unknown, expected W1, b1, W2 only"),
    "half": (
        lambda t: {name: array.astype(np.float16) for name, array in t.items()},
        "is float16, expected float32 or float64, the same for all",
    ),
    "mixed": (lambda t: {**t, "b1": t["b1"].astype(np.float32)}, "tensor b1 is float32, expected float32 or float64"),
    "none": (lambda t: {}, "tensor W1 is missing, expected one of shape (3, 4)"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit(tmp_path, name):
    change, message = TENSORS[name]
    rewrite(tmp_path / "m", change_tensors=change)
    with pytest.raises(ValueError, match=f"m holds .* does not fit its tensors: .*{re.escape(message)}"):
        NeuralNetwork.load(tmp_path / "m")


def test_a_type_that_numpy_does_not_have(tmp_path):
    header = b'{"W1":{"dtype":"BF16","shape":[1,1],"data_offsets":[0,2]}}'
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ValueError, match="m has a tensor of type BF16, expected F32 or F64"):
        NeuralNetwork.load(tmp_path / "m")


def test_an_enormous_architecture_takes_no_memory(tmp_path):
    """Sizes that a file claims are compared with what it holds before anything is made of that size."""
    rewrite(tmp_path / "m", lambda m: {**m, "architecture": m["architecture"].replace("4", "4000000000")})
    with pytest.raises(ValueError, match="W1 has shape \\(3, 4\\), expected \\(3, 4000000000\\)"):
        NeuralNetwork.load(tmp_path / "m")
    rewrite(tmp_path / "m", lambda m: {**m, "architecture": "[" * 100_000})
    with pytest.raises(ValueError, match="m holds an architecture that does not fit"):
        NeuralNetwork.load(tmp_path / "m")


def forge(path, change):
    """A file with a right digest and a wrong content."""
    net = small_net()
    original = persistence._architecture(net)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(persistence, "_architecture", lambda _: change(json.loads(json.dumps(original))))
        net.save(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {**a, "layers": a["layers"][:1]},
        lambda a: {**a, "loss": "mse"},
        lambda a: {key: value for key, value in a.items() if key != "delta"},
        lambda a: {**a, "layers": [{**a["layers"][0], "n_neurons": 5}, a["layers"][1]]},
        lambda a: {**a, "layers": [{**a["layers"][0], "unknown": 1}, a["layers"][1]]},
    ],
)
def test_an_architecture_that_does_not_fit_is_refused(tmp_path, change):
    forge(tmp_path / "m", change)
    with pytest.raises(ValueError, match="does not fit its tensors"):
        NeuralNetwork.load(tmp_path / "m")


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(persistence, "FORMAT", "2")
    small_net().save(tmp_path / "m")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format '2', expected '1': use a newer nncore"):
        NeuralNetwork.load(tmp_path / "m")


def test_a_full_disk_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    small_net().save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        small_net(loss="softmax_cross_entropy").save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


def test_files_get_the_usual_permissions(tmp_path):
    persistence.write_atomically(tmp_path / "f", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert stat.S_IMODE(os.stat(tmp_path / "f").st_mode) == stat.S_IMODE(os.stat(tmp_path / "plain").st_mode)


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        small_net().save(tmp_path / "nowhere" / "m")
