package activities

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

var theCheck = CheckEntitlementInput{OrgID: "org_1", AgentID: "agt_1", RunID: runID}

func aMarketplace(m *market, run product.Run) *Marketplace {
	return &Marketplace{
		Store: m, Runs: newRuns(run), Agents: &agents{version: aVersion()},
		Limits: product.DefaultLimits(), Policy: marketplace.DefaultPolicy(), Now: clock,
	}
}

func TestCheckEntitlement(t *testing.T) {
	free := ownClaim()
	free.Publisher, free.Status, free.Visibility = "org_2", marketplace.ListingPublished, marketplace.VisibilityPublic
	for _, tt := range []struct {
		name    string
		claim   marketplace.Claim
		arrange func(*product.Run, *Marketplace)
		want    CheckEntitlementResult
	}{
		{"its own agent", ownClaim(), nil, CheckEntitlementResult{}},
		{"a free one", free, nil, CheckEntitlementResult{}},
		{"bought: until the manifest's timeout", boughtClaim(), nil, bought(300_000, 300*time.Second)},
		{"until the caller's", boughtClaim(), func(r *product.Run, _ *Marketplace) { r.Request.RunTimeout = 10 * time.Second },
			bought(10_000, 10*time.Second)},
		{"never longer than the manifest's", boughtClaim(), func(r *product.Run, _ *Marketplace) { r.Request.RunTimeout = time.Hour },
			bought(300_000, 300*time.Second)},
		{"until the platform's", boughtClaim(), func(_ *product.Run, m *Marketplace) { m.Limits.MaxRun = 1500 * time.Millisecond },
			bought(2_000, 2*time.Second)},
		{"until the caller's budget is used up", boughtClaim(), func(r *product.Run, _ *Marketplace) { r.Request.MaxCost = money.Of(5_999, "USD") },
			bought(5_999, 5*time.Second)},
		{"until the organization's limit for a run", boughtClaim(), func(_ *product.Run, m *Marketplace) {
			m.Store.(*market).spending.Limits = []marketplace.SpendLimit{{Scope: marketplace.SpendPerRun, Amount: money.Of(4_000, "USD")}}
		}, bought(4_000, 4*time.Second)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := queuedRun()
			run.UserID = "usr_1"
			store := &market{claim: tt.claim}
			m := aMarketplace(store, run)
			if tt.arrange != nil {
				tt.arrange(&run, m)
				m.Runs = newRuns(run)
			}
			got, err := m.CheckEntitlement(t.Context(), theCheck)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(tt.want, got))
			require.Empty(t, cmp.Diff([]marketplace.ClaimQuery{{OrgID: "org_1", UserID: "usr_1", AgentID: "agt_1", At: now}}, store.queries))
			require.Equal(t, []marketplace.Month{"2026-03"}, store.months)
		})
	}
}

func bought(micros int64, affordable time.Duration) CheckEntitlementResult {
	return CheckEntitlementResult{EntitlementID: "ent_1", PriceID: "prc_1", BudgetMicros: micros, Currency: "USD", Affordable: affordable}
}

func TestCheckEntitlementDenies(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(*market, *agents)
		kind    fault.Kind
		code    string
	}{
		{"nothing bought", func(m *market, _ *agents) { m.claim.Entitlements = nil }, fault.PaymentRequired, marketplace.CodePaymentRequired},
		{"nothing to find", func(m *market, _ *agents) {
			m.claim.Entitlements, m.claim.Visibility = nil, marketplace.VisibilityPrivate
		}, fault.Forbidden, marketplace.CodeNotEntitled},
		{"another version", func(m *market, _ *agents) { m.claim.Entitlements[0].Versions = "2" }, fault.Forbidden, marketplace.CodeVersionNotCovered},
		{"not agreed to", func(_ *market, a *agents) { a.version.Manifest.Egress = []string{"api.example.com"} },
			fault.Forbidden, marketplace.CodeConsentRequired},
		{"too little money", func(m *market, _ *agents) { m.claim.Wallet.Micros = 299_999 }, fault.PaymentRequired, marketplace.CodeInsufficientFunds},
		{"the month's limit", func(m *market, _ *agents) {
			m.spending = marketplace.Spending{
				Limits: []marketplace.SpendLimit{{Scope: marketplace.SpendMonthly, Amount: money.Of(300_000, "USD")}},
				Org:    marketplace.Spend{Month: "2026-03", Spent: money.Of(1, "USD")},
			}
		}, fault.PaymentRequired, marketplace.CodeSpendLimitReached},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := &market{claim: boughtClaim()}
			m := aMarketplace(store, queuedRun())
			tt.arrange(store, m.Agents.(*agents))
			_, err := m.CheckEntitlement(t.Context(), theCheck)
			requireKind(t, err, tt.kind)
			f, _ := FaultOf(err)
			require.Equal(t, tt.code, f.Code)
			require.NotEmpty(t, f.Message)
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.True(t, app.NonRetryable())
		})
	}
}

func TestCheckEntitlementFails(t *testing.T) {
	away := fault.New(fault.Unavailable, "", "away")
	m := aMarketplace(&market{claim: ownClaim(), err: away}, queuedRun())
	_, err := m.CheckEntitlement(t.Context(), theCheck)
	requireKind(t, err, fault.Unavailable)

	m = aMarketplace(&market{claim: ownClaim()}, queuedRun())
	m.Agents.(*agents).err = away
	_, err = m.CheckEntitlement(t.Context(), theCheck)
	requireKind(t, err, fault.Unavailable)

	m.Runs = newRuns()
	_, err = m.CheckEntitlement(t.Context(), theCheck)
	requireKind(t, err, fault.NotFound)
}

// TestPayloadsOfOldHistories: they have neither a price nor a denial, and what
// has none is written as it was.
func TestPayloadsOfOldHistories(t *testing.T) {
	for text, into := range map[string]any{
		`{"org_id":"org_1","agent_id":"agt_1"}`: &CheckEntitlementInput{},
		`{"entitlement_id":"ent_1"}`:            &CheckEntitlementResult{},
		`{"granted":true}`:                      &Slot{},
	} {
		require.NoError(t, json.Unmarshal([]byte(text), into))
		again, err := json.Marshal(into)
		require.NoError(t, err)
		require.JSONEq(t, text, string(again))
	}
}
