package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

type logsInput struct {
	ID         string `path:"id" doc:"The run."`
	Follow     bool   `query:"follow" doc:"Go on until the run has ended, or the attempt that is asked for."`
	Attempt    int    `query:"attempt" minimum:"1" maximum:"100" doc:"The log of this attempt alone."`
	Timestamps bool   `query:"timestamps" doc:"Each line begins with the time at which it was written. Logs of runs before this was kept have none."`
	Raw        bool   `query:"raw" doc:"The bytes as the agent wrote them, to save: they may do harm in a terminal. Otherwise control characters, marks of direction and bytes that are no UTF-8 are replaced by what can be seen."`
}

// The form of a log: made visible for people, or as it is, for a file.
const (
	logContentType    = "text/plain; charset=utf-8"
	rawLogContentType = "application/octet-stream"
)

func (a *app) getLogs(ctx context.Context, in *logsInput) (*streamAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if run.Removed(product.BodyLog) {
		return nil, dataRemoved("log")
	}
	release := func() {}
	if in.Follow {
		if release, err = a.takePlace(); err != nil {
			return nil, err
		}
	}
	return &streamAnswer{Body: func(hc huma.Context) {
		defer release()
		c, ctx := humagin.Unwrap(hc), hc.Context()
		out, flush := logWriter(hc, in)
		reader := &logReader{app: a, out: out, timestamps: in.Timestamps, run: run, attempt: max(1, in.Attempt), only: in.Attempt > 0}
		err := reader.copy(ctx, in.Follow)
		if err == nil && flush() != nil {
			err = errGone
		}
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, errGone):
		case !c.Writer.Written():
			a.fail(c, err)
		default:
			a.Log.WarnContext(ctx, "log interrupted", "run_id", run.ID, "error", err, "request_id", requestOf(ctx).id)
			broken(ctx)
		}
	}}, nil
}

// logWriter begins the answer in the form that is asked for. flush ends it.
func logWriter(hc huma.Context, in *logsInput) (out io.Writer, flush func() error) {
	if in.Raw {
		humagin.Unwrap(hc).Writer.Header().Set("Content-Disposition", `attachment; filename="`+in.ID+`.log"`)
		return newStream(hc, rawLogContentType, in.Follow), func() error { return nil }
	}
	visible := agentruntime.NewVisibleWriter(newStream(hc, logContentType, in.Follow))
	return visible, visible.Flush
}

// logReader copies the log of a run, attempt after attempt:
//
//	attempt lives ──► live log ──ends or breaks──► look at the record again
//	attempt ended ──► what its archive has beyond what was sent ──► next attempt
//	run ended     ──► done
//
// An attempt that was canceled has in its archive what it wrote until then.
type logReader struct {
	*app
	out        io.Writer
	timestamps bool

	run     product.Run
	attempt int               // the one that is read
	only    bool              // no other one is
	sent    infra.LogPosition // what of its log was sent
}

// copy returns nil when the log is complete, or, unless it follows, when there
// is no more of it now.
func (l *logReader) copy(ctx context.Context, follow bool) error {
	for pause := shortPause; ; pause = longer(pause) {
		sentBefore, attemptBefore := l.sent, l.attempt
		if err := l.step(ctx, follow); err != nil {
			return err
		}
		over := l.attempt > len(l.run.Attempts)
		switch {
		case l.only && l.attempt != attemptBefore:
			return nil
		case over && l.run.Status.Terminal(), !follow && (over || l.attempt == attemptBefore):
			return nil
		case l.run.Status.Terminal() && l.attempt == attemptBefore:
			return nil // its end was never recorded; what there was of it is sent
		case l.attempt != attemptBefore || l.sent != sentBefore:
			pause = shortPause
		}
		if !over && l.attempt != attemptBefore {
			continue // the next attempt is there
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if run, err := l.Runs.Run(ctx, l.run.ID); err == nil {
			l.run = run
		} else if !fault.Is(err, fault.Unavailable) {
			return fmt.Errorf("look at run: %w", err)
		}
	}
}

// step sends what there is of the attempt, and moves on when it has ended.
func (l *logReader) step(ctx context.Context, follow bool) error {
	i := l.run.AttemptIndex(l.attempt)
	if i < 0 {
		return nil
	}
	if l.run.Attempts[i].Reason == "" {
		return l.live(ctx, follow)
	}
	if log := l.kept(i); log != nil {
		if err := l.archive(ctx, *log); err != nil {
			return err
		}
	}
	l.attempt, l.sent = l.attempt+1, infra.LogPosition{}
	return nil
}

// kept is the log that is kept of an attempt; nil: none. Older records have only one,
// which is that of the last attempt that ended.
func (l *logReader) kept(i int) *product.Blob {
	attempts := l.run.Attempts
	older := !slices.ContainsFunc(attempts, func(a product.Attempt) bool { return a.Log != nil })
	if last := i == len(attempts)-1 || attempts[i+1].Reason == ""; older && last {
		return l.run.Log
	}
	return attempts[i].Log
}

// live sends the log of a container. A log that is not there (yet, or any more)
// and one that breaks off are no errors: the record tells how it goes on.
func (l *logReader) live(ctx context.Context, follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log, err := l.Logs.Logs(ctx, l.run.Ref(l.attempt), infra.LogOptions{Follow: follow, Since: l.sent.At})
	switch {
	case fault.Is(err, fault.NotFound), follow && fault.Is(err, fault.Unavailable):
		return nil
	case err != nil:
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	quiet := &quietLog{r: log, timer: time.AfterFunc(quietTime, cancel)}
	defer quiet.timer.Stop()
	if follow {
		go l.cancelWhenEnded(ctx, cancel, l.run.ID, l.attempt)
	}
	return l.send(quiet, "[log truncated: its beginning has been rotated away on the node]\n")
}

// quietTime is after how long a log that says nothing is opened again: a kubelet may
// follow a file that was put aside, and would say nothing any more.
const quietTime = 10 * time.Second

// quietLog puts off a timer with everything that it reads.
type quietLog struct {
	r     io.Reader
	timer *time.Timer
}

func (q *quietLog) Read(p []byte) (int, error) {
	n, err := q.r.Read(p)
	q.timer.Reset(quietTime)
	return n, err
}

// drainTime is what the log of an attempt that has ended gets to end by itself.
const drainTime = 5 * time.Second

// cancelWhenEnded ends a live log that does not end with its attempt, as that of
// a node that vanished: the archive has the rest.
func (a *app) cancelWhenEnded(ctx context.Context, cancel context.CancelFunc, id ids.Run, attempt int) {
	for sleep(ctx, longPause) == nil {
		run, err := a.Runs.Run(ctx, id)
		if err != nil {
			continue
		}
		i := run.AttemptIndex(attempt)
		if run.Status.Terminal() || i >= 0 && run.Attempts[i].Reason != "" {
			_ = sleep(ctx, drainTime)
			cancel()
			return
		}
	}
}

// archive sends what the archive has beyond what was sent live. An archive that
// was removed has nothing.
func (l *logReader) archive(ctx context.Context, b product.Blob) error {
	log, err := l.Blobs.Reader(ctx, b.Key)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open archived log: %w", err)
	}
	defer log.Close()
	if b.Timed() {
		return l.send(log, "")
	}
	if _, err := io.Copy(clientWriter{l.out}, log); errors.Is(err, errGone) {
		return err
	}
	return nil
}

// errGone is the error of a client that does not take the answer any more.
var errGone = errors.New("the client is gone")

// clientWriter marks the errors of a client.
type clientWriter struct{ w io.Writer }

func (c clientWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errGone, err)
	}
	return n, err
}

// send copies what of a log was not sent before. Its end, or a break that the next
// step mends, is no error. beheaded is said of a log that has lost its beginning.
func (l *logReader) send(log io.Reader, beheaded string) error {
	lines, out := infra.NewLogReader(log, l.sent), clientWriter{l.out}
	var text []byte
	for begins := l.sent.Line == 0; ; begins = false {
		piece, err := lines.Next()
		if err == nil {
			if begins && lines.Beheaded() {
				text = append(text, beheaded...)
			}
			if piece.First && l.timestamps {
				text = append(piece.At.UTC().AppendFormat(text, infra.LogTime), ' ')
			}
			text = append(text, piece.Text...)
			if lines.More() && len(text) < logBatch {
				continue
			}
		}
		if len(text) > 0 {
			if _, err := out.Write(text); err != nil {
				return err
			}
			l.sent, text = lines.Position(), text[:0]
		}
		if err != nil {
			return nil //nolint:nilerr // see above
		}
	}
}

// logBatch is how much of a log is sent at once, where there is so much.
const logBatch = 16 << 10
