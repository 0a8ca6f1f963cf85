package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// aPrice is a price by the run, from a moment on.
func aPrice(agent product.Agent, micros int64, from time.Time) marketplace.Price {
	return marketplace.Price{
		ID: ids.New[ids.Price](ids.PrefixPrice), AgentID: agent.ID, Currency: "USD", Model: marketplace.ModelPerRun,
		PerRun: micros, FailedRuns: marketplace.FailedRunsFree, EffectiveFrom: from, CreatedBy: "usr_x", CreatedAt: start,
	}
}

func allow([]marketplace.Price) error { return nil }

// setPrice stores a price and returns it as it comes back.
func setPrice(t *testing.T, s Stores, p marketplace.Price) marketplace.Price {
	t.Helper()
	require.NoError(t, s.Marketplace.SetPrice(t.Context(), actor, p, allow))
	return storedPrice(p)
}

func storedPrice(p marketplace.Price) marketplace.Price {
	p.EffectiveFrom, p.CreatedAt = stored(p.EffectiveFrom), stored(p.CreatedAt)
	return p
}

func priceIDs(prices []marketplace.Price) []ids.Price {
	list := []ids.Price{}
	for _, p := range prices {
		list = append(list, p.ID)
	}
	return list
}

// dearPrices use every field that costs, as no price of one model could.
func dearPrices(agent product.Agent) []marketplace.Price {
	full := aPrice(agent, 5, start)
	full.Model, full.Currency, full.FailedRuns = marketplace.ModelPerEvent, "EUR", marketplace.FailedRunsCharged
	full.PerSecond, full.Monthly, full.IncludedRuns, full.MaxPerRun = 7, 11, 13, 17
	full.Events = []marketplace.EventPrice{{Name: "page", Title: "a page, read", Micros: 19}, {Name: "mail", Title: "ein Brief", Micros: 23}}
	full.Tiers = []marketplace.Tier{{After: 29, Micros: 31}, {After: 37, Micros: 41}}
	full.Trial = marketplace.Trial{Runs: 43, Days: 47}
	free := aPrice(agent, 0, after(time.Hour))
	free.Model = marketplace.ModelFree
	return []marketplace.Price{full, free}
}

var priceTests = []testCase{
	{"everything that costs is stored, the latest price is first", func(t *testing.T, s Stores) {
		agent, _ := publish(t, s, anOrganization(t, s, "acme"), "reviewer", "1.0.0", start)
		var want []marketplace.Price
		for _, p := range dearPrices(agent) {
			want = append(want, setPrice(t, s, p))
		}
		slices.Reverse(want)
		got, err := s.Marketplace.Prices(t.Context(), agent.ID)
		require.NoError(t, err)
		requireSame(t, want, got)
		got, err = s.Marketplace.Prices(t.Context(), "agt_other")
		require.NoError(t, err)
		require.Empty(t, got)
	}},
	{"the check is asked with what is in effect or announced, by time", func(t *testing.T, s Stores) {
		agent, _ := publish(t, s, anOrganization(t, s, "acme"), "reviewer", "1.0.0", start)
		var all []marketplace.Price
		for i, step := range []struct {
			now, from time.Duration
			known     int // how many of the last ones
		}{
			{now: 0, from: time.Hour, known: 0},                                      // announced
			{now: time.Minute, from: 2 * time.Hour, known: 1},                        // announced
			{now: time.Hour - time.Microsecond, from: 3 * time.Hour, known: 2},       // none in effect
			{now: time.Hour, from: 4 * time.Hour, known: 3},                          // the first in effect
			{now: 3*time.Hour - time.Microsecond, from: 5 * time.Hour, known: 3},     // the second
			{now: 3 * time.Hour, from: 6 * time.Hour, known: 3},                      // the third
			{now: 30 * time.Hour, from: 30*time.Hour + time.Microsecond, known: 1},   // the last
			{now: 30 * time.Hour, from: 30*time.Hour + 2*time.Microsecond, known: 2}, // the last, and one
		} {
			p := aPrice(agent, int64(i+1), after(step.from))
			p.CreatedAt = after(step.now)
			var seen []marketplace.Price
			require.NoError(t, s.Marketplace.SetPrice(t.Context(), actor, p, func(known []marketplace.Price) error {
				seen = known
				return nil
			}))
			require.Equal(t, priceIDs(all[len(all)-step.known:]), priceIDs(seen), "step %d", i)
			all = append(all, p)
		}
	}},
	{"an error of the check comes back as it is, and nothing is stored", func(t *testing.T, s Stores) {
		agent, _ := publish(t, s, anOrganization(t, s, "acme"), "reviewer", "1.0.0", start)
		refusal := errors.New("too dear")
		err := s.Marketplace.SetPrice(t.Context(), actor, aPrice(agent, 1, start), func([]marketplace.Price) error { return refusal })
		require.Equal(t, refusal, err)
		got, err := s.Marketplace.Prices(t.Context(), agent.ID)
		require.NoError(t, err)
		require.Empty(t, got)
	}},
	{"a price is later than all that are known", func(t *testing.T, s Stores) {
		agent, _ := publish(t, s, anOrganization(t, s, "acme"), "reviewer", "1.0.0", start)
		other, _ := publish(t, s, anOrganization(t, s, "globex"), "reviewer", "1.0.0", start)
		setPrice(t, s, aPrice(agent, 1, after(time.Hour)))
		for _, from := range []time.Time{start, after(time.Hour)} {
			requireFault(t, s.Marketplace.SetPrice(t.Context(), actor, aPrice(agent, 2, from), allow), fault.Conflict, "price_order")
		}
		setPrice(t, s, aPrice(agent, 2, after(time.Hour+time.Microsecond)))
		setPrice(t, s, aPrice(other, 2, start))
	}},
	{"many at once are set one after the other", func(t *testing.T, s Stores) {
		agent, _ := publish(t, s, anOrganization(t, s, "acme"), "reviewer", "1.0.0", start)
		const rivals = 20
		var mu sync.Mutex
		known := map[int]int{} // how often a price was set after so many others
		var failures []error
		together(rivals, func(i int) {
			// Two for each moment: at most one of them can be.
			p := aPrice(agent, int64(i+1), after(time.Hour+time.Duration(i/2)*time.Minute))
			n := 0
			err := s.Marketplace.SetPrice(t.Context(), actor, p, func(list []marketplace.Price) error {
				n = len(list)
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				known[n]++
			} else if !fault.Is(err, fault.Conflict) {
				failures = append(failures, err)
			}
		})
		require.Empty(t, failures)
		prices, err := s.Marketplace.Prices(t.Context(), agent.ID)
		require.NoError(t, err)
		require.NotEmpty(t, prices)
		require.Len(t, known, len(prices), "each was set knowing all before it")
		for i := range prices {
			require.Equal(t, 1, known[i])
			if i > 0 {
				require.True(t, prices[i].EffectiveFrom.Before(prices[i-1].EffectiveFrom))
			}
		}
	}},
	{"what is announced can be cancelled until it takes effect", func(t *testing.T, s Stores) {
		agent, _ := publish(t, s, anOrganization(t, s, "acme"), "reviewer", "1.0.0", start)
		other, _ := publish(t, s, anOrganization(t, s, "globex"), "reviewer", "1.0.0", start)
		now := setPrice(t, s, aPrice(agent, 1, start))
		next := setPrice(t, s, aPrice(agent, 2, after(time.Hour)))
		cancel := func(agent product.Agent, id ids.Price, at time.Time) error {
			return s.Marketplace.CancelPrice(t.Context(), actor, agent.ID, id, at)
		}
		requireFault(t, cancel(agent, now.ID, start), fault.Conflict, "price_in_effect")
		requireFault(t, cancel(agent, next.ID, after(time.Hour)), fault.Conflict, "price_in_effect")
		requireFault(t, cancel(other, next.ID, start), fault.NotFound, "price_not_found")
		requireFault(t, cancel(product.Agent{ID: "agt_none"}, next.ID, start), fault.NotFound, "agent_not_found")
		require.NoError(t, cancel(agent, next.ID, after(time.Hour-time.Microsecond)))
		requireFault(t, cancel(agent, next.ID, start), fault.NotFound, "price_not_found")
		got, err := s.Marketplace.Prices(t.Context(), agent.ID)
		require.NoError(t, err)
		require.Equal(t, []ids.Price{now.ID}, priceIDs(got))
		setPrice(t, s, aPrice(agent, 3, after(time.Hour)))
	}},
	{"what was ordered cannot be cancelled, whatever the clock says", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		announced := setPrice(t, s, aPrice(m.agent, 1, after(time.Hour)))
		// The clock of the process that took the order was ahead.
		ahead := after(time.Hour)
		_, _, err := s.Marketplace.PlaceOrder(t.Context(), actor, marketplace.ClaimQuery{OrgID: m.buyer.ID, AgentID: m.agent.ID, At: ahead}, nil, nil,
			func(c marketplace.Claim) (marketplace.Purchase, error) {
				return c.Buy(m.agent.FullName(), marketplace.OrderUsage, actor.ID, ahead)
			},
			func(marketplace.Purchase) (*marketplace.Transaction, error) { return nil, nil })
		require.NoError(t, err)
		err = s.Marketplace.CancelPrice(t.Context(), actor, m.agent.ID, announced.ID, start)
		requireFault(t, err, fault.Conflict, "price_in_effect")
	}},
	{"the agent must exist", func(t *testing.T, s Stores) {
		err := s.Marketplace.SetPrice(t.Context(), actor, aPrice(product.Agent{ID: "agt_none"}, 1, start), allow)
		requireFault(t, err, fault.NotFound, "agent_not_found")
	}},
	{"the catalog shows the model of the price in effect", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		model := func() marketplace.Model {
			l, err := s.Marketplace.Listing(t.Context(), m.agent.ID)
			require.NoError(t, err)
			return l.Model
		}
		require.Equal(t, marketplace.ModelFree, model())
		announced := aPrice(m.agent, 1, after(time.Hour))
		announced.Model, announced.PerSecond, announced.PerRun = marketplace.ModelPerSecond, 1, 0
		setPrice(t, s, aPrice(m.agent, 1, start))
		require.Equal(t, marketplace.ModelPerRun, model())
		setPrice(t, s, announced)
		require.Equal(t, marketplace.ModelPerRun, model())
	}},
	{"the catalog follows an announced price that takes effect", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		setPrice(t, s, aPrice(m.agent, 1, start))
		announced := aPrice(m.agent, 0, after(time.Hour))
		announced.Model, announced.PerSecond = marketplace.ModelPerSecond, 1
		setPrice(t, s, announced)
		fold := func(want int, now time.Time) {
			folded, err := s.Marketplace.FoldPrices(t.Context(), now, 10)
			require.NoError(t, err)
			require.Equal(t, want, folded)
		}
		found := func(model marketplace.Model) int {
			page, err := s.Marketplace.Search(t.Context(), marketplace.Viewer{}, marketplace.CatalogQuery{Model: model}, start)
			require.NoError(t, err)
			return len(page.Listings)
		}
		fold(0, after(time.Hour-time.Microsecond))
		require.Equal(t, 1, found(marketplace.ModelPerRun))
		fold(0, after(32*24*time.Hour)) // too late: a worker has done so by then
		fold(1, after(time.Hour))
		fold(0, after(time.Hour))
		require.Zero(t, found(marketplace.ModelPerRun))
		require.Equal(t, 1, found(marketplace.ModelPerSecond))
	}},
	{"the publisher's audit log has what was set and cancelled", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		p := setPrice(t, s, aPrice(m.agent, 7, after(time.Hour)))
		require.NoError(t, s.Marketplace.CancelPrice(t.Context(), actor, m.agent.ID, p.ID, after(time.Minute)))
		entries := m.audit(t, m.publisher, string(p.ID))
		require.Len(t, entries, 2)
		require.Equal(t, "price.cancel", entries[0].Action)
		require.Equal(t, stored(after(time.Minute)), entries[0].At)
		require.Nil(t, entries[0].After)
		require.Equal(t, "price.set", entries[1].Action)
		require.Equal(t, stored(start), entries[1].At)
		require.Nil(t, entries[1].Before)
		require.JSONEq(t, string(entries[1].After), string(entries[0].Before))
		require.Contains(t, string(entries[1].After), `"per_run"`)
	}},
}
