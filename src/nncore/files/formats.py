"""Marks of other programs' files, for messages about files that are no models, and names that mislead."""

import os
import re
import warnings
from pathlib import Path

FROM_TORCH = "pass its module's state_dict() to NeuralNetwork.from_torch in PyTorch"
ARRAYS = "give its arrays to Layer(..., weights=, bias=)"
UNPACK = "unpack it first"
TABLE = "expected a model that save wrote: data go to fit, nncore train or nncore predict"
PLAIN = "expected a model that save wrote"

# The beginning of a file -> its format, and the way from there.
BEGINNINGS = {
    b"\x89HDF\r\n\x1a\n": ("HDF5, as Keras writes", ARRAYS),
    b"\x93NUMPY": ("an array of NumPy", ARRAYS),
    b"\x1f\x8b": ("compressed by gzip", UNPACK),
    b"BZh": ("compressed by bzip2", UNPACK),
    b"\xfd7zXZ\0": ("compressed by xz", UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed by Zstandard", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("an archive of 7-Zip", UNPACK),
    b"\x89PNG": ("a picture", PLAIN),
    b"%PDF": ("a PDF document", PLAIN),
    b"GGUF": ("GGUF, a language model", PLAIN),
    b"version https://git-lfs": ("a pointer of Git LFS in the place of the file", "fetch the file with git lfs pull"),
}
# Part of the first name in a zip archive -> the same.
ZIPPED = {
    b"data.pkl": ("a file of torch.save", FROM_TORCH),
    b".npy": ("arrays of NumPy (.npz)", ARRAYS),
    b"config.json": ("a model of Keras", ARRAYS),
    b"metadata.json": ("a model of Keras", ARRAYS),
    b"": ("a zip archive", UNPACK),
}
# Endings of names that other programs read -> their format.
ENDINGS = {
    **dict.fromkeys((".h5", ".hdf5"), "HDF5"),
    ".keras": "Keras",
    **dict.fromkeys((".pt", ".pth"), "torch.save"),
    **dict.fromkeys((".pkl", ".pickle"), "pickle"),
    ".joblib": "joblib",
    ".onnx": "ONNX",
    ".tflite": "TensorFlow Lite",
    **dict.fromkeys((".npz", ".npy"), "NumPy"),
    **dict.fromkeys((".csv", ".txt"), "text"),
    ".json": "JSON",
    **dict.fromkeys((".h", ".hpp", ".c"), "C"),
    **dict.fromkeys((".gz", ".zip"), "compressed files"),
    **dict.fromkeys((".png", ".svg", ".pdf"), "pictures"),
    ".safetensors": "safetensors",
}


def looks_like(head: bytes) -> tuple[str, str] | None:
    """Return the format of a file with this beginning, and the way from there; None if it is not known."""
    if not head:
        return "empty", "use another copy"
    for beginning, known in BEGINNINGS.items():
        if head.startswith(beginning):
            return known
    if head.startswith(b"PK\x03\x04"):
        return next(known for part, known in ZIPPED.items() if part in head[:200])
    if not any(head):
        return "zeros, as a copy that is not complete", "use another copy"
    if not any(head[3:8]):  # it may be the length of a header
        return None
    if re.match(rb"\x80[\2-\5]", head):
        return "a pickle", f"if PyTorch wrote it, {FROM_TORCH}; nncore's own pickles are read by pickle.load"
    if re.match(rb"\x08[\3-\x20][\x12\x1a\x3a]", head):  # the version, the producer or the graph
        return "ONNX", "nncore writes ONNX and does not read it: keep the file that save wrote as well"
    return _text(head)


def _text(head: bytes) -> tuple[str, str] | None:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else the last letter is cut
            return None
        text = head[: error.start].decode()
    if not text.strip() or not all(letter.isprintable() or letter in "\r\n\t\ufeff" for letter in text):
        return None
    start = text.lstrip("\ufeff \t\r\n")[:20].lower()
    if start.startswith(("<!doctype", "<html")):
        return "a web page", "download the file itself"
    first = text.splitlines()[0]
    if start.startswith(("{", "[")):
        return "JSON", PLAIN
    return ("a table", TABLE) if any(mark in first for mark in ",;\t") else ("text", PLAIN)


def warn_of_ending(path: str | os.PathLike[str], written: str, *own: str, stacklevel: int) -> None:
    """Warn where a name's ending promises another program's format than the one just written."""
    ending = Path(path).suffix.lower()
    if ending in ENDINGS and ending not in own:
        warnings.warn(
            f"{path} ends in {ending!r} as files of {ENDINGS[ending]} do, and what was written is {written}: "
            f"expected a name that ends in {own[0]!r}",
            stacklevel=stacklevel + 1,
        )
