package marketplace_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestOrganizationNames(t *testing.T) {
	for _, good := range []string{"a", "acme", "acme-2", strings.Repeat("a", 40)} {
		_, err := marketplace.NewOrganization(good, now)
		require.NoError(t, err, good)
	}
	for _, bad := range []string{"", "-acme", "acme-", "Acme", "ac me", "acme/x", strings.Repeat("a", 41), "ä"} {
		_, err := marketplace.NewOrganization(bad, now)
		require.True(t, fault.Is(err, fault.Invalid), bad)
	}
}

func TestAPIKeyVerifiesOnlyItsOwnSecretUntilItExpires(t *testing.T) {
	key, token := marketplace.NewAPIKey("org_x", "ci", marketplace.AllScopes(), now)
	prefix, secret, ok := marketplace.ParseToken(token.Reveal())
	require.True(t, ok)
	require.Equal(t, key.Prefix, prefix)
	require.NoError(t, key.Verify(secret, now))
	require.True(t, fault.Is(key.Verify(secret[1:]+"0", now), fault.Unauthenticated))

	key.ExpiresAt = now.Add(time.Hour)
	require.NoError(t, key.Verify(secret, now.Add(time.Hour-1)))
	require.Equal(t, "key_expired", fault.From(key.Verify(secret, now.Add(time.Hour))).Code)
}

func TestTokenRedactsItself(t *testing.T) {
	_, token := marketplace.NewAPIKey("org_x", "ci", nil, now)
	for _, text := range []string{fmt.Sprint(token), fmt.Sprintf("%#v %+v %s", token, token, token), token.LogValue().String()} {
		require.NotContains(t, text, token.Reveal()[4:])
	}
}

func TestParseTokenRefusesOtherShapes(t *testing.T) {
	_, token := marketplace.NewAPIKey("org_x", "ci", nil, now)
	good := token.Reveal()
	for _, bad := range []string{"", "amk_", good + "0", good[:len(good)-1], strings.ToUpper(good), "ghp" + good[3:], good[:16] + "-" + good[17:]} {
		_, _, ok := marketplace.ParseToken(bad)
		require.False(t, ok, bad)
	}
}

func TestScopes(t *testing.T) {
	key, _ := marketplace.NewAPIKey("org_x", "ci", []marketplace.Scope{marketplace.ScopeRunsRead}, now)
	require.NoError(t, key.Require(marketplace.ScopeRunsRead))
	require.Equal(t, "scope_missing", fault.From(key.Require(marketplace.ScopeRunsWrite)).Code)
}

func TestEntitlementCheck(t *testing.T) {
	granted := marketplace.NewEntitlement("org_x", ids.Agent("agt_x"), marketplace.SourceGrant, now)
	expired, revoked := granted, granted
	expired.ExpiresAt = now
	revoked.RevokedAt = now.Add(-time.Second)
	for name, tc := range map[string]struct {
		entitlement marketplace.Entitlement
		code        string
	}{
		"granted": {granted, ""},
		"none":    {marketplace.Entitlement{}, marketplace.CodeNotEntitled},
		"expired": {expired, marketplace.CodeEntitlementExpired},
		"revoked": {revoked, marketplace.CodeEntitlementRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.entitlement.Check(now)
			if tc.code == "" {
				require.NoError(t, err)
				return
			}
			require.True(t, fault.Is(err, fault.Forbidden))
			require.Equal(t, tc.code, fault.From(err).Code)
		})
	}
}
