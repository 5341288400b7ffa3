"""Data sets: the real MNIST if it is on this machine, and small files made here for all that can go wrong."""

import dataclasses
import doctest
import gzip
import hashlib
import http.server
import logging
import os
import re
import socket
import subprocess
import sys
import threading

import numpy as np
import pooch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nncore.data import datasets, idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array):
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def make_set(name, seed, mirrors=()):
    """A set of 5 training and 3 test images of 4 x 3 pixels: its arrays, files and entry in the table."""
    rng = np.random.default_rng(seed)
    shapes = ((5, 4, 3), (5,), (3, 4, 3), (3,))
    arrays = [rng.integers(0, 256 if len(s) == 3 else 10, s, dtype=np.uint8) for s in shapes]
    content = {file: idx_bytes(array) for file, array in zip(FILES, arrays, strict=True)}
    gz = {file: gzip.compress(data, mtime=0) for file, data in content.items()}
    entry = datasets._IdxSet(
        name=name,
        mirrors=tuple(mirrors),
        gz_md5=tuple(hashlib.md5(data).hexdigest() for data in gz.values()),
        sha256=tuple(hashlib.sha256(data).hexdigest() for data in content.values()),
    )
    return arrays, content, gz, entry


def write_files(folder, files, ending=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / (name + ending)).write_bytes(data)


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """No test sees the user's data folder, cache, proxy or the network."""
    monkeypatch.delenv("NNCORE_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    for name, entry in datasets._SETS.items():
        monkeypatch.setitem(datasets._SETS, name, dataclasses.replace(entry, mirrors=()))


@pytest.fixture
def small(monkeypatch):
    """Small stand-ins for both sets; the value is that of MNIST's: (arrays, content, gz)."""
    *mnist, mnist_entry = make_set("mnist", 0)
    monkeypatch.setitem(datasets._SETS, "mnist", mnist_entry)
    monkeypatch.setitem(datasets._SETS, "fashion-mnist", make_set("fashion-mnist", 1)[-1])
    return mnist


def assert_is_small(result, arrays):
    (x_train, t_train), (x_test, t_test) = result
    np.testing.assert_array_equal(x_train, arrays[0].reshape(5, 12))
    np.testing.assert_array_equal(t_train, arrays[1])
    np.testing.assert_array_equal(x_test, arrays[2].reshape(3, 12))
    np.testing.assert_array_equal(t_test, arrays[3])


# ---- the real MNIST ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw_mnist(mnist_dir):
    return datasets.load_mnist(normalize=False, data_dir=mnist_dir)


def test_mnist_raw_is_the_known_data(raw_mnist):
    (x_train, t_train), (x_test, t_test) = raw_mnist
    assert x_train.shape == (60000, 784)
    assert x_test.shape == (10000, 784)
    assert t_train.shape == (60000,)
    assert t_test.shape == (10000,)
    assert {a.dtype for split in raw_mnist for a in split} == {np.dtype(np.uint8)}
    assert all(a.flags.writeable and a.flags.c_contiguous for split in raw_mnist for a in split)
    assert t_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert t_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(t_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(np.mean(x_train == 0) - 0.81) < 0.005


def test_mnist_default_is_the_book_s(raw_mnist, mnist_dir, monkeypatch):
    monkeypatch.setenv("NNCORE_DATA", str(mnist_dir))
    (x_train, t_train), (x_test, t_test) = datasets.load_mnist()
    assert x_train.dtype == x_test.dtype == np.float32
    assert x_train.min() == 0.0
    assert x_train.max() == 1.0
    np.testing.assert_array_equal(x_test, raw_mnist[1][0].astype(np.float32) / 255.0)
    np.testing.assert_array_equal(t_train, raw_mnist[0][1])
    assert x_train.flags.writeable
    assert t_test.flags.writeable


def test_mnist_images_and_one_hot_labels(raw_mnist, mnist_dir):
    (x_train, t_train), (x_test, t_test) = datasets.load_mnist(False, False, True, data_dir=mnist_dir)
    assert x_train.shape == (60000, 1, 28, 28)
    assert x_test.shape == (10000, 1, 28, 28)
    assert t_train.shape == (60000, 10)
    assert t_train.dtype == np.float64
    np.testing.assert_array_equal(x_test.reshape(10000, 784), raw_mnist[1][0])
    np.testing.assert_array_equal(t_test, np.eye(10)[raw_mnist[1][1]])


# ---- IDX files ---------------------------------------------------------------------------------------------


@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))
def test_read_idx_returns_what_was_written(array, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.idx"
    for data in (idx_bytes(array), gzip.compress(idx_bytes(array))):
        path.write_bytes(data)
        read = datasets.read_idx(path)
        assert read.dtype == np.uint8
        assert read.shape == array.shape
        assert read.flags.writeable
        np.testing.assert_array_equal(read, array)


IDX_TYPES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


@pytest.mark.parametrize("dtype", IDX_TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_read_idx_of_every_type(tmp_path, dtype, shape):
    """Elements are big-endian in the file, and of this machine's order in the array."""
    written = np.asarray(np.random.default_rng(0).normal(size=shape) * 100).astype(dtype)
    head = bytes([0, 0, IDX_TYPES[dtype], len(shape)]) + np.array(shape, ">u4").tobytes()
    for name, data in (("plain", head + written.tobytes()), ("gz", gzip.compress(head + written.tobytes()))):
        (tmp_path / name).write_bytes(data)
        read = datasets.read_idx(tmp_path / name)
        assert read.dtype == np.dtype(dtype).newbyteorder("=")
        assert read.flags.writeable
        np.testing.assert_array_equal(read, written)
        (tmp_path / "cut").write_bytes(data[:-1])
        with pytest.raises(ValueError, match=r"is truncated|is a damaged gzip file"):
            datasets.read_idx(tmp_path / "cut")


@pytest.mark.parametrize("code", [0x00, 0x07, 0x0A, 0x0F, 0xFF])
def test_an_unknown_idx_type_says_which_are_known(tmp_path, code):
    (tmp_path / "x").write_bytes(bytes([0, 0, code, 1, 0, 0, 0, 1, 0]))
    with pytest.raises(
        ValueError, match=rf"holds IDX type 0x{code:02x}; convert it to 0x08 \(uint8\), .*0x0e \(float64\)"
    ):
        datasets.read_idx(tmp_path / "x")


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    plain, gz = tmp_path / "plain.gz", tmp_path / "gz"
    plain.write_bytes(idx_bytes(array))
    gz.write_bytes(gzip.compress(idx_bytes(array)))
    np.testing.assert_array_equal(datasets.read_idx(str(plain)), array)
    np.testing.assert_array_equal(datasets.read_idx(gz), array)


def read_or_refuse(path):
    """The array, or None and the message of the ValueError; any other error passes through."""
    try:
        return datasets.read_idx(path), ""
    except ValueError as error:
        return None, str(error)


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
GOOD_GZ = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize("cut", range(len(GOOD)))
def test_truncated_file(tmp_path, cut):
    path = tmp_path / "cut.idx"
    path.write_bytes(GOOD[:cut])
    needed = 4 if cut < 4 else 12 if cut < 12 else 18
    with pytest.raises(ValueError, match=re.escape(str(path)) + " is truncated") as error:
        datasets.read_idx(path)
    assert re.search(rf"\b{needed}\b.*\b{cut}\b|\b{cut}\b.*\b{needed}\b", str(error.value).removeprefix(str(path)))


@pytest.mark.parametrize("cut", range(len(GOOD_GZ)))
def test_truncated_gzip(tmp_path, cut):
    path = tmp_path / "cut.idx.gz"
    path.write_bytes(GOOD_GZ[:cut])
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        datasets.read_idx(path)
    assert cut < 2 or "damaged gzip" in str(error.value)


@pytest.mark.parametrize("position", range(len(GOOD_GZ)))
def test_damaged_gzip_is_refused_or_harmless(tmp_path, position):
    path = tmp_path / "damaged.idx.gz"
    for bit in range(8):
        data = bytearray(GOOD_GZ)
        data[position] ^= 1 << bit
        path.write_bytes(data)
        array, message = read_or_refuse(path)
        if array is not None:
            np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
        elif position >= 2:
            assert f"{path} is a damaged gzip file" in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + b"\0", r"has trailing bytes: expected 18 bytes for \(2, 3\), found 19"),
        (gzip.compress(GOOD + b"\0"), r"has trailing bytes: expected 18 bytes for \(2, 3\), found 19"),
        (GOOD_GZ + b"x", "is a damaged gzip file"),
        (b"\x89PNG\r\n\x1a\n", "is not an IDX file: it begins with 0x8950"),
        (b"\0\1" + GOOD[2:], "is not an IDX file: it begins with 0x0001"),
        (b"\0\0\x0a" + GOOD[3:], r"holds IDX type 0x0a; convert it to 0x08 \(uint8\), 0x09"),
        (b"\0\0\x0d" + GOOD[3:], r"is truncated: expected 36 bytes for \(2, 3\), found 18"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", "declares an impossible shape"),
    ],
    ids=["trailing", "trailing gz", "after gz", "PNG", "magic", "type", "width", "dimensions"],
)
def test_wrong_file(tmp_path, data, message):
    path = tmp_path / "wrong.idx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(str(path)) + " " + message):
        datasets.read_idx(path)


@given(data=st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\0\0\x08" + tail))
def test_any_bytes_give_an_array_or_an_error_that_names_the_file(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz.idx"
    path.write_bytes(data)
    array, message = read_or_refuse(path)
    assert str(path) in message if array is None else array.dtype.kind in "uif"


def test_missing_idx_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        datasets.read_idx(tmp_path / "absent")


# ---- folders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_environment", [False, True])
@pytest.mark.parametrize("sub_folder", ["mnist", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_named_folder(small, tmp_path, monkeypatch, by_environment, sub_folder, ending):
    arrays, content, gz = small
    write_files(tmp_path / "data" / sub_folder, gz if ending else content, ending)
    if by_environment:
        monkeypatch.setenv("NNCORE_DATA", str(tmp_path / "data"))
        assert_is_small(datasets.load_mnist(normalize=False), arrays)
    else:
        monkeypatch.setenv("NNCORE_DATA", str(tmp_path / "ignored because data_dir is given"))
        assert_is_small(datasets.load_mnist(normalize=False, data_dir=tmp_path / "data"), arrays)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_with_a_dot_in_their_names(small, tmp_path, ending, nested):
    """As some programs unpack them, and in a folder of that name as some archives hold them."""
    arrays, content, gz = small
    for name, data in (gz if ending else content).items():
        dotted = name.replace("-idx", ".idx")
        write_files(tmp_path / dotted if nested else tmp_path, {dotted: data}, ending)
    assert_is_small(datasets.load_mnist(normalize=False, data_dir=tmp_path), arrays)


def test_a_wrong_file_with_a_dot_is_called_wrong_not_missing(tmp_path):
    write_files(tmp_path, {name.replace("-idx", ".idx"): b"\0\0\x08\1\0\0\0\1\0" for name in FILES})
    with pytest.raises(
        ValueError, match=r"train-images\.idx3-ubyte is not the original train-images-idx3-ubyte of mnist"
    ):
        datasets.load_mnist(data_dir=tmp_path)


def test_sub_folder_comes_before_the_folder_itself(small, tmp_path):
    arrays, content, _ = small
    write_files(tmp_path, make_set("fashion-mnist", 1)[1])
    write_files(tmp_path / "mnist", content)
    assert_is_small(datasets.load_mnist(normalize=False, data_dir=tmp_path), arrays)


def test_forms_of_the_result(small, tmp_path):
    arrays, content, _ = small
    write_files(tmp_path, content)
    (x_train, _), (x_test, t_test) = datasets.load_mnist(True, False, True, data_dir=tmp_path)
    assert x_train.dtype == np.float32
    assert x_train.shape == (5, 1, 4, 3)
    np.testing.assert_array_equal(x_test[:, 0], arrays[2].astype(np.float32) / np.float32(255))
    assert t_test.dtype == np.float64
    np.testing.assert_array_equal(t_test, np.eye(10)[arrays[3]])


@pytest.mark.parametrize("origin", ["data_dir=", "NNCORE_DATA"])
def test_folder_that_does_not_exist(small, tmp_path, monkeypatch, origin):
    folder = tmp_path / "absent"
    monkeypatch.setenv("NNCORE_DATA", str(folder))
    with pytest.raises(FileNotFoundError, match=f"{origin} names {re.escape(str(folder))}, which is no folder"):
        datasets.load_mnist(data_dir=folder if origin == "data_dir=" else None)


@pytest.mark.parametrize("origin", ["data_dir=", "NNCORE_DATA"])
def test_folder_that_lacks_files(small, tmp_path, monkeypatch, origin):
    _, content, _ = small
    write_files(tmp_path, {name: content[name] for name in FILES[:2]})
    monkeypatch.setenv("NNCORE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        datasets.load_mnist(data_dir=tmp_path if origin == "data_dir=" else None)
    message = str(error.value)
    assert message.startswith(f"{FILES[2]}, {FILES[3]} (plain or .gz) of mnist not found in {tmp_path / 'mnist'} or ")
    assert origin in message


def test_data_dir_without_any_file_is_an_error(small, tmp_path):
    with pytest.raises(FileNotFoundError, match=", ".join(FILES)):
        datasets.load_mnist(data_dir=tmp_path)


@pytest.mark.parametrize("file", FILES)
def test_one_changed_byte_is_refused(small, tmp_path, file):
    _, content, _ = small
    changed = bytearray(content[file])
    changed[-1] ^= 1
    write_files(tmp_path, content | {file: bytes(changed)})
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / file)) + f" is not the original {file} of mnist"):
        datasets.load_mnist(data_dir=tmp_path)


def test_another_set_in_data_dir_is_refused(small, tmp_path):
    write_files(tmp_path, small[1])
    with pytest.raises(ValueError, match=f"is not the original {FILES[0]} of fashion-mnist"):
        datasets.load_fashion_mnist(data_dir=tmp_path)


def test_truncated_file_of_a_set_is_called_truncated(small, tmp_path):
    write_files(tmp_path, small[1] | {FILES[0]: small[1][FILES[0]][:-1]})
    with pytest.raises(ValueError, match=f"{FILES[0]} is truncated"):
        datasets.load_mnist(data_dir=tmp_path)


# ---- download ----------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    """A server on this machine: `served` maps paths to bytes, `asked` lists the paths requested."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = served.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    served, asked = {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        httpd.served, httpd.asked = served, asked
        httpd.url = f"http://127.0.0.1:{httpd.server_port}/"
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def silent(capfd):
    """Fail if pooch logs anything, if anything is printed, or if pooch's log level is not given back."""
    logger, records = pooch.get_logger(), []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    assert logger.level == logging.DEBUG
    logger.setLevel(level)
    logger.removeHandler(handler)
    assert records == []
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def dead_mirror():
    """An address at which nobody answers: bound, so that nobody else takes it, but not listening."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/"


def publish(monkeypatch, server, mirrors, folder=""):
    """Put a small MNIST into the table and on the server, in `folder`."""
    arrays, _, gz, entry = make_set("mnist", 0, mirrors)
    monkeypatch.setitem(datasets._SETS, "mnist", entry)
    for name, data in gz.items():
        server.served[f"/{folder}{name}.gz"] = data
    return arrays


def cached_files(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_download_then_cache(server, monkeypatch, tmp_path, silent):
    arrays = publish(monkeypatch, server, [server.url])
    assert_is_small(datasets.load_mnist(normalize=False), arrays)
    assert sorted(server.asked) == sorted(f"/{name}.gz" for name in FILES)
    assert cached_files(tmp_path) == sorted(f"{name}.gz" for name in FILES)
    server.asked.clear()
    assert_is_small(datasets.load_mnist(normalize=False), arrays)
    assert server.asked == []


def test_cache_needs_no_network(server, monkeypatch, dead_mirror):
    arrays = publish(monkeypatch, server, [server.url])
    datasets.load_mnist()
    publish(monkeypatch, server, [dead_mirror])
    assert_is_small(datasets.load_mnist(normalize=False), arrays)


def test_damaged_file_in_the_cache_is_fetched_again(server, monkeypatch, tmp_path):
    arrays = publish(monkeypatch, server, [server.url])
    datasets.load_mnist()
    (tmp_path / "cache" / "nncore" / "mnist" / f"{FILES[1]}.gz").write_bytes(b"damaged")
    server.asked.clear()
    assert_is_small(datasets.load_mnist(normalize=False), arrays)
    assert server.asked == [f"/{FILES[1]}.gz"]


def test_second_mirror_is_used_when_the_first_is_down(server, monkeypatch, dead_mirror):
    arrays = publish(monkeypatch, server, [dead_mirror, server.url])
    assert_is_small(datasets.load_mnist(normalize=False), arrays)


def test_second_mirror_is_used_when_the_first_lacks_a_file(server, monkeypatch):
    arrays = publish(monkeypatch, server, [server.url + "first/", server.url + "second/"], "second/")
    server.served[f"/first/{FILES[0]}.gz"] = server.served[f"/second/{FILES[0]}.gz"]
    assert_is_small(datasets.load_mnist(normalize=False), arrays)
    assert f"/second/{FILES[0]}.gz" not in server.asked, "what the first mirror delivered is kept"


def test_mirror_with_a_wrong_file_is_passed_over(server, monkeypatch):
    arrays = publish(monkeypatch, server, [server.url + "first/", server.url + "second/"], "second/")
    server.served |= {f"/first/{name}.gz": b"a page that says: please log in" for name in FILES}
    assert_is_small(datasets.load_mnist(normalize=False), arrays)


def test_wrong_file_on_every_mirror_is_refused(server, monkeypatch, tmp_path, silent):
    publish(monkeypatch, server, [server.url])
    server.served[f"/{FILES[2]}.gz"] = gzip.compress(b"not the original")
    with pytest.raises(ConnectionError, match=re.escape(f"{server.url} (ValueError)")):
        datasets.load_mnist()
    assert f"{FILES[2]}.gz" not in cached_files(tmp_path)
    assert server.asked.count(f"/{FILES[2]}.gz") == 2, "each mirror is asked twice"


def test_every_mirror_down(server, monkeypatch, dead_mirror, silent):
    publish(monkeypatch, server, [dead_mirror, server.url + "nothing/"])
    with pytest.raises(ConnectionError) as error:
        datasets.load_mnist()
    message = str(error.value)
    for part in (
        dead_mirror,
        server.url + "nothing/",
        "(ConnectionError)",
        "(HTTPError)",
        "NNCORE_DATA",
        "data_dir=",
    ):
        assert part in message
    assert "\n" not in message


def test_connection_that_breaks_is_tried_again(server, monkeypatch):
    from requests.exceptions import ChunkedEncodingError

    arrays = publish(monkeypatch, server, [server.url])
    fetch, calls = datasets._fetch, []

    def break_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise ChunkedEncodingError
        return fetch(*args)

    monkeypatch.setattr(datasets, "_fetch", break_once)
    assert_is_small(datasets.load_mnist(normalize=False), arrays)
    assert len(calls) == 2


def test_fault_of_this_machine_is_not_blamed_on_the_mirror(server, monkeypatch, silent):
    publish(monkeypatch, server, [server.url])

    def disk_full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets, "_fetch", disk_full)
    with pytest.raises(OSError, match="No space left") as error:
        datasets.load_mnist()
    assert not isinstance(error.value, ConnectionError)


@pytest.mark.parametrize("held", ["nothing", "sub-folder", "same folder"])
def test_environment_folder_without_the_set_leads_to_download(server, monkeypatch, tmp_path, held):
    arrays = publish(monkeypatch, server, [server.url])
    _, content, _, fashion = make_set("fashion-mnist", 1)
    monkeypatch.setitem(datasets._SETS, "fashion-mnist", fashion)
    data = tmp_path / "data"
    data.mkdir()
    if held != "nothing":
        write_files(data / "fashion-mnist" if held == "sub-folder" else data, content)
    monkeypatch.setenv("NNCORE_DATA", str(data))
    assert_is_small(datasets.load_mnist(normalize=False), arrays)
    assert len(server.asked) == 4


def test_table_of_published_files():
    assert set(datasets._SETS) == {"mnist", "fashion-mnist"}
    for name, entry in datasets._SETS.items():
        assert entry.name == name
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in entry.gz_md5)
        assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in entry.sha256)
    sums = [s for entry in datasets._SETS.values() for s in entry.gz_md5 + entry.sha256]
    assert len(sums) == len(set(sums)) == 16


# ---- data of scikit-learn ----------------------------------------------------------------------------------


def test_digits_are_scikit_learn_s():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, t = load_digits(return_X_y=True)
    x_train, x_test, t_train, t_test = train_test_split(x, t, test_size=0.3, random_state=0, stratify=t)
    raw = datasets.load_digits(normalize=False)
    for found, expected in zip([*raw[0], *raw[1]], [x_train, t_train, x_test, t_test], strict=True):
        assert found.dtype == np.uint8
        assert found.flags.writeable
        np.testing.assert_array_equal(found, expected)


def test_digits_forms():
    (x_train, t_train), (x_test, t_test) = datasets.load_digits(flatten=False, one_hot_label=True)
    assert x_train.shape == (1257, 1, 8, 8)
    assert x_test.shape == (540, 1, 8, 8)
    assert x_train.dtype == np.float32
    assert x_train.min() == 0.0
    assert x_train.max() == 1.0
    assert t_train.shape == (1257, 10)
    assert t_train.dtype == np.float64
    np.testing.assert_array_equal(t_test.sum(axis=1), 1.0)
    (flat, _), (_, labels) = datasets.load_digits()
    np.testing.assert_array_equal(flat, x_train.reshape(1257, 64))
    np.testing.assert_array_equal(t_test.argmax(axis=1), labels)


def test_moons_are_scikit_learn_s():
    from sklearn.datasets import make_moons
    from sklearn.model_selection import train_test_split

    (x_train, t_train), (x_test, t_test) = datasets.load_moons()
    x, t = make_moons(2000, noise=0.2, random_state=100)
    expected = train_test_split(x, t, test_size=0.3, random_state=42)
    for found, wanted in zip((x_train, x_test, t_train, t_test), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert x_train.shape == (1400, 2)
    assert x_test.shape == (600, 2)
    assert x_train.dtype == np.float64
    assert np.issubdtype(t_train.dtype, np.integer)
    assert set(t_test.tolist()) == {0, 1}


def test_moons_parameters():
    (x_train, _), (x_test, _) = datasets.load_moons(50, noise=0.0, random_state=1, test_size=0.5, split_state=2)
    assert x_train.shape == x_test.shape == (25, 2)
    outer = np.hypot(*x_train.T)
    inner = np.hypot(x_train[:, 0] - 1.0, x_train[:, 1] - 0.5)
    np.testing.assert_allclose(np.minimum(abs(outer - 1), abs(inner - 1)), 0.0, atol=1e-12)


# ---- the module --------------------------------------------------------------------------------------------


def test_examples_in_docstrings():
    results = [doctest.testmod(module) for module in (datasets, idx)]
    assert sum(result.attempted for result in results) >= 6
    assert sum(result.failed for result in results) == 0


def test_import_is_cheap():
    code = "import sys, nncore.datasets; print(*sorted({'sklearn', 'pooch', 'requests'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
