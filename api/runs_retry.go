package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// sameVersion asks for the version that the run had.
const sameVersion = "same"

type retryRequest struct {
	Version           string      `json:"version,omitempty" maxLength:"64" doc:"same: the one that the run had; or a number, a channel, or latest. Default: same." example:"latest"`
	RunTimeoutSeconds int64       `json:"run_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"Instead of what the run was started with."`
	MaxCost           *amountBody `json:"max_cost,omitempty" doc:"Instead of what the run was started with."`
}

type retryInput struct {
	ID             string `path:"id" doc:"The run to repeat."`
	IdempotencyKey string `header:"Idempotency-Key" doc:"As for start-run."`
	Prefer         string `header:"Prefer" doc:"As for start-run." example:"wait=10"`
	Body           *retryRequest
}

func (a *app) routeRetry() {
	handle(a, route{
		id: "retry-run", method: http.MethodPost, path: "/v1/runs/{id}/retry", tag: tagRuns, optionalBody: true,
		action: marketplace.ActRunsStart, status: http.StatusAccepted, alsoStatus: http.StatusCreated,
		summary: "Start a run again that has ended",
		description: "Makes a new run with the input, the labels and the wishes of that one, under the rights of the caller and the rules of now. " +
			"It is a run of its own: no child of another one, and without the webhook that came with that one.",
		problems: append(startProblems(), "run_not_found", "run_not_ended", "data_removed"),
	}, a.retryRun)
}

func (a *app) retryRun(ctx context.Context, in *retryInput) (*startRunAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if !run.Status.Terminal() {
		return nil, fault.Newf(fault.Conflict, "run_not_ended", "the run goes on: %s", run.Status)
	}
	s, err := a.retryOf(ctx, run, in.Body)
	if err != nil {
		return nil, err
	}
	return a.answerStart(ctx, s)
}

// retryOf is the request that would make a run once more.
func (a *app) retryOf(ctx context.Context, run product.Run, body *retryRequest) (launch.Start, error) {
	asked := retryRequest{}
	if body != nil {
		asked = *body
	}
	s := launch.Start{
		Caller: caller(ctx), Version: cmp.Or(asked.Version, sameVersion),
		Request: run.Request, Labels: run.Labels,
		Origin: product.Origin{Kind: product.OriginRetry, RetryOf: run.ID},
	}
	s.Publisher, s.Name, _ = strings.Cut(run.Agent, "/")
	if s.Version == sameVersion {
		s.Version = run.Version
	}
	if slices.Contains(s.Teams, run.TeamID) { // somebody else may retry it
		s.TeamID = run.TeamID
	}
	s.Request.Mode = modeOf(ctx)
	if asked.RunTimeoutSeconds > 0 {
		s.Request.RunTimeout = time.Duration(asked.RunTimeoutSeconds) * time.Second
	}
	var err error
	if asked.MaxCost != nil {
		if s.Request.MaxCost, err = a.amount(*asked.MaxCost, "/max_cost"); err != nil {
			return launch.Start{}, err
		}
	}
	s.Input, err = a.Runs.Input(ctx, run.ID)
	if fault.Is(err, fault.NotFound) && a.keyUsed(ctx) {
		err = nil // the run that the key has made needs no input once more
	}
	return s, err
}

// keyUsed reports whether the idempotency key of the request has made a run before,
// or may have.
func (a *app) keyUsed(ctx context.Context) bool {
	r := requestOf(ctx)
	key, err := idempotencyKey(r)
	if err != nil || key == nil {
		return false
	}
	_, err = a.Runs.RunOfKey(ctx, r.caller.OrgID, *key)
	return !fault.Is(err, fault.NotFound)
}
