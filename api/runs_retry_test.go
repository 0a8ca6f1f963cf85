package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

func retryPath(run ids.Run) string { return "/v1/runs/" + string(run) + "/retry" }

func TestRetryRepeatsARun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	first := f.runOf(f.post(startPath, `{"input":{"prompt":"hello"},"labels":{"team":"x"},"priority":3,"run_timeout_seconds":60,
		"resources":{"cpu_millis":100},"retry":{"max_attempts":2}}`))
	f.requireCode(http.StatusConflict, "run_not_ended", f.post(retryPath(first.ID), ""))
	f.settle(first.ID, product.ReasonPlatformError, "")
	f.publish("2.0.0")

	got := f.post(retryPath(first.ID), "", "Idempotency-Key", "again")
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	second := f.runOf(got)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, "/v1/runs/"+string(second.ID), got.header.Get("Location"))
	require.Equal(t, product.Origin{Kind: product.OriginRetry, RetryOf: first.ID}, second.Origin)
	require.Equal(t, map[string]any{"kind": "retry", "retry_of": string(first.ID), "depth": 0.0}, got.json(t)["origin"])
	require.Equal(t, first.Labels, second.Labels)
	want := first.Request
	want.Version, want.VersionRule = "1.0.0", product.RuleRequest
	require.Equal(t, want, second.Request)
	require.Equal(t, "1.0.0", second.Version)
	input, err := f.runs.Input(t.Context(), second.ID)
	require.NoError(t, err)
	require.JSONEq(t, `{"prompt":"hello"}`, string(input))
	require.Contains(t, f.engine.starts, second.ID)

	repeat := f.post(retryPath(first.ID), "", "Idempotency-Key", "again")
	require.Equal(t, "true", repeat.header.Get("Idempotency-Replayed"))
	require.Equal(t, second.ID, f.runOf(repeat).ID)

	changed := f.runOf(f.post(retryPath(first.ID), `{"version":"latest","run_timeout_seconds":30,"max_cost":`+dollar+`}`))
	require.Equal(t, "2.0.0", changed.Version)
	require.Equal(t, 30*time.Second, changed.Request.RunTimeout)
	require.EqualValues(t, 1_000_000, changed.Request.MaxCost.Micros)
	require.Equal(t, "1.0.0", f.runOf(f.post(retryPath(first.ID), `{"version":"same"}`)).Version)
	f.requireCode(http.StatusNotFound, "version_not_found", f.post(retryPath(first.ID), `{"version":"9.9.9"}`))
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post(retryPath(first.ID), `{"run_timeout_seconds":0}`), "/run_timeout_seconds")
	f.requireCode(http.StatusNotFound, "run_not_found", f.post(retryPath(ids.New[ids.Run](ids.PrefixRun)), ""))
}

// A run is retried under the rights of who retries it.
func TestRetryIsForTheCaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	team, ofAda := f.inTeam("research", "ada@example.com")
	bob, ofBob := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	run := f.runOf(f.send(http.MethodPost, startPath, hello, ofAda))
	require.Equal(t, team, run.TeamID)
	f.settle(run.ID, product.ReasonOK, "1")
	require.Equal(t, team, f.runOf(f.send(http.MethodPost, retryPath(run.ID), "", ofAda)).TeamID)
	his := f.runOf(f.send(http.MethodPost, retryPath(run.ID), "", ofBob))
	require.Equal(t, bob.User.ID, his.UserID)
	require.Empty(t, his.TeamID, "he is not in it")
	_, stranger := f.organization("stranger")
	f.requireCode(http.StatusNotFound, "run_not_found", f.send(http.MethodPost, retryPath(run.ID), "", stranger))
}

func TestRetryNeedsTheInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	f.update(run, func(r *product.Run) []*product.Event {
		return []*product.Event{r.Planned(product.Plan{Version: "1.0.0", Image: image, Retention: product.Retention{Input: time.Hour}, ResolvedAt: now}, now)}
	})
	f.settle(run, product.ReasonPolicyDenied, "")
	made := f.runOf(f.post(retryPath(run), "", "Idempotency-Key", "again"))
	require.NoError(t, f.server.Bodies.DataRemoved(t.Context(), run, now.Add(2*time.Hour)))
	f.requireCode(http.StatusNotFound, "data_removed", f.post(retryPath(run), ""))
	f.requireCode(http.StatusNotFound, "data_removed", f.post(retryPath(run), "", "Idempotency-Key", "another"))
	f.requireCode(http.StatusUnprocessableEntity, "idempotency_key_reused",
		f.post(retryPath(run), `{"run_timeout_seconds":1}`, "Idempotency-Key", "again"), "Idempotency-Key")
	repeat := f.post(retryPath(run), "", "Idempotency-Key", "again")
	require.Equal(t, "true", repeat.header.Get("Idempotency-Replayed"), repeat.text)
	require.Equal(t, made.ID, f.runOf(repeat).ID)
	require.Equal(t, now.Add(2*time.Hour).Format(time.RFC3339), f.get("/v1/runs/" + string(run)).json(t)["data_removed_at"])
	require.Equal(t, 2, f.countRuns(f.org.ID))
}

func TestListRunsOfASchedule(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run, err := f.runs.Run(t.Context(), f.started())
	require.NoError(t, err)
	schedule := ids.New[ids.Schedule](ids.PrefixSchedule)
	run.ID, run.Labels = ids.New[ids.Run](ids.PrefixRun), nil
	run.Origin = product.Origin{Kind: product.OriginSchedule, ScheduleID: schedule}
	made, _, err := f.runs.CreateRun(t.Context(), run, []byte(`{}`), nil)
	require.NoError(t, err)
	require.Equal(t, []string{string(made.ID)}, f.items(f.get("/v1/runs?schedule="+string(schedule)), "id"))
	require.Empty(t, f.items(f.get("/v1/runs?schedule="+string(ids.New[ids.Schedule](ids.PrefixSchedule))), "id"))
	require.Empty(t, f.items(f.get("/v1/runs?schedule=nonsense"), "id"))
	require.Len(t, f.items(f.get("/v1/runs?status=queued&status=waiting_approval"), "id"), 2)
	_, stranger := f.organization("stranger")
	require.Empty(t, f.items(f.send(http.MethodGet, "/v1/runs?schedule="+string(schedule), "", stranger), "id"))
}
