"""The training guide's layers as they stand in the guide: LSTM 256, 128, 64, dense 128, 64, 32, 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bwpredict import schema


class GuideLayers(nn.Module):
    """With 9 inputs they hold 540,516 parameters."""

    def __init__(self, inputs: int) -> None:
        """`inputs`: columns of the sequence that goes in."""
        super().__init__()
        self.lstm1 = nn.LSTM(inputs, 256, batch_first=True)
        self.norm1 = nn.BatchNorm1d(256)
        self.lstm2 = nn.LSTM(256, 128, batch_first=True)
        self.norm2 = nn.BatchNorm1d(128)
        self.lstm3 = nn.LSTM(128, 64, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.dense1 = nn.Linear(64, 128)
        self.norm3 = nn.BatchNorm1d(128)
        self.dense2 = nn.Linear(128, 64)
        self.dropout2 = nn.Dropout(0.21)
        self.dense3 = nn.Linear(64, 32)
        self.output = nn.Linear(32, len(schema.TARGETS))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, sequence: Tensor) -> Tensor:
        """[batch, steps, inputs] to [batch, targets]."""
        hidden = self.dropout(self.norm1(self.lstm1(sequence)[0].transpose(1, 2)).transpose(1, 2))
        hidden = self.dropout(self.norm2(self.lstm2(hidden)[0].transpose(1, 2)).transpose(1, 2))
        last = self.lstm3(hidden)[0][:, -1]
        dense = self.norm3(self.dropout(torch.relu(self.dense1(last))))
        dense = self.dropout2(torch.relu(self.dense2(dense)))
        output: Tensor = self.output(torch.relu(self.dense3(dense)))
        return output
