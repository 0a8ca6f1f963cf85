package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

func TestToolServers(t *testing.T) {
	f := newFixture(t)
	const path = "/v1/organizations/acme/tool-servers"
	got := f.send(http.MethodPut, path+"/desk", `{"url":"https://tools.example.com/mcp","credential":{"header":"X-Key","secret":"DESK_KEY"},"approve_tools":["pay"]}`, f.token)
	require.Equal(t, http.StatusOK, got.status, got.text)
	body := got.json(t)
	require.InDelta(t, 60, body["timeout_seconds"], 0)
	require.Equal(t, "desk", body["name"])
	require.Equal(t, got.json(t), f.get(path+"/desk").json(t))
	require.Len(t, f.get(path).json(t)["items"], 1)
	f.requireCode(http.StatusUnprocessableEntity, "tool_server_invalid", f.send(http.MethodPut, path+"/desk", `{"url":"http://tools.example.com"}`, f.token), "/url")
	f.requireCode(http.StatusUnprocessableEntity, "tool_server_invalid", f.send(http.MethodPut, path+"/De_sk", `{"url":"https://tools.example.com"}`, f.token), "/name")
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, path+"/desk", "", f.token).status)
	f.requireCode(http.StatusNotFound, "tool_server_not_found", f.get(path+"/desk"))

	operator := f.operator()
	const platform = "/v1/platform/tool-servers/desk"
	require.Equal(t, http.StatusOK, f.send(http.MethodPut, platform, `{"url":"http://10.0.0.1"}`, operator).status)
	f.requireCode(http.StatusForbidden, "role_missing", f.send(http.MethodPut, platform, `{"url":"http://10.0.0.1"}`, f.token))
	f.requireCode(http.StatusNotFound, "tool_server_not_found", f.get(path+"/desk"))
}

// ask has the attempt of a run wait for a person.
func (f *fixture) ask(run ids.Run) product.ToolApproval {
	f.t.Helper()
	store, ok := f.server.ToolApprovals.(product.ToolApprovalStore)
	require.True(f.t, ok)
	asked, err := store.AskForTool(f.t.Context(), product.ToolApproval{
		ID: ids.New[ids.ToolApproval](ids.PrefixToolApproval), RunID: run, Attempt: 1, Server: "desk", Tool: "pay",
		Arguments: json.RawMessage(`{"amount":5}`), RequestedAt: f.clock.now(), Deadline: f.clock.now().Add(time.Hour),
	})
	require.NoError(f.t, err)
	return asked
}

func TestToolApprovals(t *testing.T) {
	f := newFixture(t)
	run := f.started()
	f.begin(run, 1)
	asked := f.ask(run)
	self := "/v1/runs/" + string(run)
	shown := f.get(self).json(t)
	require.Equal(t, "waiting_input", shown["status"])
	require.Subset(t, shown["urls"], map[string]any{"tool_approvals": self + "/tool-approvals"})
	require.Len(t, f.get("/v1/runs?status=waiting_input").json(t)["items"], 1)

	items, ok := f.get(self + "/tool-approvals").json(t)["items"].([]any)
	require.True(t, ok)
	require.Len(t, items, 1)
	require.Subset(t, items[0], map[string]any{"id": string(asked.ID), "tool": "desk/pay", "status": "waiting", "arguments": map[string]any{"amount": 5.0}})
	_, stranger := f.organization("globex")
	f.requireCode(http.StatusNotFound, "run_not_found", f.send(http.MethodGet, self+"/tool-approvals", "", stranger))

	approve := self + "/tool-approvals/" + string(asked.ID) + "/approve"
	f.requireCode(http.StatusForbidden, "person_required", f.post(approve, ""))
	_, person := f.person(f.org.ID, "ada@acme.example.com", marketplace.RoleAdmin)
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, approve, `{"note":"`+strings.Repeat("é", 1500)+`"}`, person), "/note")
	for range 2 {
		got := f.send(http.MethodPost, approve, `{"note":"as agreed"}`, person)
		require.Equal(t, http.StatusOK, got.status, got.text)
		require.Subset(t, got.json(t), map[string]any{"status": "approved", "note": "as agreed"})
	}
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, strings.Replace(approve, "/approve", "/deny", 1), "", person))
	f.requireCode(http.StatusNotFound, "tool_approval_not_found", f.send(http.MethodPost, self+"/tool-approvals/nonsense/deny", "", person))
	require.Equal(t, "running", f.get(self).json(t)["status"])
	require.Empty(t, f.get("/v1/runs?status=waiting_input").json(t)["items"])
}
