package product

import "agentmarket/ids"

// ScopeKind says what a limit or a policy is about.
type ScopeKind string

// The kinds. A quota is what the platform allows an organization, organization
// what it allows itself.
const (
	ScopePlatform     ScopeKind = "platform"
	ScopeQuota        ScopeKind = "quota"
	ScopeOrganization ScopeKind = "organization"
	ScopeTeam         ScopeKind = "team"
	ScopeUser         ScopeKind = "user"      // within an organization
	ScopeAgent        ScopeKind = "agent"     // all runs of it, whoever starts them
	ScopePublisher    ScopeKind = "publisher" // all runs of its agents
)

// Scope is what a limit is about: all runs that share it. Scopes are locked in
// the order of their kind and ID.
type Scope struct {
	Kind ScopeKind
	// ID is that of the organization, team, agent or publisher; of a user that of
	// the organization and his own, with a slash between them; of the platform "".
	ID string
}

// PlatformScope is that of every run.
func PlatformScope() Scope { return Scope{Kind: ScopePlatform} }

// UserScope is that of a person in an organization, or of a program: its key.
func UserScope(org ids.Org, user string) Scope {
	return Scope{Kind: ScopeUser, ID: string(org) + "/" + user}
}

// Starter is who counts as the user of a run: the person, or the key of a program.
func (r Run) Starter() string {
	if r.UserID != "" {
		return string(r.UserID)
	}
	return string(r.KeyID)
}

// Scopes are the scopes of a run of an agent of a publisher.
func (r Run) Scopes(publisher ids.Org) []Scope {
	scopes := []Scope{
		PlatformScope(),
		{ScopeQuota, string(r.OrgID)},
		{ScopeOrganization, string(r.OrgID)},
		UserScope(r.OrgID, r.Starter()),
		{ScopeAgent, string(r.AgentID)},
		{ScopePublisher, string(publisher)},
	}
	if r.TeamID != "" {
		scopes = append(scopes, Scope{ScopeTeam, string(r.TeamID)})
	}
	return scopes
}
