package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// Waiting implements product.QueueStore.
func (s *Product) Waiting(ctx context.Context, run ids.Run) (*product.Wait, error) {
	db := s.db.read.WithContext(ctx)
	row, err := findPlace(db, run)
	if err != nil {
		return nil, s.db.interpret(err, "find run "+string(run)+" in the queue")
	}
	if row == nil || !row.GrantedAt.t.IsZero() {
		return nil, nil //nolint:nilnil // it does not wait
	}
	wait, err := s.db.waitOf(db, *row)
	return &wait, s.db.interpret(err, "rank run "+string(run)+" in the queue")
}

func (db *DB) waitOf(tx *gorm.DB, row queueRow) (product.Wait, error) {
	var limits []limitRow
	if err := tx.Raw(selectLimits, []string{row.Scope}).Find(&limits).Error; err != nil {
		return product.Wait{}, err
	}
	var limit product.Limit
	if len(limits) > 0 {
		limit = limitFromRow(db.configured(limits[0]))
	}
	wait := row.wait(limit)
	var err error
	wait.Position, err = position(tx, row)
	return wait, err
}

// claimGranted takes runs that were handed a slot and were not told, as
// claimDispatch does for runs.
var claimGranted = map[dialect]string{
	postgresDialect: `
WITH due AS MATERIALIZED (
    SELECT run_id AS due_id FROM queue WHERE told_due_at <= ?
    ORDER BY told_due_at LIMIT ? FOR UPDATE SKIP LOCKED
)
UPDATE queue SET told_due_at = ? FROM due WHERE queue.run_id = due.due_id
RETURNING run_id`,
	sqliteDialect: `
WITH due AS (
    SELECT run_id AS due_id FROM queue WHERE told_due_at <= ?
    ORDER BY told_due_at LIMIT ?
)
UPDATE queue SET told_due_at = ? WHERE run_id IN (SELECT due_id FROM due)
RETURNING run_id`,
}

// Granted implements product.QueueStore.
func (s *Product) Granted(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]ids.Run, error) {
	if limit <= 0 {
		return nil, nil
	}
	var runs []ids.Run
	err := s.db.transact(ctx, func(tx *gorm.DB) error {
		runs = nil
		return tx.Raw(claimGranted[s.db.dialect], at(now), limit, at(now.Add(lease))).Scan(&runs).Error
	})
	return runs, s.db.interpret(err, "claim runs that were handed a slot")
}

// Told implements product.QueueStore.
func (s *Product) Told(ctx context.Context, run ids.Run) error {
	err := s.db.write.WithContext(ctx).
		Exec(`UPDATE queue SET told_due_at = NULL WHERE run_id = ? AND told_due_at IS NOT NULL`, run).Error
	return s.db.interpret(err, "mark run "+string(run)+" as told")
}
