package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

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
