"""Users of the tests' S3 server, whose keys can be rotated; it asks for them within `asking_for_credentials`."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

Key = dict[str, str]
"""As the server hands it out: UserName, AccessKeyId, SecretAccessKey."""
READ = ["s3:ListBucket", "s3:GetObject"]
WRITE = [*READ, "s3:PutObject"]


@dataclass
class Users:
    """Users of the S3 server, which checks their keys and what they may do."""

    endpoint: str
    iam: Any = None

    def __post_init__(self) -> None:
        """An administrator first, while the server still takes any key."""
        self.iam = self._client({"AccessKeyId": "any", "SecretAccessKey": "any"})
        self.iam = self._client(self.add("administrator", ["iam:*"]))

    def _client(self, key: Key) -> Any:
        return boto3.client(
            "iam",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )

    def add(self, name: str, actions: list[str]) -> Key:
        """A new user, and their first key."""
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        name = f"{name}-{uuid.uuid4().hex}"
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
        return self.new_key(name)

    def new_key(self, name: str) -> Key:
        key: Key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return key

    def rotated(self, key: Key) -> Key:
        """A new key for the user of this one, which no longer works."""
        new = self.new_key(key["UserName"])
        self.iam.delete_access_key(UserName=key["UserName"], AccessKeyId=key["AccessKeyId"])
        return new


def use(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])


def use_file(key: Key, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["[default]", f"aws_access_key_id={key['AccessKeyId']}", f"aws_secret_access_key={key['SecretAccessKey']}"]
    path.write_text("\n".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
