package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/product"
)

// The row of a run is its own outbox: dispatch_due_at says when the workflow
// engine has to be told of it. Whoever stores a run or a request to cancel tells
// the engine at once and then calls Dispatched; the relay, which calls
// ClaimDispatch, does what was left undone.

// dispatchGrace is how long the relay leaves a new run, or a new request to
// cancel, to the process that stored it.
const dispatchGrace = 3 * time.Second

// dueAfter tells when a changed run is due. A run that has ended never is. A
// new request to cancel and a decision make it due; where it is due anyway the time
// stays, for it may be the end of a relay's lease.
func dueAfter(before, after runRow) stamp {
	switch {
	case product.Status(after.Status).Terminal():
		return stamp{}
	case before.DispatchDueAt.t.IsZero() && before.CancelSignaledAt.t.IsZero() && !after.CancelSignaledAt.t.IsZero():
		return at(after.CancelSignaledAt.t.Add(dispatchGrace))
	case before.DispatchDueAt.t.IsZero() && decidedAt(before).IsZero() && !decidedAt(after).IsZero():
		return at(decidedAt(after).Add(dispatchGrace))
	default:
		return before.DispatchDueAt
	}
}

// decidedAt is when it was decided about an approval; zero: it was not.
func decidedAt(r runRow) time.Time {
	if r.Approval.value == nil {
		return time.Time{}
	}
	return r.Approval.value.DecidedAt
}

// claimDispatch takes due runs, oldest first. On PostgreSQL rivals skip the
// rows that one of them has locked; MATERIALIZED makes the limit count once. On
// SQLite one writer works at a time.
var claimDispatch = map[dialect]string{
	postgresDialect: `
WITH due AS MATERIALIZED (
    SELECT id AS due_id FROM runs WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ? FOR UPDATE SKIP LOCKED
)
UPDATE runs SET dispatch_due_at = ? FROM due WHERE runs.id = due.due_id
RETURNING ` + runColumns,
	sqliteDialect: `
WITH due AS (
    SELECT id AS due_id FROM runs WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ?
)
UPDATE runs SET dispatch_due_at = ? WHERE id IN (SELECT due_id FROM due)
RETURNING ` + runColumns,
}

// ClaimDispatch implements product.RunStore. The runs come without attempts,
// oldest first.
func (s *Runs) ClaimDispatch(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]product.Run, error) {
	if limit <= 0 {
		return nil, nil
	}
	var rows []runRow
	err := s.db.transact(ctx, func(tx *gorm.DB) error {
		rows = nil
		return tx.Raw(claimDispatch[s.db.dialect], at(now), limit, at(now.Add(lease))).Scan(&rows).Error
	})
	if err != nil {
		return nil, s.db.interpret(err, "claim runs for dispatch")
	}
	slices.SortFunc(rows, func(a, b runRow) int { return cmp.Compare(a.ID, b.ID) })
	return runsFromRows(rows)
}

// clearDispatch leaves a run due that has a request to cancel, or a decision, which
// the caller has not seen.
const clearDispatch = `
UPDATE runs SET dispatch_due_at = NULL
WHERE id = ? AND dispatch_due_at IS NOT NULL AND (cancel_signaled_at IS NULL OR ?)
    AND (approval ->> 'decision' IS NULL OR ?)`

// Dispatched implements product.RunStore.
func (s *Runs) Dispatched(ctx context.Context, seen product.Run) error {
	decided := seen.Approval != nil && seen.Approval.Decision != ""
	err := s.db.write.WithContext(ctx).Exec(clearDispatch, seen.ID, seen.Cancel != nil, decided).Error
	return s.db.interpret(err, "mark run "+string(seen.ID)+" as dispatched")
}
