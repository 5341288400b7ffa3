"""Attributes that are checked whenever they are set, not only when the object is made, and some that never change."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class _Attribute(Generic[T]):
    """An attribute that lies in the object's __dict__ by its own name: repr, copies and pickles see it there."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Self | T:
        if instance is None:
            return self
        try:
            value: T = instance.__dict__[self.name]
        except KeyError:
            raise AttributeError(f"{type(instance).__name__} has no {self.name} yet") from None
        return value


class Checked(_Attribute[T]):
    """An attribute whose every value passes a check, which returns it or raises."""

    def __init__(self, check: Callable[[Any, str], T]) -> None:
        self.check = check

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.name] = self.check(value, self.name)


class Fixed(_Attribute[T]):
    """An attribute that is set once, as things made from it would not follow a change."""

    def __set__(self, instance: Any, value: T) -> None:
        if self.name in instance.__dict__:
            kind = type(instance).__name__
            raise AttributeError(
                f"{self.name} of a {kind} cannot be changed, expected a new {kind}: it would not follow"
            )
        instance.__dict__[self.name] = value
