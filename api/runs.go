package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	runInput struct {
		ID string `path:"id" doc:"The run." example:"run_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	runAnswer    struct{ Body runBody }
	runsAnswer   struct{ Body page[runBody] }
	outputAnswer struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
)

func (a *app) routeRuns() {
	handle(a, route{
		id: "start-run", method: http.MethodPost, path: "/v1/agents/{publisher}/{name}/runs", tag: tagRuns,
		action: marketplace.ActRunsStart, status: http.StatusAccepted, alsoStatus: http.StatusCreated,
		summary: "Start a run",
		description: "202 when the run was accepted: it will run, or expire, whatever happens to this connection. " +
			"With Prefer: wait=N the answer waits up to N seconds (60 at most) for the end of the run, and is 201 when it saw it. " +
			"With an Idempotency-Key a repeat of the same request answers with the same run.",
		problems: startProblems(),
	}, a.startRun)
	a.routeRunLists()
	handle(a, route{
		id: "get-run", method: http.MethodGet, path: "/v1/runs/{id}", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "Get a run", problems: []string{"run_not_found"},
	}, a.getRun)
	handle(a, route{
		id: "cancel-run", method: http.MethodPost, path: "/v1/runs/{id}/cancel", tag: tagRuns,
		action: marketplace.ActRunsCancel, status: http.StatusAccepted, optionalBody: true,
		summary: "Cancel a run",
		description: "Durable: once it is accepted the run ends, whatever happens to this server. A second request changes nothing. " +
			"The run carries the receipt.",
		problems: []string{"run_not_found", "run_ended"},
	}, a.cancelRun)
	handle(a, route{
		id: "get-output", method: http.MethodGet, path: "/v1/runs/{id}/output", tag: tagRuns, action: marketplace.ActRunsRead,
		summary:  "Get the result of a run: the JSON value itself",
		content:  map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Description: "Any JSON value."}}},
		problems: []string{"run_not_found", "output_not_ready", "no_output", "data_removed"},
	}, a.getOutput)
	a.routeArtifacts()
	a.routeReceipts()
	a.routePlans()
	a.routeRetry()
	a.routeApprovals()
}

// startProblems are the codes of calls that start a run.
func startProblems() []string {
	return append(denials(), "agent_not_found", "version_not_found", "input_invalid", "input_too_large", "team_unknown", "team_required",
		string(product.ReasonPlanInvalid), "parent_not_found", "run_ended", "run_not_started", "tree_too_deep", "tree_too_large",
		"idempotency_key_invalid", "idempotency_key_reused")
}

// run loads a run of the caller's organization. Runs of others, and texts that
// are no identifier, do not exist.
func (a *app) run(ctx context.Context, id string) (product.Run, error) {
	absent := fault.Newf(fault.NotFound, "run_not_found", "there is no run %s", id)
	if !ids.Valid(ids.PrefixRun, id) {
		return product.Run{}, absent
	}
	run, err := a.Runs.Run(ctx, ids.Run(id))
	if fault.Is(err, fault.NotFound) || err == nil && run.OrgID != requestOf(ctx).caller.OrgID {
		return product.Run{}, absent
	}
	return run, err
}

func (a *app) getRun(ctx context.Context, in *runInput) (*runAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &runAnswer{a.runWhole(ctx, run)}, nil
}

func (a *app) getOutput(ctx context.Context, in *runInput) (*outputAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case !run.Status.Terminal():
		return nil, fault.New(fault.NotFound, "output_not_ready", "the run has not ended: "+string(run.Status))
	case run.Output == nil && run.Status == product.StatusSucceeded && run.Removed(product.BodyOutput):
		return nil, dataRemoved("output")
	case run.Output == nil:
		return nil, fault.New(fault.NotFound, "no_output", "the run ended without a result: "+string(run.Reason))
	}
	output, err := a.Blobs.Get(ctx, *run.Output)
	if isNotFound(err) { // it is just being removed
		err = dataRemoved("output")
	}
	if err != nil {
		return nil, err
	}
	return &outputAnswer{ContentType: "application/json", Body: output}, nil
}

// dataRemoved is the fault of a body that was kept for its time.
func dataRemoved(what string) error {
	return fault.Newf(fault.NotFound, "data_removed", "the %s of the run was removed: the time for which it is kept is over", what)
}

type cancelRequest struct {
	Reason       string `json:"reason,omitempty" maxLength:"500" doc:"For people." example:"no longer needed"`
	GraceSeconds *int64 `json:"grace_seconds,omitempty" minimum:"0" maximum:"600" doc:"Time between SIGTERM and SIGKILL. Default: what the agent's manifest says."`
	Force        bool   `json:"force,omitempty" doc:"Kill at once, without a grace."`
}

type cancelInput struct {
	ID   string `path:"id" doc:"The run."`
	Body *cancelRequest
}

// cancelRun stores the request first; then it is as good as carried out: what
// the engine does not hear now, the relay tells it.
func (a *app) cancelRun(ctx context.Context, in *cancelInput) (*runAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	cancel := product.Cancel{RequestedBy: requestOf(ctx).caller.Actor("").ID}
	if body := in.Body; body != nil {
		cancel.Reason, cancel.Force = body.Reason, body.Force
		if body.GraceSeconds != nil {
			cancel.Grace = new(time.Duration(*body.GraceSeconds) * time.Second)
		}
	}
	ended := run.Status
	canceled, err := a.Runs.UpdateRun(ctx, run.ID, func(r *product.Run) ([]*product.Event, error) {
		ended = r.Status
		event, err := r.RequestCancel(cancel, a.Now())
		return []*product.Event{event}, err
	})
	if fault.From(err) != nil && fault.From(err).Code == "run_ended" {
		p := problemFrom(err)
		p.RunStatus = string(ended)
		return nil, p
	}
	if err != nil {
		return nil, err
	}
	a.dispatch(ctx, canceled)
	return &runAnswer{a.runWhole(ctx, canceled)}, nil
}
