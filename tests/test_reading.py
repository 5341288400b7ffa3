"""Reading model files: whatever stands in them, a network that is right or one sentence; sizes are known beforehand."""

import errno
import gzip
import io
import json
import os
import pickle
import random
import re
import warnings
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from safetensors.numpy import save as to_bytes

from nncore import Layer, NeuralNetwork
from nncore.files import checkpoints as checkpoint
from nncore.files import models
from nncore.files import tensors as _tensors

import test_resume  # isort: skip


def net():
    layers = [Layer(3, 4, "tanh", batch_norm=True), Layer(4, 2, use_bias=False)]
    return NeuralNetwork(layers, rng=0, loss="softmax_cross_entropy")


def saved(path, architecture=lambda a: a, tensors=lambda t: t, **metadata):
    """A file with a right digest whose architecture, tensors or metadata were changed before."""
    model = net()
    text = json.dumps(architecture(models._architecture(model)))
    entries = {"nncore_format": "1", "architecture": text, **metadata}
    path.write_bytes(_tensors.Encoded(tensors(models.tensors_of(model)), entries, signed=True).to_bytes())


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def outcome(path):
    """The network, or None and the error's sentence."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* is unverified", UserWarning)
            return NeuralNetwork.load(path), ""
    except ValueError as error:
        return None, str(error)


def entry(shape, begin, end, dtype="F64"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


# The format


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", ">f8"])
def test_the_bytes_are_those_of_safetensors_itself(tmp_path, rng, dtype):
    """Its writer orders and aligns as ours; its reader finds the same arrays, of any layout."""
    a = (100 * rng.random((3, 4, 2))).astype(dtype)
    arrays = {"b": a, "a": a[..., 0].T, "ab": a.reshape(-1)[::2], "none": a[:0], "one": a[0, 0, 0]}
    if dtype != ">f8":
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        plain["one"] = np.array(arrays["one"])
        assert _tensors.Encoded(arrays, {"x": "y"}).to_bytes() == to_bytes(plain, {"x": "y"})
    for signed in (False, True):
        (tmp_path / "f").write_bytes(_tensors.Encoded(arrays, {"x": "y"}, signed=signed).to_bytes())
        content, theirs = _tensors.read(tmp_path / "f"), load_file(tmp_path / "f")
        assert content.intact is (True if signed else None)
        assert content.metadata["x"] == "y"
        assert content.tensors.keys() == theirs.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(content.tensors[name], array)
            np.testing.assert_array_equal(theirs[name], array)


HOSTILE = {
    "nothing": (b"", "looks like empty"),
    "one": (b"\xff", "it has 1 bytes, expected 8"),
    "blank": (b"\n \t\n", "it has 4 bytes, expected 8"),
    "short": (b"\1\0\0", "it has 3 bytes, expected 8"),
    "length": (b"\xff" * 8 + b"{}", "would have 18,446,744,073,709,551,615 bytes, of 2 that are there"),
    "length of more than there is": (raw(b"{}")[:-1], "header would have 2 bytes, of 1"),
    "no text": (raw(b"\xff\xfe{}"), "its header is not text"),
    "no JSON": (raw(b"{]"), "Expecting property name"),
    "a list": (raw(b"[]"), "its header is no JSON object"),
    "deep": (raw(b"[" * 200_000), "nested too deeply"),
    "deep objects": (raw(b'{"a":' * 200_000), "nested too deeply"),
    "twice": (raw(b'{"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"a":1}', b"x" * 8), "'a' is there twice"),
    "metadata twice": (raw(b'{"__metadata__":{"a":"1","a":"2"}}'), "'a' is there twice"),
    "metadata no text": (raw({"__metadata__": {"a": 1}}), "its metadata are not texts"),
    "metadata a list": (raw({"__metadata__": []}), "its metadata are not texts"),
    "no entry": (raw({"a": 1}), "tensor 'a' is not described by"),
    "more in it": (raw({"a": {**entry([], 0, 8), "x": 1}}, b"x" * 8), "tensor 'a' is not described by"),
    "overlap": (raw({"a": entry([2], 0, 16), "b": entry([2], 8, 24)}, b"x" * 24), "'b' begins at byte 8, expected 16"),
    "gap": (raw({"a": entry([1], 0, 8), "b": entry([1], 16, 24)}, b"x" * 24), "'b' begins at byte 16, expected 8"),
    "the same place": (raw({"a": entry([1], 0, 8), "b": entry([1], 0, 8)}, b"x" * 8), "'b' begins at byte 0, exp"),
    "backwards": (raw({"a": entry([1], 8, 0)}, b"x" * 8), "tensor 'a' has -8 bytes, expected 8"),
    "behind the end": (raw({"a": entry([2], 0, 16)}, b"x" * 8), "its tensors take 16 bytes, and 8 are there"),
    "more at the end": (raw({"a": entry([1], 0, 8)}, b"x" * 9), "its tensors take 8 bytes, and 9 are there"),
    "shape": (raw({"a": entry([3], 0, 16)}, b"x" * 16), "tensor 'a' has 16 bytes, expected 24"),
    "shape of 2**64": (raw({"a": entry([1 << 32, 1 << 32], 0, 0)}), "tensor 'a' has no possible type, shape and place"),
    "shape of 2**61": (raw({"a": entry([1 << 61], 0, 0)}), "tensor 'a' has no possible"),
    "0 and huge": (raw({"a": entry([0, 1 << 62], 0, 0)}), "tensor 'a' has no possible"),
    "many dimensions": (raw({"a": entry([1] * 100, 0, 8)}, b"x" * 8), "tensor 'a' has no possible"),
    "negative": (raw({"a": entry([-1], 0, -8)}), "tensor 'a' has no possible"),
    "true": (raw({"a": entry([True], 0, 8)}, b"x" * 8), "tensor 'a' has no possible"),
    "fraction": (raw({"a": entry([1.0], 0, 8)}, b"x" * 8), "tensor 'a' has no possible"),
    "digits": (raw(b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,1' + b"0" * 5000 + b"]}}"), "Exceeds the limit"),
    "offsets": (raw({"a": {**entry([], 0, 0), "data_offsets": [0]}}), "tensor 'a' has no possible"),
    "type": (raw({"a": entry([1], 0, 8, 8)}, b"x" * 8), "tensor 'a' has no possible"),
    "a name that rings": (raw({"\x1b[31m\7": entry([], 0, 8)}, b"x" * 8), r"a tensor's name is '\\x1b\[31m\\x07'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(tmp_path, name):
    data, message = HOSTILE[name]
    path = tmp_path / "m"
    path.write_bytes(data)
    for read in (NeuralNetwork.load, lambda path: NeuralNetwork.from_torch(path, "relu"), models.read_metadata):
        with pytest.raises(ValueError, match=f"m is not a complete safetensors file: .*{message}"):
            read(path)
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(ValueError, match=r"c is not a complete safetensors file: .* no previous one"):
        net().fit(np.ones((2, 3)), [0, 1], epochs=1, checkpoint=tmp_path / "c", resume=True, progress=False)


def test_random_bytes_and_headers_that_are_nearly_right(tmp_path):
    """Whatever is changed in a file without a digest: a network of finite numbers, or a ValueError with its name."""
    pick, path = random.Random(0), tmp_path / "m"
    save_file(
        {name: np.array(array) for name, array in models.tensors_of(net()).items()}, path,
        {"architecture": json.dumps(models._architecture(net()))},
    )  # fmt: skip
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    loaded = 0
    for trial in range(1500):
        data = bytearray(whole)
        for _ in range(pick.randint(1, 3)):
            at = pick.randrange(end if trial % 4 else len(data))
            data[at : at + pick.randint(0, 3)] = pick.choice(
                [bytes([pick.randrange(256)]), b"9", b"-", b'"', b"[", b"}", b"null", b"1e400", b"\xff", b"\0" * 5, b""]
            )
        path.write_bytes(data)
        model, said = outcome(path)
        assert np.isfinite(model.core.params).all() if model else said.startswith(f"{path} "), trial
        loaded += model is not None
    assert loaded > 10


# Sizes


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(OSError, match=f"{path} is a device or pipe, expected a file, whose size is known"):
            NeuralNetwork.load(path)
    with pytest.raises(IsADirectoryError, match="is a folder, expected a file"):
        NeuralNetwork.load(tmp_path)
    for path in (0, None, b"m", ""):
        with pytest.raises((TypeError, ValueError), match=r"path is .*, expected the path of a file"):
            NeuralNetwork.load(path)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(tmp_path):
    """A file with a hole of 2**45 bytes, which takes no room on the disk."""
    size = 1 << 45
    path = tmp_path / "m"
    with open(path, "wb") as file:
        file.write(raw({"__metadata__": {"architecture": "{}"}, "W1": entry([size // 8], 0, size)}))
        try:
            file.truncate(file.tell() + size)
        except OSError:  # larger than files may be here
            size = 1 << 42
            file.seek(0)
            file.write(raw({"__metadata__": {"architecture": "{}"}, "W1": entry([size // 8], 0, size)}))
            file.truncate(file.tell() + size)
    with pytest.raises(MemoryError, match=rf"m holds {size:,} bytes of tensors, and [\d,]+ bytes of memory are there"):
        NeuralNetwork.load(path)


def test_the_memory_of_a_container(tmp_path):
    whole = _tensors._memory(tmp_path)
    assert 1 << 20 < whole < 1 << 60
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("12345\n")
    assert _tensors._memory(tmp_path) == 12345
    (tmp_path / "memory.max").write_text("max\n")
    assert _tensors._memory(tmp_path) == 12345
    (tmp_path / "memory.max").write_text("678\n")
    assert _tensors._memory(tmp_path) == 678


@pytest.mark.parametrize("more", [-1, -100, 1])
def test_a_file_that_grows_or_shrinks_while_it_is_read(tmp_path, more):
    net().save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    file = io.BytesIO(data + b"x" * more if more > 0 else data[:more])
    with pytest.raises(ValueError, match=f"complete safetensors file: it {'grew' if more > 0 else 'ended'} while"):
        _tensors._read("m", file, len(data))


def test_a_fault_of_the_disk_names_the_file(tmp_path, monkeypatch):
    net().save(tmp_path / "m")

    class Faulty(io.FileIO):
        def readinto(self, piece):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_tensors, "_opened", Faulty)
    with pytest.raises(OSError, match="m cannot be read: Input/output error") as caught:
        NeuralNetwork.load(tmp_path / "m")
    assert caught.value.errno == errno.EIO


# Other formats


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 100)
    return file.getvalue()


def arrays(save, **named):
    file = io.BytesIO()
    save(file, *([] if named else [np.ones(3)]), **named)
    return file.getvalue()


def onnx(producer=b"pytorch"):
    return b"\x08\x07\x12" + bytes([len(producer)]) + producer + b"\x1a\x03" + b"abc" * 20


OTHERS = {
    "torch.pt": (zipped("archive/data.pkl", "archive/version"), "a file of torch.save; pass .*from_torch"),
    "old.pt": (pickle.dumps({"a": np.ones(3)}, protocol=2), "a pickle; if PyTorch wrote it, .*from_torch"),
    "m.pkl": (pickle.dumps(net()), "a pickle; .*pickle.load"),
    "m.h5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5, as Keras writes; .*Layer"),
    "m.keras": (zipped("metadata.json", "config.json"), "a model of Keras; .*Layer"),
    "m.npz": (arrays(np.savez, W1=np.ones(3)), r"arrays of NumPy \(.npz\)"),
    "m.npy": (arrays(np.save), "an array of NumPy"),
    "m.onnx": (onnx(), "ONNX; nncore writes ONNX and does not read it"),
    "m.gz": (gzip.compress(b"x" * 100), "compressed by gzip; unpack it first"),
    "m.zip": (zipped("m.safetensors"), "a zip archive; unpack it first"),
    "m.csv": (b"a,b,kind\n1,2,x\n", "a table; expected a model that save wrote: data go to fit"),
    "semi.csv": ("\ufeffa;b;größe\n1;2;x\n".encode(), "a table"),
    "m.json": (b'{"layers": []}', "JSON"),
    "m.html": (b"\n<!DOCTYPE html><html>", "a web page; download the file itself"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64,
        "a pointer of Git LFS.*git lfs pull",
    ),
    "text": (b"not a model at all", "text; expected a model that save wrote"),
    "zeros": (b"\0" * 5000, "zeros, as a copy that is not complete"),
    "m.png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "a picture"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_other_programs(tmp_path, name):
    data, message = OTHERS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name} is not a complete safetensors file: it looks like {message}"):
        NeuralNetwork.load(tmp_path / name)


def test_real_files_of_other_programs(tmp_path):
    onnx = pytest.importorskip("onnx")
    net().export_onnx(tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="it looks like ONNX"):
        NeuralNetwork.load(tmp_path / "m.onnx")


def test_files_of_nncore_for_another_purpose(tmp_path):
    net().export_torch(tmp_path / "torch.safetensors")
    with pytest.raises(ValueError, match=r"without an nncore architecture.*: NeuralNetwork.from_torch takes"):
        NeuralNetwork.load(tmp_path / "torch.safetensors")
    net().fit(np.ones((2, 3)), [0, 1], epochs=1, checkpoint=tmp_path / "c", progress=False)
    with pytest.raises(
        ValueError, match="c is a checkpoint, expected a file that save wrote: fit takes it with resume"
    ):
        NeuralNetwork.load(tmp_path / "c")


# What a model file says


def changed(name, value, index=(0,)):
    def change(tensors):
        result = {key: array.copy() for key, array in tensors.items()}
        result[name].reshape(-1)[index] = value
        return result

    return change


@pytest.mark.parametrize("name", ["W1", "b1", "gamma1", "running_mean1", "running_var1", "W2"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(tmp_path, name, value):
    saved(tmp_path / "m", tensors=changed(name, value))
    for read in (NeuralNetwork.load, models.read_metadata):
        with pytest.raises(ValueError, match=rf"m cannot be used: {name}\[0(, 0)?\] is {value}, expected finite"):
            read(tmp_path / "m")


def test_a_network_that_became_nan_does_not_load(tmp_path):
    """The case as it was found."""
    model = NeuralNetwork([Layer(2, 2)], rng=0)
    model.params["W1"][:] = np.nan
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"W1\[0, 0\] is nan"):
        NeuralNetwork.load(tmp_path / "m")


def test_negative_variances(tmp_path):
    saved(tmp_path / "m", tensors=changed("running_var1", -1e-9, 2))
    with pytest.raises(ValueError, match=r"m cannot be used: running_var1\[2\] is -1e-09, expected a variance of 0 or"):
        NeuralNetwork.load(tmp_path / "m")
    saved(tmp_path / "m", tensors=changed("running_var1", -0.0, 2))
    NeuralNetwork.load(tmp_path / "m")


CLASSES = {
    "few": '["a"]', "many": '["a", "b", "c"]', "dict": '{"a": 1, "b": 2}', "text": '"ab"', "numbers": "[0, 1]",
    "none": "null", "mixed": '["a", null]', "no JSON": "a, b", "deep": "[" * 100_000, "same": '["a", "a"]',
    "number": "2", "huge": "1" * 5000,
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_classes_that_do_not_fit(tmp_path, name):
    saved(tmp_path / "m", classes=CLASSES[name])
    for read in (NeuralNetwork.load, models.read_metadata):
        with pytest.raises(ValueError, match=r"m has the classes .* in its metadata, expected 2 different names"):
            read(tmp_path / "m")


def test_classes_that_fit(tmp_path):
    for text in ('["a", "b"]', "[]"):
        saved(tmp_path / "m", classes=text)
        assert models.read_metadata(tmp_path / "m")["classes"] == text
    one = NeuralNetwork([Layer(2, 1)], loss="sigmoid_cross_entropy")
    for text in ('["no", "yes"]', '["yes"]', "[]"):
        models.save(one, tmp_path / "m", {"classes": text})
        NeuralNetwork.load(tmp_path / "m")


ODD = [
    None, True, -1, 0, 2, 2.5, 10**400, 1e308, float("nan"), float("inf"), "", "x", [], [1], {}, {"a": 1}, "\0",
    "relu", ["relu", "relu"], "leaky_relu(1" + "0" * 400 + ")", "elu(nan)", "relu\x1b[31m",
]  # fmt: skip


def test_one_thing_changed_in_an_architecture(tmp_path):
    """Every place of it, and anything in that place: refused with the file's name, or a network of those settings."""
    path, counts = tmp_path / "m", {True: 0, False: 0}
    original = json.loads(json.dumps(models._architecture(net())))
    for at, value in test_resume.places(original):
        names = [*value, "more"] if isinstance(value, dict) else []
        without = [{key: one for key, one in value.items() if key != name} for name in names[:-1]]
        for one in (*ODD, *without, *({**value, name: 1} for name in names)):
            saved(path, lambda _, at=at, one=one: test_resume.replaced(original, at, one))
            model, said = outcome(path)
            counts[model is not None] += 1
            if model is None:
                assert re.fullmatch(rf"{path} holds an architecture that does not fit its tensors: [^\n]+", said)
                continue
            expected = test_resume.replaced(original, at, one)
            defaults = {**Layer(1, 1).settings(), "activation": None, "batch_norm": False}
            expected["layers"] = [{**defaults, **layer} for layer in expected["layers"]]
            assert json.loads(json.dumps(models._architecture(model))) == expected, (at, one)
    assert counts[False] > 500
    assert counts[True] > 20


def test_integers_that_no_float_holds(tmp_path):
    """The case as it was found."""
    for name in ("l2", "delta", "input_scale", "dropout", "max_norm", "n_input"):
        text = json.dumps(models._architecture(net()))
        text = re.sub(rf'"{name}": [^,}}]+', f'"{name}": 1{"0" * 400}', text, count=1)
        assert "0" * 400 in text
        saved(tmp_path / "m", architecture=lambda a, text=text: json.loads(text))
        with pytest.raises(ValueError, match="m holds an architecture that does not fit its tensors: "):
            NeuralNetwork.load(tmp_path / "m")


def test_a_name_twice_in_an_architecture(tmp_path):
    text = json.dumps(models._architecture(net())).replace('"l2": 0.0', '"l2": 0.0, "l2": 0.5', 1)
    entries = {"architecture": text}
    (tmp_path / "m").write_bytes(_tensors.Encoded(models.tensors_of(net()), entries, signed=True).to_bytes())
    with pytest.raises(ValueError, match="'l2' is there twice"):
        NeuralNetwork.load(tmp_path / "m")


def test_metadata_must_be_text(tmp_path):
    with pytest.raises(TypeError, match=r"metadata has \['a'\] for 'classes', expected texts by name"):
        models.save(net(), tmp_path / "m", {"classes": ["a"]})
    assert os.listdir(tmp_path) == []
    models.save(net(), tmp_path / "m", {"dataset": os.fsdecode(b"caf\xe9.csv")})  # a name that is no text
    assert models.read_metadata(tmp_path / "m")["dataset"] == "caf\\udce9.csv"
    assert load_file(tmp_path / "m").keys() == models.tensors_of(net()).keys()


def test_a_digest_guards_every_bit_of_a_checkpoint_and_a_model(tmp_path):
    """Two bits at random places, of all sizes of values: beside the tests of every byte in their own files."""
    pick = random.Random(1)
    net().save(tmp_path / "m")
    net().fit(np.ones((2, 3)), [0, 1], epochs=1, checkpoint=tmp_path / "c", progress=False)
    for name, read in (("m", NeuralNetwork.load), ("c", checkpoint._from_bytes)):
        whole = (tmp_path / name).read_bytes()
        for _ in range(300):
            data = bytearray(whole)
            for at in pick.sample(range(len(data)), 2):
                data[at] ^= 1 << pick.randrange(8)
            (tmp_path / name).write_bytes(data)
            with pytest.raises(ValueError, match=f"{name} (was changed after|is not a (complete|checkpoint))"):
                read(tmp_path / name)


def test_tables_of_types_agree():
    for name, code in _tensors.TYPES.items():
        dtype = np.dtype(code)
        assert (name[0].lower(), int(name[1:])) == (dtype.kind, 8 * dtype.itemsize)
