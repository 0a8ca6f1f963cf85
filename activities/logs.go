package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.temporal.io/sdk/activity"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
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

// archiveLog keeps the log of an attempt. An attempt without a container has
// none, nor has one whose log the cluster does not hand out. With a patience (0: none)
// there is no other try: what was read until then is kept.
func (a *AgentRuntime) archiveLog(ctx context.Context, ref AttemptRef, limit int64, patience time.Duration) (*product.Blob, error) {
	reading, stop := ctx, func() {}
	if patience > 0 {
		reading, stop = context.WithTimeout(ctx, patience)
	}
	defer stop()
	stream, err := a.Cluster.Logs(reading, ref.ref(), infra.LogOptions{Pod: a.podOf(ref)})
	if err != nil && readable(ctx, err) {
		return nil, err
	}
	if err != nil {
		return nil, nil //nolint:nilnil // no log is not an error, and nothing is to be stored
	}
	defer stream.Close()
	var body bytes.Buffer
	_, err = io.Copy(&body, io.LimitReader(agentruntime.StripFrames(stream), limit+1))
	broken := err != nil
	if broken && patience == 0 && readable(ctx, err) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Wrap(fault.Unavailable, err, "read log of the attempt")
	}
	kept := body.Bytes()
	truncated := broken || int64(len(kept)) > limit
	if truncated {
		kept = append(kept[:min(limit, int64(len(kept)))], "\n[log truncated]\n"...)
	}
	stored, err := a.Blobs.Put(ctx, LogKey(ref.RunID, ref.Attempt), "text/plain; charset=utf-8", kept)
	stored.Truncated = truncated
	return &stored, err
}

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
	log, err := a.archiveLog(ctx, in, run.Plan.MaxLogBytes, saveTime)
	if err != nil || log == nil {
		return toTemporal(err)
	}
	_, err = a.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		r.KeepLog(in.Attempt, *log)
		return nil, nil
	})
	return toTemporal(err)
}

// LogKey is where the log of an attempt is kept.
func LogKey(run ids.Run, attempt int) string {
	return fmt.Sprintf("runs/%s/attempts/%d/log.txt", run, attempt)
}
