package store

import (
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// A slot is the right of a run to go on: a row of slots, counted in the limits of
// the run's scopes. Whether there is one is decided under the locks of all of these
// limits, see lockLimits. A run that enters the queue decides under them, and who
// gives back a slot counts it under them: one of the two sees the other, and no
// wake-up is lost.

type slotRow struct {
	RunID       string `gorm:"primaryKey"`
	OrgID       string
	Starter     string
	TeamID      string
	AgentID     string
	PublisherID string
	CPUMillis   int64 `gorm:"column:cpu_millis"`
	MemoryMiB   int64 `gorm:"column:memory_mib"`
	TakenAt     stamp
}

func (slotRow) TableName() string { return "slots" }

func (r slotRow) resources() product.Resources {
	return product.Resources{CPUMillis: r.CPUMillis, MemoryMiB: r.MemoryMiB}
}

// scopes are those of the run, as product.Run.Scopes.
func (r slotRow) scopes() []product.Scope {
	run := product.Run{
		OrgID: ids.Org(r.OrgID), KeyID: ids.Key(r.Starter), TeamID: ids.Team(r.TeamID), AgentID: ids.Agent(r.AgentID),
	}
	return run.Scopes(ids.Org(r.PublisherID))
}

// slotOf is the slot that a run needs.
func slotOf(tx *gorm.DB, run product.Run, now time.Time) (slotRow, error) {
	slot := slotRow{
		RunID: string(run.ID), OrgID: string(run.OrgID), Starter: run.Starter(), TeamID: string(run.TeamID),
		AgentID: string(run.AgentID), TakenAt: at(now),
	}
	if run.Plan != nil {
		slot.PublisherID, slot.CPUMillis, slot.MemoryMiB = string(run.Plan.PublisherID), run.Plan.Resources.CPUMillis, run.Plan.Resources.MemoryMiB
	}
	if slot.PublisherID != "" {
		return slot, nil
	}
	err := tx.Raw(`SELECT org_id FROM agents WHERE id = ?`, run.AgentID).Take(&slot.PublisherID).Error
	return slot, err
}

// findSlot finds the slot of a run; nil: it has none.
func findSlot(tx *gorm.DB, run ids.Run) (*slotRow, error) {
	var row slotRow
	err := tx.Where("run_id = ?", run).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil //nolint:nilnil // no slot is an answer
	}
	return &row, err
}

// obstacle is the limit that keeps a run from its slot.
type obstacle struct {
	limit limitRow
	bound product.Bound
	// overtakes: the run would fit, but others wait for the limit already.
	overtakes bool
}

// takeSlot gives a run a slot that is free, or says what keeps it from one. A run
// that cannot fit at all, or not today, is refused with fault.Forbidden. A slot that
// the run was handed already stays.
func (db *DB) takeSlot(tx *gorm.DB, slot slotRow, now time.Time) (*obstacle, error) {
	run := ids.Run(slot.RunID)
	if handed, err := findSlot(tx, run); err != nil || handed != nil {
		return nil, err
	}
	rows, err := db.lockLimitsFirst(tx, slot, now)
	if err != nil {
		return nil, err
	}
	// Whoever handed a slot over held these locks.
	if handed, err := findSlot(tx, run); err != nil || handed != nil {
		return nil, err
	}
	if err := never(rows, slot, now); err != nil {
		return nil, refuse(err)
	}
	if o := blocking(rows, slot, now); o != nil {
		return o, nil
	}
	if o, err := overtaking(tx, rows, slot); err != nil || o != nil {
		return o, err
	}
	return nil, countSlot(tx, rows, slot, now)
}

// never is fault.Forbidden for a run that no waiting would let in.
func never(rows []limitRow, slot slotRow, now time.Time) error {
	for _, row := range rows {
		if err := limitFromRow(row).Never(row.usage(now), slot.resources()); err != nil {
			return err
		}
	}
	return nil
}

// blocking finds the first limit that a run does not fit under.
func blocking(rows []limitRow, slot slotRow, now time.Time) *obstacle {
	for _, row := range rows {
		if bound := limitFromRow(row).Blocks(row.usage(now), slot.resources()); bound != "" {
			return &obstacle{limit: row, bound: bound}
		}
	}
	return nil
}

// selectAwaited finds who else waits for limits. The limits come from values, so
// that each is one look into the index.
const selectAwaited = `
SELECT limits.scope, (SELECT q.bound FROM queue AS q
    WHERE q.scope = limits.scope AND q.granted_at IS NULL AND q.run_id <> ? LIMIT 1) AS bound
FROM limits WHERE limits.scope IN ? ORDER BY limits.scope`

// overtaking finds a limit that others wait for already: who comes later, and would
// fit, must not overtake them. Perhaps there is room for both: then it is for the
// hand-over to say who is next.
func overtaking(tx *gorm.DB, rows []limitRow, slot slotRow) (*obstacle, error) {
	scopes := make([]string, len(rows))
	for i, row := range rows {
		scopes[i] = row.Scope
	}
	var awaited []struct {
		Scope string
		Bound *string
	}
	if err := tx.Raw(selectAwaited, slot.RunID, scopes).Find(&awaited).Error; err != nil {
		return nil, err
	}
	for i, a := range awaited {
		if a.Bound != nil {
			return &obstacle{limit: rows[i], bound: product.Bound(*a.Bound), overtakes: true}, nil
		}
	}
	return nil, nil //nolint:nilnil // nobody waits
}

// countUp counts a run in limits, where it fits: the rows are locked, so it does.
// Counts of a day or a month that is over begin anew; a caller whose clock is behind
// begins none.
const countUp = `
UPDATE limits SET running = running + 1, cpu_in_flight = cpu_in_flight + @cpu, memory_in_flight = memory_in_flight + @memory,
    runs_today = CASE WHEN day < @day THEN 0 ELSE runs_today END + 1,
    day = CASE WHEN day < @day THEN @day ELSE day END,
    runs_in_month = CASE WHEN month < @month THEN 0 ELSE runs_in_month END + 1,
    month = CASE WHEN month < @month THEN @month ELSE month END,
    served_at = @now
WHERE scope IN @scopes
    AND (concurrent_runs = 0 OR running + 1 <= concurrent_runs)
    AND (cpu_millis = 0 OR cpu_in_flight + @cpu <= cpu_millis)
    AND (memory_mib = 0 OR memory_in_flight + @memory <= memory_mib)`

// countSlot stores a slot and counts it in all limits, which are locked and have
// room.
func countSlot(tx *gorm.DB, rows []limitRow, slot slotRow, now time.Time) error {
	scopes := make([]string, len(rows))
	for i, row := range rows {
		scopes[i] = row.Scope
	}
	update := tx.Exec(countUp, map[string]any{
		"cpu": slot.CPUMillis, "memory": slot.MemoryMiB, "day": dayOf(now), "month": monthOf(now), "now": at(now), "scopes": scopes,
	})
	if update.Error != nil {
		return update.Error
	}
	if update.RowsAffected != int64(len(rows)) {
		return fmt.Errorf("count run %s: it fits under %d of its %d limits", slot.RunID, update.RowsAffected, len(rows))
	}
	return tx.Create(&slot).Error
}
