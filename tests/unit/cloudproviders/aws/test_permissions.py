"""The policy of the documentation allows what is called, and nothing that is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import boto3
import pytest

from cloudproviders.aws.sdk import OPERATIONS

PAGE = Path(__file__).parents[4] / "docs" / "clouds" / "aws.md"
IMPLIED = {
    "ec2:CreateTags",  # tags in CreateFleet and CreateLaunchTemplate
    "ec2:RunInstances",  # what a fleet does
    "eks:TagResource",
    "iam:PassRole",
    "iam:TagInstanceProfile",
}
"""What IAM asks for beside the action itself."""


def test_the_documented_policy_is_what_is_called() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    policy = json.loads(text)

    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}

    assert allowed == {operation.action for operation in OPERATIONS.values()} | IMPLIED
    assert not any("*" in action for action in allowed)


@pytest.mark.parametrize("service", sorted({each.service for each in OPERATIONS.values()}))
def test_every_action_is_the_services_own(service: str) -> None:
    client = boto3.client(
        service, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    wire_names = client.meta.method_to_api_mapping

    for name, operation in OPERATIONS.items():
        if operation.service == service:
            assert operation.action == f"{service}:{wire_names[name]}"
    client.close()
