package marketplace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
	"agentmarket/money"
)

// price is a valid price of a model, changed.
func price(model marketplace.Model, changes ...func(*marketplace.Price)) marketplace.Price {
	p := marketplace.Price{ID: "prc_1", AgentID: "agt_1", Currency: "USD", Model: model, FailedRuns: marketplace.FailedRunsFree}
	switch model {
	case marketplace.ModelFree:
	case marketplace.ModelPerRun:
		p.PerRun = 250_000
	case marketplace.ModelPerSecond:
		p.PerSecond = 100
	case marketplace.ModelPerEvent:
		p.PerRun, p.MaxPerRun = 1000, 500_000
		p.Events = []marketplace.EventPrice{{Name: "page", Title: "A page", Micros: 2000}, {Name: "image", Title: "An image", Micros: 10_000}}
	case marketplace.ModelSubscription:
		p.Monthly, p.IncludedRuns, p.PerRun = 20*money.Unit, 100, 300_000
	}
	for _, change := range changes {
		change(&p)
	}
	return p
}

type priceChange = func(*marketplace.Price)

func tiers(list ...marketplace.Tier) priceChange {
	return func(p *marketplace.Price) { p.Tiers = list }
}

func trial(runs, days int64) priceChange {
	return func(p *marketplace.Price) { p.Trial = marketplace.Trial{Runs: runs, Days: days} }
}

func charged(p *marketplace.Price) { p.FailedRuns = marketplace.FailedRunsCharged }

func TestEveryModelHasAPrice(t *testing.T) {
	for _, model := range marketplace.Models() {
		require.NoError(t, price(model).Check(), model)
		require.NoError(t, price(model, charged).Check(), model)
	}
	require.Equal(t, []string{"/model", "/currency", "/failed_runs"}, pointers(t, marketplace.Price{}.Check()))
}

// TestPriceFields tries every field of a price under every model: where it does
// not belong, at its bounds and over them.
func TestPriceFields(t *testing.T) {
	const unit = marketplace.MaxUnitPrice
	free, perRun, perSecond := marketplace.ModelFree, marketplace.ModelPerRun, marketplace.ModelPerSecond
	perEvent, subscription := marketplace.ModelPerEvent, marketplace.ModelSubscription
	events := func(n int) priceChange {
		return func(p *marketplace.Price) {
			p.Events = nil
			for i := range n {
				p.Events = append(p.Events, marketplace.EventPrice{Name: fmt.Sprintf("e%d", i), Title: "t", Micros: 1})
			}
		}
	}
	event := func(e marketplace.EventPrice) priceChange {
		return func(p *marketplace.Price) {
			p.Events = []marketplace.EventPrice{{Name: "page", Title: "A page", Micros: 1}, e}
		}
	}
	type models = []marketplace.Model
	for name, tc := range map[string]struct {
		change priceChange
		valid  models
		wrong  map[marketplace.Model]string // the only wrong field of other models
	}{
		"per run 0": {func(p *marketplace.Price) { p.PerRun = 0 }, models{free, perSecond, perEvent, subscription},
			map[marketplace.Model]string{perRun: "/per_run"}},
		"per run": {func(p *marketplace.Price) { p.PerRun = 1 }, models{perRun, perEvent, subscription},
			map[marketplace.Model]string{free: "/per_run", perSecond: "/per_run"}},
		"largest per run": {func(p *marketplace.Price) { p.PerRun = unit }, models{perRun, subscription},
			map[marketplace.Model]string{free: "/per_run", perSecond: "/per_run", perEvent: "/max_per_run"}},
		"per second 0": {func(p *marketplace.Price) { p.PerSecond = 0 }, models{free, perRun, perEvent, subscription},
			map[marketplace.Model]string{perSecond: "/per_second"}},
		"per second": {func(p *marketplace.Price) { p.PerSecond = unit }, models{perSecond},
			map[marketplace.Model]string{free: "/per_second", perRun: "/per_second", subscription: "/per_second"}},
		"monthly 0": {func(p *marketplace.Price) { p.Monthly = 0 }, models{free, perRun, perSecond, perEvent},
			map[marketplace.Model]string{subscription: "/monthly"}},
		"monthly": {func(p *marketplace.Price) { p.Monthly = unit }, models{subscription},
			map[marketplace.Model]string{free: "/monthly", perRun: "/monthly", perSecond: "/monthly", perEvent: "/monthly"}},
		"any number included": {func(p *marketplace.Price) { p.IncludedRuns = 0 }, marketplace.Models(), nil},
		"most included": {func(p *marketplace.Price) { p.IncludedRuns = marketplace.MaxIncluded }, models{subscription},
			map[marketplace.Model]string{free: "/included_runs", perRun: "/included_runs", perSecond: "/included_runs", perEvent: "/included_runs"}},
		"too many included": {func(p *marketplace.Price) { p.IncludedRuns = marketplace.MaxIncluded + 1 }, nil,
			map[marketplace.Model]string{subscription: "/included_runs"}},
		"fewer than none included": {func(p *marketplace.Price) { p.IncludedRuns = -1 }, nil,
			map[marketplace.Model]string{subscription: "/included_runs"}},
		"no bound of a run": {func(p *marketplace.Price) { p.MaxPerRun = 0 }, models{free, perRun, perSecond, subscription},
			map[marketplace.Model]string{perEvent: "/max_per_run"}},
		"largest bound of a run": {func(p *marketplace.Price) { p.MaxPerRun = unit }, models{perSecond, perEvent},
			map[marketplace.Model]string{free: "/max_per_run", perRun: "/max_per_run", subscription: "/max_per_run"}},
		"a bound that pays for nothing": {func(p *marketplace.Price) { p.MaxPerRun = 99 }, nil,
			map[marketplace.Model]string{perSecond: "/max_per_run", perEvent: "/max_per_run"}},
		"no events": {events(0), models{free, perRun, perSecond, subscription},
			map[marketplace.Model]string{perEvent: "/events"}},
		"most events": {events(marketplace.MaxEvents), models{perEvent},
			map[marketplace.Model]string{free: "/events", perRun: "/events", perSecond: "/events", subscription: "/events"}},
		"too many events": {events(marketplace.MaxEvents + 1), nil, map[marketplace.Model]string{perEvent: "/events"}},
		"longest event":   {event(marketplace.EventPrice{Name: "a" + strings.Repeat(".", 62), Title: "t", Micros: unit}), models{perEvent}, nil},
		"event too long": {event(marketplace.EventPrice{Name: "a" + strings.Repeat(".", 63), Title: "t", Micros: 1}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/name"}},
		"event in capitals": {event(marketplace.EventPrice{Name: "Page", Title: "t", Micros: 1}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/name"}},
		"event twice": {event(marketplace.EventPrice{Name: "page", Title: "t", Micros: 1}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/name"}},
		"event without title": {event(marketplace.EventPrice{Name: "b", Micros: 1}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/title"}},
		"event for nothing": {event(marketplace.EventPrice{Name: "b", Title: "t"}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/price"}},
		"event that pays": {event(marketplace.EventPrice{Name: "b", Title: "t", Micros: -1}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/price"}},
		"event too dear": {event(marketplace.EventPrice{Name: "b", Title: "t", Micros: unit + 1}), nil,
			map[marketplace.Model]string{perEvent: "/events/1/price"}},
		"a tier": {tiers(marketplace.Tier{After: 1}), models{perRun, perSecond},
			map[marketplace.Model]string{free: "/tiers", perEvent: "/tiers", subscription: "/tiers"}},
		"a tier of a bounded run": {func(p *marketplace.Price) {
			p.MaxPerRun, p.Tiers = 500_000, []marketplace.Tier{{After: 1, Micros: 500_000}}
		}, models{perSecond}, nil},
		"a tier over the bound of a run": {func(p *marketplace.Price) {
			p.MaxPerRun, p.Tiers = 500_000, []marketplace.Tier{{After: 1, Micros: 500_001}}
		}, nil,
			map[marketplace.Model]string{perSecond: "/tiers/0/amount_micros"}},
		"tiers at their bounds": {tiers(marketplace.Tier{After: 1, Micros: unit}, marketplace.Tier{After: marketplace.MaxIncluded}), models{perRun, perSecond}, nil},
		"a tier from the start": {tiers(marketplace.Tier{After: 0}), nil,
			map[marketplace.Model]string{perRun: "/tiers/0/after", perSecond: "/tiers/0/after"}},
		"a tier too late": {tiers(marketplace.Tier{After: marketplace.MaxIncluded + 1}), nil,
			map[marketplace.Model]string{perRun: "/tiers/0/after", perSecond: "/tiers/0/after"}},
		"tiers out of order": {tiers(marketplace.Tier{After: 5}, marketplace.Tier{After: 5}), nil,
			map[marketplace.Model]string{perRun: "/tiers/1/after", perSecond: "/tiers/1/after"}},
		"a tier that pays": {tiers(marketplace.Tier{After: 1, Micros: -1}), nil,
			map[marketplace.Model]string{perRun: "/tiers/0/amount_micros", perSecond: "/tiers/0/amount_micros"}},
		"a tier too dear": {tiers(marketplace.Tier{After: 1, Micros: unit + 1}), nil,
			map[marketplace.Model]string{perRun: "/tiers/0/amount_micros", perSecond: "/tiers/0/amount_micros"}},
		"a trial of runs": {trial(marketplace.MaxTrialRuns, 0), models{perRun, perSecond, perEvent, subscription},
			map[marketplace.Model]string{free: "/trial"}},
		"a trial of days": {trial(0, marketplace.MaxTrialDays), models{perRun, perSecond, perEvent, subscription},
			map[marketplace.Model]string{free: "/trial"}},
		"a trial of too many runs": {trial(marketplace.MaxTrialRuns+1, 0), nil, map[marketplace.Model]string{
			perRun: "/trial/runs", perSecond: "/trial/runs", perEvent: "/trial/runs", subscription: "/trial/runs"}},
		"a trial of too many days": {trial(0, marketplace.MaxTrialDays+1), nil, map[marketplace.Model]string{
			perRun: "/trial/days", perSecond: "/trial/days", perEvent: "/trial/days", subscription: "/trial/days"}},
		"a trial of fewer than none": {trial(-1, 0), nil, map[marketplace.Model]string{free: "/trial/runs", perRun: "/trial/runs"}},
		"a trial that has ended":     {trial(0, -1), nil, map[marketplace.Model]string{free: "/trial/days", perRun: "/trial/days"}},
		"no currency": {func(p *marketplace.Price) { p.Currency = "" }, nil, map[marketplace.Model]string{
			free: "/currency", perRun: "/currency", perSecond: "/currency", perEvent: "/currency", subscription: "/currency"}},
		"a currency in small letters": {func(p *marketplace.Price) { p.Currency = "usd" }, nil, map[marketplace.Model]string{perRun: "/currency"}},
		"no rule for failed runs":     {func(p *marketplace.Price) { p.FailedRuns = "" }, nil, map[marketplace.Model]string{free: "/failed_runs", perRun: "/failed_runs"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, model := range tc.valid {
				require.NoError(t, price(model, tc.change).Check(), model)
			}
			for model, field := range tc.wrong {
				require.NotContains(t, tc.valid, model)
				require.Equal(t, []string{field}, slices.Compact(pointers(t, price(model, tc.change).Check())), model)
			}
		})
	}
	tooMany := tiers(slices.Repeat([]marketplace.Tier{{After: 1}}, marketplace.MaxTiers+1)...)
	require.Contains(t, pointers(t, price(perRun, tooMany).Check()), "/tiers")
}

// No field of a price may be negative or without a bound, whatever the model.
func TestAmountsOfAPriceAreBounded(t *testing.T) {
	for field, set := range map[string]func(*marketplace.Price, int64){
		"/per_run":     func(p *marketplace.Price, n int64) { p.PerRun = n },
		"/per_second":  func(p *marketplace.Price, n int64) { p.PerSecond = n },
		"/monthly":     func(p *marketplace.Price, n int64) { p.Monthly = n },
		"/max_per_run": func(p *marketplace.Price, n int64) { p.MaxPerRun = n },
	} {
		for _, model := range marketplace.Models() {
			for _, n := range []int64{-1, marketplace.MaxUnitPrice + 1} {
				require.Contains(t, pointers(t, price(model, func(p *marketplace.Price) { set(p, n) }).Check()), field, "%s %d", model, n)
			}
		}
	}
}

func TestUnitPrices(t *testing.T) {
	steps := tiers(marketplace.Tier{After: 10, Micros: 7}, marketplace.Tier{After: 20, Micros: 0}, marketplace.Tier{After: 30, Micros: 9})
	for _, p := range []marketplace.Price{
		price(marketplace.ModelPerRun, steps, func(p *marketplace.Price) { p.PerRun = 8 }),
		price(marketplace.ModelPerSecond, steps, func(p *marketplace.Price) { p.PerSecond = 8 }),
	} {
		for used, want := range map[int64]int64{0: 8, 9: 8, 10: 7, 19: 7, 20: 0, 29: 0, 30: 9, 1 << 60: 9} {
			require.Equal(t, want, p.Unit(used), "%s after %d", p.Model, used)
		}
	}
	require.Equal(t, int64(300_000), price(marketplace.ModelSubscription).Unit(1000))
	require.Zero(t, price(marketplace.ModelFree).Unit(0))
	require.Equal(t, money.Of(7, "EUR"), marketplace.Price{Currency: "EUR"}.Of(7))
}
