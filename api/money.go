package api

import (
	"agentmarket/fault"
	"agentmarket/money"
)

// amountBody is money as the API shows and takes it.
type amountBody struct {
	AmountMicros int64  `json:"amount_micros" minimum:"-1000000000000000000" maximum:"1000000000000000000" doc:"Millionths of the currency's unit." example:"1500000"`
	Currency     string `json:"currency" minLength:"3" maxLength:"3" doc:"ISO 4217." example:"USD"`
}

func amountBodyOf(a money.Amount) amountBody {
	return amountBody{AmountMicros: a.Micros, Currency: a.Currency}
}

// amountBodyOrNil leaves an amount out that has no currency: nothing was set.
func amountBodyOrNil(a money.Amount) *amountBody {
	if a.Currency == "" {
		return nil
	}
	return new(amountBodyOf(a))
}

// amount reads money in the platform's currency that is not negative.
func (a *app) amount(body amountBody, pointer string) (money.Amount, error) {
	if body.Currency != a.Policy.Currency {
		return money.Amount{}, requestInvalid(fault.Field{Pointer: pointer + "/currency", Message: "must be " + a.Policy.Currency})
	}
	if body.AmountMicros < 0 {
		return money.Amount{}, requestInvalid(fault.Field{Pointer: pointer + "/amount_micros", Message: "must not be negative"})
	}
	return money.Of(body.AmountMicros, body.Currency), nil
}
