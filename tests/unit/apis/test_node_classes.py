"""The clouds' node classes, read as their users write them."""

from __future__ import annotations

from apis.karpenter.nodeclasses.aks import AKSNodeClassSpec
from apis.karpenter.nodeclasses.ec2 import EC2NodeClassSpec
from apis.karpenter.nodeclasses.gce import GCENodeClassSpec


def test_aks() -> None:
    spec = AKSNodeClassSpec.model_validate(
        {
            "vnetSubnetID": "/subnets/n",
            "osDiskSizeGB": 256,
            "imageFamily": "AzureLinux",
            "gpu": {"mode": "None", "instanceProfile": "MIG1g"},
            "security": {"encryptionAtHost": True},
            "kubelet": {"maxPods": 50, "cpuCFSQuota": False, "imageGCHighThresholdPercent": 80},
            "localDNS": {"mode": "Preferred"},
        }
    )
    assert (spec.vnet_subnet_id, spec.os_disk_size_gb) == ("/subnets/n", 256)
    assert (spec.gpu.mode, spec.gpu.instance_profile) == ("None", "MIG1g")
    assert spec.security.encryption_at_host
    assert spec.kubelet.max_pods == 50
    assert spec.kubelet.cpu_cfs_quota is False
    assert spec.kubelet.image_gc_high_threshold_percent == 80
    default = AKSNodeClassSpec()
    assert (default.os_disk_size_gb, default.image_family, default.gpu.mode) == (
        128,
        "Ubuntu",
        "Driver",
    )


def test_ec2() -> None:
    spec = EC2NodeClassSpec.model_validate(
        {
            "amiSelectorTerms": [{"alias": "al2023@latest"}, {"ssmParameter": "/p"}],
            "subnetSelectorTerms": [{"tags": {"a": "*"}}],
            "securityGroupSelectorTerms": [{"name": "nodes"}],
            "capacityReservationSelectorTerms": [{"ownerID": "123456789012", "tags": {"a": "b"}}],
            "role": "nodes",
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvda",
                    "rootVolume": True,
                    "ebs": {"volumeSize": "100Gi", "kmsKeyID": "k", "snapshotID": "s"},
                }
            ],
            "kubelet": {"clusterDNS": ["10.0.0.10"], "systemReserved": {"cpu": "100m"}},
            "associatePublicIPAddress": False,
        }
    )
    assert spec.ami_selector_terms[1].ssm_parameter == "/p"
    assert spec.capacity_reservation_selector_terms[0].owner_id == "123456789012"
    [device] = spec.block_device_mappings
    assert device.root_volume
    assert device.ebs is not None
    assert (device.ebs.volume_size, device.ebs.kms_key_id, device.ebs.snapshot_id) == (
        "100Gi",
        "k",
        "s",
    )
    assert spec.kubelet.cluster_dns == ("10.0.0.10",)
    assert spec.associate_public_ip_address is False
    assert spec.metadata_options.http_put_response_hop_limit == 1


def test_gce() -> None:
    spec = GCENodeClassSpec.model_validate(
        {
            "disks": [{"sizeGiB": 200, "category": "pd-ssd", "boot": True, "kmsKeyName": "k"}],
            "imageSelectorTerms": [{"alias": "ContainerOptimizedOS@latest"}],
            "autoGPUTaint": True,
            "gpuDriverVersion": "latest",
            "gpuSharing": {"strategy": "MPS", "maxSharedClientsPerGPU": 4},
            "reservationAffinity": {"consumeReservationType": "ANY_RESERVATION"},
            "networkConfig": {"additionalNetworkInterfaces": [{"subnetwork": "s"}]},
        }
    )
    [disk] = spec.disks
    assert (disk.size_gib, disk.boot, disk.kms_key_name) == (200, True, "k")
    assert spec.auto_gpu_taint
    assert spec.gpu_sharing is not None
    assert spec.gpu_sharing.max_shared_clients_per_gpu == 4
    assert spec.network_config.additional_network_interfaces[0].subnetwork == "s"
