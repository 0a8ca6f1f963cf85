-- The Infra Control Plane: where an attempt ran, and its own log.
--
-- For the operator: adds columns with constant defaults, and rewrites nothing. Going
-- down drops them WITH THEIR DATA: of the logs of runs that were tried again, only the
-- last one stays known.

-- +goose Up
ALTER TABLE run_attempts ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE run_attempts ADD COLUMN log TEXT;

-- +goose Down
ALTER TABLE run_attempts DROP COLUMN log;
ALTER TABLE run_attempts DROP COLUMN node;
