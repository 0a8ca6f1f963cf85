package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/product"
)

// limitRow is a limit, and what the runs of its scope use.
type limitRow struct {
	Scope     string `gorm:"primaryKey"` // kind:id
	Kind      string
	ID        string
	OrgID     string
	IsDefault bool // of a quota that nobody has set

	ConcurrentRuns int64
	CPUMillis      int64 `gorm:"column:cpu_millis"`
	MemoryMiB      int64 `gorm:"column:memory_mib"`
	RunsPerDay     int64
	RunsPerMonth   int64

	Running        int64
	CPUInFlight    int64  `gorm:"column:cpu_in_flight"`
	MemoryInFlight int64  `gorm:"column:memory_in_flight"`
	Day            string // of RunsToday: 2006-01-02
	RunsToday      int64
	Month          string // of RunsInMonth: 2006-01
	RunsInMonth    int64

	UpdatedBy string
	UpdatedAt stamp
}

func (limitRow) TableName() string { return "limits" }

const limitColumns = `scope, kind, id, org_id, is_default, concurrent_runs, cpu_millis, memory_mib, runs_per_day, runs_per_month,
    running, cpu_in_flight, memory_in_flight, day, runs_today, month, runs_in_month, updated_by, updated_at`

func (r limitRow) scope() product.Scope {
	return product.Scope{Kind: product.ScopeKind(r.Kind), ID: r.ID}
}

func limitFromRow(r limitRow) product.Limit {
	return product.Limit{
		Scope: r.scope(), ConcurrentRuns: r.ConcurrentRuns, CPUMillis: r.CPUMillis, MemoryMiB: r.MemoryMiB,
		RunsPerDay: r.RunsPerDay, RunsPerMonth: r.RunsPerMonth, UpdatedBy: r.UpdatedBy, UpdatedAt: r.UpdatedAt.t,
	}
}

// usage is what the runs of the scope use at a time. Counts of a day or a month
// that is over are those of the one before.
func (r limitRow) usage(now time.Time) product.Usage {
	u := product.Usage{Scope: r.scope(), Running: r.Running, CPUMillis: r.CPUInFlight, MemoryMiB: r.MemoryInFlight}
	if r.Day == dayOf(now) {
		u.RunsToday = r.RunsToday
	}
	if r.Month == monthOf(now) {
		u.RunsThisMonth = r.RunsInMonth
	}
	return u
}

func dayOf(t time.Time) string   { return t.UTC().Format(time.DateOnly) }
func monthOf(t time.Time) string { return t.UTC().Format("2006-01") }

// scopeOrg is the organization whose limit it is; empty: the platform's or a
// publisher's.
func scopeOrg(s product.Scope, org ids.Org) string {
	switch s.Kind {
	case product.ScopeQuota, product.ScopeOrganization, product.ScopeTeam, product.ScopeUser:
		return string(cmp.Or(org, ids.Org(s.ID)))
	default:
		return ""
	}
}

// limitDocument is a limit in the audit log.
type limitDocument struct {
	ConcurrentRuns int64 `json:"concurrent_runs"`
	CPUMillis      int64 `json:"cpu_millis"`
	MemoryMiB      int64 `json:"memory_mib"`
	RunsPerDay     int64 `json:"runs_per_day"`
	RunsPerMonth   int64 `json:"runs_per_month"`
}

func documentFromLimit(r *limitRow) any {
	if r == nil || r.IsDefault {
		return nil
	}
	return limitDocument{r.ConcurrentRuns, r.CPUMillis, r.MemoryMiB, r.RunsPerDay, r.RunsPerMonth}
}

// lockLimits locks the limits of scopes, in the one order in which everybody does,
// and returns those that there are. The transactions of SQLite exclude each other
// anyway.
func (db *DB) lockLimits(tx *gorm.DB, scopes []product.Scope) ([]limitRow, error) {
	var rows []limitRow
	err := tx.Raw(`SELECT `+limitColumns+` FROM limits WHERE scope IN ? ORDER BY scope`+forUpdate[db.dialect],
		keys(scopes)).Find(&rows).Error
	return rows, err
}

// scopeKey is a scope as one value.
func scopeKey(s product.Scope) string { return string(s.Kind) + ":" + s.ID }

func scopeOfKey(key string) product.Scope {
	kind, id, _ := strings.Cut(key, ":")
	return product.Scope{Kind: product.ScopeKind(kind), ID: id}
}

func keys(scopes []product.Scope) []string {
	list := make([]string, len(scopes))
	for i, s := range scopes {
		list[i] = scopeKey(s)
	}
	return list
}

// ensureQuota makes the row of an organization that nobody has set a quota for.
// The row counts its runs even while the platform has no default.
func (db *DB) ensureQuota(tx *gorm.DB, org ids.Org, now time.Time) error {
	q := db.config.Quota
	scope := product.Scope{Kind: product.ScopeQuota, ID: string(org)}
	row := limitRow{
		Scope: scopeKey(scope), Kind: string(scope.Kind), ID: scope.ID, OrgID: string(org), IsDefault: true,
		ConcurrentRuns: q.ConcurrentRuns, CPUMillis: q.CPUMillis, MemoryMiB: q.MemoryMiB, UpdatedAt: at(now),
	}
	return tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error
}

// refreshQuota brings the default of a quota up to the configuration, in rows that
// are locked.
func (db *DB) refreshQuota(tx *gorm.DB, rows []limitRow) error {
	q := db.config.Quota
	for i := range rows {
		r := &rows[i]
		if !r.IsDefault || r.ConcurrentRuns == q.ConcurrentRuns && r.CPUMillis == q.CPUMillis && r.MemoryMiB == q.MemoryMiB {
			continue
		}
		r.ConcurrentRuns, r.CPUMillis, r.MemoryMiB = q.ConcurrentRuns, q.CPUMillis, q.MemoryMiB
		if err := tx.Select("concurrent_runs", "cpu_millis", "memory_mib").Updates(r).Error; err != nil {
			return err
		}
	}
	return nil
}

// SetLimit implements product.LimitStore. A scope that gets its first limit is
// counted from the slots that are taken. A run that took its slot in the moment
// before, and is not seen yet, is missing from the count until RepairSlots.
func (s *Product) SetLimit(ctx context.Context, by audit.Actor, org ids.Org, l product.Limit) ([]ids.Run, error) {
	err := s.db.change(ctx, "set limit of "+string(l.Scope.Kind)+" "+l.Scope.ID, func(tx *gorm.DB) error {
		fresh := limitRow{
			Scope: scopeKey(l.Scope), Kind: string(l.Scope.Kind), ID: l.Scope.ID, OrgID: scopeOrg(l.Scope, org),
			IsDefault: true, UpdatedAt: at(l.UpdatedAt),
		}
		created := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&fresh)
		if created.Error != nil {
			return created.Error
		}
		rows, err := s.db.lockLimits(tx, []product.Scope{l.Scope})
		if err != nil {
			return err
		}
		before := rows[0]
		after := before
		after.IsDefault, after.UpdatedBy, after.UpdatedAt = false, l.UpdatedBy, at(l.UpdatedAt)
		after.ConcurrentRuns, after.CPUMillis, after.MemoryMiB = l.ConcurrentRuns, l.CPUMillis, l.MemoryMiB
		after.RunsPerDay, after.RunsPerMonth = l.RunsPerDay, l.RunsPerMonth
		if created.RowsAffected > 0 {
			if err := countSlots(tx, &after); err != nil {
				return err
			}
		}
		if err := tx.Select("*").Updates(&after).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "limit.set", scopeKey(l.Scope),
			documentFromLimit(&before), documentFromLimit(&after), l.UpdatedAt)
	})
	if err != nil {
		return nil, err
	}
	return s.handOver(ctx, []product.Scope{l.Scope}, slotRow{}, l.UpdatedAt)
}

// DeleteLimit implements product.LimitStore. A quota goes back to the default.
// Whoever waits for the limit is handed a slot, or waits for another one.
func (s *Product) DeleteLimit(ctx context.Context, by audit.Actor, org ids.Org, scope product.Scope, when time.Time) ([]ids.Run, error) {
	err := s.db.change(ctx, "delete limit of "+string(scope.Kind)+" "+scope.ID, func(tx *gorm.DB) error {
		rows, err := s.db.lockLimits(tx, []product.Scope{scope})
		if err != nil {
			return err
		}
		if len(rows) == 0 || rows[0].IsDefault {
			return notFound("limit", string(scope.Kind)+" "+scope.ID)
		}
		// The row goes on counting: somebody may wait for it.
		after, q := rows[0], product.Quota{}
		if scope.Kind == product.ScopeQuota {
			q = s.db.config.Quota
		}
		after.IsDefault, after.UpdatedBy, after.UpdatedAt = true, by.ID, at(when)
		after.ConcurrentRuns, after.CPUMillis, after.MemoryMiB = q.ConcurrentRuns, q.CPUMillis, q.MemoryMiB
		after.RunsPerDay, after.RunsPerMonth = 0, 0
		if err := tx.Select("*").Updates(&after).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "limit.delete", scopeKey(scope), documentFromLimit(&rows[0]), nil, when)
	})
	if err != nil {
		return nil, err
	}
	return s.handOver(ctx, []product.Scope{scope}, slotRow{}, when)
}

// countWaiting counts who waits for limits.
const countWaiting = `
SELECT scope, COUNT(*) AS waiting FROM queue
WHERE scope IN ? AND granted_at IS NULL
GROUP BY scope`

// Limits implements product.LimitStore.
func (s *Product) Limits(ctx context.Context, scopes []product.Scope, now time.Time) ([]product.Limit, []product.Usage, error) {
	if len(scopes) == 0 {
		return nil, nil, nil
	}
	db := s.db.read.WithContext(ctx)
	var rows []limitRow
	if err := db.Raw(`SELECT `+limitColumns+` FROM limits WHERE scope IN ? ORDER BY scope`, keys(scopes)).Find(&rows).Error; err != nil {
		return nil, nil, s.db.interpret(err, "load limits")
	}
	var waiting []struct {
		Scope   string
		Waiting int64
	}
	if err := db.Raw(countWaiting, keys(scopes)).Find(&waiting).Error; err != nil {
		return nil, nil, s.db.interpret(err, "count waiting runs")
	}
	rows = append(rows, s.defaultQuotas(scopes, rows)...)
	var limits []product.Limit
	var usages []product.Usage
	for _, row := range rows {
		if row.IsDefault && row.Kind != string(product.ScopeQuota) {
			continue // deleted: it only counts
		}
		u := row.usage(now)
		for _, w := range waiting {
			if w.Scope == row.Scope {
				u.Waiting = w.Waiting
			}
		}
		limits, usages = append(limits, limitFromRow(row)), append(usages, u)
	}
	return limits, usages, nil
}

// defaultQuotas are those of organizations that have not run anything yet.
func (s *Product) defaultQuotas(scopes []product.Scope, known []limitRow) (rows []limitRow) {
	for _, scope := range scopes {
		if scope.Kind != product.ScopeQuota || slices.ContainsFunc(known, func(r limitRow) bool { return r.scope() == scope }) {
			continue
		}
		q := s.db.config.Quota
		rows = append(rows, limitRow{
			Scope: scopeKey(scope), Kind: string(scope.Kind), ID: scope.ID, IsDefault: true,
			ConcurrentRuns: q.ConcurrentRuns, CPUMillis: q.CPUMillis, MemoryMiB: q.MemoryMiB,
		})
	}
	return rows
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
