-- The marketplace: people, teams and invitations, listings with their search,
-- grants, prices, orders, entitlements of every source, installations, reviews,
-- the ledger, holds, spend limits, and the audit log.
--
-- For the operator: creates new tables, and copies runs and entitlements, whose
-- constraints change; other writers wait until that is done, seconds for a
-- hundred thousand runs. Going down copies them back and drops the new tables
-- WITH THEIR DATA, the ledger among them; it fails while there are runs that ended
-- as budget_exhausted. Take a backup first.

-- +goose Up

-- A table that others refer to cannot be exchanged while each statement has to
-- leave every reference valid. Now they have to be valid at the end.
PRAGMA defer_foreign_keys = ON;

-- People.

CREATE TABLE users (
    id         TEXT NOT NULL PRIMARY KEY,
    email      TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email)
);

CREATE TABLE members (
    org_id    TEXT NOT NULL REFERENCES organizations (id),
    user_id   TEXT NOT NULL REFERENCES users (id),
    role      TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'publisher', 'member', 'auditor')),
    joined_at TEXT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX members_user_idx ON members (user_id);

CREATE TABLE teams (
    id         TEXT NOT NULL PRIMARY KEY,
    org_id     TEXT NOT NULL REFERENCES organizations (id),
    name       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT teams_org_name_key UNIQUE (org_id, name)
);

CREATE TABLE team_members (
    team_id TEXT NOT NULL REFERENCES teams (id),
    org_id  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (team_id, user_id),
    FOREIGN KEY (org_id, user_id) REFERENCES members (org_id, user_id)
);
CREATE INDEX team_members_user_idx ON team_members (org_id, user_id);

CREATE TABLE invitations (
    id          TEXT NOT NULL PRIMARY KEY,
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    email       TEXT NOT NULL,
    role        TEXT NOT NULL,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    created_by  TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    expires_at  TEXT NOT NULL,
    accepted_at TEXT,
    revoked_at  TEXT
);
CREATE INDEX invitations_org_idx ON invitations (org_id, id DESC);

-- Keys that were there before are those of their organizations' owners.
ALTER TABLE api_keys ADD COLUMN user_id    TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN role       TEXT NOT NULL DEFAULT 'owner';
ALTER TABLE api_keys ADD COLUMN revoked_at TEXT;
ALTER TABLE api_keys ADD COLUMN rotated_to TEXT NOT NULL DEFAULT '';
CREATE INDEX api_keys_org_idx ON api_keys (org_id, id DESC);
CREATE INDEX api_keys_user_idx ON api_keys (org_id, user_id) WHERE user_id <> '';

-- The audit log. Nobody changes it: not even the platform. Its key is read from
-- the end for the pages of an organization.

CREATE TABLE audit_entries (
    id         TEXT NOT NULL,
    org_id     TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    actor_org  TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    before     TEXT,
    after      TEXT,
    at         TEXT NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX audit_entries_subject_idx ON audit_entries (org_id, subject, id DESC);
CREATE INDEX audit_entries_action_idx ON audit_entries (org_id, action, id DESC);
CREATE INDEX audit_entries_actor_idx ON audit_entries (org_id, actor_id, id DESC);

-- +goose StatementBegin
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only');
END;
-- +goose StatementEnd

-- Versions and channels.

ALTER TABLE agent_versions ADD COLUMN changelog TEXT NOT NULL DEFAULT '';

CREATE TABLE channels (
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    name       TEXT NOT NULL,
    version_id TEXT NOT NULL REFERENCES agent_versions (id),
    version    TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (agent_id, name)
);

-- The newest version that is no pre-release: what the channel stable is while
-- its publisher has not set it.
ALTER TABLE agents ADD COLUMN latest_release_id TEXT;
UPDATE agents SET latest_release_id = latest_version_id WHERE instr(latest, '-') = 0;

-- Listings. The words of a listing and its facets, made by the program so that
-- both databases index the same, are in listing_search. runs, ratings and stars
-- are copies for the orders of the catalog. The rowid is a column because VACUUM
-- may renumber one that is none.

CREATE TABLE listings (
    rowid        INTEGER NOT NULL PRIMARY KEY,
    agent_id     TEXT NOT NULL REFERENCES agents (id),
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    publisher    TEXT NOT NULL,
    name         TEXT NOT NULL,
    content      TEXT NOT NULL,
    visibility   TEXT NOT NULL CHECK (visibility IN ('public', 'organization', 'private')),
    status       TEXT NOT NULL CHECK (status IN ('draft', 'in_review', 'published', 'deprecated', 'suspended')),
    notice       TEXT NOT NULL,
    approved     BOOLEAN NOT NULL,
    checks       TEXT NOT NULL,
    model        TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    submitted_at TEXT,
    published_at TEXT,
    newest_key   INTEGER NOT NULL,
    runs         INTEGER NOT NULL DEFAULT 0,
    ratings      INTEGER NOT NULL DEFAULT 0,
    stars        INTEGER NOT NULL DEFAULT 0,
    rating_key   INTEGER NOT NULL,
    CONSTRAINT listings_agent_key UNIQUE (agent_id)
);
CREATE INDEX listings_org_idx ON listings (org_id, agent_id DESC);
CREATE INDEX listings_inside_idx ON listings (org_id, visibility) WHERE status = 'published';
CREATE INDEX listings_review_idx ON listings (submitted_at, agent_id) WHERE status = 'in_review';
CREATE INDEX listings_newest_idx ON listings (newest_key DESC, agent_id DESC)
    WHERE status = 'published' AND visibility = 'public';
CREATE INDEX listings_used_idx ON listings (runs DESC, agent_id DESC)
    WHERE status = 'published' AND visibility = 'public';
CREATE INDEX listings_rated_idx ON listings (rating_key DESC, agent_id DESC)
    WHERE status = 'published' AND visibility = 'public';

-- rowid is that of the listing. words_a: name, title and publisher, words_b:
-- summary, categories and tags, words_c: readme; facets: c:CATEGORY, t:TAG,
-- p:PUBLISHER, m:MODEL. All of them are tokens with spaces between, and the
-- tokenizer leaves every character beyond ASCII alone. No text is kept: what is
-- indexed can be found and deleted, and not read.
CREATE VIRTUAL TABLE listing_search USING fts5 (
    words_a, words_b, words_c, facets,
    content = '', contentless_delete = 1,
    tokenize = "ascii tokenchars ':-_'"
);

-- The words of names and titles by their trigrams: what a misspelt word is
-- compared with. Words are never removed; one that no listing has finds nothing.
CREATE TABLE search_grams (
    gram TEXT NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (gram, word)
) WITHOUT ROWID;

CREATE TABLE listing_comments (
    id       TEXT NOT NULL PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES listings (agent_id),
    author   TEXT NOT NULL,
    internal BOOLEAN NOT NULL,
    text     TEXT NOT NULL,
    at       TEXT NOT NULL
);
CREATE INDEX listing_comments_agent_idx ON listing_comments (agent_id, id);

-- What settlements count, apart from the indexes of the listings: dirty until it
-- is carried over.
CREATE TABLE agent_usage (
    agent_id TEXT NOT NULL PRIMARY KEY REFERENCES agents (id),
    runs     INTEGER NOT NULL,
    seconds  INTEGER NOT NULL,
    dirty    BOOLEAN NOT NULL
);
CREATE INDEX agent_usage_dirty_idx ON agent_usage (agent_id) WHERE dirty;

CREATE TABLE grants (
    id         TEXT NOT NULL PRIMARY KEY,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    org_id     TEXT NOT NULL REFERENCES organizations (id),
    team_id    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    access     TEXT NOT NULL CHECK (access IN ('view', 'run')),
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT
);
CREATE INDEX grants_agent_idx ON grants (agent_id, id DESC);
CREATE INDEX grants_org_idx ON grants (org_id, agent_id);
CREATE UNIQUE INDEX grants_subject_key ON grants (agent_id, org_id, team_id, user_id, access) WHERE revoked_at IS NULL;

CREATE TABLE reviews (
    id         TEXT NOT NULL PRIMARY KEY,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    org_id     TEXT NOT NULL REFERENCES organizations (id),
    version_id TEXT NOT NULL REFERENCES agent_versions (id),
    version    TEXT NOT NULL,
    author     TEXT NOT NULL,
    rating     INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5),
    title      TEXT NOT NULL,
    text       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT reviews_org_version_key UNIQUE (org_id, version_id)
);
CREATE INDEX reviews_agent_idx ON reviews (agent_id, id DESC);

-- Prices. terms is everything that costs; it never changes.

CREATE TABLE prices (
    id             TEXT NOT NULL PRIMARY KEY,
    agent_id       TEXT NOT NULL REFERENCES agents (id),
    model          TEXT NOT NULL,
    currency       TEXT NOT NULL,
    terms          TEXT NOT NULL,
    effective_from TEXT NOT NULL,
    created_by     TEXT NOT NULL,
    created_at     TEXT NOT NULL
);
CREATE INDEX prices_agent_idx ON prices (agent_id, effective_from DESC, id DESC);
CREATE INDEX prices_effective_idx ON prices (effective_from);

-- Entitlements: an organization may have several for one agent.

CREATE TABLE entitlements_before AS SELECT * FROM entitlements;
DROP TABLE entitlements;
CREATE TABLE entitlements (
    id             TEXT NOT NULL PRIMARY KEY,
    org_id         TEXT NOT NULL REFERENCES organizations (id),
    agent_id       TEXT NOT NULL REFERENCES agents (id),
    source         TEXT NOT NULL
                       CHECK (source IN ('ownership', 'grant', 'free', 'purchase', 'subscription', 'trial')),
    created_at     TEXT NOT NULL,
    expires_at     TEXT,
    revoked_at     TEXT,
    team_id        TEXT NOT NULL DEFAULT '',
    user_id        TEXT NOT NULL DEFAULT '',
    order_id       TEXT NOT NULL DEFAULT '',
    grant_id       TEXT NOT NULL DEFAULT '',
    price_id       TEXT NOT NULL DEFAULT '',
    versions       TEXT NOT NULL DEFAULT '',
    limit_month    INTEGER NOT NULL DEFAULT 0,
    limit_active   INTEGER NOT NULL DEFAULT 0,
    limit_total    INTEGER NOT NULL DEFAULT 0,
    limit_included INTEGER NOT NULL DEFAULT 0,
    used_month     TEXT NOT NULL DEFAULT '',
    used_runs      INTEGER NOT NULL DEFAULT 0 CHECK (used_runs >= 0),
    used_seconds   INTEGER NOT NULL DEFAULT 0 CHECK (used_seconds >= 0),
    used_total     INTEGER NOT NULL DEFAULT 0 CHECK (used_total >= 0),
    used_active    INTEGER NOT NULL DEFAULT 0 CHECK (used_active >= 0),
    renews         BOOLEAN NOT NULL DEFAULT FALSE
);
INSERT INTO entitlements (id, org_id, agent_id, source, created_at, expires_at, revoked_at)
SELECT id, org_id, agent_id, source, created_at, expires_at, revoked_at FROM entitlements_before;
DROP TABLE entitlements_before;
-- One right by ownership, and one by a free listing; a trial is had once.
CREATE UNIQUE INDEX entitlements_once_key ON entitlements (org_id, agent_id, source)
    WHERE source IN ('ownership', 'free', 'trial');
CREATE INDEX entitlements_org_agent_idx ON entitlements (org_id, agent_id, id DESC);
CREATE INDEX entitlements_org_idx ON entitlements (org_id, id DESC);
CREATE INDEX entitlements_grant_idx ON entitlements (grant_id) WHERE grant_id <> '';
CREATE INDEX entitlements_renewal_idx ON entitlements (expires_at) WHERE renews;

CREATE TABLE installations (
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    agent_id     TEXT NOT NULL REFERENCES agents (id),
    channel      TEXT NOT NULL,
    version_id   TEXT NOT NULL,
    version      TEXT NOT NULL,
    consented    TEXT NOT NULL,
    consented_at TEXT,
    consented_by TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    PRIMARY KEY (org_id, agent_id)
);

CREATE TABLE orders (
    id             TEXT NOT NULL PRIMARY KEY,
    org_id         TEXT NOT NULL REFERENCES organizations (id),
    agent_id       TEXT NOT NULL REFERENCES agents (id),
    agent          TEXT NOT NULL,
    kind           TEXT NOT NULL CHECK (kind IN ('usage', 'subscription', 'trial')),
    status         TEXT NOT NULL CHECK (status IN ('active', 'canceled', 'ended', 'refunded')),
    price_id       TEXT NOT NULL REFERENCES prices (id),
    entitlement_id TEXT NOT NULL,
    amount_micros  INTEGER NOT NULL,
    currency       TEXT NOT NULL,
    created_by     TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    renews_at      TEXT,
    canceled_at    TEXT
);
CREATE INDEX orders_org_idx ON orders (org_id, id DESC);

-- The ledger. Its transactions and lines are never changed: not even by the
-- platform. Balances are those of the last line, kept so that a wallet can be
-- checked without adding up. last_seq and last_month are those of the last line:
-- an account gets no more lines in a month before, so that statements stay as
-- they are.

CREATE TABLE accounts (
    id             TEXT NOT NULL PRIMARY KEY,
    kind           TEXT NOT NULL CHECK (kind IN ('wallet', 'held', 'earnings', 'fees', 'external')),
    org_id         TEXT NOT NULL,
    balance_micros INTEGER NOT NULL,
    credit_micros  INTEGER NOT NULL CHECK (credit_micros >= 0),
    currency       TEXT NOT NULL,
    last_seq       INTEGER NOT NULL DEFAULT 0,
    last_month     TEXT NOT NULL DEFAULT '',
    CONSTRAINT accounts_limit_check CHECK (kind NOT IN ('wallet', 'held') OR balance_micros >= -credit_micros)
);
CREATE INDEX accounts_org_idx ON accounts (org_id);

CREATE TABLE ledger_transactions (
    id           TEXT NOT NULL PRIMARY KEY,
    kind         TEXT NOT NULL,
    org_id       TEXT NOT NULL,
    publisher_id TEXT NOT NULL,
    run_id       TEXT NOT NULL,
    order_id     TEXT NOT NULL,
    of_id        TEXT NOT NULL,
    agent_id     TEXT NOT NULL,
    agent        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    month        TEXT NOT NULL,
    costs        TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   TEXT NOT NULL
);
-- What happens once to a run happens once: a hold, and its end.
CREATE UNIQUE INDEX ledger_transactions_run_key ON ledger_transactions (run_id, (CASE WHEN kind = 'hold' THEN 0 ELSE 1 END))
    WHERE run_id <> '' AND kind IN ('hold', 'charge', 'release');
CREATE INDEX ledger_transactions_of_idx ON ledger_transactions (of_id) WHERE of_id <> '';

CREATE TABLE ledger_lines (
    account_id     TEXT NOT NULL REFERENCES accounts (id),
    transaction_id TEXT NOT NULL REFERENCES ledger_transactions (id),
    month          TEXT NOT NULL,
    amount_micros  INTEGER NOT NULL CHECK (amount_micros <> 0),
    balance_micros INTEGER NOT NULL,
    currency       TEXT NOT NULL,
    -- The number of the line within its account: balances follow it.
    seq            INTEGER NOT NULL,
    PRIMARY KEY (account_id, seq),
    CONSTRAINT ledger_lines_transaction_key UNIQUE (transaction_id, account_id)
);
CREATE INDEX ledger_lines_month_idx ON ledger_lines (account_id, month, seq DESC);
CREATE INDEX ledger_lines_page_idx ON ledger_lines (account_id, transaction_id DESC);

-- +goose StatementBegin
CREATE TRIGGER ledger_transactions_no_update BEFORE UPDATE ON ledger_transactions
BEGIN
    SELECT RAISE(ABORT, 'ledger_transactions is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER ledger_transactions_no_delete BEFORE DELETE ON ledger_transactions
BEGIN
    SELECT RAISE(ABORT, 'ledger_transactions is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER ledger_lines_no_update BEFORE UPDATE ON ledger_lines
BEGIN
    SELECT RAISE(ABORT, 'ledger_lines is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER ledger_lines_no_delete BEFORE DELETE ON ledger_lines
BEGIN
    SELECT RAISE(ABORT, 'ledger_lines is append-only');
END;
-- +goose StatementEnd

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
INSERT INTO runs (id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message,
    labels, request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at, cancel_terminated_at,
    cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at)
SELECT id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message,
    labels, request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at, cancel_terminated_at,
    cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at FROM runs_before;
DROP TABLE runs_before;
DROP INDEX idempotency_keys_run_idx;
CREATE INDEX runs_org_id_idx ON runs (org_id, id DESC);
CREATE INDEX runs_org_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_org_agent_idx ON runs (org_id, agent, id DESC);
CREATE INDEX runs_org_created_idx ON runs (org_id, created_at);
CREATE INDEX runs_dispatch_idx ON runs (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;
CREATE INDEX runs_org_version_idx ON runs (org_id, version_id) WHERE started_at IS NOT NULL;

-- What is held for a run, and the price that it started with.
CREATE TABLE holds (
    run_id           TEXT NOT NULL PRIMARY KEY REFERENCES runs (id),
    org_id           TEXT NOT NULL,
    user_id          TEXT NOT NULL,
    agent_id         TEXT NOT NULL,
    publisher_id     TEXT NOT NULL,
    entitlement_id   TEXT NOT NULL,
    source           TEXT NOT NULL,
    price_id         TEXT NOT NULL,
    used             INTEGER NOT NULL,
    included         BOOLEAN NOT NULL,
    amount_micros    INTEGER NOT NULL CHECK (amount_micros >= 0),
    currency         TEXT NOT NULL,
    affordable_ns    INTEGER NOT NULL,
    fee_basis_points INTEGER NOT NULL,
    month            TEXT NOT NULL,
    charged_micros   INTEGER NOT NULL,
    created_at       TEXT NOT NULL,
    settled_at       TEXT
);
CREATE INDEX holds_open_idx ON holds (created_at) WHERE settled_at IS NULL;

CREATE TABLE run_charges (
    run_id        TEXT NOT NULL REFERENCES holds (run_id),
    key           TEXT NOT NULL,
    event         TEXT NOT NULL,
    count         INTEGER NOT NULL CHECK (count > 0),
    amount_micros INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    at            TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
);

CREATE TABLE top_ups (
    id            TEXT NOT NULL PRIMARY KEY,
    org_id        TEXT NOT NULL REFERENCES organizations (id),
    amount_micros INTEGER NOT NULL CHECK (amount_micros > 0),
    currency      TEXT NOT NULL,
    provider      TEXT NOT NULL,
    reference     TEXT NOT NULL,
    url           TEXT NOT NULL,
    instructions  TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'canceled')),
    created_by    TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    confirmed_at  TEXT
);
CREATE INDEX top_ups_org_idx ON top_ups (org_id, id DESC);

CREATE TABLE spend_limits (
    org_id        TEXT NOT NULL REFERENCES organizations (id),
    scope         TEXT NOT NULL CHECK (scope IN ('run', 'user', 'month')),
    user_id       TEXT NOT NULL,
    amount_micros INTEGER NOT NULL CHECK (amount_micros >= 0),
    currency      TEXT NOT NULL,
    alert_at      TEXT NOT NULL,
    updated_by    TEXT NOT NULL,
    updated_at    TEXT NOT NULL,
    PRIMARY KEY (org_id, scope, user_id)
);

-- user_id is empty in the row of the whole organization.
CREATE TABLE spending (
    org_id       TEXT NOT NULL,
    month        TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    spent_micros INTEGER NOT NULL,
    held_micros  INTEGER NOT NULL CHECK (held_micros >= 0),
    currency     TEXT NOT NULL,
    PRIMARY KEY (org_id, month, user_id)
);

CREATE TABLE spend_alerts (
    id           TEXT NOT NULL PRIMARY KEY,
    org_id       TEXT NOT NULL,
    scope        TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    month        TEXT NOT NULL,
    percent      INTEGER NOT NULL,
    limit_micros INTEGER NOT NULL,
    spent_micros INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    at           TEXT NOT NULL,
    CONSTRAINT spend_alerts_once_key UNIQUE (org_id, scope, user_id, month, percent)
);
CREATE INDEX spend_alerts_org_idx ON spend_alerts (org_id, id DESC);

-- Requests that create or charge something other than a run. The row is written
-- before its object, so that of many equal requests only one gets that far.
CREATE TABLE request_keys (
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (org_id, key)
);

-- The accounts of the platform, and of the organizations that are there. The
-- currency is set with the first movement.
INSERT INTO accounts (id, kind, org_id, balance_micros, credit_micros, currency)
VALUES ('fees', 'fees', '', 0, 0, ''), ('external', 'external', '', 0, 0, '');
INSERT INTO accounts (id, kind, org_id, balance_micros, credit_micros, currency)
SELECT kinds.kind || ':' || organizations.id, kinds.kind, organizations.id, 0, 0, ''
FROM organizations, (SELECT 'wallet' AS kind UNION ALL SELECT 'held' UNION ALL SELECT 'earnings') AS kinds;

-- +goose Down
PRAGMA defer_foreign_keys = ON;
DROP TABLE request_keys;
DROP TABLE spend_alerts;
DROP TABLE spending;
DROP TABLE spend_limits;
DROP TABLE top_ups;
DROP TABLE run_charges;
DROP TABLE holds;
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
INSERT INTO runs (id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message,
    labels, request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at, cancel_terminated_at,
    cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at)
SELECT id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message,
    labels, request, plan, created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force, cancel_signaled_at, cancel_terminated_at,
    cancel_gone_at, cancel_exit_code, last_event_seq, dispatch_due_at FROM runs_after;
DROP TABLE runs_after;
DROP INDEX idempotency_keys_run_idx;
CREATE INDEX runs_org_id_idx ON runs (org_id, id DESC);
CREATE INDEX runs_org_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_org_agent_idx ON runs (org_id, agent, id DESC);
CREATE INDEX runs_org_created_idx ON runs (org_id, created_at);
CREATE INDEX runs_dispatch_idx ON runs (dispatch_due_at) WHERE dispatch_due_at IS NOT NULL;
DROP TABLE ledger_lines;
DROP TABLE ledger_transactions;
DROP TABLE accounts;
DROP TABLE orders;
DROP TABLE installations;
-- One right for each organization and agent is kept: the oldest of those that the
-- version before knows.
CREATE TABLE entitlements_after AS SELECT * FROM entitlements AS e
WHERE source IN ('ownership', 'grant') AND NOT EXISTS (SELECT 1 FROM entitlements AS o
    WHERE o.org_id = e.org_id AND o.agent_id = e.agent_id AND o.source IN ('ownership', 'grant') AND o.id < e.id);
DROP TABLE entitlements;
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
INSERT INTO entitlements (id, org_id, agent_id, source, created_at, expires_at, revoked_at)
SELECT id, org_id, agent_id, source, created_at, expires_at, revoked_at FROM entitlements_after;
DROP TABLE entitlements_after;
DROP TABLE prices;
DROP TABLE reviews;
DROP TABLE grants;
DROP TABLE agent_usage;
DROP TABLE listing_comments;
DROP TABLE search_grams;
DROP TABLE listing_search;
DROP TABLE listings;
ALTER TABLE agents DROP COLUMN latest_release_id;
DROP TABLE channels;
ALTER TABLE agent_versions DROP COLUMN changelog;
DROP TABLE audit_entries;
DROP INDEX api_keys_user_idx;
DROP INDEX api_keys_org_idx;
ALTER TABLE api_keys DROP COLUMN user_id;
ALTER TABLE api_keys DROP COLUMN role;
ALTER TABLE api_keys DROP COLUMN revoked_at;
ALTER TABLE api_keys DROP COLUMN rotated_to;
DROP TABLE invitations;
DROP TABLE team_members;
DROP TABLE teams;
DROP TABLE members;
DROP TABLE users;
