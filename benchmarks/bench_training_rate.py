"""Training rate of the layers: windows per second, and the share of the machine's float32 matrix product rate.

The rate is measured before and after each batch size; the operations are those of all matrix products of the network.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from common import flops_per_window, matmul_gflops, peak_memory_mb, report, synthetic_frame

from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.training.trainer import train


def main() -> None:
    """Train two epochs for each batch size on the same windows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=12)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--windows", type=int, default=20_000, help="training windows per epoch")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128, 256, 512])
    arguments = parser.parse_args()
    frame = synthetic_frame(arguments.links, arguments.days)
    rows = []
    for batch_size in arguments.batch_sizes:
        config = TrainingConfig(
            epochs=2,
            batch_size=batch_size,
            windows_per_epoch=arguments.windows,
            validation_windows=1000,
        )
        split = split_windows(index_windows(frame, config.window_size, config.horizon_minutes), SplitConfig())
        before = matmul_gflops()
        with tempfile.TemporaryDirectory() as folder:
            training = train(split, config, Path(folder, "best_model.pth"))
        limit, history = (before + matmul_gflops()) / 2, training.history
        # A backward pass costs twice the forward pass: one product for the inputs, one for the weights.
        flops = 3 * flops_per_window(training.model)
        gflops = history["windows_per_second"] * flops / 1e9
        rows.append(
            {
                "batch size": batch_size,
                "windows/s": history["windows_per_second"],
                "GFLOP/s": gflops,
                "matmul GFLOP/s": limit,
                "share of matmul": gflops / limit,
                "peak memory MB": peak_memory_mb(),
            }
        )
    report("training_rate", rows)


if __name__ == "__main__":
    main()
