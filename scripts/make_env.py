"""Write .env with a random value for every secret that docker-compose.yaml asks for; never overwrite one."""

import base64
import re
import secrets
import sys
from pathlib import Path


def main(compose: Path, target: Path) -> int:
    """Write `target`, readable by its owner only; the exit code is 2 if it exists already."""
    names = dict.fromkeys(re.findall(r"\$\{(\w+):\?", compose.read_text()))
    lines = [f"{name}={random_value(name)}\n" for name in names]
    try:
        target.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        sys.stderr.write(f"{target} exists and was left as it is; remove it first to have new secrets.\n")
        return 2
    target.write_text("".join(lines))
    sys.stdout.write(f"{target} holds {len(lines)} secrets; AIRFLOW_ADMIN_PASSWORD is for the user admin.\n")
    return 0


def random_value(name: str) -> str:
    """A secret of 256 bits: a Fernet key where one is asked for, else hexadecimal, which is safe within a URL."""
    key = secrets.token_bytes(32)
    return base64.urlsafe_b64encode(key).decode() if "FERNET" in name else key.hex()


if __name__ == "__main__":
    sys.exit(main(Path("docker-compose.yaml"), Path(".env")))
