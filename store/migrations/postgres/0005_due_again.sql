-- What could not be done is due again, and is in nobody's way until then: the removal of
-- the data of runs, and webhooks' messages that were lost on their way.
--
-- For the operator: adds a column, and rewrites only messages of webhooks that are on
-- their way. Runs are read for a new index, and locked meanwhile: seconds for ten
-- million runs. Going down loses when a removal is tried again: it is tried at once.

-- +goose Up
ALTER TABLE runs ADD COLUMN removal_postponed_to timestamptz;
DROP INDEX runs_retention_idx;
CREATE INDEX runs_retention_idx ON runs
    ((CASE WHEN removal_postponed_to > retention_due_at THEN removal_postponed_to ELSE retention_due_at END))
    WHERE retention_due_at IS NOT NULL;

-- Messages that are on their way are due once more, so that those which were lost end.
UPDATE webhook_deliveries SET dispatch_due_at = created_at WHERE status = 'pending' AND dispatch_due_at IS NULL;

-- +goose Down
DROP INDEX runs_retention_idx;
CREATE INDEX runs_retention_idx ON runs (retention_due_at) WHERE retention_due_at IS NOT NULL;
ALTER TABLE runs DROP COLUMN removal_postponed_to;
