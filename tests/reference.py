"""The reference numbers of ../shared/parity, which are not part of the product: a clone that stands alone has none of them."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "parity"


def file(name: str) -> Path:
    """The path of a file of reference numbers; skips the test where they are not beside the checkout."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name}: the reference numbers are not beside this checkout")
    return path
