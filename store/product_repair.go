package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// repairBatch bounds the rows that one statement of a repair takes.
const repairBatch = 1000

// endedSlots and endedPlaces find what is left of runs that have ended or do not
// exist.
const (
	endedSlots = `
SELECT s.run_id FROM slots AS s LEFT JOIN runs AS r ON r.id = s.run_id
WHERE s.run_id > '' AND (r.id IS NULL OR r.status NOT IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling'))
ORDER BY s.run_id LIMIT ?`
	endedPlaces = `
SELECT q.run_id FROM queue AS q LEFT JOIN runs AS r ON r.id = q.run_id
WHERE q.run_id > '' AND (r.id IS NULL OR r.status NOT IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling'))
ORDER BY q.run_id LIMIT ?`
	awaitedLimits = `
WITH RECURSIVE awaited (scope) AS (
    SELECT MIN(scope) FROM queue WHERE granted_at IS NULL AND scope > ''
    UNION ALL
    SELECT (SELECT MIN(q.scope) FROM queue AS q WHERE q.granted_at IS NULL AND q.scope > awaited.scope)
    FROM awaited WHERE awaited.scope IS NOT NULL
)
SELECT scope FROM awaited WHERE scope IS NOT NULL`
)

// RepairSlots implements product.QueueStore.
func (s *Product) RepairSlots(ctx context.Context, now time.Time) (product.Repair, []ids.Run, error) {
	var repair product.Repair
	for _, part := range []struct {
		find  string
		count *int
	}{{endedSlots, &repair.Leaked}, {endedPlaces, &repair.Stranded}} {
		var ended []ids.Run
		if err := s.db.read.WithContext(ctx).Raw(part.find, repairBatch).Find(&ended).Error; err != nil {
			return repair, nil, s.db.interpret(err, "find slots of ended runs")
		}
		for _, run := range ended {
			err := s.db.change(ctx, "end slot of run "+string(run), func(tx *gorm.DB) error {
				_, _, err := s.db.leaveSlot(tx, run)
				return err
			})
			if err != nil {
				return repair, nil, err
			}
			*part.count++
		}
	}
	if err := s.recount(ctx, &repair); err != nil {
		return repair, nil, err
	}
	var awaited []string
	if err := s.db.read.WithContext(ctx).Raw(awaitedLimits).Find(&awaited).Error; err != nil {
		return repair, nil, s.db.interpret(err, "find limits that runs wait for")
	}
	var scopes []product.Scope
	for _, a := range awaited {
		scopes = append(scopes, scopeOfKey(a))
	}
	granted, err := s.handOver(ctx, scopes, slotRow{}, now)
	return repair, granted, err
}

// recount sets the counters of limits right that are not those of their slots.
func (s *Product) recount(ctx context.Context, repair *product.Repair) error {
	last := limitRow{}
	for {
		var rows []limitRow
		err := s.db.read.WithContext(ctx).Raw(`SELECT `+limitColumns+` FROM limits WHERE scope > ? ORDER BY scope LIMIT ?`,
			last.Scope, repairBatch).Find(&rows).Error
		if err != nil {
			return s.db.interpret(err, "list limits")
		}
		for _, row := range rows {
			last = row
			counted := row
			if err := countSlots(s.db.read.WithContext(ctx), &counted); err != nil {
				return s.db.interpret(err, "count slots")
			}
			if counted == row {
				continue
			}
			// Perhaps only the two reads differ: again, with the lock.
			err := s.db.change(ctx, "count slots of "+row.Kind+" "+row.ID, func(tx *gorm.DB) error {
				locked, err := s.db.lockLimits(tx, []product.Scope{row.scope()})
				if err != nil || len(locked) == 0 {
					return err
				}
				counted := locked[0]
				if err := countSlots(tx, &counted); err != nil || counted == locked[0] {
					return err
				}
				repair.Counters++
				return tx.Select("running", "cpu_in_flight", "memory_in_flight").Updates(&counted).Error
			})
			if err != nil {
				return err
			}
		}
		if len(rows) < repairBatch {
			return nil
		}
	}
}
