"""The emulated Internet: autonomous systems, DNS, web servers, a CA's site, egress nodes and an attacker on one machine."""

from tests.lab.lab import Lab as Lab
from tests.lab.state import LabBusyError as LabBusyError
from tests.lab.wait import NotReachedError as NotReachedError
from tests.lab.wait import wait_until as wait_until
