"""What a registry is shown: nothing at first; then what its challenge asks for, with one set of
credentials after the other until one opens it (Docker's token authentication, and Basic)."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from email.message import Message
from urllib.parse import urlencode, urlsplit

from oci import addresses
from oci.credentials import Credentials
from oci.errors import RegistryError
from oci.reference import Reference
from oci.web import RefusedError, Web

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_REFUSALS = frozenset({400, 401, 403})
"""Of those who give tokens."""


class Authorization:
    """For one repository; for several threads. `known`: whether we have any credentials for it."""

    def __init__(self, reference: Reference, credentials: Credentials, web: Web) -> None:
        self._reference = reference
        self._web = web
        self._identities = (*credentials.basic(reference.host, reference.name), "")
        self.known = len(self._identities) > 1
        self.headers: Mapping[str, str] = {}
        self._at = 0
        self._worked = True
        """Whether the identity in use has opened something: what it has may just be too old, or
        too little for the next request."""
        self._challenge = ""
        self._scopes: set[str] = set()
        self._lock = threading.Lock()

    def accepted(self) -> None:
        """A request with these headers was answered."""
        self._worked = True

    def renewed(self, answer: Message, shown: Mapping[str, str]) -> Mapping[str, str] | None:
        """What to show after a refusal; None where nothing is left. `shown`: what was refused."""
        with self._lock:
            if shown != self.headers:
                return self.headers  # another thread was faster
            self._challenge = answer.get("WWW-Authenticate", "") or self._challenge
            if not self._worked:
                self._at += 1
            self._worked = False
            while self._at < len(self._identities):
                found = self._headers(self._identities[self._at])
                if found is not None and found != shown:
                    self.headers = found
                    return found
                self._at += 1
            self._at = len(self._identities)
            return None

    def _headers(self, basic: str) -> Mapping[str, str] | None:
        """None where the identity gets nothing to show."""
        scheme = self._challenge.partition(" ")[0].lower()
        own = {"Authorization": basic} if basic else {}
        if scheme == "basic":
            return own or None
        said = dict(_CHALLENGE.findall(self._challenge))
        if scheme != "bearer" or "realm" not in said:
            return None
        realm = said["realm"]
        if urlsplit(realm).scheme != urlsplit(self._reference.url).scheme:
            raise RegistryError(f"{self._reference.host} sends us to {realm}: that is not https")
        if why := addresses.refused_redirect(self._reference.url, realm):
            raise RegistryError(f"{self._reference.host} sends us to a realm that {why}")
        # Those of before, too: who pushes goes on to read.
        self._scopes.add(said.get("scope", f"repository:{self._reference.name}:pull"))
        query = [("service", said["service"])] if "service" in said else []
        query += [("scope", scope) for scope in sorted(self._scopes)]
        try:
            answer = self._web.read_json(f"{realm}?{urlencode(query)}", own)
        except RefusedError as error:
            if error.status in _REFUSALS:
                return None
            raise
        return {"Authorization": f"Bearer {answer.get('token') or answer.get('access_token')}"}
