"""Log what becomes of a shadow: it starts, was promoted, or failed.

Owns these log records. Called by `agents.worker.tasks.processor` and `agents.worker.run`.
"""

from __future__ import annotations

import structlog

from agents.process.errors import error_text
from stream.plan.plan import Plan
from stream.recovery.namespaces import Opened
from stream.scoring.peers import identity

log = structlog.get_logger()


def log_candidate(plan: Plan, candidate: Plan) -> None:
    """Log what of a candidate can not run beside the live policy."""
    if candidate.label == plan.label:
        log.warning("shadow_is_live", policy=plan.label, then="no shadow runs; the setting can go")
    tables = {identity(plan.measures[index].measure) for index in plan.peers}
    for measure in (candidate.measures[index].measure for index in candidate.peers):
        if identity(measure) not in tables:
            log.warning("shadow_lacks_peers", measure=measure.name, then="missing until the policy is live")


def log_opened(opened: Opened, partition: int) -> None:
    """Log what restoring a partition did."""
    if opened.promoted:
        log.info("shadow_promoted", partition=partition, policy=opened.pair.live.plan.label)
    for measure, missing in opened.missing.items():
        log.warning("measure_lacks_history", measure=measure, partition=partition, lacks=missing)
    for source, seen in opened.pair.live.seen.items():
        if seen.ids_alone is not None:
            meaning = "ids that an earlier version saved: a new event with one of them is dropped as a duplicate where "
            meaning += "its account had events at this restore, whichever account the id is of"
            log.warning(
                "ids_without_accounts", source=source, partition=partition, ids=len(seen.ids_alone), note=meaning
            )
    shadow = opened.pair.shadow
    if shadow is None:
        return
    label = shadow.engine.plan.label
    log.info("shadow", partition=partition, policy=label, state="new" if opened.begun else "kept")
    for measure, missing in opened.shadow_missing.items():
        log.warning("measure_lacks_history", measure=measure, partition=partition, lacks=missing, shadow=label)


def log_failure(error: Exception, partition: int) -> None:
    """Log that a shadow has ended and that the live policy goes on."""
    log.error(
        "shadow_failed",
        partition=partition,
        error=error_text(error),
        exc_info=error,
        then="the live policy goes on; the shadow starts from nothing when the worker restarts",
    )
