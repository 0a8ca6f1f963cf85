package store

import (
	"strings"
	"time"

	"agentmarket/ids"
	"agentmarket/product"
)

// limitRow is a limit, and what the runs of its scope use. The row of a limit that
// was deleted stays, without a bound: it counts on, and somebody may wait for it.
type limitRow struct {
	Scope     string `gorm:"primaryKey"` // kind:id
	Kind      string
	ID        string
	OrgID     string
	IsDefault bool // nobody has set it, or it was deleted

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
	ServedAt       stamp // when a run of the scope got its slot last

	UpdatedBy string
	UpdatedAt stamp
}

func (limitRow) TableName() string { return "limits" }

const limitColumns = `scope, kind, id, org_id, is_default, concurrent_runs, cpu_millis, memory_mib, runs_per_day, runs_per_month,
    running, cpu_in_flight, memory_in_flight, day, runs_today, month, runs_in_month, served_at, updated_by, updated_at`

func limitFromRow(r limitRow) product.Limit {
	return product.Limit{
		Scope: r.scope(), ConcurrentRuns: r.ConcurrentRuns, CPUMillis: r.CPUMillis, MemoryMiB: r.MemoryMiB,
		RunsPerDay: r.RunsPerDay, RunsPerMonth: r.RunsPerMonth, UpdatedBy: r.UpdatedBy, UpdatedAt: r.UpdatedAt.t,
	}
}

// withLimit is the row with the numbers of a limit.
func (r limitRow) withLimit(l product.Limit) limitRow {
	r.ConcurrentRuns, r.CPUMillis, r.MemoryMiB = l.ConcurrentRuns, l.CPUMillis, l.MemoryMiB
	r.RunsPerDay, r.RunsPerMonth = l.RunsPerDay, l.RunsPerMonth
	return r
}

// usage is what the runs of the scope use at a time. What was counted in a day or a
// month that is over does not count; a caller whose clock is behind sees the new one.
func (r limitRow) usage(now time.Time) product.Usage {
	u := product.Usage{Scope: r.scope(), Running: r.Running, CPUMillis: r.CPUInFlight, MemoryMiB: r.MemoryInFlight}
	if r.Day >= dayOf(now) {
		u.RunsToday = r.RunsToday
	}
	if r.Month >= monthOf(now) {
		u.RunsThisMonth = r.RunsInMonth
	}
	return u
}

func dayOf(t time.Time) string   { return t.UTC().Format(time.DateOnly) }
func monthOf(t time.Time) string { return t.UTC().Format("2006-01") }

func (r limitRow) scope() product.Scope {
	return product.Scope{Kind: product.ScopeKind(r.Kind), ID: r.ID}
}

// scopeKey is a scope as one value; its order is that of the locks.
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

// newLimitRow is the row of a scope without a bound. org is that of a team; the
// other scopes name theirs. Platform, agents and publishers have none.
func newLimitRow(s product.Scope, org ids.Org, now time.Time) limitRow {
	row := limitRow{Scope: scopeKey(s), Kind: string(s.Kind), ID: s.ID, IsDefault: true, UpdatedAt: at(now)}
	switch s.Kind {
	case product.ScopeQuota, product.ScopeOrganization:
		row.OrgID = s.ID
	case product.ScopeUser:
		row.OrgID, _, _ = strings.Cut(s.ID, "/")
	case product.ScopeTeam:
		row.OrgID = string(org)
	default:
	}
	return row
}

// limitDocument is a limit in the audit log.
type limitDocument struct {
	ConcurrentRuns int64 `json:"concurrent_runs"`
	CPUMillis      int64 `json:"cpu_millis"`
	MemoryMiB      int64 `json:"memory_mib"`
	RunsPerDay     int64 `json:"runs_per_day"`
	RunsPerMonth   int64 `json:"runs_per_month"`
}

// entry is the limit in the audit log; nil: there is none.
func (r limitRow) entry() any {
	if r.IsDefault {
		return nil
	}
	return limitDocument{r.ConcurrentRuns, r.CPUMillis, r.MemoryMiB, r.RunsPerDay, r.RunsPerMonth}
}
