package activities

import (
	"context"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Claims reads what decides about a start.
type Claims interface {
	// Claim reads the rights of an organization to an agent, see
	// marketplace.EntitlementStore.
	Claim(ctx context.Context, q marketplace.ClaimQuery) (marketplace.Claim, error)
	// Spending reads spend limits and what was spent, see
	// marketplace.SpendStore.
	Spending(ctx context.Context, org ids.Org, user ids.User, month marketplace.Month) (marketplace.Spending, error)
}

// Marketplace is what workflows ask of layer 1.
type Marketplace struct {
	Store  Claims
	Runs   product.RunStore
	Agents product.AgentStore
	Limits product.Limits
	Policy marketplace.Policy
	Now    func() time.Time
}

// CheckEntitlementInput names a run. Everything else is read from its record.
type CheckEntitlementInput struct {
	OrgID   ids.Org   `json:"org_id"`
	AgentID ids.Agent `json:"agent_id"`
	RunID   ids.Run   `json:"run_id,omitempty"`
}

// CheckEntitlementResult is the right under which a run may start, and what the
// run may cost.
type CheckEntitlementResult struct {
	EntitlementID ids.Entitlement `json:"entitlement_id"`
	// PriceID is empty where the agent costs nothing; Currency is where models cost
	// nothing either.
	PriceID      ids.Price `json:"price_id,omitempty"`
	BudgetMicros int64     `json:"budget_micros,omitempty"`
	Currency     string    `json:"currency,omitempty"`
	// Affordable is how long the process may run for the budget; 0: no bound.
	Affordable time.Duration `json:"affordable,omitempty"`
}

// CheckEntitlement answers whether a run may start now, and for how much. A
// denial is a non-retryable error of the kind forbidden or payment_required with
// its stable code. Nothing is held yet: AcquireSlot decides once more, and
// holds.
func (m *Marketplace) CheckEntitlement(ctx context.Context, in CheckEntitlementInput) (CheckEntitlementResult, error) {
	hold, err := m.decide(ctx, in)
	if err != nil {
		return CheckEntitlementResult{}, toTemporal(err)
	}
	return CheckEntitlementResult{
		EntitlementID: hold.EntitlementID, PriceID: hold.Price.ID,
		BudgetMicros: hold.Amount.Micros, Currency: hold.Amount.Currency, Affordable: hold.Affordable,
	}, nil
}

// decide reads the world and returns what would be held for the run now.
func (m *Marketplace) decide(ctx context.Context, in CheckEntitlementInput) (marketplace.Hold, error) {
	run, err := m.Runs.Run(ctx, in.RunID)
	if err != nil {
		return marketplace.Hold{}, err
	}
	version, err := m.Agents.Version(ctx, run.VersionID)
	if err != nil {
		return marketplace.Hold{}, err
	}
	now := m.Now()
	claim, err := m.Store.Claim(ctx, marketplace.ClaimQuery{
		OrgID: in.OrgID, UserID: run.UserID, AgentID: in.AgentID, At: now,
	})
	if err != nil {
		return marketplace.Hold{}, err
	}
	spending, err := m.Store.Spending(ctx, in.OrgID, run.UserID, marketplace.MonthOf(now))
	if err != nil {
		return marketplace.Hold{}, err
	}
	return claim.Admit(run, marketplace.SubjectOf(version, run.Request, m.Limits, m.Policy), spending, m.Policy, now)
}
