"""`python -m demo [--installed] [--clean [--all]]`, from the root of the checkout."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from cluster.choose import choose
from cluster.provider import ClusterError, ClusterInfo
from demo import ROOT, chapters, cleaning
from demo.evidence import credentials
from demo.story import DemoError, Story, environment


def main() -> int:
    """Tell and do it; 0 when every claim held, 1 when one did not or the demo could not go on."""
    arguments = _parser().parse_args()
    os.chdir(ROOT)
    try:
        return _clean(everything=arguments.all) if arguments.clean else _play(installed=arguments.installed)
    except (ClusterError, DemoError, subprocess.TimeoutExpired) as failed:
        sys.stderr.write(f"\nerror: {failed}\n")
        return 1


def _play(*, installed: bool) -> int:
    info = choose().up()
    if info.s3 is None:
        raise DemoError("this cluster names no S3 server; set FIREBREAK_S3_ENDPOINT and its keys")
    story = Story(_environment(info))
    return chapters.tell(story, info, info.s3, already_installed=installed)


def _clean(*, everything: bool) -> int:
    if not cleaning.is_up():
        sys.stdout.write("No cluster is up: there is nothing to remove.\n")
        return 0
    cleaning.clean(Story(_environment(choose().info())), everything=everything)
    return 0


def _environment(info: ClusterInfo) -> dict[str, str]:
    path = os.pathsep.join([str(info.bin), str(Path(sys.executable).parent), os.environ["PATH"]])
    return environment(KUBECONFIG=str(info.kubeconfig), PATH=path, **(credentials(info.s3) if info.s3 else {}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="A shop is broken into, and Firebreak answers.")
    parser.add_argument("--installed", action="store_true", help="Firebreak is installed already; leave it as it is")
    parser.add_argument(
        "--clean", action="store_true", help="remove what the demo left; with the cluster, if it is idle"
    )
    parser.add_argument("--all", action="store_true", help="with --clean: the cluster too, whoever uses it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
