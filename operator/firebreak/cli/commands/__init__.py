"""One file per command: its options, its help, and the one function that it calls."""
