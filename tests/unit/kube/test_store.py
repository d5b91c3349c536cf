import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kube.meta import Key, ObjectMeta
from kube.objects import Pod, PodSpec
from kube.store import Store


def a_pod(name: str, node: str = "", version: int = 0, namespace: str = "default") -> Pod:
    metadata = ObjectMeta(name=name, namespace=namespace, resource_version=str(version or ""))
    return Pod(metadata=metadata, spec=PodSpec(node_name=node))


def by_node() -> Store[Pod]:
    return Store({"node": lambda pod: [pod.spec.node_name] if pod.spec.node_name else []})


def test_an_index_follows_the_object() -> None:
    store = by_node()
    store.put(a_pod("a", "n1"))
    store.put(a_pod("b", "n1"))
    store.put(a_pod("a", "n2"))
    assert [pod.metadata.name for pod in store.by_index("node", "n1")] == ["b"]
    assert [pod.metadata.name for pod in store.by_index("node", "n2")] == ["a"]
    assert store.by_index("node", "never") == []


def test_an_unknown_index_is_a_mistake_and_not_an_empty_answer() -> None:
    with pytest.raises(KeyError):
        by_node().by_index("nod", "n1")


def test_namespaces_are_apart() -> None:
    store = by_node()
    store.put(a_pod("a", namespace="x"))
    store.put(a_pod("a", "n1", namespace="y"))
    assert store.get("a", "x") == a_pod("a", namespace="x")
    assert store.get("a") is None
    assert [pod.metadata.namespace for pod in store.list("y")] == ["y"]
    assert len(store.list()) == 2


def test_metrics_are_read_by_another_thread_while_objects_come_and_go() -> None:
    """Prometheus' scrapes are answered beside the event loop, which writes."""
    store = by_node()
    pods = [a_pod(f"p{at}", "n1") for at in range(200)]
    over, raised = threading.Event(), list[BaseException]()

    def scrape() -> None:
        try:
            while not over.is_set():
                store.by_index("node", "n1")
                store.list("default")
                store.list()
        except (RuntimeError, KeyError) as error:
            raised.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=scrape)
    try:
        thread.start()
        end = time.monotonic() + 0.7
        while time.monotonic() < end and not raised:
            for pod in pods:
                store.put(pod)
            for pod in pods:
                store.remove(pod.metadata.key)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)
    assert not raised


def test_replace_tells_the_deletes_and_keeps_what_did_not_change() -> None:
    store = by_node()
    same = a_pod("same", version=1)
    for pod in (same, a_pod("changed", version=2), a_pod("gone", version=3), a_pod("odd")):
        store.put(pod)
    changes = store.replace(
        [a_pod("same", version=1), a_pod("changed", version=9), a_pod("new", version=8)],
        keep=[Key("default", "odd")],
    )
    told = {
        (old.metadata.name if old else None, new.metadata.name if new else None)
        for old, new in changes
    }
    assert told == {("changed", "changed"), (None, "new"), ("gone", None)}
    assert store.get("same", "default") is same
    assert sorted(pod.metadata.name for pod in store.list()) == ["changed", "new", "odd", "same"]


def test_remove_tells_what_was_there() -> None:
    store = by_node()
    store.put(a_pod("a", "n1"))
    assert store.remove(Key("default", "a")) == a_pod("a", "n1")
    assert store.remove(Key("default", "a")) is None
    assert store.by_index("node", "n1") == []
    assert len(store) == 0


NAMES = st.sampled_from("abcd")
VALUES = st.lists(st.sampled_from("xyz"), max_size=3)


class StoreMachine(RuleBasedStateMachine):
    """Whatever happens, the store is a dict and each index what its function says of it."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Pod] = {}
        self.version = 0
        self.store: Store[Pod] = Store({"values": self.values})

    @staticmethod
    def values(pod: Pod) -> list[str]:
        return [value for value in pod.spec.node_name.split(",") if value]

    def made(self, name: str, values: list[str]) -> Pod:
        self.version += 1
        return a_pod(name, ",".join(values), self.version)

    @rule(name=NAMES, values=VALUES)
    def put(self, name: str, values: list[str]) -> None:
        pod = self.made(name, values)
        assert self.store.put(pod) == self.model.get(name)
        self.model[name] = pod

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        assert self.store.remove(Key("default", name)) == self.model.pop(name, None)

    @rule(content=st.dictionaries(NAMES, VALUES | st.none()), keep=st.sets(NAMES))
    def replace(self, content: dict[str, list[str] | None], keep: set[str]) -> None:
        before = dict(self.model)
        after: dict[str, Any] = {name: before[name] for name in keep & before.keys()}
        for name, values in content.items():
            unchanged = values is None and name in before
            after[name] = before[name] if unchanged else self.made(name, values or [])
        listed = [after[name] for name in content]
        changes = self.store.replace(listed, keep=[Key("default", name) for name in keep])
        told = {(old or new).metadata.name: (old, new) for old, new in changes}
        assert len(told) == len(changes)
        assert told == {
            name: (before.get(name), after.get(name))
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
        }
        self.model = after

    @invariant()
    def store_is_the_model(self) -> None:
        assert {pod.metadata.name: pod for pod in self.store.list()} == self.model

    @invariant()
    def index_is_its_function(self) -> None:
        for value in "xyz":
            found = {pod.metadata.name for pod in self.store.by_index("values", value)}
            assert found == {n for n, pod in self.model.items() if value in self.values(pod)}


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
