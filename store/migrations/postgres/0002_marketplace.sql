-- The marketplace: people, teams and invitations, listings with their search,
-- grants, prices, orders, entitlements of every source, installations, reviews,
-- the ledger, holds, spend limits, and the audit log.
--
-- For the operator: adds columns with constant defaults and creates new tables.
-- Nothing is rewritten, but runs, api_keys and entitlements are read once, for
-- their new indexes and the check of runs, and are locked meanwhile: seconds for
-- ten million runs. Going down drops the new tables WITH THEIR DATA, the ledger
-- among them, and fails while there are runs that ended as budget_exhausted; take
-- a backup first.

-- +goose Up

-- People.

CREATE TABLE users (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    email      text COLLATE "C" NOT NULL,
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email)
);

CREATE TABLE members (
    org_id    text COLLATE "C" NOT NULL REFERENCES organizations (id),
    user_id   text COLLATE "C" NOT NULL REFERENCES users (id),
    role      text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'publisher', 'member', 'auditor')),
    joined_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX members_user_idx ON members (user_id);

CREATE TABLE teams (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id     text COLLATE "C" NOT NULL REFERENCES organizations (id),
    name       text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT teams_org_name_key UNIQUE (org_id, name)
);

CREATE TABLE team_members (
    team_id text COLLATE "C" NOT NULL REFERENCES teams (id),
    org_id  text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (team_id, user_id),
    FOREIGN KEY (org_id, user_id) REFERENCES members (org_id, user_id)
);
CREATE INDEX team_members_user_idx ON team_members (org_id, user_id);

CREATE TABLE invitations (
    id          text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id      text COLLATE "C" NOT NULL REFERENCES organizations (id),
    email       text COLLATE "C" NOT NULL,
    role        text COLLATE "C" NOT NULL,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    created_by  text COLLATE "C" NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX invitations_org_idx ON invitations (org_id, id DESC);

-- Keys that were there before are those of their organizations' owners.
ALTER TABLE api_keys
    ADD COLUMN user_id    text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN role       text COLLATE "C" NOT NULL DEFAULT 'owner',
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN rotated_to text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX api_keys_org_idx ON api_keys (org_id, id DESC);
CREATE INDEX api_keys_user_idx ON api_keys (org_id, user_id) WHERE user_id <> '';

-- The audit log. Nobody changes it: not even the platform. Its key is read from
-- the end for the pages of an organization.

CREATE TABLE audit_entries (
    id         text COLLATE "C" NOT NULL,
    org_id     text COLLATE "C" NOT NULL,
    actor_kind text COLLATE "C" NOT NULL,
    actor_id   text COLLATE "C" NOT NULL,
    actor_org  text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    action     text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    before     jsonb,
    after      jsonb,
    at         timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX audit_entries_subject_idx ON audit_entries (org_id, subject, id DESC);
CREATE INDEX audit_entries_action_idx ON audit_entries (org_id, action, id DESC);
CREATE INDEX audit_entries_actor_idx ON audit_entries (org_id, actor_id, id DESC);

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Versions and channels.

ALTER TABLE agent_versions ADD COLUMN changelog text NOT NULL DEFAULT '';

CREATE TABLE channels (
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    name       text COLLATE "C" NOT NULL,
    version_id text COLLATE "C" NOT NULL REFERENCES agent_versions (id),
    version    text COLLATE "C" NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (agent_id, name)
);

-- The newest version that is no pre-release: what the channel stable is while
-- its publisher has not set it.
ALTER TABLE agents ADD COLUMN latest_release_id text COLLATE "C";
UPDATE agents SET latest_release_id = latest_version_id WHERE position('-' in latest) = 0;

-- Listings. search holds the words of the listing and its facets, made by the
-- program so that both databases index the same: 3:WORD of name, title and
-- publisher, 2:WORD of these, summary, categories and tags, 1:WORD of everything,
-- and c:CATEGORY, t:TAG, p:PUBLISHER, m:MODEL. The index alone can tell how well a
-- listing matches, which it could not with weights. What is large is kept out of
-- line, so that many rows can be ordered quickly. runs, ratings and stars are
-- copies for the orders of the catalog.

CREATE TABLE listings (
    agent_id     text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES agents (id),
    org_id       text COLLATE "C" NOT NULL REFERENCES organizations (id),
    publisher    text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    content      jsonb NOT NULL,
    visibility   text COLLATE "C" NOT NULL CHECK (visibility IN ('public', 'organization', 'private')),
    status       text COLLATE "C" NOT NULL CHECK (status IN ('draft', 'in_review', 'published', 'deprecated', 'suspended')),
    notice       text NOT NULL,
    approved     boolean NOT NULL,
    checks       jsonb NOT NULL,
    model        text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    submitted_at timestamptz,
    published_at timestamptz,
    search       tsvector NOT NULL DEFAULT '',
    newest_key   bigint NOT NULL,
    runs         bigint NOT NULL DEFAULT 0,
    ratings      bigint NOT NULL DEFAULT 0,
    stars        bigint NOT NULL DEFAULT 0,
    rating_key   bigint NOT NULL
) WITH (toast_tuple_target = 256);
ALTER TABLE listings ALTER COLUMN search SET STORAGE EXTERNAL;
CREATE INDEX listings_org_idx ON listings (org_id, agent_id DESC);
CREATE INDEX listings_inside_idx ON listings (org_id, visibility) WHERE status = 'published';
CREATE INDEX listings_review_idx ON listings (submitted_at, agent_id) WHERE status = 'in_review';
-- Without a list of pending entries, which every search would read.
CREATE INDEX listings_search_idx ON listings USING gin (search) WITH (fastupdate = off)
    WHERE status = 'published' AND visibility = 'public';
CREATE INDEX listings_newest_idx ON listings (newest_key DESC, agent_id DESC)
    WHERE status = 'published' AND visibility = 'public';
CREATE INDEX listings_used_idx ON listings (runs DESC, agent_id DESC)
    WHERE status = 'published' AND visibility = 'public';
CREATE INDEX listings_rated_idx ON listings (rating_key DESC, agent_id DESC)
    WHERE status = 'published' AND visibility = 'public';

-- The words of names and titles by their trigrams: what a misspelt word is
-- compared with. Words are never removed; one that no listing has finds nothing.
CREATE TABLE search_grams (
    gram text COLLATE "C" NOT NULL,
    word text COLLATE "C" NOT NULL,
    PRIMARY KEY (gram, word)
);

CREATE TABLE listing_comments (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id text COLLATE "C" NOT NULL REFERENCES listings (agent_id),
    author   text COLLATE "C" NOT NULL,
    internal boolean NOT NULL,
    text     text NOT NULL,
    at       timestamptz NOT NULL
);
CREATE INDEX listing_comments_agent_idx ON listing_comments (agent_id, id);

-- What settlements count, apart from the indexes of the listings: dirty until it
-- is carried over.
CREATE TABLE agent_usage (
    agent_id   text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES agents (id),
    runs       bigint NOT NULL,
    seconds    bigint NOT NULL,
    dirty      boolean NOT NULL
);
CREATE INDEX agent_usage_dirty_idx ON agent_usage (agent_id) WHERE dirty;

CREATE TABLE grants (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    org_id     text COLLATE "C" NOT NULL REFERENCES organizations (id),
    team_id    text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    access     text COLLATE "C" NOT NULL CHECK (access IN ('view', 'run')),
    created_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX grants_agent_idx ON grants (agent_id, id DESC);
CREATE INDEX grants_org_idx ON grants (org_id, agent_id);
CREATE UNIQUE INDEX grants_subject_key ON grants (agent_id, org_id, team_id, user_id, access) WHERE revoked_at IS NULL;

CREATE TABLE reviews (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    org_id     text COLLATE "C" NOT NULL REFERENCES organizations (id),
    version_id text COLLATE "C" NOT NULL REFERENCES agent_versions (id),
    version    text COLLATE "C" NOT NULL,
    author     text COLLATE "C" NOT NULL,
    rating     bigint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    title      text NOT NULL,
    text       text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT reviews_org_version_key UNIQUE (org_id, version_id)
);
CREATE INDEX reviews_agent_idx ON reviews (agent_id, id DESC);

-- Prices. terms is everything that costs; it never changes.

CREATE TABLE prices (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id       text COLLATE "C" NOT NULL REFERENCES agents (id),
    model          text COLLATE "C" NOT NULL,
    currency       text COLLATE "C" NOT NULL,
    terms          jsonb NOT NULL,
    effective_from timestamptz NOT NULL,
    created_by     text COLLATE "C" NOT NULL,
    created_at     timestamptz NOT NULL
);
CREATE INDEX prices_agent_idx ON prices (agent_id, effective_from DESC, id DESC);
CREATE INDEX prices_effective_idx ON prices (effective_from);

-- Entitlements: an organization may have several for one agent.

ALTER TABLE entitlements
    DROP CONSTRAINT entitlements_source_check,
    DROP CONSTRAINT entitlements_org_agent_key,
    ADD CONSTRAINT entitlements_source_check
        CHECK (source IN ('ownership', 'grant', 'free', 'purchase', 'subscription', 'trial')),
    ADD COLUMN team_id        text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN user_id        text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN order_id       text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN grant_id       text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN price_id       text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN versions       text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN limit_month    bigint NOT NULL DEFAULT 0,
    ADD COLUMN limit_active   bigint NOT NULL DEFAULT 0,
    ADD COLUMN limit_total    bigint NOT NULL DEFAULT 0,
    ADD COLUMN limit_included bigint NOT NULL DEFAULT 0,
    ADD COLUMN used_month     text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN used_runs      bigint NOT NULL DEFAULT 0 CHECK (used_runs >= 0),
    ADD COLUMN used_seconds   bigint NOT NULL DEFAULT 0 CHECK (used_seconds >= 0),
    ADD COLUMN used_total     bigint NOT NULL DEFAULT 0 CHECK (used_total >= 0),
    ADD COLUMN used_active    bigint NOT NULL DEFAULT 0 CHECK (used_active >= 0),
    ADD COLUMN renews         boolean NOT NULL DEFAULT false;
-- One right by ownership, and one by a free listing; a trial is had once.
CREATE UNIQUE INDEX entitlements_once_key ON entitlements (org_id, agent_id, source)
    WHERE source IN ('ownership', 'free', 'trial');
CREATE INDEX entitlements_org_agent_idx ON entitlements (org_id, agent_id, id DESC);
CREATE INDEX entitlements_org_idx ON entitlements (org_id, id DESC);
CREATE INDEX entitlements_grant_idx ON entitlements (grant_id) WHERE grant_id <> '';
CREATE INDEX entitlements_renewal_idx ON entitlements (expires_at) WHERE renews;

CREATE TABLE installations (
    org_id       text COLLATE "C" NOT NULL REFERENCES organizations (id),
    agent_id     text COLLATE "C" NOT NULL REFERENCES agents (id),
    channel      text COLLATE "C" NOT NULL,
    version_id   text COLLATE "C" NOT NULL,
    version      text COLLATE "C" NOT NULL,
    consented    jsonb NOT NULL,
    consented_at timestamptz,
    consented_by text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, agent_id)
);

CREATE TABLE orders (
    id              text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id          text COLLATE "C" NOT NULL REFERENCES organizations (id),
    agent_id        text COLLATE "C" NOT NULL REFERENCES agents (id),
    agent           text COLLATE "C" NOT NULL,
    kind            text COLLATE "C" NOT NULL CHECK (kind IN ('usage', 'subscription', 'trial')),
    status          text COLLATE "C" NOT NULL CHECK (status IN ('active', 'canceled', 'ended', 'refunded')),
    price_id        text COLLATE "C" NOT NULL REFERENCES prices (id),
    entitlement_id  text COLLATE "C" NOT NULL,
    amount_micros   bigint NOT NULL,
    currency        text COLLATE "C" NOT NULL,
    created_by      text COLLATE "C" NOT NULL,
    created_at      timestamptz NOT NULL,
    renews_at       timestamptz,
    canceled_at     timestamptz
);
CREATE INDEX orders_org_idx ON orders (org_id, id DESC);

-- The ledger. Its transactions and lines are never changed: not even by the
-- platform. Balances are those of the last line, kept so that a wallet can be
-- checked without adding up. last_seq and last_month are those of the last line:
-- an account gets no more lines in a month before, so that statements stay as
-- they are.

CREATE TABLE accounts (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    kind           text COLLATE "C" NOT NULL CHECK (kind IN ('wallet', 'held', 'earnings', 'fees', 'external')),
    org_id         text COLLATE "C" NOT NULL,
    balance_micros bigint NOT NULL,
    credit_micros  bigint NOT NULL CHECK (credit_micros >= 0),
    currency       text COLLATE "C" NOT NULL,
    last_seq       bigint NOT NULL DEFAULT 0,
    last_month     text COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT accounts_limit_check CHECK (kind NOT IN ('wallet', 'held') OR balance_micros >= -credit_micros)
);
CREATE INDEX accounts_org_idx ON accounts (org_id);

CREATE TABLE ledger_transactions (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    kind         text COLLATE "C" NOT NULL,
    org_id       text COLLATE "C" NOT NULL,
    publisher_id text COLLATE "C" NOT NULL,
    run_id       text COLLATE "C" NOT NULL,
    order_id     text COLLATE "C" NOT NULL,
    of_id        text COLLATE "C" NOT NULL,
    agent_id     text COLLATE "C" NOT NULL,
    agent        text COLLATE "C" NOT NULL,
    reason       text NOT NULL,
    month        text COLLATE "C" NOT NULL,
    costs        jsonb NOT NULL,
    created_by   text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL
);
-- What happens once to a run happens once: a hold, and its end.
CREATE UNIQUE INDEX ledger_transactions_run_key ON ledger_transactions (run_id, (CASE WHEN kind = 'hold' THEN 0 ELSE 1 END))
    WHERE run_id <> '' AND kind IN ('hold', 'charge', 'release');
CREATE INDEX ledger_transactions_of_idx ON ledger_transactions (of_id) WHERE of_id <> '';

CREATE TABLE ledger_lines (
    account_id     text COLLATE "C" NOT NULL REFERENCES accounts (id),
    transaction_id text COLLATE "C" NOT NULL REFERENCES ledger_transactions (id),
    month          text COLLATE "C" NOT NULL,
    amount_micros  bigint NOT NULL CHECK (amount_micros <> 0),
    balance_micros bigint NOT NULL,
    currency       text COLLATE "C" NOT NULL,
    -- The number of the line within its account: balances follow it.
    seq            bigint NOT NULL,
    PRIMARY KEY (account_id, seq),
    CONSTRAINT ledger_lines_transaction_key UNIQUE (transaction_id, account_id)
);
CREATE INDEX ledger_lines_month_idx ON ledger_lines (account_id, month, seq DESC);
CREATE INDEX ledger_lines_page_idx ON ledger_lines (account_id, transaction_id DESC);

CREATE TRIGGER ledger_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_lines_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is held for a run, and the price that it started with.
CREATE TABLE holds (
    run_id           text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES runs (id),
    org_id           text COLLATE "C" NOT NULL,
    user_id          text COLLATE "C" NOT NULL,
    agent_id         text COLLATE "C" NOT NULL,
    publisher_id     text COLLATE "C" NOT NULL,
    entitlement_id   text COLLATE "C" NOT NULL,
    source           text COLLATE "C" NOT NULL,
    price_id         text COLLATE "C" NOT NULL,
    used             bigint NOT NULL,
    included         boolean NOT NULL,
    amount_micros    bigint NOT NULL CHECK (amount_micros >= 0),
    currency         text COLLATE "C" NOT NULL,
    affordable_ns    bigint NOT NULL,
    fee_basis_points bigint NOT NULL,
    month            text COLLATE "C" NOT NULL,
    charged_micros   bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    settled_at       timestamptz
);
CREATE INDEX holds_open_idx ON holds (created_at) WHERE settled_at IS NULL;

CREATE TABLE run_charges (
    run_id        text COLLATE "C" NOT NULL REFERENCES holds (run_id),
    key           text COLLATE "C" NOT NULL,
    event         text COLLATE "C" NOT NULL,
    count         bigint NOT NULL CHECK (count > 0),
    amount_micros bigint NOT NULL,
    currency      text COLLATE "C" NOT NULL,
    at            timestamptz NOT NULL,
    PRIMARY KEY (run_id, key)
);

CREATE TABLE top_ups (
    id            text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id        text COLLATE "C" NOT NULL REFERENCES organizations (id),
    amount_micros bigint NOT NULL CHECK (amount_micros > 0),
    currency      text COLLATE "C" NOT NULL,
    provider      text COLLATE "C" NOT NULL,
    reference     text NOT NULL,
    url           text NOT NULL,
    instructions  text NOT NULL,
    status        text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'confirmed', 'canceled')),
    created_by    text COLLATE "C" NOT NULL,
    created_at    timestamptz NOT NULL,
    confirmed_at  timestamptz
);
CREATE INDEX top_ups_org_idx ON top_ups (org_id, id DESC);

CREATE TABLE spend_limits (
    org_id        text COLLATE "C" NOT NULL REFERENCES organizations (id),
    scope         text COLLATE "C" NOT NULL CHECK (scope IN ('run', 'user', 'month')),
    user_id       text COLLATE "C" NOT NULL,
    amount_micros bigint NOT NULL CHECK (amount_micros >= 0),
    currency      text COLLATE "C" NOT NULL,
    alert_at      jsonb NOT NULL,
    updated_by    text COLLATE "C" NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (org_id, scope, user_id)
);

-- user_id is empty in the row of the whole organization.
CREATE TABLE spending (
    org_id       text COLLATE "C" NOT NULL,
    month        text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    spent_micros bigint NOT NULL,
    held_micros  bigint NOT NULL CHECK (held_micros >= 0),
    currency     text COLLATE "C" NOT NULL,
    PRIMARY KEY (org_id, month, user_id)
);

CREATE TABLE spend_alerts (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    org_id       text COLLATE "C" NOT NULL,
    scope        text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    month        text COLLATE "C" NOT NULL,
    percent      bigint NOT NULL,
    limit_micros bigint NOT NULL,
    spent_micros bigint NOT NULL,
    currency     text COLLATE "C" NOT NULL,
    at           timestamptz NOT NULL,
    CONSTRAINT spend_alerts_once_key UNIQUE (org_id, scope, user_id, month, percent)
);
CREATE INDEX spend_alerts_org_idx ON spend_alerts (org_id, id DESC);

-- Requests that create or charge something other than a run. The row is written
-- before its object, so that of many equal requests only one gets that far.
CREATE TABLE request_keys (
    org_id      text COLLATE "C" NOT NULL REFERENCES organizations (id),
    key         text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    object_id   text COLLATE "C" NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (org_id, key)
);

-- The accounts of the platform, and of the organizations that are there. The
-- currency is set with the first movement.
INSERT INTO accounts (id, kind, org_id, balance_micros, credit_micros, currency)
VALUES ('fees', 'fees', '', 0, 0, ''), ('external', 'external', '', 0, 0, '');
INSERT INTO accounts (id, kind, org_id, balance_micros, credit_micros, currency)
SELECT kind || ':' || id, kind, id, 0, 0, ''
FROM organizations, (VALUES ('wallet'), ('held'), ('earnings')) AS kinds (kind);

-- Runs.

ALTER TABLE runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check CHECK (status IN ('queued', 'starting', 'running', 'canceling',
        'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired', 'budget_exhausted')),
    ADD COLUMN user_id       text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN cost_micros   bigint NOT NULL DEFAULT 0,
    ADD COLUMN cost_currency text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX runs_org_version_idx ON runs (org_id, version_id) WHERE started_at IS NOT NULL;

-- +goose Down
DROP INDEX runs_org_version_idx;
ALTER TABLE runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check CHECK (status IN ('queued', 'starting', 'running', 'canceling',
        'succeeded', 'failed', 'timed_out', 'canceled', 'rejected', 'expired')),
    DROP COLUMN user_id, DROP COLUMN cost_micros, DROP COLUMN cost_currency;
DROP TABLE request_keys;
DROP TABLE spend_alerts;
DROP TABLE spending;
DROP TABLE spend_limits;
DROP TABLE top_ups;
DROP TABLE run_charges;
DROP TABLE holds;
DROP TABLE ledger_lines;
DROP TABLE ledger_transactions;
DROP TABLE accounts;
DROP TABLE orders;
DROP TABLE installations;
DROP INDEX entitlements_renewal_idx, entitlements_grant_idx, entitlements_org_idx,
    entitlements_org_agent_idx, entitlements_once_key;
-- One right for each organization and agent is kept: the oldest of those that the
-- version before knows.
DELETE FROM entitlements WHERE source NOT IN ('ownership', 'grant');
DELETE FROM entitlements AS e USING entitlements AS o
WHERE o.org_id = e.org_id AND o.agent_id = e.agent_id AND o.id < e.id;
ALTER TABLE entitlements
    DROP CONSTRAINT entitlements_source_check,
    ADD CONSTRAINT entitlements_source_check CHECK (source IN ('ownership', 'grant')),
    ADD CONSTRAINT entitlements_org_agent_key UNIQUE (org_id, agent_id),
    DROP COLUMN team_id, DROP COLUMN user_id, DROP COLUMN order_id, DROP COLUMN grant_id, DROP COLUMN price_id,
    DROP COLUMN versions, DROP COLUMN limit_month, DROP COLUMN limit_active, DROP COLUMN limit_total,
    DROP COLUMN limit_included, DROP COLUMN used_month, DROP COLUMN used_runs, DROP COLUMN used_seconds,
    DROP COLUMN used_total, DROP COLUMN used_active, DROP COLUMN renews;
DROP TABLE prices;
DROP TABLE reviews;
DROP TABLE grants;
DROP TABLE agent_usage;
DROP TABLE listing_comments;
DROP TABLE search_grams;
DROP TABLE listings;
ALTER TABLE agents DROP COLUMN latest_release_id;
DROP TABLE channels;
ALTER TABLE agent_versions DROP COLUMN changelog;
DROP TABLE audit_entries;
DROP FUNCTION refuse_change;
DROP INDEX api_keys_user_idx, api_keys_org_idx;
ALTER TABLE api_keys DROP COLUMN user_id, DROP COLUMN role, DROP COLUMN revoked_at, DROP COLUMN rotated_to;
DROP TABLE invitations;
DROP TABLE team_members;
DROP TABLE teams;
DROP TABLE members;
DROP TABLE users;
