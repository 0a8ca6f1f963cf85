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

var teamTests = []testCase{
	{"they are listed by name, with their members", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner).User.ID
		bob := aMember(t, s, org, "bob@acme.test", marketplace.RoleMember).User.ID
		red, blue := aTeam(t, s, org, "red", bob, ada), aTeam(t, s, org, "blue")
		aTeam(t, s, other, "red")
		require.Equal(t, []ids.User{ada, bob}, red.Members)
		teams, err := s.Marketplace.Teams(t.Context(), org.ID)
		require.NoError(t, err)
		requireSame(t, []marketplace.Team{blue, red}, teams)
	}},
	{"a name is taken once within an organization", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		aTeam(t, s, org, "red")
		again, err := marketplace.NewTeam(org.ID, "red", start)
		require.NoError(t, err)
		requireFault(t, s.Marketplace.CreateTeam(t.Context(), actor, again), fault.Conflict, "team_taken")
		again.OrgID = "org_none"
		requireFault(t, s.Marketplace.CreateTeam(t.Context(), actor, again), fault.NotFound, "organization_not_found")
	}},
	{"an organization has so many", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		for i := range marketplace.MaxTeams - 2 {
			aTeam(t, s, org, fmt.Sprint("team-", i))
		}
		var made, refused atomic.Int32
		together(10, func(i int) {
			team, _ := marketplace.NewTeam(org.ID, fmt.Sprint("more-", i), start)
			switch err := s.Marketplace.CreateTeam(t.Context(), actor, team); {
			case err == nil:
				made.Add(1)
			case fault.From(err).Code == "too_many":
				refused.Add(1)
			}
		})
		require.EqualValues(t, 2, made.Load())
		require.EqualValues(t, 8, refused.Load())
	}},
	{"members come and go, and the same again is no change", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner).User.ID
		stranger := aMember(t, s, other, "eve@other.test", marketplace.RoleOwner).User.ID
		red := aTeam(t, s, org, "red")
		set := func(org ids.Org, team ids.Team, user ids.User, in bool) (marketplace.Team, error) {
			return s.Marketplace.SetTeamMember(t.Context(), actor, org, team, user, in, after(time.Minute))
		}
		for _, step := range []struct {
			in   bool
			want []ids.User
		}{{false, nil}, {true, []ids.User{ada}}, {true, []ids.User{ada}}, {false, nil}, {false, nil}} {
			got, err := set(org.ID, red.ID, ada, step.in)
			require.NoError(t, err)
			require.Equal(t, step.want, got.Members)
		}
		member := `{"name":"red","user_id":"` + string(ada) + `"}`
		requireAudit(t, s, org.ID, string(red.ID), entry{"team.create", "", `{"name":"red"}`},
			entry{"team.add_member", "", member}, entry{"team.remove_member", member, ""})

		_, err := set(org.ID, red.ID, stranger, true)
		requireFault(t, err, fault.NotFound, "member_not_found")
		_, err = set(org.ID, "team_none", ada, true)
		requireFault(t, err, fault.NotFound, "team_not_found")
		_, err = set(other.ID, red.ID, stranger, true)
		requireFault(t, err, fault.NotFound, "team_not_found")
	}},
	{"a team that is deleted leaves nothing behind", func(t *testing.T, s Stores) {
		publisher, org := anOrganization(t, s, "acme"), anOrganization(t, s, "buyer")
		ada := aMember(t, s, org, "ada@buyer.test", marketplace.RoleOwner)
		red := aTeam(t, s, org, "red", ada.User.ID)
		agent, _ := publish(t, s, publisher, "reviewer", "1.0.0", start)
		g := marketplace.Grant{
			ID: ids.New[ids.Grant](ids.PrefixGrant), AgentID: agent.ID, OrgID: org.ID, TeamID: red.ID,
			Access: marketplace.AccessRun, CreatedBy: actor.ID, CreatedAt: start,
		}
		require.NoError(t, s.Marketplace.CreateGrant(t.Context(), actor, g))
		requireFault(t, s.Marketplace.DeleteTeam(t.Context(), actor, publisher.ID, red.ID, start), fault.NotFound, "team_not_found")
		require.NoError(t, s.Marketplace.DeleteTeam(t.Context(), actor, org.ID, red.ID, after(time.Minute)))
		requireFault(t, s.Marketplace.DeleteTeam(t.Context(), actor, org.ID, red.ID, start), fault.NotFound, "team_not_found")

		teams, err := s.Marketplace.Teams(t.Context(), org.ID)
		require.NoError(t, err)
		require.Empty(t, teams)
		member, err := s.Marketplace.Member(t.Context(), org.ID, ada.User.ID)
		require.NoError(t, err)
		require.Empty(t, member.Teams)
		grants, err := s.Marketplace.Grants(t.Context(), agent.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, grants, 1)
		require.Equal(t, stored(after(time.Minute)), grants[0].RevokedAt)
		rights, err := s.Marketplace.Entitlements(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, rights, 1)
		require.Equal(t, stored(after(time.Minute)), rights[0].RevokedAt)
	}},
}
