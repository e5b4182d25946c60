from __future__ import annotations

import pytest
from small_study import Script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A stand-in for training whose losses and deaths the test decides: what is tested is the study's bookkeeping."""
    written = Script()
    monkeypatch.setattr("bwpredict.tuning.study.trainer.train", written.train)
    return written
