"""Our checkers and open-mpic-core's say the same of a few hundred targets, but for a short list of differences."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.differential.differences import DIFFERENCES
from tests.differential.questions import questions
from tests.e2e.asking import corroborating, decide
from tests.hostile.service import Hostile
from tests.lab import Lab, state
from tests.lab.appliance import Appliance
from tests.lab.appliance_files import USERS
from tests.lab.runtime import Runtime

pytestmark = pytest.mark.e2e

CODE = "ams"
AT_ONCE = 4


def theirs(lab: Lab, appliance: Appliance, asked: list[dict[str, Any]]) -> list[str]:
    """In the perspective's namespace, as its unprivileged user."""
    uid = USERS["perspective"]
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--"]
    installed = Runtime(state.RUNTIME)
    argv += [str(installed.environment("peer")), "-I", str(installed.source("tests/differential/peer.py"))]
    argv += [str(appliance.settings.resolver.port)]
    done = lab.run(appliance.netns(CODE), argv, stdin=json.dumps(asked), timeout_s=200, check=True)
    told: list[str] = json.loads(done.stdout)
    return told


def test_differences_are_known(lab: Lab, appliance: Appliance, hostile: Hostile) -> None:
    asked = questions()
    assert len(asked) >= 200
    their_answers = theirs(lab, appliance, asked)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda body: decide(appliance, body), asked))
    differing = [
        (body, "pass" if CODE in corroborating(answer) else "no", their)
        for body, answer, their in zip(asked, answers, their_answers, strict=True)
        if (CODE in corroborating(answer)) != (their == "pass")
    ]
    unexplained = [one for one in differing if not any(known.explains(one[0]) for known in DIFFERENCES)]
    assert unexplained == [], "\n".join(map(str, unexplained))
    unused = [known for known in DIFFERENCES if not any(known.explains(body) for body, _, _ in differing)]
    assert unused == []
    assert len(differing) < len(asked) / 4
