package product

import (
	"slices"
	"strings"
	"time"

	"agentmarket/ids"
	"agentmarket/money"
)

// Schedule starts an agent again and again.
type Schedule struct {
	ID          ids.Schedule
	OrgID       ids.Org
	KeyID       ids.Key  // under whose rights the runs start
	UserID      ids.User // of the person behind the key
	TeamID      ids.Team
	Name        string
	AgentID     ids.Agent
	Agent       string // publisher/name
	Version     string // as in a start; empty: what is installed
	Input       []byte
	Request     Request
	Labels      map[string]string
	Cron        string // five fields, or @daily and the like
	TimeZone    string // of the IANA database; empty: UTC
	Overlap     Overlap
	Paused      bool
	PauseReason string // for people
	// Budget bounds what the runs of the schedule may cost in a calendar month
	// (UTC). Zero currency: no bound.
	Budget    money.Amount
	CreatedAt time.Time
	UpdatedAt time.Time
	// Revision grows with every change: what Temporal was told of is compared.
	Revision int64
	Deleted  bool
	// LastSkip is the last start that made no run; nil: there was none. It is no
	// change of the schedule.
	LastSkip *Skip
	// Asked is what a change asks to be started besides; nil: nothing. It is written
	// to the audit log, and neither stored nor loaded: see ScheduleStore.
	Asked *Asked
}

// Asked are starts of a schedule that a person or a program asked for.
type Asked struct {
	From, To time.Time // of a backfill, both ends included
	Overlap  Overlap   // of a backfill; empty: one start now
}

// Backfill reports whether the starts of a range were asked for.
func (a Asked) Backfill() bool { return a.Overlap != "" }

// AgentName returns the publisher and the name of the agent.
func (s Schedule) AgentName() (publisher, name string) {
	publisher, name, _ = strings.Cut(s.Agent, "/")
	return publisher, name
}

// Skip is a start of a schedule that made no run.
type Skip struct {
	ScheduledAt time.Time
	At          time.Time
	Code        string // of what denied it
	Reason      string // for people
}

// Overlap is what happens to a start while the run before goes on.
type Overlap string

// The policies of overlap.
const (
	OverlapSkip      Overlap = "skip"
	OverlapBufferOne Overlap = "buffer_one"
	OverlapCancel    Overlap = "cancel_other"
	OverlapAllow     Overlap = "allow"
)

func (o Overlap) known() bool {
	return slices.Contains([]Overlap{OverlapSkip, OverlapBufferOne, OverlapCancel, OverlapAllow}, o)
}

// The bounds of schedules.
const (
	MaxSchedules     = 1000 // of an organization
	MaxScheduleName  = 100  // characters
	MaxPauseReason   = 500  // characters
	MaxTimeZone      = 64   // bytes
	MaxBackfill      = 1000 // starts of one backfill
	MaxBackfillRange = 366 * 24 * time.Hour
)

// CodeScheduleBudget is the code of a start that could cost more than is left of
// the schedule's budget of the month.
const CodeScheduleBudget = "schedule_budget_reached"

// Pause stops the starts of the schedule by time, with a reason for people.
func (s *Schedule) Pause(reason string, now time.Time) {
	s.Paused, s.PauseReason, s.UpdatedAt = true, reason, now
}

// Resume lets the schedule start by time again.
func (s *Schedule) Resume(now time.Time) {
	s.Paused, s.PauseReason, s.UpdatedAt = false, "", now
}

// BudgetMonth is the beginning of the month (UTC) whose budget a run counts in
// that is created at a time.
func BudgetMonth(at time.Time) time.Time {
	at = at.UTC()
	return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
}
