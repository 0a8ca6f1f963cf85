package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

const (
	// repairBatch bounds what one repair ends.
	repairBatch = 1000
	// retold is after what time a run that was handed a slot, and has not come for
	// it, is told once more.
	retold = time.Minute
)

// terminal are the runs that need no slot. A run that exists is never removed.
const terminal = `(r.id IS NULL OR r.status NOT IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling'))`

const (
	endedSlots = `
SELECT s.run_id FROM slots AS s LEFT JOIN runs AS r ON r.id = s.run_id
WHERE s.run_id > '' AND ` + terminal + `
ORDER BY s.run_id LIMIT ?`
	endedPlaces = `
SELECT q.run_id FROM queue AS q LEFT JOIN runs AS r ON r.id = q.run_id
WHERE q.run_id > '' AND ` + terminal + `
ORDER BY q.run_id LIMIT ?`
	tellAgain = `UPDATE queue SET told_due_at = ? WHERE granted_at < ? AND told_due_at IS NULL`
	// awaitedLimits hops over the index from one limit to the next, and leaves out
	// those that have no room at all. One that does not exist has.
	awaitedLimits = `
WITH RECURSIVE awaited AS (
    SELECT MIN(scope) AS scope FROM queue WHERE granted_at IS NULL AND scope > ''
    UNION ALL
    SELECT (SELECT MIN(q.scope) FROM queue AS q WHERE q.granted_at IS NULL AND q.scope > awaited.scope)
    FROM awaited WHERE awaited.scope IS NOT NULL
)
SELECT awaited.scope FROM awaited LEFT JOIN limits AS l ON l.scope = awaited.scope
WHERE awaited.scope IS NOT NULL AND (l.concurrent_runs IS NULL OR l.concurrent_runs = 0
    OR l.running < l.concurrent_runs OR l.is_default)
ORDER BY awaited.scope`
)

// RepairSlots implements product.QueueStore. Runs that were handed a slot and have
// not come for it are told once more. What cannot be repaired, as a limit whose row is
// locked for long, keeps nothing else from being repaired.
func (s *Product) RepairSlots(ctx context.Context, now time.Time) (product.Repair, []ids.Run, error) {
	var repair product.Repair
	leaked, err := s.endAll(ctx, endedSlots)
	stranded, strandedErr := s.endAll(ctx, endedPlaces)
	repair.Leaked, repair.Stranded, err = leaked, stranded, errors.Join(err, strandedErr)
	for _, kind := range slices.Sorted(maps.Keys(slotsIn)) {
		err = errors.Join(err, s.recount(ctx, kind, &repair))
	}
	told := s.db.write.WithContext(ctx).Exec(tellAgain, at(now), at(now.Add(-retold))).Error
	err = errors.Join(err, s.db.interpret(told, "tell runs of their slots again"))
	var awaited []string
	if e := s.db.read.WithContext(ctx).Raw(awaitedLimits).Find(&awaited).Error; e != nil {
		return repair, nil, errors.Join(err, s.db.interpret(e, "find limits that runs wait for"))
	}
	var granted []ids.Run
	for _, scope := range awaited {
		given, e := s.db.handOverLimit(ctx, scopeOfKey(scope), now, at(now.Add(dispatchGrace)))
		granted, err = append(granted, given...), errors.Join(err, e)
	}
	return repair, granted, err
}

// endAll ends the slots and places of ended runs that find finds.
func (s *Product) endAll(ctx context.Context, find string) (int, error) {
	var ended []ids.Run
	if err := s.db.read.WithContext(ctx).Raw(find, repairBatch).Find(&ended).Error; err != nil {
		return 0, s.db.interpret(err, "find slots of ended runs")
	}
	var n int
	var failed error
	for _, run := range ended {
		err := s.db.change(ctx, "end slot of run "+string(run), func(tx *gorm.DB) error {
			_, err := s.db.leaveSlot(tx, run, false)
			return err
		})
		if failed = errors.Join(failed, err); err == nil {
			n++
		}
	}
	return n, failed
}

// miscounted finds the limits of a kind whose counters are not those of the slots.
// One statement sees one state, in which they are the same whatever goes on.
func miscounted(kind product.ScopeKind) string {
	return `
SELECT l.scope FROM limits AS l
WHERE l.scope >= ? AND l.scope < ? AND l.kind = ? AND (l.running <> ` + sumSlots(kind, "1") + `
    OR l.cpu_in_flight <> ` + sumSlots(kind, "s.cpu_millis") + ` OR l.memory_in_flight <> ` + sumSlots(kind, "s.memory_mib") + `)
ORDER BY l.scope`
}

// recount sets the counters of limits right that are not those of their slots.
func (s *Product) recount(ctx context.Context, kind product.ScopeKind, repair *product.Repair) error {
	var wrong []string
	first := scopeKey(product.Scope{Kind: kind})
	err := s.db.read.WithContext(ctx).Raw(miscounted(kind), first, first+"~", kind).Find(&wrong).Error
	if err != nil {
		return s.db.interpret(err, "count slots of limits")
	}
	var failed error
	for _, key := range wrong {
		scope := scopeOfKey(key)
		err := s.db.change(ctx, "count slots of "+key, func(tx *gorm.DB) error {
			if _, err := s.db.lockRows(tx, []product.Scope{scope}); err != nil {
				return err
			}
			return countSlots(tx, scope)
		})
		if failed = errors.Join(failed, err); err == nil {
			repair.Counters++
		}
	}
	return failed
}
