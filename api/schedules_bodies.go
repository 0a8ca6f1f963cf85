package api

import (
	"encoding/json"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

type (
	scheduleRequest struct {
		Name                string            `json:"name" minLength:"1" maxLength:"100" doc:"For people." example:"Nightly triage"`
		Agent               string            `json:"agent" minLength:"3" maxLength:"81" doc:"publisher/name" example:"acme/greeter"`
		Version             string            `json:"version,omitempty" maxLength:"64" doc:"A number, a channel, or latest: found anew for each run. Default: as for a run." example:"stable"`
		Team                string            `json:"team,omitempty" maxLength:"40" doc:"As at the start of a run." example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Input               json.RawMessage   `json:"input" doc:"Of every run. It must match the input schema of the version that would run now; at most 896 KiB." example:"{\"prompt\": \"hello world\"}"`
		Cron                string            `json:"cron" minLength:"1" maxLength:"200" doc:"Five fields: minute, hour, day of the month, month, day of the week, all of which must match; or @hourly, @daily, @weekly, @monthly." example:"0 3 * * mon-fri"`
		TimeZone            string            `json:"time_zone,omitempty" maxLength:"64" doc:"Of the IANA database. Default: UTC." example:"Europe/Berlin"`
		Overlap             string            `json:"overlap,omitempty" enum:"skip,buffer_one,cancel_other,allow" doc:"While the run before goes on a start is left out, waits for its end (one at most), cancels it, or is made beside it. Default: skip."`
		Labels              map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"Of every run, as at the start of one."`
		RunTimeoutSeconds   int64             `json:"run_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"As at the start of a run."`
		QueueTimeoutSeconds int64             `json:"queue_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"As at the start of a run."`
		MaxCost             *amountBody       `json:"max_cost,omitempty" doc:"Of each run."`
		Resources           *startResources   `json:"resources,omitempty" doc:"As at the start of a run."`
		Priority            int               `json:"priority,omitempty" minimum:"-10" maximum:"10" doc:"As at the start of a run."`
		Retry               *startRetry       `json:"retry,omitempty"`
		Budget              *amountBody       `json:"budget,omitempty" doc:"What all runs that are created in a calendar month (UTC) may cost together. A start that could cost more is skipped. Default: no bound."`
	}
	changeScheduleRequest struct {
		Name                *string            `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Version             *string            `json:"version,omitempty" maxLength:"64" doc:"Empty: as for a run."`
		Team                *string            `json:"team,omitempty" maxLength:"40" doc:"One of yours. Empty: your only one, if you are in one."`
		Input               json.RawMessage    `json:"input,omitempty"`
		Cron                *string            `json:"cron,omitempty" minLength:"1" maxLength:"200"`
		TimeZone            *string            `json:"time_zone,omitempty" maxLength:"64" doc:"Empty: UTC."`
		Overlap             *string            `json:"overlap,omitempty" enum:"skip,buffer_one,cancel_other,allow"`
		Labels              *map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"All of them: an empty object removes them."`
		RunTimeoutSeconds   *int64             `json:"run_timeout_seconds,omitempty" minimum:"0" maximum:"86400" doc:"0: what the agent's manifest says."`
		QueueTimeoutSeconds *int64             `json:"queue_timeout_seconds,omitempty" minimum:"0" maximum:"86400" doc:"0: one hour."`
		MaxCost             *amountBody        `json:"max_cost,omitempty" doc:"0: no bound."`
		Resources           *startResources    `json:"resources,omitempty" doc:"All of them: an empty object means what the agent's manifest asks for."`
		Priority            *int               `json:"priority,omitempty" minimum:"-10" maximum:"10"`
		Retry               *startRetry        `json:"retry,omitempty"`
		Budget              *amountBody        `json:"budget,omitempty" doc:"0: no bound."`
	}
	pauseScheduleRequest struct {
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"For people, on one line." example:"holidays"`
	}
	backfillRequest struct {
		From    time.Time `json:"from" doc:"The first time that may have a start." example:"2026-11-01T00:00:00Z"`
		To      time.Time `json:"to" doc:"The last one: not in the future, at most 366 days later, and with at most 1000 starts between." example:"2026-11-08T00:00:00Z"`
		Overlap string    `json:"overlap,omitempty" enum:"skip,buffer_one,cancel_other,allow" doc:"Of these starts. Default: allow, for all of them are due at once; limits order the runs."`
	}
)

// scheduleBody is a schedule as the API shows it. Lists leave out the input and
// what is looked up for each.
type scheduleBody struct {
	ID                  string            `json:"id" example:"sch_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Name                string            `json:"name" example:"Nightly triage"`
	Agent               string            `json:"agent" example:"acme/greeter"`
	Version             string            `json:"version,omitempty" doc:"Absent: what is installed." example:"stable"`
	TeamID              string            `json:"team_id,omitempty" doc:"The team that the runs are for. Absent: the only one of the person, if there is one."`
	Input               json.RawMessage   `json:"input,omitempty" doc:"Not in lists."`
	Cron                string            `json:"cron" example:"0 3 * * mon-fri"`
	TimeZone            string            `json:"time_zone" example:"Europe/Berlin"`
	Overlap             string            `json:"overlap" doc:"skip, buffer_one, cancel_other or allow."`
	Labels              map[string]string `json:"labels,omitempty"`
	RunTimeoutSeconds   int64             `json:"run_timeout_seconds,omitempty"`
	QueueTimeoutSeconds int64             `json:"queue_timeout_seconds,omitempty"`
	MaxCost             *amountBody       `json:"max_cost,omitempty"`
	Resources           *startResources   `json:"resources,omitempty"`
	Priority            int               `json:"priority"`
	Retry               *startRetry       `json:"retry,omitempty"`
	Budget              *amountBody       `json:"budget,omitempty" doc:"Of a calendar month (UTC)."`
	Spent               *amountBody       `json:"spent,omitempty" doc:"What the runs of this month cost and may still cost. Not in lists."`
	Paused              bool              `json:"paused"`
	PauseReason         string            `json:"pause_reason,omitempty"`
	KeyID               string            `json:"api_key_id,omitempty" doc:"The API key under whose rights the runs start."`
	UserID              string            `json:"user_id,omitempty" doc:"The person under whose rights the runs start."`
	NextRuns            []time.Time       `json:"next_runs,omitempty" doc:"Up to five. Absent in lists, while the schedule is paused, and while Temporal does not answer."`
	LastSkip            *skipBody         `json:"last_skip,omitempty" doc:"The last start that made no run because it was denied."`
	CreatedAt           time.Time         `json:"created_at"`
	UpdatedAt           time.Time         `json:"updated_at"`
	URLs                scheduleURLs      `json:"urls"`
}

type skipBody struct {
	ScheduledAt time.Time `json:"scheduled_at"`
	At          time.Time `json:"at"`
	Code        string    `json:"code,omitempty" example:"insufficient_funds"`
	Reason      string    `json:"reason"`
}

type scheduleURLs struct {
	Self string `json:"self"`
	Runs string `json:"runs" doc:"The runs that it has made."`
}

// scheduleSummary is a schedule without its input.
func scheduleSummary(org marketplace.Organization, s product.Schedule) scheduleBody {
	body := scheduleBody{
		ID: string(s.ID), Name: s.Name, Agent: s.Agent, Version: s.Version, Cron: s.Cron, TimeZone: s.TimeZone, Overlap: string(s.Overlap),
		TeamID: string(s.TeamID), Labels: s.Labels, RunTimeoutSeconds: int64(s.Request.RunTimeout / time.Second), QueueTimeoutSeconds: int64(s.Request.QueueTimeout / time.Second),
		MaxCost: amountBodyOrNil(s.Request.MaxCost), Priority: s.Request.Priority, Budget: amountBodyOrNil(s.Budget),
		Paused: s.Paused, PauseReason: s.PauseReason, KeyID: string(s.KeyID), UserID: string(s.UserID),
		CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
		URLs: scheduleURLs{Self: schedulePath(org, s), Runs: "/v1/runs?schedule=" + string(s.ID)},
	}
	if body.TimeZone == "" {
		body.TimeZone = "UTC"
	}
	if s.Request.Attempts > 0 {
		body.Retry = &startRetry{s.Request.Attempts}
	}
	if r := s.Request.Resources; r != (product.Resources{}) {
		body.Resources = new(startResources(r))
	}
	if skip := s.LastSkip; skip != nil {
		body.LastSkip = &skipBody{skip.ScheduledAt.UTC(), skip.At.UTC(), skip.Code, skip.Reason}
	}
	return body
}

func schedulePath(org marketplace.Organization, s product.Schedule) string {
	return "/v1/organizations/" + org.Name + "/schedules/" + string(s.ID)
}

// bound is an amount of which nothing means no bound.
func (a *app) bound(body amountBody, pointer string) (money.Amount, error) {
	amount, err := a.amount(body, pointer)
	if amount.IsZero() {
		return money.Amount{}, err
	}
	return amount, err
}

// apply changes a schedule as a caller asks for. What is left out stays.
func (a *app) apply(s *product.Schedule, c changeScheduleRequest) (err error) {
	set(&s.Name, c.Name)
	set(&s.Version, c.Version)
	set(&s.Cron, c.Cron)
	set(&s.TimeZone, c.TimeZone)
	set((*string)(&s.Overlap), c.Overlap)
	set(&s.Labels, c.Labels)
	set(&s.Request.Priority, c.Priority)
	if c.Input != nil {
		s.Input = c.Input
	}
	if c.RunTimeoutSeconds != nil {
		s.Request.RunTimeout = time.Duration(*c.RunTimeoutSeconds) * time.Second
	}
	if c.QueueTimeoutSeconds != nil {
		s.Request.QueueTimeout = time.Duration(*c.QueueTimeoutSeconds) * time.Second
	}
	if c.Team != nil {
		s.TeamID = ids.Team(*c.Team)
	}
	if c.Resources != nil {
		s.Request.Resources = product.Resources(*c.Resources)
	}
	if c.Retry != nil {
		s.Request.Attempts = c.Retry.MaxAttempts
	}
	if c.MaxCost != nil {
		if s.Request.MaxCost, err = a.bound(*c.MaxCost, "/max_cost"); err != nil {
			return err
		}
	}
	if c.Budget != nil {
		s.Budget, err = a.bound(*c.Budget, "/budget")
	}
	return err
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
