package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

func (a *app) routeBuying() {
	a.routePrices()
	a.routeOrders()
	a.routeEntitlements()
	handle(a, route{
		id: "estimate-run", method: http.MethodPost, path: "/v1/agents/{publisher}/{name}/estimate", tag: tagBuying,
		action: marketplace.ActRunsStart, optionalBody: true,
		summary: "Estimate what a run would cost, without starting it",
		description: "Answers 200 for a run that would be denied, too, and says why. The maximum is what would be set aside; " +
			"a run never costs more.",
		problems: []string{"agent_not_found", "version_not_found", "input_invalid", "input_too_large"},
	}, a.estimateRun)
}

type estimateRequest struct {
	Version           string          `json:"version,omitempty" maxLength:"64" doc:"A number, a channel, or latest. Default: as for a run."`
	Input             json.RawMessage `json:"input,omitempty" doc:"Checked when it is there."`
	RunTimeoutSeconds int64           `json:"run_timeout_seconds,omitempty" minimum:"1" maximum:"86400"`
	MaxCost           *amountBody     `json:"max_cost,omitempty"`
}

type estimateInput struct {
	Publisher string `path:"publisher"`
	Name      string `path:"name"`
	Body      *estimateRequest
}

type estimateBody struct {
	Agent    string      `json:"agent" example:"acme/greeter"`
	Version  string      `json:"version,omitempty" doc:"Absent: the agent has no version yet."`
	Price    *priceBody  `json:"price,omitempty" doc:"Absent: the run is free for your organization."`
	Source   string      `json:"source,omitempty" doc:"The right that the run would start under." example:"purchase"`
	Included bool        `json:"included" doc:"A subscription, a trial or a right pays for the run."`
	Minimum  amountBody  `json:"minimum" doc:"Of a run that ends well."`
	Typical  amountBody  `json:"typical" doc:"Of a run that takes as long as runs of this agent took so far."`
	Maximum  amountBody  `json:"maximum" doc:"What would be set aside."`
	Allowed  bool        `json:"allowed" doc:"Whether the run could start now."`
	Denial   *DenialBody `json:"denial,omitempty"`
}

// DenialBody is why a start is refused, and what to do about it.
type DenialBody struct {
	Code   string `json:"code" example:"payment_required"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty" doc:"Where the missing right can be had."`
}

type estimateAnswer struct{ Body estimateBody }

func (a *app) estimateRun(ctx context.Context, in *estimateInput) (*estimateAnswer, error) {
	asked := estimateRequest{}
	if in.Body != nil {
		asked = *in.Body
	}
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	request := product.Request{RunTimeout: time.Duration(asked.RunTimeoutSeconds) * time.Second}
	if asked.MaxCost != nil {
		if request.MaxCost, err = a.amount(*asked.MaxCost, "/max_cost"); err != nil {
			return nil, err
		}
	}
	subject := marketplace.Subject{MaxCost: request.MaxCost}
	version, err := a.version(ctx, agent, claim, asked.Version)
	switch {
	case err == nil:
		subject = marketplace.SubjectOf(version, request, a.Limits, a.Policy)
		if len(asked.Input) > 0 {
			err = launch.CheckInput(version, asked.Input)
		}
	case isNotFound(err) && asked.Version == "" && agent.Latest == "": // a preview
		err = nil
	}
	if err != nil {
		return nil, err
	}
	subject.UserID = requestOf(ctx).caller.UserID
	spending, err := a.launcher.Spending(ctx, claim, subject, subject.UserID)
	if err != nil {
		return nil, err
	}
	average, err := a.Marketplace.AverageRun(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	e := claim.Estimate(subject, spending, average, a.Policy, a.Now())
	return &estimateAnswer{a.estimateBody(ctx, agent, version, e)}, nil
}

func (a *app) estimateBody(ctx context.Context, agent product.Agent, version product.Version, e marketplace.Estimate) estimateBody {
	body := estimateBody{
		Agent: agent.FullName(), Version: version.Number, Source: string(e.Source), Included: e.Included,
		Minimum: amountBodyOf(e.Minimum), Typical: amountBodyOf(e.Typical), Maximum: amountBodyOf(e.Maximum),
		Allowed: e.Denial == nil && version.ID != "",
	}
	if e.Price != nil {
		body.Price = new(priceBodyOf(*e.Price))
	}
	denial := e.Denial
	if denial == nil && version.ID == "" {
		denial = fault.New(fault.NotFound, "version_not_found", "the agent has no version yet")
	}
	if denial != nil {
		p := problemFrom(a.denied(ctx, agent, denial))
		body.Denial = &DenialBody{Code: p.Code, Detail: p.Detail, Next: p.Next}
	}
	return body
}

// isNotFound reports whether what was asked for is not there.
func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }

// known checks the form of an identifier before it reaches a query. What is none
// does not exist.
func known(prefix, id, noun string) error {
	if ids.Valid(prefix, id) {
		return nil
	}
	return fault.Newf(fault.NotFound, noun+"_not_found", "there is no %s %s", noun, id)
}
