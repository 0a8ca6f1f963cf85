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

// TestWhatIsHeldForModels is beside what the price takes, and never more than the
// caller's maximum.
func TestWhatIsHeldForModels(t *testing.T) {
	asking := subject
	asking.Models = usd(1_000_000)
	for _, tt := range []struct {
		name  string
		claim marketplace.Claim
		most  money.Amount
		limit int64 // of a run; 0: none
		want  money.Amount
	}{
		{"free", claim(nil), anything, 0, usd(1_000_000)},
		{"free, and the caller names a maximum", claim(nil), usd(3_000_000), 0, usd(3_000_000)},
		{"free, and less is allowed", claim(nil), anything, 400_000, usd(400_000)},
		{"free, and less is allowed than asked for", claim(nil), usd(3_000_000), 400_000, usd(400_000)},
		{"another currency", claim(nil), money.Of(5, "EUR"), 0, money.Amount{}},
		{"on trial", claim(priced(marketplace.ModelPerEvent), right(trialed)), anything, 0, usd(1_000_000)},
		{"by the run", claim(priced(marketplace.ModelPerRun), right(purchase)), anything, 0, usd(1_250_000)},
		{"by the run, with a maximum", claim(priced(marketplace.ModelPerRun), right(purchase)), usd(700_000), 0, usd(700_000)},
		{"by the run, with none to spare", claim(priced(marketplace.ModelPerRun), right(purchase)), usd(250_000), 0, usd(250_000)},
		{"by the event: events and models share", claim(priced(marketplace.ModelPerEvent), right(purchase)), anything, 0, usd(500_000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var spending marketplace.Spending
			if tt.limit > 0 {
				spending = limited(limit(marketplace.SpendPerRun, tt.limit))
			}
			h, err := tt.claim.Admit(queued(tt.most), asking, spending, policy, now)
			require.NoError(t, err)
			require.Equal(t, tt.want, h.Amount)
		})
	}
	poor := claim(nil)
	poor.Wallet = usd(999_999)
	_, err := poor.Admit(queued(anything), asking, marketplace.Spending{}, policy, now)
	denied(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds)
	require.Equal(t, usd(1_000_000), claim(nil).Estimate(asking, marketplace.Spending{}, 0, policy, now).Maximum)
}

func TestModelsReserveWhatIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name        string
		model       marketplace.Model
		extra       int64
		spent       int64
		least, most int64
		want        int64 // negative: no room
	}{
		{"beside a run", marketplace.ModelPerRun, 1_000, 0, 1, 5_000, 1_000},
		{"beside a run, with a small need", marketplace.ModelPerRun, 1_000, 0, 1, 600, 600},
		{"after others", marketplace.ModelPerRun, 1_000, 900, 100, 600, 100},
		{"the least does not fit", marketplace.ModelPerRun, 1_000, 900, 101, 600, -1},
		{"nothing is left", marketplace.ModelPerRun, 1_000, 1_000, 0, 600, -1},
		{"what is free fits", marketplace.ModelPerRun, 0, 0, 0, 0, 0},
		{"beside time", marketplace.ModelPerSecond, 70, 0, 1, 100, 70},
		{"instead of events", marketplace.ModelPerEvent, 0, 0, 1, 1_000_000, 499_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hold(t, price(tt.model))
			h.Amount.Micros += tt.extra
			got, err := h.Reserve(marketplace.ModelReservation{Least: usd(tt.least), Most: usd(tt.most)}, usd(tt.spent))
			if tt.want < 0 {
				denied(t, err, fault.PaymentRequired, marketplace.CodeBudgetExhausted)
				return
			}
			require.NoError(t, err)
			require.Equal(t, usd(tt.want), got)
		})
	}
	_, err := hold(t, price(marketplace.ModelPerEvent)).Reserve(marketplace.ModelReservation{Most: money.Of(1, "EUR")}, usd(0))
	denied(t, err, fault.PaymentRequired, marketplace.CodeBudgetExhausted)
}

// TestModelsArePaidToThePlatform: whole, whenever the run is charged at all.
func TestModelsArePaidToThePlatform(t *testing.T) {
	asked := marketplace.Used{Models: []marketplace.ModelCost{{Model: "large", Tokens: 70, Amount: usd(900)}, {Model: "small", Tokens: 30, Amount: usd(100)}}}
	lines := []marketplace.CostLine{
		{Kind: marketplace.LineModel, Event: "large", Quantity: 70, Amount: usd(900)},
		{Kind: marketplace.LineModel, Event: "small", Quantity: 30, Amount: usd(100)},
	}
	byRun := []marketplace.CostLine{{Kind: marketplace.LineRun, Quantity: 1, Amount: usd(250_000)}}
	free := marketplace.Hold{OrgID: "org_buyer", Publisher: "org_acme", Amount: usd(1_000_000), Included: true, FeeBasisPoints: 2000}
	paid := hold(t, price(marketplace.ModelPerRun))
	paid.Amount.Micros += 1_000_000
	tight := paid
	tight.Amount = usd(250_000 + 950)
	for _, tt := range []struct {
		name       string
		hold       marketplace.Hold
		reason     product.Reason
		total, fee int64
		lines      []marketplace.CostLine
	}{
		{"free", free, product.ReasonOK, 1_000, 1_000, lines},
		{"free, by the agent's fault", free, agentError, 1_000, 1_000, lines},
		{"free, by the platform's", free, evicted, 0, 0, nil},
		{"paid", paid, product.ReasonOK, 251_000, 51_000, append(byRun, lines...)},
		{"paid, by the agent's fault", paid, agentError, 1_000, 1_000, lines},
		{"paid, by the platform's", paid, evicted, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := marketplace.Settle(tt.hold, ended(tt.reason, ran(time.Second, tt.reason)), asked)
			require.Equal(t, usd(tt.total), s.Total)
			require.Equal(t, usd(tt.fee), s.Fee)
			require.Empty(t, cmp.Diff(tt.lines, s.Lines))
			tx, err := tt.hold.SettleMoney(s, now)
			require.NoError(t, err)
			require.Equal(t, tt.total == 0, tx.Kind == marketplace.TxRelease)
		})
	}
	s := marketplace.Settle(tight, ended(product.ReasonOK, ran(time.Second, product.ReasonOK)), asked)
	require.Equal(t, usd(250_950), s.Total, "never more than is held, whatever was used")
}
