"""Installing Firebreak as the end-to-end tests do, with every command shown."""

import json

import installed
from cluster.commands import run
from cluster.provider import ClusterInfo
from demo.shop import objects
from demo.story import DemoError, Story

KUBECTL_SECONDS = 180


def install(story: Story, info: ClusterInfo) -> None:
    """Install or upgrade Firebreak; return when both replicas are ready and enforcement is proven."""
    installed.install(info, _shown(story, info))


def require_installed(story: Story) -> None:
    """Make sure that somebody else's installation is there, and ready. Raises DemoError."""
    deployments = objects(story, f"kubectl get deployments -n {installed.NAMESPACE}")["items"]
    ready = [d for d in deployments if d["metadata"]["name"] == "firebreak" and d["status"].get("readyReplicas")]
    if not ready:
        raise DemoError(
            f"no ready deployment/firebreak in namespace {installed.NAMESPACE}: leave out --installed, and the demo "
            "installs it"
        )


def _shown(story: Story, info: ClusterInfo) -> installed.Kubectl:
    """Run kubectl, showing what it is asked to do. What is only looked at, again and again, is not shown."""
    command = [str(info.bin / "kubectl"), "--kubeconfig", str(info.kubeconfig)]

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        if arguments[0] == "get":
            return run([*command, *arguments], timeout=KUBECTL_SECONDS)
        story.show_command(" ".join(["kubectl", *map(_short, arguments)]) + _what(stdin))
        output = run([*command, *arguments], stdin=stdin, timeout=KUBECTL_SECONDS)
        lines = output.splitlines()
        story.show(lines[-1:] if arguments[0] == "rollout" else _brief(lines))
        return output

    return kubectl


def _short(argument: str) -> str:
    """Paths as seen from the checkout, which is where the demo runs."""
    root = str(installed.OVERLAY.parents[2])
    return argument.removeprefix(f"{root}/")


def _what(stdin: str | None) -> str:
    """What stands in the manifest that is piped in; the values of a Secret do not belong on a screen."""
    if stdin is None:
        return ""
    manifest = json.loads(stdin)
    kept = ", its values not shown" if manifest["kind"] == "Secret" else ""
    return f"   # {manifest['kind']} {manifest['metadata']['name']}{kept}"


def _brief(lines: list[str]) -> list[str]:
    """The first and last lines of a long answer."""
    if len(lines) <= 5:  # noqa: PLR2004 - a few lines are read, twenty are not
        return lines
    return [*lines[:2], f"... {len(lines) - 3} more", lines[-1]]
