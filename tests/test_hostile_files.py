"""Files that lie, are damaged or made to harm: a right result, or one sentence and exit code 2; never much memory."""

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from nncore import Layer, NeuralNetwork
from nncore.cli import main as cli
from nncore.cli import sources
from nncore.data import datasets, npz
from nncore.files import models as persistence

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
LABELS = np.array(["x", "y"] * 3)


def npy(descr, shape, order=False):
    """A member as np.save writes it, whatever its header says."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def archive(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of three columns with names, for tables and arrays."""
    path = tmp_path_factory.mktemp("model") / "m"
    net = NeuralNetwork([Layer(3, 2)], rng=0, loss="softmax_cross_entropy")
    metadata = {"classes": '["x", "y"]', "columns": '["a", "b", "c", "kind"]', "label": "kind", "input": "float64"}
    persistence.save(net, path, metadata)
    return path


def predicted(model, path, capsys):
    """The lines of predictions, or None where the file was refused as it should be."""
    code = cli.main(["predict", str(model), str(path)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert all(line.startswith(("nncore: ", "accuracy ")) for line in err.splitlines())
    if code == 0:
        return out.splitlines()
    assert (code, out, err.count("nncore: error: ")) == (2, "", 1)
    return None


def mutations(data, n, seed, alphabet=None):
    """Changed, inserted, removed and repeated bytes of a file, and files cut short."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        mutated = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(mutated) + 1))
            byte = int(rng.integers(256)) if alphabet is None else alphabet[rng.integers(len(alphabet))]
            length = int(rng.integers(1, 9))
            kind = rng.integers(5)
            if kind == 0:
                mutated[at : at + 1] = bytes([byte])
            elif kind == 1:
                mutated[at:at] = bytes([byte] * length)
            elif kind == 2:
                del mutated[at : at + length]
            elif kind == 3:
                mutated[at:at] = mutated[at : at + length]
            else:
                mutated = mutated[: max(at, 1)]
        yield bytes(mutated)


def test_mutated_tables(model, tmp_path, capsys):
    """Every row of the file is predicted, or the file is refused."""
    path = tmp_path / "t.csv"
    rows = [f"{a:.3f},{b:.3f},{c:.3f},{label}" for (a, b, c), label in zip(X, LABELS, strict=True)]
    text = "\n".join(["a,b,c,kind", *rows]).encode()
    right, accepted = {}, 0
    path.write_bytes(text)
    for line in predicted(model, path, capsys)[1:]:
        right[len(right)] = line
    for mutated in mutations(text, 300, 0, b",;\t\n\r\"' .-+eE_0159ab\0\xff\xc3?%"):
        path.write_bytes(mutated)
        lines = predicted(model, path, capsys)
        if lines is None:
            continue
        accepted += 1
        records = [line for line in mutated.replace(b"\r", b"\n").split(b"\n") if line.strip()]
        if b'"' not in mutated:
            assert len(lines) - 1 in (len(records), len(records) - 1)
        for line in lines[1:]:
            assert line[0] in "xy"
            assert 0.5 <= float(line.split(",")[1]) <= 1
        same = [i for i, row in enumerate(rows) if i + 1 < len(lines) and records[1 + i : 2 + i] == [row.encode()]]
        if records[0] == b"a,b,c,kind" and b'"' not in mutated:
            assert all(lines[1 + i] == right[i] for i in same)
    assert 10 < accepted < 290, "the mutations are of both kinds"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutated_archives(method, model, tmp_path, capsys):
    """A checksum covers every member: what is read is what was written."""
    path, buffer = tmp_path / "a.npz", io.BytesIO()
    (np.savez if method == zipfile.ZIP_STORED else np.savez_compressed)(buffer, X=X)
    path.write_bytes(buffer.getvalue())
    right = predicted(model, path, capsys)
    accepted = 0
    for mutated in mutations(buffer.getvalue(), 150, 1):
        path.write_bytes(mutated)
        lines = predicted(model, path, capsys)
        assert lines in (None, right)
        accepted += lines is not None
    assert accepted > 0


def test_mutated_headers_of_arrays(model, tmp_path, capsys):
    """With the checksum of the mutated member, as an attacker would write it; other shapes are other arrays."""
    path = tmp_path / "a.npz"
    head = npy("'<f8'", "(6, 3)")
    for mutated in mutations(head, 150, 2, b"'(){}[],:<>|=fiuScOU0123456789eFalseTrue \n\\\"#\0"):
        archive(path, X=mutated + X.tobytes())
        lines = predicted(model, path, capsys)
        assert lines is None or len(lines) == 7


def test_mutated_idx_files(tmp_path):
    """Plain ones have no checksum: an array of just these bytes, or a sentence; gzipped ones are right or refused."""
    path, array = tmp_path / "x", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    data = b"\0\0\x08\3" + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    for packed in (False, True):
        for mutated in mutations(gzip.compress(data, mtime=0) if packed else data, 200, 3):
            path.write_bytes(mutated)
            read = array_or_sentence(path)
            if read is None:
                continue
            if packed and mutated[:2] == b"\x1f\x8b":
                np.testing.assert_array_equal(read, array)
            else:
                assert mutated.endswith(read.astype(read.dtype.newbyteorder(">")).tobytes())


def array_or_sentence(path):
    """The array, or None if the file is refused in one sentence that names it."""
    try:
        return datasets.read_idx(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None


HEADERS = {
    "unbalanced": npy("'<f8'", "((("),
    "indented": b"\x93NUMPY\1\0\x09\0\n\n  x\n y\n",
    "a shape beyond all integers": npy("'<f8'", "(99999999999999999999999,)"),
    "80 TB": npy("'<f8'", "(10000000000000,)"),
    "negative": npy("'<f8'", "(-1, 3)"),
    "fractions": npy("'<f8'", "(1.5,)"),
    "truth": npy("'<f8'", "(True, 3)"),
    "too many dimensions": npy("'<f8'", f"({'1, ' * 70})"),
    "no magic": b"hello",
    "cut": b"\x93NUMPY\1\0\xff",
    "nothing": b"",
    "objects": npy("'|O'", "(2,)") + bytes(16),
    "records of objects": npy("[('a', '|O')]", "(2,)") + bytes(16),
    "records": npy("[('a', '<f8')]", "(2,)") + bytes(16),
    "dates": npy("'<M8[D]'", "(2,)") + bytes(16),
    "an unknown type": npy("'<f3'", "(2,)") + bytes(6),
    "no type": npy("7", "(2,)") + bytes(16),
    "code": npy("__import__('os').getcwd()", "(2,)") + bytes(16),
    "no dict": b"\x93NUMPY\1\0\x03\0[1]",
    "version 9": b"\x93NUMPY\x09\0" + npy("'<f8'", "(2,)")[8:] + bytes(16),
    "a header of 4 GB": b"\x93NUMPY\2\0\xff\xff\xff\xff{}",
    "shorter than it says": npy("'<f8'", "(6, 3)") + bytes(100),
    "longer than it says": npy("'<f8'", "(6, 3)") + bytes(200),
    "deep": npy("(" * 3000 + ")" * 3000, "(2,)"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_arrays(name, tmp_path, capsys):
    for member in "Xy":
        other = {"y" if member == "X" else "X": npy("'<f8'", "(2,)") + bytes(16)}
        archive(tmp_path / "a.npz", **{member: HEADERS[name]}, **other)
        code = cli.main(["train", str(tmp_path / "a.npz"), "--out", str(tmp_path / "o")])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert err.startswith(
            f"nncore: error: {tmp_path / 'a.npz'} is not a readable .npz file with arrays X and y: {member}.npy"
        )
        assert err.count("\n") == 1


def test_members_that_are_not_asked_for_are_not_read(tmp_path):
    archive(tmp_path / "a.npz", X=npy("'<f8'", "(1,)") + bytes(8), other=npy("'<f8'", "((("))
    arrays, names = npz.read_npz(tmp_path / "a.npz", ("X",))
    assert list(arrays) == ["X"]
    assert names == ["X", "other"]


@pytest.mark.parametrize(
    "array",
    [
        X, np.asfortranarray(X), X.astype(">f4"), X.astype("f2"), np.arange(6, dtype="i1"), np.array([True, False]),
        np.array(["a", "größe"]), np.array([b"a", b"bc"]), np.array(3.0), np.zeros((0, 3)), np.zeros((2, 0, 3)), X + 1j,
        np.array(["", ""]), X[::2, ::-1],
    ],
)  # fmt: skip
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_reads_them(array, save, tmp_path):
    save(tmp_path / "a.npz", X=array)
    (read,), (expected,) = npz.read_npz(tmp_path / "a.npz", ("X",))[0].values(), np.load(tmp_path / "a.npz").values()
    np.testing.assert_array_equal(read, expected, strict=True)
    assert read.flags.writeable


def deflated_zeros(head, mebibytes, window=31):
    """Zeros behind a head, 1,000 times smaller than what they unpack to; window 31 gives a gzip file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return packer.compress(head) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()


def peak_of(function):
    """Bytes that Python and NumPy had at most."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r".") as error:
            function()
        return tracemalloc.get_traced_memory()[1], str(error.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "holds IDX type 0x00"),
        (b"\0\0\x08\1\0\0\0\3", "has trailing bytes: expected 11 bytes for (3,), found 12 or more"),
        (b"\0\0\x08\0", "has trailing bytes: expected 5 bytes"),
        (b"\x89PNG", "is not an IDX file"),
        (b"\0\0\x0e\xff" + b"\1" * 1020, "declares an impossible shape"),
    ],
)
def test_a_gzip_bomb_is_not_unpacked(head, message, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(deflated_zeros(head, 60))
    assert path.stat().st_size < 1 << 18
    peak, error = peak_of(lambda: datasets.read_idx(path))
    assert peak < 20 << 20
    assert message in error


def test_a_gzip_file_that_promises_more_than_it_has(tmp_path):
    """The header of 16 EB takes no memory."""
    path = tmp_path / "x"
    for data in (gzip.compress(b"\0\0\x0e\2" + b"\xff" * 8 + bytes(100)), b"\0\0\x0e\2" + b"\xff" * 8 + bytes(100)):
        path.write_bytes(data)
        peak, error = peak_of(lambda: datasets.read_idx(path))
        assert peak < 20 << 20
        assert "is truncated" in error


def test_an_archive_bomb_is_not_unpacked(tmp_path):
    """Zeros behind a header of a small array, and a directory that says the member were small, or huge."""
    path, head = tmp_path / "a.npz", npy("'<f8'", "(2, 3)")
    body = deflated_zeros(head, 60, -15)
    for size, message in ((len(head) + (60 << 20), "bytes, expected 176"), (1 << 60, "more than the file can hold")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("X.npy", b"")
        data = bytearray(path.read_bytes())
        end = data.index(b"PK\1\2")
        local, central = data[:end], data[end:]
        local = local[:-2] + body  # an empty member is 2 bytes
        sizes = struct.pack("<III", 0, len(body), min(size, 0xFFFFFFFE))
        central[16:28] = sizes
        if size > 0xFFFFFFFF:
            central[24:28] = b"\xff" * 4
            extra = struct.pack("<HHQ", 1, 8, size)
            central[30:32] = struct.pack("<H", len(extra))
            central[46 + 5 : 46 + 5] = extra
        tail = central.index(b"PK\5\6")
        central[tail + 12 : tail + 20] = struct.pack("<II", tail, len(local))
        path.write_bytes(local + central)
        peak, error = peak_of(lambda: npz.read_npz(path, ("X",)))
        assert peak < 20 << 20
        assert message in error


def test_an_archive_of_another_compression(tmp_path):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archive(tmp_path / "a.npz", method, X=npy("'<f8'", "(2,)") + bytes(16))
        with pytest.raises(ValueError, match=f"is compressed by method {method}, expected deflate"):
            npz.read_npz(tmp_path / "a.npz", ("X",))


ARRAYS = {
    "shapes": ({"X": np.ones((4, 2)), "y": np.zeros(3)}, "has 4 rows of X and 3 of y"),
    "one dimension": ({"X": np.ones(4), "y": np.zeros(4)}, "X has shape (4,), expected (n_samples, n_features)"),
    "a number": ({"X": np.float64(1), "y": np.zeros(4)}, "X has shape ()"),
    "complex": ({"X": np.ones((4, 2)) * 1j, "y": np.zeros(4)}, "X is an array of dtype complex128"),
    "words": ({"X": np.array([["a"]] * 4), "y": np.zeros(4)}, "X is an array of dtype <U1"),
    "nan in X": ({"X": np.array([[1.0], [np.nan]]), "y": np.zeros(2)}, "X[1, 0] is nan"),
    "nan in y": ({"X": np.ones((2, 1)), "y": np.array([1, np.nan])}, "y[1] is nan"),
    "no label": ({"X": np.ones((3, 1)), "y": np.array(["a", "", "b"])}, "has no label in y[1] ('')"),
    "nan as a word": ({"X": np.ones((3, 1)), "y": np.array(["a", "b", "nan"])}, "has no label in y[2] ('nan')"),
    "complex labels": ({"X": np.ones((3, 1)), "y": np.ones(3) * 1j}, "y is an array of dtype complex128"),
    "test bytes": (
        {"X": np.ones((4, 2), np.uint8), "y": np.arange(4) % 2, "X_test": np.ones((2, 2)), "y_test": np.arange(2)},
        "has X with 2 features of uint8 and X_test with 2 of float64, expected the same",
    ),
    "test words": (
        {"X": np.ones((4, 2)), "y": np.arange(4) % 2, "X_test": np.ones((2, 2)), "y_test": np.array(["a", "b"])},
        "y_test of (2,) and <U1, expected the same kind",
    ),
    "test width": (
        {"X": np.ones((4, 2)), "y": np.arange(4) % 2, "X_test": np.ones((2, 3)), "y_test": np.arange(2)},
        "X with 2 features of float64 and X_test with 3",
    ),
    "ids": (
        {"X": np.ones((9, 1)), "y": np.array([f"id {i}" for i in range(9)])},
        "has 9 different labels in 9 rows of y",
    ),
    "not asked for": ({"x": np.ones((4, 2)), "\x1b": np.zeros(4)}, "has the arrays x, \\x1b, expected X and y"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit(name, tmp_path):
    arrays, message = ARRAYS[name]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises((ValueError, TypeError)) as error:
        sources.load(str(tmp_path / "a.npz"))
    assert message in str(error.value)


def test_labels_as_bytes_and_far_from_0(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((10, 1)), y=np.array([b"rose", b"tulip"] * 5))
    assert sources.load(str(tmp_path / "a.npz")).classes == ["rose", "tulip"]
    for values in ([0, 2**63], [-(2**62), 2**62], [1e300, -1e300], [3, 200]):
        y = np.array(values * 5, np.uint64 if max(values) == 2**63 else None)
        np.savez(tmp_path / "a.npz", X=np.ones((10, 1)), y=y.astype(np.uint8) if 200 in values else y)
        assert sources.load(str(tmp_path / "a.npz")).classes == [str(int(v)) for v in sorted(values)]
