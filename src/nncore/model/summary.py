"""A network in one line, and as a table."""

from collections.abc import Sequence

from nncore.model.layers import Layer


def _unusual(layer: Layer) -> str:
    """The arguments of a layer that are not the default's."""
    usual = {"use_bias": True, "batch_norm": False, **Layer(1, 1).settings()}
    given = {"use_bias": layer.use_bias, "batch_norm": layer.batch_norm, **layer.settings()}
    return ", ".join(f"{name}={value}" for name, value in given.items() if value != usual[name])


def table(title: str, layers: Sequence[Layer], n_params: int, size: int) -> str:
    """Return a table of layers whose parameters take so many bytes each, under a title."""
    rows = [("layer", "weights", "activation", "parameters", "bytes", "settings")]
    for k, layer in enumerate(layers, 1):
        n = layer.n_neurons * (layer.n_input + layer.use_bias + layer.batch_norm)
        shape, name = f"{layer.n_input} x {layer.n_neurons}", layer.activation_label
        rows.append((str(k), shape, name, f"{n:,}", f"{n * size:,}", _unusual(layer)))
    rows.append(("total", "", "", f"{n_params:,}", f"{n_params * size:,}", ""))
    if not any(row[-1] for row in rows[1:]):
        rows = [(*row[:-1], "") for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, "<<<>><", widths, strict=True))
        for row in rows
    )
    return "\n".join([title, "", *(line.rstrip() for line in lines)])
