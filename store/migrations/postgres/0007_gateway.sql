-- The gateway: what attempts tell of their work, how they say that they ended, and the
-- files that they leave.
--
-- For the operator: adds a column and three tables, and rewrites nothing. Going down drops them WITH THEIR DATA: the bodies of artifacts stay in the
-- blob store, and nobody knows of them any more.

-- +goose Up
ALTER TABLE run_attempts ADD COLUMN reported_at timestamptz;

-- What agents say in events: the log itself is append-only, and this is removed with the
-- output of the run.
CREATE TABLE run_event_bodies (
    run_id  text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    message text NOT NULL,
    data    text NOT NULL,
    PRIMARY KEY (run_id, seq),
    FOREIGN KEY (run_id, seq) REFERENCES run_events (run_id, seq)
);

CREATE TABLE run_reports (
    run_id  text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    report  text NOT NULL,
    PRIMARY KEY (run_id, attempt),
    FOREIGN KEY (run_id, attempt) REFERENCES run_attempts (run_id, number)
);

-- Every row stands for a body that may be in the blob store; those that are not kept
-- were never finished.
CREATE TABLE run_artifacts (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    run_id       text COLLATE "C" NOT NULL REFERENCES runs (id),
    attempt      bigint NOT NULL,
    name         text COLLATE "C" NOT NULL,
    content_type text NOT NULL,
    size         bigint NOT NULL,
    sha256       text NOT NULL,
    kept         boolean NOT NULL,
    created_at   timestamptz NOT NULL
);
CREATE INDEX run_artifacts_run_id_idx ON run_artifacts (run_id, attempt, name);
CREATE UNIQUE INDEX run_artifacts_name_key ON run_artifacts (run_id, attempt, name) WHERE kept;

-- +goose Down
DROP TABLE run_artifacts;
DROP TABLE run_reports;
DROP TABLE run_event_bodies;
ALTER TABLE run_attempts DROP COLUMN reported_at;
