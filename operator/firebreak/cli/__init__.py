"""The `firebreak` command, also `kubectl firebreak`: parse, call one function, print one result.

`commands/` has one file per command; what they share is beside it. The rules live in the other rooms. `app` and
`commands` import what is light only, so that `firebreak --help` answers at once.
"""

from firebreak.cli.app import main

__all__ = ["main"]
