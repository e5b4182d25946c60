"""Random telemetry files, valid but odd: a model or one sentence. `make bench-fuzz` runs hundreds."""

import pytest
from hypothesis import HealthCheck, given, settings
from random_telemetry import Recipe, fit, read, recipes, train

ANY = list(HealthCheck)

pytestmark = pytest.mark.slow


@settings(max_examples=40, deadline=None, suppress_health_check=ANY)
@given(recipes())
def test_a_file_is_read_imported_and_cut_or_refused_in_one_sentence(recipe: Recipe) -> None:
    assert read(recipe)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=ANY)
@given(recipes())
def test_a_file_is_trained_on_or_refused_in_one_sentence(recipe: Recipe) -> None:
    assert fit(recipe)


@settings(max_examples=3, deadline=None, suppress_health_check=ANY)
@given(recipes())
def test_a_file_goes_all_the_way_to_its_artifacts_or_is_refused_in_one_sentence(recipe: Recipe) -> None:
    assert train(recipe)
