"""One way to see into a forward pass: a `Listener` is told what happens, and where it happens.

Finding, recording and changing weights, Grad-CAM, receptive fields, diagrams and randomised layers
are listeners. Each keeps the stack of the modules that run and counts what they call; PyTorch's
modes are entered where a listener wants the results of functions, and nowhere else.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self
from weakref import ref

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from skviz.capture.eager import eager
from skviz.errors import RecordingError, SkvizError


@dataclass(eq=False, slots=True)
class Frame:
    """One call of one module."""

    name: str
    order: tuple[int, ...] = ()  # which call of this module it is inside each frame around it
    counts: Counter[Any] = field(default_factory=Counter)  # of functions, and of modules by name


@dataclass(frozen=True)
class Place:
    """Where in a forward pass a tensor is made: by the n-th call of a function inside a module.

    Attributes
    ----------
    module, inner, call
        The module that makes and uses it, the innermost one around the function, and which of
        the calls of ``inner`` inside ``module`` it is; 0 if there is no other.
    function, occurrence
        The function, and which of its calls inside ``inner`` and all that it calls; None for
        what ``inner`` returns.
    python
        Whether Python calls it (``F.softmax``, ``Tensor.div``); otherwise it is the aten
        operation, as inside TorchScript.
    """

    module: str
    inner: str
    call: int
    function: Any
    occurrence: int
    python: bool

    def holds(self, stack: list[Frame]) -> bool:
        """Whether the call of ``function`` in ``inner`` that was just counted is this one."""
        inner = stack[-1]
        if inner.counts[self.function] != self.occurrence:
            return False
        if not self.call:
            return True
        owners = [depth for depth, frame in enumerate(stack) if frame.name == self.module]
        return bool(owners) and inner.order[owners[-1]] == self.call


@dataclass(eq=False, slots=True)
class Made:
    """What a function returned, or of function None, a module."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    python: bool
    stack: list[Frame]
    changed: bool  # by another listener


class Listener:
    """Is told what happens in a forward pass in this thread, inside ``with``.

    Attributes
    ----------
    modules
        Whose calls are told, by name.
    python, aten
        Whether the results of Python's functions or of aten operations are told.
    within
        Names of the modules inside which they are; None for everywhere.
    functions
        Only these; None for all. Among them None for what modules return.
    changes
        Whether results are replaced: told before those that look, and when autograd recomputes.
    alone
        Whether other listeners hear nothing meanwhile.
    """

    python = aten = changes = alone = False
    within: frozenset[str] | None = frozenset()
    functions: frozenset[Any] | None = None

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules
        self._stack: list[Frame] = []
        self._again: list[Frame] = []  # where autograd recomputes, in whatever thread
        self._handles: list[Any] = []
        self._resources = ExitStack()
        self._thread = 0

    def entered(self, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note that a module was called."""

    def left(self, frame: Frame, args: tuple[Any, ...], output: Any) -> None:
        """Note that a module returned."""

    def made(self, made: Made) -> Tensor | None:
        """Note what a function returned; return something else in its place, or None."""

    def __enter__(self) -> Self:
        if self._handles:
            raise RecordingError("this context is already entered; make a new one for each `with`")
        try:
            self._thread = threading.get_ident()
            self._resources.enter_context(eager())
            self.follow(self.modules)
            if self.changes:
                _here.changing.append(self)
            if self.alone:
                _here.alone = self
            if self.within is None:
                _here.ask(self)
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._clear()
        failure, _here.failure = _here.failure, None
        if failure is not None and error is not failure:
            raise failure from None

    def _clear(self) -> None:
        for handle in self._handles:
            handle.remove()
        _here.forget(self)
        _here.changing = [other for other in _here.changing if other is not self]
        if _here.alone is self:
            _here.alone = None
        self._handles = []
        self._resources.close()

    def follow(self, modules: Mapping[str, nn.Module]) -> None:
        """Tell the calls of these modules too."""
        for name, module in modules.items():
            # Unbound: a ScriptModule refuses these methods of its own, but honours the hooks.
            before, after = nn.Module.register_forward_pre_hook, nn.Module.register_forward_hook
            enter, leave = self._hooks(name, module)
            self._handles += [
                before(module, enter, with_kwargs=True, prepend=True),
                after(module, leave, prepend=self.changes, always_call=True),
            ]

    def _hooks(self, name: str, own: nn.Module) -> tuple[Any, Any]:
        """Return functions, which do nothing in a copy that was made of a model meanwhile."""
        return (
            lambda it, args, kwargs=None: self._enter(name, args, kwargs) if it is own else None,
            lambda it, args, output: self._leave(name, args, output) if it is own else None,
        )

    def _enter(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> None:
        stack = self._running()
        if stack is None or kwargs is None:  # another thread, while the hook is registered
            return
        if not name and stack:  # left behind by something that was interrupted
            stack.clear()
            _here.forget(self)
        for around in stack:
            around.counts[name] += 1
        stack.append(Frame(name, tuple(around.counts[name] for around in stack)))
        if stack is self._stack:
            self.entered(stack[-1], args, kwargs)
        if name in (self.within or ()):
            _here.ask(self)

    def _leave(self, name: str, args: tuple[Any, ...], output: Any) -> Any:
        stack = self._running()
        if not stack or stack[-1].name != name:
            return None
        if name in (self.within or ()):
            _here.forget(self, once=True)
        failed = output is None and sys.exc_info()[0] is not None
        new = None
        if not failed and (self.functions is None or None in self.functions):
            changed = _here.changed is not None and _here.changed() is output
            new = self.made(Made(None, args, {}, output, True, stack, changed))
            if new is not None:
                _here.changed = ref(new)
        frame = stack.pop()
        if not failed and stack is self._stack:
            self.left(frame, args, output)
        return new

    def _running(self) -> list[Frame] | None:
        """Return the stack of modules of what is running, if it is to be told."""
        if _here.alone not in (None, self):
            return None
        if in_backward():  # a recomputation (`checkpoint`)
            return self._again if self.changes else None
        return self._stack if threading.get_ident() == self._thread else None

    def tell(self, made: Made) -> Tensor | None:
        """Count what a function returned, and take note of it."""
        if self.functions is not None and made.function not in self.functions:
            return None
        stack = self._running()
        if stack is None or not (self.python if made.python else self.aten):
            return None
        for frame in stack:  # of all around it, for those inside are not always followed
            frame.counts[made.function] += 1
        made.stack = stack
        return self.made(made)


class _Here(threading.local):
    """The listeners of one thread that want the results of functions now, and the modes for it."""

    def __init__(self) -> None:
        self.asked: list[Listener] = []  # as often as they asked for it
        self.listeners: list[Listener] = []  # each once, those that change results first
        self.modes: dict[type, Any] = {}  # that are entered, by kind
        self.alone: Listener | None = None
        self.changing: list[Listener] = []  # that are entered, and change results
        self.changed: Any = None  # the tensor that a listener last put in the place of another
        self.failure: SkvizError | None = None  # that TorchScript would report as its own

    def ask(self, listener: Listener) -> None:
        """Tell the results of functions to this listener too."""
        self.asked.append(listener)
        self._renew()

    def forget(self, listener: Listener, *, once: bool = False) -> None:
        """Take back what it asked for, once or altogether."""
        if listener in self.asked:
            self.asked.remove(listener)
            if not once:
                self.asked = [other for other in self.asked if other is not listener]
            self._renew()

    def _renew(self) -> None:
        """Have exactly the modes that the listeners need."""
        self.listeners = sorted(dict.fromkeys(self.asked), key=lambda one: not one.changes)
        python = any(listener.python for listener in self.listeners)
        aten = any(listener.aten for listener in self.listeners)
        for kind, want in ((_PythonMode, python), (_AtenMode, aten)):
            if want and kind not in self.modes:
                self.modes[kind] = kind().__enter__()
            elif not want and kind in self.modes:
                self.modes.pop(kind).__exit__(None, None, None)

    def tell(self, function: Any, args: Any, kwargs: Any, result: Any, *, python: bool) -> Any:
        """Show the result of a function to whoever waits for it."""
        changed = False
        for listener in self.listeners:
            new = listener.tell(Made(function, args, kwargs, result, python, [], changed))
            if new is not None:
                changed = True
                result = result.copy_(new) if args and result is args[0] else new
        return result


class _PythonMode(TorchFunctionMode):
    """Sees what Python calls, above autograd."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **kwargs) if kwargs else func(*args)
        if isinstance(func, OpOverload):  # what is called below comes by here too
            return out
        return _here.tell(func, args, kwargs or {}, out, python=True)


class _AtenMode(TorchDispatchMode):
    """Sees operations whoever calls them, TorchScript too, below autograd."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Models run eagerly here (see `eager`); a guard against the compiler would import it.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _composite(func):
            with self:  # under inference_mode composite operations arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        try:
            return _here.tell(func, args, kwargs, out, python=False)
        except SkvizError as failure:
            _here.failure = failure
            raise


@cache
def _composite(func: OpOverload) -> bool:
    """Whether an operation is made of others."""
    key = "CompositeImplicitAutograd"
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


def in_backward() -> bool:
    """Whether autograd is running, so that a forward pass is a recomputation (``checkpoint``)."""
    return bool(torch._C._current_graph_task_id() != -1)


def is_changed() -> bool:
    """Whether a context around this, in this thread, changes what models compute."""
    return bool(_here.changing)


_here = _Here()
