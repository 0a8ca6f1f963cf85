package storetest

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

var claimTests = []testCase{
	{"an agent that does not exist is not found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		_, err := s.Marketplace.Claim(t.Context(), marketplace.ClaimQuery{OrgID: org.ID, AgentID: "agt_none", At: start})
		requireFault(t, err, fault.NotFound, "agent_not_found")
	}},
	{"a claim without a time is refused: nothing would be in effect", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		_, err := s.Marketplace.Claim(t.Context(), marketplace.ClaimQuery{OrgID: m.buyer.ID, AgentID: m.agent.ID})
		require.Error(t, err)
	}},
	{"an agent that is not listed is its publisher's alone", func(t *testing.T, s Stores) {
		m := newMarket(t, s).another(t, "hidden")
		want := marketplace.Claim{OrgID: m.buyer.ID, AgentID: m.agent.ID, Publisher: m.publisher.ID}
		c := m.claim(t, "", start)
		requireSame(t, want, c)
		require.False(t, c.Visible(start))
		_, err := c.Decide(marketplace.Subject{}, start)
		requireFault(t, err, fault.Forbidden, marketplace.CodeNotEntitled)

		own := m.claimOf(t, marketplace.ClaimQuery{OrgID: m.publisher.ID, AgentID: m.agent.ID, At: start})
		require.True(t, own.Visible(start))
		d, err := own.Decide(marketplace.Subject{}, start)
		require.NoError(t, err)
		require.Equal(t, marketplace.SourceOwnership, d.Entitlement.Source)
	}},
	{"the listing is as it is", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		c := m.claim(t, "", start)
		require.Equal(t, marketplace.ListingPublished, c.Status)
		require.Equal(t, marketplace.VisibilityPublic, c.Visibility)
		d, err := c.Decide(marketplace.Subject{}, start)
		require.NoError(t, err, "what has no price is free")
		require.Equal(t, marketplace.SourceFree, d.Entitlement.Source)
	}},
	{"the price is the one in effect at the time", claimsPriceInEffect},
	{"the price of a plan takes the place of the one in effect", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		planned := setPrice(t, s, aPrice(m.agent, 1, start))
		setPrice(t, s, aPrice(m.agent, 2, after(time.Hour)))
		other := m.another(t, "other")
		foreign := setPrice(t, s, aPrice(other.agent, 3, start))
		q := marketplace.ClaimQuery{OrgID: m.buyer.ID, AgentID: m.agent.ID, PriceID: planned.ID, At: after(2 * time.Hour)}
		requireSame(t, &planned, m.claimOf(t, q).Price)
		for _, id := range []ids.Price{foreign.ID, "prc_none"} {
			q.PriceID = id
			_, err := s.Marketplace.Claim(t.Context(), q)
			requireFault(t, err, fault.NotFound, "price_not_found")
		}
	}},
	{"a subscription has the price that it fixed", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		fixed := aPrice(m.agent, 0, start)
		fixed.Model, fixed.Monthly, fixed.IncludedRuns = marketplace.ModelSubscription, 1000, 3
		fixed = setPrice(t, s, fixed)
		raised := aPrice(m.agent, 0, after(time.Hour))
		raised.Model, raised.Monthly = marketplace.ModelSubscription, 2000
		raised = setPrice(t, s, raised)
		e := m.right(t, marketplace.SourceSubscription, func(e *marketplace.Entitlement) { e.PriceID = fixed.ID })
		c := m.claim(t, "", after(2*time.Hour))
		requireSame(t, &raised, c.Price)
		requireSame(t, []marketplace.Right{{Entitlement: e, Price: &fixed}}, c.Entitlements)
		d, err := c.Decide(marketplace.Subject{}, after(2*time.Hour))
		require.NoError(t, err)
		requireSame(t, &fixed, d.Price)

		m.right(t, marketplace.SourceSubscription, func(e *marketplace.Entitlement) { e.PriceID = "prc_lost" })
		_, err = s.Marketplace.Claim(t.Context(), marketplace.ClaimQuery{OrgID: m.buyer.ID, AgentID: m.agent.ID, At: start})
		requireFault(t, err, fault.NotFound, "price_not_found")
	}},
	{"rights of a team or a person are theirs only", claimsCoverTheCaller},
	{"rights that hold come before those that ended, and those are bounded", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		now := after(time.Hour)
		holds := m.right(t, marketplace.SourcePurchase, nil)
		later := m.right(t, marketplace.SourceGrant, func(e *marketplace.Entitlement) { e.ExpiresAt = now.Add(time.Microsecond) })
		expired := m.right(t, marketplace.SourceGrant, func(e *marketplace.Entitlement) { e.ExpiresAt = now })
		for range 60 {
			m.right(t, marketplace.SourcePurchase, func(e *marketplace.Entitlement) { e.RevokedAt = start })
		}
		got := rights(m.claim(t, "", now))
		require.Len(t, got, 50)
		require.Equal(t, []ids.Entitlement{later.ID, holds.ID, expired.ID}, got[:3])
		require.True(t, slices.IsSortedFunc(got[3:], func(a, b ids.Entitlement) int { return cmp.Compare(b, a) }), "newest first")
	}},
	{"others' rights are not in it", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.right(t, marketplace.SourcePurchase, nil)
		other := m.another(t, "other")
		other.right(t, marketplace.SourcePurchase, nil)
		stranger := anOrganization(t, s, "initech")
		require.Len(t, m.claim(t, "", start).Entitlements, 1)
		require.Empty(t, m.claimOf(t, marketplace.ClaimQuery{OrgID: stranger.ID, AgentID: m.agent.ID, At: start}).Entitlements)
	}},
	{"the wallet counts with its credit", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		require.Equal(t, money.Amount{}, m.claim(t, "", start).Wallet)
		paid, err := marketplace.CreditMoney(m.buyer.ID, money.Of(1_000, "USD"), "paid", start)
		require.NoError(t, err)
		_, _, err = s.Marketplace.Post(t.Context(), actor, paid, nil)
		require.NoError(t, err)
		require.Equal(t, money.Of(1_000, "USD"), m.claim(t, "", start).Wallet)
		_, err = s.Marketplace.SetCredit(t.Context(), actor, m.buyer.ID, money.Of(500, "USD"), start)
		require.NoError(t, err)
		require.Equal(t, money.Of(1_500, "USD"), m.claim(t, "", start).Wallet)
	}},
	{"the installation is the organization's", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		require.Nil(t, m.claim(t, "", start).Installation)
		want, err := s.Marketplace.UpdateInstallation(t.Context(), actor, m.buyer.ID, m.agent.ID, start, func(i *marketplace.Installation) error {
			i.Consent(m.version, "usr_x", after(time.Minute))
			return nil
		})
		require.NoError(t, err)
		requireSame(t, &want, m.claim(t, "", start).Installation)
	}},
	{"a denial has the code of its reason", claimsAreDenied},
}

func claimsPriceInEffect(t *testing.T, s Stores) {
	m := newMarket(t, s)
	first := setPrice(t, s, aPrice(m.agent, 1, after(time.Hour)))
	second := setPrice(t, s, aPrice(m.agent, 2, after(2*time.Hour)))
	for _, c := range []struct {
		at   time.Duration
		want *marketplace.Price
	}{
		{0, nil},
		{time.Hour - time.Microsecond, nil},
		{time.Hour, &first},
		{2*time.Hour - time.Microsecond, &first},
		{2 * time.Hour, &second},
		{10_000 * time.Hour, &second},
	} {
		requireSame(t, c.want, m.claim(t, "", after(c.at)).Price)
	}
}

func claimsCoverTheCaller(t *testing.T, s Stores) {
	m := newMarket(t, s)
	red, blue := m.team(t, m.buyer, "red"), m.team(t, m.buyer, "blue")
	inNone := m.member(t, m.buyer, "none")
	inRed := m.member(t, m.buyer, "red", red)
	inBoth := m.member(t, m.buyer, "both", red, blue)
	limited := func(team ids.Team, user ids.User) ids.Entitlement {
		return m.right(t, marketplace.SourcePurchase, func(e *marketplace.Entitlement) { e.TeamID, e.UserID = team, user }).ID
	}
	all, ofRed, ofBlue := limited("", ""), limited(red.ID, ""), limited(blue.ID, "")
	ofNone, ofBoth, ofBothInBlue := limited("", inNone), limited("", inBoth), limited(blue.ID, inBoth)
	ofNoneInRed := limited(red.ID, inNone)

	// The same person in a team of another organization is not in this one's.
	elsewhere := m.team(t, m.publisher, "red")
	member, err := s.Marketplace.Member(t.Context(), m.buyer.ID, inNone)
	require.NoError(t, err)
	_, err = s.Marketplace.AddMember(t.Context(), actor,
		marketplace.Member{OrgID: m.publisher.ID, User: member.User, Role: marketplace.RoleMember, JoinedAt: start})
	require.NoError(t, err)
	_, err = s.Marketplace.SetTeamMember(t.Context(), actor, m.publisher.ID, elsewhere.ID, inNone, true, start)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		user ids.User
		want []ids.Entitlement
	}{
		"a program":          {"", []ids.Entitlement{all}},
		"somebody unknown":   {"usr_unknown", []ids.Entitlement{all}},
		"a person, no team":  {inNone, []ids.Entitlement{all, ofNone}},
		"a person, one team": {inRed, []ids.Entitlement{all, ofRed}},
		"a person, two":      {inBoth, []ids.Entitlement{all, ofRed, ofBlue, ofBoth, ofBothInBlue}},
	} {
		require.ElementsMatch(t, c.want, rights(m.claim(t, c.user, start)), name)
	}
	_, err = s.Marketplace.SetTeamMember(t.Context(), actor, m.buyer.ID, red.ID, inNone, true, start)
	require.NoError(t, err)
	require.ElementsMatch(t, []ids.Entitlement{all, ofRed, ofNone, ofNoneInRed}, rights(m.claim(t, inNone, start)))
}

// denial is what the buyer's start is denied with, after a set-up of its own.
type denial struct {
	code  string
	kind  fault.Kind
	setUp func(t *testing.T, m market)
	asked marketplace.Subject
}

func claimsAreDenied(t *testing.T, s Stores) {
	base := newMarket(t, s)
	for name, d := range denials(s) {
		m := base.another(t, strings.ReplaceAll(name, " ", "-"))
		d.setUp(t, m)
		_, err := m.claim(t, "", start).Decide(d.asked, start)
		require.Equal(t, d.code, fault.From(err).Code, name)
		require.Equal(t, d.kind, fault.KindOf(err), name)
	}
}

func denials(s Stores) map[string]denial {
	price := func(t *testing.T, m market, change func(*marketplace.Price)) marketplace.Price {
		t.Helper()
		m.list(t, marketplace.VisibilityPublic)
		p := aPrice(m.agent, 1_000, start)
		if change != nil {
			change(&p)
		}
		return setPrice(t, s, p)
	}
	with := func(source marketplace.Source, change func(*marketplace.Entitlement)) func(*testing.T, market) {
		return func(t *testing.T, m market) {
			t.Helper()
			price(t, m, nil)
			m.right(t, source, change)
		}
	}
	paid, forbidden, month := fault.PaymentRequired, fault.Forbidden, marketplace.MonthOf(start)
	return map[string]denial{
		"nothing ordered": {code: marketplace.CodePaymentRequired, kind: paid, setUp: func(t *testing.T, m market) {
			t.Helper()
			price(t, m, nil)
		}},
		"not free any more": {code: marketplace.CodePaymentRequired, kind: paid, setUp: with(marketplace.SourceFree, nil)},
		"purchase revoked": {code: marketplace.CodePaymentRequired, kind: paid, setUp: with(marketplace.SourcePurchase,
			func(e *marketplace.Entitlement) { e.RevokedAt = start })},
		"no money": {code: marketplace.CodeInsufficientFunds, kind: paid, setUp: with(marketplace.SourcePurchase, nil)},
		"trial used up": {code: marketplace.CodeTrialExhausted, kind: paid, setUp: with(marketplace.SourceTrial,
			func(e *marketplace.Entitlement) { e.Limits.Runs, e.Usage.Total = 3, 3 })},
		"trial over": {code: marketplace.CodeTrialExhausted, kind: paid, setUp: with(marketplace.SourceTrial,
			func(e *marketplace.Entitlement) { e.ExpiresAt = start })},
		"subscription over": {code: marketplace.CodeSubscriptionEnded, kind: paid, setUp: with(marketplace.SourceSubscription,
			func(e *marketplace.Entitlement) { e.ExpiresAt = start })},
		"included runs used up": {code: marketplace.CodeIncludedExhausted, kind: paid, setUp: func(t *testing.T, m market) {
			t.Helper()
			p := price(t, m, func(p *marketplace.Price) {
				p.Model, p.PerRun, p.Monthly, p.IncludedRuns = marketplace.ModelSubscription, 0, 1_000, 3
			})
			m.right(t, marketplace.SourceSubscription, func(e *marketplace.Entitlement) {
				e.PriceID, e.Limits.Included, e.Limits.Runs, e.Usage.Total = p.ID, 3, 3, 3
			})
		}},
		"granted to others": {code: marketplace.CodeNotEntitled, kind: forbidden, setUp: func(t *testing.T, m market) {
			t.Helper()
			m.list(t, marketplace.VisibilityPrivate)
			m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) { g.OrgID = m.publisher.ID })
		}},
		"grant expired": {code: marketplace.CodeEntitlementExpired, kind: forbidden, setUp: func(t *testing.T, m market) {
			t.Helper()
			m.list(t, marketplace.VisibilityPrivate)
			m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) { g.CreatedAt, g.ExpiresAt = after(-time.Hour), start })
		}},
		"grant revoked": {code: marketplace.CodeEntitlementRevoked, kind: forbidden, setUp: func(t *testing.T, m market) {
			t.Helper()
			g := m.grant(t, marketplace.AccessRun, nil)
			require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, m.agent.ID, g.ID, start))
		}},
		"version not covered": {code: marketplace.CodeVersionNotCovered, kind: forbidden, asked: marketplace.Subject{Version: "1.5.0"},
			setUp: with(marketplace.SourceGrant, func(e *marketplace.Entitlement) { e.Versions = "1.4" })},
		"month used up": {code: marketplace.CodeRunLimitReached, kind: forbidden, setUp: with(marketplace.SourceGrant,
			func(e *marketplace.Entitlement) { e.Limits.RunsPerMonth, e.Usage.Month, e.Usage.Runs = 2, month, 2 })},
		"too many at once": {code: marketplace.CodeConcurrencyReached, kind: forbidden, setUp: with(marketplace.SourceGrant,
			func(e *marketplace.Entitlement) { e.Limits.Concurrent, e.Usage.Active = 2, 2 })},
		"no consent": {code: marketplace.CodeConsentRequired, kind: forbidden, setUp: with(marketplace.SourceGrant, nil),
			asked: marketplace.Subject{Permissions: product.Permissions{Tools: []string{"search"}}}},
		"suspended": {code: marketplace.CodeListingSuspended, kind: forbidden, setUp: func(t *testing.T, m market) {
			t.Helper()
			with(marketplace.SourceGrant, nil)(t, m)
			m.relist(t, func(l *marketplace.Listing) error { return l.Suspend("a finding") })
		}},
	}
}
