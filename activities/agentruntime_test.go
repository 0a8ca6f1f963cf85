package activities

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/money"
	"agentmarket/product"
)

const nonce = "0123456789abcdef0123456789abcdef"

var okInput = CollectResultInput{AttemptRef: first, Outcome: JobOutcome{Reason: infra.ReasonOK, ExitCode: new(0), StartedAt: now, FinishedAt: now}}

func frames(t *testing.T, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, agentruntime.WriteFrames(&b, nonce, body))
	return b.String()
}

// large is a result that does not fit into an envelope.
var large = []byte(`"` + strings.Repeat("x", 8000) + `"`)

type collecting struct {
	*AgentRuntime
	cluster *cluster
	runs    *runs
	agents  *agents
	blobs   *blobs
}

func aCollector(c *cluster, run product.Run) collecting {
	k := collecting{cluster: c, runs: newRuns(run), agents: &agents{version: product.Version{ID: "ver_1"}}, blobs: &blobs{}}
	k.AgentRuntime = &AgentRuntime{Cluster: c, Watch: watched{}, Runs: k.runs, Agents: k.agents, Blobs: k.blobs, Sessions: sessions{}, Now: clock}
	return k
}

func TestCollectInline(t *testing.T) {
	k := aCollector(&cluster{seen: ended(t, okEnvelope([]byte(`{"a":1}`), "")), log: "hello\n"}, running())
	verdict, err := k.CollectResult(t.Context(), okInput)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Verdict{Reason: product.ReasonOK}, verdict))

	output, log := blobOf(OutputKey(runID), `{"a":1}`), blobOf(product.LogKey(runID, 1), timed("hello\n"))
	want := running()
	want.Output, want.Log = &output, &log
	want.Attempts[0].Reason, want.Attempts[0].ExitCode, want.Attempts[0].FinishedAt = product.ReasonOK, new(0), now
	want.Attempts[0].Log = &log
	require.Empty(t, cmp.Diff(want, k.runs.byID[runID]))
	require.Equal(t, []product.EventType{product.EventAttemptEnded}, k.runs.events)

	// A repeat returns what stands in the record and asks nobody else.
	again := okInput
	again.Outcome.Reason = infra.ReasonAgentError
	observes := k.cluster.observes
	verdict, err = k.CollectResult(t.Context(), again)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Verdict{Reason: product.ReasonOK}, verdict))
	require.Equal(t, 2, k.blobs.puts)
	require.Equal(t, observes, k.cluster.observes)
	require.Empty(t, cmp.Diff(want, k.runs.byID[runID]))
	require.Equal(t, 2, k.cluster.cleared, "also by a repeat: the first try may have died before it")
}

// TestCollectUnseen: a run that was over before anybody saw that it ran says all the same
// that it did.
func TestCollectUnseen(t *testing.T) {
	run := running()
	run.Status, run.StartedAt, run.Attempts[0].StartedAt = product.StatusStarting, time.Time{}, time.Time{}
	k := aCollector(&cluster{seen: ended(t, okEnvelope([]byte(`{"a":1}`), ""))}, run)
	_, err := k.CollectResult(t.Context(), okInput)
	require.NoError(t, err)
	require.Equal(t, []product.EventType{product.EventAttemptStarted, product.EventAttemptEnded}, k.runs.events)
	require.Equal(t, now, k.runs.byID[runID].StartedAt)
}

// TestCollectClearsWhatEndedByItself: only when everything of it is kept.
func TestCollectClearsWhatEndedByItself(t *testing.T) {
	good := ended(t, okEnvelope([]byte(`{"a":1}`), ""))
	for name, tt := range map[string]struct {
		input   CollectResultInput
		blobErr error
		cleared int
	}{
		"ended":           {input: okInput, cleared: 1},
		"given up":        {input: CollectResultInput{AttemptRef: first, Outcome: JobOutcome{Reason: infra.ReasonNodeLost}}},
		"not kept so far": {input: okInput, blobErr: fault.New(fault.Unavailable, "", "away")},
	} {
		k := aCollector(&cluster{seen: good}, running())
		k.blobs.err = tt.blobErr
		_, err := k.CollectResult(t.Context(), tt.input)
		require.Equal(t, tt.blobErr != nil, err != nil, name)
		require.Equal(t, tt.cleared, k.cluster.cleared, name)
	}
	// What cannot be cleared away now is no reason to collect once more.
	k := aCollector(&cluster{seen: good}, running())
	k.Watch = watched{healthy: true, seen: good}
	k.cluster.err = fault.New(fault.Unavailable, "", "away")
	verdict, err := k.CollectResult(t.Context(), okInput)
	require.NoError(t, err)
	require.Equal(t, product.ReasonOK, verdict.Reason)
	require.Zero(t, k.cluster.observes, "the watch has seen the end")
}

// reportedInput is an end that the gateway was told of.
var reportedInput = CollectResultInput{AttemptRef: first, Outcome: JobOutcome{
	Reason: infra.ReasonOK, ExitCode: new(0), StartedAt: now, FinishedAt: now, Reported: true,
}}

// TestCollectReported: what the gateway was told needs no pod that has ended.
func TestCollectReported(t *testing.T) {
	inline, stored := okEnvelope([]byte(`{"a":1}`), ""), okEnvelope(large, "")
	inline.StdoutBytes = 6
	stored.Stored = true
	result := product.Artifact{Attempt: 1, Name: product.ResultArtifact, Blob: blobOf("runs/r/artifacts/art_1", string(large))}
	other := product.Artifact{Attempt: 2, Name: product.ResultArtifact, Blob: blobOf("runs/r/artifacts/art_2", "1")}
	for name, tt := range map[string]struct {
		sessions sessions
		body     string
		want     product.Reason
		output   string
	}{
		"inline":             {sessions{report: &inline}, "", product.ReasonOK, `{"a":1}`},
		"stored":             {sessions{report: &stored, artifacts: []product.Artifact{other, result}}, string(large), product.ReasonOK, string(large)},
		"stored by another":  {sessions{report: &stored, artifacts: []product.Artifact{other}}, string(large), product.Reason(infra.ReasonAgentInvalidResult), ""},
		"changed afterwards": {sessions{report: &stored, artifacts: []product.Artifact{result}}, "2", product.Reason(infra.ReasonAgentInvalidResult), ""},
		"removed":            {sessions{}, "", product.Reason(infra.ReasonPodGone), ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := aCollector(&cluster{log: "hello\n" + agentruntime.LogEnd + "\nand on\n"}, running())
			k.Sessions = tt.sessions
			k.blobs.bodies = map[string]string{result.Blob.Key: tt.body, other.Blob.Key: "1"}
			verdict, err := k.CollectResult(t.Context(), reportedInput)
			require.NoError(t, err)
			require.Equal(t, tt.want, verdict.Reason, verdict.Message)
			require.Equal(t, tt.output, k.blobs.bodies[OutputKey(runID)])
			if name == "inline" {
				require.Equal(t, "hello\n", untimed(t, k.blobs.bodies[product.LogKey(runID, 1)]))
				require.True(t, k.cluster.followed, "to the line that ends it")
			}
		})
	}
}

func TestCollectFramed(t *testing.T) {
	k := aCollector(&cluster{seen: ended(t, okEnvelope(large, nonce)), log: "before\n" + frames(t, large) + "after\n"}, running())
	verdict, err := k.CollectResult(t.Context(), okInput)
	require.NoError(t, err)
	require.Equal(t, product.ReasonOK, verdict.Reason)
	require.Equal(t, string(large), k.blobs.bodies[OutputKey(runID)])
	kept := k.blobs.bodies[product.LogKey(runID, 1)]
	require.Equal(t, "before\nafter\n", untimed(t, kept), "frames are not for people")
	require.False(t, k.runs.byID[runID].Log.Truncated)
}

// TestCollectRefuses: an end that looked well and has no result is not success.
func TestCollectRefuses(t *testing.T) {
	foreign, later := okEnvelope([]byte(`1`), ""), okEnvelope([]byte(`1`), "")
	foreign.Run = "run_01jd3m0f9zq4x8v5c7n2b6k1tb"
	later.Attempt = 2
	other := bytes.ReplaceAll(large, []byte("x"), []byte("y"))
	key, err := json.Marshal(map[string]int{strings.Repeat("é", 1000): 1})
	require.NoError(t, err)
	invalid := product.Reason(infra.ReasonAgentInvalidResult)
	gone := product.Reason(infra.ReasonPodGone)
	for _, tt := range []struct {
		name    string
		cluster *cluster
		schema  string
		most    int64
		want    product.Reason
		message string
	}{
		{"damaged frames", &cluster{seen: ended(t, okEnvelope(large, nonce)), log: frames(t, other)}, "", 0, invalid, "damaged"},
		{"missing frame", &cluster{seen: ended(t, okEnvelope(large, nonce)), log: frames(t, large)[8000:]}, "", 0, invalid, "not readable"},
		{"log cut", &cluster{seen: ended(t, okEnvelope(large, nonce)), log: frames(t, large)[:8000]}, "", 0, gone, "not in the log"},
		{"frames of another nonce", &cluster{seen: ended(t, okEnvelope(large, strings.Repeat("f", 32))), log: frames(t, large)}, "", 0, gone, "not in the log"},
		{"log gone", &cluster{seen: ended(t, okEnvelope(large, nonce)), logErr: fault.New(fault.NotFound, "", "")}, "", 0, gone, "vanished"},
		{"pod gone", &cluster{}, "", 0, gone, "vanished"},
		{"pod without an end", &cluster{seen: infra.Observed{Pod: &infra.Pod{Phase: "Failed"}}}, "", 0, gone, "vanished"},
		{"envelope of another run", &cluster{seen: ended(t, foreign)}, "", 0, invalid, "not one of this attempt"},
		{"envelope of another attempt", &cluster{seen: ended(t, later)}, "", 0, invalid, "not one of this attempt"},
		{"no envelope", &cluster{seen: infra.Observed{Pod: &infra.Pod{Terminated: &infra.Terminated{Message: "x"}}}}, "", 0, invalid, "cannot be read"},
		{"schema", &cluster{seen: ended(t, okEnvelope([]byte(`{"a":{"b":"secret"}}`), ""))},
			`{"properties":{"a":{"properties":{"b":{"type":"integer"}}}}}`, 0, invalid, "output schema: /a/b got string, want integer"},
		{"schema, with a long name", &cluster{seen: ended(t, okEnvelope(key, ""))}, `{"additionalProperties":{"type":"string"}}`, 0, invalid, "…"},
		{"number that cannot be computed", &cluster{seen: ended(t, okEnvelope([]byte(`1e9999999`), ""))}, `{"minimum":1}`, 0, invalid, "out of range"},
		{"too large", &cluster{seen: ended(t, okEnvelope([]byte(`"1234"`), ""))}, "", 5, invalid, "6 bytes, more than the 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := running()
			if tt.most > 0 {
				run.Plan.MaxOutputBytes = tt.most
			}
			k := aCollector(tt.cluster, run)
			k.agents.version.Manifest.OutputSchema = []byte(tt.schema)
			verdict, err := k.CollectResult(t.Context(), okInput)
			require.NoError(t, err)
			require.Equal(t, tt.want, verdict.Reason)
			require.Contains(t, verdict.Message, tt.message)
			require.NotContains(t, verdict.Message, "secret")
			require.LessOrEqual(t, len(verdict.Message), infra.MaxMessage, "it goes through a history")
			require.Equal(t, tt.want == gone, verdict.Retry)
			require.Equal(t, tt.want == gone, verdict.Leftover)
			require.NotContains(t, k.blobs.keys(), OutputKey(runID))
			stored := k.runs.byID[runID]
			require.Nil(t, stored.Output)
			require.Equal(t, verdict.Reason, stored.Attempts[0].Reason)
			require.Equal(t, verdict.Message, stored.Attempts[0].Message)
		})
	}
}

// TestCollectTriesAgain: faults of the platform say nothing about the agent.
func TestCollectTriesAgain(t *testing.T) {
	away := fault.New(fault.Unavailable, "", "away")
	framed := ended(t, okEnvelope(large, nonce))
	for name, tt := range map[string]struct {
		change func(*collecting)
		kind   fault.Kind
	}{
		"cluster away":       {func(k *collecting) { k.cluster.err = away }, fault.Unavailable},
		"log away":           {func(k *collecting) { k.cluster.logErr = away }, fault.Unavailable},
		"log breaks":         {func(k *collecting) { k.cluster.log, k.cluster.breakAt = frames(t, large)[:8000], io.ErrUnexpectedEOF }, fault.Unavailable},
		"blobs away":         {func(k *collecting) { k.blobs.err = away }, fault.Unavailable},
		"store away":         {func(k *collecting) { k.runs.err = away }, fault.Unavailable},
		"version unknown":    {func(k *collecting) { k.agents.err = fault.New(fault.NotFound, "", "") }, fault.NotFound},
		"version unreadable": {func(k *collecting) { k.agents.version.Manifest.OutputSchema = []byte(`{`) }, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			k := aCollector(&cluster{seen: framed, log: frames(t, large)}, running())
			tt.change(&k)
			_, err := k.CollectResult(t.Context(), okInput)
			requireKind(t, err, tt.kind)
			require.Empty(t, k.runs.byID[runID].Attempts[0].Reason, "the attempt is undecided")
		})
	}
}

func TestCollectFailures(t *testing.T) {
	for reason, want := range map[infra.Reason]Verdict{
		infra.ReasonAgentError:    {Reason: "agent_error", Message: "no such file", AgentFault: true},
		infra.ReasonAgentOOM:      {Reason: "agent_oom", Message: "no such file", AgentFault: true},
		infra.ReasonDeadline:      {Reason: "deadline_exceeded", Message: "no such file"},
		infra.ReasonNodeLost:      {Reason: "node_lost", Message: "no such file", Retry: true, Leftover: true},
		infra.ReasonUnschedulable: {Reason: "unschedulable", Message: "no such file", Retry: true, Leftover: true},
		infra.ReasonImagePull:     {Reason: "image_pull", Message: "no such file", Leftover: true},
		infra.ReasonConfigError:   {Reason: "config_error", Message: "no such file", Leftover: true},
	} {
		k := aCollector(&cluster{log: "oops\n"}, running())
		verdict, err := k.CollectResult(t.Context(), CollectResultInput{AttemptRef: first,
			Outcome: JobOutcome{Reason: reason, Message: "no such file", ExitCode: new(3), StartedAt: now, FinishedAt: now}})
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, verdict))
		log := blobOf(product.LogKey(runID, 1), timed("oops\n"))
		require.Empty(t, cmp.Diff([]product.Attempt{{Number: 1, Reason: want.Reason, Message: "no such file", ExitCode: new(3),
			CreatedAt: now, StartedAt: now, FinishedAt: now, Log: &log}}, k.runs.byID[runID].Attempts))
		require.Equal(t, []string{product.LogKey(runID, 1)}, k.blobs.keys(), "the log of a failure is kept")
		require.Zero(t, k.cluster.observes, "a failure has no result to look for")
	}
}

// TestCollectBudget: the deadline of a run that its budget bounds is the budget's.
func TestCollectBudget(t *testing.T) {
	late := CollectResultInput{AttemptRef: first, Outcome: JobOutcome{
		Reason: infra.ReasonDeadline, Message: "too late", StartedAt: now, FinishedAt: now}}
	for _, tt := range []struct {
		name  string
		bound bool
		in    CollectResultInput
		want  Verdict
	}{
		{"out of budget", true, late, Verdict{Reason: "budget_exhausted", Message: "the run reached its budget of 0.500000 USD"}},
		{"out of time", false, late, Verdict{Reason: "deadline_exceeded", Message: "too late"}},
		{"in time", true, okInput, Verdict{Reason: "ok"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := running()
			run.Plan.Budget, run.Plan.BudgetBound = money.Of(500_000, "USD"), tt.bound
			k := aCollector(&cluster{seen: ended(t, okEnvelope([]byte(`1`), ""))}, run)
			verdict, err := k.CollectResult(t.Context(), tt.in)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(tt.want, verdict))
			require.Equal(t, tt.want.Reason, k.runs.byID[runID].Attempts[0].Reason)
			require.Equal(t, tt.want.Message, k.runs.byID[runID].Attempts[0].Message)
		})
	}
}

func TestArchiveLog(t *testing.T) {
	failed := CollectResultInput{AttemptRef: first, Outcome: JobOutcome{Reason: infra.ReasonAgentError}}
	for _, tt := range []struct {
		name      string
		cluster   *cluster
		want      string
		truncated bool
	}{
		{"as much as is kept", &cluster{log: strings.Repeat("0123456789abcdef\n", 2)}, strings.Repeat("0123456789abcdef\n", 2), false},
		{"more", &cluster{log: "first\n" + strings.Repeat("0123456789abcdef\n", 3) + "last\n"}, "first\n[log truncated: 51 bytes are left out here]\nlast\n", true},
		{"one line", &cluster{log: strings.Repeat("a", 101)}, "[log truncated: 101 bytes are left out here]\n", true},
		{"frames do not count", &cluster{log: frames(t, large) + "0123456789abcdef\n"}, "0123456789abcdef\n", false},
		{"cut by the cluster", &cluster{log: "half", breakAt: io.ErrUnexpectedEOF}, "half\n[log truncated: it could not be read further]\n", true},
		{"empty", &cluster{}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := aCollector(tt.cluster, running())
			_, err := k.CollectResult(t.Context(), failed)
			require.NoError(t, err)
			kept := k.blobs.bodies[product.LogKey(runID, 1)]
			require.Equal(t, tt.want, untimed(t, kept))
			want := blobOf(product.LogKey(runID, 1), kept)
			want.Truncated = tt.truncated
			require.Empty(t, cmp.Diff(&want, k.runs.byID[runID].Log))
		})
	}
	for _, kind := range []fault.Kind{fault.NotFound, fault.Invalid} {
		k := aCollector(&cluster{logErr: fault.New(kind, "", "")}, running())
		verdict, err := k.CollectResult(t.Context(), failed)
		require.NoError(t, err, "no container, no log: %s", kind)
		require.Equal(t, product.Reason("agent_error"), verdict.Reason)
		require.Nil(t, k.runs.byID[runID].Log)
		require.Empty(t, k.blobs.keys())
	}
	k := aCollector(&cluster{log: "x", breakAt: errors.New("reset")}, running())
	_, err := k.CollectResult(t.Context(), failed)
	requireKind(t, err, fault.Unavailable)
}

func TestCollectOfTwoTries(t *testing.T) {
	k := aCollector(&cluster{seen: ended(t, okEnvelope([]byte(`1`), ""))}, running())
	k.runs.rival = func(r *product.Run) {
		r.Attempts[0].Reason, r.Attempts[0].Message = "node_lost", "first"
	}
	verdict, err := k.CollectResult(t.Context(), okInput)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Verdict{Reason: "node_lost", Message: "first", Retry: true, Leftover: true}, verdict), "the stored verdict stands")
	require.Nil(t, k.runs.byID[runID].Output)
}

func TestCollectWithoutAnAttempt(t *testing.T) {
	run := running()
	run.Attempts = nil
	_, err := aCollector(&cluster{seen: ended(t, okEnvelope([]byte(`1`), ""))}, run).CollectResult(t.Context(), okInput)
	requireKind(t, err, fault.Conflict)
	run = running()
	run.Plan = nil
	_, err = aCollector(&cluster{}, run).CollectResult(t.Context(), okInput)
	requireKind(t, err, fault.Conflict)
}
