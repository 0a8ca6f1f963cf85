package marketplace

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

// Model is how an agent is paid for.
type Model string

// The models.
const (
	ModelFree         Model = "free"
	ModelPerRun       Model = "per_run"
	ModelPerSecond    Model = "per_second"
	ModelPerEvent     Model = "per_event"
	ModelSubscription Model = "subscription"
)

// Models returns every model.
func Models() []Model {
	return []Model{ModelFree, ModelPerRun, ModelPerSecond, ModelPerEvent, ModelSubscription}
}

// FailedRuns is what a run costs that failed by the agent's own fault.
type FailedRuns string

// The rules for failed runs. Runs that failed by the platform's fault, or never
// started, are free under both. A deadline that the caller named, no longer
// than the agent's own, is not the agent's fault, and charged under both.
const (
	FailedRunsFree    FailedRuns = "free"
	FailedRunsCharged FailedRuns = "charged"
)

// Price is what an agent costs from a moment on. It never changes: a new price
// takes its place, and runs keep the price that they started with.
type Price struct {
	ID       ids.Price
	AgentID  ids.Agent
	Currency string
	Model    Model

	// PerRun is charged for each run: the price of per_run, the entrance fee of
	// per_event, and of a subscription what a run costs beyond those included
	// (0: there is none beyond them). In micro-units, as all amounts here.
	PerRun int64
	// PerSecond is charged for each second that the agent's process ran, begun
	// ones whole.
	PerSecond int64
	// Events are what the agent charges for by name, through the gateway.
	Events []EventPrice
	// Monthly is the fee of a subscription, IncludedRuns what it includes each
	// month; 0: any number.
	Monthly      int64
	IncludedRuns int64
	// Tiers lower or raise PerRun or PerSecond with the units that a buyer has
	// used in the month: the last tier whose After is reached holds for a whole
	// run.
	Tiers []Tier
	// MaxPerRun bounds what one run may cost, whatever it does; 0: only its
	// limits do. A price by events needs it.
	MaxPerRun int64

	Trial      Trial
	FailedRuns FailedRuns

	EffectiveFrom time.Time
	CreatedBy     string
	CreatedAt     time.Time
}

// EventPrice is the price of one event.
type EventPrice struct {
	Name   string // ^[a-z][a-z0-9_.-]{0,62}$
	Title  string // for people
	Micros int64
}

// Tier is the unit price after a number of units in the month.
type Tier struct {
	After  int64
	Micros int64
}

// Trial lets a buyer try for free: so many runs, or so many days, or both.
type Trial struct {
	Runs int64
	Days int64
}

// Offered reports whether there is a trial.
func (t Trial) Offered() bool { return t.Runs > 0 || t.Days > 0 }

// shortens reports whether next gives less than t. 0 of one of two bounds is no
// bound.
func (t Trial) shortens(next Trial) bool {
	less := func(before, after int64) bool { return after > 0 && (before == 0 || after < before) }
	return t.Offered() && (!next.Offered() || less(t.Runs, next.Runs) || less(t.Days, next.Days))
}

// The bounds of a price.
const (
	MaxUnitPrice = 1_000_000 * money.Unit // of a run, a second, an event, a month
	MaxEvents    = 50
	MaxTiers     = 10
	MaxTrialRuns = 1000
	MaxTrialDays = 90
	MaxIncluded  = 100_000_000
	MaxAnnounced = 20 // prices beside the one in effect
)

var eventName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,62}$`)

// Check returns fault.Invalid with every field that is wrong.
func (p Price) Check() error {
	var f fields
	f.check(slices.Contains(Models(), p.Model), "/model", "must be free, per_run, per_second, per_event or subscription")
	f.check(money.ValidCurrency(p.Currency), "/currency", "must be three upper-case letters, ISO 4217")
	f.check(p.FailedRuns == FailedRunsFree || p.FailedRuns == FailedRunsCharged, "/failed_runs", "must be free or charged")
	p.checkAmounts(&f)
	p.checkModel(&f)
	f.check(len(p.Tiers) <= MaxTiers, "/tiers", "must have at most 10 items")
	f.check(len(p.Tiers) == 0 || p.Model == ModelPerRun || p.Model == ModelPerSecond, "/tiers", "are for per_run and per_second")
	last := int64(0)
	for i, t := range p.Tiers {
		at := "/tiers/" + strconv.Itoa(i)
		f.check(t.After > last && t.After <= MaxIncluded, at+"/after", "must be larger than that of the tier before, and at most 100000000")
		f.check(0 <= t.Micros && t.Micros <= MaxUnitPrice, at+"/amount_micros", "must be between 0 and a million units")
		f.check(p.MaxPerRun == 0 || t.Micros <= p.MaxPerRun, at+"/amount_micros", "must not be more than a run may cost")
		last = t.After
	}
	f.check(0 <= p.Trial.Runs && p.Trial.Runs <= MaxTrialRuns, "/trial/runs", "must be between 0 and 1000")
	f.check(0 <= p.Trial.Days && p.Trial.Days <= MaxTrialDays, "/trial/days", "must be between 0 and 90")
	f.check(p.Model != ModelFree || !p.Trial.Offered(), "/trial", "is not for what is free")
	return f.err()
}

func (p Price) checkAmounts(f *fields) {
	for _, a := range []struct {
		pointer string
		micros  int64
	}{
		{"/per_run", p.PerRun}, {"/per_second", p.PerSecond}, {"/monthly", p.Monthly}, {"/max_per_run", p.MaxPerRun},
	} {
		f.check(0 <= a.micros && a.micros <= MaxUnitPrice, a.pointer, "must be between 0 and a million units")
	}
	f.check(len(p.Events) <= MaxEvents, "/events", "must have at most 50 items")
	for i, e := range p.Events {
		at := "/events/" + strconv.Itoa(i)
		f.check(eventName.MatchString(e.Name), at+"/name", "must be a lower-case letter and up to 62 letters, digits, dots, hyphens or underscores")
		f.text(at+"/title", e.Title, MaxTitle)
		f.check(0 < e.Micros && e.Micros <= MaxUnitPrice, at+"/price", "must be between one micro-unit and a million units")
		f.check(!slices.ContainsFunc(p.Events[:i], func(o EventPrice) bool { return o.Name == e.Name }), at+"/name", "is there twice")
	}
}

// checkModel checks that a price has what its model needs, and nothing else.
func (p Price) checkModel(f *fields) {
	only := func(pointer string, set bool, models ...Model) {
		f.check(!set || slices.Contains(models, p.Model), pointer, "does not belong to the model "+string(p.Model))
	}
	need := func(model Model, pointer string, set bool) {
		f.check(p.Model != model || set, pointer, "is required by the model "+string(model))
	}
	only("/per_run", p.PerRun != 0, ModelPerRun, ModelPerEvent, ModelSubscription)
	only("/per_second", p.PerSecond != 0, ModelPerSecond)
	only("/events", len(p.Events) > 0, ModelPerEvent)
	only("/monthly", p.Monthly != 0, ModelSubscription)
	only("/included_runs", p.IncludedRuns != 0, ModelSubscription)
	only("/max_per_run", p.MaxPerRun != 0, ModelPerSecond, ModelPerEvent)
	need(ModelPerRun, "/per_run", p.PerRun > 0)
	need(ModelPerSecond, "/per_second", p.PerSecond > 0)
	need(ModelPerEvent, "/events", len(p.Events) > 0)
	need(ModelPerEvent, "/max_per_run", p.MaxPerRun > 0)
	need(ModelSubscription, "/monthly", p.Monthly > 0)
	f.check(0 <= p.IncludedRuns && p.IncludedRuns <= MaxIncluded, "/included_runs", "must be between 0 and 100000000")
	f.check(p.MaxPerRun == 0 || p.MaxPerRun >= max(p.PerRun, p.PerSecond), "/max_per_run", "must pay for one run or one second at least")
}

// Of returns an amount in the price's currency.
func (p Price) Of(micros int64) money.Amount { return money.Of(micros, p.Currency) }

// Unit is the price of a run (per_run) or a second (per_second) for a buyer who
// has used so many of them in the month.
func (p Price) Unit(used int64) int64 {
	unit := p.PerRun
	if p.Model == ModelPerSecond {
		unit = p.PerSecond
	}
	for _, t := range p.Tiers {
		if used >= t.After {
			unit = t.Micros
		}
	}
	return unit
}

// Raises reports whether next takes more from any buyer than p: a higher amount,
// less included, another model or currency, a shorter trial, or a charge where
// there was none.
func (p Price) Raises(next Price) bool {
	if p.Model == ModelFree || next.Model == ModelFree {
		return next.Model != ModelFree
	}
	higher := p.Model != next.Model || p.Currency != next.Currency ||
		next.PerRun > p.PerRun || next.PerSecond > p.PerSecond || next.Monthly > p.Monthly ||
		p.MaxPerRun > 0 && (next.MaxPerRun == 0 || next.MaxPerRun > p.MaxPerRun) ||
		p.FailedRuns == FailedRunsFree && next.FailedRuns == FailedRunsCharged
	fewer := next.IncludedRuns > 0 && (p.IncludedRuns == 0 || next.IncludedRuns < p.IncludedRuns)
	return higher || fewer || p.Trial.shortens(next.Trial) || p.raisesTiers(next) || p.raisesEvents(next)
}

// raisesTiers compares the unit price wherever one of the two changes.
func (p Price) raisesTiers(next Price) bool {
	for _, t := range slices.Concat(p.Tiers, next.Tiers) {
		if next.Unit(t.After) > p.Unit(t.After) {
			return true
		}
	}
	return false
}

func (p Price) raisesEvents(next Price) bool {
	for _, e := range next.Events {
		i := slices.IndexFunc(p.Events, func(o EventPrice) bool { return o.Name == e.Name })
		if i < 0 || e.Micros > p.Events[i].Micros {
			return true
		}
	}
	return false
}

// Follow checks that next may take the place of p, which buyers have seen: not in
// the past, and a raise only after the notice period.
func (p Price) Follow(next Price, notice time.Duration, now time.Time) error {
	if next.EffectiveFrom.Before(now) {
		return invalidField("/effective_from", "must not be in the past")
	}
	if earliest := now.Add(notice); p.Raises(next) && next.EffectiveFrom.Before(earliest) {
		return fault.Newf(fault.Invalid, "price_notice", "a raise needs notice: it can take effect from %s on", earliest.UTC().Format(time.RFC3339)).
			WithFields(fault.Field{Pointer: "/effective_from", Message: "is earlier than the notice period for a raise allows"})
	}
	return nil
}

// Announce checks that next may join the prices that are known: the one in effect
// (free where there is none) and those that are announced, by time. It is held
// against each of them, so that no raise takes effect without its notice,
// whichever of them are taken back meanwhile.
func Announce(known []Price, next Price, notice time.Duration, now time.Time) error {
	if len(known) > MaxAnnounced {
		return fault.Newf(fault.Conflict, "too_many", "at most %d prices are announced at a time", MaxAnnounced)
	}
	if len(known) == 0 || known[0].EffectiveFrom.After(now) {
		known = slices.Concat([]Price{{Model: ModelFree}}, known)
	}
	for _, p := range known {
		if err := p.Follow(next, notice, now); err != nil {
			return err
		}
	}
	return nil
}
