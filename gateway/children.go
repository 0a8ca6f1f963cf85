package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/launch"
	"agentmarket/product"
)

// postChild starts a run of another agent as a child of this one: for the same buyer,
// under his rights to that agent, within the bounds of the tree of runs.
func (g *gateway) postChild(w http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	key, err := idempotencyKey(r)
	if err != nil {
		return 0, nil, err
	}
	var body agentruntime.GatewayChild
	if err := decode(w, r, product.MaxInputBytes+maxChargeBody, &body); err != nil {
		return 0, nil, err
	}
	publisher, name, found := strings.Cut(body.Agent, "/")
	if !found || publisher == "" || name == "" || len(body.Agent) > 100 || len(body.Version) > 64 {
		return 0, nil, fault.New(fault.Invalid, "child_invalid", "the child is not valid").
			WithFields(fault.Field{Pointer: "/agent", Message: "must be publisher/name of an agent"})
	}
	if len(body.Input) == 0 || len(body.Input) > product.MaxInputBytes {
		return 0, nil, fault.New(fault.Invalid, "child_invalid", "the child is not valid").
			WithFields(fault.Field{Pointer: "/input", Message: "must be a JSON value"})
	}
	parent, err := g.open(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	child, _, err := g.Children.Start(r.Context(), launch.Start{
		Caller: launch.Caller{
			OrgID: parent.OrgID, KeyID: parent.KeyID, UserID: parent.UserID, Teams: teams(parent),
			Actor: starter(parent),
		},
		Publisher: publisher, Name: name, TeamID: parent.TeamID, Version: body.Version, Input: body.Input,
		Key:    childKey(parent.ID, key, body),
		Origin: product.Origin{Kind: product.OriginChild, ParentID: parent.ID},
	})
	if err != nil {
		return 0, nil, err
	}
	g.startWorkflow(r.Context(), child)
	return http.StatusAccepted, childOf(child), nil
}

// starter is who started a run: in his name its children run.
func starter(run product.Run) audit.Actor {
	if run.UserID != "" {
		return audit.Actor{Kind: audit.KindUser, ID: string(run.UserID), Org: run.OrgID}
	}
	return audit.Actor{Kind: audit.KindKey, ID: string(run.KeyID), Org: run.OrgID}
}

func teams(run product.Run) []ids.Team {
	if run.TeamID == "" {
		return nil
	}
	return []ids.Team{run.TeamID}
}

// childKey is the key of a request within its organization: of its run alone, whatever
// keys others use.
func childKey(parent ids.Run, key string, body agentruntime.GatewayChild) *product.IdempotencyKey {
	sum := sha256.Sum256([]byte(body.Agent + "\x00" + body.Version + "\x00" + string(body.Input)))
	return &product.IdempotencyKey{Key: string(parent) + "/" + key, Fingerprint: hex.EncodeToString(sum[:])}
}

// startWorkflow tells the engine of a run. The record is the outbox: what the engine
// does not hear, the relay says later.
func (g *gateway) startWorkflow(ctx context.Context, run product.Run) {
	if run.Status != product.StatusQueued {
		return
	}
	telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := g.Engine.StartRun(telling, run); err != nil {
		g.Log.WarnContext(ctx, "run left to the relay", "run_id", run.ID, "error", err)
	}
}

// getChild says how a child of the run is.
func (g *gateway) getChild(_ http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	id := r.PathValue("id")
	missing := fault.New(fault.NotFound, "child_not_found", "this run has no such child")
	if !ids.Valid(ids.PrefixRun, id) {
		return 0, nil, missing
	}
	if _, err := g.open(r.Context(), ref); err != nil {
		return 0, nil, err
	}
	child, err := g.Runs.Run(r.Context(), ids.Run(id))
	if fault.Is(err, fault.NotFound) || err == nil && child.Origin.ParentID != ref.Run {
		return 0, nil, missing
	}
	if err != nil {
		return 0, nil, err
	}
	body := childOf(child)
	if child.Output != nil && child.Status == product.StatusSucceeded {
		output, err := g.Blobs.Get(r.Context(), *child.Output)
		if err != nil {
			return 0, nil, err
		}
		body.Output = json.RawMessage(output)
	}
	return http.StatusOK, body, nil
}

func childOf(run product.Run) agentruntime.GatewayChildRun {
	return agentruntime.GatewayChildRun{
		Run: string(run.ID), Agent: run.Agent, Status: string(run.Status), Reason: string(run.Reason), Message: run.Message,
	}
}
