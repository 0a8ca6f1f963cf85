package store

import (
	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// countDown gives back what countUp took. Runs of the day and the month stay counted, but
// for those that never ran.
const countDown = `
UPDATE limits SET
    running = CASE WHEN running > 0 THEN running - 1 ELSE 0 END,
    runs_today = CASE WHEN @unused AND day = @day AND runs_today > 0 THEN runs_today - 1 ELSE runs_today END,
    runs_in_month = CASE WHEN @unused AND month = @month AND runs_in_month > 0 THEN runs_in_month - 1 ELSE runs_in_month END,
    cpu_in_flight = CASE WHEN cpu_in_flight > @cpu THEN cpu_in_flight - @cpu ELSE 0 END,
    memory_in_flight = CASE WHEN memory_in_flight > @memory THEN memory_in_flight - @memory ELSE 0 END
WHERE scope IN @scopes`

// leaveSlot ends the slot of a run that has ended, and its place in the queue; unused says
// that it never ran. It returns the scopes in which others may go on now: those of the run also where it
// only waited, for others may have waited behind it.
func (db *DB) leaveSlot(tx *gorm.DB, run ids.Run, unused bool) ([]product.Scope, error) {
	slot, err := findSlot(tx, run)
	if err != nil {
		return nil, err
	}
	if slot == nil {
		place, err := findPlace(tx, run)
		if err != nil || place == nil {
			return nil, err // only the run itself could enter the queue, and it has ended
		}
		waiting := place.slot(place.EnteredAt.t)
		slot = &waiting
	}
	// It may be handed its slot until here.
	rows, err := db.lockLimits(tx, *slot)
	if err != nil {
		return nil, err
	}
	deleted := tx.Exec(`DELETE FROM slots WHERE run_id = ?`, run)
	if deleted.Error != nil {
		return nil, deleted.Error
	}
	if deleted.RowsAffected > 0 {
		scopes := make([]string, len(rows))
		for i, row := range rows {
			scopes[i] = row.Scope
		}
		err := tx.Exec(countDown, map[string]any{
			"cpu": slot.CPUMillis, "memory": slot.MemoryMiB, "scopes": scopes,
			"unused": unused, "day": dayOf(slot.TakenAt.t), "month": monthOf(slot.TakenAt.t),
		}).Error
		if err != nil {
			return nil, err
		}
	}
	return slot.scopes(), tx.Exec(`DELETE FROM queue WHERE run_id = ?`, run).Error
}

// slotsIn are the conditions on slots as s that are counted in limits as l, by the
// kind of the limit.
var slotsIn = map[product.ScopeKind]string{
	product.ScopePlatform:     `s.run_id > ''`,
	product.ScopeQuota:        `s.org_id = l.id`,
	product.ScopeOrganization: `s.org_id = l.id`,
	product.ScopeTeam:         `s.team_id = l.id AND s.team_id <> ''`,
	product.ScopeUser:         `s.org_id = l.org_id AND s.starter = SUBSTR(l.id, LENGTH(l.org_id) + 2)`,
	product.ScopeAgent:        `s.agent_id = l.id`,
	product.ScopePublisher:    `s.publisher_id = l.id`,
}

// sumSlots is a statement's part that counts the slots of a limit l.
func sumSlots(kind product.ScopeKind, of string) string {
	return `(SELECT CAST(COALESCE(SUM(` + of + `), 0) AS bigint) FROM slots AS s WHERE ` + slotsIn[kind] + `)`
}

// countSlots sets the counters of a limit, whose row is locked, to what its slots
// say.
func countSlots(tx *gorm.DB, scope product.Scope) error {
	return tx.Exec(`UPDATE limits AS l SET running = `+sumSlots(scope.Kind, "1")+`,
    cpu_in_flight = `+sumSlots(scope.Kind, "s.cpu_millis")+`,
    memory_in_flight = `+sumSlots(scope.Kind, "s.memory_mib")+`
WHERE l.scope = ?`, scopeKey(scope)).Error
}
