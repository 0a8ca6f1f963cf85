package gateway

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/gateway/models"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// Models are those that plans can grant, and the servers that have them.
type Models struct {
	models.Catalog
	// Client connects to the upstreams.
	Client *http.Client
}

// modelEndpoint is what the plans of runs grant of models; nil: there are none.
func (g *gateway) modelEndpoint() (http.Handler, error) {
	if len(g.Models.Models) == 0 {
		return nil, nil //nolint:nilnil // none is an answer
	}
	return models.New(models.Config{
		Session: g.modelSession, Catalog: g.Models.Models, Upstreams: g.Models.Upstreams, Meter: meter{g},
		Client: g.Models.Client, Log: g.Log, Now: g.Now,
	})
}

func (g *gateway) modelSession(r *http.Request) (models.Session, error) {
	run, ref, ended, err := g.begin(r)
	if err != nil {
		return models.Session{}, err
	}
	return models.Session{Run: ref.Run, Attempt: ref.Attempt, Org: run.OrgID, Models: run.Plan.Models, Ended: ended}, nil
}

// meter is what is held for runs. A call that it has no room for ends its run.
type meter struct{ g *gateway }

// Reserve implements models.Meter.
func (m meter) Reserve(ctx context.Context, r models.Reservation) (money.Amount, error) {
	room, err := m.g.Charges.ReserveModel(ctx, marketplace.ModelReservation{
		Run: r.Run, Attempt: r.Attempt, Key: r.Key, Model: r.Model, Least: r.Least, Most: r.Most, At: m.g.Now(), Expires: r.Expires,
	})
	m.g.ifExhausted(ctx, infra.Ref{Run: r.Run, Attempt: r.Attempt}, err)
	return room, err
}

// Settle implements models.Meter.
func (m meter) Settle(ctx context.Context, run ids.Run, key string, u models.Usage) error {
	return m.g.Charges.SettleModel(ctx, run, key, marketplace.ModelUsage{
		InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Cost: u.Cost, Partial: u.Partial, At: m.g.Now(),
	})
}

// ifExhausted ends the attempt whose call the budget of its run did not pay for. The
// call is refused whatever becomes of that: an agent that goes on is refused again.
func (g *gateway) ifExhausted(ctx context.Context, ref infra.Ref, err error) {
	if f := fault.From(err); err == nil || f.Kind != fault.PaymentRequired || f.Code != marketplace.CodeBudgetExhausted {
		return
	}
	if err := g.exhausted(ctx, ref); err != nil && !fault.Is(err, fault.Conflict) {
		g.Log.WarnContext(ctx, "run goes on beyond its budget", "run_id", ref.Run, "attempt", ref.Attempt, "error", err)
	}
}
