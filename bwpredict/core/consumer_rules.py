"""What a consumer does with a forecast, as rules that are data: settings from linear terms, and a least confidence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bwpredict.schema import Target

Floats = npt.NDArray[np.float64]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Rules(BaseModel):
    """An unknown key is an error, and so is a text for a number; values do not change once made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Term(_Rules):
    """A factor times the product of these forecasts."""

    factor: float
    of: list[Target] = Field(default=[], max_length=4)
    """Empty: the factor is a constant."""


class Setting(_Rules):
    """One thing that the consumer sets."""

    terms: list[Term] = Field(min_length=1, max_length=20)
    unit: str = Field("", max_length=20)
    whole: bool = False
    minimum: float = Field(gt=0)
    """Above 0: what a setting costs is measured against the setting under perfect knowledge."""
    maximum: float | None = None

    @model_validator(mode="after")
    def _maximum_is_above_the_minimum(self) -> Self:
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum {self.maximum:g} is below minimum {self.minimum:g}")
        return self

    def of(self, values: Mapping[str, Floats]) -> Floats:
        """[n], the setting for these n values of each target, in raw units; NaN where one of them is."""
        parts = [term.factor * np.prod([values[name] for name in term.of], axis=0) for term in self.terms]
        total = np.broadcast_to(np.sum(np.broadcast_arrays(*parts), axis=0), next(iter(values.values())).shape)
        return np.asarray(np.clip(np.rint(total) if self.whole else total, self.minimum, self.maximum))


class ConsumerRules(_Rules):
    """What a consumer sets, and when it does nothing. A named, versioned document."""

    name: str = Field(min_length=1, max_length=100)
    version: int = Field(1, ge=1)
    minimum_confidence: float = Field(ge=0, le=1)
    """Below it, the consumer keeps the settings that its last measurement implies."""
    settings: dict[_Name, Setting] = Field(min_length=1, max_length=20)
    surplus_cost: float = Field(1.0, ge=0)
    """Of a setting that is 1 % too large."""
    shortfall_cost: float = Field(1.0, ge=0)
    """Of a setting that is 1 % too small."""

    @model_validator(mode="after")
    def _something_costs(self) -> Self:
        if self.surplus_cost == self.shortfall_cost == 0:
            raise ValueError("surplus_cost and shortfall_cost are both 0: at least one must count")
        return self

    def cost(self, apart: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The cost of settings that are `apart` above (below: negative) the ideal ones, in their unit."""
        return np.where(apart > 0, self.surplus_cost * apart, -self.shortfall_cost * apart)

    @property
    def targets(self) -> tuple[str, ...]:
        """Those that the settings are made of, each once."""
        return tuple(
            dict.fromkeys(name for setting in self.settings.values() for term in setting.terms for name in term.of)
        )


@cache
def shipped_rules() -> ConsumerRules:
    """The rules that come with the package."""
    text = resources.files(__package__).joinpath("consumer_rules.yaml").read_text("utf-8")
    values: Any = yaml.safe_load(text)
    return ConsumerRules.model_validate(values)
