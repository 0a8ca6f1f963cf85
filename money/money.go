// Package money is an amount of one currency, in whole micro-units. Money is
// never a float: 1.50 USD is {1500000, "USD"}.
package money

import (
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"strings"

	"agentmarket/fault"
)

// Amount is a number of millionths of a currency. The zero Amount is nothing, in
// no currency.
type Amount struct {
	Micros   int64
	Currency string // ISO 4217, three upper-case letters; empty only in the zero Amount
}

// MaxMicros bounds what a request may name: a trillion units. Sums of amounts
// within it do not overflow in a ledger of realistic size, and [Add] checks.
const MaxMicros = 1_000_000_000_000_000_000

// Unit is one unit of a currency in micros: a dollar.
const Unit = 1_000_000

var currency = regexp.MustCompile(`^[A-Z]{3}$`)

// ValidCurrency reports whether a text has the form of a currency.
func ValidCurrency(text string) bool { return currency.MatchString(text) }

// Of returns an amount.
func Of(micros int64, currency string) Amount { return Amount{Micros: micros, Currency: currency} }

// IsZero reports whether the amount is nothing, in whatever currency.
func (a Amount) IsZero() bool { return a.Micros == 0 }

// Negative is the amount with the other sign.
func (a Amount) Negative() Amount { return Amount{-a.Micros, a.Currency} }

// String is the amount for people: 1.500000 USD. Without a currency it is the
// number alone.
func (a Amount) String() string {
	sign, rest := "", a.Micros
	if rest < 0 {
		sign = "-"
	}
	whole, part := rest/Unit, rest%Unit
	if part < 0 {
		part = -part
	}
	if whole < 0 {
		whole = -whole
	}
	return strings.TrimSuffix(fmt.Sprintf("%s%d.%06d %s", sign, whole, part, a.Currency), " ")
}

// Add adds amounts of one currency. Nothing has whatever currency the other one
// has. An overflow, or two currencies, is a bug and fault.Internal.
func Add(a, b Amount) (Amount, error) {
	if a.Currency != b.Currency && !a.IsZero() && !b.IsZero() {
		return Amount{}, fault.Newf(fault.Internal, "", "add %s to %s: two currencies", b, a)
	}
	if b.Micros > 0 && a.Micros > math.MaxInt64-b.Micros || b.Micros < 0 && a.Micros < math.MinInt64-b.Micros {
		return Amount{}, fault.Newf(fault.Internal, "", "add %s to %s: overflow", b, a)
	}
	c := a.Currency
	if c == "" || a.IsZero() && !b.IsZero() {
		c = b.Currency
	}
	return Amount{a.Micros + b.Micros, c}, nil
}

// Times multiplies a price by a count, and stays at [MaxMicros] where the product
// would be larger: what is bounded by a budget afterwards needs no more. A price
// or a count below zero is nothing.
func (a Amount) Times(n int64) Amount {
	if a.Micros <= 0 || n <= 0 {
		return Amount{0, a.Currency}
	}
	high, low := bits.Mul64(uint64(a.Micros), uint64(n))
	if high > 0 || low > MaxMicros {
		return Amount{MaxMicros, a.Currency}
	}
	return Amount{int64(low), a.Currency}
}

// Share is a share of the amount in basis points (hundredths of a percent), from
// 0 to 10000, rounded towards zero.
func (a Amount) Share(basisPoints int64) Amount {
	whole, rest := a.Micros/10_000, a.Micros%10_000
	return Amount{whole*basisPoints + rest*basisPoints/10_000, a.Currency}
}

// Min is the smaller of two amounts of one currency.
func Min(a, b Amount) Amount {
	if b.Micros < a.Micros {
		return b
	}
	return a
}
