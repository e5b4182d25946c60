"""A data set of two generated days, and what every model of a quick benchmark did on it."""

import pytest
from accuracy.data import Shape, synthetic
from accuracy.run import Terms, chosen_entries, run_dataset
from accuracy.task import Budget

SHAPE = Shape(links=5, days=2, test_windows=600)
TERMS = Terms(Budget(windows=600, epochs=1, validation_windows=300), seeds=(1,))
MODELS = ("mean_15_minutes", "seasonal_profile", "ridge", "bwpredict")


@pytest.fixture(scope="package")
def dataset():
    return synthetic("calm", SHAPE)


@pytest.fixture(scope="package")
def result(dataset):
    return run_dataset(dataset, chosen_entries(MODELS), TERMS)
