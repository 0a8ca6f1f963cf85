package gateway

import (
	"net/http"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
)

const (
	maxChargeBody = 4 << 10
	maxEventName  = 64
)

// postCharge charges the buyer for a named event of the price that the run was started
// at. What an event costs and how much may be charged is the plan's; one that the budget
// does not pay for ends the run.
func (g *gateway) postCharge(w http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	key, err := idempotencyKey(r)
	if err != nil {
		return 0, nil, err
	}
	var body agentruntime.GatewayCharge
	if err := decode(w, r, maxChargeBody, &body); err != nil {
		return 0, nil, err
	}
	switch {
	case body.Event == "" || len(body.Event) > maxEventName:
		err = fault.Newf(fault.Invalid, "charge_invalid", "the charge is not valid").
			WithFields(fault.Field{Pointer: "/event", Message: "must be the name of an event of the price"})
	case body.Count < 1 || body.Count > agentruntime.MaxChargeCount:
		err = fault.Newf(fault.Invalid, "charge_invalid", "the charge is not valid").
			WithFields(fault.Field{Pointer: "/count", Message: "must be between 1 and 1000000"})
	default:
		_, err = g.open(r.Context(), ref)
	}
	if err != nil {
		return 0, nil, err
	}
	charge, err := g.Charges.ChargeEvent(r.Context(), ref.Run, ref.Attempt, key, body.Event, body.Count, g.Now())
	if err != nil {
		g.ifExhausted(r.Context(), ref, err)
		return 0, nil, err
	}
	return http.StatusOK, agentruntime.GatewayCharged{AmountMicros: charge.Amount.Micros, Currency: charge.Amount.Currency}, nil
}
