package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"agentmarket/ids"
	"agentmarket/product"
)

// queueRow is a run that waits for a slot, or was handed one and does not know of
// it yet.
type queueRow struct {
	RunID       string `gorm:"primaryKey"`
	OrgID       string
	Starter     string
	TeamID      string
	AgentID     string
	PublisherID string
	CPUMillis   int64  `gorm:"column:cpu_millis"`
	MemoryMiB   int64  `gorm:"column:memory_mib"`
	Urgency     int64  // the negated priority
	Scope       string // of the limit, as in limits
	Bound       string
	EnteredAt   stamp
	GrantedAt   stamp
	ToldDueAt   stamp
}

func (queueRow) TableName() string { return "queue" }

const queueColumns = `run_id, org_id, starter, team_id, agent_id, publisher_id, cpu_millis, memory_mib, urgency,
    scope, bound, entered_at, granted_at, told_due_at`

func (r queueRow) slot(now time.Time) slotRow {
	return slotRow{
		RunID: r.RunID, OrgID: r.OrgID, Starter: r.Starter, TeamID: r.TeamID, AgentID: r.AgentID, PublisherID: r.PublisherID,
		CPUMillis: r.CPUMillis, MemoryMiB: r.MemoryMiB, TakenAt: at(now),
	}
}

// slotFor gives a run that begins its slot: the one that was handed to it, or one
// that is free. Else the run gets its place in the queue, and slotFor returns
// where it stands; entered says that it did not stand there before.
func (db *DB) slotFor(tx *gorm.DB, run product.Run, now time.Time) (wait *product.Wait, entered bool, err error) {
	slot, err := slotOf(tx, run, now)
	if err != nil {
		return nil, false, err
	}
	handed, err := findSlot(tx, run.ID)
	if err != nil {
		return nil, false, err
	}
	if handed == nil {
		row, bound, err := db.takeSlot(tx, slot, now)
		switch {
		case errors.Is(err, errHanded): // in this moment
		case err != nil:
			return nil, false, err
		case row != nil:
			return db.enqueue(tx, run, slot, *row, bound, now)
		}
	}
	return nil, false, tx.Exec(`DELETE FROM queue WHERE run_id = ?`, run.ID).Error
}

// enqueue gives a run its place in the queue; the limits are locked. A run that has
// one keeps its time.
func (db *DB) enqueue(tx *gorm.DB, run product.Run, slot slotRow, limit limitRow, bound product.Bound, now time.Time) (*product.Wait, bool, error) {
	row := queueRow{
		RunID: slot.RunID, OrgID: slot.OrgID, Starter: slot.Starter, TeamID: slot.TeamID, AgentID: slot.AgentID,
		PublisherID: slot.PublisherID, CPUMillis: slot.CPUMillis, MemoryMiB: slot.MemoryMiB,
		Urgency: -int64(run.Request.Priority), Scope: limit.Scope, Bound: string(bound), EnteredAt: at(now),
	}
	var before []queueRow
	if err := tx.Where("run_id = ?", row.RunID).Find(&before).Error; err != nil {
		return nil, false, err
	}
	entered := true
	if len(before) > 0 {
		row.EnteredAt = before[0].EnteredAt
		entered = before[0].Scope != row.Scope
	}
	if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error; err != nil {
		return nil, false, err
	}
	wait, err := waitOf(tx, row, limitFromRow(limit))
	return wait, entered, err
}

// position ranks who waits for a limit in the order in which slots will be handed
// to them if nothing else happens: the organization with the fewest runs first,
// then the person or program with the fewest, then by urgency and time. See nextOrg
// and its neighbours, which find the first of that order without the others.
const position = `
WITH waiting AS (
    SELECT run_id, org_id, starter, urgency,
        ROW_NUMBER() OVER (PARTITION BY org_id, starter ORDER BY urgency, run_id) AS in_starter
    FROM queue WHERE scope = @scope AND granted_at IS NULL
), busy AS (
    SELECT org_id, starter, COUNT(*) AS slots FROM slots
    WHERE org_id IN (SELECT org_id FROM waiting) GROUP BY org_id, starter
), in_orgs AS (
    SELECT waiting.run_id, waiting.org_id, ROW_NUMBER() OVER (PARTITION BY waiting.org_id
        ORDER BY in_starter + COALESCE(busy.slots, 0), waiting.starter, urgency, waiting.run_id) AS in_org
    FROM waiting LEFT JOIN busy ON busy.org_id = waiting.org_id AND busy.starter = waiting.starter
), ranked AS (
    SELECT run_id, ROW_NUMBER() OVER (ORDER BY in_org + COALESCE(l.running, 0), in_orgs.org_id) AS place
    FROM in_orgs LEFT JOIN limits AS l ON l.scope = 'quota:' || in_orgs.org_id
)
SELECT place FROM ranked WHERE run_id = @run`

func waitOf(tx *gorm.DB, row queueRow, limit product.Limit) (*product.Wait, error) {
	wait := product.Wait{
		Scope: limit.Scope, Bound: product.Bound(row.Bound), Limit: limit.Of(product.Bound(row.Bound)), Since: row.EnteredAt.t,
	}
	err := tx.Raw(position, map[string]any{"scope": row.Scope, "run": row.RunID}).Scan(&wait.Position).Error
	return &wait, err
}

// Waiting implements product.QueueStore.
func (s *Product) Waiting(ctx context.Context, run ids.Run) (*product.Wait, error) {
	db := s.db.read.WithContext(ctx)
	var row queueRow
	err := db.Where("run_id = ?", run).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) || err == nil && !row.GrantedAt.t.IsZero() {
		return nil, nil //nolint:nilnil // it does not wait
	}
	if err != nil {
		return nil, s.db.interpret(err, "find run "+string(run)+" in the queue")
	}
	var limits []limitRow
	if err := db.Where("scope = ?", row.Scope).Find(&limits).Error; err != nil {
		return nil, s.db.interpret(err, "load limit")
	}
	limit := product.Limit{Scope: scopeOfKey(row.Scope)}
	if len(limits) > 0 {
		limit = limitFromRow(limits[0])
	}
	wait, err := waitOf(db, row, limit)
	if err != nil {
		return nil, s.db.interpret(err, "rank run "+string(run)+" in the queue")
	}
	wait.Position = cmp.Or(wait.Position, 1) // it was handed a slot meanwhile
	return wait, nil
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
