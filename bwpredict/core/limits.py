"""Size limits for everything from outside, in one place; docs/security.md describes them.

They are far above what the product writes itself, and low enough that no file can fill memory or run for hours.
"""

from __future__ import annotations

MIB = 1 << 20

DOCUMENT_BYTES = 64 * MIB
"""A JSON document; the largest written so far, a comparison of many links, has some hundred KB."""
OBJECT_BYTES = 512 * MIB
"""An object that is read from a store into memory, or downloaded with a version of a model."""
ONNX_BYTES = 256 * MIB
"""A model file; a model of this product has 2.4 MB."""
ONNX_NODES = 20_000
"""Nodes in a model's graph; ours has about 300."""
ONNX_ELEMENTS = 1 << 24
"""Elements of one tensor inside a model, for one window where that is not said; ours has at most 262,144."""
ONNX_LENGTH = 4096
"""Samples that one operator of a model pads with or transforms; a day of minutes has 1,440."""
TREE_NODES = 10_000
"""Nodes of one decision tree in a model: ONNX Runtime reads it by recursion, and 100,000 in a row end its process."""
TREE_OUTPUTS = 1024
"""Numbers that one ensemble of trees gives for a row."""
CHECKPOINT_BYTES = 512 * MIB
"""A checkpoint, and what its records hold unpacked; ours have 2.2 MB."""
ROWS_PER_FILE = 200_000_000
"""Rows of one telemetry file: 1,000 links for four months. More belong into partitions."""
TEXT_CHARACTERS = 256
"""Characters of a text in telemetry, such as a region's name."""
PREDICTED_WINDOWS = 65_536
"""Windows that a consumer may ask for at once: 47 MB of input."""
