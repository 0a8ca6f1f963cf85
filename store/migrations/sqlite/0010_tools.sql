-- Tools: the MCP servers of organizations and operators, and what people are asked about
-- calls of tools.
--
-- For the operator: adds two tables and a column, and rewrites nothing. Going down drops them WITH THEIR DATA: servers have to be named again.

-- +goose Up
CREATE TABLE tool_servers (
    org_id        TEXT NOT NULL, -- empty: of the operators
    name          TEXT NOT NULL,
    url           TEXT NOT NULL,
    header        TEXT NOT NULL,
    secret        TEXT NOT NULL, -- its name
    timeout_ns    INTEGER NOT NULL CHECK (timeout_ns > 0),
    max_bytes     INTEGER NOT NULL CHECK (max_bytes > 0),
    approve_tools TEXT NOT NULL,
    disabled      BOOLEAN NOT NULL,
    updated_by    TEXT NOT NULL,
    updated_at    TEXT NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- Removed with the output of the run: the arguments are the agent's words.
CREATE TABLE tool_approvals (
    id           TEXT NOT NULL PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id),
    attempt      INTEGER NOT NULL,
    call_key     TEXT NOT NULL, -- of server, tool and arguments
    server       TEXT NOT NULL,
    tool         TEXT NOT NULL,
    arguments    TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    deadline     TEXT NOT NULL,
    decision     TEXT NOT NULL CHECK (decision IN ('', 'approved', 'denied')),
    decided_by   TEXT NOT NULL,
    note         TEXT NOT NULL,
    decided_at   TEXT,
    used_at      TEXT
);
CREATE INDEX tool_approvals_run_id_idx ON tool_approvals (run_id, id);

ALTER TABLE runs ADD COLUMN waiting_until TEXT;

-- +goose Down
ALTER TABLE runs DROP COLUMN waiting_until;
DROP TABLE tool_approvals;
DROP TABLE tool_servers;
