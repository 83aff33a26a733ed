"""`mpicctl rov`: measure, show and attest whether the paths of the perspectives drop RPKI-invalid routes."""

from appliance.cli.rov.commands import app

__all__ = ["app"]
