"""What stands on a canvas, and pointing into it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Position, TimeoutError
from tests.waiting import wait_until

PIXELS = """(canvas) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  return { width, height, data: [...data] };
}"""


def drawn(place: Locator) -> NDArray[np.uint8]:
    """The colours on the canvas in this place, [height, width, 3]."""
    found: dict[str, Any] = place.locator("canvas").evaluate(PIXELS)
    return np.array(found["data"], np.uint8).reshape(found["height"], found["width"], 4)[..., :3]


def hover(place: Locator, x: float, y: float) -> None:
    """Point at a position inside an element, by its shares; again where it grew meanwhile, since
    the old position may then lie outside of it."""

    def there() -> bool:
        try:
            place.hover(position=point(place, x, y), timeout=1000)
        except TimeoutError:
            return False
        return True

    wait_until(there)


def point(place: Locator, x: float, y: float) -> Position:
    """A position inside an element, by its shares."""
    box = place.bounding_box()
    assert box is not None
    return {"x": x * box["width"], "y": y * box["height"]}
