package storetest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// entry is an entry of the audit log by the actor of the tests: what was done,
// and the object as JSON, empty for none.
type entry struct{ action, before, after string }

func auditOf(subject string) audit.Query { return audit.Query{Subject: subject} }

// requireAudit checks all that the audit log says about a subject, oldest first.
func requireAudit(t *testing.T, s Stores, org ids.Org, subject string, want ...entry) {
	t.Helper()
	entries, err := s.Marketplace.Audit(t.Context(), org, auditOf(subject))
	require.NoError(t, err)
	slices.Reverse(entries)
	var got []entry
	for _, e := range entries {
		require.Equal(t, actor, e.Actor)
		require.Equal(t, org, e.Org)
		require.Equal(t, subject, e.Subject)
		got = append(got, entry{e.Action, sorted(t, e.Before), sorted(t, e.After)})
	}
	for i := range want {
		want[i].before, want[i].after = sorted(t, []byte(want[i].before)), sorted(t, []byte(want[i].after))
	}
	require.Equal(t, want, got)
}

// sorted is JSON with its keys in order: PostgreSQL has its own.
func sorted(t *testing.T, text []byte) string {
	t.Helper()
	if len(text) == 0 {
		return ""
	}
	var value any
	require.NoError(t, json.Unmarshal(text, &value))
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

var auditTests = []testCase{
	{"it says who, what, before and after, in which request", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{})
		require.NoError(t, err)
		require.Len(t, entries, 1)
		got := entries[0]
		require.True(t, ids.Valid(ids.PrefixAudit, string(got.ID)))
		got.ID, got.After = "", []byte(sorted(t, got.After))
		requireSame(t, audit.Entry{
			Org: org.ID, Actor: actor, Action: "organization.create", Subject: string(org.ID),
			After: []byte(`{"name":"acme"}`), At: stored(start),
		}, got)
	}},
	{"it is searched, newest first, by pages", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		anOrganization(t, s, "other")
		key := aKey(t, s, org, "", after(time.Minute))
		other := aKey(t, s, org, "", after(2*time.Minute))
		ada := audit.Actor{Kind: audit.KindUser, ID: "usr_ada", Org: org.ID, RequestID: "req_2"}
		require.NoError(t, s.Marketplace.RevokeAPIKey(t.Context(), ada, org.ID, key.ID, after(3*time.Minute)))
		created, first, second, revoked := "organization.create "+string(org.ID), "key.create "+string(key.ID),
			"key.create "+string(other.ID), "key.revoke "+string(key.ID)
		for name, c := range map[string]struct {
			query audit.Query
			want  []string
		}{
			"all":      {audit.Query{}, []string{revoked, second, first, created}},
			"action":   {audit.Query{Action: "key.create"}, []string{second, first}},
			"subject":  {audit.Query{Subject: string(key.ID)}, []string{revoked, first}},
			"actor":    {audit.Query{Actor: "usr_ada"}, []string{revoked}},
			"both":     {audit.Query{Actor: actor.ID, Subject: string(key.ID)}, []string{first}},
			"after":    {audit.Query{After: after(time.Minute)}, []string{revoked, second}},
			"until":    {audit.Query{Until: after(2 * time.Minute)}, []string{first, created}},
			"limit":    {audit.Query{Limit: 2}, []string{revoked, second}},
			"nothing":  {audit.Query{Action: "key.steal"}, nil},
			"a prefix": {audit.Query{Action: "key"}, nil},
		} {
			require.Equal(t, c.want, actions(t, s, org.ID, c.query), name)
		}
		var got []string
		pages(func(before ids.Audit) (last ids.Audit) {
			page, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{Before: before, Limit: 3})
			require.NoError(t, err)
			for _, e := range page {
				got, last = append(got, e.Action+" "+e.Subject), e.ID
			}
			return last
		})
		require.Equal(t, []string{revoked, second, first, created}, got)
		require.Empty(t, actions(t, s, "org_none", audit.Query{}))
	}},
	{"it has no secrets", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key := aKey(t, s, org, "", start)
		next, _, old := key.Rotate(time.Hour, start)
		require.NoError(t, s.Marketplace.RotateAPIKey(t.Context(), actor, old, next))
		require.NoError(t, s.Marketplace.RevokeAPIKey(t.Context(), actor, org.ID, next.ID, start))
		i, secret := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleOwner)
		_, _, err := accept(t, s, i.ID, secret, start)
		require.NoError(t, err)
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{})
		require.NoError(t, err)
		require.Len(t, entries, 9)
		for _, e := range entries {
			for _, side := range [][]byte{e.Before, e.After} {
				require.NotContains(t, string(side), "hash")
				require.NotContains(t, string(side), "secret")
			}
		}
	}},
	{"what is refused leaves no trace", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner)
		before := actions(t, s, org.ID, audit.Query{})
		require.Error(t, s.Marketplace.RemoveMember(t.Context(), actor, org.ID, ada.User.ID, start))
		_, err := s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, "emperor", start)
		require.Error(t, err)
		require.Equal(t, before, actions(t, s, org.ID, audit.Query{}))
	}},
}

func actions(t *testing.T, s Stores, org ids.Org, q audit.Query) []string {
	t.Helper()
	entries, err := s.Marketplace.Audit(t.Context(), org, q)
	require.NoError(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Action+" "+e.Subject)
	}
	return list
}
