import pytest
from frames import make_frame, whole_days

from bwpredict.datasets.windows import index_windows


@pytest.fixture(scope="session")
def index():
    """Windows of two days of two links without gaps."""
    return index_windows(whole_days(2), 20, 15)


@pytest.fixture(scope="session")
def gappy_index():
    """Windows of three links with gaps, one of them too short to have a yesterday."""
    minutes = [*range(300), *range(340, 3000)]
    return index_windows(make_frame([minutes, list(range(2000)), list(range(90))]), 20, 15)
