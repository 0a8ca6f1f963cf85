package marketplace

import (
	"cmp"
	"math"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

// Quote is what a run may cost, before it starts.
type Quote struct {
	// Minimum and Maximum bound what a run that ends well costs. Maximum is
	// what is held; zero currency: there is nothing to pay.
	Minimum, Maximum money.Amount
	// Affordable is how long the process may run for the maximum; 0: time costs
	// nothing.
	Affordable time.Duration
	// Included says that a subscription, a trial or a right pays.
	Included bool
}

// Quote prices a run of at most timeout, whose caller pays at most most (zero: as
// much as it takes), for a buyer who has used so many units of the price in the
// month. A budget that does not pay for the start is fault.PaymentRequired,
// budget_too_low; one of another currency is fault.Invalid.
func (p Price) Quote(timeout time.Duration, most money.Amount, used int64) (Quote, error) {
	limit := int64(money.MaxMicros)
	if most.Currency != "" {
		if most.Currency != p.Currency {
			return Quote{}, invalidField("/max_cost/currency", "must be that of the price, "+p.Currency)
		}
		limit = most.Micros
	}
	if p.MaxPerRun > 0 {
		limit = min(limit, p.MaxPerRun)
	}
	var q Quote
	var least, largest int64
	switch p.Model {
	case ModelFree:
		q.Included = true
	case ModelPerRun, ModelSubscription:
		least = p.Unit(used)
		largest = least
	case ModelPerSecond:
		unit := p.Unit(used)
		least, largest = unit, min(limit, p.Of(unit).Times(max(1, wholeSeconds(timeout))).Micros)
		if unit > 0 {
			q.Affordable = time.Duration(min(largest/unit, math.MaxInt64/int64(time.Second))) * time.Second
		}
	case ModelPerEvent:
		least, largest = p.PerRun, limit
	default: // of a newer version of the platform: nothing is free by mistake
		return Quote{}, fault.Newf(fault.Internal, "", "quote price %s: unknown model %q", p.ID, p.Model)
	}
	if least > limit {
		return Quote{}, fault.Newf(fault.PaymentRequired, CodeBudgetTooLow,
			"the run costs at least %s, more than the %s that it may cost", p.Of(least), p.Of(limit))
	}
	q.Minimum, q.Maximum = p.Of(least), p.Of(largest)
	return q, nil
}

// wholeSeconds counts begun seconds.
func wholeSeconds(d time.Duration) int64 {
	whole := int64(max(d, 0) / time.Second)
	if d > time.Duration(whole)*time.Second {
		whole++
	}
	return whole
}

// Hold is what was put aside for a run when it was admitted, with everything that
// its settlement needs: runs keep the price that they started with.
type Hold struct {
	RunID         ids.Run
	OrgID         ids.Org // the buyer
	UserID        ids.User
	AgentID       ids.Agent
	Publisher     ids.Org
	EntitlementID ids.Entitlement
	Source        Source

	Price Price // the zero Price: nothing to pay
	// Used is how many units of the price the buyer had used in the month.
	Used int64
	// Included says that a subscription, a trial or a right pays for the run
	// itself.
	Included   bool
	Amount     money.Amount // held; zero currency: nothing
	Affordable time.Duration
	// FeeBasisPoints is the platform's share of what is charged.
	FeeBasisPoints int64
	Month          Month // whose counters it counts in

	CreatedAt time.Time
	SettledAt time.Time // zero: still held
	Charged   money.Amount
}

// EventCharge is a named event that an agent charged for.
type EventCharge struct {
	Key    string // idempotency key, unique within the run
	Event  string
	Count  int64
	Amount money.Amount
	At     time.Time
}

// ModelCost is what the calls of one model came to.
type ModelCost struct {
	Model  string
	Tokens int64 // of input and output
	Amount money.Amount
}

// Used is what a run used beside its time.
type Used struct {
	Events []EventCharge
	Models []ModelCost
}

// CostLine is a part of what a run cost.
type CostLine struct {
	Kind     LineKind
	Event    string // of events their name, of models the model
	Quantity int64  // runs, seconds, events, tokens
	Amount   money.Amount
}

// LineKind says what a line is for.
type LineKind string

// The kinds of lines.
const (
	LineRun   LineKind = "run"
	LineTime  LineKind = "run_time"
	LineEvent LineKind = "event"
	// LineModel is for the tokens of a model.
	LineModel LineKind = "model"
	// LineCap takes back what is over the budget.
	LineCap LineKind = "budget_cap"
)

// Settlement is what follows from the end of a run.
type Settlement struct {
	Lines []CostLine
	Total money.Amount // never more than what was held
	Fee   money.Amount // the platform's share of it
	// Counted says that the run used up a run of a trial, a subscription or a
	// limit. What the platform broke is given back.
	Counted bool
	Seconds int64 // of run time that count for volume tiers
}

// Settle is what a run costs that has ended: nothing when it never started or
// ended by the platform's or the publisher's fault, what the price says for
// failed runs when it was the agent's, and the time until the signal when it was
// canceled. One that ended well although it was to be canceled has delivered, and
// is paid like any other. Models are paid whenever the run is charged at all, to the
// platform, which pays for them. It is pure: the same run gives the same bill, whoever
// asks.
func Settle(h Hold, run product.Run, used Used) Settlement {
	if run.Reason == product.ReasonOK {
		run.Cancel = nil
	}
	ran := run.BilledTime()
	rule := product.RuleOf(run.Reason)
	nothing := money.Of(0, cmp.Or(h.Amount.Currency, h.Price.Currency))
	s := Settlement{Total: nothing, Fee: nothing}
	if ran <= 0 || !rule.Charged {
		return s
	}
	s.Counted, s.Seconds = true, wholeSeconds(ran)
	models, asked := nothing, h.modelLines(used.Models)
	for _, l := range asked {
		models.Micros += l.Amount.Micros
	}
	price := nothing
	failed := rule.Cause == product.CauseAgent && h.Price.FailedRuns != FailedRunsCharged && !atCallersDeadline(run)
	if h.Price.Model != "" && h.Price.Model != ModelFree && !failed {
		s.Lines = h.lines(s.Seconds, used.Events)
	}
	for _, l := range s.Lines {
		price.Micros = min(price.Micros+l.Amount.Micros, money.MaxMicros)
	}
	if over := price.Micros - (h.Amount.Micros - models.Micros); over > 0 {
		s.Lines = append(s.Lines, CostLine{Kind: LineCap, Quantity: 1, Amount: h.Price.Of(-over)})
		price.Micros -= over
	}
	s.Lines = append(s.Lines, asked...)
	s.Total.Micros = price.Micros + models.Micros
	s.Fee.Micros = price.Share(h.FeeBasisPoints).Micros + models.Micros
	return s
}

// modelLines itemizes what models cost, never more than what is held.
func (h Hold) modelLines(models []ModelCost) (lines []CostLine) {
	left := h.Amount.Micros
	for _, m := range models {
		amount := min(m.Amount.Micros, left)
		left -= amount
		lines = append(lines, CostLine{Kind: LineModel, Event: m.Model, Quantity: m.Tokens, Amount: money.Of(amount, h.Amount.Currency)})
	}
	return lines
}

// Room is what a hold has left for events and models, of which so much was spent: all
// but what the price takes by itself.
func (h Hold) Room(spent money.Amount) money.Amount {
	var fixed int64
	switch {
	case h.Included:
	case h.Price.Model == ModelPerRun || h.Price.Model == ModelSubscription:
		fixed = h.Price.Unit(h.Used)
	case h.Price.Model == ModelPerSecond:
		fixed = h.Price.Of(h.Price.Unit(h.Used)).Times(wholeSeconds(h.Affordable)).Micros
	case h.Price.Model == ModelPerEvent:
		fixed = h.Price.PerRun
	}
	return money.Of(max(0, h.Amount.Micros-fixed-spent.Micros), h.Amount.Currency)
}

// atCallersDeadline reports whether a run was ended by a deadline that its caller
// named himself: no fault of the agent's, and no way to get its time for nothing.
func atCallersDeadline(run product.Run) bool {
	asked := run.Request.RunTimeout
	return run.Reason == product.ReasonDeadline && run.Plan != nil && asked > 0 && asked <= run.Plan.Deadlines.Run
}

// lines itemizes a run before the budget is looked at.
func (h Hold) lines(seconds int64, events []EventCharge) (lines []CostLine) {
	if !h.Included {
		switch unit := h.Price.Unit(h.Used); h.Price.Model {
		case ModelFree:
		case ModelPerRun, ModelSubscription:
			lines = append(lines, CostLine{Kind: LineRun, Quantity: 1, Amount: h.Price.Of(unit)})
		case ModelPerSecond:
			lines = append(lines, CostLine{Kind: LineTime, Quantity: seconds, Amount: h.Price.Of(unit).Times(seconds)})
		case ModelPerEvent:
			if h.Price.PerRun > 0 {
				lines = append(lines, CostLine{Kind: LineRun, Quantity: 1, Amount: h.Price.Of(h.Price.PerRun)})
			}
		}
	}
	for _, e := range events {
		i := lineOf(lines, e.Event)
		if i < 0 {
			lines = append(lines, CostLine{Kind: LineEvent, Event: e.Event, Amount: h.Price.Of(0)})
			i = len(lines) - 1
		}
		lines[i].Quantity += e.Count
		lines[i].Amount.Micros = min(lines[i].Amount.Micros+e.Amount.Micros, money.MaxMicros)
	}
	return lines
}

func lineOf(lines []CostLine, event string) int {
	for i, l := range lines {
		if l.Kind == LineEvent && l.Event == event {
			return i
		}
	}
	return -1
}

// Charge prices count events of a name for a run that has spent so much so far, on
// events and models.
// An event that the price does not name is fault.Invalid; one that is over the
// budget is fault.PaymentRequired, budget_exhausted: the run is to end. Where
// there is nothing to pay, an agent may charge for what it likes.
func (h Hold) Charge(event string, count int64, spent money.Amount) (money.Amount, error) {
	if count < 1 || count > MaxEventCount {
		return money.Amount{}, invalidField("/count", "must be between 1 and 1000000")
	}
	if h.Price.Model == "" && eventName.MatchString(event) {
		return h.Price.Of(0), nil
	}
	for _, e := range h.Price.Events {
		if e.Name != event {
			continue
		}
		if h.Included {
			return h.Price.Of(0), nil
		}
		amount := h.Price.Of(e.Micros).Times(count)
		if amount.Micros > h.Room(spent).Micros {
			return money.Amount{}, fault.Newf(fault.PaymentRequired, CodeBudgetExhausted,
				"the run may cost %s at most", h.Amount)
		}
		return amount, nil
	}
	return money.Amount{}, invalidField("/event", "is not an event of the agent's price")
}

// MaxEventCount bounds the events of one charge.
const MaxEventCount = 1_000_000
