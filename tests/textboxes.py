"""Where text is drawn, as rectangles that may be turned."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Every piece of text that is drawn."""
    figure.canvas.draw()
    beyond = set()  # labels of ticks outside the axis limits exist but are not drawn
    for ax in figure.findobj(lambda artist: hasattr(artist, "get_xaxis")):
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            beyond |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible()
        and text.get_text().strip()
        and text not in beyond
        and np.isfinite(text.get_window_extent().x0)
    ]


def corners(text: Text) -> np.ndarray:
    """The rectangle of a text, (4, xy), from the upright one around it."""
    box, angle = text.get_window_extent(), np.deg2rad(text.get_rotation())
    c, s = abs(np.cos(angle)), abs(np.sin(angle))
    if min(c, s) < 1e-9:
        size = (box.width, box.height)
        angle = 0
    else:
        size = np.linalg.solve([[c, s], [s, c]], [box.width, box.height])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return half @ turn + np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """How deep two rectangles lie in each other, in pixels (separating axes); ≤ 0 if apart."""
    depth = np.inf
    for rectangle in (one, other):
        for side in (rectangle[1] - rectangle[0], rectangle[2] - rectangle[1]):
            axis = side / np.hypot(*side)
            a, b = one @ axis, other @ axis
            depth = min(depth, a.max() - b.min(), b.max() - a.min())
    return float(depth)


def problems(figure: Figure) -> list[str]:
    """What is wrong with the text of a figure: too small, cut, or over other text."""
    found, page = [], figure.bbox
    shown = texts(figure)
    boxes = {text: corners(text) for text in shown}
    for text, box in boxes.items():
        if text.get_fontsize() < 6:
            found.append(f"{text.get_text()!r} has {text.get_fontsize()} points")
        inside = (page.x0 - 1 <= box[:, 0]) & (box[:, 0] <= page.x1 + 1)
        inside &= (page.y0 - 1 <= box[:, 1]) & (box[:, 1] <= page.y1 + 1)
        if not inside.all():
            found.append(f"{text.get_text()!r} is cut")
    for one, other in itertools.combinations(shown, 2):
        if overlap(boxes[one], boxes[other]) > 1:
            found.append(f"{one.get_text()!r} lies over {other.get_text()!r}")
    return found
