"""The demo's exit code, by which everybody goes. Its story is told on a real cluster, by tests/e2e/test_demo.py."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python at the checkout's root: the demo brings modules along whose names tests here have as well."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def claiming(*claims: bool) -> subprocess.CompletedProcess[str]:
    told = f"story = Story({{}}); [story.claim(f'claim {{n}}', holds) for n, holds in enumerate({list(claims)})]"
    return run("-c", f"import sys; from demo.story import Story; {told}; sys.exit(story.end())")


def test_one_claim_that_does_not_hold_fails_the_demo() -> None:
    ran = claiming(True, False, True)
    assert (ran.returncode, ran.stdout) == (
        1,
        "  yes    claim 0\n  NOT SO claim 1\n  yes    claim 2\n\n1 of 3 claims are NOT SO: claim 1.\n",
    )


def test_claims_that_all_hold_do_not() -> None:
    ran = claiming(True, True)
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "All 2 claims were checked, and all are so.")


def test_a_demo_that_cannot_go_on_fails_and_says_why() -> None:
    ran = run("-m", "demo", FIREBREAK_KUBECONFIG="/nowhere")
    words = "error: FIREBREAK_KUBECONFIG names /nowhere, which is not there. Correct or unset it."
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (1, words)
