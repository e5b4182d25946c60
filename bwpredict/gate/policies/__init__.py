"""Gate policies by name: YAML documents beside this file, and those in a folder of the user's own.

The name of a policy is the name of its file. A policy's header says in plain words why it asks what it asks.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from bwpredict.config import SHIPPED, GatePolicy, load_policy
from bwpredict.errors import ConfigError

DEFAULT = "guide"
_SUFFIX = ".yaml"
_SHIPPED_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PolicyDocument:
    """A policy as it was found."""

    policy: GatePolicy
    path: Path
    origin: str
    """As it stands in decisions: `SHIPPED`, or the path as it was given."""

    @property
    def text(self) -> str:
        """The document with its reasons."""
        return self.path.read_text("utf-8")

    @property
    def summary(self) -> str:
        """The first line of the header, or an empty text where there is none."""
        first = self.text.partition("\n")[0]
        return first.removeprefix("#").strip() if first.startswith("#") else ""


def policy_names(folder: str = "") -> list[str]:
    """Names of the shipped policies, then of those in `folder` (empty: none). Reads names of files only."""
    shipped, own = _stems(_SHIPPED_FOLDER), _stems(Path(folder)) if folder else []
    return [DEFAULT, *(name for name in dict.fromkeys([*shipped, *own]) if name != DEFAULT)]


def find_policy(name_or_path: str, folder: str = "") -> PolicyDocument:
    """The policy of this name, shipped or in `folder`, or in the file at this path (which has a suffix or a slash).

    Raises:
        ConfigError: no such policy or folder, a document that cannot be used, or one that takes the name of a
            shipped policy and asks for something else.
    """
    if "/" in name_or_path or name_or_path.endswith((_SUFFIX, ".yml")):
        return _read(Path(name_or_path))
    if folder and not Path(folder).is_dir():
        raise ConfigError(f"BWPREDICT_POLICIES={folder}: is not a folder; expected one with policies as YAML files.")
    if why := unknown_policy(name_or_path, folder, or_else=", or the path of a YAML file"):
        raise ConfigError(f"policy: {why}")
    own, shipped = Path(folder) / f"{name_or_path}{_SUFFIX}", _SHIPPED_FOLDER / f"{name_or_path}{_SUFFIX}"
    found = _read(own) if folder and own.is_file() else PolicyDocument(load_policy(shipped), shipped, SHIPPED)
    if found.policy.name != name_or_path:
        raise ConfigError(
            f"{found.path}: has the name {found.policy.name!r}; the name of a policy must be that of its file."
        )
    return found


def unknown_policy(name: str, folder: str = "", or_else: str = "") -> str:
    """A sentence that says that no policy has this name; empty if one has it."""
    known = policy_names(folder)
    if name in known:
        return ""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{name!r} is not a policy; expected {', '.join(known)}{or_else}.{hint}"


def _read(path: Path) -> PolicyDocument:
    """The user's policy at `path`, which must not pass for a shipped one."""
    policy = load_policy(path)
    shipped = _SHIPPED_FOLDER / f"{policy.name}{_SUFFIX}"
    if policy.name in _stems(_SHIPPED_FOLDER):
        original = load_policy(shipped)
        changed = [name for name in GatePolicy.model_fields if getattr(policy, name) != getattr(original, name)]
        if changed:
            raise ConfigError(
                f"{path}: a policy whose {changed[0]} differs from that of the built-in {policy.name!r}"
                " needs another name."
            )
    return PolicyDocument(policy, path, str(path))


def _stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"*{_SUFFIX}"))
