"""A result and its checkpoints in a registry: pushed, pulled again, refused."""

from __future__ import annotations

import io
import json
import shutil
import signal
import tarfile
from collections.abc import Callable, Iterator

import pytest

from apis import reports
from tests.engines.tuning.conftest import Lab
from tests.fakes.registry import Registry

pytestmark = pytest.mark.timeout(180)

NAME = "team/adapter"


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry(NAME, user="me", password="secret")
    with found.running():
        yield found


@pytest.fixture
def make_pushing(make_lab: Callable[..., Lab], registry: Registry) -> Callable[..., Lab]:
    """Labs with a Secret that opens the registry."""

    def make(name: str = "one") -> Lab:
        lab = make_lab(name)
        lab.environment["KAITO_TUNING_OUTPUT"] = f"{registry.host}/{NAME}:v1"
        auths = {registry.host: {"username": "me", "password": "secret"}}
        (lab.place / "push/config.json").write_text(json.dumps({"auths": auths}))
        return lab

    return make


def files(registry: Registry, tag: str) -> dict[str, bytes]:
    """What a container runtime would unpack."""
    manifest = json.loads(registry.manifests[registry.tags[tag]])
    found: dict[str, bytes] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(registry.blobs[layer["digest"]])) as tar:
            for member in tar.getmembers():
                if member.isfile():
                    content = tar.extractfile(member)
                    assert content is not None
                    found[member.name] = content.read()
    return found


def test_the_image_holds_the_adapter_under_data_and_the_same_work_gives_the_same_digest(
    make_pushing: Callable[..., Lab], registry: Registry
) -> None:
    one, two = make_pushing("one"), make_pushing("two")
    first = one.tune()
    assert first.code == 0, first.log
    digest = registry.tags["v1"]
    assert first.result.output == f"{registry.host}/{NAME}@{digest}"
    pushed = files(registry, "v1")
    assert pushed == {
        f"data/{path.name}": path.read_bytes()
        for path in one.output.iterdir()
        if path.name != "fine_tuning_completed.txt"
    }
    annotations = json.loads(registry.manifests[digest])["annotations"]
    assert annotations["sh.kaito.model.name"] == "adapter"
    assert annotations["sh.kaito.tuning.base-model"] == "tiny"
    assert float(annotations["sh.kaito.tuning.eval-loss"]) == pytest.approx(
        first.result.eval_loss, rel=1e-4
    )
    assert "kaito_checkpoint.json" in str(list(files(registry, "v1-checkpoint")))
    # As another pod on another node, without the checkpoint.
    registry.tags.clear()
    assert two.tune().result.output == first.result.output


def test_a_pod_on_an_empty_disk_goes_on_from_the_pushed_checkpoint(
    make_pushing: Callable[..., Lab], make_lab: Callable[..., Lab], registry: Registry
) -> None:
    whole, lab = make_lab("whole"), make_pushing("lab")
    for each in (whole, lab):
        each.configure(
            TrainingArguments={"save_strategy": "steps", "save_steps": 3, "max_steps": 18}
        )
    assert whole.tune().code == 0
    ended = lab.stop(lab.start(), signal.SIGTERM, lambda: bool(lab.checkpoints()))
    assert ended.code == reports.EXIT_INTERRUPTED, ended.log
    shutil.rmtree(lab.output)
    ended = lab.tune()
    assert ended.code == 0, ended.log
    assert ended.result.resumed_from >= 3
    assert lab.adapter() == whole.adapter()


def test_a_registry_that_takes_nothing_is_known_before_the_work(
    make_pushing: Callable[..., Lab], registry: Registry
) -> None:
    registry.writable = False
    ended = make_pushing().check()
    assert ended.code == reports.EXIT_PUSH_REFUSED, ended.log
    assert "tuning.output.image" in ended.message
    assert "secret" not in ended.log


def test_a_push_refused_at_the_end_keeps_the_result_and_is_made_up_for(
    make_pushing: Callable[..., Lab], registry: Registry
) -> None:
    lab = make_pushing()
    registry.writable = False
    ended = lab.tune()
    assert ended.code == reports.EXIT_PUSH_REFUSED, ended.log
    assert f"the result is kept in {lab.output}" in ended.message
    assert lab.adapter()
    registry.writable = True
    again = lab.tune()
    assert again.code == 0, again.log
    assert again.result.resumed_from == 24
    assert "v1" in registry.tags
