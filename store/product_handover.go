package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// A free slot is handed over in a transaction of its own, after the one that freed
// it: money that is settled waits for nobody. Who dies in between leaves room that
// nobody was given: whoever settles the run again gives it, or RepairSlots.
//
// Who is next for a limit may be kept back by another one. It waits for that one
// from then on, and others have their turn; but no more of those whom the other
// limit keeps back leave the queue of this limit than it has room for. So, of all
// whom a limit has room for, somebody is handed a slot, or waits for another limit,
// of which he is handed one.

// handOverSteps bounds the runs that one hand-over looks at for a limit.
const handOverSteps = 200

// step is what became of the run that was next for a limit.
type step struct {
	kind stepKind
	// limit is the one whose room is handed over, other where the run waits now
	// (stepMoved).
	limit limitRow
	other product.Scope
}

type stepKind int

const (
	stepBlocked stepKind = iota // the limit has no room for it
	stepGiven                   // it has its slot, or is to ask once more
	stepMoved                   // it waits for another limit now
	stepGone                    // it has ended in this moment
)

// handOver gives slots to the runs that wait for limits which may have room. It
// returns the runs that got one, to be told at once; after a grace they are told by
// others, see Granted.
func (db *DB) handOver(ctx context.Context, scopes []product.Scope, now time.Time, grace time.Duration) ([]ids.Run, error) {
	var awaited []struct {
		Scope string
		Bound *string
	}
	if err := db.read.WithContext(ctx).Raw(selectAwaited, "", keys(scopes)).Find(&awaited).Error; err != nil {
		return nil, db.interpret(err, "find awaited limits")
	}
	var granted []ids.Run
	for _, a := range awaited {
		if a.Bound == nil {
			continue
		}
		given, err := db.handOverLimit(ctx, scopeOfKey(a.Scope), now, at(now.Add(grace)))
		if granted = append(granted, given...); err != nil {
			return granted, err
		}
	}
	return granted, nil
}

// handOverAfter is handOver after a change that has succeeded whatever becomes of it.
func (db *DB) handOverAfter(ctx context.Context, scopes []product.Scope, now time.Time, grace time.Duration) []ids.Run {
	granted, err := db.handOver(ctx, scopes, now, grace)
	if err != nil {
		db.config.Logger.WarnContext(ctx, "slots not handed over, left to the repair", "error", err, "kind", string(fault.KindOf(err)))
	}
	return granted
}

// handOverLimit gives the room of a limit to those who wait for it, each in a
// transaction. One at a time does so for a limit: two would find the same run.
func (db *DB) handOverLimit(ctx context.Context, scope product.Scope, now time.Time, told stamp) ([]ids.Run, error) {
	var granted []ids.Run
	passed := newPassed()
	for range handOverSteps {
		var candidate *queueRow
		var taken step
		err := db.change(ctx, "hand over a slot of "+scopeKey(scope), func(tx *gorm.DB) (err error) {
			if err := db.lockName(tx, "hand over "+scopeKey(scope)); err != nil {
				return err
			}
			if candidate, err = next(tx, scopeKey(scope), passed); err != nil || candidate == nil {
				return err
			}
			taken, err = db.handOverTo(tx, *candidate, now, told)
			return err
		})
		if err != nil || candidate == nil {
			return granted, err
		}
		switch taken.kind {
		case stepBlocked:
			return granted, nil
		case stepGiven:
			granted = append(granted, ids.Run(candidate.RunID))
			if limitFromRow(taken.limit).Blocks(taken.limit.usage(now), product.Resources{}) != "" {
				return granted, nil // nobody fits any more
			}
		case stepMoved:
			passed.moved(*candidate, taken, now)
		case stepGone:
		}
	}
	return granted, nil
}

// handOverTo gives a run its slot, if it still waits now that its limits are locked,
// and fits under all of them. A run that never fits, or not today, is told as if it had a slot: it asks
// once more, and hears it.
func (db *DB) handOverTo(tx *gorm.DB, run queueRow, now time.Time, told stamp) (step, error) {
	slot := run.slot(now)
	rows, err := db.lockLimits(tx, slot)
	if err != nil {
		return step{}, err
	}
	var still []queueRow
	err = tx.Raw(`SELECT `+queueColumns+` FROM queue WHERE run_id = ?`+forUpdate[db.dialect], run.RunID).Find(&still).Error
	if err != nil {
		return step{}, err
	}
	if len(still) == 0 || !still[0].GrantedAt.t.IsZero() || still[0].Scope != run.Scope {
		return step{kind: stepGone}, nil
	}
	taken := step{kind: stepGiven}
	own := rows[:0:0]
	for _, row := range rows {
		if row.Scope == run.Scope {
			taken.limit, own = row, append(own, row)
		}
	}
	if never(rows, slot, now) == nil {
		o := blocking(own, slot, now)
		if o != nil {
			taken.kind = stepBlocked
		} else if o = blocking(rows, slot, now); o != nil {
			taken.kind, taken.other = stepMoved, o.limit.scope()
		}
		if o != nil {
			return taken, waitFor(tx, still[0], *o)
		}
		if err := countSlot(tx, rows, slot, now); err != nil {
			return step{}, err
		}
		taken.limit.Running++
		taken.limit.CPUInFlight += slot.CPUMillis
		taken.limit.MemoryInFlight += slot.MemoryMiB
	}
	return taken, tx.Exec(`UPDATE queue SET granted_at = ?, told_due_at = ? WHERE run_id = ?`, at(now), told, run.RunID).Error
}

// waitFor changes what a run waits for.
func waitFor(tx *gorm.DB, run queueRow, o obstacle) error {
	if run.Scope == o.limit.Scope && run.Bound == string(o.bound) {
		return nil
	}
	return tx.Exec(`UPDATE queue SET scope = ?, bound = ? WHERE run_id = ?`, o.limit.Scope, string(o.bound), run.RunID).Error
}
