package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// BlobStore keeps the bodies of runs.
type BlobStore interface {
	Put(ctx context.Context, key, contentType string, body []byte) (product.Blob, error)
}

// AgentRuntime is what workflows ask of layer 4: what an agent left behind.
type AgentRuntime struct {
	Cluster infra.Cluster
	Runs    product.RunStore
	Agents  product.AgentStore
	Blobs   BlobStore
	Now     func() time.Time
}

// CollectResultInput is an attempt that is over, and how the cluster saw its end.
type CollectResultInput struct {
	AttemptRef
	Outcome JobOutcome `json:"outcome"`
}

// Verdict is the final word on an attempt.
type Verdict struct {
	Reason  product.Reason `json:"reason"`
	Message string         `json:"message,omitempty"`
	// Retry: the platform caused it, and another attempt may help.
	Retry bool `json:"retry,omitempty"`
	// Leftover: the attempt did not end by itself and its objects must be
	// deleted; an attempt that ended is left to its TTL, for people with
	// kubectl.
	Leftover bool `json:"leftover,omitempty"`
}

// maxFramedLog bounds how much log is read to find a framed result.
const maxFramedLog = 64 << 20

// CollectResult brings output and log of an attempt to the blob store, records
// the end of the attempt, and says what it was. The outcome ok stands only if
// the result itself is there, is whole, and matches the agent's output schema.
func (a *AgentRuntime) CollectResult(ctx context.Context, in CollectResultInput) (Verdict, error) {
	verdict, err := a.collect(ctx, in)
	return verdict, toTemporal(err)
}

func (a *AgentRuntime) collect(ctx context.Context, in CollectResultInput) (Verdict, error) {
	run, err := a.Runs.Run(ctx, in.RunID)
	if err != nil {
		return Verdict{}, err
	}
	if i := run.AttemptIndex(in.Attempt); i >= 0 && run.Attempts[i].Reason != "" { // an earlier try got to the end
		return verdictOf(run.Attempts[i].Reason, run.Attempts[i].Message), nil
	}
	if run.Plan == nil {
		return Verdict{}, fault.New(fault.Conflict, "", "the run has no plan")
	}
	end := product.End{
		Reason: product.Reason(in.Outcome.Reason), Message: in.Outcome.Message, ExitCode: in.Outcome.ExitCode,
		StartedAt: in.Outcome.StartedAt, FinishedAt: in.Outcome.FinishedAt,
	}
	var output *product.Blob
	if end.Reason == product.ReasonOK {
		output, err = a.output(ctx, in.AttemptRef, run)
		switch {
		case err == nil:
		case fault.Is(err, fault.Invalid):
			end.Reason, end.Message = product.Reason(infra.ReasonAgentInvalidResult), fault.From(err).Message
		case fault.Is(err, fault.NotFound):
			end.Reason, end.Message = product.Reason(infra.ReasonPodGone), "the result vanished before it was collected"
		default:
			return Verdict{}, err
		}
	}
	log, err := a.archiveLog(ctx, in.AttemptRef, run.Plan.MaxLogBytes)
	if err != nil {
		return Verdict{}, err
	}
	_, err = a.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		event := r.AttemptEnded(in.Attempt, end, a.Now())
		if event != nil {
			r.Output, r.Log = output, log
		}
		return []*product.Event{event}, nil
	})
	if err != nil {
		return Verdict{}, err
	}
	return verdictOf(end.Reason, end.Message), nil
}

func verdictOf(reason product.Reason, message string) Verdict {
	return Verdict{
		Reason: reason, Message: message, Retry: product.RuleOf(reason).Retry,
		Leftover: !endedByItself(reason),
	}
}

// endedByItself tells the ends of an agent's process from attempts that were
// given up: those may still hold objects that never end.
func endedByItself(reason product.Reason) bool {
	rule := product.RuleOf(reason)
	return rule.Cause == product.CauseNone || rule.Cause == product.CauseAgent
}

// output fetches, checks and stores the result of an attempt.
func (a *AgentRuntime) output(ctx context.Context, ref AttemptRef, run product.Run) (*product.Blob, error) {
	body, err := a.result(ctx, ref)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > run.Plan.MaxOutputBytes {
		return nil, fault.Newf(fault.Invalid, "", "the result has %d bytes, more than the %d that are kept", len(body), run.Plan.MaxOutputBytes)
	}
	version, err := a.Agents.Version(ctx, run.VersionID)
	if err != nil {
		return nil, fmt.Errorf("load version of run %s: %w", run.ID, err)
	}
	schema, err := product.CompileSchema(version.Manifest.OutputSchema)
	if err != nil {
		return nil, err
	}
	if err := schema.Validate("", body); err != nil {
		return nil, mismatch(err)
	}
	stored, err := a.Blobs.Put(ctx, OutputKey(run.ID), "application/json", body)
	return &stored, err
}

// mismatch words a result that breaks its schema, with the first wrong place.
func mismatch(err error) error {
	f := fault.From(err)
	if f.Kind != fault.Invalid || len(f.Fields) == 0 {
		return err
	}
	return fault.Newf(fault.Invalid, "", "the result does not match the agent's output schema: %s %s",
		f.Fields[0].Pointer, f.Fields[0].Message)
}

// result reads the body of a result from where the supervisor left it.
func (a *AgentRuntime) result(ctx context.Context, ref AttemptRef) ([]byte, error) {
	seen, err := a.Cluster.Observe(ctx, ref.ref())
	if err != nil {
		return nil, err
	}
	if seen.Pod == nil || seen.Pod.Terminated == nil {
		return nil, fault.New(fault.NotFound, "", "the pod is gone")
	}
	envelope, err := agentruntime.ParseEnvelope([]byte(seen.Pod.Terminated.Message))
	if err != nil {
		return nil, err
	}
	if envelope.Frame == "" {
		return envelope.Result, nil
	}
	log, err := a.Cluster.Logs(ctx, ref.ref(), infra.LogOptions{})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	body, err := agentruntime.ReadFrames(io.LimitReader(log, maxFramedLog), envelope.Frame)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the result in the agent's log is not readable")
	}
	if err := envelope.VerifyBody(body); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the result in the agent's log is damaged")
	}
	return body, nil
}

// archiveLog keeps the log of an attempt. An attempt without a container has
// none.
func (a *AgentRuntime) archiveLog(ctx context.Context, ref AttemptRef, limit int64) (*product.Blob, error) {
	stream, err := a.Cluster.Logs(ctx, ref.ref(), infra.LogOptions{})
	if fault.Is(err, fault.NotFound) {
		return nil, nil //nolint:nilnil // no log is not an error, and nothing is to be stored
	}
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var body bytes.Buffer
	_, err = io.Copy(&body, io.LimitReader(agentruntime.StripFrames(stream), limit+1))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Wrap(fault.Unavailable, err, "read log of the attempt")
	}
	kept := body.Bytes()
	truncated := int64(len(kept)) > limit
	if truncated {
		kept = append(kept[:limit:limit], "\n[log truncated]\n"...)
	}
	stored, err := a.Blobs.Put(ctx, LogKey(ref.RunID, ref.Attempt), "text/plain; charset=utf-8", kept)
	stored.Truncated = truncated
	return &stored, err
}

// OutputKey is where the result of a run is kept.
func OutputKey(run ids.Run) string { return fmt.Sprintf("runs/%s/output.json", run) }

// LogKey is where the log of an attempt is kept.
func LogKey(run ids.Run, attempt int) string {
	return fmt.Sprintf("runs/%s/attempts/%d/log.txt", run, attempt)
}
