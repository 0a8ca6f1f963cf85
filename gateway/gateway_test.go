package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

func TestWhoCalls(t *testing.T) {
	f := newFixture(t)
	_, token := f.going(1)
	require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/heartbeat", "").status)
	require.Equal(t, "token_missing", f.call("", "POST", "/v1/heartbeat", "").code(t))
	require.Equal(t, "token_invalid", f.call("other", "POST", "/v1/heartbeat", "").code(t))
	require.Equal(t, "call_unknown", f.call(token, "GET", "/v1/nothing", "").code(t))
	require.Equal(t, http.StatusNoContent, f.call("", "GET", "/livez", "").status)
	require.Equal(t, http.StatusNoContent, f.call("", "GET", "/readyz", "").status)
	f.ready = false
	require.Equal(t, http.StatusServiceUnavailable, f.call("", "GET", "/readyz", "").status)
}

func TestRunAndInput(t *testing.T) {
	f := newFixture(t)
	run, token := f.going(2)
	got := f.call(token, "GET", "/v1/run", "")
	require.Equal(t, http.StatusOK, got.status)
	var about agentruntime.GatewayRun
	require.NoError(t, json.Unmarshal([]byte(got.text), &about))
	require.Equal(t, agentruntime.GatewayRun{
		Run: string(run.ID), Attempt: 2, Agent: run.Agent, Version: run.Version, Tools: []string{}, Models: []string{}, Secrets: []string{}, SecretFiles: []string{}, Egress: []string{},
	}, about)
	require.JSONEq(t, `{"a":1}`, f.call(token, "GET", "/v1/input", "").text)
}

// calls are all calls of an attempt, each as it should be.
func calls(run product.Run, attempt int) map[string][4]string {
	zero := 0
	envelope := agentruntime.Envelope{V: 1, Run: run.ID, Attempt: attempt, Outcome: agentruntime.OK, ExitCode: &zero,
		StartedAt: time.Unix(1, 0), FinishedAt: time.Unix(2, 0)}
	envelope.SetResult([]byte(`1`))
	report, _ := envelope.Encode()
	key := `k`
	return map[string][4]string{
		"run":       {"GET", "/v1/run", ""},
		"input":     {"GET", "/v1/input", ""},
		"secrets":   {"GET", "/v1/secret-files", ""},
		"events":    {"POST", "/v1/events", `{"events":[{"type":"note"}]}`},
		"nothing":   {"POST", "/v1/events", `{"events":[]}`},
		"heartbeat": {"POST", "/v1/heartbeat", ""},
		"result":    {"PUT", "/v1/result", `1`},
		"artifact":  {"PUT", "/v1/artifacts/a.txt", `1`},
		"charge":    {"POST", "/v1/charges", `{"event":"page","count":1}`, key},
		"child":     {"POST", "/v1/runs", `{"agent":"a/b","input":{}}`, key},
		"children":  {"GET", "/v1/runs/" + string(run.ID), ""},
		"end":       {"POST", "/v1/end", string(report)},
	}
}

// TestNothingOfWhatIsOver: an attempt that is canceled, replaced, ended or reported gets
// nothing and does nothing any more.
func TestNothingOfWhatIsOver(t *testing.T) {
	f := newFixture(t)
	for name, over := range map[string]func(run product.Run, token string){
		"canceled": func(run product.Run, _ string) { f.cancel(run.ID) },
		"replaced": func(run product.Run, _ string) {
			f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
				e, err := r.BeginAttempt(2, f.now)
				return []*product.Event{e}, err
			})
		},
		"ended": func(run product.Run, _ string) {
			f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
				return []*product.Event{r.AttemptEnded(1, product.End{Reason: product.ReasonOK}, f.now)}, nil
			})
		},
		"settled": func(run product.Run, _ string) {
			f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
				return []*product.Event{r.Settle(product.ReasonOK, "", f.now)}, nil
			})
		},
		"reported": func(run product.Run, token string) {
			end := calls(run, 1)["end"]
			require.Equal(t, http.StatusNoContent, f.call(token, end[0], end[1], end[2]).status)
		},
	} {
		t.Run(name, func(t *testing.T) {
			run, token := f.going(1)
			over(run, token)
			ended := len(f.ended)
			for what, c := range calls(run, 1) {
				if name == "reported" && what == "end" {
					continue // a repeat is no other report
				}
				got := f.call(token, c[0], c[1], c[2], "Idempotency-Key", c[3])
				require.Equal(t, product.CodeSessionClosed, got.code(t), what)
				require.Equal(t, http.StatusConflict, got.status)
			}
			require.Len(t, f.ended, ended)
			require.Empty(t, f.charges)
			require.Empty(t, f.children)
			left, err := f.db.Runs().Artifacts(t.Context(), run.ID)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestEvents(t *testing.T) {
	f := newFixture(t)
	run, token := f.going(1)
	got := f.call(token, "POST", "/v1/events", `{"events":[
		{"type":"progress","percent":0},{"type":"progress","percent":100,"message":"line one\nline two \u001b[31m","data":[1]},
		{"type":"note","message":"hello","data":null},{"type":"note","data":{"a":"\u0000"}}]}`)
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	require.JSONEq(t, `{"accepted":4}`, got.text)
	log, err := f.db.Runs().Events(t.Context(), run.ID, 0, 0)
	require.NoError(t, err)
	var told []string
	for _, e := range log[len(log)-4:] {
		require.Equal(t, f.now.Truncate(time.Microsecond), e.At, "the time is the gateway's")
		require.Equal(t, 1, e.Attempt)
		told = append(told, fmt.Sprintf("%s %q %s", e.Type, e.Message, e.Data))
	}
	require.Equal(t, []string{
		`agent_progress "" {"percent":0}`, `agent_progress "line one line two  [31m" {"percent":100,"data":[1]}`,
		`agent_note "hello" `, `agent_note "" {"a":"\u0000"}`,
	}, told)

	large := strings.Repeat("x", agentruntime.MaxEventData)
	for name, tt := range map[string]struct{ body, code, at string }{
		"no JSON":           {`{`, "body_invalid", ""},
		"empty":             {``, "body_invalid", ""},
		"no UTF-8":          {"{\"events\":[{\"type\":\"note\",\"data\":\"\xff\"}]}", "body_invalid", ""},
		"two values":        {`{"events":[]}{}`, "body_invalid", ""},
		"an unknown field":  {`{"events":[{"type":"note","at":"2026-01-01T00:00:00Z"}]}`, "body_invalid", ""},
		"a type of ours":    {`{"events":[{"type":"ended"}]}`, "events_invalid", "/events/0/type"},
		"percent of a note": {`{"events":[{"type":"note","percent":1}]}`, "events_invalid", "/events/0/percent"},
		"no percent":        {`{"events":[{"type":"note"},{"type":"progress"}]}`, "events_invalid", "/events/1/percent"},
		"101 percent":       {`{"events":[{"type":"progress","percent":101}]}`, "events_invalid", "/events/0/percent"},
		"much data":         {`{"events":[{"type":"note","data":"` + large + `"}]}`, "events_invalid", "/events/0/data"},
		"many":              {`{"events":[` + strings.Repeat(`{"type":"note"},`, agentruntime.MaxEvents) + `{"type":"note"}]}`, "events_invalid", "/events"},
		"a large body":      {`{"events":[{"type":"note","message":"` + strings.Repeat("x", 1<<20) + `"}]}`, "body_too_large", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.call(token, "POST", "/v1/events", tt.body)
			require.Equal(t, tt.code, got.code(t))
			require.Contains(t, got.text, tt.at)
			again, err := f.db.Runs().Events(t.Context(), run.ID, 0, 0)
			require.NoError(t, err)
			require.Len(t, again, len(log), "all or nothing")
		})
	}
}

// TestEventsOfManyAtOnce: what is answered with success is there, once.
func TestEventsOfManyAtOnce(t *testing.T) {
	f := newFixture(t)
	var group sync.WaitGroup
	for range 8 {
		run, token := f.going(1)
		group.Go(func() {
			for i := range 20 {
				got := f.call(token, "POST", "/v1/events", fmt.Sprintf(`{"events":[{"type":"note","message":"%d"}]}`, i))
				if got.status != http.StatusAccepted {
					t.Errorf("event %d: %d %s", i, got.status, got.text)
				}
			}
			log, err := f.db.Runs().Events(t.Context(), run.ID, 0, 0)
			var told []string
			for _, e := range log {
				if e.Type == product.EventAgentNote {
					told = append(told, e.Message)
				}
			}
			if err != nil || len(told) != 20 || told[19] != "19" {
				t.Errorf("%v, %v", err, told)
			}
		})
	}
	group.Wait()
}

func TestArtifacts(t *testing.T) {
	f := newFixture(t)
	run, token := f.going(1)
	for _, body := range []string{"first", "second"} {
		got := f.call(token, "PUT", "/v1/artifacts/report.txt", body, "Content-Type", "text/plain; charset=utf-8")
		require.Equal(t, http.StatusOK, got.status, got.text)
		require.Contains(t, got.text, fmt.Sprintf(`"size":%d`, len(body)))
	}
	f.call(token, "PUT", "/v1/artifacts/raw", "", "Content-Type", "what/ever; ;")
	left, err := f.db.Runs().Artifacts(t.Context(), run.ID)
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.Equal(t, []string{"raw", "application/octet-stream", "report.txt", "text/plain"},
		[]string{left[0].Name, left[0].ContentType, left[1].Name, left[1].ContentType})
	body, err := f.blobs.Get(t.Context(), left[1].Blob)
	require.NoError(t, err)
	require.Equal(t, "second", string(body))
	all, err := f.db.Runs().AllArtifacts(t.Context(), run.ID)
	require.NoError(t, err)
	for _, a := range all {
		if a.Blob.Key != left[0].Blob.Key && a.Blob.Key != left[1].Blob.Key {
			_, err = f.blobs.Reader(t.Context(), a.Blob.Key)
			require.True(t, fault.Is(err, fault.NotFound), "what was replaced is removed")
		}
	}
	for _, name := range []string{"..", ".hidden", ".result", "a%2Fb", "..%2F..%2Fetc", "a%00b", "a%0Ab", "%2e%2e", strings.Repeat("a", 129), "ä", "a b", "-rf"} {
		got := f.call(token, "PUT", "/v1/artifacts/"+strings.ReplaceAll(name, " ", "%20"), "x")
		require.Contains(t, []int{http.StatusUnprocessableEntity, http.StatusNotFound}, got.status, name)
	}
	after, err := f.db.Runs().AllArtifacts(t.Context(), run.ID)
	require.NoError(t, err)
	require.Len(t, after, len(all))
}

func TestBodiesThatAreTooLargeOrEndEarly(t *testing.T) {
	f := newFixture(t)
	run, token := f.going(1)
	f.update(run.ID, func(r *product.Run) ([]*product.Event, error) { r.Plan.MaxOutputBytes = 10; return nil, nil })
	require.Equal(t, "body_too_large", f.call(token, "PUT", "/v1/result", `"0123456789"`).code(t))
	// Without a length, as in pieces.
	require.Equal(t, "body_too_large", f.send(token, "PUT", "/v1/result", io.MultiReader(strings.NewReader(`"0123456789"`))).code(t))

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.http.URL+"/v1/artifacts/a", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.ContentLength = 8
	_, err = f.http.Client().Do(request)
	require.Error(t, err)
	require.Eventually(t, func() bool { return f.call(token, "POST", "/v1/heartbeat", "").status == http.StatusNoContent }, 5*time.Second, time.Millisecond, "it goes on")
	left, err := f.db.Runs().Artifacts(t.Context(), run.ID)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestEnd(t *testing.T) {
	f := newFixture(t)
	report := func(run product.Run, change func(*agentruntime.Envelope)) string {
		zero := 0
		e := agentruntime.Envelope{V: 1, Run: run.ID, Attempt: 1, Outcome: agentruntime.OK, ExitCode: &zero,
			StartedAt: time.Unix(1, 0), FinishedAt: f.now.Add(time.Hour)}
		e.SetResult([]byte(`{"a":1}`))
		change(&e)
		text, err := json.Marshal(e)
		require.NoError(t, err)
		return string(text)
	}
	same := func(*agentruntime.Envelope) {}
	large := []byte(`"` + strings.Repeat("x", 10_000) + `"`)
	stored := func(e *agentruntime.Envelope) {
		e.Result = nil
		e.SetResult(large)
		e.Stored = true
	}

	t.Run("the engine is told, at the times of the gateway", func(t *testing.T) {
		run, token := f.going(1)
		began := run.Attempts[0].CreatedAt
		for range 2 { // the answer may be lost
			require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/end", report(run, same)).status)
		}
		last := f.ended[len(f.ended)-1]
		require.Equal(t, infra.ReasonOK, last.Reason)
		require.True(t, last.Reported)
		require.Equal(t, began.UTC(), last.StartedAt, "not before it began")
		require.Equal(t, f.now, last.FinishedAt, "not later than now")
	})
	t.Run("an engine that is away is told by the watch", func(t *testing.T) {
		run, token := f.going(1)
		f.endErr = fault.New(fault.Unavailable, "", "away")
		require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/end", report(run, same)).status)
		f.endErr = nil
	})
	t.Run("with a result that was stored", func(t *testing.T) {
		run, token := f.going(1)
		f.update(run.ID, func(r *product.Run) ([]*product.Event, error) { r.Plan.MaxOutputBytes = 1 << 20; return nil, nil })
		require.Equal(t, "result_missing", f.call(token, "POST", "/v1/end", report(run, stored)).code(t))
		require.Equal(t, http.StatusOK, f.call(token, "PUT", "/v1/result", string(large)).status)
		require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/end", report(run, stored)).status)
	})
	told := len(f.ended)
	for name, tt := range map[string]struct {
		change func(*agentruntime.Envelope)
		code   string
	}{
		"of another attempt": {func(e *agentruntime.Envelope) { e.Attempt = 2 }, "another_attempt"},
		"of another run":     {func(e *agentruntime.Envelope) { e.Run = ids.New[ids.Run](ids.PrefixRun) }, "another_attempt"},
		"a fault of ours":    {func(e *agentruntime.Envelope) { *e = failed(*e, agentruntime.PlatformError) }, "report_inconclusive"},
		"a deadline":         {func(e *agentruntime.Envelope) { *e = failed(*e, agentruntime.DeadlineExceeded) }, "report_inconclusive"},
		"in the log":         {func(e *agentruntime.Envelope) { stored(e); e.Stored, e.Frame = false, strings.Repeat("0", 32) }, "report_inconclusive"},
		"not itself":         {func(e *agentruntime.Envelope) { e.ResultSize = 3 }, "envelope_invalid"},
		"too large":          {func(e *agentruntime.Envelope) { e.Result = bytes.Repeat([]byte("1"), 5000) }, "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			run, token := f.going(1)
			require.Equal(t, tt.code, f.call(token, "POST", "/v1/end", report(run, tt.change)).code(t))
			require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/heartbeat", "").status, "it goes on")
			require.Len(t, f.ended, told)
		})
	}
}

// failed is a report of a failure.
func failed(e agentruntime.Envelope, outcome agentruntime.Outcome) agentruntime.Envelope {
	return agentruntime.Envelope{V: 1, Run: e.Run, Attempt: e.Attempt, Outcome: outcome, StartedAt: e.StartedAt, FinishedAt: e.FinishedAt}
}

func TestCharges(t *testing.T) {
	f := newFixture(t)
	run, token := f.going(1)
	f.chargeFn = func() (marketplace.EventCharge, error) {
		return marketplace.EventCharge{Amount: money.Of(1500, "USD")}, nil
	}
	got := f.call(token, "POST", "/v1/charges", `{"event":"page","count":3}`, "Idempotency-Key", "k1")
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"amount_micros":1500,"currency":"USD"}`, got.text)
	require.Equal(t, []string{string(run.ID) + " k1 page"}, f.charges)
	for name, tt := range map[string]struct{ body, key, code string }{
		"no key":       {`{"event":"page","count":1}`, "", "idempotency_key_invalid"},
		"a long key":   {`{"event":"page","count":1}`, strings.Repeat("k", 129), "idempotency_key_invalid"},
		"no event":     {`{"count":1}`, "k", "charge_invalid"},
		"a long event": {`{"event":"` + strings.Repeat("p", 65) + `","count":1}`, "k", "charge_invalid"},
		"none":         {`{"event":"page","count":0}`, "k", "charge_invalid"},
		"back":         {`{"event":"page","count":-1}`, "k", "charge_invalid"},
		"a price":      {`{"event":"page","count":1,"amount_micros":1}`, "k", "body_invalid"},
		"very many":    {`{"event":"page","count":1e30}`, "k", "body_invalid"},
	} {
		require.Equal(t, tt.code, f.call(token, "POST", "/v1/charges", tt.body, "Idempotency-Key", tt.key).code(t), name)
	}
	require.Len(t, f.charges, 1)
	f.chargeFn = func() (marketplace.EventCharge, error) {
		return marketplace.EventCharge{}, fault.New(fault.PaymentRequired, "budget_reached", "no more")
	}
	require.Equal(t, http.StatusPaymentRequired, f.call(token, "POST", "/v1/charges", `{"event":"page","count":1}`, "Idempotency-Key", "k2").status)
}

func TestChildren(t *testing.T) {
	f := newFixture(t)
	run, token := f.going(1)
	child := product.Run{ID: ids.New[ids.Run](ids.PrefixRun), Agent: "acme/reviewer", Status: product.StatusQueued}
	f.childFn = func(launch.Start) (product.Run, error) { return child, nil }
	got := f.call(token, "POST", "/v1/runs", `{"agent":"acme/reviewer","version":"1.0.0","input":{"a":1}}`, "Idempotency-Key", "k")
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	require.Equal(t, []ids.Run{child.ID}, f.started)
	start := f.children[0]
	require.Equal(t, run.OrgID, start.OrgID)
	require.Equal(t, product.Origin{Kind: product.OriginChild, ParentID: run.ID}, start.Origin)
	require.Equal(t, string(run.ID)+"/k", start.Key.Key, "of this run alone")
	require.JSONEq(t, `{"a":1}`, string(start.Input))

	for name, body := range map[string]string{
		"no agent":   `{"input":{}}`,
		"no name":    `{"agent":"acme/","input":{}}`,
		"no input":   `{"agent":"acme/reviewer"}`,
		"an org":     `{"agent":"acme/reviewer","input":{},"org_id":"org_1"}`,
		"a parent":   `{"agent":"acme/reviewer","input":{},"parent":"run_1"}`,
		"a long one": `{"agent":"` + strings.Repeat("a", 100) + `/b","input":{}}`,
	} {
		got := f.call(token, "POST", "/v1/runs", body, "Idempotency-Key", "k")
		require.Equal(t, http.StatusUnprocessableEntity, got.status, name)
	}
	require.Len(t, f.children, 1)

	other, _ := f.going(1) // of the same organization, but not a child
	for _, id := range []string{string(other.ID), string(run.ID), "run_none", string(ids.New[ids.Run](ids.PrefixRun))} {
		require.Equal(t, "child_not_found", f.call(token, "GET", "/v1/runs/"+id, "").code(t), id)
	}
}

func TestLimitsOfARun(t *testing.T) {
	f := newFixture(t)
	_, token := f.going(1)
	_, other := f.going(1)
	refused := 0
	for range 250 {
		if got := f.call(token, "POST", "/v1/heartbeat", ""); got.status == http.StatusTooManyRequests {
			require.Equal(t, "too_many_calls", got.code(t))
			require.NotEmpty(t, got.header.Get("Retry-After"))
			refused++
		}
	}
	require.Equal(t, 50, refused, "the clock stands still")
	require.Equal(t, http.StatusNoContent, f.call(other, "POST", "/v1/heartbeat", "").status, "a neighbor does not notice")
}
