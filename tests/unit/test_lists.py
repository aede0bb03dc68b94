"""Lists that somebody filled: what is kept whole is bounded in all, what is reduced as it comes is not."""

import pytest

from fake_api import FakeApi
from firebreak.kube.errors import TooLarge
from harness import connect

FAT = "x" * 70_000  # a thousand are more than a list may have, and half of them, a page, are less


def fill(fake: FakeApi) -> None:
    for number in range(1000):
        metadata = {"name": f"c{number}", "namespace": "shop"}
        fake.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"fat": FAT}})


async def test_a_list_that_somebody_filled_is_refused_before_it_fills_the_memory(fake: FakeApi) -> None:
    fill(fake)
    async with connect(fake) as api:
        with pytest.raises(TooLarge, match="the list is longer than 64 MiB; somebody filled it"):
            await api.list_all("ConfigMap", "shop")


async def test_of_a_list_that_is_reduced_only_what_is_kept_counts(fake: FakeApi) -> None:
    fill(fake)
    async with connect(fake) as api:
        assert (
            len(await api.list_all("ConfigMap", "shop", keep=lambda found: {"name": found["metadata"]["name"]})) == 1000
        )
