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

var grantTests = []testCase{
	{"grants are listed, newest first, in pages", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		team := m.team(t, m.buyer, "red")
		user := m.member(t, m.buyer, "jane")
		first := m.grant(t, marketplace.AccessView, nil)
		second := m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) { g.TeamID, g.ExpiresAt = team.ID, after(time.Hour) })
		third := m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) { g.UserID = user })
		m.another(t, "other").grant(t, marketplace.AccessView, nil)
		list := func(before ids.Grant, limit int) []marketplace.Grant {
			got, err := s.Marketplace.Grants(t.Context(), m.agent.ID, before, limit)
			require.NoError(t, err)
			return got
		}
		requireSame(t, []marketplace.Grant{third, second, first}, list("", 0))
		requireSame(t, []marketplace.Grant{third, second}, list("", 2))
		requireSame(t, []marketplace.Grant{first}, list(second.ID, 2))
	}},
	{"access run is a right, of those it is granted to and as long", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		team := m.team(t, m.buyer, "red")
		user := m.member(t, m.buyer, "jane", team)
		m.grant(t, marketplace.AccessView, nil)
		require.Empty(t, m.claim(t, user, start).Entitlements)
		g := m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) {
			g.TeamID, g.UserID, g.ExpiresAt = team.ID, user, after(time.Hour)
		})
		require.Empty(t, m.claim(t, "", start).Entitlements)
		got := m.claim(t, user, start).Entitlements
		require.Len(t, got, 1)
		want := marketplace.Entitlement{
			ID: got[0].ID, OrgID: m.buyer.ID, AgentID: m.agent.ID, Source: marketplace.SourceGrant,
			TeamID: team.ID, UserID: user, GrantID: g.ID, CreatedAt: g.CreatedAt, ExpiresAt: g.ExpiresAt,
		}
		requireSame(t, want, got[0].Entitlement)
	}},
	{"who was granted an agent sees it, until the grant ends", grantsAreSeen},
	{"the same grant is there once", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		team := m.team(t, m.buyer, "red")
		grant := func(access marketplace.Access, team ids.Team, at time.Time) error {
			g := m.aGrant(access)
			g.TeamID, g.CreatedAt, g.ExpiresAt = team, at, at.Add(time.Hour)
			return s.Marketplace.CreateGrant(t.Context(), actor, g)
		}
		require.NoError(t, grant(marketplace.AccessRun, "", start))
		requireFault(t, grant(marketplace.AccessRun, "", start), fault.Conflict, "grant_exists")
		requireFault(t, grant(marketplace.AccessRun, "", after(time.Hour-time.Microsecond)), fault.Conflict, "grant_exists")
		require.NoError(t, grant(marketplace.AccessView, "", start))
		require.NoError(t, grant(marketplace.AccessRun, team.ID, start))
		require.NoError(t, grant(marketplace.AccessRun, "", after(time.Hour)), "the first one has expired")
		list, err := s.Marketplace.Grants(t.Context(), m.agent.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, list, 4)
		require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, m.agent.ID, list[0].ID, after(time.Hour)))
		require.NoError(t, grant(marketplace.AccessRun, "", after(time.Hour)), "the second one was revoked")
	}},
	{"many at once leave one", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		var created, refused atomic.Int32
		together(20, func(int) {
			switch err := s.Marketplace.CreateGrant(t.Context(), actor, m.aGrant(marketplace.AccessRun)); {
			case err == nil:
				created.Add(1)
			case fault.Is(err, fault.Conflict):
				refused.Add(1)
			}
		})
		require.EqualValues(t, 1, created.Load())
		require.EqualValues(t, 19, refused.Load())
		require.Len(t, m.claim(t, "", start).Entitlements, 1)
	}},
	{"team and person are of the organization, and everything exists", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		team, user := m.team(t, m.publisher, "red"), m.member(t, m.publisher, "jane")
		for _, c := range []struct {
			code   string
			change func(*marketplace.Grant)
		}{
			{"team_not_found", func(g *marketplace.Grant) { g.TeamID = team.ID }},
			{"team_not_found", func(g *marketplace.Grant) { g.TeamID = "team_none" }},
			{"member_not_found", func(g *marketplace.Grant) { g.UserID = user }},
			{"member_not_found", func(g *marketplace.Grant) { g.UserID = "usr_none" }},
			{"organization_not_found", func(g *marketplace.Grant) { g.OrgID = "org_none" }},
			{"agent_not_found", func(g *marketplace.Grant) { g.AgentID = "agt_none" }},
		} {
			g := m.aGrant(marketplace.AccessRun)
			c.change(&g)
			requireFault(t, s.Marketplace.CreateGrant(t.Context(), actor, g), fault.NotFound, c.code)
		}
		require.Empty(t, m.claim(t, "", start).Entitlements)
	}},
	{"what is revoked ends with its right, once", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		other := m.another(t, "other")
		g := m.grant(t, marketplace.AccessRun, nil)
		kept := m.grant(t, marketplace.AccessView, nil)
		revoke := func(m market, id ids.Grant, at time.Time) error {
			return s.Marketplace.RevokeGrant(t.Context(), actor, m.agent.ID, id, at)
		}
		requireFault(t, revoke(m, "gra_none", start), fault.NotFound, "grant_not_found")
		requireFault(t, revoke(other, g.ID, start), fault.NotFound, "grant_not_found")
		require.NoError(t, revoke(m, g.ID, after(time.Hour)))
		require.NoError(t, revoke(m, g.ID, after(2*time.Hour)))
		g.RevokedAt = stored(after(time.Hour))
		list, err := s.Marketplace.Grants(t.Context(), m.agent.ID, "", 0)
		require.NoError(t, err)
		requireSame(t, []marketplace.Grant{kept, g}, list)
		right := m.claim(t, "", start).Entitlements[0]
		require.Equal(t, g.ID, right.GrantID)
		require.Equal(t, g.RevokedAt, right.RevokedAt)
	}},
	{"a team that is deleted takes with it what was granted to it", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		red, blue := m.team(t, m.buyer, "red"), m.team(t, m.buyer, "blue")
		user := m.member(t, m.buyer, "jane", red, blue)
		of := func(team marketplace.Team) func(*marketplace.Grant) {
			return func(g *marketplace.Grant) { g.TeamID = team.ID }
		}
		gone := m.grant(t, marketplace.AccessRun, of(red))
		kept := m.grant(t, marketplace.AccessRun, of(blue))
		paid := m.right(t, marketplace.SourceSubscription, func(e *marketplace.Entitlement) { e.TeamID, e.Renews = red.ID, true })
		require.NoError(t, s.Marketplace.DeleteTeam(t.Context(), actor, m.buyer.ID, red.ID, after(time.Hour)))

		gone.RevokedAt = stored(after(time.Hour))
		list, err := s.Marketplace.Grants(t.Context(), m.agent.ID, "", 0)
		require.NoError(t, err)
		requireSame(t, []marketplace.Grant{kept, gone}, list)
		claimed := m.claim(t, user, after(time.Hour)).Entitlements
		require.Len(t, claimed, 1)
		require.Equal(t, kept.ID, claimed[0].GrantID)
		all, err := s.Marketplace.Entitlements(t.Context(), m.buyer.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, all, 3)
		paid.RevokedAt, paid.Renews = stored(after(time.Hour)), false
		requireSame(t, paid, all[0])
		require.Equal(t, stored(after(time.Hour)), all[2].RevokedAt)
		require.Equal(t, "entitlement.revoke", m.audit(t, m.buyer, string(paid.ID))[0].Action)
	}},
	{"the publisher's audit log has the grant, the organization's the right", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		g := m.grant(t, marketplace.AccessRun, nil)
		require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, m.agent.ID, g.ID, after(time.Hour)))
		right := m.claim(t, "", start).Entitlements[0]
		for _, c := range []struct {
			org     marketplace.Organization
			subject string
			want    []string
		}{
			{m.publisher, string(g.ID), []string{"grant.revoke", "grant.create"}},
			{m.buyer, string(right.ID), []string{"entitlement.revoke", "entitlement.create"}},
			{m.buyer, string(g.ID), nil},
			{m.publisher, string(right.ID), nil},
		} {
			var got []string
			for _, e := range m.audit(t, c.org, c.subject) {
				got = append(got, e.Action)
			}
			require.Equal(t, c.want, got)
		}
	}},
}

// grantsAreSeen looks at one private listing with the eyes of several people.
func grantsAreSeen(t *testing.T, s Stores) {
	m := newMarket(t, s).another(t, "private")
	m.list(t, marketplace.VisibilityPrivate)
	team := m.team(t, m.buyer, "red")
	inTeam, outside := m.member(t, m.buyer, "jane", team), m.member(t, m.buyer, "john")
	sees := func(user ids.User, at time.Time) bool {
		c := m.claim(t, user, at)
		require.Equal(t, c.Granted, c.Visible(at))
		return c.Granted
	}
	require.False(t, sees(inTeam, start))

	m.grant(t, marketplace.AccessView, func(g *marketplace.Grant) { g.TeamID, g.ExpiresAt = team.ID, after(time.Hour) })
	require.True(t, sees(inTeam, after(time.Hour-time.Microsecond)))
	require.False(t, sees(inTeam, after(time.Hour)))
	require.False(t, sees(outside, start))
	require.False(t, sees("", start), "a program is in no team")

	m.grant(t, marketplace.AccessView, func(g *marketplace.Grant) { g.UserID = outside })
	require.True(t, sees(outside, start))
	require.False(t, sees("", start))

	all := m.grant(t, marketplace.AccessView, nil)
	require.True(t, sees("", start))
	require.True(t, sees("usr_unknown", start))
	require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, m.agent.ID, all.ID, start))
	require.False(t, sees("", start))
	require.True(t, sees(outside, start))
}
