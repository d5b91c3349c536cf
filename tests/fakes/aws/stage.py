"""What sets the stage in moto and looks behind it: boto3, past the server of ours."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tests.fakes.aws import backend


def prepare(cluster: str) -> None:
    ec2, eks = backend.client("ec2"), backend.client("eks")
    with suppress(eks.exceptions.ResourceInUseException):
        subnets = ec2.describe_subnets()["Subnets"]
        eks.create_cluster(
            name=cluster,
            version="1.33",
            roleArn=f"arn:aws:iam::{backend.ACCOUNT}:role/cluster",
            resourcesVpcConfig={"subnetIds": [each["SubnetId"] for each in subnets]},
        )
        groups = ec2.describe_security_groups()["SecurityGroups"]
        ec2.create_tags(
            Resources=[
                *(each["SubnetId"] for each in subnets),
                *(each["GroupId"] for each in groups if each["GroupName"] == "default"),
            ],
            Tags=[{"Key": "karpenter.sh/discovery", "Value": cluster}],
        )


def machines() -> list[dict[str, Any]]:
    ec2 = backend.client("ec2")
    pages = ec2.get_paginator("describe_instances").paginate()
    found = [
        instance
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] != "terminated"
    ]
    return found


def send(queue: str, body: str) -> None:
    sqs = backend.client("sqs")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=body)


def delete_group(name: str) -> None:
    eks = backend.client("eks")
    for cluster in eks.list_clusters()["clusters"]:
        with suppress(eks.exceptions.ResourceNotFoundException):
            eks.delete_nodegroup(clusterName=cluster, nodegroupName=name)
