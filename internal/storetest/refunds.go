package storetest

import (
	"errors"
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

// charged is the transaction that charged a run of the market's buyer.
func (m market) charged(t *testing.T, micros int64) marketplace.Transaction {
	t.Helper()
	r := m.settled(t, m.admitted(t, start).ID, product.ReasonOK, time.Second, after(time.Minute))
	require.Equal(t, usd(micros), r.Cost)
	list, err := m.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountEarnings, m.publisher.ID), "", 1)
	require.NoError(t, err)
	require.Equal(t, r.ID, list[0].RunID)
	return list[0]
}

func (m market) refund(t *testing.T, of ids.Transaction, micros int64, key *marketplace.RequestKey, at time.Time) (marketplace.Transaction, bool, error) {
	return m.Marketplace.Refund(t.Context(), the(m.publisher), of, key,
		func(of marketplace.Transaction, refunded money.Amount) (marketplace.Transaction, error) {
			return marketplace.RefundMoney(of, refunded, usd(micros), "sorry", at)
		})
}

// overdraw is the refund of an operator.
func (m market) overdraw(t *testing.T, of ids.Transaction, micros int64, at time.Time) (marketplace.Transaction, bool, error) {
	return m.Marketplace.Refund(t.Context(), the(m.publisher), of, nil,
		func(of marketplace.Transaction, refunded money.Amount) (marketplace.Transaction, error) {
			back, err := marketplace.RefundMoney(of, refunded, usd(micros), "sorry", at)
			back.Overdraw = true
			return back, err
		})
}

var refundTests = []testCase{
	{"publisher and platform give back what they got, an operator even what was paid out", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(1_000))
		charge := m.charged(t, 1_000)
		out, err := marketplace.PayoutMoney(m.publisher.ID, usd(800), "", start)
		require.NoError(t, err)
		_, _, err = s.Marketplace.Post(t.Context(), actor, out, nil)
		require.NoError(t, err)

		_, _, err = m.refund(t, charge.ID, 250, nil, after(time.Hour))
		requireFault(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds) // its earnings are gone
		back, first, err := m.overdraw(t, charge.ID, 250, after(time.Hour))
		require.NoError(t, err)
		require.True(t, first)
		require.Equal(t, []marketplace.Line{
			{Account: marketplace.AccountOf(marketplace.AccountWallet, m.buyer.ID), Amount: usd(250), Balance: usd(250)},
			{Account: marketplace.AccountOf(marketplace.AccountEarnings, m.publisher.ID), Amount: usd(-200), Balance: usd(-200)},
			{Account: "fees", Amount: usd(-50), Balance: usd(150)},
		}, back.Lines)
		require.Equal(t, charge.ID, back.Of)
		loaded, err := s.Marketplace.Transaction(t.Context(), back.ID)
		require.NoError(t, err)
		requireSame(t, back, loaded)
		for _, org := range []marketplace.Organization{m.buyer, m.publisher} {
			entries, err := s.Marketplace.Audit(t.Context(), org.ID, auditOf(string(back.ID)))
			require.NoError(t, err)
			require.Len(t, entries, 1)
			require.Equal(t, "charge.refund", entries[0].Action)
			require.Equal(t, the(m.publisher), entries[0].Actor)
			mine := org.ID == m.buyer.ID
			require.Equal(t, mine, strings.Contains(string(entries[0].After), string(charge.RunID)), "a run is its buyer's")
		}
	}},
	{"never more than was charged", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(1_000))
		charge := m.charged(t, 1_000)
		for _, micros := range []int64{400, 599} {
			_, _, err := m.refund(t, charge.ID, micros, nil, start)
			require.NoError(t, err)
		}
		_, _, err := m.refund(t, charge.ID, 2, nil, start)
		requireFault(t, err, fault.Invalid, "refund_amount")
		_, _, err = m.refund(t, charge.ID, 1, nil, start)
		require.NoError(t, err)
		requireMoney(t, s, m.buyer, 1_000, 0, 0)
		requireMoney(t, s, m.publisher, 0, 0, 0)
	}},
	{"many at once never give back more than was charged", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(1_000))
		charge := m.charged(t, 1_000)
		errs := make([]error, 20)
		together(len(errs), func(i int) { _, _, errs[i] = m.refund(t, charge.ID, 150, nil, start) })
		require.Equal(t, tally{passed: 6, denied: 14}, count("refund_amount", errs))
		requireMoney(t, s, m.buyer, 900, 0, 0)
		requireMoney(t, s, m.publisher, 0, 0, 80)
	}},
	{"the same request refunds once", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(1_000))
		charge := m.charged(t, 1_000)
		refunds, errs := make([]marketplace.Transaction, 10), make([]error, 10)
		together(10, func(i int) { refunds[i], _, errs[i] = m.refund(t, charge.ID, 1_000, requestKey("k"), start) })
		require.Equal(t, tally{passed: 10}, count("", errs))
		for i := range refunds {
			requireSame(t, refunds[0], refunds[i])
		}
		requireMoney(t, s, m.buyer, 1_000, 0, 0)
	}},
	{"a refusal comes back as it is, and its key is free again", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(1_000))
		charge := m.charged(t, 1_000)
		refusal := errors.New("no")
		_, _, err := s.Marketplace.Refund(t.Context(), the(m.publisher), charge.ID, requestKey("k"),
			func(of marketplace.Transaction, refunded money.Amount) (marketplace.Transaction, error) {
				requireSame(t, charge, of)
				require.Equal(t, usd(0), refunded)
				return marketplace.Transaction{}, refusal
			})
		require.Equal(t, refusal, err)
		_, first, err := m.refund(t, charge.ID, 10, requestKey("k"), start)
		require.NoError(t, err)
		require.True(t, first)
	}},
	{"only what exists, and only by its own refund", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(1_000))
		charge := m.charged(t, 1_000)
		_, _, err := m.refund(t, "txn_none", 1, nil, start)
		requireFault(t, err, fault.NotFound, "transaction_not_found")
		credit := fund(t, s, m.buyer, 5)
		_, _, err = m.refund(t, credit.ID, 1, nil, start)
		requireFault(t, err, fault.Conflict, "not_refundable")
		_, _, err = s.Marketplace.Refund(t.Context(), actor, charge.ID, nil,
			func(of marketplace.Transaction, _ money.Amount) (marketplace.Transaction, error) {
				of.ID = "txn_other"
				return marketplace.RefundMoney(of, usd(0), usd(1), "", start)
			})
		require.Error(t, err)
	}},
	{"a subscription ends with its month when that is given back whole", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 5_000)
		order := m.order(t, marketplace.OrderSubscription, start)
		list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountEarnings, m.publisher.ID), "", 1)
		require.NoError(t, err)
		_, _, err = m.refund(t, list[0].ID, 400, nil, after(time.Hour))
		require.NoError(t, err)
		got, err := s.Marketplace.Order(t.Context(), m.buyer.ID, order.ID)
		require.NoError(t, err)
		require.Equal(t, marketplace.OrderActive, got.Status)
		_, _, err = m.refund(t, list[0].ID, 600, nil, after(2*time.Hour))
		require.NoError(t, err)
		got, err = s.Marketplace.Order(t.Context(), m.buyer.ID, order.ID)
		require.NoError(t, err)
		require.Equal(t, marketplace.OrderRefunded, got.Status)
		require.True(t, got.RenewsAt.IsZero())
		right := m.claim(t, "", after(3*time.Hour)).Entitlements[0]
		require.False(t, right.Renews)
		require.Equal(t, stored(after(2*time.Hour)), right.RevokedAt)
		requireMoney(t, s, m.buyer, 5_000, 0, 0)
		n, err := s.Marketplace.RenewDue(t.Context(), after(100*24*time.Hour), 10, 0)
		require.NoError(t, err)
		require.Zero(t, n)
	}},
	{"a month that is over is given back without an end of the subscription", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 5_000)
		order := m.order(t, marketplace.OrderSubscription, start)
		list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountEarnings, m.publisher.ID), "", 1)
		require.NoError(t, err)
		n, err := s.Marketplace.RenewDue(t.Context(), order.RenewsAt, 10, 0)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		_, _, err = m.refund(t, list[0].ID, 1_000, nil, order.RenewsAt.Add(time.Hour))
		require.NoError(t, err)
		got, err := s.Marketplace.Order(t.Context(), m.buyer.ID, order.ID)
		require.NoError(t, err)
		require.Equal(t, marketplace.OrderActive, got.Status)
	}},
}
