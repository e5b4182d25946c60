import pytest
from sample_documents import sample_history


@pytest.fixture
def history():
    return sample_history()
