"""`mpicctl evidence`: the records of decisions and events. Reads the store itself, beside a running `mpicd` or without it."""

import typer

from appliance.cli.evidence.browse import list_, show
from appliance.cli.evidence.copies import backup, prune, restore
from appliance.cli.evidence.export import export
from appliance.cli.evidence.verify import verify

app = typer.Typer(help="The records of decisions and events.", no_args_is_help=True)
app.command("list")(list_)
app.command("show")(show)
app.command("export")(export)
app.command("verify")(verify)
app.command("prune")(prune)
app.command("backup")(backup)
app.command("restore")(restore)

__all__ = ["app"]
