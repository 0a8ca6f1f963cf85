package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// TestSaveLog: what a canceled attempt wrote is kept, once, and a cancel never waits
// for a log that nobody hands out.
func TestSaveLog(t *testing.T) {
	canceling := running()
	canceling.Status, canceling.Cancel = product.StatusCanceling, &product.Cancel{SignaledAt: now}
	kept, over := canceling, canceling
	kept.Attempts = []product.Attempt{{Number: 1, CreatedAt: now, Log: &product.Blob{Key: "before"}}}
	over.Status = product.StatusCanceled
	log := blobOf(product.LogKey(runID, 1), timed("so far\n"))
	cut := blobOf(product.LogKey(runID, 1), timed("so far\n[log truncated: it could not be read further]\n"))
	cut.Truncated = true
	for name, tt := range map[string]struct {
		run    product.Run
		err    error
		breaks error
		want   *product.Blob
		fails  bool
	}{
		"a log":                 {run: canceling, want: &log},
		"a log that breaks off": {run: canceling, breaks: context.DeadlineExceeded, want: &cut},
		"no log":                {run: canceling, err: fault.New(fault.NotFound, "", "")},
		"the cluster is away":   {run: canceling, err: fault.New(fault.Unavailable, "", "away"), fails: true},
		"kept before":           {run: kept, want: &product.Blob{Key: "before"}},
		"the run has ended":     {run: over},
		"nothing was ever run":  {run: product.Run{ID: runID, Status: product.StatusCanceling}},
	} {
		t.Run(name, func(t *testing.T) {
			k := aCollector(&cluster{log: "so far\n", logErr: tt.err, breakAt: tt.breaks}, tt.run)
			err := k.SaveLog(t.Context(), first)
			require.Equal(t, tt.fails, err != nil, "%v", err)
			run := k.runs.byID[runID]
			require.Empty(t, cmp.Diff(tt.want, run.Log, cmp.FilterPath(func(cmp.Path) bool { return name == "kept before" }, cmp.Ignore())))
			if len(run.Attempts) > 0 {
				require.Empty(t, cmp.Diff(tt.want, run.Attempts[0].Log))
			}
			require.Empty(t, k.runs.events)
		})
	}
}

// TestSilence: where the watch has seen that the agent wrote nothing nobody asks for
// its log.
func TestSilence(t *testing.T) {
	said := okEnvelope([]byte(`1`), "")
	said.StderrBytes = 1
	foreign := okEnvelope([]byte(`1`), "")
	foreign.Attempt = 2
	for name, tt := range map[string]struct {
		watch watched
		asked bool
	}{
		"nothing was written": {watched{healthy: true, seen: ended(t, okEnvelope([]byte(`1`), ""))}, false},
		"something was":       {watched{healthy: true, seen: ended(t, said)}, true},
		"of another attempt":  {watched{healthy: true, seen: ended(t, foreign)}, true},
		"not seen":            {watched{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := aCollector(&cluster{log: "x\n", seen: ended(t, okEnvelope([]byte(`1`), ""))}, running())
			k.Watch = tt.watch
			log, err := k.archiveLog(t.Context(), CollectResultInput{AttemptRef: first}, running(), 0)
			require.NoError(t, err)
			require.Equal(t, tt.asked, log != nil)
		})
	}
}

// TestLogOfAReportedEnd: the gateway knows of the end before the node hands out the whole
// log.
func TestLogOfAReportedEnd(t *testing.T) {
	gives := func(text string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(timed(agentruntime.LogStart + "\n" + text))), nil
		}
	}
	fails := func(kind fault.Kind, code string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return nil, fault.New(kind, code, "no") }
	}
	whole := "one\ntwo\n" + agentruntime.LogEnd + "\n"
	for name, tt := range map[string]struct {
		tries []func() (io.ReadCloser, error)
		want  string // empty: no log
	}{
		"at once":             {[]func() (io.ReadCloser, error){gives(whole), gives("not asked for")}, "one\ntwo\n"},
		"it does not run yet": {[]func() (io.ReadCloser, error){fails(fault.Invalid, ""), fails(fault.NotFound, "log_not_ready"), gives(whole)}, "one\ntwo\n"},
		"it ends too early":   {[]func() (io.ReadCloser, error){gives(""), gives("one\n"), gives(whole)}, "one\ntwo\n"},
		"the node is away":    {[]func() (io.ReadCloser, error){gives("one\n"), fails(fault.Unavailable, ""), gives(whole)}, "one\ntwo\n"},
		"the pod is gone":     {[]func() (io.ReadCloser, error){gives("one\n"), fails(fault.NotFound, "")}, "one\n"},
		"it was never there":  {[]func() (io.ReadCloser, error){fails(fault.NotFound, "")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := aCollector(&cluster{logTries: tt.tries}, running())
			log, err := k.archiveLog(t.Context(), CollectResultInput{AttemptRef: first, Outcome: JobOutcome{Reported: true}}, running(), 0)
			require.NoError(t, err)
			if tt.want == "" {
				require.Nil(t, log)
				return
			}
			require.Empty(t, cmp.Diff(blobOf(product.LogKey(runID, 1), timed(tt.want)), *log))
		})
	}
}

func TestLogOfAReportedEndWithoutCluster(t *testing.T) {
	k := aCollector(&cluster{logErr: fault.New(fault.Unavailable, "", "away")}, running())
	_, err := k.archiveLog(t.Context(), CollectResultInput{AttemptRef: first, Outcome: JobOutcome{Reported: true}}, running(), 0)
	require.True(t, fault.Is(err, fault.Unavailable), "the activity is tried again: %v", err)
}

// untimed is the text of a log that is kept.
func untimed(t *testing.T, log string) string {
	t.Helper()
	var text strings.Builder
	lines := infra.NewLogReader(strings.NewReader(log), infra.LogPosition{})
	for {
		piece, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		require.NoError(t, err)
		text.Write(piece.Text)
	}
}

func TestKeepLog(t *testing.T) {
	var log strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	whole := timed(agentruntime.LogStart + "\n" + log.String())

	k, err := keepLog(strings.NewReader(whole), int64(len(whole))*3, now)
	require.NoError(t, err)
	require.False(t, k.truncated())
	require.Equal(t, timed(log.String()), string(k.bytes()), "as it came")

	k, err = keepLog(strings.NewReader(whole), 1000, now)
	require.NoError(t, err)
	require.True(t, k.truncated())
	kept := k.bytes()
	require.LessOrEqual(t, len(kept), 1000+100)
	lines := strings.Split(untimed(t, string(kept)), "\n")
	require.Equal(t, "line 0", lines[0])
	require.Equal(t, "line 999", lines[len(lines)-2])
	require.Contains(t, untimed(t, string(kept)), "bytes are left out here")

	// Who follows and has read to somewhere in what is left out gets the mark and the
	// rest; who has read further gets what comes then.
	for line, want := range map[int]string{500: "[log truncated: ", 998: "line 999\n"} {
		r := infra.NewLogReader(bytes.NewReader(kept), infra.LogPosition{At: now.Add(time.Duration(line)), Line: 1, Bytes: int64(len(fmt.Sprintf("line %d\n", line)))})
		piece, err := r.Next()
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(piece.Text), want), "%s", piece.Text)
	}

	k, err = keepLog(strings.NewReader(timed("the end\n")), 1000, now)
	require.NoError(t, err)
	require.Equal(t, "[log truncated: its beginning had been rotated away on the node]\nthe end\n", untimed(t, string(k.bytes())))
}

// TestKeepLogOfALongLine: a line longer than what is kept stays in its order.
func TestKeepLogOfALongLine(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 16<<10) + "\n" // 256 KiB
	k, err := keepLog(strings.NewReader(timed(agentruntime.LogStart+"\n"+long+"after\n")), 64<<10, now)
	require.NoError(t, err)
	text := untimed(t, string(k.bytes()))
	first, rest, found := strings.Cut(text, "\n[log truncated: ")
	require.True(t, found)
	require.True(t, strings.HasPrefix(long, first))
	_, rest, _ = strings.Cut(rest, "]\n")
	require.True(t, strings.HasSuffix(long+"after\n", rest))
	require.Greater(t, len(first)+len(rest), 32<<10)
}
