"""`firebreak rules`: the commands about detection rules."""

import typer

from firebreak.cli.commands import rules_check, rules_test

app = typer.Typer(help="Check and test detection rules.", no_args_is_help=True)
app.command("check")(rules_check.check)
app.command("test")(rules_test.cases)
