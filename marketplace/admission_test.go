package marketplace_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

var policy = marketplace.DefaultPolicy()

func limit(scope marketplace.SpendScope, micros int64) marketplace.SpendLimit {
	return marketplace.SpendLimit{OrgID: "org_buyer", Scope: scope, Amount: usd(micros)}
}

func limited(limits ...marketplace.SpendLimit) marketplace.Spending {
	return marketplace.Spending{Limits: limits}
}

func queued(most money.Amount) product.Run {
	return product.Run{ID: "run_1", OrgID: "org_buyer", UserID: "usr_1", AgentID: "agt_1", Request: product.Request{MaxCost: most}}
}

func TestAdmitHoldsWhatTheRunMayCost(t *testing.T) {
	p, r := priced(marketplace.ModelPerSecond, tiers(marketplace.Tier{After: 60, Micros: 50})), right(purchase, used(1))
	h, err := claim(p, r).Admit(queued(usd(2000)), subject, marketplace.Spending{}, policy, now)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(marketplace.Hold{
		RunID: "run_1", OrgID: "org_buyer", UserID: "usr_1", AgentID: "agt_1", Publisher: "org_acme",
		EntitlementID: r.ID, Source: purchase, Price: *p, Used: 60, Amount: usd(2000), Affordable: 40 * time.Second,
		FeeBasisPoints: 2000, Month: "2026-11", CreatedAt: now,
	}, h))
}

func TestAdmitHoldsNothingForWhatIsPaid(t *testing.T) {
	sub := right(subscription)
	for name, tc := range map[string]struct {
		claim marketplace.Claim
		price marketplace.Price
	}{
		"free":                   {claim(nil), marketplace.Price{}},
		"on trial":               {claim(priced(marketplace.ModelPerEvent), right(trialed)), marketplace.Price{}},
		"granted":                {claim(priced(marketplace.ModelPerEvent), right(grant)), marketplace.Price{}},
		"included":               {claim(priced(marketplace.ModelSubscription), sub), *sub.Price},
		"bought what is free":    {claim(priced(marketplace.ModelFree), right(purchase)), marketplace.Price{}},
		"included, all is spent": {claim(priced(marketplace.ModelSubscription), sub), *sub.Price},
	} {
		t.Run(name, func(t *testing.T) {
			tc.claim.Wallet = usd(0)
			h, err := tc.claim.Admit(queued(anything), subject, limited(limit(marketplace.SpendMonthly, 0), limit(marketplace.SpendPerRun, 0)), policy, now)
			require.NoError(t, err)
			require.True(t, h.Amount.IsZero())
			require.True(t, h.Included)
			require.Empty(t, cmp.Diff(tc.price, h.Price))
			// And it is settled for nothing, whatever it does.
			_, err = h.Charge("page", 5, usd(0))
			require.Equal(t, tc.price.Model != "", err != nil, "an agent that charges for events can be tried")
			s := marketplace.Settle(h, ended(product.ReasonOK, ran(time.Hour, product.ReasonOK)), marketplace.Used{})
			require.True(t, s.Total.IsZero())
			require.True(t, s.Counted)
		})
	}
}

func TestAdmitDenies(t *testing.T) {
	bought := claim(priced(marketplace.ModelPerRun), right(purchase)) // 250000 a run
	spent := func(s marketplace.Spending, micros int64) marketplace.Spending {
		s.Org, s.User = marketplace.Spend{Spent: usd(micros)}, marketplace.Spend{Held: usd(micros)}
		return s
	}
	for name, tc := range map[string]struct {
		claim    marketplace.Claim
		most     money.Amount
		spending marketplace.Spending
		code     string
	}{
		"without a right":             {claim(priced(marketplace.ModelPerRun)), anything, limited(), marketplace.CodePaymentRequired},
		"the caller gives too little": {bought, usd(249_999), limited(), marketplace.CodeBudgetTooLow},
		// More than a limit allows does not help the caller; an admin would.
		"the limit of a run":            {bought, anything, limited(limit(marketplace.SpendPerRun, 249_999)), marketplace.CodeSpendLimitReached},
		"the limit of a run, not asked": {bought, usd(300_000), limited(limit(marketplace.SpendPerRun, 249_999)), marketplace.CodeSpendLimitReached},
		"less than the limit":           {bought, usd(200_000), limited(limit(marketplace.SpendPerRun, 249_999)), marketplace.CodeBudgetTooLow},
		"the limit of the month":        {bought, anything, spent(limited(limit(marketplace.SpendMonthly, 500_000)), 250_001), marketplace.CodeSpendLimitReached},
		"the limit of a person":         {bought, anything, spent(limited(limit(marketplace.SpendPerUser, 500_000)), 250_001), marketplace.CodeSpendLimitReached},
		"within all of them": {
			bought, usd(250_000), spent(limited(limit(marketplace.SpendMonthly, 500_000), limit(marketplace.SpendPerUser, 500_000), limit(marketplace.SpendPerRun, 250_000)), 250_000), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := tc.claim.Admit(queued(tc.most), subject, tc.spending, policy, now)
			if tc.code == "" {
				require.NoError(t, err)
				return
			}
			denied(t, err, fault.PaymentRequired, tc.code)
			require.Zero(t, h)
		})
	}
}

func TestEstimate(t *testing.T) {
	perSecond := priced(marketplace.ModelPerSecond) // 100 a second, 60 seconds at most
	for name, tc := range map[string]struct {
		claim                   marketplace.Claim
		most                    money.Amount
		average                 time.Duration
		spending                marketplace.Spending
		least, typical, largest int64
		source                  marketplace.Source
		included, priced        bool
		code                    string
	}{
		"free":                     {claim(nil), anything, time.Second, limited(), 0, 0, 0, free, true, false, ""},
		"bought":                   {claim(perSecond, right(purchase)), anything, 0, limited(), 100, 100, 6000, purchase, false, true, ""},
		"bought, known to take 9s": {claim(perSecond, right(purchase)), anything, 8500 * time.Millisecond, limited(), 100, 900, 6000, purchase, false, true, ""},
		"bought, known to take 1h": {claim(perSecond, right(purchase)), anything, time.Hour, limited(), 100, 6000, 6000, purchase, false, true, ""},
		"bought, with a budget":    {claim(perSecond, right(purchase)), usd(500), 9 * time.Second, limited(), 100, 500, 500, purchase, false, true, ""},
		"bought, per run":          {claim(priced(marketplace.ModelPerRun), right(purchase)), anything, time.Hour, limited(), 250_000, 250_000, 250_000, purchase, false, true, ""},
		"on trial":                 {claim(perSecond, right(trialed)), anything, 0, limited(), 0, 0, 0, trialed, true, false, ""},
		"included":                 {claim(perSecond, right(subscription)), anything, 0, limited(), 0, 0, 0, subscription, true, true, ""},
		"beyond the included":      {claim(perSecond, right(subscription, used(100))), anything, 0, limited(), 300_000, 300_000, 300_000, subscription, false, true, ""},
		"not ordered":              {claim(perSecond), anything, 9 * time.Second, limited(), 100, 900, 6000, "", false, true, marketplace.CodePaymentRequired},
		"not ordered, low budget":  {claim(perSecond), usd(1), 0, limited(), 100, 100, 6000, "", false, true, marketplace.CodePaymentRequired},
		"too low a budget":         {claim(perSecond, right(purchase)), usd(1), 0, limited(), 100, 100, 6000, "", false, true, marketplace.CodeBudgetTooLow},
		"limited":                  {claim(perSecond, right(purchase)), anything, 0, limited(limit(marketplace.SpendPerRun, 300)), 100, 100, 300, purchase, false, true, ""},
		"limited too much":         {claim(perSecond, right(purchase)), anything, 0, limited(limit(marketplace.SpendPerRun, 3)), 100, 100, 6000, "", false, true, marketplace.CodeSpendLimitReached},
		"the month is over":        {claim(perSecond, right(purchase)), anything, 0, limited(limit(marketplace.SpendMonthly, 5999)), 100, 100, 6000, purchase, false, true, marketplace.CodeSpendLimitReached},
		"a person's is over":       {claim(perSecond, right(purchase)), anything, 0, limited(limit(marketplace.SpendPerUser, 5999)), 100, 100, 6000, purchase, false, true, marketplace.CodeSpendLimitReached},
		"free, and suspended": {func() marketplace.Claim {
			c := claim(nil)
			c.Status = marketplace.ListingSuspended
			return c
		}(), anything, 0, limited(), 0, 0, 0, "", false, false, marketplace.CodeListingSuspended},
		"trial over, free by now": {claim(priced(marketplace.ModelFree), right(trialed, used(3))), anything, 0, limited(), 0, 0, 0, free, true, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := subject
			s.MaxCost, s.UserID = tc.most, "usr_1"
			e := tc.claim.Estimate(s, tc.spending, tc.average, policy, now)
			require.Equal(t, []int64{tc.least, tc.typical, tc.largest}, []int64{e.Minimum.Micros, e.Typical.Micros, e.Maximum.Micros})
			for _, a := range []money.Amount{e.Minimum, e.Typical, e.Maximum} {
				require.Equal(t, "USD", a.Currency)
			}
			require.Equal(t, tc.source, e.Source)
			require.Equal(t, tc.included, e.Included)
			require.Equal(t, tc.priced, e.Price != nil)
			if tc.code == "" {
				require.NoError(t, e.Denial)
				return
			}
			require.Equal(t, tc.code, fault.From(e.Denial).Code)
		})
	}
	t.Run("a preview", func(t *testing.T) {
		e := claim(perSecond, right(purchase)).Estimate(marketplace.Subject{}, limited(), 0, policy, now)
		require.NoError(t, e.Denial)
		require.Equal(t, usd(100), e.Maximum, "how long it may run is not known yet")
	})
}

// What was estimated is what is held.
func TestEstimateTellsWhatAdmitHolds(t *testing.T) {
	spending := limited(limit(marketplace.SpendPerRun, 900_000), limit(marketplace.SpendMonthly, 2_000_000))
	for _, model := range marketplace.Models() {
		for _, source := range []marketplace.Source{grant, trialed, subscription, purchase} {
			for _, most := range []money.Amount{anything, usd(1), usd(1000), usd(1_000_000)} {
				c, s := claim(priced(model), right(source, used(1))), subject
				s.MaxCost = most
				e := c.Estimate(s, spending, 0, policy, now)
				h, err := c.Admit(queued(most), s, spending, policy, now)
				require.Equal(t, e.Denial == nil, err == nil, "%s %s %s: %v, %v", model, source, most, e.Denial, err)
				if err == nil {
					require.Equal(t, e.Maximum.Micros, h.Amount.Micros, "%s %s %s", model, source, most)
					require.Equal(t, e.Source, h.Source)
				}
			}
		}
	}
}
