package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

// TestWiderVersion: a buyer who pinned a version is untouched by the next one; a
// buyer who follows keeps what runs, is shown what more is asked for, and gets
// the new one with the consent.
func TestWiderVersion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, pinned := f.organization("globex")
	_, follows := f.organization("initech")
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", asking("1.0.0", "api.example.com:443")))
	f.list("greeter", nil)
	runs := func(token string) string {
		got := f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, token)
		return f.requireStatus(http.StatusAccepted, got)["version"].(string)
	}
	denied := f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, follows)
	f.requireCode(http.StatusForbidden, "consent_required", denied)
	require.Equal(t, greeter+"/installation/consent", denied.json(t)["next"])

	f.requireCode(http.StatusForbidden, "consent_required", f.send(http.MethodPut, greeter+"/installation", `{"version":"1.0.0"}`, pinned))
	for _, token := range []string{pinned, follows} {
		got := f.requireStatus(http.StatusOK, f.send(http.MethodPost, greeter+"/installation/consent", `{"version":"1.0.0"}`, token))
		require.Equal(t, []any{"stable", "1.0.0", false}, []any{got["channel"], got["version"], got["pinned"]})
		require.Equal(t, []any{"api.example.com:443"}, field(got, "consented", "egress"))
		require.Equal(t, "1.0.0", runs(token))
	}
	got := f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/installation", `{"version":"1.0.0"}`, pinned))
	require.Equal(t, []any{nil, "1.0.0", true}, []any{got["channel"], got["version"], got["pinned"]})

	f.requireStatus(http.StatusCreated, f.post("/v1/agents", asking("2.0.0", "*.example.com:443", "other.example.org")))
	require.Equal(t, "1.0.0", runs(pinned))
	require.Equal(t, "1.0.0", runs(follows))
	update := map[string]any{"version": "2.0.0", "consent_required": true, "change": map[string]any{
		"widens": true, "egress_added": []any{"*.example.com:443", "other.example.org"},
	}}
	waiting := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter+"/installation", "", follows))
	require.Equal(t, update, waiting["update"])
	require.Equal(t, "1.0.0", waiting["version"])
	agent := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", follows))
	require.Equal(t, update, agent["update"])
	require.Equal(t, waiting, agent["installation"])
	require.Equal(t, "1.0.0", agent["version"])
	require.Equal(t, true, field(agent, "entitlement", "allowed"))
	untouched := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", pinned))
	require.NotContains(t, untouched, "update", "updates are off")
	require.Equal(t, "1.0.0", untouched["version"])

	waits := func(token string) []string {
		return f.items(f.send(http.MethodGet, "/v1/installations?consent_required=true", "", token), "agent")
	}
	require.Equal(t, []string{"acme/greeter"}, waits(follows))
	require.Empty(t, waits(pinned))
	f.requireCode(http.StatusForbidden, "consent_required", f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"x"},"version":"2.0.0"}`, follows))
	f.requireCode(http.StatusForbidden, "consent_required", f.send(http.MethodPut, greeter+"/installation", `{"version":"2.0.0"}`, pinned))

	moved := f.requireStatus(http.StatusOK, f.send(http.MethodPost, greeter+"/installation/consent", `{"version":"2.0.0"}`, follows))
	require.Equal(t, "2.0.0", moved["version"])
	require.NotContains(t, moved, "update")
	require.Equal(t, "2.0.0", runs(follows))
	require.Empty(t, waits(follows))

	agreed := f.requireStatus(http.StatusOK, f.send(http.MethodPost, greeter+"/installation/consent", `{"version":"2.0.0"}`, pinned))
	require.Equal(t, []any{"1.0.0", true}, []any{agreed["version"], agreed["pinned"]}, "a consent moves nothing that is pinned elsewhere")
	require.Equal(t, "1.0.0", runs(pinned), "and takes nothing away")
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/installation", `{"version":"2.0.0"}`, pinned))
	require.Equal(t, "2.0.0", runs(pinned))
}

// TestHarmlessUpdate: what asks for no more comes with the next run, and reading
// moves nothing.
func TestHarmlessUpdate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	globex, buyer := f.organization("globex")
	f.publish("1.0.0")
	f.list("greeter", nil)
	f.requireCode(http.StatusNotFound, "installation_not_found", f.send(http.MethodGet, greeter+"/installation", "", buyer))
	got := f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/installation", `{"channel":"stable"}`, buyer))
	require.NotContains(t, got, "version", "nothing has run yet")
	require.NotContains(t, got, "update")
	start := func() any {
		return f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer).json(t)["version"]
	}
	require.Equal(t, "1.0.0", start())
	f.publish("1.1.0")
	agent, err := f.agents.AgentByName(t.Context(), "acme", "greeter")
	require.NoError(t, err)
	auditor := f.roleKey(globex.ID, marketplace.RoleAuditor)
	for _, path := range []string{greeter, greeter + "/installation", "/v1/installations", greeter + "/versions/1.1.0/changes"} {
		f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", auditor))
	}
	i, err := f.market.Installation(t.Context(), globex.ID, agent.ID)
	require.NoError(t, err)
	require.Equal(t, "1.0.0", i.Version)
	seen := f.send(http.MethodGet, greeter, "", auditor).json(t)
	require.Equal(t, "1.1.0", seen["version"])
	require.Equal(t, map[string]any{"version": "1.1.0", "consent_required": false, "change": field(seen, "update", "change")}, seen["update"])
	require.Equal(t, "1.1.0", start())
	require.NotContains(t, f.send(http.MethodGet, greeter, "", auditor).json(t), "update")
}

func TestFollowAChannel(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.publish("1.0.0")
	f.list("greeter", nil)
	set := func(body string) answer { return f.send(http.MethodPut, greeter+"/installation", body, buyer) }
	start := func() answer { return f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer) }
	f.requireCode(http.StatusNotFound, "channel_not_found", set(`{"channel":"beta"}`))
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", strings.TrimSuffix(publication("2.0.0-rc.1"), "}")+`,"channels":["beta"]}`))
	f.requireStatus(http.StatusOK, set(`{"channel":"beta"}`))
	require.Equal(t, "2.0.0-rc.1", start().json(t)["version"])
	f.requireStatus(http.StatusOK, set(`{"channel":"stable"}`))
	require.Equal(t, "1.0.0", start().json(t)["version"])
	f.requireStatus(http.StatusOK, set(`{"version":"beta"}`))
	require.Equal(t, "2.0.0-rc.1", start().json(t)["version"], "the version that the channel points at now")
	f.requireStatus(http.StatusOK, set(`{"channel":"beta"}`))
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, greeter+"/channels/beta", "", "").status)
	f.requireCode(http.StatusNotFound, "version_not_found", start())
	gone := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter+"/installation", "", buyer))
	require.Equal(t, "beta", gone["channel"])
	f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	for _, name := range []string{"one", "two", "three"} {
		f.newListing(name, nil)
		f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/agents/acme/"+name+"/installation", `{"channel":"stable"}`, buyer))
	}
	list := func(query string) answer { return f.send(http.MethodGet, "/v1/installations"+query, "", buyer) }
	require.Equal(t, []string{"acme/three", "acme/two", "acme/one"}, f.items(list(""), "agent"))
	next := list("?limit=2").json(t)["next_cursor"].(string)
	require.Equal(t, []string{"acme/one"}, f.items(list("?limit=2&cursor="+next), "agent"))
	two := strings.Replace(asking("1.0.0", "api.example.com"), `"greeter"`, `"two"`, 1)
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", two))
	waiting := list("?consent_required=true")
	require.Equal(t, []string{"acme/two"}, f.items(waiting, "agent"))
	first := waiting.json(t)["items"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"api.example.com"}, field(first, "update", "change", "egress_added"))
	require.Equal(t, "/v1/agents/acme/two/installation/consent", field(first, "urls", "consent"))
	require.Empty(t, f.items(f.get("/v1/installations"), "agent"))
}

func TestBadInstallations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	globex, buyer := f.organization("globex")
	_, stranger := f.organization("stranger")
	f.publish("1.0.0")
	f.list("greeter", map[string]any{"visibility": "private"})
	f.requireStatus(http.StatusCreated, f.post(greeter+"/grants", `{"organization":"globex","access":"run"}`))
	const path = greeter + "/installation"
	for body, pointers := range map[string][]string{
		`{}`:                                     {"/channel", "/version"},
		`{"channel":"stable","version":"1.0.0"}`: {"/channel", "/version"},
		`{"channel":"","version":""}`:            {"/channel", "/version"},
		`{"channel":"latest"}`:                   {"/channel"},
		`{"channel":"` + strings.Repeat("a", 41) + `"}`: {"/channel"},
		`{"version":"` + strings.Repeat("1", 65) + `"}`: {"/version"},
		`{"channel":"stable","auto":true}`:              {"/auto"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPut, path, body, buyer), pointers...)
	}
	for body, pointers := range map[string][]string{
		`{}`:                   {"/version"},
		`{"version":"latest"}`: {"/version"},
		`{"version":"stable"}`: {"/version"},
		`{"version":"` + strings.Repeat("1", 65) + `"}`: {"/version"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, path+"/consent", body, buyer), pointers...)
	}
	f.requireCode(http.StatusNotFound, "version_not_found", f.send(http.MethodPut, path, `{"version":"7.0.0"}`, buyer))
	f.requireCode(http.StatusNotFound, "version_not_found", f.send(http.MethodPost, path+"/consent", `{"version":"7.0.0"}`, buyer))
	f.requireCode(http.StatusNotFound, "installation_not_found", f.send(http.MethodGet, path, "", buyer))
	f.requireCode(http.StatusConflict, "installation_own_agent", f.send(http.MethodPut, path, `{"version":"1.0.0"}`, ""))
	f.requireCode(http.StatusConflict, "installation_own_agent", f.send(http.MethodPost, path+"/consent", `{"version":"1.0.0"}`, ""))
	for _, c := range []call{
		{method: http.MethodGet, path: path}, {method: http.MethodPut, path: path, body: `{"version":"1.0.0"}`},
		{method: http.MethodPost, path: path + "/consent", body: `{"version":"1.0.0"}`},
	} {
		c.token = stranger
		f.requireCode(http.StatusNotFound, "agent_not_found", f.do(c))
	}
	member := f.roleKey(globex.ID, marketplace.RoleMember)
	f.requireCode(http.StatusForbidden, "role_missing", f.send(http.MethodPost, path+"/consent", `{"version":"1.0.0"}`, member))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get("/v1/installations?cursor=x"), "cursor")
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.get("/v1/installations?consent_required=maybe"), "consent_required")
}

// TestGetAgent shows what decides about using an agent.
func TestGetAgent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	f.requireStatus(http.StatusCreated, f.post(greeter+"/prices", `{"model":"per_run","currency":"USD","per_run_micros":250000}`))
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", asking("1.0.0", "api.example.com")))
	f.list("greeter", nil)
	raise := func(month string, micros int) {
		f.requireStatus(http.StatusCreated, f.post(greeter+"/prices",
			fmt.Sprintf(`{"model":"per_run","currency":"USD","per_run_micros":%d,"effective_from":"2027-%s-01T00:00:00Z"}`, micros, month)))
	}
	raise("01", 300_000)
	raise("02", 400_000)
	got := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	require.Equal(t, "Greeter", field(got, "listing", "title"))
	require.Equal(t, "# Greeter", field(got, "listing", "readme"))
	require.EqualValues(t, 250_000, field(got, "price", "per_run_micros"))
	announced := got["announced_prices"].([]any)
	require.Len(t, announced, 2)
	require.EqualValues(t, 300_000, field(announced[0].(map[string]any), "per_run_micros"), "the next one first")
	require.Equal(t, "1.0.0", got["version"])
	require.Equal(t, []any{"api.example.com"}, field(got, "permissions", "egress"))
	require.Equal(t, map[string]any{
		"allowed": false, "code": "payment_required", "next": "/v1/orders", "detail": "your organization has not ordered this agent",
	}, got["entitlement"])
	require.NotContains(t, got, "installation")
	require.NotContains(t, got, "update")

	f.credit("globex", 10)
	f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/orders", `{"agent":"acme/greeter"}`, buyer))
	bought := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	require.Equal(t, map[string]any{"allowed": true, "source": "purchase"}, bought["entitlement"])
	require.Equal(t, "1.0.0", field(bought, "installation", "version"), "the order has consented")
	require.Equal(t, map[string]any{"allowed": true, "source": "ownership"}, f.get(greeter).json(t)["entitlement"])
	require.NotContains(t, f.get("/v1/agents").json(t)["items"].([]any)[0], "listing")
}
