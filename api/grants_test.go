package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

// TestPrivateListing: an organization, a team and a person see what was granted
// to them, and nobody else does.
func TestPrivateListing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	globex, all := f.organization("globex")
	ada, ofAda := f.person(globex.ID, "ada@example.com", marketplace.RoleMember)
	bob, ofBob := f.person(globex.ID, "bob@example.com", marketplace.RoleMember)
	_, stranger := f.organization("stranger")
	team := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/organizations/globex/teams", `{"name":"research"}`, all))
	teamID := team["id"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/globex/teams/"+teamID+"/members/"+string(ada.User.ID), "", all))
	f.publish("1.0.0")
	f.list("greeter", map[string]any{"visibility": "private"})
	sees := func() (who string) {
		for _, c := range []struct{ name, token string }{{"globex", all}, {"ada", ofAda}, {"bob", ofBob}, {"stranger", stranger}} {
			got := f.send(http.MethodGet, greeter, "", c.token)
			found := f.items(f.send(http.MethodGet, "/v1/catalog", "", c.token), "agent")
			if len(found) == 1 {
				f.requireStatus(http.StatusOK, got)
				who += c.name + " "
			} else {
				f.requireCode(http.StatusNotFound, "agent_not_found", got)
			}
		}
		return who
	}
	grant := func(body string) string {
		got := f.post(greeter+"/grants", body)
		require.Equal(t, greeter+"/grants", got.header.Get("Location"))
		return f.requireStatus(http.StatusCreated, got)["id"].(string)
	}
	revoke := func(id string) {
		require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, greeter+"/grants/"+id, "", "").status)
	}
	require.Empty(t, sees())

	toTeam := grant(`{"organization":"globex","team":"research","access":"view"}`)
	require.Equal(t, "ada ", sees())
	toBob := grant(fmt.Sprintf(`{"organization":"globex","user":%q,"access":"run"}`, bob.User.ID))
	require.Equal(t, "ada bob ", sees())
	toAll := grant(`{"organization":"globex","access":"view"}`)
	require.Equal(t, "globex ada bob ", sees())
	require.Equal(t, []string{toAll, toBob, toTeam}, f.items(f.get(greeter+"/grants"), "id"))
	require.Equal(t, []string{"globex", "globex", "globex"}, f.items(f.get(greeter+"/grants"), "organization"))
	require.Equal(t, "grant", field(f.send(http.MethodGet, greeter, "", ofBob).json(t), "entitlement", "source"))

	revoke(toAll)
	revoke(toAll)
	require.Equal(t, "ada bob ", sees())
	revoke(toTeam)
	require.Equal(t, "bob ", sees())
	revoke(toBob)
	require.Empty(t, sees(), "what was given and taken back leaves nothing to see")
	require.NotNil(t, f.get(greeter + "/grants").json(t)["items"].([]any)[0].(map[string]any)["revoked_at"])

	until := now.Add(time.Hour).Format(time.RFC3339)
	grant(fmt.Sprintf(`{"organization":"globex","access":"view","expires_at":%q}`, until))
	require.Equal(t, "globex ada bob ", sees())
	f.clock.advance(time.Hour)
	require.NotContains(t, sees(), "globex")
}

// TestGrantedRun: access run lets an organization run what it would have to pay.
func TestGrantedRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(map[string]any{"samples": nil}), ""))
	f.requireStatus(http.StatusCreated, f.post(greeter+"/prices", `{"model":"per_run","currency":"USD","per_run_micros":250000}`))
	f.publish("1.0.0")
	f.list("greeter", nil)
	start := func() answer { return f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer) }
	f.requireCode(http.StatusPaymentRequired, "payment_required", start())
	f.requireStatus(http.StatusCreated, f.post(greeter+"/grants", `{"organization":"globex","access":"view"}`))
	f.requireCode(http.StatusPaymentRequired, "payment_required", start())
	f.requireStatus(http.StatusCreated, f.post(greeter+"/grants", `{"organization":"globex","access":"run"}`))
	f.requireStatus(http.StatusAccepted, start())
}

func TestBadGrants(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, other := f.organization("globex")
	elsewhere, _ := f.organization("elsewhere")
	someone, _ := f.person(elsewhere.ID, "eve@example.com", marketplace.RoleMember)
	f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/organizations/globex/teams", `{"name":"research"}`, other))
	f.publish("1.0.0")
	for _, tc := range []struct {
		body, code string
		status     int
		pointers   []string
	}{
		{`{}`, "request_invalid", 422, []string{"/access", "/organization"}},
		{`{"organization":"","access":"own"}`, "request_invalid", 422, []string{"/access", "/organization"}},
		{`{"organization":"x","team":"","user":"","access":"run"}`, "request_invalid", 422, []string{"/team", "/user"}},
		{`{"organization":"globex","access":"run","expires_at":"tomorrow"}`, "request_invalid", 422, []string{"/expires_at"}},
		{`{"organization":"globex","access":"run","expires_at":"2026-11-22T12:00:00Z"}`, "request_invalid", 422, []string{"/expires_at"}},
		{`{"organization":"globex","access":"run","agent":"x"}`, "request_invalid", 422, []string{"/agent"}},
		{`{"organization":"nobody","access":"run"}`, "organization_not_found", 404, nil},
		{`{"organization":"globex","team":"sales","access":"run"}`, "team_not_found", 404, nil},
		{`{"organization":"globex","user":"ada","access":"run"}`, "member_not_found", 404, nil},
		{`{"organization":"globex","user":"` + string(someone.User.ID) + `","access":"run"}`, "member_not_found", 404, nil},
	} {
		f.requireCode(tc.status, tc.code, f.post(greeter+"/grants", tc.body), tc.pointers...)
	}
	require.Empty(t, f.items(f.get(greeter+"/grants"), "id"))
	f.requireStatus(http.StatusCreated, f.post(greeter+"/grants", `{"organization":"globex","team":"research","access":"view"}`))
	f.requireCode(http.StatusConflict, "grant_exists", f.post(greeter+"/grants", `{"organization":"globex","team":"research","access":"view"}`))
	for _, id := range []string{"gra_1", "gra_01jd3m0f9zq4x8v5c7n2b6k1ta"} {
		f.requireCode(http.StatusNotFound, "grant_not_found", f.send(http.MethodDelete, greeter+"/grants/"+id, "", ""))
	}
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(greeter+"/grants?cursor=x"), "cursor")
}
