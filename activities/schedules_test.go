package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// plans keeps one schedule; what a test does not fake panics.
type plans struct {
	product.ScheduleStore
	schedule product.Schedule
	err      error // of Schedule
	updates  int
	by       audit.Actor
	gone     bool // deleted before the update
}

func (p *plans) Schedule(context.Context, ids.Schedule) (product.Schedule, error) {
	return p.schedule, p.err
}

func (p *plans) UpdateSchedule(_ context.Context, by audit.Actor, org ids.Org, id ids.Schedule, change func(*product.Schedule) error) (product.Schedule, error) {
	if p.gone || org != p.schedule.OrgID || id != p.schedule.ID {
		return product.Schedule{}, fault.New(fault.NotFound, "", "no such schedule")
	}
	p.updates++
	p.by = by
	return p.schedule, change(&p.schedule)
}

// people are the keys and members of an organization.
type people struct {
	keys    map[ids.Key]marketplace.APIKey
	members map[ids.User]marketplace.Member
	err     error
}

func (p *people) APIKey(_ context.Context, _ ids.Org, id ids.Key) (marketplace.APIKey, error) {
	key, ok := p.keys[id]
	if !ok {
		return key, fault.New(fault.NotFound, "", "no such key")
	}
	return key, p.err
}

func (p *people) Member(_ context.Context, _ ids.Org, id ids.User) (marketplace.Member, error) {
	member, ok := p.members[id]
	if !ok {
		return member, fault.New(fault.NotFound, "", "no such member")
	}
	return member, p.err
}

// starter remembers what it was to start.
type starter struct {
	preview    launch.Preview
	previewErr error
	run        product.Run
	err        error
	previewed  int
	starts     []launch.Start
}

func (s *starter) Preview(context.Context, launch.Start) (launch.Preview, error) {
	s.previewed++
	return s.preview, s.previewErr
}

func (s *starter) Start(_ context.Context, start launch.Start) (product.Run, bool, error) {
	s.starts = append(s.starts, start)
	return s.run, s.err == nil, s.err
}

// keyed are runs that are found by request.
type keyed struct {
	*runs
	byKey map[product.IdempotencyKey]product.Run
	err   error
}

func (k keyed) RunOfKey(_ context.Context, _ ids.Org, key product.IdempotencyKey) (product.Run, error) {
	if run, ok := k.byKey[key]; ok || k.err != nil {
		return run, k.err
	}
	return product.Run{}, fault.New(fault.NotFound, "", "no such run")
}

type scheduleWorld struct {
	*Schedules
	plans   *plans
	people  *people
	starter *starter
	runs    keyed
}

var dueAt = StartScheduledRunInput{ScheduleID: "sch_1", ScheduledAt: now.Add(-time.Minute)}

// scheduleKeyText is part of the protocol with the store: another text would make
// the run of a time again.
const scheduleKeyText = "schedule sch_1 2026-03-01T09:29:00Z"

func newScheduleWorld() *scheduleWorld {
	w := &scheduleWorld{
		plans: &plans{schedule: product.Schedule{
			ID: "sch_1", OrgID: "org_1", KeyID: "key_1", UserID: "usr_1", TeamID: "team_1", Agent: "acme/reviewer", Version: "stable",
			Input: []byte(`{"a":1}`), Request: product.Request{RunTimeout: time.Minute}, Labels: map[string]string{"team": "blue"},
		}},
		people: &people{
			keys: map[ids.Key]marketplace.APIKey{"key_1": {
				ID: "key_1", OrgID: "org_1", UserID: "usr_1", Role: marketplace.RoleOwner, Scopes: []marketplace.Scope{marketplace.ScopeRunsWrite},
			}},
			members: map[ids.User]marketplace.Member{"usr_1": {Role: marketplace.RoleMember, Teams: []ids.Team{"team_1", "team_2"}}},
		},
		starter: &starter{run: product.Run{ID: runID, OrgID: "org_1", AgentID: "agt_1", Agent: "acme/reviewer", Version: "1.0.0", Status: product.StatusQueued}},
		runs:    keyed{runs: newRuns(), byKey: map[product.IdempotencyKey]product.Run{}},
	}
	w.Schedules = &Schedules{Store: w.plans, People: w.people, Launcher: w.starter, Runs: w.runs, Now: clock}
	return w
}

func (w *scheduleWorld) started(t *testing.T) StartedRun {
	t.Helper()
	got, err := w.StartScheduledRun(t.Context(), dueAt)
	require.NoError(t, err)
	return got
}

var startedRun = StartedRun{RunID: runID, OrgID: "org_1", AgentID: "agt_1", Agent: "acme/reviewer", Version: "1.0.0"}

func TestStartScheduledRun(t *testing.T) {
	w := newScheduleWorld()
	require.Equal(t, startedRun, w.started(t))
	require.Empty(t, cmp.Diff([]launch.Start{{
		Caller: launch.Caller{
			OrgID: "org_1", KeyID: "key_1", UserID: "usr_1", Teams: []ids.Team{"team_1", "team_2"},
			Actor: audit.Actor{Kind: audit.KindUser, ID: "usr_1", Org: "org_1"},
		},
		Publisher: "acme", Name: "reviewer", TeamID: "team_1", Version: "stable", Input: []byte(`{"a":1}`),
		Request: product.Request{RunTimeout: time.Minute}, Labels: map[string]string{"team": "blue"},
		Key:    &product.IdempotencyKey{Key: scheduleKeyText, Fingerprint: "schedule"},
		Origin: product.Origin{Kind: product.OriginSchedule, ScheduleID: "sch_1"},
	}}, w.starter.starts))
	require.Zero(t, w.starter.previewed, "without a budget nothing is asked")
	require.Zero(t, w.plans.updates)
}

func TestStartScheduledRunAgain(t *testing.T) {
	w := newScheduleWorld()
	key := product.IdempotencyKey{Key: scheduleKeyText, Fingerprint: "schedule"}
	w.runs.byKey[key] = w.starter.run
	w.people.keys = nil // whatever has happened to the right since
	require.Equal(t, startedRun, w.started(t))
	ended := w.starter.run
	ended.Status = product.StatusFailed
	w.runs.byKey[key] = ended
	require.True(t, w.started(t).Ended)
	require.Empty(t, w.starter.starts)
	require.Zero(t, w.plans.updates)
}

func TestStartScheduledRunOfADeletedSchedule(t *testing.T) {
	w := newScheduleWorld()
	w.plans.err = fault.New(fault.NotFound, "schedule_not_found", "none")
	got := w.started(t)
	require.True(t, got.Skipped)
	require.Equal(t, "schedule_not_found", got.Code)
	require.Zero(t, w.plans.updates)

	w = newScheduleWorld()
	w.starter.err, w.plans.gone = fault.New(fault.Forbidden, "not_entitled", "no"), true
	require.True(t, w.started(t).Skipped, "deleted while it was denied")
}

func TestBudgetBoundsTheRun(t *testing.T) {
	usd := func(micros int64) money.Amount { return money.Of(micros, "USD") }
	for _, tt := range []struct {
		name                 string
		asked, maximum, want money.Amount
	}{
		{"to what it could cost now", money.Amount{}, usd(300), usd(300)},
		{"to less than was asked for", usd(500), usd(300), usd(300)},
		{"to what was asked for", usd(200), usd(300), usd(200)},
		{"not where it is free", usd(200), usd(0), usd(200)},
		{"not at all", money.Amount{}, usd(0), money.Amount{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newScheduleWorld()
			w.plans.schedule.Budget, w.plans.schedule.Request.MaxCost = usd(1000), tt.asked
			w.starter.preview.Estimate.Maximum = tt.maximum
			w.started(t)
			require.Equal(t, tt.want, w.starter.starts[0].Request.MaxCost)
		})
	}
	w := newScheduleWorld()
	w.plans.schedule.Budget = usd(1000)
	w.starter.previewErr = fault.New(fault.NotFound, "version_not_found", "none")
	require.Equal(t, "version_not_found", w.started(t).Code)
	require.Empty(t, w.starter.starts)
}

func TestDeniedStartsAreSkipped(t *testing.T) {
	for _, denial := range []*fault.Error{
		fault.New(fault.PaymentRequired, product.CodeScheduleBudget, "the budget is used up"),
		fault.New(fault.Forbidden, "not_entitled", "no right"),
		fault.New(fault.Invalid, "input_invalid", "the version wants something else"),
		fault.New(fault.NotFound, "agent_not_found", "gone"),
	} {
		w := newScheduleWorld()
		w.starter.err = denial
		require.Equal(t, StartedRun{Skipped: true, Code: denial.Code, Reason: denial.Message}, w.started(t))
		require.Equal(t, &product.Skip{ScheduledAt: dueAt.ScheduledAt, At: now, Code: denial.Code, Reason: denial.Message}, w.plans.schedule.LastSkip)
		require.False(t, w.plans.schedule.Paused, "the next start may be allowed")
	}
}

func TestFaultsOfThePlatformAreRetried(t *testing.T) {
	away := fault.New(fault.Unavailable, "", "away")
	for name, breakIt := range map[string]func(*scheduleWorld){
		"schedule": func(w *scheduleWorld) { w.plans.err = away },
		"earlier":  func(w *scheduleWorld) { w.runs.err, w.Runs = away, keyed{w.runs.runs, nil, away} },
		"key":      func(w *scheduleWorld) { w.people.err = away },
		"start":    func(w *scheduleWorld) { w.starter.err = away },
		"bug":      func(w *scheduleWorld) { w.starter.err = errors.New("oops") },
		"preview": func(w *scheduleWorld) {
			w.plans.schedule.Budget, w.starter.previewErr = money.Of(1, "USD"), away
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newScheduleWorld()
			breakIt(w)
			_, err := w.StartScheduledRun(t.Context(), dueAt)
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.False(t, app.NonRetryable())
			require.Zero(t, w.plans.updates)
		})
	}
}

func TestOwnerOfASchedule(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*scheduleWorld, *marketplace.APIKey)
		says   string // empty: the run is started
	}{
		{"a key that expires later", func(_ *scheduleWorld, k *marketplace.APIKey) { k.ExpiresAt = now.Add(1) }, ""},
		{"a key that expired", func(_ *scheduleWorld, k *marketplace.APIKey) { k.ExpiresAt = now }, "has expired"},
		{"a key that was revoked", func(_ *scheduleWorld, k *marketplace.APIKey) { k.RevokedAt = now }, "was revoked"},
		{"no key", func(w *scheduleWorld, _ *marketplace.APIKey) { w.plans.schedule.KeyID = "key_none" }, "is not there"},
		{"a key without the scope", func(_ *scheduleWorld, k *marketplace.APIKey) { k.Scopes = nil }, "lacks the scope"},
		{"a person who left", func(w *scheduleWorld, _ *marketplace.APIKey) { w.people.members = nil }, "is no member"},
		{"a person who only reads now", func(w *scheduleWorld, _ *marketplace.APIKey) {
			w.people.members["usr_1"] = marketplace.Member{Role: marketplace.RoleAuditor}
		}, "the role auditor may not"},
		{"a program", func(w *scheduleWorld, k *marketplace.APIKey) { w.people.members, k.UserID = nil, "" }, ""},
		{"a program that only reads", func(w *scheduleWorld, k *marketplace.APIKey) {
			w.people.members, k.UserID, k.Role = nil, "", marketplace.RoleAuditor
		}, "the role auditor may not"},
		{"a person without a key", func(w *scheduleWorld, _ *marketplace.APIKey) { w.plans.schedule.KeyID = "" }, ""},
		{"a key that was rotated", func(w *scheduleWorld, k *marketplace.APIKey) {
			next := *k
			next.ID, k.RotatedTo, k.ExpiresAt, k.RevokedAt = "key_2", "key_2", now, now
			w.people.keys["key_2"] = next
		}, ""},
		{"a key whose successor was revoked", func(w *scheduleWorld, k *marketplace.APIKey) {
			next := *k
			next.ID, next.RevokedAt, k.RotatedTo = "key_2", now, "key_2"
			w.people.keys["key_2"] = next
		}, "was revoked"},
		{"a key that is its own successor", func(_ *scheduleWorld, k *marketplace.APIKey) { k.RotatedTo = "key_1" }, "too often"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newScheduleWorld()
			key := w.people.keys["key_1"]
			tt.change(w, &key)
			w.people.keys["key_1"] = key
			got := w.started(t)
			require.Equal(t, tt.says != "", got.Skipped)
			require.Equal(t, tt.says == "", len(w.starter.starts) == 1)
			require.Contains(t, got.Reason, tt.says)
			require.Equal(t, tt.says != "", w.plans.schedule.Paused)
			require.Equal(t, got.Reason, w.plans.schedule.PauseReason)
			if got.Skipped {
				require.Equal(t, audit.System("schedules"), w.plans.by)
				require.Equal(t, now, w.plans.schedule.UpdatedAt)
			}
		})
	}
	w := newScheduleWorld()
	w.plans.schedule.Pause("holidays", now.Add(-time.Hour))
	w.people.members = nil
	require.True(t, w.started(t).Skipped)
	require.Equal(t, "holidays", w.plans.schedule.PauseReason, "it keeps its first reason")
}

func TestMarkDispatched(t *testing.T) {
	w := newScheduleWorld()
	require.NoError(t, w.MarkDispatched(t.Context(), ScheduledRun{RunID: runID}))
	require.Equal(t, []ids.Run{runID}, w.runs.dispatched)
}

func TestAwaitRunEnd(t *testing.T) {
	w := newScheduleWorld()
	run := w.starter.run
	w.runs.byID[runID] = run
	err := w.AwaitRunEnd(t.Context(), ScheduledRun{RunID: runID})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.False(t, app.NonRetryable())
	require.Equal(t, endInterval, app.NextRetryDelay())
	require.Equal(t, temporal.ApplicationErrorCategory(enums.APPLICATION_ERROR_CATEGORY_BENIGN), app.Category())

	run.Status = product.StatusCanceled
	w.runs.byID[runID] = run
	require.NoError(t, w.AwaitRunEnd(t.Context(), ScheduledRun{RunID: runID}))
	require.ErrorAs(t, w.AwaitRunEnd(t.Context(), ScheduledRun{RunID: "run_none"}), &app)
	require.True(t, app.NonRetryable())
}
