"""The exceptions of skviz: each says what was expected, what was got, and how to mend it.

What is public is an `entrance`: it holds its arguments to their annotations before anything is
done. `Count`, `Seed` and `Side` are annotations of whole numbers with their ranges.
"""

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, wraps
from numbers import Integral, Real
from types import ModuleType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

P = ParamSpec("P")
R = TypeVar("R")

Count = Annotated[int, range(1, 2**31)]
Seed = Annotated[int, range(2**32)]
Side = Annotated[int, range(1, 2**14)]  # in pixels, or channels


def printable(text: str) -> str:
    """Return text in which all but newlines that does not print is shown as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class SkvizError(Exception):
    """Anything skviz refuses to do; every other exception of the package derives from it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(SkvizError):
    """A shipped or user's file is missing, altered or not of the promised form."""


class SceneError(SkvizError):
    """A scene cannot be composed as asked: scale, position or picture is out of range."""


class ModelError(SkvizError):
    """A network cannot be built or loaded as asked."""


class RecordingError(SkvizError):
    """Branch weights could not be recorded, or are not what a softmax would give."""


class UnitError(SkvizError):
    """Units could not be looked for, or one was asked for that is not there."""


class InterventionError(SkvizError):
    """Branch weights cannot be changed as asked."""


class AttributionError(SkvizError):
    """An attribution cannot be made as asked, or does not hold what its method promises."""


OF_ROOM = {
    "attribution": AttributionError,
    "capture": UnitError,
    "models": ModelError,
    "scenes": SceneError,
    "studies": DataError,
}  # fmt: skip


def entrance(function: Callable[P, R]) -> Callable[P, R]:
    """Hold the arguments of a function to its annotations, or raise the `SkvizError` of its room.

    NumPy's numbers become Python's, and arrays of one dimension lists; a float is finite. What is
    annotated with `Any` is for the function to look at.
    """
    signature = inspect.signature(function)
    kind = OF_ROOM.get(f"{function.__module__}.".split(".")[1], SkvizError)
    name = function.__qualname__.removesuffix(".__init__").replace(".__getitem__", "[…]")

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise kind(f"{name}: {error}; it takes {', '.join(signature.parameters)}") from None
        for key, value in bound.arguments.items():
            parameter = signature.parameters[key]
            wanted = parameter.annotation
            if getattr(value, "is_meta", False) or getattr(value, "is_sparse", False):
                raise kind(f"{name}: {key} must be a dense tensor with data, got {value!r:.60}")
            if parameter.kind in VARIADIC or wanted is parameter.empty:
                continue
            wanted = meaning(wanted, sys.modules[function.__module__])
            bound.arguments[key] = fitted(value, wanted)
            if bound.arguments[key] is MISFIT:
                raise kind(f"{name}: {key} must be {said(wanted)}; got {shown(value)}")
        return function(*bound.args, **bound.kwargs)

    return cast("Callable[P, R]", held)


@cache
def meaning(annotation: Any, module: ModuleType) -> Any:
    """Return what an annotation in a module means; of a package nobody has imported, anything."""
    try:
        return eval(annotation, vars(module)) if isinstance(annotation, str) else annotation
    except NameError:
        return Any


MISFIT: Any = object()
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def fitted(value: Any, kind: Any) -> Any:
    """Return a value as an annotation wants it, or `MISFIT`."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return value
    if origin in (Union, UnionType):
        return next((one for part in parts if (one := fitted(value, part)) is not MISFIT), MISFIT)
    if origin is Annotated:
        found = fitted(value, parts[0])
        return found if found is not MISFIT and found in parts[1] else MISFIT
    if origin is Literal:
        fits = any(type(value) is type(part) and value == part for part in parts)
    elif origin in (int, float, bool):
        return number(value, origin)
    elif origin in (None, NoneType):
        fits = value is None
    elif origin is Callable or kind is Callable:
        fits = callable(value)
    elif isinstance(origin, type) and issubclass(origin, Mapping) and parts:
        fits = isinstance(value, origin) and all(
            fitted(each, part) is not MISFIT
            for pair in value.items()
            for each, part in zip(pair, parts, strict=True)
        )
    elif isinstance(origin, type) and issubclass(origin, Iterable) and parts:
        return several(value, origin, parts)
    else:
        fits = isinstance(value, origin) if isinstance(origin, type) else True
        fits = fits and not (isinstance(value, str | os.PathLike) and "\0" in os.fspath(value))
    return value if fits else MISFIT


def number(value: Any, kind: type) -> Any:
    """Return Python's number for Python's or NumPy's."""
    if kind is bool or isinstance(value, bool):
        fits = isinstance(value, bool) or type(value).__name__ == "bool"
        return bool(value) if fits and kind is bool else MISFIT
    if isinstance(value, Integral):
        return int(value)
    real = kind is float and isinstance(value, Real) and math.isfinite(float(value))
    return float(value) if real else MISFIT


def several(value: Any, origin: Any, parts: tuple[Any, ...]) -> Any:
    """Return several things as an annotation wants each."""
    if isinstance(value, str):  # is not several of anything, unless one name does as well
        return value if origin is Iterable and parts == (str,) and "\0" not in value else MISFIT
    value = value.tolist() if getattr(value, "ndim", 0) == 1 and origin is not Mapping else value
    wanted: Any = Iterable if origin is tuple else origin
    if isinstance(value, bytes | Mapping) or not isinstance(value, wanted):
        return MISFIT
    if isinstance(value, Iterator):  # would be used up
        return value
    each = list(value)
    if origin is tuple and Ellipsis not in parts:
        if len(each) != len(parts):
            return MISFIT
        made = [fitted(one, part) for one, part in zip(each, parts, strict=True)]
    else:
        made = [fitted(one, parts[0]) for one in each]
    if any(one is MISFIT for one in made):
        return MISFIT
    same = all(one is other for one, other in zip(made, each, strict=True))
    return value if same and origin is not tuple else origin(made) if origin is tuple else made


def said(kind: Any) -> str:
    """Say in words what an annotation wants."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(said, parts))
    if origin is Annotated:
        return f"a whole number from {parts[1].start} to {parts[1].stop - 1}"
    if origin is Literal:
        return " or ".join(map(repr, parts))
    words = {int: "a whole number", float: "a finite number", str: "a text", NoneType: "None"}
    if origin is Callable or kind is Callable:
        return "a function"
    if parts and origin is not os.PathLike:
        inner = ", ".join(said(part) for part in parts if part is not Ellipsis)
        return f"several ({inner})"
    return words.get(origin, "a path" if origin is os.PathLike else getattr(origin, "__name__", ""))


def shown(value: Any) -> str:
    """Show a value on one line."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} {tuple(shape)}"
    text = repr(value) if isinstance(value, str | bytes | int | float | list | tuple) else ""
    return f"{text[:60]}{'…' * (len(text) > 60)} ({type(value).__name__})".lstrip()
