"""A printable account of what was decided about one name or one request, for people."""

from appliance.evidence.report.document import Subject, report_lines

__all__ = ["Subject", "report_lines"]
