package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/marketplace"
	"agentmarket/product"
)

// DoctorBody is what the doctor found in the cluster of this platform.
type DoctorBody struct {
	Status      string           `json:"status" enum:"never,pending,done" doc:"never: nobody has asked. pending: an examination is asked for, or goes on; what is shown is the one before."`
	RequestedAt *time.Time       `json:"requested_at,omitempty" doc:"When somebody asked for it last."`
	FinishedAt  *time.Time       `json:"finished_at,omitempty"`
	Tiers       []DoctorTierBody `json:"tiers"`
}

// DoctorTierBody is what was found of one tier.
type DoctorTierBody struct {
	Tier    string            `json:"tier" enum:"standard,sandboxed"`
	Refused string            `json:"refused,omitempty" doc:"Why no run of this tier is planned; absent: they are."`
	Checks  []DoctorCheckBody `json:"checks"`
}

// DoctorCheckBody is one check.
type DoctorCheckBody struct {
	Check   string `json:"check" example:"network_denied"`
	State   string `json:"state" enum:"holds,broken,unknown"`
	Message string `json:"message,omitempty"`
}

type doctorAnswer struct{ Body DoctorBody }

func (a *app) routeDoctor() {
	const path = "/v1/platform/doctor"
	handle(a, route{
		id: "get-doctor", method: http.MethodGet, path: path, tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		summary:     "Get what the cluster keeps of what the tiers promise",
		description: "The last examination. A tier with a check that is broken is refused: runs of it are not planned.",
	}, a.getDoctor)
	handle(a, route{
		id: "run-doctor", method: http.MethodPost, path: path, tag: tagPlatform, action: marketplace.ActPlatformPolicies, status: http.StatusAccepted,
		summary: "Examine the cluster",
		description: "A worker runs a probe in a pod of each tier, which attacks what is around it from its first instruction on. " +
			"That takes about two minutes for each; ask with GET.",
	}, a.runDoctor)
}

func (a *app) getDoctor(ctx context.Context, _ *struct{}) (*doctorAnswer, error) {
	report, err := a.Control.DoctorReport(ctx)
	if err != nil {
		return nil, err
	}
	return &doctorAnswer{a.doctorBody(report)}, nil
}

func (a *app) runDoctor(ctx context.Context, _ *struct{}) (*doctorAnswer, error) {
	if err := a.Control.RequestDoctor(ctx, actor(ctx), a.Now()); err != nil {
		return nil, err
	}
	return a.getDoctor(ctx, nil)
}

func (a *app) doctorBody(r product.DoctorReport) DoctorBody {
	body := DoctorBody{Status: "done", Tiers: []DoctorTierBody{}}
	switch {
	case r.Pending():
		body.Status = "pending"
	case r.FinishedAt.IsZero():
		body.Status = "never"
	}
	if !r.RequestedAt.IsZero() {
		body.RequestedAt = &r.RequestedAt
	}
	if !r.FinishedAt.IsZero() {
		body.FinishedAt = &r.FinishedAt
	}
	now := &product.Tiers{Strict: a.Limits.Tiers != nil && a.Limits.Tiers.Strict}
	now.Learn(r)
	for _, t := range r.Tiers {
		tier := DoctorTierBody{Tier: string(t.Tier), Refused: now.Refusal(t.Tier), Checks: []DoctorCheckBody{}}
		for _, f := range t.Findings {
			tier.Checks = append(tier.Checks, DoctorCheckBody{Check: f.Check, State: string(f.State), Message: f.Message})
		}
		body.Tiers = append(body.Tiers, tier)
	}
	return body
}
