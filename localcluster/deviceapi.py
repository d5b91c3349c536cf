"""The kubelet's device plugin API, v1beta1, as far as a plugin without hardware needs it.

The messages are those of k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto, described here
by number instead of generated: a generated module is tied to one release of protobuf.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

VERSION = "v1beta1"
_Field = descriptor_pb2.FieldDescriptorProto
_STRING = _Field.TYPE_STRING
_BOOL = _Field.TYPE_BOOL

# message → field → (number, type or name of a message, repeated)
_MESSAGES: dict[str, dict[str, tuple[int, int | str, bool]]] = {
    "Empty": {},
    "DevicePluginOptions": {
        "pre_start_required": (1, _BOOL, False),
        "get_preferred_allocation_available": (2, _BOOL, False),
    },
    "RegisterRequest": {
        "version": (1, _STRING, False),
        "endpoint": (2, _STRING, False),
        "resource_name": (3, _STRING, False),
        "options": (4, "DevicePluginOptions", False),
    },
    "Device": {"ID": (1, _STRING, False), "health": (2, _STRING, False)},
    "ListAndWatchResponse": {"devices": (1, "Device", True)},
    "ContainerAllocateRequest": {"devices_ids": (1, _STRING, True)},
    "AllocateRequest": {"container_requests": (1, "ContainerAllocateRequest", True)},
    "EnvsEntry": {"key": (1, _STRING, False), "value": (2, _STRING, False)},
    "ContainerAllocateResponse": {"envs": (1, "EnvsEntry", True)},
    "AllocateResponse": {"container_responses": (1, "ContainerAllocateResponse", True)},
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="localcluster/deviceplugin.proto", package=VERSION, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            described = message.field.add(name=field, number=number)
            described.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                described.type, described.type_name = _Field.TYPE_MESSAGE, f".{VERSION}.{kind}"
            else:
                described.type = kind
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def message(name: str) -> Any:
    """The class of a message. A map is on the wire a list of entries, and is one here."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{VERSION}.{name}"))
