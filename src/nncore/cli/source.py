"""class Source: data for a training by the command."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Source:
    """A data set split for training.

    Attributes
    ----------
    x_train, x_test : ndarray of shape (n_samples, n_in)
        uint8 or floats.
    t_train, t_test : ndarray
        Class numbers (n_samples,) if there are classes, else targets (n_samples, n_out).
    classes : list of str
        Names of the classes; empty for numbers to be approximated.
    input_scale : float
        For uint8 data.
    image_shape : tuple of int, or None
        Rows and columns, if a sample is an image.
    columns : list of str
        Names of all columns of a table with a header, the label's among them; else empty.
    label : str or None
        Name of the label column, where columns have names.
    decimal_commas : bool
        Whether a table has them.
    labels : str
        That they are whole numbers and were taken for classes, and how to change it.
    notes : list of str
        What a reader should know of how a file was read.
    """

    name: str
    x_train: Array
    t_train: Array
    x_test: Array
    t_test: Array
    classes: list[str]
    input_scale: float = 1 / 255
    image_shape: tuple[int, int] | None = None
    columns: list[str] = field(default_factory=list)
    label: str | None = None
    decimal_commas: bool = False
    labels: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.x_train.shape[1])

    @property
    def n_out(self) -> int:
        """Number of outputs: classes, or numbers to be approximated."""
        return len(self.classes) or int(self.t_train.shape[1])

    def feature(self, k: int) -> str:
        """Return the name of the k-th feature for messages."""
        names = [name for name in self.columns if name != self.label]
        return f"column {names[k]}" if names else f"feature {k + 1}"
