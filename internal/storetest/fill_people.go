package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// fillPeople is Fill for an organization and its people, keys, invitations, teams
// and audit log. n members stay, two of them owners.
func fillPeople(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	_, err := s.Marketplace.OrganizationByName(ctx, org.Name)
	require.NoError(t, err)
	_, err = s.Marketplace.Organization(ctx, org.ID)
	require.NoError(t, err)
	for _, before := range []ids.Org{"", org.ID} {
		_, err = s.Marketplace.Organizations(ctx, before, 10)
		require.NoError(t, err)
	}
	fillMembers(t, s, n, org)
	fillKeys(t, s, org)

	i, _ := anInvitation(t, s, org, "late@fill.test", marketplace.RoleMember)
	require.NoError(t, s.Marketplace.RevokeInvitation(ctx, actor, org.ID, i.ID, start))
	i, secret := anInvitation(t, s, org, "invited@fill.test", marketplace.RoleMember)
	_, _, err = accept(t, s, i.ID, secret, start)
	require.NoError(t, err)
	_, err = s.Marketplace.Invitation(ctx, i.ID)
	require.NoError(t, err)
	for _, before := range []ids.Invitation{"", i.ID} {
		_, err = s.Marketplace.Invitations(ctx, org.ID, before, 10)
		require.NoError(t, err)
	}
	for _, q := range []audit.Query{
		{Limit: 10}, {Action: "key.create", Limit: 10}, {Subject: string(org.ID), Limit: 10}, {Actor: actor.ID, Limit: 10},
		{After: after(-time.Hour), Until: after(time.Hour), Before: "aud_z", Limit: 10},
	} {
		_, err = s.Marketplace.Audit(ctx, org.ID, q)
		require.NoError(t, err)
	}
}

func fillMembers(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	owner := aMember(t, s, org, "owner@fill.test", marketplace.RoleOwner)
	for i := range n {
		m := aMember(t, s, org, fmt.Sprintf("member-%d@fill.test", i), marketplace.RoleMember)
		aTeam(t, s, org, fmt.Sprint("team-", i), m.User.ID, owner.User.ID)
	}
	leaving := aMember(t, s, org, "leaving@fill.test", marketplace.RoleMember)
	aKey(t, s, org, leaving.User.ID, start)
	team := aTeam(t, s, org, "leaving", leaving.User.ID, owner.User.ID)
	_, err := s.Marketplace.SetRole(ctx, actor, org.ID, leaving.User.ID, marketplace.RoleOwner, start)
	require.NoError(t, err)
	_, err = s.Marketplace.SetTeamMember(ctx, actor, org.ID, team.ID, owner.User.ID, false, start)
	require.NoError(t, err)
	_, err = s.Marketplace.Teams(ctx, org.ID)
	require.NoError(t, err)
	for _, before := range []ids.User{"", leaving.User.ID} {
		_, err = s.Marketplace.Members(ctx, org.ID, before, 10)
		require.NoError(t, err)
	}
	_, err = s.Marketplace.Member(ctx, org.ID, owner.User.ID)
	require.NoError(t, err)
	_, err = s.Marketplace.MemberByEmail(ctx, org.ID, owner.User.Email)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.RemoveMember(ctx, actor, org.ID, leaving.User.ID, start))
	require.NoError(t, s.Marketplace.DeleteTeam(ctx, actor, org.ID, team.ID, start))
}

func fillKeys(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	key := aKey(t, s, org, "", start)
	_, err := s.Marketplace.APIKeyByPrefix(ctx, key.Prefix)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.TouchAPIKey(ctx, key.ID, start))
	next, _, old := key.Rotate(time.Hour, start)
	require.NoError(t, s.Marketplace.RotateAPIKey(ctx, actor, old, next))
	require.NoError(t, s.Marketplace.RevokeAPIKey(ctx, actor, org.ID, next.ID, start))
	_, err = s.Marketplace.APIKey(ctx, org.ID, key.ID)
	require.NoError(t, err)
	for _, before := range []ids.Key{"", next.ID} {
		_, err = s.Marketplace.APIKeys(ctx, org.ID, before, 10)
		require.NoError(t, err)
	}
}

// fillChannels is Fill for the names and the channels of agents.
func (w world) fillChannels(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := w.Names.EnsureAgent(ctx, actor, w.agent)
	require.NoError(t, err)
	_, second := publish(t, w.Stores, w.org, w.agent.Name, "2.0.0", start)
	for _, c := range []struct{ name, version string }{
		{product.ChannelStable, "2.0.0"}, {"beta", w.version.Number}, {"beta", second.Number}, {"alpha", second.Number},
	} {
		_, err = w.Channels.SetChannel(ctx, actor, w.agent.ID, c.name, c.version, start)
		require.NoError(t, err)
	}
	require.NoError(t, w.Channels.DeleteChannel(ctx, actor, w.agent.ID, "alpha", start))
	_, err = w.Channels.Channels(ctx, w.agent.ID)
	require.NoError(t, err)
	for _, version := range []string{"1.0.0", product.Latest, product.ChannelStable, "beta"} {
		_, err = w.Channels.Resolve(ctx, w.agent.ID, version)
		require.NoError(t, err)
	}
}
