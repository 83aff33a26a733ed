"""Looks at the worker's confinement before and after each check, in a few microseconds where nothing changed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from appliance.errors import UNDECODABLE
from appliance.model.tunnel import TunnelReport
from appliance.perspective.assignment import Assignment
from appliance.perspective.confinement import Findings, namespace_findings, published_for, topology_findings
from appliance.perspective.links import LinkWatch

_decoder = msgspec.json.Decoder(TunnelReport)


class View(msgspec.Struct, frozen=True):
    """One look. `epoch` differs from that of an earlier look where the path was broken in between, if only for a moment."""

    findings: Findings
    epoch: int

    @property
    def intact(self) -> bool:
        """Whether the worker is confined and has its path."""
        return not (self.findings.excess or self.findings.lacking)


class Guard:
    """Watches this process's namespace and what the tunnel daemon publishes of it."""

    def __init__(self, assignment: Assignment, report_path: Path, own_inode: int, links: LinkWatch) -> None:
        self._assignment = assignment
        self._report_path = report_path
        self._report_name = str(report_path)
        self._own_inode = own_inode
        self._links = links
        self._published_inode = 0
        self._stamp: tuple[int, int] | None = None
        self._namespace = Findings()
        self._topology = Findings()
        self._view = View(Findings(), 0)
        self._read_report()
        self._read_topology()
        self._conclude(severed=False)

    @property
    def own_inode(self) -> int:
        """The network namespace that this process is in."""
        return self._own_inode

    @property
    def moved(self) -> bool:
        """Whether another namespace was published in place of the one that this process is in: it can only start anew."""
        return self._published_inode not in {0, self._own_inode}

    def fileno(self) -> int:
        """Readable when something about links or routes changed."""
        return self._links.fileno()

    def look(self) -> View:
        """How things stand now."""
        notices = self._links.notices()
        report_changed = self._report_stamp() != self._stamp
        if notices.changed or report_changed:
            if report_changed:
                self._read_report()
            if notices.changed:
                self._read_topology()
            self._conclude(notices.severed)
        return self._view

    def _conclude(self, severed: bool) -> None:
        findings = self._namespace + self._topology
        broken = severed or (findings != self._view.findings and bool(findings.excess or findings.lacking))
        self._view = View(findings, self._view.epoch + broken)

    def _report_stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._report_name)  # noqa: PTH116 -- twice per check; pathlib takes three times as long
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _read_report(self) -> None:
        self._stamp = self._report_stamp()
        try:
            report = _decoder.decode(self._report_path.read_bytes())
        except (OSError, *UNDECODABLE):
            report = None
        published = None if report is None else published_for(report, self._assignment.code)
        self._published_inode = 0 if published is None else published.netns_inode
        self._namespace = namespace_findings(published, self._assignment.code, self._own_inode)

    def _read_topology(self) -> None:
        try:
            topology = self._links.topology()
        except OSError as error:
            self._topology = Findings(excess=(f"interfaces cannot be listed: {error}",))
        else:
            self._topology = topology_findings(topology, self._assignment)
