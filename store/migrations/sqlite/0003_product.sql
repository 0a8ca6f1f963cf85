-- The Product Control Plane: limits with slots and a queue, policies, approvals,
-- rollouts, webhooks, schedules, trees of runs, retention.
--
-- For the operator: creates new tables, and copies runs, whose checks SQLite cannot
-- change in place: seconds for a hundred thousand runs. Runs that go on hold no slot
-- afterwards, and their workflows do not go on in the code of this migration: drain them first.
-- Going down copies them back and drops the new tables WITH THEIR DATA; it fails
-- while runs wait for an approval; take a backup first.

-- +goose Up
PRAGMA defer_foreign_keys = ON;
-- Slots and the queue.

-- A limit, and what the runs of its scope use: the counters are those of the rows
-- of slots that name the scope. A quota that nobody has set is the platform's
-- default. 0: no bound.
CREATE TABLE limits (
    scope             TEXT NOT NULL PRIMARY KEY, -- kind:id
    kind              TEXT NOT NULL CHECK (kind IN ('platform', 'quota', 'organization', 'team', 'user', 'agent', 'publisher')),
    id                TEXT NOT NULL,
    org_id            TEXT NOT NULL,
    is_default        BOOLEAN NOT NULL,
    concurrent_runs   INTEGER NOT NULL CHECK (concurrent_runs >= 0),
    cpu_millis        INTEGER NOT NULL CHECK (cpu_millis >= 0),
    memory_mib        INTEGER NOT NULL CHECK (memory_mib >= 0),
    runs_per_day      INTEGER NOT NULL CHECK (runs_per_day >= 0),
    runs_per_month    INTEGER NOT NULL CHECK (runs_per_month >= 0),
    running           INTEGER NOT NULL CHECK (running >= 0),
    cpu_in_flight     INTEGER NOT NULL CHECK (cpu_in_flight >= 0),
    memory_in_flight  INTEGER NOT NULL CHECK (memory_in_flight >= 0),
    day               TEXT NOT NULL,
    runs_today        INTEGER NOT NULL,
    month             TEXT NOT NULL,
    runs_in_month     INTEGER NOT NULL,
    served_at         TEXT, -- when a run of the scope got its slot last
    updated_by        TEXT NOT NULL,
    updated_at        TEXT NOT NULL
);
CREATE INDEX limits_org_idx ON limits (org_id, scope) WHERE org_id <> '';

-- The runs that go on. A row lives from the admission of its run, or from the
-- moment that the slot was handed to it, to its settlement.
CREATE TABLE slots (
    run_id       TEXT NOT NULL PRIMARY KEY,
    org_id       TEXT NOT NULL,
    starter      TEXT NOT NULL,
    team_id      TEXT NOT NULL,
    agent_id     TEXT NOT NULL,
    publisher_id TEXT NOT NULL,
    cpu_millis   INTEGER NOT NULL,
    memory_mib   INTEGER NOT NULL,
    taken_at     TEXT NOT NULL
);
CREATE INDEX slots_org_idx ON slots (org_id, starter);
CREATE INDEX slots_team_idx ON slots (team_id) WHERE team_id <> '';
CREATE INDEX slots_agent_idx ON slots (agent_id);
CREATE INDEX slots_publisher_idx ON slots (publisher_id);

-- The runs that wait for a slot, and those that were handed one and do not know of
-- it yet (granted_at, with told_due_at for when to tell them). scope and bound are the
-- limit that they wait for.
CREATE TABLE queue (
    run_id       TEXT NOT NULL PRIMARY KEY,
    org_id       TEXT NOT NULL,
    starter      TEXT NOT NULL,
    team_id      TEXT NOT NULL,
    agent_id     TEXT NOT NULL,
    publisher_id TEXT NOT NULL,
    cpu_millis   INTEGER NOT NULL,
    memory_mib   INTEGER NOT NULL,
    urgency      INTEGER NOT NULL, -- the negated priority, so that the order is one of ascending columns
    scope        TEXT NOT NULL,
    bound        TEXT NOT NULL,
    entered_at   TEXT NOT NULL,
    granted_at   TEXT,
    told_due_at  TEXT
);
CREATE INDEX queue_order_idx ON queue (scope, org_id, starter, urgency, run_id) WHERE granted_at IS NULL;
CREATE INDEX queue_granted_idx ON queue (granted_at) WHERE granted_at IS NOT NULL;
CREATE INDEX queue_told_idx ON queue (told_due_at) WHERE told_due_at IS NOT NULL;

CREATE TABLE policies (
    org_id     TEXT NOT NULL, -- empty: the platform
    kind       TEXT NOT NULL CHECK (kind IN ('platform', 'organization', 'team', 'agent')),
    id         TEXT NOT NULL,
    document   TEXT NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (org_id, kind, id)
);

-- Rollouts.

CREATE TABLE rollouts (
    id         TEXT NOT NULL PRIMARY KEY,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    channel    TEXT NOT NULL,
    from_id    TEXT NOT NULL REFERENCES agent_versions (id),
    from_number TEXT NOT NULL,
    to_id      TEXT NOT NULL REFERENCES agent_versions (id),
    to_number  TEXT NOT NULL,
    stages     TEXT NOT NULL,
    stage      INTEGER NOT NULL,
    thresholds TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('running', 'paused', 'completed', 'rolled_back')),
    reason     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    staged_at  TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    ended_at   TEXT,
    revision   INTEGER NOT NULL,
    dispatch_due_at TEXT
);
CREATE UNIQUE INDEX rollouts_active_key ON rollouts (agent_id, channel) WHERE status IN ('running', 'paused');
CREATE INDEX rollouts_agent_idx ON rollouts (agent_id, id DESC);
CREATE INDEX rollouts_dispatch_idx ON rollouts (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

-- Webhooks.

CREATE TABLE webhook_endpoints (
    id          TEXT NOT NULL PRIMARY KEY,
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    run_id      TEXT NOT NULL, -- empty: of the organization
    url         TEXT NOT NULL,
    secret      TEXT NOT NULL,
    events      TEXT NOT NULL,
    description TEXT NOT NULL,
    disabled    BOOLEAN NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
);
CREATE INDEX webhook_endpoints_org_idx ON webhook_endpoints (org_id, run_id, id);
CREATE INDEX webhook_endpoints_runs_idx ON webhook_endpoints (id) WHERE run_id <> '';

-- No foreign key to the endpoint: the log of deliveries outlives it.
CREATE TABLE webhook_deliveries (
    id          TEXT NOT NULL PRIMARY KEY,
    endpoint_id TEXT NOT NULL,
    org_id      TEXT NOT NULL,
    run_id      TEXT NOT NULL,
    event       TEXT NOT NULL,
    payload     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    created_at  TEXT NOT NULL,
    ended_at    TEXT,
    dispatch_due_at TEXT
);
CREATE INDEX webhook_deliveries_endpoint_idx ON webhook_deliveries (endpoint_id, id DESC);
CREATE INDEX webhook_deliveries_run_idx ON webhook_deliveries (run_id) WHERE run_id <> '';
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (endpoint_id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_dispatch_idx ON webhook_deliveries (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

CREATE TABLE webhook_tries (
    delivery_id TEXT NOT NULL REFERENCES webhook_deliveries (id),
    number      INTEGER NOT NULL,
    at          TEXT NOT NULL,
    duration_ns INTEGER NOT NULL,
    status_code INTEGER NOT NULL,
    error       TEXT NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

-- Schedules.

CREATE TABLE schedules (
    id           TEXT NOT NULL PRIMARY KEY,
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    key_id       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    team_id      TEXT NOT NULL,
    name         TEXT NOT NULL,
    agent_id     TEXT NOT NULL REFERENCES agents (id),
    agent        TEXT NOT NULL,
    version      TEXT NOT NULL,
    input        BLOB NOT NULL,
    request      TEXT NOT NULL,
    labels       TEXT NOT NULL,
    cron         TEXT NOT NULL,
    time_zone    TEXT NOT NULL,
    overlap      TEXT NOT NULL CHECK (overlap IN ('skip', 'buffer_one', 'cancel_other', 'allow')),
    paused       BOOLEAN NOT NULL,
    pause_reason TEXT NOT NULL,
    budget_micros   INTEGER NOT NULL,
    budget_currency TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    deleted_at   TEXT,
    dispatch_due_at TEXT,
    last_skip    TEXT -- the last start that made no run
);
CREATE INDEX schedules_org_idx ON schedules (org_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX schedules_dispatch_idx ON schedules (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

-- What the runs of a tree may cost together: the root, its children and theirs.
-- held_micros is what those that go on may cost and the others did.
CREATE TABLE run_trees (
    root_id       TEXT NOT NULL PRIMARY KEY,
    runs          INTEGER NOT NULL, -- without the root
    budget_micros INTEGER,          -- null: no bound
    currency      TEXT NOT NULL,
    held_micros   INTEGER NOT NULL
);

-- Runs. The index is for the check of the references while the table is away.

CREATE INDEX idempotency_keys_run_idx ON idempotency_keys (run_id);
CREATE TABLE runs_before AS SELECT * FROM runs;
DROP TABLE runs;
CREATE TABLE runs (
    id                   TEXT NOT NULL PRIMARY KEY,
    org_id               TEXT NOT NULL REFERENCES organizations (id),
    key_id               TEXT NOT NULL,
    agent_id             TEXT NOT NULL REFERENCES agents (id),
    agent                TEXT NOT NULL,
    version_id           TEXT NOT NULL REFERENCES agent_versions (id),
    version              TEXT NOT NULL,
    image                TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling',
                             'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired', 'budget_exhausted')),
    reason               TEXT NOT NULL,
    cause                TEXT NOT NULL CHECK (cause IN ('', 'agent', 'caller', 'publisher', 'platform')),
    message              TEXT NOT NULL,
    labels               TEXT NOT NULL,
    request              TEXT NOT NULL,
    plan                 TEXT,
    created_at           TEXT NOT NULL,
    queue_deadline       TEXT,
    started_at           TEXT,
    finished_at          TEXT,
    input_size           INTEGER NOT NULL CHECK (input_size >= 0),
    output               TEXT,
    log                  TEXT,
    cancel_requested_by  TEXT NOT NULL,
    cancel_reason        TEXT NOT NULL,
    cancel_grace_ns      INTEGER,
    cancel_force         BOOLEAN NOT NULL,
    cancel_signaled_at   TEXT,
    cancel_terminated_at TEXT,
    cancel_gone_at       TEXT,
    cancel_exit_code     INTEGER,
    last_event_seq       INTEGER NOT NULL,
    dispatch_due_at      TEXT,
    user_id              TEXT NOT NULL DEFAULT '',
    cost_micros          INTEGER NOT NULL DEFAULT 0,
    cost_currency        TEXT NOT NULL DEFAULT '',
    team_id              TEXT NOT NULL DEFAULT '',
    origin               TEXT NOT NULL DEFAULT 'api',
    schedule_id          TEXT NOT NULL DEFAULT '',
    retry_of             TEXT NOT NULL DEFAULT '',
    parent_id            TEXT NOT NULL DEFAULT '',
    root_id              TEXT NOT NULL DEFAULT '',
    depth                INTEGER NOT NULL DEFAULT 0,
    approval             TEXT,
    retention_due_at     TEXT,
    data_removed_at      TEXT,
    -- A run that has ended is never told to the workflow engine again.
    CONSTRAINT runs_dispatch_check CHECK (dispatch_due_at IS NULL
        OR status IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling'))
);
INSERT INTO runs (id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message, labels,
    request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at,
    cancel_terminated_at, cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at, user_id,
    cost_micros, cost_currency)
SELECT id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message, labels,
    request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at,
    cancel_terminated_at, cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at, user_id,
    cost_micros, cost_currency FROM runs_before;
DROP TABLE runs_before;
DROP INDEX idempotency_keys_run_idx;
CREATE INDEX runs_org_id_idx ON runs (org_id, id DESC);
CREATE INDEX runs_org_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_org_agent_idx ON runs (org_id, agent, id DESC);
CREATE INDEX runs_org_created_idx ON runs (org_id, created_at);
CREATE INDEX runs_dispatch_idx ON runs (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;
CREATE INDEX runs_org_version_idx ON runs (org_id, version_id) WHERE started_at IS NOT NULL;
CREATE INDEX runs_schedule_idx ON runs (schedule_id, id DESC) WHERE schedule_id <> '';
CREATE INDEX runs_parent_idx ON runs (parent_id, id) WHERE parent_id <> '';
CREATE INDEX runs_samples_idx ON runs (agent_id, version_id, (request ->> 'version_rule'), id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_retention_idx ON runs (retention_due_at) WHERE retention_due_at IS NOT NULL;

-- The input that an approver put in the place of the caller's.
ALTER TABLE run_inputs ADD COLUMN edited BLOB;

-- The log of a run is append-only: not even the platform changes it.
-- +goose StatementBegin
CREATE TRIGGER run_events_no_update BEFORE UPDATE ON run_events
BEGIN
    SELECT RAISE(ABORT, 'run_events is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER run_events_no_delete BEFORE DELETE ON run_events
BEGIN
    SELECT RAISE(ABORT, 'run_events is append-only');
END;
-- +goose StatementEnd

-- +goose Down
PRAGMA defer_foreign_keys = ON;
DROP TRIGGER run_events_no_delete;
DROP TRIGGER run_events_no_update;
ALTER TABLE run_inputs DROP COLUMN edited;
CREATE INDEX idempotency_keys_run_idx ON idempotency_keys (run_id);
CREATE TABLE runs_after AS SELECT * FROM runs;
DROP TABLE runs;
CREATE TABLE runs (
    id                   TEXT NOT NULL PRIMARY KEY,
    org_id               TEXT NOT NULL REFERENCES organizations (id),
    key_id               TEXT NOT NULL,
    agent_id             TEXT NOT NULL REFERENCES agents (id),
    agent                TEXT NOT NULL,
    version_id           TEXT NOT NULL REFERENCES agent_versions (id),
    version              TEXT NOT NULL,
    image                TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('queued', 'starting', 'running', 'canceling',
                             'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired', 'budget_exhausted')),
    reason               TEXT NOT NULL,
    cause                TEXT NOT NULL CHECK (cause IN ('', 'agent', 'caller', 'publisher', 'platform')),
    message              TEXT NOT NULL,
    labels               TEXT NOT NULL,
    request              TEXT NOT NULL,
    plan                 TEXT,
    created_at           TEXT NOT NULL,
    queue_deadline       TEXT,
    started_at           TEXT,
    finished_at          TEXT,
    input_size           INTEGER NOT NULL CHECK (input_size >= 0),
    output               TEXT,
    log                  TEXT,
    cancel_requested_by  TEXT NOT NULL,
    cancel_reason        TEXT NOT NULL,
    cancel_grace_ns      INTEGER,
    cancel_force         BOOLEAN NOT NULL,
    cancel_signaled_at   TEXT,
    cancel_terminated_at TEXT,
    cancel_gone_at       TEXT,
    cancel_exit_code     INTEGER,
    last_event_seq       INTEGER NOT NULL,
    dispatch_due_at      TEXT,
    user_id              TEXT NOT NULL DEFAULT '',
    cost_micros          INTEGER NOT NULL DEFAULT 0,
    cost_currency        TEXT NOT NULL DEFAULT '',
    -- A run that has ended is never told to the workflow engine again.
    CONSTRAINT runs_dispatch_check CHECK (dispatch_due_at IS NULL
        OR status IN ('queued', 'starting', 'running', 'canceling'))
);
INSERT INTO runs (id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message, labels,
    request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at,
    cancel_terminated_at, cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at, user_id,
    cost_micros, cost_currency)
SELECT id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message, labels,
    request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at,
    cancel_terminated_at, cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at, user_id,
    cost_micros, cost_currency FROM runs_after;
DROP TABLE runs_after;
DROP INDEX idempotency_keys_run_idx;
CREATE INDEX runs_org_id_idx ON runs (org_id, id DESC);
CREATE INDEX runs_org_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_org_agent_idx ON runs (org_id, agent, id DESC);
CREATE INDEX runs_org_created_idx ON runs (org_id, created_at);
CREATE INDEX runs_dispatch_idx ON runs (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;
CREATE INDEX runs_org_version_idx ON runs (org_id, version_id) WHERE started_at IS NOT NULL;
DROP TABLE run_trees;
DROP TABLE schedules;
DROP TABLE webhook_tries;
DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
DROP TABLE rollouts;
DROP TABLE policies;
DROP TABLE queue;
DROP TABLE slots;
DROP TABLE limits;
