-- The gateway: what attempts tell of their work, how they say that they ended, and the
-- files that they leave.
--
-- For the operator: adds a column and three tables, and rewrites nothing. Going down drops them WITH THEIR DATA: the bodies of artifacts stay in the
-- blob store, and nobody knows of them any more.

-- +goose Up
ALTER TABLE run_attempts ADD COLUMN reported_at TEXT;

-- What agents say in events: the log itself is append-only, and this is removed with the
-- output of the run.
CREATE TABLE run_event_bodies (
    run_id  TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    message TEXT NOT NULL,
    data    TEXT NOT NULL,
    PRIMARY KEY (run_id, seq),
    FOREIGN KEY (run_id, seq) REFERENCES run_events (run_id, seq)
);

CREATE TABLE run_reports (
    run_id  TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    report  TEXT NOT NULL,
    PRIMARY KEY (run_id, attempt),
    FOREIGN KEY (run_id, attempt) REFERENCES run_attempts (run_id, number)
);

-- Every row stands for a body that may be in the blob store; those that are not kept
-- were never finished.
CREATE TABLE run_artifacts (
    id           TEXT NOT NULL PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id),
    attempt      INTEGER NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    sha256       TEXT NOT NULL,
    kept         BOOLEAN NOT NULL,
    created_at   TEXT NOT NULL
);
CREATE INDEX run_artifacts_run_id_idx ON run_artifacts (run_id, attempt, name);
CREATE UNIQUE INDEX run_artifacts_name_key ON run_artifacts (run_id, attempt, name) WHERE kept;

-- +goose Down
DROP TABLE run_artifacts;
DROP TABLE run_reports;
DROP TABLE run_event_bodies;
ALTER TABLE run_attempts DROP COLUMN reported_at;
