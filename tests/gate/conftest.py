import pytest
from gate_documents import Judgement


@pytest.fixture
def judged():
    """A challenger that passes every check of the guide against a champion; tests break one thing."""
    return Judgement()
