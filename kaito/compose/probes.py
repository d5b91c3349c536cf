"""Probes of a container as its healthcheck: healthy is what a cluster calls ready. Pure."""

from __future__ import annotations

import json

from kaito.compose.table import ComposeError, checked
from kube.meta import Manifest

_PERIOD_SECONDS = 10
_TIMEOUT_SECONDS = 1
_FAILURES = 3
"""Kubernetes' own, where a probe does not say."""


def healthcheck(container: Manifest, where: str) -> Manifest | None:
    """None where nobody asks. Failures within `start_period` do not count, as those of a startup
    probe do not before its last."""
    startup, ready = container.get("startupProbe"), container.get("readinessProbe")
    for name, probe in (("startupProbe", startup), ("readinessProbe", ready)):
        if probe is not None:
            _known(probe, f"{where}.{name}")
    asked = ready or startup
    if asked is None:
        return None
    found: Manifest = {
        "test": _test(container, asked, where),
        "interval": f"{asked.get('periodSeconds', _PERIOD_SECONDS)}s",
        "timeout": f"{asked.get('timeoutSeconds', _TIMEOUT_SECONDS)}s",
        "retries": asked.get("failureThreshold", _FAILURES),
    }
    if startup is not None:
        period = startup.get("periodSeconds", _PERIOD_SECONDS)
        patience = period * startup.get("failureThreshold", _FAILURES)
        found["start_period"] = f"{patience + startup.get('initialDelaySeconds', 0)}s"
        found["start_interval"] = f"{period}s"
        _same_question(startup, asked, where)
    elif delay := asked.get("initialDelaySeconds"):
        found["start_period"] = f"{delay}s"
    return found


def _known(probe: Manifest, where: str) -> None:
    checked("probe", probe, where)
    for way in ("httpGet", "exec"):
        checked(way, probe.get(way) or {}, f"{where}.{way}")


def _same_question(startup: Manifest, ready: Manifest, where: str) -> None:
    for way in ("httpGet", "exec", "timeoutSeconds"):
        if startup.get(way) != ready.get(way):
            raise ComposeError(
                [f"{where}.startupProbe: it asks other than readinessProbe; Compose asks once"]
            )


def _test(container: Manifest, probe: Manifest, where: str) -> list[str]:
    if "exec" in probe:
        return ["CMD", *probe["exec"]["command"]]
    if "httpGet" not in probe:
        raise ComposeError([f"{where}: a probe that neither sends a request nor runs a command"])
    asked = probe["httpGet"]
    url = f"http://127.0.0.1:{_number(container, asked['port'], where)}{asked.get('path', '/')}"
    seconds = probe.get("timeoutSeconds", _TIMEOUT_SECONDS)
    program = f"import urllib.request as u; u.urlopen({json.dumps(url)}, timeout={seconds})"
    python = (container.get("command") or [""])[0]
    if python in ("python", "python3"):
        return ["CMD", python, "-c", program]
    # A cluster asks from outside; inside, the image may have any of the three.
    ways = (
        f"curl -fsS -m {seconds} -o /dev/null {url}",
        f"wget -q -T {seconds} -O /dev/null {url}",
        f"python3 -c '{program}'",
    )
    return ["CMD-SHELL", " || ".join(ways)]


def _number(container: Manifest, port: str | int, where: str) -> int:
    """Of a port, also by name."""
    if isinstance(port, int):
        return port
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    raise ComposeError([f"{where}: there is no port {port!r} in the container"])
