"""A registry is pushed to and pulled from: what is asked, what is sent, and what goes wrong."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest

from oci import download, files, upload, web
from oci.connection import Connection
from oci.credentials import NONE, Credentials, Entry
from oci.errors import (
    AccessDeniedError,
    NotFoundError,
    PushRefusedError,
    TransferError,
    UnreachableError,
)
from oci.image import Image
from oci.layers import Layer, bytes_layer, file_layer, tar_layer
from oci.progress import Progress
from oci.reference import Reference
from oci.registry import Registry
from oci.web import ATTEMPTS, SameHost, Web
from tests.fakes.registry import Registry as Fake


@pytest.fixture
def fake() -> Iterator[Fake]:
    found = Fake()
    with found.running():
        yield found


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CHUNK", 1000)


def opened(fake: Fake, *given: Credentials, wanted: str = "v1") -> Registry:
    mark = "@" if ":" in wanted else ":"
    reference = Reference.parse(f"{fake.host}/{fake.name}{mark}{wanted}")
    return Registry(reference, *(given or (NONE,)), Web(sleep=lambda _: None))


def login(fake: Fake, *users: str) -> Credentials:
    """With the password `pass`."""
    return Credentials(
        tuple(Entry(fake.host, base64.b64encode(f"{u}:pass".encode()).decode()) for u in users)
    )


def an_image(*contents: bytes, **more: object) -> Image:
    layers = [bytes_layer(each, "application/octet-stream") for each in contents]
    return Image(layers, {}, **more)  # type: ignore[arg-type]


SMALL, LARGE = an_image(b"s" * 10), an_image(bytes(range(256)) * 10)
BLOB = LARGE.layers[0]


def test_what_is_pushed_is_pulled(fake: Fake) -> None:
    assert opened(fake).push(LARGE) == LARGE.digest
    assert fake.tags == {"v1": LARGE.digest}
    assert opened(fake).pull_manifest() == LARGE.manifest
    assert fake.blobs[BLOB.digest] == bytes(range(256)) * 10
    assert fake.unfinished == 0


def test_a_large_blob_goes_in_chunks_and_a_small_one_at_once(fake: Fake) -> None:
    sent: list[int] = []
    opened(fake).push(LARGE, sent=sent.append)
    assert sum(count for what, count in fake.did.items() if what.startswith("PATCH")) == 2
    assert sum(sent) == fake.received == sum(each.size for each in LARGE.blobs)
    patches = sum(fake.did.values())
    opened(fake).push(SMALL, "v2")
    assert not [what for what in list(fake.did)[patches:] if what.startswith("PATCH")]


def test_a_registry_that_takes_no_chunks_gets_it_at_once(fake: Fake) -> None:
    fake.takes_chunks = False
    opened(fake).push(LARGE)
    assert fake.blobs[BLOB.digest] == bytes(range(256)) * 10


def test_what_is_there_is_not_sent_again(fake: Fake) -> None:
    opened(fake).push(an_image(b"base", b"old"), "v1")
    received = fake.received
    new = an_image(b"base", b"newer")
    opened(fake).push(new, "v2")
    assert fake.received == received + len(b"newer") + new.config_layer.size
    assert set(fake.tags) == {"v1", "v2"}


def test_a_blob_of_another_repository_is_mounted(fake: Fake) -> None:
    fake.elsewhere["models/base"] = {BLOB.digest: bytes(range(256)) * 10}
    opened(fake).push(LARGE, mount_from="models/base")
    assert fake.received == LARGE.config_layer.size
    assert BLOB.digest in fake.blobs


def test_a_chunk_that_is_cut_is_sent_again_and_no_other(fake: Fake) -> None:
    session = f"PATCH /v2/{fake.name}/blobs/uploads/2"
    fake.cut[session] = 400
    fake.busy[session] = 0
    opened(fake).push(LARGE)
    assert fake.blobs[BLOB.digest] == bytes(range(256)) * 10
    assert fake.did[session] == 3, "two chunks, one of them twice"
    assert fake.asked[f"/v2/{fake.name}/blobs/uploads/2"] == 1, "nobody asked how far it is"


def test_a_busy_registry_is_asked_again_and_given_up_in_the_end(fake: Fake) -> None:
    fake.busy[f"PUT /v2/{fake.name}/manifests/v1"] = ATTEMPTS - 1
    opened(fake).push(SMALL)
    fake.busy[f"PUT /v2/{fake.name}/manifests/v1"] = ATTEMPTS
    with pytest.raises(UnreachableError, match="answers 503"):
        opened(fake).push(SMALL)


def test_an_upload_that_the_registry_forgot_is_begun_anew(fake: Fake, monkeypatch) -> None:
    took = fake._upload
    forgotten: list[str] = []

    def forget(method: str, session: str, *rest: object):
        if method == "PATCH" and not forgotten:
            forgotten.append(session)
            fake._uploads.clear()
        return took(method, session, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fake, "_upload", forget)
    opened(fake).push(LARGE)
    assert forgotten
    assert BLOB.digest in fake.blobs


# --- who may ------------------------------------------------------------------------------------


def test_push_access_is_asked_for_before_anything_is_made(fake: Fake) -> None:
    opened(fake).check_push()
    assert (fake.unfinished, fake.received, fake.blobs) == (0, 0, {})
    assert fake.scopes == ["repository:models/falcon:pull,push"]


@pytest.mark.parametrize("known", [False, True])
def test_a_refused_push_says_what_to_do(known: bool) -> None:
    fake = Fake(user="me", password="pass")
    fake.writable = False
    given = login(fake, "me") if known else NONE
    with fake.running():
        given = login(fake, "me") if known else NONE
        with pytest.raises(PushRefusedError) as refusal:
            opened(fake, given).check_push()
        with pytest.raises(PushRefusedError):
            opened(fake, given).push(SMALL)
    said = str(refusal.value)
    assert "requested access is denied" in said
    assert ("do not allow to push" if known else "give credentials") in said
    assert fake.manifests == {}


def test_credentials_are_tried_in_their_order_and_none_at_last() -> None:
    fake = Fake(user="me", password="pass")
    with fake.running():
        opened(fake, login(fake, "me")).push(SMALL)
        fake.headers.clear()
        assert opened(fake, login(fake, "stranger", "me")).pull_manifest() == SMALL.manifest
        with pytest.raises(AccessDeniedError, match="the pull secret does not open it"):
            opened(fake, login(fake, "stranger")).pull_manifest()
        with pytest.raises(AccessDeniedError, match="give credentials for it"):
            opened(fake).pull_manifest()
    shown = [headers.get("Authorization", "") for headers in fake.headers["/token"]]
    assert shown[:2] == [each for each in login(fake, "stranger", "me").basic(fake.host, "")]


def test_a_public_image_needs_no_working_secret(fake: Fake) -> None:
    """As with every other client: what is open to all is open to a stranger, too."""
    opened(fake).push(SMALL)
    assert opened(fake, login(fake, "stranger")).pull_manifest() == SMALL.manifest


def test_a_token_that_ends_in_the_midst_is_asked_for_anew(fake: Fake, tmp_path: Path) -> None:
    registry = opened(fake)
    registry.push(LARGE)
    (layer,) = registry.layers()
    blob = registry.pull_blob(layer)
    answered, allows = [], fake._allows

    def once_no_more(action: str, headers) -> bool:
        answered.append(action)
        return len(answered) > 1 and allows(action, headers)

    fake._allows = once_no_more  # type: ignore[method-assign]
    download.fetch([blob], tmp_path, Web(sleep=lambda _: None))
    assert (tmp_path / blob.key).read_bytes() == bytes(range(256)) * 10


def test_what_is_not_there_is_named(fake: Fake) -> None:
    with pytest.raises(NotFoundError, match=f"has no {fake.name}:v9"):
        opened(fake, wanted="v9").pull_manifest()


# --- what is told about an image ----------------------------------------------------------------


@pytest.mark.parametrize("lists", [True, False], ids=["by its list", "by a tag"])
def test_referrers_are_found(fake: Fake, lists: bool) -> None:
    fake.lists_referrers = lists
    registry = opened(fake)
    registry.push(SMALL)
    for text in (b"one", b"two", b"two"):
        note = an_image(text, subject={"digest": SMALL.digest}, artifact_type="a/b")
        registry.push(note)
    found = registry.referrers(SMALL.digest)
    assert len(found) == 2
    assert {each["artifactType"] for each in found} == {"a/b"}
    assert ("sha256-" in "".join(fake.tags)) is not lists
    assert fake.tags["v1"] == SMALL.digest


# --- files --------------------------------------------------------------------------------------


def test_the_files_of_an_image_and_of_an_artifact_come_alike(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "given/sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (tmp_path / "given" / name).write_text(name)
    given = {name: tmp_path / "given" / name for name in ("a", "sub/b")}
    layers: list[Layer] = [file_layer(path, "text/plain", name) for name, path in given.items()]
    opened(fake).push(Image([tar_layer(given)], {}), "image")
    opened(fake).push(Image(layers, artifact_type="a/b"), "artifact")
    for tag in ("image", "artifact"):
        folder = tmp_path / tag
        files.pull(opened(fake, wanted=tag), folder, Web(sleep=lambda _: None))
        found = {
            p.relative_to(folder).as_posix(): p.read_text()
            for p in folder.rglob("*")
            if p.is_file()
        }
        assert found == {"a": "a", "sub/b": "sub/b"}


def test_a_damaged_blob_is_not_taken(fake: Fake, tmp_path: Path) -> None:
    opened(fake).push(SMALL)
    layer = json.loads(SMALL.manifest)["layers"][0]
    fake.blobs[layer["digest"]] = b"t" * 10
    with pytest.raises(TransferError, match="something else than"):
        opened(fake).pull_small(layer)
    with pytest.raises(TransferError, match="arrives damaged"):
        files.pull(opened(fake), tmp_path / "f", Web(sleep=lambda _: None))


def test_what_a_registry_sends_us_to_is_shown_no_token(fake: Fake) -> None:
    """Uploads may go to storage on another host."""
    reference = Reference.parse(f"{fake.host}/{fake.name}:v1")
    connection = Connection(reference, NONE, Web(sleep=lambda _: None))
    connection.ask("POST", f"{reference.url}/blobs/uploads/", {}, b"")
    assert connection.authorized(f"{reference.url}/x", dict)["Authorization"]
    assert connection.authorized("http://storage.example/x", dict) == {}
    assert connection.authorized(reference.url.replace("http:", "https:"), dict) == {}


def test_a_redirected_question_stays_one() -> None:
    """Else the answer to whether a blob is there would be the blob."""
    asked = urllib.request.Request("https://r.example/a", method="HEAD")
    target = "https://storage.example/b"
    found = SameHost().redirect_request(asked, io.BytesIO(), 307, "", Message(), target)
    assert found is not None
    assert found.get_method() == "HEAD"


def test_an_endless_answer_is_not_kept(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = opened(fake).push(an_image(b"x", annotations={"long": "x" * 2000}))
    monkeypatch.setattr(web, "LARGEST_BYTES", 2000)
    with pytest.raises(TransferError, match=r"manifests/sha256:\w+ answers with more than"):
        opened(fake, wanted=pushed).pull_manifest()


def test_a_manifest_that_is_cut_is_asked_for_again(fake: Fake) -> None:
    pushed = opened(fake).push(an_image(b"x"))
    path = f"/v2/{fake.name}/manifests/{pushed}"
    fake.cut[path] = 5
    assert opened(fake, wanted=pushed).pull_manifest()
    assert fake.asked[path] == 3, "without a token, cut, whole"


def test_a_blob_that_does_not_end_fills_no_disk(fake: Fake, tmp_path: Path) -> None:
    image = an_image(b"x" * 100_000)
    opened(fake).push(image)
    blob = replace(opened(fake).pull_blob(image.layers[0].descriptor()), size=10)
    with pytest.raises(TransferError, match="arrives damaged"):
        download.fetch([blob], tmp_path, Web(sleep=lambda _: None))
    assert not list(tmp_path.iterdir())


def test_no_more_than_a_byte_too_much_is_written() -> None:
    file, progress = io.BytesIO(), Progress(10, 0, lambda _: None)
    download._copy(io.BytesIO(b"x" * 1000), file, progress, 10)
    assert len(file.getvalue()) == 11
