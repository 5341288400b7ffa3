"""Warnings that point to the user's line, and Ctrl-C: one press ends a training, a second one soon after everything."""

import sys
import time
import warnings

# Packages between a user's line and a training: a warning names the line that called into these.
BETWEEN = ("nncore", "sklearn", "joblib")
# A second Ctrl-C within so many seconds ends the loop or search around the training too.
TWICE_SECONDS = 1.0

_last = -float("inf")


class InterruptWarning(UserWarning):
    """Ctrl-C has ended a training early; what was trained is kept."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, with the line of the user's that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def interrupted(message: str) -> None:
    """Warn that Ctrl-C ended a training, when all is in order again.

    Raises
    ------
    KeyboardInterrupt
        If another training was ended so within the last second: the user wants out of a loop or a search.
    """
    global _last
    now, before = time.monotonic(), _last
    _last = now
    if now - before < TWICE_SECONDS:
        raise KeyboardInterrupt
    warn(f"{message}; once more within {TWICE_SECONDS:g} s ends a loop or search around it too", InterruptWarning)


def forget() -> None:
    """Take the next Ctrl-C for the first."""
    global _last
    _last = -float("inf")
