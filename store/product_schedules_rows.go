package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

type scheduleRow struct {
	ID             string
	OrgID          string
	KeyID          string
	UserID         string // empty: a program
	TeamID         string
	Name           string
	AgentID        string
	Agent          string
	Version        string
	Input          []byte // not in lists
	Request        document[requestDocument]
	Labels         document[map[string]string]
	Cron           string
	TimeZone       string
	Overlap        string
	Paused         bool
	PauseReason    string
	BudgetMicros   int64
	BudgetCurrency string
	CreatedAt      stamp
	UpdatedAt      stamp
	Revision       int64
	DeletedAt      stamp
	// DispatchDueAt is when Temporal has to be told of the schedule; null while it
	// knows everything.
	DispatchDueAt stamp
	LastSkip      document[skipDocument]
}

func (scheduleRow) TableName() string { return "schedules" }

// scheduleColumns are the columns of scheduleRow without the input: what lists and
// Temporal need.
const scheduleColumns = `id, org_id, key_id, user_id, team_id, name, agent_id, agent, version, request, labels,
    cron, time_zone, overlap, paused, pause_reason, budget_micros, budget_currency,
    created_at, updated_at, revision, deleted_at, dispatch_due_at, last_skip`

// skipDocument is a stored shape: fields are added, never renamed or reused.
type skipDocument struct {
	ScheduledAt time.Time `json:"scheduled_at"`
	At          time.Time `json:"at"`
	Code        string    `json:"code,omitempty"`
	Reason      string    `json:"reason"`
}

func rowFromSchedule(s product.Schedule) scheduleRow {
	labels := map[string]string{}
	maps.Copy(labels, s.Labels)
	row := scheduleRow{
		ID: string(s.ID), OrgID: string(s.OrgID), KeyID: string(s.KeyID), UserID: string(s.UserID), TeamID: string(s.TeamID),
		Name: s.Name, AgentID: string(s.AgentID), Agent: s.Agent, Version: s.Version,
		Input:   append([]byte{}, s.Input...),
		Request: documentOf(documentFromRequest(s.Request)), Labels: documentOf(labels),
		Cron: s.Cron, TimeZone: s.TimeZone, Overlap: string(s.Overlap),
		Paused: s.Paused, PauseReason: printable(s.PauseReason),
		BudgetMicros: s.Budget.Micros, BudgetCurrency: s.Budget.Currency,
		CreatedAt: at(s.CreatedAt), UpdatedAt: at(s.UpdatedAt), Revision: s.Revision,
	}
	if skip := s.LastSkip; skip != nil {
		row.LastSkip = documentOf(skipDocument{
			ScheduledAt: at(skip.ScheduledAt).t, At: at(skip.At).t, Code: skip.Code, Reason: printable(skip.Reason),
		})
	}
	return row
}

func scheduleFromRow(r scheduleRow) (product.Schedule, error) {
	if r.Labels.value == nil || r.Request.value == nil {
		return product.Schedule{}, fmt.Errorf("load schedule %s: labels or request are missing", r.ID)
	}
	s := product.Schedule{
		ID: ids.Schedule(r.ID), OrgID: ids.Org(r.OrgID), KeyID: ids.Key(r.KeyID), UserID: ids.User(r.UserID), TeamID: ids.Team(r.TeamID),
		Name: r.Name, AgentID: ids.Agent(r.AgentID), Agent: r.Agent, Version: r.Version, Input: slices.Clone(r.Input),
		Request: requestFromDocument(*r.Request.value), Labels: nilIfEmpty(maps.Clone(*r.Labels.value)),
		Cron: r.Cron, TimeZone: r.TimeZone, Overlap: product.Overlap(r.Overlap), Paused: r.Paused, PauseReason: r.PauseReason,
		Budget:    money.Of(r.BudgetMicros, r.BudgetCurrency),
		CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t, Revision: r.Revision, Deleted: !r.DeletedAt.t.IsZero(),
	}
	if skip := r.LastSkip.value; skip != nil {
		s.LastSkip = new(product.Skip(*skip))
	}
	return s, nil
}

func schedulesFromRows(rows []scheduleRow) ([]product.Schedule, error) {
	schedules := make([]product.Schedule, len(rows))
	for i, row := range rows {
		var err error
		if schedules[i], err = scheduleFromRow(row); err != nil {
			return nil, err
		}
	}
	return schedules, nil
}

// scheduleEntry is a schedule in the audit log, without its input and labels.
type scheduleEntry struct {
	Name        string          `json:"name"`
	KeyID       string          `json:"key_id,omitempty"`
	UserID      string          `json:"user_id,omitempty"`
	Agent       string          `json:"agent"`
	Version     string          `json:"version,omitempty"`
	Request     requestDocument `json:"request,omitzero"`
	Cron        string          `json:"cron"`
	TimeZone    string          `json:"time_zone,omitempty"`
	Overlap     string          `json:"overlap"`
	Paused      bool            `json:"paused,omitempty"`
	PauseReason string          `json:"pause_reason,omitempty"`
	Budget      amountDocument  `json:"budget,omitzero"`
	Revision    int64           `json:"revision"`
	Asked       *askedEntry     `json:"asked,omitempty"` // of a backfill
}

// askedEntry are the starts of a backfill in the audit log.
type askedEntry struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Overlap string    `json:"overlap"`
}

// askedEntryOf is nil for what has no range.
func askedEntryOf(asked *product.Asked) *askedEntry {
	if asked == nil || !asked.Backfill() {
		return nil
	}
	return &askedEntry{at(asked.From).t, at(asked.To).t, string(asked.Overlap)}
}

func (r scheduleRow) entry() scheduleEntry {
	return scheduleEntry{r.Name, r.KeyID, r.UserID, r.Agent, r.Version, *r.Request.value, r.Cron, r.TimeZone, r.Overlap,
		r.Paused, r.PauseReason, amountDocument{r.BudgetMicros, r.BudgetCurrency}, r.Revision, nil}
}
