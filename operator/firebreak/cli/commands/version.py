"""`firebreak version`."""

import platform

from firebreak import __version__
from firebreak.api import API_VERSION
from firebreak.cli.session import Session, command
from firebreak.cli.terminal import Terminal, words


@command
def version(session: Session) -> None:
    """Print the versions of Firebreak, its API and Python."""
    show(session.terminal)


def show(terminal: Terminal) -> None:
    """Print them; no cluster is asked."""
    value = {"firebreak": __version__, "api": API_VERSION, "python": platform.python_version()}
    terminal.emit(value, lambda: words(f"firebreak {__version__} ({API_VERSION}, Python {value['python']})"))
