package gateway

import (
	"net/http"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

// getRun says what is granted to the run.
func (g *gateway) getRun(_ http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	var deadline time.Time
	if started := run.Attempts[len(run.Attempts)-1].StartedAt; !started.IsZero() {
		deadline = started.Add(run.Plan.Deadlines.Run).UTC()
	}
	return http.StatusOK, agentruntime.GatewayRun{
		Run: string(run.ID), Attempt: ref.Attempt, Agent: run.Agent, Version: run.Version, Deadline: deadline,
		Tools: orNone(run.Plan.Tools), Models: orNone(run.Plan.Models), Secrets: orNone(run.Plan.Secrets),
		SecretFiles: orNone(run.Plan.SecretFiles), Egress: orNone(run.Plan.Egress),
		MaxResultBytes: run.Plan.MaxOutputBytes,
	}, nil
}

// orNone is a list that is there, also if nothing is in it.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// getInput gives the input of the run.
func (g *gateway) getInput(w http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	if _, err := g.open(r.Context(), ref); err != nil {
		return 0, nil, err
	}
	input, err := g.Runs.Input(r.Context(), ref.Run)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, rawJSON(input), nil
}

// rawJSON is a body that is JSON already.
type rawJSON []byte

// MarshalJSON implements json.Marshaler.
func (j rawJSON) MarshalJSON() ([]byte, error) { return j, nil }

// postHeartbeat says whether the attempt goes on.
func (g *gateway) postHeartbeat(_ http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	_, err := g.open(r.Context(), ref)
	return http.StatusNoContent, nil, err
}
