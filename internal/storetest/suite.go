package storetest

import (
	"testing"

	"agentmarket/marketplace"
	"agentmarket/product"
)

// Stores is one empty database behind its interfaces.
type Stores struct {
	Marketplace marketplace.Store
	Agents      product.AgentStore
	Names       product.AgentNames
	Channels    product.ChannelStore
	Runs        product.RunStore
	Control     product.ControlStore
	Bodies      product.RunBodies
	Reconcile   product.ReconcileStore
	Sessions    product.SessionStore
	Tools       product.ToolApprovalStore
}

// Run runs the conformance suite. open returns empty stores, fresh for every
// call, and registers their end with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	for _, group := range []struct {
		name  string
		tests []testCase
	}{
		{"organizations", organizationTests},
		{"api_keys", apiKeyTests},
		{"members", memberTests},
		{"invitations", invitationTests},
		{"teams", teamTests},
		{"audit", auditTests},
		{"prices", priceTests},
		{"claims", claimTests},
		{"entitlements", entitlementTests},
		{"installations", installationTests},
		{"grants", grantTests},
		{"listings", listingTests},
		{"listing_comments", listingCommentTests},
		{"catalog", catalogTests},
		{"reviews", reviewTests},
		{"ledger", ledgerTests},
		{"refunds", refundTests},
		{"statements", statementTests},
		{"admissions", admissionTests},
		{"settlements", settlementTests},
		{"charges", chargeTests},
		{"models", modelTests},
		{"secrets", secretTests},
		{"orders", orderTests},
		{"renewals", renewalTests},
		{"top_ups", topUpTests},
		{"spending", spendingTests},
		{"agents", agentTests},
		{"agent_names", agentNameTests},
		{"channels", channelTests},
		{"heads", headTests},
		{"create_run", createRunTests},
		{"update_run", updateRunTests},
		{"list_runs", listRunTests},
		{"dispatch", dispatchTests},
		{"slots", slotTests},
		{"slot_order", slotOrderTests},
		{"slots_at_random", slotRandomTests},
		{"trees", treeTests},
		{"decisions", decisionTests},
		{"retention", retentionTests},
		{"children", childrenTests},
		{"reconcile", reconcileTests},
		{"sessions", sessionTests},
		{"artifacts", artifactTests},
		{"tool_servers", toolServerTests},
		{"tool_approvals", toolApprovalTests},
		{"policies", policyTests},
		{"doctor", doctorTests},
		{"schedules", scheduleTests},
		{"schedule_dispatch", scheduleDispatchTests},
		{"schedule_runs", scheduleRunTests},
		{"webhooks", webhookTests},
		{"webhooks_of_runs", ownEndpointTests},
		{"deliveries", deliveryTests},
		{"rollouts", rolloutTests},
		{"samples", sampleTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel() // each has a database of its own
					test.run(t, open(t))
				})
			}
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, s Stores)
}
