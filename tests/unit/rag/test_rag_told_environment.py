"""What a RAGEngine's container is told, against what its service reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rag import environment as service_environment
from rag.variables import Variable

from apis.kaito import objectstores
from kube.meta import Manifest
from tests import ragengines
from tests.unit.workspace_controller.test_ragengine_manifests import (
    CASES,
    REMOTE,
    SETTINGS,
    manifests,
)
from workspace_controller.manifests import ragenvironment
from workspace_controller.settings import Settings

VARIABLES = tuple(
    each
    for table in vars(service_environment).values()
    if isinstance(table, tuple)
    for each in table
    if isinstance(each, Variable)
)


def pod(given: dict[str, Any], seen: dict[str, Any], settings: Settings) -> Manifest:
    (found,) = (
        each["spec"]["template"]["spec"]
        for each in manifests(given, seen, settings)
        if each["kind"] == "Deployment"
    )
    return found


@pytest.mark.parametrize(("name", "given", "seen", "settings"), CASES)
def test_the_service_reads_whatever_it_is_told(
    name: str, given: dict[str, Any], seen: dict[str, Any], settings: Settings
) -> None:
    read = {said for each in VARIABLES for said in (each.name, *each.also)}
    told = {each["name"] for each in pod(given, seen, settings)["containers"][0]["env"]}
    of_store = {key for keys in objectstores.KEYS.values() for key in keys}
    assert told - read - of_store == {"POD_NAME", "POD_UID"}, name
    assert bool(told & of_store) == (name == "object-store")


def test_engines_on_one_database_do_not_share_indexes() -> None:
    told = set()
    for namespace in ("default", "other"):
        for own in ("docs", "notes"):
            engine = ragengines.an_engine(**{**REMOTE, "name": own})
            meta = msgspec.structs.replace(engine.metadata, namespace=namespace)
            engine = engine.model_copy(update={"metadata": meta})
            found = ragenvironment.variables(engine, SETTINGS)
            told |= {each["value"] for each in found if each["name"] == "RAG_QDRANT_PREFIX"}
    assert told == {
        f"kaito-rag.{namespace}.{own}."
        for namespace in ("default", "other")
        for own in ("docs", "notes")
    }


def test_engines_in_one_bucket_do_not_share_snapshots() -> None:
    """Each prunes what it does not know, and manifests are copied."""
    told = set()
    for own in ("docs", "notes"):
        annotations = {"kaito.sh/rag-object-store": "s3://bucket/all/"}
        engine = ragengines.an_engine(name=own, annotations=annotations)
        found = ragenvironment.variables(engine, SETTINGS)
        told |= {each["value"] for each in found if each["name"] == "RAG_OBJECT_STORE_URL"}
    assert told == {"s3://bucket/all/default/docs", "s3://bucket/all/default/notes"}


def test_the_end_of_a_pod_leaves_time_to_close_its_files() -> None:
    """Withdrawn, still taking requests, draining: and then indexes are written and uploaded."""
    given = {each.name: each.default for each in VARIABLES}
    found = pod({}, {}, SETTINGS)
    (container,) = found["containers"]
    pause = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    withdrawn = int(pause.partition("sleep(")[2].rstrip(")"))
    serving = float(given["RAG_STOP_DELAY_SECONDS"]) + float(given["RAG_DRAIN_SECONDS"])
    assert withdrawn + serving + 10 <= found["terminationGracePeriodSeconds"]
