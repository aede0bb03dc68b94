"""What every process of Firebreak that runs for long has: work kept alive, a pulse, a port for probes and metrics."""
