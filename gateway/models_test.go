package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/gateway"
	"agentmarket/gateway/models"
	"agentmarket/infra"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// modelFixture is a gateway with one model, whose upstream is answered by a function.
func modelFixture(t *testing.T, answers http.HandlerFunc) *fixture {
	t.Helper()
	upstream := httptest.NewServer(answers)
	t.Cleanup(upstream.Close)
	return newFixtureWith(t, storetest.SQLite(t), gateway.Models{
		Client: upstream.Client(),
		Catalog: models.Catalog{
			Models:    []models.Model{{Name: "small", Upstream: "main", UpstreamName: "small-2026", Currency: "USD", InputPrice: 1_000_000, OutputPrice: 2_000_000, MaxOutputTokens: 100}},
			Upstreams: []models.Upstream{{Name: "main", BaseURL: upstream.URL, Key: func(context.Context, models.Session) (string, error) { return "sk-1", nil }}},
		},
	})
}

// asking is a run whose plan grants the model, and a client of OpenAI's for its agent.
func (f *fixture) asking(granted ...string) (product.Run, string, openai.Client) {
	f.t.Helper()
	run, token := f.going(1)
	f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
		plan := *r.Plan
		plan.Models, plan.MaxOutputBytes = granted, 1000
		r.Plan = &plan
		return nil, nil
	})
	return run, token, openai.NewClient(option.WithBaseURL(f.http.URL+"/v1"), option.WithAPIKey(token), option.WithMaxRetries(0))
}

var question = openai.ChatCompletionNewParams{Model: "small", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}}

func TestModelsOfAPlan(t *testing.T) {
	f := modelFixture(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk-1" {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"id":"1","object":"chat.completion","created":1,"model":"small-2026","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}`)
	})
	run, _, agent := f.asking("small")
	answer, err := agent.Chat.Completions.New(t.Context(), question)
	require.NoError(t, err)
	require.Equal(t, "hi", answer.Choices[0].Message.Content)
	list, err := agent.Models.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Data, 1)
	require.Len(t, f.reserved, 1)
	r := f.reserved[0]
	require.Equal(t, run.ID, r.Run)
	require.Equal(t, 1, r.Attempt)
	used := f.settled[r.Key]
	require.Equal(t, []int64{7, 2, 7 + 2*2}, []int64{used.InputTokens, used.OutputTokens, used.Cost.Micros})

	_, _, other := f.asking()
	_, err = other.Chat.Completions.New(t.Context(), question)
	var refused *openai.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "model_not_found", refused.Code)
	require.Len(t, f.reserved, 1)
	require.Equal(t, "call_unknown", newFixture(t).call("t", "GET", "/v1/models", "").code(t), "a gateway without models has no such call")
}

// TestABudgetThatIsReachedEndsTheRun: by a model or by a charge.
func TestABudgetThatIsReachedEndsTheRun(t *testing.T) {
	for name, call := range map[string]func(*fixture, string, openai.Client) int{
		"a model": func(f *fixture, _ string, agent openai.Client) int {
			_, err := agent.Chat.Completions.New(f.t.Context(), question)
			var refused *openai.Error
			require.ErrorAs(f.t, err, &refused)
			return refused.StatusCode
		},
		"a charge": func(f *fixture, token string, _ openai.Client) int {
			return f.call(token, "POST", "/v1/charges", `{"event":"page","count":1}`, "Idempotency-Key", "k").status
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := modelFixture(t, func(http.ResponseWriter, *http.Request) { panic("asked") })
			f.noRoom, f.chargeFn = true, func() (marketplace.EventCharge, error) {
				return marketplace.EventCharge{}, fault.New(fault.PaymentRequired, marketplace.CodeBudgetExhausted, "no more")
			}
			run, token, agent := f.asking("small")
			require.Equal(t, http.StatusOK, f.call(token, "PUT", "/v1/result", `{"half":true}`).status)
			require.Equal(t, http.StatusPaymentRequired, call(f, token, agent))
			require.Len(t, f.ended, 1)
			require.Equal(t, infra.Reason("budget_exhausted"), f.ended[0].Reason)
			require.Contains(t, f.ended[0].Message, "budget")
			require.True(t, f.ended[0].Reported)
			text, err := f.db.Runs().Report(t.Context(), run.ID, 1)
			require.NoError(t, err)
			report, err := agentruntime.ParseEnvelope(text)
			require.NoError(t, err)
			require.Equal(t, agentruntime.BudgetExhausted, report.Outcome)
			require.Equal(t, product.CodeSessionClosed, f.call(token, "POST", "/v1/heartbeat", "").code(t))
			require.NotEqual(t, http.StatusOK, call(f, token, agent))
			require.Len(t, f.ended, 1, "a run ends once")
		})
	}
	// No agent ends its run in that way by itself.
	f := newFixture(t)
	run, token := f.going(1)
	got := f.call(token, "POST", "/v1/end", `{"v":1,"run":"`+string(run.ID)+`","attempt":1,"outcome":"budget_exhausted","started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:00Z","stdout_bytes":0,"stderr_bytes":0}`)
	require.Equal(t, "report_inconclusive", got.code(t))
}

// TestLongCalls are few at once, leave the others their places, and end with the session.
func TestLongCalls(t *testing.T) {
	begun := make(chan struct{}, 100)
	f := modelFixture(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\"}}]}\n\n")
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	})
	run, token, _ := f.asking("small")
	ask := func() answer {
		return f.call(token, "POST", "/v1/chat/completions", `{"model":"small","stream":true,"messages":[{"role":"user","content":"x"}]}`)
	}
	const most = 8
	answers := make(chan answer, most)
	for range most {
		go func() { answers <- ask() }()
		<-begun
	}
	require.Equal(t, http.StatusTooManyRequests, ask().status)
	require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/heartbeat", "").status)
	f.cancel(run.ID)
	for range most {
		select {
		case got := <-answers:
			require.NotContains(t, got.text, "[DONE]")
		case <-time.After(30 * time.Second):
			require.FailNow(t, "a call goes on after the end of its session")
		}
	}
	require.Len(t, f.settled, most, "each is settled")
}
