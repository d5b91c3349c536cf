"""What the environment may say of traces, and that the SDK is left alone until it does."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from kube import otlp
from kube.otlp import Options, SdkMissingError


def test_without_an_endpoint_it_is_off() -> None:
    assert otlp.options({"OTEL_TRACES_SAMPLER_ARG": "nonsense"}) is None


def test_opentelemetrys_own_names_are_read() -> None:
    found = otlp.options(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318/",
            "OTEL_TRACES_SAMPLER_ARG": "0.1",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20key, x-scope = a",
        }
    )
    headers = {"authorization": "Bearer key", "x-scope": "a"}
    assert found == Options("https://collector:4318", 0.1, headers)
    assert "key" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "OTEL_TRACES_SAMPLER_ARG"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan", "OTEL_TRACES_SAMPLER_ARG"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str, told: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", name: value}
    with pytest.raises(ValueError, match=told) as refused:
        otlp.options(environment)
    assert "s3cret" not in str(refused.value)


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(SdkMissingError, match=r"kaito-py\[tracing\]"),
        otlp.exporting(Options("http://127.0.0.1:9"), service="s", instance="i"),
    ):
        pass


@pytest.mark.parametrize("program", ["gpu_provisioner.__main__", "workspace_controller.__main__"])
def test_the_sdk_is_not_imported_before_it_is_needed(program: str) -> None:
    script = (
        f"import json, sys, {program}; "
        "print(json.dumps([m for m in sys.modules if m.startswith('opentelemetry.sdk')"
        " or m.startswith('opentelemetry.exporter') or m == 'requests']))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) == []


def test_an_outage_is_told_once_and_its_end_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry.exporter.otlp.proto.http import trace_exporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    answers = [SpanExportResult.FAILURE] * 3 + [SpanExportResult.SUCCESS] * 2
    sdk = logging.getLogger(trace_exporter.__name__)

    def export(_: object, spans: object) -> SpanExportResult:
        sdk.warning("connection refused")
        sdk.error("enough")
        return answers.pop(0)

    exporter = otlp._exporter(Options("http://127.0.0.1:9", headers={"authorization": "s3cret"}))
    monkeypatch.setattr(trace_exporter.OTLPSpanExporter, "export", export)
    try:
        with caplog.at_level("INFO"):
            for _ in range(5):
                exporter.export([1, 2])
    finally:
        sdk.filters.clear()
        exporter.shutdown()
    assert [record.getMessage() for record in caplog.records] == [
        "traces cannot be exported to http://127.0.0.1:9: connection refused;"
        " told once, until it works again",
        "traces are exported again; 6 spans were lost",
    ]
