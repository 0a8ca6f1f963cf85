package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/product"
)

type startRunRequest struct {
	Input               json.RawMessage   `json:"input" doc:"Any JSON value that matches the agent's input schema; at most 896 KiB." example:"{\"prompt\": \"hello world\"}"`
	Version             string            `json:"version,omitempty" maxLength:"64" doc:"A number, a channel, or latest; it is pinned now. Default: what your organization has installed, or else the channel stable; for the publisher latest." example:"1.2.0"`
	Team                string            `json:"team,omitempty" maxLength:"40" doc:"The team of yours that the run is for: its policy and its limits count, too. Default: your only one, if you are in one." example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	RunTimeoutSeconds   int64             `json:"run_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"Bounds the agent's process. Default, and at most: what the agent's manifest says."`
	QueueTimeoutSeconds int64             `json:"queue_timeout_seconds,omitempty" minimum:"1" maximum:"86400" doc:"After it the run expires instead of starting. Default: one hour."`
	MaxCost             *amountBody       `json:"max_cost,omitempty" doc:"The run ends as budget_exhausted rather than cost more."`
	Resources           *startResources   `json:"resources,omitempty" doc:"Less than the agent's manifest asks for."`
	Retry               *startRetry       `json:"retry,omitempty"`
	Priority            int               `json:"priority,omitempty" minimum:"-10" maximum:"10" doc:"Orders your own waiting runs: the higher first."`
	Labels              map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"For finding runs again. Keys: 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first. Values: at most 256 bytes."`
	Webhook             *startWebhook     `json:"webhook,omitempty" doc:"Is told of this run alone, besides the webhooks of your organization."`
	Parent              string            `json:"parent,omitempty" maxLength:"40" doc:"The run of your organization that starts this one. It is canceled when that one ends, and shares its budget." example:"run_01jd3m0f9zq4x8v5c7n2b6k1ta"`
}

type (
	startResources struct {
		CPUMillis int64 `json:"cpu_millis,omitempty" minimum:"10" maximum:"64000" doc:"Thousandths of a core."`
		MemoryMiB int64 `json:"memory_mib,omitempty" minimum:"16" maximum:"262144"`
		DiskMiB   int64 `json:"disk_mib,omitempty" minimum:"1" maximum:"102400"`
	}
	startRetry struct {
		MaxAttempts int `json:"max_attempts" minimum:"1" maximum:"10" doc:"How many attempts may end with a failure of the agent, as far as its manifest allows. Failures of the platform are retried anyway."`
	}
	startWebhook struct {
		URL    string `json:"url" minLength:"1" maxLength:"2000" doc:"https, at a public address; without credentials and without a fragment." example:"https://hooks.example.com/agentmarket"`
		Secret string `json:"secret,omitempty" minLength:"1" maxLength:"100" doc:"Your own: whsec_ and 24 to 64 bytes in base64. Default: one is made, and shown in the answer." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
	}
)

type startRunInput struct {
	Publisher      string `path:"publisher" doc:"The organization that publishes the agent." example:"acme"`
	Name           string `path:"name" example:"greeter"`
	IdempotencyKey string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters: the same key and the same request give the same run, for as long as the run is kept."`
	Prefer         string `header:"Prefer" doc:"wait, or wait=N with N from 1 to 60 (RFC 7240)." example:"wait=10"`
	Body           startRunRequest
}

type startRunAnswer struct {
	Status            int
	Location          string `header:"Location" doc:"The run."`
	PreferenceApplied string `header:"Preference-Applied" doc:"The wait that was honored."`
	Replayed          string `header:"Idempotency-Replayed" doc:"true when the run was there before."`
	Body              runBody
}

const (
	maxLabels     = 32
	maxLabelValue = 256
)

var labelKey = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62})$`)

func (a *app) startRun(ctx context.Context, in *startRunInput) (*startRunAnswer, error) {
	s, err := a.startOf(ctx, in.Publisher, in.Name, in.Body)
	if err != nil {
		return nil, err
	}
	return a.answerStart(ctx, s)
}

// startOf reads a request to start a run.
func (a *app) startOf(ctx context.Context, publisher, name string, body startRunRequest) (launch.Start, error) {
	if err := checkLabels(body.Labels); err != nil {
		return launch.Start{}, err
	}
	s := launch.Start{
		Caller: caller(ctx), Publisher: publisher, Name: name, TeamID: ids.Team(body.Team), Version: body.Version,
		Input: body.Input, Labels: body.Labels,
		Request: product.Request{
			RunTimeout:   time.Duration(body.RunTimeoutSeconds) * time.Second,
			QueueTimeout: time.Duration(body.QueueTimeoutSeconds) * time.Second,
			Priority:     body.Priority,
			Mode:         modeOf(ctx),
		},
	}
	var err error
	if body.MaxCost != nil {
		if s.Request.MaxCost, err = a.amount(*body.MaxCost, "/max_cost"); err != nil {
			return launch.Start{}, err
		}
	}
	if body.Resources != nil {
		s.Request.Resources = product.Resources(*body.Resources)
	}
	if body.Retry != nil {
		s.Request.Attempts = body.Retry.MaxAttempts
	}
	if body.Parent != "" {
		if err := known(ids.PrefixRun, body.Parent, "parent"); err != nil {
			return launch.Start{}, err
		}
		s.Origin = product.Origin{Kind: product.OriginChild, ParentID: ids.Run(body.Parent)}
	}
	s.Webhook, err = a.webhookOf(s.OrgID, body.Webhook)
	return s, err
}

// modeOf is sync for a caller who waits for the end of his run, and else nothing,
// which is async.
func modeOf(ctx context.Context) product.Mode {
	if preferredWait(requestOf(ctx).header) > 0 {
		return product.ModeSync
	}
	return ""
}

// webhookOf reads the address that comes with the start of a run.
func (a *app) webhookOf(org ids.Org, body *startWebhook) (*product.Endpoint, error) {
	if body == nil {
		return nil, nil //nolint:nilnil // no webhook is not an error
	}
	e, err := product.NewEndpoint(org, body.URL, body.Secret, a.WebhookInsecure, a.Now())
	if err != nil {
		return nil, below("/webhook", err)
	}
	return &e, nil
}

// below returns an error about a part of a request as one about the whole.
func below(pointer string, err error) error {
	var wrong *fault.Error
	if !errors.As(err, &wrong) {
		return err
	}
	moved := *wrong
	moved.Fields = slices.Clone(wrong.Fields)
	for i := range moved.Fields {
		moved.Fields[i].Pointer = pointer + moved.Fields[i].Pointer
	}
	return &moved
}

// answerStart starts a run, unless the request made one before, and waits for its
// end as the caller prefers.
func (a *app) answerStart(ctx context.Context, s launch.Start) (*startRunAnswer, error) {
	r := requestOf(ctx)
	var err error
	if s.Key, err = idempotencyKey(r); err != nil {
		return nil, err
	}
	run, created, err := a.start(ctx, s)
	if err != nil {
		return nil, err
	}
	answer := &startRunAnswer{Status: http.StatusAccepted, Location: runPath(run)}
	if !created {
		answer.Replayed = "true"
	}
	if wait := preferredWait(r.header); wait > 0 {
		answer.PreferenceApplied = fmt.Sprintf("wait=%d", wait/time.Second)
		r.extend(wait + writeTimeout)
		run = a.awaitEnd(ctx, run, wait)
		if run.Status.Terminal() {
			answer.Status = http.StatusCreated
		}
	}
	answer.Body = a.runWhole(ctx, run)
	if s.Webhook != nil {
		answer.Body.Webhook, err = a.webhookOfStart(ctx, s, run, created)
	}
	return answer, err
}

// webhookOfStart shows the secret of the webhook that came with the start of a run:
// also to who starts it once more with the same key, because the answer may have
// been lost, for as long as the webhook is kept.
func (a *app) webhookOfStart(ctx context.Context, s launch.Start, run product.Run, created bool) (*runWebhook, error) {
	e := *s.Webhook
	if !created {
		if s.KeyID != run.KeyID && (s.UserID == "" || s.UserID != run.UserID) {
			return nil, nil //nolint:nilnil // it is a secret of who has started the run
		}
		var err error
		if e, err = a.Control.RunEndpoint(ctx, run.OrgID, run.ID); fault.Is(err, fault.NotFound) {
			return nil, nil //nolint:nilnil // it was removed long after the end of the run
		} else if err != nil {
			return nil, err
		}
	}
	return &runWebhook{ID: string(e.ID), Secret: e.Secret.Reveal()}, nil
}

func checkLabels(labels map[string]string) error {
	var fields []fault.Field
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at := pointer("labels", key)
		if !labelKey.MatchString(key) {
			fields = append(fields, fault.Field{Pointer: at, Message: "is not named by 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first"})
		}
		if strings.ContainsRune(labels[key], 0) { // PostgreSQL cannot store it
			fields = append(fields, fault.Field{Pointer: at, Message: "must not contain the character U+0000"})
		}
		if len(labels[key]) > maxLabelValue {
			fields = append(fields, fault.Field{Pointer: at, Message: fmt.Sprintf("must have at most %d bytes", maxLabelValue)})
		}
	}
	if len(fields) > 0 {
		return requestInvalid(fields...)
	}
	return nil
}
