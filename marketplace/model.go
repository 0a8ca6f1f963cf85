package marketplace

import (
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

// MaxModelCalls bounds the calls of models of one run.
const MaxModelCalls = 10_000

// ModelReservation asks for room for one call of a model: the most that it may cost, or
// what the hold of the run has left if that is at least the least.
type ModelReservation struct {
	Run     ids.Run
	Attempt int
	Key     string // names the call within the run
	Model   string
	// Least and Most are amounts of one currency.
	Least, Most money.Amount
	// At is now; Expires is when the call has ended, whatever happens.
	At, Expires time.Time
}

// ModelUsage is what one call used.
type ModelUsage struct {
	InputTokens, OutputTokens int64
	Cost                      money.Amount
	// Partial says that the tokens are estimated.
	Partial bool
	At      time.Time
}

// Reserve is how much a reservation takes of a hold of which so much was spent on
// events and models. Where the hold has less than the least, or another currency, it is
// fault.PaymentRequired, budget_exhausted: the run is to end. What costs nothing always
// has room.
func (h Hold) Reserve(r ModelReservation, spent money.Amount) (money.Amount, error) {
	if r.Most.Micros <= 0 {
		return money.Of(0, r.Most.Currency), nil
	}
	room := h.Room(spent)
	if room.Currency != r.Most.Currency || room.Micros < max(1, r.Least.Micros) {
		return money.Amount{}, fault.Newf(fault.PaymentRequired, CodeBudgetExhausted, "the run may cost %s at most", h.Amount)
	}
	return money.Min(room, r.Most), nil
}
