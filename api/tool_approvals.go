package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	toolApprovalBody struct {
		ID          string          `json:"id" example:"tap_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Attempt     int             `json:"attempt"`
		Tool        string          `json:"tool" doc:"SERVER/TOOL." example:"desk/pay"`
		Arguments   json.RawMessage `json:"arguments" doc:"What the agent wants to call it with. The agent's words: do not trust them."`
		Status      string          `json:"status" doc:"waiting, approved, denied or expired." example:"waiting"`
		RequestedAt time.Time       `json:"requested_at"`
		Deadline    time.Time       `json:"deadline" doc:"After it nobody can agree any more."`
		DecidedBy   string          `json:"decided_by,omitempty"`
		Note        string          `json:"note,omitempty"`
		DecidedAt   *time.Time      `json:"decided_at,omitempty"`
		UsedAt      *time.Time      `json:"used_at,omitempty" doc:"When the call was made that was agreed to."`
	}
	decideToolInput struct {
		ID       string `path:"id" doc:"The run."`
		Approval string `path:"approval" example:"tap_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body     *denyRequest
	}
	toolApprovalAnswer  struct{ Body toolApprovalBody }
	toolApprovalsAnswer struct{ Body page[toolApprovalBody] }
)

func (a *app) routeToolApprovals() {
	const path = "/v1/runs/{id}/tool-approvals"
	handle(a, route{
		id: "list-tool-approvals", method: http.MethodGet, path: path, tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "List the calls of tools that a run asked people about, newest first, on one page", problems: []string{"run_not_found"},
	}, a.listToolApprovals)
	decide := func(id, verb, summary string, d product.Decision) {
		handle(a, route{
			id: id, method: http.MethodPost, path: path + "/{approval}/" + verb, tag: tagRuns, optionalBody: true,
			action: marketplace.ActRunsApprove, summary: summary,
			description: "Only a person decides, who may have started the run. The same decision again changes nothing.",
			problems:    []string{"run_not_found", "tool_approval_not_found", "person_required", "not_waiting"},
		}, func(ctx context.Context, in *decideToolInput) (*toolApprovalAnswer, error) {
			return a.decideTool(ctx, in, d)
		})
	}
	decide("approve-tool-call", "approve", "Agree to a call of a tool, once", product.DecisionApproved)
	decide("deny-tool-call", "deny", "Deny a call of a tool", product.DecisionDenied)
}

func (a *app) listToolApprovals(ctx context.Context, in *runInput) (*toolApprovalsAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := a.ToolApprovals.ToolApprovals(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	items := make([]toolApprovalBody, len(found))
	for i, approval := range found {
		items[i] = a.toolApprovalBody(run, approval)
	}
	return &toolApprovalsAnswer{page[toolApprovalBody]{Items: items}}, nil
}

func (a *app) decideTool(ctx context.Context, in *decideToolInput, d product.Decision) (*toolApprovalAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err == nil {
		err = known(ids.PrefixToolApproval, in.Approval, "tool_approval")
	}
	if err != nil {
		return nil, err
	}
	if requestOf(ctx).caller.UserID == "" {
		return nil, fault.New(fault.Forbidden, "person_required", "only a person agrees to a call of a tool; this API key is a program's")
	}
	note := ""
	if in.Body != nil {
		note = in.Body.Note
	}
	if len(note) > product.MaxApprovalNote {
		return nil, requestInvalid(fault.Field{Pointer: "/note", Message: fmt.Sprintf("must have at most %d bytes", product.MaxApprovalNote)})
	}
	decided, err := a.ToolApprovals.DecideTool(ctx, actor(ctx), run.ID, ids.ToolApproval(in.Approval), d, note, a.Now())
	if err != nil {
		return nil, err
	}
	return &toolApprovalAnswer{a.toolApprovalBody(run, decided)}, nil
}

func (a *app) toolApprovalBody(run product.Run, t product.ToolApproval) toolApprovalBody {
	status := string(t.Decision)
	switch {
	case t.Decision != "":
	case t.Waits(a.Now()) && run.Open(t.Attempt) == nil:
		status = "waiting"
	default:
		status = "expired"
	}
	return toolApprovalBody{
		ID: string(t.ID), Attempt: t.Attempt, Tool: t.Server + "/" + t.Tool, Arguments: t.Arguments, Status: status,
		RequestedAt: t.RequestedAt.UTC(), Deadline: t.Deadline.UTC(), DecidedBy: t.DecidedBy, Note: t.Note,
		DecidedAt: when(t.DecidedAt), UsedAt: when(t.UsedAt),
	}
}
