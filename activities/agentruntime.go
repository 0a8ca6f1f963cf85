package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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
	Get(ctx context.Context, b product.Blob) ([]byte, error)
}

// Sessions are what attempts told the gateway and left with it, see
// product.SessionStore.
type Sessions interface {
	Reports
	Artifacts(ctx context.Context, run ids.Run) ([]product.Artifact, error)
}

// AgentRuntime is what workflows ask of layer 4: what an agent left behind.
type AgentRuntime struct {
	Cluster infra.Cluster
	Watch   infra.Watch
	Runs    product.RunStore
	Agents  product.AgentStore
	Blobs   BlobStore
	// Sessions are the gateway's.
	Sessions Sessions
	Now      func() time.Time
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
	// AgentFault: the agent failed. Another attempt is up to the caller.
	AgentFault bool `json:"agent_fault,omitempty"`
	// Leftover: the attempt did not end by itself and its objects must be
	// deleted; an attempt that ended is left to its TTL, for people with
	// kubectl.
	Leftover bool `json:"leftover,omitempty"`
}

// maxFramedLog bounds how much log is read to find a framed result.
const maxFramedLog = 64 << 20

// CollectResult brings output and log of an attempt to the blob store, records
// the end of the attempt, says what it was, and clears away what ended by itself.
// The outcome ok stands only if the result itself is there, is whole, and matches the
// agent's output schema.
func (a *AgentRuntime) CollectResult(ctx context.Context, in CollectResultInput) (Verdict, error) {
	stop := heartbeat(ctx)
	defer stop()
	verdict, err := a.collect(ctx, in)
	if err == nil && !verdict.Leftover {
		a.clear(ctx, in.AttemptRef)
	}
	return verdict, toTemporal(err)
}

// clear removes the objects of an attempt of which everything is kept. It is tried
// once: what stays is removed by the reconciliation, or by its time to live.
func (a *AgentRuntime) clear(ctx context.Context, ref AttemptRef) {
	if err := a.Cluster.Clear(ctx, ref.ref()); err != nil {
		warn(ctx, "objects of an ended attempt left to the reconciliation", "run_id", string(ref.RunID), "error", err)
	}
}

func (a *AgentRuntime) collect(ctx context.Context, in CollectResultInput) (Verdict, error) {
	run, err := a.Runs.Run(ctx, in.RunID)
	if err != nil {
		return Verdict{}, err
	}
	if verdict, ok := recorded(run, in.Attempt); ok { // an earlier try got to the end
		return verdict, nil
	}
	if run.Plan == nil {
		return Verdict{}, fault.New(fault.Conflict, "", "the run has no plan")
	}
	end := product.End{
		Reason: product.Reason(in.Outcome.Reason), Message: in.Outcome.Message, ExitCode: in.Outcome.ExitCode,
		StartedAt: in.Outcome.StartedAt, FinishedAt: in.Outcome.FinishedAt, Node: in.Outcome.Node,
	}
	if end.Reason == product.ReasonDeadline && run.Plan.BudgetBound {
		end.Reason = product.ReasonBudgetExhausted
		end.Message = fmt.Sprintf("the run reached its budget of %s", run.Plan.Budget)
	}
	var output *product.Blob
	if end.Reason == product.ReasonOK || end.Reason == product.ReasonBudgetExhausted {
		output, err = a.output(ctx, in, run, end.Reason)
		var refused *refusal
		switch {
		case err == nil:
		case errors.As(err, &refused) && end.Reason == product.ReasonBudgetExhausted: // then there is none
		case errors.As(err, &refused):
			end.Reason, end.Message = product.Reason(refused.reason), shorten(refused.message)
		default:
			return Verdict{}, err
		}
	}
	log, err := a.archiveLog(ctx, in, run, 0)
	if err != nil {
		return Verdict{}, err
	}
	end.Log = log
	run, err = a.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		var started *product.Event
		if !end.StartedAt.IsZero() { // it may have been over before anybody saw that it ran
			started = r.AttemptStarted(in.Attempt, end.StartedAt)
		}
		ended := r.AttemptEnded(in.Attempt, end, a.Now())
		if ended != nil {
			r.Output, r.Log = output, log
		}
		return []*product.Event{started, ended}, nil
	})
	if err != nil {
		return Verdict{}, err
	}
	verdict, ok := recorded(run, in.Attempt) // of a rival try, if that was faster
	if !ok {
		return Verdict{}, fault.Newf(fault.Conflict, "run_state", "the run has no attempt %d to end", in.Attempt)
	}
	return verdict, nil
}

// recorded returns the verdict that the record holds of an attempt.
func recorded(run product.Run, attempt int) (Verdict, bool) {
	i := run.AttemptIndex(attempt)
	if i < 0 || run.Attempts[i].Reason == "" {
		return Verdict{}, false
	}
	return verdictOf(run.Attempts[i].Reason, run.Attempts[i].Message), true
}

// refusal says that an attempt which ended well has no result after all, and
// why. Every other error on the way to a result is one of the platform and says
// nothing about the attempt.
type refusal struct {
	reason  infra.Reason
	message string
}

func (r *refusal) Error() string { return string(r.reason) + ": " + r.message }

func invalidResult(format string, args ...any) error {
	return &refusal{infra.ReasonAgentInvalidResult, fmt.Sprintf(format, args...)}
}

func vanished(message string) error { return &refusal{infra.ReasonPodGone, message} }

// shorten bounds a text that may hold words of an agent: it travels through
// workflow histories.
func shorten(text string) string { return bounded(text, infra.MaxMessage) }

// bounded cuts a text off at a number of bytes.
func bounded(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

func verdictOf(reason product.Reason, message string) Verdict {
	rule := product.RuleOf(reason)
	return Verdict{
		Reason: reason, Message: message, Retry: rule.Retry,
		AgentFault: rule.Cause == product.CauseAgent && rule.Status == product.StatusFailed,
		Leftover:   !endedByItself(reason),
	}
}

// endedByItself tells the ends of an agent's process from attempts that were
// given up: those may still hold objects that never end.
func endedByItself(reason product.Reason) bool {
	rule := product.RuleOf(reason)
	return rule.Cause == product.CauseNone || rule.Cause == product.CauseAgent ||
		reason == product.ReasonBudgetExhausted // a deadline, by another name
}

// output fetches, checks and stores the result of an attempt: of one that was stopped at
// its budget what it had left with the gateway by then.
func (a *AgentRuntime) output(ctx context.Context, in CollectResultInput, run product.Run, reason product.Reason) (*product.Blob, error) {
	find := a.result
	if reason == product.ReasonBudgetExhausted {
		find = a.partial
	}
	body, err := find(ctx, in)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > run.Plan.MaxOutputBytes {
		return nil, invalidResult("the result has %d bytes, more than the %d that are kept", len(body), run.Plan.MaxOutputBytes)
	}
	version, err := a.Agents.Version(ctx, run.VersionID)
	if err != nil {
		return nil, fmt.Errorf("load version of run %s: %w", run.ID, err)
	}
	schema, err := product.CompileSchema(version.Manifest.OutputSchema)
	if err != nil {
		return nil, fmt.Errorf("compile output schema of version %s: %w", version.ID, err)
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
	return invalidResult("the result does not match the agent's output schema: %s %s",
		f.Fields[0].Pointer, f.Fields[0].Message)
}

// result reads the body of a result from where the supervisor left it.
func (a *AgentRuntime) result(ctx context.Context, in CollectResultInput) ([]byte, error) {
	ref := in.AttemptRef
	envelope, err := a.envelope(ctx, in)
	switch {
	case err != nil:
		return nil, err
	case envelope.Run != ref.RunID || envelope.Attempt != ref.Attempt || envelope.Outcome != agentruntime.OK:
		return nil, invalidResult("the result envelope is not one of this attempt")
	case envelope.Stored:
		return a.stored(ctx, ref, envelope)
	case envelope.Frame != "":
		return a.framed(ctx, ref, envelope)
	}
	return envelope.Result, nil
}

// envelope is what the supervisor said, to the gateway or to the cluster.
func (a *AgentRuntime) envelope(ctx context.Context, in CollectResultInput) (agentruntime.Envelope, error) {
	if in.Outcome.Reported {
		envelope, err := reported(ctx, a.Sessions, in.AttemptRef)
		if fault.Is(err, fault.NotFound) {
			err = vanished("the result vanished before it was collected")
		}
		return envelope, err
	}
	seen, err := a.see(ctx, in.AttemptRef)
	if err != nil {
		return agentruntime.Envelope{}, err
	}
	if seen.Pod == nil || seen.Pod.Terminated == nil {
		return agentruntime.Envelope{}, vanished("the result vanished before it was collected")
	}
	envelope, err := agentruntime.ParseEnvelope([]byte(seen.Pod.Terminated.Message))
	if err != nil {
		return agentruntime.Envelope{}, invalidResult("%s", fault.From(err).Message)
	}
	return envelope, nil
}

// stored reads the body of a result that the gateway has.
func (a *AgentRuntime) stored(ctx context.Context, ref AttemptRef, envelope agentruntime.Envelope) ([]byte, error) {
	body, err := a.left(ctx, ref)
	if err != nil {
		return nil, err
	}
	if envelope.VerifyBody(body) != nil {
		return nil, invalidResult("the stored result is not the one that the agent ended with")
	}
	return agentruntime.CompactResult(body)
}

// partial reads what an attempt that was stopped had left as its result.
func (a *AgentRuntime) partial(ctx context.Context, in CollectResultInput) ([]byte, error) {
	body, err := a.left(ctx, in.AttemptRef)
	if err != nil {
		return nil, err
	}
	result, err := agentruntime.CompactResult(body)
	if err != nil {
		return nil, invalidResult("what was left is not a JSON value")
	}
	return result, nil
}

// left is the body that an attempt left with the gateway as its result.
func (a *AgentRuntime) left(ctx context.Context, ref AttemptRef) ([]byte, error) {
	artifacts, err := a.Sessions.Artifacts(ctx, ref.RunID)
	if err != nil {
		return nil, err
	}
	for _, artifact := range artifacts {
		if artifact.Attempt == ref.Attempt && artifact.Name == product.ResultArtifact {
			return a.Blobs.Get(ctx, artifact.Blob)
		}
	}
	return nil, invalidResult("the result that the agent ended with was not stored")
}

// see reads the state of an attempt that has ended: what the watch has seen, if it
// has seen the end.
func (a *AgentRuntime) see(ctx context.Context, ref AttemptRef) (infra.Observed, error) {
	if seen, ok := a.Watch.Look(ref.ref()); ok && seen.Pod.Terminated != nil {
		return seen, nil
	}
	return a.Cluster.Observe(ctx, ref.ref())
}

// podOf is the name of the attempt's pod, if the watch knows it.
func (a *AgentRuntime) podOf(ref AttemptRef) string {
	if seen, ok := a.Watch.Look(ref.ref()); ok {
		return seen.Pod.Name
	}
	return ""
}

// framed reads the body of a result from the log. A stream that breaks is tried
// again; a log that ends without the result was rotated or cut, which is not the
// agent's doing.
func (a *AgentRuntime) framed(ctx context.Context, ref AttemptRef, envelope agentruntime.Envelope) ([]byte, error) {
	stream, err := a.Cluster.Logs(ctx, ref.ref(), infra.LogOptions{Pod: a.podOf(ref)})
	if fault.Is(err, fault.NotFound) {
		return nil, vanished("the result vanished before it was collected")
	}
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	watched := &watchedReader{r: stream}
	bounded := &io.LimitedReader{R: watched, N: maxFramedLog}
	body, err := agentruntime.ReadFrames(bounded, envelope.Frame)
	switch {
	case err != nil && watched.err != nil:
		return nil, fault.Wrap(fault.Unavailable, err, "read the result in the log of the attempt")
	case err != nil && bounded.N <= 0:
		return nil, invalidResult("the agent's log has more than the %d bytes in which a result is looked for", maxFramedLog)
	case errors.Is(err, agentruntime.ErrNoFrames):
		return nil, vanished("the result is not in the log of the attempt any more")
	case err != nil:
		return nil, invalidResult("the result in the agent's log is not readable")
	}
	if envelope.VerifyBody(body) != nil {
		return nil, invalidResult("the result in the agent's log is damaged")
	}
	return body, nil
}

// watchedReader remembers the error, other than the end, that r broke with.
type watchedReader struct {
	r   io.Reader
	err error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// OutputKey is where the result of a run is kept.
func OutputKey(run ids.Run) string { return fmt.Sprintf("runs/%s/output.json", run) }
