package models_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/stretchr/testify/require"

	"agentmarket/gateway/models"
	"agentmarket/money"
)

func TestCompletion(t *testing.T) {
	w := newWorld(t, 1_000_000, says("hello <you> & all", 12, 3))
	params := ask("hi <there> & all")
	params.MaxTokens = openai.Int(50)
	params.User = openai.String("somebody-else")
	params.Store = openai.Bool(true)
	params.Metadata = map[string]string{"a": "b"}
	params.Temperature = openai.Float(0.5)
	params.ServiceTier = "priority"
	var raw *http.Response
	got, err := w.agent().Chat.Completions.New(t.Context(), params, captured(&raw))
	require.NoError(t, err)
	require.Equal(t, "hello <you> & all", got.Choices[0].Message.Content)

	asked := w.last(t)
	require.Equal(t, "/lab/v1/chat/completions", asked.path)
	user, _ := asked.body["user"].(string)
	require.Len(t, user, 32)
	require.NotContains(t, asked.text, "org_secretname")
	require.Empty(t, cmp.Diff(map[string]any{
		"model": "lab-small-2026", "user": user, "temperature": 0.5, "max_completion_tokens": 50.0,
		"messages": []any{map[string]any{"role": "user", "content": "hi <there> & all"}},
	}, asked.body))
	require.Empty(t, cmp.Diff(http.Header{
		"Authorization": {"Bearer " + upstreamKey}, "Accept": {"application/json"}, "Content-Type": {"application/json"},
		"User-Agent": {"agentmarket"}, "Accept-Encoding": {"gzip"}, "Content-Length": asked.header["Content-Length"],
	}, asked.header))

	require.NotContains(t, raw.Header, "Openai-Organization")
	require.NotContains(t, raw.Header, "Set-Cookie")
	require.Equal(t, "application/json", raw.Header.Get("Content-Type"))
	require.Equal(t, models.Usage{Attempt: 2, Model: "small", InputTokens: 12, OutputTokens: 3, Cost: money.Of(18, "USD")}, w.meter.usage(t))
	require.EqualValues(t, 1_000_000-18, w.meter.left)
	for _, r := range w.meter.reserved {
		require.Equal(t, run, r.Run)
		require.WithinDuration(t, time.Now().Add(10*time.Minute), r.Expires, time.Minute)
		require.Greater(t, r.Most.Micros, r.Least.Micros)
	}
}

func TestModels(t *testing.T) {
	w := newWorld(t, 0, nil)
	page, err := w.agent().Models.List(t.Context())
	require.NoError(t, err)
	var names []string
	for _, m := range page.Data {
		names = append(names, m.ID)
	}
	require.Equal(t, []string{"eyes/big", "small"}, names)
}

// TestUnknownModel: a model that is not granted looks like one that is none.
func TestUnknownModel(t *testing.T) {
	w := newWorld(t, 1000, nil)
	var texts []string
	for _, name := range []string{"secret", "none"} {
		params := ask("hi")
		params.Model = name
		_, err := w.agent().Chat.Completions.New(t.Context(), params)
		texts = append(texts, refusedWith(t, err, http.StatusNotFound, "model_not_found").RawJSON())
	}
	require.Equal(t, texts[0], texts[1])
	require.Empty(t, w.meter.usages(t))
}

// TestBudgetLowersOutput: what the budget does not pay for is not asked for.
func TestBudgetLowersOutput(t *testing.T) {
	w := newWorld(t, 1_000_000, says("x", 1, 1))
	_, err := w.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.NoError(t, err)
	require.EqualValues(t, 1000, w.last(t).body["max_completion_tokens"], "the most that the model gives")
	var input int64
	for _, r := range w.meter.reserved {
		input = r.Most.Micros - 2*1000
	}
	for name, test := range map[string]struct {
		budget, n, want int64
		status          int
	}{
		"room for 100":           {budget: input + 200, want: 100},
		"one micro less":         {budget: input + 199, want: 99},
		"room for 40 of each":    {budget: input + 6 + 160, n: 2, want: 40}, // ,"n":2 has six bytes
		"the least":              {budget: input + 32, want: 16},
		"less than it is worth":  {budget: input + 31, status: http.StatusPaymentRequired},
		"no room for the input":  {budget: input - 1, status: http.StatusPaymentRequired},
		"nothing":                {budget: 0, status: http.StatusPaymentRequired},
		"less than nothing left": {budget: -5, status: http.StatusPaymentRequired},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.budget, says("x", 1, 1))
			params := ask("hi")
			if test.n > 0 {
				params.N = openai.Int(test.n)
			}
			_, err := w.agent().Chat.Completions.New(t.Context(), params)
			if test.status > 0 {
				e := refusedWith(t, err, test.status, "model_budget_exhausted")
				require.Equal(t, "insufficient_quota", e.Type)
				require.Zero(t, w.calls(), "the upstream is not asked")
				return
			}
			require.NoError(t, err)
			require.EqualValues(t, test.want, w.last(t).body["max_completion_tokens"])
		})
	}
}

// TestCostStaysWithinReservation: an upstream that counts more than can be does not
// take more of the budget than there was.
func TestCostStaysWithinReservation(t *testing.T) {
	w := newWorld(t, 600, says("x", 1, 1_000_000_000_000))
	_, err := w.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.NoError(t, err)
	require.EqualValues(t, 600, w.meter.usage(t).Cost.Micros)
	require.EqualValues(t, 100_000_000, w.meter.usage(t).OutputTokens)
	require.Contains(t, w.logged.String(), "cost more than was reserved")
}

// TestImages: an image counts what the model says, not its bytes.
func TestImages(t *testing.T) {
	w := newWorld(t, 1_000_000, says("a cat", 1, 1))
	image := "data:image/png;base64," + strings.Repeat("A", 100_000)
	params := openai.ChatCompletionNewParams{Model: "eyes/big", Messages: []openai.ChatCompletionMessageParamUnion{
		openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.TextContentPart("what is it?"),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: image}),
		}),
	}}
	_, err := w.agent().Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	require.Contains(t, w.last(t).text, image)
	require.EqualValues(t, 100, w.last(t).body["max_tokens"], "the name of the field that this upstream knows")
	for _, r := range w.meter.reserved {
		require.Less(t, r.Most.Micros, int64(2000))
		require.Greater(t, r.Most.Micros, int64(500+100))
	}
	params.Model = "small"
	_, err = w.agent().Chat.Completions.New(t.Context(), params)
	refusedWith(t, err, http.StatusBadRequest, "invalid_value")
}

// refusedWith is an error as OpenAI's client reads it.
func refusedWith(t *testing.T, err error, status int, code string) *openai.Error {
	t.Helper()
	var e *openai.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, status, e.StatusCode, "%v", err)
	require.Equal(t, code, e.Code, "%v", err)
	require.NotEmpty(t, e.Message)
	require.NotEmpty(t, e.Type)
	return e
}

func errorOf(t *testing.T, body string) (code, message string) {
	t.Helper()
	var said struct {
		Error struct{ Code, Message, Type string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &said), body)
	require.NotEmpty(t, said.Error.Type)
	return said.Error.Code, said.Error.Message
}
