package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

// adoptionWait is how long a warm pod waits in one call. It is shorter than what a
// connection may take.
const adoptionWait = 5 * time.Minute

// errNotYet is what a warm pod is told whose run has not come yet.
var errNotYet = errors.New("no run has adopted the pod yet")

// adopted waits for the run of a warm pod: the one call of a pod that has none.
func (g *gateway) adopted(ctx context.Context, token string) (infra.Ref, error) {
	wait, cancel := context.WithTimeout(ctx, adoptionWait)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-g.ending:
			cancel()
		case <-stop:
		}
	}()
	ref, err := g.Identities.Adopted(wait, token)
	if err != nil && wait.Err() != nil {
		return infra.Ref{}, errNotYet
	}
	return ref, err
}

// getAdoption gives a warm pod the run that adopted it. It grants nothing that the run
// has not got anyway.
func (g *gateway) getAdoption(_ http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	input, err := g.Runs.Input(r.Context(), ref.Run)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, agentruntime.Adoption{
		Run: ref.Run, Attempt: ref.Attempt, RunTimeout: run.Plan.Deadlines.Run, Input: input,
	}, nil
}
