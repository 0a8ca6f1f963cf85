package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var organizationTests = []testCase{
	{"what is created is found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		got, err := s.Marketplace.OrganizationByName(t.Context(), "acme")
		require.NoError(t, err)
		requireSame(t, org, got)
		got, err = s.Marketplace.Organization(t.Context(), org.ID)
		require.NoError(t, err)
		requireSame(t, org, got)
	}},
	{"a name is taken once, by one of many", func(t *testing.T, s Stores) {
		var created, refused atomic.Int32
		together(20, func(int) {
			org, err := marketplace.NewOrganization("acme", start)
			if err == nil {
				err = s.Marketplace.CreateOrganization(t.Context(), org)
			}
			switch {
			case err == nil:
				created.Add(1)
			case fault.Is(err, fault.Conflict):
				refused.Add(1)
			}
		})
		require.EqualValues(t, 1, created.Load())
		require.EqualValues(t, 19, refused.Load())
	}},
	{"an unknown name is not found", func(t *testing.T, s Stores) {
		_, err := s.Marketplace.OrganizationByName(t.Context(), "nobody")
		requireFault(t, err, fault.NotFound, "organization_not_found")
		_, err = s.Marketplace.Organization(t.Context(), ids.New[ids.Org](ids.PrefixOrg))
		requireFault(t, err, fault.NotFound, "organization_not_found")
	}},
}

var apiKeyTests = []testCase{
	{"what is created is found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key, token := marketplace.NewAPIKey(org.ID, "laptop", marketplace.AllScopes(), start)
		key.ExpiresAt = after(time.Hour)
		require.NoError(t, s.Marketplace.CreateAPIKey(t.Context(), key))

		prefix, secret, ok := marketplace.ParseToken(token.Reveal())
		require.True(t, ok)
		got, err := s.Marketplace.APIKeyByPrefix(t.Context(), prefix)
		require.NoError(t, err)
		require.NoError(t, got.Verify(secret, start))
		key.CreatedAt, key.ExpiresAt = stored(key.CreatedAt), stored(key.ExpiresAt)
		requireSame(t, key, got)
	}},
	{"a prefix is taken once", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key, _ := marketplace.NewAPIKey(org.ID, "laptop", nil, start)
		require.NoError(t, s.Marketplace.CreateAPIKey(t.Context(), key))
		key.ID = ids.New[ids.Key](ids.PrefixKey)
		requireFault(t, s.Marketplace.CreateAPIKey(t.Context(), key), fault.Conflict, "")
	}},
	{"the organization must exist", func(t *testing.T, s Stores) {
		key, _ := marketplace.NewAPIKey(ids.New[ids.Org](ids.PrefixOrg), "laptop", nil, start)
		requireFault(t, s.Marketplace.CreateAPIKey(t.Context(), key), fault.NotFound, "")
	}},
	{"an unknown prefix is not found", func(t *testing.T, s Stores) {
		_, err := s.Marketplace.APIKeyByPrefix(t.Context(), "0123456789ab")
		requireFault(t, err, fault.NotFound, "")
	}},
	{"a use is recorded once a minute", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		key, _ := marketplace.NewAPIKey(org.ID, "laptop", nil, start)
		require.NoError(t, s.Marketplace.CreateAPIKey(t.Context(), key))
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
}

var entitlementTests = []testCase{
	{"a grant is found, a second one replaces it and keeps the identifier", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0", start)
		first := marketplace.NewEntitlement(org.ID, agent.ID, marketplace.SourceOwnership, start)
		first.ExpiresAt = after(time.Hour)
		require.NoError(t, s.Marketplace.Grant(t.Context(), first))
		got, err := s.Marketplace.EntitlementFor(t.Context(), org.ID, agent.ID)
		require.NoError(t, err)
		first.CreatedAt, first.ExpiresAt = stored(first.CreatedAt), stored(first.ExpiresAt)
		requireSame(t, first, got)

		second := marketplace.NewEntitlement(org.ID, agent.ID, marketplace.SourceGrant, after(time.Minute))
		second.RevokedAt = after(2 * time.Minute)
		require.NoError(t, s.Marketplace.Grant(t.Context(), second))
		got, err = s.Marketplace.EntitlementFor(t.Context(), org.ID, agent.ID)
		require.NoError(t, err)
		second.ID, second.CreatedAt, second.RevokedAt = first.ID, stored(second.CreatedAt), stored(second.RevokedAt)
		requireSame(t, second, got)
	}},
	{"many grants at once leave one", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0", start)
		var failed atomic.Int32
		together(20, func(int) {
			e := marketplace.NewEntitlement(org.ID, agent.ID, marketplace.SourceGrant, start)
			if s.Marketplace.Grant(t.Context(), e) != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
	}},
	{"none is not found; organization and agent must exist", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0", start)
		_, err := s.Marketplace.EntitlementFor(t.Context(), org.ID, agent.ID)
		requireFault(t, err, fault.NotFound, "entitlement_not_found")
		for _, e := range []marketplace.Entitlement{
			marketplace.NewEntitlement("org_none", agent.ID, marketplace.SourceGrant, start),
			marketplace.NewEntitlement(org.ID, "agt_none", marketplace.SourceGrant, start),
		} {
			requireFault(t, s.Marketplace.Grant(t.Context(), e), fault.NotFound, "")
		}
	}},
}
