"""The real third-party data that may lie beside a checkout, or beside a folder above it; it is read in place and never copied."""

from __future__ import annotations

from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[1]
_PLACES = [above / "shared" / "data" for above in (_CHECKOUT, *_CHECKOUT.parents)]

SHARED_DATA = next((folder for folder in _PLACES if folder.is_dir()), _PLACES[0])
needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared third-party data is not beside this checkout")
