package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// reservation asks for room for a call of a model.
func reservation(run product.Run, key string, least, most int64) marketplace.ModelReservation {
	return marketplace.ModelReservation{
		Run: run.ID, Attempt: 1, Key: key, Model: "small", Least: usd(least), Most: usd(most), At: start, Expires: after(time.Hour),
	}
}

func used(cost int64) marketplace.ModelUsage {
	return marketplace.ModelUsage{InputTokens: 10, OutputTokens: 5, Cost: usd(cost), At: after(time.Second)}
}

var modelTests = []testCase{
	{"calls reserve what is left, and are billed as what they used", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perEvent(100, 30, 1_000))
		run := m.admitted(t, start)
		reserve := func(key string, least, most, want int64) {
			t.Helper()
			got, err := s.Marketplace.ReserveModel(t.Context(), reservation(run, key, least, most))
			require.NoError(t, err)
			require.Equal(t, usd(want), got)
		}
		reserve("a", 1, 600, 600)
		reserve("b", 1, 600, 300)
		_, err := s.Marketplace.ReserveModel(t.Context(), reservation(run, "c", 1, 600))
		requireFault(t, err, fault.PaymentRequired, marketplace.CodeBudgetExhausted)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "e", "page", 1, start)
		requireFault(t, err, fault.PaymentRequired, marketplace.CodeBudgetExhausted)
		reserve("free", 0, 0, 0)

		for range 2 { // the second settlement changes nothing, whatever it says
			require.NoError(t, s.Marketplace.SettleModel(t.Context(), run.ID, "a", used(50)))
		}
		require.NoError(t, s.Marketplace.SettleModel(t.Context(), run.ID, "a", used(500)))
		require.NoError(t, s.Marketplace.SettleModel(t.Context(), run.ID, "none", used(500)))
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "e", "page", 1, start)
		require.NoError(t, err)
		reserve("c", 520, 600, 520)
		require.NoError(t, s.Marketplace.SettleModel(t.Context(), run.ID, "c", used(9_999)), "never more than was reserved")

		run = m.settled(t, run.ID, product.ReasonOK, time.Second, after(time.Minute))
		require.Equal(t, usd(1_000), run.Cost, "100 for the run, 30 for a page, 50 and 520 for calls, 300 for one of which nobody knows")
		requireMoney(t, s, m.buyer, 9_000, 0, 0)
		requireMoney(t, s, m.publisher, 0, 0, 104) // of the 130 that are not the model's
		require.NoError(t, s.Marketplace.SettleModel(t.Context(), run.ID, "b", used(1)), "it comes too late")
		_, err = s.Marketplace.ReserveModel(t.Context(), reservation(run, "d", 0, 0))
		requireFault(t, err, fault.Conflict, "run_ended")
	}},
	{"only an attempt that is open reserves", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perEvent(100, 30, 1_000))
		_, err := s.Marketplace.ReserveModel(t.Context(), reservation(m.run(t, nil), "a", 1, 1))
		requireFault(t, err, fault.NotFound, "hold_not_found")
		run := m.admitted(t, start)
		other := reservation(run, "a", 1, 1)
		other.Attempt = 2
		_, err = s.Marketplace.ReserveModel(t.Context(), other)
		requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 2, "a", "page", 1, start)
		requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
		_, err = s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			e, err := r.RequestCancel(product.Cancel{RequestedBy: "key"}, start)
			return []*product.Event{e}, err
		})
		require.NoError(t, err)
		_, err = s.Marketplace.ReserveModel(t.Context(), reservation(run, "a", 1, 1))
		requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "a", "page", 1, start)
		requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
	}},
	{"many at once never reserve more than is held", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perEvent(100, 90, 1_000))
		run := m.admitted(t, start)
		errs := make([]error, 20)
		together(len(errs), func(i int) {
			if i%2 == 0 {
				_, errs[i] = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, fmt.Sprint(i), "page", 1, start)
				return
			}
			_, errs[i] = s.Marketplace.ReserveModel(t.Context(), reservation(run, fmt.Sprint(i), 90, 90))
		})
		require.Equal(t, tally{passed: 10, denied: 10}, count(marketplace.CodeBudgetExhausted, errs))
		require.Equal(t, usd(1_000), m.settled(t, run.ID, product.ReasonOK, time.Second, after(time.Minute)).Cost)
	}},
}
