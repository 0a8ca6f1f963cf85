package marketplace_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

func TestChargeEvent(t *testing.T) {
	const most = marketplace.MaxEventCount
	perEvent := hold(t, price(marketplace.ModelPerEvent)) // 500000 held, of which 1000 are the entrance fee
	included, nothingToPay := perEvent, hold(t, price(marketplace.ModelFree))
	included.Included = true
	for name, tc := range map[string]struct {
		hold    marketplace.Hold
		event   string
		count   int64
		spent   int64
		want    money.Amount
		code    string
		pointer string
	}{
		"one":                       {perEvent, "page", 1, 0, usd(2000), "", ""},
		"many":                      {perEvent, "image", 49, 0, usd(490_000), "", ""},
		"the last":                  {perEvent, "page", 1, 497_000, usd(2000), "", ""},
		"one more":                  {perEvent, "page", 1, 497_001, anything, marketplace.CodeBudgetExhausted, ""},
		"too many at once":          {perEvent, "page", 250, 0, anything, marketplace.CodeBudgetExhausted, ""},
		"as many as can be":         {perEvent, "page", most, 0, anything, marketplace.CodeBudgetExhausted, ""},
		"none":                      {perEvent, "page", 0, 0, anything, "", "/count"},
		"fewer than none":           {perEvent, "page", -1, 0, anything, "", "/count"},
		"more than can be":          {perEvent, "page", most + 1, 0, anything, "", "/count"},
		"an unknown one":            {perEvent, "chapter", 1, 0, anything, "", "/event"},
		"included":                  {included, "page", most, 0, usd(0), "", ""},
		"included, but unknown":     {included, "chapter", 1, 0, anything, "", "/event"},
		"nothing to pay":            {nothingToPay, "page", 7, 0, anything, "", ""},
		"nothing to pay, too many":  {nothingToPay, "page", most + 1, 0, anything, "", "/count"},
		"nothing to pay, no name":   {nothingToPay, "", 1, 0, anything, "", "/event"},
		"nothing to pay, any shape": {nothingToPay, "A page", 1, 0, anything, "", "/event"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.hold.Charge(tc.event, tc.count, usd(tc.spent))
			switch {
			case tc.code != "":
				denied(t, err, fault.PaymentRequired, tc.code)
			case tc.pointer != "":
				require.Equal(t, []string{tc.pointer}, pointers(t, err))
			default:
				require.NoError(t, err)
				require.Equal(t, tc.want, got)
			}
		})
	}
}

// Whatever an agent charges for, its run never costs more than what was held.
func TestChargesStayWithinTheBudget(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		h := hold(t, price(marketplace.ModelPerEvent))
		h.Amount = usd(1000 + r.Int64N(100_000))
		var events []marketplace.EventCharge
		spent := usd(0)
		for range 50 {
			name := []string{"page", "image"}[r.IntN(2)]
			amount, err := h.Charge(name, 1+r.Int64N(10), spent)
			if err != nil {
				denied(t, err, fault.PaymentRequired, marketplace.CodeBudgetExhausted)
				continue
			}
			spent.Micros += amount.Micros
			events = append(events, marketplace.EventCharge{Event: name, Count: 1, Amount: amount})
		}
		s := marketplace.Settle(h, ended(product.ReasonOK, ran(time.Second, product.ReasonOK)), marketplace.Used{Events: events})
		require.False(t, slices.ContainsFunc(s.Lines, func(l marketplace.CostLine) bool { return l.Kind == marketplace.LineCap }))
		require.Equal(t, usd(1000+spent.Micros), s.Total)
	}
}
