package store

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// A slot is the right of a run to go on: a row of slots, counted in the limits of
// the run's scopes. Everybody who takes, gives back or hands over slots locks the
// rows of limits first, in the order of their key, and the rows of the queue after
// them. A run that enters the queue decides under these locks, and who gives back
// a slot counts it under them: one of the two sees the other, and no wake-up is
// lost.

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

// errHanded says that a run was handed its slot while it waited for the locks.
var errHanded = errors.New("the run was handed a slot")

// takeSlot gives a run its slot, or says under which limit it does not fit now. A
// run that cannot fit at all, or not today, is refused with fault.Forbidden.
func (db *DB) takeSlot(tx *gorm.DB, slot slotRow, now time.Time) (*limitRow, product.Bound, error) {
	if err := db.ensureQuota(tx, ids.Org(slot.OrgID), now); err != nil {
		return nil, "", err
	}
	rows, err := db.lockLimits(tx, slot.scopes())
	if err != nil {
		return nil, "", err
	}
	if handed, err := findSlot(tx, ids.Run(slot.RunID)); err != nil || handed != nil {
		return nil, "", cmp.Or(err, errHanded)
	}
	if err := db.refreshQuota(tx, rows); err != nil {
		return nil, "", err
	}
	for _, row := range rows {
		if err := limitFromRow(row).Never(row.usage(now), slot.resources()); err != nil {
			return nil, "", refuse(err)
		}
	}
	if row, bound := blocking(rows, slot, now); row != nil {
		return row, bound, nil
	}
	if row, err := overtaken(tx, rows, slot); err != nil || row != nil {
		return row, boundOf(row), err
	}
	return nil, "", countSlot(tx, rows, slot, now)
}

// blocking is the first limit that a run does not fit under.
func blocking(rows []limitRow, slot slotRow, now time.Time) (*limitRow, product.Bound) {
	for i, row := range rows {
		if bound := limitFromRow(row).Blocks(row.usage(now), slot.resources()); bound != "" {
			return &rows[i], bound
		}
	}
	return nil, ""
}

// boundOf is the first bound that a limit has.
func boundOf(row *limitRow) product.Bound {
	switch {
	case row == nil:
		return ""
	case row.ConcurrentRuns > 0:
		return product.BoundRuns
	case row.CPUMillis > 0:
		return product.BoundCPU
	default:
		return product.BoundMemory
	}
}

// overtaken finds a limit that others wait for already: who comes later, and would
// fit, must not overtake them. The hand-over gives him his turn.
func overtaken(tx *gorm.DB, rows []limitRow, slot slotRow) (*limitRow, error) {
	for i, row := range rows {
		if row.ConcurrentRuns == 0 && row.CPUMillis == 0 && row.MemoryMiB == 0 {
			continue
		}
		var others []string
		err := tx.Raw(`SELECT run_id FROM queue WHERE scope = ? AND granted_at IS NULL AND run_id <> ? LIMIT 1`,
			row.Scope, slot.RunID).Find(&others).Error
		if err != nil {
			return nil, err
		}
		if len(others) > 0 {
			return &rows[i], nil
		}
	}
	return nil, nil //nolint:nilnil // nobody waits
}

// countUp counts a run in a limit, if it fits: the row is locked, so it does.
const countUp = `
UPDATE limits SET running = running + 1, cpu_in_flight = cpu_in_flight + @cpu, memory_in_flight = memory_in_flight + @memory,
    runs_today = CASE WHEN day = @day THEN runs_today ELSE 0 END + 1, day = @day,
    runs_in_month = CASE WHEN month = @month THEN runs_in_month ELSE 0 END + 1, month = @month
WHERE scope = @scope
    AND (concurrent_runs = 0 OR running + 1 <= concurrent_runs)
    AND (cpu_millis = 0 OR cpu_in_flight + @cpu <= cpu_millis)
    AND (memory_mib = 0 OR memory_in_flight + @memory <= memory_mib)`

// countSlot stores a slot and counts it in every limit, which are locked and have
// room.
func countSlot(tx *gorm.DB, rows []limitRow, slot slotRow, now time.Time) error {
	for _, row := range rows {
		update := tx.Exec(countUp, map[string]any{
			"cpu": slot.CPUMillis, "memory": slot.MemoryMiB, "day": dayOf(now), "month": monthOf(now), "scope": row.Scope,
		})
		if update.Error != nil {
			return update.Error
		}
		if update.RowsAffected != 1 {
			return fmt.Errorf("count run %s: it does not fit under the limit of %s %s", slot.RunID, row.Kind, row.ID)
		}
	}
	return tx.Create(&slot).Error
}

// countDown gives back what countUp took; runs of the day and the month stay
// counted.
const countDown = `
UPDATE limits SET
    running = CASE WHEN running > 0 THEN running - 1 ELSE 0 END,
    cpu_in_flight = CASE WHEN cpu_in_flight > @cpu THEN cpu_in_flight - @cpu ELSE 0 END,
    memory_in_flight = CASE WHEN memory_in_flight > @memory THEN memory_in_flight - @memory ELSE 0 END
WHERE scope = @scope`

// leaveSlot ends the slot of a run, and its place in the queue. It returns the slot
// and the scopes that have room now; none where the run had no slot.
func (db *DB) leaveSlot(tx *gorm.DB, run ids.Run) (freed slotRow, scopes []product.Scope, err error) {
	slot, err := findSlot(tx, run)
	if err != nil {
		return freed, nil, err
	}
	if slot != nil {
		freed = *slot
		rows, err := db.lockLimits(tx, slot.scopes())
		if err != nil {
			return freed, nil, err
		}
		deleted := tx.Exec(`DELETE FROM slots WHERE run_id = ?`, run)
		if deleted.Error != nil {
			return freed, nil, deleted.Error
		}
		if deleted.RowsAffected > 0 { // nobody was faster
			for _, row := range rows {
				scopes = append(scopes, row.scope())
				err := tx.Exec(countDown, map[string]any{
					"cpu": slot.CPUMillis, "memory": slot.MemoryMiB, "scope": row.Scope,
				}).Error
				if err != nil {
					return freed, nil, err
				}
			}
		}
	}
	return freed, scopes, tx.Exec(`DELETE FROM queue WHERE run_id = ?`, run).Error
}

// scopeColumn is the condition on slots of a scope; that of a user has two.
var scopeColumn = map[product.ScopeKind]string{
	product.ScopePlatform:     `? = ''`,
	product.ScopeQuota:        `org_id = ?`,
	product.ScopeOrganization: `org_id = ?`,
	product.ScopeTeam:         `team_id = ? AND team_id <> ''`,
	product.ScopeAgent:        `agent_id = ?`,
	product.ScopePublisher:    `publisher_id = ?`,
}

// countSlots sets the counters of a limit to what its slots say.
func countSlots(tx *gorm.DB, row *limitRow) error {
	condition, args := scopeColumn[product.ScopeKind(row.Kind)], []any{row.ID}
	if row.Kind == string(product.ScopeUser) {
		org, starter, _ := strings.Cut(row.ID, "/")
		condition, args = `org_id = ? AND starter = ?`, []any{org, starter}
	}
	var sums struct{ Running, CPU, Memory int64 }
	err := tx.Raw(`SELECT COUNT(*) AS running, CAST(COALESCE(SUM(cpu_millis), 0) AS bigint) AS cpu,
    CAST(COALESCE(SUM(memory_mib), 0) AS bigint) AS memory FROM slots WHERE `+condition, args...).Scan(&sums).Error
	row.Running, row.CPUInFlight, row.MemoryInFlight = sums.Running, sums.CPU, sums.Memory
	return err
}
