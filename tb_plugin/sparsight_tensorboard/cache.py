"""What was read last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Cache"]

T = TypeVar("T")


class Cache(Generic[T]):
    """Least recently used values, up to a total size."""

    def __init__(self, size: int) -> None:
        self._size = self._room = size
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()  # TensorBoard serves each request in a thread of its own

    def get(self, key: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """The value of a key; `make` gives it, and its size, where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value, size = make()
        with self._lock:
            if key not in self._values and size <= self._size:
                self._values[key] = value, size
                self._room -= size
            while self._room < 0:
                self._room += self._values.popitem(last=False)[1][1]
        return value
