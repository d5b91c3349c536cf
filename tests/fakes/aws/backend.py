"""moto's server, one for the process: it takes most of a second to import."""

from __future__ import annotations

import atexit
import logging
from functools import cache
from typing import Any

ACCOUNT = "123456789012"
REGION = "us-east-1"


@cache
def address() -> str:
    """Its URL; it is started when somebody first asks, and ends with the process."""
    from moto.server import ThreadedMotoServer

    for noisy in ("werkzeug", "moto.moto_server"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@cache
def client(service: str) -> Any:
    """boto3 for those who set the stage. Not for the event loop's thread."""
    import boto3

    found = boto3.client(
        service,
        endpoint_url=address(),
        region_name=REGION,
        aws_access_key_id="stage",
        aws_secret_access_key="stage",
    )
    atexit.register(found.close)
    return found
