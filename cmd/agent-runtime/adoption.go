package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"agentmarket/agentruntime"
)

const (
	// unreachableAfter is how long a warm pod stays that cannot ask for its run: one
	// that adopts it would wait for a gateway that may never answer.
	unreachableAfter = 30 * time.Second
	askAgainAfter    = time.Second
)

// awaitRun waits in a warm pod for the run that adopts it, and writes its input where
// agents find it. The pod of a supervisor that nobody wanted ends.
func awaitRun(ctx context.Context, l agentruntime.Launch) (agentruntime.Launch, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Warm)
	defer cancel()
	gateway := newGateway(l)
	heard := time.Now()
	for {
		adoption, err := gateway.adoption(ctx)
		switch {
		case err == nil && adoption.Run != "":
			return take(l, adoption)
		case ctx.Err() != nil:
			return l, errors.New("no run adopted the pod")
		case err == nil: // none yet
			heard = time.Now()
			continue
		case time.Since(heard) > unreachableAfter:
			return l, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(askAgainAfter):
		}
	}
}

// adoption waits for as long as the gateway lets it; the zero Adoption: no run yet.
func (g gateway) adoption(ctx context.Context) (a agentruntime.Adoption, err error) {
	answer, err := g.do(ctx, http.MethodGet, agentruntime.PathAdoption, nil)
	if err != nil {
		return a, fmt.Errorf("wait for a run: %w", err)
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNoContent:
		return a, nil
	case http.StatusOK:
	default:
		return a, fmt.Errorf("wait for a run: %s", answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, agentruntime.MaxAdoptionBytes)).Decode(&a); err != nil {
		return agentruntime.Adoption{}, fmt.Errorf("read the adoption: %w", err)
	}
	return a, nil
}

// take makes the supervisor's pod that of the run.
func take(l agentruntime.Launch, a agentruntime.Adoption) (agentruntime.Launch, error) {
	adopted, err := l.Adopted(a)
	if err != nil {
		return l, err
	}
	if err := os.WriteFile(adopted.InputFile, a.Input, 0o444); err != nil { //nolint:gosec // the agent is to read it
		return l, fmt.Errorf("write the input: %w", err)
	}
	return adopted, nil
}
