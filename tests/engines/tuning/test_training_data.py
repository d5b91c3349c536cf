"""Data of every kind and format as rows to train with; and what is said of data that is wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LOCK = "images/tuning/requirements-cpu.lock"

Read = Callable[..., dict[str, Any]]
Row = Mapping[str, Any]

ROWS = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(20)]
TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


class Reader:
    """A process of the image's environment."""

    def __init__(self, python: Path, environment: Mapping[str, str]) -> None:
        self.python, self.environment = python, environment
        self._process = subprocess.Popen(
            [str(python), str(HERE / "reader.py")],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the reader has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def run(self, program: str, *arguments: str) -> None:
        """For files that only the image's libraries write."""
        subprocess.run(
            [str(self.python), "-c", program, *arguments], env=dict(self.environment), check=True
        )


@pytest.fixture(scope="module")
def reader(python_of: Callable[[str], Path], image_environment: dict[str, str]) -> Iterator[Reader]:
    found = Reader(python_of(LOCK), image_environment)
    yield found
    found.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def read(reader: Reader, data: Path, tmp_path: Path) -> Read:
    def ask(*, template: bool = True, **options: Any) -> dict[str, Any]:
        given = {"shuffle": False, "train_share": 1.0, **options}
        return reader.ask(
            folder=str(data), options=given, template=template, scratch=str(tmp_path / "scratch")
        )

    return ask


def jsonl(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def separated(rows: Sequence[Row], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("d.jsonl", jsonl(ROWS).encode(), id="jsonl"),
        pytest.param("D.JSONL", jsonl(ROWS).encode(), id="upper case"),
        pytest.param("d.ndjson", ("\n" + jsonl(ROWS)).encode(), id="blank lines"),
        pytest.param("d.json", json.dumps(ROWS, indent=1).encode(), id="array"),
        pytest.param("d.json", jsonl(ROWS).encode(), id="lines in a json"),
        pytest.param("d.json", json.dumps({"version": 1, "data": ROWS}).encode(), id="object"),
        pytest.param("d.csv", b"\xef\xbb\xbf" + separated(ROWS, ",").encode(), id="csv"),
        pytest.param("d.tsv", separated(ROWS, "\t").encode(), id="tsv"),
        pytest.param("d.jsonl.gz", gzip.compress(jsonl(ROWS).encode()), id="gz"),
        pytest.param("deep/er/d.csv.gz", gzip.compress(separated(ROWS, ",").encode()), id="deep"),
    ],
)
def test_formats_hold_the_same_rows(read: Read, data: Path, name: str, content: bytes) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = read()
    assert found["train"] == ROWS
    assert found["kind"] == "prompt-completion"
    assert found["files"] == [name]
    (data / "plain").mkdir()
    path.unlink()
    (data / "plain/other.jsonl").write_text(jsonl(ROWS))
    assert read()["digest"] == found["digest"]


WRITERS = {
    "parquet": "import pyarrow.parquet as p; p.write_table(t, f, row_group_size=7)",
    "arrow file": "import pyarrow as a; w = a.ipc.new_file(f, t.schema); w.write(t); w.close()",
    "arrow stream": "import pyarrow as a; w = a.ipc.new_stream(f, t.schema); w.write(t); w.close()",
}


@pytest.mark.parametrize("name", WRITERS)
def test_columnar_formats(read: Read, reader: Reader, data: Path, name: str) -> None:
    """Parquet gives every message each key that any has."""
    talk = [*TALK, {"role": "tool", "content": "4", "tool_call_id": "c"}]
    rows = [{"messages": [dict(each) for each in talk]} for _ in range(20)]
    path = data / f"d.{name.partition(' ')[0]}"
    program = "import json, sys, pyarrow; f = sys.argv[1]; t = pyarrow.Table.from_pylist("
    reader.run(f"{program}json.loads(sys.argv[2])); {WRITERS[name]}", str(path), json.dumps(rows))
    found = read()
    assert found["kind"] == "messages"
    assert found["train"] == [{**row, "tools": None} for row in rows]


def chat(question: str, answer: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


@pytest.mark.parametrize(
    ("row", "options", "kind", "expected"),
    [
        pytest.param({"messages": TALK}, {}, "messages", {"messages": TALK}, id="chat"),
        pytest.param(
            {"messages": json.dumps(TALK)}, {}, "messages", {"messages": TALK}, id="chat in text"
        ),
        pytest.param(
            {
                "conversations": [
                    {"from": "human", "value": "hi"},
                    {"from": "gpt", "value": "hello"},
                ]
            },
            {},
            "messages",
            {"messages": TALK},
            id="ShareGPT",
        ),
        pytest.param(
            {"dialog": TALK, "text": "no"},
            {"messages_column": "dialog"},
            "messages",
            {"messages": TALK},
            id="messages_column",
        ),
        pytest.param(
            {"prompt": "42", "completion": "[1]"},
            {},
            "prompt-completion",
            {"prompt": "42", "completion": "[1]"},
            id="texts that are JSON stay texts",
        ),
        pytest.param(
            {"prompt": TALK[:1], "completion": TALK[1:]},
            {},
            "prompt-completion",
            {"prompt": TALK[:1], "completion": TALK[1:]},
            id="prompt of messages",
        ),
        pytest.param(
            {"instruction": "Add.", "input": "1 2", "output": "3"},
            {},
            "prompt-completion",
            chat("Add.\n\n1 2", "3"),
            id="alpaca",
        ),
        pytest.param(
            {"instruction": "Add.", "context": "", "response": "3", "category": "x"},
            {},
            "prompt-completion",
            chat("Add.", "3"),
            id="dolly",
        ),
        pytest.param(
            {"q": "Why?", "a": 7},
            {"context_column": "q", "response_column": "a"},
            "prompt-completion",
            chat("Why?", "7"),
            id="context_column",
        ),
        pytest.param({"text": "a b", "id": 1}, {}, "text", {"text": "a b"}, id="text"),
        pytest.param(
            {"body": "a b"}, {"text_column": "body"}, "text", {"text": "a b"}, id="text field"
        ),
        pytest.param(
            {"body": "a b"}, {"response_column": "body"}, "text", {"text": "a b"}, id="response"
        ),
        pytest.param(
            {"messages": TALK},
            {"response_column": "text"},
            "messages",
            {"messages": TALK},
            id="KAITO's default asks nothing",
        ),
    ],
)
def test_columns(read: Read, data: Path, row: Row, options: Row, kind: str, expected: Row) -> None:
    (data / "d.jsonl").write_text(jsonl([row] * 3))
    found = read(**options)
    assert found.get("kind") == kind, found
    tools = {"tools": None} if kind == "messages" else {}
    assert found["train"] == [{**expected, **tools}] * 3


def test_tool_calls_keep_each_their_own_arguments(read: Read, data: Path) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    talk = [TALK[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    tools = [{"type": "function", "function": {"name": "add"}}]
    rows = [{"messages": talk, "tools": tools}, {"messages": TALK}]
    (data / "d.jsonl").write_text(jsonl(rows))
    assert read()["train"] == [rows[0], {"messages": TALK, "tools": None}]


def test_without_a_template_instructions_are_written_out(read: Read, data: Path) -> None:
    (data / "d.jsonl").write_text(jsonl([{"instruction": "Add.", "output": "3"}]))
    (row,) = read(template=False)["train"]
    assert row["completion"] == "3"
    assert row["prompt"].endswith("### Instruction:\nAdd.\n\n### Response:\n")


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        pytest.param(
            "d.jsonl",
            jsonl([*ROWS[:2], {"prompt": "p"}]),
            {},
            "d.jsonl, line 3: completion is missing",
            id="a column",
        ),
        pytest.param(
            "d.jsonl", jsonl([*ROWS[:2], [1]]), {}, "d.jsonl, line 3: it must be a map", id="no map"
        ),
        pytest.param(
            "d.jsonl", jsonl(ROWS[:2]) + "{", {}, "d.jsonl is no jsonl after line 2:", id="cut"
        ),
        pytest.param(
            "d.json", json.dumps(ROWS)[:-9], {}, "d.json is no json after row 19:", id="cut array"
        ),
        pytest.param(
            "d.jsonl",
            jsonl([{"prompt": {"a": 1}, "completion": "c"}]),
            {},
            "d.jsonl, line 1: prompt must be a text, not dict",
            id="type",
        ),
        pytest.param(
            "d.csv",
            "prompt,completion\na,b\na,b,c\n",
            {},
            "d.csv is no csv after row 1: row 2 has more fields than the header",
            id="fields",
        ),
        pytest.param("d.parquet", "PAR1", {}, "d.parquet is no parquet after", id="no parquet"),
        pytest.param("d.jsonl.gz", "x", {}, "d.jsonl.gz cannot be read after", id="no gzip"),
        pytest.param("d.csv", b"a\n\xff\n", {}, "d.csv is no UTF-8", id="encoding"),
        pytest.param("d.jsonl", "", {}, "d.jsonl has no rows", id="nothing in it"),
        pytest.param(
            "d.jsonl",
            jsonl([{"text": " "}] * 3),
            {},
            "no rows to train with: all are empty",
            id="all empty",
        ),
        pytest.param(
            "d.jsonl",
            jsonl([{"text": "\ud800"}]),
            {},
            "d.jsonl, line 1: it holds half of a character",
            id="surrogate",
        ),
        pytest.param(
            "d.jsonl", jsonl([{"a": 1}]), {}, "d.jsonl has the columns a; known are", id="unknown"
        ),
        pytest.param(
            "d.jsonl",
            jsonl(ROWS),
            {"context_column": "prompt"},
            'd.jsonl has no column "text"',
            id="response_column is wanted",
        ),
        pytest.param(
            "d.jsonl",
            jsonl([{"messages": [{"role": "robot", "content": "x"}]}]),
            {},
            'd.jsonl, line 1: messages[0].role "robot" must be one of',
            id="role",
        ),
        pytest.param(
            "d.jsonl",
            jsonl([{"messages": TALK[:1]}]),
            {},
            "messages has no answer of the assistant",
            id="nothing to learn",
        ),
        pytest.param(
            "d.jsonl",
            jsonl([{"messages": TALK}]),
            {"template": False},
            "d.jsonl holds conversations, and the model has no chat template",
            id="no template",
        ),
        pytest.param("notes_json.txt", "x", {}, "it holds notes_json.txt", id="exact suffixes"),
        pytest.param("dataset_infos.json", "{}", {}, "holds no file", id="about the data"),
        pytest.param(
            "d.csv", "a\nb\n", {"extension": "jsonl"}, "no file that ends in .jsonl", id="extension"
        ),
        pytest.param(
            "d.jsonl", jsonl(ROWS), {"path": "e.jsonl"}, 'dataset_path "e.jsonl" is not', id="path"
        ),
        pytest.param(
            "d.jsonl",
            jsonl(ROWS[:1]),
            {"train_share": 0.5},
            "1 row(s) cannot be split",
            id="too few",
        ),
    ],
)
def test_what_is_wrong_is_named(
    read: Read, data: Path, name: str, content: str | bytes, options: Row, said: str
) -> None:
    path = data / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused = read(**options).get("refused", "")
    assert said in refused
    assert "\n" not in refused


def test_empty_rows_are_left_out_and_told(read: Read, data: Path) -> None:
    (data / "d.jsonl").write_text(jsonl([ROWS[0], {"prompt": "p", "completion": ""}, ROWS[1]]))
    found = read()
    assert found["train"] == ROWS[:2]
    assert found["notes"] == ["1 empty row(s) are left out; the first is d.jsonl, line 2"]


def test_files_of_different_kinds_do_not_mix(read: Read, data: Path) -> None:
    (data / "a.jsonl").write_text(jsonl(ROWS))
    (data / "b.jsonl").write_text(jsonl([{"text": "t"}]))
    assert "b.jsonl holds text, and the files before it prompt-completion" in read()["refused"]
    assert read(path="b.jsonl")["train"] == [{"text": "t"}]


def test_names_and_order_of_files_change_nothing(read: Read, data: Path) -> None:
    (data / "a.jsonl").write_text(jsonl(ROWS[:5]))
    (data / "b.jsonl").write_text(jsonl(ROWS[5:]))
    before = read(shuffle=True, train_share=0.5)
    (data / "a.jsonl").rename(data / "z.jsonl")
    after = read(shuffle=True, train_share=0.5)
    assert [after[key] for key in ("digest", "train", "held_out")] == [
        before[key] for key in ("digest", "train", "held_out")
    ]
    (data / "b.jsonl").write_text(jsonl(ROWS[6:]))
    assert read(shuffle=True)["digest"] != before["digest"]


def test_the_seed_decides_over_order_and_split(read: Read, data: Path) -> None:
    (data / "d.jsonl").write_text(jsonl(ROWS))
    one, same = (read(shuffle=True, train_share=0.8, seed=1) for _ in range(2))
    other = read(shuffle=True, train_share=0.8, seed=2)
    assert one == {**same, "peak_mib": one["peak_mib"]}
    assert one["held_out"] != other["held_out"]
    assert len(one["held_out"]) == 4
    everything = one["train"] + one["held_out"]
    assert everything != ROWS
    assert sorted(map(str, everything)) == sorted(map(str, ROWS))


@pytest.mark.parametrize(
    ("rows", "share", "held_out"),
    [
        pytest.param(4, None, 0, id="none to spare"),
        pytest.param(20, None, 2, id="a tenth"),
        pytest.param(3000, None, 200, id="at most 200"),
        pytest.param(20, 1.0, 0, id="KAITO's 1"),
        pytest.param(20, 0.8, 4, id="as asked"),
    ],
)
def test_how_many_are_held_out(
    read: Read, data: Path, rows: int, share: float | None, held_out: int
) -> None:
    (data / "d.jsonl").write_text(jsonl([{"text": f"row {n}"} for n in range(rows)]))
    assert len(read(train_share=share)["held_out"]) == held_out


@pytest.mark.parametrize(
    ("names", "held_out", "left"),
    [
        pytest.param(["train.jsonl", "test.jsonl"], "test.jsonl", "", id="test"),
        pytest.param(
            ["train-00000-of-00001.jsonl", "val.jsonl", "test.jsonl"], "val.jsonl", "test.jsonl",
            id="validation goes before test",
        ),
        pytest.param(["a/train/x.jsonl", "a/dev/x.jsonl"], "a/dev/x.jsonl", "", id="directories"),
        pytest.param(["test.jsonl"], "", "", id="a lone test set is the data"),
    ],
)  # fmt: skip
def test_ready_made_splits(
    read: Read, data: Path, names: list[str], held_out: str, left: str
) -> None:
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(jsonl([{"text": name}]))
    found = read(train_share=1.0)
    assert [row["text"] for row in found["held_out"]] == ([held_out] if held_out else [])
    assert len(found["train"]) == 1
    assert any(left and left in note for note in found["notes"]) is bool(left)


def test_a_file_without_a_known_end_is_read_as_dataset_extension_says(
    read: Read, data: Path
) -> None:
    (data / "download").write_text(jsonl(ROWS))
    assert read(extension="jsonl")["train"] == ROWS


@pytest.mark.parametrize(
    ("name", "begin"),
    [("d.jsonl.gz", '{"text": "'), ("d.json.gz", '[{"text": "'), ("d.csv.gz", "")],
)
def test_a_row_without_an_end_is_not_read_whole(
    read: Read, data: Path, name: str, begin: str
) -> None:
    """A few kilobytes of gzip can be all of the memory."""
    with gzip.open(data / name, "wt", compresslevel=1) as file:
        file.write(begin)
        for _ in range(70):
            file.write("x" * (1 << 20))
    assert f"more than {64 << 20} characters" in read()["refused"]


def test_half_downloaded_files_are_not_read(read: Read, data: Path) -> None:
    (data / "d.jsonl").write_text(jsonl(ROWS))
    (data / ".d.jsonl").write_text("{")
    (data / ".blobs").mkdir()
    (data / ".blobs/e.jsonl").write_text("{")
    assert read()["files"] == ["d.jsonl"]


def test_data_may_be_larger_than_the_memory(
    python_of: Callable[[str], Path], image_environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    """Row by row from files of 60 MB each, and mapped afterwards."""
    text = "x" * 30_000
    with (data / "d.jsonl").open("w") as file:
        for number in range(2000):
            file.write(json.dumps({"text": f"{number} {text}"}) + "\n")
    with (data / "e.json").open("w") as file:
        rows = (json.dumps({"text": f"{number} {text}"}) for number in range(2000))
        file.write("[" + next(rows))
        file.writelines(f",\n{row}" for row in rows)
        file.write("]")
    small = Reader(python_of(LOCK), image_environment)
    ask = {"options": {"train_share": 0.999}, "template": True, "scratch": str(tmp_path / "s")}
    (tmp_path / "few").mkdir()
    (tmp_path / "few/d.jsonl").write_text(jsonl([{"text": "t"}] * 2000))
    before = small.ask(folder=str(tmp_path / "few"), **ask)["peak_mib"]
    found = small.ask(folder=str(data), **ask)
    small.close()
    assert found["train"] == 3996
    assert found["peak_mib"] - before < 60
