package api

import (
	"strings"
	"time"

	"agentmarket/ids"
	"agentmarket/product"
)

// LimitNumbers are the bounds of a scope. 0 is no bound.
type LimitNumbers struct {
	ConcurrentRuns int64 `json:"concurrent_runs" required:"false" minimum:"0" maximum:"1099511627776" doc:"Runs that go on at once. A run beyond it waits in the queue. 0: no bound." example:"20"`
	CPUMillis      int64 `json:"cpu_millis" required:"false" minimum:"0" maximum:"1099511627776" doc:"Thousandths of a core of the runs that go on. 0: no bound."`
	MemoryMiB      int64 `json:"memory_mib" required:"false" minimum:"0" maximum:"1099511627776" doc:"MiB of memory of the runs that go on. 0: no bound."`
	RunsPerDay     int64 `json:"runs_per_day" required:"false" minimum:"0" maximum:"1099511627776" doc:"Runs that begin in a day (UTC). A run beyond it is rejected. 0: no bound."`
	RunsPerMonth   int64 `json:"runs_per_month" required:"false" minimum:"0" maximum:"1099511627776" doc:"Runs that begin in a calendar month (UTC). A run beyond it is rejected. 0: no bound."`
}

// LimitUse is what the runs of a scope use.
type LimitUse struct {
	Running       int64 `json:"running" doc:"Runs that go on."`
	CPUMillis     int64 `json:"cpu_millis"`
	MemoryMiB     int64 `json:"memory_mib"`
	Waiting       int64 `json:"waiting" doc:"Runs in the queue because of this limit."`
	RunsToday     int64 `json:"runs_today"`
	RunsThisMonth int64 `json:"runs_this_month"`
}

// LimitBody is the limits of a scope beside what is used of them.
type LimitBody struct {
	Limits    LimitNumbers `json:"limits"`
	Current   LimitUse     `json:"current"`
	UpdatedBy string       `json:"updated_by,omitempty" doc:"Absent: nobody has set them."`
	UpdatedAt *time.Time   `json:"updated_at,omitempty"`
}

type teamLimitBody struct {
	TeamID string `json:"team_id" example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	LimitBody
}

type userLimitBody struct {
	UserID string `json:"user_id" example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	LimitBody
}

// limit reads the bounds of a scope.
func (n LimitNumbers) limit(s product.Scope) product.Limit {
	return product.Limit{
		Scope: s, ConcurrentRuns: n.ConcurrentRuns, CPUMillis: n.CPUMillis, MemoryMiB: n.MemoryMiB,
		RunsPerDay: n.RunsPerDay, RunsPerMonth: n.RunsPerMonth,
	}
}

func limitNumbersOf(l product.Limit) LimitNumbers {
	return LimitNumbers{l.ConcurrentRuns, l.CPUMillis, l.MemoryMiB, l.RunsPerDay, l.RunsPerMonth}
}

func limitUseOf(u product.Usage) LimitUse {
	return LimitUse{u.Running, u.CPUMillis, u.MemoryMiB, u.Waiting, u.RunsToday, u.RunsThisMonth}
}

// foundLimits are limits and what is used of them, by scope. What was not found is no
// bound.
type foundLimits struct {
	limits map[product.Scope]product.Limit
	usages map[product.Scope]product.Usage
}

func foundLimitsOf(limits []product.Limit, usages []product.Usage) foundLimits {
	f := foundLimits{map[product.Scope]product.Limit{}, map[product.Scope]product.Usage{}}
	for _, l := range limits {
		f.limits[l.Scope] = l
	}
	for _, u := range usages {
		f.usages[u.Scope] = u
	}
	return f
}

func (f foundLimits) body(s product.Scope) LimitBody {
	l := f.limits[s]
	body := LimitBody{Limits: limitNumbersOf(l), Current: limitUseOf(f.usages[s])}
	if l.UpdatedBy != "" {
		body.UpdatedBy, body.UpdatedAt = l.UpdatedBy, when(l.UpdatedAt)
	}
	return body
}

// own is what an organization allows itself. All of its runs are those of its quota,
// too, which are counted where it has no limit of its own.
func (f foundLimits) own(org ids.Org) LimitBody {
	scope := product.Scope{Kind: product.ScopeOrganization, ID: string(org)}
	body := f.body(scope)
	if _, counted := f.usages[scope]; !counted {
		body.Current = limitUseOf(f.usages[product.Scope{Kind: product.ScopeQuota, ID: string(org)}])
		body.Current.Waiting = 0
	}
	return body
}

// teamsAndUsers are the limits of an organization for its teams and people.
func (f foundLimits) teamsAndUsers(list []product.Limit) (teams []teamLimitBody, users []userLimitBody) {
	teams, users = []teamLimitBody{}, []userLimitBody{}
	for _, l := range list {
		switch l.Scope.Kind {
		case product.ScopeTeam:
			teams = append(teams, teamLimitBody{l.Scope.ID, f.body(l.Scope)})
		case product.ScopeUser:
			_, user, _ := strings.Cut(l.Scope.ID, "/")
			users = append(users, userLimitBody{user, f.body(l.Scope)})
		default: // not theirs
		}
	}
	return teams, users
}
