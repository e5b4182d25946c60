"""The champion's weights as a start, beside a training from scratch."""

import numpy as np
import pytest
from small_training import CONFIG, small_split

from bwpredict.config import TrainingConfig
from bwpredict.models.network import load_checkpoint
from bwpredict.training import warm_start
from bwpredict.training.trainer import train

LONGER = CONFIG.model_copy(update={"highway_epochs": 6, "epochs": 3, "windows_per_epoch": 512})
OPTIONS = {"absent": frozenset(), "on_epoch": None}


def trained(folder, config: TrainingConfig, name):
    return train(small_split(config), config, folder / name)


@pytest.mark.parametrize(
    ("good", "poor", "won"),
    [("champion", "scratch", "warm_start"), ("scratch", "champion", "scratch")],
)
def test_the_better_of_warm_start_and_scratch_is_kept_and_the_history_tells_of_both(tmp_path, good, poor, won):
    """A champion that learnt long beside a few steps from scratch, and the other way round."""
    spoilt = CONFIG.model_copy(update={"highway_epochs": 0, "learning_rate": 1e-6})
    made = {name: trained(tmp_path, LONGER if name == good else spoilt, f"{name}.pth") for name in (good, poor)}
    if poor == "champion":
        _damage(made["champion"].model, tmp_path / "champion.pth")
    else:
        _damage(made["scratch"].model, tmp_path / "scratch.pth")
    kept = warm_start.choose(
        made["scratch"], tmp_path / "champion.pth", small_split(), spoilt, tmp_path / "scratch.pth", **OPTIONS
    )
    told = kept.history["warm_start"]
    assert told["won"] == won
    assert (told["warm_start_loss"] < told["scratch_loss"]) == (won == "warm_start")
    assert told["warm_start_steps"] == sum(-(-96 // 32) for _ in range(1))
    in_file = load_checkpoint(tmp_path / "scratch.pth")
    for name, value in kept.model.state_dict().items():
        np.testing.assert_array_equal(value, in_file.state_dict()[name], err_msg=name)
    assert not (tmp_path / warm_start.CHECKPOINT).exists()


def _damage(model, path):
    """Forecast far from anything, so that nobody wins by chance."""
    from bwpredict.models.network import save_checkpoint

    model.anchor_weights.add_(0.2)
    model.served_anchor_weights.add_(0.2)
    save_checkpoint(model, path, {})


@pytest.mark.parametrize("update", [{"architecture": "dense"}, {"window_size": 6}])
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
