package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

var now = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func clock() time.Time { return now }

const runID = ids.Run("run_01jd3m0f9zq4x8v5c7n2b6k1ta")

var first = AttemptRef{RunID: runID, Attempt: 1}

// runs keeps runs in memory. What a test does not fake panics.
type runs struct {
	product.RunStore
	byID   map[ids.Run]product.Run
	input  []byte
	events []product.EventType
	err    error              // of every call
	rival  func(*product.Run) // changes a run just before the next update

	dispatched []ids.Run
}

func newRuns(list ...product.Run) *runs {
	s := &runs{byID: map[ids.Run]product.Run{}, input: []byte(`{}`)}
	for _, r := range list {
		s.byID[r.ID] = r
	}
	return s
}

func (s *runs) Run(_ context.Context, id ids.Run) (product.Run, error) {
	r, ok := s.byID[id]
	switch {
	case s.err != nil:
		return product.Run{}, s.err
	case !ok:
		return product.Run{}, fault.New(fault.NotFound, "", "no such run")
	}
	r.Attempts = slices.Clone(r.Attempts)
	if r.Cancel != nil {
		r.Cancel = new(*r.Cancel)
	}
	if r.Approval != nil {
		r.Approval = new(*r.Approval)
	}
	return r, nil
}

func (s *runs) Dispatched(_ context.Context, seen product.Run) error {
	s.dispatched = append(s.dispatched, seen.ID)
	return s.err
}

func (s *runs) Input(context.Context, ids.Run) ([]byte, error) { return s.input, s.err }

func (s *runs) UpdateRun(ctx context.Context, id ids.Run, change func(*product.Run) ([]*product.Event, error)) (product.Run, error) {
	r, err := s.Run(ctx, id)
	if err != nil {
		return r, err
	}
	if s.rival != nil {
		s.rival(&r)
		s.rival = nil
	}
	// change may run more than once: what it did before must not count.
	throwaway := r
	throwaway.Attempts = slices.Clone(r.Attempts)
	if r.Cancel != nil {
		throwaway.Cancel = new(*r.Cancel)
	}
	if r.Approval != nil {
		throwaway.Approval = new(*r.Approval)
	}
	_, _ = change(&throwaway)
	events, err := change(&r)
	if err != nil {
		return product.Run{}, err
	}
	for _, e := range events {
		if e != nil {
			s.events = append(s.events, e.Type)
		}
	}
	s.byID[id] = r
	return s.Run(ctx, id)
}

// market knows one buyer of one agent, and keeps what is held for the run. What
// a test does not fake panics.
type market struct {
	marketplace.Settlements
	runs     *runs
	claim    marketplace.Claim
	spending marketplace.Spending
	wait     *product.Wait // a limit is reached
	refusal  error         // a limit is reached that no waiting mends
	granted  []ids.Run     // who gets the slot of a run that ends
	err      error         // of Claim and Spending

	queries []marketplace.ClaimQuery
	months  []marketplace.Month
	held    []marketplace.Hold
	settled []marketplace.Settlement
}

func (m *market) Claim(_ context.Context, q marketplace.ClaimQuery) (marketplace.Claim, error) {
	m.queries = append(m.queries, q)
	return m.claim, m.err
}

func (m *market) Spending(_ context.Context, _ ids.Org, _ ids.User, month marketplace.Month) (marketplace.Spending, error) {
	m.months = append(m.months, month)
	return m.spending, m.err
}

func (m *market) AdmitRun(ctx context.Context, id ids.Run, _ time.Time, change func(*product.Run) ([]*product.Event, error),
	decide func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error),
) (product.Run, *product.Wait, error) {
	held := m.held
	if r := m.runs.byID[id]; m.wait != nil && len(r.Attempts) == 0 && r.Cancel == nil {
		_, err := change(new(r))
		return r, m.wait, err
	}
	if m.refusal != nil {
		return product.Run{}, nil, m.refusal
	}
	run, err := m.runs.UpdateRun(ctx, id, func(r *product.Run) ([]*product.Event, error) {
		held = m.held
		events, err := change(r)
		if err != nil || len(r.Attempts) == 0 || len(held) > 0 {
			return events, err
		}
		hold, err := decide(*r, m.claim, m.spending)
		held = append(held, hold)
		return events, err
	})
	if err == nil {
		m.held = held
	}
	return run, nil, err
}

func (m *market) SettleRun(ctx context.Context, id ids.Run, _ time.Time, change func(*product.Run) ([]*product.Event, error),
	settle func(product.Run, marketplace.Hold, marketplace.Used) marketplace.Settlement,
) (product.Run, []ids.Run, error) {
	run, err := m.runs.UpdateRun(ctx, id, change)
	if err == nil && run.Status.Terminal() && len(m.held) > 0 && len(m.settled) == 0 {
		m.settled = append(m.settled, settle(run, m.held[0], marketplace.Used{}))
	}
	granted := m.granted
	m.granted = nil // a slot is handed over once
	return run, granted, err
}

// others are the runs beside the one at work, and the engine that moves them.
type others struct {
	product.QueueStore
	product.RunBodies
	children []product.Run
	said     []string
	pages    []ids.Run // what Children was asked for
	err      error     // of the stores
	signal   error     // of the engine
}

func (o *others) Told(_ context.Context, run ids.Run) error {
	o.said = append(o.said, "told "+string(run))
	return o.err
}

func (o *others) Children(_ context.Context, parent ids.Run, after ids.Run, limit int) ([]product.Run, error) {
	o.pages = append(o.pages, after)
	if parent != runID || o.err != nil {
		return nil, o.err
	}
	from := slices.IndexFunc(o.children, func(r product.Run) bool { return r.ID == after }) + 1
	return o.children[from:min(from+limit, len(o.children))], nil
}

func (o *others) SlotFreed(_ context.Context, run ids.Run) error {
	o.said = append(o.said, "freed "+string(run))
	return o.signal
}

func (o *others) CancelRun(_ context.Context, run product.Run) error {
	o.said = append(o.said, "cancel "+string(run.ID))
	return o.signal
}

// ownClaim is that of a publisher to its own agent.
func ownClaim() marketplace.Claim {
	return marketplace.Claim{OrgID: "org_1", AgentID: "agt_1", Publisher: "org_1"}
}

// boughtClaim is that of a buyer who pays 0.001 USD a second and has 1 USD.
func boughtClaim() marketplace.Claim {
	bought := marketplace.NewEntitlement("org_1", "agt_1", marketplace.SourcePurchase, now)
	bought.ID = "ent_1"
	return marketplace.Claim{
		OrgID: "org_1", AgentID: "agt_1", Publisher: "org_2",
		Status: marketplace.ListingPublished, Visibility: marketplace.VisibilityPublic,
		Price: &marketplace.Price{
			ID: "prc_1", AgentID: "agt_1", Currency: "USD", Model: marketplace.ModelPerSecond, PerSecond: 1000,
			FailedRuns: marketplace.FailedRunsFree,
		},
		Entitlements: []marketplace.Right{{Entitlement: bought}}, Wallet: money.Of(money.Unit, "USD"),
	}
}

type agents struct {
	product.AgentStore
	version product.Version
	err     error
	loads   int
}

func (s *agents) Version(context.Context, ids.Version) (product.Version, error) {
	s.loads++
	return s.version, s.err
}

// named knows one agent, and the policies for its runs.
type named struct {
	product.AgentNames
	agent    product.Agent
	policies []product.Policy
	asked    []string
	err      error
}

func (s *named) AgentsByID(context.Context, []ids.Agent) (map[ids.Agent]product.Agent, error) {
	return map[ids.Agent]product.Agent{s.agent.ID: s.agent}, nil
}

func (s *named) PoliciesFor(_ context.Context, org ids.Org, team ids.Team, agent ids.Agent) ([]product.Policy, error) {
	s.asked = []string{string(org), string(team), string(agent)}
	return s.policies, s.err
}

// cluster shows one pod.
type cluster struct {
	followed bool
	seen     infra.Observed
	log      string
	breakAt  error // ends the log instead of io.EOF
	logErr   error
	logTries []func() (io.ReadCloser, error) // before the log
	err      error                           // of every other call
	created  []infra.Sandbox
	deleted  []time.Duration
	observes int
	cleared  int
}

func (c *cluster) Create(_ context.Context, s infra.Sandbox) error {
	c.created = append(c.created, s)
	return c.err
}

func (c *cluster) Observe(context.Context, infra.Ref) (infra.Observed, error) {
	c.observes++
	return c.seen, c.err
}

func (c *cluster) Delete(_ context.Context, _ infra.Ref, grace time.Duration) error {
	c.deleted = append(c.deleted, grace)
	return c.err
}

func (c *cluster) Clear(context.Context, infra.Ref) error {
	c.cleared++
	return c.err
}

func (c *cluster) Logs(_ context.Context, _ infra.Ref, opts infra.LogOptions) (io.ReadCloser, error) {
	c.followed = opts.Follow
	if len(c.logTries) > 0 {
		try := c.logTries[0]
		c.logTries = c.logTries[1:]
		return try()
	}
	if c.logErr != nil {
		return nil, c.logErr
	}
	end := io.Reader(strings.NewReader(""))
	if c.breakAt != nil {
		end = brokenReader{c.breakAt}
	}
	return io.NopCloser(io.MultiReader(strings.NewReader(timed(agentruntime.LogStart+"\n"+c.log)), end)), nil
}

// timed is a log as the cluster hands it out and the archive keeps it: a line each
// nanosecond, the first of the agent now.
func timed(text string) string {
	var log []byte
	i := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, agentruntime.LogStart) {
			i--
		}
		log = infra.LogPiece{At: now.Add(time.Duration(i)), First: true, Text: []byte(line)}.AppendTo(log)
		i++
	}
	return string(log)
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// blobs keeps bodies in memory.
type blobs struct {
	bodies map[string]string
	puts   int
	err    error
}

func (b *blobs) Put(_ context.Context, key, _ string, body []byte) (product.Blob, error) {
	if b.err != nil {
		return product.Blob{}, b.err
	}
	if b.bodies == nil {
		b.bodies = map[string]string{}
	}
	b.puts++
	b.bodies[key] = string(body)
	return blobOf(key, string(body)), nil
}

func (b *blobs) Get(_ context.Context, blob product.Blob) ([]byte, error) {
	body, ok := b.bodies[blob.Key]
	if !ok {
		return nil, fault.New(fault.NotFound, "blob_not_found", "")
	}
	return []byte(body), b.err
}

// sessions are what a supervisor told the gateway and left with it.
type sessions struct {
	report    *agentruntime.Envelope
	artifacts []product.Artifact
	err       error
}

func (s sessions) Report(context.Context, ids.Run, int) (json.RawMessage, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.report == nil {
		return nil, fault.New(fault.NotFound, "", "")
	}
	return s.report.Encode()
}

func (s sessions) Artifacts(context.Context, ids.Run) ([]product.Artifact, error) {
	return s.artifacts, s.err
}

func (b *blobs) keys() []string { return slices.Sorted(maps.Keys(b.bodies)) }

func blobOf(key, body string) product.Blob {
	sum := sha256.Sum256([]byte(body))
	return product.Blob{Key: key, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
}

func aPlan() *product.Plan {
	return &product.Plan{
		Version: "1.0.0", Image: "a@sha256:1", Command: []string{"/agent"}, Env: map[string]string{"A": "b"},
		Resources:   product.Resources{CPUMillis: 1, MemoryMiB: 2, DiskMiB: 3},
		Deadlines:   product.Deadlines{Start: time.Minute, Run: 2 * time.Minute, Grace: 10 * time.Second},
		MaxAttempts: 3, MaxOutputBytes: 1 << 20, MaxLogBytes: 100,
		Budget: money.Of(money.MaxMicros, "USD"), // the hold is what it is
	}
}

// running is a run whose first attempt runs.
func running() product.Run {
	return product.Run{
		ID: runID, OrgID: "org_1", AgentID: "agt_1", VersionID: "ver_1", Version: "1.0.0",
		Status: product.StatusRunning, Plan: aPlan(), StartedAt: now,
		Attempts: []product.Attempt{{Number: 1, CreatedAt: now, StartedAt: now}},
	}
}

// okEnvelope is what the supervisor leaves for a result.
func okEnvelope(body []byte, frame string) agentruntime.Envelope {
	e := agentruntime.Envelope{
		V: agentruntime.EnvelopeVersion, Run: runID, Attempt: 1, Outcome: agentruntime.OK, ExitCode: new(0),
		StartedAt: now, FinishedAt: now,
	}
	e.SetResult(body)
	if frame != "" {
		e.Result, e.Frame = nil, frame
	}
	return e
}

// ended is a pod whose container ended with an envelope.
func ended(t *testing.T, e agentruntime.Envelope) infra.Observed {
	t.Helper()
	text, err := e.Encode()
	require.NoError(t, err)
	return infra.Observed{JobExists: true, Pod: &infra.Pod{Phase: "Succeeded", Terminated: &infra.Terminated{
		Reason: "Completed", Message: string(text), ExitCode: int(e.Outcome.ExitCode()), StartedAt: now, FinishedAt: now,
	}}}
}
