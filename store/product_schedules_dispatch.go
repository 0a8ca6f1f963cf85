package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// claimSchedules is claimDispatch for schedules.
var claimSchedules = map[dialect]string{
	postgresDialect: `
WITH due AS MATERIALIZED (
    SELECT id AS due_id FROM schedules WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ? FOR UPDATE SKIP LOCKED
)
UPDATE schedules SET dispatch_due_at = ? FROM due WHERE schedules.id = due.due_id
RETURNING ` + scheduleColumns,
	sqliteDialect: `
WITH due AS (
    SELECT id AS due_id FROM schedules WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ?
)
UPDATE schedules SET dispatch_due_at = ? WHERE id IN (SELECT due_id FROM due)
RETURNING ` + scheduleColumns,
}

// DueSchedules implements product.ScheduleStore, oldest first.
func (s *Product) DueSchedules(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]product.Schedule, error) {
	if limit <= 0 {
		return nil, nil
	}
	var rows []scheduleRow
	err := s.db.transact(ctx, func(tx *gorm.DB) error {
		rows = nil
		return tx.Raw(claimSchedules[s.db.dialect], at(now), limit, at(now.Add(lease))).Scan(&rows).Error
	})
	if err != nil {
		return nil, s.db.interpret(err, "claim schedules for dispatch")
	}
	slices.SortFunc(rows, func(a, b scheduleRow) int { return cmp.Compare(a.ID, b.ID) })
	return schedulesFromRows(rows)
}

// clearSchedule clears what was told as it is stored. Who told of an older
// revision may have been later than who told of the stored one: then what Temporal
// has is old, and the schedule is due at once.
const clearSchedule = `
UPDATE schedules SET dispatch_due_at = CASE WHEN revision = ? THEN NULL ELSE COALESCE(dispatch_due_at, updated_at) END
WHERE id = ? AND (dispatch_due_at IS NOT NULL OR revision <> ?)`

// ScheduleDispatched implements product.ScheduleStore.
func (s *Product) ScheduleDispatched(ctx context.Context, seen product.Schedule) error {
	err := s.db.write.WithContext(ctx).Exec(clearSchedule, seen.Revision, seen.ID, seen.Revision).Error
	return s.db.interpret(err, "mark schedule "+string(seen.ID)+" as dispatched")
}

// maxCostOf reads the most that a caller allowed a run to cost.
var maxCostOf = map[dialect]string{
	postgresDialect: `CAST(r.request -> 'max_cost' ->> 'micros' AS bigint)`,
	sqliteDialect:   `json_extract(r.request, '$.max_cost.micros')`,
}

// sumSchedule reads the part of runs_schedule_idx since an identifier, until a time,
// and the hold of each run.
func sumSchedule(d dialect) string {
	return `
SELECT CAST(COALESCE(SUM(CASE WHEN r.finished_at IS NOT NULL THEN r.cost_micros
    ELSE COALESCE(h.amount_micros, ` + maxCostOf[d] + `, 0) END), 0) AS bigint) AS micros
FROM runs AS r LEFT JOIN holds AS h ON h.run_id = r.id AND h.settled_at IS NULL
WHERE r.schedule_id = ? AND r.schedule_id <> '' AND r.id >= ? AND r.created_at < ?`
}

// ScheduleSpend implements product.ScheduleStore. The identifier of a run says
// when it was created, at the earliest.
func (s *Product) ScheduleSpend(ctx context.Context, id ids.Schedule, month time.Time) (int64, error) {
	micros, err := s.db.scheduleSpend(s.db.read.WithContext(ctx), id, month)
	return micros, s.db.interpret(err, "sum up runs of schedule "+string(id))
}

func (db *DB) scheduleSpend(tx *gorm.DB, id ids.Schedule, month time.Time) (micros int64, err error) {
	since := product.BudgetMonth(month)
	first := ids.Earliest[ids.Run](ids.PrefixRun, since)
	err = tx.Raw(sumSchedule(db.dialect), id, first, at(since.AddDate(0, 1, 0))).Scan(&micros).Error
	return micros, err
}

const selectBudget = `SELECT budget_micros, budget_currency FROM schedules WHERE id = ?`

// budgetLeft is what is left of the budget of a run's schedule in the month that
// the run was created in; bound says that there is a budget. With the lock on the
// schedule nobody else takes the same money.
func (db *DB) budgetLeft(tx *gorm.DB, r product.Run) (left int64, bound bool, err error) {
	if r.Origin.ScheduleID == "" {
		return 0, false, nil
	}
	var rows []struct {
		BudgetMicros   int64
		BudgetCurrency string
	}
	if err := tx.Raw(selectBudget+forUpdate[db.dialect], r.Origin.ScheduleID).Scan(&rows).Error; err != nil {
		return 0, false, err
	}
	if len(rows) == 0 || rows[0].BudgetCurrency == "" {
		return 0, false, nil
	}
	spent, err := db.scheduleSpend(tx, r.Origin.ScheduleID, r.CreatedAt)
	return rows[0].BudgetMicros - spent, true, err
}

// withinBudget refuses a new run of a schedule that could cost more than is left
// of the budget of its month.
func (db *DB) withinBudget(tx *gorm.DB, r product.Run) error {
	left, bound, err := db.budgetLeft(tx, r)
	if err != nil || !bound || left > 0 && r.Request.MaxCost.Micros <= left {
		return err
	}
	return errScheduleBudget
}

// holdsBudget refuses a run whose hold, which is stored, is beyond the budget: what
// was included, or a trial, when the run was created may have to be paid by now.
func (db *DB) holdsBudget(tx *gorm.DB, r product.Run) error {
	left, bound, err := db.budgetLeft(tx, r)
	if err != nil || !bound || left >= 0 {
		return err
	}
	return errScheduleBudget
}

var errScheduleBudget = fault.New(fault.PaymentRequired, product.CodeScheduleBudget,
	"the run could cost more than is left of the schedule's budget of the month")
