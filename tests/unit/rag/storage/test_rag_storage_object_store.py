"""Snapshots in an object store: complete ones come back, and nothing waits for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rag.errors import StorageError
from rag.storage.settings import StorageSettings
from rag.storage.store import LocalStore

from tests.unit.rag.storage.samples import ONE, a_batch, a_document, eventually, held, open_store

NEVER = 3600.0


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


def opened(directory: Path, bucket: Path, quiet: float = NEVER, **settings: float) -> LocalStore:
    return open_store(
        directory,
        object_store_url=f"file://{bucket}",
        upload_quiet=quiet,
        **{"upload_every": NEVER, **settings},
    )


def snapshots(bucket: Path) -> list[Path]:
    return sorted(each.parent for each in bucket.glob("snapshots/*/metadata.json"))


def put(store: LocalStore, name: str, *doc_ids: str) -> None:
    index = store.create(name, ONE.spec)
    index.apply(a_batch(*(a_document(each, f"text {each}") for each in doc_ids)))


def test_a_clean_stop_uploads_and_an_empty_directory_is_filled(
    tmp_path: Path, bucket: Path
) -> None:
    store = opened(tmp_path / "one", bucket)
    put(store, "docs", "a", "b")
    put(store, "Other", "c")
    store.close()
    assert len(snapshots(bucket)) == 1

    store = opened(tmp_path / "two", bucket)
    assert set(held(store, "docs")) == {"a", "b"}
    assert set(held(store, "Other")) == {"c"}
    put(store, "docs", "d")
    store.close()
    store = opened(tmp_path / "three", bucket)
    assert set(held(store, "docs")) == {"a", "b", "d"}
    store.close()
    assert not [each for each in (tmp_path / "three").iterdir() if "upload" in each.name]


def test_after_a_quiet_while_it_is_uploaded(tmp_path: Path, bucket: Path) -> None:
    store = opened(tmp_path / "one", bucket, quiet=0.05)
    put(store, "docs", "a")

    eventually(lambda: len(snapshots(bucket)) >= 1 and _has(bucket, "docs"))
    store.close()


def test_though_writes_go_on_it_is_uploaded_now_and_then(tmp_path: Path, bucket: Path) -> None:
    store = opened(tmp_path / "one", bucket, upload_every=0.1)
    put(store, "docs", "a")

    eventually(lambda: _has(bucket, "docs"))
    store.close()


def test_what_is_there_already_is_not_uploaded_again(tmp_path: Path, bucket: Path) -> None:
    store = opened(tmp_path / "one", bucket)
    put(store, "docs", "a")
    put(store, "still", "b")
    store.close()
    opened(tmp_path / "one", bucket).close()
    assert len(snapshots(bucket)) == 1

    store = opened(tmp_path / "one", bucket)
    put(store, "docs", "c")
    store.close()
    assert len(snapshots(bucket)) == 2
    assert len(list(bucket.glob("data/*"))) == 3


def test_a_directory_that_has_something_is_not_overwritten(tmp_path: Path, bucket: Path) -> None:
    store = opened(tmp_path / "one", bucket)
    put(store, "docs", "a")
    store.close()
    store = open_store(tmp_path / "two")
    put(store, "docs", "mine")
    store.close()

    store = opened(tmp_path / "two", bucket)

    assert set(held(store, "docs")) == {"mine"}
    store.close()


def test_what_was_dropped_before_the_upload_stays_dropped(tmp_path: Path, bucket: Path) -> None:
    store = opened(tmp_path / "one", bucket)
    put(store, "docs", "a")
    put(store, "gone", "b")
    store.close()
    store = opened(tmp_path / "one", bucket)
    store.drop("gone")
    store.close()

    store = opened(tmp_path / "two", bucket)

    assert store.names() == ["docs"]
    store.close()


def no_metadata(snapshot: Path, data: Path) -> None:
    (snapshot / "metadata.json").unlink()


def torn_metadata(snapshot: Path, data: Path) -> None:
    (snapshot / "metadata.json").write_text("{")


def later_format(snapshot: Path, data: Path) -> None:
    content = json.loads((snapshot / "metadata.json").read_text())
    (snapshot / "metadata.json").write_text(json.dumps(content | {"format": 2}))


def no_data(snapshot: Path, data: Path) -> None:
    data.unlink()


def torn_data(snapshot: Path, data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [no_metadata, torn_metadata, later_format, no_data, torn_data])
def test_the_newest_whole_snapshot_is_taken(
    tmp_path: Path, bucket: Path, damage: Callable[[Path, Path], None]
) -> None:
    for doc_id in "ab":
        store = opened(tmp_path / "one", bucket)
        put(store, "docs", doc_id)
        store.close()
    newest = snapshots(bucket)[-1]
    (of,) = json.loads((newest / "metadata.json").read_text())["indexes"]
    damage(newest, bucket / "data" / f"{of['sha256']}.db")

    store = opened(tmp_path / "two", bucket)

    assert set(held(store, "docs")) == {"a"}
    store.close()


def test_where_no_snapshot_is_whole_nothing_begins(tmp_path: Path, bucket: Path) -> None:
    """Else an empty service would push them out."""
    store = opened(tmp_path / "one", bucket)
    put(store, "docs", "a")
    store.close()
    torn_metadata(snapshots(bucket)[0], bucket)

    for _ in range(2):
        with pytest.raises(StorageError, match="can be used"):
            opened(tmp_path / "two", bucket)


def test_five_are_kept_with_what_they_need(tmp_path: Path, bucket: Path) -> None:
    for number in range(7):
        store = opened(tmp_path / "one", bucket)
        put(store, "docs", f"d{number}")
        store.close()

    assert len(snapshots(bucket)) == 5
    assert len(list(bucket.glob("data/*"))) == 5
    store = opened(tmp_path / "two", bucket)
    assert len(held(store, "docs")) == 7
    store.close()


def test_an_upload_that_fails_is_told_and_delays_no_write(tmp_path: Path, bucket: Path) -> None:
    seen: list[bool] = []
    settings = StorageSettings(
        tmp_path / "one", f"file://{bucket}", upload_quiet=0.02, upload_every=NEVER
    )
    store = LocalStore.open(
        settings, ONE.spec, ONE.embed, observe_upload=lambda ok, seconds: seen.append(ok)
    )
    shutil.rmtree(bucket, ignore_errors=True)
    bucket.write_text("in the way")

    put(store, "docs", "a")
    eventually(lambda: False in seen)
    assert "not uploaded" in store.problems[0]
    put(store, "docs", "b")
    assert set(held(store, "docs")) == {"a", "b"}

    bucket.unlink()
    bucket.mkdir()
    eventually(lambda: seen[-1] and _has(bucket, "docs"))
    assert store.problems == ()
    store.close()


def test_a_store_that_cannot_be_reached_fails_the_first_start(tmp_path: Path) -> None:
    for url in ("nowhere://x", "s3://"):
        with pytest.raises(StorageError):
            open_store(tmp_path / "one", object_store_url=url)


def test_two_that_upload_to_one_place_are_told(tmp_path: Path, bucket: Path) -> None:
    one = opened(tmp_path / "one", bucket)
    two = opened(tmp_path / "two", bucket)
    put(one, "docs", "a")
    one.close()
    put(two, "docs", "b")
    two.close()

    assert "Another process uploaded" in two.problems[0]


def test_who_goes_on_with_its_own_files_has_not_been_overtaken(
    tmp_path: Path, bucket: Path
) -> None:
    for name in ("a", "b"):
        store = opened(tmp_path / "one", bucket)
        put(store, "docs", name)
        store.close()
        assert store.problems == ()
    assert len(snapshots(bucket)) == 2


def _has(bucket: Path, name: str) -> bool:
    found = snapshots(bucket)
    if not found:
        return False
    content = json.loads((found[-1] / "metadata.json").read_text())
    return any(each["name"] == name and each["documents"] for each in content["indexes"])
