"""Ready callbacks for fit: functions of the History, called after every epoch, that end the training by True.

An object serves one training at a time. In a population give each network its own.
"""

import csv
import io
import os
from pathlib import Path
from typing import Any

from nncore.core import checks
from nncore.core.settings import Checked
from nncore.files import atomic
from nncore.plotting import canvas
from nncore.training.history import History


def _row(history: History, i: int) -> dict[str, float]:
    """Return the loss, the last learning rate and the metrics of the epoch that ended i-th."""
    end = history.epoch_ends[i]
    row = {"loss": history.epoch_loss[i]}
    if history.lr is not None:
        row["lr"] = float(history.lr[end - 1])
    return {**row, **{name: values[i] for name, values in history.epoch_columns().items()}}


class CSVLog:
    """Write one line an epoch to a .csv file, while the training runs.

    The file begins anew with each training; that of a resumed one has the epochs before as well. Lines are added as a
    whole.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    OSError
        When called, if the file cannot be written.
    TypeError, ValueError
        If path is not the path of a file.

    Examples
    --------
    >>> import tempfile
    >>> from nncore import Layer, NeuralNetwork
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLog(f"{folder}/log.csv")
    ...     history = NeuralNetwork([Layer(1, 1)]).fit([[1.0]], [1.0], epochs=2, callbacks=[log], progress=False)
    ...     len(log.path.read_text().splitlines())
    3
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = checks.path(path, "path")
        self._history: History | None = None
        self._rows = 0

    def __call__(self, history: History) -> None:
        """Write the lines that are not there yet."""
        new = history is not self._history
        begin = 0 if new else self._rows
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if new:
            writer.writerow(["epoch", "iteration", *_row(history, 0)])
        for i in range(begin, len(history.epoch_ends)):
            values = [f"{value:.9g}" for value in _row(history, i).values()]
            writer.writerow([i + 1, history.epoch_ends[i], *values])
        write = atomic.write_atomically if new else atomic.append
        write(self.path, text.getvalue().encode())
        self._history, self._rows = history, len(history.epoch_ends)


class TensorBoard:
    """Log the losses, the learning rate and the metrics for TensorBoard, every epoch at its iteration.

    Needs tensorboardX, or PyTorch with tensorboard.

    Parameters
    ----------
    folder : path-like
        Where the event files go: ``tensorboard --logdir folder`` shows them.

    Raises
    ------
    ImportError
        If neither package is installed.

    Examples
    --------
    >>> callbacks = [TensorBoard("runs/first")]  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer = _summary_writer()(str(self.folder))

    def __call__(self, history: History) -> None:
        """Log the epoch that has ended."""
        for name, value in _row(history, len(history.epoch_ends) - 1).items():
            data, _, metric = name.partition("_")
            self._writer.add_scalar(f"{metric}/{data}" if metric else name, value, history.iterations)
        self._writer.flush()


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoard needs a package that is not installed: pip install tensorboardX") from None
    return SummaryWriter


class PlotHistory:
    """Draw the history so far into a picture file, as History.plot, after every epoch.

    Parameters
    ----------
    path : path-like
        The format is that of its end: .png, .svg, .pdf.

    Raises
    ------
    OSError, ValueError
        When called, if the file cannot be written, or Matplotlib does not know the format.

    Examples
    --------
    >>> callbacks = [PlotHistory("curves.png")]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = checks.path(path, "path")

    def __call__(self, history: History) -> None:
        """Replace the picture."""
        content = canvas.encoded(history.plot(), self.path.suffix[1:] or "png")
        atomic.write_atomically(self.path, content)


class TimeLimit:
    """End the training after the epoch in which the time is up.

    Parameters
    ----------
    seconds : float
        Of History.seconds, above 0; in a resumed training with the time before.

    Raises
    ------
    TypeError, ValueError
        If seconds is not such a number.

    Examples
    --------
    >>> from nncore import Layer, NeuralNetwork
    >>> limit = TimeLimit(0.05)
    >>> history = NeuralNetwork([Layer(1, 1)]).fit([[1.0]], [1.0], epochs=10**7, callbacks=[limit], progress=False)
    >>> history.epochs < 10**7
    True
    """

    seconds = Checked(checks.positive_float)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, history: History) -> bool:
        """Return whether the time is up."""
        return history.seconds >= self.seconds
