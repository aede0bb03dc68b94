"""Eradicate and recover: for cordon, revoke, rotate and replace, how to survey, plan and confirm.

Nothing is decided here: each joins what `kube` reads with its pure step, and asks the world afterwards.
"""

import asyncio
import dataclasses
from collections.abc import Iterable

from firebreak.api.playbook import CORDON, REPLACE, REVOKE, ROTATE, Replace, Rotate
from firebreak.api.status import ChangeState
from firebreak.engine.case import Case
from firebreak.engine.gather import accounts, held, identities, rights, with_sharers
from firebreak.engine.stage import Stage
from firebreak.kube import exposure, survey
from firebreak.kube.rights import ask
from firebreak.model.change import Change, Ref, Verb
from firebreak.model.facts import Answer, Nodes, Secrets, Workload
from firebreak.model.record import done, step, unlisted_done
from firebreak.model.verdict import CORDONED, IDENTITY, RECOVERED, ROTATED, Verdict
from firebreak.steps import cordon, replace, revoke, rotate, suspicion


class CordonNodes:
    """Close the nodes that the pods had a way to, also when the pods are gone."""

    name = CORDON
    condition = CORDONED
    lasting = False
    alone = True  # two that plan at once would each leave the other's node, and close both

    async def _facts(self, case: Case) -> Nodes:
        suspect = suspicion.suspects(case.status.pods.values())
        found = await case.tools.api.list_all("Node", keep=cordon.outline) if suspect else []
        return Nodes(case.id, tuple(suspect), tuple(found))

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Mark the suspect ones, as long as one is left."""
        return tuple(cordon.plan(await self._facts(case)))

    async def confirm(self, case: Case) -> Verdict | None:
        """Read them again."""
        return cordon.judge(await self._facts(case))

    def patience(self, case: Case) -> float:  # noqa: ARG002 - one shape for all stages
        """A node says at once what was written to it."""
        return 5.0


class Revoke:
    """Take the accounts out of every binding that names them, then ask what is left."""

    name = REVOKE
    condition = IDENTITY
    lasting = True
    alone = False

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Shrink bindings, also those that somebody has put back."""
        before = done(step(case.status, self.name))
        known = [await with_sharers(case, right) for right in await rights(case)]
        shrunk = [change for right in known for change in revoke.plan(right, before)]
        called = [i.change for i in await identities(case) if i.certain and i.change.id not in before]
        return (*shrunk, *(called if case.tools.hook else ()))

    async def confirm(self, case: Case) -> Verdict | None:
        """Ask the API server as each account; its own reason names the source of what is left."""
        answers: list[Answer] = []
        for right in await rights(case):
            answers += await asyncio.gather(*(ask(case.tools.api, q) for q in revoke.questions(right)))
        return revoke.judge(accounts(case), answers, await identities(case), done(step(case.status, self.name)))

    def patience(self, case: Case) -> float:  # noqa: ARG002 - one shape for all stages
        """The authorizer's caches settle within seconds: the first answer may be stale."""
        return 10.0


class RotateSecrets:
    """Rotate what was in reach, restart who uses it, and watch the restart."""

    name = ROTATE
    condition = ROTATED
    lasting = False
    alone = False

    async def _facts(self, case: Case) -> Secrets:
        records = case.status.pods.values()
        begun = {ChangeState.INTENDED, ChangeState.DONE}
        report = step(case.status, self.name)
        ours = [(c.verb, Ref.parse(c.object)) for c in report.changes.values() if c.state in begun]
        secrets = [(verb, ref.name) for verb, ref in ours if ref.kind == "Secret"]
        return dataclasses.replace(
            await exposure.secrets(case.tools.api, case.id, await held(case), await rights(case), records),
            deleted=frozenset(name for verb, name in secrets if verb == Verb.DELETE),
            begun=None if unlisted_done(report) else frozenset(n for verb, n in secrets if verb == Verb.PATCH),
        )

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Generate, delete, restart; name the rest."""
        return tuple(rotate.plan(await self._facts(case)))

    async def confirm(self, case: Case) -> Verdict | None:
        """True only when nothing in reach was left out and every restarted workload is back."""
        changes = step(case.status, self.name).changes.values()
        restarted = [c.object for c in changes if c.state is ChangeState.DONE and not c.object.startswith("Secret ")]
        for ref in map(Ref.parse, restarted):
            live = await survey.find(case.tools.api, ref)
            if live and not replace.rolled_out({"kind": ref.kind, **live}):
                return None
        return rotate.judge(changes)

    def patience(self, case: Case) -> float:
        """How long consumers may take."""
        return case.options(self.name, Rotate).timeout_seconds


class ReplaceWorkload:
    """Bring the workload back and verify that it is the cure that runs."""

    name = REPLACE
    condition = RECOVERED
    lasting = False
    alone = False

    async def _facts(self, case: Case) -> tuple[Workload, ...]:
        owners = {uid: (record.owner, record.owner_uid) for uid, record in case.status.pods.items()}
        return await survey.workloads(case.tools.api, case.id, await held(case), owners)

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Roll out the known-good image, where one is named."""
        images = case.options(self.name, Replace).images
        return tuple(change for facts in await self._facts(case) for change in replace.plan(facts, images))

    async def confirm(self, case: Case) -> Verdict | None:
        """Ready, the wanted image by digest where one was named, and no pod of it under quarantine."""
        images = case.options(self.name, Replace).images
        verdicts = [
            replace.judge(facts, images, back=facts.controller is not None and replace.rolled_out(facts.controller))
            for facts in await self._facts(case)
        ]
        said = [verdict for verdict in verdicts if verdict is not None]
        bad = next((verdict for verdict in said if not verdict.holds), None)
        if bad or len(said) < len(verdicts):
            return bad
        return Verdict(RECOVERED, "True", "Ready", "; ".join(verdict.message for verdict in said))

    def patience(self, case: Case) -> float:
        """How long the workload may take."""
        return case.options(self.name, Replace).timeout_seconds


STAGES: Iterable[Stage] = (CordonNodes(), Revoke(), RotateSecrets(), ReplaceWorkload())
