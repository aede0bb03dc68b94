"""`python -m cluster`: bring the test cluster up and down from a shell or a Makefile."""

import argparse
import json
import sys
from pathlib import Path

from cluster import archives
from cluster.building import build_image
from cluster.choose import choose
from cluster.provider import ClusterError
from cluster.saying import say
from cluster.settings import Paths


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
    elif arguments.command == "read":
        sys.stdout.buffer.write(archives.read(arguments.tar, arguments.path))
    elif arguments.command == "build-image":
        sys.stdout.write(f"{_build_image(arguments)}\n")


def _build_image(arguments: argparse.Namespace) -> Path:
    return build_image(
        Paths.from_environment(),
        context=arguments.context,
        dockerfile=arguments.file,
        tag=arguments.tag,
        build_args=dict(arguments.build_arg),
        cached=not arguments.no_cache,
    )


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


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
    read = commands.add_parser("read", help="print a file of a docker-archive")
    read.add_argument("tar", type=Path)
    read.add_argument("path", help="without a leading slash")
    build = commands.add_parser("build-image", help="build a Dockerfile; prints the path of the docker-archive")
    build.add_argument("--file", type=Path, required=True, help="the Dockerfile")
    build.add_argument("--tag", required=True, help="the image's name, for example firebreak:dev")
    build.add_argument("--context", type=Path, required=True, help="the folder that COPY copies from")
    build.add_argument("--build-arg", type=_name_and_value, action="append", default=[], metavar="NAME=VALUE")
    build.add_argument("--no-cache", action="store_true", help="build every layer anew")
    return parser


if __name__ == "__main__":
    sys.exit(main())
