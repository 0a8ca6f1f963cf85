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
// nobody was given; the next settlement of the scope, or RepairSlots, gives it.

const (
	// handOverTries bounds the runs that are looked at for one slot and wait for
	// another limit as well.
	handOverTries = 20
	// handOverMost bounds the slots that one hand-over gives.
	handOverMost = 1000
)

// nextOrg, nextStarter and nextRun find who is next for a limit: the organization
// with the fewest runs, in it who has the fewest slots, and of his runs the most
// urgent, then the oldest. Whose slot it was counts as if he still had it: of two
// who could be next, the other one is. They hop over the index from one organization to the
// next, and look at no other run.
const (
	nextOrg = `
WITH RECURSIVE orgs (org_id) AS (
    SELECT MIN(org_id) FROM queue WHERE scope = @scope AND granted_at IS NULL
    UNION ALL
    SELECT (SELECT MIN(q.org_id) FROM queue AS q
        WHERE q.scope = @scope AND q.granted_at IS NULL AND q.org_id > orgs.org_id)
    FROM orgs WHERE orgs.org_id IS NOT NULL
)
SELECT orgs.org_id FROM orgs LEFT JOIN limits AS l ON l.scope = 'quota:' || orgs.org_id
WHERE orgs.org_id IS NOT NULL
ORDER BY COALESCE(l.running, 0) + CASE WHEN orgs.org_id = @freed_org THEN 1 ELSE 0 END, orgs.org_id LIMIT 1`
	nextStarter = `
WITH RECURSIVE starters (starter) AS (
    SELECT MIN(starter) FROM queue WHERE scope = @scope AND granted_at IS NULL AND org_id = @org
    UNION ALL
    SELECT (SELECT MIN(q.starter) FROM queue AS q
        WHERE q.scope = @scope AND q.granted_at IS NULL AND q.org_id = @org AND q.starter > starters.starter)
    FROM starters WHERE starters.starter IS NOT NULL
)
SELECT starter FROM starters
WHERE starter IS NOT NULL
ORDER BY (SELECT COUNT(*) FROM slots AS s WHERE s.org_id = @org AND s.starter = starters.starter)
    + CASE WHEN @org = @freed_org AND starter = @freed_starter THEN 1 ELSE 0 END, starter LIMIT 1`
	nextRun = `
SELECT ` + queueColumns + ` FROM queue
WHERE scope = @scope AND granted_at IS NULL AND org_id = @org AND starter = @starter
ORDER BY urgency, run_id LIMIT 1`
)

// next is who is next for a limit; nil: nobody waits.
func next(tx *gorm.DB, scope product.Scope, freed slotRow) (*queueRow, error) {
	values := map[string]any{"scope": scopeKey(scope), "freed_org": freed.OrgID, "freed_starter": freed.Starter}
	for _, step := range []struct{ name, statement string }{{"org", nextOrg}, {"starter", nextStarter}} {
		var found []string
		if err := tx.Raw(step.statement, values).Find(&found).Error; err != nil || len(found) == 0 {
			return nil, err
		}
		values[step.name] = found[0]
	}
	var rows []queueRow
	if err := tx.Raw(nextRun, values).Find(&rows).Error; err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// handOver gives slots to the runs that wait for limits which may have room: that
// of freed, which has ended (zero: none). It returns the runs that got one, or will
// not get one, also with an error.
func (s *Product) handOver(ctx context.Context, scopes []product.Scope, freed slotRow, now time.Time) (granted []ids.Run, err error) {
	for _, scope := range scopes {
		tries := 0
		for len(granted) < handOverMost && tries < handOverTries {
			run, result, err := s.db.handOverOne(ctx, scope, freed, now)
			if err != nil {
				return granted, err
			}
			if result == slotNone {
				break
			}
			if tries++; result == slotGiven || result == slotRefused {
				granted, tries = append(granted, run), 0
			}
		}
	}
	return granted, nil
}

// handOverResult is what became of one try to hand over a slot.
type handOverResult int

const (
	slotNone    handOverResult = iota // nobody waits, or the limit has no room for who is next
	slotGiven                         // to the run
	slotMoved                         // who was next waits for another limit now, or not any more
	slotRefused                       // the run never fits, or not today: it is woken, and hears it
)

// handOverOne tries to give a slot to the run that is next for a limit. Who is next
// is found before anything is locked, and looked at again with the locks.
func (db *DB) handOverOne(ctx context.Context, scope product.Scope, freed slotRow, now time.Time) (run ids.Run, result handOverResult, err error) {
	err = db.change(ctx, "hand over a slot", func(tx *gorm.DB) error {
		run, result = "", slotNone
		first, err := next(tx, scope, freed)
		if err != nil || first == nil {
			return err
		}
		slot := first.slot(now)
		run = ids.Run(first.RunID)
		limits, err := db.lockLimits(tx, slot.scopes())
		if err != nil {
			return err
		}
		var still []queueRow
		err = tx.Raw(`SELECT `+queueColumns+` FROM queue WHERE run_id = ?`+forUpdate[db.dialect], first.RunID).Find(&still).Error
		if err != nil {
			return err
		}
		if len(still) == 0 || !still[0].GrantedAt.t.IsZero() || still[0].Scope != first.Scope {
			result = slotMoved // somebody else was faster
			return nil
		}
		for _, limit := range limits {
			if limitFromRow(limit).Never(limit.usage(now), slot.resources()) != nil { // it asks once more, and is told
				result = slotRefused
				return tx.Exec(`DELETE FROM queue WHERE run_id = ?`, run).Error
			}
		}
		blocked, bound := blocking(limits, slot, now)
		switch {
		case blocked != nil && blocked.scope() == scope:
			return nil
		case blocked != nil: // it waits for that one from now on
			result = slotMoved
			return tx.Exec(`UPDATE queue SET scope = ?, bound = ? WHERE run_id = ?`, blocked.Scope, bound, first.RunID).Error
		}
		result = slotGiven
		if err := countSlot(tx, limits, slot, now); err != nil {
			return err
		}
		return tx.Exec(`UPDATE queue SET granted_at = ?, told_due_at = ? WHERE run_id = ?`, at(now), at(now.Add(dispatchGrace)), first.RunID).Error
	})
	return run, result, err
}

// handOverAfter is handOver after a settlement, which has succeeded whatever
// becomes of it.
func (db *DB) handOverAfter(ctx context.Context, scopes []product.Scope, freed slotRow, now time.Time) []ids.Run {
	granted, err := db.Product().handOver(ctx, scopes, freed, now)
	if err != nil && db.config.Logger != nil {
		db.config.Logger.WarnContext(ctx, "hand over slots", "error", err, "kind", string(fault.KindOf(err)))
	}
	return granted
}
