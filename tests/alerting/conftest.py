import pytest
from sample_documents import sample_comparison, sample_decision, sample_validation


@pytest.fixture
def decision():
    """A rejection: one figure too large, and one that could not be computed."""
    comparison = sample_comparison(error=3.0)
    comparison["models"]["challenger"]["per_target"]["jitter_ms"]["skill"] = None
    return sample_decision(comparison)


@pytest.fixture
def validation():
    return sample_validation(broken=True)
