package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
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
	planAnswer   struct{ Body planBody }
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
		problems: append(denials(), "agent_not_found", "version_not_found", "input_invalid", "input_too_large", "idempotency_key_invalid", "idempotency_key_reused"),
	}, a.startRun)
	handle(a, route{
		id: "list-runs", method: http.MethodGet, path: "/v1/runs", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "List the runs of your organization, newest first", problems: []string{"cursor_invalid"}, anyQuery: true,
		parameters: []*huma.Param{{
			Name: "label.{key}", In: "query", Description: "Only runs with this value of a label; may be used for several labels.",
			Schema: &huma.Schema{Type: huma.TypeString}, Example: "nightly",
		}},
	}, a.listRuns)
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
		problems: []string{"run_not_found", "output_not_ready", "no_output"},
	}, a.getOutput)
	a.routeReceipts()
	handle(a, route{
		id: "get-plan", method: http.MethodGet, path: "/v1/runs/{id}/plan", tag: tagRuns, action: marketplace.ActRunsRead,
		summary:  "Get the plan of a run: what was resolved to run, with which limits",
		problems: []string{"run_not_found", "plan_not_ready"},
	}, a.getPlan)
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
	case run.Output == nil:
		return nil, fault.New(fault.NotFound, "no_output", "the run ended without a result: "+string(run.Reason))
	}
	output, err := a.Blobs.Get(ctx, *run.Output)
	if err != nil {
		return nil, err
	}
	return &outputAnswer{ContentType: "application/json", Body: output}, nil
}

func (a *app) getPlan(ctx context.Context, in *runInput) (*planAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if run.Plan == nil {
		return nil, fault.New(fault.NotFound, "plan_not_ready", "the run has no plan")
	}
	return &planAnswer{planBodyOf(*run.Plan)}, nil
}

type listRunsInput struct {
	Status        []string `query:"status,explode" doc:"Only runs in this state; may be repeated." maxItems:"20"`
	Agent         string   `query:"agent" maxLength:"100" doc:"Only runs of this agent, publisher/name."`
	CreatedAfter  string   `query:"created_after" format:"date-time" doc:"Only runs that were created after this time."`
	CreatedBefore string   `query:"created_before" format:"date-time" doc:"Only runs that were created before this time."`
	Limit         int      `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor        string   `query:"cursor" maxLength:"200"`

	labels map[string]string
}

const labelParameter = "label."

// Resolve implements huma.Resolver: it collects the filters whose names only the
// caller knows, and refuses what is no filter at all. A misspelt one would
// quietly select everything.
func (in *listRunsInput) Resolve(ctx huma.Context) []error {
	address := ctx.URL()
	var wrong []error
	for name, values := range address.Query() {
		key, isLabel := strings.CutPrefix(name, labelParameter)
		switch {
		case isLabel && labelKey.MatchString(key) && len(values) == 1 && len(values[0]) <= maxLabelValue:
			if in.labels == nil {
				in.labels = map[string]string{}
			}
			in.labels[key] = values[0]
		case isLabel:
			wrong = append(wrong, &huma.ErrorDetail{Location: "query." + name, Message: "is not one label with one value"})
		case !slices.Contains([]string{"status", "agent", "created_after", "created_before", "limit", "cursor"}, name):
			wrong = append(wrong, &huma.ErrorDetail{Location: "query." + name, Message: "unknown query parameter"})
		}
	}
	for _, status := range in.Status {
		if !slices.Contains(product.Statuses(), product.Status(status)) {
			wrong = append(wrong, &huma.ErrorDetail{Location: "query.status", Message: "is not a state of a run"})
		}
	}
	if len(in.labels) > maxLabels {
		wrong = append(wrong, &huma.ErrorDetail{Location: "query.label", Message: "too many labels"})
	}
	return wrong
}

func (a *app) listRuns(ctx context.Context, in *listRunsInput) (*runsAnswer, error) {
	before, err := decodeCursor[ids.Run](ids.PrefixRun, in.Cursor)
	if err != nil {
		return nil, err
	}
	query := product.RunQuery{Agent: in.Agent, Labels: in.labels, Before: before, Limit: in.Limit + 1}
	if query.CreatedAfter, err = parseTime("created_after", in.CreatedAfter); err != nil {
		return nil, err
	}
	if query.CreatedBefore, err = parseTime("created_before", in.CreatedBefore); err != nil {
		return nil, err
	}
	for _, status := range in.Status {
		query.Statuses = append(query.Statuses, product.Status(status))
	}
	found, err := a.Runs.Runs(ctx, requestOf(ctx).caller.OrgID, query)
	if err != nil {
		return nil, err
	}
	return &runsAnswer{pageOf(found, in.Limit, func(r product.Run) ids.Run { return r.ID }, a.runSummary)}, nil
}

// parseTime reads a query parameter; the empty one is the zero time.
func parseTime(parameter, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, requestInvalid(fault.Field{Pointer: parameter, Message: "is not an RFC 3339 date and time"})
	}
	return t, nil
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
