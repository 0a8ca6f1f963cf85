package store

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/product"
)

// SetLimit implements product.LimitStore. A scope that gets its first limit is
// counted from the slots that are taken; the runs of a day and a month count from
// then on. A team that is not of the organization is fault.NotFound.
func (s *Product) SetLimit(ctx context.Context, by audit.Actor, org ids.Org, l product.Limit) ([]ids.Run, error) {
	err := s.db.change(ctx, "set limit of "+string(l.Scope.Kind)+" "+l.Scope.ID, func(tx *gorm.DB) error {
		if l.Scope.Kind == product.ScopeTeam {
			if _, err := teamIn(tx, org, ids.Team(l.Scope.ID)); err != nil {
				return err
			}
		}
		before, err := s.db.limitToSet(tx, newLimitRow(l.Scope, org, l.UpdatedAt))
		if err != nil {
			return err
		}
		after := before.withLimit(l)
		after.IsDefault, after.UpdatedBy, after.UpdatedAt = false, l.UpdatedBy, at(l.UpdatedAt)
		if err := updateLimit(tx, after); err != nil {
			return err
		}
		return writeAudit(tx, by, org, "limit.set", after.Scope, before.entry(), after.entry(), l.UpdatedAt)
	})
	if err != nil {
		return nil, err
	}
	return s.db.handOver(ctx, []product.Scope{l.Scope}, l.UpdatedAt, dispatchGrace)
}

// limitToSet locks the row of a limit, and makes it where there is none.
func (db *DB) limitToSet(tx *gorm.DB, fresh limitRow) (limitRow, error) {
	if err := db.lockName(tx, fresh.Scope); err != nil {
		return limitRow{}, err
	}
	insert := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&fresh)
	if insert.Error != nil {
		return limitRow{}, insert.Error
	}
	if insert.RowsAffected > 0 {
		if err := countSlots(tx, fresh.scope()); err != nil {
			return limitRow{}, err
		}
	}
	rows, err := db.lockRows(tx, []product.Scope{fresh.scope()})
	if err != nil {
		return limitRow{}, err
	}
	return rows[0], nil
}

// updateLimit stores the numbers of a limit, and leaves the counters.
func updateLimit(tx *gorm.DB, row limitRow) error {
	return tx.Select("is_default", "concurrent_runs", "cpu_millis", "memory_mib", "runs_per_day", "runs_per_month",
		"updated_by", "updated_at").Updates(&row).Error
}

// DeleteLimit implements product.LimitStore. A quota goes back to the default. Who
// waits for the limit is handed a slot, or waits for another limit.
func (s *Product) DeleteLimit(ctx context.Context, by audit.Actor, org ids.Org, scope product.Scope, when time.Time) ([]ids.Run, error) {
	err := s.db.change(ctx, "delete limit of "+string(scope.Kind)+" "+scope.ID, func(tx *gorm.DB) error {
		rows, err := s.db.lockRows(tx, []product.Scope{scope})
		if err != nil {
			return err
		}
		if len(rows) == 0 || rows[0].IsDefault {
			return notFound("limit", "of "+string(scope.Kind)+" "+scope.ID)
		}
		after := rows[0].withLimit(product.Limit{})
		after.IsDefault, after.UpdatedBy, after.UpdatedAt = true, "", at(when)
		if err := updateLimit(tx, s.db.configured(after)); err != nil {
			return err
		}
		return writeAudit(tx, by, org, "limit.delete", after.Scope, rows[0].entry(), nil, when)
	})
	if err != nil {
		return nil, err
	}
	return s.db.handOver(ctx, []product.Scope{scope}, when, dispatchGrace)
}

// countWaiting counts who waits for limits.
const countWaiting = `
SELECT scope, COUNT(*) AS waiting FROM queue
WHERE scope IN ? AND granted_at IS NULL
GROUP BY scope`

// Limits implements product.LimitStore, in the order of kind and ID.
func (s *Product) Limits(ctx context.Context, scopes []product.Scope, now time.Time) ([]product.Limit, []product.Usage, error) {
	if len(scopes) == 0 {
		return nil, nil, nil
	}
	db := s.db.read.WithContext(ctx)
	var rows []limitRow
	if err := db.Raw(selectLimits, keys(scopes)).Find(&rows).Error; err != nil {
		return nil, nil, s.db.interpret(err, "load limits")
	}
	var counts []struct {
		Scope   string
		Waiting int64
	}
	if err := db.Raw(countWaiting, keys(scopes)).Find(&counts).Error; err != nil {
		return nil, nil, s.db.interpret(err, "count waiting runs")
	}
	waiting := map[string]int64{}
	for _, c := range counts {
		waiting[c.Scope] = c.Waiting
	}
	var limits []product.Limit
	var usages []product.Usage
	for _, row := range withQuotas(scopes, rows) {
		if row.IsDefault && row.Kind != string(product.ScopeQuota) {
			continue // deleted
		}
		usage := row.usage(now)
		usage.Waiting = waiting[row.Scope]
		limits, usages = append(limits, limitFromRow(s.db.asSet(row))), append(usages, usage)
	}
	return limits, usages, nil
}

// withQuotas adds the quotas of organizations that have not run anything yet.
func withQuotas(scopes []product.Scope, rows []limitRow) []limitRow {
	known := map[string]bool{}
	for _, row := range rows {
		known[row.Scope] = true
	}
	for _, scope := range scopes {
		if scope.Kind == product.ScopeQuota && !known[scopeKey(scope)] {
			rows = append(rows, newLimitRow(scope, "", time.Time{}))
		}
	}
	return rows
}

// asSet is a row as it is shown: nobody has set a default at any time.
func (db *DB) asSet(r limitRow) limitRow {
	if r.IsDefault {
		r.UpdatedBy, r.UpdatedAt = "", stamp{}
	}
	return db.configured(r)
}

// LimitsOf implements product.LimitStore.
func (s *Product) LimitsOf(ctx context.Context, org ids.Org) ([]product.Limit, error) {
	var rows []limitRow
	err := s.db.read.WithContext(ctx).
		Where("org_id = ? AND org_id <> '' AND kind IN ('organization', 'team', 'user') AND NOT is_default", org).
		Order("scope").Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list limits of organization "+string(org))
	}
	limits := make([]product.Limit, len(rows))
	for i, row := range rows {
		limits[i] = limitFromRow(row)
	}
	return limits, nil
}
