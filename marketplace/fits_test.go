package marketplace_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// TestHoldFitsThePlan: fifty runs that were planned under the last run of a trial
// and fall through to a purchase must not run for the time that was free.
func TestHoldFitsThePlan(t *testing.T) {
	hour := product.Plan{Deadlines: product.Deadlines{Run: time.Hour}}
	paid := func(budget int64, run time.Duration) product.Plan {
		return product.Plan{Budget: usd(budget), Deadlines: product.Deadlines{Run: run}}
	}
	held := func(amount int64, affordable time.Duration) marketplace.Hold {
		return marketplace.Hold{Amount: usd(amount), Affordable: affordable}
	}
	for name, tc := range map[string]struct {
		hold marketplace.Hold
		plan product.Plan
		fits bool
	}{
		"free as planned":                      {marketplace.Hold{Included: true}, hour, true},
		"planned to be paid, and free now":     {marketplace.Hold{Amount: money.Of(0, "USD")}, paid(100, time.Hour), true},
		"paid as planned":                      {held(100, time.Minute), paid(100, time.Minute), true},
		"paid by the run":                      {held(100, 0), paid(100, time.Hour), true},
		"cheaper than planned":                 {held(60, time.Hour), paid(100, time.Hour), true},
		"planned as free, and paid now":        {held(1, time.Second), hour, false},
		"more than planned":                    {held(101, time.Hour), paid(100, time.Hour), false},
		"paid for less time than it was given": {held(100, 59*time.Second), paid(100, time.Minute), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.hold.Fits(tc.plan)
			if tc.fits {
				require.NoError(t, err)
				return
			}
			denied(t, err, fault.PaymentRequired, marketplace.CodeBudgetTooLow)
		})
	}
}
