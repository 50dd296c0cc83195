"""Notice a unit's weight tensor when a later forward pass makes it again: the modes live here."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from skviz.capture.probe import thread
from skviz.errors import RecordingError, SkvizError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skviz.capture import Unit


class Watch:
    """Waits for one unit's weights on behalf of one context."""

    changes = False  # whether it replaces the weights; such watches go before those that look

    def __init__(self, unit: Unit) -> None:
        if unit.site is None or unit.layout is None:
            raise RecordingError(
                f"unit {unit.name!r} cannot be recorded or changed: {'; '.join(unit.notes)}; "
                "leave it out (find_units(…, exclude=…), or units=[…])"
            )
        self.unit, self.site, self.layout = unit, unit.site, unit.layout
        self.calls: int | None = None  # of the function since the module was entered
        self.fired = 0

    def see(self, tensor: Tensor, *, in_autograd: bool, changed: bool) -> Tensor | None:
        """Take the weights as made, or as changed before; return others to put in their place.

        ``in_autograd`` is False where a gradient is wanted but what is returned has none.
        """
        raise NotImplementedError


class _ThreadState(threading.local):
    """What one thread watches."""

    def __init__(self) -> None:
        self.watches: dict[Any, list[Watch]] = {}
        self.modes = ExitStack()
        self.have = (False, False)  # modes entered: Python's, aten's
        self.failure: SkvizError | None = None  # that TorchScript would report as its own

    def add(self, watch: Watch) -> None:
        same = self.watches.setdefault(watch.site.function, [])
        same.append(watch)
        same.sort(key=lambda watch: not watch.changes)
        self._renew()

    def discard(self, watch: Watch) -> None:
        same = self.watches.get(watch.site.function, [])
        if watch in same:
            same.remove(watch)
            if not same:
                del self.watches[watch.site.function]
            self._renew()

    def _renew(self) -> None:
        """Have exactly the modes that the watches need."""
        sites = [watch.site for same in self.watches.values() for watch in same]
        wanted = (any(site.python for site in sites), any(not site.python for site in sites))
        if wanted != self.have:
            self.modes.close()
            self.modes = ExitStack()
            if wanted[1]:
                self.modes.enter_context(_AtenMode())
            if wanted[0]:
                self.modes.enter_context(_PythonMode())
            self.have = wanted


def _shown(watches: Iterable[Watch], out: Any, args: tuple[Any, ...], *, in_autograd: bool) -> Any:
    """Show the result of a watched function to whoever waits for it."""
    hits, changed = [], False
    for watch in watches:
        if watch.calls is not None:
            watch.calls += 1
            if watch.calls == watch.site.occurrence:
                hits.append(watch)
    for watch in hits if isinstance(out, Tensor) else ():
        new = watch.see(out, in_autograd=in_autograd, changed=changed)
        if new is not None:
            changed = True
            out = out.copy_(new) if args and out is args[0] else new
    return out


state = _ThreadState()


class _PythonMode(TorchFunctionMode):
    """Watches what Python calls, above autograd."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **kwargs) if kwargs else func(*args)
        watches = state.watches.get(func)
        if watches is None or isinstance(func, OpOverload) or thread.probing or in_backward():
            return out
        return _shown(watches, out, args, in_autograd=True)


class Recomputation(TorchFunctionMode):
    """Changes weights again where autograd recomputes them, in whatever thread it does so."""

    def __init__(self, watches: list[Watch]) -> None:
        super().__init__()
        self.watches = watches

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        watches = [watch for watch in self.watches if watch.site.function == func]
        return _shown(watches, out, args, in_autograd=True) if watches else out


class _AtenMode(TorchDispatchMode):
    """Watches operations that Python does not call, as in TorchScript, below autograd."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        watches = state.watches.get(func)
        if watches is None or thread.probing or in_backward():
            return out
        tracked = torch.is_grad_enabled() and any(
            isinstance(arg, Tensor) and arg.requires_grad for arg in args
        )
        try:
            return _shown(watches, out, args, in_autograd=not tracked)
        except SkvizError as failure:
            state.failure = failure
            raise


def in_backward() -> bool:
    """Whether autograd is running, so that a forward pass is a recomputation (``checkpoint``)."""
    return bool(torch._C._current_graph_task_id() != -1)
