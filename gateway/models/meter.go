package models

import (
	"context"
	"time"

	"agentmarket/ids"
	"agentmarket/money"
)

// Meter is the budget of runs. Calls of one run come at the same time, and to several
// processes.
//
// Every reservation that was made is settled by the process that made it, unless that
// dies or the meter does not answer. What is not settled then still takes its room, so
// that nobody spends a budget twice by making processes die. No call goes on when its
// reservation expires: from then on the meter may settle it by itself, as what was
// reserved, for what the upstream counted is not known.
type Meter interface {
	// Reserve takes room for a call: the most that it may cost, or what the budget has
	// left if that is at least the least; it returns how much. With less room it is
	// fault.PaymentRequired, and nothing is reserved. A budget in another currency has
	// no room.
	Reserve(ctx context.Context, r Reservation) (money.Amount, error)
	// Settle gives the room of a call back and takes its cost, which is at most what
	// was reserved. It is repeated, with the same values, where it fails: the second
	// settlement of a key does nothing.
	Settle(ctx context.Context, run ids.Run, key string, u Usage) error
}

// Reservation asks for room for one call.
type Reservation struct {
	Run     ids.Run
	Attempt int
	// Key names the call, among all calls.
	Key string
	// Model is its name in the catalog.
	Model string
	// Least and Most are amounts of one currency.
	Least, Most money.Amount
	// Expires is when the call has ended, whatever happens.
	Expires time.Time
}

// Usage is what one call used. A call that the upstream refused, or never got, used
// nothing.
type Usage struct {
	Attempt int
	Model   string // its name in the catalog
	// InputTokens and OutputTokens are what the upstream counted, of all choices.
	InputTokens, OutputTokens int64
	Cost                      money.Amount
	// Partial says that the tokens are estimated, for the upstream has not told them.
	Partial bool
}
