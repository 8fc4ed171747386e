"""How far an estimate is, for people."""

from __future__ import annotations

import importlib
from collections.abc import Callable

__all__ = ["told"]


def told(progress: Callable[[int, int], object] | bool | None) -> Callable[[int, int], object] | None:
    """Return what is to be called with the products so far and at most; True stands for a tqdm bar.

    Where tqdm is not installed there is none.
    """
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return None
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return None
    bar = tqdm(desc="spectrum", unit="product")

    def show(done: int, most: int) -> None:
        bar.total = most
        bar.update(done - bar.n)
        if done >= most:
            bar.close()

    return show
