import pytest


@pytest.fixture
def history():
    return {
        "records": [
            {
                "epoch": epoch,
                "train_loss": 0.3 + 1 / epoch,
                "validation_loss": 0.35 + 0.9 / epoch + (0.05 if epoch > 6 else 0),
                "learning_rate": 2e-3 * 0.8**epoch,
                "seconds": 17.4,
                "windows": 20_000,
            }
            for epoch in range(1, 9)
        ],
        "best_epoch": 6,
        "device": "cpu",
        "threads": 2,
        "windows_per_second": 1149.4,
        "duration_seconds": 143.2,
        "parameters": 546_672,
        "stopped_early": True,
        "loss": "mean absolute error in log space",
    }
