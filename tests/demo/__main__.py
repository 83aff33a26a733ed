"""Builds the lab and the appliance, tells the story, and ends with 0 when everything was as the story expects."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.demo import report
from tests.demo.ask import Asker
from tests.demo.report import Teller
from tests.demo.story import tell
from tests.lab import topology, uplink
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab

_REPORT = Path("build/demo.json")


def main() -> int:
    """0: as expected; 1: something in the story was not."""
    began = time.monotonic()
    teller = Teller()
    with Lab() as lab:
        site = topology.PRIMARY
        with lab.capture(site.namespace, site.interface) as capture:
            appliance = Appliance(lambda text: print(f"appliance: {text}", file=sys.stderr, flush=True))
            appliance.up()
            tell(teller, Asker(lab, appliance))
        counts = uplink.count(capture.packets())
        counts["positive_control_packets"] = _positive_control(lab)
    seconds = time.monotonic() - began
    report.write(_REPORT, teller.scenes, counts, seconds)
    return _ending(teller, counts, seconds)


def _positive_control(lab: Lab) -> int:
    """The host itself asks the applicant, past every tunnel: it can, and the same counting sees it as `other`."""
    site, target = topology.PRIMARY, topology.WEB_ADDRESSES["quay"]
    with lab.capture(site.namespace, site.interface) as capture:
        for url in (f"http://{target.v4}/", f"http://[{target.v6}]/"):
            lab.run(site.namespace, ["curl", "-s", "-o", "/dev/null", "--max-time", "5", url], check=True)
    return uplink.count(capture.packets())[uplink.OTHER]


def _ending(teller: Teller, counts: dict[str, int], seconds: float) -> int:
    teller.scene("uplink", "What the CA site's uplink carried, from before the first tunnel to the end")
    teller.say(f"WireGuard to the configured endpoints: {counts[uplink.WIREGUARD]} packets")
    teller.say(f"the primary perspective's own address: {counts[uplink.PRIMARY]} packets")
    teller.say(f"anything else:                         {counts[uplink.OTHER]} packets")
    teller.say(f"(positive control: the host itself could reach the target, and {counts['positive_control_packets']}")
    teller.say(
        f" such packets were counted as «anything else»; {counts[uplink.NEIGHBOUR]} of neighbour discovery stay on the link)"
    )
    teller.scenes.pop()
    decisions = [decision for scene in teller.scenes for decision in scene.decisions]
    wrong = [decision for decision in decisions if not decision.as_expected]
    clean = counts[uplink.OTHER] == 0 and min(counts[uplink.WIREGUARD], counts["positive_control_packets"]) > 0
    teller.say("")
    teller.say(
        f"{len(decisions) - len(wrong)} of {len(decisions)} decisions as they should be, in {seconds:.0f} s; {_REPORT}"
    )
    if not clean:
        teller.say("The capture on the uplink is not as it should be.")
    return 0 if clean and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
