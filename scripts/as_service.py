"""Run a command in the root of an image as Docker runs a service of docker-compose.yaml, without Docker. Run as root.

    unshare --mount --pid --fork --kill-child python scripts/as_service.py SERVICE ROOT INSPECTED.json VOLUMES COMMAND…

The root is read-only. Only the service's tmpfs and volumes are writable, with the owners and modes that Docker gives
them. The command has the image's user and environment and no capabilities, and cannot gain any. Volumes are folders of
VOLUMES, where the next service finds them; VOLUMES/shared is at /shared, read-only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
DEVICES = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True, order=True)
class Mount:
    """What lies at a path of the root."""

    target: str
    arguments: tuple[str, ...]
    """Of `mount`, before the path."""
    read_only: bool = False
    file: bool = False

    def point(self, root: Path) -> Path:
        """The path outside the root, made if it is missing."""
        path = root / self.target.lstrip("/")
        (path.parent if self.file else path).mkdir(parents=True, exist_ok=True)
        if self.file and not path.exists():
            path.touch()
        return path


def main(service: str, root: Path, inspected: Path, volumes: Path, command: list[str]) -> None:
    """Mount, change the root, and become the command."""
    definition = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"][service]
    mounts = [*_of_the_engine(definition, volumes), *_tmpfs(definition, root), *_volumes(definition, root, volumes)]
    mounts.sort()
    _mount("--bind", root, root)
    for mount in mounts:
        mount.point(root)
    if definition.get("read_only"):
        _mount("--options", "remount,bind,ro", root)
    for mount in mounts:
        point = mount.point(root)
        _mount(*mount.arguments, point)
        if mount.read_only:
            _mount("--options", "remount,bind,ro", point)
    _become(root, json.loads(inspected.read_text())["OCIv1"]["config"], command)


def _of_the_engine(definition: dict[str, Any], volumes: Path) -> list[Mount]:
    memory = f"nosuid,nodev,noexec,mode=1777,size={definition.get('shm_size', '64m').rstrip('b')}"
    return [
        Mount("/proc", ("--types", "proc", "proc")),
        Mount("/dev", ("--types", "tmpfs", "--options", "mode=0755", "tmpfs")),
        Mount("/dev/shm", ("--types", "tmpfs", "--options", memory, "tmpfs")),  # noqa: S108 - inside the root
        *(Mount(f"/dev/{name}", ("--bind", f"/dev/{name}"), file=True) for name in DEVICES),
        Mount("/etc/hosts", ("--bind", "/etc/hosts"), read_only=True, file=True),
        Mount("/shared", ("--bind", str(volumes / "shared")), read_only=True),
    ]


def _tmpfs(definition: dict[str, Any], root: Path) -> list[Mount]:
    """Docker gives a tmpfs the mode of the image's folder, but not its owner."""
    mounts = []
    for entry in definition.get("tmpfs", []):
        target, _, options = entry.partition(":")
        folder = root / target.lstrip("/")
        mode = folder.stat().st_mode & 0o7777 if folder.is_dir() else 0o1777
        options = ",".join(filter(None, ["noexec,nosuid,nodev", options, f"mode={mode:o}"]))
        mounts.append(Mount(target, ("--types", "tmpfs", "--options", options, "tmpfs")))
    return mounts


def _volumes(definition: dict[str, Any], root: Path, volumes: Path) -> list[Mount]:
    """A new volume has the owner and the mode of the image's folder."""
    mounts = []
    for entry in definition.get("volumes", []):
        source, target, *mode = entry.split(":") if ":" in entry else ("", entry)
        folder = REPOSITORY / source if source.startswith(".") else volumes / (source or target.strip("/"))
        if not folder.exists():
            folder.mkdir(parents=True)
            of_image = (root / target.lstrip("/")).stat()
            os.chown(folder, of_image.st_uid, of_image.st_gid)
            folder.chmod(of_image.st_mode & 0o7777)
        mounts.append(Mount(target, ("--bind", str(folder)), read_only=mode == ["ro"]))
    return mounts


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S603, S607 - our own arguments


def _become(root: Path, image: dict[str, Any], command: list[str]) -> None:
    users = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    (group, home) = next((user[3], user[5]) for user in users if user[2] == image["User"])
    environment = dict(entry.split("=", 1) for entry in image["Env"]) | {"HOME": home}
    os.chroot(root)
    os.chdir(image.get("WorkingDir") or "/")
    rights = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    program = ["setpriv", f"--reuid={image['User']}", f"--regid={group}", *rights, "--", *command]
    os.execvpe(program[0], program, environment)  # noqa: S606 - our own arguments


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
