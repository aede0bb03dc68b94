"""The manifests of a small shop that was broken into, of its intruder, and of what people apply about it.

Every pod of the Deployment `web` serves its own name over HTTP and talks to the intruder's command and control, once
over a connection that stays open (`/beacon/stream` grows with every line that comes back) and again and again over new
ones (`/beacon/knocks`). The files lie outside of the paths that are captured, so that evidence does not change while it
is read. The pods run as the account `web`, which may read config maps and the Secret `database`; that one is opted in
for rotation and reaches the pods as the variable DB_PASSWORD.
"""

from typing import Any

IMAGE = "firebreak:dev"  # has a Python, which the intruder's server is written in
PORT = 8080
C2_PORT = 4444

# Says every line back, on as many connections as there are.
ECHO = f"""
import asyncio
async def echo(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def main():
    async with await asyncio.start_server(echo, "0.0.0.0", {C2_PORT}) as server:
        await server.serve_forever()
asyncio.run(main())
"""

# {c2} is an address: the cluster may have no name service.
BEACON = """
mkdir -p /beacon
hostname > /srv/www/index.html
while :; do
  while echo alive; do usleep 50000; done | nc {c2} {port} >> /beacon/stream
  usleep 100000
done &
while :; do
  echo knock | timeout 1 nc {c2} {port} >> /beacon/knocks
  usleep 50000
done &
exec httpd -f -p {http} -h /srv/www
"""

CUT = "cut"  # the name of a playbook that cuts and keeps evidence small: for tests that look at the cut
CUT_PLAYBOOK = {
    "apiVersion": "firebreak.dev/v1alpha1",
    "kind": "Playbook",
    "metadata": {"name": CUT},
    "spec": {"steps": [{"quarantine": {"approval": "Never"}}, {"capture": {"paths": []}}]},
}
ALLOW_ALL = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "allow-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
}


def listener(name: str) -> dict[str, Any]:
    """The intruder's command and control: a pod that says every line back."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "listen",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", ECHO],
                    "readinessProbe": {"tcpSocket": {"port": C2_PORT}, "periodSeconds": 1},
                }
            ],
        },
    }


def pod_spec(c2: str) -> dict[str, Any]:
    """What a pod of the shop runs; `c2` is the address of the command and control."""
    script = BEACON.format(c2=c2, port=C2_PORT, http=PORT)
    return {
        "serviceAccountName": "web",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "app",
                "image": "busybox:1.35",
                "imagePullPolicy": "IfNotPresent",
                "workingDir": "/srv/www",
                "command": ["sh", "-c", script],
                "ports": [{"containerPort": PORT}],
                "env": [
                    {
                        "name": "DB_PASSWORD",
                        "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}},
                    }
                ],
                "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
            }
        ],
    }


def manifests(c2: str, *, replicas: int = 2) -> list[dict[str, Any]]:
    """The shop: account with rights, a secret opted in for rotation, Deployment and Service."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(c2)}
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["database"], "verbs": ["get"]},
    ]
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}},
        {"apiVersion": rbac, "kind": "Role", "metadata": {"name": "web"}, "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "web"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
            "subjects": [{"kind": "ServiceAccount", "name": "web"}],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", "annotations": {"firebreak.dev/rotate": '{"password": {"length": 24}}'}},
            "stringData": {"password": "swordfish"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]},
        },
    ]


def incident(name: str, target: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """An Incident about a target, such as {"pod": NAME}; `spec` adds fields such as playbook."""
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name},
        "spec": {"target": target, **spec},
    }


def idle(name: str, account: str = "default", **spec: Any) -> dict[str, Any]:
    """A pod that does nothing; `spec` adds to its spec, `container` to its container."""
    sleep = {"name": "app", "image": "busybox:1.35", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    containers = [sleep | spec.pop("container", {})]
    whole = {"terminationGracePeriodSeconds": 0, "serviceAccountName": account, "containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}
