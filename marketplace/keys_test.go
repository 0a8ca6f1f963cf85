package marketplace_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

func teams(list ...ids.Team) []ids.Team { return list }

func newKey(t *testing.T) (key marketplace.APIKey, secret string) {
	t.Helper()
	key, token := marketplace.NewAPIKey("org_x", "ci", marketplace.RolePublisher, marketplace.AllScopes(), now)
	prefix, secret, ok := marketplace.ParseToken(token.Reveal())
	require.True(t, ok)
	require.Equal(t, key.Prefix, prefix)
	return key, secret
}

func TestAPIKeyVerifiesOnlyItsOwnSecretUntilItEnds(t *testing.T) {
	key, secret := newKey(t)
	require.NoError(t, key.Verify(secret, now))
	_, other := newKey(t)
	for _, wrong := range []string{"", other, secret[1:] + "g", secret + "0", strings.ToUpper(secret) + " "} {
		denied(t, key.Verify(wrong, now), fault.Unauthenticated, "key_invalid")
	}

	key.ExpiresAt = now.Add(time.Hour)
	require.NoError(t, key.Verify(secret, now.Add(time.Hour-1)))
	denied(t, key.Verify(secret, now.Add(time.Hour)), fault.Unauthenticated, "key_expired")
	denied(t, key.Verify(other, now.Add(time.Hour)), fault.Unauthenticated, "key_invalid", "who does not have it learns nothing of it")

	key.RevokedAt = now.Add(time.Minute)
	require.NoError(t, key.Verify(secret, now.Add(time.Minute-1)))
	for _, at := range []time.Time{now.Add(time.Minute), now.Add(2 * time.Hour)} {
		denied(t, key.Verify(secret, at), fault.Unauthenticated, "key_invalid")
	}
}

func TestRotationOverlaps(t *testing.T) {
	for name, tc := range map[string]struct {
		expires time.Time
		overlap time.Duration
		until   time.Time // of the old key
	}{
		"a key without an end":         {time.Time{}, 24 * time.Hour, now.Add(24 * time.Hour)},
		"a key that ends later":        {now.Add(48 * time.Hour), time.Hour, now.Add(time.Hour)},
		"a key that ends earlier":      {now.Add(time.Minute), time.Hour, now.Add(time.Minute)},
		"at once":                      {time.Time{}, 0, now},
		"a key that has ended already": {now.Add(-time.Hour), time.Hour, now.Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			key, secret := newKey(t)
			key.UserID, key.ExpiresAt, key.Teams, key.LastUsedAt = "usr_1", tc.expires, teams("team_1"), now
			next, token, old := key.Rotate(tc.overlap, now)

			require.Equal(t, next.ID, old.RotatedTo)
			require.NoError(t, old.Verify(secret, tc.until.Add(-1)))
			denied(t, old.Verify(secret, tc.until), fault.Unauthenticated, "key_expired")
			key.RotatedTo, key.ExpiresAt = old.RotatedTo, old.ExpiresAt
			require.Empty(t, cmp.Diff(key, old), "the old key is otherwise as it was")

			// The new one is the same right with another secret, and lives no longer.
			prefix, fresh, ok := marketplace.ParseToken(token.Reveal())
			require.True(t, ok)
			require.Equal(t, next.Prefix, prefix)
			require.NotEqual(t, key.Prefix, prefix)
			require.Equal(t, tc.expires, next.ExpiresAt)
			if tc.expires.IsZero() || tc.expires.After(now) {
				require.NoError(t, next.Verify(fresh, now))
			}
			denied(t, next.Verify(secret, now), fault.Unauthenticated, "key_invalid")
			require.Empty(t, cmp.Diff(key, next, cmpopts.IgnoreFields(marketplace.APIKey{},
				"ID", "Prefix", "SecretHash", "ExpiresAt", "RotatedTo", "LastUsedAt", "Teams")))
			require.Empty(t, next.RotatedTo)
			require.Zero(t, next.LastUsedAt)
		})
	}
}

func TestKeysDoNotShareTheirScopes(t *testing.T) {
	scopes := []marketplace.Scope{marketplace.ScopeRunsRead}
	key, _ := marketplace.NewAPIKey("org_x", "ci", marketplace.RoleMember, scopes, now)
	next, _, _ := key.Rotate(0, now)
	scopes[0], next.Scopes[0] = marketplace.ScopeOrgWrite, marketplace.ScopeBillingWrite
	require.Equal(t, []marketplace.Scope{marketplace.ScopeRunsRead}, key.Scopes)
}

func TestTokenRedactsItself(t *testing.T) {
	_, token := marketplace.NewAPIKey("org_x", "ci", marketplace.RoleMember, nil, now)
	asJSON, err := json.Marshal(map[string]any{"key": token})
	require.NoError(t, err)
	for _, text := range []string{
		fmt.Sprint(token), fmt.Sprintf("%#v %+v %s %q %x", token, token, token, token, token), token.LogValue().String(), string(asJSON),
	} {
		require.NotContains(t, text, token.Reveal()[4:])
		require.NotContains(t, text, fmt.Sprintf("%x", token.Reveal()))
	}
}

func TestParseTokenRefusesOtherShapes(t *testing.T) {
	_, token := marketplace.NewAPIKey("org_x", "ci", marketplace.RoleMember, nil, now)
	good := token.Reveal()
	for _, bad := range []string{
		"", "amk_", "amk_x", good + "0", good[:len(good)-1], strings.ToUpper(good), "ghp" + good[3:],
		good[:16] + "-" + good[17:], "ami" + good[3:], " " + good, good + "\n", strings.Replace(good, good[5:6], "g", 1),
	} {
		_, _, ok := marketplace.ParseToken(bad)
		require.False(t, ok, bad)
	}
}

func FuzzParseToken(f *testing.F) {
	_, token := marketplace.NewAPIKey("org_x", "ci", marketplace.RoleMember, nil, now)
	f.Add(token.Reveal())
	f.Add("amk__")
	f.Fuzz(func(t *testing.T, text string) {
		prefix, secret, ok := marketplace.ParseToken(text)
		if ok && text != "amk_"+prefix+"_"+secret {
			t.Fatalf("%q was read as %q and %q", text, prefix, secret)
		}
	})
}
