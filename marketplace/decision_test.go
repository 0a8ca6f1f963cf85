package marketplace_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// claim is that of a buyer with 10 USD and rights, to a public agent with a
// price.
func claim(p *marketplace.Price, rights ...marketplace.Right) marketplace.Claim {
	return marketplace.Claim{
		OrgID: "org_buyer", AgentID: "agt_1", Publisher: "org_acme",
		Status: marketplace.ListingPublished, Visibility: marketplace.VisibilityPublic,
		Price: p, Entitlements: rights, Wallet: usd(10 * money.Unit),
	}
}

// right is one from a source; price is the one that a subscription fixes.
func right(source marketplace.Source, changes ...func(*marketplace.Right)) marketplace.Right {
	r := marketplace.Right{Entitlement: marketplace.NewEntitlement("org_buyer", "agt_1", source, now.Add(-time.Hour))}
	switch source {
	case marketplace.SourceTrial:
		r.Limits.Runs, r.ExpiresAt = 3, now.Add(24*time.Hour)
	case marketplace.SourceSubscription:
		fixed := price(marketplace.ModelSubscription)
		r.Price, r.PriceID = &fixed, fixed.ID
		r.Limits.Included, r.Limits.Runs = fixed.IncludedRuns, fixed.IncludedRuns
		r.Renews, r.ExpiresAt = true, now.Add(24*time.Hour)
	default: // has neither limits nor an end
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func priced(model marketplace.Model, changes ...priceChange) *marketplace.Price {
	p := price(model, changes...)
	return &p
}

type rightChange = func(*marketplace.Right)

func revoked(r *marketplace.Right) { r.RevokedAt = now }
func expired(r *marketplace.Right) { r.ExpiresAt, r.Renews = now, false }

// late is a subscription whose renewal did not happen yet.
func late(by time.Duration) func(*marketplace.Right) {
	return func(r *marketplace.Right) { r.ExpiresAt, r.Renews = now.Add(-by), true }
}

func used(runs int64) rightChange {
	return func(r *marketplace.Right) {
		r.Usage = marketplace.Usage{Month: marketplace.MonthOf(now), Runs: runs, Total: runs, Seconds: 60 * runs}
	}
}

func lastMonth(r *marketplace.Right) { r.Usage.Month = "2026-10" }

func limits(l marketplace.Limits) rightChange { return func(r *marketplace.Right) { r.Limits = l } }

func active(runs int64) rightChange { return func(r *marketplace.Right) { r.Usage.Active = runs } }

func versions(text string) rightChange { return func(r *marketplace.Right) { r.Versions = text } }

var subject = marketplace.Subject{Version: "1.4.2", Timeout: time.Minute}

const (
	ownership, grant, free = marketplace.SourceOwnership, marketplace.SourceGrant, marketplace.SourceFree
	purchase, subscription = marketplace.SourcePurchase, marketplace.SourceSubscription
	trialed                = marketplace.SourceTrial
)

// TestDecide has a row for every denial and for every right that holds.
func TestDecide(t *testing.T) {
	perRun := priced(marketplace.ModelPerRun)
	type change = func(*marketplace.Claim)
	status := func(s marketplace.ListingStatus) change { return func(c *marketplace.Claim) { c.Status = s } }
	visible := func(v marketplace.Visibility, granted bool) change {
		return func(c *marketplace.Claim) { c.Visibility, c.Granted = v, granted }
	}
	own := func(c *marketplace.Claim) { c.OrgID = c.Publisher }
	wallet := func(a money.Amount) change { return func(c *marketplace.Claim) { c.Wallet = a } }
	const pay, forbid = fault.PaymentRequired, fault.Forbidden
	for name, tc := range map[string]struct {
		claim   marketplace.Claim
		changes []change
		kind    fault.Kind
		code    string // empty: allowed
		source  marketplace.Source
		most    int64 // that the run may cost
	}{
		"the publisher's own":             {claim(perRun), []change{own}, "", "", ownership, 0},
		"the publisher's own, stored":     {claim(perRun, right(ownership)), []change{own}, "", "", ownership, 0},
		"the publisher's own, suspended":  {claim(perRun), []change{own, status(marketplace.ListingSuspended)}, "", "", ownership, 0},
		"the publisher's own, not listed": {claim(nil), []change{own, status(""), visible("", false)}, "", "", ownership, 0},
		"the publisher's own limit": {
			claim(perRun, right(ownership, limits(marketplace.Limits{Concurrent: 2}), active(2))), []change{own},
			forbid, marketplace.CodeConcurrencyReached, "", 0,
		},
		"the publisher's own, revoked": {claim(perRun, right(ownership, revoked)), []change{own}, forbid, marketplace.CodeEntitlementRevoked, "", 0},

		"granted":             {claim(perRun, right(grant)), nil, "", "", grant, 0},
		"granted, not listed": {claim(nil, right(grant)), []change{status(""), visible("", false)}, "", "", grant, 0},
		"granted, a draft":    {claim(perRun, right(grant)), []change{status(marketplace.ListingDraft)}, "", "", grant, 0},
		"granted, expired":    {claim(perRun, right(grant, expired)), []change{visible(marketplace.VisibilityOrganization, false)}, forbid, marketplace.CodeEntitlementExpired, "", 0},
		"granted, revoked":    {claim(perRun, right(grant, revoked)), []change{visible(marketplace.VisibilityPrivate, false)}, forbid, marketplace.CodeEntitlementRevoked, "", 0},
		"granted, revoked later": {
			claim(perRun, right(grant, func(r *marketplace.Right) { r.RevokedAt = now.Add(1) })), nil, "", "", grant, 0,
		},
		"granted once, now for sale": {claim(perRun, right(grant, revoked)), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"granted once, now free":     {claim(nil, right(grant, revoked)), nil, "", "", free, 0},

		"free for want of a price":    {claim(nil), nil, "", "", free, 0},
		"free by price":               {claim(priced(marketplace.ModelFree)), nil, "", "", free, 0},
		"free, stored":                {claim(nil, right(free)), nil, "", "", free, 0},
		"free, deprecated":            {claim(nil), []change{status(marketplace.ListingDeprecated)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free, stored, deprecated":    {claim(nil, right(free)), []change{status(marketplace.ListingDeprecated)}, "", "", free, 0},
		"free, revoked, deprecated":   {claim(nil, right(free, revoked)), []change{status(marketplace.ListingDeprecated)}, forbid, marketplace.CodeEntitlementRevoked, "", 0},
		"free, a draft":               {claim(nil), []change{status(marketplace.ListingDraft)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free, not listed":            {claim(nil), []change{status(""), visible("", false)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free, private":               {claim(nil), []change{visible(marketplace.VisibilityPrivate, false)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free, private, shown":        {claim(nil), []change{visible(marketplace.VisibilityPrivate, true)}, "", "", free, 0},
		"free, inside, shown":         {claim(nil), []change{visible(marketplace.VisibilityOrganization, true)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free once, private now":      {claim(nil, right(free)), []change{visible(marketplace.VisibilityPrivate, false)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free once, a draft now":      {claim(nil, right(free)), []change{status(marketplace.ListingDraft)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free once":                   {claim(perRun, right(free)), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"free once, bought":           {claim(perRun, right(free), right(purchase)), nil, "", "", purchase, 250_000},
		"free once, not sold":         {claim(perRun, right(free)), []change{status(marketplace.ListingDeprecated)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"free, with a limit":          {claim(nil, right(free, limits(marketplace.Limits{RunsPerMonth: 5}), used(5))), nil, forbid, marketplace.CodeRunLimitReached, "", 0},
		"free, revoked":               {claim(nil, right(free, revoked)), nil, "", "", free, 0},
		"suspended":                   {claim(nil), []change{status(marketplace.ListingSuspended)}, forbid, marketplace.CodeListingSuspended, "", 0},
		"suspended, though granted":   {claim(perRun, right(grant)), []change{status(marketplace.ListingSuspended)}, forbid, marketplace.CodeListingSuspended, "", 0},
		"for sale":                    {claim(perRun), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"for sale no more":            {claim(perRun), []change{status(marketplace.ListingDeprecated)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"for sale to others":          {claim(perRun), []change{visible(marketplace.VisibilityPrivate, false)}, forbid, marketplace.CodeNotEntitled, "", 0},
		"for sale to whom it's shown": {claim(perRun), []change{visible(marketplace.VisibilityPrivate, true)}, pay, marketplace.CodePaymentRequired, "", 0},

		"bought":                   {claim(perRun, right(purchase)), nil, "", "", purchase, 250_000},
		"bought, deprecated":       {claim(perRun, right(purchase)), []change{status(marketplace.ListingDeprecated)}, "", "", purchase, 250_000},
		"bought, private now":      {claim(perRun, right(purchase)), []change{visible(marketplace.VisibilityPrivate, false)}, "", "", purchase, 250_000},
		"bought, free now":         {claim(priced(marketplace.ModelFree), right(purchase)), nil, "", "", purchase, 0},
		"bought, no money":         {claim(perRun, right(purchase)), []change{wallet(usd(249_999))}, pay, marketplace.CodeInsufficientFunds, "", 0},
		"bought, just enough":      {claim(perRun, right(purchase)), []change{wallet(usd(250_000))}, "", "", purchase, 250_000},
		"bought, in debt":          {claim(perRun, right(purchase)), []change{wallet(usd(-1))}, pay, marketplace.CodeInsufficientFunds, "", 0},
		"bought, other money":      {claim(perRun, right(purchase)), []change{wallet(money.Of(1<<50, "EUR"))}, pay, marketplace.CodeInsufficientFunds, "", 0},
		"bought, another version":  {claim(perRun, right(purchase, versions("2"))), nil, forbid, marketplace.CodeVersionNotCovered, "", 0},
		"bought, this version":     {claim(perRun, right(purchase, versions("1.4"))), nil, "", "", purchase, 250_000},
		"bought, too many a month": {claim(perRun, right(purchase, limits(marketplace.Limits{RunsPerMonth: 5}), used(5))), nil, forbid, marketplace.CodeRunLimitReached, "", 0},
		"bought, a new month":      {claim(perRun, right(purchase, limits(marketplace.Limits{RunsPerMonth: 5}), used(5), lastMonth)), nil, "", "", purchase, 250_000},
		"bought, too many at once": {claim(perRun, right(purchase, limits(marketplace.Limits{Concurrent: 1}), active(1))), nil, forbid, marketplace.CodeConcurrencyReached, "", 0},
		"bought, expired":          {claim(perRun, right(purchase, expired)), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"bought, canceled":         {claim(perRun, right(purchase, revoked)), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"bought, canceled, not sold": {
			claim(perRun, right(purchase, revoked)), []change{status(marketplace.ListingDeprecated)}, forbid, marketplace.CodeEntitlementRevoked, "", 0,
		},
		// The price of a run beyond a subscription is not for those without one.
		"bought, by subscription now": {claim(priced(marketplace.ModelSubscription), right(purchase)), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"bought, by a subscription without runs beyond": {
			claim(priced(marketplace.ModelSubscription, func(p *marketplace.Price) { p.PerRun = 0 }), right(purchase)), nil, pay, marketplace.CodePaymentRequired, "", 0,
		},

		"subscribed":              {claim(priced(marketplace.ModelSubscription), right(subscription)), nil, "", "", subscription, 0},
		"subscribed, no money":    {claim(priced(marketplace.ModelSubscription), right(subscription)), []change{wallet(usd(0))}, "", "", subscription, 0},
		"subscribed, the last":    {claim(perRun, right(subscription, used(99))), nil, "", "", subscription, 0},
		"subscribed, one beyond":  {claim(perRun, right(subscription, used(100))), nil, "", "", subscription, 300_000},
		"subscribed, renewed":     {claim(perRun, right(subscription, used(100), limits(marketplace.Limits{Included: 100, Runs: 200}))), nil, "", "", subscription, 0},
		"subscribed, not renewed": {claim(perRun, right(subscription, used(100), lastMonth)), nil, "", "", subscription, 300_000},
		"subscribed, without runs beyond": {
			claim(perRun, right(subscription, used(100), func(r *marketplace.Right) {
				r.Price = priced(marketplace.ModelSubscription, func(p *marketplace.Price) { p.PerRun = 0 })
			})),
			nil, pay, marketplace.CodeIncludedExhausted, "", 0,
		},
		"subscribed, without a bound": {claim(perRun, right(subscription, limits(marketplace.Limits{}), used(1<<40))), nil, "", "", subscription, 0},
		"subscribed, to be renewed":   {claim(perRun, right(subscription, late(24*time.Hour-1))), nil, "", "", subscription, 0},
		"subscribed, never renewed":   {claim(perRun, right(subscription, late(24*time.Hour))), nil, pay, marketplace.CodeSubscriptionEnded, "", 0},
		"subscribed, ended":           {claim(perRun, right(subscription, expired)), nil, pay, marketplace.CodeSubscriptionEnded, "", 0},
		"subscribed, one beyond, no money": {
			claim(perRun, right(subscription, used(100))), []change{wallet(usd(299_999))}, pay, marketplace.CodeInsufficientFunds, "", 0,
		},

		"on trial":            {claim(perRun, right(trialed, used(2))), nil, "", "", trialed, 0},
		"on trial, no money":  {claim(perRun, right(trialed)), []change{wallet(usd(0))}, "", "", trialed, 0},
		"on trial, the 4th":   {claim(perRun, right(trialed, used(3))), nil, pay, marketplace.CodeTrialExhausted, "", 0},
		"on trial, months on": {claim(perRun, right(trialed, used(3), lastMonth)), nil, pay, marketplace.CodeTrialExhausted, "", 0},
		"on trial, ended":     {claim(perRun, right(trialed, expired)), nil, pay, marketplace.CodeTrialExhausted, "", 0},
		"on trial, canceled":  {claim(perRun, right(trialed, revoked)), nil, pay, marketplace.CodePaymentRequired, "", 0},
		"on trial of days":    {claim(perRun, right(trialed, used(1000), limits(marketplace.Limits{}))), nil, "", "", trialed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, change := range tc.changes {
				change(&tc.claim)
			}
			d, err := tc.claim.Decide(subject, now)
			if tc.code != "" {
				denied(t, err, tc.kind, tc.code)
				require.Zero(t, d, "who is denied gets nothing")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.source, d.Entitlement.Source)
			require.Equal(t, tc.most, d.Quote.Maximum.Micros)
			require.Equal(t, tc.most == 0, d.Quote.Included)
		})
	}
}

// TestTheRightThatCostsLeast: of several that hold, the first of this list.
func TestTheRightThatCostsLeast(t *testing.T) {
	order := []marketplace.Source{ownership, grant, free, trialed, subscription, purchase}
	for i, best := range order {
		p := priced(marketplace.ModelPerRun)
		if best == free {
			p = nil
		}
		var rights []marketplace.Right
		for _, s := range slices.Backward(order[i:]) {
			rights = append(rights, right(s))
		}
		d, err := claim(p, rights...).Decide(subject, now)
		require.NoError(t, err)
		require.Equal(t, best, d.Entitlement.Source)
		require.Equal(t, rights[len(rights)-1].ID, d.Entitlement.ID)
	}
}

// A source that a newer version of the platform has stored is taken last, and
// paid.
func TestASourceOfANewerPlatformIsPaid(t *testing.T) {
	unknown := right("gift")
	d, err := claim(priced(marketplace.ModelPerRun), unknown).Decide(subject, now)
	require.NoError(t, err)
	require.Equal(t, usd(250_000), d.Quote.Maximum)
	d, err = claim(priced(marketplace.ModelPerRun), unknown, right(purchase)).Decide(subject, now)
	require.NoError(t, err)
	require.Equal(t, purchase, d.Entitlement.Source)
}

// TestOneRightAfterAnother: where the best right holds no more the next one is
// taken, and where none does the denial is that of the best.
func TestOneRightAfterAnother(t *testing.T) {
	perRun := priced(marketplace.ModelPerRun)
	usedUp := right(trialed, used(3))
	for name, tc := range map[string]struct {
		rights []marketplace.Right
		source marketplace.Source
		code   string
	}{
		"trial, then purchase":              {[]marketplace.Right{usedUp, right(purchase)}, purchase, ""},
		"trial, then subscription":          {[]marketplace.Right{right(subscription), usedUp, right(purchase)}, subscription, ""},
		"grant for another version":         {[]marketplace.Right{right(grant, versions("2")), right(purchase)}, purchase, ""},
		"a busy grant, a trial":             {[]marketplace.Right{right(trialed), right(grant, limits(marketplace.Limits{Concurrent: 1}), active(1))}, trialed, ""},
		"subscription ended, purchase":      {[]marketplace.Right{right(subscription, expired), right(purchase)}, purchase, ""},
		"two purchases, one used up":        {[]marketplace.Right{right(purchase, limits(marketplace.Limits{RunsPerMonth: 1}), used(1)), right(purchase)}, purchase, ""},
		"trial used up, subscription ended": {[]marketplace.Right{right(subscription, expired), usedUp}, "", marketplace.CodeTrialExhausted},
		"grant expired, trial used up":      {[]marketplace.Right{usedUp, right(grant, expired)}, "", marketplace.CodePaymentRequired},
		"not free, trial used up":           {[]marketplace.Right{usedUp, right(free)}, "", marketplace.CodePaymentRequired},
		"busy grant, canceled purchase":     {[]marketplace.Right{right(purchase, revoked), right(grant, limits(marketplace.Limits{Concurrent: 1}), active(1))}, "", marketplace.CodeConcurrencyReached},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := claim(perRun, tc.rights...).Decide(subject, now)
			if tc.code == "" {
				require.NoError(t, err)
				require.Equal(t, tc.source, d.Entitlement.Source)
				return
			}
			require.Equal(t, tc.code, fault.From(err).Code)
		})
	}
}

func TestVolumeTiersCountWhatTheModelCounts(t *testing.T) {
	steps := tiers(marketplace.Tier{After: 10, Micros: 50})
	for _, tc := range []struct {
		model marketplace.Model
		used  int64
		most  int64
	}{
		{marketplace.ModelPerRun, 9, 250_000}, {marketplace.ModelPerRun, 10, 50},
		{marketplace.ModelPerSecond, 0, 6000}, {marketplace.ModelPerSecond, 1, 3000}, // a run of 60 seconds
	} {
		d, err := claim(priced(tc.model, steps), right(purchase, used(tc.used))).Decide(subject, now)
		require.NoError(t, err)
		require.Equal(t, usd(tc.most), d.Quote.Maximum, "%s after %d runs", tc.model, tc.used)
		d, err = claim(priced(tc.model, steps), right(purchase, used(tc.used), lastMonth)).Decide(subject, now)
		require.NoError(t, err)
		require.Zero(t, d.Used, "a month begins anew")
	}
}
