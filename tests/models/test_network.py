"""The network's laws: gaps, states, quantiles in order, and forecasts that are never absurd."""

import numpy as np
import pytest
import torch

from bwpredict import schema
from bwpredict.models.features import MEMORY_SIZE, RECENT_SAMPLES
from bwpredict.models.network import ARCHITECTURES, HORIZONS_MINUTES, QUANTILES, Contract, Forecaster, parameter_count

LEVELS = np.array([100.0, 20.0, 0.004, 2.0, 3.0, 2.0, 30.0, 5.0, 1.0])
CALENDAR = [schema.FEATURES.index(name) for name in ("time_of_day", "day_of_week")]


def samples(links=3, count=60, seed=0, level=1.0):
    rng = np.random.default_rng(seed)
    wander = np.exp(0.1 * np.cumsum(rng.normal(size=(links, count, len(schema.FEATURES))), axis=1) % 1.5)
    values = wander * LEVELS
    values[..., :4] *= level
    values[..., 2] = np.minimum(values[..., 2], 1)
    values[..., CALENDAR] = [3, 2]
    return torch.tensor(values, dtype=torch.float32)


def scaled(architecture="compact", *, noisy=True, seed=0):
    """A model with scales; `noisy`: with last layers that say anything, as after a bad training."""
    torch.manual_seed(seed)
    model = Forecaster(Contract(), architecture)
    daily = np.zeros((4, 3, 7), np.float32) + np.random.default_rng(1).normal(size=(4, 3, 7)).astype(np.float32)
    model.fit_scales(samples(8, 600, seed=9), daily)
    if noisy:
        for layer in (model.head[-1], model.direct):
            torch.nn.init.normal_(layer.weight, std=0.3)
    return model.eval()


@torch.inference_mode()
def run(model, values, state=None, step=None):
    state = model.empty_state(len(values)) if state is None else state
    step = step or 240
    for begin in range(0, values.shape[1], step):
        forecast = model(values[:, begin : begin + step], state)
        state = forecast.next_state
    return forecast


def with_gaps(values, seed=0):
    gapped = values.clone()
    rng = np.random.default_rng(seed)
    gapped[torch.from_numpy(rng.random(values.shape) < 0.05)] = torch.nan
    gapped[0, 20:35] = torch.nan
    gapped[1, :3] = torch.nan
    return gapped


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("step", [1, 7, 20])
def test_steps_of_any_size_give_the_same_forecast_and_state(architecture, step):
    model, values = scaled(architecture), with_gaps(samples())
    whole, stepped = run(model, values), run(model, values, step=step)
    for one, other, name in zip(whole, stepped, whole._fields, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4, msg=name)


def test_shapes_follow_the_contract():
    model = scaled()
    forecast = run(model, samples())
    assert forecast.output.shape == forecast.lower.shape == forecast.upper.shape == (3, 4)
    assert forecast.quantiles.shape == (3, len(HORIZONS_MINUTES), len(QUANTILES), 4)
    assert forecast.next_state.shape == (3, model.state_size)
    torch.testing.assert_close(forecast.quantiles[:, 2, 1], forecast.output)


@pytest.mark.parametrize(("minutes", "cadence", "steps"), [(15, 60, 5), (10, 60, 6), (15, 240, 4), (15, 300, 4)])
def test_the_contracts_horizon_is_always_among_those_of_the_network(minutes, cadence, steps):
    contract = Contract(20, minutes, cadence)
    assert len(contract.horizons_steps) == steps
    assert contract.horizons_minutes[contract.place] == pytest.approx(round(minutes * 60 / cadence) * cadence / 60)


def test_quantiles_never_cross_and_keep_physical_bounds():
    model = scaled()
    for values in (samples(level=1e4), samples(level=1e-4), with_gaps(samples(seed=5)), samples(count=1)):
        quantiles = run(model, values).quantiles
        assert torch.isfinite(quantiles).all()
        assert (quantiles.diff(dim=2) >= 0).all()
        assert (quantiles >= 0).all() and (quantiles[..., 2] <= 1).all()  # noqa: PT018


def test_an_untrained_network_forecasts_the_mean_of_a_quarter_of_an_hour():
    model, values = scaled(noisy=False), samples()
    model.network_share.zero_()
    levels = torch.log(values[:, -15:, :4] + model.features.offset[:4])
    torch.testing.assert_close(run(model, values).output, model.to_raw(levels.mean(dim=1)), rtol=1e-4, atol=1e-5)


def test_a_missing_minute_is_no_reset():
    model, values = scaled(), samples(count=400)
    gapped = values.clone()
    gapped[:, 380:390] = torch.nan
    whole, after = run(model, values), run(model, gapped)
    assert torch.isfinite(after.quantiles).all()
    means = slice(0, 7 * 6)
    torch.testing.assert_close(after.next_state[:, means], whole.next_state[:, means], rtol=0.2, atol=0.3)


@pytest.mark.parametrize("minutes", [300, 5000])
def test_after_any_outage_the_link_is_still_known(minutes):
    model, values = scaled(), samples(count=200)
    state = run(model, values).next_state
    nothing = torch.full((3, minutes, len(schema.FEATURES)), torch.nan)
    silent = run(model, nothing, state, step=100)
    torch.testing.assert_close(silent.next_state[:, :42], state[:, :42], rtol=1e-3, atol=1e-3)
    assert torch.isfinite(run(model, values, silent.next_state).quantiles).all()


def test_a_value_missing_in_one_column_only_is_the_same_case():
    model, values = scaled(), samples()
    gapped = values.clone()
    gapped[:, -1, 1] = torch.nan
    assert torch.isfinite(run(model, gapped).quantiles).all()


def features_of(values, cadence=60):
    return Forecaster(Contract(cadence_seconds=cadence)).features(values, torch.zeros(len(values), MEMORY_SIZE))[0]


@pytest.mark.parametrize("cadence", [60, 240, 900])
def test_without_gaps_a_complete_window_is_exactly_its_samples(cadence):
    values = samples(count=240)
    features = features_of(values, cadence)
    missing, windows = features.missing, features.recent[:, RECENT_SAMPLES - 1 :]
    levels = Forecaster(Contract()).features.levels(values)[..., :4]
    assert torch.equal(windows, levels.unfold(1, RECENT_SAMPLES, 1).transpose(2, 3))
    assert (missing[:, RECENT_SAMPLES - 1 :] == 0).all()
    lacking = 1 - torch.arange(1.0, RECENT_SAMPLES) / RECENT_SAMPLES
    torch.testing.assert_close(missing[1, : RECENT_SAMPLES - 1, 2], lacking, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("gap", "lacking"), [(1, 0.0), (5, 0.3), (30, 0.9), (150, 0.95)])
def test_after_a_gap_in_a_column_its_window_fills_again_sample_by_sample(gap, lacking):
    values = samples(count=240)
    end = values.shape[1] - 2 * RECENT_SAMPLES
    values[:, end - gap : end, 1] = torch.nan
    missing = features_of(values).missing[:, end:]
    assert (missing[..., [0, 2, 3]] == 0).all()
    of_column = missing[..., 1]
    torch.testing.assert_close(of_column[:, 0], torch.full((3,), lacking), rtol=0, atol=0.02)
    assert (of_column.diff(dim=1) <= 0).all()
    assert (of_column[:, RECENT_SAMPLES - 1 :] == 0).all()


def test_after_a_long_gap_nothing_from_before_it_is_in_the_window():
    values = samples(count=240)
    values[:, :80, :4] *= 100
    values[:, 80:200] = torch.nan
    recent = features_of(values).recent[:, 200:]
    levels = Forecaster(Contract()).features.levels(values)[..., :4][:, 200:]
    for place in range(RECENT_SAMPLES):
        since = levels[:, : place + 1]
        assert (recent[:, place] <= since.amax(dim=1, keepdim=True) + 1e-3).all()
        torch.testing.assert_close(recent[:, place, -place - 1 :], since)


def test_zeros_mean_never_seen_and_the_first_sample_is_a_forecast():
    model, values = scaled(), samples(count=1)
    forecast = run(model, values)
    torch.testing.assert_close(forecast.output, values[:, 0, :4], rtol=1e-4, atol=1e-5)
    never = run(model, torch.full((1, 5, len(schema.FEATURES)), torch.nan))
    assert (never.output < 1e-9).all()


@pytest.mark.parametrize("level", [0.0, 0.001, 1.0, 1e6])
def test_a_constant_link_is_forecast_as_it_is(level):
    values = samples(count=1).repeat(1, 300, 1)
    values[..., :4] = level
    values[..., 2] = min(level, 1.0)
    for count in (20, 300):
        expected = values[:, -1, :4]
        torch.testing.assert_close(run(scaled(), values[:, :count]).output, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("factor", [10.0, 1e-3, 1024.0**2, 8.0])
def test_a_level_or_unit_that_changes_is_followed_within_minutes(factor):
    """The anchor follows the link: nothing that training has seen pulls a forecast back."""
    model, values = scaled(noisy=False), samples(count=400)
    values[:, 200:, [0, 1, 3]] *= factor
    output = run(model, values[:, :230]).output[:, [0, 1, 3]]
    ratio = output / values[:, 215:230, [0, 1, 3]].mean(dim=1)
    assert ((ratio > 0.5) & (ratio < 2)).all()


def test_nothing_that_a_bad_training_says_takes_a_forecast_far_from_its_link():
    model = scaled(noisy=True, seed=3)
    for layer in (model.head[-1], model.direct):
        layer.weight.data.mul_(1e3)
    values = samples(count=60)
    features = model.features(values, torch.zeros(3, MEMORY_SIZE))[0]
    bound = model.change_bounds.abs().amax(dim=0)[2] * features.scale[:, -1]
    moved = (model.in_log_space(run(model, values).output) - features.anchor[:, -1]).abs()
    simple = (model.features.simple_forecasts(features.recent)[:, -1, 1] - features.anchor[:, -1]).abs()
    assert (moved <= bound + simple + 1e-4).all()


def test_sizes_are_what_the_docs_say():
    assert parameter_count(Forecaster(Contract(), "compact")) < 360_000
    assert Forecaster(Contract(), "compact").state_size == MEMORY_SIZE + 2 * 96
    assert Forecaster(Contract(), "guide").state_size == MEMORY_SIZE + 2 * (256 + 128 + 64)


@pytest.mark.parametrize(("factor", "is_last_value"), [(2.0, False), (0.5, False), (100.0, True), (0.001, True)])
def test_only_a_jump_to_another_order_of_magnitude_is_forecast_by_its_last_value(factor, is_last_value):
    """A quiet link whose round-trip time doubles for some minutes usually comes back (RIPE Atlas)."""
    rtt = schema.FEATURES.index("rtt_ms")
    values = torch.tensor(LEVELS, dtype=torch.float32).repeat(2, 200, 1)
    values[..., CALENDAR] = torch.tensor([3.0, 2.0])
    values[..., rtt] *= 1 + 0.001 * torch.from_numpy(np.random.default_rng(0).normal(size=(2, 200))).float()
    values[:, -3:, rtt] *= factor
    forecast = run(scaled(noisy=False), values).output[:, schema.TARGETS.index("rtt_ms")]
    last = values[:, -1, rtt]
    assert torch.isclose(forecast, last, rtol=1e-4).tolist() == [is_last_value] * 2
