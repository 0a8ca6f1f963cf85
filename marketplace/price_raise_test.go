package marketplace_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// raises are changes of one field that take more from some buyer. Undone they
// take less, and need no notice.
var raises = map[string]struct {
	model  marketplace.Model
	before priceChange
	after  priceChange
}{
	"per run":                  {marketplace.ModelPerRun, nil, func(p *marketplace.Price) { p.PerRun++ }},
	"entrance fee":             {marketplace.ModelPerEvent, nil, func(p *marketplace.Price) { p.PerRun++ }},
	"runs beyond the included": {marketplace.ModelSubscription, nil, func(p *marketplace.Price) { p.PerRun++ }},
	"per second":               {marketplace.ModelPerSecond, nil, func(p *marketplace.Price) { p.PerSecond++ }},
	"monthly":                  {marketplace.ModelSubscription, nil, func(p *marketplace.Price) { p.Monthly++ }},
	"fewer included":           {marketplace.ModelSubscription, nil, func(p *marketplace.Price) { p.IncludedRuns-- }},
	"included no more without a bound": {marketplace.ModelSubscription,
		func(p *marketplace.Price) { p.IncludedRuns = 0 }, func(p *marketplace.Price) { p.IncludedRuns = marketplace.MaxIncluded }},
	"a higher bound of a run": {marketplace.ModelPerEvent, nil, func(p *marketplace.Price) { p.MaxPerRun++ }},
	"no bound of a run": {marketplace.ModelPerSecond,
		func(p *marketplace.Price) { p.MaxPerRun = 1000 }, func(p *marketplace.Price) { p.MaxPerRun = 0 }},
	"failed runs": {marketplace.ModelPerRun, nil, charged},
	"an event": {marketplace.ModelPerEvent, nil, func(p *marketplace.Price) {
		p.Events = slices.Clone(p.Events)
		p.Events[1].Micros++
	}},
	"one more event": {marketplace.ModelPerEvent, nil, func(p *marketplace.Price) {
		p.Events = append(slices.Clone(p.Events), marketplace.EventPrice{Name: "table", Title: "A table", Micros: 1})
	}},
	"a tier that costs more": {marketplace.ModelPerRun,
		tiers(marketplace.Tier{After: 10, Micros: 100}), tiers(marketplace.Tier{After: 10, Micros: 101})},
	"a rebate that comes later": {marketplace.ModelPerSecond,
		tiers(marketplace.Tier{After: 10, Micros: 50}), tiers(marketplace.Tier{After: 11, Micros: 50})},
	"no rebate any more": {marketplace.ModelPerRun, tiers(marketplace.Tier{After: 10, Micros: 50}), nil},
	"a surcharge":        {marketplace.ModelPerRun, nil, tiers(marketplace.Tier{After: 10, Micros: 250_001})},
	"fewer runs to try":  {marketplace.ModelPerRun, trial(3, 0), trial(2, 0)},
	"fewer days to try":  {marketplace.ModelSubscription, trial(0, 3), trial(0, 2)},
	"no trial any more":  {marketplace.ModelPerRun, trial(3, 3), trial(0, 0)},
	"a bound of runs":    {marketplace.ModelPerRun, trial(0, 30), trial(100, 30)},
	"a bound of days":    {marketplace.ModelPerRun, trial(10, 0), trial(10, 30)},
}

func TestRaisesOfOneField(t *testing.T) {
	for name, tc := range raises {
		t.Run(name, func(t *testing.T) {
			p, next := price(tc.model), price(tc.model)
			if tc.before != nil {
				tc.before(&p)
				tc.before(&next)
			}
			if tc.after == nil {
				next = price(tc.model)
			} else {
				tc.after(&next)
			}
			require.NoError(t, p.Check())
			require.NoError(t, next.Check())
			require.True(t, p.Raises(next))
			require.False(t, next.Raises(p), "the way back is no raise")
			require.False(t, p.Raises(p))
			require.False(t, next.Raises(next))
		})
	}
}

func TestRaisesBetweenModels(t *testing.T) {
	for _, from := range marketplace.Models() {
		for _, to := range marketplace.Models() {
			want := from != to && to != marketplace.ModelFree
			require.Equal(t, want, price(from).Raises(price(to)), "%s to %s", from, to)
		}
	}
	euro := func(p *marketplace.Price) { p.Currency = "EUR" }
	require.True(t, price(marketplace.ModelPerRun).Raises(price(marketplace.ModelPerRun, euro)), "nobody knows what that is worth")
	require.False(t, price(marketplace.ModelFree).Raises(price(marketplace.ModelFree, euro)))
}

func TestWhatIsNoRaise(t *testing.T) {
	p := price(marketplace.ModelPerEvent)
	next := price(marketplace.ModelPerEvent, func(p *marketplace.Price) {
		p.ID, p.Events = "prc_2", []marketplace.EventPrice{{Name: "page", Title: "A page of text", Micros: 2000}}
		p.CreatedBy, p.EffectiveFrom = "usr_2", now
	})
	require.False(t, p.Raises(next), "an event less, another title")
	require.False(t, price(marketplace.ModelPerRun).Raises(price(marketplace.ModelPerRun, trial(5, 5))), "a trial where there was none")
	require.False(t, price(marketplace.ModelPerRun, trial(5, 5)).Raises(price(marketplace.ModelPerRun, trial(5, 0))), "a trial without an end")
	// Tiers that say the same in other words.
	require.False(t, price(marketplace.ModelPerRun).Raises(price(marketplace.ModelPerRun, tiers(marketplace.Tier{After: 5, Micros: 250_000}))))
}

// randomPrice is a valid price of some model.
func randomPrice(r *rand.Rand) marketplace.Price {
	p := price(marketplace.Models()[r.IntN(5)])
	some := func() int64 { return 1 + r.Int64N(3) }
	if r.IntN(2) == 0 {
		p.FailedRuns = marketplace.FailedRunsCharged
	}
	if p.Model != marketplace.ModelFree {
		p.Trial = marketplace.Trial{Runs: r.Int64N(3), Days: r.Int64N(3)}
	}
	switch p.Model {
	case marketplace.ModelFree:
	case marketplace.ModelPerRun:
		p.PerRun = some()
	case marketplace.ModelPerSecond:
		p.PerSecond, p.MaxPerRun = some(), 5*r.Int64N(2)
	case marketplace.ModelPerEvent:
		p.PerRun, p.MaxPerRun = some(), 5+some()
		p.Events[0].Micros = some()
		p.Events = p.Events[:1+r.IntN(2)]
	case marketplace.ModelSubscription:
		p.Monthly, p.IncludedRuns, p.PerRun = some(), r.Int64N(3), r.Int64N(3)
	}
	if p.Model == marketplace.ModelPerRun || p.Model == marketplace.ModelPerSecond {
		for i := range r.IntN(3) {
			p.Tiers = append(p.Tiers, marketplace.Tier{After: int64(i)*3 + some(), Micros: r.Int64N(4)})
		}
	}
	return p
}

func TestRaisesIsAnOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		a, b, c := randomPrice(r), randomPrice(r), randomPrice(r)
		require.NoError(t, a.Check(), "%+v", a)
		require.False(t, a.Raises(a), "%+v", a)
		// What does not raise in two steps does not raise in one.
		if !a.Raises(b) && !b.Raises(c) {
			require.False(t, a.Raises(c), "%+v\n%+v\n%+v", a, b, c)
		}
		// And whoever runs a few times pays no more after what is no raise.
		if a.Model == b.Model && !a.Raises(b) {
			for used := range int64(12) {
				require.LessOrEqual(t, b.Unit(used), a.Unit(used))
			}
		}
	}
}

const fortnight = 14 * 24 * time.Hour

func TestFollow(t *testing.T) {
	cheap := price(marketplace.ModelPerRun)
	dear := price(marketplace.ModelPerRun, func(p *marketplace.Price) { p.PerRun *= 2 })
	at := func(p marketplace.Price, after time.Duration) marketplace.Price {
		p.EffectiveFrom = now.Add(after)
		return p
	}
	require.NoError(t, dear.Follow(at(cheap, 0), fortnight, now))
	require.NoError(t, cheap.Follow(at(cheap, 0), fortnight, now))
	require.NoError(t, cheap.Follow(at(dear, fortnight), fortnight, now))
	require.NoError(t, cheap.Follow(at(dear, 0), 0, now), "a platform without a notice period")
	require.Equal(t, []string{"/effective_from"}, pointers(t, dear.Follow(at(cheap, -1), fortnight, now)), "the past is over")
	err := cheap.Follow(at(dear, fortnight-1), fortnight, now)
	denied(t, err, fault.Invalid, "price_notice")
	require.Equal(t, []string{"/effective_from"}, pointers(t, err))
	require.Contains(t, fault.From(err).Message, "2026-12-06T12:00:00Z")
}

func TestAnnounce(t *testing.T) {
	at := func(perRun int64, after time.Duration) marketplace.Price {
		return price(marketplace.ModelPerRun, func(p *marketplace.Price) { p.PerRun, p.EffectiveFrom = perRun, now.Add(after) })
	}
	type prices = []marketplace.Price
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		known prices
		next  marketplace.Price
		ok    bool
	}{
		"the first price of what was free": {nil, at(1, 0), false},
		"announced in time":                {nil, at(1, fortnight), true},
		"still free today":                 {prices{at(9, fortnight)}, at(8, fortnight+1), true},
		"a raise behind a lower price":     {prices{at(10, -day), at(5, day)}, at(9, 2*day), false},
		"back after two weeks":             {prices{at(10, -day), at(5, day)}, at(9, fortnight), true},
		// 50 is less than the 100 that are announced, which can be taken back.
		"a raise in the shadow of another one":  {prices{at(10, -day), at(100, day)}, at(50, 2*day), false},
		"free in the shadow of an announcement": {prices{at(100, day)}, at(50, 2*day), false},
		"lower than everything":                 {prices{at(10, -day), at(100, day)}, at(9, 2*day), true},
		"free again":                            {prices{at(10, -day)}, price(marketplace.ModelFree, func(p *marketplace.Price) { p.EffectiveFrom = now }), true},
	} {
		t.Run(name, func(t *testing.T) {
			err := marketplace.Announce(tc.known, tc.next, fortnight, now)
			if tc.ok {
				require.NoError(t, err)
				return
			}
			denied(t, err, fault.Invalid, "price_notice")
		})
	}
}

// TestNoRaiseWithoutNotice lets a publisher set and take back prices as he likes,
// and requires that no raise took effect that was not announced in time.
func TestNoRaiseWithoutNotice(t *testing.T) {
	const notice = 5 * time.Hour
	r := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for range 400 {
		var known, history []marketplace.Price // all times; those that took effect
		clock := now
		for range 60 {
			clock = clock.Add(time.Duration(r.IntN(3)) * time.Hour)
			for len(known) > 0 && !known[0].EffectiveFrom.After(clock) {
				history, known = append(history, known[0]), known[1:]
			}
			if i := r.IntN(4); i < len(known) && r.IntN(2) == 0 { // CancelPrice
				known = slices.Delete(known, i, i+1)
				continue
			}
			next := price(marketplace.ModelPerRun, func(p *marketplace.Price) {
				p.ID, p.PerRun, p.CreatedAt = ids.New[ids.Price](ids.PrefixPrice), 1+r.Int64N(5), clock
				p.EffectiveFrom = clock.Add(time.Duration(r.IntN(9)) * time.Hour)
			})
			// As the store does it: the one in effect, those that are announced.
			seen := slices.Concat(history[max(0, len(history)-1):], known)
			if n := len(seen); n > 0 && !next.EffectiveFrom.After(seen[n-1].EffectiveFrom) ||
				marketplace.Announce(seen, next, notice, clock) != nil {
				continue
			}
			known = append(known, next)
			accepted++
		}
		before := price(marketplace.ModelFree)
		for _, p := range history {
			if before.Raises(p) {
				require.GreaterOrEqual(t, p.EffectiveFrom.Sub(p.CreatedAt), notice, fmt.Sprint(history))
			}
			before = p
		}
	}
	require.Greater(t, accepted, 2000, "most publishers were refused everything: this proves little")
}

func TestAnnouncedPricesAreBounded(t *testing.T) {
	free := marketplace.Price{Model: marketplace.ModelFree, Currency: "USD", FailedRuns: marketplace.FailedRunsFree, EffectiveFrom: now}
	known := make([]marketplace.Price, marketplace.MaxAnnounced+1)
	for i := range known {
		known[i] = free
	}
	next := free
	next.EffectiveFrom = now.Add(time.Hour)
	require.NoError(t, marketplace.Announce(known[1:], next, 0, now))
	denied(t, marketplace.Announce(known, next, 0, now), fault.Conflict, "too_many")
}
