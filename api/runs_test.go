package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/marketplace"
	"agentmarket/product"
)

const (
	startPath = "/v1/agents/acme/greeter/runs"
	hello     = `{"input":{"prompt":"hello"}}`
)

func TestStartStoresARunAndTellsTheEngine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	got := f.post(startPath, `{"input":{"prompt":"hello", "n": 1.50},"run_timeout_seconds":60,"queue_timeout_seconds":90,"labels":{"team":"x"}}`)
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	body := got.json(t)
	id := ids.Run(body["id"].(string))
	require.Equal(t, "/v1/runs/"+string(id), got.header.Get("Location"))
	require.Empty(t, got.header.Get("Preference-Applied"))
	require.Equal(t, "queued", body["status"])
	require.Equal(t, "acme/greeter", body["agent"])
	require.Equal(t, "1.0.0", body["version"])
	require.Equal(t, strings.Split(image, "@")[1], body["image_digest"])
	require.Equal(t, "http://temporal.test/namespaces/default/workflows/"+string(id), body["urls"].(map[string]any)["temporal"])

	run, err := f.runs.Run(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, f.org.ID, run.OrgID)
	require.True(t, ids.Valid(ids.PrefixKey, string(run.KeyID)))
	require.Equal(t, product.Request{RunTimeout: time.Minute, QueueTimeout: 90 * time.Second, VersionRule: product.RuleLatest}, run.Request)
	require.Equal(t, now.Add(90*time.Second), run.QueueDeadline)
	require.Equal(t, map[string]string{"team": "x"}, run.Labels)
	input, err := f.runs.Input(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, `{"prompt":"hello", "n": 1.50}`, string(input))
	require.Equal(t, []ids.Run{id}, f.engine.starts)
	due, err := f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, due, "the engine knows the run")
}

func TestStartAnswersWhileTheEngineIsDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.engine.set(func(e *engine) { e.hang = true })
	began := time.Now()
	got := f.post(startPath, hello)
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	require.Less(t, time.Since(began), 10*time.Second)
	require.NotContains(t, got.text, "secret address")
	due, err := f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "the run is left to the relay")
}

func TestDisconnectingStopsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	request := f.request(ctx, call{method: http.MethodPost, path: startPath, body: hello, header: map[string]string{"Prefer": "wait=30"}})
	go func() {
		_, err := http.DefaultClient.Do(request)
		left <- err
	}()
	// Leaves when the run is there, while the answer waits for its end.
	require.Eventually(t, func() bool { return f.countRuns(f.org.ID) == 1 }, 10*time.Second, time.Millisecond, "the run is stored")
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Eventually(t, func() bool {
		due, err := f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), 0, 10)
		return err == nil && len(due) == 0
	}, 5*time.Second, 10*time.Millisecond, "the engine is told although the client left")
	found, err := f.runs.Runs(t.Context(), f.org.ID, product.RunQuery{})
	require.NoError(t, err)
	require.Nil(t, found[0].Cancel)
	require.Equal(t, product.StatusQueued, found[0].Status)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	first := f.post(startPath, `{"input":{"prompt":"hello","list":[1]},"version":"latest"}`, "Idempotency-Key", "k-1")
	require.Equal(t, http.StatusAccepted, first.status, first.text)
	require.Empty(t, first.header.Get("Idempotency-Replayed"))

	again := f.post(startPath, `{ "version" : "latest", "input":{"list":[1],"prompt":"hello"}}`, "Idempotency-Key", "k-1")
	require.Equal(t, http.StatusAccepted, again.status, again.text)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	require.Equal(t, first.json(t)["id"], again.json(t)["id"])
	require.Equal(t, 1, f.countRuns(f.org.ID))

	other := f.post(startPath, hello, "Idempotency-Key", "k-1")
	requireProblem(t, want{422, "idempotency_key_reused", "The idempotency key belongs to another request",
		"the idempotency key was used before for another request",
		[][2]string{{"Idempotency-Key", "was used before for another request"}}, nil, nil}, startPath, other)
	require.Equal(t, 1, f.countRuns(f.org.ID))

	f.settle(ids.Run(first.json(t)["id"].(string)), product.ReasonOK, `"done"`)
	waited := f.post(startPath, `{"input":{"prompt":"hello","list":[1]},"version":"latest"}`, "Idempotency-Key", "k-1", "Prefer", "wait")
	require.Equal(t, http.StatusCreated, waited.status, waited.text)
	require.Equal(t, "true", waited.header.Get("Idempotency-Replayed"))
	require.Equal(t, "done", waited.json(t)["output"])
}

func TestPreferWaitSeesTheEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.engine.set(func(e *engine) {
		e.started = func(id ids.Run) { // plays the worker
			f.begin(id, 1)
			f.endAttempt(id, 1, infra.ReasonOK, "log")
			f.settle(id, product.ReasonOK, `{"answer":42}`)
		}
	})
	got := f.post(startPath, hello, "Prefer", "respond-async, wait=20")
	require.Equal(t, http.StatusCreated, got.status, got.text)
	require.Equal(t, "wait=20", got.header.Get("Preference-Applied"))
	require.NotEmpty(t, got.header.Get("Location"))
	body := got.json(t)
	require.Equal(t, "succeeded", body["status"])
	require.Equal(t, map[string]any{"answer": float64(42)}, body["output"])
	require.Len(t, body["attempts"], 1)
}

func TestPreferWaitTimesOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	got := f.post(startPath, hello, "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	require.Equal(t, "wait=1", got.header.Get("Preference-Applied"))
	got = f.post(startPath, hello, "Prefer", "wait=soon")
	require.Equal(t, http.StatusAccepted, got.status)
	require.Empty(t, got.header.Get("Preference-Applied"))
}

// A deadline of the connection that passes must not look like a client that left.
func TestWaitOutlastsTheTimeoutsOfTheServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.http.Close()
	f.http = serveWithReadTimeout(t, f, 300*time.Millisecond)
	f.publish("1.0.0")
	got := f.post(startPath, hello, "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	require.NotContains(t, f.log.String(), `"client_gone":true`)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	path := "/v1/runs/" + string(run) + "/cancel"
	f.engine.set(func(e *engine) { e.down = fault.New(fault.Unavailable, "", "secret") })
	got := f.post(path, `{"reason":"no longer needed","grace_seconds":30}`)
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	body := got.json(t)
	require.Equal(t, "canceling", body["status"])
	receipt := body["cancel"].(map[string]any)
	require.Equal(t, "no longer needed", receipt["reason"])
	require.EqualValues(t, 30, receipt["grace_seconds"])
	require.Equal(t, false, receipt["forced"])
	require.Equal(t, now.Format(time.RFC3339), receipt["signaled_at"])
	require.True(t, ids.Valid(ids.PrefixKey, receipt["requested_by"].(string)))
	due, err := f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), 0, 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "the cancel is left to the relay")

	f.engine.set(func(e *engine) { e.down = nil })
	got = f.post(path, "")
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	require.Equal(t, "no longer needed", got.json(t)["cancel"].(map[string]any)["reason"], "the first request stands")
	require.Len(t, f.engine.cancels, 1)
	require.Equal(t, 30*time.Second, *f.engine.cancels[0].Grace)
	due, err = f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), 0, 10)
	require.NoError(t, err)
	require.Empty(t, due)
}

func TestOutputPlanAndReceipt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	f.update(run, func(r *product.Run) []*product.Event {
		return []*product.Event{r.Planned(product.Plan{Version: "1.0.0", Image: image, Command: []string{"/greeter"},
			Deadlines: product.Deadlines{Run: time.Minute}, ResolvedAt: now}, now)}
	})
	f.begin(run, 1)
	path := "/v1/runs/" + string(run)
	require.Equal(t, now.Add(time.Minute).Format(time.RFC3339), f.get(path).json(t)["deadline"])
	require.EqualValues(t, 60, f.get(path + "/plan").json(t)["deadlines"].(map[string]any)["run_seconds"])

	large := `"` + strings.Repeat("x", 64<<10) + `"`
	f.endAttempt(run, 1, infra.ReasonOK, "log")
	f.settle(run, product.ReasonOK, large)
	body := f.get(path).json(t)
	require.NotContains(t, body, "output", "larger than what is shown inline")
	require.EqualValues(t, len(large), body["output_bytes"])
	require.Equal(t, false, body["log_truncated"])
	output := f.get(path + "/output")
	require.Equal(t, large, output.text)
	require.Equal(t, "application/json", output.header.Get("Content-Type"))
}

func TestListRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	var all []string
	for i := range 5 {
		got := f.post(startPath, fmt.Sprintf(`{"input":{"prompt":"x"},"labels":{"parity":"%d","a.b":"y"}}`, i%2))
		all = append([]string{got.json(t)["id"].(string)}, all...)
	}
	f.settle(ids.Run(all[0]), product.ReasonOK, "1")
	_, stranger := f.organization("stranger")

	list := func(query string) (found []string, next string) {
		got := f.get("/v1/runs?" + query)
		require.Equal(t, http.StatusOK, got.status, got.text)
		body := got.json(t)
		for _, item := range body["items"].([]any) {
			run := item.(map[string]any)
			require.NotContains(t, run, "attempts")
			require.NotContains(t, run, "output")
			found = append(found, run["id"].(string))
		}
		next, _ = body["next_cursor"].(string)
		return found, next
	}
	found, next := list("")
	require.Equal(t, all, found)
	require.Empty(t, next)
	page1, next := list("limit=2")
	page2, next2 := list("limit=2&cursor=" + next)
	page3, end := list("limit=2&cursor=" + next2)
	require.Equal(t, all, append(append(page1, page2...), page3...))
	require.Empty(t, end)
	found, _ = list("label.parity=1&label.a.b=y")
	require.Equal(t, []string{all[1], all[3]}, found)
	found, _ = list("status=succeeded&status=failed")
	require.Equal(t, all[:1], found)
	found, _ = list("agent=acme/nobody")
	require.Empty(t, found)
	found, _ = list("created_after=" + url.QueryEscape(now.Add(time.Second).Format(time.RFC3339)))
	require.Empty(t, found)
	found, _ = list("created_after=2020-01-01T00:00:00Z&created_before=2030-01-01T00:00:00%2B01:00")
	require.Len(t, found, 5)
	got := f.do(call{method: http.MethodGet, path: "/v1/runs", token: stranger})
	require.JSONEq(t, `{"items":[],"next_cursor":null}`, got.text)
}

func TestSmokeTest(t *testing.T) {
	t.Parallel()
	smoke := &api.SmokeTest{Agent: "acme/greeter"}
	f := newFixture(t, func(s *api.Server) { s.SmokeTest = smoke })
	f.publish("1.0.0")
	const body = `{"prompt":"hello world"}`
	keyless := call{method: http.MethodPost, path: "/schedule-job", body: body, noToken: true}
	require.Equal(t, http.StatusUnauthorized, f.do(keyless).status, "no organization is configured")

	got := f.post("/schedule-job", body)
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	answer := got.json(t)
	run := ids.Run(answer["run_id"].(string))
	require.Equal(t, map[string]any{
		"run_id": string(run), "job_name": infra.Ref{Run: run, Attempt: 1}.Name(),
		"namespace": "agentmarket-runs", "status": "queued",
	}, answer)
	input, err := f.runs.Input(t.Context(), run)
	require.NoError(t, err)
	require.JSONEq(t, body, string(input))

	smoke.OrgID = f.org.ID
	require.Equal(t, http.StatusAccepted, f.do(keyless).status)
	proxied := keyless
	proxied.header = map[string]string{"X-Forwarded-For": "198.51.100.7"}
	require.Equal(t, http.StatusUnauthorized, f.do(proxied).status)
	wrong := keyless
	wrong.noToken, wrong.token = false, "amk_wrong"
	require.Equal(t, http.StatusUnauthorized, f.do(wrong).status, "a bad key is never ignored")
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.RateLimit = api.RateLimit{PerSecond: 0.5, Burst: 2} })
	got := f.get("/v1/runs")
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, []string{"2", "1", "2"}, []string{got.header.Get("RateLimit-Limit"),
		got.header.Get("RateLimit-Remaining"), got.header.Get("RateLimit-Reset")})
	f.get("/v1/runs")
	requireProblem(t, want{429, "rate_limited", "Too many requests", "this API key has made too many requests", nil, nil,
		map[string]string{"Retry-After": "2", "RateLimit-Remaining": "0", "RateLimit-Reset": "4"}}, "/v1/runs", f.get("/v1/runs"))
	other := f.key(f.org.ID, nil, marketplace.ScopeRunsRead)
	require.Equal(t, http.StatusOK, f.do(call{method: http.MethodGet, path: "/v1/runs", token: other}).status)
}

func TestTouchIsRecordedBesideTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 5 {
		require.Equal(t, http.StatusOK, f.get("/v1/runs").status)
	}
	touched := func() (n int) { f.market.set(func(o *layer1) { n = o.touched }); return n }
	require.Eventually(t, func() bool { return touched() == 1 }, 5*time.Second, 10*time.Millisecond, "one use a minute is recorded")
}
