package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// numbers are limits as an answer has them.
func numbers(runs, cpu, memory, day, month float64) map[string]any {
	return map[string]any{
		"concurrent_runs": runs, "cpu_millis": cpu, "memory_mib": memory, "runs_per_day": day, "runs_per_month": month,
	}
}

const someLimits = `{"concurrent_runs":20,"cpu_millis":16000,"memory_mib":32768,"runs_per_day":500,"runs_per_month":5000}`

// pick returns the members of an object that are limits.
func pick(of any) map[string]any {
	picked := map[string]any{}
	for name := range numbers(0, 0, 0, 0, 0) {
		picked[name] = of.(map[string]any)[name]
	}
	return picked
}

func TestLimitsOfAnOrganization(t *testing.T) {
	f := newFixture(t)
	const of = "/v1/organizations/acme"
	ada, _ := f.person(f.org.ID, "ada@acme.test", "member")
	team := f.requireStatus(http.StatusCreated, f.post(of+"/teams", `{"name":"research"}`))["id"].(string)
	body := f.requireStatus(http.StatusOK, f.get(of+"/limits"))
	require.Empty(t, cmp.Diff(numbers(0, 0, 0, 0, 0), pick(body["limits"])), "nobody has set any")
	require.Equal(t, []any{}, body["teams"])
	require.Equal(t, []any{}, body["users"])
	require.NotZero(t, body["limits"].(map[string]any)["max_cpu_millis"], "those of the platform's plans are there, too")

	for path, sent := range map[string]string{
		"/limits": someLimits, "/teams/" + team + "/limits": `{"concurrent_runs":5}`,
		"/members/" + string(ada.User.ID) + "/limits": `{"runs_per_day":10}`,
	} {
		set := f.requireStatus(http.StatusOK, f.send(http.MethodPut, of+path, sent, ""))
		require.NotEmpty(t, set["updated_by"], path)
		require.Equal(t, "2026-11-22T12:00:00Z", set["updated_at"], path)
		require.Zero(t, set["current"].(map[string]any)["running"], path)
	}
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/platform/organizations/acme/limits", `{"memory_mib":1024}`, f.operator()))

	body = f.requireStatus(http.StatusOK, f.get(of+"/limits"))
	require.Empty(t, cmp.Diff(numbers(20, 16000, 32768, 500, 5000), pick(body["limits"])))
	require.Empty(t, cmp.Diff(numbers(0, 0, 1024, 0, 0), pick(body["quota"].(map[string]any)["limits"])))
	teams, users := body["teams"].([]any), body["users"].([]any)
	require.Len(t, teams, 1)
	require.Len(t, users, 1)
	require.Equal(t, team, teams[0].(map[string]any)["team_id"])
	require.Empty(t, cmp.Diff(numbers(5, 0, 0, 0, 0), pick(teams[0].(map[string]any)["limits"])))
	require.Equal(t, string(ada.User.ID), users[0].(map[string]any)["user_id"])
	require.Empty(t, cmp.Diff(numbers(0, 0, 0, 10, 0), pick(users[0].(map[string]any)["limits"])))

	for _, path := range []string{"/limits", "/teams/" + team + "/limits", "/members/" + string(ada.User.ID) + "/limits"} {
		f.requireStatus(http.StatusNoContent, f.send(http.MethodDelete, of+path, "", ""))
		f.requireCode(http.StatusNotFound, "limit_not_found", f.send(http.MethodDelete, of+path, "", ""))
	}
	body = f.requireStatus(http.StatusOK, f.get(of+"/limits"))
	require.Empty(t, cmp.Diff(numbers(0, 0, 0, 0, 0), pick(body["limits"])))
	require.Empty(t, body["teams"])
}

func TestLimitsOfAgentsPublishersAndThePlatform(t *testing.T) {
	f := newFixture(t)
	f.publish("1.0.0")
	operator := f.operator()
	for path, token := range map[string]string{
		"/v1/agents/acme/greeter/limits": "", "/v1/platform/limits": operator,
		"/v1/platform/organizations/acme/limits": operator, "/v1/platform/publishers/acme/limits": operator,
	} {
		f.requireCode(http.StatusNotFound, "limit_not_found", f.send(http.MethodDelete, path, "", token))
		require.NotContains(t, f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", token)), "updated_by", path)
		set := f.requireStatus(http.StatusOK, f.send(http.MethodPut, path, someLimits, token))
		require.Empty(t, cmp.Diff(numbers(20, 16000, 32768, 500, 5000), pick(set["limits"])), path)
		require.Empty(t, cmp.Diff(set, f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", token))), path)
		f.requireStatus(http.StatusNoContent, f.send(http.MethodDelete, path, "", token))
	}
}

func TestBadLimits(t *testing.T) {
	f := newFixture(t)
	for body, pointer := range map[string]string{
		`{"concurrent_runs":-1}`:             "/concurrent_runs",
		`{"cpu_millis":1099511627777}`:       "/cpu_millis",
		`{"memory_mib":1.5}`:                 "/memory_mib",
		`{"runs_per_day":"10"}`:              "/runs_per_day",
		`{"runs_per_month":100000000000000}`: "/runs_per_month",
		`{"runs_per_year":1}`:                "/runs_per_year",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPut, "/v1/organizations/acme/limits", body, ""), pointer)
	}
}

func TestLimitsOfWhatOthersHave(t *testing.T) {
	f := newFixture(t)
	other, globex := f.organization("globex")
	bob, _ := f.person(other.ID, "bob@globex.test", "member")
	theirs := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/organizations/globex/teams", `{"name":"research"}`, globex))["id"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/globex/teams/"+theirs+"/limits", `{}`, globex))
	f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/agents", publication("1.0.0"), globex))
	const of = "/v1/organizations/acme"
	for _, tt := range []struct{ method, path, code string }{
		{http.MethodPut, of + "/teams/" + theirs + "/limits", "team_not_found"},
		{http.MethodDelete, of + "/teams/" + theirs + "/limits", "limit_not_found"},
		{http.MethodDelete, of + "/teams/nonsense/limits", "team_not_found"},
		{http.MethodPut, of + "/members/" + string(bob.User.ID) + "/limits", "member_not_found"},
		{http.MethodDelete, of + "/members/" + string(bob.User.ID) + "/limits", "limit_not_found"},
		{http.MethodDelete, of + "/members/nobody/limits", "member_not_found"},
		{http.MethodPut, "/v1/agents/globex/greeter/limits", "agent_not_found"},
		{http.MethodGet, "/v1/agents/globex/greeter/limits", "agent_not_found"},
		{http.MethodPut, "/v1/organizations/globex/limits", "organization_not_found"},
	} {
		body := ""
		if tt.method == http.MethodPut {
			body = `{}`
		}
		f.requireCode(http.StatusNotFound, tt.code, f.send(tt.method, tt.path, body, ""))
	}
}

// granting is a store whose changes of limits give slots to runs.
type granting struct {
	product.ControlStore
	runs []ids.Run
}

func (g granting) SetLimit(context.Context, audit.Actor, ids.Org, product.Limit) ([]ids.Run, error) {
	return g.runs, nil
}

func (g granting) DeleteLimit(context.Context, audit.Actor, ids.Org, product.Scope, time.Time) ([]ids.Run, error) {
	return g.runs, nil
}

func (granting) Limits(context.Context, []product.Scope, time.Time) ([]product.Limit, []product.Usage, error) {
	return nil, nil, nil
}

func TestAChangedLimitWakesTheRunsThatGetASlot(t *testing.T) {
	granted := []ids.Run{"run_1", "run_2"}
	f := newFixture(t, func(s *api.Server) { s.Control = granting{s.Control, granted} })
	const path = "/v1/organizations/acme/limits"
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, path, someLimits, ""))
	require.Equal(t, granted, f.engine.freed)
	f.requireStatus(http.StatusNoContent, f.send(http.MethodDelete, path, "", ""))
	require.Equal(t, append(granted, granted...), f.engine.freed)

	f.engine.set(func(e *engine) { e.down = fault.New(fault.Unavailable, "", "away") })
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, path, someLimits, ""))
	require.Len(t, f.engine.freed, 4, "the relay tells the rest")
	require.Contains(t, f.log.String(), "slots left to the relay")
	f.engine.set(func(e *engine) { e.down = errors.New("broken") })
	f.requireStatus(http.StatusNoContent, f.send(http.MethodDelete, path, "", ""))
}

// What is removed is told apart from what never was.
func TestRemovedData(t *testing.T) {
	f := newFixture(t)
	f.publish("1.0.0")
	run := ids.Run(f.requireStatus(http.StatusAccepted, f.post("/v1/agents/acme/greeter/runs", `{"input":{"prompt":"hello"}}`))["id"].(string))
	_, err := f.runs.UpdateRun(t.Context(), run, func(r *product.Run) ([]*product.Event, error) {
		plan := r.Planned(product.Plan{Retention: product.Retention{Output: time.Hour, Log: 2 * time.Hour}}, now)
		begin, err := r.BeginAttempt(1, now)
		started := r.AttemptStarted(1, now)
		end := r.AttemptEnded(1, product.End{Reason: product.ReasonOK}, now)
		output, log := f.blobs.put("output", `{"a":1}`), f.blobs.put("log", "hello")
		r.Output, r.Log = &output, &log
		return []*product.Event{plan, begin, started, end, r.Settle(product.ReasonOK, "", now)}, err
	})
	require.NoError(t, err)
	path := "/v1/runs/" + string(run)
	require.JSONEq(t, `{"a":1}`, f.get(path+"/output").text)
	require.Equal(t, "hello", f.get(path+"/logs").text)

	remove := func(at time.Time) {
		require.NoError(t, f.server.Runs.(product.RunBodies).DataRemoved(t.Context(), run, at))
	}
	remove(now.Add(time.Hour))
	f.requireCode(http.StatusNotFound, "data_removed", f.get(path+"/output"))
	require.Equal(t, "hello", f.get(path+"/logs").text)
	remove(now.Add(2 * time.Hour))
	f.requireCode(http.StatusNotFound, "data_removed", f.get(path+"/logs"))
	require.Equal(t, "succeeded", f.requireStatus(http.StatusOK, f.get(path))["status"], "the record stays")
}
