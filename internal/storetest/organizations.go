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

var organizationTests = []testCase{
	{"what is created is found, with its accounts", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		got, err := s.Marketplace.OrganizationByName(t.Context(), "acme")
		require.NoError(t, err)
		requireSame(t, org, got)
		got, err = s.Marketplace.Organization(t.Context(), org.ID)
		require.NoError(t, err)
		requireSame(t, org, got)
		accounts, err := s.Marketplace.Accounts(t.Context(), org.ID)
		require.NoError(t, err)
		require.Len(t, accounts, 3)
		requireAudit(t, s, org.ID, string(org.ID), entry{"organization.create", "", `{"name":"acme"}`})
	}},
	{"a name is taken once, by one of many", func(t *testing.T, s Stores) {
		var created, refused atomic.Int32
		together(20, func(int) {
			org, err := marketplace.NewOrganization("acme", start)
			if err == nil {
				err = s.Marketplace.CreateOrganization(t.Context(), actor, org)
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
	{"many are found by name and by identifier", func(t *testing.T, s Stores) {
		first, second := anOrganization(t, s, "acme"), anOrganization(t, s, "globex")
		anOrganization(t, s, "other")
		found, err := s.Marketplace.FindOrganizations(t.Context(), []string{"acme", "nobody"}, []ids.Org{second.ID, "org_none"})
		require.NoError(t, err)
		require.ElementsMatch(t, []marketplace.Organization{first, second}, found)
		found, err = s.Marketplace.FindOrganizations(t.Context(), nil, nil)
		require.NoError(t, err)
		require.Empty(t, found)
	}},
	{"all of them are listed newest first, by pages", func(t *testing.T, s Stores) {
		var names []string
		for i := range 5 {
			org := anOrganization(t, s, fmt.Sprint("org-", i))
			names = append([]string{org.Name}, names...)
		}
		var got []string
		pages(func(before ids.Org) (last ids.Org) {
			page, err := s.Marketplace.Organizations(t.Context(), before, 2)
			require.NoError(t, err)
			for _, org := range page {
				got, last = append(got, org.Name), org.ID
			}
			return last
		})
		require.Equal(t, names, got)
		all, err := s.Marketplace.Organizations(t.Context(), "", 0)
		require.NoError(t, err)
		require.Len(t, all, 5)
	}},
}

// pages calls read with one cursor after the other until a page is empty.
func pages[T ~string](read func(before T) (last T)) {
	for cursor := read(""); cursor != ""; {
		cursor = read(cursor)
	}
}

// aMember makes a person a member of an organization.
func aMember(t *testing.T, s Stores, org marketplace.Organization, email string, role marketplace.Role) marketplace.Member {
	t.Helper()
	user, err := marketplace.NewUser(email, "Name of "+email, start)
	require.NoError(t, err)
	m, err := s.Marketplace.AddMember(t.Context(), actor, marketplace.Member{OrgID: org.ID, User: user, Role: role, JoinedAt: start})
	require.NoError(t, err)
	return m
}

// aKey stores a key of a program, or of the person.
func aKey(t *testing.T, s Stores, org marketplace.Organization, user ids.User, at time.Time) marketplace.APIKey {
	t.Helper()
	key, _ := marketplace.NewAPIKey(org.ID, "laptop", marketplace.RoleMember, marketplace.AllScopes(), at)
	key.UserID = user
	require.NoError(t, s.Marketplace.CreateAPIKey(t.Context(), actor, key))
	key.CreatedAt = stored(key.CreatedAt)
	return key
}

// aTeam stores a team with members.
func aTeam(t *testing.T, s Stores, org marketplace.Organization, name string, members ...ids.User) marketplace.Team {
	t.Helper()
	team, err := marketplace.NewTeam(org.ID, name, start)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.CreateTeam(t.Context(), actor, team))
	team.CreatedAt = stored(team.CreatedAt)
	for _, user := range members {
		team, err = s.Marketplace.SetTeamMember(t.Context(), actor, org.ID, team.ID, user, true, start)
		require.NoError(t, err)
	}
	return team
}
