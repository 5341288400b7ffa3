"""The progress bar, and what stands in for it."""

import sys
from typing import Any


class NoBar:
    """Stands in for the progress bar when none is shown."""

    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def update(self, n: int) -> None:
        """Take note of n more iterations."""

    def set_postfix(self, **values: Any) -> None:
        """Show these beside the bar."""


def bar_of(progress: bool | str, total: int) -> Any:
    """Return the progress bar, or what stands in for it."""
    if not (progress is True or progress is False or progress == "auto"):
        raise ValueError(f"progress is {progress!r}, expected True, False or 'auto'")
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        return NoBar()
    from tqdm import tqdm

    return tqdm(total=total, unit="it", dynamic_ncols=True)
