package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/gateway"
	"agentmarket/ids"
	"agentmarket/product"
)

const toolSecret = "credential-of-the-desk"

// Secret implements gateway.Secrets.
func (f *fixture) Secret(_ context.Context, org ids.Org, name string) ([]byte, error) {
	if value, known := f.secrets[name]; known && org != "" {
		return []byte(value), nil
	}
	if org != "" || name != "DESK_TOKEN" {
		return nil, fault.New(fault.NotFound, "secret_not_found", "there is no such secret")
	}
	return []byte(toolSecret + "\n"), nil
}

// desk is a server of tools on this computer, which counts its calls and keeps the
// credentials that it sees.
type desk struct {
	mu    sync.Mutex
	paid  int
	heads []string
	url   string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{}
	s := mcp.NewServer(&mcp.Implementation{Name: "desk", Version: "1"}, nil)
	schema := json.RawMessage(`{"type":"object"}`)
	say := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	s.AddTool(&mcp.Tool{Name: "echo", InputSchema: schema}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say(string(r.Params.Arguments)), nil
	})
	s.AddTool(&mcp.Tool{Name: "pay", InputSchema: schema}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.paid++
		return say("paid"), nil
	})
	s.AddTool(&mcp.Tool{Name: "other", InputSchema: schema}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return say("other"), nil
	})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.heads = append(d.heads, r.Header.Get("Authorization"))
		d.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	d.url = server.URL
	return d
}

func (d *desk) payments() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.paid
}

var setUp = audit.System("test")

func (f *fixture) register(s product.ToolServer) {
	f.t.Helper()
	s.Timeout, s.MaxBytes, s.UpdatedAt = product.DefaultToolTimeout, product.DefaultToolBytes, f.now
	require.NoError(f.t, f.db.Product().SetToolServer(f.t.Context(), setUp, s))
}

// withTools is a run that is granted tools of a desk of the operators, and its token.
func (f *fixture) withTools(d *desk, grants ...string) (product.Run, string) {
	f.t.Helper()
	f.register(product.ToolServer{Name: "desk", URL: d.url, Header: "Authorization", Secret: "DESK_TOKEN", ApproveTools: []string{"pay"}})
	run, token := f.going(1)
	f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
		r.Plan.Tools = grants
		return nil, nil
	})
	return run, token
}

type bearing string

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// mcpClient is the SDK's client, as an agent has it.
func (f *fixture) mcpClient(token string) *mcp.ClientSession {
	f.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	session, err := client.Connect(f.t.Context(), &mcp.StreamableClientTransport{
		Endpoint: f.http.URL + "/v1/mcp", HTTPClient: &http.Client{Transport: bearing(token)}, MaxRetries: -1, DisableStandaloneSSE: true,
	}, nil)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = session.Close() })
	return session
}

type called struct {
	text   string
	failed bool
	err    error
}

func callTool(ctx context.Context, s *mcp.ClientSession, name string, arguments any) called {
	result, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		return called{err: err}
	}
	text, _ := result.Content[0].(*mcp.TextContent)
	return called{text: text.Text, failed: result.IsError}
}

// told are the events of a type on the record of a run.
func (f *fixture) told(run ids.Run, event product.EventType) (found []product.Event) {
	f.t.Helper()
	log, err := f.db.Runs().Events(f.t.Context(), run, 0, 0)
	require.NoError(f.t, err)
	for _, e := range log {
		if e.Type == event {
			found = append(found, e)
		}
	}
	return found
}

func (f *fixture) shown(run ids.Run) product.Status {
	f.t.Helper()
	r, err := f.db.Runs().Run(f.t.Context(), run)
	require.NoError(f.t, err)
	return r.Shown(f.clock())
}

// pending waits for what a run asks.
func (f *fixture) pending(run ids.Run) product.ToolApproval {
	f.t.Helper()
	var found product.ToolApproval
	require.Eventually(f.t, func() bool {
		all, err := f.db.Runs().ToolApprovals(f.t.Context(), run)
		require.NoError(f.t, err)
		if len(all) > 0 && all[0].Decision == "" {
			found = all[0]
		}
		return found.ID != ""
	}, 10*time.Second, 10*time.Millisecond, "a call that needs a person is on the record")
	return found
}

func (f *fixture) decide(a product.ToolApproval, d product.Decision) {
	f.t.Helper()
	_, err := f.db.Runs().DecideTool(f.t.Context(), setUp, a.RunID, a.ID, d, "", f.now)
	require.NoError(f.t, err)
}

// TestTools: an agent lists and calls what its plan grants, with the credential of the
// server, and what it did is on the record without what it said.
func TestTools(t *testing.T) {
	f, d := newFixture(t), newDesk(t)
	run, token := f.withTools(d, "desk/echo", "desk/pay")
	s := f.mcpClient(token)
	list, err := s.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list.Tools, 2)
	got := callTool(t.Context(), s, "desk__echo", map[string]any{"to": "s3cret"})
	require.JSONEq(t, `{"to":"s3cret"}`, got.text)
	require.Error(t, callTool(t.Context(), s, "desk__other", nil).err, "it is not granted")
	for _, head := range d.heads {
		require.Equal(t, "Bearer "+toolSecret, head)
	}

	events := f.told(run.ID, product.EventToolCall)
	require.Len(t, events, 2)
	require.Equal(t, []any{"desk__echo", 1}, []any{events[0].Message, events[0].Attempt})
	var said map[string]any
	require.NoError(t, json.Unmarshal(events[0].Data, &said))
	require.Subset(t, said, map[string]any{
		"server": "desk", "tool": "echo", "outcome": "succeeded", "argument_bytes": 15.0,
		"arguments": []any{map[string]any{"name": "to", "type": "string", "bytes": 8.0}},
	})
	require.Contains(t, said, "duration_ms")
	require.NotContains(t, string(events[0].Data), "s3cret")
	require.Contains(t, string(events[1].Data), `"outcome":"unknown_tool"`)
}

// TestToolServers: an organization's own server comes before the operators', and leads to
// no private address.
func TestToolServers(t *testing.T) {
	f, d := newFixture(t), newDesk(t)
	run, token := f.withTools(d, "desk/echo")
	f.register(product.ToolServer{OrgID: run.OrgID, Name: "desk", URL: d.url})
	got := callTool(t.Context(), f.mcpClient(token), "desk__echo", nil)
	require.True(t, got.failed)
	require.Contains(t, got.text, "server_unavailable")
	require.Empty(t, d.heads, "the desk is on this computer")
}

func TestToolsAuthentication(t *testing.T) {
	f := newFixture(t)
	require.Equal(t, "token_missing", f.call("", http.MethodPost, "/v1/mcp", `{}`).code(t))
	require.Equal(t, "token_invalid", f.call("nonsense", http.MethodPost, "/v1/mcp", `{}`).code(t))
	run, token := f.going(1)
	f.cancel(run.ID)
	require.Equal(t, product.CodeSessionClosed, f.call(token, http.MethodPost, "/v1/mcp", `{}`).code(t))
}

// TestToolApproval: a call waits for a person, and its run says so.
func TestToolApproval(t *testing.T) {
	for name, test := range map[string]struct {
		decision product.Decision
		want     called
		paid     int
		outcome  string
	}{
		"approved": {product.DecisionApproved, called{text: "paid"}, 1, `"outcome":"succeeded"`},
		"denied":   {product.DecisionDenied, called{text: "denied: a person did not agree to this call", failed: true}, 0, `"outcome":"denied"`},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := newFixture(t), newDesk(t)
			run, token := f.withTools(d, "desk/*")
			s := f.mcpClient(token)
			result := make(chan called, 1)
			go func() { result <- callTool(t.Context(), s, "desk__pay", map[string]any{"amount": 5}) }()
			asked := f.pending(run.ID)
			require.Equal(t, []any{"desk", "pay", `{"amount":5}`}, []any{asked.Server, asked.Tool, string(asked.Arguments)})
			require.Equal(t, product.StatusWaitingInput, f.shown(run.ID))
			require.Zero(t, d.payments())
			f.decide(asked, test.decision)
			require.Equal(t, test.want, <-result)
			require.Equal(t, test.paid, d.payments())
			require.NotEqual(t, product.StatusWaitingInput, f.shown(run.ID))
			events := f.told(run.ID, product.EventToolCall)
			require.Len(t, events, 1)
			require.Contains(t, string(events[0].Data), test.outcome)
		})
	}
}

// TestToolApprovalIsFoundAgain: an agent that lost its connection, or whose gateway went
// away, makes the call again, and nobody is asked twice.
func TestToolApprovalIsFoundAgain(t *testing.T) {
	f, d := newFixture(t), newDesk(t)
	run, token := f.withTools(d, "desk/*")
	s := f.mcpClient(token)
	lost, hangUp := context.WithCancel(t.Context())
	gone := make(chan called, 1)
	go func() { gone <- callTool(lost, s, "desk__pay", map[string]any{"amount": 5}) }()
	asked := f.pending(run.ID)
	hangUp()
	require.Error(t, (<-gone).err)
	f.decide(asked, product.DecisionApproved)
	require.Equal(t, called{text: "paid"}, callTool(t.Context(), f.mcpClient(token), "desk__pay", map[string]any{"amount": 5}))
	require.Equal(t, 1, d.payments())
	all, err := f.db.Runs().ToolApprovals(t.Context(), run.ID)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.False(t, all[0].UsedAt.IsZero())
}

// TestToolApprovalsEnd: waiting calls end with their run, and keep no place from its
// other calls.
func TestToolApprovalsEnd(t *testing.T) {
	const atOnce = 16
	f, d := newFixture(t), newDesk(t)
	run, token := f.withTools(d, "desk/*")
	s := f.mcpClient(token)
	results := make(chan called, atOnce)
	for i := range atOnce {
		go func() { results <- callTool(t.Context(), s, "desk__pay", map[string]any{"amount": i}) }()
	}
	require.Eventually(t, func() bool {
		all, err := f.db.Runs().ToolApprovals(t.Context(), run.ID)
		return err == nil && len(all) == atOnce
	}, 20*time.Second, 10*time.Millisecond, "all of them wait")
	require.Equal(t, http.StatusAccepted, f.call(token, http.MethodPost, "/v1/events", `{"events":[{"type":"note","message":"a"}]}`).status)
	require.Equal(t, "too_many_calls", f.call(token, http.MethodPost, "/v1/mcp", `{}`).code(t))
	f.cancel(run.ID)
	for range atOnce {
		got := <-results
		require.True(t, got.err != nil || got.failed)
	}
	require.Zero(t, d.payments())
	require.Equal(t, product.StatusCanceling, f.shown(run.ID))
}

var _ gateway.Secrets = (*fixture)(nil)
