"""What the pods of an incident had access to: also those that are gone, and never the values."""

from typing import Any

from builders import pod
from fake_api import Answer, FakeApi, Fault, Obj
from firebreak.api.status import IncidentStatus, PodRecord
from firebreak.engine.case import pin
from firebreak.engine.jobs import JobKey
from firebreak.evidence.store import EvidenceStore
from firebreak.kube import exposure
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from harness import connect, replica
from world import OLD_PASSWORD, SECRET_PATH, UID, incident, shop, web_pod

Json = dict[str, Any]


# --- what pods that are gone had access to


def naming(*secrets: str, name: str = "web-1") -> Pod:
    return pod(name, volumes=[{"name": f"v-{each}", "secret": {"secretName": each}} for each in secrets])


def recorded(status: IncidentStatus) -> dict[str, dict[str, str]]:
    return {record.name: record.secrets for record in status.pods.values()}


def test_a_pod_is_recorded_with_the_secrets_that_it_names_and_each_once() -> None:
    status = pin(IncidentStatus(), (naming("db"), naming("db", "tls", name="web-2")))
    assert recorded(status) == {"web-1": {"db": "volume v-db"}, "web-2": {"tls": "volume v-tls"}}
    later = pin(status, (naming("db", "tls", "api", name="web-3"),))
    assert recorded(later)["web-3"] == {"api": "volume v-api"}


def test_a_record_has_room_for_so_many_secrets_and_says_how_many_more_there_are() -> None:
    crowd = naming(*(f"s-{n}" for n in range(250)))
    (secrets,) = recorded(pin(IncidentStatus(), (crowd,))).values()
    assert len(secrets) == 201
    assert secrets["*"] == "50 more secrets that pod web-1 names: see its pod.json in the evidence"


def test_ways_and_names_in_a_record_are_bounded() -> None:
    long = pod(volumes=[{"name": "v" * 2000, "secret": {"secretName": "db"}}, {"secret": {"secretName": "n" * 300}}])
    (secrets,) = recorded(pin(IncidentStatus(), (long,))).values()
    assert {name: len(ways) for name, ways in secrets.items() if name != "*"} == {"db": 512}
    assert secrets["*"].startswith("1 more secrets")


async def test_secrets_of_a_pod_that_is_gone_are_in_reach_still(fake: FakeApi) -> None:
    shop(fake)
    fake.update("ServiceAccount", "shop", "web", {"imagePullSecrets": [{"name": "registry"}]})
    gone = PodRecord(name="web-1", account="web", secrets={"db": "env DB_PASSWORD of container c", "*": "9 more"})
    async with connect(fake) as api:
        facts = await exposure.secrets(api, IncidentRef("shop", "shell", UID), (), (), [gone])
    assert {use.name: (use.ways, use.metadata is not None) for use in facts.uses} == {
        "db": (("env DB_PASSWORD of container c",), True),
        "registry": (("image pull secret of the account",), False),
    }
    assert facts.elsewhere == ("9 more",)


async def test_the_copy_of_the_values_that_kubectl_leaves_in_the_metadata_is_dropped_on_arrival(fake: FakeApi) -> None:
    shop(fake)
    applied = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"data": {{"password": "{OLD_PASSWORD}"}}}}'}
    fake.update("Secret", "shop", "db", {"metadata": {"annotations": applied}})
    async with connect(fake) as api:
        facts = await exposure.secrets(api, IncidentRef("shop", "shell", UID), (Pod(web_pod()),), ())
    assert OLD_PASSWORD not in repr(facts)
    assert facts.uses[0].metadata is not None
    assert facts.uses[0].metadata["annotations"] == {"firebreak.dev/rotate": '{"password": {}}'}


async def test_what_waits_for_a_person_waits_on_when_the_pod_is_deleted(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "SecretsRotated", "False", "AwaitingApproval")
        fake.delete("Pod", "shop", "web-1")
        firebreak.controller.wake(UID)
        await firebreak.condition("shell", "Contained", "Unknown", "TargetGone")
        fake.update("Incident", "shop", "shell", {"spec": {"playbook": "unattended"}})
        found = await firebreak.condition("shell", "SecretsRotated", "True", "Rotated")
    assert set(found["status"]["steps"]["rotate"]["changes"]) == {"patch Secret shop/db", "patch Deployment shop/web"}


async def test_who_uses_a_secret_is_restarted_when_it_was_rotated_and_not_before(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    refused = Fault(
        when=lambda c: c.method == "PATCH" and c.path == SECRET_PATH, how=Answer(403, message="no"), times=1
    )
    fake.faults.add(refused)
    generation = fake.get("Deployment", "shop", "web")["metadata"]["generation"]

    def failed(status: Obj) -> bool:
        return bool((status.get("steps") or {}).get("rotate", {}).get("state") == "Failed")

    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        found = await firebreak.until("shell", failed)
        restart = found["status"]["steps"]["rotate"]["changes"]["patch Deployment shop/web"]
        assert (restart["state"], restart["message"]) == ("Planned", "not sent: first comes patch Secret shop/db")
        assert fake.get("Deployment", "shop", "web")["metadata"]["generation"] == generation
        firebreak.controller.jobs.wake(JobKey(UID, "rotate"))
        await firebreak.condition("shell", "SecretsRotated", "True", "Rotated")
    assert fake.get("Secret", "shop", "db")["data"]["password"] != OLD_PASSWORD
    assert fake.get("Deployment", "shop", "web")["metadata"]["generation"] == generation + 1


FORGED_KEY = "quarantine.firebreak.dev/22222222-2222-2222-2222-222222222222"


def deployments_own() -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}


async def users(fake: FakeApi) -> list[str]:
    async with connect(fake) as api:
        facts = await exposure.secrets(api, IncidentRef("shop", "shell", UID), (Pod(web_pod()),), ())
    return [each.name for each in facts.others]


async def test_a_pod_that_only_says_it_is_a_deployments_own_is_restarted_by_nobody(fake: FakeApi) -> None:
    shop(fake)
    fake.put(web_pod("web-1"))
    uid = fake.get("Deployment", "shop", "web")["metadata"]["uid"]
    fake.put(web_pod("forged", ownerReferences=[{**deployments_own(), "uid": uid}]))
    fake.put(web_pod("alone", ownerReferences=[]))
    assert await users(fake) == ["alone", "forged"]


async def test_a_pod_with_the_label_of_a_quarantine_is_held_only_where_its_policy_is(fake: FakeApi) -> None:
    shop(fake)
    fake.put(web_pod("labelled", labels={FORGED_KEY: "true"}, ownerReferences=[]))
    assert await users(fake) == ["labelled"]
    name = "firebreak-22222222-2222-2222-2222-222222222222"
    spec: Json = {"podSelector": {"matchLabels": {FORGED_KEY: "true"}}, "policyTypes": ["Ingress", "Egress"]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec}
    fake.put({**policy, "metadata": {"name": name, "namespace": "shop"}})
    assert await users(fake) == []
    fake.update("NetworkPolicy", "shop", name, {"spec": {"egress": [{}]}})
    assert await users(fake) == ["labelled"]


async def test_more_secrets_than_the_record_has_room_for_are_rotated_once_whoever_leads(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    opted_in = {"firebreak.dev/rotate": '{"password": {}}'}
    for number in range(230):
        metadata: Json = {"name": f"s{number:03}", "namespace": "shop", "annotations": opted_in}
        fake.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": OLD_PASSWORD}})
    metadata = {"name": "theirs", "namespace": "shop"}
    fake.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": OLD_PASSWORD}})
    fake.update("Role", "shop", "reader", {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]})

    def values() -> list[str]:
        return [fake.get("Secret", "shop", f"s{number:03}")["data"]["password"] for number in range(230)]

    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.condition("shell", "SecretsRotated", "False", "ByHand")
    after = values()
    assert OLD_PASSWORD not in after
    assert len(firebreak.incident("shell")["status"]["steps"]["rotate"]["changes"]) == 200
    looked = len([call for call in fake.calls if call.path == SECRET_PATH and call.method == "GET"])
    async with replica(fake, store, name="two") as other:
        other.controller.jobs.wake(JobKey(UID, "rotate"))
        await fake.called(lambda call: call.path == SECRET_PATH and call.method == "GET", looked + 1)
        fake.delete("Secret", "shop", "theirs")  # seen only by who came to the end
        other.controller.jobs.wake(JobKey(UID, "rotate"))
        await other.condition("shell", "SecretsRotated", "True", "Rotated")
    assert firebreak.incident("shell")["status"]["steps"]["rotate"]["counts"] == {"Done": 232}
    assert values() == after
