"""class Params: a network's parameters by name, as views."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.core.dispatch import network as core_network

Array = NDArray[Any]


class Params(MutableMapping[str, Array]):
    """The parameters by name, W1, b1, W2, ...: views that can be changed but never replaced or removed."""

    def __init__(self, views: dict[str, Array], core: core_network.Network) -> None:
        self._views, self._core = views, core

    def __getitem__(self, name: str) -> Array:
        if name not in self._views:
            raise KeyError(f"{name!r}: expected one of {', '.join(self._views)}")
        return self._views[name]

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        view = self[name]
        if value is not view:  # params["W1"] -= g has changed the view already
            self._core.expect_still()
            view[...] = checks.finite_parameter(value, f"params[{name!r}]", view.shape)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"params[{name!r}] cannot be removed: the network needs all of {', '.join(self._views)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return f"Params({', '.join(f'{name}: {view.shape}' for name, view in self._views.items())})"
