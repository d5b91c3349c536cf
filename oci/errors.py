"""What goes wrong between a registry and its client.

TransferError              cannot be had or sent; the message is for users, in one line
├── RegistryError          the registry's part in it
│   ├── AccessDeniedError  not for us, or not without other credentials
│   ├── NotFoundError      no such repository, tag, digest or blob
│   ├── UnreachableError   no answer, or none that a further try would change
│   └── PushRefusedError   it can be read, but not written to
└── RefusedError           (oci.web) an answer of HTTP that will not change
"""

from __future__ import annotations


class TransferError(Exception):
    """What was asked for cannot be had or sent; the message is for the user, in one line."""


class RegistryError(TransferError):
    """A registry does not do what it was asked to."""


class AccessDeniedError(RegistryError):
    """No credentials that we have open the repository."""


class NotFoundError(RegistryError):
    """The registry has nothing of that name."""


class UnreachableError(RegistryError):
    """It does not answer, however often it is asked."""


class PushRefusedError(RegistryError):
    """It takes nothing from us."""
