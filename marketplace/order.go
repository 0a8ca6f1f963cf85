package marketplace

import (
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

// OrderKind says what is ordered.
type OrderKind string

// The kinds of orders.
const (
	OrderUsage        OrderKind = "usage"        // pay by run, second or event
	OrderSubscription OrderKind = "subscription" // pay by the month
	OrderTrial        OrderKind = "trial"        // try for free
)

// OrderStatus is the state of an order.
type OrderStatus string

// The states. An order that cannot be paid is not stored.
const (
	OrderActive   OrderStatus = "active"   // the right that it bought holds
	OrderCanceled OrderStatus = "canceled" // a subscription that is not renewed
	OrderEnded    OrderStatus = "ended"
	OrderRefunded OrderStatus = "refunded"
)

// Order is a purchase: an organization accepted a price, and got a right for it.
type Order struct {
	ID            ids.Order
	OrgID         ids.Org
	AgentID       ids.Agent
	Agent         string // publisher/name at the time
	Kind          OrderKind
	Status        OrderStatus
	PriceID       ids.Price
	EntitlementID ids.Entitlement
	Amount        money.Amount // paid at once: the first month
	CreatedBy     string       // identifier of the actor
	CreatedAt     time.Time
	RenewsAt      time.Time // of an active subscription
	CanceledAt    time.Time
}

// Purchase is an order with the right that it buys, before either is stored.
type Purchase struct {
	Order       Order
	Entitlement Entitlement
	Price       Price
}

// Buy makes the purchase that a claim allows, or says with fault.Conflict why it
// allows none. What is deprecated or suspended is not sold any more.
func (c Claim) Buy(agent string, kind OrderKind, by string, now time.Time) (Purchase, error) {
	switch {
	case c.OrgID == c.Publisher:
		return Purchase{}, fault.New(fault.Conflict, "order_own_agent", "your organization publishes this agent and needs no order")
	case !c.sold():
		return Purchase{}, fault.New(fault.Conflict, "order_not_offered", "the agent is not offered at the moment")
	case c.Price == nil:
		return Purchase{}, fault.New(fault.Conflict, "order_not_priced", "the agent has no price; it is free and needs no order")
	}
	p := *c.Price
	e := NewEntitlement(c.OrgID, c.AgentID, SourcePurchase, now)
	o := Order{
		ID: ids.New[ids.Order](ids.PrefixOrder), OrgID: c.OrgID, AgentID: c.AgentID, Agent: agent, Kind: kind,
		Status: OrderActive, PriceID: p.ID, EntitlementID: e.ID, Amount: p.Of(0), CreatedBy: by, CreatedAt: now,
	}
	e.OrderID = o.ID
	switch kind {
	case OrderTrial:
		if !p.Trial.Offered() {
			return Purchase{}, fault.New(fault.Conflict, "order_kind", "the agent has no trial")
		}
		if c.has(SourceTrial) {
			return Purchase{}, fault.New(fault.Conflict, "order_trial_used", "your organization has had its trial of this agent")
		}
		e.Source, e.Limits.Runs = SourceTrial, p.Trial.Runs
		if p.Trial.Days > 0 {
			e.ExpiresAt = now.AddDate(0, 0, int(p.Trial.Days))
		}
	case OrderSubscription:
		if p.Model != ModelSubscription {
			return Purchase{}, fault.New(fault.Conflict, "order_kind", "the agent is not sold by subscription")
		}
		e.Source, e.PriceID = SourceSubscription, p.ID
		e.include(p.IncludedRuns)
		e.Renews, e.ExpiresAt = true, nextMonth(now, now)
		o.Amount, o.RenewsAt = p.Of(p.Monthly), e.ExpiresAt
	case OrderUsage:
		if p.Model == ModelSubscription || p.Model == ModelFree {
			return Purchase{}, fault.New(fault.Conflict, "order_kind", "the agent is not sold by use")
		}
	default:
		return Purchase{}, invalidField("/kind", "must be usage, subscription or trial")
	}
	if e.Source != SourceTrial && c.holds(e.Source, now) {
		return Purchase{}, fault.New(fault.Conflict, "order_exists", "your organization has ordered this agent already")
	}
	return Purchase{Order: o, Entitlement: e, Price: p}, nil
}

func (c Claim) has(s Source) bool {
	for _, r := range c.Entitlements {
		if r.Source == s {
			return true
		}
	}
	return false
}

// holds reports whether the buyer has a right of this source that is not over. One
// that is still to be renewed is not, however late: it would be paid beside a new
// one.
func (c Claim) holds(s Source, now time.Time) bool {
	for _, r := range c.Entitlements {
		over := !r.RevokedAt.IsZero() || r.over(now) && !r.Renews
		if r.Source == s && !over {
			return true
		}
	}
	return false
}

// nextMonth is the same day of the next month; where that has no such day, its
// last one. from is the day on which the subscription began: a subscription of
// the 31st goes back to the 31st.
func nextMonth(from, end time.Time) time.Time {
	from, end = from.UTC(), end.UTC()
	first := time.Date(end.Year(), end.Month(), 1, end.Hour(), end.Minute(), end.Second(), end.Nanosecond(), time.UTC).AddDate(0, 1, 0)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(from.Day(), last)-1)
}

// Renew is the next month of a subscription: until when it lasts.
func Renew(e Entitlement) time.Time {
	from, end := e.CreatedAt.UTC(), e.ExpiresAt.UTC()
	if nextMonth(from, end.AddDate(0, 0, -end.Day())).Day() != end.Day() {
		from = end // a late renewal has changed the day
	}
	return nextMonth(from, end)
}

// lateRenewal is how long after its end the month of a subscription is followed
// by the next one without a gap.
const lateRenewal = 24 * time.Hour

// Renewed is a subscription in its next month, and what that costs, at the price
// in effect (nil: none). It is false where there is no next month: it is not to be
// renewed, the agent is not sold by subscription any more, or nobody may run it.
//
// The month follows the one before. Where that ended more than a day ago, for the
// platform stood still, it begins now: nobody pays for time in which the right did
// not hold.
func (e Entitlement) Renewed(p *Price, status ListingStatus, now time.Time) (Entitlement, money.Amount, bool) {
	if e.Source != SourceSubscription || !e.Renews || !e.RevokedAt.IsZero() ||
		p == nil || p.Model != ModelSubscription || status == ListingSuspended {
		return e, money.Amount{}, false
	}
	if now.Sub(e.ExpiresAt) > lateRenewal {
		e.ExpiresAt = now
	}
	e.ExpiresAt = Renew(e)
	e.PriceID = p.ID
	e.include(p.IncludedRuns)
	return e, p.Of(p.Monthly), true
}

// TopUp is a payment into a wallet.
type TopUp struct {
	ID           ids.TopUp
	OrgID        ids.Org
	Amount       money.Amount
	Provider     string // manual
	Reference    string // the provider's name for it
	URL          string // where to pay; empty: see Instructions
	Instructions string
	Status       TopUpStatus
	CreatedBy    string
	CreatedAt    time.Time
	ConfirmedAt  time.Time
}

// TopUpStatus is the state of a payment.
type TopUpStatus string

// The states.
const (
	TopUpPending   TopUpStatus = "pending"
	TopUpConfirmed TopUpStatus = "confirmed"
	TopUpCanceled  TopUpStatus = "canceled"
)

// PaymentIntent is how a payment is to be made.
type PaymentIntent struct {
	Reference    string
	URL          string
	Instructions string
}

// PaymentProvider collects payments. The wallet is credited when the payment is
// confirmed, by the provider's callback or by an operator.
type PaymentProvider interface {
	// Name identifies the provider in records.
	Name() string
	// Begin prepares a payment. It may be called again for the same one. A
	// provider that does not answer is fault.Unavailable.
	Begin(ctx context.Context, t TopUp) (PaymentIntent, error)
}

// ManualPayments is the built-in provider: the buyer pays outside of the
// platform, and an operator confirms it.
type ManualPayments struct {
	// Instructions are shown to the buyer: the account to pay into.
	Instructions string
}

// Name implements PaymentProvider.
func (ManualPayments) Name() string { return "manual" }

// Begin implements PaymentProvider.
func (m ManualPayments) Begin(_ context.Context, t TopUp) (PaymentIntent, error) {
	text := m.Instructions
	if text == "" {
		text = "Ask the operator of the platform to confirm the payment, and name its reference."
	}
	return PaymentIntent{Reference: string(t.ID), Instructions: text}, nil
}

// NewTopUp returns a payment that is pending.
func NewTopUp(org ids.Org, amount money.Amount, by string, now time.Time) (TopUp, error) {
	if !money.ValidCurrency(amount.Currency) || amount.Micros < 1 || amount.Micros > MaxTopUp {
		return TopUp{}, invalidField("/amount/amount_micros", "must be between one micro-unit and ten million units")
	}
	return TopUp{
		ID: ids.New[ids.TopUp](ids.PrefixTopUp), OrgID: org, Amount: amount, Status: TopUpPending,
		CreatedBy: by, CreatedAt: now,
	}, nil
}

// MaxTopUp bounds a payment, in micro-units.
const MaxTopUp = 10_000_000 * money.Unit
