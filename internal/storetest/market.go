package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// market is an agent that one organization publishes and another one may use.
type market struct {
	Stores
	publisher, buyer marketplace.Organization
	agent            product.Agent
	version          product.Version
}

// newMarket has an agent with a public listing and without a price.
func newMarket(t *testing.T, s Stores) market {
	t.Helper()
	m := market{Stores: s, publisher: anOrganization(t, s, "acme"), buyer: anOrganization(t, s, "globex")}
	m.agent, m.version = publish(t, s, m.publisher, "reviewer", "1.0.0", start)
	m.list(t, marketplace.VisibilityPublic)
	return m
}

// another is the market of another agent of the same publisher that is not listed.
func (m market) another(t *testing.T, name string) market {
	t.Helper()
	m.agent, m.version = publish(t, m.Stores, m.publisher, name, "1.0.0", start)
	return m
}

// list publishes a listing of the agent.
func (m market) list(t *testing.T, visibility marketplace.Visibility) {
	t.Helper()
	l, err := marketplace.NewListing(m.agent.ID, m.publisher, m.agent.Name,
		marketplace.ListingContent{Title: "Reviewer", Summary: "reviews"}, visibility, start)
	require.NoError(t, err)
	require.NoError(t, m.Marketplace.CreateListing(t.Context(), actor, l))
	m.relist(t, func(l *marketplace.Listing) error { return l.Submit(nil, false, start) })
}

func (m market) relist(t *testing.T, change func(*marketplace.Listing) error) {
	t.Helper()
	_, err := m.Marketplace.UpdateListing(t.Context(), actor, m.agent.ID, "listing.change", nil, change)
	require.NoError(t, err)
}

// right is an entitlement of the buyer that change completes before it is stored.
func (m market) right(t *testing.T, source marketplace.Source, change func(*marketplace.Entitlement)) marketplace.Entitlement {
	t.Helper()
	e := marketplace.NewEntitlement(m.buyer.ID, m.agent.ID, source, start)
	if change != nil {
		change(&e)
	}
	require.NoError(t, m.Marketplace.Entitle(t.Context(), actor, e))
	return storedEntitlement(e)
}

func storedEntitlement(e marketplace.Entitlement) marketplace.Entitlement {
	e.CreatedAt, e.ExpiresAt, e.RevokedAt = stored(e.CreatedAt), stored(e.ExpiresAt), stored(e.RevokedAt)
	return e
}

// member makes a person a member of an organization and of teams of it.
func (m market) member(t *testing.T, org marketplace.Organization, name string, teams ...marketplace.Team) ids.User {
	t.Helper()
	user, err := marketplace.NewUser(name+"@example.com", name, start)
	require.NoError(t, err)
	member, err := m.Marketplace.AddMember(t.Context(), actor,
		marketplace.Member{OrgID: org.ID, User: user, Role: marketplace.RoleMember, JoinedAt: start})
	require.NoError(t, err)
	for _, team := range teams {
		_, err = m.Marketplace.SetTeamMember(t.Context(), actor, org.ID, team.ID, member.User.ID, true, start)
		require.NoError(t, err)
	}
	return member.User.ID
}

func (m market) team(t *testing.T, org marketplace.Organization, name string) marketplace.Team {
	t.Helper()
	team, err := marketplace.NewTeam(org.ID, name, start)
	require.NoError(t, err)
	require.NoError(t, m.Marketplace.CreateTeam(t.Context(), actor, team))
	return team
}

func (m market) grant(t *testing.T, access marketplace.Access, change func(*marketplace.Grant)) marketplace.Grant {
	t.Helper()
	g := m.aGrant(access)
	if change != nil {
		change(&g)
	}
	require.NoError(t, m.Marketplace.CreateGrant(t.Context(), actor, g))
	return storedGrant(g)
}

// aGrant is a grant of the agent to the buyer.
func (m market) aGrant(access marketplace.Access) marketplace.Grant {
	return marketplace.Grant{
		ID: ids.New[ids.Grant](ids.PrefixGrant), AgentID: m.agent.ID, OrgID: m.buyer.ID,
		Access: access, CreatedBy: "usr_x", CreatedAt: start, Organization: m.buyer.Name,
	}
}

func storedGrant(g marketplace.Grant) marketplace.Grant {
	g.CreatedAt, g.ExpiresAt, g.RevokedAt = stored(g.CreatedAt), stored(g.ExpiresAt), stored(g.RevokedAt)
	return g
}

// claim is the buyer's claim at a time; user is empty for a program.
func (m market) claim(t *testing.T, user ids.User, at time.Time) marketplace.Claim {
	t.Helper()
	return m.claimOf(t, marketplace.ClaimQuery{OrgID: m.buyer.ID, UserID: user, AgentID: m.agent.ID, At: at})
}

func (m market) claimOf(t *testing.T, q marketplace.ClaimQuery) marketplace.Claim {
	t.Helper()
	c, err := m.Marketplace.Claim(t.Context(), q)
	require.NoError(t, err)
	return c
}

// rights are the identifiers of the rights of a claim.
func rights(c marketplace.Claim) []ids.Entitlement {
	list := []ids.Entitlement{}
	for _, r := range c.Entitlements {
		list = append(list, r.ID)
	}
	return list
}

// audit lists what an organization's audit log says about an object, newest first.
func (m market) audit(t *testing.T, org marketplace.Organization, subject string) []audit.Entry {
	t.Helper()
	entries, err := m.Marketplace.Audit(t.Context(), org.ID, audit.Query{Subject: subject})
	require.NoError(t, err)
	return entries
}
