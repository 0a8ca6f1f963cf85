package marketplace

import (
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// Source says where an entitlement comes from.
type Source string

// The sources. Purchases, subscriptions and trials join them with the
// commercial objects.
const (
	SourceOwnership Source = "ownership" // the publisher runs its own agent
	SourceGrant     Source = "grant"     // given by the publisher
)

// Entitlement is the right of one organization to run one agent. An
// organization that never had one does not see the agent at all.
type Entitlement struct {
	ID        ids.Entitlement
	OrgID     ids.Org
	AgentID   ids.Agent
	Source    Source
	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire
	RevokedAt time.Time // zero: not revoked
}

// NewEntitlement returns an entitlement without an end.
func NewEntitlement(org ids.Org, agent ids.Agent, source Source, now time.Time) Entitlement {
	return Entitlement{
		ID: ids.New[ids.Entitlement](ids.PrefixEntitlement), OrgID: org, AgentID: agent,
		Source: source, CreatedAt: now,
	}
}

// Denial codes: stable texts of an entitlement that does not allow a run.
const (
	CodeNotEntitled        = "not_entitled"
	CodeEntitlementExpired = "entitlement_expired"
	CodeEntitlementRevoked = "entitlement_revoked"
)

// Check returns nil while the entitlement allows runs, else fault.Forbidden
// with the denial code. It looks at nothing but the entitlement: whether the
// agent can run at this moment is not a question of this layer.
func (e Entitlement) Check(now time.Time) error {
	switch {
	case e.ID == "":
		return fault.New(fault.Forbidden, CodeNotEntitled, "your organization is not entitled to run this agent")
	case !e.RevokedAt.IsZero() && !now.Before(e.RevokedAt):
		return fault.New(fault.Forbidden, CodeEntitlementRevoked, "the right of your organization to run this agent was revoked")
	case !e.ExpiresAt.IsZero() && !now.Before(e.ExpiresAt):
		return fault.New(fault.Forbidden, CodeEntitlementExpired, "the right of your organization to run this agent has expired")
	}
	return nil
}
