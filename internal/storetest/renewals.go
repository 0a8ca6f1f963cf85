package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var renewalTests = []testCase{
	{"a month that is over is followed by the next one, at the price in effect", renewalPays},
	{"many at once renew once", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 10_000)
		due := m.order(t, marketplace.OrderSubscription, start).RenewsAt
		const rivals = 12
		renewed, errs := make([]int, rivals), make([]error, rivals)
		together(rivals, func(i int) { renewed[i], errs[i] = s.Marketplace.RenewDue(t.Context(), due, 10, 0) })
		require.Equal(t, tally{passed: rivals}, count("", errs))
		sum := 0
		for _, n := range renewed {
			sum += n
		}
		require.Equal(t, 1, sum)
		requireMoney(t, s, m.buyer, 8_000, 0, 0)
	}},
	{"what cannot be paid ends, without a debt", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 1_500)
		m.ends(t, m.order(t, marketplace.OrderSubscription, start), marketplace.CodeInsufficientFunds)
		requireMoney(t, s, m.buyer, 500, 0, 0)
		fund(t, s, m.buyer, 1_000)
		m.order(t, marketplace.OrderSubscription, after(1000*time.Hour))
	}},
	{"what is over a limit ends", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 5_000)
		o := m.order(t, marketplace.OrderSubscription, start)
		m.limit(t, marketplace.SpendMonthly, "", 500)
		m.ends(t, o, marketplace.CodeSpendLimitReached)
		requireMoney(t, s, m.buyer, 4_000, 0, 0)
		require.Zero(t, m.spending(t, "", "2026-04").Org.Spent.Micros)
	}},
	{"what is suspended, revoked or not sold so any more ends", func(t *testing.T, s Stores) {
		for i, why := range []func(m market, o marketplace.Order) error{
			func(m market, _ marketplace.Order) error {
				_, err := s.Marketplace.UpdateListing(t.Context(), actor, m.agent.ID, "listing.suspend", nil,
					func(l *marketplace.Listing) error { return l.Suspend("bad") })
				return err
			},
			func(m market, o marketplace.Order) error {
				_, err := s.Marketplace.UpdateEntitlement(t.Context(), actor, m.buyer.ID, o.EntitlementID, start, func(e *marketplace.Entitlement) error {
					e.RevokedAt = start
					return nil
				})
				return err
			},
			func(m market, _ marketplace.Order) error {
				return s.Marketplace.SetPrice(t.Context(), actor, aPrice(m.agent, 5, after(time.Hour)), allow)
			},
		} {
			m := market{Stores: s, publisher: anOrganization(t, s, "acme-"+string(rune('a'+i))), buyer: anOrganization(t, s, "globex-"+string(rune('a'+i)))}
			m.agent, m.version = publish(t, s, m.publisher, "reviewer", "1.0.0", start)
			m.list(t, marketplace.VisibilityPublic)
			m.price(t, monthly(1_000, 10, 0))
			fund(t, s, m.buyer, 5_000)
			o := m.order(t, marketplace.OrderSubscription, start)
			require.NoError(t, why(m, o))
			m.ends(t, o, "not_renewable")
			requireMoney(t, s, m.buyer, 4_000, 0, 0)
		}
	}},
	{"a platform that stood still charges no month that did not hold", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 10_000)
		o := m.order(t, marketplace.OrderSubscription, start)
		late := o.RenewsAt.AddDate(0, 3, 5)
		n, err := s.Marketplace.RenewDue(t.Context(), late, 10, 0)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		requireMoney(t, s, m.buyer, 8_000, 0, 0)
		o, err = s.Marketplace.Order(t.Context(), m.buyer.ID, o.ID)
		require.NoError(t, err)
		require.Equal(t, late.AddDate(0, 1, 0), o.RenewsAt)
	}},
	{"one that is due is not ordered once more", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 10_000)
		due := m.order(t, marketplace.OrderSubscription, start).RenewsAt
		_, _, err := m.tryOrder(t, "", marketplace.OrderSubscription, nil, due.AddDate(0, 2, 0))
		requireFault(t, err, fault.Conflict, "order_exists")
		requireMoney(t, s, m.buyer, 9_000, 0, 0)
	}},
	{"they are renewed up to the limit, and one that fails keeps no other waiting", renewalsGoOn},
}

// ends renews an order that ends by it.
func (m market) ends(t *testing.T, o marketplace.Order, code string) {
	t.Helper()
	n, err := m.Marketplace.RenewDue(t.Context(), o.RenewsAt, 10, policy.FeeBasisPoints)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	got, err := m.Marketplace.Order(t.Context(), m.buyer.ID, o.ID)
	require.NoError(t, err)
	require.Equal(t, marketplace.OrderEnded, got.Status)
	require.True(t, got.RenewsAt.IsZero())
	entries := m.audit(t, m.buyer, string(o.ID))
	require.Equal(t, "order.end", entries[0].Action)
	require.Equal(t, "renewals", entries[0].Actor.ID)
	require.Contains(t, string(entries[0].After), code)
	n, err = m.Marketplace.RenewDue(t.Context(), o.RenewsAt.AddDate(1, 0, 0), 10, 0)
	require.NoError(t, err)
	require.Zero(t, n)
}

func renewalPays(t *testing.T, s Stores) {
	m := newMarket(t, s)
	m.price(t, monthly(1_000, 10, 0))
	fund(t, s, m.buyer, 10_000)
	o := m.order(t, marketplace.OrderSubscription, start)
	due := o.RenewsAt
	dearer := aPrice(m.agent, 0, after(time.Hour))
	monthly(3_000, 50, 0)(&dearer)
	dearer = setPrice(t, s, dearer)
	require.Equal(t, int64(10), m.claim(t, "", due.Add(-1)).Entitlements[0].Limits.Included)

	n, err := s.Marketplace.RenewDue(t.Context(), due.Add(-time.Microsecond), 10, policy.FeeBasisPoints)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = s.Marketplace.RenewDue(t.Context(), due, 10, policy.FeeBasisPoints)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = s.Marketplace.RenewDue(t.Context(), due, 10, policy.FeeBasisPoints)
	require.NoError(t, err)
	require.Zero(t, n)

	requireMoney(t, s, m.buyer, 6_000, 0, 0)
	requireMoney(t, s, m.publisher, 0, 0, 3_200)
	got, err := s.Marketplace.Order(t.Context(), m.buyer.ID, o.ID)
	require.NoError(t, err)
	o.RenewsAt = due.AddDate(0, 1, 0)
	requireSame(t, o, got)
	right := m.claim(t, "", due).Entitlements[0]
	require.Equal(t, dearer.ID, right.PriceID)
	require.Equal(t, int64(50), right.Limits.Included)
	require.Equal(t, o.RenewsAt, right.ExpiresAt)
	require.True(t, right.Renews)
	require.Equal(t, usd(3_000), m.spending(t, "", "2026-04").Org.Spent)
	entries := m.audit(t, m.buyer, string(o.ID))
	require.Equal(t, "order.renew", entries[0].Action)
	require.Equal(t, "renewals", entries[0].Actor.ID)
}

func renewalsGoOn(t *testing.T, s Stores) {
	m := newMarket(t, s)
	var due time.Time
	var last market
	// A right that renews without an order is broken, and due before the others.
	broken := m.right(t, marketplace.SourceSubscription, func(e *marketplace.Entitlement) { e.ExpiresAt, e.Renews = start, true })
	for _, name := range []string{"a", "b", "c"} {
		last = m.another(t, name)
		last.list(t, marketplace.VisibilityPublic)
		last.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 2_000)
		due = last.order(t, marketplace.OrderSubscription, start).RenewsAt
	}
	n, err := s.Marketplace.RenewDue(t.Context(), due, 3, 0)
	require.ErrorContains(t, err, string(broken.ID))
	require.Equal(t, 3, n)
	requireMoney(t, s, m.buyer, 1_000, 0, 0)
	n, err = s.Marketplace.RenewDue(t.Context(), due, 3, 0)
	require.Error(t, err)
	require.Equal(t, 2, n)
	requireMoney(t, s, m.buyer, 0, 0, 0)
	_, err = last.claim(t, "", due).Decide(marketplace.Subject{Permissions: product.PermissionsOf(m.version.Manifest)}, due)
	require.NoError(t, err)
}
