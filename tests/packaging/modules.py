"""Programs of the packages that are no modules of the project, as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def module_of(path: Path) -> ModuleType:
    """The Python file at `path`, executed as a module."""
    spec = importlib.util.spec_from_file_location(f"mpic_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
