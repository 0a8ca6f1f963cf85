package activities

import (
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// Marketplace is what workflows ask of layer 1.
type Marketplace struct {
	Store marketplace.Store
	Now   func() time.Time
}

// CheckEntitlementInput names an organization and an agent.
type CheckEntitlementInput struct {
	OrgID   ids.Org   `json:"org_id"`
	AgentID ids.Agent `json:"agent_id"`
}

// CheckEntitlementResult is the right under which a run may start.
type CheckEntitlementResult struct {
	EntitlementID ids.Entitlement `json:"entitlement_id"`
}

// CheckEntitlement answers whether an organization may run an agent now. A
// denial is a non-retryable error of the kind forbidden with its stable code.
func (m *Marketplace) CheckEntitlement(ctx context.Context, in CheckEntitlementInput) (CheckEntitlementResult, error) {
	e, err := m.Store.EntitlementFor(ctx, in.OrgID, in.AgentID)
	if fault.Is(err, fault.NotFound) {
		err = nil // the zero entitlement denies with its own code
	}
	if err == nil {
		err = e.Check(m.Now())
	}
	if err != nil {
		return CheckEntitlementResult{}, toTemporal(err)
	}
	return CheckEntitlementResult{EntitlementID: e.ID}, nil
}
