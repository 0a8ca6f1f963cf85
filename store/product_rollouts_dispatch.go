package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// claimRollouts is claimDispatch for rollouts.
var claimRollouts = map[dialect]string{
	postgresDialect: `
WITH due AS MATERIALIZED (
    SELECT id AS due_id FROM rollouts WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ? FOR UPDATE SKIP LOCKED
)
UPDATE rollouts SET dispatch_due_at = ? FROM due WHERE rollouts.id = due.due_id
RETURNING ` + rolloutColumns,
	sqliteDialect: `
WITH due AS (
    SELECT id AS due_id FROM rollouts WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ?
)
UPDATE rollouts SET dispatch_due_at = ? WHERE id IN (SELECT due_id FROM due)
RETURNING ` + rolloutColumns,
}

// DueRollouts implements product.RolloutStore, oldest first.
func (s *Product) DueRollouts(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]product.Rollout, error) {
	if limit <= 0 {
		return nil, nil
	}
	var rows []rolloutRow
	err := s.db.transact(ctx, func(tx *gorm.DB) error {
		rows = nil
		return tx.Raw(claimRollouts[s.db.dialect], at(now), limit, at(now.Add(lease))).Scan(&rows).Error
	})
	if err != nil {
		return nil, s.db.interpret(err, "claim rollouts for dispatch")
	}
	slices.SortFunc(rows, func(a, b rolloutRow) int { return cmp.Compare(a.ID, b.ID) })
	return rolloutsFromRows(rows), nil
}

// clearRollout leaves a rollout due that was changed after it was seen.
const clearRollout = `
UPDATE rollouts SET dispatch_due_at = NULL WHERE id = ? AND dispatch_due_at IS NOT NULL AND revision = ?`

// RolloutDispatched implements product.RolloutStore.
func (s *Product) RolloutDispatched(ctx context.Context, seen product.Rollout) error {
	err := s.db.write.WithContext(ctx).Exec(clearRollout, seen.ID, seen.Revision).Error
	return s.db.interpret(err, "mark rollout "+string(seen.ID)+" as dispatched")
}

// ranMicros is how long a run ran, in microseconds; null for one that never did.
// SQLite knows no times: it reads them to the millisecond.
var ranMicros = map[dialect]string{
	postgresDialect: `EXTRACT(EPOCH FROM (finished_at - started_at)) * 1000000`,
	sqliteDialect:   `ROUND((unixepoch(finished_at, 'subsec') - unixepoch(started_at, 'subsec')) * 1000) * 1000`,
}

// sumSamples reads the part of runs_samples_idx that is about these versions since
// an identifier.
func sumSamples(d dialect) string {
	return `
SELECT version_id, COUNT(*) AS runs, CAST(SUM(CASE WHEN status = 'succeeded' THEN 0 ELSE 1 END) AS bigint) AS failed,
    CAST(SUM(cost_micros) AS bigint) AS micros, CAST(COALESCE(SUM(` + ranMicros[d] + `), 0) AS bigint) AS ran_micros
FROM runs
WHERE agent_id = ? AND version_id IN ? AND id >= ? AND finished_at IS NOT NULL AND cause IN ?
GROUP BY version_id`
}

type samplesRow struct {
	VersionID string
	Runs      int64
	Failed    int64
	Micros    int64
	RanMicros int64
}

// Samples implements product.RolloutStore, with one query. The identifier of a run
// says when it was created.
func (s *Product) Samples(ctx context.Context, agent ids.Agent, versions []ids.Version, since time.Time) (map[ids.Version]product.Samples, error) {
	samples := make(map[ids.Version]product.Samples, len(versions))
	if len(versions) == 0 {
		return samples, nil
	}
	var rows []samplesRow
	err := s.db.read.WithContext(ctx).Raw(sumSamples(s.db.dialect), agent, versions, ids.Earliest[ids.Run](ids.PrefixRun, since),
		[]product.Cause{product.CauseNone, product.CauseAgent, product.CausePublisher}).Scan(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "sum up runs of agent "+string(agent))
	}
	for _, row := range rows {
		samples[ids.Version(row.VersionID)] = product.Samples{
			Runs: row.Runs, Failed: row.Failed, Micros: row.Micros, Duration: time.Duration(row.RanMicros) * time.Microsecond,
		}
	}
	return samples, nil
}
