package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

const rollouts = greeter + "/rollouts"

// released publishes two versions of acme/greeter, the first one on stable.
func released(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.publish("1.0.0")
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/channels/stable", `{"version":"1.0.0"}`, ""))
	f.publish("2.0.0")
	return f
}

const staged = `{"version":"2.0.0","stages":[{"organizations":["globex"],"duration_seconds":3600},{"percent":10}]}`

func TestCreateRollout(t *testing.T) {
	t.Parallel()
	f := released(t)
	f.organization("globex")
	created := f.post(rollouts, staged)
	got := f.requireStatus(http.StatusCreated, created)
	id := got["id"].(string)
	require.Equal(t, rollouts+"/"+id, created.header.Get("Location"))
	require.True(t, ids.Valid(ids.PrefixRollout, id))
	at := now.Format(time.RFC3339)
	want := map[string]any{
		"id": id, "agent": "acme/greeter", "channel": "stable", "from": "1.0.0", "version": "2.0.0", "status": "running",
		"stage": 1.0, "percent": 0.0, "created_at": at, "staged_at": at, "updated_at": at,
		"advances_at": now.Add(time.Hour).Format(time.RFC3339),
		"stages": []any{
			map[string]any{"organizations": []any{"globex"}, "duration_seconds": 3600.0}, map[string]any{"percent": 10.0},
		},
		"thresholds": map[string]any{"min_samples": 20.0, "failure_rate": 0.1, "cost_factor": 0.0, "duration_factor": 0.0},
	}
	require.Equal(t, want, got)
	require.Equal(t, want, f.get(rollouts).json(t)["items"].([]any)[0])
	none := map[string]any{"runs": 0.0, "failed": 0.0, "failure_rate": 0.0, "mean_cost_micros": 0.0, "mean_duration_seconds": 0.0}
	want["samples"] = map[string]any{"from": none, "version": none}
	require.Equal(t, want, f.get(rollouts+"/"+id).json(t))

	f.requireCode(http.StatusConflict, "rollout_active", f.post(rollouts, staged))
	f.requireCode(http.StatusConflict, "rollout_active", f.send(http.MethodPut, greeter+"/channels/stable", `{"version":"2.0.0"}`, ""))
	f.requireCode(http.StatusConflict, "rollout_active", f.send(http.MethodDelete, greeter+"/channels/stable", "", ""))
	beta := f.requireStatus(http.StatusCreated, f.post(rollouts, `{"version":"latest","channel":"beta","from":"1.0.0","stages":[{}],
"thresholds":{"min_samples":1,"failure_rate":0,"cost_factor":1.5,"duration_factor":2}}`))
	require.Equal(t, map[string]any{"min_samples": 1.0, "failure_rate": 0.0, "cost_factor": 1.5, "duration_factor": 2.0}, beta["thresholds"])
	require.Equal(t, "1.0.0", f.get(greeter + "/versions/beta").json(t)["version"])
	first := f.get(rollouts + "?limit=1").json(t)
	require.Equal(t, beta["id"], first["items"].([]any)[0].(map[string]any)["id"])
	require.Equal(t, []string{id}, f.items(f.get(rollouts+"?cursor="+first["next_cursor"].(string)), "id"))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(rollouts+"?cursor=x"), "cursor")
}

func TestCreateRolloutBad(t *testing.T) {
	t.Parallel()
	f := released(t)
	with := func(more string) answer { return f.post(rollouts, `{"version":"2.0.0",`+more+`}`) }
	for more, pointers := range map[string][]string{
		`"stages":[]`: {"/stages"},
		`"stages":[` + strings.Repeat(`{},`, 20) + `{}]`: {"/stages"},
		`"channel":"beta"`:                                                      {"/stages"},
		`"channel":"latest","stages":[{}]`:                                      {"/channel"},
		`"channel":"beta","stages":[{}]`:                                        {"/from"},
		`"stages":[{"percent":101}]`:                                            {"/stages/0/percent"},
		`"stages":[{"percent":-1}]`:                                             {"/stages/0/percent"},
		`"stages":[{"percent":0.5}]`:                                            {"/stages/0/percent"},
		`"stages":[{"duration_seconds":2592001}]`:                               {"/stages/0/duration_seconds"},
		`"stages":[{"duration_seconds":-1}]`:                                    {"/stages/0/duration_seconds"},
		`"stages":[{"organizations":["acme","nobody"]}]`:                        {"/stages/0/organizations/1"},
		`"stages":[{"organizations":[` + strings.Repeat(`"a",`, 100) + `"a"]}]`: {"/stages/0/organizations"},
		`"stages":[{}],"thresholds":{"min_samples":0}`:                          {"/thresholds/min_samples"},
		`"stages":[{}],"thresholds":{"min_samples":1000001}`:                    {"/thresholds/min_samples"},
		`"stages":[{}],"thresholds":{"failure_rate":1.1}`:                       {"/thresholds/failure_rate"},
		`"stages":[{}],"thresholds":{"cost_factor":1001}`:                       {"/thresholds/cost_factor"},
		`"stages":[{}],"thresholds":{"duration_factor":-1}`:                     {"/thresholds/duration_factor"},
		`"stages":[{}],"from":"` + strings.Repeat("1", 65) + `"`:                {"/from"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", with(more), pointers...)
	}
	many := strings.TrimSuffix(strings.Repeat(`{"organizations":[`+strings.TrimSuffix(strings.Repeat(`"acme",`, 51), ",")+`]},`, 2), ",")
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", with(`"stages":[`+many+`]`), "/stages")
	for more, pointers := range map[string][]string{
		`"stages":[{"percent":10},{"percent":5}]`:            {"/stages/1/percent"},
		`"stages":[{}],"thresholds":{"cost_factor":0.9}`:     {"/thresholds/cost_factor"},
		`"stages":[{}],"from":"2.0.0"`:                       {"/version"},
		`"stages":[{"percent":10},{}],"channel":"stable"`:    {"/stages/1/percent"},
		`"stages":[{}],"thresholds":{"duration_factor":0.1}`: {"/thresholds/duration_factor"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "rollout_invalid", with(more), pointers...)
	}
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post(rollouts, `{"version":"1.0.0","stages":[{}]}`), "/from")
	f.requireCode(http.StatusNotFound, "version_not_found", f.post(rollouts, `{"version":"9.0.0","stages":[{}]}`))
	f.requireCode(http.StatusNotFound, "version_not_found", with(`"stages":[{}],"from":"9.0.0"`))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.post("/v1/agents/acme/nothing/rollouts", staged))
	require.Empty(t, f.get(rollouts).json(t)["items"])
}

func TestRolloutSteps(t *testing.T) {
	t.Parallel()
	f := released(t)
	f.organization("globex")
	id := f.requireStatus(http.StatusCreated, f.post(rollouts, staged))["id"].(string)
	step := func(name, body string) answer { return f.post(rollouts+"/"+id+"/"+name, body) }
	is := func(got answer, status, reason string, stage int) {
		t.Helper()
		body := f.requireStatus(http.StatusOK, got)
		why, _ := body["reason"].(string)
		require.Equal(t, []any{status, reason, float64(stage)}, []any{body["status"], why, body["stage"]})
		loaded := f.get(rollouts + "/" + id).json(t)
		delete(loaded, "samples")
		require.Equal(t, body, loaded)
	}
	is(step("pause", `{"reason":"for lunch"}`), "paused", "for lunch", 1)
	is(step("pause", ""), "paused", "for lunch", 1)
	is(step("resume", ""), "running", "", 1)
	f.requireCode(http.StatusConflict, "rollout_stage", step("advance", `{"stage":2}`))
	is(step("advance", `{"stage":1}`), "running", "", 2)
	f.requireCode(http.StatusConflict, "rollout_stage", step("advance", `{"stage":1}`))
	for _, bad := range []string{`{}`, `{"stage":0}`, `{"stage":21}`} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", step("advance", bad), "/stage")
	}
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", step("advance", `{"stage":2,"reason":"x"}`), "/reason")
	require.EqualValues(t, 10, f.get(rollouts + "/" + id).json(t)["percent"])
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", step("rollback", `{"reason":"`+strings.Repeat("x", 1001)+`"}`), "/reason")
	is(step("rollback", `{"reason":"it does not greet"}`), "rolled_back", "it does not greet", 2)
	is(step("rollback", ""), "rolled_back", "it does not greet", 2)
	for _, name := range []string{"pause", "resume"} {
		f.requireCode(http.StatusConflict, "rollout_state", step(name, ""))
	}
	f.requireCode(http.StatusConflict, "rollout_state", step("advance", `{"stage":2}`))
	require.Equal(t, "1.0.0", f.get(greeter + "/versions/stable").json(t)["version"])

	id = f.requireStatus(http.StatusCreated, f.post(rollouts, `{"version":"2.0.0","stages":[{"percent":100}]}`))["id"].(string)
	is(step("advance", `{"stage":1}`), "completed", "all stages are passed", 1)
	f.requireCode(http.StatusConflict, "rollout_state", step("rollback", ""))
	require.Equal(t, "2.0.0", f.get(greeter + "/versions/stable").json(t)["version"])

	due, err := f.server.Control.DueRollouts(t.Context(), now.Add(time.Second), time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, due, 2, "the relay tells their workflows")
	require.Equal(t, []string{"rollout.advance", "rollout.create"}, f.items(f.get("/v1/organizations/acme/audit-log?subject="+id), "action"))
}

// TestRolloutSamples: what a rollout is judged by can be seen.
func TestRolloutSamples(t *testing.T) {
	t.Parallel()
	f := released(t)
	f.clock.advance(time.Since(now)) // runs are found by their identifiers, which are made now
	f.list("greeter", nil)
	_, reached := f.organization("globex")
	_, other := f.organization("initech")
	id := f.requireStatus(http.StatusCreated, f.post(rollouts, staged))["id"].(string)
	for i, reason := range []product.Reason{product.ReasonOK, "agent_error", product.ReasonOK, product.ReasonOK, product.ReasonCanceled} {
		token := []string{other, reached}[i%2]
		run := ids.Run(f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, token))["id"].(string))
		f.begin(run, 1)
		f.settle(run, reason, "")
	}
	for _, token := range []string{"", other} { // the publisher, and who is not reached
		run := ids.Run(f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"},"version":"2.0.0"}`, token))["id"].(string))
		f.begin(run, 1)
		f.settle(run, "agent_error", "")
	}
	samples := f.get(rollouts + "/" + id).json(t)["samples"].(map[string]any)
	require.Equal(t, []any{2.0, 0.0}, []any{field(samples, "from", "runs"), field(samples, "from", "failed")})
	require.Equal(t, []any{2.0, 1.0, 0.5}, []any{
		field(samples, "version", "runs"), field(samples, "version", "failed"), field(samples, "version", "failure_rate"),
	})
}

// TestRolloutThatAsksForMore: who has not agreed to what the new version asks for
// gets the old one, and is shown the update that waits.
func TestRolloutThatAsksForMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/channels/stable", `{"version":"1.0.0"}`, ""))
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", asking("2.0.0", "api.example.com:443")))
	f.list("greeter", nil)
	_, reached := f.organization("globex")
	f.requireStatus(http.StatusCreated, f.post(rollouts, staged))
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/installation", `{"channel":"stable"}`, reached))
	for range 2 { // nothing runs yet; the old version does
		agent := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", reached))
		require.Equal(t, "1.0.0", agent["version"])
		require.Equal(t, true, field(agent, "entitlement", "allowed"))
		require.Equal(t, []any{"2.0.0", true}, []any{field(agent, "update", "version"), field(agent, "update", "consent_required")})
		require.Equal(t, agent["update"], f.send(http.MethodGet, greeter+"/installation", "", reached).json(t)["update"])
		run := f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, reached)
		require.Equal(t, "1.0.0", f.requireStatus(http.StatusAccepted, run)["version"])
	}
}

// TestRolloutsOfOthers: for everybody but the publisher there are none.
func TestRolloutsOfOthers(t *testing.T) {
	t.Parallel()
	f := released(t)
	_, buyer := f.organization("globex")
	f.list("greeter", nil)
	id := f.requireStatus(http.StatusCreated, f.post(rollouts, staged))["id"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, rollouts, "", buyer))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, rollouts+"/"+id, "", buyer))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodPost, rollouts+"/"+id+"/rollback", "", buyer))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodPost, rollouts, staged, buyer))

	f.requireStatus(http.StatusCreated, f.post("/v1/agents", strings.Replace(publication("1.0.0"), `"greeter"`, `"other"`, 1)))
	for _, path := range []string{"/v1/agents/acme/other/rollouts/" + id, rollouts + "/rol_x", rollouts + "/" + string(ids.New[ids.Rollout](ids.PrefixRollout))} {
		f.requireCode(http.StatusNotFound, "rollout_not_found", f.get(path))
		f.requireCode(http.StatusNotFound, "rollout_not_found", f.post(path+"/rollback", ""))
	}
}

// TestRolloutChoosesForNewRuns: whom it reaches gets the new version with the next
// run, until it is rolled back. Nothing happens to a run that is there.
func TestRolloutChoosesForNewRuns(t *testing.T) {
	t.Parallel()
	f := released(t)
	f.list("greeter", nil)
	_, reached := f.organization("globex")
	_, other := f.organization("initech")
	starts := func(token string) map[string]any {
		return f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, token))
	}
	require.Equal(t, "1.0.0", starts(reached)["version"])
	id := f.requireStatus(http.StatusCreated, f.post(rollouts, staged))["id"].(string)
	going := starts(reached)
	require.Equal(t, "2.0.0", going["version"])
	require.Equal(t, "1.0.0", starts(other)["version"])
	f.requireStatus(http.StatusOK, f.post(rollouts+"/"+id+"/rollback", ""))
	require.Equal(t, "1.0.0", starts(reached)["version"])
	require.Equal(t, "2.0.0", f.send(http.MethodGet, "/v1/runs/"+going["id"].(string), "", reached).json(t)["version"])
}
