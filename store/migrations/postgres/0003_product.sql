-- The Product Control Plane: limits with slots and a queue, policies, approvals,
-- rollouts, webhooks, schedules, trees of runs, retention.
--
-- For the operator: adds columns with constant defaults and creates new tables.
-- Nothing is rewritten, but runs are read for their new indexes and checks, and are
-- locked meanwhile: seconds for ten million runs. Runs that go on hold no slot
-- afterwards, and their workflows do not go on in the code of this migration: drain them first.
-- Going down drops the new tables WITH THEIR DATA, and fails while runs wait for an
-- approval; take a backup first.

-- +goose Up
-- Slots and the queue.

-- A limit, and what the runs of its scope use: the counters are those of the rows
-- of slots that name the scope. A quota that nobody has set is the platform's
-- default. 0: no bound.
CREATE TABLE limits (
    scope             text COLLATE "C" NOT NULL PRIMARY KEY, -- kind:id
    kind              text COLLATE "C" NOT NULL CHECK (kind IN ('platform', 'quota', 'organization', 'team', 'user', 'agent', 'publisher')),
    id                text COLLATE "C" NOT NULL,
    org_id            text COLLATE "C" NOT NULL,
    is_default        boolean NOT NULL,
    concurrent_runs   bigint NOT NULL CHECK (concurrent_runs >= 0),
    cpu_millis        bigint NOT NULL CHECK (cpu_millis >= 0),
    memory_mib        bigint NOT NULL CHECK (memory_mib >= 0),
    runs_per_day      bigint NOT NULL CHECK (runs_per_day >= 0),
    runs_per_month    bigint NOT NULL CHECK (runs_per_month >= 0),
    running           bigint NOT NULL CHECK (running >= 0),
    cpu_in_flight     bigint NOT NULL CHECK (cpu_in_flight >= 0),
    memory_in_flight  bigint NOT NULL CHECK (memory_in_flight >= 0),
    day               text COLLATE "C" NOT NULL,
    runs_today        bigint NOT NULL,
    month             text COLLATE "C" NOT NULL,
    runs_in_month     bigint NOT NULL,
    served_at         timestamptz, -- when a run of the scope got its slot last
    updated_by        text COLLATE "C" NOT NULL,
    updated_at        timestamptz NOT NULL
);
CREATE INDEX limits_org_idx ON limits (org_id, scope) WHERE org_id <> '';

-- The runs that go on. A row lives from the admission of its run, or from the
-- moment that the slot was handed to it, to its settlement.
CREATE TABLE slots (
    run_id       text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id       text COLLATE "C" NOT NULL,
    starter      text COLLATE "C" NOT NULL,
    team_id      text COLLATE "C" NOT NULL,
    agent_id     text COLLATE "C" NOT NULL,
    publisher_id text COLLATE "C" NOT NULL,
    cpu_millis   bigint NOT NULL,
    memory_mib   bigint NOT NULL,
    taken_at     timestamptz NOT NULL
);
CREATE INDEX slots_org_idx ON slots (org_id, starter);
CREATE INDEX slots_team_idx ON slots (team_id) WHERE team_id <> '';
CREATE INDEX slots_agent_idx ON slots (agent_id);
CREATE INDEX slots_publisher_idx ON slots (publisher_id);

-- The runs that wait for a slot, and those that were handed one and do not know of
-- it yet (granted_at, with told_due_at for when to tell them). scope and bound are the
-- limit that they wait for.
CREATE TABLE queue (
    run_id       text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id       text COLLATE "C" NOT NULL,
    starter      text COLLATE "C" NOT NULL,
    team_id      text COLLATE "C" NOT NULL,
    agent_id     text COLLATE "C" NOT NULL,
    publisher_id text COLLATE "C" NOT NULL,
    cpu_millis   bigint NOT NULL,
    memory_mib   bigint NOT NULL,
    urgency      bigint NOT NULL, -- the negated priority, so that the order is one of ascending columns
    scope        text COLLATE "C" NOT NULL,
    bound        text COLLATE "C" NOT NULL,
    entered_at   timestamptz NOT NULL,
    granted_at   timestamptz,
    told_due_at  timestamptz
);
CREATE INDEX queue_order_idx ON queue (scope, org_id, starter, urgency, run_id) WHERE granted_at IS NULL;
CREATE INDEX queue_granted_idx ON queue (granted_at) WHERE granted_at IS NOT NULL;
CREATE INDEX queue_told_idx ON queue (told_due_at) WHERE told_due_at IS NOT NULL;

CREATE TABLE policies (
    org_id     text COLLATE "C" NOT NULL, -- empty: the platform
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('platform', 'organization', 'team', 'agent')),
    id         text COLLATE "C" NOT NULL,
    document   jsonb NOT NULL,
    updated_by text COLLATE "C" NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, kind, id)
);

-- Rollouts.

CREATE TABLE rollouts (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    channel    text COLLATE "C" NOT NULL,
    from_id    text COLLATE "C" NOT NULL REFERENCES agent_versions (id),
    from_number text COLLATE "C" NOT NULL,
    to_id      text COLLATE "C" NOT NULL REFERENCES agent_versions (id),
    to_number  text COLLATE "C" NOT NULL,
    stages     jsonb NOT NULL,
    stage      bigint NOT NULL,
    thresholds jsonb NOT NULL,
    status     text COLLATE "C" NOT NULL CHECK (status IN ('running', 'paused', 'completed', 'rolled_back')),
    reason     text NOT NULL,
    created_at timestamptz NOT NULL,
    staged_at  timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at   timestamptz,
    revision   bigint NOT NULL,
    dispatch_due_at timestamptz
);
CREATE UNIQUE INDEX rollouts_active_key ON rollouts (agent_id, channel) WHERE status IN ('running', 'paused');
CREATE INDEX rollouts_agent_idx ON rollouts (agent_id, id DESC);
CREATE INDEX rollouts_dispatch_idx ON rollouts (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

-- Webhooks.

CREATE TABLE webhook_endpoints (
    id          text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id      text COLLATE "C" NOT NULL REFERENCES organizations (id),
    run_id      text COLLATE "C" NOT NULL, -- empty: of the organization
    url         text NOT NULL,
    secret      text NOT NULL,
    events      jsonb NOT NULL,
    description text NOT NULL,
    disabled    boolean NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX webhook_endpoints_org_idx ON webhook_endpoints (org_id, run_id, id);
CREATE INDEX webhook_endpoints_runs_idx ON webhook_endpoints (id) WHERE run_id <> '';

-- No foreign key to the endpoint: the log of deliveries outlives it.
CREATE TABLE webhook_deliveries (
    id          text COLLATE "C" NOT NULL PRIMARY KEY,
    endpoint_id text COLLATE "C" NOT NULL,
    org_id      text COLLATE "C" NOT NULL,
    run_id      text COLLATE "C" NOT NULL,
    event       text COLLATE "C" NOT NULL,
    payload     text NOT NULL,
    status      text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    dispatch_due_at timestamptz
);
CREATE INDEX webhook_deliveries_endpoint_idx ON webhook_deliveries (endpoint_id, id DESC);
CREATE INDEX webhook_deliveries_run_idx ON webhook_deliveries (run_id) WHERE run_id <> '';
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (endpoint_id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_dispatch_idx ON webhook_deliveries (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

CREATE TABLE webhook_tries (
    delivery_id text COLLATE "C" NOT NULL REFERENCES webhook_deliveries (id),
    number      bigint NOT NULL,
    at          timestamptz NOT NULL,
    duration_ns bigint NOT NULL,
    status_code bigint NOT NULL,
    error       text NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

-- Schedules.

CREATE TABLE schedules (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id       text COLLATE "C" NOT NULL REFERENCES organizations (id),
    key_id       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    team_id      text COLLATE "C" NOT NULL,
    name         text NOT NULL,
    agent_id     text COLLATE "C" NOT NULL REFERENCES agents (id),
    agent        text COLLATE "C" NOT NULL,
    version      text COLLATE "C" NOT NULL,
    input        bytea NOT NULL,
    request      jsonb NOT NULL,
    labels       jsonb NOT NULL,
    cron         text NOT NULL,
    time_zone    text NOT NULL,
    overlap      text COLLATE "C" NOT NULL CHECK (overlap IN ('skip', 'buffer_one', 'cancel_other', 'allow')),
    paused       boolean NOT NULL,
    pause_reason text NOT NULL,
    budget_micros   bigint NOT NULL,
    budget_currency text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    revision     bigint NOT NULL,
    deleted_at   timestamptz,
    dispatch_due_at timestamptz,
    last_skip    jsonb -- the last start that made no run
);
CREATE INDEX schedules_org_idx ON schedules (org_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX schedules_dispatch_idx ON schedules (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

-- What the runs of a tree may cost together: the root, its children and theirs.
-- held_micros is what those that go on may cost and the others did.
CREATE TABLE run_trees (
    root_id       text COLLATE "C" NOT NULL PRIMARY KEY,
    runs          bigint NOT NULL, -- without the root
    budget_micros bigint,          -- null: no bound
    currency      text COLLATE "C" NOT NULL,
    held_micros   bigint NOT NULL
);

-- Runs.

ALTER TABLE runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check CHECK (status IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling',
        'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired', 'budget_exhausted')),
    DROP CONSTRAINT runs_dispatch_check,
    ADD CONSTRAINT runs_dispatch_check CHECK (dispatch_due_at IS NULL
        OR status IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling')),
    ADD COLUMN team_id          text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN origin           text COLLATE "C" NOT NULL DEFAULT 'api',
    ADD COLUMN schedule_id      text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN retry_of         text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN parent_id        text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN root_id          text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN depth            bigint NOT NULL DEFAULT 0,
    ADD COLUMN approval         jsonb,
    ADD COLUMN retention_due_at timestamptz,
    ADD COLUMN data_removed_at  timestamptz;
CREATE INDEX runs_schedule_idx ON runs (schedule_id, id DESC) WHERE schedule_id <> '';
CREATE INDEX runs_parent_idx ON runs (parent_id, id) WHERE parent_id <> '';
CREATE INDEX runs_samples_idx ON runs (agent_id, version_id, (request ->> 'version_rule'), id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_retention_idx ON runs (retention_due_at) WHERE retention_due_at IS NOT NULL;

-- The input that an approver put in the place of the caller's.
ALTER TABLE run_inputs ADD COLUMN edited bytea;

-- The log of a run is append-only: not even the platform changes it.
-- +goose StatementBegin
CREATE TRIGGER run_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON run_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER run_events_append_only ON run_events;
ALTER TABLE run_inputs DROP COLUMN edited;
DROP INDEX runs_schedule_idx, runs_parent_idx, runs_samples_idx, runs_retention_idx;
ALTER TABLE runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check CHECK (status IN ('queued', 'starting', 'running', 'canceling',
        'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired', 'budget_exhausted')),
    DROP CONSTRAINT runs_dispatch_check,
    ADD CONSTRAINT runs_dispatch_check CHECK (dispatch_due_at IS NULL
        OR status IN ('queued', 'starting', 'running', 'canceling')),
    DROP COLUMN team_id, DROP COLUMN origin, DROP COLUMN schedule_id, DROP COLUMN retry_of, DROP COLUMN parent_id,
    DROP COLUMN root_id, DROP COLUMN depth, DROP COLUMN approval, DROP COLUMN retention_due_at, DROP COLUMN data_removed_at;
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
