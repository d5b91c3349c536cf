"""What is asked of downloads besides what `oci.web` sees to: no address that the user has given
leads on to a plain one from an encrypted one, nor from outside into the cluster's own network.
Judged before anything is sent."""

from __future__ import annotations

from urllib import request
from urllib.parse import urlsplit

from oci import addresses
from oci.addresses import NoTargetError
from oci.reach import refuse, shown


def refused_redirect(asked: str, answered: str) -> str:
    """Why the second address is not gone on to from the first, or nothing."""
    if urlsplit(asked).scheme == "https" and urlsplit(answered).scheme != "https":
        return f"leads on to {shown(answered)}, which is not encrypted"
    if _is_inner(answered) and not _is_inner(asked):
        return f"leads on to {shown(answered)}, which is in the cluster's own network"
    return ""


def guards(asked: str) -> tuple[request.BaseHandler, ...]:
    """For a `Web` that fetches this URL. They raise TransferError."""
    return (_Redirects(asked),)


class _Redirects(request.BaseHandler):
    """Sees every request before it is sent, those of redirects too."""

    def __init__(self, asked: str) -> None:
        self._asked = asked

    def http_request(self, wanted: request.Request) -> request.Request:
        refuse(self._asked, refused_redirect(self._asked, wanted.full_url))
        return wanted

    https_request = http_request


def _is_inner(url: str) -> bool:
    """Whether the address itself says that it is no public one."""
    try:
        found = addresses.target(url)
    except NoTargetError:
        return False
    return found.internal or found.metadata
