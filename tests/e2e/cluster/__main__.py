"""`python -m cluster`: bring the test cluster up and down from a shell or a Makefile."""

import argparse
import json
import sys
from pathlib import Path

from cluster.choose import choose
from cluster.provider import ClusterError
from cluster.saying import say


def main() -> int:
    """Run one command; 0 when it did what it says, 1 with the reason on stderr when not."""
    arguments = _parser().parse_args()
    try:
        _run(arguments)
    except ClusterError as failed:
        say(f"error: {failed}")
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "up":
        _emit(choose().up().to_json())
    elif arguments.command == "down":
        choose().down(purge=arguments.purge)
    elif arguments.command == "status":
        _emit(choose().status())
    elif arguments.command == "info":
        _emit(choose().info().to_json())
    elif arguments.command == "load":
        choose().load_image(arguments.tar)


def _emit(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value, indent=2)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description="A Kubernetes cluster to test on.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the cluster up, or what is missing of it; prints what `info` prints")
    down = commands.add_parser("down", help="end the cluster and give the machine back as it was")
    down.add_argument("--purge", action="store_true", help="delete its state too (built programs stay cached)")
    commands.add_parser("status", help="every component and how it is, as JSON")
    commands.add_parser("info", help="kubeconfig, audit log, programs and S3 server, as JSON")
    load = commands.add_parser("load", help="load the images of a docker-archive into the cluster")
    load.add_argument("tar", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
