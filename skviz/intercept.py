"""Find the units' weight tensors again in later forward passes: hooks and modes live here only."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from skviz.errors import RecordingError, SkvizError, UnitError
from skviz.units import Unit, Units, find_units
from skviz.units.eager import eager

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

_found: WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], Units]] = WeakKeyDictionary()


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
        self.paused = False
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


_state = _ThreadState()


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
        watches = _state.watches.get(func)
        if watches is None or isinstance(func, OpOverload) or _state.paused or in_backward():
            return out
        return _shown(watches, out, args, in_autograd=True)


class _Recomputation(TorchFunctionMode):
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
        watches = _state.watches.get(func)
        if watches is None or _state.paused or in_backward():
            return out
        tracked = torch.is_grad_enabled() and any(
            isinstance(arg, Tensor) and arg.requires_grad for arg in args
        )
        try:
            return _shown(watches, out, args, in_autograd=not tracked)
        except SkvizError as failure:
            _state.failure = failure
            raise


def in_backward() -> bool:
    """Whether autograd is running, so that a forward pass is a recomputation (``checkpoint``)."""
    return bool(torch._C._current_graph_task_id() != -1)


@contextmanager
def _paused() -> Iterator[None]:
    before, _state.paused = _state.paused, True
    try:
        yield
    finally:
        _state.paused = before


class Interception:
    """A context in which units of a model are watched, in this thread.

    Units not given are found at the first forward pass inside, on (three images of) its
    inputs, and remembered as long as the model lives and keeps its modules.
    """

    def __init__(self, model: nn.Module, units: Iterable[Unit | str] | None) -> None:
        if not isinstance(model, nn.Module):
            raise UnitError(f"expected a torch.nn.Module, got {type(model).__name__}")
        self.model = model
        self.units: Units | None = None
        self.forwards = 0
        self._names: list[str] | None = None
        if units is not None:
            given = list(units)
            self._names = [unit for unit in given if isinstance(unit, str)]
            if not self._names:
                self.units = Units(unit for unit in given if isinstance(unit, Unit))
        self._watches: list[Watch] = []
        self._before: list[int] = []
        self._handles: list[Any] = []
        self._resources = ExitStack()
        self._thread = 0

    def watch(self, units: Units) -> list[Watch]:
        """Choose the units to watch."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._handles:
            raise RecordingError("this context is already entered; make a new one for each `with`")
        with ExitStack() as undo:
            undo.callback(self._clear)
            self._thread = threading.get_ident()
            self._resources.enter_context(eager())
            # Unbound: a ScriptModule refuses these methods of its own, but honours the hooks.
            before, after = nn.Module.register_forward_pre_hook, nn.Module.register_forward_hook
            self._handles.append(before(self.model, self._enter, with_kwargs=True, prepend=True))
            self._handles.append(after(self.model, self._leave, prepend=True))
            if self.units is not None:
                self._install(self.units)
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()
        failure, _state.failure = _state.failure, None
        if failure is not None and error is not failure:
            raise failure from None

    def _clear(self) -> None:
        for handle in self._handles:
            handle.remove()
        for watch in self._watches:
            _state.discard(watch)
        self._handles = []
        self._resources.close()

    def _install(self, units: Units) -> None:
        self._watches = self.watch(units)
        owners: dict[str, list[Watch]] = {}
        for watch in self._watches:
            owners.setdefault(watch.site.module, []).append(watch)
        modules = dict(self.model.named_modules())
        for name, watches in owners.items():
            owner = modules.get(name)
            if owner is None:
                raise UnitError(
                    f"the model has no module {name!r}: these units were found in another model; "
                    "call find_units on this one"
                )
            self._follow(owner, watches)
        for watch in self._watches:
            _state.add(watch)

    def _follow(self, owner: nn.Module, watches: list[Watch]) -> None:
        """Count calls from each entry into ``owner``."""
        changing = [watch for watch in watches if watch.changes]
        recomputations: list[_Recomputation] = []

        def start(_module: nn.Module, _args: Any) -> None:
            if in_backward():
                if changing:
                    recomputations.append(_Recomputation(changing))
                    recomputations[-1].__enter__()
            elif not self._mine():
                return
            for watch in watches:
                watch.calls = 0

        def stop(_module: nn.Module, _args: Any, _output: Any) -> None:
            if in_backward() and recomputations:
                recomputations.pop().__exit__(None, None, None)

        self._handles.append(nn.Module.register_forward_pre_hook(owner, start, prepend=True))
        if changing:
            after = nn.Module.register_forward_hook
            self._handles.append(after(owner, stop, prepend=True, always_call=True))

    def _mine(self) -> bool:
        return threading.get_ident() == self._thread and not _state.paused

    def _enter(
        self, _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> None:
        if kwargs is None:  # another thread's call, while this hook was being registered
            return
        if not self._mine() or in_backward():
            return
        if self.units is None:
            self._discover(args, kwargs)
        self._before = [watch.fired for watch in self._watches]

    def _discover(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with _paused():
            units = discover(self.model, args, kwargs)
        if self._names is not None:
            units = Units(units[name] for name in self._names)
        self._install(units)
        self.units = units
        for watch in self._watches:
            if not watch.site.module:  # the model's own hooks are already under way
                watch.calls = 0

    def _leave(self, _model: nn.Module, _args: Any, _output: Any) -> None:
        if not self._mine() or in_backward():
            return
        self.forwards += 1
        for watch, before in zip(self._watches, self._before, strict=True):
            if watch.fired - before != watch.unit.calls:
                _found.pop(self.model, None)
                raise RecordingError(
                    f"unit {watch.unit.name!r} ran {watch.fired - before} times in this forward "
                    f"pass, but {watch.unit.calls} times when it was found: the model takes "
                    "another path for this input, or was exported or replayed from a CUDA graph; "
                    "find the units again with an input like this one"
                )


def discover(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Units:
    """Units of ``model``, remembered from last time if its modules are still the same."""
    modules = tuple(map(id, model.modules()))
    known = _found.get(model)
    if known is None or known[0] != modules:
        with torch.inference_mode(mode=False):
            known = _found[model] = (modules, find_units(model, *args, **kwargs))
    if not known[1]:
        raise UnitError(
            "found no Selective-Kernel unit in the model: no probability over branches that "
            "depends on the input and weighs different feature maps; see find_units"
        )
    return known[1]
