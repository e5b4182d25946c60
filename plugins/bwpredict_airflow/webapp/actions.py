"""What a person may do from the pages: promote, roll back, retrain. Each leaves two records of who did it.

The registry's history has the person and the reason (`promoted_by`, `reason`), and so has Airflow's audit log.
Those who wait for the asset `bandwidth_model` hear of a move by hand as they hear of a run's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.assets.manager import asset_manager
from airflow.models.asset import AssetModel
from airflow.models.log import Log
from airflow.sdk.exceptions import AirflowException
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select

from bwpredict.errors import ConfigError
from bwpredict.registry.pointer import Production
from bwpredict.registry.promotion import promote, rollback
from bwpredict.registry_views.overview import announcement
from bwpredict.store.base import Store
from bwpredict_airflow.webapp.access import ModelContext


def promote_by_hand(
    here: ModelContext, store: Store, user: BaseUser, *, version: str, expected: str, reason: str
) -> Production:
    """Put a version into production, if what the person saw there is still there. Raises as `promote`."""
    return _moved(here, store, user, reason, "promote", lambda **who: promote(store, version, **who), expected)


def roll_back_by_hand(here: ModelContext, store: Store, user: BaseUser, *, expected: str, reason: str) -> Production:
    """Put back what served before, if what the person saw is still in production. Raises as `rollback`."""
    return _moved(here, store, user, reason, "roll_back", lambda **who: rollback(store, **who), expected)


def retrain(here: ModelContext, user: BaseUser, *, month: str, dry_run: bool, reason: str) -> str:
    """Trigger a retraining and return its run id.

    Raises:
        ConfigError: Airflow does not know the DAG, or does not take the params.
    """
    conf: dict[str, Any] = {"dry_run": dry_run} | ({"month": month} if month else {})
    try:
        run = trigger_dag(
            here.dag_id,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user.get_name(),
            conf=conf,
            note=f"{user.get_name()}: {reason}",
        )
    except (AirflowException, ValueError) as error:
        raise ConfigError(f"{here.dag_id}: {' '.join(str(error).split())}") from error
    if run is None:
        raise ConfigError(f"{here.dag_id}: no run was created; check that Airflow has the DAG.")
    _audit(here, user, "retrain", {"run_id": run.run_id, "reason": reason, **conf})
    return run.run_id


def _moved(
    here: ModelContext,
    store: Store,
    user: BaseUser,
    reason: str,
    event: str,
    move: Callable[..., Production],
    expected: str,
) -> Production:
    _audit(here, user, f"{event}_asked", {"expected": expected, "reason": reason})
    made = move(
        promoted_by=f"Airflow user {user.get_name()}",
        now=datetime.now(UTC),
        expected_version=expected or None,
        reason=reason,
    )
    _audit(here, user, event, {"version": made.version, "replaced": made.replaced, "reason": reason})
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == here.asset))
        if asset:
            asset_manager.register_asset_change(
                asset=asset, extra=announcement(store, made), source_is_api=True, session=session
            )
    return made


def _audit(here: ModelContext, user: BaseUser, event: str, extra: dict[str, Any]) -> None:
    with create_session() as session:
        session.add(
            Log(
                event=f"bandwidth_models.{event}",
                owner=user.get_name(),
                owner_display_name=user.get_name(),
                extra=json.dumps(extra),
                dag_id=here.dag_id,
            )
        )
