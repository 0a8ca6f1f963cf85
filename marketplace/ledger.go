package marketplace

import (
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

// The ledger is double-entry and append-only: each transaction moves money
// between accounts, its lines add up to zero, and nothing is ever changed or
// removed. What an account has is the sum of its lines.
//
//	               credit                    hold
//	external ─────────────► wallet ─────────────────► held
//	                          ▲ ▲          release      │
//	                          │ └───────────────────────┤
//	                   refund │                         │ charge
//	          earnings, fees ─┘ ◄───────────────────────┘

// AccountKind says what an account is for.
type AccountKind string

// The kinds of accounts. A wallet, what is held of it, and earnings belong to an
// organization; the others are the platform's.
const (
	AccountWallet   AccountKind = "wallet"
	AccountHeld     AccountKind = "held"
	AccountEarnings AccountKind = "earnings"
	AccountFees     AccountKind = "fees"
	AccountExternal AccountKind = "external" // the world outside: its balance is minus what was paid in
)

// AccountOf names an account: its kind and whose it is. There is no other name
// to look up.
func AccountOf(kind AccountKind, org ids.Org) ids.Account {
	if kind == AccountFees || kind == AccountExternal {
		return ids.Account(kind)
	}
	return ids.Account(string(kind) + ":" + string(org))
}

// Account is an account with its balance.
type Account struct {
	ID      ids.Account
	Kind    AccountKind
	OrgID   ids.Org // empty: the platform's
	Balance money.Amount
	// Credit is how far a wallet may go below zero.
	Credit money.Amount
}

// TransactionKind says why money moved.
type TransactionKind string

// The kinds of transactions.
const (
	TxHold         TransactionKind = "hold"         // wallet → held, at admission
	TxCharge       TransactionKind = "charge"       // held → earnings, fees; the rest → wallet
	TxRelease      TransactionKind = "release"      // held → wallet, whole
	TxSubscription TransactionKind = "subscription" // wallet → earnings, fees
	TxRefund       TransactionKind = "refund"       // earnings, fees → wallet
	TxCredit       TransactionKind = "credit"       // external → wallet
	TxPayout       TransactionKind = "payout"       // earnings → external
)

// Transaction is a balanced movement of money.
type Transaction struct {
	ID        ids.Transaction
	Kind      TransactionKind
	OrgID     ids.Org         // whose wallet it is about; of a payout the publisher
	Publisher ids.Org         // whose earnings; empty: none
	RunID     ids.Run         // empty: not of a run
	OrderID   ids.Order       // empty: not of an order
	Of        ids.Transaction // what a refund refunds
	AgentID   ids.Agent
	Agent     string // publisher/name at the time
	Reason    string // of refunds, credits and payouts, for people
	Month     Month  // whose statement it is on
	CreatedBy string
	CreatedAt time.Time
	Lines     []Line
	// Costs itemizes a charge.
	Costs []CostLine
	// Overdraw lets a refund take earnings below zero: an operator's. A publisher
	// gives back what it has not been paid out, or else it could pay itself out
	// and leave the refund to the platform. It is not stored.
	Overdraw bool
}

// Line is one side of a transaction.
type Line struct {
	Account ids.Account
	Amount  money.Amount // what the account gains; negative: loses
	Balance money.Amount // of the account, afterwards; filled in by the store
}

// NewTransaction returns a transaction whose lines add up to zero, in one
// currency. Anything else is a bug: fault.Internal. Lines of nothing are left out.
func NewTransaction(kind TransactionKind, org ids.Org, now time.Time, lines ...Line) (Transaction, error) {
	t := Transaction{
		ID: ids.New[ids.Transaction](ids.PrefixTransaction), Kind: kind, OrgID: org,
		Month: MonthOf(now), CreatedAt: now,
	}
	var sum money.Amount
	for _, l := range lines {
		var err error
		if sum, err = money.Add(sum, l.Amount); err != nil {
			return Transaction{}, err
		}
		if l.Amount.IsZero() {
			continue
		}
		if t.Lines = append(t.Lines, l); l.Amount.Currency != t.Lines[0].Amount.Currency {
			return Transaction{}, fault.Newf(fault.Internal, "", "transaction %s has two currencies", kind)
		}
	}
	if !sum.IsZero() {
		return Transaction{}, fault.Newf(fault.Internal, "", "transaction %s does not balance: %s", kind, sum)
	}
	return t, nil
}

// HoldMoney moves what a run may cost out of the buyer's reach.
func (h Hold) HoldMoney(now time.Time) (Transaction, error) {
	t, err := NewTransaction(TxHold, h.OrgID, now,
		Line{Account: AccountOf(AccountWallet, h.OrgID), Amount: h.Amount.Negative()},
		Line{Account: AccountOf(AccountHeld, h.OrgID), Amount: h.Amount})
	t.RunID, t.AgentID, t.Publisher = h.RunID, h.AgentID, h.Publisher
	return t, err
}

// SettleMoney turns what is held into what the run cost, and gives the rest back.
func (h Hold) SettleMoney(s Settlement, now time.Time) (Transaction, error) {
	kind := TxCharge
	if s.Total.IsZero() {
		kind = TxRelease
	}
	rest := money.Of(h.Amount.Micros-s.Total.Micros, h.Amount.Currency)
	earned := money.Of(s.Total.Micros-s.Fee.Micros, h.Amount.Currency)
	t, err := NewTransaction(kind, h.OrgID, now,
		Line{Account: AccountOf(AccountHeld, h.OrgID), Amount: h.Amount.Negative()},
		Line{Account: AccountOf(AccountWallet, h.OrgID), Amount: rest},
		Line{Account: AccountOf(AccountEarnings, h.Publisher), Amount: earned},
		Line{Account: AccountOf(AccountFees, ""), Amount: money.Of(s.Fee.Micros, h.Amount.Currency)})
	t.RunID, t.AgentID, t.Publisher, t.Costs = h.RunID, h.AgentID, h.Publisher, s.Lines
	return t, err
}

// SubscriptionMoney pays a month of a subscription. One for nothing is a bug:
// fault.Internal.
func SubscriptionMoney(o Order, publisher ids.Org, amount money.Amount, feeBasisPoints int64, now time.Time) (Transaction, error) {
	if amount.Micros < 1 {
		return Transaction{}, fault.Newf(fault.Internal, "", "a month of order %s costs %s", o.ID, amount)
	}
	fee := amount.Share(feeBasisPoints)
	t, err := NewTransaction(TxSubscription, o.OrgID, now,
		Line{Account: AccountOf(AccountWallet, o.OrgID), Amount: amount.Negative()},
		Line{Account: AccountOf(AccountEarnings, publisher), Amount: money.Of(amount.Micros-fee.Micros, amount.Currency)},
		Line{Account: AccountOf(AccountFees, ""), Amount: fee})
	t.OrderID, t.AgentID, t.Agent, t.Publisher = o.ID, o.AgentID, o.Agent, publisher
	return t, err
}

// CreditMoney pays into a wallet from outside. An amount that is not positive is
// fault.Invalid.
func CreditMoney(org ids.Org, amount money.Amount, reason string, now time.Time) (Transaction, error) {
	if err := checkMovement(amount, reason); err != nil {
		return Transaction{}, err
	}
	t, err := NewTransaction(TxCredit, org, now,
		Line{Account: AccountOf(AccountExternal, ""), Amount: amount.Negative()},
		Line{Account: AccountOf(AccountWallet, org), Amount: amount})
	t.Reason = reason
	return t, err
}

// RefundMoney gives back an amount of a charge or of a subscription's month, of
// which refunded was given back before. The publisher and the platform give back
// in the proportion in which they got; what rounding leaves the publisher bears.
// More than what is left, or no reason, is fault.Invalid.
func RefundMoney(of Transaction, refunded, amount money.Amount, reason string, now time.Time) (Transaction, error) {
	if of.Kind != TxCharge && of.Kind != TxSubscription {
		return Transaction{}, fault.Newf(fault.Conflict, "not_refundable", "a %s cannot be refunded", of.Kind)
	}
	if err := checkLongText(reason, "/reason", MaxReason); err != nil {
		return Transaction{}, err
	}
	total, fee := of.charged()
	left := total.Micros - refunded.Micros
	if refunded.Micros < 0 || left < 0 {
		return Transaction{}, fault.Newf(fault.Internal, "", "of the %s of transaction %s %s were refunded", total, of.ID, refunded)
	}
	if amount.Micros < 1 || amount.Micros > left || amount.Currency != total.Currency {
		return Transaction{}, fault.Newf(fault.Invalid, "refund_amount", "of the %s there are %s left to refund", total, money.Of(left, total.Currency)).
			WithFields(fault.Field{Pointer: "/amount", Message: "must be positive and at most what is left"})
	}
	// What the fee should be after this refund, less what it is: rounding never
	// adds up over many refunds.
	before := mulDiv(fee.Micros, refunded.Micros, total.Micros)
	after := mulDiv(fee.Micros, refunded.Micros+amount.Micros, total.Micros)
	back := money.Of(after-before, amount.Currency)
	t, err := NewTransaction(TxRefund, of.OrgID, now,
		Line{Account: AccountOf(AccountEarnings, of.Publisher), Amount: money.Of(back.Micros-amount.Micros, amount.Currency)},
		Line{Account: AccountOf(AccountFees, ""), Amount: back.Negative()},
		Line{Account: AccountOf(AccountWallet, of.OrgID), Amount: amount})
	t.RunID, t.OrderID, t.Of, t.AgentID, t.Agent, t.Publisher, t.Reason =
		of.RunID, of.OrderID, of.ID, of.AgentID, of.Agent, of.Publisher, reason
	return t, err
}

// To is what an account gains by the transaction; negative: loses.
func (t Transaction) To(account ids.Account) money.Amount {
	for _, l := range t.Lines {
		if l.Account == account {
			return l.Amount
		}
	}
	return money.Amount{}
}

// Left is what of a charge or a subscription's month can still be refunded.
func (t Transaction) Left(refunded money.Amount) money.Amount {
	total, _ := t.charged()
	return money.Of(total.Micros-refunded.Micros, total.Currency)
}

// charged is what a transaction took from the buyer, and the platform's share of
// it.
func (t Transaction) charged() (total, fee money.Amount) {
	for _, l := range t.Lines {
		switch l.Account {
		case AccountOf(AccountEarnings, t.Publisher):
			total.Micros += l.Amount.Micros
		case AccountOf(AccountFees, ""):
			total.Micros += l.Amount.Micros
			fee.Micros += l.Amount.Micros
		}
		total.Currency, fee.Currency = l.Amount.Currency, l.Amount.Currency
	}
	return total, fee
}

// MaxReason bounds the reason of a refund, a credit or a payout, in characters.
const MaxReason = 500

// checkMovement checks what an operator says about money that comes in or goes
// out: it moves forward, and a reason, if any, is not too long.
func checkMovement(amount money.Amount, reason string) error {
	var f fields
	f.check(money.ValidCurrency(amount.Currency) && 1 <= amount.Micros && amount.Micros <= money.MaxMicros,
		"/amount/amount_micros", "must be between one micro-unit and a trillion units")
	f.check(reason == "" || checkLongText(reason, "", MaxReason) == nil, "/reason", "must have at most 500 characters")
	return f.err()
}

// PayoutMoney pays a publisher's earnings out. An amount that is not positive is
// fault.Invalid.
func PayoutMoney(publisher ids.Org, amount money.Amount, reason string, now time.Time) (Transaction, error) {
	if err := checkMovement(amount, reason); err != nil {
		return Transaction{}, err
	}
	t, err := NewTransaction(TxPayout, publisher, now,
		Line{Account: AccountOf(AccountEarnings, publisher), Amount: amount.Negative()},
		Line{Account: AccountOf(AccountExternal, ""), Amount: amount})
	t.Publisher, t.Reason = publisher, reason
	return t, err
}
