package activities

import (
	"context"
	"errors"
	"io"
	"time"

	"go.temporal.io/sdk/activity"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// logTries is how often the log of an attempt is asked for, half a minute in
// all: the log of a lost node cannot be read any more, and a verdict must not
// wait for it.
const logTries = 6

// readable reports whether trying again to read a log may help.
func readable(ctx context.Context, err error) bool {
	return retryable[fault.KindOf(err)] &&
		(!activity.IsActivity(ctx) || activity.GetInfo(ctx).Attempt < logTries)
}

// silent reports whether it is known that an attempt wrote nothing: the supervisor has
// counted.
func (a *AgentRuntime) silent(ctx context.Context, in CollectResultInput) bool {
	ref := in.AttemptRef
	var e agentruntime.Envelope
	var err error
	if in.Outcome.Reported {
		e, err = reported(ctx, a.Sessions, ref)
	} else {
		seen, ok := a.Watch.Look(ref.ref())
		if !ok || seen.Pod.Terminated == nil {
			return false
		}
		e, err = agentruntime.ParseEnvelope([]byte(seen.Pod.Terminated.Message))
	}
	return err == nil && e.Run == ref.RunID && e.Attempt == ref.Attempt && e.StdoutBytes == 0 && e.StderrBytes == 0
}

// archiveLog keeps the log of an attempt. An attempt without a container has
// none, nor has one whose log the cluster does not hand out, or that wrote nothing. With a patience (0: none)
// there is no other try: what was read until then is kept.
func (a *AgentRuntime) archiveLog(ctx context.Context, in CollectResultInput, run product.Run, patience time.Duration) (*product.Blob, error) {
	ref := in.AttemptRef
	if a.silent(ctx, in) {
		return nil, nil //nolint:nilnil // no log is not an error, and nothing is to be stored
	}
	var kept *keptLog
	var err error
	switch {
	case in.Outcome.Reported:
		kept, err = a.followToEnd(ctx, ref, run)
	case patience > 0:
		reading, stop := context.WithTimeout(ctx, patience)
		kept, err = a.readLog(reading, ref, run, false)
		stop()
	default:
		kept, err = a.readLog(ctx, ref, run, false)
		if kept != nil && err != nil && readable(ctx, err) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fault.Wrap(fault.Unavailable, err, "read log of the attempt")
		}
	}
	if kept == nil && readable(ctx, err) {
		return nil, err
	}
	if kept == nil {
		return nil, nil //nolint:nilnil // no log is not an error, and nothing is to be stored
	}
	stored, err := a.Blobs.Put(ctx, product.LogKey(ref.RunID, ref.Attempt), "text/plain; charset=utf-8", kept.bytes())
	stored.Truncated = kept.truncated()
	return &stored, err
}

// readLog reads the log of an attempt, to its end or to where it breaks off, which is the
// error. Nil: nobody hands it out.
func (a *AgentRuntime) readLog(ctx context.Context, ref AttemptRef, run product.Run, follow bool) (*keptLog, error) {
	stream, err := a.Cluster.Logs(ctx, ref.ref(), infra.LogOptions{Pod: a.podOf(ref), Follow: follow})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return keepLog(stream, run.Plan.MaxLogBytes, run.CreatedAt)
}

// followToEnd reads the log of an attempt of whose end the gateway was told. That is ahead
// of its node, which may not hand out the log of a container yet of which it does not know
// that it runs, or end it where it has got to.
func (a *AgentRuntime) followToEnd(ctx context.Context, ref AttemptRef, run product.Run) (kept *keptLog, err error) {
	ctx, stop := context.WithTimeout(ctx, endingTime)
	defer stop()
	for {
		var read *keptLog
		read, err = a.readLog(ctx, ref, run, true)
		if read != nil {
			kept = read
		}
		gone := fault.Is(err, fault.NotFound) && fault.From(err).Code != "log_not_ready"
		away := kept == nil && fault.Is(err, fault.Unavailable) // the activity is tried again
		if gone || away || kept != nil && kept.ended {
			return kept, err
		}
		select {
		case <-ctx.Done():
			return kept, err
		case <-time.After(followAgain):
		}
	}
}

// followAgain is the pause before the log of an attempt is asked for once more.
const followAgain = 200 * time.Millisecond

// endingTime bounds how long the log of an attempt is followed that has ended, but whose
// container may not have: to the line with which the supervisor ends it.
const endingTime = 20 * time.Second

// saveTime bounds how long a cancel is held up by keeping the log.
const saveTime = 3 * time.Second

// SaveLog keeps what an attempt that is about to be deleted has written so far: the
// log goes with its pod. It is tried once, and a cancel does not depend on it: there
// may be no log, or nobody who hands it out.
func (a *AgentRuntime) SaveLog(ctx context.Context, in AttemptRef) error {
	run, err := a.Runs.Run(ctx, in.RunID)
	if err != nil {
		return toTemporal(err)
	}
	if i := run.AttemptIndex(in.Attempt); run.Plan == nil || i < 0 || run.Attempts[i].Log != nil {
		return nil
	}
	log, err := a.archiveLog(ctx, CollectResultInput{AttemptRef: in}, run, saveTime)
	if err != nil || log == nil {
		return toTemporal(err)
	}
	_, err = a.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		r.KeepLog(in.Attempt, *log)
		return nil, nil
	})
	return toTemporal(err)
}
