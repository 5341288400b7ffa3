"""The network that an export writes: batch normalisation folded in, and the choices that formats share."""

from nncore.core import checks
from nncore.files.models import expect_sound, tensors_of
from nncore.functions import kinds
from nncore.model.model import Model


def exportable(net: Model) -> Model:
    """Return the network, or one of the same predictions with the normalisation within its weights and biases.

    Raises
    ------
    ValueError
        If it has no layer, an activation is a function, or a parameter is not finite.
    """
    net.expect_names("an export", loss=False)
    expect_sound(tensors_of(net))
    return net.folded()


def link(net: Model) -> str | None:
    """Return the function that makes probabilities of the outputs of predict, if these are logits."""
    if net._layer(-1).activation_name != "identity":
        return None
    return kinds.loss(net.loss_name).probabilities


def input_type(net: Model, input_dtype: str | None) -> str:
    """Return the type of the input that an exported network takes: its own, or bytes."""
    return checks.choice(input_dtype or str(net.dtype), "input_dtype", (str(net.dtype), "uint8"))
