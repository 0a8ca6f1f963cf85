package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// timetable is Temporal's side of schedules: it keeps what it was told.
type timetable struct {
	mu     sync.Mutex
	down   error
	known  map[ids.Schedule]product.Schedule
	asked  []string
	starts []time.Time
}

func (e *timetable) SyncSchedule(_ context.Context, s product.Schedule) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down != nil {
		return e.down
	}
	if e.known == nil {
		e.known = map[ids.Schedule]product.Schedule{}
	}
	if delete(e.known, s.ID); !s.Deleted {
		e.known[s.ID] = s
	}
	return nil
}

func (e *timetable) ask(id ids.Schedule, what string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, there := e.known[id]; !there && e.down == nil {
		return fault.New(fault.NotFound, "", "secret workflow of the schedule")
	}
	if e.down == nil {
		e.asked = append(e.asked, what)
	}
	return e.down
}

func (e *timetable) TriggerSchedule(_ context.Context, id ids.Schedule) error {
	return e.ask(id, "trigger")
}

func (e *timetable) BackfillSchedule(_ context.Context, id ids.Schedule, from, to time.Time, overlap product.Overlap) error {
	return e.ask(id, fmt.Sprintf("backfill %s %s %s", from.Format(time.RFC3339), to.Format(time.RFC3339), overlap))
}

func (e *timetable) DescribeSchedule(_ context.Context, id ids.Schedule) ([]time.Time, error) {
	err := e.ask(id, "describe")
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.starts, err
}

func (e *timetable) set(change func(*timetable)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

// of is what the engine knows of a schedule.
func (e *timetable) of(id string) (product.Schedule, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, there := e.known[ids.Schedule(id)]
	return s, there
}

// told are the calls but for those that only look.
func (e *timetable) told() (list []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, call := range e.asked {
		if call != "describe" {
			list = append(list, call)
		}
	}
	return list
}

const ofAcme = "/v1/organizations/acme/schedules"

// fullSchedule has every member that a schedule may have.
const fullSchedule = `{"name":"Nightly","agent":"acme/greeter","version":"stable","input":{"prompt":"hello"},"cron":"0 3 * * mon-fri",
"time_zone":"Europe/Berlin","overlap":"cancel_other","labels":{"team":"blue"},"run_timeout_seconds":60,"queue_timeout_seconds":120,
"max_cost":{"amount_micros":500,"currency":"USD"},"priority":-3,"retry":{"max_attempts":2},"budget":{"amount_micros":9000,"currency":"USD"}}`

func (f *fixture) scheduled(body string) map[string]any {
	f.t.Helper()
	got := f.post(ofAcme, body)
	created := f.requireStatus(http.StatusCreated, got)
	require.Equal(f.t, ofAcme+"/"+created["id"].(string), got.header.Get("Location"))
	return created
}

// due are the schedules that the relay would have to tell of.
func (f *fixture) due() int {
	f.t.Helper()
	found, err := f.server.Control.DueSchedules(f.t.Context(), f.clock.now().Add(time.Minute), time.Hour, 100)
	require.NoError(f.t, err)
	return len(found)
}

func TestScheduleFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	for i := range 7 {
		f.timer.starts = append(f.timer.starts, now.Add(time.Duration(i)*time.Hour))
	}
	created := f.scheduled(fullSchedule)
	id := created["id"].(string)
	self := ofAcme + "/" + id
	require.Len(t, created["next_runs"], 5)
	delete(created, "next_runs")
	key := created["api_key_id"].(string)
	require.True(t, ids.Valid(ids.PrefixKey, key))
	require.Equal(t, map[string]any{
		"id": id, "name": "Nightly", "agent": "acme/greeter", "version": "stable", "input": map[string]any{"prompt": "hello"},
		"cron": "0 3 * * mon-fri", "time_zone": "Europe/Berlin", "overlap": "cancel_other", "labels": map[string]any{"team": "blue"},
		"run_timeout_seconds": 60.0, "queue_timeout_seconds": 120.0, "priority": -3.0, "retry": map[string]any{"max_attempts": 2.0},
		"max_cost": map[string]any{"amount_micros": 500.0, "currency": "USD"},
		"budget":   map[string]any{"amount_micros": 9000.0, "currency": "USD"},
		"spent":    map[string]any{"amount_micros": 0.0, "currency": "USD"},
		"paused":   false, "api_key_id": key, "created_at": "2026-11-22T12:00:00Z", "updated_at": "2026-11-22T12:00:00Z",
		"urls": map[string]any{"self": self, "runs": "/v1/runs?schedule=" + id},
	}, created)
	told, _ := f.timer.of(id)
	require.Equal(t, "0 3 * * mon-fri", told.Cron)
	require.Zero(t, f.due(), "the engine knows")

	f.clock.advance(time.Hour)
	changed := f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self,
		`{"name":"Daily","version":"","cron":"@daily","time_zone":"","overlap":"allow","labels":{},"run_timeout_seconds":0,"queue_timeout_seconds":30,
"max_cost":{"amount_micros":0,"currency":"USD"},"budget":{"amount_micros":1,"currency":"USD"},"priority":0,"retry":{"max_attempts":1},"input":{"prompt":"bye"}}`, ""))
	for _, gone := range []string{"version", "labels", "run_timeout_seconds", "max_cost"} {
		require.NotContains(t, changed, gone)
	}
	for member, want := range map[string]any{
		"name": "Daily", "cron": "@daily", "time_zone": "UTC", "overlap": "allow", "queue_timeout_seconds": 30.0, "priority": 0.0,
		"input": map[string]any{"prompt": "bye"}, "updated_at": "2026-11-22T13:00:00Z", "budget": map[string]any{"amount_micros": 1.0, "currency": "USD"},
	} {
		require.Equal(t, want, changed[member], member)
	}
	require.Equal(t, changed, f.requireStatus(http.StatusOK, f.get(self)))
	same := f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{}`, ""))
	require.Equal(t, changed, same)
	narrow := f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"resources":{"cpu_millis":100}}`, ""))
	require.Equal(t, map[string]any{"cpu_millis": 100.0}, narrow["resources"])

	paused := f.requireStatus(http.StatusOK, f.post(self+"/pause", `{"reason":"holidays"}`))
	require.Equal(t, []any{true, "holidays"}, []any{paused["paused"], paused["pause_reason"]})
	require.NotContains(t, paused, "next_runs")
	again := f.requireStatus(http.StatusOK, f.post(self+"/pause", ""))
	require.Equal(t, "holidays", again["pause_reason"], "it keeps its first reason")
	told, _ = f.timer.of(id)
	require.True(t, told.Paused)
	resumed := f.requireStatus(http.StatusOK, f.post(self+"/resume", ""))
	require.Equal(t, false, resumed["paused"])
	require.NotContains(t, resumed, "pause_reason")
	f.requireStatus(http.StatusOK, f.post(self+"/resume", ""))

	f.requireStatus(http.StatusAccepted, f.post(self+"/trigger", ""))
	f.requireStatus(http.StatusAccepted, f.post(self+"/backfill", `{"from":"2026-11-20T00:00:00Z","to":"2026-11-21T23:00:00Z"}`))
	f.requireStatus(http.StatusAccepted, f.post(self+"/backfill", `{"from":"2026-11-20T00:00:00Z","to":"2026-11-21T23:00:00Z","overlap":"skip"}`))
	require.Equal(t, []string{"trigger", "backfill 2026-11-20T00:00:00Z 2026-11-21T23:00:00Z allow",
		"backfill 2026-11-20T00:00:00Z 2026-11-21T23:00:00Z skip"}, f.timer.told())

	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, self, "", "").status)
	_, there := f.timer.of(id)
	require.False(t, there)
	require.Zero(t, f.due())
	for _, path := range []string{"", "/pause", "/resume", "/trigger"} {
		method := http.MethodPost
		if path == "" {
			method = http.MethodDelete
		}
		f.requireCode(http.StatusNotFound, "schedule_not_found", f.send(method, self+path, "", ""))
	}
	f.requireCode(http.StatusNotFound, "schedule_not_found", f.get(self))
}

func TestSchedulesAreListed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	var want []string
	for range 3 {
		want = append([]string{f.scheduled(fullSchedule)["id"].(string)}, want...)
	}
	first := f.get(ofAcme + "?limit=2")
	require.Equal(t, want[:2], f.items(first, "id"))
	item := first.json(t)["items"].([]any)[0].(map[string]any)
	for _, member := range []string{"input", "next_runs", "spent"} {
		require.NotContains(t, item, member)
	}
	require.Equal(t, want[2:], f.items(f.get(ofAcme+"?limit=2&cursor="+first.json(t)["next_cursor"].(string)), "id"))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(ofAcme+"?cursor=x"), "cursor")
}

func TestBadSchedules(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, _ = f.organization("globex")
	f.publish("1.0.0")
	with := func(old, new string) string {
		require.Contains(t, fullSchedule, old)
		return strings.Replace(fullSchedule, old, new, 1)
	}
	for _, tc := range []struct {
		body, code string
		status     int
		pointers   []string
	}{
		{`{}`, "request_invalid", 422, []string{"/agent", "/cron", "/input", "/name"}},
		{with(`"Nightly"`, `"`+strings.Repeat("x", 101)+`"`), "request_invalid", 422, []string{"/name"}},
		{with(`"Nightly"`, `"a\nb"`), "schedule_invalid", 422, []string{"/name"}},
		{with(`0 3 * * mon-fri`, `@every 1s`), "schedule_invalid", 422, []string{"/cron"}},
		{with(`0 3 * * mon-fri`, strings.Repeat("1", 201)), "request_invalid", 422, []string{"/cron"}},
		{with(`Europe/Berlin`, `Europe/Bonn`), "schedule_invalid", 422, []string{"/time_zone"}},
		{with(`cancel_other`, `terminate_other`), "request_invalid", 422, []string{"/overlap"}},
		{with(`"priority":-3`, `"priority":-11`), "request_invalid", 422, []string{"/priority"}},
		{with(`"max_attempts":2`, `"max_attempts":11`), "request_invalid", 422, []string{"/retry/max_attempts"}},
		{with(`"run_timeout_seconds":60`, `"run_timeout_seconds":86401`), "request_invalid", 422, []string{"/run_timeout_seconds"}},
		{with(`"team":"blue"`, `"TEAM":"blue"`), "request_invalid", 422, []string{"/labels/TEAM"}},
		{with(`"team":"blue"`, `"team":"blue\u0000"`), "request_invalid", 422, []string{"/labels/team"}},
		{with(`"amount_micros":500,"currency":"USD"`, `"amount_micros":500,"currency":"EUR"`), "request_invalid", 422, []string{"/max_cost/currency"}},
		{with(`"amount_micros":9000`, `"amount_micros":0`), "request_invalid", 422, []string{"/budget/amount_micros"}},
		{with(`"amount_micros":500,`, `"amount_micros":0,`), "request_invalid", 422, []string{"/max_cost/amount_micros"}},
		{with(`"amount_micros":9000`, `"amount_micros":-1`), "request_invalid", 422, []string{"/budget/amount_micros"}},
		{with(`{"prompt":"hello"}`, `{"prompt":7}`), "input_invalid", 422, []string{"/input/prompt"}},
		{with(`"version":"stable"`, `"version":"9.9.9"`), "version_not_found", 404, nil},
		{with(`acme/greeter`, `acme/nothing`), "agent_not_found", 404, nil},
		{with(`acme/greeter`, `greeter`), "agent_not_found", 404, nil},
		{with(`acme/greeter`, `acme/greeter/x`), "agent_not_found", 404, nil},
		{with(`"name"`, `"team":"team_01jd3m0f9zq4x8v5c7n2b6k1ta","name"`), "request_invalid", 422, []string{"/team"}},
		{with(`"name"`, `"resources":{"cpu_millis":0},"name"`), "request_invalid", 422, []string{"/resources/cpu_millis"}},
		{with(`"name"`, `"title":"x","name"`), "request_invalid", 422, []string{"/title"}},
	} {
		f.requireCode(tc.status, tc.code, f.post(ofAcme, tc.body), tc.pointers...)
	}
	require.Empty(t, f.items(f.get(ofAcme), "id"))
	f.requireCode(http.StatusNotFound, "organization_not_found", f.post("/v1/organizations/globex/schedules", fullSchedule))

	before := f.scheduled(fullSchedule)
	self := ofAcme + "/" + before["id"].(string)
	for _, tc := range []struct {
		path, body, code string
		status           int
		pointers         []string
	}{
		{"", `{"agent":"acme/other"}`, "request_invalid", 422, []string{"/agent"}},
		{"", `{"cron":"x"}`, "schedule_invalid", 422, []string{"/cron"}},
		{"", `{"labels":{"":"x"}}`, "request_invalid", 422, []string{"/labels/"}},
		{"", `{"labels":{"a":"\u0000"}}`, "request_invalid", 422, []string{"/labels/a"}},
		{"", `{"input":{}}`, "input_invalid", 422, []string{"/input"}},
		{"", `{"version":"9.9.9"}`, "version_not_found", 404, nil},
		{"", `{"budget":{"amount_micros":1,"currency":"EUR"}}`, "request_invalid", 422, []string{"/budget/currency"}},
		{"/pause", `{"reason":"` + strings.Repeat("x", 501) + `"}`, "request_invalid", 422, []string{"/reason"}},
		{"/pause", `{"reason":"a\nb"}`, "request_invalid", 422, []string{"/reason"}},
		{"/backfill", `{}`, "request_invalid", 422, []string{"/from", "/to"}},
		{"/backfill", `{"from":"yesterday","to":"2026-11-22T12:00:00Z"}`, "request_invalid", 422, []string{"/from"}},
		{"/backfill", `{"from":"2026-11-20T00:00:00Z","to":"2026-11-22T12:00:01Z"}`, "schedule_invalid", 422, []string{"/to"}},
		{"/backfill", `{"from":"2026-11-21T00:00:00Z","to":"2026-11-20T00:00:00Z"}`, "schedule_invalid", 422, []string{"/to"}},
		{"/backfill", `{"from":"2020-11-21T00:00:00Z","to":"2026-11-20T00:00:00Z"}`, "schedule_invalid", 422, []string{"/from"}},
		{"/backfill", `{"from":"2026-11-20T10:00:00Z","to":"2026-11-20T11:00:00Z"}`, "schedule_invalid", 422, []string{"/from"}},
		{"/backfill", `{"from":"0001-01-01T00:00:00Z","to":"0001-01-08T00:00:00Z"}`, "schedule_invalid", 422, []string{"/from"}},
	} {
		method := http.MethodPost
		if tc.path == "" {
			method = http.MethodPatch
		}
		f.requireCode(tc.status, tc.code, f.send(method, self+tc.path, tc.body, ""), tc.pointers...)
	}
	require.Equal(t, before, f.requireStatus(http.StatusOK, f.get(self)))
	require.Empty(t, f.timer.told())
}

// An engine that does not answer keeps nobody from changing schedules.
func TestSchedulesWhileTheEngineIsDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.timer.set(func(e *timetable) { e.down = fault.New(fault.Unavailable, "", "secret address of the engine") })
	id := f.scheduled(fullSchedule)["id"].(string)
	self := ofAcme + "/" + id
	require.NotContains(t, f.requireStatus(http.StatusOK, f.get(self)), "next_runs")
	got := f.post(self+"/trigger", "")
	f.requireCode(http.StatusServiceUnavailable, "unavailable", got)
	require.NotContains(t, got.text, "secret")
	require.Equal(t, 1, f.due(), "the relay tells it")

	f.timer.set(func(e *timetable) { e.down = nil })
	f.requireStatus(http.StatusAccepted, f.post(self+"/trigger", ""))
	require.Equal(t, []string{"trigger"}, f.timer.told(), "the engine is told of the schedule first")

	f.timer.set(func(e *timetable) { e.down = fault.New(fault.Unavailable, "", "down") })
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, self, "", "").status)
	f.clock.advance(2 * time.Hour)
	require.Equal(t, 1, f.due())
}

// Whoever changes or resumes a schedule lends it her rights, and nobody else's.
func TestScheduleRunsAsWhoChangedIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	ada, ofAda := f.person(f.org.ID, "ada@example.com", marketplace.RoleMember)
	bob, ofBob := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	created := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, ofAcme, fullSchedule, ofAda))
	self := ofAcme + "/" + created["id"].(string)
	owner := func() any { return f.requireStatus(http.StatusOK, f.get(self))["user_id"] }
	require.Equal(t, string(ada.User.ID), owner())

	f.requireStatus(http.StatusOK, f.send(http.MethodPost, self+"/pause", "", ofBob))
	require.Equal(t, string(ada.User.ID), owner())
	f.requireStatus(http.StatusOK, f.send(http.MethodPost, self+"/resume", "", ofBob))
	require.Equal(t, string(bob.User.ID), owner())
	f.requireStatus(http.StatusOK, f.send(http.MethodPost, self+"/resume", "", ofAda))
	require.Equal(t, string(bob.User.ID), owner(), "it was not paused")
	f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"priority":5}`, ofAda))
	require.Equal(t, string(ada.User.ID), owner())
	f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"priority":6}`, ""))
	require.Nil(t, owner(), "a program")
}

// Who asks for a start lends it his rights, and is in the audit log.
func TestScheduleStartsAsWhoAskedForThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	ada, ofAda := f.person(f.org.ID, "ada@example.com", marketplace.RoleMember)
	bob, ofBob := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	team := f.requireStatus(http.StatusCreated, f.post("/v1/organizations/acme/teams", `{"name":"research"}`))["id"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme/teams/"+team+"/members/"+string(ada.User.ID), "", ""))
	forTeam := strings.Replace(fullSchedule, `"name"`, `"team":"`+team+`","name"`, 1)
	const lastDays = `{"from":"2026-11-20T00:00:00Z","to":"2026-11-21T23:00:00+01:00"}`
	for _, tc := range []struct {
		step, body, action string
		asked              any
	}{
		{"/trigger", "", "schedule.trigger", nil},
		{"/backfill", lastDays, "schedule.backfill", map[string]any{"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T22:00:00Z", "overlap": "allow"}},
	} {
		t.Run(tc.action, func(t *testing.T) {
			created := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, ofAcme, forTeam, ofAda))
			id := created["id"].(string)
			self := ofAcme + "/" + id
			log := func() []any { return f.requireStatus(http.StatusOK, f.get(auditLog+"?subject="+id))["items"].([]any) }

			mine := f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, self+tc.step, tc.body, ofAda))
			require.Equal(t, []any{string(ada.User.ID), team, created["updated_at"]}, []any{mine["user_id"], mine["team_id"], mine["updated_at"]})
			told, _ := f.timer.of(id)
			require.Equal(t, int64(1), told.Revision, "hers already")
			require.Len(t, log(), 2)

			f.clock.advance(time.Minute)
			taken := f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, self+tc.step, tc.body, ofBob))
			require.Equal(t, string(bob.User.ID), taken["user_id"])
			require.NotContains(t, taken, "team_id", "it is not his")
			told, _ = f.timer.of(id)
			require.Equal(t, []any{bob.User.ID, int64(2)}, []any{told.UserID, told.Revision})
			require.Zero(t, f.due(), "the engine knows")
			entry := log()[0].(map[string]any)
			require.Equal(t, tc.action, entry["action"])
			require.Equal(t, string(bob.User.ID), field(entry, "actor", "id"))
			require.Equal(t, string(ada.User.ID), field(entry, "before", "user_id"))
			require.Equal(t, string(bob.User.ID), field(entry, "after", "user_id"))
			require.Equal(t, tc.asked, field(entry, "after", "asked"))
		})
	}
}

func TestScheduleForATeam(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	ada, ofAda := f.person(f.org.ID, "ada@example.com", marketplace.RoleMember)
	_, ofBob := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	team := f.requireStatus(http.StatusCreated, f.post("/v1/organizations/acme/teams", `{"name":"research"}`))["id"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme/teams/"+team+"/members/"+string(ada.User.ID), "", ""))
	forTeam := strings.Replace(fullSchedule, `"name"`, `"team":"`+team+`","name"`, 1)
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, ofAcme, forTeam, ofBob), "/team")
	created := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, ofAcme, forTeam, ofAda))
	require.Equal(t, team, created["team_id"])
	self := ofAcme + "/" + created["id"].(string)
	require.Equal(t, team, f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"priority":1}`, ofAda))["team_id"])
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPatch, self, `{"team":"`+team+`"}`, ofBob), "/team")
	require.Nil(t, f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"priority":2}`, ofBob))["team_id"], "it is not his")
	f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"team":"`+team+`"}`, ofAda))
	require.Nil(t, f.requireStatus(http.StatusOK, f.send(http.MethodPatch, self, `{"team":""}`, ofAda))["team_id"])
}

func TestScheduleShowsSpendingAndTheLastSkip(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	id := ids.Schedule(f.scheduled(fullSchedule)["id"].(string))
	_, err := f.server.Control.UpdateSchedule(t.Context(), setUp, f.org.ID, id, func(s *product.Schedule) error {
		s.LastSkip = &product.Skip{ScheduledAt: now, At: now.Add(time.Second), Code: "insufficient_funds", Reason: "no money"}
		return nil
	})
	require.NoError(t, err)
	run, err := f.runs.Run(t.Context(), f.startAgain())
	require.NoError(t, err)
	run.ID, run.Labels = ids.New[ids.Run](ids.PrefixRun), nil
	run.Origin, run.Request.MaxCost = product.Origin{Kind: product.OriginSchedule, ScheduleID: id}, money.Of(700, "USD")
	_, _, err = f.runs.CreateRun(t.Context(), run, []byte(`{}`), nil)
	require.NoError(t, err)

	got := f.requireStatus(http.StatusOK, f.get(ofAcme+"/"+string(id)))
	require.Equal(t, map[string]any{"amount_micros": 700.0, "currency": "USD"}, got["spent"])
	require.Equal(t, map[string]any{"scheduled_at": "2026-11-22T12:00:00Z", "at": "2026-11-22T12:00:01Z", "code": "insufficient_funds", "reason": "no money"}, got["last_skip"])
}
