package marketplace

import (
	"slices"
	"strings"
	"time"

	"agentmarket/ids"
)

// Source says where an entitlement comes from.
type Source string

// The sources.
const (
	SourceOwnership    Source = "ownership"    // the publisher runs its own agent
	SourceGrant        Source = "grant"        // given by the publisher
	SourceFree         Source = "free"         // everybody may run what is listed and free
	SourcePurchase     Source = "purchase"     // the buyer accepted the price and pays by use
	SourceSubscription Source = "subscription" // the buyer pays by the month
	SourceTrial        Source = "trial"        // the buyer tries for free
)

// unpaid are the sources under which runs cost nothing, ranked.
var unpaid = []Source{SourceOwnership, SourceGrant, SourceFree, SourceTrial}

// pays reports whether runs under the source are charged at the agent's price. So
// they are under a source that a newer version of the platform knows.
func (s Source) pays() bool { return !slices.Contains(unpaid, s) }

// rank orders the rights that an organization has for one agent: what costs the
// buyer nothing comes first.
func (s Source) rank() int {
	ranked := append(slices.Clone(unpaid), SourceSubscription, SourcePurchase)
	if i := slices.Index(ranked, s); i >= 0 {
		return i
	}
	return len(ranked)
}

// Entitlement is the right of an organization, or of a team or a person of it, to
// run one agent.
type Entitlement struct {
	ID      ids.Entitlement
	OrgID   ids.Org
	AgentID ids.Agent
	TeamID  ids.Team // empty: not limited to a team
	UserID  ids.User // empty: not limited to a person
	Source  Source
	OrderID ids.Order // empty: not bought
	GrantID ids.Grant // empty: not granted
	PriceID ids.Price // of a subscription, until it is renewed; empty: the price in effect

	// Versions limits the right to versions that begin with these numbers: 1,
	// 1.4 or 1.4.2. Empty: all.
	Versions string
	Limits   Limits
	Usage    Usage

	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire. Of a subscription: the end of what is paid
	RevokedAt time.Time // zero: not revoked
	Renews    bool      // a subscription that is paid again when it ends
}

// Limits bound the use of an entitlement. 0 is no bound.
type Limits struct {
	RunsPerMonth int64
	Concurrent   int64
	// Runs is in all: of a trial. Of a subscription it is the number at which the
	// month that is paid includes no more; a renewal raises it.
	Runs     int64
	Included int64 // runs that each paid month of a subscription adds; 0: any number
}

// Usage is how much of an entitlement was used: runs that are admitted count
// until they are settled, and for good unless the platform broke them.
type Usage struct {
	Month   Month // of the counters below
	Runs    int64 // in the month
	Seconds int64 // of run time in the month
	Total   int64 // runs ever
	Active  int64 // runs now
}

// In is the usage in a month: counters of an earlier one have begun anew.
func (u Usage) In(month Month) Usage {
	if u.Month != month {
		u.Month, u.Runs, u.Seconds = month, 0, 0
	}
	return u
}

// over reports whether the right has expired. A subscription that renews holds on
// while its renewal is late: the month that follows is paid from the end of the
// one before, see Renewed.
func (e Entitlement) over(now time.Time) bool {
	end := e.ExpiresAt
	if e.Renews && !end.IsZero() {
		end = end.Add(lateRenewal)
	}
	return !end.IsZero() && !now.Before(end)
}

// includes reports whether a subscription pays for one more run.
func (e Entitlement) includes() bool {
	return e.Limits.Included == 0 || e.Usage.Total < e.Limits.Runs
}

// include begins a month of a subscription that includes so many runs.
func (e *Entitlement) include(runs int64) {
	e.Limits.Included, e.Limits.Runs = runs, 0
	if runs > 0 {
		e.Limits.Runs = e.Usage.Total + runs
	}
}

// NewEntitlement returns an entitlement without an end.
func NewEntitlement(org ids.Org, agent ids.Agent, source Source, now time.Time) Entitlement {
	return Entitlement{
		ID: ids.New[ids.Entitlement](ids.PrefixEntitlement), OrgID: org, AgentID: agent,
		Source: source, CreatedAt: now,
	}
}

// Month is a calendar month in UTC, 2026-11.
type Month string

// MonthOf returns the month of a time.
func MonthOf(t time.Time) Month { return Month(t.UTC().Format("2006-01")) }

// Bounds are the first moment of the month and of the next one; false for what
// is no month.
func (m Month) Bounds() (from, until time.Time, ok bool) {
	from, err := time.Parse("2006-01", string(m))
	return from, from.AddDate(0, 1, 0), err == nil
}

// covers reports whether a version's number begins with the numbers of the
// constraint, part by part.
func covers(constraint, number string) bool {
	return constraint == "" || number == constraint ||
		strings.HasPrefix(number, constraint+".") || strings.HasPrefix(number, constraint+"-")
}

// ValidVersions reports whether a text is a version constraint.
func ValidVersions(text string) bool {
	if text == "" {
		return true
	}
	parts := strings.Split(text, ".")
	for _, p := range parts {
		if p == "" || len(p) > 9 || strings.Trim(p, "0123456789") != "" || len(p) > 1 && p[0] == '0' {
			return false
		}
	}
	return len(parts) <= 3
}
