"""The Go file that `pull --go-config` writes; that Go accepts it is shown in test_other_languages."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import interval_onnx, metadata_of

from bwpredict.errors import ConfigError
from bwpredict.serving.delivery import MODEL
from bwpredict.serving.go_config import write_go_config


@pytest.fixture
def metadata(tmp_path: Path) -> dict:
    return metadata_of(interval_onnx(tmp_path / "model.onnx", factor=1), "v20261101_000000")


def test_it_has_the_guides_constants_and_is_left_alone_while_the_contract_stays(metadata: dict, tmp_path: Path) -> None:
    path, dest = tmp_path / "go" / "config.go", tmp_path / "dest"
    write_go_config(path, metadata, dest=dest, package="predictor")
    text, before = path.read_text(), path.stat().st_mtime_ns
    for constant in ("WindowSize = 20", "NumFeatures = 9", "NumOutputs = 4", f'DefaultModelPath = "{dest / MODEL}"'):
        assert f"\nconst {constant}\n" in text
    write_go_config(path, metadata | {"version": "v20270101_000000"}, dest=dest, package="predictor")
    assert path.stat().st_mtime_ns == before
    metadata["contract"]["window_size"] = 30
    write_go_config(path, metadata, dest=dest, package="predictor")
    assert "const WindowSize = 30\n" in path.read_text()


@pytest.mark.parametrize("package", ["", "Predictor", "a b", "x\nimport", "1st"])
def test_a_name_that_is_no_package_is_refused(metadata: dict, tmp_path: Path, package: str) -> None:
    with pytest.raises(ConfigError, match="not a name of a Go package"):
        write_go_config(tmp_path / "config.go", metadata, dest=tmp_path, package=package)
    assert not (tmp_path / "config.go").exists()
