"""`python -m firebreak`: the same command without an entry point on PATH."""

from firebreak.cli import main

main()
