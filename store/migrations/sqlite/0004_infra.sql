-- The Infra Control Plane: where an attempt ran, its own log, and the runs that go on.
--
-- For the operator: adds columns with constant defaults, and rewrites nothing. Runs are
-- read for a new index, and locked meanwhile: seconds for ten million runs. Going
-- down drops them WITH THEIR DATA: of the logs of runs that were tried again, only the
-- last one stays known.

-- +goose Up
ALTER TABLE run_attempts ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE run_attempts ADD COLUMN log TEXT;
CREATE INDEX runs_open_idx ON runs (id)
    WHERE status IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling');

-- +goose Down
DROP INDEX runs_open_idx;
ALTER TABLE run_attempts DROP COLUMN log;
ALTER TABLE run_attempts DROP COLUMN node;
