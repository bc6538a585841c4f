"""The metrics of runs, tasks, workers, the state file and its backups."""

from __future__ import annotations

from flowweaver.core.phases import Reason, RunPhase
from flowweaver.telemetry.catalogue import ANY, LONG, OTHER, counter, gauge, seconds, told

PHASES = tuple(phase.value for phase in RunPhase)
OUTCOMES = tuple(phase.value for phase in RunPhase if phase.finished)
BODIES = ("value", "http", "python", "shell", "wait", OTHER)
ENDS = ("completed", "failed", "timed_out", "cancelled", "interrupted", "crashed")
REFUSALS = (
    "InvalidSpec",
    "UnknownField",
    "InvalidGraph",
    "UnknownDependency",
    "DuplicateName",
    "InvalidExpression",
    "BodyNotAllowed",
    "TooLarge",
    OTHER,
)
RETRIED = (Reason.TASK_FAILED.value, Reason.TIMEOUT.value, OTHER)

RUNS = (
    gauge(
        "flowweaver_workflows",
        "Workflows that the store has, by where they stand.",
        "running, pending or suspended that only grow: more come than end; finished ones: give them a time to live.",
        phase=PHASES,
    ),
    counter(
        "flowweaver_workflows_finished_total",
        "Workflows that have ended.",
        "failed beside completed is the failure ratio; all of them at rest while some are running: nothing gets done.",
        outcome=OUTCOMES,
    ),
    seconds(
        "flowweaver_workflow_duration_seconds",
        "Time from the start of a Workflow's first task to its end.",
        "Its tasks take longer, are repeated, or wait for workers.",
        LONG,
        outcome=OUTCOMES,
    ),
    seconds(
        "flowweaver_workflow_start_latency_seconds",
        "Time from when a Workflow was recorded (or resumed) to the start of its first task.",
        "All workers are busy, or the state file is slow.",
        LONG,
    ),
    counter(
        "flowweaver_workflows_refused_total",
        "Specs that can not run, by the reason of their condition Accepted.",
        "Somebody applies what is wrong; BodyNotAllowed: what is not allowed here.",
        reason=REFUSALS,
    ),
    counter(
        "flowweaver_task_attempts_total",
        "Attempts that have ended, by kind of body and how.",
        "timed_out leaves bodies behind; crashed: the process died under them; interrupted: it was ended in order.",
        body=BODIES,
        outcome=ENDS,
    ),
    counter(
        "flowweaver_task_retries_total",
        "Failed attempts after which the task is tried again.",
        "What the bodies call is unwell; Timeout: it is slow.",
        body=BODIES,
        reason=RETRIED,
    ),
    seconds(
        "flowweaver_task_duration_seconds",
        "Time from the first start of a task to its end, with its retries.",
        "What the bodies do takes longer, or fails and is repeated.",
        LONG,
        body=BODIES,
    ),
    seconds(
        "flowweaver_task_queue_wait_seconds",
        "Time that a task could have started its first attempt and had not.",
        "There are too few workers, or a Workflow's own parallelism holds it back.",
        LONG,
    ),
    gauge(
        "flowweaver_tasks_ready",
        "Tasks that wait for nothing but a worker or room in their Workflow.",
        "More is ready than can be run: see flowweaver_workers_busy.",
    ),
    counter(
        "flowweaver_recovered_tasks_total",
        "Tasks that were taken up after a loss: rebuilt from a status, adopted from another store, or interrupted by"
        " the death of the process.",
        "The process dies, or its volume was lost.",
        action=("interrupted", "rebuilt", "adopted"),
    ),
    counter(
        "flowweaver_expression_errors_total",
        "Attempts that failed because an expression could not be evaluated.",
        "A manifest expects something of a result that is not so.",
    ),
)

WORKERS = (
    gauge("flowweaver_workers", "Attempts that may run at once.", "It is what the settings say."),
    gauge(
        "flowweaver_workers_busy",
        "Attempts that are running.",
        "At flowweaver_workers for long: everything else waits; add workers, or make bodies quicker.",
    ),
    gauge(
        "flowweaver_attempts_abandoned",
        "Bodies that nobody waits for any more and that have not returned: threads that timed out or were cancelled.",
        "Bodies do not watch for their cancellation; above flowweaver_workers nothing new is started.",
    ),
    gauge(
        "flowweaver_engine_heartbeat_age_seconds",
        "Time since the engine's last sign of life.",
        "Above a few seconds it hangs, or the machine is starved; after 60 the pod is started again.",
    ),
)

STORE = (
    seconds(
        "flowweaver_store_commit_duration_seconds",
        "Time until a turn of the engine was durable, with all repetitions of a failed write.",
        "The volume is slow or full; every task waits for it twice.",
    ),
    gauge(
        "flowweaver_store_commit_seconds",
        "The same of the last commit alone.",
        "See flowweaver_store_commit_duration_seconds.",
    ),
    gauge(
        "flowweaver_store_writable",
        "1: the state file takes writes.",
        "0: nothing is started until it does; what was recorded is safe.",
    ),
    counter(
        "flowweaver_store_errors_total",
        "Reads and writes of the state file that failed.",
        "full: make room; io, readonly: look at the volume; corrupt: restore a backup.",
        kind=("full", "io", "corrupt", "readonly", OTHER),
    ),
    gauge(
        "flowweaver_store_database_bytes",
        "Size of the state file.",
        "Finished Workflows are kept: delete them, or give them a time to live.",
    ),
    gauge(
        "flowweaver_store_wal_bytes",
        "Size of the state file's log.",
        "Only growing: somebody keeps a read transaction open.",
    ),
    gauge(
        "flowweaver_store_free_bytes",
        "Bytes that are left on the volume of the state file.",
        "Falling towards 0: the disk fills; at 0 nothing is started.",
    ),
    gauge("flowweaver_store_capacity_bytes", "Size of that volume.", "It was made larger."),
    gauge(
        "flowweaver_store_openings",
        "How often an operator has opened this state file since it was made.",
        "One a start: several an hour are a restart loop, whatever the pods are called.",
    ),
    counter(
        "flowweaver_backups_total",
        "Backups that the operator tried.",
        "failed: the log says why.",
        result=("written", "failed"),
    ),
    seconds(
        "flowweaver_backup_duration_seconds",
        "Time that a backup took.",
        "The state file has grown, or where it is copied to is slow.",
        LONG,
    ),
    told(
        "flowweaver_backup_interval_seconds",
        "How often the operator backs up; 0: never.",
        "It is what the settings say.",
    ),
    told(
        "flowweaver_backup_last_success_timestamp_seconds",
        "When the newest whole backup was written, in seconds since 1970; 0: there is none.",
        "Not rising for longer than two intervals: backups fail.",
    ),
)

BUILD = (
    told(
        "flowweaver_build_info",
        "Always 1: which FlowWeaver this is, on which Python and SQLite.",
        "Not there at all: no operator is running, or nobody scrapes it.",
        version=ANY,
        python=ANY,
        sqlite=ANY,
    ),
    gauge(
        "flowweaver_ready",
        "1: /readyz says yes.",
        "0: a new Workflow would not be taken up at once; /readyz says why.",
    ),
)
