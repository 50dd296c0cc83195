"""A widget that leaves a picture where it is not alive."""

from __future__ import annotations

import base64
import html
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import anywidget
import traitlets as t
from IPython.display import HTML, DisplayHandle, display


class Kept(anywidget.AnyWidget):
    """Notebooks show of one output what they like best: the widget, also where it cannot be had.

    So the picture is an output of its own. The live widget hides it by its class, ``key``; where
    there is no live widget, the message that it is missing is hidden.
    """

    key = t.Unicode().tag(sync=True)

    def __init__(self, **values: Any) -> None:
        self._stills: list[DisplayHandle | None] = []
        super().__init__(**values)
        self.key = f"skviz-{self.model_id}"

    @abstractmethod
    def _picture(self) -> bytes | None:
        """Return a PNG of what is seen, if there is anything to see."""

    @abstractmethod
    def _later(self, job: Iterator[None]) -> None:
        """Run a job when there should be something to see."""

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle, png = super()._repr_mimebundle_(**kwargs), self._picture()
        if bundle and png:
            bundle[0]["image/png"] = base64.b64encode(png).decode()
        return bundle

    def _ipython_display_(self) -> None:
        shown = super()._repr_mimebundle_()
        if shown:
            display(shown[0], raw=True)
            self._stills.append(display(HTML(""), display_id=True))
            self._later(self._keep())

    def _keep(self) -> Iterator[None]:
        png = self._picture() if self._stills else None
        yield  # if the kernel ends meanwhile, a message this large would be torn in two
        while png and self._stills:  # without a picture they wait for the next
            handle = self._stills.pop()
            if handle:
                handle.update(HTML(self._stand_in(base64.b64encode(png).decode())))

    def _stand_in(self, png: str) -> str:
        missing = f".jp-OutputArea-child:has(+ .jp-OutputArea-child .{self.key}):not(:has(.skviz))"
        picture = f'<img alt="{html.escape(repr(self))}" src="data:image/png;base64,{png}">'
        return (
            f'<style>{missing} {{ display: none }}</style><div class="{self.key}">{picture}</div>'
        )
