import math

import numpy as np
import pytest
import torch
from frames import make_frame, whole_days

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.splitting import choose_split
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.network import ARCHITECTURES
from bwpredict.training.trainer import train
from bwpredict.training.validation import validation_losses

SMALL = TrainingConfig(epochs=3, batch_size=32, windows_per_epoch=128, validation_windows=256)


def split_of(frame):
    return split_windows(index_windows(frame, 20, 15), SplitConfig())


@pytest.fixture(scope="module")
def split():
    return split_of(whole_days(8))


def weights_of(model):
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def test_the_same_seed_gives_the_same_weights_bit_for_bit(split, tmp_path):
    first, second = (weights_of(train(split, SMALL, tmp_path / name).model) for name in ("a.pth", "b.pth"))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_neither_scaler_nor_training_sees_a_row_after_the_validation_part(split, tmp_path):
    expected = weights_of(train(split, SMALL, tmp_path / "a.pth").model)
    frame = split["test"].frame
    after = frame.timestamps > frame.timestamps[split["validation"].target_rows].max()
    poisoned_values = frame.values.copy()
    poisoned_values[after] = 1e6
    poisoned = split_of(type(frame)(poisoned_values, frame.timestamps, frame.link, frame.links))
    actual = weights_of(train(poisoned, SMALL, tmp_path / "b.pth").model)
    for name, value in expected.items():
        np.testing.assert_array_equal(value, actual[name], err_msg=name)


def test_the_checkpoint_is_the_epoch_with_the_least_validation_loss(split, tmp_path):
    training = train(split, SMALL, tmp_path / "best_model.pth")
    losses = {record["epoch"]: record["validation_loss"] for record in training.history["records"]}
    best = training.history["best_epoch"]
    assert best == 0 or losses[best] == min(losses.values())
    model = load_checkpoint(tmp_path / "best_model.pth")
    found = validation_losses(model, split["validation"], SMALL, torch.full((4,), 0.25))
    loss = np.mean(found[:, 0] / found[:, 3])
    assert loss <= min(losses.values()) + 1e-5
    if best:
        assert loss == pytest.approx(losses[best], rel=1e-5)


def test_what_validation_does_not_confirm_is_left_to_the_simple_forecast(tmp_path):
    """Steps of a random walk: nothing can be learnt, so the trained parts must not speak."""
    frame = whole_days(8)
    walk = np.exp(0.05 * np.cumsum(np.random.default_rng(3).normal(size=(frame.rows, 4)), axis=0) % 3)
    frame.values[:, :4] = (walk * [100, 20, 0.002, 2]).astype(np.float32)
    model = train(split_of(frame), SMALL, tmp_path / "best_model.pth").model
    assert (model.network_share.numpy() == 0).mean() > 0.5


def test_sessions_shorter_than_the_farthest_horizon_leave_no_figure_of_the_model_undefined(tmp_path):
    frame = make_frame([list(range(356, 416))] * 8)
    model = train(choose_split(index_windows(frame, 20, 15), SplitConfig()), SMALL, tmp_path / "best_model.pth").model
    assert all(np.isfinite(value).all() for value in weights_of(model).values())
    samples = torch.from_numpy(frame.values[None, :60])
    assert torch.isfinite(model(samples, model.empty_state(1)).quantiles).all()


def test_progress_is_told_for_each_epoch(split, tmp_path):
    told = []
    train(split, SMALL, tmp_path / "best_model.pth", on_epoch=told.append)
    assert [(record["epoch"], record["stage"], record["stage_epoch"]) for record in told] == [
        (1, "train", 1),
        (2, "train", 2),
        (3, "train", 3),
    ]
    assert all(math.isfinite(record["train_loss"]) and record["seconds"] > 0 for record in told)


def test_an_epoch_draws_at_most_twice_the_windows_that_there_are(split, tmp_path):
    config = TrainingConfig(epochs=1, batch_size=2048, validation_windows=256)
    there = len(split["train"])
    assert 2 * there < config.windows_per_epoch
    (record,) = train(split, config, tmp_path / "best_model.pth").history["records"]
    assert 2 * there <= record["windows"] < 2 * there + config.batch_size


def test_training_stops_when_validation_no_longer_improves(split, tmp_path):
    config = SMALL.model_copy(update={"epochs": 40, "patience_epochs": 1, "learning_rate": 0.3})
    history = train(split, config, tmp_path / "best_model.pth").history
    assert history["stopped_early"]
    assert len(history["records"]) < 41


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns(split, tmp_path, architecture):
    config = SMALL.model_copy(update={"architecture": architecture})
    training = train(split, config, tmp_path / "best_model.pth")
    assert training.model.architecture == architecture
    assert all(math.isfinite(record["validation_loss"]) for record in training.history["records"])


def test_telemetry_full_of_gaps_is_trained_on(tmp_path):
    """Minutes that are missing are no reason to throw the others away."""
    frame = whole_days(8)
    rng = np.random.default_rng(5)
    frame.values[rng.random(frame.rows) < 0.01, :4] = np.nan
    training = train(split_of(frame), SMALL, tmp_path / "best_model.pth")
    assert math.isfinite(training.history["records"][-1]["validation_loss"])


def test_a_constant_target_is_refused_by_name(tmp_path):
    frame = whole_days(8, links=1)
    frame.values[:, schema.FEATURES.index("rtt_ms")] = 7.0
    with pytest.raises(TelemetryError, match="rtt_ms: constant"):
        train(split_of(frame), SMALL, tmp_path / "best_model.pth")
    assert not list(tmp_path.iterdir())


def test_an_absent_target_is_left_out_of_the_loss(tmp_path):
    frame = whole_days(8, links=1)
    frame.values[:, schema.FEATURES.index("packet_loss")] = 0.0
    training = train(split_of(frame), SMALL, tmp_path / "best_model.pth", absent=frozenset({"packet_loss"}))
    assert all(math.isfinite(record["validation_loss"]) for record in training.history["records"])


def test_a_learning_rate_that_blows_up_is_named(split, tmp_path):
    config = SMALL.model_copy(update={"learning_rate": math.inf})
    with pytest.raises(ConfigError, match="learning_rate"):
        train(split, config, tmp_path / "best_model.pth")


def test_a_training_in_bfloat16_comes_to_nearly_the_same_loss_and_a_model_in_float32(split, tmp_path):
    lower = SMALL.model_copy(update={"precision": "bfloat16"})
    losses = {}
    for config in (SMALL, lower):
        training = train(split, config, tmp_path / f"{config.precision}.pth")
        losses[config.precision] = [record["train_loss"] for record in training.history["records"]]
        assert {value.dtype for value in training.model.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.03)
