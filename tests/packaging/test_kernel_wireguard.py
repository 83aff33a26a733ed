"""WireGuard of Debian's own kernel, which production uses: both packages, in an emulated machine that boots it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.kernel import image, machine, plan

_LIMIT_S = 1500.0
pytestmark = [pytest.mark.system, pytest.mark.timeout(2100)]
Told = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(debs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the machine told, by step; `egress` of the node of the first perspective."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a Debian tree is made")
    directory = tmp_path_factory.mktemp("machine")
    kernel, initramfs = image.build(directory, debs.values(), plan.files())
    steps = machine.run(kernel, initramfs, directory, _LIMIT_S)
    initramfs.unlink()
    return {one["step"]: one for one in steps}


def test_it_is_debians_kernel_and_nothing_else_could_make_a_tunnel(told: Told) -> None:
    assert "-amd64" in told["kernel"]["release"]
    assert told["kernel"]["wireguard_go"] is None
