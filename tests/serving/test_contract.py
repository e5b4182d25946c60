"""A consumer built for one contract refuses every other: the changes, enumerated."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from challengers import V2
from models import interval_onnx, metadata_of

from bwpredict import schema
from bwpredict.errors import ContractChangedError
from bwpredict.serving.contract import ServingContract, contract_of, differences, require_same


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder: Path = tmp_path_factory.mktemp("model")
    return metadata_of(interval_onnx(folder / "model.onnx", factor=1), V2)


CHANGES = {
    "window": lambda c: c.update(window_size=30),
    "horizon": lambda c: c.update(horizon_minutes=30),
    "cadence": lambda c: c.update(cadence_seconds=300),
    "scaling outside the graph": lambda c: c.update(raw_units=False),
    "time zone": lambda c: c["calendar"].update(time_zone="Europe/Berlin"),
    "first day": lambda c: c["calendar"].update(first_day="Monday"),
    "order of features": lambda c: c["input"]["columns"].reverse(),
    "two features swapped": lambda c: c["input"]["columns"].insert(0, c["input"]["columns"].pop(1)),
    "feature gone": lambda c: c["input"]["columns"].pop(),
    "feature more": lambda c: c["input"]["columns"].append(c["input"]["columns"][0]),
    "feature renamed": lambda c: c["input"]["columns"][0].update(name="bandwidth_mbps"),
    "unit of a feature": lambda c: c["input"]["columns"][1].update(unit="s"),
    "order of targets": lambda c: c["output"]["columns"].reverse(),
    "target gone": lambda c: c["output"]["columns"].pop(),
    "target more": lambda c: c["output"]["columns"].append(c["output"]["columns"][0]),
    "unit of a target": lambda c: c["output"]["columns"][2].update(unit="%"),
    "input renamed": lambda c: c["input"].update(name="x"),
    "output renamed": lambda c: c["output"].update(name="y"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_contract_is_refused_with_a_sentence(metadata: dict, change: str) -> None:
    built_for = contract_of(metadata)
    changed = copy.deepcopy(metadata)
    CHANGES[change](changed["contract"])
    (difference,) = differences(built_for, contract_of(changed))
    with pytest.raises(ContractChangedError) as refused:
        require_same(built_for, contract_of(changed), model=V2)
    assert f"{V2}: this consumer was built for another contract: {difference}; keep the model" in str(refused.value)


def test_the_enumeration_leaves_out_no_part_of_the_contract(metadata: dict) -> None:
    built_for, seen = contract_of(metadata), set()
    for change in CHANGES.values():
        changed = copy.deepcopy(metadata)
        change(changed["contract"])
        found = contract_of(changed)
        seen |= {name for name in vars(built_for) if getattr(built_for, name) != getattr(found, name)}
    assert seen == vars(built_for).keys() - {"interval_level"}


def test_the_documents_contract_is_what_this_version_makes(metadata: dict) -> None:
    assert not differences(ServingContract(), contract_of(metadata))
    assert ServingContract().feature_names == schema.FEATURES


def test_intervals_that_come_in_addition_are_no_change_but_gone_they_are(metadata: dict) -> None:
    without = copy.deepcopy(metadata)
    without["contract"]["further_outputs"] = []
    assert not differences(contract_of(without), contract_of(metadata))
    assert differences(contract_of(metadata), contract_of(without)) == ["interval_level is none, built for 0.9"]


def test_another_model_or_version_is_no_change(metadata: dict) -> None:
    assert not differences(contract_of(metadata), contract_of(metadata | {"version": "v20270101_000000", "seed": 7}))
