package gateway

import (
	"context"
	"net/http"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// postEnd takes the supervisor's word that the agent has ended, so that the run ends
// before the kubelet has noticed. An agent may hold the token, too, and say the same
// while it goes on: it gains nothing by it, for what it says is what it could have made
// true by exiting, its session is closed from then on, its pod is removed, and the times
// are the gateway's.
func (g *gateway) postEnd(w http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	text, err := readBody(w, r, agentruntime.MaxEnvelopeBytes)
	if err != nil {
		return 0, nil, err
	}
	envelope, err := agentruntime.ParseEnvelope(text)
	switch {
	case err != nil:
		return 0, nil, err
	case envelope.Run != ref.Run || envelope.Attempt != ref.Attempt:
		return 0, nil, fault.New(fault.Forbidden, "another_attempt", "the report is about another attempt")
	case !envelope.Conclusive() || envelope.Frame != "":
		return 0, nil, fault.New(fault.Invalid, "report_inconclusive", "the end is for the cluster to tell")
	}
	run, err := g.Runs.Run(r.Context(), ref.Run)
	if err != nil {
		return 0, nil, err
	}
	now := g.Now()
	redactor, err := g.redactorOf(r.Context(), run, ref.Attempt)
	if err != nil {
		return 0, nil, err
	}
	envelope.Redact(redactor)
	envelope.StartedAt, envelope.FinishedAt = times(run, ref.Attempt, envelope, now)
	if text, err = envelope.Encode(); err != nil {
		return 0, nil, err
	}
	if err := g.checkStored(r.Context(), ref, envelope); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, g.conclude(r.Context(), ref, envelope, text, now)
}

// conclude keeps the end of an attempt, which is closed from then on, and tells the
// engine. Where nobody waits yet, or the engine is away, the watch tells it later.
func (g *gateway) conclude(ctx context.Context, ref infra.Ref, e agentruntime.Envelope, text []byte, now time.Time) error {
	if err := g.Sessions.ReportEnd(ctx, ref.Run, ref.Attempt, text, now); err != nil {
		return err
	}
	telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := g.Engine.JobEnded(telling, ref, infra.Reported(ref, e)); err != nil && !fault.Is(err, fault.NotFound) {
		g.Log.WarnContext(ctx, "end left to the watch", "run_id", ref.Run, "attempt", ref.Attempt, "error", err)
	}
	return nil
}

// exhausted ends an attempt whose run has reached its budget: its session is closed, and
// its pod is removed with the grace of the plan.
func (g *gateway) exhausted(ctx context.Context, ref infra.Ref) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	run, err := g.open(ctx, ref)
	if err != nil {
		return err
	}
	now := g.Now()
	e := agentruntime.Envelope{
		V: agentruntime.EnvelopeVersion, Run: ref.Run, Attempt: ref.Attempt, Outcome: agentruntime.BudgetExhausted,
		Message: "the run reached its budget of " + run.Plan.Budget.String(), FinishedAt: now,
	}
	e.StartedAt, e.FinishedAt = times(run, ref.Attempt, e, now)
	text, err := e.Encode()
	if err != nil {
		return err
	}
	return g.conclude(ctx, ref, e, text, now)
}

// times holds what a report says of times to what the platform knows: nothing began
// before the attempt, and nothing ends later than now.
func times(run product.Run, attempt int, e agentruntime.Envelope, now time.Time) (started, finished time.Time) {
	earliest := run.CreatedAt
	if i := run.AttemptIndex(attempt); i >= 0 {
		earliest = run.Attempts[i].CreatedAt
		if at := run.Attempts[i].StartedAt; !at.IsZero() {
			earliest = at
		}
	}
	between := func(t time.Time) time.Time {
		if t.Before(earliest) {
			t = earliest
		}
		if t.After(now) {
			t = now
		}
		return t.UTC()
	}
	return between(e.StartedAt), between(e.FinishedAt)
}

// checkStored refuses a report about a stored result that is not there.
func (g *gateway) checkStored(ctx context.Context, ref infra.Ref, e agentruntime.Envelope) error {
	if !e.Stored {
		return nil
	}
	artifacts, err := g.Sessions.Artifacts(ctx, ref.Run)
	if err != nil {
		return err
	}
	for _, a := range artifacts {
		if a.Attempt == ref.Attempt && a.Name == product.ResultArtifact && a.Blob.SHA256 == e.ResultSHA256 && a.Blob.Size == int64(e.ResultSize) {
			return nil
		}
	}
	return fault.New(fault.Invalid, "result_missing", "the result that the report is about is not stored")
}
