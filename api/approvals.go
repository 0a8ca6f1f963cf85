package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	approveRequest struct {
		Note  string          `json:"note,omitempty" maxLength:"2000" doc:"For people; at most 2000 bytes." example:"as agreed"`
		Input json.RawMessage `json:"input,omitempty" doc:"What the run gets instead of what its caller sent. It must match the agent's input schema; at most 896 KiB."`
	}
	denyRequest struct {
		Note string `json:"note,omitempty" maxLength:"2000" doc:"For people; at most 2000 bytes." example:"too expensive"`
	}
	approveInput struct {
		ID   string `path:"id" doc:"The run."`
		Body *approveRequest
	}
	denyInput struct {
		ID   string `path:"id" doc:"The run."`
		Body *denyRequest
	}
)

func (a *app) routeApprovals() {
	handle(a, route{
		id: "approve-run", method: http.MethodPost, path: "/v1/runs/{id}/approve", tag: tagRuns, optionalBody: true,
		action: marketplace.ActRunsApprove, summary: "Approve a run that waits for a person",
		description: "The run goes on, with another input where one is sent. What its caller sent stays on the record. " +
			"Nobody approves what he has started himself. The same decision again changes nothing.",
		problems: []string{"run_not_found", "own_run", "not_waiting", "input_invalid", "input_too_large"},
	}, a.approveRun)
	handle(a, route{
		id: "deny-run", method: http.MethodPost, path: "/v1/runs/{id}/deny", tag: tagRuns, optionalBody: true,
		action: marketplace.ActRunsApprove, summary: "Deny a run that waits for a person",
		description: "The run ends as rejected, and costs nothing. The same decision again changes nothing.",
		problems:    []string{"run_not_found", "own_run", "not_waiting"},
	}, a.denyRun)
}

func (a *app) approveRun(ctx context.Context, in *approveInput) (*runAnswer, error) {
	asked := approveRequest{}
	if in.Body != nil {
		asked = *in.Body
	}
	run, err := a.decidable(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if asked.Input != nil {
		version, err := a.Agents.Version(ctx, run.VersionID)
		if err != nil {
			return nil, err
		}
		if err := launch.CheckInput(version, asked.Input); err != nil {
			return nil, err
		}
	}
	return a.decide(ctx, run, product.DecisionApproved, asked.Note, asked.Input)
}

func (a *app) denyRun(ctx context.Context, in *denyInput) (*runAnswer, error) {
	run, err := a.decidable(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	note := ""
	if in.Body != nil {
		note = in.Body.Note
	}
	return a.decide(ctx, run, product.DecisionDenied, note, nil)
}

// maxRotations bounds how many rotations of a key are followed.
const maxRotations = 1000

// decidable loads a run that the caller has not started himself, as the same
// person, or with the same key or one that it was rotated to.
func (a *app) decidable(ctx context.Context, id string) (product.Run, error) {
	run, err := a.run(ctx, id)
	if err != nil {
		return product.Run{}, err
	}
	who := requestOf(ctx).caller
	own := who.UserID != "" && who.UserID == run.UserID
	if !own && who.KeyID != "" && run.KeyID != "" {
		own, err = a.continues(ctx, run, who.KeyID)
	}
	switch {
	case err != nil:
		return product.Run{}, err
	case own:
		return product.Run{}, fault.New(fault.Forbidden, "own_run", "somebody else has to decide about a run that you have started")
	}
	return run, nil
}

// continues reports whether a key is the one that started a run, or has come in its
// place.
func (a *app) continues(ctx context.Context, run product.Run, key ids.Key) (bool, error) {
	id := run.KeyID
	for range maxRotations {
		if id == key {
			return true, nil
		}
		started, err := a.Marketplace.APIKey(ctx, run.OrgID, id)
		switch {
		case fault.Is(err, fault.NotFound), err == nil && started.RotatedTo == "":
			return false, nil
		case err != nil:
			return false, err
		}
		id = started.RotatedTo
	}
	return true, nil
}

// decide stores the decision first; then it is as good as carried out: what the
// engine does not hear now, the relay tells it.
func (a *app) decide(ctx context.Context, run product.Run, d product.Decision, note string, input []byte) (*runAnswer, error) {
	if len(note) > product.MaxApprovalNote {
		return nil, requestInvalid(fault.Field{Pointer: "/note", Message: fmt.Sprintf("must have at most %d bytes", product.MaxApprovalNote)})
	}
	decided, err := a.Bodies.DecideRun(ctx, run.ID, d, actor(ctx).ID, note, input, a.Now())
	if err != nil {
		return nil, err
	}
	a.dispatch(ctx, decided)
	return &runAnswer{a.runWhole(ctx, decided)}, nil
}
