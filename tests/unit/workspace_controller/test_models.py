"""Models outside the catalogue: what is asked, what is kept, and what a round makes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging

import aiohttp
import msgspec
import pytest

from kube.errors import ForbiddenError
from kube.meta import Key, ObjectMeta
from kube.objects import Secret
from presets.fetch import AccessDeniedError, UnavailableError, UnknownRepositoryError
from presets.files import UnsupportedModelError
from presets.model import GIB, Model
from tests.builders import CATALOG, SMALL, a_config, a_workspace, a_world, settings
from tests.fakes.clock import FakeClock, settle
from workspace_controller.models import GOOD_SECONDS, ModelSource
from workspace_controller.workspace import models, sizing
from workspace_controller.workspace.models import (
    RESOLVED_ANNOTATION,
    Commit,
    Pending,
    Question,
    Refused,
)
from workspace_controller.workspace.plan import make_plan

NAME = "Someone/Fine-1B"
FINE = msgspec.structs.replace(
    SMALL, name="fine-1b", hf_id=NAME, revision="a" * 40, weights_bytes=3 * GIB
)
SETTINGS = settings()
TOKEN = "hf_verysecret"
COMMIT = "b" * 40


def asking(name: str = NAME, secret: str = "", **given):
    options = {"presetOptions": {"modelAccessSecret": secret}} if secret else {}
    return a_workspace(inference={"preset": {"name": name, **options}}, **given)


def remembering(model: Model, name: str = NAME, **given):
    return asking(name, annotations={RESOLVED_ANNOTATION: models.encode(model)}, **given)


# What a round makes of it.


@pytest.mark.parametrize(
    ("workspace", "expected"),
    [
        pytest.param(asking(), Question(NAME, "default"), id="unknown"),
        pytest.param(asking(secret="mine"), Question(NAME, "default", "mine"), id="with a Secret"),
        pytest.param(asking("small-1b"), None, id="in the catalogue"),
        pytest.param(asking("EXAMPLE/small-1b"), None, id="in the catalogue by its id"),
        pytest.param(asking("smal-1b"), None, id="no repository"),
        pytest.param(asking("a/b/c"), None, id="no name of one"),
        pytest.param(remembering(FINE), None, id="remembered"),
        pytest.param(remembering(FINE, "Other/M"), Question("Other/M", "default"), id="of another"),
        pytest.param(
            asking(annotations={RESOLVED_ANNOTATION: "{"}),
            Question(NAME, "default"),
            id="unreadable",
        ),
        pytest.param(
            asking(annotations={RESOLVED_ANNOTATION: '{"name": "x"}'}),
            Question(NAME, "default"),
            id="incomplete",
        ),
    ],
)
def test_what_must_be_asked(workspace, expected):
    assert models.question(workspace, CATALOG) == expected


def test_while_it_is_asked_for_nothing_is_made():
    plan = make_plan(asking(), a_world(model=Pending("asking", 60.0)), SETTINGS)
    assert plan.waits_for == "ModelDescriptionPending"
    assert (plan.create, plan.apply, plan.target_node_count) == ((), (), None)
    assert plan.look_again == 60
    (told,) = plan.conditions
    assert (told.type, told.status, told.reason) == (
        "ResourceReady",
        "False",
        "ModelDescriptionPending",
    )


def test_what_was_learnt_is_written_down_before_the_claim():
    plan = make_plan(asking(), a_world(model=FINE), SETTINGS)
    assert json.loads(plan.annotations[RESOLVED_ANNOTATION])["revision"] == "a" * 40
    assert [each["kind"] for each in plan.create] == ["NodeClaim"]


def test_what_is_written_down_is_not_written_again():
    plan = make_plan(remembering(FINE), a_world(), SETTINGS)
    assert RESOLVED_ANNOTATION not in plan.annotations
    assert [each["kind"] for each in plan.create] == ["NodeClaim"]


def test_a_later_release_that_knows_the_model_changes_nothing():
    workspace = remembering(msgspec.structs.replace(FINE, hf_id=SMALL.hf_id), SMALL.hf_id)
    assert models.model(workspace, None, CATALOG).weights_bytes == 3 * GIB


@pytest.mark.parametrize("name", ["Old/Name", "old/name "])
def test_a_renamed_repository_is_known_by_the_name_that_was_asked_for(name):
    renamed = msgspec.structs.replace(FINE, aliases=("old/name",))
    assert models.remembered(remembering(renamed, name)) == renamed


def test_a_refusal_names_the_field_and_looks_again():
    refused = Refused(models.SECRET_PATH, "must be set", 30.0)
    plan = make_plan(asking(), a_world(model=refused), SETTINGS)
    assert plan.blocked.reason == "InvalidPreset"
    assert plan.blocked.message == f"{models.SECRET_PATH}: must be set"
    assert plan.look_again == 30
    assert plan.create == ()


def test_who_does_not_ask_knows_the_catalogue_alone():
    plan = make_plan(asking(), a_world(), SETTINGS)
    assert plan.blocked.reason == "InvalidPreset"
    assert plan.look_again is None


def test_what_the_user_must_mend_is_said_before_anybody_is_asked():
    workspace = asking(instance_type="local-gpu-9")
    plan = make_plan(workspace, a_world(model=Pending("asking", 60.0)), SETTINGS)
    assert plan.blocked.reason == "InvalidInstanceType"


def test_the_rules_know_the_model_too():
    workspace = a_workspace(inference={"preset": {"name": NAME}, "config": "options"})
    seen = a_world(model=FINE, config=a_config("vllm:\n  max-model-len: 99999\n"))
    plan = make_plan(workspace, seen, SETTINGS)
    assert "32768" in plan.blocked.message
    gated = msgspec.structs.replace(FINE, auth_required=True)
    assert "is gated" in make_plan(asking(), a_world(model=gated), SETTINGS).blocked.message


@pytest.mark.parametrize("instance_type", ["local-gpu-1", "local-cpu-2"])
def test_a_gguf_repository_is_served_by_llamacpp_without_being_told_to(instance_type):
    gguf = msgspec.structs.replace(
        FINE, runtimes=("llamacpp",), quantization="gguf", weights_bytes=FINE.gguf_bytes
    )
    workspace = remembering(gguf, instance_type=instance_type)
    sized = sizing.size(workspace, a_world(), SETTINGS)
    assert sized.served.fit.engine == "llamacpp"
    assert make_plan(workspace, a_world(), SETTINGS).blocked is None


# Who is asked, and when.


class Hub:
    """Answers when `gate` is open, with what is in `says`: a model or an error."""

    endpoint = "https://hub.example"

    def __init__(self) -> None:
        self.says: Model | Exception = FINE
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def model(self, name: str, *, token: str = "") -> Model:
        self.asked.append((name, token))
        await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def commit(self, repository: str, *, token: str = "") -> str:
        await self.model(repository, token=token)
        return COMMIT

    async def close(self) -> None:
        self.closed = True


class Secrets:
    """The API server as far as it is asked: Secrets by name, or an error."""

    def __init__(self) -> None:
        self.found: dict[str, Secret | Exception] = {}
        self.reads = 0

    def put(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.found[name] = Secret(metadata=ObjectMeta(name=name), data=encoded)

    async def get(self, resource: object, name: str, namespace: str) -> Secret | None:
        self.reads += 1
        found = self.found.get(name)
        if isinstance(found, Exception):
            raise found
        return found


class World:
    def __init__(self, *, offline: bool = False) -> None:
        self.clock = FakeClock()
        self.hub = Hub()
        self.secrets = Secrets()
        self.woken: list[Key] = []
        client = self.secrets
        self.source = ModelSource(client, CATALOG, self.clock, self.hub, offline=offline)
        self.source.wake = self.woken.append

    async def answer(self, workspace=None):
        """What is known once everybody has had a turn."""
        self.source.ask(workspace or asking())
        await settle()
        return self.source.ask(workspace or asking())


@pytest.fixture
async def world():
    world = World()
    yield world
    await world.source.close()
    assert world.hub.closed


async def test_the_first_answer_is_that_it_is_asked(world):
    world.hub.gate.clear()
    answer = world.source.ask(asking())
    assert isinstance(answer, Pending)
    assert answer.message == f'asking hub.example what "{NAME}" is like'
    await settle()
    assert world.source.ask(asking()) == answer
    assert world.woken == []
    world.hub.gate.set()
    await settle()
    assert world.woken == [Key("default", "falcon")]
    assert world.source.ask(asking()) == FINE
    assert world.hub.asked == [(NAME, "")]


async def test_what_is_no_question_is_not_asked(world):
    assert await world.answer(asking("small-1b")) is None
    assert world.hub.asked == []


async def test_many_ask_one_is_sent_and_all_are_woken(world):
    world.hub.gate.clear()
    for name in ("one", "two"):
        world.source.ask(a_workspace(name=name, preset=NAME))
    await settle()
    world.hub.gate.set()
    await settle()
    assert len(world.hub.asked) == 1
    assert set(world.woken) == {Key("default", "one"), Key("default", "two")}


async def test_the_same_token_in_two_secrets_is_one_request(world):
    world.secrets.put("a", HF_TOKEN=TOKEN)
    world.secrets.put("b", HF_TOKEN=f"{TOKEN}\n")
    world.secrets.put("c", HF_TOKEN="hf_other")
    for secret in ("a", "b", "c"):
        assert await world.answer(asking(secret=secret)) == FINE
    assert world.hub.asked == [(NAME, TOKEN), (NAME, "hf_other")]


async def test_what_is_under_way_is_joined(world):
    world.hub.gate.clear()
    for secret in ("a", "b"):
        world.secrets.put(secret, HF_TOKEN=TOKEN)
        world.source.ask(asking(secret=secret))
    await settle()
    world.hub.gate.set()
    await settle()
    assert world.hub.asked == [(NAME, TOKEN)]
    assert world.source.ask(asking(secret="b")) == FINE


async def test_an_answer_lasts_a_while(world):
    await world.answer()
    world.clock.advance(GOOD_SECONDS - 1)
    await world.answer()
    assert len(world.hub.asked) == 1
    world.clock.advance(2)
    world.hub.gate.clear()
    assert isinstance(world.source.ask(asking()), Pending)
    await settle()
    assert len(world.hub.asked) == 2


async def test_silence_is_waited_out_with_longer_and_longer_pauses(world):
    world.hub.says = aiohttp.ServerDisconnectedError("cut off")
    pauses = []
    for _ in range(10):
        answer = await world.answer()
        assert isinstance(answer, Pending)
        pauses.append(answer.look_again)
        world.clock.advance(answer.look_again)
    assert "cannot learn" in answer.message
    assert "https://hub.example: cut off" in answer.message
    assert pauses[0] < 10
    assert pauses[-1] >= 150
    assert max(pauses) <= 300
    world.hub.says = FINE
    assert await world.answer() == FINE


async def test_nobody_is_asked_during_a_pause(world):
    world.hub.says = UnavailableError("503")
    answer = await world.answer()
    assert isinstance(answer, Pending)
    world.clock.advance(answer.look_again / 2)
    await world.answer()
    assert len(world.hub.asked) == 1


GATED = AccessDeniedError("401", gated=True)
PRIVATE = AccessDeniedError("401", gated=False)


@pytest.mark.parametrize(
    ("error", "secret", "path", "words"),
    [
        pytest.param(GATED, "", models.SECRET_PATH, "must be set: preset", id="gated"),
        pytest.param(PRIVATE, "", models.NAME_PATH, "no public model", id="private"),
        pytest.param(GATED, "absent", models.SECRET_PATH, "there is no Secret", id="no Secret"),
        pytest.param(GATED, "empty", models.SECRET_PATH, "no token under the key", id="no key"),
        pytest.param(GATED, "odd", models.SECRET_PATH, "no token under the key", id="no text"),
        pytest.param(GATED, "good", models.SECRET_PATH, "accept its licence", id="not accepted"),
        pytest.param(PRIVATE, "good", models.SECRET_PATH, "does not open", id="not allowed"),
        pytest.param(
            UnknownRepositoryError("has no model"), "", models.NAME_PATH, "has no", id="unknown"
        ),
        pytest.param(
            UnsupportedModelError("vLLM 0.32"), "", models.NAME_PATH, "vLLM", id="unsupported"
        ),
    ],
)
async def test_refusals(error, secret, path, words, world):
    world.secrets.put("good", HF_TOKEN=TOKEN)
    world.secrets.put("empty", OTHER="x")
    world.secrets.put("odd", HF_TOKEN="\u00e9")
    world.hub.says = error
    answer = await world.answer(asking(secret=secret))
    assert isinstance(answer, Refused)
    assert answer.path == path
    assert words in answer.message
    assert 0 < answer.look_again <= 60


async def test_a_public_model_needs_no_secret_even_where_one_is_named(world):
    assert await world.answer(asking(secret="absent")) == FINE


async def test_a_refusal_stands_until_the_next_answer(world):
    world.hub.says = GATED
    refused = await world.answer(asking(secret="mine"))
    world.clock.advance(refused.look_again)
    world.secrets.put("mine", HF_TOKEN=TOKEN)
    world.hub.says = FINE
    assert world.source.ask(asking(secret="mine")) == refused
    await settle()
    assert world.source.ask(asking(secret="mine")) == FINE
    assert world.woken[-1] == Key("default", "falcon")


async def test_a_secret_that_may_not_be_read_is_waited_for(world):
    world.secrets.found["mine"] = ForbiddenError(403, "Forbidden", "no such right")
    answer = await world.answer(asking(secret="mine"))
    assert isinstance(answer, Pending)
    assert world.hub.asked == []


async def test_the_token_is_neither_kept_nor_told(world, caplog):
    caplog.set_level(logging.DEBUG)
    world.secrets.put("mine", HF_TOKEN=TOKEN)
    world.hub.says = GATED
    refused = await world.answer(asking(secret="mine"))
    world.hub.says = aiohttp.ClientError("gone")
    world.clock.advance(refused.look_again)
    await world.answer(asking(secret="mine"))
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(refused)
    world.hub.says = FINE
    world.clock.advance(GOOD_SECONDS)
    assert await world.answer(asking(secret="mine")) == FINE
    assert TOKEN not in repr(vars(world.source))
    assert world.secrets.reads == 3


async def test_what_is_under_way_ends_with_the_source(world):
    world.hub.gate.clear()
    world.source.ask(asking())
    await settle()
    running = asyncio.create_task(world.source.run())
    await settle()
    world.source.stop()
    await asyncio.wait_for(running, 1)
    assert world.hub.closed
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_who_has_stopped_begins_nothing(world):
    world.source.stop()
    assert isinstance(await world.answer(), Pending)
    assert world.hub.asked == []


async def test_a_whole_cluster_does_not_ask_all_at_once(world):
    world.hub.gate.clear()
    for number in range(40):
        world.source.ask(asking(f"Someone/Fine-{number}"))
    await settle()
    assert len(world.hub.asked) == 16
    world.hub.gate.set()
    await settle()
    assert len(world.hub.asked) == 40


# Commits of what the catalogue has.


async def test_a_preset_that_the_catalogue_has_not_pinned_is_asked_for_its_commit(world):
    named = [a_workspace(name=name) for name in ("one", "two")]
    world.hub.gate.clear()
    answer = world.source.ask_commit(named[0])
    assert isinstance(answer, Pending)
    assert answer.message == 'asking hub.example which commit "example/Small-1B" is at'
    world.source.ask_commit(named[1])
    await settle()
    world.hub.gate.set()
    await settle()
    assert world.source.ask_commit(named[0]) == Commit(COMMIT)
    assert world.hub.asked == [("example/Small-1B", "")]
    assert set(world.woken) == {Key("default", "one"), Key("default", "two")}


async def test_a_commit_is_asked_for_with_the_token(world):
    world.secrets.put("mine", HF_TOKEN=TOKEN)
    world.source.ask_commit(asking("gated-1b", secret="mine"))
    await settle()
    assert world.hub.asked == [("example/Gated-1B", TOKEN)]


async def test_an_old_refusal_of_a_commit_is_not_taken_for_an_answer(world):
    world.hub.says = GATED
    world.source.ask_commit(a_workspace())
    await settle()
    assert isinstance(world.source.ask_commit(a_workspace()), Refused)
    world.clock.advance(600)
    assert isinstance(world.source.ask_commit(a_workspace()), Pending)


async def test_who_is_offline_asks_nobody():
    world = World(offline=True)
    answer = await world.answer()
    assert isinstance(answer, Refused)
    assert "HF_HUB_OFFLINE" in answer.message
    assert world.source.ask_commit(a_workspace()) is None
    assert world.hub.asked == []
    await world.source.close()
