-- The first tables of the platform: organizations, API keys, agents and their
-- versions, entitlements, and runs with what belongs to them.
--
-- For the operator: creates new tables only and takes no lock that anything
-- waits for. Going down drops every table WITH ITS DATA; take a backup first.

-- +goose Up
CREATE TABLE organizations (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT organizations_name_key UNIQUE (name)
);

CREATE TABLE api_keys (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id       text COLLATE "C" NOT NULL REFERENCES organizations (id),
    name         text NOT NULL,
    prefix       text COLLATE "C" NOT NULL,
    secret_hash  bytea NOT NULL CHECK (length(secret_hash) = 32),
    scopes       jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix)
);

-- latest_version_id, latest, summary and updated_at follow the newest version
-- (no foreign key: the two tables would need each other); search_text is what a
-- search looks at, in lower case.
CREATE TABLE agents (
    id                text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id            text COLLATE "C" NOT NULL REFERENCES organizations (id),
    publisher         text COLLATE "C" NOT NULL,
    name              text COLLATE "C" NOT NULL,
    summary           text NOT NULL,
    search_text       text NOT NULL,
    latest_version_id text COLLATE "C",
    latest            text COLLATE "C" NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT agents_publisher_name_key UNIQUE (publisher, name)
);

-- A manifest is kept as text: two versions are compared by it, and a database
-- that reorders its keys would make equal ones differ.
CREATE TABLE agent_versions (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    number     text COLLATE "C" NOT NULL,
    manifest   text NOT NULL,
    image      text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT agent_versions_agent_number_key UNIQUE (agent_id, number)
);
CREATE INDEX agent_versions_agent_id_idx ON agent_versions (agent_id, id DESC);

CREATE TABLE entitlements (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     text COLLATE "C" NOT NULL REFERENCES organizations (id),
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    source     text NOT NULL CHECK (source IN ('ownership', 'grant')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT entitlements_org_agent_key UNIQUE (org_id, agent_id)
);

-- key_id is no foreign key: the record of a run outlives the key that started it.
CREATE TABLE runs (
    id                   text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id               text COLLATE "C" NOT NULL REFERENCES organizations (id),
    key_id               text COLLATE "C" NOT NULL,
    agent_id             text COLLATE "C" NOT NULL REFERENCES agents (id),
    agent                text COLLATE "C" NOT NULL,
    version_id           text COLLATE "C" NOT NULL REFERENCES agent_versions (id),
    version              text COLLATE "C" NOT NULL,
    image                text NOT NULL,
    status               text NOT NULL CHECK (status IN ('queued', 'starting', 'running', 'canceling',
                             'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired')),
    reason               text NOT NULL,
    cause                text NOT NULL CHECK (cause IN ('', 'agent', 'caller', 'publisher', 'platform')),
    message              text NOT NULL,
    labels               jsonb NOT NULL,
    request              jsonb NOT NULL,
    plan                 jsonb,
    created_at           timestamptz NOT NULL,
    queue_deadline       timestamptz,
    started_at           timestamptz,
    finished_at          timestamptz,
    input_size           bigint NOT NULL CHECK (input_size >= 0),
    output               jsonb,
    log                  jsonb,
    cancel_requested_by  text NOT NULL,
    cancel_reason        text NOT NULL,
    cancel_grace_ns      bigint,
    cancel_force         boolean NOT NULL,
    cancel_signaled_at   timestamptz,
    cancel_terminated_at timestamptz,
    cancel_gone_at       timestamptz,
    cancel_exit_code     bigint,
    last_event_seq       bigint NOT NULL,
    dispatch_due_at      timestamptz,
    -- A run that has ended is never told to the workflow engine again.
    CONSTRAINT runs_dispatch_check CHECK (dispatch_due_at IS NULL
        OR status IN ('queued', 'starting', 'running', 'canceling'))
);
CREATE INDEX runs_org_id_idx ON runs (org_id, id DESC);
CREATE INDEX runs_org_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_org_agent_idx ON runs (org_id, agent, id DESC);
CREATE INDEX runs_org_created_idx ON runs (org_id, created_at);
CREATE INDEX runs_labels_idx ON runs USING gin (labels jsonb_path_ops);
CREATE INDEX runs_dispatch_idx ON runs (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;

CREATE TABLE run_inputs (
    run_id text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES runs (id),
    body   bytea NOT NULL
);

CREATE TABLE run_attempts (
    run_id      text COLLATE "C" NOT NULL REFERENCES runs (id),
    number      bigint NOT NULL CHECK (number >= 1),
    reason      text NOT NULL,
    message     text NOT NULL,
    exit_code   bigint,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE run_events (
    run_id  text COLLATE "C" NOT NULL REFERENCES runs (id),
    seq     bigint NOT NULL CHECK (seq >= 1),
    type    text NOT NULL,
    at      timestamptz NOT NULL,
    attempt bigint NOT NULL,
    message text NOT NULL,
    PRIMARY KEY (run_id, seq)
);

-- The key is written before its run, in the same transaction, so that of many
-- equal requests only one gets as far as writing a run.
CREATE TABLE idempotency_keys (
    org_id      text COLLATE "C" NOT NULL REFERENCES organizations (id),
    key         text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    run_id      text COLLATE "C" NOT NULL REFERENCES runs (id) DEFERRABLE INITIALLY DEFERRED,
    created_at  timestamptz NOT NULL,
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
