package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

// wholePolicy says something about everything.
const wholePolicy = `{
	"agents":["acme/*"],"max_resources":{"cpu_millis":4000,"memory_mib":4096,"disk_mib":1024},
	"default_resources":{"cpu_millis":500},"max_run_seconds":3600,"max_queue_seconds":1800,
	"default_run_seconds":60,"default_queue_seconds":120,"tier":"sandboxed",
	"tools":["search/*"],"secrets":[],"egress":["*.example.com"],"modes":["async"],
	"approval_above":{"amount_micros":5000000,"currency":"USD"},"approval_agents":["acme/writer"],
	"keep_input_seconds":3600,"keep_output_seconds":7200,"keep_log_seconds":86400}`

// rules is what a policy in an answer says, without whose it is.
func rules(t *testing.T, got map[string]any, scope string) map[string]any {
	t.Helper()
	require.Equal(t, scope, got["scope"])
	require.NotEmpty(t, got["updated_by"])
	require.Equal(t, "2026-11-22T12:00:00Z", got["updated_at"])
	rest := map[string]any{}
	for name, value := range got {
		switch name {
		case "scope", "updated_by", "updated_at", "team_id", "agent", "$schema":
		default:
			rest[name] = value
		}
	}
	return rest
}

func TestPolicies(t *testing.T) {
	f := newFixture(t)
	f.publish("1.0.0")
	team := f.requireStatus(http.StatusCreated, f.post("/v1/organizations/acme/teams", `{"name":"research"}`))["id"].(string)
	var whole map[string]any
	require.NoError(t, json.Unmarshal([]byte(wholePolicy), &whole))
	operator := f.operator()
	for _, of := range []struct{ scope, path, token string }{
		{"organization", "/v1/organizations/acme/policy", ""},
		{"team", "/v1/organizations/acme/teams/" + team + "/policy", ""},
		{"agent", "/v1/organizations/acme/agents/acme/greeter/policy", ""},
		{"platform", "/v1/platform/policy", operator},
	} {
		t.Run(of.scope, func(t *testing.T) {
			inner := *f
			f := &inner
			f.t = t
			f.requireCode(http.StatusNotFound, "policy_not_found", f.send(http.MethodGet, of.path, "", of.token))
			f.requireCode(http.StatusNotFound, "policy_not_found", f.send(http.MethodDelete, of.path, "", of.token))
			set := f.requireStatus(http.StatusOK, f.send(http.MethodPut, of.path, wholePolicy, of.token))
			require.Empty(t, cmp.Diff(whole, rules(t, set, of.scope)))
			got := f.requireStatus(http.StatusOK, f.send(http.MethodGet, of.path, "", of.token))
			require.Empty(t, cmp.Diff(set, got))

			// What is not said any more is gone.
			f.requireStatus(http.StatusOK, f.send(http.MethodPut, of.path, `{"max_run_seconds":5}`, of.token))
			got = f.requireStatus(http.StatusOK, f.send(http.MethodGet, of.path, "", of.token))
			require.Empty(t, cmp.Diff(map[string]any{"max_run_seconds": 5.0}, rules(t, got, of.scope)))
			if of.scope == "agent" {
				require.Equal(t, "acme/greeter", got["agent"])
			}
			if of.scope == "team" {
				require.Equal(t, team, got["team_id"])
			}
		})
	}
	list := f.get("/v1/organizations/acme/policies")
	require.Equal(t, []string{"organization", "team", "agent"}, f.items(list, "scope"))
	require.Equal(t, "acme/greeter", f.items(list, "agent")[2])
	require.Equal(t, []string{"policy.set", "policy.set"}, f.items(f.get("/v1/organizations/acme/audit-log?subject=policy:organization"), "action"))

	f.requireStatus(http.StatusNoContent, f.send(http.MethodDelete, "/v1/organizations/acme/policy", "", ""))
	f.requireCode(http.StatusNotFound, "policy_not_found", f.get("/v1/organizations/acme/policy"))
	require.Equal(t, []string{"team", "agent"}, f.items(f.get("/v1/organizations/acme/policies"), "scope"))
}

func TestPolicyListsMayBeAbsentOrEmpty(t *testing.T) {
	f := newFixture(t)
	const path = "/v1/organizations/acme/policy"
	for body, want := range map[string]map[string]any{
		`{}`: {},
		`{"agents":null,"tools":null,"modes":null}`: {},
		`{"agents":[],"tools":[],"secrets":[],"egress":[],"modes":[]}`: {
			"agents": []any{}, "tools": []any{}, "secrets": []any{}, "egress": []any{}, "modes": []any{}},
	} {
		f.requireStatus(http.StatusOK, f.send(http.MethodPut, path, body, ""))
		require.Empty(t, cmp.Diff(want, rules(t, f.requireStatus(http.StatusOK, f.get(path)), "organization")), body)
	}
}

func TestBadPolicies(t *testing.T) {
	f := newFixture(t)
	many := func(n int) string { return `["` + strings.Repeat(`a/b","`, n-1) + `a/b"]` }
	for body, pointers := range map[string][]string{
		`{"max_run_seconds":0}`:                                    {"/max_run_seconds"},
		`{"max_run_seconds":31536001}`:                             {"/max_run_seconds"},
		`{"max_queue_seconds":-1}`:                                 {"/max_queue_seconds"},
		`{"default_run_seconds":1.5}`:                              {"/default_run_seconds"},
		`{"default_queue_seconds":"1"}`:                            {"/default_queue_seconds"},
		`{"keep_input_seconds":0}`:                                 {"/keep_input_seconds"},
		`{"keep_output_seconds":315360001}`:                        {"/keep_output_seconds"},
		`{"keep_log_seconds":-5}`:                                  {"/keep_log_seconds"},
		`{"max_resources":{"cpu_millis":0}}`:                       {"/max_resources/cpu_millis"},
		`{"max_resources":{"memory_mib":16777217}}`:                {"/max_resources/memory_mib"},
		`{"default_resources":{"disk_mib":-1}}`:                    {"/default_resources/disk_mib"},
		`{"default_resources":{"gpu":1}}`:                          {"/default_resources/gpu"},
		`{"tier":"fast"}`:                                          {"/tier"},
		`{"modes":["later"]}`:                                      {"/modes/0"},
		`{"agents":` + many(201) + `}`:                             {"/agents"},
		`{"approval_above":{"amount_micros":5,"currency":"EUR"}}`:  {"/approval_above/currency"},
		`{"approval_above":{"amount_micros":-5,"currency":"USD"}}`: {"/approval_above/amount_micros"},
		`{"unknown":1}`:                                            {"/unknown"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPut, "/v1/organizations/acme/policy", body, ""), pointers...)
	}
	for body, pointer := range map[string]string{
		`{"agents":["acme/*","greeter"]}`:                      "/agents/1",
		`{"approval_agents":["ACME/greeter"]}`:                 "/approval_agents/0",
		`{"tools":["ok","` + strings.Repeat("a", 1000) + `"]}`: "/tools/1",
		`{"secrets":["","TOKEN"]}`:                             "/secrets/0",
		`{"egress":["10.0.0.1"]}`:                              "/egress/0",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "policy_invalid", f.send(http.MethodPut, "/v1/organizations/acme/policy", body, ""), pointer)
	}
	f.requireCode(http.StatusNotFound, "policy_not_found", f.get("/v1/organizations/acme/policy"))
}

func TestPoliciesOfWhatOthersHave(t *testing.T) {
	f := newFixture(t)
	_, globex := f.organization("globex")
	theirs := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/organizations/globex/teams", `{"name":"research"}`, globex))["id"].(string)
	f.send(http.MethodPost, "/v1/agents", publication("1.0.0"), globex) // private: it has no listing
	for _, tt := range []struct{ method, path, code string }{
		{http.MethodPut, "teams/" + theirs + "/policy", "team_not_found"},
		{http.MethodGet, "teams/" + theirs + "/policy", "policy_not_found"},
		{http.MethodGet, "teams/nonsense/policy", "policy_not_found"},
		{http.MethodDelete, "teams/" + theirs + "/policy", "policy_not_found"},
		{http.MethodPut, "agents/globex/greeter/policy", "agent_not_found"},
		{http.MethodGet, "agents/globex/greeter/policy", "policy_not_found"},
		{http.MethodGet, "agents/globex/nothing/policy", "policy_not_found"},
	} {
		body := ""
		if tt.method == http.MethodPut {
			body = `{}`
		}
		f.requireCode(http.StatusNotFound, tt.code, f.send(tt.method, "/v1/organizations/acme/"+tt.path, body, ""))
	}
	same := f.get("/v1/organizations/acme/agents/globex/greeter/policy").json(t)["detail"]
	require.Equal(t, f.get("/v1/organizations/acme/agents/globex/nothing/policy").json(t)["detail"], same,
		"whether there is an agent that nobody sees is not told")
}

// What a policy forbids is decided by the workflow; who may change it is in the
// table of authorization.
func TestPoliciesAreChangedByAdmins(t *testing.T) {
	f := newFixture(t)
	for role, status := range map[marketplace.Role]int{
		marketplace.RoleAdmin: http.StatusOK, marketplace.RolePublisher: http.StatusForbidden, marketplace.RoleMember: http.StatusForbidden,
	} {
		_, token := f.person(f.org.ID, fmt.Sprintf("%s@acme.test", role), role)
		require.Equal(t, status, f.send(http.MethodPut, "/v1/organizations/acme/policy", `{}`, token).status, role)
	}
}
