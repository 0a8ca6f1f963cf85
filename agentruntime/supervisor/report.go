//go:build linux

package supervisor

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"agentmarket/agentruntime"
)

// report writes frames and envelope. The envelope is last: who reads it may
// rely on everything before it.
func (a *attempt) report() (agentruntime.Envelope, agentruntime.ExitCode) {
	v := decide(a.end, a.RunTimeout)
	envelope := a.envelope(v)
	if v.outcome == agentruntime.OK && !envelope.SetResult(a.end.result) && !a.storeResult(&envelope) {
		a.guarded("write the result to the log", func() (err error) {
			envelope.Frame, err = a.writeFrames()
			return err
		})
		if a.end.fault != nil {
			v = decide(a.end, a.RunTimeout)
			envelope = a.envelope(v)
		}
	}
	a.endLog()
	if err := a.writeEnvelope(envelope); err != nil {
		// Without an envelope no exit code may promise one.
		fmt.Fprintf(a.Stderr, "agent-runtime: %v\n", err)
		return envelope, agentruntime.ExitPlatform
	}
	a.tellEnd(envelope)
	return envelope, v.code
}

// envelope is a report without a result.
func (a *attempt) envelope(v verdict) agentruntime.Envelope {
	e := agentruntime.Envelope{
		V: agentruntime.EnvelopeVersion, Run: a.Run, Attempt: a.Attempt,
		Outcome: v.outcome, Message: a.Redact.Text(v.message),
		StartedAt: a.end.startedAt.UTC(), FinishedAt: a.end.finishedAt.UTC(),
		StdoutBytes: a.end.stdoutBytes, StderrBytes: a.end.stderrBytes,
	}
	// The wall clock may be set back during a run, the monotonic one not.
	if took := a.end.finishedAt.Sub(a.end.startedAt); took >= 0 {
		e.FinishedAt = e.StartedAt.Add(took)
	} else {
		e.FinishedAt = e.StartedAt
	}
	if status := a.end.status; status != nil && status.Exited() {
		code := status.ExitStatus()
		e.ExitCode = &code
	} else if status != nil && status.Signaled() {
		e.Signal = signalName(status.Signal())
	}
	return e
}

// writeFrames writes the result into the log and returns the nonce. The nonce
// is drawn here, after the death of everything that could have used it.
func (a *attempt) writeFrames() (nonce string, err error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("draw a nonce: %w", err)
	}
	nonce = hex.EncodeToString(random[:])
	return nonce, a.writeLines(func() error { return agentruntime.WriteFrames(a.Stdout, nonce, a.end.result) })
}

// writeLines writes lines of the supervisor's own behind all output of the agent.
func (a *attempt) writeLines(write func() error) error {
	written := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				written <- fmt.Errorf("panic: %v", r)
			}
		}()
		// Both: a reader joins the two, and an open line of stderr would get
		// the first line as its end.
		err := errors.Join(a.stderr.endLine(), a.stdout.endLine())
		if err == nil {
			err = write()
		}
		written <- err
	}()
	select {
	case err := <-written:
		return err
	case <-time.After(a.WriteTimeout):
		return errNoOutput
	}
}

// writeEnvelope replaces whatever the agent wrote to the termination log.
func (a *attempt) writeEnvelope(e agentruntime.Envelope) error {
	data, err := e.Encode()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(a.TerminationLog, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return fmt.Errorf("open the termination log: %w", err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write the termination log: %w", err)
	}
	return nil
}
