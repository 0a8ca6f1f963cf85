package marketplace

import (
	"math/bits"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

// mulDiv is a*b/c, rounded down, for 0 <= a, 0 <= b <= c and 0 < c, without
// overflow.
func mulDiv(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	quotient, _ := bits.Div64(high, low, uint64(c))
	return int64(quotient)
}

// SpendScope says what a spend limit bounds.
type SpendScope string

// The scopes.
const (
	SpendPerRun  SpendScope = "run"   // one run
	SpendPerUser SpendScope = "user"  // one person in a month
	SpendMonthly SpendScope = "month" // the organization in a month
)

// SpendLimit is a hard limit that an organization sets itself.
type SpendLimit struct {
	OrgID  ids.Org
	Scope  SpendScope
	UserID ids.User // of the scope user; empty there: everybody without a limit of his own
	Amount money.Amount
	// AlertAt are percentages of the amount at which an alert is raised.
	AlertAt   []int
	UpdatedBy string
	UpdatedAt time.Time
}

// Check returns fault.Invalid with every field that is wrong.
func (l SpendLimit) Check() error {
	var f fields
	f.check(slices.Contains([]SpendScope{SpendPerRun, SpendPerUser, SpendMonthly}, l.Scope), "/scope", "must be run, user or month")
	f.check(l.UserID == "" || l.Scope == SpendPerUser, "/user_id", "is for the scope user")
	f.check(money.ValidCurrency(l.Amount.Currency), "/amount/currency", "must be three upper-case letters, ISO 4217")
	f.check(0 <= l.Amount.Micros && l.Amount.Micros <= money.MaxMicros, "/amount/amount_micros", "must not be negative, or larger than a trillion units")
	f.check(len(l.AlertAt) <= 10, "/alert_at", "must have at most 10 items")
	for _, percent := range l.AlertAt {
		f.check(1 <= percent && percent <= 100, "/alert_at", "must be percentages from 1 to 100")
	}
	return f.err()
}

// Spend is what was spent in a month, and what runs that go on may still cost.
type Spend struct {
	Month Month
	Spent money.Amount
	Held  money.Amount
}

// Spending is the spend that limits apply to when a run is admitted or a month of
// a subscription is paid.
type Spending struct {
	Limits []SpendLimit
	Org    Spend
	User   Spend // of the person who starts the run; zero for a program
}

// Cap is the most that one run may cost by the limits for runs; zero currency:
// there is none.
func (s Spending) Cap(asked money.Amount) money.Amount {
	for _, l := range s.Limits {
		if l.Scope == SpendPerRun && (asked.Currency == "" || l.Amount.Micros < asked.Micros) {
			asked = l.Amount
		}
	}
	return asked
}

// Allow returns fault.PaymentRequired, spend_limit_reached, when an amount more
// would be over a limit of the month.
func (s Spending) Allow(amount money.Amount, user ids.User) error {
	if amount.IsZero() {
		return nil
	}
	for _, l := range s.Limits {
		var seen Spend
		switch {
		case l.Scope == SpendMonthly:
			seen = s.Org
		case l.Scope == SpendPerUser && user != "" && s.ofUser(l, user):
			seen = s.User
		default:
			continue
		}
		if seen.Spent.Micros+seen.Held.Micros+amount.Micros > l.Amount.Micros {
			return fault.Newf(fault.PaymentRequired, CodeSpendLimitReached,
				"a spend limit of your organization (%s) does not leave %s", l.Scope, amount)
		}
	}
	return nil
}

// ofUser reports whether a limit is the one for a person: her own, or the one for
// everybody without one.
func (s Spending) ofUser(l SpendLimit, user ids.User) bool {
	if l.UserID != "" {
		return l.UserID == user
	}
	return !slices.ContainsFunc(s.Limits, func(o SpendLimit) bool { return o.Scope == SpendPerUser && o.UserID == user })
}

// Alert says that spending has reached a threshold of a limit. There is one for
// each limit, month and threshold.
type Alert struct {
	ID      ids.Alert
	OrgID   ids.Org
	Scope   SpendScope
	UserID  ids.User
	Month   Month
	Percent int
	Limit   money.Amount
	Spent   money.Amount
	At      time.Time
}

// Crossed returns the alerts that follow from spending having grown to what s
// says. Those that were raised before are among them; the store keeps the first.
func (s Spending) Crossed(org ids.Org, user ids.User, now time.Time) (alerts []Alert) {
	for _, l := range s.Limits {
		seen, whose := s.Org, ids.User("")
		switch {
		case l.Scope == SpendPerRun, l.Scope == SpendPerUser && (user == "" || !s.ofUser(l, user)):
			continue
		case l.Scope == SpendPerUser:
			seen, whose = s.User, user
		}
		for _, percent := range l.AlertAt {
			if seen.Spent.Micros > 0 && seen.Spent.Micros >= mulDiv(l.Amount.Micros, int64(percent), 100) {
				alerts = append(alerts, Alert{
					ID: ids.New[ids.Alert](ids.PrefixAlert), OrgID: org, Scope: l.Scope, UserID: whose,
					Month: seen.Month, Percent: percent, Limit: l.Amount, Spent: seen.Spent, At: now,
				})
			}
		}
	}
	return alerts
}

// Statement is what happened to the money of an organization in a month: its
// invoice. Closing is Opening plus all lines, and the same for earnings.
type Statement struct {
	OrgID            ids.Org
	Month            Month
	Currency         string
	Opening, Closing money.Amount // of the wallet, with what is held
	Held             money.Amount // of Closing: set aside for runs that go on
	Lines            []StatementLine

	EarningsOpening, EarningsClosing money.Amount
	Earnings                         []StatementLine
}

// StatementLine sums up the transactions of a kind with an agent.
type StatementLine struct {
	Kind   TransactionKind
	Agent  string // empty: of no agent
	Count  int64
	Amount money.Amount // what the organization gained; negative: paid
}
