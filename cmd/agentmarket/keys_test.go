package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/store"
)

var now = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func aStore(t *testing.T) *store.Marketplace {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite://" + t.TempDir() + "/store.db"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, db.Migrate(t.Context()))
	return db.Marketplace()
}

var tokenText = regexp.MustCompile(`amk_\w+`)

// keyOf runs a command and returns the key that it printed, as it is stored.
func keyOf(t *testing.T, s *store.Marketplace, args ...string) marketplace.APIKey {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, makeKey(t.Context(), s, args, now, &out))
	prefix, secret, ok := marketplace.ParseToken(tokenText.FindString(out.String()))
	require.True(t, ok, "%s", &out)
	key, err := s.APIKeyByPrefix(t.Context(), prefix)
	require.NoError(t, err)
	require.NoError(t, key.Verify(secret, now))
	return key
}

func TestOrganizationsAndTheirKeys(t *testing.T) {
	s := aStore(t)
	first := keyOf(t, s, "org", "create", "acme")
	require.Equal(t, marketplace.RoleOwner, first.Role)
	require.ElementsMatch(t, marketplace.AllScopes(), first.Scopes)
	org, err := s.OrganizationByName(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, org.ID, first.OrgID)

	second := keyOf(t, s, "org", "key", "acme")
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, org.ID, second.OrgID)
	require.Equal(t, marketplace.RoleOwner, second.Role)
	require.ElementsMatch(t, marketplace.AllScopes(), second.Scopes)

	entries, err := s.Audit(t.Context(), org.ID, audit.Query{Limit: 10})
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		require.Equal(t, onThisComputer, e.Actor, e.Action)
	}

	for _, tt := range []struct {
		args []string
		kind fault.Kind
	}{
		{[]string{"org", "create", "acme"}, fault.Conflict},
		{[]string{"org", "create", "No Name"}, fault.Invalid},
		{[]string{"org", "key", "nobody"}, fault.NotFound},
	} {
		require.Equal(t, tt.kind, fault.KindOf(makeKey(t.Context(), s, tt.args, now, &bytes.Buffer{})), "%v", tt.args)
	}
}

func TestOperatorKeys(t *testing.T) {
	s := aStore(t)
	first, second := keyOf(t, s, "operator", "key", "Ada's laptop"), keyOf(t, s, "operator", "key", "Grace's laptop")
	require.Equal(t, first.OrgID, second.OrgID, "one organization for all operators")
	org, err := s.OrganizationByName(t.Context(), "platform")
	require.NoError(t, err)
	require.Equal(t, org.ID, first.OrgID)
	require.Equal(t, "Ada's laptop", first.Name)
	require.Equal(t, marketplace.RoleOperator, first.Role)
	require.Empty(t, first.UserID)

	operator := first.Principal()
	for _, may := range []marketplace.Action{
		marketplace.ActPlatformRead, marketplace.ActPlatformReview, marketplace.ActPlatformBilling, marketplace.ActPlatformOrgs,
		marketplace.ActAgentsRead, marketplace.ActOrganizationRead, marketplace.ActBillingRead, marketplace.ActRefundsCreate, marketplace.ActAuditRead,
	} {
		require.NoError(t, operator.Require(may), "%s", may)
	}
	for _, a := range marketplace.Actions() { // a role that may do more needs the scope for it
		if marketplace.RoleOperator.Allows(a) {
			require.NoError(t, operator.Require(a), "%s", a)
		}
	}

	for _, name := range []string{"", " ", strings.Repeat("n", marketplace.MaxKeyName+1), "two\nlines"} {
		require.Error(t, makeKey(t.Context(), s, []string{"operator", "key", name}, now, &bytes.Buffer{}), "%q", name)
	}
}

func TestCommandsThatAreNone(t *testing.T) {
	for _, args := range [][]string{nil, {"org", "remove", "acme"}, {"operator", "create", "x"}} {
		var err error
		if len(args) == 3 {
			err = makeKey(context.Background(), nil, args, now, &bytes.Buffer{})
		} else {
			err = run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{})
		}
		require.ErrorIs(t, err, errUsage)
	}
}
