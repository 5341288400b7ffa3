"""Data sets for learning and testing: MNIST, Fashion-MNIST, scikit-learn's digits and two moons.

MNIST and Fashion-MNIST are sets of four IDX files, plain or gzipped, looked for in this order:

1. the folder `data_dir`, if it is given;
2. the folder named by the environment variable ``NNCORE_DATA``, if it is set and holds files of the set;
3. the user's cache folder, into which they are downloaded on first use.

In a folder of your own they lie in a sub-folder with the name of the set (``mnist``, ``fashion-mnist``) or in
the folder itself; before ``idx`` their names have a hyphen or, as some programs unpack them, a dot. Wherever a file
comes from, the SHA-256 of its uncompressed content is checked.
"""

import itertools
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nncore.data.idx import read_idx, read_with_digest

__all__ = ["load_digits", "load_fashion_mnist", "load_mnist", "load_moons", "read_idx"]

OptionalPath: TypeAlias = str | os.PathLike[str] | None
Split: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
DataSet: TypeAlias = tuple[Split, Split]

_ROUNDS = 2  # how often each mirror is asked
_TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of an answer

# In the order of the arrays returned: x_train, t_train, x_test, t_test.
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class _IdxSet:
    """Where a set is published, and the sums of its files in the order of `_FILES`."""

    name: str
    mirrors: tuple[str, ...]
    gz_md5: tuple[str, ...]  # of the published .gz files
    sha256: tuple[str, ...]  # of their uncompressed content


_SETS = {
    "mnist": _IdxSet(
        name="mnist",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        gz_md5=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": _IdxSet(
        name="fashion-mnist",
        mirrors=(
            # The S3 address has no https, and networks were seen to answer it with MNIST: asked last.
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        gz_md5=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    data_dir: OptionalPath = None,
) -> DataSet:
    """Load the MNIST handwritten digits: 60,000 training and 10,000 test images of 28 x 28 pixels.

    Parameters
    ----------
    normalize : bool
        True gives float32 pixels in [0, 1], False the original uint8 pixels (0..255).
    flatten : bool
        True gives images of shape (n, 784), False of shape (n, 1, 28, 28).
    one_hot_label : bool
        False gives uint8 labels of shape (n,), True float64 one-hot rows of shape (n, 10).
    data_dir : path-like, optional
        Folder that holds the four IDX files; by default ``NNCORE_DATA``, then the cache, then a download.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)
        New, writable arrays.

    Raises
    ------
    FileNotFoundError
        The folder of `data_dir` or ``NNCORE_DATA`` does not exist, or lacks some of the files.
    ValueError
        A file is damaged or is not the original one.
    ConnectionError
        The files are nowhere on this machine and no mirror delivered them.

    Notes
    -----
    Signature and results are those of ``load_mnist`` in the book "Deep Learning from Scratch" (K. Saitoh).
    Data: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", CC BY-SA 3.0.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist()  # doctest: +SKIP
    >>> x_train.shape, t_train[:5]  # doctest: +SKIP
    ((60000, 784), array([5, 0, 4, 1, 9], dtype=uint8))
    """
    return _load_idx_set(_SETS["mnist"], normalize, flatten, one_hot_label, data_dir)


def load_fashion_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    data_dir: OptionalPath = None,
) -> DataSet:
    """Load Fashion-MNIST: MNIST's files and sizes, but pictures of ten kinds of clothing.

    Parameters, results and errors are those of `load_mnist`. The classes are T-shirt/top, trouser, pullover,
    dress, coat, sandal, shirt, sneaker, bag and ankle boot.

    Notes
    -----
    The authors publish MD5 sums of the .gz files only; the SHA-256 sums of the content checked here are those
    on which several independent projects agree.
    Data: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747, MIT licence.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_fashion_mnist(flatten=False)  # doctest: +SKIP
    >>> x_test.shape  # doctest: +SKIP
    (10000, 1, 28, 28)
    """
    return _load_idx_set(_SETS["fashion-mnist"], normalize, flatten, one_hot_label, data_dir)


def load_digits(normalize: bool = True, flatten: bool = True, one_hot_label: bool = False) -> DataSet:
    """Load scikit-learn's digits, split into 1257 training and 540 test images of 8 x 8 pixels; no download.

    Parameters and results are those of `load_mnist`, but the original pixels are 0..16, and images have the
    shape (n, 64) or (n, 1, 8, 8). The split is always the same: stratified, 30 % test, ``random_state=0``.

    Notes
    -----
    Data: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, CC BY 4.0.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_digits()
    >>> x_train.shape, t_test.shape
    ((1257, 64), (540,))
    """
    from sklearn.datasets import load_digits as sklearn_digits  # type: ignore[import-untyped, unused-ignore]
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped, unused-ignore]

    digits = sklearn_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    x_train, x_test, t_train, t_test = train_test_split(images, labels, test_size=0.3, random_state=0, stratify=labels)
    return _as_asked((x_train, t_train, x_test, t_test), 16, normalize, flatten, one_hot_label)


def load_moons(
    n_samples: int = 2000,
    noise: float = 0.2,
    random_state: int = 100,
    test_size: float = 0.3,
    split_state: int = 42,
) -> DataSet:
    """Make scikit-learn's two interleaving half circles and split them; no download.

    Parameters
    ----------
    n_samples : int
        Number of points, training and test together.
    noise : float
        Standard deviation of the Gaussian noise added to each coordinate.
    random_state, split_state : int
        Seeds of the points and of the split.
    test_size : float
        Fraction of the points that become the test set.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)
        Points of shape (n, 2), float64; labels 0 or 1 of shape (n,), int64.

    Raises
    ------
    ValueError
        scikit-learn refuses a parameter.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_moons()
    >>> x_train.shape, x_test.shape
    ((1400, 2), (600, 2))
    """
    from sklearn.datasets import make_moons  # type: ignore[import-untyped, unused-ignore]
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped, unused-ignore]

    x, t = make_moons(n_samples, noise=noise, random_state=random_state)
    x_train, x_test, t_train, t_test = train_test_split(x, t, test_size=test_size, random_state=split_state)
    return (x_train, t_train), (x_test, t_test)


def _load_idx_set(
    idx_set: _IdxSet, normalize: bool, flatten: bool, one_hot_label: bool, data_dir: OptionalPath
) -> DataSet:
    paths = _locate(idx_set, data_dir)
    arrays = (_read_verified(idx_set, i, paths[name]) for i, name in enumerate(_FILES))
    return _as_asked(arrays, 255, normalize, flatten, one_hot_label)


def _locate(idx_set: _IdxSet, data_dir: OptionalPath) -> dict[str, Path]:
    """Find the four files, by their names without .gz: in a named folder, in the cache or on a mirror."""
    origin, named = ("data_dir=", data_dir) if data_dir else ("NNCORE_DATA", os.environ.get("NNCORE_DATA"))
    if not named:
        return _download(idx_set)
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{origin} names {folder}, which is no folder; name one with {idx_set.name}")
    found = _search(folder, idx_set.name)
    if not data_dir and (not found or _is_another_set(idx_set, found)):
        return _download(idx_set)
    missing = ", ".join(name for name in _FILES if name not in found)
    if missing:
        raise FileNotFoundError(
            f"{missing} (plain or .gz) of {idx_set.name} not found in {folder / idx_set.name} or {folder}; "
            f"put the missing files there, or let {origin} name another folder"
        )
    return found


def _search(folder: Path, set_name: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, place, ending in itertools.product(_FILES, (folder / set_name, folder), ("", ".gz")):
        for spelling in (name, name.replace("-idx", ".idx")):
            # some archives unpack to a folder of the file's name, with the file in it
            for path in (place / (spelling + ending), place / spelling / (spelling + ending)):
                if name not in found and path.is_file():
                    found[name] = path
    return found


def _is_another_set(idx_set: _IdxSet, found: dict[str, Path]) -> bool:
    """Tell whether a folder meant for every set holds a different one: all sets use the same file names."""
    smallest = _FILES[3]
    if smallest not in found:
        return False
    _, digest = read_with_digest(found[smallest])
    return any(digest == other.sha256[3] for other in _SETS.values() if other.name != idx_set.name)


def _download(idx_set: _IdxSet) -> dict[str, Path]:
    import pooch  # type: ignore[import-untyped, unused-ignore]

    failures: dict[str, Exception] = {}
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        # Mirror by mirror, not file by file: a dead mirror then costs one timeout, not four.
        for mirror in idx_set.mirrors * _ROUNDS:
            try:
                return _fetch(idx_set, mirror)
            except (OSError, ValueError) as error:
                from requests import RequestException

                if isinstance(error, RequestException):
                    if error.response is not None:
                        error.response.close()  # pooch leaves a refusal (404, 503) open
                elif not isinstance(error, ValueError):
                    raise  # a fault of this machine, such as a full disk
                failures[mirror] = error
    finally:
        logger.setLevel(level)
    named = os.environ.get("NNCORE_DATA")
    searched = f" (it names {named}, which has none of them)" if named else ""
    tried = " or ".join(f"{mirror} ({type(error).__name__})" for mirror, error in failures.items())
    raise ConnectionError(
        f"{idx_set.name} could not be downloaded from {tried}; connect to the network, or set NNCORE_DATA"
        f"{searched} or data_dir= to a folder that holds {', '.join(_FILES)} (plain or .gz)"
    ) from failures[mirror]


def _fetch(idx_set: _IdxSet, mirror: str) -> dict[str, Path]:
    """Get from one mirror what the cache lacks; a file in the cache with the right sum asks no network."""
    import pooch

    folder = pooch.os_cache("nncore") / idx_set.name
    get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=2**16, timeout=_TIMEOUT)
    return {
        name: Path(pooch.retrieve(f"{mirror}{name}.gz", f"md5:{md5}", f"{name}.gz", folder, downloader=get))
        for name, md5 in zip(_FILES, idx_set.gz_md5, strict=True)
    }


def _read_verified(idx_set: _IdxSet, i: int, path: Path) -> NDArray[Any]:
    array, digest = read_with_digest(path)
    if digest != idx_set.sha256[i]:
        raise ValueError(
            f"{path} is not the original {_FILES[i]} of {idx_set.name}: expected content with the SHA-256 "
            f"{idx_set.sha256[i]}, found {digest}; replace it with the published file"
        )
    return array


def _as_asked(
    arrays: Iterable[NDArray[np.uint8]], maximum: int, normalize: bool, flatten: bool, one_hot_label: bool
) -> DataSet:
    """Give x_train, t_train, x_test, t_test the form asked for; `maximum` is the brightest pixel."""
    x_train, t_train, x_test, t_test = arrays
    train = _images(x_train, maximum, normalize, flatten), _labels(t_train, one_hot_label)
    test = _images(x_test, maximum, normalize, flatten), _labels(t_test, one_hot_label)
    return train, test


def _images(pixels: NDArray[np.uint8], maximum: int, normalize: bool, flatten: bool) -> NDArray[Any]:
    images: NDArray[Any] = pixels.astype(np.float32 if normalize else np.uint8)
    if normalize:
        images /= np.float32(maximum)
    n, height, width = images.shape
    return images.reshape((n, height * width) if flatten else (n, 1, height, width))


def _labels(labels: NDArray[np.uint8], one_hot_label: bool) -> NDArray[Any]:
    return (labels[:, None] == np.arange(10)).astype(np.float64) if one_hot_label else labels.copy()
