package tools_test

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

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/gateway/tools"
	"agentmarket/internal/testenv"
)

const (
	agentToken = "token-of-the-pod"
	credential = "Bearer credential-of-the-server"
)

// world is an endpoint between an agent and servers.
type world struct {
	url    string
	ended  chan struct{}
	logged *testenv.Buffer
	mu     sync.Mutex
	calls  []tools.Call
	heads  []http.Header // that servers saw
}

// newWorld makes one with a server "desk" that has tools, and grants of them.
func newWorld(t *testing.T, grants []string, change ...func(*tools.Config, *[]tools.Server)) *world {
	t.Helper()
	w := &world{ended: make(chan struct{}), logged: &testenv.Buffer{}}
	servers := []tools.Server{{
		Name: "desk", URL: w.serve(t, desk()), Timeout: 5 * time.Second, MaxBytes: 64 << 10, ApproveTools: []string{"pay*"},
		Headers: func(context.Context) (http.Header, error) { return http.Header{"authorization": {credential}}, nil },
	}}
	config := tools.Config{
		Session: func(r *http.Request) (tools.Session, error) {
			if r.Header.Get("Authorization") != "Bearer "+agentToken {
				return tools.Session{}, fault.New(fault.Unauthenticated, "token_invalid", "the token is not one of a pod")
			}
			return tools.Session{Run: "run_1", Attempt: 2, Org: "org_1", Grants: grants, Ended: w.ended}, nil
		},
		Record: func(ctx context.Context, c tools.Call) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if ctx.Err() == nil {
				w.calls = append(w.calls, c)
			}
		},
		HTTPClient: http.DefaultClient, Log: slog.New(slog.NewTextHandler(w.logged, nil)),
	}
	for _, change := range change {
		change(&config, &servers)
	}
	if config.Servers == nil {
		config.Servers = func(context.Context, tools.Session) ([]tools.Server, error) { return servers, nil }
	}
	handler, err := tools.New(config)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// serve serves an MCP server, and keeps the headers that it sees.
func (w *world) serve(t *testing.T, s *mcp.Server) string {
	t.Helper()
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.heads = append(w.heads, r.Header.Clone())
		w.mu.Unlock()
		handler.ServeHTTP(out, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

var anything = json.RawMessage(`{"type":"object"}`)

func say(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// desk is a server with tools of all kinds.
func desk() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "desk", Version: "1"}, nil)
	add := func(name string, do mcp.ToolHandler) {
		s.AddTool(&mcp.Tool{Name: name, Description: "It is " + name + ".", InputSchema: anything}, do)
	}
	add("echo", func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say(string(r.Params.Arguments)), nil
	})
	add("files.read", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return say("read"), nil })
	add("files/read", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say("read, too"), nil
	})
	add("fail", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r := say("no such thing")
		r.IsError = true
		return r, nil
	})
	add("break", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, fmt.Errorf("the secret of the server is %s", credential)
	})
	add("slow", func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second): // it was not told that nobody waits
		}
		return say("late"), nil
	})
	add("large", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say(strings.Repeat("x", 70<<10)), nil
	})
	add("huge", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say(strings.Repeat("x", 4<<20)), nil
	})
	add("mirror", func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say(strings.TrimPrefix(r.Extra.Header.Get("Authorization"), "Bearer ")), nil
	})
	add("strict", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "a is missing"}
	})
	add("pay", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return say("paid"), nil })
	add("ask", func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		_, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "who are you?"})
		return say(fmt.Sprint(err != nil)), nil
	})
	s.AddTool(&mcp.Tool{Name: "vast", InputSchema: json.RawMessage(`{"type":"object","x":"` + strings.Repeat("x", 40<<10) + `"}`)},
		func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return say("vast"), nil })
	s.AddTool(&mcp.Tool{Name: "wordy", Description: strings.Repeat("é", 4000), InputSchema: anything},
		func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return say("wordy"), nil })
	s.AddPrompt(&mcp.Prompt{Name: "hidden"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{}, nil
	})
	return s
}

type withToken struct{}

func (withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+agentToken)
	return http.DefaultTransport.RoundTrip(r)
}

// agent is the SDK's client, as an agent has it.
func (w *world) agent(t *testing.T) *mcp.ClientSession {
	t.Helper()
	return w.agentOf(t, "")
}

// agentOf is one that speaks a version of the protocol.
func (w *world) agentOf(t *testing.T, version string) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: w.url, HTTPClient: &http.Client{Transport: withToken{}}, MaxRetries: -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func names(t *testing.T, s *mcp.ClientSession) []string {
	t.Helper()
	list, err := s.ListTools(t.Context(), nil)
	require.NoError(t, err)
	all := []string{}
	for _, tool := range list.Tools {
		all = append(all, tool.Name)
	}
	return all
}

func call(t *testing.T, s *mcp.ClientSession, name string, arguments any) (string, bool) {
	t.Helper()
	result, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	require.NoError(t, err)
	require.Len(t, result.Content, 1)
	text, ok := result.Content[0].(*mcp.TextContent)
	require.True(t, ok)
	return text.Text, result.IsError
}

// recorded waits for the only call of the record.
func (w *world) recorded(t *testing.T) tools.Call {
	t.Helper()
	var c tools.Call
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.calls) == 1 {
			c = w.calls[0]
		}
		return len(w.calls) == 1
	}, 10*time.Second, 5*time.Millisecond, "a call is recorded when it has ended")
	return c
}

func TestList(t *testing.T) {
	w := newWorld(t, []string{"desk/*", "other/x"})
	require.Equal(t, []string{"desk__ask", "desk__break", "desk__echo", "desk__fail", "desk__files-read-2b733164", "desk__files-read-601e4eb6",
		"desk__huge", "desk__large", "desk__mirror", "desk__pay", "desk__slow", "desk__strict", "desk__wordy"}, names(t, w.agent(t)), "the one with a vast schema is left out")

	w = newWorld(t, []string{"desk/e*", "desk/fail", "deskother/*"})
	list, err := w.agent(t).ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list.Tools, 2)
	require.Equal(t, "It is echo.", list.Tools[0].Description)
	require.Equal(t, map[string]any{"type": "object"}, list.Tools[0].InputSchema)

	w = newWorld(t, []string{"desk/wordy"})
	list, err = w.agent(t).ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list.Tools[0].Description, 4<<10)
	require.Empty(t, names(t, newWorld(t, nil).agent(t)))
}

// TestOnlyTools: what else MCP knows is not offered.
func TestOnlyTools(t *testing.T) {
	s := newWorld(t, []string{"desk/*"}).agent(t)
	_, err := s.ListPrompts(t.Context(), nil)
	require.Error(t, err)
	_, err = s.ListResources(t.Context(), nil)
	require.Error(t, err)
	text, failed := call(t, s, "desk__ask", nil)
	require.Equal(t, "true", text, "the server gets no answer of its client")
	require.False(t, failed)
}

func TestCall(t *testing.T) {
	w := newWorld(t, []string{"desk/echo"})
	text, failed := call(t, w.agent(t), "desk__echo", map[string]any{"to": "somebody@example.com", "n": 7, "deep": map[string]any{"secret": "s3cret"}})
	require.False(t, failed)
	require.JSONEq(t, `{"to":"somebody@example.com","n":7,"deep":{"secret":"s3cret"}}`, text)

	c := w.recorded(t)
	require.WithinDuration(t, time.Now(), c.Started, time.Minute)
	require.Positive(t, c.Duration)
	require.Positive(t, c.ResultBytes)
	require.Len(t, c.ArgumentsSHA256, 64)
	c.Started, c.Duration, c.ResultBytes, c.ArgumentsSHA256 = time.Time{}, 0, 0, ""
	require.Empty(t, cmp.Diff(tools.Call{
		Run: "run_1", Attempt: 2, Server: "desk", Tool: "echo", Name: "desk__echo", Outcome: tools.Succeeded, ArgumentBytes: 62,
		Arguments: []tools.Argument{{Name: "deep", Type: "object", Bytes: 19}, {Name: "n", Type: "number", Bytes: 1}, {Name: "to", Type: "string", Bytes: 22}},
	}, c))
	require.NotContains(t, fmt.Sprintf("%+v", w.calls)+w.logged.String(), "s3cret")
}

// TestProtocols: agents and servers speak older versions of the protocol, with sessions
// and without.
func TestProtocols(t *testing.T) {
	w := newWorld(t, []string{"*"}, func(_ *tools.Config, s *[]tools.Server) {
		handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return desk() }, &mcp.StreamableHTTPOptions{Stateless: true})
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		*s = append(*s, tools.Server{Name: "stateless", URL: server.URL})
	})
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25", ""} {
		s := w.agentOf(t, version)
		require.Contains(t, names(t, s), "stateless__echo", version)
		for _, server := range []string{"desk", "stateless"} {
			text, failed := call(t, s, server+"__echo", map[string]any{"a": 1})
			require.False(t, failed, version)
			require.JSONEq(t, `{"a":1}`, text)
		}
	}
}

// TestCredential: the server gets its own, and nothing of the agent's.
func TestCredential(t *testing.T) {
	w := newWorld(t, []string{"desk/*"})
	s := w.agent(t)
	text, failed := call(t, s, "desk__break", nil)
	require.True(t, failed)
	require.Equal(t, "server_unavailable: the server of the tool does not answer as it should", text)
	names(t, s)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(t, w.heads)
	for _, header := range w.heads {
		require.Equal(t, []string{credential}, header.Values("Authorization"))
		require.NotContains(t, fmt.Sprint(header), agentToken)
	}
}

// TestUnknownTool: whatever is not granted looks as if it were not there.
func TestUnknownTool(t *testing.T) {
	w := newWorld(t, []string{"desk/echo", "gone/*", "desk/files.write"})
	s := w.agent(t)
	for _, name := range []string{"desk__fail", "desk__none", "none__echo", "gone__x", "desk", "__", "desk__", "desk/echo", "desk.echo", "DESK__echo",
		"desk__files-read-601e4eb6", strings.Repeat("x", 1000)} {
		_, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name})
		var e *jsonrpc.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, "unknown tool", e.Message, name)
		require.EqualValues(t, jsonrpc.CodeInvalidParams, e.Code)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.calls, 12)
	for _, c := range w.calls {
		require.Equal(t, tools.UnknownTool, c.Outcome)
		require.LessOrEqual(t, len(c.Name), 64)
		require.Empty(t, c.Tool)
	}
}

// TestNames: a name that does not fit is mapped back to the very tool.
func TestNames(t *testing.T) {
	s := newWorld(t, []string{"desk/files.read", "desk/files/read"}).agent(t)
	require.Equal(t, []string{"desk__files-read-2b733164", "desk__files-read-601e4eb6"}, names(t, s))
	dot, _ := call(t, s, "desk__files-read-601e4eb6", nil)
	require.Equal(t, "read", dot)
	slash, _ := call(t, s, "desk__files-read-2b733164", nil)
	require.Equal(t, "read, too", slash)
}

// TestOutcomes: what goes wrong is a result that a model can read, and is on the record.
func TestOutcomes(t *testing.T) {
	for name, test := range map[string]struct {
		tool      string
		arguments any
		text      string
		outcome   tools.Outcome
	}{
		"the tool fails":     {"desk__fail", nil, "no such thing", tools.ToolError},
		"wrong arguments":    {"desk__strict", nil, "arguments_refused: a is missing", tools.ToolError},
		"its credential":     {"desk__mirror", nil, "server_unavailable: the server of the tool does not answer as it should", tools.ServerFailed},
		"slow":               {"desk__slow", nil, "timed_out: the call took too long", tools.TimedOut},
		"large result":       {"desk__large", nil, "result_too_large: the result of the tool is too large; ask for less", tools.ResultLarge},
		"huge result":        {"desk__huge", nil, "result_too_large: the result of the tool is too large; ask for less", tools.ResultLarge},
		"large arguments":    {"desk__echo", map[string]any{"a": strings.Repeat("x", 256<<10)}, "arguments_invalid: the arguments have more than 262144 bytes", tools.BadArguments},
		"arguments of a row": {"desk__echo", json.RawMessage(`[1]`), "arguments_invalid: the arguments are not a JSON object", tools.BadArguments},
		"nobody to ask":      {"desk__pay", nil, "denied: the tool needs a person to agree, and nobody can be asked", tools.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, []string{"desk/*"}, func(_ *tools.Config, s *[]tools.Server) {
				if test.outcome == tools.TimedOut {
					(*s)[0].Timeout = 300 * time.Millisecond
				}
			})
			text, failed := call(t, w.agent(t), test.tool, test.arguments)
			require.Equal(t, test.text, text)
			require.True(t, failed)
			require.Equal(t, test.outcome, w.recorded(t).Outcome)
		})
	}
}

func TestLimits(t *testing.T) {
	for name, change := range map[string]func(*tools.Config){
		"too_many_calls": func(c *tools.Config) { c.PerMinute = 2 },
		"calls_used_up":  func(c *tools.Config) { c.MaxCalls = 2 },
	} {
		w := newWorld(t, []string{"desk/*"}, func(c *tools.Config, _ *[]tools.Server) { change(c) })
		s := w.agent(t)
		names(t, s)
		_, failed := call(t, s, "desk__echo", nil)
		require.False(t, failed)
		text, failed := call(t, s, "desk__echo", nil)
		require.True(t, failed)
		require.Contains(t, text, name+":")
		_, err := s.ListTools(t.Context(), nil)
		require.ErrorContains(t, err, name)
		w.recorded(t)
	}
}

func TestApproval(t *testing.T) {
	asking := make(chan struct{}, 1)
	with := func(answer func(context.Context) (bool, error)) *world {
		return newWorld(t, []string{"desk/*"}, func(c *tools.Config, _ *[]tools.Server) {
			c.ApprovalTimeout = 10 * time.Second
			c.Approve = func(ctx context.Context, s tools.Session, c tools.Call, arguments json.RawMessage) (bool, error) {
				if s.Run != "run_1" || c.Server != "desk" || c.Tool != "pay" || string(arguments) != `{"amount":5}` {
					return false, fmt.Errorf("asked about %v %s", c, arguments)
				}
				asking <- struct{}{}
				return answer(ctx)
			}
		})
	}
	waits := func(ctx context.Context) (bool, error) {
		<-ctx.Done()
		return true, nil // too late
	}
	amount := map[string]any{"amount": 5}

	w := with(func(context.Context) (bool, error) { return true, nil })
	text, _ := call(t, w.agent(t), "desk__pay", amount)
	require.Equal(t, "paid", text)
	<-asking

	w = with(func(context.Context) (bool, error) { return false, nil })
	text, _ = call(t, w.agent(t), "desk__pay", amount)
	require.Equal(t, "denied: a person did not agree to this call", text)
	require.Equal(t, tools.Denied, w.recorded(t).Outcome)
	require.Empty(t, w.heads, "the server is not asked")
	<-asking

	t.Run("the session ends", func(t *testing.T) {
		w := with(waits)
		go func() { <-asking; close(w.ended) }()
		s := w.agent(t)
		_, _ = s.CallTool(t.Context(), &mcp.CallToolParams{Name: "desk__pay", Arguments: amount})
		require.Equal(t, tools.Ended, w.recorded(t).Outcome)
		require.Empty(t, w.heads)
	})
	t.Run("the agent goes", func(t *testing.T) {
		w := with(waits)
		ctx, hangUp := context.WithCancel(t.Context())
		go func() { <-asking; hangUp() }()
		_, err := w.agent(t).CallTool(ctx, &mcp.CallToolParams{Name: "desk__pay", Arguments: amount})
		require.Error(t, err)
		require.Equal(t, tools.Ended, w.recorded(t).Outcome)
		require.Empty(t, w.heads)
	})
}

// TestBrokenServers: those that work are there all the same.
func TestBrokenServers(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	t.Cleanup(stranger.Close)
	followed := false
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	t.Cleanup(target.Close)
	redirect := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	w := newWorld(t, []string{"*"}, func(_ *tools.Config, s *[]tools.Server) {
		*s = append(*s,
			tools.Server{Name: "gone", URL: "http://127.0.0.1:1/"}, tools.Server{Name: "stranger", URL: stranger.URL},
			tools.Server{Name: "redirect", URL: redirect.URL}, tools.Server{Name: "Bad_Name", URL: stranger.URL}, tools.Server{Name: "file", URL: "file:///etc"},
			tools.Server{Name: "keyless", URL: stranger.URL, Headers: func(context.Context) (http.Header, error) { return nil, io.ErrUnexpectedEOF }})
	})
	s := w.agent(t)
	require.Contains(t, names(t, s), "desk__echo")
	for _, server := range []string{"gone", "stranger", "redirect", "keyless"} {
		text, failed := call(t, s, server+"__x", nil)
		require.True(t, failed)
		require.Equal(t, "server_unavailable: the server of the tool does not answer as it should", text)
	}
	require.False(t, followed)
}

// TestRequests: what is no request of a run, or more than one, is refused as HTTP.
func TestRequests(t *testing.T) {
	w := newWorld(t, []string{"desk/*"})
	for name, test := range map[string]struct {
		token, body string
		status      int
	}{
		"no token":  {"", `{}`, http.StatusUnauthorized},
		"batch":     {agentToken, ` [{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`, http.StatusUnprocessableEntity},
		"too large": {agentToken, strings.Repeat(" ", 1<<20+1), http.StatusRequestEntityTooLarge},
		"no JSON":   {agentToken, `hello`, http.StatusBadRequest},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url, strings.NewReader(test.body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+test.token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", "application/json, text/event-stream")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, test.status, response.StatusCode, name)
	}
}
