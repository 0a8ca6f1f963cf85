package activities

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
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
	log := blobOf(LogKey(runID, 1), "so far\n")
	cut := blobOf(LogKey(runID, 1), "so far\n\n[log truncated]\n")
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
