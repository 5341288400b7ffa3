"""Text of the command for the terminal, which names from files and models cannot steer."""

import sys
import unicodedata


def printable(text: str) -> str:
    """Return text with all characters escaped that a terminal would obey instead of show, but line ends and tabs."""
    if text.isascii() and text.isprintable():
        return text
    shown = (c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in text)
    return "".join(c if show else c.encode("unicode_escape").decode() for c, show in zip(text, shown, strict=True))


def say(text: str, end: str = "\n") -> None:
    """Print results; what the encoding of the output lacks is escaped too."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), end=end)


def note(text: object) -> None:
    """Print a warning in one line."""
    print("nncore: warning:", _one_line(text), file=sys.stderr)


def fail(error: object, code: int) -> int:
    """Print an error in one line; returns the exit code."""
    print("nncore: error:", _one_line(error) or type(error).__name__, file=sys.stderr)
    return code


def _one_line(text: object) -> str:
    return printable(" ".join(str(text).split()))
