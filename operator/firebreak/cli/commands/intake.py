"""`firebreak intake`: the commands about alerts that come in."""

import typer

from firebreak.cli.commands import intake_explain, intake_schema

app = typer.Typer(help="Alerts in, incidents out.", no_args_is_help=True)
app.command("explain")(intake_explain.explain)
app.command("schema")(intake_schema.schema)
