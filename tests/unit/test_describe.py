"""Environment values stay out of evidence: in objects, and in what the real kubectl prints about them."""

import asyncio
import copy
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from api_double import ApiDouble, Handler, refused
from firebreak.kube.describe import DescribeSource, Window
from firebreak.kube.source import INTERRUPTIONS, Limits, Reason
from firebreak.model.outcome import Completeness, Outcome
from firebreak.model.redact import LAST_APPLIED, redact_pod

VALUES = {
    "PASSWORD": "first-secret",
    "PEM": "-----BEGIN\nsecond-secret\n    Mounts:\n      /x from y (rw)\n-----END",
    "MIMIC": "<set to the key 'a' in secret 'b'>  third-secret",
    "FORM_FEED": "x\fConditions: fourth-secret",
    "TABS": "\tfifth-secret\v\tsixth-secret",
    "QUOTES": "\"seventh-secret'\\",
}
SECRETS = [f"{word}-secret" for word in ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")]


def env() -> list[dict[str, Any]]:
    return [
        *({"name": name, "value": value} for name, value in VALUES.items()),
        {"name": "EMPTY", "value": ""},
        {"name": "UNSET"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
    ]


POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "annotations": {LAST_APPLIED: '{"env":[{"value":"eighth-secret"}]}', "team": "payments"},
    },
    "spec": {
        "containers": [{"name": "app", "image": "web:1", "env": env()}],
        "initContainers": [{"name": "prepare", "image": "web:1", "env": env()}],
        "ephemeralContainers": [{"name": "look", "image": "web:1", "env": env()}],
    },
    "status": {"phase": "Running"},
}


def test_literal_values_of_all_containers_are_left_out_with_their_length() -> None:
    redacted = redact_pod(POD)
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        assert redacted["spec"][kind][0]["env"] == [
            {"name": "PASSWORD", "value": "<left out by Firebreak: 12 bytes>"},
            {"name": "PEM", "value": "<left out by Firebreak: 66 bytes>"},
            {"name": "MIMIC", "value": "<left out by Firebreak: 48 bytes>"},
            {"name": "FORM_FEED", "value": "<left out by Firebreak: 27 bytes>"},
            {"name": "TABS", "value": "<left out by Firebreak: 27 bytes>"},
            {"name": "QUOTES", "value": "<left out by Firebreak: 17 bytes>"},
            {"name": "EMPTY", "value": ""},
            {"name": "UNSET"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ]
    assert redacted["metadata"]["annotations"] == {
        LAST_APPLIED: "<left out by Firebreak: 35 bytes>",
        "team": "payments",
    }


def test_headers_and_queries_of_probes_and_hooks_are_left_out() -> None:
    request = {
        "path": "/healthz?token=ninth-secret",
        "port": 8080,
        "httpHeaders": [{"name": "Authorization", "value": "Bearer tenth-secret"}, {"name": "Accept", "value": ""}, 7],
    }
    hidden = {
        "path": "/healthz?<left out by Firebreak: 18 bytes>",
        "port": 8080,
        "httpHeaders": [
            {"name": "Authorization", "value": "<left out by Firebreak: 19 bytes>"},
            {"name": "Accept", "value": ""},
            7,
        ],
    }
    probes = ("livenessProbe", "readinessProbe", "startupProbe")
    container = {name: {"httpGet": request, "periodSeconds": 5} for name in probes}
    hooks = {"postStart": {"httpGet": request}, "preStop": {"httpGet": {"path": "/bye", "port": "http"}}}
    redacted = redact_pod({"spec": {"containers": [{**container, "lifecycle": hooks}]}})
    assert redacted["spec"]["containers"][0] == {
        **{name: {"httpGet": hidden, "periodSeconds": 5} for name in probes},
        "lifecycle": {"postStart": {"httpGet": hidden}, "preStop": {"httpGet": {"path": "/bye", "port": "http"}}},
    }


def test_the_values_of_a_secret_are_left_out_at_any_depth_and_a_config_maps_are_not() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "db"}, "data": {"password": "aHVudGVyMg=="}, "stringData": "odd"}
    config_map = {"kind": "ConfigMap", "data": {"mode": "fast"}}
    assert redact_pod({"deep": [{"er": [secret, config_map]}]}) == {
        "deep": [
            {
                "er": [
                    {
                        "kind": "Secret",
                        "metadata": {"name": "db"},
                        "data": {"password": "<left out by Firebreak: 12 bytes>"},
                        "stringData": "<left out by Firebreak: 3 bytes>",
                    },
                    config_map,
                ]
            }
        ]
    }


def test_nothing_else_is_changed_and_the_original_stays_as_it_is() -> None:
    original = copy.deepcopy(POD)
    redacted = redact_pod(POD)
    assert original == POD
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        redacted["spec"][kind][0]["env"] = env()
    redacted["metadata"]["annotations"] = original["metadata"]["annotations"]
    assert redacted == original


def test_templates_of_workloads_are_covered_at_any_depth() -> None:
    template = {"metadata": {"annotations": {LAST_APPLIED: "eighth-secret"}}, "spec": POD["spec"]}
    cron_job = {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": template}}}}
    for listing in (cron_job, {"items": [cron_job]}):
        text = json.dumps(redact_pod(listing))
        assert not [secret for secret in SECRETS if secret in text]


def test_an_env_list_elsewhere_is_not_a_containers() -> None:
    resource = {"spec": {"env": [{"name": "A", "value": "kept"}], "annotations": ["kept"], "containers": "kept"}}
    assert redact_pod(resource) == resource


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["containers", "env", "value", "name", "annotations", LAST_APPLIED, "httpGet", "path"])
            | st.sampled_from(["httpHeaders", "data"]),
            children,
        )
        | st.fixed_dictionaries({"kind": st.just("Secret"), "data": children})
    ),
)


@given(st.dictionaries(st.sampled_from(["containers", "env", "annotations", "spec"]), JSON))
def test_objects_of_any_shape_are_redacted_without_error(thing: dict[str, Any]) -> None:
    json.dumps(redact_pod(thing))


def serving(pod: dict[str, Any], events: int = 200) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/api/v1/namespaces/shop/pods/web-1":
            return web.json_response(pod)
        if request.path == "/api/v1/namespaces/shop/events":
            listing = {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []}
            return web.json_response(listing) if events == 200 else refused(events, "events is forbidden")
        return refused(404, "not found")

    return answer


async def run(handler: Handler, kubectl: str, limits: Limits | None = None) -> tuple[bytes, Outcome, list[str]]:
    async with ApiDouble(handler) as connection:
        extra = {"limits": limits} if limits else {}
        source = DescribeSource(connection, "shop", "web-1", kubectl=kubectl, **extra)
        data = b"".join([chunk async for chunk in source])
        return data, source.outcome, connection.requests


KUBECTL = shutil.which("kubectl") or ""
needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="kubectl is not on PATH")


@needs_kubectl
async def test_what_the_real_kubectl_prints_holds_names_and_no_values() -> None:
    data, outcome, requests = await run(serving(POD), KUBECTL)
    text = data.decode()
    assert outcome == Outcome(
        Completeness.COMPLETE,
        Reason.READ_TO_END,
        "As kubectl prints it; literal environment values were left out.",
    )
    assert not [secret for secret in SECRETS if secret in text]
    assert text.count("PASSWORD:") == 3
    assert text.count("<left out by Firebreak: 12 bytes>") == 3
    assert "<set to the key 'token' in secret 'db'>  Optional: false" in text
    assert "Annotations:  team: payments" in text
    assert {request.split("?", maxsplit=1)[0] for request in requests} == {
        "GET /api/v1/namespaces/shop/pods/web-1",
        "GET /api/v1/namespaces/shop/events",
    }


@needs_kubectl
async def test_events_that_may_not_be_read_make_it_partial() -> None:
    data, outcome, _ = await run(serving(POD, events=403), KUBECTL)
    assert b"web-1" in data
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.FORBIDDEN)
    assert outcome.message.startswith("The events could not be read.")


@needs_kubectl
async def test_a_pod_that_is_gone_is_missing() -> None:
    async def gone(request: web.Request) -> web.StreamResponse:
        return refused(404, 'pods "web-1" not found')

    data, outcome, _ = await run(gone, KUBECTL)
    assert (data, outcome.completeness, outcome.reason) == (b"", Completeness.MISSING, Reason.NOT_FOUND)


async def test_a_kubectl_that_is_not_there_is_missing_and_says_what_to_do() -> None:
    _, outcome, _ = await run(serving(POD), "/nowhere/kubectl")
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.KUBECTL_NOT_FOUND)
    assert "name the kubectl program in the settings" in outcome.message


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


async def test_a_kubectl_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    kubectl = program(tmp_path / "kubectl", "echo part; echo 'error: no luck' >&2; exit 1")
    data, outcome, _ = await run(serving(POD), kubectl)
    assert data == b"part\n"
    assert outcome == Outcome(
        Completeness.PARTIAL, Reason.KUBECTL_FAILED, "kubectl ended with exit code 1; it said: error: no luck"
    )


@pytest.mark.parametrize("text", ["echo part; exec sleep 60", "echo part; exec >&-; exec sleep 60"])
async def test_a_kubectl_that_hangs_is_ended_and_is_worth_another_try(tmp_path: Path, text: str) -> None:
    async with asyncio.timeout(10):
        data, outcome, _ = await run(
            serving(POD), program(tmp_path / "kubectl", text), Limits(idle_seconds=0.3, total_seconds=5)
        )
    words = "kubectl printed nothing for 0.3 s, or was not done after 5 s; the API server or this replica is busy."
    assert (data, outcome) == (b"part\n", Outcome(Completeness.PARTIAL, Reason.KUBECTL_SLOW, words))
    assert Reason.KUBECTL_SLOW in INTERRUPTIONS


async def test_kubectl_gets_no_credentials_and_no_environment_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ninth-secret")
    data, outcome, _ = await run(serving(POD), program(tmp_path / "kubectl", 'env; echo "$@"'))
    lines = data.decode().splitlines()
    assert outcome.complete
    assert {line.partition("=")[0] for line in lines[:-1]} <= {
        "PATH",
        "KUBECONFIG",
        "TZ",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }
    assert lines[-1] == f"describe --namespace=shop --cache-dir={os.devnull} -- pod web-1"


async def test_the_windows_address_is_in_a_file_of_ours_that_goes_with_kubectl(tmp_path: Path) -> None:
    show = 'echo "$KUBECONFIG"; stat -c %a "$KUBECONFIG"; cat "$KUBECONFIG"'
    data, outcome, _ = await run(serving(POD), program(tmp_path / "kubectl", show))
    path, mode, config = data.decode().splitlines()
    assert outcome.complete
    assert mode == "600"
    assert json.loads(config)["clusters"][0]["cluster"]["server"].startswith("http://127.0.0.1:")
    assert "users" not in json.loads(config)
    assert not os.path.exists(path)  # noqa: ASYNC240, PTH110 - one look after everything has ended


async def test_the_window_shows_one_pod_and_its_events_and_nothing_else() -> None:
    async with ApiDouble(serving(POD)) as connection:
        window = Window(connection, "shop", "web-1")
        async with window.opened() as url, aiohttp.ClientSession() as stranger:

            async def status(path: str, method: str = "GET") -> int:
                async with stranger.request(method, path) as answer:
                    return answer.status

            assert await status(f"{url}/api/v1/namespaces/shop/pods/web-1") == 200
            assert await status(f"{url}/api/v1/namespaces/shop/pods/web-2") == 404
            assert await status(f"{url}/api/v1/namespaces/shop/secrets/db") == 404
            assert await status(f"{url}/api/v1/namespaces/shop/pods/web-1/../../secrets/db") == 404
            assert await status(f"{url}/api/v1/namespaces/shop/pods/web-1", "DELETE") == 405
            guess = url[: -len("0" * 64)] + "0" * 64
            assert await status(f"{guess}/api/v1/namespaces/shop/pods/web-1") == 404
        assert connection.requests == ["GET /api/v1/namespaces/shop/pods/web-1"]


OWN = "involvedObject.uid=u-1,involvedObject.name=web-1,involvedObject.namespace=shop"


@pytest.mark.parametrize(
    "selector",
    [
        None,
        "",
        "involvedObject.name=web-1",
        OWN.replace("web-1", "web-2"),
        OWN.replace("=shop", "=bank"),
        f"reason!=x\\,{OWN.replace(',', ',x')}",
        f"involvedObject.name=web-2,reason!=x\\,{OWN}",
    ],
)
async def test_the_window_shows_no_events_of_others(selector: str | None) -> None:
    query = {} if selector is None else {"fieldSelector": selector}
    async with ApiDouble(serving(POD)) as connection:
        window = Window(connection, "shop", "web-1")
        async with (
            window.opened() as url,
            aiohttp.ClientSession() as stranger,
            stranger.get(f"{url}/api/v1/namespaces/shop/events", params=query) as answer,
        ):
            assert answer.status == 502
        assert connection.requests == []
    assert window.trouble["events"].reason == Reason.REFUSED


async def test_of_a_query_the_window_passes_on_selector_limit_and_page() -> None:
    query = {"fieldSelector": OWN, "limit": "500", "continue": "next", "watch": "true", "labelSelector": "a=b"}
    async with ApiDouble(serving(POD)) as connection:
        async with Window(connection, "shop", "web-1").opened() as url, aiohttp.ClientSession() as stranger:
            async with stranger.get(f"{url}/api/v1/namespaces/shop/events", params=query) as answer:
                assert answer.status == 200
            async with stranger.get(f"{url}/api/v1/namespaces/shop/pods/web-1", params=query) as answer:
                assert answer.status == 200
        events, pod = [request.partition("?") for request in connection.requests]
    assert dict(parse_qsl(events[2])) == {
        "fieldSelector": f"{OWN},involvedObject.kind=Pod",
        "limit": "500",
        "continue": "next",
    }
    assert pod == ("GET /api/v1/namespaces/shop/pods/web-1", "", "")
