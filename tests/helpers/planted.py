"""Secrets for runs of the DAG that must turn up nowhere."""

import subprocess
from pathlib import Path

ALERT_PASSWORD = "planted-alert-password-7f3a"
AWS_SECRET = "planted-aws-secret-91c2"


def signing_key(root: Path) -> Path:
    """Where the key of the runs under `root` lies: outside of it."""
    return root.parent / "signing.pem"


def planted(root: Path) -> dict[str, str]:
    """Environment with secrets for runs under `root`."""
    key = signing_key(root)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    return {"AWS_SECRET_ACCESS_KEY": AWS_SECRET, "AWS_ACCESS_KEY_ID": "id", "BWPREDICT_SIGNING_KEY": str(key)}
