"""Node images: which operating system a pool's machines get. Pure."""

from __future__ import annotations

IMAGE_FAMILY_ANNOTATION = "kaito.sh/node-image-family"

OS_SKUS = {
    "ubuntu": "Ubuntu",
    "ubuntu2204": "Ubuntu2204",
    "ubuntu2404": "Ubuntu2404",
    "azurelinux": "AzureLinux",
    "azurelinux3": "AzureLinux3",
}
"""Of the annotation and of AKSNodeClass's imageFamily, in any case → `osSKU` of agent pools."""

DEFAULT_OS_SKU = OS_SKUS["ubuntu"]


def os_sku(annotation: str, family: str = "") -> str:
    """The claim's annotation, then its class's family; what gpu-provisioner does not know is
    Ubuntu to it, and so here."""
    asked = annotation or family
    return OS_SKUS.get(asked.casefold(), DEFAULT_OS_SKU)
