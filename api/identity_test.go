package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/marketplace"
)

// TestPersonByToken signs people in with tokens of an identity provider.
func TestPersonByToken(t *testing.T) {
	t.Parallel()
	provider := people{
		"adas-token":    {Email: "Ada@example.com", EmailVerified: true},
		"unverified":    {Email: "ada@example.com"},
		"no-address":    {EmailVerified: true},
		"nobodys-token": {Email: "nobody@example.com", EmailVerified: true},
		"amk_like":      {Email: "ada@example.com", EmailVerified: true},
	}
	f := newFixture(t, func(s *api.Server) { s.Identity = provider })
	ada, _ := f.person(f.org.ID, "ada@example.com", marketplace.RoleAdmin)
	other, _ := f.organization("stranger")
	f.person(other.ID, "eve@example.com", marketplace.RoleOwner)
	in := func(org, token string) call {
		return call{method: http.MethodGet, path: "/v1/me", token: token, header: map[string]string{"Agentmarket-Organization": org}}
	}

	me := f.requireStatus(http.StatusOK, f.do(in("acme", "adas-token")))
	require.Equal(t, "admin", me["role"])
	require.Equal(t, string(ada.User.ID), me["member"].(map[string]any)["user_id"])
	require.NotContains(t, me, "api_key")
	require.Len(t, me["scopes"], len(marketplace.AllScopes()))

	for name, c := range map[string]call{
		"not verified":         in("acme", "unverified"),
		"without an address":   in("acme", "no-address"),
		"no member":            in("acme", "nobodys-token"),
		"foreign organization": in("stranger", "adas-token"),
		"unknown organization": in("nobody", "adas-token"),
		"no organization":      {method: http.MethodGet, path: "/v1/me", token: "adas-token"},
		"bad token":            in("acme", "made-up"),
		"shaped like a key":    in("acme", "amk_like"),
	} {
		got := f.do(c)
		f.requireCode(http.StatusUnauthorized, "key_invalid", got)
		require.Contains(t, got.header.Get("WWW-Authenticate"), "invalid_token", name)
	}
	require.NotContains(t, f.log.String(), "adas-token")

	// A person with a token can do what her role allows, and is the actor.
	c := in("acme", "adas-token")
	c.method, c.path, c.body = http.MethodPost, keys, `{"personal":true,"scopes":["organization:read"]}`
	key := f.madeKey(f.do(c))
	require.Equal(t, string(ada.User.ID), key.body["user_id"])
	require.True(t, f.works(key.token))
	require.Equal(t, []string{"key.create"}, f.items(f.get(auditLog+"?actor="+string(ada.User.ID)), "action"))

	_, err := f.market.SetRole(t.Context(), setUp, f.org.ID, ada.User.ID, marketplace.RoleMember, now)
	require.NoError(t, err)
	f.requireCode(http.StatusForbidden, "role_missing", f.do(call{method: http.MethodGet, path: auditLog, token: "adas-token",
		header: map[string]string{"Agentmarket-Organization": "acme"}}))
	require.NoError(t, f.market.RemoveMember(t.Context(), setUp, f.org.ID, ada.User.ID, now))
	f.requireCode(http.StatusUnauthorized, "key_invalid", f.do(in("acme", "adas-token")))
}

func TestTokensNeedAProvider(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.requireCode(http.StatusUnauthorized, "key_invalid", f.send(http.MethodGet, "/v1/me", "", "adas-token"))
}

func TestProviderThatIsAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.Identity = away{} })
	f.requireCode(http.StatusServiceUnavailable, "unavailable", f.send(http.MethodGet, "/v1/me", "", "adas-token"))
	require.Equal(t, http.StatusOK, f.get("/v1/me").status, "keys need no provider")
}
