-- Tools: the MCP servers of organizations and operators, and what people are asked about
-- calls of tools.
--
-- For the operator: adds two tables and a column, and rewrites nothing. Going down drops them WITH THEIR DATA: servers have to be named again.

-- +goose Up
CREATE TABLE tool_servers (
    org_id        text COLLATE "C" NOT NULL, -- empty: of the operators
    name          text COLLATE "C" NOT NULL,
    url           text COLLATE "C" NOT NULL,
    header        text COLLATE "C" NOT NULL,
    secret        text COLLATE "C" NOT NULL, -- its name
    timeout_ns    bigint NOT NULL CHECK (timeout_ns > 0),
    max_bytes     bigint NOT NULL CHECK (max_bytes > 0),
    approve_tools jsonb NOT NULL,
    disabled      boolean NOT NULL,
    updated_by    text COLLATE "C" NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- Removed with the output of the run: the arguments are the agent's words.
CREATE TABLE tool_approvals (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    run_id       text COLLATE "C" NOT NULL REFERENCES runs (id),
    attempt      bigint NOT NULL,
    call_key     text COLLATE "C" NOT NULL, -- of server, tool and arguments
    server       text COLLATE "C" NOT NULL,
    tool         text COLLATE "C" NOT NULL,
    arguments    text COLLATE "C" NOT NULL,
    requested_at timestamptz NOT NULL,
    deadline     timestamptz NOT NULL,
    decision     text COLLATE "C" NOT NULL CHECK (decision IN ('', 'approved', 'denied')),
    decided_by   text COLLATE "C" NOT NULL,
    note         text COLLATE "C" NOT NULL,
    decided_at   timestamptz,
    used_at      timestamptz
);
CREATE INDEX tool_approvals_run_id_idx ON tool_approvals (run_id, id);

ALTER TABLE runs ADD COLUMN waiting_until timestamptz;

-- +goose Down
ALTER TABLE runs DROP COLUMN waiting_until;
DROP TABLE tool_approvals;
DROP TABLE tool_servers;
