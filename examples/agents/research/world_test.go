package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/examples/agents/agenttest"
	"agentmarket/fault"
	"agentmarket/gateway/tools"
)

const (
	asAgent = "RESEARCH_TEST_RUN=1"
	token   = "token-of-the-pod"
)

func TestMain(m *testing.M) {
	if os.Getenv("RESEARCH_TEST_RUN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// asked is what a model was asked.
type asked struct {
	Model      string                        `json:"model"`
	Most       int64                         `json:"max_completion_tokens"`
	ToolChoice string                        `json:"tool_choice"`
	Tools      []struct{ Function function } `json:"tools"`
	Messages   []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
		CallID  string `json:"tool_call_id"`
	} `json:"messages"`
}

type function struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// world is a gateway with the real endpoint of tools before a real server of them, and
// a model that says what a test wants.
type world struct {
	url     string
	granted agentruntime.GatewayRun
	// model answers the request of a round, from 1.
	model http.HandlerFunc
	// search is what the tool says.
	search func(query string) (text string, failed bool)

	mu       sync.Mutex
	asked    []asked
	queries  []string
	events   []agentruntime.GatewayEvent
	partials []string
	report   string
	closed   bool // every call is refused from now on
}

// newWorld makes one whose model says each of some messages in its turn.
func newWorld(t *testing.T, messages ...string) *world {
	t.Helper()
	w := &world{
		granted: agentruntime.GatewayRun{Tools: []string{"web/search"}, Models: []string{"small", "large"}},
		search: func(string) (string, bool) {
			return "Ararat, 5,137 m: https://peaks.example/ararat. See also https://peaks.example/all", false
		},
	}
	w.model = func(out http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.asked) > len(messages) {
			problem(out, http.StatusTeapot, "no_more_messages")
			return
		}
		_, _ = io.WriteString(out, `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":`+messages[len(w.asked)-1]+`}]}`)
	}
	server := httptest.NewServer(w.gateway(t))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func problem(out http.ResponseWriter, status int, code string) {
	out.WriteHeader(status)
	_, _ = io.WriteString(out, `{"code":"`+code+`","detail":"no","error":{"code":"`+code+`","message":"no","type":"x","param":null}}`)
}

func (w *world) gateway(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/run", func(out http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(out).Encode(w.granted) })
	mux.HandleFunc("POST /v1/heartbeat", func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /v1/events", func(out http.ResponseWriter, r *http.Request) {
		var told agentruntime.GatewayEvents
		if json.NewDecoder(r.Body).Decode(&told) == nil {
			w.mu.Lock()
			w.events = append(w.events, told.Events...)
			w.mu.Unlock()
		}
		_, _ = io.WriteString(out, `{}`)
	})
	mux.HandleFunc("PUT /v1/result", func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.partials = append(w.partials, string(body))
		w.mu.Unlock()
		_, _ = io.WriteString(out, `{}`)
	})
	mux.HandleFunc("PUT /v1/artifacts/report.md", func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.report = string(body)
		w.mu.Unlock()
		_, _ = io.WriteString(out, `{}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(out http.ResponseWriter, r *http.Request) {
		var a asked
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			problem(out, http.StatusBadRequest, "body_invalid")
			return
		}
		w.mu.Lock()
		w.asked = append(w.asked, a)
		w.mu.Unlock()
		out.Header().Set("Content-Type", "application/json")
		w.model(out, r)
	})
	mux.Handle("/v1/mcp", w.tools(t))
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		closed := w.closed
		w.mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			problem(out, http.StatusUnauthorized, "token_invalid")
		case closed:
			problem(out, http.StatusConflict, "session_closed")
		default:
			mux.ServeHTTP(out, r)
		}
	})
}

// tools is the endpoint of tools, before a server "web" with search and another tool
// that is not granted.
func (w *world) tools(t *testing.T) http.Handler {
	t.Helper()
	web := mcp.NewServer(&mcp.Implementation{Name: "web", Version: "1"}, nil)
	type query struct {
		Q string `json:"q"`
	}
	search := func(_ context.Context, _ *mcp.CallToolRequest, q query) (*mcp.CallToolResult, any, error) {
		w.mu.Lock()
		w.queries = append(w.queries, q.Q)
		w.mu.Unlock()
		text, failed := w.search(q.Q)
		return &mcp.CallToolResult{IsError: failed, Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
	}
	mcp.AddTool(web, &mcp.Tool{Name: "search", Description: "Searches the web."}, search)
	mcp.AddTool(web, &mcp.Tool{Name: "buy", Description: "Buys."}, search)
	server := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return web }, nil))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	handler, err := tools.New(tools.Config{
		Session: func(r *http.Request) (tools.Session, error) {
			if r.Header.Get("Authorization") != "Bearer "+token {
				return tools.Session{}, fault.New(fault.Unauthenticated, "token_invalid", "no")
			}
			return tools.Session{Run: "run_1", Attempt: 1, Org: "org_1", Grants: w.granted.Tools}, nil
		},
		Servers: func(context.Context, tools.Session) ([]tools.Server, error) {
			return []tools.Server{{Name: "web", URL: server.URL}}, nil
		},
		Record: func(context.Context, tools.Call) {}, HTTPClient: http.DefaultClient, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return handler
}

// env is what the agent finds in a pod.
func (w *world) env(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	return []string{asAgent, agentruntime.EnvGateway + "=" + w.url, agentruntime.EnvTokenFile + "=" + file}
}

func (w *world) research(t *testing.T, input string) (result, stderr string, code int) {
	t.Helper()
	out, stderr, code := agenttest.Run(t, []byte(input), w.env(t), os.Args[0])
	return string(out), stderr, code
}

// says is a message that answers.
func says(text string) string {
	body, _ := json.Marshal(map[string]string{"role": "assistant", "content": text}) // strings
	return string(body)
}

// wants is a message that asks for calls of a tool with each of some arguments.
func wants(tool string, arguments ...string) string {
	var calls []string
	for i, a := range arguments {
		text, _ := json.Marshal(a) // a string
		calls = append(calls, `{"id":"call_`+string(rune('a'+i))+`","type":"function","function":{"name":"`+tool+`","arguments":`+string(text)+`}}`)
	}
	return `{"role":"assistant","content":null,"tool_calls":[` + strings.Join(calls, ",") + `]}`
}
