"""The part of a network that its data have to know."""

from typing import Any, Protocol


class Signature(Protocol):
    """A network to its data: inputs and outputs, its loss, and what it was trained on."""

    @property
    def n_in(self) -> int:
        """Number of inputs."""

    @property
    def n_out(self) -> int:
        """Number of outputs."""

    @property
    def loss_kind(self) -> str:
        """The loss without its parameter."""

    @property
    def loss_name(self) -> str:
        """The loss as the user named it."""

    @property
    def loss_function(self) -> Any:
        """The loss if it is a function of the user's, else None."""

    @property
    def label_smoothing(self) -> float:
        """The share that targets of softmax_cross_entropy give to all classes alike."""

    @property
    def takes_sparse(self) -> bool:
        """Whether the first layer takes compressed rows."""

    @property
    def first_layer_bytes(self) -> int:
        """Size of the weights that samples are multiplied by."""

    def expect_unweighted(self, weights: Any) -> None:
        """Refuse weights if the loss cannot be weighted."""

    input_scale: float
    input_kind: str | None
    byte_scale: float
    takes_plain: bool
