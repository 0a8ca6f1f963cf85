package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"agentmarket/product"
)

// runBody is a run as the API shows it. Lists leave attempts and output out.
type runBody struct {
	ID            string            `json:"id" example:"run_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Agent         string            `json:"agent" example:"acme/greeter"`
	Version       string            `json:"version" doc:"Pinned when the run was created." example:"1.2.0"`
	ImageDigest   string            `json:"image_digest" example:"sha256:8f1f0c5a2a0c3c9d4d0fda4b8e0e7b9c6a5d4e3f2b1a0918273645546372819a"`
	Status        string            `json:"status" doc:"queued, waiting_approval, starting, running, waiting_input (the agent waits for a person), canceling; and for good succeeded, failed, timed_out, canceled, rejected, expired, budget_exhausted. The set may grow." example:"running"`
	Reason        string            `json:"reason,omitempty" doc:"Why the run ended: ok, agent_error, deadline_exceeded, … The set may grow."`
	Cause         string            `json:"cause,omitempty" doc:"Who can do something about the reason: agent, caller, publisher or platform."`
	Message       string            `json:"message,omitempty" doc:"The reason in words."`
	Origin        originBody        `json:"origin"`
	TeamID        string            `json:"team_id,omitempty" doc:"The team that the run was started for."`
	Priority      int               `json:"priority" doc:"-10 to 10: orders the waiting runs of one user, the higher first."`
	Approval      *approvalBody     `json:"approval,omitempty" doc:"A person has to approve the run, or had to."`
	Queued        *queuedBody       `json:"queued,omitempty" doc:"What the run waits for. Not in lists."`
	QueuePosition *int              `json:"queued_position,omitempty" doc:"The same as queued.position."`
	Attempts      []attemptBody     `json:"attempts,omitempty" doc:"Not in lists."`
	CreatedAt     time.Time         `json:"created_at"`
	QueueDeadline *time.Time        `json:"queue_deadline,omitempty" doc:"After it the run expires instead of starting."`
	StartedAt     *time.Time        `json:"started_at,omitempty" doc:"When the agent's process started first."`
	FinishedAt    *time.Time        `json:"finished_at,omitempty"`
	Deadline      *time.Time        `json:"deadline,omitempty" doc:"When the running attempt is asked to stop."`
	InputBytes    int64             `json:"input_bytes"`
	OutputBytes   *int64            `json:"output_bytes,omitempty"`
	Output        json.RawMessage   `json:"output,omitempty" doc:"The result, when it has at most 64 KiB. Not in lists."`
	LogTruncated  bool              `json:"log_truncated" doc:"Whether the kept log lacks its end."`
	Labels        map[string]string `json:"labels,omitempty"`
	Cost          *amountBody       `json:"cost,omitempty" doc:"What was charged; set when the run has ended."`
	MaxCost       *amountBody       `json:"max_cost,omitempty" doc:"What the caller allowed it to cost."`
	Cancel        *cancelBody       `json:"cancel,omitempty"`
	DataRemovedAt *time.Time        `json:"data_removed_at,omitempty" doc:"When the last of input, output and log was removed whose time was over."`
	Webhook       *runWebhook       `json:"webhook,omitempty" doc:"Only in the answer that has started the run with one, and in its repeat with the same idempotency key by the same caller."`
	URLs          runURLs           `json:"urls"`
}

// originBody is what made a run.
type originBody struct {
	Kind       string `json:"kind" doc:"api, schedule, retry or child. The set may grow." example:"api"`
	ScheduleID string `json:"schedule_id,omitempty" doc:"Of a schedule's run."`
	RetryOf    string `json:"retry_of,omitempty" doc:"The run that this one repeats."`
	ParentID   string `json:"parent_id,omitempty" doc:"The run that started this one."`
	RootID     string `json:"root_id,omitempty" doc:"The first run of the tree."`
	Depth      int    `json:"depth" doc:"How many runs are above this one."`
}

// approvalBody is a run's need to be approved, and what became of it.
type approvalBody struct {
	Why         string     `json:"why" doc:"For people."`
	RequestedAt time.Time  `json:"requested_at"`
	Deadline    time.Time  `json:"deadline" doc:"Without a decision the run expires then."`
	Decision    string     `json:"decision,omitempty" doc:"approved or denied; absent: nobody has decided."`
	DecidedBy   string     `json:"decided_by,omitempty" doc:"A person, an API key, or an operator's tool."`
	Note        string     `json:"note,omitempty"`
	DecidedAt   *time.Time `json:"decided_at,omitempty"`
	InputEdited bool       `json:"input_edited" doc:"The approver has changed the input."`
}

// queuedBody is where a run stands in the queue.
type queuedBody struct {
	Position int       `json:"position" doc:"1: it is the next one for this limit."`
	Reason   string    `json:"reason" doc:"For people." example:"the limit of the team: 5 runs at once"`
	Scope    string    `json:"scope" doc:"Whose limit it is: platform, quota, organization, team, user, agent or publisher." example:"team"`
	Bound    string    `json:"bound" doc:"Which number of the limit: concurrent_runs, cpu_millis or memory_mib." example:"concurrent_runs"`
	Limit    int64     `json:"limit" example:"5"`
	Since    time.Time `json:"since"`
}

// runWebhook is the address that was told to be told of one run.
type runWebhook struct {
	ID     string `json:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Secret string `json:"secret" doc:"The key that signs the messages. Shown with the start only." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
}

type attemptBody struct {
	Number     int        `json:"number" doc:"From 1."`
	Reason     string     `json:"reason,omitempty" doc:"Why the attempt ended; absent while it has not."`
	Message    string     `json:"message,omitempty"`
	ExitCode   *int       `json:"exit_code,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	LogBytes   int64      `json:"log_bytes" doc:"Of the log that is kept, as it is kept; 0: none (yet)."`
	LogCut     bool       `json:"log_truncated" doc:"The log had more than is kept."`
}

// cancelBody is the request to cancel and the receipt of how it was carried out.
type cancelBody struct {
	RequestedBy  string     `json:"requested_by" doc:"An API key, or an operator's tool."`
	Reason       string     `json:"reason,omitempty"`
	GraceSeconds *int64     `json:"grace_seconds,omitempty"`
	Forced       bool       `json:"forced"`
	SignaledAt   *time.Time `json:"signaled_at,omitempty" doc:"When the request was accepted. Metering stops here."`
	TerminatedAt *time.Time `json:"terminated_at,omitempty" doc:"The end of the agent's process."`
	GoneAt       *time.Time `json:"gone_at,omitempty" doc:"Nothing of the run was left."`
	ExitCode     *int       `json:"exit_code,omitempty"`
}

type runURLs struct {
	Self     string `json:"self"`
	Cancel   string `json:"cancel"`
	Logs     string `json:"logs"`
	Events   string `json:"events"`
	Output   string `json:"output"`
	Plan     string `json:"plan"`
	Receipt  string `json:"receipt"`
	Retry    string `json:"retry" doc:"POST here to start the run again, when it has ended."`
	Children string `json:"children"`
	Approve  string `json:"approve,omitempty" doc:"While the run waits for an approval."`
	Deny     string `json:"deny,omitempty" doc:"While the run waits for an approval."`
	Asked    string `json:"tool_approvals,omitempty" doc:"While the run waits for input: what it asks."`
	Web      string `json:"web,omitempty"`
	Temporal string `json:"temporal,omitempty" doc:"The run's workflow, for operators."`
}

// maxInlineOutput is the largest result that is shown within its run.
const maxInlineOutput = 64 << 10

// logBytes is the size of the log that is kept of an attempt.
func logBytes(a product.Attempt) int64 {
	if a.Log == nil {
		return 0
	}
	return a.Log.Size
}

// runSummary is a run without attempts and output.
func (a *app) runSummary(run product.Run) runBody {
	_, digest, _ := strings.Cut(run.Image, "@")
	body := runBody{
		ID: string(run.ID), Agent: run.Agent, Version: run.Version, ImageDigest: digest,
		Status: string(run.Shown(a.Now())), Reason: string(run.Reason), Cause: string(run.Cause), Message: run.Message,
		CreatedAt: run.CreatedAt.UTC(), QueueDeadline: when(run.QueueDeadline),
		StartedAt: when(run.StartedAt), FinishedAt: when(run.FinishedAt),
		Origin: originBodyOf(run.Origin), TeamID: string(run.TeamID), Priority: run.Request.Priority,
		Approval: approvalBodyOf(run.Approval), DataRemovedAt: when(run.DataRemovedAt),
		InputBytes: run.InputSize, Labels: run.Labels, URLs: a.runURLs(run),
		LogTruncated: run.Log != nil && run.Log.Truncated,
		Cost:         amountBodyOrNil(run.Cost), MaxCost: amountBodyOrNil(run.Request.MaxCost),
	}
	if run.Output != nil {
		body.OutputBytes = new(run.Output.Size)
	}
	if c := run.Cancel; c != nil {
		body.Cancel = &cancelBody{
			RequestedBy: c.RequestedBy, Reason: c.Reason, Forced: c.Force, ExitCode: c.ExitCode,
			SignaledAt: when(c.SignaledAt), TerminatedAt: when(c.TerminatedAt), GoneAt: when(c.GoneAt),
		}
		if c.Grace != nil {
			body.Cancel.GraceSeconds = new(int64(*c.Grace / time.Second))
		}
	}
	return body
}

// runWhole is a run with its attempts and, when it has ended, a small output. An
// output that cannot be read at the moment is left out: its own address says
// why, and the rest of the run is worth an answer.
func (a *app) runWhole(ctx context.Context, run product.Run) runBody {
	body := a.runSummary(run)
	for _, at := range run.Attempts {
		body.Attempts = append(body.Attempts, attemptBody{
			Number: at.Number, Reason: string(at.Reason), Message: at.Message, ExitCode: at.ExitCode,
			CreatedAt: at.CreatedAt.UTC(), StartedAt: when(at.StartedAt), FinishedAt: when(at.FinishedAt),
			LogBytes: logBytes(at), LogCut: at.Log != nil && at.Log.Truncated,
		})
	}
	body.Deadline = deadlineOf(run)
	if run.Status == product.StatusQueued {
		a.showWait(ctx, run, &body)
	}
	if run.Output == nil || run.Output.Size > maxInlineOutput || !run.Status.Terminal() {
		return body
	}
	output, err := a.Blobs.Get(ctx, *run.Output)
	if err != nil || !json.Valid(output) {
		a.Log.WarnContext(ctx, "output not shown within its run", "run_id", run.ID, "error", err,
			"request_id", requestOf(ctx).id)
		return body
	}
	body.Output = output
	return body
}

// showWait says what a queued run waits for. Where that is not known at the moment
// it is left out: the rest of the run is worth an answer.
func (a *app) showWait(ctx context.Context, run product.Run, body *runBody) {
	wait, err := a.Control.Waiting(ctx, run.ID)
	if err != nil {
		a.Log.WarnContext(ctx, "place in the queue not shown", "run_id", run.ID, "error", err, "request_id", requestOf(ctx).id)
	}
	if err != nil || wait == nil {
		return
	}
	body.Queued, body.QueuePosition = new(queuedBodyOf(*wait)), new(wait.Position)
}

func queuedBodyOf(w product.Wait) queuedBody {
	return queuedBody{
		Position: w.Position, Reason: w.Reason(), Scope: string(w.Scope.Kind), Bound: string(w.Bound), Limit: w.Limit, Since: w.Since.UTC(),
	}
}

func originBodyOf(o product.Origin) originBody {
	return originBody{
		Kind: string(o.Kind), ScheduleID: string(o.ScheduleID), RetryOf: string(o.RetryOf),
		ParentID: string(o.ParentID), RootID: string(o.RootID), Depth: o.Depth,
	}
}

func approvalBodyOf(a *product.Approval) *approvalBody {
	if a == nil {
		return nil
	}
	return &approvalBody{
		Why: a.Why, RequestedAt: a.RequestedAt.UTC(), Deadline: a.Deadline.UTC(), Decision: string(a.Decision),
		DecidedBy: a.DecidedBy, Note: a.Note, DecidedAt: when(a.DecidedAt), InputEdited: a.InputEdited,
	}
}

// deadlineOf is when the last attempt's process is asked to stop.
func deadlineOf(run product.Run) *time.Time {
	if run.Plan == nil || len(run.Attempts) == 0 {
		return nil
	}
	started := run.Attempts[len(run.Attempts)-1].StartedAt
	if started.IsZero() {
		return nil
	}
	return when(started.Add(run.Plan.Deadlines.Run))
}

func runPath(run product.Run) string { return "/v1/runs/" + string(run.ID) }

func (a *app) runURLs(run product.Run) runURLs {
	self := runPath(run)
	urls := runURLs{
		Self: self, Cancel: self + "/cancel", Logs: self + "/logs", Events: self + "/events",
		Output: self + "/output", Plan: self + "/plan", Receipt: self + "/receipt",
		Retry: self + "/retry", Children: self + "/children",
	}
	if run.Status == product.StatusWaitingApproval {
		urls.Approve, urls.Deny = self+"/approve", self+"/deny"
	}
	if run.Shown(a.Now()) == product.StatusWaitingInput {
		urls.Asked = self + "/tool-approvals"
	}
	if a.WebURL != "" {
		urls.Web = a.WebURL + "/runs/" + string(run.ID)
	}
	const placeholder = "{run_id}"
	switch {
	case a.TemporalWebURL == "":
	case strings.Contains(a.TemporalWebURL, placeholder):
		urls.Temporal = strings.ReplaceAll(a.TemporalWebURL, placeholder, string(run.ID))
	default:
		urls.Temporal = strings.TrimSuffix(a.TemporalWebURL, "/") +
			"/namespaces/" + a.TemporalNamespace + "/workflows/" + string(run.ID)
	}
	return urls
}

// when is a time in UTC; nil for none.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
