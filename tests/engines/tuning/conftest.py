"""A place to tune in: a tiny model, data with something to learn, and programs that start fast."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from apis import reports

HERE = Path(__file__).parent
LOCK = "images/tuning/requirements-cpu.lock"


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    log: str
    message: str
    """The pod's termination message."""

    @property
    def result(self) -> reports.Result:
        found = reports.parse(reports.Result, self.message)
        assert found is not None, self.log
        return found

    @property
    def trainings(self) -> list[reports.Training]:
        lines = (reports.parse(reports.Training, line) for line in self.log.splitlines())
        return [each for each in lines if each]


class Programs:
    """Of the image, in its own environment."""

    def __init__(self, python: Path, environment: Mapping[str, str]) -> None:
        # Two threads that wait for each other take longer than one, where others work as well.
        self.environment = {**environment, "OMP_NUM_THREADS": "1"}
        self._running: set[int] = set()
        path = f"{HERE}:{environment['PYTHONPATH']}"
        self._server = subprocess.Popen(
            [str(python), str(HERE / "warm.py")],
            env={**self.environment, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def start(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> int:
        process = int(
            self._ask(
                start=module,
                arguments=list(arguments),
                environment={**self.environment, **environment},
                log=str(log),
            )
        )
        self._running.add(process)
        return process

    def wait(self, process: int) -> int:
        code = int(self._ask(wait=process))
        self._running.discard(process)
        return code

    def close(self) -> None:
        """What a failed test has left running ends as well."""
        for process in self._running:
            os.kill(process, signal.SIGKILL)
        self._server.communicate()
        assert self._server.returncode == 0

    def _ask(self, **question: Any) -> Any:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the server of programs has ended"
        return json.loads(line)


@dataclass
class Lab:
    """One Workspace's files; `tune` is its pod."""

    programs: Programs
    model: Path
    place: Path
    environment: dict[str, str] = field(default_factory=dict)
    method: str = "lora"
    pods: int = 0

    def __post_init__(self) -> None:
        for name in ("data", "output", "push"):
            (self.place / name).mkdir(parents=True)
        self.write(codes())
        self.configure()

    @property
    def output(self) -> Path:
        return self.place / "output"

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.place / "data/rows.jsonl").write_text(text)

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Over what learns fast."""
        document: dict[str, dict[str, Any]] = {
            "LoraConfig": {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
            "TrainingArguments": {
                "per_device_train_batch_size": 4,
                "max_steps": 24,
                "learning_rate": 0.01,
                "seed": 7,
            },
            "DatasetConfig": {"train_test_split": 0.75},
        }
        for name, section in sections.items():
            document[name] = {**document.get(name, {}), **section}
        if self.method == "full":
            del document["LoraConfig"]
        (self.place / "training_config.yaml").write_text(yaml.dump({"training_config": document}))

    def start(self, module: str = "tuning.__main__", *options: str) -> int:
        self.pods += 1
        self._message.write_text("")
        self._log.touch()
        own = [] if "check" in module else ["--port=0"]
        options = (
            *own,
            f"--termination-log={self._message}",
            f"--credentials={self.place / 'push'}",
            f"--output-dir={self.output}",
            *options,
        )
        environment = {
            "YAML_FILE_PATH": str(self.place / "training_config.yaml"),
            "DATASET_FOLDER_PATH": str(self.place / "data"),
            "KAITO_TUNING_METHOD": self.method,
            "KAITO_WEIGHTS": str(self.model),
            "KAITO_MODEL": "tiny",
            **self.environment,
        }
        return self.programs.start(module, options, environment, self._log)

    @property
    def log(self) -> str:
        """Of the pod that runs."""
        return self._log.read_text()

    def end(self, process: int) -> Ended:
        code = self.programs.wait(process)
        return Ended(code, self.log, self._message.read_text())

    def tune(self, *options: str) -> Ended:
        return self.end(self.start("tuning.__main__", *options))

    def check(self) -> Ended:
        return self.end(self.start("tuning.check"))

    def stop(self, process: int, number: int, when: Callable[[], bool]) -> Ended:
        """Send the signal once it is time."""
        deadline = time.monotonic() + 60
        while not when():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        os.kill(process, number)
        return self.end(process)

    def checkpoints(self) -> list[int]:
        """Steps of those that are whole."""
        found = self.output.glob(".checkpoints/checkpoint-*/kaito_checkpoint.json")
        return sorted(int(path.parent.name.rpartition("-")[2]) for path in found)

    def kill(self, after: int) -> Ended:
        """SIGKILL, once a checkpoint of that step or a later one is there."""
        return self.stop(
            self.start(), signal.SIGKILL, lambda: any(each >= after for each in self.checkpoints())
        )

    def adapter(self) -> bytes:
        return (self.output / "adapter_model.safetensors").read_bytes()

    @property
    def _log(self) -> Path:
        return self.place / f"pod-{self.pods}.log"

    @property
    def _message(self) -> Path:
        return self.place / f"termination-{self.pods}"


def codes(count: int = 64) -> list[dict[str, str]]:
    """Each word has a code that begins the same, and goes on with the word's first letter."""
    chance = random.Random(3)
    words = ["".join(chance.choices("abcdef", k=4)) for _ in range(count)]
    return [{"prompt": f"code of {word}: ", "completion": f"xyzzy {word[0]}"} for word in words]


@pytest.fixture(scope="session")
def programs(
    python_of: Callable[[str], Path], image_environment: dict[str, str]
) -> Iterator[Programs]:
    found = Programs(python_of(LOCK), image_environment)
    yield found
    found.close()


@pytest.fixture(scope="session")
def tiny_model(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    process = programs.start("tiny_model", [str(place / "tiny")], {}, place / "log")
    assert programs.wait(process) == 0, (place / "log").read_text()
    return place / "tiny"


@pytest.fixture
def make_lab(programs: Programs, tiny_model: Path, tmp_path: Path) -> Callable[..., Lab]:
    def make(name: str = "one", method: str = "lora") -> Lab:
        return Lab(programs, tiny_model, tmp_path / name, method=method)

    return make


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()
