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
	Status        string            `json:"status" doc:"queued, starting, running, canceling; and for good succeeded, failed, timed_out, canceled, rejected, expired, budget_exhausted. The set may grow." example:"running"`
	Reason        string            `json:"reason,omitempty" doc:"Why the run ended: ok, agent_error, deadline_exceeded, … The set may grow."`
	Cause         string            `json:"cause,omitempty" doc:"Who can do something about the reason: agent, caller, publisher or platform."`
	Message       string            `json:"message,omitempty" doc:"The reason in words."`
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
	URLs          runURLs           `json:"urls"`
}

type attemptBody struct {
	Number     int        `json:"number" doc:"From 1."`
	Reason     string     `json:"reason,omitempty" doc:"Why the attempt ended; absent while it has not."`
	Message    string     `json:"message,omitempty"`
	ExitCode   *int       `json:"exit_code,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
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
	Web      string `json:"web,omitempty"`
	Temporal string `json:"temporal,omitempty" doc:"The run's workflow, for operators."`
}

// maxInlineOutput is the largest result that is shown within its run.
const maxInlineOutput = 64 << 10

// runSummary is a run without attempts and output.
func (a *app) runSummary(run product.Run) runBody {
	_, digest, _ := strings.Cut(run.Image, "@")
	body := runBody{
		ID: string(run.ID), Agent: run.Agent, Version: run.Version, ImageDigest: digest,
		Status: string(run.Status), Reason: string(run.Reason), Cause: string(run.Cause), Message: run.Message,
		CreatedAt: run.CreatedAt.UTC(), QueueDeadline: when(run.QueueDeadline),
		StartedAt: when(run.StartedAt), FinishedAt: when(run.FinishedAt),
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
		})
	}
	body.Deadline = deadlineOf(run)
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

// planBody is the resolved intent of a run.
type planBody struct {
	Version        string            `json:"version"`
	Image          string            `json:"image"`
	Command        []string          `json:"command"`
	Env            map[string]string `json:"env,omitempty"`
	Resources      planResources     `json:"resources"`
	Deadlines      planDeadlines     `json:"deadlines"`
	MaxAttempts    int               `json:"max_attempts"`
	MaxOutputBytes int64             `json:"max_output_bytes"`
	MaxLogBytes    int64             `json:"max_log_bytes"`
	EntitlementID  string            `json:"entitlement_id"`
	PriceID        string            `json:"price_id,omitempty" doc:"The price that the run keeps. Absent: it is free."`
	Budget         *amountBody       `json:"budget,omitempty" doc:"What the run may cost at most."`
	BudgetBound    bool              `json:"budget_bound,omitempty" doc:"The run deadline is what the budget pays for: reaching it ends the run as budget_exhausted."`
	ResolvedAt     time.Time         `json:"resolved_at"`
}

type planResources struct {
	CPUMillis int64 `json:"cpu_millis"`
	MemoryMiB int64 `json:"memory_mib"`
	DiskMiB   int64 `json:"disk_mib"`
}

type planDeadlines struct {
	QueueSeconds int64 `json:"queue_seconds"`
	StartSeconds int64 `json:"start_seconds"`
	RunSeconds   int64 `json:"run_seconds"`
	GraceSeconds int64 `json:"grace_seconds"`
}

func planBodyOf(p product.Plan) planBody {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	return planBody{
		Version: p.Version, Image: p.Image, Command: p.Command, Env: p.Env,
		Resources: planResources(p.Resources),
		Deadlines: planDeadlines{
			QueueSeconds: seconds(p.Deadlines.Queue), StartSeconds: seconds(p.Deadlines.Start),
			RunSeconds: seconds(p.Deadlines.Run), GraceSeconds: seconds(p.Deadlines.Grace),
		},
		MaxAttempts: p.MaxAttempts, MaxOutputBytes: p.MaxOutputBytes, MaxLogBytes: p.MaxLogBytes,
		EntitlementID: string(p.EntitlementID), PriceID: string(p.PriceID), Budget: amountBodyOrNil(p.Budget), BudgetBound: p.BudgetBound, ResolvedAt: p.ResolvedAt.UTC(),
	}
}
