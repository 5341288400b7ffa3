"""Model files: what is saved comes back, what is damaged is refused, what was there survives a failure."""

import json
import os
import stat

import numpy as np
import pytest
from safetensors.numpy import save_file

from nncore import Layer, NeuralNetwork, persistence


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
    path = tmp_path / "m"
    small_net().save(path)
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ValueError, match=r"was changed|not a complete safetensors|without an nncore"):
            NeuralNetwork.load(path)


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
