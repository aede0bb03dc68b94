"""`firebreak intake ...`: alerts in, incidents out."""

import typer

from firebreak.cli.commands.intake_explain import explain
from firebreak.cli.commands.intake_run import receive
from firebreak.cli.commands.intake_schema import schema

app = typer.Typer(invoke_without_command=True)
app.callback()(receive)
for each in (explain, schema):
    app.command()(each)
