package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var apiKeyTests = []testCase{
	{"what is created is found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key, token := marketplace.NewAPIKey(org.ID, "laptop", marketplace.RolePublisher, marketplace.AllScopes(), start)
		key.ExpiresAt = after(time.Hour)
		require.NoError(t, s.Marketplace.CreateAPIKey(t.Context(), actor, key))

		prefix, secret, ok := marketplace.ParseToken(token.Reveal())
		require.True(t, ok)
		got, err := s.Marketplace.APIKeyByPrefix(t.Context(), prefix)
		require.NoError(t, err)
		require.NoError(t, got.Verify(secret, start))
		key.CreatedAt, key.ExpiresAt = stored(key.CreatedAt), stored(key.ExpiresAt)
		requireSame(t, key, got)
		got, err = s.Marketplace.APIKey(t.Context(), org.ID, key.ID)
		require.NoError(t, err)
		requireSame(t, key, got)
	}},
	{"a prefix is taken once", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key := aKey(t, s, org, "", start)
		key.ID = ids.New[ids.Key](ids.PrefixKey)
		requireFault(t, s.Marketplace.CreateAPIKey(t.Context(), actor, key), fault.Conflict, "key_taken")
	}},
	{"the organization must exist", func(t *testing.T, s Stores) {
		key, _ := marketplace.NewAPIKey(ids.New[ids.Org](ids.PrefixOrg), "laptop", marketplace.RoleOwner, nil, start)
		requireFault(t, s.Marketplace.CreateAPIKey(t.Context(), actor, key), fault.NotFound, "organization_not_found")
	}},
	{"what does not exist is not found", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		key := aKey(t, s, org, "", start)
		_, err := s.Marketplace.APIKeyByPrefix(t.Context(), "0123456789ab")
		requireFault(t, err, fault.NotFound, "key_not_found")
		_, err = s.Marketplace.APIKey(t.Context(), other.ID, key.ID)
		requireFault(t, err, fault.NotFound, "key_not_found")
		requireFault(t, s.Marketplace.RevokeAPIKey(t.Context(), actor, other.ID, key.ID, start), fault.NotFound, "key_not_found")
		next, _, old := key.Rotate(time.Hour, start)
		old.OrgID, next.OrgID = other.ID, other.ID
		requireFault(t, s.Marketplace.RotateAPIKey(t.Context(), actor, old, next), fault.NotFound, "key_not_found")
		none, err := s.Marketplace.APIKeys(t.Context(), other.ID, "", 0)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
	{"a use is recorded once a minute", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key := aKey(t, s, org, "", start)
		for _, step := range []struct{ use, want time.Duration }{
			{0, 0}, {30 * time.Second, 0}, {59 * time.Second, 0},
			{time.Minute, time.Minute}, {90 * time.Second, time.Minute}, {-time.Hour, time.Minute},
			{time.Hour, time.Hour},
		} {
			require.NoError(t, s.Marketplace.TouchAPIKey(t.Context(), key.ID, after(step.use)))
			got, err := s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
			require.NoError(t, err)
			require.Equal(t, stored(after(step.want)), got.LastUsedAt, "use after %s", step.use)
		}
		requireFault(t, s.Marketplace.TouchAPIKey(t.Context(), ids.New[ids.Key](ids.PrefixKey), start), fault.NotFound, "")
	}},
	{"they are listed newest first, by pages", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		aKey(t, s, anOrganization(t, s, "other"), "", start)
		var want, got []ids.Key
		for range 5 {
			want = append([]ids.Key{aKey(t, s, org, "", start).ID}, want...)
		}
		pages(func(before ids.Key) (last ids.Key) {
			page, err := s.Marketplace.APIKeys(t.Context(), org.ID, before, 2)
			require.NoError(t, err)
			for _, key := range page {
				got, last = append(got, key.ID), key.ID
			}
			return last
		})
		require.Equal(t, want, got)
	}},
	{"a person's key has the role and the teams that she has now", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		aMember(t, s, org, "owner@acme.test", marketplace.RoleOwner)
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleAuditor)
		elsewhere := aMember(t, s, other, "ada@acme.test", marketplace.RoleOwner)
		require.Equal(t, ada.User, elsewhere.User)
		key := aKey(t, s, org, ada.User.ID, start)
		red, blue := aTeam(t, s, org, "red", ada.User.ID), aTeam(t, s, org, "blue", ada.User.ID)
		aTeam(t, s, org, "green")
		aTeam(t, s, other, "red", ada.User.ID)

		key.Role, key.Teams = marketplace.RoleAuditor, []ids.Team{red.ID, blue.ID}
		got, err := s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
		require.NoError(t, err)
		requireSame(t, key, got)

		_, err = s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, marketplace.RoleAdmin, start)
		require.NoError(t, err)
		require.NoError(t, s.Marketplace.DeleteTeam(t.Context(), actor, org.ID, red.ID, start))
		key.Role, key.Teams = marketplace.RoleAdmin, []ids.Team{blue.ID}
		got, err = s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
		require.NoError(t, err)
		requireSame(t, key, got)
		list, err := s.Marketplace.APIKeys(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		require.Equal(t, marketplace.RoleAdmin, list[0].Role)

		require.NoError(t, s.Marketplace.RemoveMember(t.Context(), actor, org.ID, ada.User.ID, after(time.Minute)))
		_, err = s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
		requireFault(t, err, fault.NotFound, "key_not_found")
		got, err = s.Marketplace.APIKey(t.Context(), org.ID, key.ID)
		require.NoError(t, err)
		require.Equal(t, stored(after(time.Minute)), got.RevokedAt)
		stranger, _ := marketplace.NewAPIKey(org.ID, "laptop", marketplace.RoleMember, nil, start)
		stranger.UserID = ada.User.ID
		requireFault(t, s.Marketplace.CreateAPIKey(t.Context(), actor, stranger), fault.NotFound, "member_not_found")
	}},
	{"rotation keeps both for the overlap, once", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key := aKey(t, s, org, "", start)
		now := after(time.Hour)
		next, _, old := key.Rotate(time.Hour, now)
		require.NoError(t, s.Marketplace.RotateAPIKey(t.Context(), actor, old, next))
		got, err := s.Marketplace.APIKey(t.Context(), org.ID, key.ID)
		require.NoError(t, err)
		old.ExpiresAt = stored(now.Add(time.Hour))
		requireSame(t, old, got)
		got, err = s.Marketplace.APIKeyByPrefix(t.Context(), next.Prefix)
		require.NoError(t, err)
		next.CreatedAt = stored(next.CreatedAt)
		requireSame(t, next, got)

		again, _, older := key.Rotate(time.Hour, now)
		requireFault(t, s.Marketplace.RotateAPIKey(t.Context(), actor, older, again), fault.Conflict, "key_state")
		require.NoError(t, s.Marketplace.RevokeAPIKey(t.Context(), actor, org.ID, next.ID, now))
		again, _, older = next.Rotate(time.Hour, now)
		requireFault(t, s.Marketplace.RotateAPIKey(t.Context(), actor, older, again), fault.Conflict, "key_state")
	}},
	{"of many rotations at once one is made", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key := aKey(t, s, org, "", start)
		var made, refused atomic.Int32
		together(10, func(int) {
			next, _, old := key.Rotate(time.Hour, start)
			err := s.Marketplace.RotateAPIKey(t.Context(), actor, old, next)
			switch {
			case err == nil:
				made.Add(1)
			case fault.From(err).Code == "key_state":
				refused.Add(1)
			}
		})
		require.EqualValues(t, 1, made.Load())
		require.EqualValues(t, 9, refused.Load())
		keys, err := s.Marketplace.APIKeys(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, keys, 2)
	}},
	{"revocation stands", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key := aKey(t, s, org, "", start)
		for _, at := range []time.Duration{time.Minute, time.Hour} {
			require.NoError(t, s.Marketplace.RevokeAPIKey(t.Context(), actor, org.ID, key.ID, after(at)))
			got, err := s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
			require.NoError(t, err)
			require.Equal(t, stored(after(time.Minute)), got.RevokedAt)
		}
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, auditOf(string(key.ID)))
		require.NoError(t, err)
		require.Len(t, entries, 2, "created, revoked once")
	}},
	{"an organization has so many that work", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		create := func(expires time.Time) error {
			key, _ := marketplace.NewAPIKey(org.ID, "key", marketplace.RoleMember, nil, start)
			key.ExpiresAt = expires
			return s.Marketplace.CreateAPIKey(t.Context(), actor, key)
		}
		require.NoError(t, create(start.Add(-time.Second)), "does not work any more")
		for i := range marketplace.MaxKeys - 5 {
			require.NoError(t, create(time.Time{}), fmt.Sprint("key ", i))
		}
		var made, refused atomic.Int32
		together(20, func(int) {
			switch err := create(after(time.Hour)); {
			case err == nil:
				made.Add(1)
			case fault.From(err).Code == "too_many":
				refused.Add(1)
			}
		})
		require.EqualValues(t, 5, made.Load())
		require.EqualValues(t, 15, refused.Load())
		keys, err := s.Marketplace.APIKeys(t.Context(), org.ID, "", 1)
		require.NoError(t, err)
		next, _, old := keys[0].Rotate(time.Hour, start)
		requireFault(t, s.Marketplace.RotateAPIKey(t.Context(), actor, old, next), fault.Conflict, "too_many")
		require.NoError(t, s.Marketplace.RevokeAPIKey(t.Context(), actor, org.ID, keys[0].ID, start))
		require.NoError(t, create(time.Time{}))
	}},
}
