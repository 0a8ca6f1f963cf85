package marketplace_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// book is the balance of every account, in its one currency.
type book map[ids.Account]int64

// post books a transaction, and requires that it balances and that no account
// is in it twice.
func (b book) post(t *testing.T, tx marketplace.Transaction) {
	t.Helper()
	sum, seen := int64(0), map[ids.Account]bool{}
	for _, l := range tx.Lines {
		require.False(t, seen[l.Account], "%s is twice in a %s", l.Account, tx.Kind)
		require.NotZero(t, l.Amount.Micros)
		require.Equal(t, tx.Lines[0].Amount.Currency, l.Amount.Currency)
		seen[l.Account] = true
		b[l.Account] += l.Amount.Micros
		sum += l.Amount.Micros
	}
	require.Zero(t, sum, "a %s does not balance", tx.Kind)
	require.True(t, ids.Valid(ids.PrefixTransaction, string(tx.ID)))
}

const (
	wallet   = ids.Account("wallet:org_buyer")
	held     = ids.Account("held:org_buyer")
	earnings = ids.Account("earnings:org_acme")
	fees     = ids.Account("fees")
	external = ids.Account("external")
)

func TestAccountNames(t *testing.T) {
	require.Equal(t, wallet, marketplace.AccountOf(marketplace.AccountWallet, "org_buyer"))
	require.Equal(t, held, marketplace.AccountOf(marketplace.AccountHeld, "org_buyer"))
	require.Equal(t, earnings, marketplace.AccountOf(marketplace.AccountEarnings, "org_acme"))
	require.Equal(t, fees, marketplace.AccountOf(marketplace.AccountFees, "org_acme"), "there is one of the platform")
	require.Equal(t, external, marketplace.AccountOf(marketplace.AccountExternal, ""))
}

// TestEveryKindOfTransaction follows money through all of its stations.
func TestEveryKindOfTransaction(t *testing.T) {
	b := book{}
	step := func(want book, kind marketplace.TransactionKind, tx marketplace.Transaction, err error) marketplace.Transaction {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, kind, tx.Kind)
		require.Equal(t, marketplace.Month("2026-11"), tx.Month)
		require.Equal(t, now, tx.CreatedAt)
		b.post(t, tx)
		require.Empty(t, cmp.Diff(want, b))
		return tx
	}
	h := hold(t, price(marketplace.ModelPerSecond)) // 6000
	ten := marketplace.Settle(h, ended(product.ReasonOK, ran(10*time.Second, product.ReasonOK)), marketplace.Used{})
	order := marketplace.Order{ID: "ord_1", OrgID: "org_buyer", AgentID: "agt_1", Agent: "acme/greeter"}

	tx, err := marketplace.CreditMoney("org_buyer", usd(100_000), "", now)
	step(book{external: -100_000, wallet: 100_000}, marketplace.TxCredit, tx, err)
	tx, err = h.HoldMoney(now)
	require.Equal(t, ids.Run("run_1"), tx.RunID)
	step(book{external: -100_000, wallet: 94_000, held: 6000}, marketplace.TxHold, tx, err)
	tx, err = h.SettleMoney(ten, now)
	charge := step(book{external: -100_000, wallet: 99_000, held: 0, earnings: 800, fees: 200}, marketplace.TxCharge, tx, err)
	require.Empty(t, cmp.Diff(ten.Lines, charge.Costs))
	require.Equal(t, ids.Run("run_1"), charge.RunID)

	tx, err = h.HoldMoney(now)
	step(book{external: -100_000, wallet: 93_000, held: 6000, earnings: 800, fees: 200}, marketplace.TxHold, tx, err)
	tx, err = h.SettleMoney(marketplace.Settle(h, ended(evicted, ran(time.Minute, evicted)), marketplace.Used{}), now)
	step(book{external: -100_000, wallet: 99_000, held: 0, earnings: 800, fees: 200}, marketplace.TxRelease, tx, err)

	tx, err = marketplace.SubscriptionMoney(order, "org_acme", usd(10_000), 2000, now)
	month := step(book{external: -100_000, wallet: 89_000, held: 0, earnings: 8800, fees: 2200}, marketplace.TxSubscription, tx, err)
	require.Equal(t, ids.Order("ord_1"), month.OrderID)
	require.Equal(t, "acme/greeter", month.Agent)

	tx, err = marketplace.RefundMoney(charge, usd(0), usd(500), "it was slow", now)
	refund := step(book{external: -100_000, wallet: 89_500, held: 0, earnings: 8400, fees: 2100}, marketplace.TxRefund, tx, err)
	require.Equal(t, charge.ID, refund.Of)
	require.Equal(t, ids.Run("run_1"), refund.RunID)
	tx, err = marketplace.RefundMoney(month, usd(0), usd(10_000), "it never worked", now)
	step(book{external: -100_000, wallet: 99_500, held: 0, earnings: 400, fees: 100}, marketplace.TxRefund, tx, err)

	tx, err = marketplace.PayoutMoney("org_acme", usd(400), "November", now)
	step(book{external: -99_600, wallet: 99_500, held: 0, earnings: 0, fees: 100}, marketplace.TxPayout, tx, err)
}

func TestRunsThatCostNothingMoveNothing(t *testing.T) {
	h := hold(t, price(marketplace.ModelFree))
	tx, err := h.HoldMoney(now)
	require.NoError(t, err)
	require.Empty(t, tx.Lines)
	tx, err = h.SettleMoney(marketplace.Settle(h, ended(product.ReasonOK, ran(time.Second, product.ReasonOK)), marketplace.Used{}), now)
	require.NoError(t, err)
	require.Equal(t, marketplace.TxRelease, tx.Kind)
	require.Empty(t, tx.Lines)
}

func TestTransactionsBalance(t *testing.T) {
	type l = marketplace.Line
	for name, lines := range map[string][]l{
		"one side":           {{Account: wallet, Amount: usd(1)}},
		"not equal":          {{Account: wallet, Amount: usd(1)}, {Account: held, Amount: usd(-2)}},
		"two currencies":     {{Account: wallet, Amount: usd(1)}, {Account: held, Amount: money.Of(-1, "EUR")}},
		"each of them in it": {{Account: wallet, Amount: usd(1)}, {Account: held, Amount: usd(-1)}, {Account: fees, Amount: money.Of(1, "EUR")}, {Account: external, Amount: money.Of(-1, "EUR")}},
		"overflow":           {{Account: wallet, Amount: usd(math.MaxInt64)}, {Account: held, Amount: usd(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := marketplace.NewTransaction(marketplace.TxHold, "org_buyer", now, lines...)
			require.Equal(t, fault.Internal, fault.KindOf(err))
			require.Zero(t, tx)
		})
	}
	tx, err := marketplace.NewTransaction(marketplace.TxHold, "org_buyer", now,
		l{Account: fees, Amount: money.Of(0, "EUR")}, l{Account: wallet, Amount: usd(-1)}, l{Account: held, Amount: usd(1)})
	require.NoError(t, err)
	require.Len(t, tx.Lines, 2, "lines of nothing are left out")
}

func TestMoneyMovesForward(t *testing.T) {
	for name, amount := range map[string]money.Amount{
		"nothing": usd(0), "negative": usd(-1), "too much": usd(money.MaxMicros + 1), "no currency": {Micros: 1}, "half a currency": money.Of(1, "US"),
	} {
		_, err := marketplace.CreditMoney("org_buyer", amount, "", now)
		require.Equal(t, []string{"/amount/amount_micros"}, pointers(t, err), name)
		_, err = marketplace.PayoutMoney("org_acme", amount, "", now)
		require.Equal(t, []string{"/amount/amount_micros"}, pointers(t, err), name)
	}
	_, err := marketplace.CreditMoney("org_buyer", usd(1), strings.Repeat("ä", marketplace.MaxReason+1), now)
	require.Equal(t, []string{"/reason"}, pointers(t, err))
	_, err = marketplace.PayoutMoney("org_acme", usd(1), "a\x00", now)
	require.Equal(t, []string{"/reason"}, pointers(t, err))
	for _, micros := range []int64{0, -1} { // a month that costs nothing was priced by mistake
		_, err = marketplace.SubscriptionMoney(marketplace.Order{ID: "ord_1", OrgID: "org_buyer"}, "org_acme", usd(micros), 2000, now)
		require.Equal(t, fault.Internal, fault.KindOf(err))
	}
}

// chargeOf is a charge with a share of the platform, as it is stored.
func chargeOf(t *testing.T, total, feeBasisPoints int64) marketplace.Transaction {
	t.Helper()
	tx, err := marketplace.SubscriptionMoney(marketplace.Order{ID: "ord_1", OrgID: "org_buyer", Agent: "acme/greeter"}, "org_acme", usd(total), feeBasisPoints, now)
	require.NoError(t, err)
	return tx
}

func TestRefundsThatAreRefused(t *testing.T) {
	charge := chargeOf(t, 1000, 2000)
	for name, tc := range map[string]struct {
		refunded, amount money.Amount
		kind             fault.Kind
		code             string
	}{
		"nothing":               {usd(0), usd(0), fault.Invalid, "refund_amount"},
		"less than nothing":     {usd(0), usd(-1), fault.Invalid, "refund_amount"},
		"more than all":         {usd(0), usd(1001), fault.Invalid, "refund_amount"},
		"more than what's left": {usd(600), usd(401), fault.Invalid, "refund_amount"},
		"after all":             {usd(1000), usd(1), fault.Invalid, "refund_amount"},
		"another currency":      {usd(0), money.Of(1, "EUR"), fault.Invalid, "refund_amount"},
		"a history that is off": {usd(-1), usd(1001), fault.Internal, "internal"},
		"more than all before":  {usd(1001), usd(1), fault.Internal, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := marketplace.RefundMoney(charge, tc.refunded, tc.amount, "why", now)
			denied(t, err, tc.kind, tc.code)
		})
	}
	for _, reason := range []string{"", " ", "a\x00", strings.Repeat("ä", marketplace.MaxReason+1)} {
		_, err := marketplace.RefundMoney(charge, usd(0), usd(1), reason, now)
		require.Equal(t, []string{"/reason"}, pointers(t, err))
	}
}

func TestWhatATransactionDoesToAnAccount(t *testing.T) {
	charge := chargeOf(t, 1000, 2000)
	require.Equal(t, usd(-1000), charge.To(wallet))
	require.Equal(t, usd(800), charge.To(earnings))
	require.Equal(t, usd(200), charge.To(fees))
	require.Zero(t, charge.To(external))
	require.Equal(t, usd(1000), charge.Left(usd(0)))
	require.Equal(t, usd(1), charge.Left(usd(999)))
	require.Equal(t, usd(0), charge.Left(usd(1000)))
	require.Equal(t, usd(1000), charge.Left(anything), "nothing was refunded")
}

func TestOnlyChargesAreRefunded(t *testing.T) {
	charge := chargeOf(t, 1000, 2000)
	refund, err := marketplace.RefundMoney(charge, usd(0), usd(1000), "why", now)
	require.NoError(t, err)
	credit, err := marketplace.CreditMoney("org_buyer", usd(1000), "", now)
	require.NoError(t, err)
	payout, err := marketplace.PayoutMoney("org_acme", usd(1000), "", now)
	require.NoError(t, err)
	h := hold(t, price(marketplace.ModelPerRun))
	put, err := h.HoldMoney(now)
	require.NoError(t, err)
	released, err := h.SettleMoney(marketplace.Settlement{Total: usd(0), Fee: usd(0)}, now)
	require.NoError(t, err)
	for _, tx := range []marketplace.Transaction{refund, credit, payout, put, released, {}} {
		_, err := marketplace.RefundMoney(tx, usd(0), usd(1), "why", now)
		denied(t, err, fault.Conflict, "not_refundable", tx.Kind)
	}
}

// TestManyRefundsGiveBackExactlyTheCharge refunds charges in random parts: the
// buyer gets all of it, and publisher and platform give what they got.
func TestManyRefundsGiveBackExactlyTheCharge(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 500 {
		total := 1 + r.Int64N([]int64{10, 1000, money.MaxMicros}[r.IntN(3)])
		b, charge := book{}, chargeOf(t, total, r.Int64N(10_001))
		b.post(t, charge)
		fee := b[fees]
		for refunded := int64(0); refunded < total; {
			amount := 1 + r.Int64N(total-refunded)
			tx, err := marketplace.RefundMoney(charge, usd(refunded), usd(amount), "why", now)
			require.NoError(t, err)
			b.post(t, tx)
			refunded += amount
			require.Equal(t, refunded-total, b[wallet])
			// Nobody gives back more than he has, at any time.
			require.GreaterOrEqual(t, b[fees], int64(0))
			require.LessOrEqual(t, b[fees], fee)
			require.GreaterOrEqual(t, b[earnings], int64(0))
		}
		require.Zero(t, b[fees])
		require.Zero(t, b[earnings])
		require.Zero(t, b[wallet])
	}
}

// TestRandomHistoriesBalance lets runs be held, settled and refunded at random.
func TestRandomHistoriesBalance(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 500 {
		b, paid := book{}, int64(0)
		for range 30 {
			p := randomPrice(r)
			h := hold(t, p)
			h.FeeBasisPoints = r.Int64N(10_001)
			put, err := h.HoldMoney(now)
			require.NoError(t, err)
			b.post(t, put)
			reason := []product.Reason{product.ReasonOK, agentError, evicted}[r.IntN(3)]
			s := marketplace.Settle(h, ended(reason, ran(time.Duration(r.Int64N(70))*time.Second, reason)), marketplace.Used{})
			tx, err := h.SettleMoney(s, now)
			require.NoError(t, err)
			b.post(t, tx)
			require.Zero(t, b[held])
			paid += s.Total.Micros
			if tx.Kind == marketplace.TxCharge && r.IntN(3) == 0 {
				back, err := marketplace.RefundMoney(tx, usd(0), usd(1+r.Int64N(s.Total.Micros)), "why", now)
				require.NoError(t, err)
				b.post(t, back)
				paid -= back.Lines[len(back.Lines)-1].Amount.Micros
			}
			require.Equal(t, -paid, b[wallet])
			require.Equal(t, paid, b[earnings]+b[fees])
		}
	}
}
