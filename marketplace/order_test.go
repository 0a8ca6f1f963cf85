package marketplace_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

func buy(c marketplace.Claim, kind marketplace.OrderKind) (marketplace.Purchase, error) {
	return c.Buy("acme/greeter", kind, "usr_1", now)
}

func TestBuy(t *testing.T) {
	tried := trial(3, 7)
	for name, tc := range map[string]struct {
		price   *marketplace.Price
		kind    marketplace.OrderKind
		source  marketplace.Source
		limits  marketplace.Limits
		expires time.Time
		pays    int64
	}{
		"per run":          {priced(marketplace.ModelPerRun), marketplace.OrderUsage, purchase, marketplace.Limits{}, time.Time{}, 0},
		"per second":       {priced(marketplace.ModelPerSecond), marketplace.OrderUsage, purchase, marketplace.Limits{}, time.Time{}, 0},
		"per event":        {priced(marketplace.ModelPerEvent), marketplace.OrderUsage, purchase, marketplace.Limits{}, time.Time{}, 0},
		"subscription":     {priced(marketplace.ModelSubscription), marketplace.OrderSubscription, subscription, marketplace.Limits{Included: 100, Runs: 100}, now.AddDate(0, 1, 0), 20 * money.Unit},
		"trial":            {priced(marketplace.ModelPerRun, tried), marketplace.OrderTrial, trialed, marketplace.Limits{Runs: 3}, now.AddDate(0, 0, 7), 0},
		"trial of runs":    {priced(marketplace.ModelSubscription, trial(3, 0)), marketplace.OrderTrial, trialed, marketplace.Limits{Runs: 3}, time.Time{}, 0},
		"trial of 90 days": {priced(marketplace.ModelPerEvent, trial(0, 90)), marketplace.OrderTrial, trialed, marketplace.Limits{}, now.AddDate(0, 0, 90), 0},
		"usage, has a try": {priced(marketplace.ModelPerRun, tried), marketplace.OrderUsage, purchase, marketplace.Limits{}, time.Time{}, 0},
		"any number of runs": {priced(marketplace.ModelSubscription, func(p *marketplace.Price) { p.IncludedRuns = 0 }), marketplace.OrderSubscription,
			subscription, marketplace.Limits{}, now.AddDate(0, 1, 0), 20 * money.Unit},
	} {
		t.Run(name, func(t *testing.T) {
			bought, err := buy(claim(tc.price), tc.kind)
			require.NoError(t, err)
			o, e := bought.Order, bought.Entitlement
			require.True(t, ids.Valid(ids.PrefixOrder, string(o.ID)))
			require.True(t, ids.Valid(ids.PrefixEntitlement, string(e.ID)))
			renews := tc.source == subscription
			wantOrder := marketplace.Order{
				ID: o.ID, OrgID: "org_buyer", AgentID: "agt_1", Agent: "acme/greeter", Kind: tc.kind, Status: marketplace.OrderActive,
				PriceID: "prc_1", EntitlementID: e.ID, Amount: usd(tc.pays), CreatedBy: "usr_1", CreatedAt: now,
			}
			wantRight := marketplace.Entitlement{
				ID: e.ID, OrgID: "org_buyer", AgentID: "agt_1", Source: tc.source, OrderID: o.ID, Limits: tc.limits,
				CreatedAt: now, ExpiresAt: tc.expires, Renews: renews,
			}
			if renews {
				wantOrder.RenewsAt, wantRight.PriceID = tc.expires, "prc_1"
			}
			require.Empty(t, cmp.Diff(wantOrder, o))
			require.Empty(t, cmp.Diff(wantRight, e))
			require.Empty(t, cmp.Diff(*tc.price, bought.Price))

			// What was bought lets the buyer in.
			fixed := marketplace.Right{Entitlement: e}
			if e.PriceID != "" {
				fixed.Price = tc.price
			}
			d, err := claim(tc.price, fixed).Decide(subject, now)
			require.NoError(t, err)
			require.Equal(t, e.ID, d.Entitlement.ID)
		})
	}
}

func TestBuyRefuses(t *testing.T) {
	perRun, monthly := priced(marketplace.ModelPerRun, trial(3, 0)), priced(marketplace.ModelSubscription)
	const usage, month, try = marketplace.OrderUsage, marketplace.OrderSubscription, marketplace.OrderTrial
	with := func(c marketplace.Claim, change func(*marketplace.Claim)) marketplace.Claim {
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		claim marketplace.Claim
		kind  marketplace.OrderKind
		code  string
	}{
		"its own":                  {with(claim(perRun), func(c *marketplace.Claim) { c.OrgID = c.Publisher }), usage, "order_own_agent"},
		"what has no price":        {claim(nil), usage, "order_not_priced"},
		"what is free":             {claim(priced(marketplace.ModelFree)), usage, "order_kind"},
		"a trial of what is free":  {claim(priced(marketplace.ModelFree)), try, "order_kind"},
		"a month of what is free":  {claim(priced(marketplace.ModelFree)), month, "order_kind"},
		"a month of runs":          {claim(perRun), month, "order_kind"},
		"runs of a month":          {claim(monthly), usage, "order_kind"},
		"a trial that is none":     {claim(monthly), try, "order_kind"},
		"usage twice":              {claim(perRun, right(purchase)), usage, "order_exists"},
		"a subscription twice":     {claim(monthly, right(subscription)), month, "order_exists"},
		"one that is canceled":     {claim(monthly, right(subscription, func(r *marketplace.Right) { r.Renews = false })), month, "order_exists"},
		"a trial twice":            {claim(perRun, right(trialed)), try, "order_trial_used"},
		"a trial that was used up": {claim(perRun, right(trialed, used(3))), try, "order_trial_used"},
		"a trial that has ended":   {claim(perRun, right(trialed, expired)), try, "order_trial_used"},
		"a trial that was revoked": {claim(perRun, right(trialed, revoked)), try, "order_trial_used"},
		"what is private":          {with(claim(perRun), func(c *marketplace.Claim) { c.Visibility = marketplace.VisibilityPrivate }), usage, "order_not_offered"},
		"what stays inside": {with(claim(perRun), func(c *marketplace.Claim) {
			c.Visibility, c.Granted = marketplace.VisibilityOrganization, true
		}), usage, "order_not_offered"},
	} {
		t.Run(name, func(t *testing.T) {
			bought, err := buy(tc.claim, tc.kind)
			denied(t, err, fault.Conflict, tc.code)
			require.Zero(t, bought)
		})
	}
	for _, status := range append(marketplace.ListingStatuses(), "") {
		if status != marketplace.ListingPublished {
			_, err := buy(with(claim(perRun), func(c *marketplace.Claim) { c.Status = status }), usage)
			denied(t, err, fault.Conflict, "order_not_offered", status)
		}
	}
	_, err := buy(claim(perRun), "lease")
	require.Equal(t, []string{"/kind"}, pointers(t, err))

	// What is over can be ordered anew, and what is shown be ordered.
	for _, c := range []marketplace.Claim{
		claim(perRun, right(purchase, revoked)), claim(perRun, right(purchase, expired)), claim(perRun, right(trialed)), claim(perRun, right(grant)),
		with(claim(perRun), func(c *marketplace.Claim) { c.Visibility, c.Granted = marketplace.VisibilityPrivate, true }),
	} {
		_, err := buy(c, usage)
		require.NoError(t, err)
	}
	_, err = buy(claim(monthly, right(subscription, expired)), month)
	require.NoError(t, err)
}

// A start that is denied with payment_required leads to an order that is taken.
func TestPaymentRequiredLeadsToAnOrder(t *testing.T) {
	for _, status := range append(marketplace.ListingStatuses(), "") {
		for _, v := range marketplace.Visibilities() {
			for _, granted := range []bool{true, false} {
				for _, model := range marketplace.Models() {
					for _, rights := range [][]marketplace.Right{nil, {right(free)}, {right(purchase, revoked)}, {right(purchase)}, {right(grant, expired)}} {
						c := claim(priced(model), rights...)
						c.Status, c.Visibility, c.Granted = status, v, granted
						_, err := c.Decide(subject, now)
						if err == nil || fault.From(err).Code != marketplace.CodePaymentRequired {
							continue
						}
						kind := marketplace.OrderUsage
						if model == marketplace.ModelSubscription {
							kind = marketplace.OrderSubscription
						}
						_, err = buy(c, kind)
						require.NoError(t, err, "%s %s %t %s %v", status, v, granted, model, rights)
					}
				}
			}
		}
	}
}

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t.Add(15*time.Hour + 30*time.Minute)
}

func TestRenewals(t *testing.T) {
	for begun, ends := range map[string][]string{
		"2026-01-31": {"2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"},
		"2027-12-31": {"2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"}, // a leap year
		"2026-01-30": {"2026-02-28", "2026-03-30", "2026-04-30", "2026-05-30"},
		"2026-02-28": {"2026-03-28", "2026-04-28", "2026-05-28", "2026-06-28"},
		"2026-11-15": {"2026-12-15", "2027-01-15", "2027-02-15", "2027-03-15"},
	} {
		c := claim(priced(marketplace.ModelSubscription))
		bought, err := c.Buy("acme/greeter", marketplace.OrderSubscription, "usr_1", day(begun))
		require.NoError(t, err)
		e := bought.Entitlement
		for _, want := range ends {
			require.Equal(t, day(want), e.ExpiresAt, begun)
			e.ExpiresAt = marketplace.Renew(e)
		}
	}
}

// The day is that of UTC, wherever the clock is read.
func TestRenewalsDoNotDependOnTheTimeZone(t *testing.T) {
	begun := time.Date(2026, 1, 31, 23, 30, 0, 0, time.UTC)
	for _, hours := range []int{-11, 0, 1, 14} {
		at := begun.In(time.FixedZone("here", hours*3600))
		bought, err := claim(priced(marketplace.ModelSubscription)).Buy("acme/greeter", marketplace.OrderSubscription, "usr_1", at)
		require.NoError(t, err)
		require.Equal(t, time.Date(2026, 2, 28, 23, 30, 0, 0, time.UTC), bought.Entitlement.ExpiresAt)
		e := bought.Entitlement
		e.CreatedAt, e.ExpiresAt = e.CreatedAt.In(at.Location()), e.ExpiresAt.In(at.Location())
		require.Equal(t, time.Date(2026, 3, 31, 23, 30, 0, 0, time.UTC), marketplace.Renew(e))
	}
}

func TestRenewed(t *testing.T) {
	dearer := priced(marketplace.ModelSubscription, func(p *marketplace.Price) {
		p.ID, p.Monthly, p.IncludedRuns = "prc_2", 30*money.Unit, 50
	})
	due := right(subscription, used(7)).Entitlement
	due.CreatedAt, due.ExpiresAt = day("2026-01-31"), day("2026-02-28")
	at := day("2026-02-28").Add(time.Minute)
	const published = marketplace.ListingPublished

	next, amount, ok := due.Renewed(dearer, published, at)
	require.True(t, ok)
	require.Equal(t, usd(30*money.Unit), amount)
	want := due
	want.ExpiresAt, want.PriceID, want.Limits.Included, want.Limits.Runs = day("2026-03-31"), "prc_2", 50, 57
	require.Empty(t, cmp.Diff(want, next))
	_, _, ok = due.Renewed(dearer, marketplace.ListingDeprecated, at)
	require.True(t, ok, "who has bought it keeps it")

	change := func(f func(*marketplace.Entitlement)) marketplace.Entitlement {
		e := due
		f(&e)
		return e
	}
	for name, tc := range map[string]struct {
		e      marketplace.Entitlement
		price  *marketplace.Price
		status marketplace.ListingStatus
	}{
		"canceled":              {change(func(e *marketplace.Entitlement) { e.Renews = false }), dearer, published},
		"revoked":               {change(func(e *marketplace.Entitlement) { e.RevokedAt = now }), dearer, published},
		"no subscription":       {change(func(e *marketplace.Entitlement) { e.Source = purchase }), dearer, published},
		"no price":              {due, nil, published},
		"free now":              {due, priced(marketplace.ModelFree), published},
		"by the run now":        {due, priced(marketplace.ModelPerRun), published},
		"nobody may run it now": {due, dearer, marketplace.ListingSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			next, amount, ok := tc.e.Renewed(tc.price, tc.status, at)
			require.False(t, ok)
			require.Zero(t, amount)
			require.Empty(t, cmp.Diff(tc.e, next))
		})
	}
}

func TestTopUps(t *testing.T) {
	for _, micros := range []int64{1, marketplace.MaxTopUp} {
		top, err := marketplace.NewTopUp("org_buyer", usd(micros), "usr_1", now)
		require.NoError(t, err)
		require.True(t, ids.Valid(ids.PrefixTopUp, string(top.ID)))
		require.Equal(t, marketplace.TopUpPending, top.Status)
		require.Equal(t, usd(micros), top.Amount)
	}
	for _, amount := range []money.Amount{usd(0), usd(-1), usd(marketplace.MaxTopUp + 1), {Micros: 1}, money.Of(1, "usd")} {
		_, err := marketplace.NewTopUp("org_buyer", amount, "usr_1", now)
		require.Equal(t, []string{"/amount/amount_micros"}, pointers(t, err), amount)
	}
}

func TestManualPayments(t *testing.T) {
	var provider marketplace.PaymentProvider = marketplace.ManualPayments{Instructions: "IBAN …"}
	require.Equal(t, "manual", provider.Name())
	intent, err := provider.Begin(t.Context(), marketplace.TopUp{ID: "top_1"})
	require.NoError(t, err)
	require.Equal(t, marketplace.PaymentIntent{Reference: "top_1", Instructions: "IBAN …"}, intent)
	intent, err = marketplace.ManualPayments{}.Begin(t.Context(), marketplace.TopUp{ID: "top_1"})
	require.NoError(t, err)
	require.NotEmpty(t, intent.Instructions)
}
