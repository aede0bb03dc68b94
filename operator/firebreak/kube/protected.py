"""Reading what the guard rails protect: who stands behind webhooks, aggregated APIs and the store, and sizes."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError
from firebreak.model.loose import controller, mapping, mappings, text
from firebreak.model.pod import Pod
from firebreak.model.rails import Backend, Protected, Size

WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"
Service = tuple[str, str]  # namespace and name


async def read(
    api: Api, before: Protected, stores: Mapping[Service, str], sized: Iterable[str]
) -> tuple[Protected, list[str]]:
    """Return what is protected now, and in words what could not be read: of that, what was known before is kept.

    `stores`: further Services, and why their pods are protected. `sized`: namespaces whose workloads are counted.
    """
    namespaces = tuple(sized)
    protected, found = await asyncio.gather(
        _backends(api, before, stores),
        asyncio.gather(*(sizes(api, namespace) for namespace in namespaces)),
        return_exceptions=True,
    )
    problems = [str(each) for each in (protected, found) if isinstance(each, ApiError)]
    now = before
    if not isinstance(protected, BaseException):
        now = replace(now, backends=protected[0], pods=protected[1])
    elif not isinstance(protected, ApiError):
        raise protected
    if not isinstance(found, BaseException):
        now = replace(now, sizes=dict(zip(namespaces, found, strict=True)))
    elif not isinstance(found, ApiError):
        raise found
    return now, problems


async def sizes(api: Api, namespace: str) -> dict[str, Size]:
    """Return how many pods each workload of a namespace is to have; a Deployment's are those of all its ReplicaSets."""
    daemons, stateful, sets = await asyncio.gather(
        *(api.list_all(kind, namespace, keep=_counted) for kind in ("DaemonSet", "StatefulSet", "ReplicaSet"))
    )
    alone = {each["name"]: Size(f"DaemonSet {each['name']}", each["pods"]) for each in daemons}
    alone |= {each["name"]: Size(f"StatefulSet {each['name']}", each["pods"]) for each in stateful}
    totals: dict[str, int] = {}
    for each in sets:
        totals[each["owner"]] = totals.get(each["owner"], 0) + each["pods"]
    return alone | {each["name"]: Size(each["owner"], totals[each["owner"]]) for each in sets}


async def behind(api: Api, namespace: str, pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    """Return, for each Service that selects one of the pods, all pods it selects that have not ended, by its name.

    One list of each, whatever their number, and of the pods the metadata only.
    """
    ours = tuple(pods)
    services, there = await asyncio.gather(
        api.list_all("Service", namespace),
        api.list_all("Pod", namespace, fields=NOT_ENDED, metadata_only=True),
    )
    selectors = {s["metadata"]["name"]: (s.get("spec") or {}).get("selector") or {} for s in services}
    wanted = {n: s for n, s in selectors.items() if s and any(s.items() <= pod.labels.items() for pod in ours)}
    found = [Pod(raw) for raw in there]
    return {n: [pod for pod in found if s.items() <= pod.labels.items()] for n, s in wanted.items()}


async def _backends(
    api: Api, before: Protected, stores: Mapping[Service, str]
) -> tuple[tuple[Backend, ...], dict[tuple[str, str], str]]:
    """Pods in namespaces that are protected anyhow are not looked for."""
    services = {**await _named_by_the_cluster(api), **stores}
    wanted = {service: why for service, why in services.items() if service[0] not in before.namespaces}
    found = await asyncio.gather(*(_backend(api, service, why) for service, why in wanted.items()))
    backends = tuple(backend for backend in found if backend is not None)
    lists = await asyncio.gather(*(_selected(api, backend) for backend in backends))
    pods = {
        (backend.namespace, pod["metadata"]["name"]): backend.why
        for backend, items in zip(backends, lists, strict=True)
        for pod in items
    }
    return backends, pods


async def _selected(api: Api, backend: Backend) -> list[Json]:
    labels = ",".join(f"{key}={value}" for key, value in backend.selector.items())
    return await api.list_all("Pod", backend.namespace, labels=labels, metadata_only=True)


async def _named_by_the_cluster(api: Api) -> dict[Service, str]:
    """The Services that the API server itself calls. Conversion webhooks of CRDs are not looked for."""
    webhooks = await asyncio.gather(*(api.list_all(kind, keep=_webhooks) for kind in WEBHOOKS))
    services: dict[Service, str] = {}
    for hook in (hook for configurations in webhooks for each in configurations for hook in each["webhooks"]):
        services[hook["service"]] = f"it answers admission webhook {hook['name']}"
    for each in await api.list_all("APIService", keep=_api_service):
        if each["service"]:
            services[each["service"]] = f"it serves API {each['name']}"
    return services


def _webhooks(configuration: Json) -> Json:
    hooks = mappings(configuration.get("webhooks"))
    named = [(text(hook.get("name")), _service(mapping(hook.get("clientConfig")))) for hook in hooks]
    return {"webhooks": [{"name": name, "service": service} for name, service in named if service]}


def _api_service(each: Json) -> Json:
    return {"name": text(each["metadata"].get("name")), "service": _service(mapping(each.get("spec")))}


def _service(holder: Json) -> Service | None:
    service = mapping(holder.get("service"))
    namespace, name = text(service.get("namespace")), text(service.get("name"))
    return (namespace, name) if namespace and name else None


async def _backend(api: Api, service: Service, why: str) -> Backend | None:
    namespace, name = service
    found = await api.list_all("Service", namespace, fields=f"metadata.name={name}")
    selector = mapping(mapping(found[0].get("spec")).get("selector")) if found else {}
    return Backend(namespace, selector, why) if selector else None


def _counted(workload: Json) -> Json:
    metadata, spec = workload["metadata"], mapping(workload.get("spec"))
    owner = controller(metadata)
    wanted = spec.get("replicas", mapping(workload.get("status")).get("desiredNumberScheduled"))
    name = text(metadata.get("name"))
    return {
        "name": name,
        "pods": wanted if isinstance(wanted, int) else 0,
        "owner": f"{owner.get('kind')} {owner.get('name')}" if owner else f"ReplicaSet {name}",
    }
