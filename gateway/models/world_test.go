package models_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/gateway/models"
	"agentmarket/ids"
	"agentmarket/internal/testenv"
	"agentmarket/money"
)

const (
	upstreamKey = "sk-upstream-0123456789abcdef"
	agentToken  = "token-of-the-pod"
	run         = ids.Run("run_1")
)

// meter is a budget in memory.
type meter struct {
	mu       sync.Mutex
	left     int64 // micros of USD
	reserved map[string]models.Reservation
	granted  map[string]money.Amount
	settled  map[string]models.Usage
	twice    int
	fail     int // so many settlements fail
}

func newMeter(left int64) *meter {
	return &meter{left: left, reserved: map[string]models.Reservation{}, granted: map[string]money.Amount{}, settled: map[string]models.Usage{}}
}

func (m *meter) Reserve(_ context.Context, r models.Reservation) (money.Amount, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Least.Micros > m.left {
		return money.Amount{}, fault.New(fault.PaymentRequired, "model_budget_exhausted", "the budget of the run for models is used up")
	}
	granted := money.Min(r.Most, money.Of(m.left, "USD"))
	m.left -= granted.Micros
	m.reserved[r.Key], m.granted[r.Key] = r, granted
	return granted, nil
}

func (m *meter) Settle(_ context.Context, _ ids.Run, key string, u models.Usage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail > 0 {
		m.fail--
		return fault.New(fault.Unavailable, "", "the database is away")
	}
	if _, settled := m.settled[key]; settled {
		m.twice++
		return nil
	}
	m.settled[key] = u
	m.left += m.granted[key].Micros - u.Cost.Micros
	return nil
}

// usages are what was settled; every reservation is.
func (m *meter) usages(t *testing.T) []models.Usage {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Len(t, m.settled, len(m.reserved), "every reservation is settled")
	require.Zero(t, m.twice, "and once")
	var all []models.Usage
	for _, u := range m.settled {
		all = append(all, u)
	}
	return all
}

func (m *meter) usage(t *testing.T) models.Usage {
	t.Helper()
	all := m.usages(t)
	require.Len(t, all, 1)
	return all[0]
}

func (m *meter) waits() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.settled) < len(m.reserved)
}

// seen is what an upstream was asked.
type seen struct {
	header http.Header
	path   string
	body   map[string]any
	text   string
}

// world is an endpoint between an agent and an upstream.
type world struct {
	meter   *meter
	ended   chan struct{}
	url     string
	logged  *testenv.Buffer
	mu      sync.Mutex
	asked   []seen
	answers http.HandlerFunc
}

// newWorld makes one with a budget of so many micros. Model "small" costs a micro for an
// input token and two for an output token.
func newWorld(t *testing.T, budget int64, answers http.HandlerFunc, change ...func(*models.Config)) *world {
	t.Helper()
	w := &world{meter: newMeter(budget), ended: make(chan struct{}), logged: &testenv.Buffer{}, answers: answers}
	upstream := httptest.NewServer(http.HandlerFunc(w.upstream))
	t.Cleanup(upstream.Close)
	config := models.Config{
		Session: func(r *http.Request) (models.Session, error) {
			if r.Header.Get("Authorization") != "Bearer "+agentToken {
				return models.Session{}, fault.New(fault.Unauthenticated, "token_invalid", "the token is not one of a pod")
			}
			return models.Session{Run: run, Attempt: 2, Org: "org_secretname", Models: []string{"small", "eyes/*"}, Ended: w.ended}, nil
		},
		Catalog: []models.Model{
			{Name: "small", Upstream: "lab", UpstreamName: "lab-small-2026", Currency: "USD", InputPrice: 1e6, OutputPrice: 2e6, MaxOutputTokens: 1000},
			{Name: "eyes/big", Upstream: "lab", UpstreamName: "lab-eyes", Currency: "USD", InputPrice: 1e6, OutputPrice: 1e6, MaxOutputTokens: 100, PartTokens: 500, LegacyBound: true},
			{Name: "secret", Upstream: "lab", UpstreamName: "lab-secret", Currency: "USD", MaxOutputTokens: 10},
		},
		Upstreams: []models.Upstream{{Name: "lab", BaseURL: upstream.URL + "/lab/v1/", Key: func(context.Context, models.Session) (string, error) { return upstreamKey, nil }}},
		Meter:     w.meter, Client: upstream.Client(), Log: slog.New(slog.NewTextHandler(w.logged, nil)),
	}
	for _, change := range change {
		change(&config)
	}
	handler, err := models.New(config)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) upstream(out http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	s := seen{header: r.Header, path: r.URL.Path, text: string(text)}
	_ = json.Unmarshal(text, &s.body)
	w.mu.Lock()
	w.asked = append(w.asked, s)
	w.mu.Unlock()
	w.answers(out, r)
}

// last is what the upstream was asked last.
func (w *world) last(t *testing.T) seen {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(t, w.asked, "the upstream was asked")
	return w.asked[len(w.asked)-1]
}

func (w *world) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

// agent is OpenAI's client, as an agent has it.
func (w *world) agent() *openai.Client {
	client := openai.NewClient(option.WithBaseURL(w.url+"/v1/"), option.WithAPIKey(agentToken), option.WithMaxRetries(0),
		option.WithHeader("OpenAI-Organization", "org-of-the-agent"), option.WithHeader("X-Agent", "yes"))
	return &client
}

// post sends a body as it is.
func (w *world) post(t *testing.T, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/chat/completions", strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+agentToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(text)
}

func ask(content string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "small", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(content)}}
}

// says answers with a completion.
func says(text string, input, output int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Openai-Organization", "org-of-the-operator")
		w.Header().Set("Set-Cookie", "a=b")
		fmt.Fprintf(w, `{"id":"c1","object":"chat.completion","created":1,"model":"lab-small-2026","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%q}}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`,
			text, input, output, input+output)
	}
}

// refuses answers with an error.
func refuses(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func chunk(text string) string {
	return fmt.Sprintf(`{"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%q}}],"usage":null}`, text)
}

func usageChunk(input, output int64) string {
	return fmt.Sprintf(`{"id":"c1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, input, output, input+output)
}

// streams answers with events; hold is waited for before the last one.
func streams(hold <-chan struct{}, data ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i, d := range data {
			if i == len(data)-1 && hold != nil {
				select {
				case <-hold:
				case <-r.Context().Done():
					return
				}
			}
			fmt.Fprintf(w, "data: %s\n\n", d)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// eventually waits for a reservation to be settled.
func (w *world) eventually(t *testing.T) models.Usage {
	t.Helper()
	require.Eventually(t, func() bool { return !w.meter.waits() }, 10*time.Second, 5*time.Millisecond, "the call is settled after the agent has gone")
	return w.meter.usage(t)
}
