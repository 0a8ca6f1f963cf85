package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
)

// desk is a server of tools, each of which answers with its name; it wants a credential.
func desk(t *testing.T, credential string, names ...string) (url string) {
	t.Helper()
	return toolServer(t, credential, func(name string) string { return "this is " + name }, names...)
}

// toolServer is a server of tools that wants a credential.
func toolServer(t *testing.T, credential string, answer func(tool string) string, names ...string) (url string) {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: "desk", Version: "1"}, nil)
	for _, name := range names {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)},
			func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: answer(name)}}}, nil
			})
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != credential {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// calls is a function of agents: it calls a tool, and prints what it answers.
const calls = `
tool() { # NAME
	call POST /v1/mcp '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"desk__'$1'","arguments":{"secret":"never-recorded"}}}' \
		"$(printf 'Content-Type: application/json\r\nAccept: application/json, text/event-stream')" | grep -o 'this is [a-z]*\|unknown tool'
}
`

// TestToolsAndABudget: a run with three tools, a model and a budget that ends mid-way. The
// calls are on its record, what it had left is its output, and the books are exact.
func TestToolsAndABudget(t *testing.T) {
	beside(t)
	var answered atomic.Int64
	credentials := t.TempDir()
	const credential = "credential-of-the-desk"
	require.NoError(t, os.WriteFile(filepath.Join(credentials, "DESK_KEY"), []byte(credential), 0o600))
	m := marketOn(t, Start(t, "AGENTMARKET_MODELS_FILE="+modelServer(t, &answered), "AGENTMARKET_MODEL_BUDGET_MICROS=2000000",
		"AGENTMARKET_TOOL_SECRETS="+credentials))
	m.operator.must(t, http.MethodPut, "/v1/platform/tool-servers/desk", map[string]any{
		"url": desk(t, credential, "look", "add", "say", "hidden"), "credential": map[string]any{"header": "X-Key", "secret": "DESK_KEY"},
	}, nil)
	m.offer(t, "works", sh+calls+`
		found="$(tool look), $(tool add), $(tool say), $(tool hidden)"
		call PUT /v1/result "{\"found\":\"$found\"}" >&2
		while :; do `+asksOnce+` >&2; done`,
		map[string]any{"models": []string{"small"}, "tools": []string{"desk/look", "desk/add", "desk/say"}},
		map[string]any{"model": "per_run", "per_run_micros": 50_000})
	m.order(t, "works", "usage")

	var run runView
	m.buyer.must(t, http.MethodPost, "/v1/agents/examples/works/runs", map[string]any{"input": map[string]any{}, "max_cost": usd(700_000)}, &run)
	run = m.buyer.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "budget_exhausted", run.Status, "%+v", run)
	require.JSONEq(t, `{"found":"this is look, this is add, this is say, unknown tool"}`, string(run.Output))
	require.Positive(t, answered.Load())
	require.Equal(t, 50_000+answered.Load()*120_000, run.cost())
	require.LessOrEqual(t, run.cost(), int64(700_000))

	status, events := m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/events?limit=200", nil, nil)
	require.Equal(t, http.StatusOK, status)
	for _, name := range []string{"look", "add", "say"} {
		require.Contains(t, string(events), `"tool":"`+name+`"`)
	}
	require.NotContains(t, string(events), "never-recorded")
	require.NotContains(t, strings.ToLower(string(events)), credential)
	available, held := m.balances(t)
	require.Zero(t, held)
	require.Equal(t, wallet-run.cost(), available)
	m.requireBooks(t)
}

// TestToolApproval: a call that a person has to agree to waits for one, as does the run,
// and is made once; a program's key is none.
func TestToolApproval(t *testing.T) {
	beside(t)
	m := startMarket(t)
	m.operator.must(t, http.MethodPut, "/v1/platform/tool-servers/desk", map[string]any{
		"url": desk(t, "", "pay"), "approve_tools": []string{"pay"},
	}, nil)
	m.offer(t, "pays", strings.NewReplacer("nc -w 10", "nc -w 60", "sleep 9", "sleep 59").Replace(sh)+calls+`printf '"%s"' "$(tool pay)"`,
		map[string]any{"tools": []string{"desk/pay"}}, map[string]any{"model": "per_run", "per_run_micros": 50_000})
	m.order(t, "pays", "usage")
	var invited, joined struct{ Token string }
	m.buyer.must(t, http.MethodPost, "/v1/organizations/globex/invitations", map[string]any{"email": "ada@example.com", "role": "admin"}, &invited)
	m.buyer.must(t, http.MethodPost, "/v1/invitations/accept", map[string]any{"token": invited.Token, "name": "Ada"}, &joined)
	ada := m.as(joined.Token)

	run := m.buyer.startRun(t, "pays", map[string]any{})
	m.buyer.until(t, run.ID, time.Minute, "the agent waits for a person", func(r runView) bool { return r.Status == "waiting_input" || r.ended() })
	var asked struct {
		Items []struct {
			ID, Tool, Status string
		}
	}
	ada.must(t, http.MethodGet, "/v1/runs/"+run.ID+"/tool-approvals", nil, &asked)
	require.Len(t, asked.Items, 1)
	require.Equal(t, "desk/pay", asked.Items[0].Tool)
	require.Equal(t, "waiting", asked.Items[0].Status)
	approve := "/v1/runs/" + run.ID + "/tool-approvals/" + asked.Items[0].ID + "/approve"
	status, body := m.buyer.Call(t, http.MethodPost, approve, nil, map[string]any{})
	require.Equal(t, http.StatusForbidden, status, "%s", body)
	ada.must(t, http.MethodPost, approve, map[string]any{"note": "go on"}, nil)
	run = m.buyer.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, "%+v", run)
	require.JSONEq(t, `"this is pay"`, string(run.Output))
}
