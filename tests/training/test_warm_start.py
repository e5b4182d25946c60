"""The champion's weights as a start, beside a training from scratch."""

import numpy as np
import pytest
from small_training import CONFIG, small_split

from bwpredict.config import TrainingConfig
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.training import warm_start
from bwpredict.training.trainer import train

OPTIONS = {"absent": frozenset(), "on_epoch": None}


def trained(folder, config: TrainingConfig, name):
    return train(small_split(config), config, folder / name)


@pytest.mark.parametrize(("losses", "won"), [((3.0, 1.0, 2.0), "warm_start"), ((1.0, 2.0, 1.5), "scratch")])
def test_the_better_of_warm_start_and_scratch_is_kept_and_the_history_tells_of_both(tmp_path, monkeypatch, losses, won):
    """Losses of the champion, of the same trained further, and of the model from scratch."""
    made = {name: trained(tmp_path, CONFIG, f"{name}.pth") for name in ("champion", "scratch")}
    answers = iter(losses)
    monkeypatch.setattr(warm_start, "served_loss", lambda *_: next(answers))
    kept = warm_start.choose(
        made["scratch"], tmp_path / "champion.pth", small_split(), CONFIG, tmp_path / "scratch.pth", **OPTIONS
    )
    told = kept.history["warm_start"]
    assert told["won"] == won
    assert (told["champion_loss"], told["warm_start_loss"], told["scratch_loss"]) == losses
    assert told["warm_start_steps"] == 2 * 3
    in_file = load_checkpoint(tmp_path / "scratch.pth")
    for name, value in kept.model.state_dict().items():
        np.testing.assert_array_equal(value, in_file.state_dict()[name], err_msg=name)
    assert not (tmp_path / warm_start.CHECKPOINT).exists()


@pytest.mark.parametrize("update", [{"architecture": "guide"}, {"window_size": 6}])
def test_a_champion_of_another_kind_is_no_start(tmp_path, caplog, update):
    trained(tmp_path, CONFIG.model_copy(update=update), "champion.pth")
    scratch = trained(tmp_path, CONFIG, "scratch.pth")
    kept = warm_start.choose(
        scratch, tmp_path / "champion.pth", small_split(), CONFIG, tmp_path / "scratch.pth", **OPTIONS
    )
    assert kept is scratch
    assert "another window, horizon or architecture" in caplog.text


def test_without_a_champion_the_model_from_scratch_is_kept(tmp_path):
    scratch = trained(tmp_path, CONFIG, "scratch.pth")
    assert warm_start.choose(scratch, None, small_split(), CONFIG, tmp_path / "scratch.pth", **OPTIONS) is scratch


def test_a_champion_of_an_earlier_version_is_no_start(tmp_path, caplog):
    (tmp_path / "champion.pth").write_bytes(b"of another kind")
    scratch = trained(tmp_path, CONFIG, "scratch.pth")
    kept = warm_start.choose(
        scratch, tmp_path / "champion.pth", small_split(), CONFIG, tmp_path / "scratch.pth", **OPTIONS
    )
    assert kept is scratch
    assert "The model from scratch is kept" in caplog.text
