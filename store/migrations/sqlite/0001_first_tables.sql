-- The first tables of the platform: organizations, API keys, agents and their
-- versions, entitlements, and runs with what belongs to them.
--
-- For the operator: creates new tables only; other writers wait for a moment.
-- Times are text in UTC of one fixed width, so that they sort as text. Going
-- down drops every table WITH ITS DATA; take a backup first.

-- +goose Up
CREATE TABLE organizations (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT organizations_name_key UNIQUE (name)
);

CREATE TABLE api_keys (
    id           TEXT NOT NULL PRIMARY KEY,
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    secret_hash  BLOB NOT NULL CHECK (length(secret_hash) = 32),
    scopes       TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT,
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix)
);

-- latest_version_id, latest, summary and updated_at follow the newest version
-- (no foreign key: the two tables would need each other); search_text is what a
-- search looks at, in lower case.
CREATE TABLE agents (
    id                TEXT NOT NULL PRIMARY KEY,
    org_id            TEXT NOT NULL REFERENCES organizations (id),
    publisher         TEXT NOT NULL,
    name              TEXT NOT NULL,
    summary           TEXT NOT NULL,
    search_text       TEXT NOT NULL,
    latest_version_id TEXT,
    latest            TEXT NOT NULL,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    CONSTRAINT agents_publisher_name_key UNIQUE (publisher, name)
);

-- A manifest is kept as text: two versions are compared by it, and a database
-- that reorders its keys would make equal ones differ.
CREATE TABLE agent_versions (
    id         TEXT NOT NULL PRIMARY KEY,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    number     TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    image      TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT agent_versions_agent_number_key UNIQUE (agent_id, number)
);
CREATE INDEX agent_versions_agent_id_idx ON agent_versions (agent_id, id DESC);

CREATE TABLE entitlements (
    id         TEXT NOT NULL PRIMARY KEY,
    org_id     TEXT NOT NULL REFERENCES organizations (id),
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    source     TEXT NOT NULL CHECK (source IN ('ownership', 'grant')),
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    CONSTRAINT entitlements_org_agent_key UNIQUE (org_id, agent_id)
);

-- key_id is no foreign key: the record of a run outlives the key that started it.
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
                             'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired')),
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
    -- A run that has ended is never told to the workflow engine again.
    CONSTRAINT runs_dispatch_check CHECK (dispatch_due_at IS NULL
        OR status IN ('queued', 'starting', 'running', 'canceling'))
);
CREATE INDEX runs_org_id_idx ON runs (org_id, id DESC);
CREATE INDEX runs_org_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_org_agent_idx ON runs (org_id, agent, id DESC);
CREATE INDEX runs_org_created_idx ON runs (org_id, created_at);
CREATE INDEX runs_dispatch_idx ON runs (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

CREATE TABLE run_inputs (
    run_id TEXT NOT NULL PRIMARY KEY REFERENCES runs (id),
    body   BLOB NOT NULL
);

CREATE TABLE run_attempts (
    run_id      TEXT NOT NULL REFERENCES runs (id),
    number      INTEGER NOT NULL CHECK (number >= 1),
    reason      TEXT NOT NULL,
    message     TEXT NOT NULL,
    exit_code   INTEGER,
    created_at  TEXT NOT NULL,
    started_at  TEXT,
    finished_at TEXT,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE run_events (
    run_id  TEXT NOT NULL REFERENCES runs (id),
    seq     INTEGER NOT NULL CHECK (seq >= 1),
    type    TEXT NOT NULL,
    at      TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);

-- The key is written before its run, in the same transaction, so that of many
-- equal requests only one gets as far as writing a run.
CREATE TABLE idempotency_keys (
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    run_id      TEXT NOT NULL REFERENCES runs (id) DEFERRABLE INITIALLY DEFERRED,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (org_id, key)
);

-- +goose Down
DROP TABLE idempotency_keys;
DROP TABLE run_events;
DROP TABLE run_attempts;
DROP TABLE run_inputs;
DROP TABLE runs;
DROP TABLE entitlements;
DROP TABLE agent_versions;
DROP TABLE agents;
DROP TABLE api_keys;
DROP TABLE organizations;
