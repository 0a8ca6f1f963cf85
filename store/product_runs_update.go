package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// lockRun lets one writer change a run at a time. The transactions of SQLite
// exclude each other anyway.
var lockRun = map[dialect]string{
	postgresDialect: `SELECT ` + runColumns + ` FROM runs WHERE id = ? FOR UPDATE`,
	sqliteDialect:   `SELECT ` + runColumns + ` FROM runs WHERE id = ?`,
}

// UpdateRun implements product.RunStore. change must not use the store: on
// SQLite it would wait for itself. What does not change is not written, so a
// repeated update costs a read.
func (s *Runs) UpdateRun(ctx context.Context, id ids.Run, change func(*product.Run) ([]*product.Event, error)) (product.Run, error) {
	return s.db.updateRun(ctx, "update run "+string(id), id, change, nil)
}

// runChange is a change of a run in a transaction: the run is locked, and what the
// change left is not stored yet.
type runChange struct {
	row      runRow
	attempts []attemptRow
	change   func(*product.Run) ([]*product.Event, error)

	run    product.Run
	events []*product.Event
}

// apply makes the change of the run as it is stored. It may be made again.
func (c *runChange) apply() (err error) {
	if c.run, err = runFromRow(c.row, c.attempts); err != nil {
		return err
	}
	c.events, err = c.change(&c.run)
	return refuse(err)
}

// discard leaves the run as it is stored, with another event (nil: none).
func (c *runChange) discard(event *product.Event) (err error) {
	c.run, err = runFromRow(c.row, c.attempts)
	c.events = []*product.Event{event}
	return err
}

// updateRun is a transaction that changes a run. then does what belongs to the
// change: it sees the run that change left, locked and before it is stored, and
// may set its cost. last, which it returns, is done at the very end: what many
// transactions wait for. then may be nil.
func (db *DB) updateRun(ctx context.Context, doing string, id ids.Run, change func(*product.Run) ([]*product.Event, error),
	then func(tx *gorm.DB, c *runChange) (last func() error, err error),
) (product.Run, error) {
	var result product.Run
	err := db.change(ctx, doing, func(tx *gorm.DB) error {
		var before runRow
		err := tx.Raw(lockRun[db.dialect], id).Take(&before).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("run", string(id))
		}
		if err != nil {
			return err
		}
		var attempts []attemptRow
		if err := tx.Where("run_id = ?", id).Order("number").Find(&attempts).Error; err != nil {
			return err
		}
		c := runChange{row: before, attempts: attempts, change: change}
		if err := c.apply(); err != nil {
			return err
		}
		last := func() error { return nil }
		if then != nil {
			if last, err = then(tx, &c); err != nil {
				return err
			}
		}
		if result, err = storeChange(tx, before, attempts, c.run, c.events); err != nil {
			return err
		}
		return last()
	})
	if err != nil {
		return product.Run{}, err
	}
	return result, nil
}

// storeChange writes the difference between the rows that were loaded and the
// run that the caller's function left, and returns the run as it is stored.
func storeChange(tx *gorm.DB, before runRow, attempts []attemptRow, run product.Run, events []*product.Event) (product.Run, error) {
	after, err := rowFromRun(run)
	if err != nil {
		return product.Run{}, err
	}
	// What no change may touch.
	after.ID, after.OrgID, after.CreatedAt = before.ID, before.OrgID, before.CreatedAt
	if ended := product.Status(before.Status).Terminal(); ended && after.Status != before.Status {
		return product.Run{}, fault.Newf(fault.Conflict, "run_ended",
			"the run has already ended: %s; it cannot become %s", before.Status, after.Status)
	}
	after.DispatchDueAt = dueAfter(before, after)

	after.LastEventSeq = before.LastEventSeq
	var log []eventRow
	for _, event := range events {
		if event == nil {
			continue
		}
		after.LastEventSeq++
		log = append(log, rowFromEvent(before.ID, after.LastEventSeq, *event))
	}
	if !reflect.DeepEqual(before, after) {
		if err := tx.Select("*").Omit("id", "org_id", "created_at").Updates(&after).Error; err != nil {
			return product.Run{}, err
		}
	}
	stored, err := storeAttempts(tx, ids.Run(before.ID), attempts, run.Attempts)
	if err != nil {
		return product.Run{}, err
	}
	if len(log) > 0 {
		if err := tx.Create(&log).Error; err != nil {
			return product.Run{}, err
		}
	}
	result, err := runFromRow(after, stored)
	if err != nil {
		return product.Run{}, err
	}
	return result, storeDeliveries(tx, product.Status(before.Status), result)
}

// storeAttempts writes the attempts that are new or changed, and returns all.
// The lock on the run covers them.
func storeAttempts(tx *gorm.DB, run ids.Run, before []attemptRow, attempts []product.Attempt) ([]attemptRow, error) {
	known := make(map[int]attemptRow, len(before))
	for _, row := range before {
		known[row.Number] = row
	}
	rows := make([]attemptRow, len(attempts))
	for i, attempt := range attempts {
		rows[i] = rowFromAttempt(run, attempt)
		old, exists := known[attempt.Number]
		var err error
		switch {
		case !exists:
			err = tx.Create(&rows[i]).Error
		case !reflect.DeepEqual(old, rows[i]):
			err = tx.Select("*").Updates(&rows[i]).Error
		}
		if err != nil {
			return nil, fmt.Errorf("store attempt %d: %w", attempt.Number, err)
		}
	}
	return rows, nil
}
